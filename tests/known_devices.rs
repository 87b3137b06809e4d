//! The keys that a device had when it was first given a room key hold for good, whatever a server
//! lists under its ID later, and nothing but giving it a key fixes them.

#[path = "common/rooms.rs"]
mod rooms;

use matrixe2ee::OutboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};

/// What becomes of a device: it gets the key, a notice, or an error.
fn fate(session: &OutboundMegolmSession, room: &Recipients, device: &Device) -> String {
    let lines = keys_to_send(session, room);
    let line = line_of(&lines, device);
    match (&line["error"]["name"], &line["withheld"]["code"]) {
        (Value::String(name), _) | (_, Value::String(name)) => name.clone(),
        _ if line["content"].is_object() => "key".to_owned(),
        _ => "nothing".to_owned(),
    }
}

#[test]
fn a_device_that_was_blocked_elsewhere_under_other_keys_does_not_get_the_key_with_these() {
    // SEC-4, SEC-7
    let mut alice = Device::on_disk(ALICE, "A");
    let (bob, fake) = (Device::new(BOB, "B"), Device::new(BOB, "B"));
    let session = alice.outbound(None);
    let id = ok(session.session_id());
    // The server lists its own keys while the device is blocked: nothing is given, nothing is fixed.
    let listed = Recipients::of(&[&fake]);
    assert_eq!(
        fate(&session, &listed.clone().blocked(&fake, "m.unverified"), &fake),
        "m.unverified"
    );
    let elsewhere =
        ok(OutboundMegolmSession::create(&alice.account, "!elsewhere:example.org", None));
    assert_eq!(fate(&elsewhere, &Recipients::of(&[&bob]), &bob), "key");
    for _ in 0..2 {
        let stored =
            OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id.clone()));
        let stored: std::sync::Arc<_> = ok(stored);
        assert_eq!(fate(&stored, &listed, &fake), "MISMATCHED_FINGERPRINT");
        alice.reopen();
    }
}

#[test]
fn only_a_device_that_is_given_a_key_is_remembered() {
    let mut alice = Device::on_disk(ALICE, "A");
    let (bob, fake) = (Device::new(BOB, "B"), Device::new(BOB, "B"));
    let forged = |change: fn(&mut Value)| {
        let mut keys = fake.keys();
        change(&mut keys);
        Recipients::of(&[&bob]).with_keys(BOB, "B", keys)
    };
    for (room, expected) in [
        (forged(|keys| drop(keys["algorithms"].take())), "INVALID_FIELD"),
        (forged(|keys| keys["algorithms"] = json!([MEGOLM])), "BAD_SIGNATURE"),
        (forged(|keys| keys["signatures"] = json!({})), "BAD_SIGNATURE"),
        (forged(|keys| keys["user_id"] = json!(CAROL)), ""),
        (Recipients::of(&[&fake]).blocked(&fake, "m.unverified"), "m.unverified"),
        (Recipients::of(&[&fake]).blocked(&fake, "m.no_olm"), "m.no_olm"),
        (Recipients::of(&[&fake]).member(BOB, "leave"), "nothing"),
        (
            Recipients::of(&[&fake]).with_keys(
                BOB,
                "B",
                fake.keys_with(|keys| keys["algorithms"] = json!(["m.olm.v1.curve25519-aes-sha2"])),
            ),
            "UNKNOWN_ALGORITHM",
        ),
    ] {
        let found = fate(&alice.outbound(None), &room, &fake);
        if !expected.is_empty() {
            assert_eq!(found, expected, "{}", room.text());
        }
        alice.reopen();
    }
    // Another user's device of that name, and this one's of another name, are other devices.
    let (carol, other) = (Device::new(CAROL, "B"), Device::new(BOB, "B2"));
    let room = Recipients::of(&[&carol, &other]);
    let session = alice.outbound(None);
    assert_eq!(fate(&session, &room, &carol), "key");
    alice.reopen();
    let session = alice.outbound(None);
    assert_eq!(fate(&session, &Recipients::of(&[&bob]), &bob), "key");
    alice.reopen();
    let session = alice.outbound(None);
    assert_eq!(fate(&session, &Recipients::of(&[&fake]), &fake), "MISMATCHED_FINGERPRINT");
    assert_eq!(fate(&session, &Recipients::of(&[&bob]), &bob), "key");
}
