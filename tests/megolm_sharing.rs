//! Handing a room key to every device in a room, and withholding it.

#[path = "common/rooms.rs"]
mod rooms;

use matrixe2ee::{InboundMegolmSession, OutboundMegolmSession};
use rooms::*;
use serde_json::{Value, json};

const ALL_ABOUT_ROOM_KEYS: [&str; 5] =
    ["algorithm", "room_id", "session_id", "session_key", "shared_history"];

fn alice_and_bob() -> (Device, Device) {
    (Device::new(ALICE, "A"), Device::new(BOB, "B"))
}

/// The IDs of the devices that are given the key.
fn devices_of(lines: &[Value]) -> Vec<&str> {
    let mut ids: Vec<&str> = lines
        .iter()
        .filter(|line| line.get("content").is_some())
        .map(|line| line["device"]["device_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

fn share(session: &OutboundMegolmSession, room: &Recipients) -> matrixe2ee::Result<String> {
    session.get_session_key_for_sending(&room.text())
}

#[test]
fn a_device_is_given_its_own_keys_back_and_the_content_of_a_room_key() {
    let (alice, bob) = alice_and_bob();
    let session = alice.outbound(None);
    let lines = keys_to_send(&session, &Recipients::of(&[&bob]));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["device"], bob.keys()); // M6
    let content = lines[0]["content"].as_object().unwrap();
    assert!(content.keys().eq(ALL_ABOUT_ROOM_KEYS)); // M6, D17, S4: the spec's name only
    assert_eq!(content["algorithm"], MEGOLM); // M1
    assert_eq!(content["room_id"], ROOM);
    assert_eq!(content["session_id"], ok(session.session_id())); // M5
    assert!(!content["session_key"].as_str().unwrap().contains('=')); // S2
    let inbound = ok(bob.receive(&alice, &lines[0]["content"]));
    let event = alice.event("$1", &encrypted(&session, "hello"));
    assert_eq!(answer(inbound.decrypt(&event.to_string()))["content"]["body"], "hello"); // M6
}

#[test]
fn a_waiting_device_gets_the_same_key_again_after_encryptions_and_after_a_restart() {
    let mut alice = Device::on_disk(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let session = alice.outbound(None);
    let first = room_key_for(&session, &bob);
    let event = alice.event("$1", &encrypted(&session, "between"));
    encrypted(&session, "and another");
    assert_eq!(room_key_for(&session, &bob), first); // M7
    alice.reopen();
    let session = alice.stored_outbound(); // D14
    let room = Recipients::of(&[&bob, &carol]);
    let lines = keys_to_send(&session, &room);
    assert_eq!(line_of(&lines, &bob)["content"], first); // M7, M3
    assert_ne!(line_of(&lines, &carol)["content"]["session_key"], first["session_key"]);
    encrypted(&session, "after");
    assert_eq!(keys_to_send(&session, &room), lines); // M7
    let inbound = ok(bob.receive(&alice, &first));
    ok(inbound.decrypt(&event.to_string())); // M7: the index at which it was first handed out
}

#[test]
fn a_device_that_was_sent_the_key_is_not_listed_again() {
    let mut alice = Device::on_disk(ALICE, "A");
    let (bob, bobs_tablet) = (Device::new(BOB, "B"), Device::new(BOB, "B2"));
    let session = alice.outbound(None);
    let room = Recipients::of(&[&bob, &bobs_tablet]);
    keys_to_send(&session, &room);
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(devices_of(&keys_to_send(&session, &room)), ["B2"]); // M8
    alice.reopen();
    let session = alice.stored_outbound();
    assert_eq!(devices_of(&keys_to_send(&session, &room)), ["B2"]); // M8, D14
    ok(session.mark_as_sent(&json!([bob.keys(), bobs_tablet.keys()]).to_string()));
    assert_eq!(ok(share(&session, &room)), "[]"); // M8
}

#[test]
fn marking_works_for_devices_never_listed_and_ignores_what_is_no_device() {
    let alice = Device::on_disk(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let session = alice.outbound(None);
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    let before = alice.bytes();
    let mut nameless = carol.keys();
    nameless.as_object_mut().unwrap().remove("user_id");
    let strangers = json!([nameless, {}, 5, null, "text", [], { "user_id": CAROL },
        { "user_id": CAROL, "device_id": "C", "keys": { "curve25519:C": "no key" } },
        { "user_id": "carol", "device_id": "C", "keys": carol.keys()["keys"] }]);
    ok(session.mark_as_sent(&strangers.to_string())); // M8
    assert!(alice.bytes() == before, "nothing is stored");
    assert_eq!(devices_of(&keys_to_send(&session, &Recipients::of(&[&bob, &carol]))), ["C"]); // M8
    assert_eq!(error_name(session.mark_as_sent("{}")), "INVALID_FIELD");
    assert_eq!(error_name(session.mark_as_sent("[")), "INVALID_JSON");
}

#[test]
fn a_malformed_member_stops_no_room() {
    let alice = Device::new(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let session = alice.outbound(None);
    let room = Recipients::of(&[&bob]).member("no user ID", "leave");
    assert_eq!(devices_of(&keys_to_send(&session, &room)), ["B"]); // SEC-100, M11
    let mut room = room.member("no user ID", "join").with_keys("no user ID", "C", carol.keys());
    room.0["members"][CAROL] = json!(5);
    room = room.with(&carol);
    let lines = keys_to_send(&session, &room); // SEC-100
    assert_eq!(lines.len(), 2);
    assert!(line_of(&lines, &bob)["content"].is_object());
    // Whatever stands under no user's ID is refused, and a membership that is none is no member's.
    let listed = json!({ "user_id": "no user ID", "device_id": "C" });
    let refused = lines.iter().find(|line| line["device"] == listed).unwrap();
    assert_eq!(refused["error"]["name"], "INVALID_FIELD");
    assert_eq!(line_of(&lines, &carol), Value::Null);
    // Neither is remembered: without them the session is as good as before.
    keys_to_send(&session, &Recipients::of(&[&bob]));
}

#[test]
fn a_user_whose_devices_cannot_be_read_stops_no_room_but_expires_what_they_had() {
    let alice = Device::new(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let session = alice.outbound(None);
    let mut room = Recipients::of(&[&bob]).member(CAROL, "join");
    room.0["device_keys"][CAROL] = json!(["no", "object"]);
    let lines = keys_to_send(&session, &room); // SEC-100
    assert_eq!(lines.len(), 2);
    assert!(line_of(&lines, &bob)["content"].is_object());
    let refused = lines.iter().find(|line| line.get("error").is_some()).unwrap();
    assert_eq!(refused["device"], json!({ "user_id": CAROL }));
    assert_eq!(refused["error"]["name"], "INVALID_FIELD");
    let good = Recipients::of(&[&bob, &carol]);
    assert_eq!(devices_of(&keys_to_send(&session, &good)), ["B", "C"]);
    assert_eq!(expired(share(&session, &room)), "device_gone"); // M13
}

#[test]
fn marking_the_own_device_changes_nothing() {
    let alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let room = Recipients::of(&[&bob]);
    keys_to_send(&session, &room);
    let before = alice.bytes();
    ok(session.mark_as_sent(&json!([alice.keys()]).to_string())); // M12
    assert!(alice.bytes() == before, "nothing is stored");
    assert_eq!(devices_of(&keys_to_send(&session, &room)), ["B"]);
}

#[test]
fn a_room_without_encryption_or_with_an_unknown_one_gets_no_key() {
    let alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let before = alice.bytes();
    let with = |encryption: Value| {
        let mut room = Recipients::of(&[&bob]);
        room.0["encryption"] = encryption;
        room
    };
    assert_eq!(error_name(share(&session, &with(Value::Null))), "ROOM_NOT_ENCRYPTED"); // M9
    let mut absent = Recipients::of(&[&bob]);
    absent.0.as_object_mut().unwrap().remove("encryption");
    assert_eq!(error_name(share(&session, &absent)), "ROOM_NOT_ENCRYPTED"); // M9
    let other = with(json!({ "algorithm": "m.megolm.v2" }));
    assert_eq!(error_name(share(&session, &other)), "UNKNOWN_ALGORITHM"); // D11
    assert_eq!(error_field(share(&session, &other), "algorithm"), "m.megolm.v2");
    assert_eq!(error_name(share(&session, &with(json!({})))), "INVALID_FIELD");
    assert!(alice.bytes() == before, "nothing is stored"); // M16
}

#[test]
fn recipients_that_cannot_be_read_are_refused_and_change_nothing() {
    let alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let before = alice.bytes();
    for (field, value) in [
        ("members", Value::Null),
        ("members", json!([])),
        ("device_keys", json!("none")),
        ("blocked", json!([])),
    ] {
        let mut room = Recipients::of(&[&bob]);
        room.0[field] = value;
        assert_eq!(error_name(share(&session, &room)), "INVALID_FIELD", "{}", room.text());
    }
    assert!(alice.bytes() == before, "nothing is stored");
    assert_eq!(devices_of(&keys_to_send(&session, &Recipients::of(&[&bob]))), ["B"]);
}

#[test]
fn members_and_invited_users_get_the_key_but_invited_ones_not_if_history_is_for_joined() {
    let bob = Device::new(BOB, "B");
    let invited = Device::new(CAROL, "C");
    for (visibility, expected) in [
        (Value::Null, vec!["B", "C"]),             // M11: not set
        (json!("invited"), vec!["B", "C"]),        // M11
        (json!("shared"), vec!["B", "C"]),         // M11
        (json!("world_readable"), vec!["B", "C"]), // M11
        (json!("joined"), vec!["B"]),              // M11, D2
        (json!("join"), vec!["B"]),                // SEC-59: unknown, so as joined
        (json!(5), vec!["B"]),                     // SEC-59, SEC-100
        (json!({}), vec!["B"]),                    // SEC-59, SEC-100
    ] {
        let mut room = Recipients::of(&[&bob, &invited]).member(CAROL, "invite");
        room.0["history_visibility"] = visibility.clone();
        for other in ["leave", "ban", "knock", "JOIN"] {
            let user = format!("@{other}:example.org");
            room = room.member(&user, other).with(&Device::new(&user, other));
        }
        let alice = Device::new(ALICE, "A");
        let lines = keys_to_send(&alice.outbound(None), &room);
        assert_eq!(devices_of(&lines), expected, "{visibility}"); // M11
        let shared = ["shared", "world_readable"].map(Value::from).contains(&visibility)
            || visibility.is_null();
        for line in lines {
            assert_eq!(line["content"]["shared_history"], shared, "{visibility}"); // D17, SEC-59
        }
    }
}

#[test]
fn the_own_device_is_left_out_and_other_own_devices_are_not() {
    let alice = Device::new(ALICE, "A");
    let tablet = Device::new(ALICE, "TABLET");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let room = Recipients::of(&[&alice, &bob]);
    assert_eq!(devices_of(&keys_to_send(&session, &room)), ["B"]); // M12
    // Without another device the own user is not remembered: not listed is not gone.
    ok(share(&session, &Recipients::of(&[&bob]))); // M12
    let with_tablet = Recipients::of(&[&alice, &tablet, &bob]);
    assert_eq!(devices_of(&keys_to_send(&session, &with_tablet)), ["B", "TABLET"]); // M12, D8
    assert_eq!(devices_of(&keys_to_send(&session, &with_tablet)), ["B", "TABLET"]); // D8
    assert!(expired(share(&session, &room)).ends_with("_gone")); // M13
}

#[test]
fn a_session_expires_when_a_device_that_may_have_the_key_is_gone() {
    let (bob, tablet) = (Device::new(BOB, "B"), Device::new(BOB, "TABLET"));
    for sent in [false, true] {
        let mut alice = Device::on_disk(ALICE, "A");
        let session = alice.outbound(None);
        keys_to_send(&session, &Recipients::of(&[&bob, &tablet]));
        if sent {
            ok(session.mark_as_sent(&json!([bob.keys(), tablet.keys()]).to_string()));
        }
        alice.reopen();
        let session = alice.stored_outbound();
        let logged_out = share(&session, &Recipients::of(&[&bob]));
        assert_eq!(expired(logged_out), "device_gone", "sent: {sent}"); // M13: pending only, too
        let left = share(&session, &Recipients::of(&[&bob, &tablet]).member(BOB, "leave"));
        assert_eq!(expired(left), "user_gone", "sent: {sent}"); // M13, S11, SEC-56
        let absent = share(&session, &Recipients::of(&[]));
        assert_eq!(expired(absent), "user_gone", "sent: {sent}"); // M13
        ok(share(&session, &Recipients::of(&[&bob, &tablet])));
    }
}

#[test]
fn an_invited_user_counts_as_gone_once_only_joined_users_may_read() {
    let (alice, bob) = alice_and_bob();
    let session = alice.outbound(None);
    let invited = Recipients::of(&[&bob]).member(BOB, "invite").visibility("invited");
    keys_to_send(&session, &invited);
    assert_eq!(expired(share(&session, &invited.visibility("joined"))), "user_gone"); // M11, M13
}

#[test]
fn a_user_without_devices_is_remembered_too() {
    let alice = Device::new(ALICE, "A");
    let session = alice.outbound(None);
    let room = Recipients::of(&[]).member(BOB, "join");
    assert_eq!(ok(share(&session, &room)), "[]");
    assert_eq!(expired(share(&session, &Recipients::of(&[]))), "user_gone"); // D9
    assert_eq!(expired(share(&session, &room.member(BOB, "leave"))), "user_gone"); // D9
}

#[test]
fn a_later_device_gets_the_current_index_and_cannot_read_older_messages() {
    let (alice, bob) = alice_and_bob();
    let late = Device::new(CAROL, "C");
    let session = alice.outbound(None);
    room_key_for(&session, &bob);
    let old = alice.event("$old", &encrypted(&session, "before"));
    let lines = keys_to_send(&session, &Recipients::of(&[&bob, &late]));
    let inbound = ok(late.receive(&alice, &line_of(&lines, &late)["content"]));
    let new = alice.event("$new", &encrypted(&session, "after"));
    assert_eq!(ok(inbound.first_known_index()), 1); // M14
    assert_eq!(error_name(inbound.decrypt(&old.to_string())), "UNKNOWN_INDEX"); // M14
    ok(inbound.decrypt(&new.to_string())); // M14
}

#[test]
fn another_identity_key_under_the_same_device_id_is_another_device() {
    let (alice, bob) = alice_and_bob();
    let impostor = Device::new(BOB, "B");
    let session = alice.outbound(None);
    keys_to_send(&session, &Recipients::of(&[&bob]));
    assert_eq!(expired(share(&session, &Recipients::of(&[&impostor]))), "device_gone"); // D10
    ok(session.mark_as_sent(&json!([impostor.keys()]).to_string())); // D10: changes nothing
    assert_eq!(devices_of(&keys_to_send(&session, &Recipients::of(&[&bob]))), ["B"]);
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(expired(share(&session, &Recipients::of(&[&impostor]))), "device_gone"); // D10
}

#[test]
fn crossing_between_shared_and_private_history_expires_the_session() {
    let bob = Device::new(BOB, "B");
    let (open, closed) = (["shared", "world_readable"], ["joined", "invited"]);
    for (before, same, crossed) in
        [(open[0], open[1], closed), (open[1], open[0], closed), ("joined", "invited", open)]
    {
        let mut alice = Device::on_disk(ALICE, "A");
        let room = Recipients::of(&[&bob]);
        keys_to_send(&alice.outbound(None), &room.clone().visibility(before));
        for _ in 0..2 {
            let session = alice.stored_outbound();
            for visibility in crossed {
                let reason = expired(share(&session, &room.clone().visibility(visibility)));
                assert_eq!(reason, "history_visibility"); // D17, S11, SEC-56
            }
            ok(share(&session, &room.clone().visibility(same))); // D17
            alice.reopen();
        }
    }
}

#[test]
fn the_name_that_old_clients_read_stands_beside_the_specs_if_that_is_wanted() {
    let (alice, bob) = alice_and_bob();
    let session = alice.outbound(Some(&json!({ "old_shared_history_names": true })));
    let content = room_key_for(&session, &bob);
    // S4: matrix-sdk-crypto reads only m.shared_history, mautrix-go only shared_history, and the
    // oldest name beside m.shared_history costs the first one the whole key.
    let mut names = ALL_ABOUT_ROOM_KEYS.to_vec();
    names.insert(1, "m.shared_history");
    assert!(content.as_object().unwrap().keys().eq(names), "{content}");
    assert_eq!(content["m.shared_history"], true);
    assert_eq!(content["shared_history"], true);
    let inbound = ok(bob.receive(&alice, &content));
    assert_eq!(answer(inbound.export_at(None))["shared_history"], true); // D17
    let own = ok(InboundMegolmSession::from_outbound_session(&session));
    assert_eq!(answer(own.export_at(None))["shared_history"], true); // D17
}

#[test]
fn the_last_known_list_of_a_server_that_is_down_keeps_the_session() {
    let (alice, bob) = alice_and_bob();
    let session = alice.outbound(None);
    let last_known = Recipients::of(&[&bob]);
    keys_to_send(&session, &last_known);
    ok(share(&session, &last_known)); // D19: what the caller passes while it cannot ask
    let forgotten = Recipients::of(&[]).member(BOB, "join");
    assert_eq!(expired(share(&session, &forgotten)), "device_gone"); // D19: what it must not pass
}
