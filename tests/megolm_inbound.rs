//! The receiving half of a Megolm session: where it comes from, and decrypting one event.

#[path = "common/rooms.rs"]
mod rooms;

use std::sync::Arc;

use matrixe2ee::InboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};

/// A device that received the key of a session in the test's hands, as from `alice`.
fn received(bob: &Device, alice: &Device, raw: &RawSession) -> Arc<InboundMegolmSession> {
    ok(bob.receive(alice, &raw.room_key()))
}

fn stored(device: &Device, session_id: &str) -> Arc<InboundMegolmSession> {
    let id = session_id.to_owned();
    ok(InboundMegolmSession::from_storage(&device.account, ROOM, &id, None))
}

fn with(event: &Value, pointer: &str, value: Value) -> String {
    let mut event = event.clone();
    match event.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            event.pointer_mut(parent).unwrap()[name] = value;
        }
    }
    event.to_string()
}

#[test]
fn a_session_comes_from_a_constructor_or_there_is_an_error() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let absent = InboundMegolmSession::from_storage(&bob.account, ROOM, "unknown", None);
    assert_eq!(error_name(absent), "NOT_FOUND"); // M20, M24
    let erased = alice.outbound(None);
    ok(erased.erase());
    let of_nothing = InboundMegolmSession::from_outbound_session(&erased);
    assert_eq!(error_name(of_nothing), "NOT_FOUND"); // M20, M22
    let bad_room = InboundMegolmSession::from_storage(&bob.account, "room", "id", None);
    assert_eq!(error_name(bad_room), "INVALID_FIELD"); // M24
}

#[test]
fn our_own_session_belongs_to_us_and_is_stored_at_once() {
    let mut alice = Device::on_disk(ALICE, "A");
    let outbound = alice.outbound(None);
    let session_id = ok(outbound.session_id());
    let own = ok(InboundMegolmSession::from_outbound_session(&outbound));
    assert!(ok(own.authenticated())); // M22, M29
    assert_eq!(ok(own.sender_key()), alice.identity_key()); // M22, M29
    let event = alice.event("$1", &encrypted(&outbound, "hello")).to_string();
    alice.reopen();
    let own = stored(&alice, &session_id); // M22, M24
    let decrypted = answer(own.decrypt(&event));
    let expected = json!({ "type": "m.room.message", "room_id": ROOM, // M26
        "content": { "body": "hello" },
        "matrixe2ee": { "message_index": 0, "session_id": session_id, "authenticated": true,
            "sender_key": alice.identity_key(), "owner": "known",
            "sender_fingerprint": "device_keys", "unauthenticated": [] } });
    assert_eq!(decrypted, expected);
    let listed = json!([{ "room_id": ROOM, "session_id": session_id, "owner_user_id": ALICE,
        "sender_key": alice.identity_key(), "first_known_index": 0, "authenticated": true }]);
    assert_eq!(alice.sessions(), listed); // SEC-45
}

#[test]
fn our_own_session_begins_where_it_was_made() {
    let alice = Device::new(ALICE, "A");
    let outbound = alice.outbound(None);
    let missed = alice.event("$0", &encrypted(&outbound, "missed"));
    let own = ok(InboundMegolmSession::from_outbound_session(&outbound));
    assert_eq!(ok(own.first_known_index()), 1);
    let error = parse(&refused(own.decrypt(&missed.to_string())).to_json());
    assert_eq!(error["name"], "UNKNOWN_INDEX"); // M22, SEC-52
    assert_eq!((&error["first_known"], &error["got"]), (&json!(1), &json!(0))); // SEC-52
}

