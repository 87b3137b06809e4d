//! A damaged record is that record's problem.

use std::sync::Arc;

use super::{Shared, text};
use crate::base::environment::SystemRandom;
use crate::error::Result;
use crate::sessions::account::Account;
use crate::store::collections::{self, OF_AN_ACCOUNT};
use crate::store::record_store::RecordStore;
use crate::store::sqlite::SqliteStore;
use crate::store::user_key::UserKey;
use crate::store::vault::ProblemKind;
use crate::store::{Batch, RecordKey, Store, Vault};

/// How many records each collection has.
const COUNT: usize = 40;
const USER: &str = "@alice:example.org";

fn key(vault: &Vault, collection: &'static str, number: usize) -> RecordKey {
    vault.key(collection, &[USER, &number.to_string()])
}

fn filled() -> Shared {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    for value in 0..2 {
        let mut batch = Batch::new();
        for collection in OF_AN_ACCOUNT {
            for number in 0..COUNT {
                batch.put(&key(&vault, collection, number), &(number + value)).unwrap();
            }
        }
        vault.commit(batch).unwrap();
    }
    shared
}

fn commit(vault: &Vault, change: impl FnOnce(&mut Batch)) -> Result<()> {
    let mut batch = Batch::new();
    change(&mut batch);
    vault.commit(batch)
}

fn problems(vault: &Vault) -> Vec<(&'static str, ProblemKind, u64)> {
    let found = vault.problems().unwrap();
    found.iter().map(|problem| (problem.collection, problem.kind, problem.count)).collect()
}

/// Damages a record of a collection, in each way; says what is then wrong with it.
fn damages<'a>(
    shared: &'a Shared,
    collection: &'static str,
    key: &RecordKey,
) -> Vec<(ProblemKind, Box<dyn Fn() + 'a>)> {
    let value = shared.get(collection, key.bytes()).unwrap().unwrap();
    let other = shared.entries(collection).into_iter().find(|other| other.key != key.bytes());
    let set = |value: Vec<u8>| -> Box<dyn Fn() + 'a> {
        let key = key.bytes().to_vec();
        Box::new(move || shared.set(collection, &key, &value))
    };
    let flipped = |at: usize| {
        let mut value = value.clone();
        value[at] ^= 1;
        value
    };
    let bytes = key.bytes().to_vec();
    vec![
        (ProblemKind::Damaged, set(flipped(0))),
        // Only decrypting tells.
        (ProblemKind::Damaged, set(flipped(30))),
        (ProblemKind::Damaged, set(flipped(value.len() - 1))),
        (ProblemKind::Damaged, set(value[..20].to_vec())),
        (ProblemKind::Damaged, set(other.unwrap().value)),
        (ProblemKind::Missing, Box::new(move || shared.delete(collection, &bytes))),
    ]
}

// Issue 10, "Damage"
#[test]
fn a_damaged_or_missing_record_of_any_collection_is_its_own_problem_and_can_be_replaced() {
    let before = filled();
    assert_eq!(problems(&before.vault().unwrap()), []);
    for collection in OF_AN_ACCOUNT {
        let count =
            damages(&before, collection, &key(&before.vault().unwrap(), collection, 7)).len();
        for which in 0..count {
            let shared = before.copy();
            let vault = shared.vault().unwrap();
            let broken = key(&vault, collection, 7);
            let (kind, damage) = damages(&shared, collection, &broken).swap_remove(which);
            damage();
            assert_eq!(problems(&vault), [(collection, kind, 1)]);
            assert_eq!(vault.read::<usize>(&broken).unwrap_err().name(), "CORRUPT");
            // All others are as they were, in this collection and in all others.
            for other in OF_AN_ACCOUNT.into_iter().filter(|o| which == 0 || *o == collection) {
                let some = (0..COUNT).filter(|number| other == collection || number % 20 == 7);
                for number in some.filter(|number| (other, *number) != (collection, 7)) {
                    let found = vault.read(&key(&vault, other, number)).unwrap();
                    assert_eq!(found, Some(number + 1));
                }
                let list = vault.scan::<usize>(other, &[USER]).map(|found| found.len());
                match other == collection {
                    false => assert_eq!(list.unwrap(), COUNT),
                    true if collections::guards_keys(other) => {
                        assert_eq!(list.unwrap_err().name(), "CORRUPT");
                    }
                    true => assert_eq!(list.unwrap(), COUNT - 1),
                }
                assert_eq!(vault.scan_keys(other, &[USER]).unwrap().len(), COUNT);
            }
            // It can be written again, and deleted.
            commit(&vault, |batch| batch.put(&broken, &99_usize).unwrap()).unwrap();
            assert_eq!(vault.read(&broken).unwrap(), Some(99_usize));
            assert_eq!(problems(&vault), []);
            damage();
            commit(&vault, |batch| batch.delete(&broken)).unwrap();
            for vault in [vault, shared.vault().unwrap()] {
                assert_eq!(vault.read::<usize>(&broken).unwrap(), None);
                assert_eq!(vault.scan::<usize>(collection, &[USER]).unwrap().len(), COUNT - 1);
                assert_eq!(problems(&vault), []);
            }
        }
    }
}

