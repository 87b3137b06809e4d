//! The library against what real clients and a real homeserver said to each
//! other (`fixtures/README.md` says which). Every count is asserted, so that no
//! test passes because it found nothing to do.

#[path = "captured/claims.rs"]
mod claims;
#[path = "captured/sessions.rs"]
mod sessions;
#[path = "captured/signatures.rs"]
mod signatures;

use matrixe2ee::E2eeError;
use serde_json::Value;

const STORE_KEY: [u8; 32] = [7; 32];

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the library writes JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of an object; none if it is absent.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn error<T>(result: matrixe2ee::Result<T>) -> E2eeError {
    match result {
        Ok(_) => panic!("this must be refused, and was accepted"),
        Err(error) => error,
    }
}
