//! A store of the program's own in C: the table of its functions, and the sink that takes what
//! they find.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::boundary::perform;
use super::tables::{Table, table};
use crate::base::environment::in_callback;
use crate::error::{E2eeError, Result};
use crate::{StoreBackend, StoreChange, StoreEntry};

/// What the header promises of keys.
const LONGEST_KEY: usize = 255;
/// Far more than any record has: a length beyond it is a mistake.
const LONGEST_VALUE: usize = 128 << 20;

/// Hands a record that was found to the library, which copies it.
///
/// \param sink as it was given to get or scan. It is good on the thread of that
/// call and until it returns; later, and elsewhere, emit refuses it.
/// \param key,key_len the record's key: in get the one that was asked for.
/// \param value,value_len the record's value.
///
/// Returns 0, or another number if the record was refused; then return that
/// number from get or scan, whose call fails in any case.
pub type matrixe2ee_emit = unsafe extern "C" fn(
    sink: *mut c_void,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> i32;

/// One change of a commit. The pointers are good until commit returns.
#[repr(C)]
pub struct matrixe2ee_store_change {
    /// The name of the collection.
    pub collection: *const c_char,
    /// The record's key.
    pub key: *const u8,
    /// Its length, from 1 to 255.
    pub key_len: usize,
    /// The record's new value; NULL deletes the record, if there is one.
    pub value: *const u8,
    /// Its length.
    pub value_len: usize,
}

/// A place for records, for matrixe2ee_store_foreign(): a database, a server, a
/// file of the program's own.
///
/// A record is a value under a key in a collection. The names of collections
/// have 1 to 32 lower-case letters and underscores; there are a few of them, and
/// new versions of the library may bring more. Keys have 1 to 255 bytes, values
/// at least one; any byte may occur. Both are hashed or encrypted before they
/// get here: a backend needs no cryptography and sees no secret. All that a
/// program must get right is in three functions:
///
/// ```c
/// static int32_t get(void *db, const char *collection, const uint8_t *key,
///                    size_t key_len, matrixe2ee_emit emit, void *sink) {
///     const struct row *row = find(db, collection, key, key_len);
///     return row ? emit(sink, key, key_len, row->value, row->value_len) : 0;
/// }
/// static int32_t scan(void *db, const char *collection, const uint8_t *after,
///                     size_t after_len, uint32_t limit, matrixe2ee_emit emit,
///                     void *sink) {
///     int32_t status = 0;
///     const struct row *row = first_after(db, collection, after, after_len);
///     for (; row && limit-- && !status; row = next(row))
///         status = emit(sink, row->key, row->key_len, row->value, row->value_len);
///     return status;
/// }
/// static int32_t commit(void *db, const matrixe2ee_store_change *changes,
///                       size_t count) {
///     begin(db);
///     for (size_t i = 0; i < count; i++)
///         changes[i].value ? upsert(db, &changes[i]) : erase(db, &changes[i]);
///     return commit_to_disk(db);
/// }
/// ```
///
/// The functions run on the thread of the call that needs them, on several
/// threads at once. They must not throw C++ exceptions or longjmp out, and not
/// wait for a thread that is inside a call of this library. A call of this
/// library from inside them, beside emit, answers MATRIXE2EE_STATUS_BUSY. If one
/// returns anything but 0, the call that needed it fails with
/// MATRIXE2EE_STATUS_STORE_IO, and its message has the number.
///
/// ONE OPENER. Only one store may be open on the same records at a time; two
/// would use the same message keys. The library cannot see to that here: the
/// backend must.
///
/// tests/c/store_contract.h tries these rules on any backend.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct matrixe2ee_store_backend {
    /// sizeof(matrixe2ee_store_backend). Later versions of the library may add
    /// functions, all of them optional, at the end: a program that was compiled
    /// without them goes on working, and what a library does not know it does
    /// not call.
    pub struct_size: usize,
    /// Passed to all functions; may be NULL.
    pub userdata: *mut c_void,
    /// Called exactly once, when the library will not use the backend again,
    /// while no function of the backend runs. May be NULL.
    pub destroy: Option<unsafe extern "C" fn(userdata: *mut c_void)>,
    /// Emits the record with this key, as the last commit left it, or nothing
    /// if there is none.
    pub get: Option<
        unsafe extern "C" fn(
            userdata: *mut c_void,
            collection: *const c_char,
            key: *const u8,
            key_len: usize,
            emit: matrixe2ee_emit,
            sink: *mut c_void,
        ) -> i32,
    >,
    /// Emits the first records of a collection whose keys are greater than
    /// after_key (NULL: the first of all), in the order of their keys, until
    /// there are no more or limit have been emitted; limit is at least 1. Keys
    /// are compared as by memcmp(), and a key comes before every longer key that
    /// begins with it.
    pub scan: Option<
        unsafe extern "C" fn(
            userdata: *mut c_void,
            collection: *const c_char,
            after_key: *const u8,
            after_key_len: usize,
            limit: u32,
            emit: matrixe2ee_emit,
            sink: *mut c_void,
        ) -> i32,
    >,
    /// Makes all changes, in their order, or none of them, even if the process
    /// dies meanwhile. On return they are on disk, and seen by every later call
    /// on any thread. After a failure the library reads again what it had in
    /// memory, so the changes may have been made or not; but never some of them.
    pub commit: Option<
        unsafe extern "C" fn(
            userdata: *mut c_void,
            changes: *const matrixe2ee_store_change,
            count: usize,
        ) -> i32,
    >,
}

