//! Whether an object and what stands under it may be used: from its opening until it is erased.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{E2eeError, Result};

/// Shared by all handles on an account and by what stands under it: whether it was erased.
#[derive(Clone, Default)]
pub(crate) struct Life(Arc<RwLock<bool>>);

/// Proof that the account may be used; it cannot be erased while this is held.
pub struct Access<'a> {
    _guard: Guard<'a>,
}

enum Guard<'a> {
    /// With others.
    Shared { _guard: RwLockReadGuard<'a, bool> },
    /// Nobody else has access.
    Alone { _guard: RwLockWriteGuard<'a, bool> },
}

impl Life {
    /// Holds the account in life. Once in a call: a second time in one thread could wait for an
    /// `erase` that waits for the first.
    pub(crate) fn enter(&self) -> Result<Access<'_>> {
        let erased = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if *erased {
            return Err(E2eeError::not_found("the account was erased"));
        }
        Ok(Access { _guard: Guard::Shared { _guard: erased } })
    }

    /// Waits until nobody else uses the account, and keeps it so.
    pub(crate) fn enter_alone(&self) -> Result<Access<'_>> {
        let erased = self.end();
        if *erased {
            return Err(E2eeError::not_found("the account was erased"));
        }
        Ok(Access { _guard: Guard::Alone { _guard: erased } })
    }

    /// As `enter`, without waiting.
    pub(crate) fn try_enter(&self) -> Option<Access<'_>> {
        let erased = self.0.try_read().ok()?;
        (!*erased).then_some(Access { _guard: Guard::Shared { _guard: erased } })
    }

    /// For erasing it: waits until nobody uses the account.
    pub(crate) fn end(&self) -> RwLockWriteGuard<'_, bool> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
