//! The names of records, hashed.
//!
//! A record's name is a list of parts, such as user, device, room. Its key is
//! 16 bytes of a keyed hash for each beginning of the list (`[user]`,
//! `[user, device]`, ...) and 16 more for the whole, so that the records under a
//! beginning stand together. *All records of one collection have the same
//! number of parts.*

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// What one level of a record key has, and the whole key in addition.
const LEVEL_LENGTH: usize = 16;

/// The hashed name of one record. It reveals nothing of the name and serves as
/// a key of maps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RecordKey {
    pub(crate) collection: &'static str,
    bytes: Vec<u8>,
}

impl RecordKey {
    /// A key as the store below gave it.
    pub(super) fn from_stored(collection: &'static str, bytes: Vec<u8>) -> Self {
        Self { collection, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The hashed beginning of the names of some records of a collection.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RecordPrefix {
    collection: &'static str,
    bytes: Vec<u8>,
}

impl RecordPrefix {
    pub(crate) fn covers(&self, key: &RecordKey) -> bool {
        self.collection == key.collection && key.bytes.starts_with(&self.bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RecordKey")
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RecordPrefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RecordPrefix")
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

/// Hashes names. Keyed once; each name starts from a copy of the state.
pub(super) struct KeyHash(Hmac<Sha256>);

impl KeyHash {
    pub(super) fn new(keyed: Hmac<Sha256>) -> Self {
        Self(keyed)
    }

    pub(super) fn key(&self, collection: &'static str, parts: &[&str]) -> RecordKey {
        let length = LEVEL_LENGTH.saturating_mul(parts.len().saturating_add(1));
        let mut bytes = Vec::with_capacity(length);
        let whole = self.levels(collection, parts, &mut bytes);
        bytes.extend(whole.iter().skip(LEVEL_LENGTH));
        RecordKey { collection, bytes }
    }

    pub(super) fn prefix(&self, collection: &'static str, parts: &[&str]) -> RecordPrefix {
        let mut bytes = Vec::with_capacity(LEVEL_LENGTH.saturating_mul(parts.len()));
        self.levels(collection, parts, &mut bytes);
        RecordPrefix { collection, bytes }
    }

    /// Appends the levels of a key and returns the hash of the whole.
    fn levels(&self, collection: &str, parts: &[&str], bytes: &mut Vec<u8>) -> [u8; 32] {
        let mut state = self.0.clone();
        hash_framed(&mut state, collection);
        if parts.is_empty() {
            return state.finalize().into_bytes().into();
        }
        let mut whole = [0; 32];
        for part in parts {
            hash_framed(&mut state, part);
            whole = state.clone().finalize().into_bytes().into();
            bytes.extend(whole.iter().take(LEVEL_LENGTH));
        }
        whole
    }
}

/// The length first, so that `["ab", "c"]` and `["a", "bc"]` differ.
fn hash_framed(state: &mut Hmac<Sha256>, text: &str) {
    state.update(&(text.len() as u64).to_be_bytes());
    state.update(text.as_bytes());
}
