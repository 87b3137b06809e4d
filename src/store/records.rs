//! The records of the store, as they will be once a transaction is committed.

use serde::de::DeserializeOwned;

use super::batch::{Batch, Value};
use super::record_key::RecordKey;
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
