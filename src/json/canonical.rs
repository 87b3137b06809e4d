//! Canonical JSON (spec appendices, "Canonical JSON").

use serde_json::{Number, Value};

use super::Object;
use super::strict::to_text;
use crate::error::{E2eeError, Result};

/// The largest integer that canonical JSON can hold: 2^53 - 1.
const MAX_INTEGER: i64 = (1 << 53) - 1;

/// The canonical text of a value: no spaces, keys sorted by code point.
///
/// serde_json's map is sorted by UTF-8 bytes, which is the order of the code
/// points, and its writer escapes just what canonical JSON escapes. What is left
/// to do is to refuse numbers that canonical JSON does not have (SEC-99).
pub(crate) fn to_canonical_json(value: &Value) -> Result<String> {
    check(value)?;
    to_text(value)
}

/// Fails if a value holds a number that canonical JSON cannot express.
pub(super) fn check(value: &Value) -> Result<()> {
    match value {
        Value::Number(number) => check_number(number),
        Value::Array(list) => list.iter().try_for_each(check),
        Value::Object(object) => check_object(object),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

pub(super) fn check_object(object: &Object) -> Result<()> {
    object.values().try_for_each(check)
}

fn check_number(number: &Number) -> Result<()> {
    match number.as_i64() {
        Some(integer) if (-MAX_INTEGER..=MAX_INTEGER).contains(&integer) => Ok(()),
        Some(_) => Err(E2eeError::invalid_json("an integer is outside of -(2^53-1) to 2^53-1")),
        None => Err(E2eeError::invalid_json(
            "canonical JSON has no fractions, exponents, negative zero or integers beyond 2^53-1",
        )),
    }
}
