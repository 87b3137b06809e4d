//! Looking for secrets where they must not be, in every form in which they could be written.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// A secret, in all its spellings.
pub struct Needle {
    name: String,
    spellings: Vec<Vec<u8>>,
}

impl Needle {
    pub fn new(name: &str, secret: &[u8]) -> Self {
        assert!(secret.len() >= 16, "{name} is too short to be looked for");
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let decimal: Vec<String> = secret.iter().map(u8::to_string).collect();
        let mut spellings = vec![
            secret.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            decimal.join(",").into_bytes(),
        ];
        // Inside of a longer base64, the secret can begin at any of three places; the first and
        // last letters then also hold bits of its neighbours. With padding or without is the same.
        for lead in 0..3 {
            let bytes = [&vec![0; lead][..], secret].concat();
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                let text = engine.encode(&bytes);
                let whole = text.len() - usize::from(bytes.len() % 3 != 0);
                spellings.push(text.as_bytes()[(lead * 8).div_ceil(6)..whole].to_vec());
            }
        }
        Self { name: name.to_owned(), spellings }
    }

    pub fn is_in(&self, haystack: &[u8]) -> bool {
        self.spellings.iter().any(|spelling| contains(haystack, spelling))
    }
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// Fails if one of the secrets is there.
#[track_caller]
pub fn assert_free_of(needles: &[Needle], what: &str, haystack: &[u8]) {
    for needle in needles {
        assert!(!needle.is_in(haystack), "{} is in {what}", needle.name);
    }
}

/// As `assert_free_of`, for a text that may list numbers one to a line.
#[track_caller]
pub fn assert_text_free_of(needles: &[Needle], what: &str, text: &str) {
    let squeezed: String = text.split_whitespace().collect();
    assert_free_of(needles, what, squeezed.as_bytes());
}

/// Every key in a pickle: lists of numbers, as serde writes them.
pub fn keys_in_pickle(name: &str, pickle: &impl serde::Serialize) -> Vec<Needle> {
    let mut found = Vec::new();
    walk(name, &serde_json::to_value(pickle).expect("a pickle"), &mut found);
    assert!(!found.is_empty(), "{name} has keys");
    found
}

fn walk(name: &str, value: &Value, found: &mut Vec<Needle>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(field, value)| walk(&format!("{name}.{field}"), value, found));
        }
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> =
                items.iter().map(|item| item.as_u64()?.try_into().ok()).collect();
            match bytes {
                Some(bytes) if bytes.len() >= 32 => found.push(Needle::new(name, &bytes)),
                _ => items.iter().for_each(|item| walk(name, item, found)),
            }
        }
        _ => {}
    }
}

#[test]
fn a_secret_is_found_in_every_spelling() {
    let secret: Vec<u8> = (200..=255).chain(0..40).collect();
    let needle = Needle::new("the secret", &secret);
    for lead in 0..5 {
        let bytes = [&vec![7; lead][..], &secret, &[1, 2, 3, 4]].concat();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(needle.is_in(&bytes) && needle.is_in(hex.as_bytes()));
        assert!(needle.is_in(STANDARD_NO_PAD.encode(&bytes).as_bytes()));
        assert!(needle.is_in(URL_SAFE_NO_PAD.encode(&bytes).as_bytes()));
        let listed: String = format!("{bytes:#?}").split_whitespace().collect();
        assert!(needle.is_in(listed.as_bytes()));
        assert!(!needle.is_in(&bytes[..60]));
    }
}
