//! JSON as Matrix signs it: strict reading, canonical writing, signatures.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::raw::RawDevice;
use common::{Device, fails, fails_saying, v};
use matrixe2ee::{canonical_json, verify_signed_json};
use serde_json::{Value, json};
use vodozemac::Ed25519SecretKey;

#[test]
fn the_examples_of_the_matrix_specification_come_out_as_it_says() {
    // SEC-99: spec, appendices, "Canonical JSON", "Examples"
    for (value, canonical) in [
        ("{}", "{}"),
        ("{\n  \"one\": 1,\n  \"two\": \"Two\"\n}", r#"{"one":1,"two":"Two"}"#),
        ("{\n  \"b\": \"2\",\n  \"a\": \"1\"\n}", r#"{"a":"1","b":"2"}"#),
        (r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {
                "display_name": "John Doe", "three_pids": [
                {"medium": "email", "address": "john.doe@example.org"},
                {"medium": "msisdn", "address": "123456789"}]}}}"#,
            concat!(
                r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","#,
                r#""three_pids":[{"address":"john.doe@example.org","medium":"email"},"#,
                r#"{"address":"123456789","medium":"msisdn"}]},"success":true}}"#
            ),
        ),
        (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
        (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
        (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
        (r#"{"a": null}"#, r#"{"a":null}"#),
    ] {
        assert_eq!(canonical_json(value).unwrap(), canonical);
    }
}

#[test]
fn numbers_that_canonical_json_does_not_have_are_refused() {
    // SEC-99. The specification's last example would turn 1e10 into 10000000000; we refuse it,
    // because others then compute another signature (matrix-spec#2424).
    for number in [
        "-0.0",
        "-0e1",
        "-1e-400",
        "0.0",
        "1.0",
        "1.5",
        "1e10",
        "1E2",
        "1e-2",
        "1e400",
        "-1e400",
        "9007199254740992",
        "-9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
    ] {
        fails(canonical_json(&format!(r#"{{"a":[{number}]}}"#)), "INVALID_JSON");
    }
    for number in ["0", "-1", "9007199254740991", "-9007199254740991"] {
        assert_eq!(canonical_json(number).unwrap(), number);
    }
}

/// The cases of MSC 4458: input, and after `---` each output that is right.
#[test]
fn every_case_of_json_handling_comes_out_in_a_way_that_is_right() {
    // SEC-99
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/json_handling");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let case = std::fs::read_to_string(&path).unwrap();
        let (input, outputs) = case.split_once("---\n").unwrap();
        let input: String = input.lines().filter(|line| !line.starts_with('#')).collect();
        let output = match canonical_json(&input) {
            Ok(canonical) => canonical,
            Err(error) => {
                assert_eq!(error.name(), "INVALID_JSON", "{path:?}");
                "REJECT".to_owned()
            }
        };
        assert!(outputs.lines().any(|right| right == output), "{path:?}: {output}");
        seen += 1;
    }
    assert_eq!(seen, 11);
}

#[test]
fn minus_zero_is_signed_and_verified_as_zero() {
    // SEC-99
    let alice = Device::new("@alice:a.org", "ALICE");
    let object = r#"{"a":-0,"-0":"-0","b":[-0, 1],"unsigned":{"c":-0,"d":-0.0}}"#;
    assert_eq!(canonical_json(r#"{"a":[-0],"b":"\"-0"}"#).unwrap(), r#"{"a":[0],"b":"\"-0"}"#);
    let signed = alice.account.sign_json(object).unwrap();
    for a in ["0", "-0"] {
        let text = signed.replacen(r#""a":0"#, &format!(r#""a":{a}"#), 1);
        assert!(text.contains(&format!(r#""a":{a},"#)), "{text}");
        let key = alice.fingerprint_key();
        verify_signed_json(&text, "@alice:a.org", "ed25519:ALICE", &key).unwrap();
        let fraction = text.replacen(&format!(r#""a":{a},"#), r#""a":-0.0,"#, 1);
        fails(verify_signed_json(&fraction, "@alice:a.org", "ed25519:ALICE", &key), "INVALID_JSON");
    }
}

#[test]
fn keys_are_sorted_by_code_point_and_not_by_utf16_unit() {
    // SEC-99: U+FF5E comes before U+1F600, whose UTF-16 begins with the lower D83D.
    let canonical = canonical_json("{\"\u{1F600}\":1,\"\u{FF5E}\":2,\"b\":3,\"\":4,\"a\":5}");
    assert_eq!(canonical.unwrap(), "{\"\":4,\"a\":5,\"b\":3,\"\u{FF5E}\":2,\"\u{1F600}\":1}");
}

#[test]
fn only_what_must_be_escaped_is_escaped() {
    // SEC-99: the grammar's `escaped`
    let escaped = r#""\"\\\b\f\n\r\t\u0000\u0007\u000b\u000e\u001f""#;
    assert_eq!(canonical_json(escaped).unwrap(), escaped);
    let redundant = r#""\/\u0041\u007f\u2028\u00e9\ud83d\ude00\u000A""#;
    assert_eq!(canonical_json(redundant).unwrap(), "\"/A\u{7f}\u{2028}é😀\\n\"");
}

#[test]
fn text_that_is_not_exactly_one_json_value_is_refused_with_its_place() {
    for (text, says) in [
        ("", "ends too early"),
        ("{\"a\":", "ends too early"),
        ("{'a':1}", "is not JSON"),
        ("{\"a\":1,}", "is not JSON"),
        ("{}{}", "is not JSON"),
        ("NaN", "is not JSON"),
        ("01", "is not JSON"),
        ("\"\u{1}\"", "is not JSON"),
        (r#""\ud83d""#, "JSON"),       // P9: a lone surrogate
        ("\u{feff}{}", "is not JSON"), // a byte order mark
    ] {
        let error = fails_saying(canonical_json(text), "INVALID_JSON", "line 1, column");
        assert!(error.to_string().contains(says) || says == "JSON", "{error}");
    }
}

#[test]
fn a_repeated_key_is_refused_wherever_it_stands() {
    // SEC-98, P9: serde_json alone would take the last one.
    assert_eq!(v(r#"{"a":1,"a":2}"#), json!({"a": 2}));
    for text in [r#"{"a":1,"a":2}"#, r#"{"b":[{"a":1,"a":1}]}"#, r#"{"a":1,"\u0061":1}"#] {
        fails_saying(canonical_json(text), "INVALID_JSON", "repeats a key");
        let device = Device::new("@alice:a.org", "ALICE");
        if text.starts_with('{') {
            fails_saying(device.account.sign_json(text), "INVALID_JSON", "repeats a key");
        }
    }
    // Two keys that only look alike are two keys (SEC-102: no Unicode folding).
    canonical_json("{\"\u{e9}\":1,\"e\u{301}\":2}").unwrap();
}

#[test]
fn nesting_is_limited_to_64_and_deeper_text_costs_no_stack() {
    // SEC-100, P9
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    canonical_json(&nested(64)).unwrap();
    fails_saying(canonical_json(&nested(65)), "INVALID_JSON", "nested too deeply");
    fails(canonical_json(&nested(1_000_000)), "INVALID_JSON");
    fails(canonical_json(&"{\"a\":".repeat(1_000_000)), "INVALID_JSON");
}

#[test]
fn an_argument_beyond_the_limit_is_refused_before_it_is_read() {
    // SEC-100
    let limit = 128 << 20;
    let error = fails(canonical_json(&" ".repeat(limit + 1)), "TOO_LARGE");
    assert_eq!(v(&error.to_json())["limit"], limit);
}

/// The signing key of the specification's test vectors. The specification writes the seed with a
/// last letter of 1, whose unused bits are not zero.
fn spec_key() -> String {
    let seed = vodozemac::base64_decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0").unwrap();
    let seed: [u8; 32] = seed.try_into().unwrap();
    Ed25519SecretKey::from_slice(&seed).public_key().to_base64()
}

#[test]
fn the_signatures_of_the_specification_hold() {
    // SEC-99: spec, appendices, "Cryptographic Test Vectors", "JSON Signing"
    for (object, signature) in [
        (
            json!({}),
            "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ",
        ),
        (
            json!({"one": 1, "two": "Two"}),
            "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
        ),
    ] {
        let mut object: Value = object;
        object["signatures"] = json!({"domain": {"ed25519:1": signature}});
        verify_signed_json(&object.to_string(), "domain", "ed25519:1", &spec_key()).unwrap();
        object["added"] = json!(1);
        let altered = object.to_string();
        fails(verify_signed_json(&altered, "domain", "ed25519:1", &spec_key()), "BAD_SIGNATURE");
    }
}

#[test]
fn signing_covers_all_but_the_objects_own_signatures_and_unsigned() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let verify = |object: &Value| {
        let key = alice.fingerprint_key();
        verify_signed_json(&object.to_string(), "@alice:a.org", "ed25519:ALICE", &key)
    };
    let object = r#"{"b":{"unsigned":1,"signatures":2},"a":"é","unsigned":{"age":1},
        "signatures":{"@alice:a.org":{"ed25519:OTHER":"x"},"@bob:b.org":{"ed25519:BOB":"y"}}}"#;
    let signed = v(&alice.account.sign_json(object).unwrap());
    assert_eq!(signed["signatures"]["@bob:b.org"]["ed25519:BOB"], "y"); // SEC-99
    assert_eq!(signed["signatures"]["@alice:a.org"]["ed25519:OTHER"], "x");
    assert_eq!(signed["unsigned"], json!({"age": 1}));
    verify(&signed).unwrap();
    // SEC-99: `unsigned` may be anything, also what canonical JSON cannot express ...
    let mut changed = signed.clone();
    changed["unsigned"] = json!({"age": 1.5});
    verify(&changed).unwrap();
    changed["signatures"]["@eve:e.org"] = json!({"ed25519:EVE": 0.5});
    verify(&changed).unwrap();
    // ... but only the object's own: one that is nested is signed like everything else.
    for name in ["unsigned", "signatures"] {
        let mut changed = signed.clone();
        changed["b"][name] = json!(3);
        fails(verify(&changed), "BAD_SIGNATURE");
    }
    let mut changed = signed.clone();
    changed["b"]["unsigned"] = json!(1.0);
    fails(verify(&changed), "INVALID_JSON");
}

#[test]
fn an_object_that_cannot_be_signed_says_why() {
    let alice = Device::new("@alice:a.org", "ALICE");
    for (object, name, says) in [
        (r#"{"a":1.5}"#, "INVALID_JSON", "fractions"), // SEC-99
        (r#"{"signatures":[]}"#, "INVALID_FIELD", "signatures"),
        (r#"{"signatures":{"@alice:a.org":1}}"#, "INVALID_FIELD", "signatures"),
        ("[1]", "INVALID_FIELD", "object"),
    ] {
        fails_saying(alice.account.sign_json(object), name, says);
    }
}

/// An object that a device has signed, and the signature's bytes.
fn signed_by(device: &RawDevice) -> (Value, Vec<u8>) {
    let object = device.sign(json!({"a": 1}));
    let text = object["signatures"][device.user_id]["ed25519:BOB"].as_str().unwrap().to_owned();
    (object, vodozemac::base64_decode(text).unwrap())
}

#[test]
fn a_signature_is_read_as_strict_base64_of_64_bytes() {
    let bob = RawDevice::new("@bob:b.org", "BOB");
    let (object, bytes) = signed_by(&bob);
    let verify = |signature: Value| {
        let mut object = object.clone();
        object["signatures"]["@bob:b.org"]["ed25519:BOB"] = signature;
        let key = bob.fingerprint_key();
        verify_signed_json(&object.to_string(), "@bob:b.org", "ed25519:BOB", &key)
    };
    let text = vodozemac::base64_encode(&bytes);
    verify(json!(text)).unwrap();
    verify(json!(format!("{text}=="))).unwrap(); // SEC-101: padding is optional
    let mut trailing_bits = text.clone().into_bytes();
    let last = trailing_bits.last_mut().unwrap();
    *last = if *last == b'A' { b'B' } else { *last + 1 };
    for bad in [
        json!(format!(" {text}")), // SEC-101: no white space
        json!(format!("{text}\n")),
        json!(String::from_utf8(trailing_bits).unwrap()), // SEC-101: unused bits are zero
        json!("-".repeat(86)),                            // SEC-101: the other alphabet
        json!(vodozemac::base64_encode(&bytes[..63])),    // SEC-101: the exact length
        json!(vodozemac::base64_encode([&bytes[..], &[0]].concat())),
        json!(""),
        json!(1),
        json!(null),
    ] {
        fails(verify(bad), "BAD_SIGNATURE");
    }
}

#[test]
fn a_signature_made_malleable_by_adding_the_group_order_is_refused() {
    // SEC-10, SEC-3: verification is strict.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let bob = RawDevice::new("@bob:b.org", "BOB");
    let (mut object, mut bytes) = signed_by(&bob);
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        *byte = carry as u8;
        carry >>= 8;
    }
    object["signatures"]["@bob:b.org"]["ed25519:BOB"] = json!(vodozemac::base64_encode(bytes));
    let key = bob.fingerprint_key();
    fails(
        verify_signed_json(&object.to_string(), "@bob:b.org", "ed25519:BOB", &key),
        "BAD_SIGNATURE",
    );
}

#[test]
fn a_weak_verification_key_is_refused_before_any_signature_is_looked_at() {
    let (object, _) = signed_by(&RawDevice::new("@bob:b.org", "BOB"));
    let identity_point = vodozemac::base64_encode([&[1][..], &[0; 31]].concat());
    let above_p = vodozemac::base64_encode([&[0xee][..], &[0xff; 30], &[0x7f]].concat());
    for key in ["A".repeat(43), identity_point, above_p, String::from("AAAA"), String::new()] {
        // SEC-10, P3
        fails(
            verify_signed_json(&object.to_string(), "@bob:b.org", "ed25519:BOB", &key),
            "INVALID_KEY",
        );
    }
}

#[test]
fn a_missing_signature_and_too_many_are_refused() {
    let bob = RawDevice::new("@bob:b.org", "BOB");
    let (mut object, _) = signed_by(&bob);
    let key = bob.fingerprint_key();
    for (user, key_id) in [("@eve:e.org", "ed25519:BOB"), ("@bob:b.org", "ed25519:EVE")] {
        fails(verify_signed_json(&object.to_string(), user, key_id, &key), "BAD_SIGNATURE");
    }
    for count in 0..64 {
        object["signatures"]["@eve:e.org"][format!("ed25519:{count}")] = json!("x");
    }
    let object = object.to_string();
    fails_saying(
        verify_signed_json(&object, "@bob:b.org", "ed25519:BOB", &key),
        "BAD_SIGNATURE",
        "64",
    );
}
