//! Replay records hold the uses of many indices each: what is noted one by one, in lists and after
//! failures stays together, and damage costs what one record holds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;
#[allow(dead_code)]
#[path = "foreign/place.rs"]
mod place;

use std::sync::Arc;

use common::{Device, fails, v};
use matrixe2ee::{E2eeError, InboundMegolmSession, Store, typed};
use place::{Fault, Place};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, SessionConfig, SessionKey};

const KEY: [u8; 32] = [7; 32];
const USES: &str = "inbound_megolm_use";
const ROOM: &str = "!room";
const BOB: &str = "@bob:b.org";
const CAROL: &str = "@carol:c.org";

/// Alice, who receives, and the session that Bob sends with.
struct Talk {
    place: Place,
    alice: Device,
    bobs: GroupSession,
    /// Of unknown owner: anybody may have sent its events.
    inbound: Arc<InboundMegolmSession>,
}

fn device(place: &Place) -> Device {
    let store = Store::foreign(Arc::new(place.clone()), KEY.to_vec()).unwrap();
    Device::open_in(store, "@alice:a.org", "A")
}

impl Talk {
    fn new() -> Self {
        let place = Place::default();
        let alice = device(&place);
        let bobs = GroupSession::new(SessionConfig::version_1());
        let export = json!({
            "algorithm": "m.megolm.v1.aes-sha2", "forwarding_curve25519_key_chain": [],
            "room_id": ROOM, "session_id": bobs.session_id(), "sender_claimed_keys": {},
            "sender_key": alice.identity_key(), "session_key": exported(&bobs.session_key()),
        });
        let inbound =
            InboundMegolmSession::from_export(&alice.account, &export.to_string(), None).unwrap();
        Self { place, alice, bobs, inbound }
    }

    /// What follows sees only what is stored.
    fn reopen(&mut self) {
        self.alice.store.shut_down().unwrap();
        self.alice = device(&self.place);
        let id = self.bobs.session_id();
        self.inbound =
            InboundMegolmSession::from_storage(&self.alice.account, ROOM, &id, None).unwrap();
    }

    fn contents(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.content()).collect()
    }

    fn content(&mut self) -> Value {
        let plaintext = json!({"type": "m.room.message", "room_id": ROOM, "content": {}});
        json!({
            "algorithm": "m.megolm.v1.aes-sha2", "session_id": self.bobs.session_id(),
            "ciphertext": self.bobs.encrypt(plaintext.to_string()).to_base64(),
        })
    }

    fn decrypt(&self, sender: &str, event_id: &str, content: &Value) -> matrixe2ee::Result<String> {
        self.inbound.decrypt(&event(sender, event_id, content).to_string())
    }

    fn decrypt_list(&self, events: &[Value]) -> Vec<Value> {
        let answers = self.alice.account.decrypt_room_events(&json!(events).to_string());
        v(&answers.unwrap()).as_array().unwrap().clone()
    }

    fn use_records(&self) -> Vec<place::Name> {
        let names = self.place.records().now.into_keys();
        names.filter(|(collection, _)| collection == USES).collect()
    }
}

fn exported(key: &SessionKey) -> String {
    let config = SessionConfig::version_1();
    vodozemac::megolm::InboundGroupSession::new(key, config)
        .export_at_first_known_index()
        .to_base64()
}

fn event(sender: &str, event_id: &str, content: &Value) -> Value {
    json!({
        "event_id": event_id, "sender": sender, "room_id": ROOM, "origin_server_ts": 1,
        "content": content,
    })
}

