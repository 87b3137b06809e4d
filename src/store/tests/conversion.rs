//! Stores of former formats become stores of this one, whatever happens on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Shared, text};
use crate::base::environment::SystemRandom;
use crate::error::{E2eeError, Result};
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::sqlite::SqliteStore;
use crate::store::user_key::UserKey;
use crate::store::{Vault, collections};

const FORMER: [&str; 2] = ["format-1", "format-2"];
const USER_KEY: UserKey<'static> = UserKey::Key(&[0x11; 32]);

/// The records of a committed store file.
fn committed(name: &str) -> Shared {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/stores");
    std::fs::copy(format!("{folder}/{name}.sqlite"), &path).unwrap();
    let file = SqliteStore::open(text(&path)).unwrap();
    let shared = Shared::new();
    for collection in collections::all() {
        for Entry { key, value } in file.scan(collection, None, usize::MAX).unwrap() {
            shared.set(collection, &key, &value);
        }
    }
    shared
}

fn open(records: impl RecordStore + 'static) -> Result<Vault> {
    Vault::open(Box::new(records), USER_KEY, Arc::new(SystemRandom))
}

/// How many records there are, by collection; all are read and decrypted.
fn contents(vault: &Vault) -> BTreeMap<&'static str, usize> {
    let mut found = BTreeMap::new();
    for collection in collections::OF_AN_ACCOUNT {
        let records = vault.scan::<serde::de::IgnoredAny>(collection, &[]).unwrap();
        records.iter().for_each(|(key, _)| {
            assert!(vault.read::<serde::de::IgnoredAny>(key).unwrap().is_some());
        });
        found.insert(collection, records.len());
    }
    found
}

/// What is stored, but for what belongs to the store itself.
fn stored(shared: &Shared) -> BTreeMap<&'static str, usize> {
    let count = |name| (name, shared.entries(name).len());
    collections::OF_AN_ACCOUNT.into_iter().map(count).collect()
}

/// How many commits a conversion makes at least: the header's, and two records at a time.
fn steps(stored: &BTreeMap<&str, usize>) -> usize {
    1 + stored.values().map(|count| count.div_ceil(2)).sum::<usize>()
}

/// Dies at one commit: before it, or after it if `is_made`.
struct Mortal {
    records: Shared,
    left: AtomicUsize,
    is_made: bool,
}

impl RecordStore for Mortal {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.records.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.records.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() {
            return self.records.commit(changes, durability);
        }
        if self.is_made {
            self.records.commit(changes, durability)?;
        }
        Err(E2eeError::store_io("killed"))
    }
    fn close(&self) -> Result<()> {
        self.records.close()
    }
}

// Checklist 7: a crash in the middle of a migration.
#[test]
fn a_conversion_that_dies_at_any_commit_is_finished_by_the_next_opening() {
    for name in FORMER {
        let before = committed(name);
        let expected = stored(&before);
        assert!(expected.values().sum::<usize>() > 10, "{name}");
        let mut deaths = 0;
        for is_made in [false, true] {
            for commit in 0.. {
                let records = before.copy();
                let mortal =
                    Mortal { records: records.copy(), left: AtomicUsize::new(commit), is_made };
                let dying = mortal.records.clone();
                if open(mortal).is_ok() {
                    break;
                }
                deaths += 1;
                // Again, and once more when it is finished.
                for _ in 0..2 {
                    let vault = open(dying.clone()).unwrap();
                    assert_eq!(contents(&vault), expected, "{name}, commit {commit}");
                }
                // From here on the index stands guard.
                let accounts = dying.entries("account");
                dying.delete("account", &accounts[0].key);
                let vault = open(dying).unwrap();
                let lost = vault.scan::<serde::de::IgnoredAny>("account", &[]);
                assert_eq!(lost.unwrap_err().name(), "CORRUPT");
            }
        }
        assert!(deaths >= 2 * steps(&expected), "{name}: {deaths}");
    }
}

#[test]
fn a_conversion_that_dies_at_each_commit_in_turn_comes_to_an_end() {
    for name in FORMER {
        let records = committed(name);
        let expected = stored(&records);
        let mut openings = 1;
        // Each opening makes one commit.
        while open(Mortal { records: records.clone(), left: AtomicUsize::new(1), is_made: false })
            .is_err()
        {
            openings += 1;
        }
        assert!(openings >= steps(&expected), "{name}: {openings}");
        assert_eq!(contents(&open(records).unwrap()), expected);
    }
}

#[test]
fn records_that_did_not_add_up_before_the_conversion_are_believed_no_more_after_it() {
    let expected = stored(&committed("format-2"));
    for collection in collections::OF_AN_ACCOUNT {
        if expected[collection] < 2 {
            continue;
        }
        let records = committed("format-2");
        let gone = records.entries(collection).remove(0);
        records.delete(collection, &gone.key);
        for _ in 0..2 {
            let vault = open(records.clone()).unwrap();
            for other in collections::OF_AN_ACCOUNT {
                let keys = vault.scan_keys(other, &[]).unwrap();
                let read = |key| vault.read::<serde::de::IgnoredAny>(key);
                if other == collection {
                    assert_eq!(keys.len(), expected[other] - 1);
                    keys.iter()
                        .for_each(|key| assert_eq!(read(key).unwrap_err().name(), "CORRUPT"));
                } else {
                    assert_eq!(keys.len(), expected[other]);
                    keys.iter().for_each(|key| assert!(read(key).unwrap().is_some()));
                }
            }
        }
    }
}

#[test]
fn a_header_or_manifest_of_a_former_format_that_is_put_back_opens_nothing() {
    for name in FORMER {
        let before = committed(name);
        let records = before.copy();
        open(records.clone()).unwrap();
        let all = |records: &Shared| open(records.clone()).map(|vault| contents(&vault));
        assert_eq!(all(&records).unwrap(), stored(&before));
        let header = before.get("vault", b"header").unwrap().unwrap();
        let now = records.copy();
        records.set("vault", b"header", &header);
        assert_eq!(all(&records).unwrap_err().name(), "CORRUPT", "{name}");
        if name == "format-1" {
            // Nor with the manifest gone: records of today are none of that time.
            records.delete("vault_manifest", b"manifest");
            let vault = open(records).unwrap();
            for collection in collections::OF_AN_ACCOUNT {
                for key in vault.scan_keys(collection, &[]).unwrap() {
                    let found = vault.read::<serde::de::IgnoredAny>(&key);
                    assert_eq!(found.unwrap_err().name(), "CORRUPT");
                }
            }
            // Nor do records of that time pass for ones of today.
            let account = before.entries("account").remove(0);
            now.set("account", &account.key, &account.value);
            let found = open(now).unwrap().scan::<serde::de::IgnoredAny>("account", &[]);
            assert_eq!(found.unwrap_err().name(), "CORRUPT");
        } else {
            let manifest = before.get("vault_manifest", b"manifest").unwrap().unwrap();
            now.set("vault_manifest", b"manifest", &manifest);
            assert_eq!(open(now).unwrap_err().name(), "CORRUPT");
        }
    }
}

#[test]
fn a_former_store_is_opened_with_its_own_key_only() {
    for name in FORMER {
        let records = committed(name);
        assert_eq!(records.vault().unwrap_err().name(), "WRONG_KEY");
    }
}
