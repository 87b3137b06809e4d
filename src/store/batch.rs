//! Changes that are committed together.

use serde::Serialize;
use zeroize::Zeroizing;

use super::record_key::{RecordKey, RecordPrefix};
use super::record_store::Durability;
use super::seal;
use crate::error::Result;

/// Changes that are committed together, in their order.
pub(crate) struct Batch {
    pub(super) changes: Vec<Pending>,
    /// Of sets, with what becomes of them.
    pub(super) members: Vec<Member>,
    pub(super) durability: Durability,
}

pub(super) struct Pending {
    pub(super) key: RecordKey,
    pub(super) value: Value,
}

/// What becomes of one member of a set.
pub(super) struct Member {
    pub(super) set: &'static str,
    pub(super) key: Vec<u8>,
    pub(super) is_in: bool,
}

pub(super) enum Value {
    Deleted,
    /// Room for the nonce, then the plaintext.
    Plain(Zeroizing<Vec<u8>>),
    Sealed(Vec<u8>),
}

/// A record that is encrypted already, by one of several threads that share the work of a commit.
pub(crate) struct Sealed(pub(super) Pending);

impl Batch {
    pub(crate) fn new() -> Self {
        Self { changes: Vec::new(), members: Vec::new(), durability: Durability::Synced }
    }

    /// Stores a record. The value is serialised now, so that it may change before the commit.
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, key: &RecordKey, value: &T) -> Result<()> {
        let value = Value::Plain(seal::serialise(key.collection, value)?);
        self.changes.push(Pending { key: key.clone(), value });
        Ok(())
    }

    /// Stores a record that the vault has encrypted.
    pub(crate) fn put_sealed(&mut self, sealed: Sealed) {
        self.changes.push(sealed.0);
    }

    /// Deletes a record, if there is one.
    pub(crate) fn delete(&mut self, key: &RecordKey) {
        self.changes.push(Pending { key: key.clone(), value: Value::Deleted });
    }

    /// Puts a name into a list of a set, if it is not there. A list is in the order of its names, and
    /// a name is some texts without NUL, of which the first counts most.
    pub(crate) fn note(&mut self, list: &RecordPrefix, name: &[&str]) {
        self.members.push(Member::new(list, name, true));
    }

    /// Takes a name out of a list, if it is there.
    pub(crate) fn unnote(&mut self, list: &RecordPrefix, name: &[&str]) {
        self.members.push(Member::new(list, name, false));
    }

    /// Adds what another batch changes.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.changes.append(&mut other.changes);
        self.members.append(&mut other.members);
    }

    /// Lets the commit return before the changes are synced to disk. Only for
    /// batches without anything that keeps a key from being used twice.
    pub(crate) fn relaxed(&mut self) {
        self.durability = Durability::Relaxed;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.members.is_empty()
    }
}

impl Member {
    fn new(list: &RecordPrefix, name: &[&str], is_in: bool) -> Self {
        let key = [list.bytes(), name.join("\0").as_bytes()].concat();
        Self { set: list.collection(), key, is_in }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
impl Batch {
    /// Makes all records look like ones of another format.
    pub(super) fn set_record_format(&mut self, format: u8) {
        for change in &mut self.changes {
            if let Value::Plain(value) = &mut change.value {
                value[seal::NONCE_LENGTH] = format;
            }
        }
    }

    /// Stores bytes that no version of this library would write.
    pub(super) fn put_plaintext(&mut self, key: &RecordKey, plaintext: &[u8]) {
        let value = Zeroizing::new([&[0; seal::NONCE_LENGTH], plaintext].concat());
        let value = Value::Plain(value);
        self.changes.push(Pending { key: key.clone(), value });
    }
}
