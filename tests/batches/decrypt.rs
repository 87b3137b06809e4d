//! `decrypt_room_events`: events of many rooms and sessions, good and bad ones, in any order.

use matrixe2ee::InboundMegolmSession;
use serde_json::{Value, json};

use super::rooms::*;
use super::{decrypt, error};

/// A session of Alice's in a room.
struct Talk {
    room_id: String,
    raw: RawSession,
    count: usize,
}

impl Talk {
    fn new(room_id: &str) -> Self {
        Self { room_id: room_id.to_owned(), raw: RawSession::new(), count: 0 }
    }

    fn room_key(&self) -> Value {
        let mut key = self.raw.room_key();
        key["room_id"] = json!(self.room_id);
        key
    }

    /// The next event of the session, with an ID of its own.
    fn event(&mut self) -> Value {
        let plaintext = json!({"type": "m.room.message", "room_id": self.room_id,
                               "content": {"body": self.count}});
        let content = self.raw.encrypt(plaintext.to_string());
        let event_id = format!("${} {}", self.raw.id(), self.count);
        self.count += 1;
        json!({"event_id": event_id, "sender": ALICE, "room_id": self.room_id,
               "origin_server_ts": START_MS + self.count as i64, "content": content})
    }
}

/// Bob with some sessions of Alice's, and a second Bob, who decrypts one by one.
struct Stage {
    alice: Device,
    bob: Device,
    twin: Device,
}

impl Stage {
    fn new() -> Self {
        let [alice, bob, twin] =
            [(ALICE, "A"), (BOB, "B"), (BOB, "B")].map(|(user, id)| Device::new(user, id));
        Self { alice, bob, twin }
    }

    fn talk(&self, room_id: &str) -> Talk {
        let talk = Talk::new(room_id);
        for bob in [&self.bob, &self.twin] {
            ok(bob.receive(&self.alice, &talk.room_key()));
        }
        talk
    }

    /// What the single call says, in the form of a batch.
    fn single(&self, event: &Value) -> Value {
        let room = event["room_id"].as_str().unwrap_or(ROOM);
        let id = event["content"]["session_id"].as_str().unwrap_or_default();
        let result = InboundMegolmSession::from_storage(&self.twin.account, room, id, None)
            .and_then(|session| session.decrypt(&event.to_string()));
        match result {
            Ok(text) => json!({"event": parse(&text)}),
            Err(error) => json!({"error": parse(&error.to_json())}),
        }
    }

    /// Checks a batch against the single calls, in the same order.
    #[track_caller]
    fn compare(&self, events: &[Value]) -> Vec<Value> {
        let answers = decrypt(&self.bob.account, events);
        for (answer, event) in answers.iter().zip(events) {
            assert_eq!(*answer, self.single(event), "{event}");
        }
        answers
    }
}

/// The same shuffling each time.
fn shuffle<T>(list: &mut [T]) {
    let mut state = 7_u64;
    for last in (1..list.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        list.swap(last, (state >> 33) as usize % (last + 1));
    }
}

#[test]
fn events_of_many_rooms_and_sessions_are_decrypted_as_one_by_one() {
    let stage = Stage::new();
    let mut talks: Vec<Talk> = (0..30).map(|n| stage.talk(&format!("!room{}", n % 5))).collect();
    let mut events: Vec<Value> = (0..300).map(|n| talks[n * 7 % 30].event()).collect();
    shuffle(&mut events);
    let answers = stage.compare(&events);
    for (answer, event) in answers.iter().zip(&events) {
        assert_eq!(answer["event"]["room_id"], event["room_id"]);
        let id = event["event_id"].as_str().unwrap();
        let body = answer["event"]["content"]["body"].to_string();
        assert!(id.ends_with(&format!(" {body}")), "{id}: {body}");
    }
    // Once more: the same events may be decrypted again.
    stage.compare(&events);
}

#[test]
fn one_session_with_ten_thousand_events_in_any_order() {
    let stage = Stage::new();
    let mut talk = stage.talk(ROOM);
    let mut events: Vec<Value> = (0..10_000).map(|_| talk.event()).collect();
    shuffle(&mut events);
    for (answer, event) in decrypt(&stage.bob.account, &events).iter().zip(&events) {
        let index = answer["event"]["matrixe2ee"]["message_index"].as_u64().unwrap();
        assert_eq!(index, u64::from(index_of(&event["content"])));
        assert_eq!(answer["event"]["content"]["body"], index);
    }
    // `decrypt_many` has the same answers.
    let inbound = ok(stage.twin.receive(&stage.alice, &talk.room_key()));
    let many = ok(inbound.decrypt_many(&json!(events).to_string()));
    let batch = ok(stage.bob.account.decrypt_room_events(&json!(events).to_string()));
    assert_eq!(many, batch);
    // And the live session goes on.
    stage.compare(&[talk.event()]);
}

