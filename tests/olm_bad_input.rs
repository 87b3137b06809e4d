//! What a channel refuses before and after decryption, and that a refusal changes nothing more
//! than it must.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::raw::{RawDevice, replaced};
use common::{Device, fails, fails_saying, unable, v};
use matrixe2ee::{OlmChannel, Result};
use serde_json::{Value, json};
use vodozemac::olm::{OlmMessage, Session};

const USER: &str = "@alice:a.org";

/// Bob, who uses the library, and Alice, who can send anything.
struct Pair {
    alice: RawDevice,
    bob: Device,
    keys: Vec<Value>,
}

impl Pair {
    fn new() -> Self {
        let bob = Device::new("@bob:b.org", "BOB");
        let keys = bob.one_time_keys();
        Self { alice: RawDevice::new(USER, "ALICE"), bob, keys }
    }

    fn session(&mut self) -> Session {
        self.alice.session_to(&self.bob, &self.keys.remove(0))
    }

    fn create(&self, content: &str) -> Result<Arc<OlmChannel>> {
        let key = self.alice.identity_key();
        OlmChannel::create_from_encrypted_message(
            &self.bob.account,
            USER,
            &key,
            content,
            None,
            None,
        )
    }

    fn stored(&self) -> Result<Arc<OlmChannel>> {
        OlmChannel::create_from_storage(&self.bob.account, USER, &self.alice.identity_key())
    }

    /// A channel, and the session that Alice has in it.
    fn channel(&mut self) -> (Arc<OlmChannel>, Session) {
        let mut session = self.session();
        let content = self.alice.say(&mut session, &self.bob);
        (self.create(&content).unwrap(), session)
    }
}

/// Ways to spoil the cleartext of a message, what they are answered with, and what that says.
fn spoilt(
    good: &Value,
    bob: &Device,
    alice: &RawDevice,
) -> Vec<(String, &'static str, &'static str)> {
    let own = bob.identity_key();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut content = good.clone();
        change(&mut content);
        content.to_string()
    };
    let ours = |field: &str, value: Value| with(&|c| c["ciphertext"][&own][field] = value.clone());
    let mut alias = vodozemac::base64_decode(alice.identity_key()).unwrap();
    alias[31] |= 0x80;
    let alias = vodozemac::base64_encode(alias);
    let text = good.to_string();
    let twice = text.replacen('{', r#"{"algorithm":"m.olm.v1.curve25519-aes-sha2","#, 1);
    let deep = with(&|c| c["x"] = json!(null))
        .replace("null", &format!("{}{}", "[".repeat(70), "]".repeat(70)));
    vec![
        (text[..text.len() - 1].to_owned(), "INVALID_JSON", "ends too early"),
        (String::from("canary"), "INVALID_JSON", "is not JSON"),
        (twice, "INVALID_JSON", "repeats a key"), // SEC-98
        (deep, "INVALID_JSON", "deeply"),         // SEC-100
        (with(&|c| c["x"] = json!("x".repeat(65_536))), "TOO_LARGE", "65536"), // SEC-100
        (String::from("[]"), "INVALID_FIELD", "content"),
        // O13, SEC-26
        (with(&|c| c["algorithm"] = json!("m.olm.v2.canary")), "UNKNOWN_ALGORITHM", "m.olm.v1"),
        (with(&|c| c["algorithm"] = json!("m.megolm.v1.aes-sha2")), "UNKNOWN_ALGORITHM", "m.olm"),
        (with(&|c| c["algorithm"] = json!(1)), "INVALID_FIELD", "algorithm: is not a text"),
        (with(&|c| c["algorithm"] = json!(null)), "INVALID_FIELD", "algorithm"),
        (without(good, "algorithm"), "INVALID_FIELD", "algorithm: is missing"),
        (without(good, "sender_key"), "INVALID_FIELD", "sender_key: is missing"),
        (with(&|c| c["sender_key"] = json!([])), "INVALID_FIELD", "sender_key"),
        (with(&|c| c["sender_key"] = json!("canary!")), "INVALID_KEY", "base64"),
        (with(&|c| c["sender_key"] = json!("AAAA")), "INVALID_KEY", "32 bytes"),
        (with(&|c| c["sender_key"] = json!(&alias)), "INVALID_KEY", "canonical"), // SEC-8, P2
        (with(&|c| c["sender_key"] = json!("A".repeat(43))), "INVALID_KEY", "low order"), // SEC-9
        (with(&|c| c["sender_key"] = json!(&own)), "INVALID_FIELD", "partner"),
        (without(good, "ciphertext"), "INVALID_FIELD", "ciphertext: is missing"),
        (with(&|c| c["ciphertext"] = json!("canary")), "INVALID_FIELD", "ciphertext"),
        (with(&|c| c["ciphertext"] = json!({})), "NOT_ENCRYPTED_FOR_US", "this device"),
        (
            with(&|c| c["ciphertext"] = json!({alice.identity_key(): good["ciphertext"][&own]})),
            "NOT_ENCRYPTED_FOR_US",
            "this device",
        ),
        (with(&|c| c["ciphertext"][&own] = json!(["canary"])), "INVALID_FIELD", "ciphertext"),
        (ours("body", json!(7)), "INVALID_FIELD", "body: is not a text"),
        (with(&|c| c["ciphertext"][&own] = json!({"type": 0})), "INVALID_FIELD", "body"),
        (with(&|c| c["ciphertext"][&own] = json!({"body": "AA"})), "INVALID_FIELD", "type"),
        (ours("type", json!("0")), "INVALID_FIELD", "type: is not a number"),
        // D27, SEC-26, SEC-103
        (ours("type", json!(2)), "INVALID_MESSAGE", "type"),
        (ours("type", json!(-1)), "INVALID_MESSAGE", "type"),
        (ours("type", json!(0.5)), "INVALID_MESSAGE", "type"),
        (ours("type", json!(i64::MIN)), "INVALID_MESSAGE", "type"),
        (ours("type", json!(u64::MAX)), "INVALID_MESSAGE", "type"),
        (ours("type", json!(1e300)), "INVALID_MESSAGE", "type"),
        // O16, SEC-101
        (ours("body", json!("")), "UNABLE_TO_DECRYPT", "not an Olm message"),
        (ours("body", json!("canary!")), "UNABLE_TO_DECRYPT", "not an Olm message"),
        (ours("body", json!("AAAA")), "UNABLE_TO_DECRYPT", "not an Olm message"),
        (ours("type", json!(1)), "UNABLE_TO_DECRYPT", ""),
    ]
}

