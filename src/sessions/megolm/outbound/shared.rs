//! What all handles on one session share, and how its state gets back to disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::record::{self, OutboundState};
use crate::error::Result;
use crate::sessions::account::Account;
use crate::store::{Batch, Life, Live, RecordKey, WriteBack};

pub(super) struct Shared {
    pub(super) state: Arc<Live<OutboundState>>,
    key: RecordKey,
    account: Life,
    handles: AtomicUsize,
}

impl Shared {
    pub(super) fn new(account: &Account, key: &RecordKey) -> Self {
        Self {
            state: Arc::new(Live::new()),
            key: key.clone(),
            account: account.life().clone(),
            handles: AtomicUsize::new(0),
        }
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes a handle away; the last one writes the state back.
    ///
    /// This is done while the handle still holds this object, so that whoever opens the session
    /// meanwhile finds the same object and its lock. Once it is gone, another one may have read
    /// the record, and writing then would put an old ratchet in place of a newer one.
    ///
    /// What cannot be written back is skipped by the next load: after a fork, inside a callback,
    /// in a store that is closed, or when the commit fails. A state in use has a new handle,
    /// whose end will come.
    pub(super) fn remove_handle(&self, account: &Account) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let Some(_entered) = account.enter_to_leave() else { return };
        let _nobody_to_tell = self.state.try_retire(|state| {
            let mut batch = Batch::new();
            self.put_back(state, &mut batch)?;
            account.vault().commit(batch)
        });
    }

    /// Nothing to do if nothing is reserved: the next load skips to this index.
    fn put_back(&self, state: &OutboundState, batch: &mut Batch) -> Result<()> {
        if state.has_reserved() {
            record::put_unreserved(&self.key, state, batch)?;
        }
        Ok(())
    }
}

impl WriteBack for Shared {
    fn write_back(&self, batch: &mut Batch) -> Result<()> {
        let Ok(_entered) = self.account.enter() else { return Ok(()) };
        self.state.retire(|state| self.put_back(state, batch)).unwrap_or(Ok(()))
    }
}
