//! The store in C, and the clock that a program can give it.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use super::boundary::{answer, perform, release, secret, secret_text, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::store_backend::{ForeignBackend, matrixe2ee_store_backend};
use super::tables::{Table, table};
use super::tickets::{borrow, free};
use crate::base::environment::in_callback;
use crate::error::{E2eeError, Result};
use crate::{Clock, Store};

/// Where accounts, channels and sessions are kept, encrypted. A store may hold
/// several accounts.
pub struct matrixe2ee_store {
    _private: [u8; 0],
}

/// A clock of the program's own, for matrixe2ee_store_set_clock().
///
/// The functions run on the thread of the call that needs the time, perhaps on
/// several threads at once, and must not throw C++ exceptions or longjmp out.
/// A call of this library from inside them answers MATRIXE2EE_STATUS_BUSY.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct matrixe2ee_clock {
    /// sizeof(matrixe2ee_clock); it grows as that of matrixe2ee_store_backend.
    pub struct_size: usize,
    /// Passed to both functions; may be NULL.
    pub userdata: *mut c_void,
    /// Called exactly once, when the library will not use the clock again. May
    /// be NULL.
    pub destroy: Option<unsafe extern "C" fn(userdata: *mut c_void)>,
    /// The current Unix time in milliseconds; a negative number means failure,
    /// and the call that asked fails with MATRIXE2EE_STATUS_CLOCK_FAILED.
    pub now_ms: Option<unsafe extern "C" fn(userdata: *mut c_void) -> i64>,
}

// SAFETY: pointers and functions, which may all be NULL.
unsafe impl Table for matrixe2ee_clock {
    const FIRST_SIZE: usize = 4 * size_of::<usize>();
}

/// The library's copy of a clock table.
struct ForeignClock {
    table: matrixe2ee_clock,
}

// SAFETY: the header demands that both functions may be called from any thread.
unsafe impl Send for ForeignClock {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for ForeignClock {}

impl ForeignClock {
    /// Copies a table that has the size and the function it needs.
    ///
    /// SAFETY: `clock` must be NULL or point to at least the size it states.
    unsafe fn copy(clock: *const matrixe2ee_clock) -> Result<Arc<Self>> {
        // SAFETY: the caller promises the same; the table begins with its size.
        let table = unsafe { table("clock", clock) }?;
        if table.now_ms.is_none() {
            return Err(E2eeError::null_pointer("now_ms is NULL"));
        }
        Ok(Arc::new(Self { table }))
    }
}

impl Clock for ForeignClock {
    fn now_ms(&self) -> Result<i64> {
        let Some(now_ms) = self.table.now_ms else {
            return Err(E2eeError::clock_failed("the clock has no function"));
        };
        // SAFETY: the function and its userdata are valid until `destroy`.
        match unsafe { now_ms(self.table.userdata) } {
            now if now < 0 => Err(E2eeError::clock_failed("the clock gave a negative time")),
            now => Ok(now),
        }
    }
}

impl Drop for ForeignClock {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: this runs once, and nothing calls the table afterwards.
            in_callback(|| unsafe { destroy(self.table.userdata) });
        }
    }
}

/// Makes a store that lives in memory only, for tests and for programs that
/// keep nothing.
///
/// \param key 32 random bytes, encrypting the store; the library keeps its own
/// copy: wipe yours.
/// \param out the new store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_LENGTH (key_len is not 32).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_in_memory(
    key: *const u8,
    key_len: usize,
    out: *mut *mut matrixe2ee_store,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || Store::in_memory(secret("key", key, key_len)?)) }
}

/// Opens the store in an SQLite file, or creates the file.
///
/// Only one opener at a time: while this store is open, here or in another
/// process, a second one is refused. Beside the file stand a file ending in -wal
/// while it is open, and an empty one ending in -lock for good. Everything that a
/// later call reports as done is on disk when that call returns, as far as the
/// operating system and the disk keep their word.
///
/// \param path the file, as UTF-8.
/// \param key 32 random bytes, encrypting every record; keep them in the
/// system's key ring and wipe your copy after the call.
/// \param out the store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (key_len is not 32),
/// INVALID_FIELD (the path names no file), STORE_IN_USE, WRONG_KEY, CORRUPT,
/// NEWER_FORMAT, STORE_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_open_sqlite(
    path: *const c_char,
    key: *const u8,
    key_len: usize,
    out: *mut *mut matrixe2ee_store,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || Store::open_sqlite(text("path", path)?, secret("key", key, key_len)?))
    }
}

