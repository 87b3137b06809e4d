//! Olm channels: making, using and reloading them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::raw::RawDevice;
use common::sqlite::{KEY, SqliteDirectory};
use common::{Device, connected, entries, fails, fails_saying, message_type, unable, v};
use matrixe2ee::{OlmChannel, Store};
use serde_json::{Value, json};
use vodozemac::olm::OlmMessage;

fn alice() -> Device {
    Device::new("@alice:a.org", "ALICE")
}

fn bob() -> Device {
    Device::new("@bob:b.org", "BOB")
}

fn stored(from: &Device, to: &Device) -> matrixe2ee::Result<std::sync::Arc<OlmChannel>> {
    let user = to.account.user_id().unwrap();
    OlmChannel::create_from_storage(&from.account, &user, &to.identity_key())
}

#[test]
fn a_new_channel_names_the_device_of_its_keys_and_has_one_session() {
    let (alice, bob) = (alice(), bob());
    let channel = alice.channel_to(&bob);
    // O3, D26
    assert_eq!(
        v(&channel.partner().unwrap()),
        json!({
            "user_id": "@bob:b.org",
            "identity_key": bob.identity_key(),
            "device_id": "BOB",
            "fingerprint_key": bob.fingerprint_key(),
            "fingerprint": "device_keys",
        })
    );
    assert_eq!(channel.session_count().unwrap(), 1); // O5
    fails_saying(channel.first_event(), "NOT_FOUND", "not created from a message");
}

#[test]
fn a_new_channel_is_on_disk_before_it_is_returned() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let bob = bob();
    let channel = alice.channel_to(&bob);
    let after = Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE");
    let recovered = stored(&after, &bob).unwrap();
    assert_eq!(recovered.session_count().unwrap(), 1); // O5
    assert_eq!(recovered.partner().unwrap(), channel.partner().unwrap()); // O8, O21
}

#[test]
fn a_channel_is_found_by_user_and_identity_key_and_by_nothing_less() {
    let (alice, bob, to_bob, _) = connected();
    let key = bob.identity_key();
    let open = |user: &str, key: &str| OlmChannel::create_from_storage(&alice.account, user, key);
    // O2, O8, O21
    assert_eq!(open("@bob:b.org", &key).unwrap().partner().unwrap(), to_bob.partner().unwrap());
    fails(open("@bob:c.org", &key), "NOT_FOUND");
    fails(open("@bob:b.org", &alice.identity_key()), "NOT_FOUND");
    // O2: there is no other way to an object: the type has no public fields and no `new`.
    fails(OlmChannel::create_from_storage(&bob.account, "@bob:b.org", &key), "NOT_FOUND");
}

#[test]
fn creating_a_channel_that_exists_fails_and_changes_nothing() {
    let (alice, bob, to_bob, to_alice) = connected();
    let key = bob.one_time_keys_again();
    let again = OlmChannel::create_outbound_channel(&alice.account, &bob.device_keys(), &key);
    fails(again, "ALREADY_EXISTS");
    assert_eq!(to_bob.session_count().unwrap(), 1);
    // O22: a first message while there is a channel belongs to `decrypt`.
    to_bob.add_outbound_olm_session(&key).unwrap();
    let first = to_bob.encrypt("m.dummy", "{}").unwrap();
    assert_eq!(message_type(&first), 0);
    fails(bob.receive_first(&alice, &first), "ALREADY_EXISTS");
    to_alice.decrypt(&first).unwrap();
}

/// One more one-time key of a device whose keys were uploaded before.
trait OneMore {
    fn one_time_keys_again(&self) -> String;
}

