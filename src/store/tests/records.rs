//! The contract that every record store keeps.

use std::sync::Arc;

use super::foreign::Kept;
use super::{delete, put, text};
use crate::store::foreign::ForeignStore;
use crate::store::memory::MemoryStore;
use crate::store::record_store::{Durability, RecordStore};
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
