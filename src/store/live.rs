//! One live state per stored object.
//!
//! All handles opened on one store for the same account, channel or session
//! share one `Live`, so that two of them never work on diverging copies of a
//! ratchet. The store holds the truth: a change that fails drops the state, and
//! the next call reads what the store really has (SEC-114).
//!
//! Who works on a state takes it out of its `Live` and puts it back; others wait meanwhile. A
//! `Transaction` does that for all that it changes.

use std::mem;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{E2eeError, Result};

/// A shared in-memory object whose truth is in the store.
pub(crate) struct Live<S> {
    cell: Mutex<Cell<S>>,
    put_back: Condvar,
}

enum Cell<S> {
    Unloaded,
    /// An `Arc` with one owner, so that a state can be put back without a moment in which its
    /// user has nothing to show, and without a copy of its secrets on the stack.
    Loaded(Arc<S>),
    Taken,
    Erased,
    /// Somebody unwound while he had it.
    Failed,
}

/// A state out of its `Live`, or the place for one that is not in memory. Whoever holds this is the
/// only one. Dropped, it leaves nothing in memory: the next call reads the store.
pub(super) struct Place<L: Deref<Target = Live<S>>, S> {
    live: L,
    /// Whether the holder's thread was unwinding before.
    was_panicking: bool,
    is_done: bool,
}

impl<S> Live<S> {
    /// A state that the first call reads from the store.
    pub(crate) fn new() -> Self {
        Self { cell: Mutex::new(Cell::Unloaded), put_back: Condvar::new() }
    }

    /// Whether the state was erased: what is stored by now under its name is another one.
    pub(crate) fn is_erased(&self) -> bool {
        matches!(*self.cell(), Cell::Erased)
    }

    /// Takes the state out of memory, showing it to `last` before anybody else can read it anew.
    /// `None` if there is none, or if a call before unwound.
    pub(crate) fn retire<R>(&self, last: impl FnOnce(&S) -> R) -> Option<R> {
        let (_place, state) = Place::wait(self).ok()?;
        state.map(|state| last(&state))
    }

    /// As `retire`, without waiting: `None` also if the state is in use.
    pub(crate) fn try_retire<R>(&self, last: impl FnOnce(&S) -> R) -> Option<R> {
        let (_place, state) = Place::without_waiting(self)?;
        state.map(|state| last(&state))
    }

    fn cell(&self) -> MutexGuard<'_, Cell<S>> {
        // Nothing unwinds while it is locked.
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, next: Cell<S>) {
        // Of those who find no state to take, none would wake the next.
        let is_final = matches!(next, Cell::Erased | Cell::Failed);
        *self.cell() = next;
        if is_final { self.put_back.notify_all() } else { self.put_back.notify_one() }
    }
}

impl<S> Cell<S> {
    /// `None` if somebody has it already.
    fn take(&mut self) -> Result<Option<Option<Arc<S>>>> {
        match mem::replace(self, Self::Taken) {
            Self::Loaded(state) => Ok(Some(Some(state))),
            Self::Unloaded => Ok(Some(None)),
            Self::Taken => Ok(None),
            Self::Erased => {
                *self = Self::Erased;
                Err(not_found())
            }
            Self::Failed => {
                *self = Self::Failed;
                Err(E2eeError::panic(
                    "an earlier call on this object failed inside; reopen the store",
                ))
            }
        }
    }
}

impl<L: Deref<Target = Live<S>>, S> Place<L, S> {
    /// Waits until nobody else has the state and takes it out, if it is in memory. `NOT_FOUND` if it
    /// was erased; `PANIC` if a call before unwound.
    pub(super) fn wait(live: L) -> Result<(Self, Option<Arc<S>>)> {
        let mut cell = live.cell();
        let state = loop {
            if let Some(state) = cell.take()? {
                break state;
            }
            cell = live.put_back.wait(cell).unwrap_or_else(PoisonError::into_inner);
        };
        drop(cell);
        Ok((Self::of(live), state))
    }

    /// As `wait`; `None` where it would wait or fail.
    pub(super) fn without_waiting(live: L) -> Option<(Self, Option<Arc<S>>)> {
        let state = live.cell().take().ok()??;
        Some((Self::of(live), state))
    }

    /// To be made by whoever has taken the state, at once.
    fn of(live: L) -> Self {
        Self { live, was_panicking: thread::panicking(), is_done: false }
    }

    /// Puts a state back that is what the store has.
    pub(super) fn put_back(mut self, state: Arc<S>) {
        self.end(Cell::Loaded(state));
    }

    /// For a state that is no more, in the store either.
    pub(super) fn erase(mut self) {
        self.end(Cell::Erased);
    }

    fn end(&mut self, next: Cell<S>) {
        if mem::replace(&mut self.is_done, true) {
            return;
        }
        let has_failed = thread::panicking() && !self.was_panicking;
        self.live.put(if has_failed { Cell::Failed } else { next });
    }
}

impl<L: Deref<Target = Live<S>>, S> Drop for Place<L, S> {
    fn drop(&mut self) {
        self.end(Cell::Unloaded);
    }
}

pub(super) fn not_found() -> E2eeError {
    E2eeError::not_found("nothing of that name is stored, or it was erased")
}

pub(super) fn already_exists() -> E2eeError {
    E2eeError::already_exists("an object of that name is stored already")
}