#[test]
fn what_is_wrong_with_one_event_concerns_it_alone() {
    let stage = Stage::new();
    let (mut one, mut two, mut unknown) =
        (stage.talk("!one"), stage.talk("!two"), Talk::new("!one"));
    let mut elsewhere = one.event();
    elsewhere["room_id"] = json!("!two");
    let mut events = vec![unknown.event(), elsewhere];
    let forged = one.event();
    let mut with = |pointer: &str, value: Value| {
        let mut event = one.event();
        *event.pointer_mut(pointer).unwrap() = value;
        events.push(event);
    };
    with("/sender", json!("@mallory:example.org"));
    with("/sender", json!("mallory"));
    with("/event_id", json!(null));
    with("/content", json!("none"));
    with("/content/algorithm", json!("m.olm.v1.curve25519-aes-sha2"));
    with("/content/session_id", json!(3));
    with("/content/ciphertext", json!("AAAA"));
    with("/content/ciphertext", json!("not base64"));
    let mut forged = from_base64(forged["content"]["ciphertext"].as_str().unwrap());
    *forged.last_mut().unwrap() ^= 1;
    with("/content/ciphertext", json!(base64(forged)));
    let names = [
        "NO_SESSION",
        "NO_SESSION",
        "WRONG_SENDER",
        "INVALID_FIELD",
        "INVALID_FIELD",
        "INVALID_FIELD",
        "UNKNOWN_ALGORITHM",
        "INVALID_FIELD",
        "UNABLE_TO_DECRYPT",
        "UNABLE_TO_DECRYPT",
        "UNABLE_TO_DECRYPT",
    ];
    let mut list = Vec::new();
    for (n, event) in events.iter().enumerate() {
        let neighbour = if n % 2 == 0 { one.event() } else { two.event() };
        list.extend([event.clone(), neighbour]);
    }
    let answers = decrypt(&stage.bob.account, &list);
    for (pair, (event, name)) in answers.chunks(2).zip(events.iter().zip(names)) {
        assert_eq!(error(&pair[0]), name, "{event}");
        assert!(pair[1].get("event").is_some(), "{}", pair[1]);
        if name != "NO_SESSION" && event["content"]["session_id"].is_string() {
            assert_eq!(pair[0], stage.single(event));
        }
    }
}

#[test]
fn events_that_are_no_json_objects_fail_alone() {
    let stage = Stage::new();
    let mut talk = stage.talk(ROOM);
    let twice = talk.event().to_string().replacen('{', r#"{"event_id":"$2","#, 1);
    let list = format!("[1,{},null,{twice},[],\"x\"]", talk.event());
    let answers = answer(stage.bob.account.decrypt_room_events(&list));
    let names = [0, 2, 3, 4, 5].map(|n| error(&answers[n]));
    let field = "INVALID_FIELD";
    assert_eq!(names, [field, field, "INVALID_JSON", field, field]);
    assert!(answers[1].get("event").is_some());
    let large = json!({ "body": "x".repeat(65_536) });
    assert_eq!(error(&decrypt(&stage.bob.account, &[large])[0]), "TOO_LARGE"); // SEC-100
}

#[test]
fn an_empty_list_has_no_answers_and_an_unreadable_one_fails() {
    let bob = Device::new(BOB, "B");
    assert_eq!(ok(bob.account.decrypt_room_events("[]")), "[]");
    assert_eq!(error_name(bob.account.decrypt_room_events("[")), "INVALID_JSON");
    assert_eq!(error_name(bob.account.decrypt_room_events("{}")), "INVALID_FIELD");
}

#[test]
fn of_two_events_with_one_index_the_first_of_the_list_is_the_one() {
    let stage = Stage::new();
    let mut talk = stage.talk(ROOM);
    let mut events = Vec::new();
    for n in 0..100 {
        let event = talk.event();
        let mut other = event.clone();
        other["event_id"] = json!(format!("$other{n}"));
        let mut later = event.clone();
        later["origin_server_ts"] = json!(START_MS - 1);
        // The replay comes first in every other case.
        let pair = if n % 2 == 0 { [event, other] } else { [other, event] };
        events.extend(pair);
        events.push(later);
    }
    let answers = stage.compare(&events); // M27, SEC-51
    for three in answers.chunks(3) {
        assert!(three[0].get("event").is_some(), "{}", three[0]);
        assert_eq!((error(&three[1]), error(&three[2])), ("REPLAY", "REPLAY"));
    }
}

#[test]
fn an_index_that_a_batch_has_used_is_used_for_the_single_call_and_after_a_restart() {
    let (alice, mut bob) = (Device::new(ALICE, "A"), Device::on_disk(BOB, "B"));
    let mut talk = Talk::new(ROOM);
    ok(bob.receive(&alice, &talk.room_key()));
    let events: Vec<Value> = (0..50).map(|_| talk.event()).collect();
    let before = decrypt(&bob.account, &events);
    let replayed: Vec<Value> = events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            event["event_id"] = json!("$other");
            event
        })
        .collect();
    for restarted in [false, true] {
        let session =
            ok(InboundMegolmSession::from_storage(&bob.account, ROOM, &talk.raw.id(), None));
        assert_eq!(error_name(session.decrypt(&replayed[7].to_string())), "REPLAY");
        drop(session);
        for answer in decrypt(&bob.account, &replayed) {
            assert_eq!(error(&answer), "REPLAY");
        }
        assert_eq!(decrypt(&bob.account, &events), before);
        if !restarted {
            bob.reopen();
        }
    }
}

