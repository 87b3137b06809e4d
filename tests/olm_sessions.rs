//! The sessions inside a channel: which one is used, which one goes, and when a new one is due.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{Device, HOUR, connected, entries, fails, fails_saying, unable, v};
use matrixe2ee::OlmChannel;
use serde_json::{Value, json};
use vodozemac::olm::Session;

/// Bob's channel from a vodozemac device, with sessions 0, 1, 2 ... in the order of their making.
struct Many {
    bob: Device,
    alice: RawDevice,
    sessions: Vec<Session>,
    channel: Arc<OlmChannel>,
    keys: Vec<Value>,
}

impl Many {
    fn new(count: usize) -> Self {
        let bob = Device::new("@bob:b.org", "BOB");
        let mut keys = bob.one_time_keys();
        let alice = RawDevice::new("@alice:a.org", "ALICE");
        let mut first = alice.session_to(&bob, &keys.remove(0));
        let content = alice.say(&mut first, &bob);
        let channel = OlmChannel::create_from_encrypted_message(
            &bob.account,
            alice.user_id,
            &alice.identity_key(),
            &content,
            None,
            None,
        )
        .unwrap();
        let mut many = Self { bob, alice, sessions: vec![first], channel, keys };
        (1..count).for_each(|_| many.add());
        many
    }

    fn add(&mut self) {
        let mut session = self.alice.session_to(&self.bob, &self.keys.remove(0));
        let content = self.alice.say(&mut session, &self.bob);
        self.sessions.push(session);
        self.channel.decrypt(&content).unwrap();
    }

    /// Whether a message in that session is decrypted.
    fn hears(&mut self, session: usize) -> bool {
        let content = self.alice.say(&mut self.sessions[session], &self.bob);
        self.channel.decrypt(&content).is_ok()
    }

    /// Which session the channel encrypts with.
    fn speaks_with(&mut self) -> usize {
        let reply = self.alice.unpack(&self.channel.encrypt("m.dummy", "{}").unwrap());
        self.sessions.iter_mut().position(|session| session.decrypt(&reply).is_ok()).unwrap()
    }
}

#[test]
fn the_session_that_received_last_encrypts() {
    let mut many = Many::new(3);
    assert_eq!(many.speaks_with(), 2); // O15: the newest is the current one
    for session in [0, 1, 0, 2, 1, 1] {
        assert!(many.hears(session));
        assert_eq!(many.speaks_with(), session); // O9, O14
    }
}

#[test]
fn the_session_that_received_moves_to_the_end_and_the_others_keep_their_order() {
    // D20: with [0, 1, 2, ..., 7] a message in 0 gives [1, 2, ..., 7, 0]. Had 0 and 7 changed
    // places, 7 would be the next to go.
    let mut many = Many::new(8);
    assert!(many.hears(0)); // O14, D20
    many.add(); // 8: it drives out 1
    assert_eq!(many.channel.session_count().unwrap(), 8); // D24, SEC-38
    for (session, expected) in [(7, true), (0, true), (2, true), (1, false)] {
        assert_eq!(many.hears(session), expected, "{session}"); // D20, SEC-38
    }
    // Now [3, 4, 5, 6, 8, 7, 0, 2].
    many.add();
    many.add();
    for (session, expected) in [(3, false), (4, false), (5, true), (6, true), (8, true)] {
        assert_eq!(many.hears(session), expected, "{session}"); // D20, D24
    }
}

#[test]
fn sending_does_not_keep_a_session_from_being_driven_out() {
    // SEC-38: least recently used means by the last successful receipt.
    let mut many = Many::new(8);
    for _ in 0..20 {
        assert_eq!(many.speaks_with(), 7);
    }
    (0..8).for_each(|_| many.add());
    assert!(!many.hears(7));
    assert_eq!(many.channel.session_count().unwrap(), 8);
}

#[test]
fn a_pre_key_message_that_matches_a_session_is_tried_only_there() {
    let mut many = Many::new(3);
    let before = many.alice.say(&mut many.sessions[1], &many.bob);
    many.channel.decrypt(&before).unwrap();
    // D21, SEC-30: altered, it fits no session and makes no new one.
    let mut altered = v(&many.alice.say(&mut many.sessions[1], &many.bob));
    let ours = &mut altered["ciphertext"][many.bob.identity_key()];
    assert_eq!(ours["type"], 0);
    let mut bytes = vodozemac::base64_decode(ours["body"].as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1; // the MAC
    ours["body"] = json!(vodozemac::base64_encode(bytes));
    unable(many.channel.decrypt(&altered.to_string()), "bad_mac");
    unable(many.channel.decrypt(&before), "missing_message_key"); // SEC-39
    assert_eq!(many.channel.session_count().unwrap(), 3); // D21
    assert_eq!(many.speaks_with(), 1); // O16: the order is unchanged, too
}

#[test]
fn messages_may_arrive_out_of_order_within_limits_and_what_is_lost_is_told_apart() {
    let mut many = Many::new(1);
    let say = |many: &mut Many| many.alice.say(&mut many.sessions[0], &many.bob);
    let skipped: Vec<_> = (0..41).map(|_| say(&mut many)).collect();
    let next = say(&mut many);
    many.channel.decrypt(&next).unwrap();
    unable(many.channel.decrypt(&skipped[0]), "missing_message_key"); // SEC-39: 40 keys are kept
    for content in skipped[1..].iter().rev() {
        many.channel.decrypt(content).unwrap();
    }
    unable(many.channel.decrypt(&next), "missing_message_key"); // SEC-39, SEC-36
    let mut last = String::new();
    for _ in 0..2002 {
        last = say(&mut many);
    }
    unable(many.channel.decrypt(&last), "message_gap"); // SEC-39
    // Neither calls for a new session.
    assert!(!many.channel.should_create_new_session().unwrap());
}

/// A message that no session can decrypt.
fn garbage(from: &Device, to: &Device) -> String {
    let body = vodozemac::base64_encode(
        [&[3, 0x0a, 32][..], &[7; 32], &[0x10, 0], &[0x22, 16], &[9; 24]].concat(),
    );
    json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": from.identity_key(),
        "ciphertext": { to.identity_key(): {"type": 1, "body": body} },
    })
    .to_string()
}

