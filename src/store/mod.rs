//! Where everything durable lives: an encrypted store, its clock, and the one
//! live state of each object opened on it.
//!
//! `RecordStore` keeps opaque bytes, in SQLite, in memory or in a backend of the host's. The vault above it
//! encrypts. The registry of live objects above that makes all handles of one
//! object share one state.

pub(crate) mod collections;
pub mod contract;
mod foreign;
mod header;
mod live;
mod memory;
mod record_key;
mod record_store;
mod secret_buffer;
mod sqlite;
mod sqlite_file;
#[cfg(test)]
mod tests;
mod vault;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use foreign::{StoreBackend, StoreChange, StoreEntry};
#[allow(unused_imports)] // Until the rooms above use them.
pub(crate) use live::{Live, LiveGuard, LiveRegistry};
#[allow(unused_imports)]
pub(crate) use record_key::{RecordKey, RecordPrefix};
#[allow(unused_imports)]
pub(crate) use record_store::{Change, Durability, Entry, RecordStore};
#[allow(unused_imports)]
pub(crate) use vault::{Batch, Vault};

use crate::environment::{
    Clock, Process, RandomBytes, SystemClock, SystemRandom, check_not_in_callback, read_clock,
};
use crate::error::{E2eeError, Result};
use foreign::ForeignStore;
use memory::MemoryStore;
use sqlite::SqliteStore;

/// An encrypted store: the accounts, channels and sessions of one or more
/// devices, and the clock that serves them.
///
/// A store survives its handles: what is opened on it keeps it open until
/// [`shut_down`](Self::shut_down).
pub struct Store {
    vault: Vault,
    live: LiveRegistry,
    clock: Mutex<Arc<dyn Clock>>,
    process: Process,
    shut_down: AtomicBool,
}

impl Store {
    /// Makes a store that is gone when it is dropped. `key` has 32 bytes.
    pub fn in_memory(key: &[u8]) -> Result<Arc<Self>> {
        Self::with_record_store(Box::new(MemoryStore::new()), key, Arc::new(SystemRandom))
    }

    /// Opens the store in the SQLite file at `path`, making it if it does not
    /// exist. `key` has 32 bytes and must be the one the store was made with.
    ///
    /// The file belongs to one opener at a time, here and in all processes;
    /// another one fails with `STORE_IN_USE`. Beside it stand SQLite's log
    /// (`-wal`) while it is open, and an empty lock file (`-lock`) for good.
    /// After `fork()`, the child must not open a file that was open at the fork.
    pub fn open_sqlite(path: &str, key: &[u8]) -> Result<Arc<Self>> {
        check_not_in_callback()?;
        check_key(key)?;
        Self::with_record_store(Box::new(SqliteStore::open(path)?), key, Arc::new(SystemRandom))
    }

    /// Opens the store that a backend of the caller's own keeps, or makes a new one if it keeps
    /// nothing yet. `key` has 32 bytes and must be the one the store was made with.
    ///
    /// The backend is dropped when the store is shut down, or with the store: at a moment in which
    /// none of its methods runs. A forked child leaves it alone.
    pub fn foreign(backend: Arc<dyn StoreBackend>, key: &[u8]) -> Result<Arc<Self>> {
        let records = Box::new(ForeignStore::new(backend));
        Self::with_record_store(records, key, Arc::new(SystemRandom))
    }

    /// Opens a store on any place for records.
    pub(crate) fn with_record_store(
        records: Box<dyn RecordStore>,
        key: &[u8],
        random: Arc<dyn RandomBytes>,
    ) -> Result<Arc<Self>> {
        check_not_in_callback()?;
        // First of all: in a forked child it reseeds the random generator.
        let process = Process::current()?;
        Ok(Arc::new(Self {
            vault: Vault::open(records, key, random)?,
            live: LiveRegistry::new(),
            clock: Mutex::new(Arc::new(SystemClock)),
            process,
            shut_down: AtomicBool::new(false),
        }))
    }

    /// Replaces the clock of this store and of everything opened on it.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) -> Result<()> {
        self.enter()?;
        let mut current = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let former = std::mem::replace(&mut *current, clock);
        drop(current);
        // Only now, without the lock: dropping it may call the host.
        drop(former);
        Ok(())
    }

    /// The time by this store's clock, as Unix time in milliseconds.
    pub fn now_ms(&self) -> Result<i64> {
        let clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        read_clock(&clock)
    }

    /// Closes the store for all its handles; they answer `STORE_CLOSED` from
    /// then on. A second call does nothing. After `fork()`, the child's store is
    /// not touched, and the answer is `FORKED`.
    pub fn shut_down(&self) -> Result<()> {
        check_not_in_callback()?;
        self.process.check()?;
        self.shut_down.store(true, Ordering::Release);
        self.vault.close()
    }

    /// The checks that come first in every call on this store or on anything
    /// opened on it.
    pub(crate) fn enter(&self) -> Result<()> {
        check_not_in_callback()?;
        self.process.check()?;
        if self.shut_down.load(Ordering::Acquire) {
            return Err(E2eeError::store_closed("the store was shut down"));
        }
        Ok(())
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn live(&self) -> &LiveRegistry {
        &self.live
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Before a file is made for a key that cannot open it.
fn check_key(key: &[u8]) -> Result<()> {
    header::cipher(key).map(drop)
}
