//! Records in memory: for tests, and for hosts that keep nothing.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record_store::{Change, Durability, Entry, RecordStore};
use crate::error::{E2eeError, Result};

type Collections = HashMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

/// A record store that is gone with the process. `None` once it is closed.
pub(crate) struct MemoryStore {
    collections: Mutex<Option<Collections>>,
}

impl MemoryStore {
    pub(crate) fn new() -> Self {
        Self { collections: Mutex::new(Some(HashMap::new())) }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Collections) -> T) -> Result<T> {
        // Nothing below can unwind halfway through a commit, except for want
        // of memory, which aborts the process.
        let mut guard: MutexGuard<'_, Option<Collections>> =
            self.collections.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_mut().map(work).ok_or_else(|| E2eeError::store_closed("the store was shut down"))
    }
}

impl RecordStore for MemoryStore {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|collections| collections.get(collection)?.get(key).cloned())
    }

    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.with(|collections| {
            collections
                .get(collection)
                .into_iter()
                .flat_map(|records| records.range::<[u8], _>((start, Bound::Unbounded)))
                .take(limit)
                .map(|(key, value)| Entry { key: key.clone(), value: value.clone() })
                .collect()
        })
    }

    fn commit(&self, changes: Vec<Change>, _durability: Durability) -> Result<()> {
        self.with(|collections| {
            for Change { collection, key, value } in changes {
                let records = collections.entry(collection).or_default();
                match value {
                    Some(mut value) => {
                        // It came with room to grow.
                        value.shrink_to_fit();
                        records.insert(key, value)
                    }
                    None => records.remove(&key),
                };
            }
        })
    }

    fn close(&self) -> Result<()> {
        *self.collections.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}
