//! Records that are missing, too many, or put back to an earlier state are noticed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use proptest::prelude::*;

use super::{KEY, Shared};
use crate::base::environment::SystemRandom;
use crate::error::{E2eeError, Result};
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::user_key::UserKey;
use crate::store::{Batch, RecordKey, Vault};

fn put(vault: &Vault, name: &[&str], value: u32) -> Result<RecordKey> {
    let key = vault.key("olm", name);
    let mut batch = Batch::new();
    batch.put(&key, &value)?;
    vault.commit(batch)?;
    Ok(key)
}

fn delete(vault: &Vault, key: &RecordKey) -> Result<()> {
    let mut batch = Batch::new();
    batch.delete(key);
    vault.commit(batch)
}

/// What a new opening says of the collection.
fn reopened(shared: &Shared) -> Result<u32> {
    let vault = shared.vault()?;
    let found = vault.read::<u32>(&vault.key("olm", &["a", "0"]))?;
    vault.scan::<u32>("olm", &["a"])?;
    Ok(found.unwrap_or(u32::MAX))
}

fn says(result: Result<u32>, text: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.name(), "CORRUPT");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn each_record_put_back_to_any_earlier_state_is_noticed() {
    // Security requirements, "Store durability checklist" 3
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    for name in ["0", "1", "2"] {
        put(&vault, &["a", name], 1).unwrap();
    }
    let before = shared.entries("olm");
    for name in ["0", "1", "2"] {
        put(&vault, &["a", name], 2).unwrap();
    }
    let now = shared.entries("olm");
    for (old, new) in before.iter().zip(&now) {
        shared.set("olm", &old.key, &old.value);
        says(reopened(&shared), "is damaged");
        shared.set("olm", &new.key, &new.value);
    }
    assert_eq!(reopened(&shared).unwrap(), 2);
    // All of them, or a mixture, are no better.
    before.iter().for_each(|old| shared.set("olm", &old.key, &old.value));
    says(reopened(&shared), "is damaged");
}

#[test]
fn a_record_that_is_gone_or_back_again_is_noticed() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    put(&vault, &["a", "0"], 1).unwrap();
    let gone = put(&vault, &["a", "1"], 1).unwrap();
    let value = shared.get("olm", gone.bytes()).unwrap().unwrap();
    shared.delete("olm", gone.bytes());
    says(reopened(&shared), "is missing");
    shared.set("olm", gone.bytes(), &value);
    assert_eq!(reopened(&shared).unwrap(), 1);
    delete(&vault, &gone).unwrap();
    assert_eq!(reopened(&shared).unwrap(), 1);
    shared.set("olm", gone.bytes(), &value);
    says(reopened(&shared), "should be gone");
}

#[test]
fn a_manifest_that_is_missing_altered_or_old_is_noticed() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    put(&vault, &["a", "0"], 1).unwrap();
    let old = shared.get("vault_manifest", b"manifest").unwrap().unwrap();
    put(&vault, &["a", "0"], 2).unwrap();
    let now = shared.get("vault_manifest", b"manifest").unwrap().unwrap();
    shared.set("vault_manifest", b"manifest", &old);
    says(reopened(&shared), "is damaged");
    for position in 0..now.len() {
        let mut altered = now.clone();
        altered[position] ^= 1;
        shared.set("vault_manifest", b"manifest", &altered);
        says(reopened(&shared), "is damaged");
    }
    shared.delete("vault_manifest", b"manifest");
    says(reopened(&shared), "manifest of the store is missing");
    shared.set("vault_manifest", b"manifest", &now);
    assert_eq!(reopened(&shared).unwrap(), 2);
}

