//! Changes that are committed together.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use zeroize::Zeroizing;

use super::record_key::{RecordKey, RecordPrefix};
use super::record_store::Durability;
use super::seal;
use crate::error::Result;

/// Changes that are committed together: the last one of each record.
pub(crate) struct Batch {
    pub(super) changes: Vec<Pending>,
    /// Of sets: whether each is in from now on.
    pub(super) members: Members,
    pub(super) durability: Durability,
    /// Where each record stands among the changes, by the short form of its key.
    places: HashMap<[u8; 16], usize>,
}

pub(super) struct Pending {
    pub(super) key: RecordKey,
    pub(super) value: Value,
}

/// By their sets and keys.
pub(super) type Members = BTreeMap<(&'static str, Vec<u8>), bool>;

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
        Self {
            changes: Vec::new(),
            members: Members::new(),
            durability: Durability::Relaxed,
            places: HashMap::new(),
        }
    }

    /// Stores a record. The value is serialised now, so that it may change before the commit.
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, key: &RecordKey, value: &T) -> Result<()> {
        self.durability = Durability::Synced;
        self.put_relaxed(key, value)
    }

    /// As `put`, for what keeps no key from being used twice: alone, it need not be on disk when
    /// the commit returns.
    pub(crate) fn put_relaxed<T: Serialize + ?Sized>(
        &mut self,
        key: &RecordKey,
        value: &T,
    ) -> Result<()> {
        let value = Value::Plain(seal::serialise(key.collection, value)?);
        self.change(Pending { key: key.clone(), value });
        Ok(())
    }

    /// Stores a record that the vault has encrypted.
    pub(crate) fn put_sealed(&mut self, sealed: Sealed) {
        self.durability = Durability::Synced;
        self.change(sealed.0);
    }

    /// Deletes a record, if there is one.
    pub(crate) fn delete(&mut self, key: &RecordKey) {
        self.durability = Durability::Synced;
        self.change(Pending { key: key.clone(), value: Value::Deleted });
    }

    /// Puts a name into a list of a set, if it is not there. A list is in the order of its names, and
    /// a name is some texts without NUL, of which the first counts most.
    pub(crate) fn note(&mut self, list: &RecordPrefix, name: &[&str]) {
        self.members.insert(member(list, name), true);
    }

    /// Takes a name out of a list, if it is there.
    pub(crate) fn unnote(&mut self, list: &RecordPrefix, name: &[&str]) {
        self.members.insert(member(list, name), false);
    }

    /// What becomes of the names of a list.
    pub(super) fn members_of<'a>(
        &'a self,
        list: &'a RecordPrefix,
    ) -> impl Iterator<Item = (&'a [u8], bool)> + 'a {
        self.members.range((list.collection(), list.bytes().to_vec())..).map_while(
            |((set, key), is_in)| {
                let name = key.strip_prefix(list.bytes())?;
                (*set == list.collection()).then_some((name, *is_in))
            },
        )
    }

    fn change(&mut self, change: Pending) {
        match self.places.entry(change.key.short()) {
            Entry::Vacant(entry) => {
                entry.insert(self.changes.len());
            }
            Entry::Occupied(entry) => match self.changes.get_mut(*entry.get()) {
                Some(known) if known.key == change.key => {
                    *known = change;
                    return;
                }
                // Of a record that nobody here has written: it is only deleted.
                _ => {}
            },
        }
        self.changes.push(change);
    }

    /// What is to become of a record.
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Value> {
        let change = self.changes.get(*self.places.get(&key.short())?)?;
        (change.key == *key).then_some(&change.value)
    }

    /// The keys of the records under a prefix that are to be stored.
    pub(super) fn keys_under<'a>(
        &'a self,
        prefix: &'a RecordPrefix,
    ) -> impl Iterator<Item = RecordKey> + 'a {
        let is_there = |change: &&Pending| {
            change.key.collection == prefix.collection()
                && prefix.covers(change.key.bytes())
                && !matches!(change.value, Value::Deleted)
        };
        self.changes.iter().filter(is_there).map(|change| change.key.clone())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.members.is_empty()
    }
}

fn member(list: &RecordPrefix, name: &[&str]) -> (&'static str, Vec<u8>) {
    (list.collection(), [list.bytes(), name.join("\0").as_bytes()].concat())
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
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
        self.durability = Durability::Synced;
        self.change(Pending { key: key.clone(), value });
    }
}