#[test]
fn forged_messages_with_any_index_spoil_no_neighbour() {
    let stage = Stage::new();
    let mut talk = stage.talk(ROOM);
    let events: Vec<Value> = (0..200).map(|_| talk.event()).collect();
    let mut list = Vec::new();
    for (n, event) in events.iter().enumerate() {
        let mut forged = event.clone();
        let mut bytes = from_base64(event["content"]["ciphertext"].as_str().unwrap());
        match n % 3 {
            // The index stands behind the first two bytes: here it is made enormous.
            0 => bytes = [&[3, 8, 0xff, 0xff, 0xff, 0xff, 0x0f], &bytes[3..]].concat(),
            1 => bytes[40] ^= 1,
            _ => bytes.truncate(bytes.len() - 1),
        }
        forged["content"]["ciphertext"] = json!(base64(bytes));
        forged["event_id"] = json!(format!("$forged{n}"));
        list.extend([forged, event.clone()]);
    }
    for pair in stage.compare(&list).chunks(2) {
        assert_eq!(error(&pair[0]), "UNABLE_TO_DECRYPT"); // SEC-50
        assert!(pair[1].get("event").is_some(), "{}", pair[1]);
    }
}

#[test]
fn a_session_whose_beginning_is_missing_decrypts_the_rest() {
    let stage = Stage::new();
    let mut talk = Talk::new(ROOM);
    let mut events: Vec<Value> = (0..100).map(|_| talk.event()).collect();
    for bob in [&stage.bob, &stage.twin] {
        ok(bob.receive(&stage.alice, &talk.room_key()));
    }
    events.extend((0..100).map(|_| talk.event()));
    shuffle(&mut events);
    for (answer, event) in stage.compare(&events).iter().zip(&events) {
        let known = index_of(&event["content"]) >= 100;
        assert_eq!(answer.get("event").is_some(), known, "{answer}");
    }
}

#[test]
fn an_exported_session_has_no_known_owner_in_a_batch_either() {
    let stage = Stage::new();
    let mut talk = Talk::new(ROOM);
    for bob in [&stage.bob, &stage.twin] {
        let data = talk.raw.export(&stage.alice).to_string();
        ok(InboundMegolmSession::from_export(&bob.account, &data, None));
    }
    let answers = stage.compare(&[talk.event()]);
    assert_eq!(answers[0]["event"]["matrixe2ee"]["owner"], "unknown");
    assert_eq!(answers[0]["event"]["matrixe2ee"]["authenticated"], false);
}

#[test]
fn an_erased_session_decrypts_nothing_even_if_it_was_in_memory() {
    let stage = Stage::new();
    let mut talk = stage.talk(ROOM);
    stage.compare(&[talk.event()]);
    let session =
        ok(InboundMegolmSession::from_storage(&stage.bob.account, ROOM, &talk.raw.id(), None));
    ok(session.erase());
    assert_eq!(error(&decrypt(&stage.bob.account, &[talk.event()])[0]), "NO_SESSION");
    ok(stage.bob.receive(&stage.alice, &talk.room_key()));
    assert!(decrypt(&stage.bob.account, &[talk.event()])[0].get("event").is_some());
}

#[test]
fn relations_of_the_cleartext_come_through() {
    let stage = Stage::new();
    let mut talk = stage.talk(ROOM);
    let mut event = talk.event();
    event["content"]["m.relates_to"] = json!({"rel_type": "m.thread"});
    let answers = stage.compare(&[event]);
    let facts = &answers[0]["event"]["matrixe2ee"];
    assert_eq!(facts["unauthenticated"], json!(["m.relates_to"])); // D12, SEC-54
}