#[test]
fn an_open_vault_notices_a_store_that_answers_with_old_missing_or_fewer_records() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    let key = put(&vault, &["a", "0"], 1).unwrap();
    let other = put(&vault, &["a", "1"], 1).unwrap();
    let old = shared.get("olm", key.bytes()).unwrap().unwrap();
    put(&vault, &["a", "0"], 2).unwrap();
    let now = shared.get("olm", key.bytes()).unwrap().unwrap();
    let corrupt = |key: &RecordKey| vault.read::<u32>(key).unwrap_err().name() == "CORRUPT";
    let scan = || vault.scan::<u32>("olm", &["a"]).map(|found| found.len());
    shared.set("olm", key.bytes(), &old);
    assert!(corrupt(&key));
    assert_eq!(scan().unwrap_err().name(), "CORRUPT");
    shared.set("olm", key.bytes(), &now);
    assert_eq!((vault.read::<u32>(&key).unwrap(), scan().unwrap()), (Some(2), 2));
    let value = shared.get("olm", other.bytes()).unwrap().unwrap();
    shared.delete("olm", other.bytes());
    assert!(corrupt(&other));
    assert_eq!(scan().unwrap_err().name(), "CORRUPT");
    // What has to be deleted is known all the same.
    assert_eq!(vault.scan_keys("olm", &[]).unwrap().len(), 2);
    shared.set("olm", other.bytes(), &value);
    delete(&vault, &other).unwrap();
    // A record that is there again is not believed.
    shared.set("olm", other.bytes(), &value);
    assert!(corrupt(&other));
    assert_eq!(scan().unwrap_err().name(), "CORRUPT");
}

/// Fails one commit on command: 1 before it, 2 after it, 3 after its first half.
#[derive(Clone)]
pub(super) struct Failing(pub(super) Shared, pub(super) Arc<AtomicUsize>);

impl RecordStore for Failing {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, mut changes: Vec<Change>, durability: Durability) -> Result<()> {
        let failure = self.1.swap(0, Ordering::SeqCst);
        match failure {
            1 => changes.clear(),
            3 => changes.truncate(1),
            _ => {}
        }
        self.0.commit(changes, durability)?;
        if failure == 0 { Ok(()) } else { Err(E2eeError::store_io("the disk failed")) }
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

#[test]
fn after_a_failed_commit_the_manifest_is_what_the_store_has() {
    // SEC-114
    for (failure, expected) in [(1, 1), (2, 2)] {
        let fail = Arc::new(AtomicUsize::new(0));
        let store = Failing(Shared::new(), fail.clone());
        let random = Arc::new(SystemRandom);
        let vault = Vault::open(Box::new(store.clone()), UserKey::Key(&KEY), random).unwrap();
        let key = put(&vault, &["a", "0"], 1).unwrap();
        fail.store(failure, Ordering::SeqCst);
        assert_eq!(put(&vault, &["a", "0"], 2).unwrap_err().name(), "STORE_IO");
        assert_eq!(vault.read::<u32>(&key).unwrap(), Some(expected));
        put(&vault, &["a", "1"], 7).unwrap();
        assert_eq!(vault.scan::<u32>("olm", &["a"]).unwrap().len(), 2);
        assert_eq!(reopened(&store.0).unwrap(), expected);
    }
}

#[test]
fn a_commit_of_which_only_a_part_was_written_is_noticed_at_once_and_later() {
    let fail = Arc::new(AtomicUsize::new(0));
    let store = Failing(Shared::new(), fail.clone());
    let vault =
        Vault::open(Box::new(store.clone()), UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let key = put(&vault, &["a", "0"], 1).unwrap();
    fail.store(3, Ordering::SeqCst);
    assert_eq!(put(&vault, &["a", "0"], 2).unwrap_err().name(), "STORE_IO");
    assert_eq!(vault.read::<u32>(&key).unwrap_err().name(), "CORRUPT");
    says(reopened(&store.0), "is damaged");
    // It is the problem of that record alone, until it is overwritten.
    let other = put(&vault, &["a", "1"], 2).unwrap();
    assert_eq!(vault.read::<u32>(&other).unwrap(), Some(2));
    says(reopened(&store.0), "is damaged");
    put(&vault, &["a", "0"], 3).unwrap();
    assert_eq!(reopened(&store.0).unwrap(), 3);
}

#[test]
fn threads_that_read_while_others_commit_see_no_corruption() {
    let vault = Shared::new().vault().unwrap();
    let key = put(&vault, &["a", "0"], 0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..2_000).for_each(|n| drop(put(&vault, &["a", "0"], n).unwrap())));
        scope.spawn(|| (0..500).for_each(|n| drop(put(&vault, &["a", "1"], n).unwrap())));
        for _ in 0..2_000 {
            vault.read::<u32>(&key).unwrap().unwrap();
            assert!((1..=2).contains(&vault.scan_keys("olm", &["a"]).unwrap().len()));
        }
    });
}

