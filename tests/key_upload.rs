//! Publishing one-time keys: order, the open upload, hostile counts, and keys the server refuses.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{
    Device, START, already_exists, fails, fails_saying, key_ids, unable, upload_request, v,
};
use matrixe2ee::{Account, verify_signed_json};
use serde_json::Value;

const FULL: &str = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;

fn alice() -> Device {
    Device::new("@alice:a.org", "ALICE")
}

/// The number that vodozemac counts in a key's ID.
fn number(key_id: &str) -> u64 {
    let id = key_id.strip_prefix("signed_curve25519:").unwrap();
    u64::from_be_bytes(vodozemac::base64_decode(id).unwrap().try_into().unwrap())
}

#[test]
fn the_first_upload_has_device_keys_fifty_signed_one_time_keys_and_a_fallback_key() {
    let alice = alice();
    let body = upload_request(&alice.account);
    assert_eq!(body["device_keys"], v(&alice.device_keys()));
    assert_eq!(body["one_time_keys"].as_object().unwrap().len(), 50);
    assert_eq!(body["fallback_keys"].as_object().unwrap().len(), 1);
    for kind in ["one_time_keys", "fallback_keys"] {
        for (key_id, key) in body[kind].as_object().unwrap() {
            assert!(key_id.starts_with("signed_curve25519:"));
            // SEC-19
            assert_eq!(key.get("fallback").is_some(), kind == "fallback_keys");
            let own = alice.fingerprint_key();
            verify_signed_json(&key.to_string(), "@alice:a.org", "ed25519:ALICE", &own).unwrap();
        }
    }
}

#[test]
fn one_time_keys_stand_in_the_upload_in_the_order_they_were_made() {
    let alice = alice();
    let text = alice.account.keys_upload_request().unwrap().unwrap();
    let in_text: Vec<u64> = text
        .match_indices("\"signed_curve25519:")
        .map(|(start, _)| number(text[start + 1..].split('"').next().unwrap()))
        .collect();
    // S7; the fallback key's ID stands last.
    assert_eq!(in_text[..50], (0..50).collect::<Vec<_>>());
}

