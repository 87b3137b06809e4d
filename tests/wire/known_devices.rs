//! A device that comes back under its ID with other keys is somebody else (SEC-4, 5, 7; D10).

use serde_json::{Value, json};

use crate::rooms::*;

/// Bob's device with one of its keys exchanged, well signed by the fingerprint key that it names.
fn impostors(bob: &Device) -> Vec<(&'static str, Value)> {
    let other = Device::new(BOB, "B");
    let exchange = |from: &Device, to: &Device| {
        from.keys_with(|keys| {
            keys["keys"]["curve25519:B"] = to.keys()["keys"]["curve25519:B"].clone();
        })
    };
    vec![
        ("another fingerprint key", exchange(&other, bob)),
        ("another identity key", exchange(bob, &other)),
        ("all keys", other.keys()),
    ]
}

fn share(alice: &Device, room: &Recipients) -> Vec<Value> {
    let session = alice.outbound(None);
    let lines = keys_to_send(&session, room);
    let devices = Value::from_iter(lines.iter().map(|line| line["device"].clone()));
    ok(session.mark_as_sent(&devices.to_string()));
    lines
}

#[test]
fn a_known_device_with_other_keys_counts_as_gone_and_never_gets_a_key() {
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    for (what, keys) in impostors(&bob) {
        for is_sent in [false, true] {
            let mut alice = Device::on_disk(ALICE, "A");
            let genuine = Recipients::of(&[&bob, &carol]);
            let forged = genuine.clone().with_keys(BOB, "B", keys.clone());
            let session = alice.outbound(None);
            keys_to_send(&session, &genuine);
            if is_sent {
                ok(session.mark_as_sent(&json!([bob.keys(), carol.keys()]).to_string()));
            }
            let refused = session.get_session_key_for_sending(&forged.text());
            assert_eq!(expired(refused), "device_gone", "{what}"); // M13, SEC-56
            // Nor in the next session, in another room, or after a restart.
            for restarts in 0..2 {
                for _ in 0..2 {
                    let lines = share(&alice, &forged);
                    assert_eq!(lines.len(), 2, "{what} {restarts}");
                    assert!(line_of(&lines, &carol)["content"].is_object(), "{what}");
                    let bad = line_of(&lines, &bob);
                    assert_eq!(bad["error"]["name"], "MISMATCHED_FINGERPRINT", "{what}"); // SEC-4, 5
                    assert_eq!(bad["device"], keys, "{what}");
                    assert_eq!(bad.as_object().unwrap().len(), 2, "{what}");
                }
                alice.reopen();
            }
            // A device that was gone for a while is remembered, too.
            share(&alice, &Recipients::of(&[&carol]));
            let lines = share(&alice, &forged);
            assert_eq!(line_of(&lines, &bob)["error"]["name"], "MISMATCHED_FINGERPRINT"); // SEC-7
            // The genuine one is as good as before.
            let lines = share(&alice, &genuine);
            assert!(line_of(&lines, &bob)["content"].is_object(), "{what}");
        }
    }
}

#[test]
fn a_blocked_device_with_other_keys_is_told_nothing() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    share(&alice, &Recipients::of(&[&bob]));
    for (what, keys) in impostors(&bob) {
        let room = Recipients::of(&[&bob]).with_keys(BOB, "B", keys);
        let lines = share(&alice, &room.blocked(&bob, "m.unverified"));
        assert_eq!(lines[0]["error"]["name"], "MISMATCHED_FINGERPRINT", "{what}"); // SEC-4
        assert!(lines[0].get("withheld").is_none());
    }
}

#[test]
fn a_device_that_was_only_blocked_is_not_remembered() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let room = Recipients::of(&[&bob]);
    let (_, keys) = impostors(&bob).remove(2);
    share(&alice, &room.clone().with_keys(BOB, "B", keys).blocked(&bob, "m.blacklisted"));
    assert!(line_of(&share(&alice, &room), &bob)["content"].is_object());
}

#[test]
fn a_device_that_cannot_be_reached_keeps_its_key_and_is_told_so_once() {
    let mut alice = Device::on_disk(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let room = Recipients::of(&[&bob, &carol]);
    let unreachable = room.clone().blocked(&bob, "m.no_olm");
    let session = alice.outbound(None);
    let offered = line_of(&keys_to_send(&session, &room), &bob)["content"].clone();
    encrypted(&session, "meanwhile");
    // D33: no reason to expire the session.
    let lines = keys_to_send(&session, &unreachable);
    assert_eq!(line_of(&lines, &bob)["withheld"]["code"], "m.no_olm");
    assert!(line_of(&lines, &bob).get("content").is_none());
    alice.reopen();
    let session = alice.stored_outbound();
    assert_eq!(keys_to_send(&session, &unreachable), lines); // until it is marked
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(line_of(&keys_to_send(&session, &unreachable), &bob), Value::Null);
    // Once it can be reached, it gets the key that it was offered first.
    alice.reopen();
    let session = alice.stored_outbound();
    for _ in 0..2 {
        assert_eq!(line_of(&keys_to_send(&session, &room), &bob)["content"], offered); // M7
    }
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(line_of(&keys_to_send(&session, &room), &bob), Value::Null); // M8
    // It has the key: there is nothing to tell.
    assert_eq!(line_of(&keys_to_send(&session, &unreachable), &bob), Value::Null);
    let blocked = room.blocked(&bob, "m.blacklisted").text();
    assert_eq!(expired(session.get_session_key_for_sending(&blocked)), "device_gone"); // D33
}

#[test]
fn the_same_question_again_has_the_same_answer_until_something_has_changed() {
    let alice = Device::new(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let room = Recipients::of(&[&bob, &carol]).blocked(&carol, "m.unverified");
    let session = alice.outbound(None);
    let lines = keys_to_send(&session, &room);
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    for _ in 0..3 {
        assert_eq!(keys_to_send(&session, &room), [line_of(&lines, &carol)]);
    }
    ok(session.mark_as_sent(&json!([carol.keys()]).to_string()));
    for _ in 0..3 {
        assert_eq!(keys_to_send(&session, &room), [] as [Value; 0]);
    }
    let twin = alice.stored_outbound();
    assert_eq!(
        keys_to_send(&twin, &Recipients::of(&[&bob]).member(CAROL, "join")),
        [] as [Value; 0]
    );
    let gone = Recipients::of(&[&carol]).member(BOB, "join").text();
    assert_eq!(expired(session.get_session_key_for_sending(&gone)), "device_gone"); // M13
    keys_to_send(&session, &room);
    alice.clock.set(START_MS + 8 * 86_400_000);
    assert_eq!(expired(session.get_session_key_for_sending(&room.text())), "time"); // M10
    alice.clock.set(START_MS);
    keys_to_send(&session, &room);
    ok(twin.invalidate());
    assert_eq!(expired(session.get_session_key_for_sending(&room.text())), "invalidated"); // D9b
}
