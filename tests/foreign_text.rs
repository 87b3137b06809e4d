//! Texts from outside in errors: at most 64 characters of them.

#[path = "common/rooms.rs"]
mod rooms;

use matrixe2ee::*;
use rooms::*;
use serde_json::{Value, json};

/// Checks an error that repeats a long text of `x`, and gives its JSON.
#[track_caller]
fn cut<T>(result: Result<T>, name: &str) -> Value {
    let error = refused(result);
    assert_eq!(error.name(), name, "{error}");
    let text = error.to_json();
    assert!(!text.contains(&"x".repeat(64)), "{text}");
    // Its beginning is there, and that it was longer.
    assert!(text.contains('\u{2026}'), "{text}");
    parse(&text)
}

#[test]
fn an_error_repeats_64_characters_of_a_text_from_outside_and_no_more() {
    let long = "x".repeat(50_000);
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));

    let object = json!({"key": "AAAA"});
    let key = json!({ (format!("{long}:AAAA")): object }).to_string();
    let keys = bob.keys().to_string();
    let error =
        cut(OlmChannel::create_outbound_channel(&alice.account, &keys, &key), "UNKNOWN_ALGORITHM");
    assert_eq!(error["algorithm"].as_str().map(|text| text.chars().count()), Some(64));

    // A device's ID stands in the names of its keys.
    let device_id = "x".repeat(255);
    for (curve, name) in [(None, "INVALID_FIELD"), (Some("?"), "INVALID_KEY")] {
        let mut keys =
            json!({"user_id": BOB, "device_id": device_id, "algorithms": [], "keys": {}});
        if let Some(key) = curve {
            keys["keys"][format!("ed25519:{device_id}")] = json!(key);
        }
        let created = OlmChannel::create_outbound_channel(&alice.account, &keys.to_string(), &key);
        let error = cut(created, name);
        if let Some(field) = error.get("field").and_then(Value::as_str) {
            assert_eq!(field.chars().count(), 64);
        }
    }

    let content = json!({"algorithm": long, "sender_key": bob.identity_key(), "ciphertext": {}});
    let (user, key) = (BOB, bob.identity_key());
    let account = &alice.account;
    cut(
        OlmChannel::create_from_encrypted_message(
            account,
            user,
            &key,
            &content.to_string(),
            None,
            None,
        ),
        "UNKNOWN_ALGORITHM",
    );
    let room_key =
        json!({"algorithm": long, "room_id": ROOM, "session_id": "s", "session_key": "k"});
    let received = InboundMegolmSession::from_room_key(account, BOB, &key, &room_key.to_string());
    cut(received, "UNKNOWN_ALGORITHM");

    let outbound = alice.outbound(None);
    let recipients = json!({"encryption": {"algorithm": long}, "members": {}, "device_keys": {}});
    let shared = outbound.get_session_key_for_sending(&recipients.to_string());
    cut(shared, "UNKNOWN_ALGORITHM");
}

#[test]
fn a_replay_names_64_characters_of_the_event_before() {
    let alice = Device::new(ALICE, "A");
    let outbound = alice.outbound(None);
    let inbound = ok(InboundMegolmSession::from_outbound_session(&outbound));
    let content = answer(outbound.encrypt("m.test", "{}"));
    let event = |id: &str| alice.event(id, &content).to_string();
    ok(inbound.decrypt(&event(&format!("${}", "x".repeat(254)))));
    let error = cut(inbound.decrypt(&event("$other")), "REPLAY");
    assert_eq!(error["event_id"].as_str().map(|text| text.chars().count()), Some(64));
}
