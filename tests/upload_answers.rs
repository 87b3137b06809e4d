//! What the server answers to an upload of keys: conflicts, refusals, and answers that are lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{
    Device, HOUR, already_exists, entries, fails, fails_saying, key_ids, unable, upload_request, v,
};
use matrixe2ee::{Account, OlmChannel, Result};
use serde_json::{Value, json};

const FULL: &str = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
const COUNTS_FULL: &str = r#"{"signed_curve25519":50}"#;

fn alice() -> Device {
    Device::new("@alice:a.org", "ALICE")
}

/// A server that still holds keys of an earlier installation, as Synapse treats them.
fn upload_to(account: &Account, server: &mut BTreeMap<String, Value>) -> usize {
    for attempt in 1..=60 {
        let body = upload_request(account);
        let keys: BTreeMap<String, Value> =
            serde_json::from_value(body["one_time_keys"].clone()).unwrap_or_default();
        let conflict = keys.iter().find(|(id, key)| server.get(*id).is_some_and(|old| old != *key));
        match conflict {
            Some((id, _)) => {
                account.receive_keys_upload_response(400, &already_exists(id)).unwrap();
            }
            None => {
                server.extend(keys);
                let counts = json!({"one_time_key_counts": {"signed_curve25519": server.len()}});
                account.receive_keys_upload_response(200, &counts.to_string()).unwrap();
                return attempt;
            }
        }
    }
    panic!("the uploads never end");
}

#[test]
fn a_400_already_exists_gives_up_the_keys_of_that_upload_and_the_next_has_others() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let before = upload_request(&alice.account);
    let refused = "signed_curve25519:AAAAAAAAADA"; // 48, as Synapse would name it
    assert!(before["one_time_keys"].get(refused).is_some());
    alice.account.receive_keys_upload_response(400, &already_exists(refused)).unwrap();
    // S8, also after a crash
    for account in [
        alice.account.clone(),
        Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE").account.clone(),
    ] {
        let after = upload_request(&account);
        let ids = key_ids(&after);
        assert_eq!(ids.len(), 50);
        assert!(ids.iter().all(|id| before["one_time_keys"].get(id).is_none()), "{ids:?}");
        assert_eq!(after["device_keys"], before["device_keys"]);
        assert_eq!(after["fallback_keys"], before["fallback_keys"]);
    }
    // The server may have given one of them out all the same: they are kept.
    let bob = RawDevice::new("@bob:b.org", "BOB");
    let kept = entries(&before["one_time_keys"]).remove(7);
    knock(&bob, &alice, &kept).unwrap().first_event().unwrap();
}

#[test]
fn uploads_end_soon_when_the_server_holds_keys_of_an_earlier_installation() {
    let old = alice();
    let mut server = BTreeMap::new();
    upload_to(&old.account, &mut server);
    assert_eq!(server.len(), 50);
    let new = alice();
    // S8: it names one of the fifty at a time.
    assert_eq!(upload_to(&new.account, &mut server), 2);
    assert_eq!(server.len(), 100);
    assert_eq!(upload_request(&new.account), Value::Null);
}

#[test]
fn an_already_exists_that_names_no_key_of_ours_still_does_not_block_uploads() {
    let alice = alice();
    let before = key_ids(&upload_request(&alice.account));
    for error in ["Key already exists", &already_exists("signed_curve25519:AAAAAAAAAD")[..]] {
        let error = json!({"error": error}).to_string();
        alice.account.receive_keys_upload_response(400, &error).unwrap();
        let after = key_ids(&upload_request(&alice.account));
        // S8: all new, because we cannot tell which
        assert_eq!(after.len(), 50);
        assert!(after.iter().all(|id| !before.contains(id)));
    }
}

#[test]
fn a_one_time_keys_conflict_leaves_a_fallback_key_of_the_same_number_alone() {
    let alice = alice();
    let before = upload_request(&alice.account);
    // vodozemac counts both kinds from 0.
    let id = before["fallback_keys"].as_object().unwrap().keys().next().unwrap().clone();
    assert!(before["one_time_keys"].get(&id).is_some());
    alice.account.receive_keys_upload_response(400, &already_exists(&id)).unwrap();
    let after = upload_request(&alice.account);
    assert!(after["one_time_keys"].get(&id).is_none()); // S8
    assert_eq!(after["fallback_keys"], before["fallback_keys"]); // S8: just the conflicting key
    // If it was the fallback key after all, the next answer says so again.
    alice.account.receive_keys_upload_response(400, &already_exists(&id)).unwrap();
    assert_ne!(upload_request(&alice.account)["fallback_keys"], before["fallback_keys"]);
}

