//! A SQLite store as a killed process leaves it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use matrixe2ee::Store;
use tempfile::TempDir;

pub const KEY: [u8; 32] = [9; 32];

/// A directory with one store file.
pub struct SqliteDirectory(TempDir);

impl SqliteDirectory {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.file("")
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.0.path().join(format!("store.db{suffix}"))
    }

    pub fn open(&self) -> Arc<Store> {
        Store::open_sqlite(self.file("").to_str().unwrap(), KEY.to_vec()).unwrap()
    }

    /// The store as it is on disk at this moment, while it is open: what a crash would leave.
    pub fn crashed(&self) -> Self {
        let copy = Self::new();
        for suffix in ["", "-wal"] {
            if self.file(suffix).exists() {
                std::fs::copy(self.file(suffix), copy.file(suffix)).unwrap();
            }
        }
        copy
    }
}