#[test]
fn a_record_that_should_be_gone_is_reported_and_can_be_deleted_again() {
    let before = filled();
    for collection in OF_AN_ACCOUNT {
        let shared = before.copy();
        let vault = shared.vault().unwrap();
        let gone = key(&vault, collection, 7);
        let value = shared.get(collection, gone.bytes()).unwrap().unwrap();
        commit(&vault, |batch| batch.delete(&gone)).unwrap();
        shared.set(collection, gone.bytes(), &value);
        assert_eq!(problems(&vault), [(collection, ProblemKind::Unexpected, 1)]);
        assert_eq!(vault.read::<usize>(&gone).unwrap_err().name(), "CORRUPT");
        commit(&vault, |batch| batch.delete(&gone)).unwrap();
        assert_eq!(problems(&vault), []);
    }
}

#[test]
fn each_node_of_the_index_vouches_for_its_own_records_and_all_of_them_can_be_erased() {
    let before = filled();
    let nodes = before.entries("vault_index");
    assert!(nodes.len() >= 4 * OF_AN_ACCOUNT.len());
    let mut whole = 0;
    for node in &nodes {
        for is_missing in [false, true] {
            let shared = before.copy();
            let mut value = node.value.clone();
            value[40] ^= 1;
            match is_missing {
                true => shared.delete("vault_index", &node.key),
                false => shared.set("vault_index", &node.key, &value),
            }
            let vault = shared.vault().unwrap();
            let mut lost = Vec::new();
            for collection in OF_AN_ACCOUNT {
                for number in 0..COUNT {
                    match vault.read::<usize>(&key(&vault, collection, number)) {
                        Ok(found) => assert_eq!(found, Some(number + 1)),
                        Err(error) => {
                            assert_eq!(error.name(), "CORRUPT");
                            lost.push((collection, number));
                        }
                    }
                }
            }
            let of = lost[0].0;
            assert!(lost.iter().all(|(collection, _)| *collection == of));
            whole += usize::from(lost.len() == COUNT);
            let damaged = ProblemKind::Damaged;
            let expected = [(of, damaged, lost.len() as u64), ("vault_index", damaged, 1)];
            assert_eq!(problems(&vault), expected);
            // Nothing may be written there that would make the rest look gone.
            let one = key(&vault, of, lost[0].1);
            let result = commit(&vault, |batch| batch.put(&one, &1).unwrap());
            assert_eq!(result.unwrap_err().name(), "CORRUPT");
            // But all of it may go.
            let keys = vault.scan_keys(of, &[USER]).unwrap();
            assert_eq!(keys.len(), COUNT);
            commit(&vault, |batch| keys.iter().for_each(|key| batch.delete(key))).unwrap();
            assert_eq!(problems(&vault), []);
            commit(&vault, |batch| batch.put(&one, &5_usize).unwrap()).unwrap();
            assert_eq!(shared.vault().unwrap().read(&one).unwrap(), Some(5_usize));
        }
    }
    // The roots, twice.
    assert_eq!(whole, 2 * OF_AN_ACCOUNT.len());
}

#[test]
fn a_damaged_header_or_manifest_is_reported_while_the_store_is_open() {
    for (collection, name) in [("vault", "header"), ("vault_manifest", "manifest")] {
        let shared = filled();
        let vault = shared.vault().unwrap();
        shared.delete(collection, name.as_bytes());
        assert_eq!(problems(&vault), [(collection, ProblemKind::Damaged, 1)]);
    }
}