// SAFETY: pointers and functions, which may all be NULL.
unsafe impl Table for matrixe2ee_store_backend {
    const FIRST_SIZE: usize = 6 * size_of::<usize>();
}

/// The library's copy of a backend's table.
pub(super) struct ForeignBackend {
    table: matrixe2ee_store_backend,
}

// SAFETY: the header demands that all functions may be called from any thread.
unsafe impl Send for ForeignBackend {}
// SAFETY: as above, also at the same time.
unsafe impl Sync for ForeignBackend {}

impl ForeignBackend {
    /// Copies a table that has the size and the functions it needs.
    ///
    /// SAFETY: `backend` must be NULL or point to at least the size it states.
    pub(super) unsafe fn copy(backend: *const matrixe2ee_store_backend) -> Result<Arc<Self>> {
        // SAFETY: the caller promises the same; the table begins with its size.
        let table = unsafe { table("backend", backend) }?;
        for (name, is_missing) in [
            ("get", table.get.is_none()),
            ("scan", table.scan.is_none()),
            ("commit", table.commit.is_none()),
        ] {
            if is_missing {
                return Err(E2eeError::null_pointer(format!("{name} is NULL")));
            }
        }
        Ok(Arc::new(Self { table }))
    }
}

impl StoreBackend for ForeignBackend {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let get = self.table.get.ok_or_else(missing)?;
        let collection = c_text(collection)?;
        let (pointer, length) = (key.as_ptr(), key.len());
        let found = found_by(Wanted::Record(key.clone()), |sink| {
            // SAFETY: the function is valid until `destroy`, the pointers during the call.
            unsafe { get(self.table.userdata, collection.as_ptr(), pointer, length, emit, sink) }
        })?;
        Ok(found.into_iter().next().map(|entry| entry.value))
    }

    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>> {
        let scan = self.table.scan.ok_or_else(missing)?;
        let collection = c_text(collection)?;
        let (after, length) =
            after_key.as_ref().map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
        found_by(Wanted::Records(limit), |sink| {
            // SAFETY: the function is valid until `destroy`, the pointers during the call.
            unsafe {
                scan(self.table.userdata, collection.as_ptr(), after, length, limit, emit, sink)
            }
        })
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        let commit = self.table.commit.ok_or_else(missing)?;
        let names = changes.iter().map(|change| c_text(change.collection.clone()));
        let names = names.collect::<Result<Vec<CString>>>()?;
        let table = names.iter().zip(&changes).map(|(name, change)| {
            let value = change.value.as_deref();
            matrixe2ee_store_change {
                collection: name.as_ptr(),
                key: change.key.as_ptr(),
                key_len: change.key.len(),
                value: value.map_or(ptr::null(), <[u8]>::as_ptr),
                value_len: value.map_or(0, <[u8]>::len),
            }
        });
        let table: Vec<_> = table.collect();
        // SAFETY: the function is valid until `destroy`, all pointers during the call.
        done(unsafe { commit(self.table.userdata, table.as_ptr(), table.len()) })
    }
}