/// Opens the store in an SQLite file with a passphrase, or creates the file.
///
/// As matrixe2ee_store_open_sqlite(), for a secret that a person types: Argon2id
/// (RFC 9106: 64 MiB of memory, 3 passes, 4 lanes) makes it into a key, which
/// takes some 0.2 seconds at each opening.
///
/// \param path the file, as UTF-8.
/// \param passphrase UTF-8, not empty, not necessarily NUL-terminated; wipe your
/// copy after the call.
/// \param out the store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (empty or too long),
/// INVALID_FIELD (the path names no file), STORE_IN_USE, WRONG_KEY (another
/// passphrase, or a store that is opened with a key), CORRUPT, NEWER_FORMAT,
/// STORE_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_open_sqlite_with_passphrase(
    path: *const c_char,
    passphrase: *const u8,
    passphrase_len: usize,
    out: *mut *mut matrixe2ee_store,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            let path = text("path", path)?;
            let passphrase = secret_text("passphrase", passphrase, passphrase_len)?;
            Store::open_sqlite_with_passphrase(path, passphrase)
        })
    }
}

/// Lets another key open the store from now on, in place of the former key or
/// passphrase.
///
/// One small record is rewritten, at once, and is durable when this returns: a
/// crash leaves the former key working or the new one. The records are not
/// encrypted anew: who has the former key and a copy of the file from before can
/// also read and change later states of it.
///
/// \param new_key 32 random bytes; wipe your copy after the call.
///
/// Errors: NULL_POINTER, INVALID_LENGTH (new_key_len is not 32), STORE_CLOSED,
/// STORE_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_rekey(
    store: *const matrixe2ee_store,
    new_key: *const u8,
    new_key_len: usize,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            let store = borrow(store)?;
            store.rekey(secret("new_key", new_key, new_key_len)?)
        })
    }
}

/// As matrixe2ee_store_rekey(), with a passphrase: from now on
/// matrixe2ee_store_open_sqlite_with_passphrase() opens the store.
///
/// \param passphrase UTF-8, not empty; wipe your copy after the call.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (empty or too long),
/// INVALID_FIELD (a foreign store, which is opened with keys only), STORE_CLOSED,
/// STORE_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_rekey_with_passphrase(
    store: *const matrixe2ee_store,
    passphrase: *const u8,
    passphrase_len: usize,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            let store = borrow(store)?;
            store.rekey_with_passphrase(secret_text("passphrase", passphrase, passphrase_len)?)
        })
    }
}

/// Reads the whole store and says what is wrong with it.
///
/// That takes a few seconds for each million records; other calls go on
/// meanwhile. A damaged record is a problem of its object alone: calls that need
/// it answer CORRUPT, all others go on. Lists of inbound sessions leave damaged
/// ones out, which are reported here only. An object that is stored again or erased
/// is whole again. A damaged inbound_megolm_use record costs up to 32 consecutive
/// messages of one sender.
///
/// \param out [], or [{"collection": "inbound_megolm_session", "kind": "damaged",
/// "count": 2}], to be released with matrixe2ee_string_free(): "damaged" records
/// were altered, put back to an earlier state, or cannot be told from such;
/// "missing" ones are gone, "unexpected" ones were deleted or never written.
///
/// Errors: STORE_CLOSED, STORE_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_problems(
    store: *const matrixe2ee_store,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(store)?.problems()) }
}