#[test]
fn an_own_session_made_before_its_key_was_handed_out_learns_whether_history_is_shared() {
    for (visibility, expected) in [("shared", true), ("joined", false)] {
        let mut alice = Device::on_disk(ALICE, "A");
        let bob = Device::new(BOB, "B");
        let outbound = alice.outbound(None);
        let shared =
            |own: &InboundMegolmSession| answer(own.export_at(None))["shared_history"].clone();
        let own = ok(InboundMegolmSession::from_outbound_session(&outbound)); // M22
        assert_eq!(shared(&own), false);
        keys_to_send(&outbound, &Recipients::of(&[&bob]).visibility(visibility));
        encrypted(&outbound, "hello");
        let again = ok(InboundMegolmSession::from_outbound_session(&outbound));
        assert_eq!((shared(&own), shared(&again)), (expected.into(), expected.into())); // D17
        let (first, id) = (ok(again.first_known_index()), ok(again.session_id()));
        assert_eq!(first, 0);
        alice.reopen();
        assert_eq!(shared(&stored(&alice, &id)), expected);
    }
}

#[test]
fn a_room_key_makes_an_authenticated_session_that_is_stored_at_once() {
    let alice = Device::new(ALICE, "A");
    let mut bob = Device::on_disk(BOB, "B");
    let mut raw = RawSession::new();
    let inbound = received(&bob, &alice, &raw);
    assert!(ok(inbound.authenticated())); // M23, M29
    assert_eq!(ok(inbound.sender_key()), alice.identity_key()); // M23, M29
    assert_eq!(ok(inbound.session_id()), raw.id());
    bob.reopen();
    let event = alice.event("$1", &raw.message("hello"));
    let inbound = stored(&bob, &raw.id()); // M21, M23, M24
    assert_eq!(answer(inbound.decrypt(&event.to_string()))["content"]["body"], "hello"); // M26
}

#[test]
fn a_stored_session_is_not_found_for_another_sender_or_room() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let raw = RawSession::new();
    received(&bob, &alice, &raw);
    let open = |room: &str, sender: Option<&str>| {
        let sender = sender.map(str::to_owned);
        InboundMegolmSession::from_storage(&bob.account, room, &raw.id(), sender)
    };
    ok(open(ROOM, None)); // M24
    ok(open(ROOM, Some(ALICE))); // M24
    assert_eq!(error_name(open(ROOM, Some(CAROL))), "NOT_FOUND"); // M24, SEC-50
    assert_eq!(error_name(open("!other", None)), "NOT_FOUND"); // M21
    assert_eq!(error_name(open(ROOM, Some("carol"))), "INVALID_FIELD");
}

#[test]
fn a_room_key_that_is_not_right_is_refused_and_stores_nothing() {
    let alice = Device::new(ALICE, "A");
    let bob = Device::on_disk(BOB, "B");
    let (raw, other) = (RawSession::new(), RawSession::new());
    let good = raw.room_key();
    let mut bytes = from_base64(good["session_key"].as_str().unwrap());
    bytes[10] ^= 1;
    let altered = base64(&bytes);
    let longer = base64([raw.0.session_key().to_bytes(), vec![0; 3]].concat());
    let text = good["session_key"].as_str().unwrap();
    // The last character holds two bits of the key; the other four must be zero.
    let trailing = format!("{}/", &text[..text.len() - 1]);
    let before = bob.bytes();
    for (pointer, value, name) in [
        ("/algorithm", json!("m.olm.v1.curve25519-aes-sha2"), "UNKNOWN_ALGORITHM"), // M23
        ("/session_id", json!(other.id()), "MISMATCHED_SESSION_ID"),                // M23, SEC-43
        ("/session_key", json!(altered), "BAD_SIGNATURE"),                          // SEC-43
        ("/session_key", other.room_key()["session_key"].clone(), "MISMATCHED_SESSION_ID"),
        ("/session_key", json!("AAAA"), "INVALID_KEY"), // SEC-43
        ("/session_key", json!(longer), "INVALID_KEY"), // SEC-101
        ("/session_key", json!(format!(" {text}")), "INVALID_KEY"), // SEC-101
        ("/session_key", json!(text.replace('A', "-")), "INVALID_KEY"), // SEC-101
        ("/session_key", json!(trailing), "INVALID_KEY"), // SEC-101
        ("/session_key", json!(format!("{text}=")), "INVALID_KEY"), // SEC-101
        ("/room_id", json!("room"), "INVALID_FIELD"),   // SEC-43
        ("/algorithm", Value::Null, "INVALID_FIELD"),   // D16
        ("/room_id", json!(5), "INVALID_FIELD"),        // D16
        ("/session_id", json!([]), "INVALID_FIELD"),    // D16
        ("/session_key", json!({}), "INVALID_FIELD"),   // D16
    ] {
        let content = parse(&with(&good, pointer, value));
        assert_eq!(error_name(bob.receive(&alice, &content)), name, "{content}");
    }
    for field in ["algorithm", "room_id", "session_id", "session_key"] {
        let mut content = good.clone();
        content.as_object_mut().unwrap().remove(field);
        assert_eq!(error_name(bob.receive(&alice, &content)), "INVALID_FIELD"); // D16
        assert_eq!(error_field(bob.receive(&alice, &content), "field"), field);
    }
    let from = |user: &str, key: &str| {
        InboundMegolmSession::from_room_key(&bob.account, user, key, &good.to_string())
    };
    assert_eq!(error_name(from("alice", &alice.identity_key())), "INVALID_FIELD");
    assert_eq!(error_name(from(ALICE, "no key")), "INVALID_KEY");
    assert!(bob.bytes() == before, "nothing is stored");
    assert_eq!(bob.sessions(), json!([])); // M23, SEC-43
    ok(bob.receive(&alice, &good));
}

