//! What the parent knows: everything that the child has acknowledged, over all restarts.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::inbound::Inbound;
use super::ledger::Ledger;
use super::outbound::Room;
use super::peer::{Child, Fingerprint, Peer};
use super::protocol::{Op, STORE_KEYS};
use super::server::{KeyServer, upload_request};

/// What is wrong, if something is.
pub type Verdict = Result<(), String>;

/// What became of a command.
pub enum Outcome {
    Done(Value),
    Failed(Value),
    /// The child was killed before it answered: done or not, but not halfway (SEC-114).
    Lost,
    /// The child was killed at an earlier command.
    NotSent,
}

impl Outcome {
    pub fn must_succeed(self) -> Verdict {
        match self {
            Self::Failed(error) => Err(format!("the call failed: {error}")),
            _ => Ok(()),
        }
    }
}

pub fn code_of(error: &Value) -> i64 {
    error["code"].as_i64().unwrap_or_default()
}

pub fn reason_of(error: &Value) -> &str {
    error["reason"].as_str().unwrap_or_default()
}

type Judge = Box<dyn FnOnce(&mut World, Outcome) -> Verdict>;

/// An operation for the child, and what to think of its outcome.
pub struct Task {
    pub op: Op,
    pub judge: Judge,
}

impl Task {
    pub fn new(op: Op, judge: impl FnOnce(&mut World, Outcome) -> Verdict + 'static) -> Self {
        Self { op, judge: Box::new(judge) }
    }
}

