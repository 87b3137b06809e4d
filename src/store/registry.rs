//! Which live objects a store has, so that a second handle finds the first one's.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::recent::{Recent, address};
use super::record_key::RecordKey;

/// The live objects of a store or of an account, by their records.
pub(crate) struct LiveRegistry {
    entries: Mutex<Entries>,
}

struct Entries {
    /// By the short form of their keys: there may be one for each session of the account.
    objects: HashMap<[u8; 16], Weak<dyn Any + Send + Sync>>,
    prune_at: usize,
    recent: Recent,
    retired: bool,
}

const FIRST_PRUNE: usize = 64;

impl LiveRegistry {
    pub(crate) fn new() -> Self {
        Self {
            entries: Mutex::new(Entries {
                objects: HashMap::new(),
                prune_at: FIRST_PRUNE,
                recent: Recent::default(),
                retired: false,
            }),
        }
    }

    /// The live object of a record, made by `make` if no handle has one. `make`
    /// must not touch the registry. A record has one type of object.
    pub(crate) fn get_or_insert<T: Send + Sync + 'static>(
        &self,
        key: &RecordKey,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut entries = self.entries();
        let known = entries.objects.get(&key.short()).and_then(Weak::upgrade);
        if let Some(object) = known.and_then(|object| object.downcast::<T>().ok()) {
            return object;
        }
        let object = Arc::new(make());
        let erased: Arc<dyn Any + Send + Sync> = object.clone();
        entries.prune();
        entries.objects.insert(key.short(), Arc::downgrade(&erased));
        object
    }

    /// Notes that an object is used, and keeps it in memory without a handle
    /// until enough others of its collection have been used since.
    pub(crate) fn keep<T: Send + Sync + 'static>(&self, key: &RecordKey, object: &Arc<T>) {
        let mut entries = self.entries();
        let known = entries.objects.get(&key.short()).map(|known| address(known.as_ptr()));
        // Not one that was erased meanwhile.
        if entries.retired || known != Some(address(Arc::as_ptr(object))) {
            return;
        }
        let outdated = entries.recent.insert(key.collection, object.clone());
        // Without the lock: a state takes its time to be wiped.
        drop(entries);
        drop(outdated);
    }

    /// Makes the next handle start anew; for a record that was erased.
    pub(crate) fn forget(&self, key: &RecordKey) {
        let mut entries = self.entries();
        let known = entries.objects.remove(&key.short());
        let outdated =
            known.and_then(|known| entries.recent.remove(key.collection, address(known.as_ptr())));
        drop(entries);
        drop(outdated);
    }

    /// Keeps nothing in memory any more beyond its handles.
    pub(crate) fn retire(&self) {
        let mut entries = self.entries();
        entries.retired = true;
        let outdated = std::mem::take(&mut entries.recent);
        drop(entries);
        drop(outdated);
    }

    /// How many objects are known, dead ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries().objects.len()
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // A map of weak references is whole at every step.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    /// Drops dead entries whenever the map has doubled, so that its size stays
    /// in proportion to the living ones at a constant cost.
    fn prune(&mut self) {
        if self.objects.len() >= self.prune_at {
            self.objects.retain(|_, object| object.strong_count() > 0);
            self.prune_at = self.objects.len().saturating_mul(2).max(FIRST_PRUNE);
        }
    }
}
