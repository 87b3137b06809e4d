//! Stores that hold much. Each is made once for a version of the library, in target/bench-stores, and
//! copied for each run, which then works on its copy.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use sha2::{Digest, Sha256};
use vodozemac::Ed25519SecretKey;
use vodozemac::megolm::GroupSession;

use super::batches::all_good;
use super::libolm_pickles::seal;
use super::place::{file_name, free};
use super::{DEVICE, MESSAGE, USER, olm, rooms};
use crate::c_abi::{self, Owned, c};
use crate::material::{self, Device};
use crate::measure::{Task, by_another_process};
use crate::texts::{self, SENDER};

/// What a store holds many of.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Inbound Megolm sessions, 50 of each room.
    Sessions,
    /// Received room messages, 10,000 of each session.
    Replays,
    /// Olm channels, with one session each.
    Channels,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Replays => "replays",
            Self::Channels => "channels",
        }
    }

    /// The row that fills a store.
    pub fn filling(self) -> &'static str {
        match self {
            Self::Sessions => "fill_sessions",
            Self::Replays => "fill_replays",
            Self::Channels => "fill_channels",
        }
    }
}

/// Messages that each store has been sent and has not decrypted.
const MESSAGES: usize = 1000;
/// Items of one import, events of one call.
const BATCH: usize = 10_000;
const PICKLE_KEY: &[u8] = b"the pickles' key";

/// A run's own copy of a store.
pub struct Filled {
    pub file: PathBuf,
    /// The session or the device that the messages are from.
    pub from: CString,
    lines: PathBuf,
}

impl Filled {
    /// Has the store made by another process, where there is none yet: that takes memory, too. Who
    /// opens two at once names them.
    pub fn new(task: &Task, kind: Kind, count: usize, copy: &str) -> Self {
        let name = format!("{}-{count}", kind.name());
        let [file, lines] = files(&task.folder, &format!("{name}{copy}"));
        if !lines.exists() {
            by_another_process(task, kind.filling(), count);
            let [kept, kept_lines] = files(&kept(), &name);
            std::fs::copy(kept, &file).unwrap();
            std::fs::File::open(&file).unwrap().sync_all().unwrap();
            std::fs::copy(kept_lines, &lines).unwrap();
        }
        let text = std::fs::read_to_string(&lines).unwrap();
        Self { file, from: c(text.lines().next().unwrap()), lines }
    }

    pub fn alice(&self) -> Owned {
        c_abi::account(&c_abi::store(Some(&file_name(&self.file))), USER, DEVICE)
    }

    /// The next messages, which are then gone.
    pub fn messages(&self, count: usize) -> Vec<CString> {
        let text = std::fs::read_to_string(&self.lines).unwrap();
        let mut lines = text.lines();
        let from = lines.next().unwrap();
        let messages: Vec<_> = lines.by_ref().take(count).map(c).collect();
        assert_eq!(messages.len(), count, "each store has {MESSAGES} messages");
        let rest: Vec<_> = std::iter::once(from).chain(lines).collect();
        std::fs::write(&self.lines, rest.join("\n")).unwrap();
        messages
    }
}

fn files(folder: &Path, name: &str) -> [PathBuf; 2] {
    ["db", "lines"].map(|extension| folder.join(format!("{name}.{extension}")))
}

/// Where the stores of this version are kept; those of others go.
fn kept() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![root.join("benches/ours/filled.rs"), root.join("src")];
    let mut hash = Sha256::new();
    while let Some(path) = sources.pop() {
        if path.is_dir() {
            let mut inside: Vec<_> =
                std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
            inside.sort();
            sources.extend(inside);
        } else {
            hash.update(std::fs::read(path).unwrap());
        }
    }
    let version = vodozemac::base64_encode(&hash.finalize()[..9]).replace('/', "_");
    let all = root.join("target/bench-stores");
    for other in std::fs::read_dir(&all).into_iter().flatten() {
        let other = other.unwrap();
        if other.file_name() != *version {
            std::fs::remove_dir_all(other.path()).unwrap();
        }
    }
    all.join(version)
}

/// Makes a store, unless it is kept: in main memory, where syncing costs nothing.
pub fn fill(task: &Task, kind: Kind) {
    let folder = kept();
    let [file, lines] = files(&folder, &format!("{}-{}", kind.name(), task.count));
    if lines.exists() {
        return;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let scratch = tempfile::tempdir_in(free()).unwrap();
    let made = scratch.path().join("store.db");
    let store = c_abi::store(Some(&file_name(&made)));
    let alice = c_abi::account(&store, USER, DEVICE);
    let messages = match kind {
        Kind::Sessions => sessions(&alice, task.count),
        Kind::Replays => replays(&alice, task.count),
        Kind::Channels => channels(&alice, task.count),
    };
    c_abi::shut_down(&store);
    std::fs::copy(made, file).unwrap();
    // Last: what is there is whole.
    std::fs::write(lines, messages.join("\n")).unwrap();
}

/// Takes over so many sessions from libolm, pickled on another thread meanwhile.
fn import(alice: &Owned, count: usize, item: impl Fn(usize) -> String + Send) {
    let (sender, lists) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for first in (0..count).step_by(BATCH) {
                let items: Vec<_> = (first..count.min(first + BATCH)).map(&item).collect();
                sender.send((items.len(), c(&format!("[{}]", items.join(","))))).unwrap();
            }
        });
        for (expected, list) in lists {
            let report = c_abi::import_libolm_sessions(alice, &list, PICKLE_KEY);
            let report: serde_json::Value = serde_json::from_slice(report.to_bytes()).unwrap();
            assert_eq!(report["imported"], expected, "{}", report["failed"][0]);
        }
    });
}

