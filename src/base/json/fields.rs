//! Taking typed fields out of a JSON object, with errors that name the field.

use serde_json::Value;

use super::Object;
use crate::error::{E2eeError, Result};

/// The value as an object; `what` names it in errors.
pub(crate) fn as_object<'a>(what: &str, value: &'a Value) -> Result<&'a Object> {
    value.as_object().ok_or_else(|| E2eeError::invalid_field(what, "is not an object"))
}

/// A required text field.
pub(crate) fn text<'a>(object: &'a Object, field: &str) -> Result<&'a str> {
    match object.get(field) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(E2eeError::invalid_field(field, "is not a text")),
        None => Err(E2eeError::invalid_field(field, "is missing")),
    }
}

/// A text field that may be absent or null.
pub(crate) fn optional_text<'a>(object: &'a Object, field: &str) -> Result<Option<&'a str>> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(object, field).map(Some),
    }
}

/// A required object field.
pub(crate) fn object<'a>(object: &'a Object, field: &str) -> Result<&'a Object> {
    match object.get(field) {
        Some(value) => as_object(field, value),
        None => Err(E2eeError::invalid_field(field, "is missing")),
    }
}

/// An object field that may be absent or null.
pub(crate) fn optional_object<'a>(parent: &'a Object, field: &str) -> Result<Option<&'a Object>> {
    match parent.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => object(parent, field).map(Some),
    }
}

/// An integer field that may be absent or null.
pub(crate) fn optional_integer(object: &Object, field: &str) -> Result<Option<i64>> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| E2eeError::invalid_field(field, "is not an integer")),
    }
}

/// An integer field; anything but an integer counts as `default` (D7b).
pub(crate) fn integer_or(object: &Object, field: &str, default: i64) -> i64 {
    object.get(field).and_then(Value::as_i64).unwrap_or(default)
}
