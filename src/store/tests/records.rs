//! The contract that every record store keeps.

use std::sync::Arc;

use super::foreign::Kept;
use super::{Shared, delete, put, text};
use crate::error::Result;
use crate::store::contract::broken_rules;
use crate::store::foreign::{ForeignStore, StoreBackend, StoreChange, StoreEntry};
use crate::store::memory::MemoryStore;
use crate::store::record_store::{Change, Durability, RecordStore};
use crate::store::sqlite::SqliteStore;

fn on_every_store(test: impl Fn(&dyn RecordStore)) {
    test(&MemoryStore::new());
    test(&ForeignStore::new(Arc::new(Kept::default())));
    let directory = tempfile::tempdir().unwrap();
    test(&SqliteStore::open(text(&directory.path().join("store.db"))).unwrap());
}

#[test]
fn a_committed_record_is_read_back_and_a_deleted_one_is_gone() {
    on_every_store(|store| {
        assert!(store.is_empty().unwrap());
        store.commit(vec![put("a", b"k", b"1"), put("b", b"k", b"2")], Durability::Synced).unwrap();
        store.commit(vec![put("account", b"k", b"1")], Durability::Synced).unwrap();
        assert!(!store.is_empty().unwrap());
        assert_eq!(store.get("a", b"k").unwrap().unwrap(), b"1");
        assert_eq!(store.get("b", b"k").unwrap().unwrap(), b"2");
        assert_eq!(store.get("c", b"k").unwrap(), None);
        store.commit(vec![delete("a", b"k"), delete("a", b"none")], Durability::Relaxed).unwrap();
        assert_eq!(store.get("a", b"k").unwrap(), None);
        assert_eq!(store.get("b", b"k").unwrap().unwrap(), b"2");
    });
}

#[test]
fn changes_of_a_commit_are_made_in_their_order() {
    on_every_store(|store| {
        let changes = vec![
            put("a", b"k", b"1"),
            delete("a", b"k"),
            put("a", b"k", b"2"),
            put("a", b"k", b""),
        ];
        store.commit(changes, Durability::Synced).unwrap();
        assert_eq!(store.get("a", b"k").unwrap().unwrap(), b"");
    });
}

#[test]
fn a_scan_gives_one_collection_in_the_order_of_bytes_and_in_pages() {
    on_every_store(|store| {
        let keys: [&[u8]; 6] = [b"", b"\x00", b"a", b"a\x00", b"b", b"\xff\xff"];
        let changes = keys.iter().rev().map(|key| put("a", key, key)).collect();
        store.commit(changes, Durability::Synced).unwrap();
        store.commit(vec![put("b", b"a", b"other")], Durability::Synced).unwrap();
        let found = |after: Option<&[u8]>, limit| -> Vec<Vec<u8>> {
            store.scan("a", after, limit).unwrap().into_iter().map(|entry| entry.key).collect()
        };
        assert_eq!(found(None, usize::MAX), keys);
        assert_eq!(found(None, 2), keys[..2]);
        assert_eq!(found(Some(b"a"), 2), keys[3..5]);
        assert_eq!(found(Some(b"a\x01"), 9), keys[4..]);
        assert_eq!(found(Some(b"\xff\xff"), 9), Vec::<Vec<u8>>::new());
        assert_eq!(found(None, 0), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn closing_is_idempotent_and_everything_after_it_answers_store_closed() {
    on_every_store(|store| {
        store.close().unwrap();
        store.close().unwrap();
        let errors = [
            store.get("a", b"k").unwrap_err(),
            store.scan("a", None, 1).unwrap_err(),
            store.commit(vec![put("a", b"k", b"1")], Durability::Synced).unwrap_err(),
            store.commit(Vec::new(), Durability::Synced).unwrap_err(),
            store.is_empty().unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.name(), "STORE_CLOSED");
        }
    });
}

/// One of our own stores as a backend, so that the same suite tries it.
struct Own(Box<dyn RecordStore>);

impl StoreBackend for Own {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.0.get(&collection, &key)
    }
    fn scan(&self, name: String, after: Option<Vec<u8>>, limit: u32) -> Result<Vec<StoreEntry>> {
        let entries = self.0.scan(&name, after.as_deref(), limit as usize)?.into_iter();
        Ok(entries.map(|entry| StoreEntry { key: entry.key, value: entry.value }).collect())
    }
    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        let changes = changes.into_iter().map(|StoreChange { collection, key, value }| Change {
            collection: collection.leak(),
            key,
            value,
        });
        self.0.commit(changes.collect(), Durability::Synced)
    }
}

#[test]
fn every_store_keeps_the_contract_of_backends() {
    let shared = Shared::new();
    let broken = broken_rules(|| Ok(Arc::new(Own(Box::new(shared.clone())))));
    assert_eq!(broken, [""; 0], "memory");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let broken = broken_rules(|| Ok(Arc::new(Own(Box::new(SqliteStore::open(text(&path))?)))));
    assert_eq!(broken, [""; 0], "SQLite");
    let kept = Arc::new(Kept::default());
    let broken = broken_rules(|| Ok(Arc::new(Own(Box::new(ForeignStore::new(kept.clone()))))));
    assert_eq!(broken, [""; 0], "foreign");
}
