//! Device keys and their checks (spec: "Device keys"; SEC-1, 3, 8-10, 13).

use serde_json::Value;
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use crate::base::identifiers::{DeviceId, UserId};
use crate::base::json::{self, Object};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};

/// The Olm algorithm of this library (O1).
pub(crate) const OLM_ALGORITHM: &str = "m.olm.v1.curve25519-aes-sha2";
/// The Megolm algorithm of this library (M1).
pub(crate) const MEGOLM_ALGORITHM: &str = "m.megolm.v1.aes-sha2";

/// One device's public keys, whose self-signature has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceKeys {
    pub(crate) user_id: UserId,
    pub(crate) device_id: DeviceId,
    pub(crate) identity_key: Curve25519PublicKey,
    pub(crate) fingerprint_key: Ed25519PublicKey,
    pub(crate) algorithms: Vec<String>,
}

impl DeviceKeys {
    /// Reads a device's entry and verifies its self-signature.
    pub fn read(entry: &Object) -> Result<Self> {
        let user_id = UserId::read("user_id", json::text(entry, "user_id")?)?;
        let device_id = DeviceId::read("device_id", json::text(entry, "device_id")?)?;
        let keys = json::object(entry, "keys")?;
        let fingerprint_id = format!("ed25519:{}", device_id.as_str());
        let identity_id = format!("curve25519:{}", device_id.as_str());
        let fingerprint_key =
            public_keys::ed25519(&fingerprint_id, json::text(keys, &fingerprint_id)?)?;
        let identity_key = public_keys::curve25519(&identity_id, json::text(keys, &identity_id)?)?;
        let algorithms = read_algorithms(entry)?;
        json::verify_signature(entry, &user_id, &fingerprint_id, &fingerprint_key)?;
        Ok(Self { user_id, device_id, identity_key, fingerprint_key, algorithms })
    }

    /// Reads an entry that the caller lists under a user and a device (SEC-1).
    pub(crate) fn read_listed(user_id: &str, device_id: &str, entry: &Object) -> Result<Self> {
        if json::text(entry, "user_id")? != user_id {
            return Err(E2eeError::invalid_field("user_id", "is not the user it is listed under"));
        }
        if json::text(entry, "device_id")? != device_id {
            return Err(E2eeError::invalid_field(
                "device_id",
                "is not the device it is listed under",
            ));
        }
        Self::read(entry)
    }

    /// Whether the device says that it can take part in encrypted rooms (SEC-13, D11).
    pub(crate) fn supports_rooms(&self) -> bool {
        [OLM_ALGORITHM, MEGOLM_ALGORITHM]
            .iter()
            .all(|wanted| self.algorithms.iter().any(|algorithm| algorithm == wanted))
    }
}

fn read_algorithms(entry: &Object) -> Result<Vec<String>> {
    let problem = || E2eeError::invalid_field("algorithms", "is not a list of texts");
    entry
        .get("algorithms")
        .ok_or_else(|| E2eeError::invalid_field("algorithms", "is missing"))?
        .as_array()
        .ok_or_else(problem)?
        .iter()
        .map(|algorithm| algorithm.as_str().map(str::to_owned).ok_or_else(problem))
        .collect()
}

/// A claimed one-time or fallback key, with its ID, signed by the device it is for (O4, SEC-18, 19).
pub(crate) fn read_one_time_key(
    claimed: &Object,
    user_id: &str,
    device_id: &str,
    fingerprint_key: &Ed25519PublicKey,
) -> Result<Curve25519PublicKey> {
    let mut entries = claimed.iter();
    let (Some((key_id, key)), None) = (entries.next(), entries.next()) else {
        return Err(E2eeError::invalid_field("one_time_key", "does not hold exactly one key"));
    };
    if !key_id.starts_with("signed_curve25519:") {
        return Err(E2eeError::unknown_algorithm(
            key_id.split(':').next().unwrap_or_default(),
            "signed_curve25519",
        ));
    }
    let key = json::as_object("one_time_key", key)?;
    json::verify_signature(key, user_id, &format!("ed25519:{device_id}"), fingerprint_key)?;
    if key.get("fallback").is_some_and(|fallback| !matches!(fallback, Value::Bool(_))) {
        return Err(E2eeError::invalid_field("fallback", "is not true or false"));
    }
    public_keys::curve25519("one_time_key", json::text(key, "key")?)
}
