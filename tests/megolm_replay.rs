//! The replay guard, decrypting many events at once, listing and exporting sessions.

#[path = "common/rooms.rs"]
mod rooms;

use std::sync::Arc;

use matrixe2ee::InboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};

struct Talk {
    alice: Device,
    bob: Device,
    raw: RawSession,
    inbound: Arc<InboundMegolmSession>,
}

impl Talk {
    fn with(bob: Device) -> Self {
        let alice = Device::new(ALICE, "A");
        let raw = RawSession::new();
        let inbound = ok(bob.receive(&alice, &raw.room_key()));
        Self { alice, bob, raw, inbound }
    }

    fn new() -> Self {
        Self::with(Device::new(BOB, "B"))
    }

    fn on_disk() -> Self {
        Self::with(Device::on_disk(BOB, "B"))
    }

    fn reopen(&mut self) {
        self.bob.reopen();
        let account = &self.bob.account;
        self.inbound = ok(InboundMegolmSession::from_storage(account, ROOM, &self.raw.id(), None));
    }

    fn event(&mut self, event_id: &str, body: &str) -> Value {
        let content = self.raw.message(body);
        self.alice.event(event_id, &content)
    }

    fn decrypt(&self, event: &Value) -> matrixe2ee::Result<String> {
        self.inbound.decrypt(&event.to_string())
    }

    fn decrypt_many(&self, events: &[Value]) -> Vec<Value> {
        let items = answer(self.inbound.decrypt_many(&json!(events).to_string()));
        items.as_array().unwrap().clone()
    }
}

fn renamed(event: &Value, event_id: &str) -> Value {
    let mut event = event.clone();
    event["event_id"] = json!(event_id);
    event
}

fn at(event: &Value, origin_server_ts: i64) -> Value {
    let mut event = event.clone();
    event["origin_server_ts"] = json!(origin_server_ts);
    event
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["error"]["name"].as_str().unwrap_or("ok")).collect()
}

#[test]
fn an_event_decrypts_again_and_another_one_at_its_index_never() {
    let mut talk = Talk::on_disk();
    let first = talk.event("$first", "at index 0");
    let second = talk.event("$second", "at index 1");
    for round in 0..3 {
        for event in [&first, &second] {
            for _ in 0..2 {
                ok(talk.decrypt(event)); // M27, P7: the same event, any number of times
            }
        }
        let error = parse(&refused(talk.decrypt(&renamed(&first, "$replay"))).to_json());
        assert_eq!(error["name"], "REPLAY", "round {round}"); // M27, SEC-51, P7
        assert_eq!(error["message_index"], 0);
        assert_eq!(error["event_id"], "$first");
        let swapped = talk.decrypt(&renamed(&second, "$first"));
        assert_eq!(error_field(swapped, "event_id"), "$second"); // M27
        talk.reopen(); // D3, M28: also after a restart
    }
}

#[test]
fn the_replay_guard_does_not_wait_for_the_store_to_be_shut_down() {
    let mut talk = Talk::on_disk();
    let event = talk.event("$1", "hello");
    let before = talk.bob.bytes();
    ok(talk.decrypt(&event));
    let after = talk.bob.bytes();
    assert!(after != before, "the use of the index is committed"); // M28, SEC-51
    ok(talk.decrypt(&event));
    assert!(talk.bob.bytes() == after, "nothing new, so nothing is written");
}

#[test]
fn timestamps_count_only_if_both_events_have_one() {
    let mut talk = Talk::on_disk();
    let event = talk.event("$1", "hello");
    ok(talk.decrypt(&at(&event, 1_000)));
    ok(talk.decrypt(&at(&event, 1_000))); // SEC-51
    ok(talk.decrypt(&event)); // SEC-51
    assert_eq!(error_name(talk.decrypt(&at(&event, 2_000))), "REPLAY"); // SEC-51
    talk.reopen();
    assert_eq!(error_name(talk.decrypt(&at(&event, 2_000))), "REPLAY"); // SEC-51, D3
    let undated = talk.event("$2", "hello");
    ok(talk.decrypt(&undated));
    ok(talk.decrypt(&at(&undated, 3_000))); // SEC-51
    let renamed = renamed(&undated, "$3");
    assert_eq!(error_name(talk.decrypt(&renamed)), "REPLAY"); // SEC-51: the event ID decides
}