#[test]
fn an_open_upload_is_repeated_byte_for_byte_until_it_is_answered_with_200() {
    let alice = alice();
    let open = alice.account.keys_upload_request().unwrap();
    for (status, body) in [
        (500, "<html>"),
        (429, r#"{"errcode":"M_LIMIT_EXCEEDED","error":"already exists"}"#),
        (401, "{}"),
        (403, r#"{"error":"One time key signed_curve25519:AAAAAAAAAAA already exists"}"#),
        (0, ""),
    ] {
        alice.account.receive_keys_upload_response(status, body).unwrap();
        assert_eq!(alice.account.keys_upload_request().unwrap(), open, "{status}"); // SEC-22
    }
    // SEC-22, SEC-23: neither time nor what /sync says changes what was handed out.
    alice.clock.advance(30 * common::DAY);
    alice.account.receive_key_counts(r#"{"signed_curve25519":0}"#, Some("[]".into())).unwrap();
    assert_eq!(alice.account.keys_upload_request().unwrap(), open);
    alice.account.receive_keys_upload_response(200, FULL).unwrap();
    fails_saying(
        alice.account.receive_keys_upload_response(200, FULL),
        "INVALID_FIELD",
        "no key upload is open",
    );
}

#[test]
fn a_crash_between_upload_and_answer_repeats_the_same_bytes() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let open = alice.account.keys_upload_request().unwrap();
    let crashed = directory.crashed();
    // SEC-22: durable when it was returned.
    let after = Device::open_in(crashed.open(), "@alice:a.org", "ALICE");
    assert_eq!(after.account.keys_upload_request().unwrap(), open);
    after.account.receive_keys_upload_response(200, FULL).unwrap();
    let again = Device::open_in(crashed.crashed().open(), "@alice:a.org", "ALICE");
    assert_eq!(again.account.keys_upload_request().unwrap(), None);
    // An orderly end does the same.
    drop(alice);
    let reopened = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    assert_eq!(reopened.account.keys_upload_request().unwrap(), open);
}

#[test]
fn a_200_publishes_whatever_its_body_says_and_without_a_clock() {
    for body in [
        "",
        "{",
        "[]",
        "<html>",
        r#"{"one_time_key_counts":5}"#,
        r#"{"one_time_key_counts":{"signed_curve25519":"50"}}"#,
        r#"{"one_time_key_counts":{},"one_time_key_counts":{}}"#,
    ] {
        let alice = alice();
        let first = key_ids(&upload_request(&alice.account));
        alice.clock.set(-1); // CLOCK_FAILED
        alice.account.receive_keys_upload_response(200, body).unwrap(); // SEC-22
        alice.clock.set(START);
        // The server has all that was sent.
        assert_eq!(upload_request(&alice.account), Value::Null, "{body}");
        alice.account.receive_key_counts(r#"{"signed_curve25519":49}"#, None).unwrap();
        let second = key_ids(&upload_request(&alice.account));
        assert!(second.len() == 1 && !first.contains(&second[0]));
    }
}

#[test]
fn what_the_server_lacks_is_topped_up_and_a_missing_count_means_none() {
    let alice = alice();
    alice.upload();
    let keys_after = |counts: &str| {
        alice.account.receive_key_counts(counts, None).unwrap();
        let count = key_ids(&upload_request(&alice.account)).len();
        if count > 0 {
            alice.account.receive_keys_upload_response(200, FULL).unwrap();
        }
        count
    };
    assert_eq!(keys_after(r#"{"signed_curve25519":50}"#), 0); // S5
    assert_eq!(keys_after(r#"{"signed_curve25519":41}"#), 9);
    assert_eq!(keys_after(r#"{"curve25519":10,"new_kind":50}"#), 50); // S5, SEC-104
    assert_eq!(keys_after("{}"), 50); // S5
}

#[test]
fn a_hostile_count_makes_no_more_than_fifty_keys_and_deletes_none() {
    let bob = Device::new("@bob:b.org", "BOB");
    let alice = RawDevice::new("@alice:a.org", "ALICE");
    let first_key = bob.one_time_keys().remove(0);
    for (count, expected) in [
        ("-1", 50),
        ("-9223372036854775808", 50),
        ("51", 0),
        ("9223372036854775807", 0),
        ("18446744073709551615", 0),
    ] {
        let counts = format!(r#"{{"signed_curve25519":{count}}}"#);
        bob.account.receive_key_counts(&counts, None).unwrap();
        let body = upload_request(&bob.account);
        assert_eq!(key_ids(&body).len(), expected, "{count}"); // SEC-23, SEC-103
        if expected > 0 {
            // SEC-23: also in the answer to an upload
            let answer = format!(r#"{{"one_time_key_counts":{counts}}}"#);
            bob.account.receive_keys_upload_response(200, &answer).unwrap();
            bob.account.receive_key_counts(r#"{"signed_curve25519":50}"#, None).unwrap();
        }
    }
    for bad in [r#""50""#, "1.5", "1e1", "null", "[]", "18446744073709551616", "-1e99"] {
        let counts = format!(r#"{{"signed_curve25519":{bad}}}"#);
        fails(bob.account.receive_key_counts(&counts, None), "INVALID_FIELD"); // SEC-23
        assert_eq!(upload_request(&bob.account), Value::Null);
    }
    // SEC-23: the private half of the first key is still there.
    let mut session = alice.session_to(&bob, &first_key);
    let message = alice.say(&mut session, &bob);
    matrixe2ee::OlmChannel::create_from_encrypted_message(
        &bob.account,
        alice.user_id,
        &alice.identity_key(),
        &message,
        None,
        None,
    )
    .unwrap();
}

#[test]
fn lists_of_unused_fallback_types_that_are_none_are_refused() {
    let alice = alice();
    for types in ["{}", "[1]", r#"["signed_curve25519",null]"#, "["] {
        let result = alice.account.receive_key_counts("{}", Some(types.into()));
        assert!(["INVALID_FIELD", "INVALID_JSON"].contains(&result.unwrap_err().name()), "{types}");
    }
}

#[test]
fn a_key_id_is_never_used_for_another_key() {
    let directory = SqliteDirectory::new();
    let mut seen: BTreeMap<u64, Value> = BTreeMap::new();
    for round in 0..12 {
        let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
        let last = seen.keys().next_back().copied();
        let body = upload_request(&alice.account);
        for (id, key) in body["one_time_keys"].as_object().unwrap() {
            // SEC-21
            match seen.insert(number(id), key.clone()) {
                Some(before) => assert_eq!(&before, key),
                None => assert!(last.is_none_or(|last| number(id) > last)),
            }
        }
        match round % 3 {
            0 => {} // a crash before the answer
            1 => {
                let refused = key_ids(&body).swap_remove(7);
                let error = already_exists(&refused);
                alice.account.receive_keys_upload_response(400, &error).unwrap();
            }
            _ => {
                alice.account.receive_keys_upload_response(200, "{}").unwrap();
                alice.account.receive_key_counts("{}", None).unwrap();
            }
        }
    }
}

#[test]
fn a_used_one_time_key_is_gone_for_good_and_replaced() {
    let bob = Device::new("@bob:b.org", "BOB");
    let key = bob.one_time_keys().remove(0);
    let alice = RawDevice::new("@alice:a.org", "ALICE");
    let mut first = alice.session_to(&bob, &key);
    let mut second = alice.session_to(&bob, &key);
    let create = |message: &str| {
        matrixe2ee::OlmChannel::create_from_encrypted_message(
            &bob.account,
            alice.user_id,
            &alice.identity_key(),
            message,
            None,
            None,
        )
    };
    let channel = create(&alice.say(&mut first, &bob)).unwrap();
    unable(channel.decrypt(&alice.say(&mut second, &bob)), "no_matching_session"); // O23
    channel.erase().unwrap();
    unable(create(&alice.say(&mut second, &bob)), "no_matching_session"); // O23
    bob.account.receive_key_counts(r#"{"signed_curve25519":49}"#, None).unwrap();
    assert_eq!(key_ids(&upload_request(&bob.account)).len(), 1);
}

#[test]
fn a_session_and_the_end_of_its_one_time_key_are_stored_in_one() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let key = bob.one_time_keys().remove(0);
    let alice = RawDevice::new("@alice:a.org", "ALICE");
    let mut first = alice.session_to(&bob, &key);
    let mut second = alice.session_to(&bob, &key);
    let create = |account: &Account, message: &str| {
        let (user, key) = (alice.user_id, alice.identity_key());
        matrixe2ee::OlmChannel::create_from_encrypted_message(
            account, user, &key, message, None, None,
        )
    };
    create(&bob.account, &alice.say(&mut first, &bob)).unwrap();
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    let (user, key) = (alice.user_id, alice.identity_key());
    let channel = matrixe2ee::OlmChannel::create_from_storage(&after.account, user, &key).unwrap();
    channel.decrypt(&alice.say(&mut first, &bob)).unwrap(); // D22, SEC-31: the session is there
    let again = alice.say(&mut second, &bob);
    unable(channel.decrypt(&again), "no_matching_session"); // D22, O23, SEC-31: the key is not
    // The same through `decrypt`, which makes a further session.
    let key = {
        bob.account.receive_key_counts(r#"{"signed_curve25519":49}"#, None).unwrap();
        bob.one_time_keys().remove(0)
    };
    let mut first = alice.session_to(&bob, &key);
    let mut second = alice.session_to(&bob, &key);
    let (user, own) = (alice.user_id, alice.identity_key());
    let open = |account: &Account| {
        matrixe2ee::OlmChannel::create_from_storage(account, user, &own).unwrap()
    };
    open(&bob.account).decrypt(&alice.say(&mut first, &bob)).unwrap();
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    open(&after.account).decrypt(&alice.say(&mut first, &bob)).unwrap(); // D22
    unable(open(&after.account).decrypt(&alice.say(&mut second, &bob)), "no_matching_session"); // D22
}
