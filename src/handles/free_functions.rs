use crate::base::environment::check_not_in_callback;
use crate::base::json::{self, ARGUMENT_LIMIT};
use crate::base::public_keys;
use crate::error::Result;
use crate::sessions::olm;

/// The body for `POST /_matrix/client/v3/keys/claim`: `{"one_time_keys": {user: {device:
/// "signed_curve25519"}}, "timeout": ms}`.
///
/// `devices`: `{user: [device]}`. `timeout_ms`: how long the server may wait for others, or null.
///
/// Errors: INVALID_JSON, INVALID_FIELD.
#[cfg_attr(feature = "uniffi", uniffi::export(default(timeout_ms = None)))]
pub fn keys_claim_request(devices: &str, timeout_ms: Option<u64>) -> Result<String> {
    check_not_in_callback()?;
    olm::keys_claim_request(devices, timeout_ms)
}

/// The usable keys of an answer to `/keys/claim`, and the servers that failed:
/// `{"one_time_keys": {user: {device: {key_id: key}}}, "failures": [server]}`. Devices that have no
/// key, or that were not asked for, are left out. Signatures are checked where a key is used.
///
/// A device whose key is of no use spoils no other: it is named in `"failed": [{"device":
/// {"user_id", "device_id"}, "error": {...}}]`, which is there only if there is one. If all that
/// the answer has of a user is of no use, there is no `device_id`.
///
/// `request`: the body that was sent. `response`: the server's answer, at most 16 MiB or, if that
/// is more, 1,024 bytes for each device that the request asks for.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE.
#[cfg_attr(feature = "uniffi", uniffi::export)]
pub fn read_keys_claim_response(request: &str, response: &str) -> Result<String> {
    check_not_in_callback()?;
    olm::read_keys_claim_response(request, response)
}

/// Verifies one signature of a JSON object; returning means that it holds.
///
/// `key_id`: for example `ed25519:DEVICE`. `public_key`: Ed25519 as base64.
///
/// Errors: BAD_SIGNATURE, INVALID_KEY, INVALID_JSON.
#[cfg_attr(feature = "uniffi", uniffi::export)]
pub fn verify_signed_json(
    object: &str,
    user_id: &str,
    key_id: &str,
    public_key: &str,
) -> Result<()> {
    check_not_in_callback()?;
    let object = json::parse_object("object", object, ARGUMENT_LIMIT)?;
    let public_key = public_keys::ed25519("public_key", public_key)?;
    json::verify_signature(&object, user_id, key_id, &public_key)
}

/// The canonical form of a JSON value, as Matrix signs it; `-0` is written `0`.
///
/// Errors: INVALID_JSON (also fractions, exponents and integers beyond 2^53-1), TOO_LARGE.
#[cfg_attr(feature = "uniffi", uniffi::export)]
pub fn canonical_json(value: &str) -> Result<String> {
    check_not_in_callback()?;
    json::to_canonical_json(&json::parse("value", value, ARGUMENT_LIMIT)?)
}

/// The version of this library, for example `0.2.0`.
#[cfg_attr(feature = "uniffi", uniffi::export)]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}
