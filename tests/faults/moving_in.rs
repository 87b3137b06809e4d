//! A failure at each commit of an import of many sessions: what was committed before stays, the
//! chunk that failed is there as a whole or not at all, and the same call finishes the work.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession};

use super::disk::{Disk, Fault};
use super::libolm;
use super::people::v;
use super::world::{Place, open_store};
use crate::handles::{Account, OlmChannel, OutboundMegolmSession, Store};

const USER: &str = "@us:example.org";
const DEVICE: &str = "MOVING";
/// Three chunks.
const INBOUND: usize = 2_100;

/// The fixture, and the list of all sessions that move.
struct Former {
    fixture: Value,
    key: Vec<u8>,
    items: Vec<Value>,
}

impl Former {
    fn new() -> Self {
        let fixture = v(include_str!("../fixtures/libolm_sessions.json"));
        let key = fixture["pickle_key"].as_str().unwrap().as_bytes().to_vec();
        let them = &fixture["them"];
        let mut items: Vec<Value> = (0..INBOUND)
            .map(|_| {
                let session = GroupSession::new(Default::default());
                let pickle = libolm::inbound_pickle(&session, &key);
                json!({"kind": "inbound_megolm", "room_id": "!room:example.org",
                       "sender_key": them["identity_key"], "pickle": pickle})
            })
            .collect();
        let olm = |pickle: &Value| {
            json!({"kind": "olm", "user_id": them["user_id"],
                   "identity_key": them["identity_key"], "pickle": pickle})
        };
        let outbound = json!({"kind": "outbound_megolm", "room_id": fixture["our_room_id"],
                              "pickle": fixture["us"]["outbound"]});
        // The channel stands in the second chunk, the outbound session in the third.
        items.splice(1_500..1_500, fixture["us"]["sessions"].as_array().unwrap().iter().map(olm));
        items.push(outbound);
        Self { fixture, key, items }
    }

    fn account(&self, store: &Store) -> Arc<Account> {
        let pickle = self.fixture["us"]["account"].as_str().unwrap();
        Account::from_libolm_pickle(store, USER, DEVICE, pickle, self.key.clone()).unwrap()
    }

    fn import(&self, account: &Account) -> crate::Result<String> {
        account.import_libolm_sessions(&json!(self.items).to_string(), self.key.clone())
    }

    /// What can be seen through new handles: the sessions, the channel, the outbound session.
    fn look(&self, account: &Account) -> Value {
        let sessions = v(&account.list_sessions(None, None, Some(10_000)).unwrap());
        let ids: BTreeSet<_> =
            sessions.as_array().unwrap().iter().map(|s| s["session_id"].to_string()).collect();
        let them = &self.fixture["them"];
        let (user, key) =
            (them["user_id"].as_str().unwrap(), them["identity_key"].as_str().unwrap());
        let channel = OlmChannel::create_from_storage(account, user, key)
            .and_then(|channel| channel.session_count())
            .map_err(|error| error.name());
        let room_id = self.fixture["our_room_id"].as_str().unwrap();
        let outbound = OutboundMegolmSession::create_from_storage(account, room_id, None)
            .and_then(|session| session.message_index())
            .map_err(|error| error.name());
        json!([ids, channel, outbound])
    }
}

// SEC-114; issue 3, item 6
#[test]
fn an_import_that_fails_at_any_commit_keeps_what_was_committed_and_is_finished_by_a_retry() {
    let former = Former::new();
    let total = former.items.len();
    for fault in [Fault::Before, Fault::After, Fault::Random] {
        for commit in 0..3 {
            let disk = Disk::new();
            let store = open_store(&disk);
            let account = former.account(&store);
            disk.take_commits();
            disk.arm_later(commit, fault);
            let error = former.import(&account).unwrap_err();
            assert_eq!(error.name(), "STORE_IO", "{error}");
            assert_eq!(disk.take_commits(), commit + 1);

            let after_a_crash = open_store(&*disk.copy());
            let restarted = Account::open(&after_a_crash, USER, DEVICE).unwrap();
            let seen = former.look(&account);
            assert_eq!(seen, former.look(&restarted), "{fault:?} at {commit}");
            let chunks = commit + usize::from(fault == Fault::After);
            let expected = (chunks * 1_000).min(INBOUND);
            let channel = usize::from(chunks >= 2) * 3;
            let inbound = expected - if chunks == 2 { channel } else { 0 };
            assert_eq!(seen[0].as_array().unwrap().len(), inbound);

            // The same process may go on, or another one.
            let account = if commit == 1 { restarted } else { account };
            let report = v(&former.import(&account).unwrap());
            let known = report["known"].as_u64().unwrap();
            let imported = report["imported"].as_u64().unwrap();
            assert_eq!(known + imported, total as u64);
            assert_eq!(known, (inbound + channel + usize::from(chunks == 3)) as u64);
            let seen = former.look(&account);
            assert_eq!(seen[0].as_array().unwrap().len(), INBOUND);
            assert_eq!((&seen[1], &seen[2]), (&json!({"Ok": 3}), &json!({"Ok": 3})));
        }
    }
}

// SEC-114
#[test]
fn an_import_of_a_key_export_that_fails_at_any_commit_is_finished_by_a_retry() {
    let sessions: Vec<Value> = (0..500)
        .map(|_| {
            let mut session = InboundGroupSession::from(&GroupSession::new(Default::default()));
            let key = session.export_at(0).unwrap().to_base64();
            json!({"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!room:example.org",
                   "session_id": session.session_id(), "session_key": key,
                   "sender_key": "AEdWFuAujIA7TS/WmPcGfmE5EtYanO0FJ+McnuFf1hc"})
        })
        .collect();
    let list = json!(sessions).to_string();
    let stored = |account: &Account| v(&account.list_sessions(None, None, Some(10_000)).unwrap());
    for fault in [Fault::Before, Fault::After, Fault::Random] {
        for commit in 0..3 {
            let disk = Disk::new();
            let store = open_store(&disk);
            let account = Account::open(&store, USER, DEVICE).unwrap();
            disk.take_commits();
            disk.arm_later(commit, fault);
            let error = account.import_sessions(&list).unwrap_err();
            assert_eq!(error.name(), "STORE_IO", "{error}");
            assert_eq!(disk.take_commits(), commit + 1);

            let after_a_crash = open_store(&*disk.copy());
            let restarted = Account::open(&after_a_crash, USER, DEVICE).unwrap();
            let seen = stored(&account);
            assert_eq!(seen, stored(&restarted), "{fault:?} at {commit}");
            let chunks = commit + usize::from(fault == Fault::After);
            let expected = (chunks * 200).min(sessions.len());
            assert_eq!(seen.as_array().unwrap().len(), expected, "{fault:?} at {commit}");

            let account = if commit == 1 { restarted } else { account };
            let report = v(&account.import_sessions(&list).unwrap());
            let [known, imported] = ["known", "imported"].map(|n| report[n].as_u64().unwrap());
            assert_eq!(known, expected as u64);
            assert_eq!(known + imported, sessions.len() as u64);
            assert_eq!(stored(&account).as_array().unwrap().len(), sessions.len());
        }
    }
}