#[test]
fn padding_of_a_session_key_is_optional_and_is_not_written() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let mut content = raw.room_key();
    content["session_key"] = json!(format!("{}==", content["session_key"].as_str().unwrap()));
    let inbound = ok(bob.receive(&alice, &content)); // S2, SEC-101
    let mut event = alice.event("$1", &raw.message("hello"));
    let ciphertext = event["content"]["ciphertext"].as_str().unwrap().to_owned();
    let padding = "=".repeat((4 - ciphertext.len() % 4) % 4);
    event["content"]["ciphertext"] = json!(ciphertext + &padding);
    ok(inbound.decrypt(&event.to_string())); // S2
    let exported = answer(inbound.export_at(None));
    assert!(!exported["session_key"].as_str().unwrap().contains('=')); // S2
}

#[test]
fn an_event_needs_no_sender_key_or_device_id_and_they_are_not_believed() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let inbound = received(&bob, &alice, &raw);
    let event = alice.event("$1", &raw.message("hello"));
    assert!(event["content"].get("sender_key").is_none());
    ok(inbound.decrypt(&event.to_string())); // M25, S6
    let mut lying = event.clone();
    lying["content"]["sender_key"] = json!(bob.identity_key());
    lying["content"]["device_id"] = json!("SOMEBODY_ELSE");
    ok(inbound.decrypt(&lying.to_string())); // S6, SEC-48
    assert_eq!(ok(inbound.sender_key()), alice.identity_key()); // SEC-48
    let wrong_type = with(&event, "/content/sender_key", json!(5));
    assert_eq!(error_name(inbound.decrypt(&wrong_type)), "INVALID_FIELD"); // M25
}