/// A first message from someone new to a key of this device, `{key_id: key}`.
fn knock(from: &RawDevice, to: &Device, key: &Value) -> Result<std::sync::Arc<OlmChannel>> {
    let content = from.say(&mut from.session_to(to, key), to);
    let own = from.identity_key();
    OlmChannel::create_from_encrypted_message(&to.account, from.user_id, &own, &content, None, None)
}

#[test]
fn an_upload_whose_answer_was_lost_is_not_repeated_once_one_of_its_keys_was_used() {
    for kind in ["one_time_keys", "fallback_keys"] {
        let directory = SqliteDirectory::new();
        let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
        let body = upload_request(&bob.account);
        let alice = RawDevice::new("@alice:a.org", "ALICE");
        let key = entries(&body[kind]).remove(0);
        knock(&alice, &bob, &key).unwrap().first_event().unwrap();
        // SEC-22: sent again, it would put the used key back on offer. Also after a crash.
        let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
        for account in [&bob.account, &after.account] {
            assert_eq!(upload_request(account), Value::Null, "{kind}");
            account.receive_key_counts(r#"{"signed_curve25519":40}"#, None).unwrap();
            let next = upload_request(account);
            assert_eq!(key_ids(&next).len(), 10);
            // The rest has arrived as well.
            assert!(next.get("device_keys").is_none() && next.get("fallback_keys").is_none());
            assert!(key_ids(&next).iter().all(|id| body["one_time_keys"].get(id).is_none()));
        }
        // Every other key of it is still good.
        for key in entries(&body["one_time_keys"]).iter().skip(1).take(3) {
            knock(&RawDevice::new("@carol:c.org", "CAROL"), &bob, key).unwrap();
        }
    }
}

#[test]
fn the_lost_answer_to_an_upload_may_still_come_once() {
    for lost in [0, 400, 500] {
        let bob = Device::new("@bob:b.org", "BOB");
        let body = upload_request(&bob.account);
        let key = entries(&body["one_time_keys"]).remove(0);
        let alice = RawDevice::new("@alice:a.org", "ALICE");
        knock(&alice, &bob, &key).unwrap();
        bob.account.receive_keys_upload_response(lost, &already_exists("x")).unwrap();
        let counts = r#"{"one_time_key_counts":{"signed_curve25519":49}}"#;
        bob.account.receive_keys_upload_response(200, counts).unwrap();
        assert_eq!(key_ids(&upload_request(&bob.account)).len(), 1);
        bob.account.receive_keys_upload_response(200, FULL).unwrap();
        let again = bob.account.receive_keys_upload_response(200, FULL);
        fails_saying(again, "INVALID_FIELD", "no key upload is open");
    }
}

#[test]
fn the_answer_to_the_next_upload_is_not_taken_for_the_lost_one() {
    let bob = Device::new("@bob:b.org", "BOB");
    let body = upload_request(&bob.account);
    let key = entries(&body["one_time_keys"]).remove(0);
    knock(&RawDevice::new("@alice:a.org", "ALICE"), &bob, &key).unwrap();
    bob.account.receive_key_counts(r#"{"signed_curve25519":40}"#, None).unwrap();
    let next = upload_request(&bob.account);
    assert_eq!(key_ids(&next).len(), 10);
    bob.account.receive_keys_upload_response(500, "").unwrap();
    assert_eq!(upload_request(&bob.account), next); // SEC-22
    bob.account.receive_keys_upload_response(200, FULL).unwrap();
    let again = bob.account.receive_keys_upload_response(200, FULL);
    fails_saying(again, "INVALID_FIELD", "no key upload is open");
}

#[test]
fn a_message_that_makes_no_session_shows_nothing_of_an_upload() {
    let bob = Device::new("@bob:b.org", "BOB");
    let body = upload_request(&bob.account);
    let key = entries(&body["one_time_keys"]).remove(0);
    let alice = RawDevice::new("@alice:a.org", "ALICE");
    let mut content = v(&alice.say(&mut alice.session_to(&bob, &key), &bob));
    let ours = &mut content["ciphertext"][bob.identity_key()];
    let mut bytes = vodozemac::base64_decode(ours["body"].as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    ours["body"] = json!(vodozemac::base64_encode(bytes));
    let created = OlmChannel::create_from_encrypted_message(
        &bob.account,
        alice.user_id,
        &alice.identity_key(),
        &content.to_string(),
        None,
        None,
    );
    unable(created, "bad_mac");
    assert_eq!(upload_request(&bob.account), body); // SEC-22
}

#[test]
fn a_400_that_is_not_understood_is_reported_and_its_body_is_not_sent_again() {
    for (body, says) in [
        (r#"{"errcode":"M_BAD_JSON","error":"something else"}"#, "something else"),
        (r#"{"errcode":"M_INVALID_PARAM","error":"signed_curve25519:AAAAAAAAAAA?"}"#, "AAAAAAA?"),
        (r#"{"errcode":"M_UNKNOWN"}"#, "M_UNKNOWN"),
        ("not json", "not why"),
        ("", "not why"),
        (r#"{"error":5}"#, "not why"),
    ] {
        let alice = alice();
        let before = upload_request(&alice.account);
        let result = alice.account.receive_keys_upload_response(400, body);
        let error = fails_saying(result, "INVALID_FIELD", says);
        assert_eq!(v(&error.to_json())["field"], "body");
        let after = upload_request(&alice.account);
        assert_eq!(key_ids(&after).len(), 50);
        assert!(key_ids(&after).iter().all(|id| before["one_time_keys"].get(id).is_none()));
        assert_eq!(after["fallback_keys"], before["fallback_keys"]);
        alice.account.receive_keys_upload_response(200, FULL).unwrap();
    }
}

#[test]
fn a_server_that_refuses_everything_is_asked_once_an_hour_and_draws_no_keys() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let refuse = |account: &Account| {
        let body = upload_request(account);
        fails(account.receive_keys_upload_response(400, r#"{"error":"no"}"#), "INVALID_FIELD");
        body
    };
    let mut last = Value::Null;
    for round in 0..5 {
        last = refuse(&alice.account);
        assert_ne!(last, Value::Null, "{round}");
    }
    for account in [
        alice.account.clone(),
        Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE").account.clone(),
    ] {
        assert_eq!(upload_request(&account), Value::Null);
        fails(account.receive_keys_upload_response(200, FULL), "INVALID_FIELD");
    }
    alice.clock.advance(HOUR - 1);
    assert_eq!(upload_request(&alice.account), Value::Null);
    let mut highest = Vec::new();
    for _ in 0..30 {
        alice.clock.advance(HOUR);
        let body = refuse(&alice.account);
        assert_ne!(body, last);
        assert_eq!(upload_request(&alice.account), Value::Null);
        highest.push(key_ids(&body).into_iter().max().unwrap());
    }
    // SEC-23: the keys that others may have are not pushed out by such that nobody gets.
    assert!(highest.windows(2).all(|pair| pair[0] == pair[1]), "{highest:?}");
    // Whoever mends the server waits for an hour at most, and all is as before.
    alice.clock.advance(HOUR);
    assert_eq!(key_ids(&upload_request(&alice.account)).len(), 50);
    alice.account.receive_keys_upload_response(200, FULL).unwrap();
    alice.account.receive_key_counts(r#"{"signed_curve25519":49}"#, None).unwrap();
    assert_eq!(key_ids(&upload_request(&alice.account)).len(), 1);
    alice.account.receive_keys_upload_response(400, &already_exists("x")).unwrap();
    assert_eq!(key_ids(&upload_request(&alice.account)).len(), 1);
}

#[test]
fn a_conflict_of_a_fallback_key_alone_replaces_it() {
    let alice = alice();
    let first = alice.upload()["fallback_keys"].clone();
    alice.clock.advance(7 * common::DAY);
    alice.account.receive_key_counts(COUNTS_FULL, None).unwrap();
    let second = upload_request(&alice.account);
    assert!(second.get("one_time_keys").is_none() && second["fallback_keys"] != first);
    let error = r#"{"error":"Key already exists"}"#;
    alice.account.receive_keys_upload_response(400, error).unwrap();
    let third = upload_request(&alice.account);
    assert!(third["fallback_keys"].is_object()); // S8
    assert_ne!(third["fallback_keys"], second["fallback_keys"]);
}

#[test]
fn an_error_text_is_read_to_64_kib_and_64_characters_of_it_are_repeated() {
    let alice = alice();
    upload_request(&alice.account);
    let error = json!({"error": "\u{e9}".repeat(1_000)}).to_string();
    let result = alice.account.receive_keys_upload_response(400, &error);
    let detail = fails(result, "INVALID_FIELD").to_string();
    let (_, repeated) = detail.split_once("upload: ").unwrap();
    assert_eq!(repeated.chars().count(), 64);
    assert!(repeated.ends_with('\u{2026}'));
    // Not read at all, so not understood either.
    upload_request(&alice.account);
    let long = format!("One time key already exists {}", "x".repeat(65_536));
    let error = json!({ "error": long }).to_string();
    let result = alice.account.receive_keys_upload_response(400, &error);
    fails_saying(result, "INVALID_FIELD", "not why");
}