/// Copies what is good into a new store, in an SQLite file of its own, which is on
/// disk when this returns.
///
/// For a store that matrixe2ee_store_problems() tells of. What is damaged and does
/// not keep keys from being used twice is left behind; an account, channel or
/// outbound session that is damaged here is CORRUPT there, too. After an error,
/// delete the file. Go on with one of the two stores only and delete the other:
/// both would use the same message keys. Both have the same data key, which `key`
/// encrypts in the new file only.
///
/// \param path the new file, as UTF-8, which must not exist or be empty.
/// \param key 32 random bytes; wipe your copy after the call.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_LENGTH (key_len is not 32),
/// INVALID_FIELD (the path names no file), ALREADY_EXISTS (the file holds
/// something), STORE_IN_USE, STORE_CLOSED, STORE_IO, NEWER_FORMAT (a newer version
/// of the library has stored what this one does not know, and would leave behind).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_salvage(
    store: *const matrixe2ee_store,
    path: *const c_char,
    key: *const u8,
    key_len: usize,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            let store = borrow(store)?;
            store.salvage(text("path", path)?, secret("key", key, key_len)?)
        })
    }
}

/// Opens the store whose records are kept by a backend of the program's own, or
/// makes a new one if the backend keeps nothing yet.
///
/// The table is copied during the call; what userdata points to must live until
/// destroy is called. The table is refused if out, backend, get, scan or commit
/// is NULL (NULL_POINTER) or if struct_size is none that a version has (INVALID_LENGTH);
/// destroy is then not called. In every other case it is called exactly once, on
/// any thread and never while another function of the backend runs: before this
/// call returns if the call fails for another reason, and otherwise inside
/// matrixe2ee_store_shut_down(), or when the last handle on the store and on
/// everything opened on it has been freed. It is the last use of the table. In
/// a forked child it is not called for what the parent has open.
///
/// \param backend the functions that keep the records.
/// \param key 32 random bytes, encrypting every record, the same at every
/// opening; wipe your copy after the call.
/// \param out the store, to be released with matrixe2ee_store_free().
///
/// Errors: NULL_POINTER, INVALID_LENGTH (also if key_len is not 32), WRONG_KEY,
/// CORRUPT, NEWER_FORMAT, STORE_IO (the backend failed, or broke its rules).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_foreign(
    backend: *const matrixe2ee_store_backend,
    key: *const u8,
    key_len: usize,
    out: *mut *mut matrixe2ee_store,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            // The backend first: from here on its `destroy` runs whatever happens.
            let backend = ForeignBackend::copy(backend)?;
            Store::foreign(backend, secret("key", key, key_len)?)
        })
    }
}

/// Gives the store, and everything opened on it, another clock than the
/// system's.
///
/// The table is copied during the call; what userdata points to must live until
/// destroy is called. The table is refused if clock is NULL or now_ms is NULL
/// (NULL_POINTER) or if struct_size is none that a version has (INVALID_LENGTH); destroy is
/// then not called. In every other case it is called exactly once: before this
/// call returns if the call fails for another reason, and otherwise when
/// another clock takes its place or the last handle on the store has been
/// freed. It is the last use of the table. It may run on any thread that uses
/// the store.
///
/// Errors: NULL_POINTER, INVALID_LENGTH, STORE_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_set_clock(
    store: *const matrixe2ee_store,
    clock: *const matrixe2ee_clock,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            // The clock first: from here on its `destroy` runs whatever happens.
            let clock = ForeignClock::copy(clock)?;
            borrow(store)?.set_clock(clock)
        })
    }
}

/// Closes the store: writes what is still to be written and releases the file,
/// so that it can be opened again.
///
/// From then on every handle on the store answers STORE_CLOSED, except this
/// function, which answers OK again. The handles must still be freed. A backend
/// of the program's own is destroyed, once no function of it runs. If the last
/// write fails (STORE_IO), the store is closed all the same, and what the
/// earlier calls reported as done is not affected.
///
/// Errors: STORE_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_shut_down(
    store: *const matrixe2ee_store,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(store)?.shut_down()) }
}

/// Releases a store handle. NULL, freed handles and handles of other kinds are
/// ignored.
///
/// This does not close the store while an account, channel or session opened
/// on it still has a handle: for that there is matrixe2ee_store_shut_down().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_store_free(store: *mut matrixe2ee_store) {
    release(|| free(store));
}
