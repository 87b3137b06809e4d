//! Reading JSON text whole: size, depth and memory are limited, no key is repeated (SEC-98, SEC-100).

use std::fmt;
use std::mem::size_of;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::Object;
use super::limits::{Allowance, check_size};
use super::negative_zero::without_negative_zero;
use crate::base::traces;
use crate::error::{E2eeError, Result};

/// How deeply arrays and objects may be nested.
const MAX_DEPTH: usize = 64;

/// What a list or an object costs at its first item, and an object for each further one.
const FIRST_ITEM: usize = 4 * size_of::<Value>();
const ITEM: usize = 2 * size_of::<Value>();
const FIRST_FIELD: usize = 12 * (size_of::<Value>() + size_of::<String>());
const FIELD: usize = 2 * (size_of::<Value>() + size_of::<String>());
/// What the allocator adds to a text.
const TEXT: usize = 16;

/// Reads one JSON value. `what` names the argument in errors.
pub(crate) fn parse(what: &str, text: &str, limit: usize) -> Result<Value> {
    parse_at(0, what, text, limit)
}

fn parse_at(depth: usize, what: &str, text: &str, limit: usize) -> Result<Value> {
    traces::leave();
    check_size(what, text, limit)?;
    let text = without_negative_zero(text);
    let allowance = Allowance::for_whole(&text);
    let mut reader = serde_json::Deserializer::from_str(&text);
    Node { depth, allowance: &allowance }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| describe(what, &error, &allowance))
}

/// Reads one JSON object.
pub(crate) fn parse_object(what: &str, text: &str, limit: usize) -> Result<Object> {
    into_object(what, parse(what, text, limit)?)
}

/// Reads one JSON object that will stand as a field of another one, which may not be too deep then.
pub(crate) fn parse_field(what: &str, text: &str, limit: usize) -> Result<Object> {
    into_object(what, parse_at(1, what, text, limit)?)
}

/// As `parse_field`, for one whose text is passed on as it stands.
pub(crate) fn parse_raw_field<'a>(what: &str, text: &'a str, limit: usize) -> Result<&'a RawValue> {
    parse_field(what, text, limit)?;
    serde_json::from_str(text)
        .map_err(|_| E2eeError::invalid_json(format!("the {what} cannot be written")))
}

fn into_object(what: &str, value: Value) -> Result<Object> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(E2eeError::invalid_field(what, "is not a JSON object")),
    }
}

/// Reads one JSON list.
pub(crate) fn parse_list(what: &str, text: &str, limit: usize) -> Result<Vec<Value>> {
    match parse(what, text, limit)? {
        Value::Array(list) => Ok(list),
        _ => Err(E2eeError::invalid_field(what, "is not a JSON list")),
    }
}

/// Writes JSON text.
pub(crate) fn to_text(value: &impl serde::Serialize) -> Result<String> {
    traces::leave();
    serde_json::to_string(value)
        .map_err(|_| E2eeError::invalid_json("the value cannot be written as JSON"))
}

/// Writes JSON text that will stand in another one, or be read again.
pub(crate) fn to_raw(value: &impl serde::Serialize) -> Result<Box<RawValue>> {
    traces::leave();
    serde_json::value::to_raw_value(value)
        .map_err(|_| E2eeError::invalid_json("the value cannot be written as JSON"))
}

/// Writes JSON text that will have about that length: it is not copied while it grows.
pub(crate) fn to_text_of(length: usize, value: &impl serde::Serialize) -> Result<String> {
    let mut text = Vec::with_capacity(length);
    serde_json::to_writer(&mut text, value)
        .ok()
        .and_then(|()| String::from_utf8(text).ok())
        .ok_or_else(|| E2eeError::invalid_json("the value cannot be written as JSON"))
}

/// Only the position and our own words: serde's messages can quote the input.
pub(super) fn describe(what: &str, error: &serde_json::Error, allowance: &Allowance) -> E2eeError {
    use serde_json::error::Category;
    let (line, column) = (error.line(), error.column());
    let is = |reason| error.to_string().starts_with(reason);
    let problem = match error.classify() {
        Category::Eof => "ends too early",
        Category::Data if is(TOO_MANY) => return allowance.exceeded(what),
        Category::Data if is(REPEATED) => "repeats a key",
        Category::Data => "is nested too deeply",
        Category::Syntax | Category::Io => "is not JSON",
    };
    E2eeError::invalid_json(format!("{what} {problem} (line {line}, column {column})"))
}

pub(super) const REPEATED: &str = "repeated key";
/// Costs more memory than it may.
pub(super) const TOO_MANY: &str = "too many values";

/// One value at a known depth; as a visitor it accepts every JSON type.
#[derive(Clone, Copy)]
pub(super) struct Node<'b> {
    depth: usize,
    allowance: &'b Allowance,
}

impl<'b> Node<'b> {
    pub(super) fn inside_an_object(allowance: &'b Allowance) -> Self {
        Self { depth: 1, allowance }
    }

    fn child<E: Error>(self) -> std::result::Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth.saturating_add(1), ..self })
    }

    fn pay<E: Error>(self, bytes: usize) -> std::result::Result<(), E> {
        if self.allowance.has(bytes) { Ok(()) } else { Err(E::custom(TOO_MANY)) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> std::result::Result<Value, E> {
        self.pay(value.len().saturating_add(TEXT))?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(self.child()?)? {
            self.pay(if list.is_empty() { FIRST_ITEM } else { ITEM })?;
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let field = if object.is_empty() { FIRST_FIELD } else { FIELD };
            self.pay(field.saturating_add(key.len()).saturating_add(TEXT))?;
            let Entry::Vacant(entry) = object.entry(key) else {
                return Err(A::Error::custom(REPEATED));
            };
            entry.insert(access.next_value_seed(self.child()?)?);
        }
        Ok(Value::Object(object))
    }
}
