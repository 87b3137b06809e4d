//! Claiming one-time keys (K1-K5, D31).

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::identifiers::{check_device_id, check_user_id};
use crate::base::json::{self, ANSWER_LIMIT, ARGUMENT_LIMIT, Allowance, DEVICE_LIMIT, RawObject};
use crate::error::{E2eeError, Result};

const KEY_ALGORITHM: &str = "signed_curve25519";
/// What an answer may have for each device that was asked for: a signed key has a third of it.
const ANSWER_PER_DEVICE: usize = 1024;
/// What a device costs in a request that is written.
const WANTED_COST: usize = 64;
/// What one costs whose key is of no use, with its line in what is written.
const FAILED_COST: usize = 640;

/// Users with what belongs to each, in order. Nearly all have one or two devices, for which a map of
/// each user's own would be large.
type ByUser<'a, T> = Vec<OfUser<'a, T>>;
type OfUser<'a, T> = (Cow<'a, str>, Vec<T>);

#[derive(serde::Serialize)]
struct Request<'a> {
    #[serde(serialize_with = "in_maps")]
    one_time_keys: ByUser<'a, (String, &'static str)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

fn in_maps<S: Serializer>(
    users: &[OfUser<'_, (impl Serialize, impl Serialize)>],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    struct Map<'a, K, V>(&'a [(K, V)]);

    impl<K: Serialize, V: Serialize> Serialize for Map<'_, K, V> {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }

    serializer.collect_map(users.iter().map(|(user_id, devices)| (user_id, Map(devices))))
}

/// The body of `/keys/claim` for the given devices, `{user: [device]}` (K1).
pub fn keys_claim_request(devices: &str, timeout_ms: Option<u64>) -> Result<String> {
    let (devices, allowance) = RawObject::parse("devices", devices, ARGUMENT_LIMIT)?;
    devices.check_names("devices")?;
    let mut wanted = Vec::new();
    for (user_id, list) in devices.into_fields() {
        check_user_id("devices", &user_id)?;
        let mut of_user = Vec::new();
        for device_id in json::parse_list("devices", list.get(), ARGUMENT_LIMIT)? {
            let Value::String(device_id) = device_id else {
                let problem = "has a device that is no text";
                return Err(E2eeError::invalid_field("devices", problem));
            };
            check_device_id("devices", &device_id)?;
            of_user.push((device_id, KEY_ALGORITHM));
        }
        of_user.sort_unstable();
        of_user.dedup();
        of_user.shrink_to_fit();
        allowance.take("devices", of_user.len().saturating_mul(WANTED_COST))?;
        if !of_user.is_empty() {
            wanted.push((user_id, of_user));
        }
    }
    json::to_text(&Request { one_time_keys: wanted, timeout: timeout_ms })
}

#[derive(serde::Serialize, Default)]
struct Claimed<'a> {
    #[serde(serialize_with = "in_maps")]
    one_time_keys: ByUser<'a, (Cow<'a, str>, Key<'a>)>,
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
pub fn read_keys_claim_response(request: &str, response: &str) -> Result<String> {
    let asked = Asked::read(request)?;
    let length = response.len();
    let (response, allowance) = RawObject::parse("response", response, asked.answer_limit()?)?;
    let users = response.object("one_time_keys", &allowance)?;
    let failures = response.optional_object("failures", &allowance)?;
    let mut claimed = Claimed::default();
    for (user_id, devices) in users.into_fields() {
        let Some(asked) = asked.of(&user_id)? else { continue };
        let part = allowance.for_part(devices);
        let devices = match RawObject::read("one_time_keys", devices, &part) {
            Ok(devices) => devices,
            Err(error) => {
                claimed.fail(user_id, None, error, &part);
                continue;
            }
        };
        let mut usable = Vec::new();
        for (device_id, keys) in devices.into_fields() {
            if asked.get(&device_id).is_none() {
                continue;
            }
            match usable_key(keys, &part) {
                Ok(None) => {}
                Ok(Some(key)) => usable.push((device_id, key)),
                Err(error) => claimed.fail(user_id.clone(), Some(device_id), error, &part),
            }
        }
        if !usable.is_empty() {
            usable.shrink_to_fit();
            claimed.one_time_keys.push((user_id, usable));
        }
    }
    claimed.failures =
        failures.into_iter().flat_map(RawObject::into_fields).map(|(server, _)| server).collect();
    json::to_text_of(length, &claimed)
}

impl<'a> Claimed<'a> {
    /// Names a device as long as there is room for it: an answer may have nothing but these.
    fn fail(
        &mut self,
        user_id: Cow<'a, str>,
        device_id: Option<Cow<'a, str>>,
        error: E2eeError,
        allowance: &Allowance,
    ) {
        if allowance.take("response", FAILED_COST).is_err() {
            return;
        }
        self.failed.push(Failed { device: DeviceName { user_id, device_id }, error });
    }
}

/// Whose keys were asked for. One user's devices are read at a time: there may be very many users.
struct Asked<'a> {
    users: RawObject<'a>,
    allowance: Allowance,
}

impl<'a> Asked<'a> {
    fn read(request: &'a str) -> Result<Self> {
        let (request, allowance) = RawObject::parse("request", request, ARGUMENT_LIMIT)?;
        let users = request.object("one_time_keys", &allowance)?;
        Ok(Self { users, allowance })
    }

    fn of(&self, user_id: &str) -> Result<Option<RawObject<'a>>> {
        let Some(devices) = self.users.get(user_id) else { return Ok(None) };
        RawObject::read("request", devices, &self.allowance.for_part(devices)).map(Some)
    }

    /// Who asks for more devices gets a longer answer.
    fn answer_limit(&self) -> Result<usize> {
        let mut limit = 0_usize;
        for (_, devices) in self.users.fields() {
            let devices = RawObject::read("request", devices, &self.allowance.for_part(devices))?;
            limit = limit.saturating_add(devices.fields().len().saturating_mul(ANSWER_PER_DEVICE));
        }
        Ok(ANSWER_LIMIT.max(limit))
    }
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
