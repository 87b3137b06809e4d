//! The files of an SQLite store: which file a path means, and who holds it.
//!
//! The lock is on a file beside the database, never on the database itself:
//! SQLite's own POSIX locks belong to the process, and closing any other
//! descriptor of the database file would drop them.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{E2eeError, Result};

/// The one absolute path of a store, whatever link or relative path names it,
/// so that every opener meets the same lock file.
pub(super) fn canonical_path(path: &str) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(E2eeError::invalid_field("path", "is empty"));
    }
    if path.contains('\0') {
        return Err(E2eeError::invalid_field("path", "holds a NUL character"));
    }
    let is_uri = path.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("file:"));
    if is_uri || path.starts_with(':') {
        return Err(E2eeError::invalid_field(
            "path",
            "names no file; for a store in memory there is another constructor",
        ));
    }
    let path = Path::new(path);
    let canonical = match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => canonical_path_of_new_file(path)?,
        other => other.map_err(|error| io_error("find the file of the store", &error))?,
    };
    match canonical.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(E2eeError::store_io("the path of the store is not that of a regular file"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("look at the file of the store", &error))
        }
        _ => Ok(canonical),
    }
}

fn canonical_path_of_new_file(path: &Path) -> Result<PathBuf> {
    if path.symlink_metadata().is_ok() {
        return Err(E2eeError::store_io(
            "the path of the store is a symbolic link to a file that does not exist",
        ));
    }
    let name = path
        .file_name()
        .ok_or_else(|| E2eeError::invalid_field("path", "does not end in the name of a file"))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let directory = directory
        .canonicalize()
        .map_err(|error| io_error("find the directory of the store", &error))?;
    Ok(directory.join(name))
}

/// The lock that makes its holder the only user of a store. It lives in the
/// operating system and dies with the process (SEC-116).
pub(super) struct FileLock {
    file: File,
}

impl FileLock {
    pub(super) fn acquire(database: &Path) -> Result<Self> {
        let file = private_file()
            .create(true)
            .truncate(false)
            .open(beside(database, "-lock"))
            .map_err(|error| io_error("open the lock file of the store", &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(in_use()),
            Err(TryLockError::Error(error)) => Err(io_error("lock the store", &error)),
        }
    }

    /// Releases the lock in every process that inherited it. Merely closing
    /// the file would leave it locked for as long as a forked child lives.
    pub(super) fn release(self) -> Result<()> {
        self.file.unlock().map_err(|error| io_error("unlock the store", &error))
    }
}

/// Creates the database file if there is none, readable by its owner only.
/// To be called with the lock held: nobody else can have the new file open, and
/// an existing one is not touched.
pub(super) fn create_if_missing(database: &Path) -> Result<()> {
    match private_file().create_new(true).open(database) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_error("create the file of the store", &error)),
    }
}

/// Syncs the log that a killed process has left. It may have been killed before it synced its last
/// commit, which SQLite reads from the system's memory all the same: what the next process shows
/// of it (an upload of keys that is still open, say) must survive a power failure, too.
pub(super) fn sync_log(database: &Path) -> Result<()> {
    let failed = |error| io_error("sync the log of the store", &error);
    match OpenOptions::new().read(true).write(cfg!(windows)).open(beside(database, "-wal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.and_then(|log| log.sync_all()).map_err(failed)?,
    }
    // The log's name, too. Not every file system can; SQLite does not insist on it either.
    #[cfg(unix)]
    if let Some(directory) = database.parent() {
        let _synced = File::open(directory).and_then(|directory| directory.sync_all());
    }
    Ok(())
}

fn beside(database: &Path, suffix: &str) -> OsString {
    let mut name = OsString::from(database);
    name.push(suffix);
    name
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(super) fn in_use() -> E2eeError {
    E2eeError::store_in_use("the store is open already, here or in another process")
}

fn io_error(action: &str, error: &io::Error) -> E2eeError {
    // An io::Error names no path.
    E2eeError::store_io(format!("could not {action}: {error}"))
}
