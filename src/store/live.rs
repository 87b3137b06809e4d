//! One live state per stored object.
//!
//! All handles opened on one store for the same account, channel or session
//! share one `Live`, so that two of them never work on diverging copies of a
//! ratchet. The store holds the truth: a change that fails drops the state, and
//! the next call reads what the store really has (SEC-114).

use std::any::Any;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::record_key::RecordKey;
use crate::error::{E2eeError, Result};

/// A shared in-memory object whose truth is in the store.
pub(crate) struct Live<S> {
    cell: Mutex<Cell<S>>,
}

enum Cell<S> {
    Unloaded,
    /// An `Arc` with one owner, so that a guard can take the state out and put
    /// it back without a moment in which it has nothing to show.
    Loaded(Arc<S>),
    Erased,
}

impl<S> Live<S> {
    /// A state that the first call reads from the store.
    pub(crate) fn new() -> Self {
        Self { cell: Mutex::new(Cell::Unloaded) }
    }

    /// Locks the state, reading it with `load` if need be. `NOT_FOUND` if the
    /// store has none or it was erased; `PANIC` if a call before unwound.
    pub(crate) fn lock(
        &self,
        load: impl FnOnce() -> Result<Option<S>>,
    ) -> Result<LiveGuard<'_, S>> {
        let mut cell = self.cell()?;
        let state = match std::mem::replace(&mut *cell, Cell::Unloaded) {
            Cell::Loaded(state) => state,
            Cell::Unloaded => Arc::new(load()?.ok_or_else(not_found)?),
            Cell::Erased => {
                *cell = Cell::Erased;
                return Err(not_found());
            }
        };
        Ok(LiveGuard { state, cell, valid: true })
    }

    /// Creates what does not exist yet. `make` commits to the store and returns
    /// the state; if it fails, nothing is kept. `ALREADY_EXISTS` if there is a
    /// state here or in the store, `NOT_FOUND` if this one was erased.
    pub(crate) fn create(
        &self,
        load: impl FnOnce() -> Result<Option<S>>,
        make: impl FnOnce() -> Result<S>,
    ) -> Result<()> {
        let mut cell = self.cell()?;
        match &*cell {
            Cell::Loaded(_) => return Err(already_exists()),
            Cell::Erased => return Err(not_found()),
            Cell::Unloaded => {}
        }
        if let Some(state) = load()? {
            *cell = Cell::Loaded(Arc::new(state));
            return Err(already_exists());
        }
        *cell = Cell::Loaded(Arc::new(make()?));
        Ok(())
    }

    /// Erases the state for all its handles, once `commit` has succeeded. If it
    /// fails, the state is what the store then says.
    pub(crate) fn erase(
        &self,
        load: impl FnOnce() -> Result<Option<S>>,
        commit: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut guard = self.lock(load)?;
        guard.valid = false;
        commit()?;
        *guard.cell = Cell::Erased;
        Ok(())
    }

    /// Takes the state out of memory, showing it to `last` before anybody else can read it anew.
    /// `None` if there is none, or if a call before unwound.
    pub(crate) fn take<R>(&self, last: impl FnOnce(&S) -> R) -> Option<R> {
        self.cell.lock().ok().and_then(|cell| take(cell, last))
    }

    /// As `take`, without waiting: `None` also if the state is in use.
    pub(crate) fn try_take<R>(&self, last: impl FnOnce(&S) -> R) -> Option<R> {
        self.cell.try_lock().ok().and_then(|cell| take(cell, last))
    }

    fn cell(&self) -> Result<MutexGuard<'_, Cell<S>>> {
        self.cell.lock().map_err(|_| {
            E2eeError::panic("an earlier call on this object failed inside; reopen the store")
        })
    }
}

fn take<S, R>(mut cell: MutexGuard<'_, Cell<S>>, last: impl FnOnce(&S) -> R) -> Option<R> {
    match std::mem::replace(&mut *cell, Cell::Unloaded) {
        Cell::Loaded(state) => Some(last(&state)),
        other => {
            *cell = other;
            None
        }
    }
}

/// The state, locked.
///
/// The fields are dropped in this order: this guard's `Arc` is gone before the
/// next holder of the lock asks to be the only one.
pub(crate) struct LiveGuard<'a, S> {
    state: Arc<S>,
    /// `Unloaded` for as long as the guard holds the state.
    cell: MutexGuard<'a, Cell<S>>,
    /// Whether the state is what the store holds, and goes back to the cell.
    valid: bool,
}

impl<S> LiveGuard<'_, S> {
    /// Changes the state. `change` works on it and commits; if it fails or
    /// unwinds, the state is dropped with this guard, and the next call reads
    /// what the store holds. Until then `Deref` shows the failed attempt, and
    /// another change on this guard is refused.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut S) -> Result<R>) -> Result<R> {
        if !self.valid {
            return Err(E2eeError::store_io(
                "an earlier change failed; the state must be read again",
            ));
        }
        let state = Arc::get_mut(&mut self.state)
            .ok_or_else(|| E2eeError::panic("a state was shared outside of its lock"))?;
        // Until the change has succeeded: it may unwind.
        self.valid = false;
        let result = change(state)?;
        self.valid = true;
        Ok(result)
    }

    /// As `change`, for work that can fail before it has changed anything: it
    /// sets its second argument once it has, and a failure before that keeps the
    /// state, so that bad input costs no reload.
    pub(crate) fn change_late<R>(
        &mut self,
        change: impl FnOnce(&mut S, &mut bool) -> Result<R>,
    ) -> Result<R> {
        let mut begun = false;
        let was_valid = self.valid;
        let result = self.change(|state| change(state, &mut begun));
        self.valid |= was_valid && !begun;
        result
    }
}

impl<S> Deref for LiveGuard<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> Drop for LiveGuard<'_, S> {
    fn drop(&mut self) {
        if self.valid {
            *self.cell = Cell::Loaded(Arc::clone(&self.state));
        }
    }
}

/// Which live objects a store has, so that a second handle finds the first one's.
pub(crate) struct LiveRegistry {
    entries: Mutex<Entries>,
}

struct Entries {
    objects: HashMap<RecordKey, Weak<dyn Any + Send + Sync>>,
    prune_at: usize,
}

const FIRST_PRUNE: usize = 64;

impl LiveRegistry {
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::new(Entries { objects: HashMap::new(), prune_at: FIRST_PRUNE }) }
    }

    /// The live object of a record, made by `make` if no handle has one. `make`
    /// must not touch the registry. A record has one type of object.
    pub(crate) fn get_or_insert<T: Send + Sync + 'static>(
        &self,
        key: &RecordKey,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let mut entries = self.entries();
        let known = entries.objects.get(key).and_then(Weak::upgrade);
        if let Some(object) = known.and_then(|object| object.downcast::<T>().ok()) {
            return object;
        }
        let object = Arc::new(make());
        let erased: Arc<dyn Any + Send + Sync> = object.clone();
        entries.prune();
        entries.objects.insert(key.clone(), Arc::downgrade(&erased));
        object
    }

    /// Makes the next handle start anew; for a record that was erased.
    pub(crate) fn forget(&self, key: &RecordKey) {
        self.entries().objects.remove(key);
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

fn not_found() -> E2eeError {
    E2eeError::not_found("nothing of that name is stored, or it was erased")
}

fn already_exists() -> E2eeError {
    E2eeError::already_exists("an object of that name is stored already")
}
