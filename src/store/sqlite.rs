//! Records in one SQLite file, the default of the embedded library.
//!
//! One connection behind a lock is the only user of the file. `synchronous=FULL`
//! is set because SQLite's default for WAL would lose the last commits when the
//! power fails, and an old ratchet uses its keys again. The contents are vouched
//! for by the vault, record by record, so there is no `quick_check` at opening:
//! it reads the whole file, and a damaged page is noticed when it is read.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::record_store::{Change, Durability, Entry, RecordStore};
use super::sqlite_file::{FileLock, canonical_path, create_if_missing, in_use, sync_log};
use crate::base::environment::Process;
use crate::error::{E2eeError, Result};

/// "Mxe2" in the file's header: tells our files from other programs'.
const APPLICATION_ID: i32 = 0x4d78_6532;
const SCHEMA_VERSION: i32 = 1;

const CREATE_TABLE: &str = "CREATE TABLE record (\
    collection TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, \
    PRIMARY KEY (collection, key)) WITHOUT ROWID";

/// `locking_mode` comes first: set before the first access, it also keeps the
/// WAL's index out of shared memory. The log is as long as 1,000 pages before it is carried
/// over; what a large commit makes of it is given back with the next one.
const CONNECTION_PRAGMAS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA trusted_schema = OFF;
    PRAGMA cell_size_check = ON;
    PRAGMA foreign_keys = ON;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA journal_size_limit = 4194304;
    PRAGMA synchronous = FULL;";

/// Only another program can hold the file for a moment, such as one that copies it.
const BUSY_TIMEOUT: Duration = Duration::from_millis(1000);

/// A record store in an SQLite file. `None` once it is closed.
pub(crate) struct SqliteStore {
    open: Mutex<Option<OpenFile>>,
    process: Process,
}

/// The fields are dropped in this order: the lock outlives the connection.
struct OpenFile {
    connection: Connection,
    synchronous: Durability,
    lock: FileLock,
}

impl SqliteStore {
    pub(crate) fn open(path: &str) -> Result<Self> {
        let path = canonical_path(path)?;
        let lock = FileLock::acquire(&path)?;
        create_if_missing(&path)?;
        sync_log(&path)?;
        let connection = connect(&path)?;
        let open = OpenFile { connection, synchronous: Durability::Synced, lock };
        Ok(Self { open: Mutex::new(Some(open)), process: Process::here() })
    }

    fn lock(&self) -> Result<MutexGuard<'_, Option<OpenFile>>> {
        self.open.lock().map_err(|_| E2eeError::panic("the store failed inside; reopen it"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
impl SqliteStore {
    pub(super) fn limit_pages(&self, pages: i64) {
        let guard = self.open.lock().unwrap();
        let connection = &guard.as_ref().unwrap().connection;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    pub(super) fn pragma(&self, name: &str) -> String {
        let guard = self.open.lock().unwrap();
        let connection = &guard.as_ref().unwrap().connection;
        let value: rusqlite::types::Value =
            connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
        match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            _ => String::new(),
        }
    }

    pub(super) fn pretend_to_be_forked(&mut self) {
        self.process = Process::none();
    }
}

/// The open file behind a guard, with no transaction left open by a failed rollback.
fn ready(guard: &mut Option<OpenFile>) -> Result<&mut OpenFile> {
    let open = guard.as_mut().ok_or_else(|| E2eeError::store_closed("the store was shut down"))?;
    if !open.connection.is_autocommit() {
        open.connection
            .execute_batch("ROLLBACK")
            .map_err(|error| sqlite_error("undo a failed commit", &error))?;
    }
    Ok(open)
}

fn connect(path: &Path) -> Result<Connection> {
    // No SQLITE_OPEN_URI: a path is a path. No SQLITE_OPEN_CREATE: the file
    // exists by now, with its own permissions.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags).map_err(opening_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(opening_error)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(opening_error)?;
    connection.execute_batch(CONNECTION_PRAGMAS).map_err(opening_error)?;
    if connection.is_readonly("main").map_err(opening_error)? {
        return Err(E2eeError::store_io("the file of the store is read-only"));
    }
    // Before anything is written, so that another program's file stays as it is.
    let version = schema_version(&connection)?;
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(opening_error)?;
    if mode != "wal" {
        return Err(E2eeError::store_io(
            "SQLite could not switch the store to write-ahead logging",
        ));
    }
    migrate(&mut connection, version).map_err(opening_error)?;
    check_schema(&connection)?;
    Ok(connection)
}

/// The format of the file; 0 for one that is still empty.
fn schema_version(connection: &Connection) -> Result<i32> {
    let number = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(opening_error)
    };
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    match (application_id, version, objects) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, 1..=SCHEMA_VERSION, _) => Ok(version),
        (APPLICATION_ID, newer, _) if newer > SCHEMA_VERSION => Err(E2eeError::NewerFormat {
            detail: String::from("the store was written by a newer version of this library"),
            found: newer.unsigned_abs(),
            supported: SCHEMA_VERSION.unsigned_abs(),
        }),
        (APPLICATION_ID, ..) => {
            Err(E2eeError::corrupt("the file of the store has no valid format number"))
        }
        _ => Err(E2eeError::corrupt("the file is an SQLite database of another program")),
    }
}

