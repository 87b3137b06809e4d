//! What the store must hold: notices records that are missing, too many, or put back to an
//! earlier state, which no encryption of single records can show.
//!
//! Each stored record has an element: a keyed hash of its place and of the nonce and tag of its
//! encryption, which no earlier or later state of any record shares. The manifest keeps, for each
//! collection, how many records there are and the exclusive or of their elements (an incremental
//! multiset hash: Clarke, Devadas, van Dijk, Gassend, Suh, "Incremental Multiset Hash Functions
//! and Their Application to Memory Integrity Checking", ASIACRYPT 2003). Every commit writes it,
//! encrypted, with what it changes: a store that was changed anywhere else does not add up.
//!
//! A collection is added up when it is first used, and the elements stay in memory (about 60
//! bytes a record), so that later each record is checked when it is read. The whole store put
//! back to an earlier state looks right: only something outside of it could tell (SEC-115).

use std::collections::{BTreeMap, HashMap};

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use sha2::Sha256;

use crate::error::{E2eeError, Result};

const LENGTH: usize = 16;

/// The hash of one state of one record.
pub(super) type Element = [u8; LENGTH];

/// Makes elements.
pub(super) struct ElementHash(Hmac<Sha256>);

impl ElementHash {
    pub(super) fn new(keyed: Hmac<Sha256>) -> Self {
        Self(keyed)
    }

    /// The element of a record; `state` differs for each of its states.
    pub(super) fn element(&self, collection: &str, key: &[u8], state: &[u8]) -> Element {
        let mut hash = self.0.clone();
        for part in [collection.as_bytes(), key] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(state);
        let whole: [u8; 32] = hash.finalize().into_bytes().into();
        let mut element = [0; LENGTH];
        element.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        element
    }
}

/// How many records a collection has, and the sum of their elements.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    count: u64,
    elements: ByteArray<LENGTH>,
}

impl Sum {
    fn flip(&mut self, element: &Element) {
        self.elements.iter_mut().zip(element).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// The manifest as it is stored.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Counts the commits, so that a store that answers with an old manifest is noticed.
    pub(super) revision: u64,
    header: ByteArray<LENGTH>,
    collections: BTreeMap<String, Sum>,
}

impl Manifest {
    /// Remembers which header belongs to the store.
    pub(super) fn set_header(&mut self, element: Element) {
        self.header = ByteArray::new(element);
    }

    /// A header that was put back would let an old key open the store again.
    pub(super) fn check_header(&self, element: &Element) -> Result<()> {
        if *self.header == *element {
            Ok(())
        } else {
            Err(E2eeError::corrupt("the header of the store is not the one written last"))
        }
    }

    /// Notes that a record now has another state, or none.
    pub(super) fn replace(
        &mut self,
        collection: &str,
        old: Option<&Element>,
        new: Option<&Element>,
    ) {
        if !self.collections.contains_key(collection) {
            self.collections.insert(collection.to_owned(), Sum::default());
        }
        let Some(sum) = self.collections.get_mut(collection) else { return };
        if let Some(old) = old {
            sum.flip(old);
            sum.count = sum.count.saturating_sub(1);
        }
        if let Some(new) = new {
            sum.flip(new);
            sum.count = sum.count.saturating_add(1);
        }
    }

    /// Whether these are the records that the collection must have.
    pub(super) fn check(&self, collection: &str, known: &Known) -> Result<()> {
        let expected = self.collections.get(collection).copied().unwrap_or_default();
        let mut found = Sum { count: known.elements.len() as u64, ..Sum::default() };
        known.elements.values().for_each(|element| found.flip(element));
        let problem = match found.count.cmp(&expected.count) {
            std::cmp::Ordering::Less => "are missing",
            std::cmp::Ordering::Greater => "were added from elsewhere",
            std::cmp::Ordering::Equal if found.elements == expected.elements => return Ok(()),
            std::cmp::Ordering::Equal => "are not as they were written last",
        };
        Err(E2eeError::corrupt(format!("records of \"{collection}\" {problem}")))
    }
}

/// The records of one collection: their elements by the end of their keys, which is a hash of
/// the whole name; and how many there are under each beginning of a name.
#[derive(Default)]
pub(super) struct Known {
    elements: HashMap<[u8; LENGTH], Element>,
    beginnings: HashMap<[u8; LENGTH], u32>,
}

impl Known {
    pub(super) fn each(&self, each: impl FnMut(&Element)) {
        self.elements.values().for_each(each);
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Element> {
        self.elements.get(key.last_chunk()?)
    }

    /// Gives the element that the record had before. `None` as the key is no key of ours.
    pub(super) fn insert(&mut self, key: &[u8], element: Element) -> Option<Element> {
        let name = *key.last_chunk()?;
        let old = self.elements.insert(name, element);
        if old.is_none() {
            for beginning in beginnings(key) {
                let count = self.beginnings.entry(*beginning).or_default();
                *count = count.saturating_add(1);
            }
        }
        old
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Element> {
        let old = self.elements.remove(key.last_chunk::<LENGTH>()?)?;
        for beginning in beginnings(key) {
            if let Some(count) = self.beginnings.get_mut(beginning) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.beginnings.remove(beginning);
                }
            }
        }
        Some(old)
    }

    /// How many records there are at least whose keys begin with `prefix`.
    pub(super) fn count_under(&self, prefix: &[u8]) -> usize {
        match prefix.last_chunk() {
            None => self.elements.len(),
            Some(beginning) => self.beginnings.get(beginning).map_or(0, |count| *count as usize),
        }
    }
}

/// The beginnings under which a record stands: all levels of its key but its own.
fn beginnings(key: &[u8]) -> impl Iterator<Item = &[u8; LENGTH]> {
    let parents = key.len().saturating_sub(LENGTH.saturating_mul(2));
    key.get(..parents).unwrap_or_default().as_chunks().0.iter()
}