// Issue 10, "Damage"
#[test]
fn what_is_good_is_copied_into_a_new_store_and_what_guards_keys_stays_out_of_use() {
    let shared = filled();
    let vault = shared.vault().unwrap();
    for collection in OF_AN_ACCOUNT {
        let at = |number| key(&vault, collection, number);
        let mut value = shared.get(collection, at(3).bytes()).unwrap().unwrap();
        value[30] ^= 1;
        shared.set(collection, at(3).bytes(), &value);
        shared.delete(collection, at(4).bytes());
        let value = shared.get(collection, at(5).bytes()).unwrap().unwrap();
        commit(&vault, |batch| batch.delete(&at(5))).unwrap();
        shared.set(collection, at(5).bytes(), &value);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    let new_key = UserKey::Key(&[9; 32]);
    let place = || Box::new(SqliteStore::open(text(&path)).unwrap());
    vault.salvage(place(), new_key).unwrap();
    let copy = Vault::open(place(), new_key, Arc::new(SystemRandom)).unwrap();
    for collection in OF_AN_ACCOUNT {
        for number in 0..COUNT {
            let read = copy.read::<usize>(&key(&vault, collection, number));
            let is_out_of_use = collections::guards_keys(collection);
            match number {
                3 | 4 if is_out_of_use => assert_eq!(read.unwrap_err().name(), "CORRUPT"),
                3..=5 => assert_eq!(read.unwrap(), None),
                _ => assert_eq!(read.unwrap(), Some(number + 1)),
            }
        }
        commit(&copy, |batch| {
            (3..5).for_each(|number| batch.delete(&key(&copy, collection, number)));
        })
        .unwrap();
        assert_eq!(copy.scan::<usize>(collection, &[USER]).unwrap().len(), COUNT - 3);
    }
    assert_eq!(problems(&copy), []);
    copy.close().unwrap();
    drop(copy);
    // A place that holds something is left as it is.
    assert_eq!(vault.salvage(place(), new_key).unwrap_err().name(), "ALREADY_EXISTS");
    Vault::open(place(), new_key, Arc::new(SystemRandom)).unwrap();
}

#[test]
fn records_whose_part_of_the_index_is_lost_are_salvaged_unless_they_guard_keys() {
    let before = filled();
    for node in before.entries("vault_index") {
        let shared = before.copy();
        shared.delete("vault_index", &node.key);
        let vault = shared.vault().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new.db");
        let place = || Box::new(SqliteStore::open(text(&path)).unwrap());
        let new_key = UserKey::Key(&[9; 32]);
        vault.salvage(place(), new_key).unwrap();
        let copy = Vault::open(place(), new_key, Arc::new(SystemRandom)).unwrap();
        for collection in OF_AN_ACCOUNT {
            for number in 0..COUNT {
                let key = key(&vault, collection, number);
                let is_lost = vault.read::<usize>(&key).is_err();
                match copy.read::<usize>(&key) {
                    Err(error) => {
                        assert!(is_lost && collections::guards_keys(collection));
                        assert_eq!(error.name(), "CORRUPT");
                    }
                    Ok(found) => {
                        assert!(!is_lost || !collections::guards_keys(collection));
                        assert_eq!(found, Some(number + 1));
                    }
                }
            }
        }
    }
}

#[test]
fn what_only_a_newer_version_knows_is_kept_and_not_dropped_by_a_salvage_or_an_erase() {
    let shared = filled();
    let vault = shared.vault().unwrap();
    let unknown = vault.key("of_a_newer_version", &[USER, "0"]);
    commit(&vault, |batch| batch.put(&unknown, &7).unwrap()).unwrap();
    commit(&vault, |batch| batch.put(&key(&vault, OF_AN_ACCOUNT[0], 0), &1).unwrap()).unwrap();
    let vault = shared.vault().unwrap();
    assert_eq!(vault.read::<u32>(&unknown).unwrap(), Some(7));
    let copy = vault.salvage(Box::new(Shared::new()), UserKey::Key(&super::KEY));
    assert_eq!(copy.unwrap_err().name(), "NEWER_FORMAT");
    let random = Arc::new(SystemRandom);
    let store = Store::with_record_store(Box::new(shared), &super::KEY, random).unwrap();
    let account = Account::open(&store, "@bob:example.org".into(), "B".into()).unwrap();
    assert_eq!(account.erase().unwrap_err().name(), "NEWER_FORMAT");
    assert!(account.begin().is_ok(), "nothing was erased");
}
