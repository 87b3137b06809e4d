//! The sending half of a Megolm session: making, opening, encrypting, expiring, erasing.

#[path = "common/rooms.rs"]
mod rooms;

use std::sync::Arc;

use matrixe2ee::{Clock, E2eeError, OutboundMegolmSession, Result};
use rooms::*;
use serde_json::{Value, json};
use vodozemac::megolm::{InboundGroupSession, MegolmMessage, SessionConfig, SessionKey};

const WEEK_MS: i64 = 604_800_000;

fn no_minimum() -> Value {
    json!({ "minimum_rotation_period_ms": 0 })
}

/// The plaintext of an encrypted content, by vodozemac alone.
fn opened(session_key: &Value, content: &Value) -> Value {
    let key = SessionKey::from_base64(session_key.as_str().unwrap()).unwrap();
    let mut inbound = InboundGroupSession::new(&key, SessionConfig::version_1());
    let message = MegolmMessage::from_base64(content["ciphertext"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&inbound.decrypt(&message).unwrap().plaintext).unwrap()
}

#[test]
fn a_new_session_is_stored_at_once_and_found_by_its_id() {
    let mut alice = Device::on_disk(ALICE, "A");
    let session_id = ok(alice.outbound(None).session_id()); // M5
    alice.reopen();
    let open = |id: &str| {
        OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id.to_owned()))
    };
    assert_eq!(ok(ok(open(&session_id)).session_id()), session_id); // M2, M3
    assert_eq!(error_name(open("unknown")), "NOT_FOUND"); // M2
    let other_room =
        OutboundMegolmSession::create_from_storage(&alice.account, "!other", Some(session_id));
    assert_eq!(error_name(other_room), "NOT_FOUND"); // M3
}

#[test]
fn the_newest_session_is_the_rooms_current_one_and_older_ones_can_be_opened_but_not_used() {
    let mut alice = Device::on_disk(ALICE, "A");
    let none = OutboundMegolmSession::create_from_storage(&alice.account, ROOM, None);
    assert_eq!(error_name(none), "NOT_FOUND"); // M2
    let first = ok(alice.outbound(None).session_id());
    let second = ok(alice.outbound(None).session_id());
    assert_ne!(first, second);
    for _ in 0..2 {
        assert_eq!(ok(alice.stored_outbound().session_id()), second); // M2
        let id = Some(first.clone());
        let old = ok(OutboundMegolmSession::create_from_storage(&alice.account, ROOM, id));
        assert_eq!(ok(old.session_id()), first); // M2
        assert_eq!(expired(old.encrypt("m.room.message", "{}")), "superseded");
        alice.reopen();
    }
}

