//! The records of the store, as they will be once a transaction is committed.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::batch::{Batch, Value};
use super::record_key::{RecordKey, RecordPrefix};
use super::vault::Vault;
use crate::error::Result;

/// The store's records with what is to be changed in them.
pub(crate) struct Records<'a> {
    vault: &'a Vault,
    pending: Batch,
}

impl<'a> Records<'a> {
    /// The records as they are stored.
    pub(crate) fn of(vault: &'a Vault) -> Self {
        Self { vault, pending: Batch::new() }
    }

    pub(super) fn vault(&self) -> &'a Vault {
        self.vault
    }

    pub(super) fn pending_mut(&mut self) -> &mut Batch {
        &mut self.pending
    }

    /// Reads a record.
    pub(crate) fn read<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<T>> {
        match self.pending.get(key) {
            None => self.vault.read(key),
            Some(Value::Deleted) => Ok(None),
            Some(value) => self.vault.read_pending(key, value).map(Some),
        }
    }

    /// The first names of a list of a set, at most `limit`. CORRUPT if the set has to be built anew.
    pub(crate) fn first_names(&self, list: &RecordPrefix, limit: usize) -> Result<Vec<String>> {
        let pending: BTreeMap<&[u8], bool> = self.pending.members_of(list).collect();
        // As many more as may have gone.
        let gone = pending.values().filter(|is_in| !**is_in).count();
        let stored = self.vault.names(list, &[], limit.saturating_add(gone))?;
        let mut names: BTreeSet<String> = stored.into_iter().collect();
        for (name, is_in) in pending {
            let name = String::from_utf8_lossy(name).into_owned();
            if is_in {
                names.insert(name);
            } else {
                names.remove(&name);
            }
        }
        Ok(names.into_iter().take(limit).collect())
    }

    /// All records whose names begin with these parts, in no telling order. Where a record guards
    /// the use of keys, a damaged or missing one is CORRUPT; elsewhere it is left out.
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<(RecordKey, T)>> {
        let mut found: Vec<(RecordKey, T)> = self.vault.scan(collection, parts)?;
        found.retain(|(key, _)| self.pending.get(key).is_none());
        for key in self.pending.keys_under(&self.vault.prefix(collection, parts)) {
            found.extend(self.read(&key)?.map(|record| (key, record)));
        }
        Ok(found)
    }

    /// The keys of all records whose names begin with these parts, damaged, missing and unexpected
    /// ones included: what has to be deleted, so that nothing is left.
    pub(crate) fn scan_keys(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<RecordKey>> {
        let mut found = self.vault.scan_keys(collection, parts)?;
        found.extend(self.pending.keys_under(&self.vault.prefix(collection, parts)));
        Ok(found)
    }
}
