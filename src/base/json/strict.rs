//! Reading JSON text: size and depth limits, no repeated keys (SEC-98, SEC-100).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::Object;
use crate::base::traces;
use crate::error::{E2eeError, Result};

/// How deeply arrays and objects may be nested.
const MAX_DEPTH: usize = 64;

/// Reads one JSON value. `what` names the argument in errors.
pub(crate) fn parse(what: &str, text: &str, limit: usize) -> Result<Value> {
    traces::leave();
    if text.len() > limit {
        return Err(E2eeError::too_large(what, text.len(), limit));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    Node { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| describe(what, &error))
}

/// Reads one JSON object.
pub(crate) fn parse_object(what: &str, text: &str, limit: usize) -> Result<Object> {
    match parse(what, text, limit)? {
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

/// Reads one JSON list without looking into its items, so that a bad one spoils no other.
pub(crate) fn parse_raw_list<'a>(
    what: &str,
    text: &'a str,
    limit: usize,
) -> Result<Vec<&'a RawValue>> {
    traces::leave();
    if text.len() > limit {
        return Err(E2eeError::too_large(what, text.len(), limit));
    }
    if !text.trim_start().starts_with('[') {
        parse(what, text, limit)?;
        return Err(E2eeError::invalid_field(what, "is not a JSON list"));
    }
    serde_json::from_str(text).map_err(|error| describe(what, &error))
}

/// Writes JSON text.
pub(crate) fn to_text(value: &impl serde::Serialize) -> Result<String> {
    traces::leave();
    serde_json::to_string(value)
        .map_err(|_| E2eeError::invalid_json("the value cannot be written as JSON"))
}

/// Only the position and our own words: serde's messages can quote the input.
pub(super) fn describe(what: &str, error: &serde_json::Error) -> E2eeError {
    use serde_json::error::Category;
    let (line, column) = (error.line(), error.column());
    let problem = match error.classify() {
        Category::Eof => "ends too early",
        Category::Data if error.to_string().starts_with(REPEATED) => "repeats a key",
        Category::Data => "is nested too deeply",
        Category::Syntax | Category::Io => "is not JSON",
    };
    E2eeError::invalid_json(format!("{what} {problem} (line {line}, column {column})"))
}

pub(super) const REPEATED: &str = "repeated key";

/// One value at a known depth; as a visitor it accepts every JSON type.
pub(super) struct Node {
    depth: usize,
}

impl Node {
    pub(super) fn inside_an_object() -> Self {
        Self { depth: 1 }
    }

    fn child<E: Error>(&self) -> std::result::Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("too deep"));
        }
        Ok(Self { depth: self.depth.saturating_add(1) })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
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

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = access.next_element_seed(self.child()?)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let Entry::Vacant(entry) = object.entry(key) else {
                return Err(A::Error::custom(REPEATED));
            };
            entry.insert(access.next_value_seed(self.child()?)?);
        }
        Ok(Value::Object(object))
    }
}