fn without(good: &Value, field: &str) -> String {
    let mut content = good.clone();
    content.as_object_mut().unwrap().remove(field);
    content.to_string()
}

#[test]
fn a_bad_cleartext_makes_no_channel_and_uses_up_no_key() {
    let mut pair = Pair::new();
    let mut session = pair.session();
    let good = v(&pair.alice.say(&mut session, &pair.bob));
    for (content, name, says) in spoilt(&good, &pair.bob, &pair.alice) {
        let error = fails_saying(pair.create(&content), name, says);
        assert!(!error.to_string().contains("canary"), "{error}"); // SEC-106: input is not quoted
        fails(pair.stored(), "NOT_FOUND"); // O20
    }
    // O20, P4: the one-time key is still there.
    pair.create(&good.to_string()).unwrap().first_event().unwrap();
}

#[test]
fn a_bad_cleartext_leaves_a_channel_as_it_was() {
    let mut pair = Pair::new();
    let (channel, mut session) = pair.channel();
    let partner = channel.partner().unwrap();
    let good = v(&pair.alice.say(&mut session, &pair.bob));
    for (content, name, says) in spoilt(&good, &pair.bob, &pair.alice) {
        fails_saying(channel.decrypt(&content), name, says); // O13, O16
        assert_eq!(channel.partner().unwrap(), partner);
        assert_eq!(channel.session_count().unwrap(), 1); // O16
    }
    channel.decrypt(&good.to_string()).unwrap(); // O16, P4
}

#[test]
fn only_our_own_ciphertext_entry_has_to_be_well_formed() {
    let mut pair = Pair::new();
    let mut session = pair.session();
    let mut content = v(&pair.alice.say(&mut session, &pair.bob));
    content["ciphertext"]["someone else"] = json!(5); // D28
    content["new_field"] = json!({"a": 1.5}); // SEC-104
    pair.create(&content.to_string()).unwrap().first_event().unwrap();
}

