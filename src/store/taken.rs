//! The states that a transaction has taken.
//!
//! Between their uses they are at `Home`, in the transaction. Whoever works on one has it as a `Taken`,
//! beside the transaction, which he can use meanwhile.

use std::any::Any;
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use super::live::{Live, Place};
use crate::error::{E2eeError, Result};

/// How far a state has changed since it was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It is what the store has.
    Unchanged,
    /// It is what the store has after the commit.
    Changed,
    /// A change began and did not come to its end.
    HalfChanged,
    /// The store has nothing of it after the commit.
    Erased,
}

/// All states of a transaction, whatever their types.
pub(super) trait States: Any {
    /// Whether it may be committed.
    fn check(&self) -> Result<()>;
    /// It was committed.
    fn note_stored(&self);
    /// There was no state, and there will be none.
    fn is_empty(&self) -> bool;
}

/// A state that a transaction has taken, or the place for one.
pub(super) struct Home<S>(RefCell<Held<S>>);

struct Held<S> {
    state: Option<Arc<S>>,
    progress: Progress,
    /// The store was asked.
    is_read: bool,
    /// Somebody works on it.
    is_out: bool,
    /// Until it was given back.
    place: Option<Place<Arc<Live<S>>, S>>,
}

impl<S> Home<S> {
    /// Waits until nobody else has the state.
    pub(super) fn wait(live: &Arc<Live<S>>) -> Result<Self> {
        let (place, state) = Place::wait(Arc::clone(live))?;
        Ok(Self::new(place, state))
    }

    /// `None` if somebody else has the state, or nobody can have it any more.
    pub(super) fn without_waiting(live: &Arc<Live<S>>) -> Option<Self> {
        let (place, state) = Place::without_waiting(Arc::clone(live))?;
        Some(Self::new(place, state))
    }

    fn new(place: Place<Arc<Live<S>>, S>, state: Option<Arc<S>>) -> Self {
        Self(RefCell::new(Held {
            is_read: state.is_some(),
            state,
            progress: Progress::Unchanged,
            is_out: false,
            place: Some(place),
        }))
    }

    pub(super) fn is_unread(&self) -> bool {
        !self.0.borrow().is_read
    }

    /// Takes what the store has.
    pub(super) fn fill(&self, state: Option<S>) {
        let mut held = self.0.borrow_mut();
        held.is_read = true;
        held.state = state.map(Arc::new);
    }

    /// Takes a new state, unless there is one.
    pub(super) fn create(&self, state: S) -> bool {
        let mut held = self.0.borrow_mut();
        if held.state.is_some() || held.is_out || held.progress != Progress::Unchanged {
            return false;
        }
        held.is_read = true;
        held.state = Some(Arc::new(state));
        held.progress = Progress::Changed;
        true
    }
}

impl<S: 'static> States for Home<S> {
    fn check(&self) -> Result<()> {
        let held = self.0.borrow();
        if held.is_out {
            return Err(E2eeError::panic("a state is still being worked on"));
        }
        check_whole(held.progress)
    }

    fn note_stored(&self) {
        let mut held = self.0.borrow_mut();
        if held.progress == Progress::Erased
            && let Some(place) = held.place.take()
        {
            place.erase();
        }
        held.progress = Progress::Unchanged;
    }

    fn is_empty(&self) -> bool {
        let held = self.0.borrow();
        held.state.is_none() && !held.is_out && held.progress == Progress::Unchanged
    }
}

impl<S> Drop for Held<S> {
    /// What is not what the store has is out of memory.
    fn drop(&mut self) {
        if let (Some(place), Some(state), Progress::Unchanged) =
            (self.place.take(), self.state.take(), self.progress)
        {
            place.put_back(state);
        }
    }
}

/// A state in work. It goes back to its transaction when this is dropped.
///
/// The fields are dropped in this order: the state has one owner whenever it is asked for.
pub struct Taken<S: 'static> {
    state: Arc<S>,
    progress: Progress,
    home: Rc<Home<S>>,
}

impl<S> Taken<S> {
    pub(super) fn out_of(home: Rc<Home<S>>) -> Result<Option<Self>> {
        let mut held = home.0.borrow_mut();
        if held.is_out {
            return Err(E2eeError::panic("a state was taken twice in one call"));
        }
        let Some(state) = held.state.take() else { return Ok(None) };
        held.is_out = true;
        let progress = held.progress;
        drop(held);
        Ok(Some(Self { state, progress, home }))
    }

    /// Changes the state. If `change` fails, the transaction cannot be committed any more: the
    /// state in the store is then the last whole one.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut S) -> Result<R>) -> Result<R> {
        let result = change(self.begin_change()?)?;
        self.finish_change();
        Ok(result)
    }

    /// As `change`, for work that leaves the state as it was if it fails.
    pub(crate) fn try_change<R>(&mut self, change: impl FnOnce(&mut S) -> Result<R>) -> Result<R> {
        let former = self.progress;
        let result = change(self.begin_change()?);
        self.progress = if result.is_ok() { Progress::Changed } else { former };
        result
    }

    /// Begins a change. Unless `finish_change` follows it, the transaction cannot be committed.
    pub(crate) fn begin_change(&mut self) -> Result<&mut S> {
        check_whole(self.progress)?;
        let state = Arc::get_mut(&mut self.state)
            .ok_or_else(|| E2eeError::panic("a state was shared outside of its transaction"))?;
        self.progress = Progress::HalfChanged;
        Ok(state)
    }

    /// The change that was begun is whole.
    pub(crate) fn finish_change(&mut self) {
        self.progress = Progress::Changed;
    }

    /// For a state whose records are deleted in this transaction.
    pub(crate) fn erase(mut self) {
        self.progress = Progress::Erased;
    }
}

impl<S> Deref for Taken<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> Drop for Taken<S> {
    fn drop(&mut self) {
        let mut held = self.home.0.borrow_mut();
        held.is_out = false;
        held.progress = self.progress;
        held.state =
            if self.progress == Progress::Erased { None } else { Some(Arc::clone(&self.state)) };
    }
}

fn check_whole(progress: Progress) -> Result<()> {
    if progress == Progress::HalfChanged {
        return Err(E2eeError::store_io("an earlier change failed; the state must be read again"));
    }
    Ok(())
}
