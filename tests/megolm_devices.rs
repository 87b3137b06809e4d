//! Devices that do not get a room key: blocked ones and ones with bad keys.

#[path = "common/rooms.rs"]
mod rooms;

use rooms::*;
use serde_json::{Value, json};

fn alice_and_bob() -> (Device, Device) {
    (Device::new(ALICE, "A"), Device::new(BOB, "B"))
}

#[test]
fn a_blocked_device_is_told_once_why_it_gets_no_key() {
    let mut alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let room = Recipients::of(&[&bob]).blocked(&bob, "m.blacklisted");
    let notice = json!({ "device": bob.keys(), "withheld": {
        "algorithm": MEGOLM, "code": "m.blacklisted", "room_id": ROOM,
        "sender_key": alice.identity_key(), "session_id": ok(session.session_id()) } });
    assert_eq!(keys_to_send(&session, &room), vec![notice.clone()]); // D33
    alice.reopen();
    let session = alice.stored_outbound();
    assert_eq!(keys_to_send(&session, &room), [notice]); // D33: until it is marked
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(keys_to_send(&session, &room), [] as [Value; 0]); // D33: once
    alice.reopen();
    let session = alice.stored_outbound();
    assert_eq!(keys_to_send(&session, &room), [] as [Value; 0]); // D33
}

#[test]
fn a_device_without_an_olm_session_is_told_nothing_of_the_room() {
    let (alice, bob) = alice_and_bob();
    let session = alice.outbound(None);
    let lines = keys_to_send(&session, &Recipients::of(&[&bob]).blocked(&bob, "m.no_olm"));
    let notice =
        json!({ "algorithm": MEGOLM, "code": "m.no_olm", "sender_key": alice.identity_key() });
    assert_eq!(lines[0]["withheld"], notice); // D33
}

#[test]
fn another_blocked_device_under_the_same_id_is_told_too() {
    let (alice, bob) = alice_and_bob();
    let other = Device::new(BOB, "B");
    let session = alice.outbound(None);
    for device in [&bob, &other, &bob] {
        let lines =
            keys_to_send(&session, &Recipients::of(&[device]).blocked(device, "m.unverified"));
        assert_eq!(lines[0]["withheld"]["code"], "m.unverified"); // D10, D33
        ok(session.mark_as_sent(&json!([device.keys()]).to_string()));
    }
}

#[test]
fn a_device_that_is_blocked_after_it_got_the_key_counts_as_gone() {
    let (alice, bob) = alice_and_bob();
    let session = alice.outbound(None);
    let room = Recipients::of(&[&bob]);
    keys_to_send(&session, &room);
    let blocked = room.clone().blocked(&bob, "m.blacklisted").text();
    let reason = expired(session.get_session_key_for_sending(&blocked));
    assert_eq!(reason, "device_gone"); // D33, M13, SEC-56
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(expired(session.get_session_key_for_sending(&blocked)), "device_gone"); // D33
}

#[test]
fn a_device_that_is_no_longer_blocked_gets_the_key_at_the_current_index() {
    let (alice, bob) = alice_and_bob();
    for told in [false, true] {
        let session = alice.outbound(None);
        let room = Recipients::of(&[&bob]);
        keys_to_send(&session, &room.clone().blocked(&bob, "m.unverified"));
        if told {
            ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
        }
        encrypted(&session, "not for Bob");
        let lines = keys_to_send(&session, &room); // D33: nothing to expire, it never had the key
        let inbound = ok(bob.receive(&alice, &line_of(&lines, &bob)["content"]));
        assert_eq!(ok(inbound.first_known_index()), 1); // M14
        ok(inbound.erase());
    }
}

#[test]
fn a_blocked_device_that_is_gone_does_not_expire_the_session() {
    let (alice, bob) = alice_and_bob();
    let tablet = Device::new(BOB, "TABLET");
    let session = alice.outbound(None);
    keys_to_send(&session, &Recipients::of(&[&bob, &tablet]).blocked(&tablet, "m.blacklisted"));
    keys_to_send(&session, &Recipients::of(&[&bob])); // D33: it never had the key
}

/// Every way in which a device's entry can be bad, with the error that names it.
fn bad_entries(bob: &Device) -> Vec<(&'static str, Value, &'static str)> {
    let mut tampered = bob.keys();
    tampered["algorithms"] = json!([]);
    let mut unsigned = bob.keys();
    unsigned.as_object_mut().unwrap().remove("signatures");
    let key = |name: &'static str, bytes: [u8; 32]| {
        bob.keys_with(|keys| keys["keys"][format!("{name}:B")] = json!(base64(bytes)))
    };
    let mut alias = from_base64(&bob.identity_key());
    alias[31] |= 0x80;
    let alias: [u8; 32] = alias.try_into().unwrap();
    let algorithms = |list: Value| bob.keys_with(|keys| keys["algorithms"] = list);
    vec![
        ("SEC-1", bob.keys_with(|keys| keys["user_id"] = json!(CAROL)), "INVALID_FIELD"),
        ("SEC-1", bob.keys_with(|keys| keys["device_id"] = json!("OTHER")), "INVALID_FIELD"),
        ("SEC-1: of another device", Device::new(CAROL, "C").keys(), "INVALID_FIELD"),
        ("SEC-3: altered", tampered, "BAD_SIGNATURE"),
        ("SEC-3: not signed", unsigned, "BAD_SIGNATURE"),
        ("SEC-8: an alias", key("curve25519", alias), "INVALID_KEY"),
        ("SEC-9: of low order", key("curve25519", [0; 32]), "INVALID_KEY"),
        ("SEC-10: weak", key("ed25519", [0; 32]), "INVALID_KEY"),
        ("SEC-13: no algorithm", algorithms(json!([])), "UNKNOWN_ALGORITHM"),
        ("SEC-13: Megolm only", algorithms(json!([MEGOLM])), "UNKNOWN_ALGORITHM"),
        (
            "SEC-13: Olm only",
            algorithms(json!(["m.olm.v1.curve25519-aes-sha2"])),
            "UNKNOWN_ALGORITHM",
        ),
        ("SEC-100", bob.keys_with(|keys| keys["pad"] = json!("x".repeat(65_536))), "TOO_LARGE"),
        ("no object", json!("keys"), "INVALID_FIELD"),
        ("nothing", Value::Null, "INVALID_FIELD"),
    ]
}

