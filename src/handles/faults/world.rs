//! The device under test, what it holds, and how its state is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;
use vodozemac::olm::Session;

use super::disk::Disk;
use super::people::{Judge, Person, bobs_room, v};
use crate::environment::Clock;
use crate::error::Result;
use crate::handles::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store};
use crate::store;

pub(super) const ROOM: &str = "!room";
/// The room's session reserves so many indices.
pub(super) const RESERVED: u32 = 2;

pub(super) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> Result<i64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// Alice's device, her handles by name, and what was sent to her.
pub(super) struct World {
    pub(super) disk: Disk,
    pub(super) store: Arc<Store>,
    clock: Arc<TestClock>,
    pub(super) account: Option<Arc<Account>>,
    pub(super) channels: BTreeMap<&'static str, Arc<OlmChannel>>,
    pub(super) outbound: Option<Arc<OutboundMegolmSession>>,
    pub(super) inbound: BTreeMap<&'static str, Arc<InboundMegolmSession>>,
    pub(super) judge: Judge,
    pub(super) carol: Person,
    pub(super) dave: Person,
    pub(super) carols: Vec<Session>,
    pub(super) room: GroupSession,
    pub(super) room_key: Value,
    /// The keys of the last upload that are left to claim, and its fallback key.
    pub(super) one_time_keys: Vec<String>,
    pub(super) fallback_key: Option<String>,
    /// What the next call is given, made beforehand so that a retry gets the same.
    pub(super) input: String,
}

impl World {
    pub(super) fn new() -> Self {
        let disk = Disk::new();
        let clock = Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)));
        let store = open(&disk, &clock);
        let (room, room_key) = bobs_room();
        Self {
            disk,
            store,
            clock,
            account: None,
            channels: BTreeMap::new(),
            outbound: None,
            inbound: BTreeMap::new(),
            judge: Judge::new(),
            carol: Person::new("@carol:c.org", "CAROL"),
            dave: Person::new("@dave:d.org", "DAVE"),
            carols: Vec::new(),
            room,
            room_key,
            one_time_keys: Vec::new(),
            fallback_key: None,
            input: String::new(),
        }
    }

    pub(super) fn advance(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    pub(super) fn account(&self) -> &Account {
        self.account.as_ref().unwrap()
    }

    pub(super) fn device_keys(&self) -> Value {
        v(&self.account().device_keys().unwrap())
    }

    pub(super) fn outbound(&self) -> &OutboundMegolmSession {
        self.outbound.as_ref().unwrap()
    }

    /// Another process that opens what is on the disk at this moment.
    fn after_a_crash(&self) -> (Disk, Arc<Store>) {
        let disk = self.disk.copy();
        let store = open(&disk, &self.clock);
        (disk, store)
    }

    /// What can be seen of the state through new handles on a store.
    fn look(&self, disk: &Disk, store: &Store) -> Value {
        if self.account.is_none() {
            return json!(disk.count("account"));
        }
        if disk.count("account") == 0 {
            return json!("no account");
        }
        let account = Account::open(store, "@alice:a.org", "ALICE").unwrap();
        if let Err(error) = account.sign_json("{}") {
            return json!(error.name());
        }
        let mut seen = json!({"keys": account.device_keys().unwrap()});
        for person in [&self.judge.bob, &self.carol, &self.dave] {
            let key = person.identity_key();
            seen[person.user_id] =
                match OlmChannel::create_from_storage(&account, person.user_id, &key) {
                    Ok(channel) => {
                        json!([channel.session_count().unwrap(), channel.partner().unwrap()])
                    }
                    Err(error) => json!(error.name()),
                };
        }
        seen["outbound"] = match OutboundMegolmSession::create_from_storage(&account, ROOM, None) {
            Ok(session) => json!(session.session_id().unwrap()),
            Err(error) => json!(error.name()),
        };
        let list = v(&account.list_sessions(None).unwrap());
        for session in list.as_array().unwrap() {
            let id = session["session_id"].as_str().unwrap();
            let open = InboundMegolmSession::from_storage(&account, ROOM, id, None).unwrap();
            seen[id] = json!([session, open.export_at(None).unwrap()]);
        }
        seen
    }

    /// Compares the live state with what the disk holds.
    pub(super) fn check_live_state(&self, step: &str) {
        let (disk, store) = self.after_a_crash();
        assert_eq!(self.look(&self.disk, &self.store), self.look(&disk, &store), "{step}");
        self.check_indices(&store, step);
        if let (Some(account), true) = (&self.account, self.disk.count("account") > 0) {
            // An upload that is open on the disk is open here, byte for byte; else two crashed
            // processes would draw different keys.
            let upload = || {
                let (_, store) = self.after_a_crash();
                let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
                account.keys_upload_request().unwrap()
            };
            let open = upload();
            if open.is_some() && open == upload() {
                assert_eq!(account.keys_upload_request().unwrap(), open, "{step}");
            }
        }
    }

    /// A crash may skip indices of the outbound session, but only those that were reserved.
    fn check_indices(&self, after_a_crash: &Store, step: &str) {
        let index = |store: &Store| {
            let account = Account::open(store, "@alice:a.org", "ALICE").ok()?;
            let session = OutboundMegolmSession::create_from_storage(&account, ROOM, None).ok()?;
            Some(session.message_index().unwrap())
        };
        if self.account.is_some()
            && let Some(live) = index(&self.store)
        {
            let next = index(after_a_crash).unwrap();
            assert!((live..live + RESERVED).contains(&next), "{step}: {live}, then {next}");
        }
    }

    /// Had the process died here, what the next one sends uses no key that was used before.
    pub(super) fn check_what_a_crash_would_send(&self) {
        let (disk, store) = self.after_a_crash();
        if self.account.is_none() || disk.count("account") == 0 {
            return;
        }
        let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
        let mut judge = self.judge.copy();
        let (bob, key) = (judge.bob.user_id, judge.bob.identity_key());
        if let Ok(channel) = OlmChannel::create_from_storage(&account, bob, &key) {
            judge.olm(&channel.encrypt("m.after", r#"{"crash":true}"#).unwrap());
        }
        if let Ok(session) = OutboundMegolmSession::create_from_storage(&account, ROOM, None)
            && judge.knows(&session.session_id().unwrap())
        {
            for number in 0..3 {
                let content = json!({"crash": number}).to_string();
                match session.encrypt("m.after", &content) {
                    Ok(content) => judge.megolm(&content),
                    Err(error) => assert_eq!(error.name(), "SESSION_EXPIRED"),
                }
            }
        }
    }
}

/// Opens a store on a disk, with a clock that stands still.
pub(super) fn open_store(disk: &Disk) -> Arc<Store> {
    open(disk, &Arc::new(TestClock(AtomicI64::new(1_700_000_000_000))))
}

fn open(disk: &Disk, clock: &Arc<TestClock>) -> Arc<Store> {
    let records = Box::new(disk.clone());
    let random = Arc::new(disk.clone());
    let core = store::Store::with_record_store(records, &[7; 32], random).unwrap();
    core.set_clock(Arc::<TestClock>::clone(clock)).unwrap();
    Arc::new(Store { core })
}
