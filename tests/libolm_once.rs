//! A session that libolm pickled lives once: in one room or channel, and not again after it was
//! erased. A ratchet that is used twice gives two plaintexts under one key.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;
#[allow(dead_code)]
#[path = "foreign/place.rs"]
mod place;

use std::sync::Arc;

use common::{Device, fails, fails_saying, v};
use matrixe2ee::{Account, OlmChannel, OutboundMegolmSession, Result, Store};
use place::{Fault, Lie, Place};
use serde_json::{Value, json};

const ROOM: &str = "!room:example.org";
const OTHER_ROOM: &str = "!other:example.org";
const EVE: &str = "@eve:example.org";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The fixture's device after its account has moved.
struct Moved {
    fixture: Value,
    account: Arc<Account>,
    store: Arc<Store>,
}

impl Moved {
    fn new() -> Self {
        Self::into(Store::in_memory(vec![7; 32]).unwrap())
    }

    fn into(store: Arc<Store>) -> Self {
        let fixture = v(include_str!("fixtures/libolm_sessions.json"));
        let account = Self::account(&fixture, &store);
        Self { fixture, account, store }
    }

    fn account(fixture: &Value, store: &Arc<Store>) -> Arc<Account> {
        let us = &fixture["us"];
        let (user, device, pickle) = (&us["user_id"], &us["device_id"], &us["account"]);
        let key = text(&fixture["pickle_key"]).as_bytes().to_vec();
        Account::from_libolm_pickle(store, text(user), text(device), text(pickle), key).unwrap();
        Device::open_in(Arc::clone(store), text(user), text(device)).account
    }

    fn key(&self) -> Vec<u8> {
        text(&self.fixture["pickle_key"]).as_bytes().to_vec()
    }

    fn them(&self) -> (&str, &str) {
        let them = &self.fixture["them"];
        (text(&them["user_id"]), text(&them["identity_key"]))
    }

    fn olm_item(&self, number: usize, user_id: &str, identity_key: &str) -> Value {
        json!({"kind": "olm", "user_id": user_id, "identity_key": identity_key,
               "pickle": self.fixture["us"]["sessions"][number]})
    }

    fn outbound_item(&self, room_id: &str) -> Value {
        json!({"kind": "outbound_megolm", "room_id": room_id,
               "pickle": self.fixture["us"]["outbound"]})
    }

    /// The numbers of imported and known ones, and the errors.
    fn import(&self, items: &[Value]) -> (u64, u64, Vec<(u64, String)>) {
        let list = json!(items).to_string();
        let report = v(&self.account.import_libolm_sessions(&list, self.key()).unwrap());
        let failed = report["failed"].as_array().unwrap().iter();
        let failed = failed
            .map(|f| (f["index"].as_u64().unwrap(), text(&f["error"]["name"]).to_owned()))
            .collect();
        (report["imported"].as_u64().unwrap(), report["known"].as_u64().unwrap(), failed)
    }

    fn outbound(&self, room_id: &str) -> Result<Arc<OutboundMegolmSession>> {
        let pickle = text(&self.fixture["us"]["outbound"]);
        OutboundMegolmSession::from_libolm_pickle(&self.account, room_id, pickle, self.key())
    }

    fn channel(&self, user_id: &str, identity_key: &str) -> Result<Arc<OlmChannel>> {
        let pickles = self.fixture["us"]["sessions"].to_string();
        let key = self.key();
        OlmChannel::from_libolm_pickles(&self.account, user_id, identity_key, &pickles, key)
    }
}

fn failed(index: u64, name: &str) -> Vec<(u64, String)> {
    vec![(index, name.to_owned())]
}

// SEC-56
#[test]
fn an_outbound_session_has_one_room_however_it_came() {
    let moved = Moved::new();
    let items = [ROOM, OTHER_ROOM, ROOM].map(|room| moved.outbound_item(room));
    assert_eq!(moved.import(&items), (1, 1, failed(1, "WRONG_ROOM")));
    assert_eq!(moved.import(&items[1..2]), (0, 0, failed(0, "WRONG_ROOM")));
    fails(moved.outbound(OTHER_ROOM), "WRONG_ROOM");
    fails(moved.outbound(ROOM), "ALREADY_EXISTS");
    let open = OutboundMegolmSession::create_from_storage;
    fails(open(&moved.account, OTHER_ROOM, None), "NOT_FOUND");

    let moved = Moved::new();
    moved.outbound(ROOM).unwrap();
    fails(moved.outbound(OTHER_ROOM), "WRONG_ROOM");
    assert_eq!(moved.import(&items), (0, 2, failed(1, "WRONG_ROOM")));
}

