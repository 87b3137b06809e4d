//! Claiming one-time keys: the request, and what of a server's answer may be used.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::raw::RawDevice;
use common::{Device, fails, fails_saying, v};
use matrixe2ee::{OlmChannel, keys_claim_request, read_keys_claim_response};
use serde_json::{Value, json};

fn request() -> String {
    keys_claim_request(r#"{"@bob:b.org":["BOB","LAPTOP"]}"#, None).unwrap()
}

/// Bob's devices in an answer.
fn answer(devices: Value) -> String {
    json!({"one_time_keys": {"@bob:b.org": devices}}).to_string()
}

fn read(response: &str) -> Value {
    v(&read_keys_claim_response(&request(), response).unwrap())
}

#[test]
fn the_request_names_the_algorithm_for_each_device_and_a_timeout_only_if_given() {
    // K1
    assert_eq!(
        v(&request()),
        json!({"one_time_keys": {"@bob:b.org":
            {"BOB": "signed_curve25519", "LAPTOP": "signed_curve25519"}}})
    );
    let timed = v(&keys_claim_request(r#"{"@bob:b.org":["BOB"]}"#, Some(10_000)).unwrap());
    assert_eq!(timed["timeout"], 10_000); // K1
    assert_eq!(v(&keys_claim_request("{}", None).unwrap()), json!({"one_time_keys": {}}));
}

#[test]
fn a_request_for_something_that_is_no_device_is_refused() {
    // SEC-102, SEC-98
    for (devices, name, says) in [
        (r#"{"bob":["BOB"]}"#, "INVALID_FIELD", "user ID"),
        (r#"{"@bob:b.org":"BOB"}"#, "INVALID_FIELD", "list"),
        (r#"{"@bob:b.org":[1]}"#, "INVALID_FIELD", "text"),
        (r#"{"@bob:b.org":[""]}"#, "INVALID_FIELD", "empty"),
        (r#"{"@bob:b.org":["A"],"@bob:b.org":["B"]}"#, "INVALID_JSON", "repeats"),
        ("[]", "INVALID_FIELD", "object"),
        ("{", "INVALID_JSON", "ends"),
    ] {
        fails_saying(keys_claim_request(devices, None), name, says);
    }
}

#[test]
fn the_answer_gives_each_device_its_key_and_names_the_servers_that_failed() {
    let response = json!({
        "one_time_keys": {"@bob:b.org": {"BOB": {"signed_curve25519:AAAA": {"key": "x"}}}},
        "failures": {"c.org": {"errcode": "M_UNKNOWN"}, "d.org": {}},
    });
    let expected = json!({
        "one_time_keys": {"@bob:b.org": {"BOB": {"signed_curve25519:AAAA": {"key": "x"}}}},
        "failures": ["c.org", "d.org"],
    });
    // K2, K3
    assert_eq!(read(&response.to_string()), expected);
    // K3: a device that the server has no key for is just absent, and so are failures.
    assert_eq!(read(&answer(json!({}))), json!({"one_time_keys": {}, "failures": []}));
    // K5: the key above has no signature at all. Whoever uses it checks it.
}

#[test]
fn an_answer_of_another_shape_is_refused_with_the_field_that_is_wrong() {
    // K2
    for (response, field) in [
        (r#"{}"#, "one_time_keys"),
        (r#"{"one_time_keys":[]}"#, "one_time_keys"),
        (r#"{"one_time_keys":{},"failures":[]}"#, "failures"),
    ] {
        let error = fails(read_keys_claim_response(&request(), response), "INVALID_FIELD");
        assert_eq!(v(&error.to_json())["field"], field);
    }
    fails(read_keys_claim_response("{}", &answer(json!({}))), "INVALID_FIELD");
}

#[test]
fn one_device_with_a_bad_entry_costs_no_other_device_its_key() {
    let good = json!({"signed_curve25519:AAAA": {"key": "x"}});
    for bad in [
        json!({}),                                     // D31: no key
        json!({"curve25519:AAAA": {"key": "x"}}),      // K4, D31: another algorithm
        json!({"signed_curve25519": {"key": "x"}}),    // K4: no algorithm before a colon
        json!({"signed_curve25519x:A": {"key": "x"}}), // K4: an algorithm that begins alike
        json!({"curve25519:AAAA": "plain"}),
    ] {
        let read = read(&answer(json!({"LAPTOP": bad, "BOB": good})));
        // SEC-104: an unknown algorithm is no error.
        assert_eq!(read["one_time_keys"], json!({"@bob:b.org": {"BOB": good}}), "{bad}");
    }
}

#[test]
fn a_device_whose_entry_is_no_object_costs_no_other_device_its_key() {
    let good = json!({"signed_curve25519:AAAA": {"key": "x"}});
    for bad in [json!(null), json!("key"), json!({"signed_curve25519:AAAA": "unsigned"})] {
        let read = read(&answer(json!({"LAPTOP": bad, "BOB": good})));
        // D31, SEC-19, SEC-100: item-level failure only.
        assert_eq!(read["one_time_keys"], json!({"@bob:b.org": {"BOB": good}}), "{bad}");
    }
    assert_eq!(read(&answer(json!([])))["one_time_keys"], json!({}));
}

#[test]
fn users_and_devices_that_were_not_asked_for_are_ignored() {
    let key = json!({"signed_curve25519:AAAA": {"key": "x"}});
    let response = json!({"one_time_keys": {
        "@bob:b.org": {"BOB": key, "UNASKED": key},
        "@eve:e.org": {"EVE": key},
    }});
    // D31, SEC-18
    assert_eq!(
        read(&response.to_string())["one_time_keys"],
        json!({"@bob:b.org": {"BOB": {"signed_curve25519:AAAA": {"key": "x"}}}})
    );
}

#[test]
fn a_claimed_key_leads_to_a_channel_only_if_the_device_itself_signed_it() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let mut bob = RawDevice::new("@bob:b.org", "BOB");
    let eve = RawDevice::new("@bob:b.org", "BOB"); // the same names, other keys
    let good = bob.one_time_key();
    let id = good.as_object().unwrap().keys().next().unwrap().clone();
    let public = good[&id]["key"].clone();
    let zero = json!("A".repeat(43));
    let mut alias_bytes = vodozemac::base64_decode(public.as_str().unwrap()).unwrap();
    alias_bytes[31] |= 0x80;
    let alias = json!(vodozemac::base64_encode(alias_bytes));
    let otherwise_named = RawDevice { device_id: "LAPTOP", ..RawDevice::new("@bob:b.org", "X") };
    for (key, name) in [
        // O4, D29, SEC-19: no signature
        (json!({&id: {"key": public}}), "BAD_SIGNATURE"),
        // SEC-19: the old form, a bare text
        (json!({&id: public}), "INVALID_FIELD"),
        // O4, SEC-18: another device's signature
        (json!({&id: eve.sign(json!({"key": public}))}), "BAD_SIGNATURE"),
        (json!({&id: otherwise_named.sign(json!({"key": public}))}), "BAD_SIGNATURE"),
        // SEC-19: `fallback` added beside the signature that does not cover it
        (
            json!({&id: {"key": public, "fallback": true, "signatures": good[&id]["signatures"]}}),
            "BAD_SIGNATURE",
        ),
        (json!({&id: bob.sign(json!({"key": public, "fallback": "yes"}))}), "INVALID_FIELD"),
        // SEC-18, SEC-9, SEC-20: a weak key, well signed
        (json!({&id: bob.sign(json!({"key": zero}))}), "INVALID_KEY"),
        // SEC-18, SEC-8, P2: another writing of the same key, well signed
        (json!({&id: bob.sign(json!({"key": alias}))}), "INVALID_KEY"),
        (json!({&id: bob.sign(json!({"key": "AAAA"}))}), "INVALID_KEY"),
        (json!({&id: bob.sign(json!({"key": 5}))}), "INVALID_FIELD"),
        (json!({&id: bob.sign(json!({}))}), "INVALID_FIELD"),
        // K4, SEC-18
        (json!({"curve25519:AAAA": bob.sign(json!({"key": public}))}), "UNKNOWN_ALGORITHM"),
        (json!({}), "INVALID_FIELD"),
        (json!({&id: good[&id], "signed_curve25519:zz": good[&id]}), "INVALID_FIELD"),
    ] {
        let keys = bob.device_keys().to_string();
        let result = OlmChannel::create_outbound_channel(&alice.account, &keys, &key.to_string());
        fails(result, name);
        // O4: nothing is stored.
        let stored =
            OlmChannel::create_from_storage(&alice.account, bob.user_id, &bob.identity_key());
        fails(stored, "NOT_FOUND");
    }
    let keys = bob.device_keys().to_string();
    OlmChannel::create_outbound_channel(&alice.account, &keys, &good.to_string()).unwrap();
}

#[test]
fn a_signed_fallback_key_serves_like_a_one_time_key() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let bob = Device::new("@bob:b.org", "BOB");
    let fallback = bob.upload()["fallback_keys"].to_string();
    // SEC-19: `fallback` stands inside what is signed.
    assert_eq!(v(&fallback).as_object().unwrap().values().next().unwrap()["fallback"], true);
    let channel =
        OlmChannel::create_outbound_channel(&alice.account, &bob.device_keys(), &fallback).unwrap();
    let first = channel.encrypt("m.dummy", "{}").unwrap();
    bob.receive_first(&alice, &first).unwrap().first_event().unwrap();
}
