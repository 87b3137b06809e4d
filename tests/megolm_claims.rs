//! Who owns a session: whoever has its key may claim it, and nobody's claim makes another's key or
//! events fail, in whatever order they come.

#[path = "common/rooms.rs"]
mod rooms;
#[path = "common/story.rs"]
mod story;

use matrixe2ee::{InboundMegolmSession, OlmChannel};
use rooms::*;
use serde_json::{Value, json};
use story::{MALLORY, Receive, Story};
use vodozemac::megolm::{ExportedSessionKey, InboundGroupSession, SessionConfig};

/// All orders of a few things.
fn orders<T: Copy>(things: &[T]) -> Vec<Vec<T>> {
    if things.is_empty() {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for place in 0..things.len() {
        let mut others = things.to_vec();
        let first = others.remove(place);
        found.extend(orders(&others).into_iter().map(|order| [vec![first], order].concat()));
    }
    found
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Arrives {
    Genuine,
    Backup,
    Forged,
    ForAnotherRoom,
    AsOwn,
    Event,
    Copy,
}
use Arrives::{AsOwn, Backup, Copy as CopiedEvent, Event, ForAnotherRoom, Forged, Genuine};

/// Lets everything arrive in this order; gives what went wrong.
fn arrive(bob: &Device, story: &Story, order: &[Arrives]) -> std::result::Result<(), String> {
    let mut came: Vec<Arrives> = Vec::new();
    for arrives in order {
        let done = match arrives {
            Genuine => bob.receive(&story.alice, &story.key).map(drop),
            Backup => bob.export(&story.export).map(drop),
            Forged => bob.export(&story.forged()).map(drop),
            ForAnotherRoom => bob.receive(&story.mallory, &story.key_for_another_room()).map(drop),
            AsOwn => bob.receive(&story.mallory, &story.key).map(drop),
            Event | CopiedEvent => Ok(()),
        };
        // Nothing is asked of a forgery.
        if *arrives != Forged {
            done.map_err(|error| format!("{arrives:?}: {}", error.to_json()))?;
        }
        came.push(*arrives);
        let (is_known, is_open) = (came.contains(&Genuine), came.contains(&Backup));
        match arrives {
            Event if is_known || is_open => {
                let facts = bob.read(&story.event).map_err(|name| format!("event: {name}"))?;
                let owner = if is_known { "known" } else { "unknown" };
                if facts["owner"] != owner || facts["authenticated"] != is_known {
                    return Err(format!("event: {facts}"));
                }
            }
            CopiedEvent => {
                // A member who had the key can have sent it, for all that anybody can prove.
                let expected = match (came.contains(&AsOwn), is_known) {
                    (false, true) => Err("WRONG_SENDER".to_owned()), // SEC-50
                    (true, _) => Ok(json!(story.mallory.identity_key())),
                    (false, false) => continue,
                };
                let found = bob.read(&story.copied()).map(|facts| facts["sender_key"].clone());
                // A forged ratchet, which came first and was not replaced, reads nothing.
                if found != expected {
                    return Err(format!("copy: {found:?}, not {expected:?}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn in_all_orders(things: &[Arrives]) {
    let (alice, mallory) = (Device::new(ALICE, "A"), Device::new(MALLORY, "M"));
    let mut bob = Device::on_disk(BOB, "B");
    let mut failed = Vec::new();
    let mut stories = Vec::new();
    for order in orders(things) {
        let story = Story::of(&alice, &mallory);
        if let Err(problem) = arrive(&bob, &story, &order) {
            failed.push(format!("{order:?}: {problem}"));
        }
        stories.push((order, story));
    }
    let is_known = things.contains(&Genuine);
    // At the end, and after a restart, each genuine event is read as what it is.
    for _ in 0..2 {
        for (order, story) in &stories {
            let facts = bob.read(&story.event).unwrap_or_else(|name| json!(name));
            let expected = json!({ "session_id": story.raw.id(), "message_index": 0,
                "sender_key": alice.identity_key(), "authenticated": is_known,
                "owner": if is_known { "known" } else { "unknown" },
                "sender_fingerprint": "unknown", "unauthenticated": [] });
            if facts != expected {
                failed.push(format!("{order:?}: at the end {facts}"));
            }
        }
        bob.reopen();
    }
    assert!(failed.is_empty(), "{} failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
}

#[test]
fn in_every_order_of_arrival_the_genuine_key_and_its_event_win() {
    // SEC-44, SEC-46, SEC-51
    in_all_orders(&[Genuine, Forged, ForAnotherRoom, AsOwn, Event, CopiedEvent]);
}

#[test]
fn in_every_order_of_arrival_an_event_is_read_with_a_key_from_a_backup() {
    // SEC-44, SEC-51: no room key of the owner tells whose it is
    in_all_orders(&[Backup, ForAnotherRoom, AsOwn, Event, CopiedEvent]);
}

#[test]
fn in_every_order_of_arrival_a_backup_and_the_room_key_agree() {
    in_all_orders(&[Genuine, Backup, AsOwn, Event, CopiedEvent]); // SEC-44, D4
}

#[test]
fn a_copied_ciphertext_that_is_read_first_hides_nothing() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    ok(bob.export(&story.export));
    let (copy, event) = (story.copied(), &story.event);
    assert_eq!(bob.read(&copy).unwrap()["owner"], "unknown");
    assert_eq!(bob.read(event).unwrap()["owner"], "unknown"); // SEC-51
    // Each sender has indices of his own, and has them once.
    let renamed = |event: &Value| {
        let mut event = event.clone();
        event["event_id"] = json!("$another");
        event
    };
    assert_eq!(bob.read(&renamed(&copy)), Err("REPLAY".to_owned())); // SEC-51
    assert_eq!(bob.read(&renamed(event)), Err("REPLAY".to_owned())); // SEC-51
    bob.reopen();
    assert_eq!(bob.read(&renamed(event)), Err("REPLAY".to_owned())); // SEC-51
    ok(bob.receive(&story.alice, &story.key));
    for _ in 0..2 {
        let facts = bob.read(event).unwrap();
        assert_eq!((&facts["owner"], &facts["authenticated"]), (&json!("known"), &json!(true)));
        assert_eq!(bob.read(&copy), Err("WRONG_SENDER".to_owned())); // SEC-50
        assert_eq!(bob.read(&renamed(event)), Err("REPLAY".to_owned())); // SEC-51
        bob.reopen();
    }
}

#[test]
fn a_handle_shows_the_claim_of_the_user_it_was_opened_for() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    let of_mallory = ok(bob.receive(&story.mallory, &story.key));
    ok(bob.receive(&story.alice, &story.key));
    let (alice, mallory) = (story.alice.identity_key(), story.mallory.identity_key());
    assert_eq!(ok(of_mallory.sender_key()), mallory);
    for _ in 0..2 {
        for (sender, expected) in [(ALICE, &alice), (MALLORY, &mallory)] {
            let session = ok(story.stored(&bob, Some(sender)));
            assert_eq!(ok(session.sender_key()), *expected); // SEC-44
            assert_eq!(answer(session.export_at(None))["sender_key"], **expected);
            assert!(ok(session.authenticated()));
            // Events are read under their own senders' claims, whoever the handle is for.
            ok(session.decrypt(&story.event.to_string()));
            ok(session.decrypt(&story.copied().to_string()));
        }
        assert_eq!(error_name(story.stored(&bob, Some(CAROL))), "NOT_FOUND"); // SEC-50
        // Listed once, with the claim that came first of those that are as good.
        let listed = bob.sessions();
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!(listed[0]["owner_user_id"], MALLORY);
        assert_eq!(ok(ok(story.stored(&bob, None)).sender_key()), mallory);
        bob.reopen();
    }
    ok(ok(story.stored(&bob, Some(MALLORY))).erase());
    assert_eq!(bob.sessions(), json!([])); // all claims are gone with the session
}

#[test]
fn history_is_shared_only_if_all_who_sent_the_key_say_so() {
    // SEC-59: which of them made the session, nobody can say
    let says = |story: &Story, shared: bool| {
        let mut key = story.key.clone();
        key["shared_history"] = json!(shared);
        key
    };
    for (of_alice, of_mallory) in [(false, true), (true, false), (true, true)] {
        let story = Story::new();
        let mut bob = Device::on_disk(BOB, "B");
        ok(bob.receive(&story.mallory, &says(&story, of_mallory)));
        ok(bob.receive(&story.alice, &says(&story, of_alice)));
        let exported = |bob: &Device, sender: Option<&str>| {
            answer(ok(story.stored(bob, sender)).export_at(None))["shared_history"].clone()
        };
        for _ in 0..2 {
            assert_eq!(exported(&bob, Some(ALICE)), of_alice);
            assert_eq!(exported(&bob, Some(MALLORY)), of_mallory);
            assert_eq!(exported(&bob, None), of_alice && of_mallory);
            bob.reopen();
        }
    }
}

#[test]
fn one_user_with_many_devices_keeps_nobody_out() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    for n in 0..4 {
        ok(bob.receive(&Device::new(MALLORY, &format!("M{n}")), &story.key));
    }
    // SEC-44: four claims at most, and a user who has one may not displace any
    let one_more = Device::new(MALLORY, "M4");
    assert_eq!(error_name(bob.receive(&one_more, &story.key)), "WRONG_SENDER");
    ok(bob.receive(&story.alice, &story.key)); // SEC-44
    for _ in 0..2 {
        assert_eq!(bob.read(&story.event).unwrap()["sender_key"], story.alice.identity_key());
        assert_eq!(error_name(bob.receive(&one_more, &story.key)), "WRONG_SENDER");
        ok(story.stored(&bob, Some(MALLORY)));
        bob.reopen();
    }
    // Nor does she later push anybody out.
    let carol = Device::new(CAROL, "C");
    ok(bob.receive(&carol, &story.key));
    let of_carol = carol.event("$carol", &story.event["content"]);
    for (sender, event) in [(ALICE, &story.event), (MALLORY, &story.copied()), (CAROL, &of_carol)] {
        let owner = ok(ok(story.stored(&bob, Some(sender))).sender_key());
        assert_eq!(bob.read(event).unwrap()["sender_key"], owner);
    }
}

#[test]
fn devices_that_a_server_invents_for_the_owner_keep_out_none_whose_keys_are_known() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    for n in 0..4 {
        ok(bob.receive(&Device::new(ALICE, &format!("FAKE{n}")), &story.key));
    }
    let upload = answer(story.alice.account.keys_upload_request().map(Option::unwrap));
    let (id, key) = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
    let (keys, key) = (story.alice.keys().to_string(), json!({ id: key }).to_string());
    ok(OlmChannel::create_outbound_channel(&bob.account, &keys, &key));
    ok(bob.receive(&story.alice, &story.key)); // SEC-44, SEC-45
    for _ in 0..2 {
        let facts = bob.read(&story.event).unwrap();
        assert_eq!(facts["sender_key"], story.alice.identity_key());
        assert_eq!(facts["sender_fingerprint"], "device_keys");
        bob.reopen();
    }
}

#[test]
fn four_users_who_claim_a_session_hide_no_fifth_ones_events() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    for n in 0..4 {
        let member = Device::new(&format!("@mallory{n}:example.net"), "M");
        ok(bob.receive(&member, &story.key));
    }
    let before = bob.bytes();
    let error = bob.receive(&story.alice, &story.key);
    assert_eq!(error_name(error), "WRONG_SENDER"); // SEC-44: refused, and it says so
    assert!(bob.bytes() == before, "nothing is stored");
    for _ in 0..2 {
        // But what she writes is read, as of somebody whom nothing proves to be the owner.
        let facts = bob.read(&story.event).unwrap();
        assert_eq!((&facts["owner"], &facts["authenticated"]), (&json!("unknown"), &json!(false)));
        assert_eq!(facts.get("sender_key"), None);
        assert!(!ok(ok(story.stored(&bob, Some(ALICE))).authenticated()));
        bob.reopen();
    }
}

#[test]
fn four_users_who_claim_a_session_from_later_on_do_not_hide_its_beginning() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    for n in 0..4 {
        let member = Device::new(&format!("@mallory{n}:example.net"), "M");
        ok(bob.receive(&member, &story.raw.room_key())); // which has written one message since
    }
    assert_eq!(bob.read(&story.event), Err("UNKNOWN_INDEX".to_owned()));
    // SEC-44: her claim finds no place, and what her key proves is taken all the same
    assert!(!ok(ok(bob.receive(&story.alice, &story.key)).authenticated()));
    for _ in 0..2 {
        let facts = bob.read(&story.event).unwrap();
        assert_eq!((&facts["owner"], &facts["authenticated"]), (&json!("unknown"), &json!(false)));
        assert_eq!(error_name(bob.receive(&story.alice, &story.key)), "WRONG_SENDER");
        bob.reopen();
    }
}

#[test]
fn our_own_session_is_ours_whoever_claimed_it_before() {
    let (alice, mallory) = (Device::new(ALICE, "A"), Device::new(MALLORY, "M"));
    let outbound = alice.outbound(None);
    let key = room_key_for(&outbound, &mallory);
    ok(alice.receive(&mallory, &key));
    let own = ok(InboundMegolmSession::from_outbound_session(&outbound)); // SEC-44
    let content = encrypted(&outbound, "mine");
    let facts = alice.read(&alice.event("$1", &content)).unwrap();
    assert_eq!(facts["sender_key"], alice.identity_key());
    assert_eq!(facts["sender_fingerprint"], "device_keys"); // SEC-45: nobody knows it better
    assert_eq!(alice.read(&mallory.event("$2", &content)), Err("WRONG_SENDER".to_owned()));
    assert_eq!(error_name(alice.receive(&mallory, &key)), "WRONG_SENDER");
    assert!(ok(own.authenticated()));
}

#[test]
fn what_is_signed_wins_over_what_a_member_made_of_the_ratchet_below_it() {
    // Who knows the ratchet at index 0 can change its last part there, which the next multiple of
    // 256 makes anew: below, no message is read with it; from there on it is the same ratchet.
    let story = Story::new();
    let mut bytes = from_base64(story.export["session_key"].as_str().unwrap());
    bytes[5 + 96] ^= 1;
    let mut altered = story.export.clone();
    altered["session_key"] = json!(base64(&bytes));
    let mut raw = story.raw.twin();
    for _ in 1..256 {
        raw.message("later");
    }
    let late_key = raw.room_key();
    let fake = ExportedSessionKey::from_bytes(&bytes).unwrap();
    let mut fake = InboundGroupSession::import(&fake, SessionConfig::version_1());
    let mut late = InboundGroupSession::new(&raw.0.session_key(), SessionConfig::version_1());
    assert!(fake.connected(&mut late)); // P8: connected, and yet not the owner's

    for altered_first in [true, false] {
        let mut bob = Device::on_disk(BOB, "B");
        let mut give = vec![bob.export(&altered), bob.receive(&story.alice, &late_key)];
        if !altered_first {
            bob = Device::on_disk(BOB, "B");
            give = vec![bob.receive(&story.alice, &late_key), bob.export(&altered)];
        }
        give.into_iter().for_each(|session| drop(ok(session)));
        assert_eq!(bob.read(&story.event), Err("UNABLE_TO_DECRYPT".to_owned()));
        bob.reopen();
        ok(bob.receive(&story.alice, &story.key)); // SEC-46
        for _ in 0..2 {
            bob.read(&story.event).unwrap();
            assert_eq!(error_name(bob.export(&altered)), "MISMATCHED_SESSION_ID"); // SEC-46
            bob.reopen();
        }
    }
}

#[test]
fn an_export_belongs_to_whom_the_caller_names() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    let data = story.export.to_string();
    let named = |sender: &str| {
        InboundMegolmSession::from_export(&bob.account, &data, Some(sender.to_owned()))
    };
    assert_eq!(error_name(named("alice")), "INVALID_FIELD");
    assert_eq!(bob.sessions(), json!([]));
    assert!(!ok(ok(named(ALICE)).authenticated()));
    // A member's own claim displaces nothing of that (SEC-44).
    ok(bob.receive(&story.mallory, &story.key));
    for _ in 0..2 {
        let facts = bob.read(&story.event).unwrap();
        assert_eq!((&facts["owner"], &facts["authenticated"]), (&json!("known"), &json!(false)));
        assert_eq!(facts["sender_key"], story.alice.identity_key());
        assert_eq!(facts["sender_fingerprint"], "unknown"); // SEC-45: she did not send it
        assert_eq!(error_name(story.stored(&bob, Some(CAROL))), "NOT_FOUND");
        bob.reopen();
    }
    ok(bob.receive(&story.alice, &story.key));
    assert_eq!(bob.read(&story.event).unwrap()["authenticated"], true); // SEC-45
}