// SEC-56, SEC-114
#[test]
fn an_outbound_session_that_was_erased_does_not_come_back() {
    let moved = Moved::new();
    let outbound = moved.outbound(ROOM).unwrap();
    outbound.encrypt("m.dummy", "{}").unwrap();
    outbound.erase().unwrap();
    fails_saying(moved.outbound(ROOM), "ALREADY_EXISTS", "erased");
    fails(moved.outbound(OTHER_ROOM), "WRONG_ROOM");
    assert_eq!(moved.import(&[moved.outbound_item(ROOM)]), (0, 1, vec![]));
    let open = OutboundMegolmSession::create_from_storage;
    fails(open(&moved.account, ROOM, None), "NOT_FOUND");
    // The account as it is in its pickle never had a session.
    moved.account.erase().unwrap();
    let moved = Moved::into(moved.store);
    assert_eq!(moved.import(&[moved.outbound_item(OTHER_ROOM)]), (1, 0, vec![]));
}

#[test]
fn an_olm_session_has_one_channel_however_it_came() {
    let moved = Moved::new();
    let (user, key) = moved.them();
    let items = [user, EVE, user].map(|user| moved.olm_item(0, user, key));
    assert_eq!(moved.import(&items), (1, 1, failed(1, "INVALID_FIELD")));
    assert_eq!(moved.import(&items[1..2]), (0, 0, failed(0, "INVALID_FIELD")));
    fails_saying(moved.channel(EVE, key), "INVALID_FIELD", "another device");
    fails(OlmChannel::create_from_storage(&moved.account, EVE, key), "NOT_FOUND");
    // A session that is refused spoils no other of its channel.
    let items = [moved.olm_item(0, EVE, key), moved.olm_item(1, EVE, key)];
    assert_eq!(moved.import(&items), (1, 0, failed(0, "INVALID_FIELD")));
    fails_saying(moved.channel(user, key), "INVALID_FIELD", "another device");

    let moved = Moved::new();
    moved.channel(user, key).unwrap();
    assert_eq!(moved.import(&items[..1]), (0, 0, failed(0, "INVALID_FIELD")));
}

// SEC-114
#[test]
fn olm_sessions_that_were_erased_do_not_come_back() {
    let moved = Moved::new();
    let (user, key) = moved.them();
    moved.channel(user, key).unwrap().erase().unwrap();
    fails_saying(moved.channel(user, key), "ALREADY_EXISTS", "erased");
    let items: Vec<_> = (0..3).map(|number| moved.olm_item(number, user, key)).collect();
    assert_eq!(moved.import(&items), (0, 3, vec![]));
    fails(OlmChannel::create_from_storage(&moved.account, user, key), "NOT_FOUND");
    moved.account.erase().unwrap();
    let again = Moved::into(Arc::clone(&moved.store));
    assert_eq!(again.import(&items), (3, 0, vec![]));
}

// SEC-101
#[test]
fn one_device_is_one_channel_with_its_key_padded_or_not() {
    let moved = Moved::new();
    let (user, key) = moved.them();
    let padded = format!("{key}=");
    let keys = [key, padded.as_str(), key];
    let items: Vec<_> = (0..3).map(|number| moved.olm_item(number, user, keys[number])).collect();
    assert_eq!(moved.import(&items), (3, 0, vec![]));
    let channel = OlmChannel::create_from_storage(&moved.account, user, key).unwrap();
    assert_eq!(channel.session_count().unwrap(), 3);
}

// SEC-112
#[test]
fn a_damaged_store_stops_the_import_and_is_no_fault_of_the_sessions() {
    let place = Place::default();
    let moved = Moved::into(Store::foreign(Arc::new(place.clone()), vec![7; 32]).unwrap());
    let (user, key) = moved.them();
    let inbound = json!({"kind": "inbound_megolm", "room_id": ROOM, "sender_key": key,
                         "pickle": moved.fixture["us"]["inbound"]});
    let items = [moved.olm_item(0, user, key), moved.outbound_item(ROOM), inbound];
    let list = json!(items).to_string();
    moved.import(&items);
    let (user, device) = (&moved.fixture["us"]["user_id"], &moved.fixture["us"]["device_id"]);
    let mut told = 0;
    for at in 0.. {
        let place = place.copy();
        let store = Store::foreign(Arc::new(place.clone()), vec![7; 32]).unwrap();
        let account = Account::open(&store, text(user), text(device)).unwrap();
        // For good: what is read altered once is read again.
        place.arm(at, Fault::Lies(Lie::AlteredValue));
        let result = account.import_libolm_sessions(&list, moved.key());
        let struck = place.disarm();
        match result {
            Err(error) => {
                assert_eq!(error.name(), "CORRUPT");
                told += 1;
            }
            Ok(report) => assert_eq!(v(&report)["known"], 3, "call {at}: {report}"),
        }
        if place.take_calls() <= at {
            assert!(!struck);
            break;
        }
    }
    assert!(told >= 3, "{told}");
    assert_eq!(moved.import(&items), (0, 3, vec![]));
}
