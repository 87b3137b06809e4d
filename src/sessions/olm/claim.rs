//! Claiming one-time keys (K1-K5, D31).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::identifiers::{check_device_id, check_user_id};
use crate::base::json::{self, ANSWER_LIMIT, Allowance, DEVICE_LIMIT, Object, RawObject};
use crate::error::{E2eeError, Result};

const KEY_ALGORITHM: &str = "signed_curve25519";
/// What an answer may have for each device that was asked for: a signed key has a third of it.
const ANSWER_PER_DEVICE: usize = 1024;

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
    one_time_keys: BTreeMap<Cow<'a, str>, BTreeMap<Cow<'a, str>, Key<'a>>>,
    failures: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<Failed<'a>>,
}

/// A key as it stands in the answer, under its ID.
struct Key<'a> {
    id: Cow<'a, str>,
    key: &'a RawValue,
}

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.id, self.key)])
    }
}

/// A device whose key is of no use.
#[derive(serde::Serialize)]
struct Failed<'a> {
    device: DeviceName<'a>,
    error: E2eeError,
}

#[derive(serde::Serialize)]
struct DeviceName<'a> {
    user_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<Cow<'a, str>>,
}

/// The keys of an answer to `/keys/claim` that were asked for, and the servers that failed.
///
/// Other servers' answers stand in here, and one of them must not spoil the rest (SEC-100): only
/// what was asked for is looked at, each device by itself. One that has no key is absent; one whose
/// key has another algorithm (D31) or another shape (SEC-19), too, and is named with its error.
/// Signatures are checked where the key is used (K5).
pub fn read_keys_claim_response(request: &Object, response: &str) -> Result<String> {
    let asked = json::object(request, "one_time_keys")?;
    let length = response.len();
    let (response, allowance) = RawObject::parse("response", response, answer_limit(asked))?;
    let users = response.object("one_time_keys", &allowance)?;
    let failures = response.optional_object("failures", &allowance)?;
    let mut claimed = Claimed::default();
    for (user_id, devices) in users.into_fields() {
        let Some(asked) = asked.get(user_id.as_ref()).and_then(Value::as_object) else { continue };
        let part = allowance.for_part(devices);
        let devices = match RawObject::read("one_time_keys", devices, &part) {
            Ok(devices) => devices,
            Err(error) => {
                claimed.fail(user_id, None, error);
                continue;
            }
        };
        for (device_id, keys) in devices.into_fields() {
            if !asked.contains_key(device_id.as_ref()) {
                continue;
            }
            match usable_key(keys, &part) {
                Ok(None) => {}
                Ok(Some(key)) => {
                    let devices = claimed.one_time_keys.entry(user_id.clone()).or_default();
                    devices.insert(device_id, key);
                }
                Err(error) => claimed.fail(user_id.clone(), Some(device_id), error),
            }
        }
    }
    claimed.failures =
        failures.into_iter().flat_map(RawObject::into_fields).map(|(server, _)| server).collect();
    json::to_text_of(length, &claimed)
}

impl<'a> Claimed<'a> {
    fn fail(&mut self, user_id: Cow<'a, str>, device_id: Option<Cow<'a, str>>, error: E2eeError) {
        self.failed.push(Failed { device: DeviceName { user_id, device_id }, error });
    }
}

/// Who asks for more devices gets a longer answer.
fn answer_limit(asked: &Object) -> usize {
    let devices: usize = asked.values().filter_map(Value::as_object).map(Object::len).sum();
    ANSWER_LIMIT.max(devices.saturating_mul(ANSWER_PER_DEVICE))
}

/// The first key of the right algorithm; none if the device has no key at all.
fn usable_key<'a>(keys: &'a RawValue, allowance: &Allowance) -> Result<Option<Key<'a>>> {
    json::check_size("the device's keys", keys.get(), DEVICE_LIMIT)?;
    let keys = RawObject::read("the device's keys", keys, allowance)?.into_fields();
    let algorithm = |id: &str| id.split_once(':').map_or_else(String::new, |(name, _)| name.into());
    let Some((first, _)) = keys.first() else { return Ok(None) };
    let other = algorithm(first);
    let (id, key) = keys
        .into_iter()
        .find(|(key_id, _)| algorithm(key_id) == KEY_ALGORITHM)
        .ok_or_else(|| E2eeError::unknown_algorithm(&other, KEY_ALGORITHM))?;
    // Read whole here, lest a text that nobody can read is handed on.
    json::parse_object("the key", key.get(), DEVICE_LIMIT)?;
    Ok(Some(Key { id, key }))
}