/// One store with its account, its peers and its rooms.
pub struct World {
    pub rng: StdRng,
    child: Option<Child>,
    pub peers: Vec<Peer>,
    pub rooms: Vec<Room>,
    pub inbound: Vec<Inbound>,
    /// A key was being imported when the child was killed.
    pub inbound_in_doubt: bool,
    /// The key that opens the store, and what a kill has made uncertain.
    store_key: u8,
    next_store_key: Option<u8>,
    pub server: KeyServer,
    pub ledger: Ledger,
    /// The store was shut down, and the child has said so: nothing may be skipped.
    clean_end: bool,
    /// What an answer asks for, in the next batch.
    pub follow_ups: Vec<Task>,
    /// Messages that the child had consumed when it was killed before its answer.
    pub consumed_without_answer: usize,
    numbers: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            child: None,
            peers: (0..3).map(Peer::new).collect(),
            rooms: (0..2).map(Room::new).collect(),
            inbound: Vec::new(),
            inbound_in_doubt: false,
            store_key: STORE_KEYS[0],
            next_store_key: None,
            server: KeyServer::default(),
            ledger: Ledger::default(),
            clean_end: false,
            follow_ups: Vec::new(),
            consumed_without_answer: 0,
            numbers: 0,
        }
    }

    pub fn child(&self) -> Result<&Child, String> {
        self.child.as_ref().ok_or_else(|| String::from("the child has not reported yet"))
    }

    /// A number that makes a plaintext different from all others.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Some random operations. What the child has not acknowledged comes first.
    pub fn batch(&mut self) -> Vec<Task> {
        let mut tasks = self.pending_deliveries();
        tasks.append(&mut self.follow_ups);
        let first = tasks.len();
        for _ in 0..self.rng.random_range(4..16) {
            let more = match self.rng.random_range(0..100) {
                0..4 => vec![self.rekey_task()],
                4..45 => self.olm_tasks(),
                45..55 => vec![self.upload_task()],
                55..78 => self.outbound_tasks(),
                _ => self.inbound_tasks(),
            };
            tasks.extend(more);
        }
        // After a restart, an upload is often asked for before anything else (SEC-22).
        if self.rng.random_bool(0.3) {
            tasks.insert(self.rng.random_range(0..=first), upload_request());
        }
        tasks
    }

    /// At the end every acknowledged room key is used, every published one-time key, and
    /// everything that was used before, which must be refused.
    pub fn last_batches(&mut self) -> Vec<Vec<Task>> {
        let mut tasks = self.pending_deliveries();
        tasks.append(&mut self.follow_ups);
        let mut batches = vec![tasks, self.all_sessions_tasks()];
        let mut keys = Vec::new();
        while self.server.unclaimed() > 0 {
            let peer = self.server.unclaimed() % self.peers.len();
            let content = super::protocol::message_content(self.next_number());
            keys.extend(self.send_in_new_session(peer, "org.test.message", content));
        }
        keys.shuffle(&mut self.rng);
        batches.extend([keys, self.use_everything_again()]);
        batches
    }

    /// From now on another key opens the store. A kill leaves the former one or this one.
    fn rekey_task(&mut self) -> Task {
        let key = STORE_KEYS[self.rng.random_range(0..STORE_KEYS.len())];
        Task::new(Op::Rekey { key }, move |world, outcome| {
            match outcome {
                Outcome::Done(_) => world.store_key = key,
                Outcome::Lost => world.next_store_key = Some(key),
                _ => {}
            }
            outcome.must_succeed()
        })
    }

    /// Closes the store.
    pub fn shut_down_task() -> Task {
        Task::new(Op::ShutDown, |world, outcome| {
            world.clean_end = matches!(outcome, Outcome::Done(_));
            outcome.must_succeed()
        })
    }

    /// What the child must report after each start.
    pub fn report_task(&self) -> Task {
        let partners = self.peers.iter().map(Peer::partner).collect();
        let rooms = self.rooms.iter().map(|room| room.id.clone()).collect();
        Task::new(Op::Report { partners, rooms }, |world, outcome| {
            if let Outcome::Done(report) = &outcome {
                world.judge_report(report)?;
            }
            outcome.must_succeed()
        })
    }

    /// Everything acknowledged is there, and nothing is weaker than it was.
    fn judge_report(&mut self, report: &Value) -> Verdict {
        let expected = [Some(self.store_key), self.next_store_key.take()];
        let key = report["key"].as_u64().and_then(|key| u8::try_from(key).ok());
        if key.is_none() || !expected.contains(&key) {
            return Err(format!("the key {key:?} opens the store, not one of {expected:?}"));
        }
        self.store_key = key.unwrap_or_default();
        let device_keys = report["device_keys"].clone();
        let fingerprint_key = device_keys["keys"]["ed25519:CRASH"].as_str().unwrap_or_default();
        let child = Child {
            identity_key: report["identity_key"].as_str().unwrap_or_default().to_owned(),
            fingerprint_key: fingerprint_key.to_owned(),
            device_keys,
        };
        if self.child.get_or_insert_with(|| child.clone()) != &child {
            return Err(format!("the account has changed: {child:?}"));
        }
        for (peer, channel) in self.peers.iter_mut().zip(items(&report["channels"])) {
            judge_channel(peer, channel)?;
        }
        let clean = std::mem::take(&mut self.clean_end);
        for (room, session) in self.rooms.iter_mut().zip(items(&report["outbound"])) {
            room.judge_report(session, clean)?;
        }
        self.judge_inbound_report(items(&report["inbound"]))
    }
}

pub fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn judge_channel(peer: &mut Peer, channel: &Value) -> Verdict {
    let in_doubt = std::mem::take(&mut peer.in_doubt);
    let name = &peer.user_id;
    if channel.is_null() {
        if peer.has_channel && !in_doubt {
            return Err(format!("O12: the channel with {name} is lost"));
        }
        peer.forget_channel();
        return Ok(());
    }
    if !peer.has_channel && !in_doubt {
        return Err(format!("the erased channel with {name} is back"));
    }
    let fingerprint = match channel["partner"]["fingerprint"].as_str() {
        Some("device_keys") => Fingerprint::DeviceKeys,
        Some("learned") => Fingerprint::Learned,
        _ => Fingerprint::Unknown,
    };
    if fingerprint < peer.fingerprint {
        return Err(format!("D26: the fingerprint of {name} is weaker: {channel}"));
    }
    let known_key = channel["partner"]["fingerprint_key"].as_str();
    if known_key.is_some_and(|key| key != peer.fingerprint_key()) {
        return Err(format!("the fingerprint of {name} is another: {channel}"));
    }
    peer.has_channel = true;
    peer.fingerprint = fingerprint;
    match channel["session_count"].as_u64() {
        Some(1..=8) => Ok(()),
        _ => Err(format!("D24: the channel with {name} has no sessions or too many: {channel}")),
    }
}