fn one_time_key(of: &Device) -> String {
    of.account.receive_key_counts(r#"{"signed_curve25519":49}"#, None).unwrap();
    entries(&of.upload()["one_time_keys"]).remove(0).to_string()
}

#[test]
fn an_undecryptable_message_asks_for_a_new_session_once_an_hour() {
    let (alice, bob, to_bob, _) = connected();
    assert!(!to_bob.should_create_new_session().unwrap());
    unable(to_bob.decrypt(&garbage(&bob, &alice)), "bad_mac"); // O16
    assert!(to_bob.should_create_new_session().unwrap()); // D32
    assert!(!to_bob.should_create_new_session().unwrap()); // D32
    // A new session ends it.
    to_bob.add_outbound_olm_session(&one_time_key(&bob)).unwrap();
    alice.clock.advance(2 * HOUR);
    assert!(!to_bob.should_create_new_session().unwrap());
    // The hour counts from the last true answer.
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    assert!(to_bob.should_create_new_session().unwrap());
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    alice.clock.advance(HOUR - 1);
    assert!(!to_bob.should_create_new_session().unwrap()); // D32
    alice.clock.advance(1);
    assert!(to_bob.should_create_new_session().unwrap()); // D32
}

#[test]
fn a_clock_that_is_set_back_does_not_hold_up_new_sessions() {
    let (alice, bob, to_bob, _) = connected();
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    assert!(to_bob.should_create_new_session().unwrap());
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    alice.clock.advance(-HOUR);
    assert!(to_bob.should_create_new_session().unwrap()); // D32, as D1 has it
    assert!(!to_bob.should_create_new_session().unwrap());
}

#[test]
fn a_session_that_the_other_side_makes_ends_the_need_for_one() {
    let (alice, bob, to_bob, to_alice) = connected();
    to_alice.decrypt(&garbage(&alice, &bob)).unwrap_err();
    to_alice.set_partner_device_keys(&alice.device_keys()).unwrap();
    to_bob.add_outbound_olm_session(&one_time_key(&bob)).unwrap();
    to_alice.decrypt(&to_bob.encrypt("m.dummy", "{}").unwrap()).unwrap();
    assert_eq!(to_alice.session_count().unwrap(), 2); // O7, O15
    assert!(!to_alice.should_create_new_session().unwrap()); // D32
}

#[test]
fn the_answer_that_a_new_session_is_due_is_stored_before_it_is_given() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let bob = Device::new("@bob:b.org", "BOB");
    let to_bob = alice.channel_to(&bob);
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    assert!(to_bob.should_create_new_session().unwrap());
    let after = Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE");
    let key = bob.identity_key();
    let channel = OlmChannel::create_from_storage(&after.account, "@bob:b.org", &key).unwrap();
    channel.decrypt(&garbage(&bob, &after)).unwrap_err();
    assert!(!channel.should_create_new_session().unwrap()); // D32: durable
    after.clock.advance(HOUR);
    assert!(channel.should_create_new_session().unwrap());
}

#[test]
fn the_need_for_a_new_session_survives_freed_handles_and_restarts() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let bob = Device::new("@bob:b.org", "BOB");
    let to_bob = alice.channel_to(&bob);
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    drop(to_bob);
    let open = |device: &Device| {
        let key = bob.identity_key();
        OlmChannel::create_from_storage(&device.account, "@bob:b.org", &key).unwrap()
    };
    let after = Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE");
    let reopened = open(&after);
    assert!(reopened.should_create_new_session().unwrap()); // D32, O16
    // And so does its end.
    reopened.add_outbound_olm_session(&one_time_key(&bob)).unwrap();
    drop(reopened);
    after.clock.advance(2 * HOUR);
    assert!(!open(&after).should_create_new_session().unwrap()); // D32
    assert!(open(&alice).should_create_new_session().unwrap());
}