#[test]
fn an_encrypted_event_has_the_fields_of_the_spec_and_its_plaintext_just_three() {
    let alice = Device::new(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let key = room_key_for(&session, &bob);
    let content = encrypted(&session, "hello");
    let ciphertext = content["ciphertext"].clone();
    let expected = json!({
        "algorithm": "m.megolm.v1.aes-sha2", // M1
        "sender_key": alice.identity_key(), // S6: still sent
        "device_id": "A",
        "session_id": ok(session.session_id()),
        "ciphertext": ciphertext,
    });
    assert_eq!(content, expected); // M15
    assert!(!ciphertext.as_str().unwrap().contains('=')); // S2: written without padding
    let plaintext =
        json!({ "type": "m.room.message", "room_id": ROOM, "content": { "body": "hello" } });
    assert_eq!(opened(&key["session_key"], &content), plaintext); // M15
}

#[test]
fn a_relation_stands_in_the_cleartext_only() {
    let alice = Device::new(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let key = room_key_for(&session, &bob);
    let relation = json!({ "rel_type": "m.thread", "event_id": "$root" });
    let text = json!({ "body": "hello", "m.relates_to": relation }).to_string();
    let content = answer(session.encrypt("m.room.message", &text));
    assert_eq!(content["m.relates_to"], relation); // D12
    assert_eq!(opened(&key["session_key"], &content)["content"], json!({ "body": "hello" })); // D12
}

#[test]
fn no_index_is_used_twice_however_often_the_session_is_opened() {
    let mut alice = Device::on_disk(ALICE, "A");
    alice.outbound(None);
    let mut indices = Vec::new();
    for _ in 0..4 {
        let (one, two) = (alice.stored_outbound(), alice.stored_outbound());
        indices.push(index_of(&encrypted(&one, "a")));
        indices.push(index_of(&encrypted(&two, "b"))); // two handles, one live state
        assert_eq!(ok(one.message_index()), ok(two.message_index()));
        alice.reopen();
    }
    assert_eq!(indices, (0..8).collect::<Vec<u32>>()); // M15
}

#[test]
fn a_message_may_be_encrypted_before_anybody_has_the_key() {
    let alice = Device::new(ALICE, "A");
    let session = alice.outbound(None);
    assert_eq!(index_of(&encrypted(&session, "nobody can read this yet")), 0); // D13
}

#[test]
fn content_that_cannot_be_sent_is_refused_and_changes_nothing() {
    let alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(None);
    encrypted(&session, "first");
    let before = alice.bytes();
    let huge = json!({ "body": "x".repeat(70_000) }).to_string();
    // It fits as it is, but not once it is encrypted and written as base64.
    let large = json!({ "body": "x".repeat(60_000) }).to_string();
    // Each half fits, but the relation stands beside the ciphertext (D12, SEC-100).
    let relation = json!({ "event_id": "x".repeat(42_000) });
    let related = json!({ "body": "x".repeat(20_000), "m.relates_to": relation }).to_string();
    let deep = format!("{{\"body\":{}{}}}", "[".repeat(80), "]".repeat(80));
    for (event_type, content, name) in [
        ("m.room.message", huge.as_str(), "TOO_LARGE"),
        ("m.room.message", &large, "TOO_LARGE"),
        ("m.room.message", &related, "TOO_LARGE"),
        ("m.room.message", r#"{"body": NaN}"#, "INVALID_JSON"), // D18
        ("m.room.message", r#"{"body": Infinity}"#, "INVALID_JSON"), // D18
        ("m.room.message", r#"{"body": 1e999}"#, "INVALID_JSON"), // D18
        ("m.room.message", r#"{"body": 1, "body": 2}"#, "INVALID_JSON"),
        ("m.room.message", &deep, "INVALID_JSON"),
        ("m.room.message", r#"["body"]"#, "INVALID_FIELD"),
        ("", "{}", "INVALID_FIELD"),
    ] {
        assert_eq!(error_name(session.encrypt(event_type, content)), name, "{content:.40}");
    }
    assert_eq!(ok(session.message_index()), 1);
    assert!(alice.bytes() == before, "nothing is stored"); // M16
    assert_eq!(index_of(&encrypted(&session, "second")), 1);
}

#[test]
fn a_session_expires_by_count_after_a_hundred_messages_unless_the_room_says_otherwise() {
    let cases = [
        (Value::Null, 100),      // M10: the default
        (json!("2"), 100),       // D7b
        (json!(true), 100),      // D7b
        (json!(2.5), 100),       // D7b
        (json!([2]), 100),       // D7b
        (json!(2), 2),           // M10
        (json!(0), 1),           // D7: not an endless rotation
        (json!(-5), 1),          // D7
        (json!(1_000_000), 120), // S1, D7: the application's limit
        (json!(u64::MAX), 100),  // D7b: no number of messages
    ];
    let bob = Device::new(BOB, "B");
    for (wanted, allowed) in cases {
        let alice = Device::new(ALICE, "A");
        let session = alice.outbound(Some(&json!({ "maximum_rotation_period_msgs": 120 })));
        let room = Recipients::of(&[&bob]).encryption("rotation_period_msgs", wanted.clone());
        keys_to_send(&session, &room);
        for _ in 0..allowed {
            encrypted(&session, "one more");
        }
        assert_eq!(expired(session.encrypt("m.room.message", "{}")), "count", "{wanted}"); // SEC-56
        assert_eq!(expired(session.get_session_key_for_sending(&room.text())), "count");
        assert_eq!(ok(session.message_index()), allowed); // M16
    }
}

#[test]
fn no_room_gets_more_than_ten_thousand_messages_out_of_one_session() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let session = alice.outbound(None);
    keys_to_send(
        &session,
        &Recipients::of(&[&bob]).encryption("rotation_period_msgs", json!(4_000_000_000_u32)),
    );
    for _ in 0..10_000 {
        ok(session.encrypt("m", "{}"));
    }
    assert_eq!(expired(session.encrypt("m", "{}")), "count"); // S1, SEC-60: far from index 2^32
}

#[test]
fn a_session_lives_a_week_by_default_and_not_longer() {
    let alice = Device::new(ALICE, "A");
    let session = alice.outbound(None);
    alice.clock.set(START_MS + WEEK_MS - 1);
    encrypted(&session, "not expired"); // D1
    alice.clock.set(START_MS + WEEK_MS + 1);
    assert_eq!(expired(session.encrypt("m.room.message", "{}")), "time"); // D1, M10
}

#[test]
fn the_rooms_period_counts_in_milliseconds_and_is_never_below_the_applications_minimum() {
    let bob = Device::new(BOB, "B");
    let hour = 3_600_000;
    for (settings, wanted, lives) in [
        (Some(no_minimum()), json!(10_000), 10_000), // D1
        (Some(no_minimum()), json!(-1), 0),          // D7
        (None, json!(10_000), hour),                 // S1, D7
        (None, json!(-1), hour),                     // D7
        (None, json!("10000"), WEEK_MS),             // D7b
        (None, Value::Null, WEEK_MS),                // M10: the default
        (None, json!(WEEK_MS * 2), WEEK_MS * 2),     // M10
    ] {
        let alice = Device::new(ALICE, "A");
        let session = alice.outbound(settings.as_ref());
        let room = Recipients::of(&[&bob]).encryption("rotation_period_ms", wanted.clone());
        keys_to_send(&session, &room);
        alice.clock.set(START_MS + lives.min(20));
        encrypted(&session, "20 ms are not 20 s"); // D1
        alice.clock.set(START_MS + lives);
        encrypted(&session, "still alive");
        alice.clock.set(START_MS + lives + 1);
        assert_eq!(expired(session.encrypt("m.room.message", "{}")), "time", "{wanted}"); // M10
        assert_eq!(expired(session.get_session_key_for_sending(&room.text())), "time");
    }
}

#[test]
fn a_clock_that_went_backwards_expires_the_session() {
    let alice = Device::new(ALICE, "A");
    let session = alice.outbound(None);
    alice.clock.set(START_MS - 1);
    assert_eq!(expired(session.encrypt("m.room.message", "{}")), "clock"); // D1
    alice.clock.set(START_MS);
    encrypted(&session, "right again");
}

#[test]
fn a_clock_that_fails_fails_the_call_and_nothing_else() {
    struct Broken;
    impl Clock for Broken {
        fn now_ms(&self) -> Result<i64> {
            Err(E2eeError::ClockFailed { detail: String::new() })
        }
    }
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let session = alice.outbound(None);
    ok(alice.store.set_clock(Arc::new(Broken)));
    assert_eq!(error_name(session.encrypt("m.room.message", "{}")), "CLOCK_FAILED");
    let room = Recipients::of(&[&bob]);
    assert_eq!(error_name(session.get_session_key_for_sending(&room.text())), "CLOCK_FAILED");
    ok(alice.store.set_clock(alice.clock.clone()));
    assert_eq!(ok(session.message_index()), 0);
}

#[test]
fn an_invalidated_session_stays_expired_for_good() {
    let mut alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    keys_to_send(&session, &Recipients::of(&[&bob]));
    ok(session.invalidate()); // D9b, S11: somebody left and came back
    for _ in 0..2 {
        let session = alice.stored_outbound();
        assert_eq!(expired(session.encrypt("m.room.message", "{}")), "invalidated"); // S11, SEC-56
        let room = Recipients::of(&[&bob]).text();
        assert_eq!(expired(session.get_session_key_for_sending(&room)), "invalidated"); // D9b
        alice.reopen();
    }
}

/// Each reason to expire, with the room that shows it.
fn expire(reason: &str, alice: &Device, session: &OutboundMegolmSession, bob: &Device) -> String {
    let room = Recipients::of(&[bob]);
    match reason {
        "invalidated" => ok(session.invalidate()),
        "time" => alice.clock.set(START_MS + WEEK_MS + 1),
        "clock" => alice.clock.set(START_MS - 1),
        _ => {}
    }
    let room = match reason {
        "count" => room.encryption("rotation_period_msgs", json!(2)),
        "device_gone" => Recipients::of(&[]).member(BOB, "join"),
        "user_gone" => Recipients::of(&[]),
        "history_visibility" => room.visibility("joined"),
        _ => room,
    };
    room.text()
}

#[test]
fn every_expiry_leaves_the_index_and_the_store_as_they_were() {
    let bob = Device::new(BOB, "B");
    for reason in
        ["invalidated", "count", "time", "clock", "device_gone", "user_gone", "history_visibility"]
    {
        let mut alice = Device::on_disk(ALICE, "A");
        let session = alice.outbound(None);
        keys_to_send(&session, &Recipients::of(&[&bob]));
        encrypted(&session, "one");
        encrypted(&session, "two");
        let room = expire(reason, &alice, &session, &bob);
        let before = alice.bytes();
        assert_eq!(expired(session.get_session_key_for_sending(&room)), reason); // M10, M13
        if ["invalidated", "time", "clock"].contains(&reason) {
            assert_eq!(expired(session.encrypt("m.room.message", "{}")), reason);
        }
        assert_eq!(ok(session.message_index()), 2, "{reason}"); // M16
        assert!(alice.bytes() == before, "{reason}: nothing is stored"); // M16
        alice.reopen();
        assert_eq!(ok(alice.stored_outbound().message_index()), 2, "{reason}"); // M16
    }
}

#[test]
fn an_erased_session_is_gone_for_every_handle_and_the_room_can_have_a_new_one() {
    let mut alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let old = alice.outbound(None);
    let session = alice.outbound(None);
    let other_handle = alice.stored_outbound();
    keys_to_send(&session, &Recipients::of(&[&bob]));
    let session_id = ok(session.session_id());
    ok(session.erase()); // D18: expired sessions can be deleted
    let room = Recipients::of(&[&bob]).text();
    for handle in [&session, &other_handle] {
        assert_eq!(error_name(handle.session_id()), "NOT_FOUND");
        assert_eq!(error_name(handle.message_index()), "NOT_FOUND");
        assert_eq!(error_name(handle.encrypt("m", "{}")), "NOT_FOUND");
        assert_eq!(error_name(handle.get_session_key_for_sending(&room)), "NOT_FOUND");
        assert_eq!(error_name(handle.mark_as_sent("[]")), "NOT_FOUND");
        assert_eq!(error_name(handle.invalidate()), "NOT_FOUND");
        assert_eq!(error_name(handle.erase()), "NOT_FOUND");
    }
    let open = |alice: &Device, id| {
        OutboundMegolmSession::create_from_storage(&alice.account, ROOM, id).map(|_| ())
    };
    for _ in 0..2 {
        assert_eq!(error_name(open(&alice, None)), "NOT_FOUND");
        assert_eq!(error_name(open(&alice, Some(session_id.clone()))), "NOT_FOUND");
        alice.reopen();
    }
    assert_eq!(error_name(old.message_index()), "STORE_CLOSED");
    let new = alice.outbound(None);
    assert_eq!(index_of(&encrypted(&new, "a new beginning")), 0);
    assert_eq!(ok(alice.stored_outbound().session_id()), ok(new.session_id()));
}

#[test]
fn erasing_an_older_session_leaves_the_current_one() {
    let alice = Device::new(ALICE, "A");
    let old = alice.outbound(None);
    let new = ok(alice.outbound(None).session_id());
    ok(old.erase());
    assert_eq!(ok(alice.stored_outbound().session_id()), new); // M2
}

#[test]
fn settings_outside_of_their_limits_are_refused() {
    let alice = Device::new(ALICE, "A");
    let create = |settings: &str| {
        OutboundMegolmSession::create(&alice.account, ROOM, Some(settings.to_owned()))
    };
    for (settings, name) in [
        (r#"{"minimum_rotation_period_ms": -1}"#, "INVALID_FIELD"),
        (r#"{"minimum_rotation_period_ms": "1"}"#, "INVALID_FIELD"),
        (r#"{"maximum_rotation_period_msgs": 0}"#, "INVALID_FIELD"), // S1
        (r#"{"maximum_rotation_period_msgs": 10001}"#, "INVALID_FIELD"), // S1, SEC-60
        (r#"{"maximum_rotation_period_msgs": true}"#, "INVALID_FIELD"),
        (r#"{"reserve_ahead": -1}"#, "INVALID_FIELD"),
        (r#"{"reserve_ahead": 1.5}"#, "INVALID_FIELD"),
        (r#"{"old_shared_history_names": "yes"}"#, "INVALID_FIELD"),
        ("[]", "INVALID_FIELD"),
        ("settings", "INVALID_JSON"),
        (r#"{"reserve_ahead": 1, "reserve_ahead": 2}"#, "INVALID_JSON"),
    ] {
        assert_eq!(error_name(create(settings)), name, "{settings}");
    }
    let none = OutboundMegolmSession::create_from_storage(&alice.account, ROOM, None);
    assert_eq!(error_name(none), "NOT_FOUND"); // nothing was stored
    ok(create(
        r#"{"minimum_rotation_period_ms": 0, "maximum_rotation_period_msgs": 10000,
            "reserve_ahead": 32, "old_shared_history_names": true}"#,
    ));
    for room_id in ["", "!", "room", "#room:example.org", "!a\u{0}b"] {
        let wrong = OutboundMegolmSession::create(&alice.account, room_id, None);
        assert_eq!(error_name(wrong), "INVALID_FIELD", "{room_id:?}");
    }
}

#[test]
fn settings_survive_a_restart() {
    let mut alice = Device::on_disk(ALICE, "A");
    alice.outbound(Some(&json!({ "maximum_rotation_period_msgs": 3 })));
    for index in 0..3 {
        assert_eq!(index_of(&encrypted(&alice.stored_outbound(), "a")), index);
        alice.reopen();
    }
    assert_eq!(expired(alice.stored_outbound().encrypt("m", "{}")), "count"); // M3, M10, D14
}
