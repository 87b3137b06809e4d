//! One flipped bit, anywhere in the file of a store: the rest goes on, `problems` tells of it, `salvage`
//! makes a new store of what is good, and no key is used twice. (Issue 10, "Damage".)
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::sqlite::{KEY, SqliteDirectory};
use common::{Device, TestClock, v};
use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Result, Store,
};
use serde_json::{Value, json};

const USER: &str = "@alice:example.org";
const NEW_KEY: [u8; 32] = [9; 32];
const ROOMS: [&str; 2] = ["!one:example.org", "!two:example.org"];

fn event(room: &str, id: &str, content: &Value) -> String {
    json!({"event_id": id, "sender": USER, "room_id": room, "content": content}).to_string()
}

fn index(content: &Value) -> u32 {
    let text = content["ciphertext"].as_str().unwrap();
    vodozemac::megolm::MegolmMessage::from_base64(text).unwrap().message_index()
}

/// What a store had when it was closed, and what it sent.
struct Lived {
    identity_key: String,
    bob: Device,
    sent: BTreeMap<&'static str, Value>,
}

fn live(path: &Path) -> Lived {
    let store = Store::open_sqlite(path.to_str().unwrap(), KEY.to_vec()).unwrap();
    let alice = Device::open_in(store, USER, "ALICE");
    let bob = Device::new("@bob:example.org", "BOB");
    let channel = alice.channel_to(&bob);
    let first = channel.encrypt("m.dummy", "{}").unwrap();
    let back = bob.receive_first(&alice, &first).unwrap();
    channel.decrypt(&back.encrypt("m.dummy", "{}").unwrap()).unwrap();
    let recipients = json!({
        "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "members": {"@bob:example.org": "join"},
        "device_keys": {"@bob:example.org": {"BOB": v(&bob.device_keys())}},
    });
    let mut sent = BTreeMap::new();
    for room in ROOMS {
        let outbound = OutboundMegolmSession::create(&alice.account, room, None).unwrap();
        let lines = v(&outbound.get_session_key_for_sending(&recipients.to_string()).unwrap());
        outbound.mark_as_sent(&json!([lines[0]["device"]]).to_string()).unwrap();
        let inbound = InboundMegolmSession::from_outbound_session(&outbound).unwrap();
        let content = v(&outbound.encrypt("m.room.message", r#"{"body":"x"}"#).unwrap());
        inbound.decrypt(&event(room, "$1", &content)).unwrap();
        sent.insert(room, content);
    }
    let identity_key = alice.identity_key();
    alice.store.shut_down().unwrap();
    Lived { identity_key, bob, sent }
}

/// Uses all there is; gives how many objects are out of use. No other error is accepted.
fn use_all(store: &std::sync::Arc<Store>, lived: &Lived) -> usize {
    let mut broken = 0;
    let mut works = |result: Result<()>| match result {
        Ok(()) => {}
        Err(error) => {
            assert!(["CORRUPT", "NOT_FOUND", "NO_SESSION"].contains(&error.name()), "{error}");
            broken += 1;
        }
    };
    let account = match Account::open(store, USER, "ALICE") {
        Ok(account) => account,
        Err(error) => {
            // Never a new account in place of the damaged one.
            assert_eq!(error.name(), "CORRUPT");
            return usize::MAX;
        }
    };
    assert_eq!(account.identity_key().unwrap(), lived.identity_key);
    works(
        OlmChannel::create_from_storage(&account, "@bob:example.org", &lived.bob.identity_key())
            .and_then(|channel| channel.encrypt("m.dummy", "{}").map(drop)),
    );
    for (room, content) in &lived.sent {
        works(OutboundMegolmSession::create_from_storage(&account, room, None).and_then(
            |session| {
                let next = v(&session.encrypt("m.room.message", "{}")?);
                // SEC-114: no key is used twice.
                assert!(index(&next) > index(content));
                Ok(())
            },
        ));
        let id = content["session_id"].as_str().unwrap();
        works(
            InboundMegolmSession::from_storage(&account, room, id, None)
                .and_then(|session| session.decrypt(&event(room, "$1", content)).map(drop)),
        );
    }
    broken
}

#[test]
fn a_flipped_bit_in_any_record_costs_its_object_alone_and_the_rest_is_salvaged() {
    let directory = SqliteDirectory::new();
    let lived = live(&directory.path());
    let folder = directory.path().parent().unwrap().to_owned();
    let open = |path: &Path, key: &[u8]| {
        let store = Store::open_sqlite(path.to_str().unwrap(), key.to_vec())?;
        store.set_clock(TestClock::new())?;
        Ok::<_, E2eeError>(store)
    };
    let records: Vec<(String, Vec<u8>)> = {
        let file = rusqlite::Connection::open(directory.path()).unwrap();
        let mut rows = file.prepare("SELECT collection, key FROM record").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(std::result::Result::unwrap).collect()
    };
    let (mut tried, mut accounts) = (std::collections::BTreeSet::new(), 0);
    for (number, (collection, key)) in records.iter().enumerate() {
        let damaged = folder.join(format!("{number}.db"));
        fs::copy(directory.path(), &damaged).unwrap();
        let file = rusqlite::Connection::open(&damaged).unwrap();
        let get = "SELECT value FROM record WHERE collection = ?1 AND key = ?2";
        let mut value: Vec<u8> =
            file.query_row(get, rusqlite::params![collection, key], |row| row.get(0)).unwrap();
        let middle = value.len() / 2;
        value[middle] ^= 4;
        let put = "UPDATE record SET value = ?3 WHERE collection = ?1 AND key = ?2";
        file.execute(put, rusqlite::params![collection, key, value]).unwrap();
        drop(file);
        let store = match open(&damaged, &KEY) {
            Ok(store) => store,
            Err(error) => {
                assert!(["vault", "vault_manifest"].contains(&collection.as_str()), "{error}");
                continue;
            }
        };
        tried.insert(collection.clone());
        let problems = v(&store.problems().unwrap());
        let named = problems.as_array().unwrap().iter().any(|one| one["collection"] == *collection);
        assert!(named && problems.as_array().unwrap().len() <= 2, "{collection}: {problems}");
        // The copy first: what is encrypted here must not be encrypted again there.
        let copy = folder.join(format!("{number}-copy.db"));
        store.salvage(copy.to_str().unwrap(), NEW_KEY.to_vec()).unwrap();
        let copied = open(&copy, &NEW_KEY).unwrap();
        for (store, what) in [(&store, "here"), (&copied, "in the copy")] {
            match use_all(store, &lived) {
                usize::MAX => accounts += 1,
                // What only told replays is left behind, so that its message can be read again.
                broken if collection == "inbound_megolm_use" && what == "in the copy" => {
                    assert_eq!(broken, 0, "{collection}");
                }
                broken => assert!(broken <= 2, "{collection}, {what}: {broken}"),
            }
            // With any record damaged, the room can go on with another session.
            if let (Ok(account), true) =
                (Account::open(store, USER, "ALICE"), collection != "vault_index")
            {
                for room in ROOMS {
                    OutboundMegolmSession::create(&account, room, None).unwrap();
                }
            }
        }
        // Erasing makes it whole.
        if let Ok(account) = Account::open(&store, USER, "ALICE") {
            account.erase().unwrap();
            assert_eq!(store.problems().unwrap(), "[]", "{collection}");
        }
        store.shut_down().unwrap();
        copied.shut_down().unwrap();
    }
    assert!(tried.len() >= 10, "{tried:?}");
    // The account's own record, and the node of the index that vouches for it.
    assert_eq!(accounts, 4);
}
