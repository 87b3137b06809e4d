//! Tests of the store room. The contract is the same for every record store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod conversion;
mod damage;
mod doubt;
mod foreign;
mod index;
mod live;
mod manifest;
mod nonces;
mod other_process;
mod records;
mod sets;
mod size;
mod sqlite;
mod store;
mod transaction;
mod user_key;
mod vault;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::collections;
use super::memory::MemoryStore;
use super::record_store::{Change, Durability, Entry, RecordStore};
use crate::base::environment::SystemRandom;
use crate::error::Result;
use crate::store::Vault;
use crate::store::user_key::UserKey;

const KEY: [u8; 32] = [7; 32];

fn put(collection: &'static str, key: &[u8], value: &[u8]) -> Change {
    Change { collection, key: key.to_vec(), value: Some(value.to_vec()) }
}

fn delete(collection: &'static str, key: &[u8]) -> Change {
    Change { collection, key: key.to_vec(), value: None }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// `path` with something added to the file's name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", text(path)))
}

/// A memory store that the test keeps a hand on.
#[derive(Clone)]
struct Shared(Arc<MemoryStore>);

impl Shared {
    fn new() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }

    fn vault(&self) -> Result<Vault> {
        self.vault_with(&KEY)
    }

    fn vault_with(&self, key: &[u8]) -> Result<Vault> {
        Vault::open(Box::new(self.clone()), UserKey::Key(key), Arc::new(SystemRandom))
    }

    fn entries(&self, collection: &str) -> Vec<Entry> {
        self.scan(collection, None, usize::MAX).unwrap()
    }

    /// Another place with the same records.
    fn copy(&self) -> Self {
        let copy = Self::new();
        for collection in collections::all() {
            for Entry { key, value } in self.entries(collection) {
                copy.set(collection, &key, &value);
            }
        }
        copy
    }

    fn delete(&self, collection: &'static str, key: &[u8]) {
        self.commit(vec![delete(collection, key)], Durability::Synced).unwrap();
    }

    fn set(&self, collection: &'static str, key: &[u8], value: &[u8]) {
        self.commit(vec![put(collection, key, value)], Durability::Synced).unwrap();
    }
}

impl RecordStore for Shared {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}
