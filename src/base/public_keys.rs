//! Reading public keys: exact length, canonical encoding, no weak points (SEC-8 to 10, SEC-101).

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use crate::base::json::decode_base64;
use crate::error::{E2eeError, Result, cut};

/// Whether a Curve25519 key is encoded in the one canonical way: an alias is the same key to the
/// exchange, but not to what is hashed or compared by bytes (P2).
pub(crate) fn is_canonical(key: &Curve25519PublicKey) -> bool {
    let bytes = key.as_bytes();
    bytes[31] & 0x80 == 0 && is_below_p(bytes)
}

/// Whether a Curve25519 key is a point of low order, with which everybody shares one secret.
pub(crate) fn is_low_order(key: &Curve25519PublicKey) -> bool {
    LOW_ORDER.contains(key.as_bytes())
}

/// Reads a Curve25519 key; refuses aliases (bit 255, values of p and above) and low-order points.
pub(crate) fn curve25519(what: &str, text: &str) -> Result<Curve25519PublicKey> {
    let bytes = key_bytes(what, text)?;
    if bytes[31] & 0x80 != 0 || !is_below_p(&bytes) {
        return Err(unusable(what, "is not canonically encoded"));
    }
    if LOW_ORDER.contains(&bytes) {
        return Err(unusable(what, "is a point of low order"));
    }
    Ok(Curve25519PublicKey::from_bytes(bytes))
}

/// Reads an Ed25519 key; refuses non-canonical encodings and points of small order.
pub(crate) fn ed25519(what: &str, text: &str) -> Result<Ed25519PublicKey> {
    Ed25519PublicKey::from_slice(&ed25519_bytes(what, text)?)
        .map_err(|_| unusable(what, "is not a point on the curve"))
}

/// As `ed25519`, where somebody else sees to it that the key is on the curve: that takes point
/// arithmetic, all else is comparing bytes.
pub(crate) fn ed25519_bytes(what: &str, text: &str) -> Result<[u8; 32]> {
    let bytes = key_bytes(what, text)?;
    let mut y = bytes;
    y[31] &= 0x7f;
    if !is_below_p(&y) {
        return Err(unusable(what, "is not canonically encoded"));
    }
    if SMALL_ORDER.contains(&y) {
        return Err(unusable(what, "is a point of small order"));
    }
    Ok(bytes)
}

/// Whether a text is the base64 of a known key, byte for byte (P2).
pub(crate) fn is_key(known: &[u8; 32], text: &str) -> bool {
    key_bytes("key", text).is_ok_and(|bytes| bytes == *known)
}

/// `what` may name a device, which is text from outside.
fn unusable(what: &str, problem: &str) -> E2eeError {
    E2eeError::invalid_key(format!("{} {problem}", cut(what)))
}

fn key_bytes(what: &str, text: &str) -> Result<[u8; 32]> {
    decode_base64(what, text)
        .map_err(|_| unusable(what, "is not valid base64"))?
        .try_into()
        .map_err(|_| unusable(what, "is not 32 bytes long"))
}

/// Whether a little-endian number is below p = 2^255 - 19.
fn is_below_p(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    *high < 0x7f || middle.iter().any(|byte| *byte != 0xff) || *low < 0xed
}

/// The canonical y-coordinates of the eight points of small order: 0, 1, -1 and those of order 8.
/// Two points have one y, which differ in the sign; a test checks that the eight are all here.
/// Comparing is free, where taking the point out of its encoding costs as much as a third of a
/// signature check.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    ONE,
    MINUS_ONE,
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

const ONE: [u8; 32] = {
    let mut one = [0; 32];
    one[0] = 1;
    one
};

const MINUS_ONE: [u8; 32] = {
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    minus_one
};

/// The canonical u-coordinates of order 1, 2, 4 and 8 on the curve and its twist (RFC 7748, §6.1;
/// <https://cr.yp.to/ecdh.html#validate>); a test checks each against a real Diffie-Hellman.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    ONE,
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    MINUS_ONE,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use ed25519_dalek::VerifyingKey;
    use vodozemac::Curve25519SecretKey;

    use super::*;
    use crate::base::json::encode_base64;

    // SEC-9
    #[test]
    fn every_listed_low_order_point_gives_no_shared_secret_and_is_refused() {
        for point in LOW_ORDER {
            let key = Curve25519PublicKey::from_bytes(point);
            assert!(Curve25519SecretKey::new().diffie_hellman(&key).is_none());
            assert_eq!(curve25519("key", &encode_base64(point)).unwrap_err().name(), "INVALID_KEY");
        }
    }

    // SEC-8, P2
    #[test]
    fn an_alias_of_a_curve_key_is_refused() {
        let mut bytes = Curve25519PublicKey::from(&Curve25519SecretKey::new()).to_bytes();
        assert!(curve25519("key", &encode_base64(bytes)).is_ok());
        bytes[31] |= 0x80;
        assert_eq!(curve25519("key", &encode_base64(bytes)).unwrap_err().name(), "INVALID_KEY");
        let mut p_plus_nine = [0xff; 32];
        p_plus_nine[0] = 0xf6;
        p_plus_nine[31] = 0x7f;
        assert!(curve25519("key", &encode_base64(p_plus_nine)).is_err());
    }

    // SEC-10, P3
    #[test]
    fn weak_and_non_canonical_signing_keys_are_refused_at_import() {
        let mut identity = [0; 32];
        identity[0] = 1;
        for weak in [[0; 32], identity] {
            assert!(Ed25519PublicKey::from_slice(&weak).is_ok(), "vodozemac accepts it");
            assert_eq!(ed25519("key", &encode_base64(weak)).unwrap_err().name(), "INVALID_KEY");
        }
        let mut p_plus_one = [0xff; 32];
        p_plus_one[0] = 0xee;
        p_plus_one[31] = 0x7f;
        assert!(ed25519("key", &encode_base64(p_plus_one)).is_err());
    }

    // SEC-10, P3
    #[test]
    fn the_list_of_points_of_small_order_is_complete() {
        let mut points = HashSet::new();
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut bytes = y;
                bytes[31] |= sign;
                let name = ed25519("key", &encode_base64(bytes)).unwrap_err().name();
                assert_eq!(name, "INVALID_KEY");
                if let Ok(point) = VerifyingKey::from_bytes(&bytes) {
                    assert!(point.is_weak());
                    points.insert(point.to_edwards().compress().to_bytes());
                }
            }
        }
        // The curve has a cofactor of 8: there are no more.
        assert_eq!(points.len(), 8);
    }

    // SEC-10
    #[test]
    fn ordinary_signing_keys_are_accepted() {
        for _ in 0..100 {
            let key = vodozemac::Ed25519SecretKey::new().public_key();
            assert_eq!(ed25519("key", &key.to_base64()).unwrap().as_bytes(), key.as_bytes());
        }
    }

    // SEC-101
    #[test]
    fn a_key_of_another_length_or_alphabet_is_refused() {
        for text in ["", "AAAA", &"A".repeat(44), &"A".repeat(42), &"-".repeat(43), " AAA"] {
            assert_eq!(curve25519("key", text).unwrap_err().name(), "INVALID_KEY");
            assert_eq!(ed25519("key", text).unwrap_err().name(), "INVALID_KEY");
        }
    }
}