proptest! {
    #[test]
    fn a_vault_agrees_with_a_plain_map_after_any_commits_and_reopenings(
        steps in prop::collection::vec((0_u8..4, 0_u8..3, 0_u8..3, any::<u32>()), 1..60),
    ) {
        let shared = Shared::new();
        let mut vault = shared.vault().unwrap();
        let mut model = BTreeMap::new();
        for (kind, first, second, value) in steps {
            let name = [first.to_string(), second.to_string()];
            let parts = [name[0].as_str(), name[1].as_str()];
            let key = vault.key("olm", &parts);
            match kind {
                0 => drop(delete(&vault, &key).map(|()| model.remove(&name)).unwrap()),
                1 => vault = shared.vault().unwrap(),
                _ => {
                    // Twice in one commit, so that the order inside it counts.
                    let mut batch = Batch::new();
                    batch.put(&key, &0).unwrap();
                    batch.put(&key, &value).unwrap();
                    vault.commit(batch).unwrap();
                    model.insert(name.clone(), value);
                }
            }
            prop_assert_eq!(vault.read::<u32>(&key).unwrap(), model.get(&name).copied());
            let under = model.keys().filter(|known| known[0] == name[0]).count();
            prop_assert_eq!(vault.scan::<u32>("olm", &[&name[0]]).unwrap().len(), under);
        }
        prop_assert_eq!(shared.vault().unwrap().scan_keys("olm", &[]).unwrap().len(), model.len());
    }
}

#[test]
fn a_record_that_was_added_is_noticed_whatever_its_key_looks_like() {
    let genuine = {
        let shared = Shared::new();
        let vault = shared.vault().unwrap();
        put(&vault, &["a", "0"], 1).unwrap();
        shared
    };
    let entry = genuine.entries("olm").remove(0);
    let same_end = [vec![0; 16], entry.key[16..].to_vec()].concat();
    for key in
        [same_end, vec![7; 5], vec![7; 48], vec![7; 40], [entry.key.clone(), vec![7; 16]].concat()]
    {
        let vault = genuine.vault().unwrap();
        genuine.set("olm", &key, &entry.value);
        assert_eq!(vault.scan::<u32>("olm", &[]).unwrap_err().name(), "CORRUPT", "{key:?}");
        assert_eq!(vault.scan_keys("olm", &[]).unwrap().len(), 2);
        genuine.delete("olm", &key);
    }
    assert_eq!(reopened(&genuine).unwrap(), 1);
}

/// Waits at each commit with changes until it is let go, and then fails.
struct Slow(Shared, Arc<Barrier>);

impl RecordStore for Slow {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        if changes.iter().all(|change| change.value.is_some()) {
            return self.0.commit(changes, durability);
        }
        self.1.wait();
        self.1.wait();
        Err(E2eeError::store_io("the disk failed"))
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

#[test]
fn a_record_whose_deletion_is_under_way_is_not_said_to_be_gone() {
    let barrier = Arc::new(Barrier::new(2));
    let store = Box::new(Slow(Shared::new(), barrier.clone()));
    let vault = Vault::open(store, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let key = put(&vault, &["a", "0"], 1).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(delete(&vault, &key).unwrap_err().name(), "STORE_IO"));
        barrier.wait();
        // The reader has to wait for the end of the commit, which comes only now.
        let reader = scope.spawn(|| vault.read::<u32>(&key));
        barrier.wait();
        assert_eq!(reader.join().unwrap().unwrap(), Some(1));
    });
}
