//! What a store costs that holds much: no more than one that holds little.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use matrixe2ee::{Account, OutboundMegolmSession, Store};
use vodozemac::megolm::GroupSession;

use super::filled::{Filled, Kind};
use super::olm::BOB;
use super::{DEVICE, USER, rooms};
use crate::c_abi::{self, Owned, c};
use crate::material::{self, Device};
use crate::measure::{self, Task, by_another_process, median};
use crate::texts::{self, ROOM, SENDER};

/// What all others are compared with.
const LITTLE: usize = 1000;
/// Commits of each store in a round.
const COMMITS: usize = 150;

/// Milliseconds until a program that starts has decrypted its first message.
pub fn opening(task: &Task, kind: Kind) -> f64 {
    let filled = Filled::new(task, kind, task.count, "");
    let message = &filled.messages(1)[0];
    let start = Instant::now();
    let handles = first_decryption(&filled, kind, message);
    let time = start.elapsed().as_secs_f64() * 1e3;
    drop(handles);
    time
}

fn first_decryption(filled: &Filled, kind: Kind, message: &CString) -> [Owned; 2] {
    let alice = filled.alice();
    let handle = match kind {
        Kind::Channels => {
            let channel = c_abi::stored_channel(&alice, BOB, &filled.from);
            c_abi::olm_decrypt(&channel, message);
            channel
        }
        Kind::Sessions | Kind::Replays => {
            let session = c_abi::stored_room_key(&alice, &c(ROOM), &filled.from);
            c_abi::room_decrypt(&session, message);
            session
        }
    };
    [alice, handle]
}

/// The most that a process has in memory that does the same, in MiB.
pub fn peak(task: &Task, kind: Kind) -> f64 {
    opening(task, kind);
    measure::peak()
}

/// How much more that is than with little in the store.
pub fn more_memory(task: &Task, peak: &str) -> f64 {
    let of = |count| by_another_process(task, peak, count).unwrap();
    of(task.count) - of(LITTLE)
}

/// What makes a commit each time: a new room key, or a message.
struct Commits {
    alice: Owned,
    session: Option<Owned>,
    inputs: Vec<CString>,
}

impl Commits {
    fn new(filled: &Filled, kind: Kind) -> Self {
        let alice = filled.alice();
        if matches!(kind, Kind::Replays) {
            let session = c_abi::stored_room_key(&alice, &c(ROOM), &filled.from);
            return Self { alice, session: Some(session), inputs: filled.messages(COMMITS) };
        }
        let sender = Device::new(SENDER, "BOBDEVICE");
        let export = |_| c(&material::export(&sender, &GroupSession::default()).to_string());
        Self { alice, session: None, inputs: (0..COMMITS).map(export).collect() }
    }

    fn make(&self, number: usize) {
        match &self.session {
            Some(session) => drop(c_abi::room_decrypt(session, &self.inputs[number])),
            None => drop(c_abi::exported(&self.alice, &self.inputs[number])),
        }
    }
}

/// How many times as long a call with one commit takes as with little in the store. Both take turns.
pub fn commit(task: &Task, kind: Kind) -> f64 {
    let both = [(LITTLE, "-little"), (task.count, "")]
        .map(|(count, copy)| Commits::new(&Filled::new(task, kind, count, copy), kind));
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..COMMITS {
        for (commits, times) in both.iter().zip(&mut times) {
            let start = Instant::now();
            commits.make(number);
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let [little, much] = times.map(median);
    much / little
}

/// Milliseconds that an encryption waits at most, while another thread lists all sessions.
pub fn listing(task: &Task) -> f64 {
    let filled = Filled::new(task, Kind::Sessions, task.count, "");
    let text = |text: &std::ffi::CStr| text.to_str().unwrap().to_owned();
    let store = Store::open_sqlite(filled.file.to_str().unwrap(), vec![7; 32]).unwrap();
    let account = Account::open(&store, &text(USER), &text(DEVICE)).unwrap();
    let next_session = || {
        let session = OutboundMegolmSession::create(&account, ROOM, None).unwrap();
        session.get_session_key_for_sending(rooms::RECIPIENTS).unwrap();
        session
    };
    let content = texts::content(128).to_string();
    let listed = AtomicBool::new(false);
    let mut longest = 0.0_f64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(list_all(&account) > task.count);
            listed.store(true, Ordering::Relaxed);
        });
        let mut session = next_session();
        while !listed.load(Ordering::Relaxed) {
            if session.message_index().unwrap() == 9999 {
                session = next_session();
            }
            let start = Instant::now();
            session.encrypt("m.room.message", &content).unwrap();
            longest = longest.max(start.elapsed().as_secs_f64() * 1e3);
        }
    });
    longest
}

/// How many sessions there are, page after page.
fn list_all(account: &Account) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let page = account.list_sessions(None, after, None).unwrap();
        let page: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
        let Some(last) = page.last() else { return count };
        count += page.len();
        after = Some(last["session_id"].as_str().unwrap().to_owned());
    }
}