#[test]
fn another_session_has_replay_records_of_its_own() {
    let mut talk = Talk::new();
    let event = talk.event("$1", "hello");
    ok(talk.decrypt(&event));
    let mut other = RawSession::new();
    let inbound = ok(talk.bob.receive(&talk.alice, &other.room_key()));
    let event = talk.alice.event("$2", &other.message("also at index 0"));
    ok(inbound.decrypt(&event.to_string())); // M27
}

#[test]
fn a_list_is_decrypted_in_order_and_one_bad_event_spoils_no_other() {
    let mut talk = Talk::on_disk();
    let events: Vec<Value> =
        (0..6).map(|n| talk.event(&format!("${n}"), &format!("body {n}"))).collect();
    let mut wrong_sender = events[5].clone();
    wrong_sender["sender"] = json!(CAROL);
    let mut damaged = events[5].clone();
    damaged["content"]["ciphertext"] = json!("AAAA");
    let list = [
        events[3].clone(),
        json!(5),
        events[0].clone(),
        wrong_sender,
        renamed(&events[0], "$replay"),
        damaged,
        json!({}),
        events[0].clone(),
        events[2].clone(),
        json!({ "pad": "x".repeat(65_536) }),
    ];
    let items = talk.decrypt_many(&list);
    let expected = [
        "ok",
        "INVALID_FIELD",
        "ok",
        "WRONG_SENDER", // D5, SEC-50
        "REPLAY",       // M27, SEC-51: within one list
        "UNABLE_TO_DECRYPT",
        "INVALID_FIELD",
        "ok", // M27: the same event
        "ok",
        "TOO_LARGE",
    ];
    assert_eq!(names(&items), expected);
    for (item, body) in [(0, "body 3"), (2, "body 0"), (7, "body 0"), (8, "body 2")] {
        assert_eq!(items[item]["event"]["content"]["body"], body);
        assert_eq!(items[item].as_object().unwrap().len(), 1);
    }
    talk.reopen();
    assert_eq!(error_name(talk.decrypt(&renamed(&events[3], "$x"))), "REPLAY"); // M28, SEC-51
    ok(talk.decrypt(&renamed(&events[5], "$x"))); // D6: what failed has claimed nothing
}