impl OneMore for Device {
    fn one_time_keys_again(&self) -> String {
        self.account.receive_key_counts(r#"{"signed_curve25519":49}"#, None).unwrap();
        entries(&self.upload()["one_time_keys"]).remove(0).to_string()
    }
}

#[test]
fn the_reader_of_messages_looks_in_storage_first_and_then_makes_a_channel() {
    let (alice, bob) = (alice(), bob());
    let to_bob = alice.channel_to(&bob);
    let first = to_bob.encrypt("m.dummy", "{}").unwrap();
    // O22
    fails(stored(&bob, &alice), "NOT_FOUND");
    bob.receive_first(&alice, &first).unwrap().first_event().unwrap();
    let second = to_bob.encrypt("m.dummy", "{}").unwrap();
    stored(&bob, &alice).unwrap().decrypt(&second).unwrap();
}

#[test]
fn an_encrypted_event_has_the_form_of_the_specification() {
    let (alice, bob, to_bob, _) = connected();
    let content = v(&to_bob.encrypt("m.dummy", "{}").unwrap());
    // O1, O9
    assert_eq!(content["algorithm"], "m.olm.v1.curve25519-aes-sha2");
    assert_eq!(content["sender_key"], json!(alice.identity_key()));
    let ciphertexts = content["ciphertext"].as_object().unwrap();
    assert_eq!(ciphertexts.keys().collect::<Vec<_>>(), [&bob.identity_key()]);
    let ours = &ciphertexts[&bob.identity_key()];
    assert!(ours["type"].is_u64() && ours["body"].is_string());
    assert_eq!(content.as_object().unwrap().len(), 3);
}

#[test]
fn the_plaintext_says_who_sends_what_to_whom() {
    let alice = alice();
    let mut bob = RawDevice::new("@bob:b.org", "BOB");
    let key = bob.one_time_key().to_string();
    let keys = bob.device_keys().to_string();
    let channel = OlmChannel::create_outbound_channel(&alice.account, &keys, &key).unwrap();
    let content = channel.encrypt("m.room_key", r#"{"n":1.50,"a":{"b":[]}}"#).unwrap();
    let (_, plaintext) = bob.receive_first(&content);
    // O10, D30, S9: and no room_id
    assert_eq!(
        plaintext,
        json!({
            "type": "m.room_key",
            "content": {"n": 1.5, "a": {"b": []}},
            "sender": "@alice:a.org",
            "recipient": "@bob:b.org",
            "recipient_keys": {"ed25519": bob.fingerprint_key()},
            "keys": {"ed25519": alice.fingerprint_key()},
            "sender_device_keys": v(&alice.device_keys()),
        })
    );
}

#[test]
fn messages_are_pre_key_messages_until_the_sender_has_decrypted_one() {
    let (alice, bob) = (alice(), bob());
    let to_bob = alice.channel_to(&bob);
    let first = to_bob.encrypt("m.dummy", "{}").unwrap();
    let second = to_bob.encrypt("m.dummy", "{}").unwrap();
    assert_eq!([message_type(&first), message_type(&second)], [0, 0]); // O11
    let to_alice = bob.receive_first(&alice, &first).unwrap();
    let reply = to_alice.encrypt("m.dummy", "{}").unwrap();
    assert_eq!(message_type(&reply), 1); // O11
    assert_eq!(message_type(&to_bob.encrypt("m.dummy", "{}").unwrap()), 0); // O11
    to_bob.decrypt(&reply).unwrap();
    assert_eq!(message_type(&to_bob.encrypt("m.dummy", "{}").unwrap()), 1); // O11
    to_alice.decrypt(&second).unwrap();
}

#[test]
fn every_ciphertext_is_covered_by_what_is_on_disk_when_it_is_returned() {
    let directory = SqliteDirectory::new();
    let mut alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let mut bob = RawDevice::new("@bob:b.org", "BOB");
    let key = bob.one_time_key().to_string();
    let keys = bob.device_keys().to_string();
    OlmChannel::create_outbound_channel(&alice.account, &keys, &key).unwrap();
    let mut session = None;
    let mut crashed = directory;
    for number in 0..6 {
        let (user, key) = (bob.user_id, bob.identity_key());
        let channel = OlmChannel::create_from_storage(&alice.account, user, &key).unwrap();
        let content = channel.encrypt("m.dummy", &json!({ "n": number }).to_string()).unwrap();
        // O12: killed at the moment when the ciphertext is returned. Had the ratchet gone back,
        // the next message would use the same key, and vodozemac could not decrypt it.
        crashed = crashed.crashed();
        alice = Device::open_in(crashed.open(), "@alice:a.org", "ALICE");
        let plaintext: Value = match &mut session {
            None => {
                let (made, plaintext) = bob.receive_first(&content);
                session = Some(made);
                plaintext
            }
            Some(session) => {
                let bytes = session.decrypt(&bob.unpack(&content)).unwrap();
                serde_json::from_slice(&bytes).unwrap()
            }
        };
        assert_eq!(plaintext["content"]["n"], number);
    }
}

#[test]
fn a_first_message_makes_a_channel_and_its_event_can_be_read_again_and_again() {
    let (alice, bob) = (alice(), bob());
    let first = alice.channel_to(&bob).encrypt("m.test", r#"{"a":"é"}"#).unwrap();
    let channel = bob.receive_first(&alice, &first).unwrap();
    let event = v(&channel.first_event().unwrap());
    assert_eq!((&event["type"], &event["content"]), (&json!("m.test"), &json!({"a": "é"}))); // O15
    assert_eq!(v(&channel.first_event().unwrap()), event); // O20
    assert_eq!(channel.session_count().unwrap(), 1); // O15
    // O20: only the handle that the message made has it.
    fails(stored(&bob, &alice).unwrap().first_event(), "NOT_FOUND");
    // O18, D26: what the message says of its sender is learned, not from device keys.
    let partner = v(&channel.partner().unwrap());
    assert_eq!(partner["fingerprint"], "learned");
    assert_eq!(partner["fingerprint_key"], json!(alice.fingerprint_key()));
    assert_eq!(partner["device_id"], "ALICE");
}

#[test]
fn what_the_caller_knows_of_the_sender_counts_as_device_keys_and_is_enforced() {
    let (alice, bob) = (alice(), bob());
    let to_bob = alice.channel_to(&bob);
    let first = to_bob.encrypt("m.test", "{}").unwrap();
    let create = |device: &str, fingerprint: String| {
        let (user, key) = ("@alice:a.org", alice.identity_key());
        let (device, fingerprint) = (Some(device.to_owned()), Some(fingerprint));
        OlmChannel::create_from_encrypted_message(
            &bob.account,
            user,
            &key,
            &first,
            device,
            fingerprint,
        )
    };
    fails(create("", alice.fingerprint_key()), "INVALID_FIELD");
    fails(create("ALICE", "A".repeat(43)), "INVALID_KEY"); // SEC-10
    let channel = create("ALICE", alice.fingerprint_key()).unwrap(); // O20
    channel.first_event().unwrap();
    let partner = v(&channel.partner().unwrap());
    assert_eq!(partner["fingerprint"], "device_keys"); // D26
    assert_eq!(partner["device_id"], "ALICE");
}

#[test]
fn a_channel_and_its_order_of_sessions_survive_a_restart() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let keys = bob.one_time_keys();
    let alice = RawDevice::new("@alice:a.org", "ALICE");
    let mut sessions: Vec<_> = keys[..3].iter().map(|key| alice.session_to(&bob, key)).collect();
    let first = alice.say(&mut sessions[0], &bob);
    let channel = OlmChannel::create_from_encrypted_message(
        &bob.account,
        alice.user_id,
        &alice.identity_key(),
        &first,
        None,
        None,
    )
    .unwrap();
    channel.decrypt(&alice.say(&mut sessions[1], &bob)).unwrap();
    channel.decrypt(&alice.say(&mut sessions[2], &bob)).unwrap();
    channel.decrypt(&alice.say(&mut sessions[0], &bob)).unwrap();
    let partner = channel.partner().unwrap();
    drop((channel, bob));
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let (user, key) = (alice.user_id, alice.identity_key());
    let channel = OlmChannel::create_from_storage(&bob.account, user, &key).unwrap();
    // O8, O21
    assert_eq!(channel.partner().unwrap(), partner);
    assert_eq!(channel.session_count().unwrap(), 3);
    // O9, O14, O21: it encrypts with the session that received last, and still decrypts with all.
    let reply = alice.unpack(&channel.encrypt("m.dummy", "{}").unwrap());
    sessions[0].decrypt(&reply).unwrap();
    for session in &mut sessions {
        channel.decrypt(&alice.say(session, &bob)).unwrap();
        let reply = alice.unpack(&channel.encrypt("m.dummy", "{}").unwrap());
        assert!(matches!(reply, OlmMessage::Normal(_)));
        session.decrypt(&reply).unwrap();
    }
}

#[test]
fn what_a_store_holds_opens_with_its_key_only() {
    // O6: in place of a pickle key, the whole store has one, of 32 bytes.
    for length in [0, 31, 33] {
        fails_saying(Store::in_memory(vec![1; length]), "INVALID_LENGTH", "32");
    }
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let copy = directory.crashed();
    let path = copy.path();
    let wrong = [KEY[0] ^ 1; 32];
    fails(Store::open_sqlite(path.to_str().unwrap(), wrong.to_vec()), "WRONG_KEY"); // O6
    // O8, P6: no name and no key stands in the file in the clear.
    let bob = bob();
    alice.channel_to(&bob).encrypt("m.dummy", r#"{"body":"canary"}"#).unwrap();
    let crashed = directory.crashed();
    for suffix in ["", "-wal"] {
        let file = format!("{}{suffix}", crashed.path().display());
        let bytes = std::fs::read(file).unwrap_or_default();
        for needle in ["alice", "bob", "canary", "curve25519", &bob.identity_key()[..8]] {
            let found = bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
            assert!(!found, "{needle} stands in the store's file");
        }
    }
}

#[test]
fn two_handles_on_one_channel_share_one_live_state() {
    let (alice, bob, to_bob, to_alice) = connected();
    let other = stored(&alice, &bob).unwrap();
    for handle in [&to_bob, &other, &to_bob, &other] {
        to_alice.decrypt(&handle.encrypt("m.dummy", "{}").unwrap()).unwrap();
    }
    let message = to_alice.encrypt("m.dummy", "{}").unwrap();
    other.decrypt(&message).unwrap();
    unable(to_bob.decrypt(&message), "missing_message_key");
    other.erase().unwrap();
    fails(to_bob.encrypt("m.dummy", "{}"), "NOT_FOUND");
    fails(to_bob.erase(), "NOT_FOUND");
    fails(stored(&alice, &bob), "NOT_FOUND");
    // A channel of that name can be made anew; the old handles stay dead.
    let key = bob.one_time_keys_again();
    let anew = OlmChannel::create_outbound_channel(&alice.account, &bob.device_keys(), &key);
    to_alice.decrypt(&anew.unwrap().encrypt("m.dummy", "{}").unwrap()).unwrap();
    fails(to_bob.session_count(), "NOT_FOUND");
}

#[test]
fn every_content_that_is_encrypted_can_be_decrypted() {
    let (_alice, _bob, to_bob, to_alice) = connected();
    let content = |length: usize| json!({"body": "x".repeat(length)}).to_string();
    let mut sent = 0;
    for length in [0, 1_000, 40_000, 44_000, 46_000, 48_000, 48_500, 49_000, 60_000, 65_000, 70_000]
    {
        match to_bob.encrypt("m.test", &content(length)) {
            Ok(message) => {
                sent += 1;
                assert!(message.len() <= 65_536, "{length}"); // SEC-100
                let event = v(&to_alice.decrypt(&message).unwrap());
                assert_eq!(event["content"], v(&content(length)));
            }
            Err(error) => {
                assert_eq!(error.name(), "TOO_LARGE", "{length}"); // SEC-100
            }
        }
    }
    assert!(sent >= 4);
    // A refused content has used up nothing.
    to_alice.decrypt(&to_bob.encrypt("m.test", "{}").unwrap()).unwrap();
}
