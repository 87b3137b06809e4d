use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::base::environment::Clock;
use crate::base::json;
use crate::error::Result;
use crate::store::{self, StoreBackend};

/// An encrypted store: the accounts, channels and sessions of one or more devices, and the clock
/// that serves them. What is opened on a store keeps it alive until it is shut down.
///
/// Beside the errors that a method names, each call on what is opened on a store may answer
/// NOT_FOUND (the object was erased), STORE_CLOSED, STORE_IO, CORRUPT or NEWER_FORMAT (a record),
/// BUSY (inside a callback), FORKED (after a fork) and PANIC (an error in the library itself).
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct Store {
    pub(crate) core: Arc<store::Store>,
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

    /// As `open_sqlite`, with a passphrase that a person types in place of a key.
    ///
    /// Argon2id (RFC 9106: 64 MiB, 3 passes, 4 lanes) makes it into a key: that takes some 0.2
    /// seconds, at each opening.
    ///
    /// Errors: INVALID_LENGTH (an empty passphrase), WRONG_KEY (another passphrase, or a store
    /// that is opened with a key), otherwise as `open_sqlite`.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn open_sqlite_with_passphrase(path: &str, passphrase: String) -> Result<Arc<Self>> {
        let passphrase = Zeroizing::new(passphrase);
        Ok(Arc::new(Self { core: store::Store::open_sqlite_with_passphrase(path, &passphrase)? }))
    }

    /// Lets another key open the store from now on, in place of the former key or passphrase.
    ///
    /// One small record is rewritten, at once, and is durable when this returns: a crash leaves
    /// the former key working or the new one. The records are not encrypted anew: who has the
    /// former key and a copy of the file from before can also read and change later states of it.
    ///
    /// `new_key`: 32 random bytes.
    ///
    /// Errors: INVALID_LENGTH, STORE_CLOSED, STORE_IO.
    pub fn rekey(&self, new_key: Vec<u8>) -> Result<()> {
        self.core.rekey(&Zeroizing::new(new_key))
    }

    /// As `rekey`, with a passphrase: from now on `open_sqlite_with_passphrase` opens the store.
    ///
    /// Errors: INVALID_LENGTH (an empty passphrase), INVALID_FIELD (a foreign store, which is
    /// opened with keys only), STORE_CLOSED, STORE_IO.
    pub fn rekey_with_passphrase(&self, passphrase: String) -> Result<()> {
        self.core.rekey_with_passphrase(&Zeroizing::new(passphrase))
    }

    /// Opens a store whose records are kept by a backend of your own, or makes a new one if the
    /// backend keeps nothing yet. Everything is encrypted before it gets there.
    ///
    /// `backend`: the place for the records. It is released when the store is shut down or its last
    /// user is gone, never while one of its methods runs.
    /// `key`: 32 bytes, random, the same at every opening; best kept in the system's key store.
    ///
    /// Errors: INVALID_LENGTH, WRONG_KEY, NEWER_FORMAT, CORRUPT, STORE_IO (the backend failed, or
    /// broke its rules).
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn foreign(backend: Arc<dyn StoreBackend>, key: Vec<u8>) -> Result<Arc<Self>> {
        let key = Zeroizing::new(key);
        Ok(Arc::new(Self { core: store::Store::foreign(backend, &key)? }))
    }

    /// Reads the whole store and says what is wrong with it.
    ///
    /// That takes a few seconds for each million records; other calls go on meanwhile. A damaged
    /// record is a problem of its object alone: calls that need it answer CORRUPT, all others go
    /// on. Lists of inbound sessions leave damaged ones out, which are reported here only. An
    /// object that is stored again or erased is whole again. A damaged `inbound_megolm_use` record
    /// costs up to 32 consecutive messages of one sender.
    ///
    /// Returns `[]`, or `[{"collection": "inbound_megolm_session", "kind": "damaged", "count": 2}]`:
    /// "damaged" records were altered, put back to an earlier state, or cannot be told from such;
    /// "missing" ones are gone, "unexpected" ones were deleted or never written. The collection
    /// tells what the records are about; whose they are cannot be read.
    ///
    /// Errors: STORE_CLOSED, STORE_IO.
    pub fn problems(&self) -> Result<String> {
        json::to_text(&self.core.problems()?)
    }

    /// Copies what is good into a new store, in an SQLite file of its own, which is on disk when
    /// this returns.
    ///
    /// For a store that `problems` tells of. What is damaged and does not keep keys from being used
    /// twice is left behind; an account, channel or outbound session that is damaged here is
    /// CORRUPT there, too. After an error, delete the file. **Go on with one of the two stores only
    /// and delete the other**: both would use the same message keys. Both have the same data key,
    /// which `key` encrypts in the new file only.
    ///
    /// `path`: the new file, which must not exist or be empty. `key`: 32 random bytes.
    ///
    /// Errors: INVALID_LENGTH, INVALID_FIELD (the path names no file), ALREADY_EXISTS (the file
    /// holds something), STORE_IN_USE, STORE_CLOSED, STORE_IO, NEWER_FORMAT (a newer version of the
    /// library has stored what this one does not know, and would leave behind).
    pub fn salvage(&self, path: &str, key: Vec<u8>) -> Result<()> {
        self.core.salvage(path, &Zeroizing::new(key))
    }

    /// Replaces the clock that serves this store and everything opened on it.
    ///
    /// Errors: STORE_CLOSED.
    pub fn set_clock(&self, clock: Arc<dyn Clock>) -> Result<()> {
        self.core.set_clock(clock)
    }

    /// Closes the store. Every handle opened on it answers STORE_CLOSED from then on. A second
    /// call does nothing. A store on a backend waits until no method of the backend runs, and
    /// releases it.
    ///
    /// What outbound Megolm sessions have reserved and not used is given back first. If that
    /// fails, the store is closed all the same, and the next opening skips those indices.
    ///
    /// Errors: STORE_IO.
    pub fn shut_down(&self) -> Result<()> {
        self.core.shut_down()
    }
}
