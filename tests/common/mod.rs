//! What the integration tests share: devices of the library with a clock of their own, a key
//! server, and short ways to say what must fail.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

pub mod libolm;
pub mod raw;
pub mod sqlite;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use matrixe2ee::{Account, Clock, E2eeError, OlmChannel, Result, Store};
use serde_json::{Map, Value, json};

pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;
pub const START: i64 = 1_700_000_000_000;

/// Reads JSON.
pub fn v(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A clock that stands still until it is told otherwise; negative means that it fails.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(START)))
    }

    pub fn set(&self, now: i64) {
        self.0.store(now, Ordering::SeqCst);
    }

    pub fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> Result<i64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// A device that the library serves.
pub struct Device {
    pub store: Arc<Store>,
    pub account: Arc<Account>,
    pub clock: Arc<TestClock>,
}

impl Device {
    /// A new device in a store of its own in memory.
    pub fn new(user_id: &str, device_id: &str) -> Self {
        Self::open_in(Store::in_memory(vec![7; 32]).unwrap(), user_id, device_id)
    }

    pub fn open_in(store: Arc<Store>, user_id: &str, device_id: &str) -> Self {
        let clock = TestClock::new();
        store.set_clock(clock.clone()).unwrap();
        let account = Account::open(&store, user_id, device_id).unwrap();
        Self { store, account, clock }
    }

    pub fn identity_key(&self) -> String {
        self.account.identity_key().unwrap()
    }

    pub fn fingerprint_key(&self) -> String {
        self.account.fingerprint_key().unwrap()
    }

    pub fn device_keys(&self) -> String {
        self.account.device_keys().unwrap()
    }

    /// Uploads what there is to upload, to a server that keeps all keys.
    pub fn upload(&self) -> Value {
        let body = v(&self.account.keys_upload_request().unwrap().unwrap());
        self.account
            .receive_keys_upload_response(
                200,
                r#"{"one_time_key_counts":{"signed_curve25519":50}}"#,
            )
            .unwrap();
        body
    }

    /// One-time keys as a claim gives them, `{key_id: key}`, in the order of their IDs.
    pub fn one_time_keys(&self) -> Vec<Value> {
        entries(&self.upload()["one_time_keys"])
    }

    /// A channel to another device of the library, and the other's one-time keys that are left.
    pub fn channel_to(&self, other: &Device) -> Arc<OlmChannel> {
        let key = other.one_time_keys().remove(0).to_string();
        OlmChannel::create_outbound_channel(&self.account, &other.device_keys(), &key).unwrap()
    }

    /// The channel that a first message makes.
    pub fn receive_first(&self, from: &Device, content: &str) -> Result<Arc<OlmChannel>> {
        let user = from.account.user_id().unwrap();
        let key = from.identity_key();
        OlmChannel::create_from_encrypted_message(&self.account, &user, &key, content, None, None)
    }
}

/// Alice and Bob with a channel between them, one message sent each way.
pub fn connected() -> (Device, Device, Arc<OlmChannel>, Arc<OlmChannel>) {
    let (alice, bob) = (Device::new("@alice:a.org", "ALICE"), Device::new("@bob:b.org", "BOB"));
    let to_bob = alice.channel_to(&bob);
    let first = to_bob.encrypt("m.dummy", "{}").unwrap();
    let to_alice = bob.receive_first(&alice, &first).unwrap();
    to_alice.first_event().unwrap();
    let reply = to_alice.encrypt("m.dummy", "{}").unwrap();
    to_bob.decrypt(&reply).unwrap();
    (alice, bob, to_bob, to_alice)
}

/// Each entry of an object as an object of its own.
pub fn entries(object: &Value) -> Vec<Value> {
    object.as_object().unwrap().iter().map(|(id, key)| json!({ id.as_str(): key })).collect()
}

/// The body of the next upload, if there is one.
pub fn upload_request(account: &Account) -> Value {
    account.keys_upload_request().unwrap().map_or(Value::Null, |body| v(&body))
}

/// The IDs of the one-time keys in the body of an upload.
pub fn key_ids(body: &Value) -> Vec<String> {
    let Some(keys) = body.get("one_time_keys") else { return Vec::new() };
    keys.as_object().unwrap().keys().cloned().collect()
}

/// What Synapse answers when it holds another key of that ID.
pub fn already_exists(key_id: &str) -> String {
    let error = format!(
        "One time key {key_id} already exists. Old key: {{\"key\":\"abc\"}}; new key: {{'key': 'def'}}"
    );
    json!({"errcode": "M_UNKNOWN", "error": error}).to_string()
}

/// The `type` of the only ciphertext of an Olm message.
pub fn message_type(content: &str) -> i64 {
    let content = v(content);
    let ciphertexts: &Map<String, Value> = content["ciphertext"].as_object().unwrap();
    ciphertexts.values().next().unwrap()["type"].as_i64().unwrap()
}

/// Checks that a call failed with this error, whose text is a sentence and names what was wrong.
pub fn fails_saying<T>(result: Result<T>, name: &str, says: &str) -> E2eeError {
    let error = fails(result, name);
    assert!(error.to_string().contains(says), "\"{error}\" does not say \"{says}\"");
    error
}

/// Checks that a call failed with this error.
pub fn fails<T>(result: Result<T>, name: &str) -> E2eeError {
    let Err(error) = result else { panic!("the call succeeded instead of failing with {name}") };
    assert_eq!(error.name(), name, "{error}");
    assert!(error.to_string().split_whitespace().count() >= 3, "\"{error}\" is no sentence");
    error
}

/// The `reason` of an UNABLE_TO_DECRYPT.
pub fn unable<T>(result: Result<T>, reason: &str) {
    let error = v(&fails(result, "UNABLE_TO_DECRYPT").to_json());
    assert_eq!(error["reason"], reason, "{error}");
}
