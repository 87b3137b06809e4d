//! Lists and objects of which one level is read, so that what is wrong with an item concerns that
//! item alone, and what nobody reads costs nothing (SEC-100).

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::limits::{Allowance, check_size};
use super::strict::{TOO_MANY, describe};
use crate::base::traces;
use crate::error::{E2eeError, Result};

/// What an item of a list costs, with the answer to a bad one.
const ITEM_COST: usize = 480;
/// What a field costs in a list that may just have grown.
const FIELD_COST: usize = 96;

/// An object whose values nobody has looked into. A field whose name is no text is left out.
pub(crate) struct RawObject<'a> {
    /// By name.
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    has_unreadable_name: bool,
}

impl<'a> RawObject<'a> {
    /// Reads an argument and its allowance.
    pub(crate) fn parse(what: &str, text: &'a str, limit: usize) -> Result<(Self, Allowance)> {
        traces::leave();
        check_size(what, text, limit)?;
        let allowance = Allowance::for_parts(text);
        Ok((Self::read_text(what, text, &allowance)?, allowance))
    }

    /// Reads a part of an argument.
    pub(crate) fn read(what: &str, raw: &'a RawValue, allowance: &Allowance) -> Result<Self> {
        Self::read_text(what, raw.get(), allowance)
    }

    fn read_text(what: &str, text: &'a str, allowance: &Allowance) -> Result<Self> {
        if !text.trim_ascii_start().starts_with('{') {
            return Err(not_a(what, text, "is not a JSON object"));
        }
        let mut reader = serde_json::Deserializer::from_str(text);
        let mut object = reader
            .deserialize_map(Fields { allowance })
            .and_then(|object| reader.end().map(|()| object))
            .map_err(|error| describe(what, &error, allowance))?;
        object.fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let same = |pair: &[(Cow<str>, _)]| matches!(pair, [(a, _), (b, _)] if a == b);
        if object.fields.windows(2).any(same) {
            return Err(E2eeError::invalid_json(format!("{what} repeats a key")));
        }
        Ok(object)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let place = self.fields.binary_search_by(|(field, _)| field.as_ref().cmp(name)).ok()?;
        self.fields.get(place).map(|(_, value)| *value)
    }

    /// A field that may be absent or null.
    pub(crate) fn optional(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| value.get() != "null")
    }

    /// A required object.
    pub(crate) fn object(&self, name: &str, allowance: &Allowance) -> Result<RawObject<'a>> {
        match self.get(name) {
            Some(value) => RawObject::read(name, value, allowance),
            None => Err(E2eeError::invalid_field(name, "is missing")),
        }
    }

    /// An object that may be absent or null.
    pub(crate) fn optional_object(
        &self,
        name: &str,
        allowance: &Allowance,
    ) -> Result<Option<RawObject<'a>>> {
        self.optional(name).map(|value| RawObject::read(name, value, allowance)).transpose()
    }

    pub(crate) fn has_unreadable_name(&self) -> bool {
        self.has_unreadable_name
    }

    /// Refuses an object of the caller's own that has a name which is no text.
    pub(crate) fn check_names(&self, what: &str) -> Result<()> {
        if self.has_unreadable_name {
            return Err(E2eeError::invalid_json(format!("{what} has a name that is no text")));
        }
        Ok(())
    }

    pub(crate) fn fields(&self) -> &[(Cow<'a, str>, &'a RawValue)] {
        &self.fields
    }

    pub(crate) fn into_fields(self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        self.fields
    }
}

/// Reads one JSON list without looking into its items.
pub(crate) fn parse_raw_list<'a>(
    what: &str,
    text: &'a str,
    limit: usize,
) -> Result<Vec<&'a RawValue>> {
    traces::leave();
    check_size(what, text, limit)?;
    if !text.trim_ascii_start().starts_with('[') {
        return Err(not_a(what, text, "is not a JSON list"));
    }
    let allowance = Allowance::for_parts(text);
    let mut reader = serde_json::Deserializer::from_str(text);
    reader
        .deserialize_seq(Items { allowance: &allowance })
        .and_then(|items| reader.end().map(|()| items))
        .map_err(|error| describe(what, &error, &allowance))
}

/// A text, if that is what the value is. Only one with escapes is copied.
pub(crate) fn raw_text<'a>(value: &'a RawValue) -> Option<Cow<'a, str>> {
    let json: &'a str = value.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// What begins otherwise: another kind of value, or no JSON at all.
fn not_a(what: &str, text: &str, problem: &str) -> E2eeError {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => E2eeError::invalid_field(what, problem),
        Err(error) => describe(what, &error, &Allowance::for_whole("")),
    }
}

struct Fields<'b> {
    allowance: &'b Allowance,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = RawObject<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut access: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut object = RawObject { fields: Vec::new(), has_unreadable_name: false };
        while let Some((name, value)) = access.next_entry::<&RawValue, &RawValue>()? {
            let Some(name) = raw_text(name) else {
                object.has_unreadable_name = true;
                continue;
            };
            let copied = if matches!(name, Cow::Owned(_)) { name.len() } else { 0 };
            if !self.allowance.has(FIELD_COST.saturating_add(copied)) {
                return Err(A::Error::custom(TOO_MANY));
            }
            object.fields.push((name, value));
        }
        Ok(object)
    }
}

struct Items<'b> {
    allowance: &'b Allowance,
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON list")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut access: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            if !self.allowance.has(ITEM_COST) {
                return Err(A::Error::custom(TOO_MANY));
            }
            items.push(item);
        }
        Ok(items)
    }
}
