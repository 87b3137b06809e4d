//! Device keys that a channel must not be made from.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::raw::RawDevice;
use common::{Device, fails, fails_saying};
use matrixe2ee::OlmChannel;
use serde_json::{Value, json};

/// Device keys spoilt and signed again by the device itself.
fn resigned(bob: &RawDevice, change: impl Fn(&mut Value)) -> String {
    let mut keys = bob.unsigned_device_keys();
    change(&mut keys);
    bob.sign(keys).to_string()
}

#[test]
fn device_keys_that_are_not_what_they_say_make_no_channel() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let mut bob = RawDevice::new("@bob:b.org", "BOB");
    let key = bob.one_time_key().to_string();
    let curve = "curve25519:BOB";
    let ed = "ed25519:BOB";
    let mut alias = vodozemac::base64_decode(bob.identity_key()).unwrap();
    alias[31] |= 0x80;
    let alias = vodozemac::base64_encode(alias);
    let above_p = vodozemac::base64_encode([&[0xee][..], &[0xff; 30], &[0x7f]].concat());
    let identity = vodozemac::base64_encode([&[1][..], &[0; 31]].concat());
    let zero = "A".repeat(43);
    let mut altered = bob.device_keys();
    altered["algorithms"] = json!([]);
    let mut unsigned = bob.device_keys();
    unsigned.as_object_mut().unwrap().remove("signatures");
    let good = bob.device_keys().to_string();
    let key_is = |id: &'static str, value: Value| {
        resigned(&bob, move |keys| keys["keys"][id] = value.clone())
    };
    let gone = |field: &'static str| {
        resigned(&bob, move |keys| {
            keys.as_object_mut().unwrap().remove(field);
        })
    };
    for (keys, name, says) in [
        (good[..good.len() - 1].to_owned(), "INVALID_JSON", "recipient_device_keys"),
        (good.replacen('{', r#"{"user_id":"@bob:b.org","#, 1), "INVALID_JSON", "repeats"), // SEC-98
        (String::from("[]"), "INVALID_FIELD", "recipient_device_keys"),
        (altered.to_string(), "BAD_SIGNATURE", "fit"), // O4, SEC-3
        (unsigned.to_string(), "BAD_SIGNATURE", "carry"), // O4, SEC-3
        // O4, D29: schema first
        (gone("user_id"), "INVALID_FIELD", "user_id: is missing"),
        (gone("device_id"), "INVALID_FIELD", "device_id: is missing"),
        (gone("keys"), "INVALID_FIELD", "keys: is missing"),
        (gone("algorithms"), "INVALID_FIELD", "algorithms: is missing"),
        (resigned(&bob, |k| k["algorithms"] = json!("m.olm")), "INVALID_FIELD", "list of texts"),
        (resigned(&bob, |k| k["algorithms"] = json!([1])), "INVALID_FIELD", "list of texts"),
        (resigned(&bob, |k| k["user_id"] = json!("bob")), "INVALID_FIELD", "user ID"), // SEC-102
        // O3, SEC-3: the keys under this device's ID, signed as this user
        (resigned(&bob, |k| k["device_id"] = json!("EVE")), "INVALID_FIELD", "ed25519:EVE"),
        (resigned(&bob, |k| k["user_id"] = json!("@eve:e.org")), "BAD_SIGNATURE", "carry"),
        (key_is(curve, json!(1)), "INVALID_FIELD", curve),
        (key_is(curve, json!("!")), "INVALID_KEY", "base64"), // SEC-101
        (key_is(curve, json!("AAAA")), "INVALID_KEY", "32 bytes"), // SEC-8, SEC-101
        (key_is(curve, json!(alias)), "INVALID_KEY", "canonical"), // SEC-8, P2
        (key_is(curve, json!(above_p)), "INVALID_KEY", "canonical"), // SEC-8
        (key_is(curve, json!(zero)), "INVALID_KEY", "low order"), // SEC-9
        (key_is(curve, json!(identity)), "INVALID_KEY", "low order"), // SEC-9
        (key_is(ed, json!(zero)), "INVALID_KEY", "small order"), // SEC-10, P3
        (key_is(ed, json!(identity)), "INVALID_KEY", "small order"), // SEC-10, P3
        (key_is(ed, json!(above_p)), "INVALID_KEY", "canonical"), // SEC-10
        (resigned(&bob, |k| k["x"] = json!("x".repeat(65_536))), "TOO_LARGE", "65536"), // SEC-100
    ] {
        let made = OlmChannel::create_outbound_channel(&alice.account, &keys, &key);
        fails_saying(made, name, says);
        let user = bob.user_id;
        let stored = OlmChannel::create_from_storage(&alice.account, user, &bob.identity_key());
        fails(stored, "NOT_FOUND"); // O4: nothing is stored
    }
    OlmChannel::create_outbound_channel(&alice.account, &good, &key).unwrap();
}

#[test]
fn what_device_keys_say_beyond_our_needs_is_no_matter() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let mut bob = RawDevice::new("@bob:b.org", "BOB");
    let key = bob.one_time_key().to_string();
    let mut keys = bob.unsigned_device_keys();
    keys["algorithms"].as_array_mut().unwrap().push(json!("m.future.v9")); // SEC-104
    keys["keys"]["kyber:BOB"] = json!("?"); // SEC-104
    keys["dehydrated"] = json!(true);
    let mut keys = bob.sign(keys);
    // Not signed, and so not restricted to canonical JSON (SEC-99).
    keys["unsigned"] = json!({"device_display_name": "Bob's 📱", "score": 0.5});
    keys["signatures"]["@bob:b.org"]["ed25519:MASTER"] = json!("another's matter");
    OlmChannel::create_outbound_channel(&alice.account, &keys.to_string(), &key).unwrap();
}
