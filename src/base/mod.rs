//! What every room above stands on: JSON, identifiers, public keys, and what is taken from the
//! surroundings.

pub(crate) mod environment;
mod fork;
pub(crate) mod identifiers;
pub(crate) mod json;
pub(crate) mod parallel;
pub(crate) mod public_keys;
pub(crate) mod traces;