#[test]
fn an_event_that_does_not_fit_the_session_is_refused() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let inbound = received(&bob, &alice, &raw);
    let event = alice.event("$1", &raw.message("hello"));
    let ciphertext = event["content"]["ciphertext"].as_str().unwrap();
    let mut bytes = from_base64(ciphertext);
    let last = bytes.len() - 70;
    bytes[last] ^= 1;
    let mut of_another = RawSession::new().message("hello");
    of_another["session_id"] = json!(raw.id());
    for (pointer, value, name) in [
        ("/sender", json!(CAROL), "WRONG_SENDER"),   // D5, SEC-50
        ("/room_id", json!("!other"), "WRONG_ROOM"), // D5, SEC-49
        ("/content/session_id", json!(RawSession::new().id()), "MISMATCHED_SESSION_ID"), // D5
        ("/content/algorithm", json!("m.megolm.v2"), "UNKNOWN_ALGORITHM"), // M25
        ("/content/ciphertext", json!(base64(&bytes)), "UNABLE_TO_DECRYPT"),
        ("/content/ciphertext", json!("AAAA"), "UNABLE_TO_DECRYPT"),
        ("/content/ciphertext", json!("!"), "UNABLE_TO_DECRYPT"),
        ("/content", of_another, "UNABLE_TO_DECRYPT"),
        ("/content/ciphertext", json!({}), "INVALID_FIELD"), // M25
        ("/content/session_id", Value::Null, "INVALID_FIELD"), // M25
        ("/content", json!([]), "INVALID_FIELD"),
        ("/event_id", json!("1"), "INVALID_FIELD"),
        ("/event_id", Value::Null, "INVALID_FIELD"),
        ("/sender", json!("alice"), "INVALID_FIELD"),
        ("/room_id", Value::Null, "INVALID_FIELD"),
        ("/pad", json!("x".repeat(65_536)), "TOO_LARGE"),
    ] {
        let event = with(&event, pointer, value);
        assert_eq!(error_name(inbound.decrypt(&event)), name, "{pointer} {event:.300}");
    }
    let reason = |ciphertext: Value| {
        error_field(inbound.decrypt(&with(&event, "/content/ciphertext", ciphertext)), "reason")
    };
    assert_eq!(reason(json!(base64(&bytes))), "bad_mac");
    assert_eq!(reason(json!("AAAA")), "malformed");
    // None of them has claimed the index.
    let same = with(&event, "/event_id", json!("$another"));
    ok(inbound.decrypt(&same)); // D6
}