#[test]
fn what_is_noted_alone_and_in_lists_is_in_a_few_records_and_all_of_it_is_remembered() {
    let mut talk = Talk::new();
    let contents = talk.contents(100);
    let id = |index: usize| format!("${index}");
    // In pieces of one, two and three messages, so that blocks begin and end anywhere.
    let mut from = 0;
    for length in [1, 2, 1, 1, 3].into_iter().cycle() {
        let to = (from + length).min(contents.len());
        if to - from == 1 {
            talk.decrypt(BOB, &id(from), &contents[from]).unwrap();
        } else {
            let events: Vec<_> = (from..to).map(|n| event(BOB, &id(n), &contents[n])).collect();
            let answers = talk.decrypt_list(&events);
            assert!(answers.iter().all(|answer| answer["error"].is_null()), "{answers:?}");
        }
        if to == contents.len() {
            break;
        }
        from = to;
    }
    // 0 to 31, to 63, to 95, to 99.
    assert_eq!(talk.use_records().len(), 4);
    for round in 0..2 {
        for (index, content) in contents.iter().enumerate().rev() {
            talk.decrypt(BOB, &id(index), content).unwrap();
            fails(talk.decrypt(BOB, "$another", content), "REPLAY"); // M27, SEC-51
        }
        let again: Vec<_> =
            contents.iter().map(|content| event(BOB, "$another", content)).collect();
        let answers = talk.decrypt_list(&again);
        assert!(answers.iter().all(|answer| answer["error"]["name"] == "REPLAY"), "{round}");
        talk.reopen(); // D3, M28
    }
    talk.inbound.erase().unwrap();
    assert!(talk.use_records().is_empty());
}

#[test]
fn senders_have_blocks_of_their_own_also_in_turn() {
    let mut talk = Talk::new();
    for content in talk.contents(3) {
        talk.decrypt(CAROL, "$copy", &content).unwrap();
        talk.decrypt(BOB, "$original", &content).unwrap();
        fails(talk.decrypt(CAROL, "$original", &content), "REPLAY");
        fails(talk.decrypt(BOB, "$copy", &content), "REPLAY"); // SEC-51
    }
    assert_eq!(talk.use_records().len(), 2);
}

#[test]
fn after_a_failed_commit_the_store_says_whose_the_index_is() {
    for in_list in [false, true] {
        for (fault, is_made) in [(Fault::Before, false), (Fault::After, true)] {
            let mut talk = Talk::new();
            let contents = talk.contents(3);
            talk.decrypt(BOB, "$0", &contents[0]).unwrap();
            // The block is in memory, so that the commit is the only call.
            talk.place.take_calls();
            talk.place.arm(0, fault);
            if in_list {
                let list = json!([event(BOB, "$1", &contents[1])]).to_string();
                fails(talk.alice.account.decrypt_room_events(&list), "STORE_IO");
            } else {
                fails(talk.decrypt(BOB, "$1", &contents[1]), "STORE_IO");
            }
            assert!(talk.place.disarm());
            let other = talk.decrypt(BOB, "$other", &contents[1]);
            if is_made {
                fails(other, "REPLAY"); // SEC-51, SEC-114
                talk.decrypt(BOB, "$1", &contents[1]).unwrap();
            } else {
                other.unwrap();
                fails(talk.decrypt(BOB, "$1", &contents[1]), "REPLAY");
            }
            talk.decrypt(BOB, "$2", &contents[2]).unwrap();
            talk.reopen();
            fails(talk.decrypt(BOB, "$x", &contents[0]), "REPLAY");
            fails(talk.decrypt(BOB, "$x", &contents[1]), "REPLAY");
            fails(talk.decrypt(BOB, "$x", &contents[2]), "REPLAY");
        }
    }
}

