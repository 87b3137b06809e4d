//! Where everything durable lives: an encrypted store, its clock, and the one
//! live state of each object opened on it.
//!
//! `RecordStore` keeps opaque bytes, in SQLite, in memory or in a backend of the host's. The vault above it
//! encrypts. The registry of live objects above that makes all handles of one
//! object share one state.

mod batch;
pub(crate) mod collections;
pub mod contract;
mod foreign;
mod former_manifest;
mod header;
mod index;
mod life;
mod live;
mod manifest;
mod memory;
mod recent;
mod record_key;
mod record_store;
mod records;
mod registry;
mod seal;
mod seal_all;
mod secret_buffer;
mod sqlite;
mod sqlite_file;
mod taken;
#[cfg(test)]
mod tests;
mod transaction;
mod user_key;
mod vault;
mod write_back;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub(crate) use batch::{Batch, Sealed};
pub use foreign::{StoreBackend, StoreChange, StoreEntry};
pub use life::Access;
pub(crate) use life::Life;
pub(crate) use live::Live;
pub(crate) use record_key::{RecordKey, RecordPrefix};
pub(crate) use record_store::RecordStore;
#[cfg(test)]
pub(crate) use record_store::{Change, Durability, Entry};
pub(crate) use records::Records;
pub(crate) use registry::LiveRegistry;
pub use taken::Taken;
pub use transaction::Transaction;
pub(crate) use vault::{Problem, SetOf, Vault};
pub(crate) use write_back::WriteBack;

use crate::base::environment::{
    Clock, Process, RandomBytes, SystemClock, SystemRandom, check_not_in_callback, read_clock,
};
use crate::error::{E2eeError, Result};
use foreign::ForeignStore;
use memory::MemoryStore;
use sqlite::SqliteStore;
use user_key::UserKey;
use write_back::WriteBacks;

/// An encrypted store: the accounts, channels and sessions of one or more
/// devices, and the clock that serves them.
///
/// A store survives its handles: what is opened on it keeps it open until
/// [`shut_down`](Self::shut_down).
pub struct Store {
    vault: Vault,
    live: LiveRegistry,
    /// What the accounts that are open have in memory.
    registries: Mutex<Vec<Weak<LiveRegistry>>>,
    clock: Mutex<Arc<dyn Clock>>,
    process: Process,
    write_backs: WriteBacks,
    shut_down: AtomicBool,
    /// Held while the store is being shut down.
    shutting_down: Mutex<()>,
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
        Self::open_file(path, UserKey::Key(key))
    }

    /// As [`open_sqlite`](Self::open_sqlite), with a passphrase in place of the key. Argon2id
    /// makes it into a key, which takes some 0.2 seconds and 64 MiB of memory.
    pub fn open_sqlite_with_passphrase(path: &str, passphrase: &str) -> Result<Arc<Self>> {
        Self::open_file(path, UserKey::Passphrase(passphrase))
    }

    fn open_file(path: &str, user_key: UserKey<'_>) -> Result<Arc<Self>> {
        check_not_in_callback()?;
        // Before a file is made that nobody could open.
        user_key.check()?;
        Self::open_with(Box::new(SqliteStore::open(path)?), user_key, Arc::new(SystemRandom))
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
        Self::open_with(records, UserKey::Key(key), random)
    }

    fn open_with(
        records: Box<dyn RecordStore>,
        user_key: UserKey<'_>,
        random: Arc<dyn RandomBytes>,
    ) -> Result<Arc<Self>> {
        check_not_in_callback()?;
        // First of all: in a forked child it reseeds the random generator.
        let process = Process::current()?;
        Ok(Arc::new(Self {
            vault: Vault::open(records, user_key, random)?,
            live: LiveRegistry::new(),
            registries: Mutex::default(),
            clock: Mutex::new(Arc::new(SystemClock)),
            process,
            write_backs: WriteBacks::new(),
            shut_down: AtomicBool::new(false),
            shutting_down: Mutex::new(()),
        }))
    }

    /// From now on the store is opened with this key of 32 bytes, and no longer with the former
    /// key or passphrase. One small record is rewritten, at once: a crash leaves the former or
    /// the new one working.
    pub fn rekey(&self, new_key: &[u8]) -> Result<()> {
        self.enter()?;
        self.vault.write_header(UserKey::Key(new_key))
    }

    /// As [`rekey`](Self::rekey), with a passphrase.
    pub fn rekey_with_passphrase(&self, passphrase: &str) -> Result<()> {
        self.enter()?;
        self.vault.write_header(UserKey::Passphrase(passphrase))
    }

    /// Reads the whole store and says what is damaged, missing or too much in it.
    pub(crate) fn problems(&self) -> Result<Vec<Problem>> {
        self.enter()?;
        self.vault.problems()
    }

    /// Copies what is good into a new SQLite file, which is opened with `key`, 32 bytes.
    pub fn salvage(&self, path: &str, key: &[u8]) -> Result<()> {
        self.enter()?;
        // Before a file is made that nobody could open.
        let user_key = UserKey::Key(key);
        user_key.check()?;
        self.vault.salvage(Box::new(SqliteStore::open(path)?), user_key)
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
        let now = read_clock(&clock)?;
        // The host's code may have forked, and two processes would go on with one state.
        self.process.check()?;
        Ok(now)
    }

    /// Closes the store for all its handles; they answer `STORE_CLOSED` from
    /// then on. What memory knows better than the disk is written first, in one
    /// commit; if that fails, the store is closed all the same. A second call
    /// does nothing. After `fork()`, the child's store is not touched, and the
    /// answer is `FORKED`.
    pub fn shut_down(&self) -> Result<()> {
        check_not_in_callback()?;
        self.process.check()?;
        // A second caller returns when the first has written everything.
        let _alone = self.shutting_down.lock().unwrap_or_else(PoisonError::into_inner);
        // First of all: nothing is read into memory again from now on.
        self.shut_down.store(true, Ordering::Release);
        for registry in self.registries().drain(..) {
            registry.upgrade().inspect(|registry| registry.retire());
        }
        let written = self.write_backs.collect().and_then(|batch| self.vault.commit(batch));
        let closed = self.vault.close();
        written.and(closed)
    }

    /// Has an object write its state back when the store is shut down.
    pub(crate) fn add_write_back(&self, object: Weak<dyn WriteBack>) {
        self.write_backs.add(object);
    }

    /// The checks that come first in every call on this store or on anything
    /// opened on it.
    pub(crate) fn enter(&self) -> Result<()> {
        self.enter_to_leave()?;
        if self.shut_down.load(Ordering::Acquire) {
            return Err(E2eeError::store_closed("the store was shut down"));
        }
        Ok(())
    }

    /// As `enter`, for what is written at the end of a handle: also while the store is being shut
    /// down, which writes for those only that are still there.
    pub(crate) fn enter_to_leave(&self) -> Result<()> {
        check_not_in_callback()?;
        self.process.check()
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
    }

    pub(crate) fn live(&self) -> &LiveRegistry {
        &self.live
    }

    /// A registry for what is opened on an account; shutting the store down empties it.
    pub(crate) fn new_registry(&self) -> Arc<LiveRegistry> {
        let registry = Arc::new(LiveRegistry::new());
        let mut registries = self.registries();
        registries.retain(|known| known.strong_count() > 0);
        registries.push(Arc::downgrade(&registry));
        registry
    }

    fn registries(&self) -> MutexGuard<'_, Vec<Weak<LiveRegistry>>> {
        self.registries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").finish_non_exhaustive()
    }
}
