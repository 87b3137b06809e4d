//! JSON as Matrix needs it: strict reading, canonical writing, signatures, base64.

mod base64;
mod canonical;
mod event;
mod fields;
mod limits;
mod negative_zero;
mod raw;
mod signed;
mod strict;

pub(crate) use base64::{decode_base64, encode_base64};
pub(crate) use canonical::to_canonical_json;
pub(crate) use event::parse_event;
pub(crate) use fields::{
    as_object, integer_or, object, optional_integer, optional_object, optional_text, text,
};
pub(crate) use limits::{
    ANSWER_LIMIT, ARGUMENT_LIMIT, Allowance, DEVICE_LIMIT, EVENT_LIMIT, check_encrypted_size,
    check_size, event_frame,
};
pub(crate) use raw::{RawObject, parse_raw_list, raw_text};
pub(crate) use signed::{add_signature, verify_signature};
pub(crate) use strict::{
    parse, parse_field, parse_list, parse_object, parse_raw_field, to_raw, to_text, to_text_of,
};

/// A JSON object.
pub(crate) type Object = serde_json::Map<String, serde_json::Value>;