impl Drop for ForeignBackend {
    fn drop(&mut self) {
        if let Some(destroy) = self.table.destroy {
            // SAFETY: this runs once, and nothing calls the table afterwards.
            in_callback(|| unsafe { destroy(self.table.userdata) });
        }
    }
}

fn missing() -> E2eeError {
    E2eeError::store_io("a function is missing")
}

fn c_text(text: String) -> Result<CString> {
    CString::new(text).map_err(|_| E2eeError::store_io("a collection has no name in C"))
}

/// The words are few and plain: `ForeignStore` repeats no others.
fn done(answer: i32) -> Result<()> {
    match answer {
        0 => Ok(()),
        other => Err(E2eeError::store_io(format!("it answered {other}"))),
    }
}

/// What a callback was asked for.
enum Wanted {
    /// The record with this key.
    Record(Vec<u8>),
    /// At most so many records.
    Records(u32),
}

/// What a callback has found so far.
struct Sink {
    /// What C holds: a number, and not an address.
    id: usize,
    wanted: Wanted,
    found: Vec<StoreEntry>,
    refusal: Option<E2eeError>,
}

thread_local! {
    /// The sink of the callback that runs on this thread. There is at most one: callbacks may not
    /// call back.
    static SINK: RefCell<Option<Sink>> = const { RefCell::new(None) };
}

/// Runs a callback with a sink, and gives what it has emitted.
fn found_by(wanted: Wanted, callback: impl FnOnce(*mut c_void) -> i32) -> Result<Vec<StoreEntry>> {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    SINK.set(Some(Sink { id, wanted, found: Vec::new(), refusal: None }));
    let answer = callback(ptr::without_provenance_mut(id));
    let sink = SINK.take().ok_or_else(|| E2eeError::panic("the sink of a callback is gone"))?;
    match sink.refusal {
        Some(refusal) => Err(refusal),
        None => done(answer).map(|()| sink.found),
    }
}

/// What C calls with each record.
unsafe extern "C" fn emit(
    sink: *mut c_void,
    key: *const u8,
    key_len: usize,
    value: *const u8,
    value_len: usize,
) -> i32 {
    let take = || {
        SINK.with_borrow_mut(|current| {
            let current = current.as_mut().filter(|current| current.id == sink.addr());
            let current = current.ok_or_else(|| E2eeError::stale_handle("the sink is closed"))?;
            // SAFETY: the backend promises these pointers and lengths.
            let taken = unsafe { current.take(key, key_len, value, value_len) };
            if let Err(refusal) = &taken {
                current.refusal.get_or_insert_with(|| refusal.clone());
            }
            taken
        })
    };
    // SAFETY: NULL is allowed.
    unsafe { perform(ptr::null_mut(), take) as i32 }
}

impl Sink {
    /// Copies a record, unless it is none or not the one that was asked for.
    ///
    /// SAFETY: each pointer must be NULL or point to as many bytes as its length says, unless that
    /// is longer than anything that is accepted.
    unsafe fn take(
        &mut self,
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
    ) -> Result<()> {
        let refuse = |words: &str| Err(E2eeError::store_io(words));
        if key_len == 0 || key_len > LONGEST_KEY {
            return refuse("it emitted a key of a wrong length");
        }
        if value_len > LONGEST_VALUE {
            return refuse("it emitted a value that is too long");
        }
        if key.is_null() || (value.is_null() && value_len > 0) {
            return refuse("it emitted a NULL pointer with a length");
        }
        // SAFETY: not NULL, and the caller promises so many bytes.
        let key = unsafe { std::slice::from_raw_parts(key, key_len) };
        match &self.wanted {
            Wanted::Record(wanted) if wanted != key => {
                return refuse("it emitted the record of another key");
            }
            Wanted::Record(_) if !self.found.is_empty() => {
                return refuse("it emitted two records");
            }
            Wanted::Records(limit) if self.found.len() >= *limit as usize => {
                return refuse("it emitted more records than limit");
            }
            _ => {}
        }
        let value = match value_len {
            0 => Vec::new(),
            // SAFETY: not NULL, and the caller promises so many bytes.
            _ => unsafe { std::slice::from_raw_parts(value, value_len) }.to_vec(),
        };
        self.found.push(StoreEntry { key: key.to_vec(), value });
        Ok(())
    }
}
