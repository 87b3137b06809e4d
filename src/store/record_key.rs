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
/// a key of maps. Who locks several objects does it in the order of their keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Whether the store below can have got this key from here: some levels, and the whole.
    pub(super) fn is_well_formed(&self) -> bool {
        self.bytes.len() >= 32 && self.bytes.len().is_multiple_of(LEVEL_LENGTH)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The end of the key, a hash of the collection and the whole name: enough to tell records
    /// apart, and a fifth of the key.
    pub(crate) fn short(&self) -> [u8; LEVEL_LENGTH] {
        // Every key that was made here is longer.
        self.bytes.last_chunk().copied().unwrap_or_default()
    }
}

/// The hashed beginning of the names of some records of a collection.
#[derive(Clone)]
pub(crate) struct RecordPrefix {
    collection: &'static str,
    bytes: Vec<u8>,
    /// What has been hashed so far.
    state: Hmac<Sha256>,
}

impl RecordPrefix {
    /// The key of the record whose name has one more part.
    pub(crate) fn key(&self, last: &str) -> RecordKey {
        let mut state = self.state.clone();
        hash_framed(&mut state, last);
        let whole: [u8; 32] = state.finalize().into_bytes().into();
        let length = self.bytes.len().saturating_add(whole.len());
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&self.bytes);
        // The last level, and as much again for the whole.
        bytes.extend_from_slice(&whole);
        RecordKey { collection: self.collection, bytes }
    }

    /// The beginning of the names that have this part next.
    pub(crate) fn under(&self, part: &str) -> Self {
        let mut longer = self.clone();
        longer.push(part);
        longer
    }

    fn push(&mut self, part: &str) {
        hash_framed(&mut self.state, part);
        let level = self.state.clone().finalize().into_bytes();
        self.bytes.extend(level.iter().take(LEVEL_LENGTH));
    }

    pub(crate) fn collection(&self) -> &'static str {
        self.collection
    }

    /// Whether a stored key of the collection begins like this.
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        key.starts_with(&self.bytes)
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

    /// The key of a record; a name has at least one part.
    pub(super) fn key(&self, collection: &'static str, parts: &[&str]) -> RecordKey {
        let (last, parents) = parts.split_last().unwrap_or((&"", &[]));
        self.prefix(collection, parents).key(last)
    }

    pub(super) fn prefix(&self, collection: &'static str, parts: &[&str]) -> RecordPrefix {
        let mut state = self.0.clone();
        hash_framed(&mut state, collection);
        let bytes = Vec::with_capacity(LEVEL_LENGTH.saturating_mul(parts.len()));
        let mut prefix = RecordPrefix { collection, bytes, state };
        for part in parts {
            prefix.push(part);
        }
        prefix
    }
}

/// The length first, so that `["ab", "c"]` and `["a", "bc"]` differ.
fn hash_framed(state: &mut Hmac<Sha256>, text: &str) {
    state.update(&(text.len() as u64).to_be_bytes());
    state.update(text.as_bytes());
}