#[test]
fn a_plaintext_that_is_not_right_is_discarded_and_does_not_claim_the_index() {
    let alice = Device::new(ALICE, "A");
    let bob = Device::on_disk(BOB, "B");
    let mut raw = RawSession::new();
    let inbound = received(&bob, &alice, &raw);
    let other_room = json!({ "type": "m", "room_id": "!other", "content": {} }).to_string();
    let bad: [(&[u8], &str); 10] = [
        (other_room.as_bytes(), "WRONG_ROOM"), // M26, SEC-49
        (b"\xff\xfe", "INVALID_MESSAGE"),      // SEC-53
        (b"no JSON", "INVALID_MESSAGE"),       // SEC-53
        (b"[]", "INVALID_MESSAGE"),            // SEC-53
        (b"", "INVALID_MESSAGE"),
        (br#"{"type": "m", "content": {}}"#, "INVALID_MESSAGE"), // M26
        (br#"{"room_id": "!room:example.org", "content": {}}"#, "INVALID_MESSAGE"), // M26
        (br#"{"room_id": "!room:example.org", "type": 5, "content": {}}"#, "INVALID_MESSAGE"),
        (br#"{"room_id": "!room:example.org", "type": "m", "content": 5}"#, "INVALID_MESSAGE"),
        (
            br#"{"room_id": "!room:example.org", "type": "m", "type": "n", "content": {}}"#,
            "INVALID_MESSAGE",
        ),
    ];
    for (plaintext, name) in bad {
        let event = alice.event("$bad", &raw.twin().encrypt(plaintext));
        let before = bob.bytes();
        assert_eq!(error_name(inbound.decrypt(&event.to_string())), name);
        assert!(bob.bytes() == before, "nothing is stored"); // D6
    }
    let event = alice.event("$good", &raw.message("at the same index"));
    ok(inbound.decrypt(&event.to_string())); // D6
}

#[test]
fn only_type_content_and_room_are_taken_from_a_plaintext() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let inbound = received(&bob, &alice, &raw);
    let plaintext = json!({ "type": "m.room.message", "room_id": ROOM,
        "content": { "body": "a", "m.relates_to": { "rel_type": "m.replace" } },
        "sender": CAROL, "event_id": "$other", "state_key": "", "matrixe2ee": { "owner": "me" } });
    let content = raw.encrypt(plaintext.to_string());
    let decrypted = answer(inbound.decrypt(&alice.event("$1", &content).to_string()));
    let keys: Vec<&String> = decrypted.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["content", "matrixe2ee", "room_id", "type"]); // SEC-53
    assert_eq!(decrypted["matrixe2ee"]["owner"], "known"); // SEC-53
    assert_eq!(decrypted["content"], json!({ "body": "a" })); // D12: not the inner relation
    assert_eq!(decrypted["matrixe2ee"]["unauthenticated"], json!([]));
}

#[test]
fn a_relation_is_taken_from_the_cleartext_and_flagged() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let inbound = received(&bob, &alice, &raw);
    let inner = json!({ "type": "m", "room_id": ROOM, "content": { "m.relates_to": "inner" } });
    let mut content = raw.encrypt(inner.to_string());
    content["m.relates_to"] = json!({ "event_id": "$outer" });
    let decrypted = answer(inbound.decrypt(&alice.event("$1", &content).to_string()));
    assert_eq!(decrypted["content"], json!({ "m.relates_to": { "event_id": "$outer" } })); // D12
    assert_eq!(decrypted["matrixe2ee"]["unauthenticated"], json!(["m.relates_to"])); // SEC-54
}

#[test]
fn an_erased_session_is_gone_for_every_handle_and_can_come_back() {
    let alice = Device::new(ALICE, "A");
    let mut bob = Device::on_disk(BOB, "B");
    let mut raw = RawSession::new();
    let key = raw.room_key();
    let inbound = received(&bob, &alice, &raw);
    let other_handle = stored(&bob, &raw.id());
    let event = alice.event("$1", &raw.message("hello")).to_string();
    ok(inbound.decrypt(&event));
    ok(inbound.erase());
    for handle in [&inbound, &other_handle] {
        assert_eq!(error_name(handle.decrypt(&event)), "NOT_FOUND");
        assert_eq!(error_name(handle.decrypt_many("[]")), "NOT_FOUND");
        assert_eq!(error_name(handle.session_id()), "NOT_FOUND");
        assert_eq!(error_name(handle.sender_key()), "NOT_FOUND");
        assert_eq!(error_name(handle.authenticated()), "NOT_FOUND");
        assert_eq!(error_name(handle.first_known_index()), "NOT_FOUND");
        assert_eq!(error_name(handle.export_at(None)), "NOT_FOUND");
        assert_eq!(error_name(handle.erase()), "NOT_FOUND");
    }
    bob.reopen();
    let gone = InboundMegolmSession::from_storage(&bob.account, ROOM, &raw.id(), None);
    assert_eq!(error_name(gone), "NOT_FOUND"); // M24
    assert_eq!(bob.sessions(), json!([]));
    // With its replay records and its room: nothing of it is left.
    let again = ok(bob.receive(&alice, &key));
    let mut renamed = parse(&event);
    renamed["event_id"] = json!("$another");
    ok(again.decrypt(&renamed.to_string()));
    ok(again.erase());
    let mut elsewhere = key;
    elsewhere["room_id"] = json!("!elsewhere");
    ok(bob.receive(&alice, &elsewhere));
}

#[test]
fn numbers_in_a_message_come_out_as_they_went_in_to_the_last_digit() {
    let alice = Device::new(ALICE, "A");
    let outbound = alice.outbound(None);
    let own = ok(InboundMegolmSession::from_outbound_session(&outbound));
    let numbers = "[-1.1879710483497923e+260,0.1,5e-324,1.7976931348623157e+308,12345678901234567]";
    let content = format!(r#"{{"numbers":{numbers}}}"#);
    let event = alice.event("$1", &answer(outbound.encrypt("m.test", &content))).to_string();
    let decrypted = ok(own.decrypt(&event)); // M26
    assert!(decrypted.contains(numbers), "{decrypted}");
}
