//! The one record that vouches for all others: each commit writes it, encrypted, with what it
//! changes. It has the roots of the index, so a store that was changed anywhere else does not fit
//! it. The whole store put back to an earlier state looks right: only something outside of it
//! could tell (SEC-115).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::collections::{self, MANIFEST};
use super::former_manifest::Unconverted;
use super::header::{Header, STORE_FORMAT};
use super::index::Root;
use super::record_store::RecordStore;
use super::seal::Seal;
use crate::error::{E2eeError, Result};

pub(super) const KEY: &[u8] = b"manifest";

/// The manifest as it is stored.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Counts the commits, so that a store that answers with an old manifest is noticed.
    pub(super) revision: u64,
    header: ByteBuf,
    /// The ID of the next new node of the index. None is given twice.
    pub(super) next_node: u64,
    roots: BTreeMap<String, Root>,
    /// What a store of a former format still has to put into the index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) unconverted: BTreeMap<String, Unconverted>,
}

impl Manifest {
    pub(super) fn read(records: &dyn RecordStore, seal: &Seal) -> Result<Self> {
        let value = records
            .get(MANIFEST, KEY)?
            .ok_or_else(|| E2eeError::corrupt("the manifest of the store is missing"))?;
        seal.open(MANIFEST, KEY, value)
    }

    /// Remembers which header belongs to the store.
    pub(super) fn set_header(&mut self, header: &Header) {
        self.header = ByteBuf::from(header.digest());
    }

    /// A header that was put back would let an old key open the store again.
    pub(super) fn check_header(&self, header: &Header) -> Result<()> {
        if self.header == header.digest() {
            Ok(())
        } else {
            Err(E2eeError::corrupt("the header of the store is not the one written last"))
        }
    }

    /// The index of a collection; `None` if it has no records.
    pub(super) fn root(&self, collection: &str) -> Option<&Root> {
        self.roots.get(collection)
    }

    pub(super) fn set_root(&mut self, collection: &str, root: Option<Root>) {
        match (root, self.roots.get_mut(collection)) {
            (Some(root), Some(known)) => *known = root,
            (Some(root), None) => drop(self.roots.insert(collection.to_owned(), root)),
            (None, _) => drop(self.roots.remove(collection)),
        }
    }

    /// A newer version may have collections that this one does not know. Commits keep them.
    pub(super) fn check_all_known(&self) -> Result<()> {
        if self.roots.keys().all(|name| collections::is_known(name)) {
            return Ok(());
        }
        Err(E2eeError::NewerFormat {
            detail: "the store has records of a newer version of this library".to_owned(),
            found: STORE_FORMAT.saturating_add(1),
            supported: STORE_FORMAT,
        })
    }

    pub(super) fn roots_mut(&mut self) -> impl Iterator<Item = &mut Root> {
        self.roots.values_mut()
    }
}
