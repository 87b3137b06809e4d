//! Canonical JSON (spec appendices, "Canonical JSON").

use serde_json::{Number, Value};

use super::Object;
use crate::error::{E2eeError, Result};

/// The largest integer that canonical JSON can hold: 2^53 - 1.
const MAX_INTEGER: i64 = (1 << 53) - 1;

/// The canonical text of a value: no spaces, keys sorted by code point, numbers refused that
/// canonical JSON does not have (SEC-99). The reader has made `-0` a `0`.
///
/// serde_json escapes just what canonical JSON escapes. Its order of keys is not relied on: any
/// crate of the program can turn on its feature `preserve_order`, for us too.
pub(crate) fn to_canonical_json(value: &Value) -> Result<String> {
    let mut text = Vec::new();
    write_value(value, &mut text)?;
    into_text(text)
}

/// The canonical text of an object as it is signed: without its own `signatures` and `unsigned`,
/// which may hold anything.
pub(super) fn to_signed_text(object: &Object) -> Result<String> {
    let mut text = Vec::new();
    let signed = object.iter().filter(|(key, _)| *key != "signatures" && *key != "unsigned");
    write_object(signed, &mut text)?;
    into_text(text)
}

fn write_value(value: &Value, text: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Object(object) => write_object(object.iter(), text),
        Value::Array(list) => write_list(list, text),
        Value::Number(number) => check_number(number).and_then(|()| write_leaf(number, text)),
        Value::Null | Value::Bool(_) | Value::String(_) => write_leaf(value, text),
    }
}

fn write_object<'a>(
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    text: &mut Vec<u8>,
) -> Result<()> {
    let mut members: Vec<_> = members.collect();
    // By UTF-8 bytes, which is the order of the code points.
    members.sort_unstable_by_key(|(key, _)| *key);
    text.push(b'{');
    for (position, (key, value)) in members.into_iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        write_leaf(key, text)?;
        text.push(b':');
        write_value(value, text)?;
    }
    text.push(b'}');
    Ok(())
}

fn write_list(list: &[Value], text: &mut Vec<u8>) -> Result<()> {
    text.push(b'[');
    for (position, value) in list.iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        write_value(value, text)?;
    }
    text.push(b']');
    Ok(())
}

fn write_leaf(leaf: &impl serde::Serialize, text: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(text, leaf).map_err(|_| unwritable())
}

fn into_text(text: Vec<u8>) -> Result<String> {
    String::from_utf8(text).map_err(|_| unwritable())
}

fn unwritable() -> E2eeError {
    E2eeError::invalid_json("the value cannot be written as JSON")
}

fn check_number(number: &Number) -> Result<()> {
    match number.as_i64() {
        Some(integer) if (-MAX_INTEGER..=MAX_INTEGER).contains(&integer) => Ok(()),
        Some(_) => Err(E2eeError::invalid_json("an integer is outside of -(2^53-1) to 2^53-1")),
        None => Err(E2eeError::invalid_json(
            "canonical JSON has no fractions, exponents or integers beyond 2^53-1",
        )),
    }
}
