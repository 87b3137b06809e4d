//! What a decrypted message must say of itself, and what becomes of one that does not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{Device, fails, unable, v};
use matrixe2ee::{OlmChannel, Result};
use serde_json::{Value, json};
use vodozemac::olm::Session;

const USER: &str = "@alice:a.org";

struct Pair {
    alice: RawDevice,
    bob: Device,
    session: Session,
}

impl Pair {
    fn new() -> Self {
        Self::with(Device::new("@bob:b.org", "BOB"))
    }

    fn with(bob: Device) -> Self {
        let key = bob.one_time_keys().remove(0);
        let alice = RawDevice::new(USER, "ALICE");
        let session = alice.session_to(&bob, &key);
        Self { alice, bob, session }
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> String {
        self.alice.encrypt(&mut self.session, &self.bob, plaintext)
    }

    fn say(&mut self) -> String {
        self.alice.say(&mut self.session, &self.bob)
    }

    fn create(&self, content: &str, known: Option<(&str, String)>) -> Result<Arc<OlmChannel>> {
        let (device, fingerprint) =
            known.map_or((None, None), |(id, key)| (Some(id.to_owned()), Some(key)));
        let (account, key) = (&self.bob.account, self.alice.identity_key());
        OlmChannel::create_from_encrypted_message(account, USER, &key, content, device, fingerprint)
    }
}

/// Plaintexts that must be discarded, and what is wrong with each.
fn discarded(pair: &Pair) -> Vec<(&'static str, Vec<u8>)> {
    let good = pair.alice.plaintext_for(&pair.bob);
    let other = RawDevice::new(USER, "ALICE");
    let with = |path: &str, value: Value| {
        let mut plaintext = good.clone();
        *plaintext.pointer_mut(path).unwrap() = value;
        plaintext.to_string().into_bytes()
    };
    let without = |field: &str| {
        let mut plaintext = good.clone();
        plaintext.as_object_mut().unwrap().remove(field);
        plaintext.to_string().into_bytes()
    };
    let text = good.to_string();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(70), "]".repeat(70));
    let mut alias = vodozemac::base64_decode(pair.bob.fingerprint_key()).unwrap();
    alias[31] ^= 0x80;
    let mut off_curve = [0; 32];
    off_curve[0] = 2;
    assert!(vodozemac::Ed25519PublicKey::from_slice(&off_curve).is_err());
    let off_curve = json!(vodozemac::base64_encode(off_curve));
    let beside_device_keys = |key: Value| {
        let mut plaintext = good.clone();
        plaintext["sender_device_keys"] = pair.alice.device_keys();
        plaintext["keys"]["ed25519"] = key;
        plaintext.to_string().into_bytes()
    };
    vec![
        // O17, SEC-32
        ("sender", with("/sender", json!("@eve:e.org"))),
        ("sender's case", with("/sender", json!("@Alice:a.org"))), // SEC-102
        ("recipient", with("/recipient", json!("@eve:e.org"))),
        ("recipient_keys", with("/recipient_keys/ed25519", json!(other.fingerprint_key()))),
        ("alias", with("/recipient_keys/ed25519", json!(vodozemac::base64_encode(alias)))),
        ("own recipient key", with("/recipient_keys/ed25519", json!(pair.alice.fingerprint_key()))),
        ("no type", without("type")),
        ("no content", without("content")),
        ("no sender", without("sender")),
        ("no recipient", without("recipient")),
        ("no recipient_keys", without("recipient_keys")),
        ("no keys", without("keys")),
        ("type", with("/type", json!(1))),
        ("content", with("/content", json!("text"))),
        ("sender's type", with("/sender", json!(null))),
        ("recipient's type", with("/recipient", json!([]))),
        ("recipient_keys' type", with("/recipient_keys", json!("key"))),
        ("keys' type", with("/keys", json!(null))),
        ("empty keys", with("/keys", json!({}))),
        ("weak key", with("/keys/ed25519", json!("A".repeat(43)))), // SEC-10
        ("bad base64", with("/keys/ed25519", json!("?"))),          // SEC-101
        // SEC-10; S9: nor is it learned where other device keys stand beside it
        ("no point", with("/keys/ed25519", off_curve.clone())),
        ("no point beside device keys", beside_device_keys(off_curve)),
        ("weak key beside device keys", beside_device_keys(json!("A".repeat(43)))),
        // D34
        ("no JSON", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("no UTF-8", vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}']),
        ("a list", b"[]".to_vec()),
        ("cut off", text.as_bytes()[..text.len() - 1].to_vec()),
        // SEC-98: another reader might take the other one
        ("repeated key", text.replacen('{', r#"{"sender":"@alice:a.org","#, 1).into_bytes()),
        ("deep", text.replacen("{}", &deep, 1).into_bytes()), // SEC-100
    ]
}

#[test]
fn a_first_message_that_must_be_discarded_still_makes_the_channel() {
    for (what, plaintext) in discarded(&Pair::new())
        .iter()
        .map(|(what, _)| what)
        .zip(0..)
        .map(|(what, position)| (*what, position))
    {
        let mut pair = Pair::new();
        let spoilt = discarded(&pair).swap_remove(plaintext).1;
        let content = pair.encrypt(&spoilt);
        let channel = pair.create(&content, None).unwrap();
        let error = fails(channel.first_event(), "INVALID_MESSAGE"); // O17, O20
        fails(channel.first_event(), "INVALID_MESSAGE");
        assert!(!error.to_string().contains("@eve"), "{what}: {error}"); // SEC-106
        // D25: nothing was learned, so nothing is encrypted.
        assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "unknown", "{what}");
        fails(channel.encrypt("m.dummy", "{}"), "UNKNOWN_FINGERPRINT"); // D25
        // O19, SEC-35: the message is consumed and the channel stays usable.
        unable(channel.decrypt(&content), "missing_message_key");
        channel.decrypt(&pair.say()).unwrap();
        assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "learned"); // O18
        let reply = channel.encrypt("m.dummy", "{}").unwrap();
        pair.session.decrypt(&pair.alice.unpack(&reply)).unwrap();
    }
}

// S9, D25
#[test]
fn a_first_message_whose_key_is_not_that_of_its_sender_device_keys_teaches_none() {
    let mut pair = Pair::new();
    let mut plaintext = pair.alice.plaintext_for(&pair.bob);
    plaintext["keys"]["ed25519"] = json!(RawDevice::new(USER, "ALICE").fingerprint_key());
    plaintext["sender_device_keys"] = pair.alice.device_keys();
    let content = pair.encrypt(plaintext.to_string().as_bytes());
    let channel = pair.create(&content, None).unwrap();
    fails(channel.first_event(), "INVALID_MESSAGE");
    assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "unknown");
}

