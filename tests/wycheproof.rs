//! Google's test vectors for X25519 (Wycheproof): which keys a device may have. Those for Ed25519
//! stand in `src/base/json/signed.rs`, for their messages are no JSON.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::Device;
use common::raw::RawDevice;
use matrixe2ee::{OlmChannel, Result};
use serde_json::{Value, json};
use vodozemac::{Curve25519PublicKey, Curve25519SecretKey};
use wycheproof::xdh::{Test, TestFlag, TestName, TestSet};

fn vectors() -> Vec<Test> {
    let groups = TestSet::load(TestName::X25519).unwrap().test_groups;
    groups.into_iter().flat_map(|group| group.tests).collect()
}

/// Whether every exchange with this key gives one and the same secret, or it is another key's alias.
fn is_unusable(test: &Test) -> bool {
    let flags =
        [TestFlag::ZeroSharedSecret, TestFlag::LowOrderPublic, TestFlag::NonCanonicalPublic];
    flags.iter().any(|flag| test.flags.contains(flag))
}

/// A channel to a device with this identity key and this one-time key.
fn channel(
    from: &Device,
    device: &RawDevice,
    identity_key: &str,
    one_time_key: &str,
) -> Result<std::sync::Arc<OlmChannel>> {
    let mut keys: Value = device.unsigned_device_keys();
    keys["keys"]["curve25519:BOB"] = json!(identity_key);
    let keys = device.sign(keys).to_string();
    let key = json!({"signed_curve25519:AAAAAQ": device.sign(json!({"key": one_time_key}))});
    OlmChannel::create_outbound_channel(&from.account, &keys, &key.to_string())
}

// B6, SEC-8, SEC-9
#[test]
fn every_x25519_key_of_wycheproof_is_taken_unless_it_is_weak_or_an_alias() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let bob = RawDevice::new("@bob:b.org", "BOB");
    let (mut taken, mut refused) = (0, 0);
    for test in vectors() {
        let key = vodozemac::base64_encode(&test.public_key[..]);
        let results = [
            channel(&alice, &bob, &key, &bob.identity_key()),
            channel(&alice, &bob, &bob.identity_key(), &key),
        ];
        let about = format!("{} {:?}: {}", test.tc_id, test.flags, test.comment);
        for result in results {
            if is_unusable(&test) {
                refused += 1;
                assert_eq!(result.unwrap_err().name(), "INVALID_KEY", "{about}");
            } else {
                taken += 1;
                result.unwrap_or_else(|error| unreachable!("{about}: {error}")).erase().unwrap();
            }
        }
    }
    // As an identity key and as a one-time key.
    assert_eq!((taken, refused), (2 * 474, 2 * 44));
}

// B6, SEC-20
#[test]
fn every_x25519_exchange_of_wycheproof_gives_its_secret_or_none_if_it_is_zero() {
    for test in vectors() {
        let private = Curve25519SecretKey::from_slice(test.private_key[..].try_into().unwrap());
        let public = Curve25519PublicKey::from_slice(&test.public_key).unwrap();
        let secret = private.diffie_hellman(&public).map(|secret| secret.to_bytes().to_vec());
        let expected = (!test.flags.contains(&TestFlag::ZeroSharedSecret))
            .then(|| test.shared_secret.to_vec());
        assert_eq!(secret, expected, "{} {}", test.tc_id, test.comment);
    }
}
