//! The device under test, what it holds, and how its state is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;
use vodozemac::olm::Session;

use super::acts::recipients;
use super::file::Image;
use super::people::{Judge, Person, bobs_room, v};
use crate::base::environment::Clock;
use crate::error::{E2eeError, Result};
use crate::handles::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store};
use crate::store::{self, collections};

/// The key of the store, and the one that the script gives it.
const STORE_KEY: [u8; 32] = [7; 32];
pub(super) const NEW_STORE_KEY: [u8; 32] = [8; 32];
pub(super) const ROOM: &str = "!room";
/// The room's session reserves so many indices.
pub(super) const RESERVED: u32 = 2;

pub(super) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> Result<i64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// Where the device has its store.
pub(super) trait Place: Send + Sync {
    fn open(&self) -> Result<Arc<store::Store>>;

    /// What a crash at this moment would leave.
    fn copy(&self) -> Box<dyn Place>;

    /// The bytes of a store in a file.
    fn image(&self) -> Option<Image> {
        None
    }
}

/// Opens a store whose key may have been replaced.
pub(super) fn with_its_key(
    open: impl Fn(&[u8]) -> Result<Arc<store::Store>>,
) -> Result<Arc<store::Store>> {
    match open(&STORE_KEY) {
        Err(E2eeError::WrongKey { .. }) => open(&NEW_STORE_KEY),
        other => other,
    }
}

/// Alice's device, her handles by name, and what was sent to her.
pub(super) struct World {
    pub(super) place: Box<dyn Place>,
    pub(super) store: Arc<Store>,
    clock: Arc<TestClock>,
    pub(super) account: Option<Arc<Account>>,
    pub(super) channels: BTreeMap<&'static str, Arc<OlmChannel>>,
    pub(super) outbound: Option<Arc<OutboundMegolmSession>>,
    /// The room's session before that.
    pub(super) former: Option<Arc<OutboundMegolmSession>>,
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
    /// A key of the first upload, which nobody uses for long.
    pub(super) unused_key: Option<String>,
    /// What the next call is given, made beforehand so that a retry gets the same.
    pub(super) input: String,
}

