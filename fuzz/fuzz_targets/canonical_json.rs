//! Canonical JSON: written twice it is the same, it means what the input meant, and an independent
//! writer agrees. What is signed verifies. (SEC-99)
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{device, ok, sound};
use matrixe2ee::{Account, canonical_json, verify_signed_json};
use serde_json::Value;

static SIGNER: LazyLock<Arc<Account>> = LazyLock::new(|| device("@alice:example.org", "ALICE"));

fuzz_target!(|text: &str| {
    let Ok(canonical) = sound(canonical_json(text)) else { return };
    assert_eq!(ok(canonical_json(&canonical)), canonical);
    // Whatever the library takes is JSON for others, with the same meaning.
    let mut value: Value = serde_json::from_str(text).expect("JSON");
    without_negative_zero(&mut value);
    assert_eq!(serde_json::from_str::<Value>(&canonical).expect("JSON"), value);
    // serde_json sorts keys here, and writes no spaces.
    assert_eq!(serde_json::to_string(&value).expect("JSON"), canonical);

    if let Ok(signed) = sound(SIGNER.sign_json(text)) {
        let key = ok(SIGNER.fingerprint_key());
        let verify = |text: &str| {
            sound(verify_signed_json(text, "@alice:example.org", "ed25519:ALICE", &key))
        };
        ok(verify(&signed));
        let mut altered: Value = serde_json::from_str(&signed).expect("JSON");
        altered["another"] = Value::Null;
        assert!(
            value.get("another") == Some(&Value::Null) || verify(&altered.to_string()).is_err()
        );
    }
});

/// `-0` is zero; serde_json takes it for a fraction, and no other is taken.
fn without_negative_zero(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => *value = 0.into(),
        Value::Array(items) => items.iter_mut().for_each(without_negative_zero),
        Value::Object(fields) => fields.values_mut().for_each(without_negative_zero),
        _ => {}
    }
}
