//! The devices of the targets.

use std::sync::Arc;

use matrixe2ee::{Account, Store};
use serde_json::Value;

use crate::{ok, parse};

pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";
pub const ROOM: &str = "!room:example.org";

/// A new device in memory.
pub fn device(user_id: &str, device_id: &str) -> Arc<Account> {
    let store = ok(Store::in_memory(vec![7; 32]));
    ok(Account::open(&store, user_id, device_id))
}

/// A device whose keys are on a server.
pub struct Stranger {
    pub account: Arc<Account>,
    pub device_keys: Value,
    /// Each as `{key_id: key}`, as a claim gives it.
    pub one_time_keys: Vec<Value>,
    /// As text: a fallback key, which serves again and again.
    pub fallback_key: String,
}

impl Stranger {
    pub fn new(user_id: &str, device_id: &str) -> Self {
        let account = device(user_id, device_id);
        let device_keys = parse(&ok(account.device_keys()));
        let upload = parse(&ok(account.keys_upload_request()).expect("keys to upload"));
        let counts = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
        ok(account.receive_keys_upload_response(200, counts));
        let keys = upload["one_time_keys"].as_object().expect("one-time keys");
        let one_time_keys =
            keys.iter().map(|(id, key)| serde_json::json!({ id.as_str(): key })).collect();
        let fallback = upload["fallback_keys"].as_object().and_then(|keys| keys.values().next());
        let fallback_key = fallback.and_then(|key| key["key"].as_str()).expect("a fallback key");
        Self { account, device_keys, one_time_keys, fallback_key: fallback_key.to_owned() }
    }
}
