//! After a commit whose outcome is unknown the store is asked, and believed within limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{KEY, Shared, collections, delete};
use crate::base::environment::SystemRandom;
use crate::error::{E2eeError, Result};
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::user_key::UserKey;
use crate::store::{Batch, RecordKey, Vault};

/// Says of commits that they failed, and makes none, while it is told to.
struct Failing(Shared, Arc<AtomicBool>);

impl RecordStore for Failing {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        if self.1.load(Ordering::SeqCst) {
            return Err(E2eeError::store_io("told to fail"));
        }
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

fn store(vault: &Vault, key: &RecordKey, number: u32) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(key, &number).unwrap();
    vault.commit(batch)
}

/// A store with the number 2 in it whose last commit failed, as it was with the number 1, and the key.
fn in_doubt() -> (Shared, Vault, Shared, RecordKey) {
    let (shared, fails) = (Shared::new(), Arc::new(AtomicBool::new(false)));
    let failing = Box::new(Failing(shared.clone(), Arc::clone(&fails)));
    let vault = Vault::open(failing, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let key = vault.key("account", &["@a:hs", "A"]);
    store(&vault, &key, 1).unwrap();
    let earlier = shared.copy();
    store(&vault, &key, 2).unwrap();
    fails.store(true, Ordering::SeqCst);
    assert_eq!(store(&vault, &key, 3).unwrap_err().name(), "STORE_IO");
    fails.store(false, Ordering::SeqCst);
    (shared, vault, earlier, key)
}

#[test]
fn a_store_as_it_was_before_the_failed_commit_is_believed() {
    let (_, vault, _, key) = in_doubt();
    assert_eq!(vault.read(&key).unwrap(), Some(2_u32));
    store(&vault, &key, 4).unwrap();
    assert_eq!(vault.read(&key).unwrap(), Some(4_u32));
}

#[test]
fn a_store_that_is_put_back_while_a_commit_is_in_doubt_is_corrupt() {
    let (shared, vault, earlier, key) = in_doubt();
    for collection in collections::all() {
        for entry in shared.entries(collection) {
            shared.commit(vec![delete(collection, &entry.key)], Durability::Synced).unwrap();
        }
        for Entry { key, value } in earlier.entries(collection) {
            shared.set(collection, &key, &value);
        }
    }
    assert_eq!(shared.vault().unwrap().read(&key).unwrap(), Some(1_u32), "it is whole");
    assert_eq!(vault.read::<u32>(&key).unwrap_err().name(), "CORRUPT");
    assert_eq!(store(&vault, &key, 5).unwrap_err().name(), "CORRUPT");
}

#[test]
fn a_store_that_others_went_on_with_while_a_commit_is_in_doubt_is_corrupt() {
    let (shared, vault, _, key) = in_doubt();
    let other = shared.vault().unwrap();
    store(&other, &key, 6).unwrap();
    store(&other, &key, 7).unwrap();
    assert_eq!(vault.read::<u32>(&key).unwrap_err().name(), "CORRUPT");
}