#[test]
fn a_message_whose_mac_or_version_is_wrong_changes_nothing() {
    let mut pair = Pair::new();
    let mut session = pair.session();
    let good = session.encrypt(pair.alice.plaintext_for(&pair.bob).to_string()).unwrap();
    let (kind, bytes) = good.to_parts();
    let OlmMessage::PreKey(message) = &good else { unreachable!() };
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 0x80;
    let mut version_2 = bytes.clone();
    version_2[0] = 4;
    let inner = message.message().to_bytes();
    let mut inner_version_2 = inner.clone();
    inner_version_2[0] = 4;
    let inner_version_2 = replaced(&bytes, &inner, &inner_version_2);
    let ratchet_key = message.message().ratchet_key().to_bytes();
    let identity_key = message.identity_key().to_bytes();
    let mut alias = identity_key;
    alias[31] |= 0x80;
    let zero = [0; 32];
    let base_key = message.base_key().to_bytes();
    let alias_of = |key: [u8; 32]| {
        let mut alias = key;
        alias[31] |= 0x80;
        replaced(&bytes, &key, &alias)
    };
    let one_time_key = message.one_time_key().to_bytes();
    for (bytes, reason) in [
        (alias_of(one_time_key), "malformed"), // SEC-25, SEC-30, P2: outside of the MAC
        (alias_of(base_key), "malformed"),     // SEC-25, SEC-30, P2
        (flipped, "bad_mac"),                  // P4, P11
        (version_2, "malformed"),              // SEC-40
        (inner_version_2, "malformed"),        // SEC-40: no v2, no downgrade
        (replaced(&bytes, &identity_key, &[9; 32]), "malformed"), // SEC-29
        (replaced(&bytes, &identity_key, &alias), "malformed"), // SEC-29, P2
        (replaced(&bytes, &base_key, &[9; 32]), "bad_mac"),
        (bytes[..bytes.len() - 9].to_vec(), "malformed"),
    ] {
        let content = pair.alice.pack_parts(&pair.bob, kind, &bytes).to_string();
        unable(pair.create(&content), reason);
        fails(pair.stored(), "NOT_FOUND"); // SEC-31
    }
    // SEC-9, SEC-20: keys of low order inside the message
    for weak in [replaced(&bytes, &base_key, &zero), replaced(&bytes, &ratchet_key, &zero)] {
        let content = pair.alice.pack_parts(&pair.bob, kind, &weak).to_string();
        fails_saying(pair.create(&content), "INVALID_KEY", "low order");
        fails(pair.stored(), "NOT_FOUND");
    }
    let good = pair.alice.pack(&pair.bob, &good).to_string();
    pair.create(&good).unwrap().first_event().unwrap(); // SEC-31, P4: the key is still there
}

#[test]
fn a_key_of_low_order_is_the_same_error_in_an_existing_channel() {
    let mut pair = Pair::new();
    let (channel, mut session) = pair.channel();
    let reply = pair.alice.unpack(&channel.encrypt("m.dummy", "{}").unwrap());
    session.decrypt(&reply).unwrap();
    let good = pair.alice.say(&mut session, &pair.bob);
    let zero = [0; 32];
    let mut weak = Vec::new();
    let OlmMessage::Normal(normal) = own_message(&pair, &good) else { unreachable!() };
    weak.push((1, replaced(&normal.to_bytes(), &normal.ratchet_key().to_bytes(), &zero)));
    let mut other = pair.session();
    let first = pair.alice.say(&mut other, &pair.bob);
    let OlmMessage::PreKey(pre_key) = own_message(&pair, &first) else { unreachable!() };
    let bytes = pre_key.to_bytes();
    for key in [pre_key.base_key(), pre_key.one_time_key(), pre_key.message().ratchet_key()] {
        weak.push((0, replaced(&bytes, &key.to_bytes(), &zero)));
    }
    for (kind, bytes) in weak {
        let content = pair.alice.pack_parts(&pair.bob, kind, &bytes).to_string();
        fails_saying(channel.decrypt(&content), "INVALID_KEY", "low order"); // SEC-9, SEC-20
    }
    // Whoever sends that gets no new session for it.
    assert!(!channel.should_create_new_session().unwrap());
    channel.decrypt(&good).unwrap();
    channel.decrypt(&first).unwrap();
}