/// A session in the middle of all others, and messages of it.
fn sessions(alice: &Owned, count: usize) -> Vec<String> {
    let pickle = |number: usize| {
        let public_key = Ed25519SecretKey::new().public_key();
        format!(
            r#"{{"kind":"inbound_megolm","room_id":"!{}:example.org","sender_key":"{}","pickle":"{}"}}"#,
            number / 50,
            vodozemac::base64_encode(public_key_of(&number.to_be_bytes())),
            inbound_pickle(public_key.as_bytes()),
        )
    };
    import(alice, count / 2, pickle);
    let (sender, mut group) = (Device::new(SENDER, "BOBDEVICE"), GroupSession::default());
    receive(alice, &sender, &group);
    import(alice, count - count / 2, |number| pickle(number + count / 2));
    let mut lines = vec![group.session_id()];
    let plaintext = texts::room_plaintext(128);
    lines.extend(
        (0..MESSAGES)
            .map(|index| material::event(&sender, &mut group, index, &plaintext).to_string()),
    );
    lines
}

/// A Curve25519 key as others write it: its highest bit says nothing and is not set.
fn public_key_of(seed: &[u8]) -> [u8; 32] {
    let mut key: [u8; 32] = Sha256::digest(seed).into();
    key[31] &= 0x7f;
    key
}

/// As libolm pickles a session: its ratchet as it was first and as it was last.
fn inbound_pickle(public_key: &[u8]) -> String {
    let mut plaintext = 2_u32.to_be_bytes().to_vec();
    let ratchet: [u8; 128] = rand::random();
    for _ in 0..2 {
        plaintext.extend(ratchet);
        plaintext.extend(0_u32.to_be_bytes());
    }
    plaintext.extend(public_key);
    plaintext.push(1);
    seal(&plaintext, PICKLE_KEY)
}

/// As if the room key had come through a channel.
fn receive(alice: &Owned, sender: &Device, group: &GroupSession) {
    let traffic = serde_json::json!({
        "sender_key": sender.identity_key(),
        "sessions": [{ "room_key": material::room_key(group) }],
    });
    rooms::receive_keys(alice, &traffic);
}

/// Sessions whose messages are decrypted, and further messages of the first.
fn replays(alice: &Owned, count: usize) -> Vec<String> {
    let sender = Device::new(SENDER, "BOBDEVICE");
    let mut groups: Vec<_> = (0..count.div_ceil(10_000)).map(|_| GroupSession::default()).collect();
    groups.iter().for_each(|group| receive(alice, &sender, group));
    let (batches, lists) = sync_channel(1);
    let plaintext = texts::room_plaintext(16);
    std::thread::scope(|scope| {
        let (groups, sender) = (&mut groups, &sender);
        scope.spawn(move || {
            for first in (0..count).step_by(BATCH) {
                let indices = first..count.min(first + BATCH);
                let group = &mut groups[first / 10_000];
                let events: Vec<_> = indices
                    .map(|index| material::event(sender, group, index, &plaintext).to_string())
                    .collect();
                batches.send((events.len(), c(&format!("[{}]", events.join(","))))).unwrap();
            }
        });
        for (expected, list) in lists {
            all_good(&c_abi::decrypt_room_events(alice, &list), "event", expected);
        }
    });
    let plaintext = texts::room_plaintext(128);
    let mut lines = vec![groups[0].session_id()];
    lines.extend(
        (count..count + MESSAGES)
            .map(|index| material::event(&sender, &mut groups[0], index, &plaintext).to_string()),
    );
    lines
}

/// A channel that has talked in the middle of all others, and messages that come through it.
fn channels(alice: &Owned, count: usize) -> Vec<String> {
    let pickle = |number: usize| {
        let identity_key = public_key_of(&number.to_be_bytes());
        format!(
            r#"{{"kind":"olm","user_id":"@user{}:example.org","identity_key":"{}","pickle":"{}"}}"#,
            number / 4,
            vodozemac::base64_encode(identity_key),
            olm_pickle(&identity_key),
        )
    };
    import(alice, count / 2, pickle);
    let (bob, key) = olm::bob(&c_abi::store(None));
    let to_alice = olm::talk(alice, &bob, &key).1;
    import(alice, count - count / 2, |number| pickle(number + count / 2));
    let mut lines = vec![c_abi::identity_key(&bob).to_str().unwrap().to_owned()];
    let content = c(&texts::content(128).to_string());
    lines
        .extend((0..MESSAGES).map(|_| {
            c_abi::olm_encrypt(&to_alice, MESSAGE, &content).to_str().unwrap().to_owned()
        }));
    lines
}

/// As libolm pickles a session that both sides have used: the keys that it was made with, the root
/// key, one sending and one receiving chain, no skipped message.
fn olm_pickle(identity_key: &[u8; 32]) -> String {
    let key = || rand::random::<[u8; 32]>();
    let (no, one) = (0_u32.to_be_bytes(), 1_u32.to_be_bytes());
    let mut plaintext = one.to_vec();
    plaintext.push(1);
    plaintext.extend(identity_key);
    plaintext.extend([key(), key(), key()].concat());
    plaintext.extend(one);
    plaintext.extend([key(), key(), key()].concat());
    plaintext.extend(no);
    plaintext.extend(one);
    plaintext.extend([key(), key()].concat());
    plaintext.extend(no);
    plaintext.extend(no);
    seal(&plaintext, PICKLE_KEY)
}
