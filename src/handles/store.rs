use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::environment::Clock;
use crate::error::Result;
use crate::store;

/// An encrypted store: the accounts, channels and sessions of one or more devices, and the clock
/// that serves them. What is opened on a store keeps it alive until it is shut down.
///
/// Beside the errors that a method names, each call on what is opened on a store may answer
/// NOT_FOUND (the object was erased), STORE_CLOSED, STORE_IO, CORRUPT or NEWER_FORMAT (a record),
/// BUSY (inside a callback), FORKED (after a fork) and PANIC (an error in the library itself).
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct Store {
    pub(super) core: Arc<store::Store>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

#[cfg_attr(feature = "uniffi", uniffi::export)]
impl Store {
    /// Makes a store in memory: it is gone when its last user is.
    ///
    /// `key`: 32 random bytes. Errors: INVALID_LENGTH.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn in_memory(key: Vec<u8>) -> Result<Arc<Self>> {
        let key = Zeroizing::new(key);
        Ok(Arc::new(Self { core: store::Store::in_memory(&key)? }))
    }

    /// Opens the store in one SQLite file, which is made if it does not exist.
    ///
    /// Everything in it is encrypted. One opener at a time, here and in all processes.
    ///
    /// `path`: the file; beside it stand a `-wal` file while it is open and a `-lock` file.
    /// `key`: 32 bytes, random, the same at every opening; best kept in the system's key store.
    ///
    /// Errors: INVALID_LENGTH, INVALID_FIELD (the path names no file), WRONG_KEY, STORE_IN_USE,
    /// NEWER_FORMAT, CORRUPT, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn open_sqlite(path: &str, key: Vec<u8>) -> Result<Arc<Self>> {
        let key = Zeroizing::new(key);
        Ok(Arc::new(Self { core: store::Store::open_sqlite(path, &key)? }))
    }

    /// Replaces the clock that serves this store and everything opened on it.
    ///
    /// Errors: STORE_CLOSED.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) -> Result<()> {
        self.core.set_clock(clock)
    }

    /// Closes the store. Every handle opened on it answers STORE_CLOSED from then on. A second
    /// call does nothing.
    ///
    /// Errors: STORE_IO.
    pub fn shut_down(&self) -> Result<()> {
        self.core.shut_down()
    }
}