#[test]
fn a_device_with_bad_keys_gets_an_error_instead_of_a_key_and_spoils_no_other() {
    let (alice, bob) = alice_and_bob();
    let carol = Device::new(CAROL, "C");
    for (requirement, entry, name) in bad_entries(&bob) {
        let session = alice.outbound(None);
        let room = Recipients::of(&[&bob, &carol]).with_keys(BOB, "B", entry.clone());
        // What is no object, too much of it or names another device is not given back but named by
        // its place: nobody takes it for that other device (SEC-1).
        let names_itself = entry["user_id"] == BOB && entry["device_id"] == "B";
        let is_given_back = names_itself && name != "TOO_LARGE";
        let entry = if is_given_back { entry } else { json!({ "user_id": BOB, "device_id": "B" }) };
        for _ in 0..2 {
            let lines = keys_to_send(&session, &room);
            assert_eq!(lines.len(), 2, "{requirement}");
            let bad = lines.iter().find(|line| line["device"] == entry).expect(requirement);
            // SEC-1, SEC-13, D11
            assert_eq!(bad["error"]["name"], name, "{requirement}");
            assert_eq!(bad.as_object().unwrap().len(), 2, "{requirement}: no key, no notice");
            let good = lines.iter().find(|line| line["device"] == carol.keys()).unwrap();
            assert!(good["content"]["session_key"].is_string(), "{requirement}");
        }
    }
}

#[test]
fn keys_of_another_device_do_not_report_that_device_as_served() {
    let (alice, bob) = alice_and_bob();
    let carol = Device::new(CAROL, "C");
    let session = alice.outbound(None);
    // The server lists Carol's keys as Bob's.
    let room = Recipients::of(&[&bob, &carol]).with_keys(BOB, "B", carol.keys());
    let lines = keys_to_send(&session, &room);
    let bad = lines.iter().find(|line| line.get("error").is_some()).unwrap();
    ok(session.mark_as_sent(&json!([bad["device"]]).to_string()));
    let lines = keys_to_send(&session, &room);
    assert!(line_of(&lines, &carol)["content"].is_object()); // SEC-1: she has not got it yet
}

#[test]
fn very_many_users_whose_devices_are_none_keep_the_key_from_nobody() {
    // SEC-100: as many as a server has that makes users to stop a room
    let (alice, bob) = alice_and_bob();
    let mut room = Recipients::of(&[&bob]);
    for n in 0..20_000 {
        let user_id = format!("@{n:05}:example.net");
        room.0["members"][&user_id] = json!("join");
        room.0["device_keys"][&user_id] = json!(0);
    }
    let session = alice.outbound(None);
    let lines = keys_to_send(&session, &room);
    assert!(line_of(&lines, &bob)["content"].is_object());
    let told = lines.iter().filter(|line| line["error"]["name"] == "INVALID_FIELD").count();
    assert!(told > 1_000 && told + 1 == lines.len(), "{told} of {}", lines.len());
    // One who had the key and is such a user by now is gone, told or not.
    room.0["device_keys"][BOB] = json!(0);
    assert_eq!(expired(session.get_session_key_for_sending(&room.text())), "device_gone");
}

#[test]
fn a_device_whose_keys_went_bad_counts_as_gone() {
    let (alice, bob) = alice_and_bob();
    for (requirement, entry, _) in bad_entries(&bob) {
        let session = alice.outbound(None);
        let room = Recipients::of(&[&bob]);
        keys_to_send(&session, &room);
        let bad = room.with_keys(BOB, "B", entry).text();
        let reason = expired(session.get_session_key_for_sending(&bad));
        assert_eq!(reason, "device_gone", "{requirement}"); // SEC-1, SEC-13, M13
    }
}

#[test]
fn a_bad_device_that_recovers_gets_the_key() {
    let (alice, bob) = alice_and_bob();
    for (requirement, entry, _) in bad_entries(&bob) {
        let session = alice.outbound(None);
        let room = Recipients::of(&[&bob]);
        keys_to_send(&session, &room.clone().with_keys(BOB, "B", entry));
        let lines = keys_to_send(&session, &room);
        assert!(line_of(&lines, &bob)["content"].is_object(), "{requirement}"); // M6
    }
}