#[test]
fn a_deep_or_repeating_event_in_a_list_is_its_own_error() {
    let mut talk = Talk::new();
    let good = talk.event("$1", "hello");
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let list = format!(r#"[{deep}, {{"a": 1, "a": 2}}, {good}]"#);
    let items = answer(talk.inbound.decrypt_many(&list));
    assert_eq!(names(items.as_array().unwrap()), ["INVALID_JSON", "INVALID_JSON", "ok"]);
}

#[test]
fn a_list_that_cannot_be_read_fails_as_a_whole() {
    let mut talk = Talk::on_disk();
    let event = talk.event("$1", "hello");
    let before = talk.bob.bytes();
    for (list, name) in [
        (format!("[{event}"), "INVALID_JSON"),
        (format!("[{event}] x"), "INVALID_JSON"),
        (event.to_string(), "INVALID_FIELD"),
        (String::new(), "INVALID_JSON"),
    ] {
        assert_eq!(error_name(talk.inbound.decrypt_many(&list)), name, "{list:.20}");
    }
    assert_eq!(ok(talk.inbound.decrypt_many(" [] ")), "[]");
    assert!(talk.bob.bytes() == before, "nothing is stored");
    ok(talk.decrypt(&renamed(&event, "$2")));
}

#[test]
fn many_events_at_once_give_what_they_give_one_by_one() {
    let mut talk = Talk::new();
    let mut events: Vec<Value> =
        (0..1_200).map(|n| talk.event(&format!("${n}"), &format!("body {n}"))).collect();
    let (width, half) = (events.len(), events.len() / 2);
    for n in 0..half {
        events.swap(n, (n * 7_919) % width); // far from in order
    }
    for n in (0..width).step_by(97) {
        let again = renamed(&events[n], &format!("$again{n}"));
        events.insert((n * 31) % width, again);
        events.insert((n * 17) % width, json!({ "event_id": n }));
    }
    let other = Device::new(BOB, "B");
    let account = &other.account;
    let exported = ok(talk.inbound.export_at(None));
    let owner = talk.alice.identity_key();
    let twin = RawSession(vodozemac::megolm::GroupSession::from_pickle(talk.raw.0.pickle()));
    ok(InboundMegolmSession::from_export(account, &exported, None));
    let key = twin.room_key().to_string(); // so that its owner is known here, too
    let slow = ok(InboundMegolmSession::from_room_key(account, ALICE, &owner, &key));
    let one_by_one: Vec<Value> = events
        .iter()
        .map(|event| match slow.decrypt(&event.to_string()) {
            Ok(event) => json!({ "event": parse(&event) }),
            Err(error) => json!({ "error": parse(&error.to_json()) }),
        })
        .collect();
    let at_once = talk.decrypt_many(&events);
    assert_eq!(at_once.len(), events.len());
    assert!(at_once == one_by_one, "the same items in the same order");
    assert_eq!(names(&at_once).iter().filter(|name| **name == "ok").count(), 1_200);
    assert_eq!(talk.decrypt_many(&events), at_once); // M27: again
}

#[test]
fn a_list_may_hold_a_thousand_replays_of_one_message() {
    let mut talk = Talk::new();
    let event = talk.event("$0", "hello");
    let events: Vec<Value> = (0..1_000).map(|n| renamed(&event, &format!("${n}"))).collect();
    let items = talk.decrypt_many(&events);
    assert_eq!(names(&items[..1]), ["ok"]); // the first in the list has the index
    assert!(names(&items[1..]).iter().all(|name| *name == "REPLAY")); // M27, P7
}

#[test]
fn the_stored_sessions_are_listed_for_one_room_or_all() {
    let mut talk = Talk::on_disk();
    let mut elsewhere = RawSession::new();
    elsewhere.message("moves on");
    let mut data = elsewhere.export(&talk.alice);
    data["room_id"] = json!("!elsewhere");
    ok(InboundMegolmSession::from_export(&talk.bob.account, &data.to_string(), None));
    for _ in 0..2 {
        let here = json!({ "room_id": ROOM, "session_id": talk.raw.id(), // M21, M29, SEC-45
            "sender_key": talk.alice.identity_key(), "owner_user_id": ALICE,
            "first_known_index": 0, "authenticated": true });
        let there = json!({ "room_id": "!elsewhere", "session_id": elsewhere.id(),
            "sender_key": talk.alice.identity_key(), "first_known_index": 1,
            "authenticated": false }); // SEC-45: no owner is known
        let all = talk.bob.sessions();
        let all = all.as_array().unwrap();
        assert!(all.len() == 2 && all.contains(&here) && all.contains(&there), "{all:?}");
        let list =
            |room: &str| answer(talk.bob.account.list_sessions(Some(room.to_owned()), None, None));
        assert_eq!(list(ROOM), json!([here]));
        assert_eq!(list("!elsewhere"), json!([there]));
        assert_eq!(list("!nowhere"), json!([]));
        talk.reopen();
    }
    let wrong = talk.bob.account.list_sessions(Some("room".to_owned()), None, None);
    assert_eq!(error_name(wrong), "INVALID_FIELD");
}

#[test]
fn an_export_begins_where_it_is_told_and_never_before_what_is_known() {
    let mut talk = Talk::new();
    let events = [talk.event("$0", "zero"), talk.event("$1", "one"), talk.event("$2", "two")];
    let exported = answer(talk.inbound.export_at(Some(1)));
    assert_eq!(exported["algorithm"], MEGOLM); // M1
    assert_eq!(exported["room_id"], ROOM);
    assert_eq!(exported["session_id"], talk.raw.id());
    assert_eq!(exported["sender_key"], talk.alice.identity_key());
    assert_eq!(ok(talk.inbound.first_known_index()), 0); // exporting is no change
    let carol = Device::new(CAROL, "C");
    let theirs = InboundMegolmSession::from_export(&carol.account, &exported.to_string(), None);
    let theirs = ok(theirs);
    assert_eq!(ok(theirs.first_known_index()), 1);
    assert_eq!(error_name(theirs.decrypt(&events[0].to_string())), "UNKNOWN_INDEX"); // SEC-52
    ok(theirs.decrypt(&events[2].to_string()));
    ok(theirs.decrypt(&events[1].to_string()));
    let error = parse(&refused(theirs.export_at(Some(0))).to_json());
    assert_eq!(error["name"], "UNKNOWN_INDEX"); // SEC-52
    assert_eq!((&error["first_known"], &error["got"]), (&json!(1), &json!(0)));
    let last = answer(theirs.export_at(Some(u32::MAX))); // P7: no long way to the last index
    assert_eq!(last["session_id"], talk.raw.id());
    assert_eq!(answer(theirs.export_at(None))["session_key"], exported["session_key"]);
    ok(talk.decrypt(&events[0]));
}