#[test]
fn a_later_message_that_must_be_discarded_is_consumed_and_stored_as_that() {
    let directory = SqliteDirectory::new();
    let mut pair = Pair::with(Device::open_in(directory.open(), "@bob:b.org", "BOB"));
    let first = pair.say();
    let channel = pair.create(&first, None).unwrap();
    let partner = channel.partner().unwrap();
    let mut consumed = Vec::new();
    for (what, plaintext) in discarded(&pair) {
        let content = pair.encrypt(&plaintext);
        fails(channel.decrypt(&content), "INVALID_MESSAGE"); // O17, D34, SEC-32
        assert_eq!(channel.partner().unwrap(), partner, "{what}");
        channel.decrypt(&pair.say()).unwrap(); // O19
        consumed.push(content);
    }
    assert!(!channel.should_create_new_session().unwrap()); // O16
    // O19, SEC-35: on disk, too
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    let key = pair.alice.identity_key();
    let channel = OlmChannel::create_from_storage(&after.account, USER, &key).unwrap();
    for content in consumed {
        unable(channel.decrypt(&content), "missing_message_key");
    }
}

#[test]
fn the_first_fingerprint_is_enforced_from_then_on() {
    let mut pair = Pair::new();
    let first = pair.say();
    let channel = pair.create(&first, None).unwrap();
    let partner = channel.partner().unwrap();
    let other = RawDevice::new(USER, "ALICE");
    let mut plaintext = pair.alice.plaintext_for(&pair.bob);
    plaintext["keys"]["ed25519"] = json!(other.fingerprint_key());
    let content = pair.encrypt(plaintext.to_string().as_bytes());
    fails(channel.decrypt(&content), "MISMATCHED_FINGERPRINT"); // O17, O18, SEC-32
    assert_eq!(channel.partner().unwrap(), partner);
    unable(channel.decrypt(&content), "missing_message_key"); // O19, SEC-35
    channel.decrypt(&pair.say()).unwrap(); // O19
    // Device keys of that other fingerprint are no way around it.
    let mut keys = pair.alice.unsigned_device_keys();
    keys["keys"]["ed25519:ALICE"] = json!(other.fingerprint_key());
    let result = channel.set_partner_device_keys(&other.sign(keys).to_string());
    fails(result, "MISMATCHED_FINGERPRINT"); // D26
}

#[test]
fn a_fingerprint_that_a_later_message_teaches_is_stored() {
    let directory = SqliteDirectory::new();
    let mut pair = Pair::with(Device::open_in(directory.open(), "@bob:b.org", "BOB"));
    let first = pair.encrypt(b"no plaintext");
    let channel = pair.create(&first, None).unwrap();
    channel.decrypt(&pair.say()).unwrap();
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    let key = pair.alice.identity_key();
    let recovered = OlmChannel::create_from_storage(&after.account, USER, &key).unwrap();
    assert_eq!(recovered.partner().unwrap(), channel.partner().unwrap()); // O8, O18
    assert_eq!(v(&recovered.partner().unwrap())["fingerprint"], "learned"); // O18
}

