//! What is still to be written when a store is shut down.

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use super::batch::Batch;
use crate::error::Result;

/// An object whose state in memory is ahead of its record.
pub(crate) trait WriteBack: Send + Sync {
    /// Adds to the batch what the next opening must find, and takes the state out of memory. The
    /// store is shut down by then: whoever would read the state again must ask it first, under
    /// the lock of the state, and is refused. So the batch stays true until it is committed.
    fn write_back(&self, batch: &mut Batch) -> Result<()>;
}

/// All objects of a store that may have something to write back.
pub(super) struct WriteBacks {
    list: Mutex<List>,
}

struct List {
    objects: Vec<Weak<dyn WriteBack>>,
    prune_at: usize,
}

const FIRST_PRUNE: usize = 64;

impl WriteBacks {
    pub(super) fn new() -> Self {
        Self { list: Mutex::new(List { objects: Vec::new(), prune_at: FIRST_PRUNE }) }
    }

    /// Dead ones go whenever the list has doubled, so that it stays in proportion to the living.
    pub(super) fn add(&self, object: Weak<dyn WriteBack>) {
        let mut list = self.list();
        if list.objects.len() >= list.prune_at {
            list.objects.retain(|object| object.strong_count() > 0);
            list.prune_at = list.objects.len().saturating_mul(2).max(FIRST_PRUNE);
        }
        list.objects.push(object);
    }

    /// What all of them have to write.
    pub(super) fn collect(&self) -> Result<Batch> {
        // Without the lock: an object may wait for a call that is under way.
        let objects = std::mem::take(&mut self.list().objects);
        let mut batch = Batch::new();
        for object in objects.iter().filter_map(Weak::upgrade) {
            object.write_back(&mut batch)?;
        }
        Ok(batch)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // A list of weak references is whole at every step.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
