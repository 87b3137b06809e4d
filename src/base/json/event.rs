//! Reading an event of a room as a server gives it: with `unsigned`, where the server puts what it
//! likes, such as an edit as large as the event, and which is no part of the event (spec: "Size
//! limits"). It is not looked into, and counts neither for size nor depth nor repeated keys.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde_json::map::Entry;
use serde_json::value::RawValue;

use super::limits::Allowance;
use super::strict::{Node, REPEATED, describe, parse_object};
use super::{EVENT_LIMIT, Object};
use crate::base::traces;
use crate::error::{E2eeError, Result};

const UNSIGNED: &str = "unsigned";

/// Reads an event, all of it but `unsigned`.
pub(crate) fn parse_event(what: &str, text: &str) -> Result<Object> {
    traces::leave();
    if !text.trim_start().starts_with('{') {
        return parse_object(what, text, EVENT_LIMIT);
    }
    let allowance = Allowance::for_whole(text);
    if text.len() > EVENT_LIMIT {
        let unsigned = read(text, Measure).map_err(|error| describe(what, &error, &allowance))?;
        let size = text.len().saturating_sub(unsigned);
        if size > EVENT_LIMIT {
            return Err(E2eeError::too_large(what, size, EVENT_LIMIT));
        }
    }
    read(text, Signed(&allowance)).map_err(|error| describe(what, &error, &allowance))
}

fn read<'de, V: Visitor<'de>>(text: &'de str, visitor: V) -> serde_json::Result<V::Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = reader.deserialize_map(visitor)?;
    reader.end()?;
    Ok(value)
}

/// How long `unsigned` is, without building anything.
struct Measure;

impl<'de> Visitor<'de> for Measure {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<usize, A::Error> {
        let mut length = 0_usize;
        while let Some(key) = access.next_key::<String>()? {
            if key == UNSIGNED {
                length = length.saturating_add(access.next_value::<&RawValue>()?.get().len());
            } else {
                access.next_value::<IgnoredAny>()?;
            }
        }
        Ok(length)
    }
}

/// What is signed of an event.
struct Signed<'b>(&'b Allowance);

impl<'de> Visitor<'de> for Signed<'_> {
    type Value = Object;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> std::result::Result<Object, A::Error> {
        let mut object = Object::new();
        while let Some(key) = access.next_key::<String>()? {
            if key == UNSIGNED {
                access.next_value::<IgnoredAny>()?;
                continue;
            }
            let Entry::Vacant(entry) = object.entry(key) else {
                return Err(A::Error::custom(REPEATED));
            };
            entry.insert(access.next_value_seed(Node::inside_an_object(self.0))?);
        }
        Ok(object)
    }
}
