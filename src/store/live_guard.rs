//! A state under its lock, for calls that commit by themselves.

use std::ops::Deref;
use std::sync::Arc;

use super::live::{Live, Place, already_exists, not_found};
use crate::error::{E2eeError, Result};

impl<S> Live<S> {
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

    /// Locks the state without reading it.
    pub(crate) fn hold(&self) -> Result<LiveLock<'_, S>> {
        let (place, state) = Place::wait(self)?;
        Ok(LiveLock { was_missing: state.is_none(), state, place })
    }

    /// Creates what does not exist yet.
    pub(crate) fn create(
        &self,
        load: impl FnOnce() -> Result<Option<S>>,
        make: impl FnOnce() -> Result<S>,
    ) -> Result<()> {
        let (place, state) = Place::wait(self)?;
        if let Some(state) = state {
            place.put_back(state);
            return Err(already_exists());
        }
        if let Some(state) = load()? {
            place.put_back(Arc::new(state));
            return Err(already_exists());
        }
        place.put_back(Arc::new(make()?));
        Ok(())
    }

    /// Erases the state for all its handles, once `commit` has succeeded.
    pub(crate) fn erase(
        &self,
        load: impl FnOnce() -> Result<Option<S>>,
        commit: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let mut guard = self.lock(load)?;
        guard.valid = false;
        commit()?;
        guard.place.0.take().map(Place::erase);
        Ok(())
    }

    /// Forgets what is in memory: the next call reads the store.
    pub(crate) fn unload(&self) -> Result<()> {
        match Place::wait(self) {
            Err(E2eeError::NotFound { .. }) => Ok(()),
            other => other.map(drop),
        }
    }
}

pub(crate) struct LiveLock<'a, S> {
    state: Option<Arc<S>>,
    was_missing: bool,
    place: Place<&'a Live<S>, S>,
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
        let Self { state, place, .. } = self;
        Ok(LiveGuard {
            state: state.ok_or_else(not_found)?,
            place: Back(Some(place), None),
            valid: true,
        })
    }
}

/// The state, locked.
pub(crate) struct LiveGuard<'a, S> {
    state: Arc<S>,
    place: Back<'a, S>,
    /// Whether the state is what the store holds, and goes back to the cell.
    valid: bool,
}

impl<S> LiveGuard<'_, S> {
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut S) -> Result<R>) -> Result<R> {
        let result = change(self.begin_change()?)?;
        self.finish_change();
        Ok(result)
    }

    pub(crate) fn begin_change(&mut self) -> Result<&mut S> {
        if !self.valid {
            return Err(E2eeError::store_io(
                "an earlier change failed; the state must be read again",
            ));
        }
        let state = Arc::get_mut(&mut self.state)
            .ok_or_else(|| E2eeError::panic("a state was shared outside of its lock"))?;
        self.valid = false;
        Ok(state)
    }

    pub(crate) fn finish_change(&mut self) {
        self.valid = true;
    }

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
            self.place.1 = Some(Arc::clone(&self.state));
        }
    }
}

/// Puts the state back once its guard's own reference is gone.
struct Back<'a, S>(Option<Place<&'a Live<S>, S>>, Option<Arc<S>>);

impl<S> Drop for Back<'_, S> {
    fn drop(&mut self) {
        if let (Some(place), Some(state)) = (self.0.take(), self.1.take()) {
            place.put_back(state);
        }
    }
}
