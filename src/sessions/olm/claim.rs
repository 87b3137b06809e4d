//! Claiming one-time keys (K1-K5, D31).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::identifiers::{check_device_id, check_user_id};
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};

const KEY_ALGORITHM: &str = "signed_curve25519";

#[derive(serde::Serialize)]
struct Request<'a> {
    one_time_keys: BTreeMap<&'a str, BTreeMap<&'a str, &'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

/// The body of `/keys/claim` for the given devices, `{user: [device]}` (K1).
pub fn keys_claim_request(devices: &Object, timeout_ms: Option<u64>) -> Result<String> {
    let mut one_time_keys = BTreeMap::new();
    for (user_id, list) in devices {
        check_user_id("devices", user_id)?;
        let list = list
            .as_array()
            .ok_or_else(|| E2eeError::invalid_field("devices", "has a user without a list"))?;
        let mut wanted = BTreeMap::new();
        for device_id in list {
            let device_id = device_id.as_str().ok_or_else(|| {
                E2eeError::invalid_field("devices", "has a device that is no text")
            })?;
            check_device_id("devices", device_id)?;
            wanted.insert(device_id, KEY_ALGORITHM);
        }
        if !wanted.is_empty() {
            one_time_keys.insert(user_id.as_str(), wanted);
        }
    }
    json::to_text(&Request { one_time_keys, timeout: timeout_ms })
}

#[derive(serde::Serialize, Default)]
struct Claimed<'a> {
    one_time_keys: BTreeMap<&'a str, BTreeMap<&'a str, BTreeMap<&'a str, &'a Object>>>,
    failures: Vec<&'a str>,
}

/// The keys of an answer to `/keys/claim` that were asked for, and the servers that failed.
///
/// A device without a usable key is absent, and so is one whose key has another algorithm (D31)
/// or another shape (SEC-19): other servers' answers stand in here, and one of them must not spoil
/// the rest (SEC-100). Users and devices that were not asked for are ignored. Signatures are
/// checked where the key is used (K5).
pub fn read_keys_claim_response(request: &Object, response: &Object) -> Result<String> {
    let asked = json::object(request, "one_time_keys")?;
    let keys = json::object(response, "one_time_keys")?;
    let failures = json::optional_object(response, "failures")?;
    let mut claimed = Claimed::default();
    for (user_id, devices) in keys {
        let Some(asked) = asked.get(user_id).and_then(Value::as_object) else { continue };
        for (device_id, key) in devices.as_object().into_iter().flatten() {
            if !asked.contains_key(device_id) {
                continue;
            }
            if let Some((key_id, key)) = usable_key(key) {
                let devices = claimed.one_time_keys.entry(user_id).or_default();
                devices.insert(device_id, BTreeMap::from([(key_id, key)]));
            }
        }
    }
    claimed.failures = failures.into_iter().flat_map(|f| f.keys().map(String::as_str)).collect();
    json::to_text(&claimed)
}

fn usable_key(keys: &Value) -> Option<(&str, &Object)> {
    let wanted = |id: &str| id.split_once(':').is_some_and(|(name, _)| name == KEY_ALGORITHM);
    let (key_id, key) = keys.as_object()?.iter().find(|(key_id, _)| wanted(key_id))?;
    Some((key_id, key.as_object()?))
}
