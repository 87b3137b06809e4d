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

use super::recent::{Recent, address};
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
        let mut lock = self.hold()?;
        if let Some(place) = lock.missing() {
            *place = load()?.map(Arc::new);
        }
        lock.into_guard()
    }

    /// Locks the state without reading it. `NOT_FOUND` if it was erased; `PANIC` if a call before
    /// unwound.
    pub(crate) fn hold(&self) -> Result<LiveLock<'_, S>> {
        Self::lock_of(self.cell()?)
    }

    fn lock_of(mut cell: MutexGuard<'_, Cell<S>>) -> Result<LiveLock<'_, S>> {
        let state = match std::mem::replace(&mut *cell, Cell::Unloaded) {
            Cell::Loaded(state) => Some(state),
            Cell::Unloaded => None,
            Cell::Erased => {
                *cell = Cell::Erased;
                return Err(not_found());
            }
        };
        Ok(LiveLock { was_missing: state.is_none(), state, cell })
    }

    /// As `hold`, without waiting: `None` if the state is in use, was erased, or a call before
    /// unwound.
    pub(crate) fn try_hold(&self) -> Option<LiveLock<'_, S>> {
        let cell = self.cell.try_lock().ok()?;
        Self::lock_of(cell).ok()
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

    /// Forgets what is in memory: the next call reads the store. For a change of the store that
    /// did not pass through this object, made while nobody else could use it.
    pub(crate) fn unload(&self) -> Result<()> {
        let mut cell = self.cell()?;
        if matches!(*cell, Cell::Loaded(_)) {
            *cell = Cell::Unloaded;
        }
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

    /// Whether the state was erased: what is stored by now under its name is another one.
    pub(crate) fn is_erased(&self) -> bool {
        self.cell().is_ok_and(|cell| matches!(*cell, Cell::Erased))
    }

    fn cell(&self) -> Result<MutexGuard<'_, Cell<S>>> {
        self.cell.lock().map_err(|_| {
            E2eeError::panic("an earlier call on this object failed inside; reopen the store")
        })
    }
}

/// The lock of a state that may still have to be read. Dropped without becoming a guard, it
/// leaves the state unread.
pub(crate) struct LiveLock<'a, S> {
    state: Option<Arc<S>>,
    was_missing: bool,
    /// `Unloaded` for as long as the lock holds the state.
    cell: MutexGuard<'a, Cell<S>>,
}

impl<'a, S> LiveLock<'a, S> {
    /// Where to put the state, if it is not in memory.
    pub(crate) fn missing(&mut self) -> Option<&mut Option<Arc<S>>> {
        if self.state.is_none() { Some(&mut self.state) } else { None }
    }

    pub(super) fn was_missing(&self) -> bool {
        self.was_missing
    }

    /// `NOT_FOUND` if there is no state, here or in the store.
    pub(crate) fn into_guard(self) -> Result<LiveGuard<'a, S>> {
        let Self { state, cell, .. } = self;
        Ok(LiveGuard { state: state.ok_or_else(not_found)?, cell, valid: true })
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
        let result = change(self.begin_change()?)?;
        self.finish_change();
        Ok(result)
    }

    /// Begins a change that is one of several with a common commit. Unless
    /// `finish_change` follows it, the state is dropped with this guard.
    pub(crate) fn begin_change(&mut self) -> Result<&mut S> {
        if !self.valid {
            return Err(E2eeError::store_io(
                "an earlier change failed; the state must be read again",
            ));
        }
        let state = Arc::get_mut(&mut self.state)
            .ok_or_else(|| E2eeError::panic("a state was shared outside of its lock"))?;
        // Until the change has succeeded: it may unwind.
        self.valid = false;
        Ok(state)
    }

    /// The change that was begun is what the store holds.
    pub(crate) fn finish_change(&mut self) {
        self.valid = true;
    }

    /// The change that was begun was the deletion of the object, and is what the store holds: all
    /// its handles answer NOT_FOUND.
    pub(crate) fn finish_erase(mut self) {
        self.valid = false;
        *self.cell = Cell::Erased;
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

fn not_found() -> E2eeError {
    E2eeError::not_found("nothing of that name is stored, or it was erased")
}

fn already_exists() -> E2eeError {
    E2eeError::already_exists("an object of that name is stored already")
}
