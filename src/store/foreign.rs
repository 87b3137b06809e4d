//! A store of the host's own: another program's code keeps the records.
//!
//! The backend gets nothing but hashed keys and ciphertexts (see `vault`), so it may be any
//! database, and what it alters is noticed above. This layer notices a backend that breaks the
//! rules of `StoreBackend`, and turns every failure of it into `STORE_IO`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use super::record_store::{Change, Durability, Entry, RecordStore};
use crate::base::environment::{Process, check_not_in_callback, in_callback, was_cut_short};
use crate::error::{E2eeError, Result};

/// The longest piece of a backend's own words that our errors repeat. A key of 32 bytes has at
/// least 43 characters.
const LONGEST_WORDS: usize = 40;

/// One record, as a scan finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Record))]
pub struct StoreEntry {
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value.
    pub value: Vec<u8>,
}

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Record))]
pub struct StoreChange {
    /// The collection that the record is in.
    pub collection: String,
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's new value; null deletes the record, if there is one.
    pub value: Option<Vec<u8>>,
}

/// A place for records, for a store of your own: a database, a server, a file.
///
/// A record is a value under a key in a collection. The names of collections have 1 to 32 lower-case
/// letters and underscores; there are a few of them, and new versions of the library may bring more.
/// Keys have 1 to 255 bytes and values at least one; any byte may occur. Both are hashed or
/// encrypted before they get here: a backend needs no cryptography and sees no secret.
///
/// The methods run on the thread of the call that needs them, on several threads at once. They must
/// not call back into the library (`BUSY`), nor wait for a thread that is inside a call of it. Any
/// error, exception or panic fails that call with `STORE_IO`. The library repeats no text of it,
/// except a `STORE_IO` detail of at most 40 letters, digits, spaces and hyphens: `disk full`.
///
/// *One opener*: only one store may be open on the same records at a time; two would use the same
/// message keys. The library cannot see to that here: the backend must.
#[cfg_attr(feature = "uniffi", uniffi::export(rust, foreign))]
pub trait StoreBackend: Send + Sync {
    /// The value of a key as the last commit left it, or null if there is none.
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>>;

    /// The first records of a collection whose keys are greater than `after_key`, or the first of
    /// all if that is null, in the order of their keys.
    ///
    /// Keys are compared byte by byte, as unsigned numbers; a key comes before every longer key
    /// that begins with it. `limit` is at least 1. There may be fewer records in the answer only
    /// if the collection has no more.
    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>>;

    /// Makes all changes, in their order, or none of them, even if the process dies meanwhile.
    /// On return they are on disk, and seen by every later call on any thread.
    ///
    /// After an error the library reads again what it had in memory, so the changes may have been
    /// made or not; but never some of them, and never later: what is not made when this returns
    /// must not be made after the next call has begun.
    fn commit(&self, changes: Vec<StoreChange>) -> Result<()>;
}

/// A record store on a backend.
pub(crate) struct ForeignStore {
    /// `None` once it is closed. Every call of the backend holds the lock for reading, so that
    /// closing waits for all of them.
    backend: RwLock<Option<Arc<dyn StoreBackend>>>,
    process: Process,
}

impl ForeignStore {
    pub(crate) fn new(backend: Arc<dyn StoreBackend>) -> Self {
        Self { backend: RwLock::new(Some(backend)), process: Process::here() }
    }

    fn call<T>(
        &self,
        action: &str,
        work: impl FnOnce(&dyn StoreBackend) -> Result<T>,
    ) -> Result<T> {
        // A callback that came back here might wait for itself.
        check_not_in_callback()?;
        let backend = self.backend.read().unwrap_or_else(PoisonError::into_inner);
        let backend =
            backend.as_deref().ok_or_else(|| E2eeError::store_closed("the store was shut down"))?;
        let result = in_callback(|| catch_unwind(AssertUnwindSafe(|| work(backend))))
            .unwrap_or_else(|_| Err(E2eeError::store_io("it panicked")))
            .and_then(|result| match was_cut_short() {
                true => Err(E2eeError::store_io("it was interrupted")),
                false => Ok(result),
            })
            .map_err(|error| failed(action, &error))?;
        // The host's code may have forked, and two processes would go on with one state.
        if !self.process.is_current() {
            return Err(E2eeError::forked("the backend forked; open a store of your own"));
        }
        Ok(result)
    }
}

#[cfg(test)]
impl ForeignStore {
    pub(super) fn pretend_to_be_forked(&mut self) {
        self.process = Process::none();
    }
}

impl RecordStore for ForeignStore {
    fn takes_passphrases(&self) -> bool {
        false
    }

    fn is_read_by_any_thread(&self) -> bool {
        false
    }

    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.call("get", |backend| backend.get(collection.to_owned(), key.to_vec()))
    }

    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let at_most = u32::try_from(limit).unwrap_or(u32::MAX);
        if at_most == 0 {
            return Ok(Vec::new());
        }
        // To a backend, the beginning of a collection is null and nothing else.
        let after = after.filter(|after| !after.is_empty());
        let entries = self.call("scan", |backend| {
            backend.scan(collection.to_owned(), after.map(<[u8]>::to_vec), at_most)
        })?;
        check_page(&entries, after, limit)?;
        Ok(entries.into_iter().map(|StoreEntry { key, value }| Entry { key, value }).collect())
    }

    fn commit(&self, changes: Vec<Change>, _durability: Durability) -> Result<()> {
        let changes = changes
            .into_iter()
            .map(|Change { collection, key, value }| StoreChange {
                collection: collection.to_owned(),
                key,
                value,
            })
            .collect();
        self.call("commit", |backend| backend.commit(changes))
    }

    fn close(&self) -> Result<()> {
        check_not_in_callback()?;
        let backend = self.backend.write().unwrap_or_else(PoisonError::into_inner).take();
        // Only now, without the lock: the end of the backend is the host's code, too.
        in_callback(|| drop(backend));
        Ok(())
    }
}

impl Drop for ForeignStore {
    fn drop(&mut self) {
        let backend = self.backend.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.process.is_current() {
            in_callback(|| drop(backend));
        } else {
            // A forked child has a copy of its parent's backend: its end might close the parent's
            // connection to a database.
            std::mem::forget(backend);
        }
    }
}

/// A list of records that is not what was asked for is the backend's mistake, and STORE_IO:
/// CORRUPT would say that what is stored was damaged.
fn check_page(entries: &[StoreEntry], after: Option<&[u8]>, limit: usize) -> Result<()> {
    if entries.len() > limit {
        return Err(E2eeError::store_io("the backend listed more records than it was asked for"));
    }
    let keys = entries.iter().map(|entry| Some(entry.key.as_slice()));
    // `None`, where the collection begins, comes before every key.
    if !std::iter::once(after).chain(keys).is_sorted_by(|one, next| one < next) {
        return Err(E2eeError::store_io("the backend listed its records out of order"));
    }
    Ok(())
}

/// Says what the backend was asked to do. What it says itself might name its host or password, so
/// only a few plain words are repeated.
fn failed(action: &str, error: &E2eeError) -> E2eeError {
    let plain = |words: &str| {
        (1..=LONGEST_WORDS).contains(&words.len())
            && words.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -".contains(&byte))
    };
    E2eeError::store_io(match error {
        E2eeError::StoreIo { detail } if plain(detail) => {
            format!("the backend failed to {action}: {detail}")
        }
        other => format!("the backend failed to {action} ({})", other.name()),
    })
}