#[test]
fn a_unit_of_work_sees_what_it_noted_and_leaves_nothing_behind_if_it_is_dropped() {
    let (mut talk, place) = (Talk::new(), Place::default());
    let contents = talk.contents(3);
    let store = typed::Store::foreign(Arc::new(place.clone()), &KEY).unwrap();
    let user_id = |text: &str| typed::UserId::read("user_id", text).unwrap();
    let device_id = typed::DeviceId::read("device_id", "A").unwrap();
    let account = typed::Account::open(&store, user_id("@alice:a.org"), device_id).unwrap();
    let account = Arc::new(account);
    let object = |value: Value| value.as_object().unwrap().clone();
    let export = object(v(&talk.inbound.export_at(None).unwrap()));
    for is_committed in [false, true] {
        let mut tx = account.begin().unwrap();
        let session =
            typed::InboundMegolmSession::from_export(&account, &mut tx, &export, None).unwrap();
        session.decrypt(&mut tx, &object(event(BOB, "$0", &contents[0]))).unwrap();
        // An event that is refused spoils nothing of what came before it.
        let refused = session.decrypt(&mut tx, &object(event(BOB, "$x", &contents[0])));
        fails(refused, "REPLAY"); // SEC-51
        let list: Vec<Box<RawValue>> = [("$y", 0), ("$1", 1), ("$z", 1), ("$2", 2)]
            .iter()
            .map(|(id, at)| serde_json::value::to_raw_value(&event(BOB, id, &contents[*at])))
            .collect::<Result<_, _>>()
            .unwrap();
        let list: Vec<&RawValue> = list.iter().map(|event| &**event).collect();
        let answers = typed::decrypt_room_events(&account, &mut tx, &list).unwrap();
        let names: Vec<_> =
            answers.iter().map(|answer| answer.as_ref().err().map(E2eeError::name)).collect();
        assert_eq!(names, [Some("REPLAY"), None, Some("REPLAY"), None]);
        let stored = |name: &&place::Name| ["inbound_megolm_session", USES].contains(&&*name.0);
        assert_eq!(place.records().now.keys().filter(stored).count(), 0);
        if is_committed {
            place.take_calls();
            tx.commit().unwrap();
            assert_eq!(place.take_calls(), 1);
            assert_eq!(place.records().now.keys().filter(stored).count(), 2);
            let mut tx = account.begin().unwrap();
            for (at, content) in contents.iter().enumerate() {
                let again = object(event(BOB, &format!("${at}"), content));
                session.decrypt(&mut tx, &again).unwrap();
                fails(session.decrypt(&mut tx, &object(event(BOB, "$x", content))), "REPLAY");
            }
        } else {
            drop(tx);
            let mut tx = account.begin().unwrap();
            fails(session.decrypt(&mut tx, &object(event(BOB, "$0", &contents[0]))), "NOT_FOUND");
        }
    }
}

#[test]
fn a_damaged_block_is_corrupt_for_its_messages_and_salvage_leaves_it_behind() {
    let mut talk = Talk::new();
    let contents = talk.contents(80);
    // Of the first block one is not read yet.
    for index in (0..31).chain([40]) {
        talk.decrypt(BOB, &format!("${index}"), &contents[index]).unwrap();
    }
    talk.alice.store.shut_down().unwrap();
    // The one of 31 messages is the longer one.
    let records = talk.place.records().now;
    let name = talk.use_records().into_iter().max_by_key(|name| records[name].len()).unwrap();
    let mut value = records[&name].clone();
    let middle = value.len() / 2;
    value[middle] ^= 4;
    talk.place.put(name, Some(value.clone()));
    talk.reopen();
    let told = json!([{"collection": USES, "kind": "damaged", "count": 1}]);
    assert_eq!(v(&talk.alice.store.problems().unwrap()), told);
    for index in [0, 30, 31] {
        fails(talk.decrypt(BOB, &format!("${index}"), &contents[index]), "CORRUPT");
    }
    // In a list, too, and the others in it are not concerned.
    let list: Vec<_> =
        [0, 31, 40, 41].iter().map(|n| event(BOB, &format!("${n}"), &contents[*n])).collect();
    let answers = talk.decrypt_list(&list);
    let names: Vec<_> = answers.iter().map(|answer| answer["error"]["name"].as_str()).collect();
    assert_eq!(names, [Some("CORRUPT"), Some("CORRUPT"), None, None]);
    // Other senders, other blocks.
    talk.decrypt(CAROL, "$0", &contents[0]).unwrap();
    talk.decrypt(BOB, "$70", &contents[70]).unwrap();
    fails(talk.decrypt(BOB, "$x", &contents[40]), "REPLAY");
    // Nothing has mended it in silence.
    assert_eq!(v(&talk.alice.store.problems().unwrap()), told);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db").to_str().unwrap().to_owned();
    talk.alice.store.salvage(&path, KEY.to_vec()).unwrap();
    let copy =
        Device::open_in(Store::open_sqlite(&path, KEY.to_vec()).unwrap(), "@alice:a.org", "A");
    let id = talk.bobs.session_id();
    talk.inbound = InboundMegolmSession::from_storage(&copy.account, ROOM, &id, None).unwrap();
    for index in [0, 30, 31] {
        talk.decrypt(BOB, &format!("${index}"), &contents[index]).unwrap();
    }
    fails(talk.decrypt(BOB, "$x", &contents[40]), "REPLAY");
    assert_eq!(copy.store.problems().unwrap(), "[]");
}