fn own_message(pair: &Pair, content: &str) -> OlmMessage {
    let ours = v(content)["ciphertext"][pair.bob.identity_key()].clone();
    serde_json::from_value(ours).unwrap()
}

#[test]
fn a_failed_decryption_leaves_vodozemacs_states_byte_for_byte_as_they_were() {
    // P4: what the tests above rely on.
    let (alice, mut bob) = (RawDevice::new(USER, "ALICE"), RawDevice::new("@bob:b.org", "BOB"));
    let key = bob.one_time_key();
    let public = key.as_object().unwrap().values().next().unwrap()["key"].as_str().unwrap();
    let config = vodozemac::olm::SessionConfig::version_1();
    let public = vodozemac::Curve25519PublicKey::from_base64(public).unwrap();
    let identity = bob.account.curve25519_key();
    let mut session = alice.account.create_outbound_session(config, identity, public).unwrap();
    let mut altered = session.encrypt("x").unwrap().to_parts().1;
    *altered.last_mut().unwrap() ^= 1;
    let OlmMessage::PreKey(message) = OlmMessage::from_parts(0, &altered).unwrap() else {
        unreachable!()
    };
    let before = bob.account.pickle().encrypt(&[1; 32]);
    let from = message.identity_key();
    bob.account.create_inbound_session(config, from, &message).unwrap_err();
    assert_eq!(bob.account.pickle().encrypt(&[1; 32]), before);
    assert_eq!(bob.account.stored_one_time_key_count(), 1);
    // P6: the same state and key give the same pickle, so it is no encryption at rest.
    assert_eq!(bob.account.pickle().encrypt(&[1; 32]), before);
    // P2: for vodozemac an alias is the same key.
    let mut alias = identity.to_bytes();
    alias[31] |= 0x80;
    let alias = vodozemac::Curve25519PublicKey::from_bytes(alias);
    assert!(alias == identity && alias.to_base64() != identity.to_base64());
    // P3: and a weak signing key is a key.
    assert!(vodozemac::Ed25519PublicKey::from_slice(&[0; 32]).is_ok());
}

#[test]
fn arguments_that_name_no_partner_are_refused() {
    let mut pair = Pair::new();
    let mut session = pair.session();
    let content = pair.alice.say(&mut session, &pair.bob);
    let key = pair.alice.identity_key();
    let account = &pair.bob.account;
    let mut alias = vodozemac::base64_decode(&key).unwrap();
    alias[31] |= 0x80;
    let alias = vodozemac::base64_encode(alias);
    for (user, key, name) in [
        ("alice", key.as_str(), "INVALID_FIELD"),  // SEC-102
        ("@alice", key.as_str(), "INVALID_FIELD"), // SEC-102
        (USER, "", "INVALID_KEY"),                 // SEC-101
        (USER, "no key", "INVALID_KEY"),
        (USER, alias.as_str(), "INVALID_KEY"),  // SEC-8, P2
        (USER, &"A".repeat(43), "INVALID_KEY"), // SEC-9
    ] {
        fails(
            OlmChannel::create_from_encrypted_message(account, user, key, &content, None, None),
            name,
        );
        fails(OlmChannel::create_from_storage(account, user, key), name);
    }
    pair.create(&content).unwrap();
}

#[test]
fn what_cannot_be_encrypted_says_why_and_uses_up_nothing() {
    let mut pair = Pair::new();
    let (channel, mut session) = pair.channel();
    let long = "m".repeat(256);
    for (event_type, content, name) in [
        ("", "{}", "INVALID_FIELD"),
        (long.as_str(), "{}", "INVALID_FIELD"), // SEC-102
        ("m.\u{0}", "{}", "INVALID_FIELD"),
        ("m.dummy", "", "INVALID_JSON"),
        ("m.dummy", "[]", "INVALID_FIELD"),
        ("m.dummy", r#"{"a":1,"a":2}"#, "INVALID_JSON"), // SEC-98
        ("m.dummy", r#"{"a":NaN}"#, "INVALID_JSON"),     // D18
    ] {
        fails(channel.encrypt(event_type, content), name);
    }
    let content = channel.encrypt("m.dummy", "{}").unwrap();
    let OlmMessage::Normal(message) = pair.alice.unpack(&content) else { unreachable!() };
    assert_eq!(message.chain_index(), 0);
    session.decrypt(&OlmMessage::Normal(message)).unwrap();
}