#[test]
fn garbage_is_written_down_once() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let bob = Device::new("@bob:b.org", "BOB");
    let to_bob = alice.channel_to(&bob);
    to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    let bytes = || {
        let path = directory.path();
        let log = path.with_extension("db-wal");
        [path, log].map(|path| std::fs::read(path).unwrap())
    };
    let before = bytes();
    for _ in 0..3 {
        to_bob.decrypt(&garbage(&bob, &alice)).unwrap_err();
    }
    assert!(bytes() == before, "something was written"); // SEC-100
}

#[test]
fn messages_that_are_refused_before_or_after_decryption_ask_for_no_new_session() {
    let (alice, bob, to_bob, _) = connected();
    let mut other = v(&garbage(&bob, &alice));
    other["algorithm"] = json!("m.megolm.v1.aes-sha2");
    fails(to_bob.decrypt(&other.to_string()), "UNKNOWN_ALGORITHM"); // O13, O16
    let mut other = v(&garbage(&bob, &alice));
    other["ciphertext"] = json!({});
    fails(to_bob.decrypt(&other.to_string()), "NOT_ENCRYPTED_FOR_US"); // O13, O16
    assert!(!to_bob.should_create_new_session().unwrap()); // O16: only UNABLE_TO_DECRYPT does
}

#[test]
fn the_key_of_an_added_session_is_checked_and_it_comes_last_and_is_stored() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let mut bob = RawDevice::new("@bob:b.org", "BOB");
    let (first, second) = (bob.one_time_key().to_string(), bob.one_time_key().to_string());
    let keys = bob.device_keys().to_string();
    let channel = OlmChannel::create_outbound_channel(&alice.account, &keys, &first).unwrap();
    let mut unsigned = v(&second);
    for key in unsigned.as_object_mut().unwrap().values_mut() {
        key["signatures"]["@bob:b.org"]["ed25519:BOB"] = json!("A".repeat(86));
    }
    fails(channel.add_outbound_olm_session(&unsigned.to_string()), "BAD_SIGNATURE"); // O7
    assert_eq!(channel.session_count().unwrap(), 1);
    channel.add_outbound_olm_session(&second).unwrap();
    // O7, D23: stored
    let after = Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE");
    let channel =
        OlmChannel::create_from_storage(&after.account, "@bob:b.org", &bob.identity_key()).unwrap();
    assert_eq!(channel.session_count().unwrap(), 2);
    // O7: the one used next is the one of the second key
    let content = channel.encrypt("m.dummy", "{}").unwrap();
    let vodozemac::olm::OlmMessage::PreKey(message) = bob.unpack(&content) else { unreachable!() };
    let expected = v(&second).as_object().unwrap().values().next().unwrap()["key"].clone();
    assert_eq!(json!(message.one_time_key().to_base64()), expected);
}

#[test]
fn a_learned_fingerprint_is_enforced_but_adds_no_session_until_device_keys_come() {
    let many = Many::new(1);
    let (alice, bob, channel) = (many.alice, many.bob, many.channel);
    let mut alice = alice;
    let key = alice.one_time_key().to_string();
    assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "learned"); // O18
    // O7, D26
    fails_saying(
        channel.add_outbound_olm_session(&key),
        "UNKNOWN_FINGERPRINT",
        "set_partner_device_keys",
    );
    // D26: other keys of the same names, and keys of others, are refused.
    let imposter = RawDevice::new("@alice:a.org", "ALICE");
    let mut keys = alice.unsigned_device_keys();
    keys["keys"]["ed25519:ALICE"] = json!(imposter.fingerprint_key());
    for (keys, name) in [
        (imposter.sign(keys), "MISMATCHED_FINGERPRINT"), // D26
        (imposter.device_keys(), "INVALID_FIELD"),
        (RawDevice::new("@eve:e.org", "ALICE").device_keys(), "INVALID_FIELD"),
        (alice.unsigned_device_keys(), "BAD_SIGNATURE"),
    ] {
        fails(channel.set_partner_device_keys(&keys.to_string()), name);
        assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "learned");
    }
    channel.set_partner_device_keys(&alice.device_keys().to_string()).unwrap();
    let partner = v(&channel.partner().unwrap());
    assert_eq!(
        (&partner["fingerprint"], &partner["device_id"]),
        (&json!("device_keys"), &json!("ALICE"))
    );
    channel.add_outbound_olm_session(&key).unwrap();
    assert_eq!(channel.session_count().unwrap(), 2);
    // Every handle sees it.
    let key = alice.identity_key();
    let again = OlmChannel::create_from_storage(&bob.account, "@alice:a.org", &key).unwrap();
    assert_eq!(v(&again.partner().unwrap())["fingerprint"], "device_keys");
}

#[test]
fn valid_sender_device_keys_leave_the_fingerprint_learned() {
    let (_alice, _bob, to_bob, to_alice) = connected();
    assert_eq!(v(&to_bob.partner().unwrap())["fingerprint"], "device_keys");
    let partner = v(&to_alice.partner().unwrap());
    assert_eq!(partner["fingerprint"], "learned"); // S9, D26: Alice sent her device keys along
    assert_eq!(partner["device_id"], "ALICE");
}