/// Brings an older file to the newest format, in one transaction.
fn migrate(connection: &mut Connection, from: i32) -> rusqlite::Result<()> {
    if from == SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(CREATE_TABLE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

/// The file holds our table and nothing else: a trigger or view that somebody
/// added would run inside our statements.
fn check_schema(connection: &Connection) -> Result<()> {
    let fail = |error| sqlite_error("read the schema of the store", &error);
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema LIMIT 2").map_err(fail)?;
    let found: Vec<Option<String>> =
        statement.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(fail)?;
    match found.as_slice() {
        [Some(sql)] if sql == CREATE_TABLE => Ok(()),
        _ => Err(E2eeError::corrupt(
            "the file of the store does not have exactly the table of a store",
        )),
    }
}

impl RecordStore for SqliteStore {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let fail = |error| sqlite_error("read a record", &error);
        let mut guard = self.lock()?;
        let open = ready(&mut guard)?;
        open.connection
            .prepare_cached("SELECT value FROM record WHERE collection = ?1 AND key = ?2")
            .map_err(fail)?
            .query_row(params![collection, key], |row| row.get(0))
            .optional()
            .map_err(fail)
    }

    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let fail = |error| sqlite_error("list records", &error);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut guard = self.lock()?;
        let open = ready(&mut guard)?;
        let mut statement = open
            .connection
            .prepare_cached(match after {
                Some(_) => "SELECT key, value FROM record WHERE collection = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
                None => "SELECT key, value FROM record WHERE collection = ?1 AND key >= ?2 ORDER BY key LIMIT ?3",
            })
            .map_err(fail)?;
        statement
            .query_map(params![collection, after.unwrap_or_default(), limit], |row| {
                Ok(Entry { key: row.get(0)?, value: row.get(1)? })
            })
            .and_then(Iterator::collect)
            .map_err(fail)
    }

    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        let fail = |error| sqlite_error("commit", &error);
        let mut guard = self.lock()?;
        let open = ready(&mut guard)?;
        open.set_synchronous(durability).map_err(fail)?;
        open.write(changes).map_err(fail)
    }

    /// Reads the file from its beginning: in a damaged one, a search may find nothing.
    fn is_empty(&self) -> Result<bool> {
        let fail = |error| sqlite_error("list records", &error);
        let mut guard = self.lock()?;
        let open = ready(&mut guard)?;
        open.connection
            .query_row("SELECT NOT EXISTS (SELECT 1 FROM record)", [], |row| row.get(0))
            .map_err(fail)
    }

    fn tidy_up(&self) -> Result<()> {
        let mut guard = self.lock()?;
        checkpoint(&ready(&mut guard)?.connection)
    }

    fn close(&self) -> Result<()> {
        // Also after a panic, so that the file is usable again. The lock is
        // held to the end: a second caller returns when the file is free.
        let mut guard = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        guard.take().map_or(Ok(()), OpenFile::close)
    }
}

impl OpenFile {
    /// SQLite refuses this inside a transaction, so it comes before the commit.
    fn set_synchronous(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.synchronous == durability {
            return Ok(());
        }
        self.connection.execute_batch(match durability {
            Durability::Synced => "PRAGMA synchronous = FULL",
            Durability::Relaxed => "PRAGMA synchronous = NORMAL",
        })?;
        self.synchronous = durability;
        Ok(())
    }

    fn write(&mut self, mut changes: Vec<Change>) -> rusqlite::Result<()> {
        // In the order of the table, so that each page is looked for and written once. Several
        // changes of one record stay in their order.
        changes.sort_by(|a, b| (a.collection, &a.key).cmp(&(b.collection, &b.key)));
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for Change { collection, key, value } in changes {
            match value {
                Some(value) => transaction
                    .prepare_cached(
                        "INSERT INTO record (collection, key, value) VALUES (?1, ?2, ?3) \
                         ON CONFLICT (collection, key) DO UPDATE SET value = excluded.value",
                    )?
                    .execute(params![collection, key, value])?,
                None => transaction
                    .prepare_cached("DELETE FROM record WHERE collection = ?1 AND key = ?2")?
                    .execute(params![collection, key])?,
            };
        }
        transaction.commit()
    }

    fn close(self) -> Result<()> {
        let Self { connection, lock, .. } = self;
        // A full disk may forbid the checkpoint. Nothing is lost then: the
        // commits are in the log, and the next opening reads it.
        let checkpointed = checkpoint(&connection);
        let closed =
            connection.close().map_err(|(_, error)| sqlite_error("close the store", &error));
        let released = lock.release();
        checkpointed.and(closed).and(released)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(open) = open else { return };
        if self.process.is_current() {
            // Nobody is left to tell.
            let _ = open.close();
        } else {
            // A forked child has a copy of its parent's connection: closing it
            // would checkpoint and delete the parent's log. The lock file is
            // closed, but not unlocked: the lock stays the parent's.
            std::mem::forget(open.connection);
        }
    }
}

/// Carries the log over into the file and empties it.
fn checkpoint(connection: &Connection) -> Result<()> {
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(|error| sqlite_error("checkpoint the store", &error))
}

/// At opening, a busy file is one that somebody else has open.
fn opening_error(error: rusqlite::Error) -> E2eeError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => in_use(),
        _ => sqlite_error("open the store", &error),
    }
}

/// SQLite's own sentences only: its messages may name paths.
fn sqlite_error(action: &str, error: &rusqlite::Error) -> E2eeError {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::NotADatabase => {
                E2eeError::corrupt("the file of the store is not an SQLite database")
            }
            ErrorCode::DatabaseCorrupt => {
                E2eeError::corrupt(format!("could not {action}: the file of the store is damaged"))
            }
            _ => E2eeError::store_io(format!("could not {action}: {failure}")),
        },
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..) => {
            E2eeError::corrupt(format!("could not {action}: a column has the wrong type"))
        }
        _ => E2eeError::store_io(format!("could not {action}: SQLite refused the statement")),
    }
}
