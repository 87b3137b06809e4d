//! What the library asks of any place that keeps its records.
//!
//! Keys and values are opaque bytes here: the vault above has hashed the keys
//! and encrypted the values, so that an implementation needs no cryptography
//! and sees no secret.

use super::collections;
use crate::error::Result;

/// One record, as `scan` finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) collection: &'static str,
    pub(crate) key: Vec<u8>,
    /// The new value; `None` deletes the record, if there is one.
    pub(crate) value: Option<Vec<u8>>,
}

/// What a commit promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The changes survive a power failure.
    Synced,
    /// The changes survive a killed process, and reach the disk with the next
    /// synced commit. Never for anything that keeps a key from being used twice.
    Relaxed,
}

/// A place that keeps records: collections of keys and values.
pub(crate) trait RecordStore: Send + Sync {
    /// The value of a key, if there is one.
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// At most `limit` records in the order of their keys, all with keys
    /// strictly greater than `after`.
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>>;

    /// Makes all changes in their order, or none of them.
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()>;

    /// Whether no collection has a record; tells a new store from one that
    /// lost its header.
    fn is_empty(&self) -> Result<bool> {
        for collection in collections::all() {
            if !self.scan(collection, None, 1)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there is a way to open the store with a passphrase.
    fn takes_passphrases(&self) -> bool {
        true
    }

    /// Lets go of the place. A second call does nothing; every other call from
    /// then on fails with `STORE_CLOSED`.
    fn close(&self) -> Result<()>;
}