#[test]
fn a_first_message_with_another_fingerprint_than_that_of_the_device_keys_is_discarded() {
    let mut pair = Pair::new();
    let other = RawDevice::new(USER, "ALICE");
    let first = pair.say();
    let channel = pair.create(&first, Some(("ALICE", other.fingerprint_key()))).unwrap(); // O20
    fails(channel.first_event(), "MISMATCHED_FINGERPRINT"); // O17
    let partner = v(&channel.partner().unwrap());
    assert_eq!(partner["fingerprint_key"], json!(other.fingerprint_key()));
    assert_eq!(partner["fingerprint"], "device_keys"); // D26
}

/// A good plaintext with the sender's device keys.
fn with_device_keys(pair: &Pair, keys: Value) -> Vec<u8> {
    let mut plaintext = pair.alice.plaintext_for(&pair.bob);
    plaintext["sender_device_keys"] = keys;
    plaintext.to_string().into_bytes()
}

#[test]
fn an_error_about_sender_device_keys_repeats_no_text_of_theirs() {
    let mut pair = Pair::new();
    let canary = json!({"user_id": USER, "device_id": "CANARY", "keys": {}, "algorithms": []});
    let content = pair.encrypt(&with_device_keys(&pair, canary));
    let error = pair.create(&content, None).unwrap().first_event().unwrap_err();
    assert_eq!(error.name(), "INVALID_MESSAGE"); // S9
    assert!(!error.to_json().contains("CANARY"), "{error}"); // SEC-106
}

#[test]
fn sender_device_keys_must_fit_the_sender_and_the_message() {
    let mut pair = Pair::new();
    let keys = pair.alice.device_keys();
    let first = with_device_keys(&pair, keys.clone());
    let content = pair.encrypt(&first);
    let channel = pair.create(&content, Some(("ALICE", pair.alice.fingerprint_key()))).unwrap();
    // S9, D30: good ones, handed on with the event
    assert_eq!(v(&channel.first_event().unwrap())["sender_device_keys"], keys);

    let resigned = |change: &dyn Fn(&mut Value)| {
        let mut keys = pair.alice.unsigned_device_keys();
        change(&mut keys);
        pair.alice.sign(keys)
    };
    let eve = RawDevice { user_id: "@eve:e.org", ..RawDevice::new(USER, "ALICE") };
    let laptop = RawDevice { device_id: "LAPTOP", ..RawDevice::new(USER, "ALICE") };
    let mut stolen = eve.unsigned_device_keys();
    stolen["keys"]["ed25519:ALICE"] = json!(pair.alice.fingerprint_key());
    stolen["keys"]["curve25519:ALICE"] = json!(pair.alice.identity_key());
    let as_eve =
        RawDevice { user_id: "@eve:e.org", device_id: "ALICE", account: copy(&pair.alice) };
    for keys in [
        as_eve.sign(stolen), // S9, SEC-33, CVE-2026-45056: another user, well signed
        laptop.device_keys(),
        // S9, SEC-33: another identity key, another fingerprint key
        resigned(&|keys| keys["keys"]["curve25519:ALICE"] = json!(laptop.identity_key())),
        RawDevice::new(USER, "ALICE").device_keys(),
        pair.alice.unsigned_device_keys(), // S9, SEC-33: no self-signature
        {
            let mut altered = pair.alice.device_keys();
            altered["algorithms"] = json!([]);
            altered
        },
        json!({}),
        json!("keys"),
        json!(null),
    ] {
        let plaintext = with_device_keys(&pair, keys.clone());
        let content = pair.alice.encrypt(&mut pair.session, &pair.bob, &plaintext);
        let result = channel.decrypt(&content);
        assert!(result.is_err(), "{keys}");
        fails(result, "INVALID_MESSAGE"); // S9, SEC-33
        unable(channel.decrypt(&content), "missing_message_key"); // SEC-35
    }
    channel.decrypt(&pair.say()).unwrap(); // D30: they may be absent
}

/// The same account a second time.
fn copy(device: &RawDevice) -> vodozemac::olm::Account {
    vodozemac::olm::Account::from_pickle(device.account.pickle())
}

#[test]
fn a_good_plaintext_is_handed_on_as_it_was_sent() {
    let mut pair = Pair::new();
    let first = pair.say();
    let channel = pair.create(&first, None).unwrap();
    let mut plaintext = pair.alice.plaintext_for(&pair.bob);
    plaintext["content"] = json!({"n": 12345678901234567890_u64, "f": 0.1, "nested": {"é": null}});
    plaintext["org.example.extra"] = json!([1]); // SEC-104
    plaintext["keys"]["curve25519"] = json!("ignored");
    let content = pair.encrypt(plaintext.to_string().as_bytes());
    assert_eq!(v(&channel.decrypt(&content).unwrap()), plaintext); // O13
}
