//! What no handle shows: a channel's sessions in memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod strangers;

use std::sync::Arc;

use serde_json::{Value, json};
use vodozemac::olm::{Account as RawAccount, OlmMessage, Session, SessionConfig};

use super::OlmChannel;
use crate::base::json::{Object, encode_base64};
use crate::sessions::account::Account;
use crate::store::Store;

const KEY: [u8; 32] = [7; 32];

/// A session of Bob's to Alice, and hers, which has received one message and sent none.
fn pair(alice: &mut RawAccount, bob: &RawAccount) -> (Session, Session) {
    let key = alice.generate_one_time_keys(1).created[0];
    let config = SessionConfig::version_1();
    let mut session = bob.create_outbound_session(config, alice.curve25519_key(), key).unwrap();
    let OlmMessage::PreKey(first) = session.encrypt("first").unwrap() else { panic!() };
    let made = alice.create_inbound_session(config, bob.curve25519_key(), &first).unwrap();
    (session, made.session)
}

/// Alice's channel to Bob with these sessions.
fn channel(alice: &RawAccount, bob: &RawAccount, sessions: &[&Session]) -> OlmChannel {
    let store = Store::in_memory(&KEY).unwrap();
    let pickle = alice.pickle().encrypt(&KEY);
    let (user_id, device_id) = ("@alice:a.org".into(), "ALICE".into());
    let account =
        Account::from_vodozemac_pickle(&store, user_id, device_id, &pickle, &KEY).unwrap();
    let account = Arc::new(account);
    let pickles: Vec<String> = sessions.iter().map(|s| s.pickle().encrypt(&KEY)).collect();
    let pickles: Vec<&str> = pickles.iter().map(String::as_str).collect();
    let key = bob.curve25519_key();
    let mut tx = account.begin_alone().unwrap();
    let channel = OlmChannel::from_vodozemac_pickles(
        &account,
        &mut tx,
        "@bob:b.org".into(),
        key,
        &pickles,
        &KEY,
    )
    .unwrap();
    tx.commit().unwrap();
    channel
}

fn content(alice: &RawAccount, bob: &RawAccount, message: &OlmMessage) -> Object {
    let (kind, body) = message.to_parts();
    let content = json!({
        "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": bob.curve25519_key().to_base64(),
        "ciphertext": {
            alice.curve25519_key().to_base64(): {"type": kind, "body": encode_base64(body)},
        },
    });
    let Value::Object(content) = content else { panic!() };
    content
}

fn in_memory(channel: &OlmChannel) -> Vec<Value> {
    let mut tx = channel.account().begin().unwrap();
    let state = channel.take(&mut tx).unwrap();
    state.sessions.iter().map(|s| serde_json::to_value(s.pickle()).unwrap()).collect()
}

// P4, SEC-114
#[test]
fn a_message_that_no_session_decrypts_changes_none_of_them() {
    let (mut alice, bob) = (RawAccount::new(), RawAccount::new());
    let (_, one) = pair(&mut alice, &bob);
    let (_, two) = pair(&mut alice, &bob);
    // Of a session that Alice has not got: a normal message with an unknown ratchet key.
    let (mut stranger, mut other) = pair(&mut alice, &bob);
    stranger.decrypt(&other.encrypt("answer").unwrap()).unwrap();
    let message = stranger.encrypt("lost").unwrap();
    assert!(matches!(message, OlmMessage::Normal(_)));
    let channel = channel(&alice, &bob, &[&one, &two]);
    let before = in_memory(&channel);
    let mut tx = channel.account().begin().unwrap();
    let result = channel.decrypt(&mut tx, &content(&alice, &bob, &message));
    let error = tx.finish(result).unwrap_err();
    assert_eq!(error.name(), "UNABLE_TO_DECRYPT");
    assert_eq!(in_memory(&channel), before);
}