impl World {
    pub(super) fn new(place: Box<dyn Place>) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)));
        let store = open(&*place, &clock).unwrap();
        let (room, room_key) = bobs_room();
        Self {
            place,
            store,
            clock,
            account: None,
            channels: BTreeMap::new(),
            outbound: None,
            former: None,
            inbound: BTreeMap::new(),
            judge: Judge::new(),
            carol: Person::new("@carol:c.org", "CAROL"),
            dave: Person::new("@dave:d.org", "DAVE"),
            carols: Vec::new(),
            room,
            room_key,
            one_time_keys: Vec::new(),
            fallback_key: None,
            unused_key: None,
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

    /// Closes everything and opens it again.
    pub(super) fn reopen(&mut self) {
        self.store = open(&*self.place, &self.clock).unwrap();
        let account = Account::open(&self.store, "@alice:a.org", "ALICE").unwrap();
        self.outbound = OutboundMegolmSession::create_from_storage(&account, ROOM, None).ok();
        self.inbound.clear();
        let list = v(&account.list_sessions(None, None, None).unwrap());
        for session in list.as_array().unwrap() {
            let id = session["session_id"].as_str().unwrap();
            let name = if session["owner_user_id"] == "@bob:b.org" { "bob" } else { "own" };
            let open = InboundMegolmSession::from_storage(&account, ROOM, id, None).unwrap();
            self.inbound.insert(name, open);
        }
        self.channels.clear();
        let people = [("bob", &self.judge.bob), ("carol", &self.carol), ("dave", &self.dave)];
        for (name, person) in people {
            let (user_id, key) = (person.user_id, person.identity_key());
            if let Ok(channel) = OlmChannel::create_from_storage(&account, user_id, &key) {
                self.channels.insert(name, channel);
            }
        }
        self.account = Some(account);
    }

    /// Another process that opens a place, with this one's clock.
    pub(super) fn open(&self, place: &dyn Place) -> Result<Arc<Store>> {
        open(place, &self.clock)
    }

    /// Another process that opens what is on the disk at this moment.
    fn after_a_crash(&self) -> Arc<Store> {
        self.open(&*self.place.copy()).unwrap()
    }

    /// How many accounts of Alice's the store has; looking makes none.
    fn accounts(store: &Store, device: &[&str]) -> usize {
        let parts = [&["@alice:a.org"], device].concat();
        store.core.vault().scan_keys(collections::ACCOUNTS, &parts).unwrap().len()
    }

    /// How many of the account's one-time keys have records of their own.
    pub(super) fn keys_set_aside(&self) -> usize {
        let vault = self.store.core.vault();
        let keys = vault.scan_keys(collections::ONE_TIME_KEYS, &["@alice:a.org", "ALICE"]);
        keys.unwrap().len()
    }

    /// What can be seen of the state through new handles on a store.
    pub(super) fn look(&self, store: &Store) -> Value {
        if Self::accounts(store, &["ALICE"]) == 0 {
            return json!({"other accounts": Self::accounts(store, &[])});
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
        seen["channels"] = v(&account.list_channels(None, None).unwrap());
        let list = v(&account.list_sessions(None, None, None).unwrap());
        let of_room = account.list_sessions(Some(ROOM.to_owned()), None, None).unwrap();
        assert_eq!(v(&of_room), list);
        for session in list.as_array().unwrap() {
            let id = session["session_id"].as_str().unwrap();
            let open = InboundMegolmSession::from_storage(&account, ROOM, id, None).unwrap();
            seen[id] = json!([session, open.export_at(None).unwrap()]);
        }
        seen
    }

    /// Compares the live state with what the disk holds.
    pub(super) fn check_live_state(&self, step: &str) {
        let store = self.after_a_crash();
        assert_eq!(self.look(&self.store), self.look(&store), "{step}");
        self.check_indices(&store, step);
        if let (Some(account), true) = (&self.account, Self::accounts(&self.store, &[]) > 0) {
            // An upload that is open on the disk is open here, byte for byte; else two crashed
            // processes would draw different keys.
            let upload = || {
                let store = self.after_a_crash();
                let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
                account.keys_upload_request().unwrap()
            };
            let open = upload();
            if open.is_some() && open == upload() {
                assert_eq!(account.keys_upload_request().unwrap(), open, "{step}");
            }
        }
    }

    /// A session that the room may have lost to another one is as good as the disk says: in use
    /// with all that is known of its recipients, or superseded and without.
    pub(super) fn check_former(&self) {
        // Of a store that broke its promise nothing is to be expected.
        if !self.store.core.problems().unwrap().is_empty() {
            return;
        }
        let former = self.former.as_ref().unwrap();
        let id = former.session_id().unwrap();
        let (store, room) = (self.after_a_crash(), recipients(self, 90));
        let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
        let stored = OutboundMegolmSession::create_from_storage(&account, ROOM, Some(id.clone()));
        let current = OutboundMegolmSession::create_from_storage(&account, ROOM, None);
        let is_current = current.unwrap().session_id().unwrap() == id;
        for session in [former, &stored.unwrap()] {
            match session.get_session_key_for_sending(&room) {
                Ok(answer) => assert!(is_current && answer == "[]", "{answer}"),
                Err(E2eeError::SessionExpired { reason, .. }) => {
                    assert!(!is_current && reason == "superseded", "{reason}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        let parts = ["@alice:a.org", "ALICE", ROOM, &id];
        let shares = store.core.vault().scan_keys(collections::OUTBOUND_SHARE_CHUNKS, &parts);
        assert_eq!(shares.unwrap().is_empty(), !is_current);
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
        self.check_what_is_sent(&self.after_a_crash(), self.judge.copy());
    }

    /// What is sent from a store uses no key that was used for what the judge has seen.
    pub(super) fn check_what_is_sent(&self, store: &Store, mut judge: Judge) {
        if Self::accounts(store, &["ALICE"]) == 0 {
            return;
        }
        let account = Account::open(store, "@alice:a.org", "ALICE").unwrap();
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
pub(super) fn open_store(place: &dyn Place) -> Arc<Store> {
    open(place, &Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)))).unwrap()
}

fn open(place: &dyn Place, clock: &Arc<TestClock>) -> Result<Arc<Store>> {
    let core = place.open()?;
    core.set_clock(Arc::<TestClock>::clone(clock))?;
    Ok(Arc::new(Store { core }))
}
