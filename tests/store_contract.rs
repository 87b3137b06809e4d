//! The store contract notices every way in which a backend can break one of its rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use matrixe2ee::store_contract::broken_rules;
use matrixe2ee::{E2eeError, Result, StoreBackend, StoreChange, StoreEntry};

type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// What a backend does otherwise than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twist {
    None,
    NothingIsEmpty,
    IgnoresCase,
    CutsKeysAtNul,
    CutsValues,
    ListsShortValues,
    KeepsTheFirstValue,
    ForgetsDeletions,
    ChangesBackwards,
    OneCollection,
    SortsSigned,
    SortsShorterFirst,
    ListsTheKeyItself,
    OneTooMany,
    ShortPages,
    OnlyAHundredChanges,
    OneThreadOnly,
    InMemoryOnly,
    Fails,
}

struct Backend {
    twist: Twist,
    records: Arc<Mutex<Records>>,
    opened_by: ThreadId,
}

impl Backend {
    fn name(&self, collection: &str, key: &[u8]) -> (String, Vec<u8>) {
        let mut key = key.to_vec();
        let mut collection = collection.to_owned();
        match self.twist {
            Twist::IgnoresCase => key.make_ascii_lowercase(),
            Twist::CutsKeysAtNul => {
                key.truncate(key.iter().position(|byte| *byte == 0).unwrap_or(key.len()));
            }
            Twist::OneCollection => {
                key.splice(0..0, collection.bytes());
                collection.clear();
            }
            _ => {}
        }
        (collection, key)
    }

    fn sort(&self, entries: &mut [StoreEntry]) {
        match self.twist {
            Twist::SortsSigned => entries.sort_by_key(|entry| signed(&entry.key)),
            Twist::SortsShorterFirst => entries.sort_by_key(|entry| entry.key.len()),
            _ => {}
        }
    }
}

#[allow(clippy::cast_possible_wrap)]
fn signed(key: &[u8]) -> Vec<i8> {
    key.iter().map(|byte| *byte as i8).collect()
}

impl StoreBackend for Backend {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        if self.twist == Twist::Fails {
            return Err(E2eeError::StoreIo { detail: String::from("on purpose") });
        }
        let found = self.records.lock().unwrap().get(&self.name(&collection, &key)).cloned();
        Ok(found.or_else(|| (self.twist == Twist::NothingIsEmpty).then(Vec::new)))
    }

    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>> {
        let records = self.records.lock().unwrap();
        let (name, after) = self.name(&collection, after_key.as_deref().unwrap_or_default());
        let limit = match self.twist {
            Twist::OneTooMany => limit.saturating_add(1),
            Twist::ShortPages => limit.min(100),
            _ => limit,
        };
        let itself = after_key.is_none() || self.twist == Twist::ListsTheKeyItself;
        let found = records
            .range((name.clone(), after.clone())..)
            .take_while(|((other, key), _)| {
                let whole =
                    self.twist != Twist::OneCollection || key.starts_with(collection.as_bytes());
                *other == name && whole
            })
            .filter(|((_, key), _)| itself || *key != after)
            .map(|((_, key), value)| {
                let skipped = if self.twist == Twist::OneCollection { collection.len() } else { 0 };
                let mut value = value.clone();
                value.truncate(if self.twist == Twist::ListsShortValues {
                    1000
                } else {
                    usize::MAX
                });
                StoreEntry { key: key[skipped..].to_vec(), value }
            });
        let mut found: Vec<_> = found.take(limit as usize).collect();
        self.sort(&mut found);
        Ok(found)
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        if self.twist == Twist::OneThreadOnly && thread::current().id() != self.opened_by {
            return Ok(());
        }
        let mut changes = changes;
        match self.twist {
            Twist::ChangesBackwards => changes.reverse(),
            Twist::OnlyAHundredChanges => changes.truncate(100),
            _ => {}
        }
        let mut records = self.records.lock().unwrap();
        for StoreChange { collection, key, value } in changes {
            let name = self.name(&collection, &key);
            match value {
                Some(_)
                    if self.twist == Twist::KeepsTheFirstValue && records.contains_key(&name) => {}
                Some(mut value) => {
                    value.truncate(if self.twist == Twist::CutsValues {
                        65_535
                    } else {
                        usize::MAX
                    });
                    records.insert(name, value);
                }
                None if self.twist == Twist::ForgetsDeletions => {}
                None => drop(records.remove(&name)),
            }
        }
        Ok(())
    }
}

fn broken_by(twist: Twist) -> Vec<String> {
    let kept = Arc::new(Mutex::new(Records::new()));
    broken_rules(|| {
        let records = match twist {
            Twist::InMemoryOnly => Arc::default(),
            _ => Arc::clone(&kept),
        };
        Ok(Arc::new(Backend { twist, records, opened_by: thread::current().id() }))
    })
}

#[test]
fn a_backend_that_keeps_all_rules_breaks_none() {
    assert_eq!(broken_by(Twist::None), [""; 0]);
}

#[test]
fn every_broken_rule_is_named() {
    let cases = [
        (Twist::NothingIsEmpty, "a key that is not there has no value"),
        (Twist::IgnoresCase, "keys are the same only if all their bytes are"),
        (Twist::CutsKeysAtNul, "keys are the same only if all their bytes are"),
        (Twist::CutsValues, "get gives the value that was committed"),
        (Twist::ListsShortValues, "scan gives the value that was committed"),
        (Twist::KeepsTheFirstValue, "a new value takes the place"),
        (Twist::ForgetsDeletions, "a deleted record is gone"),
        (Twist::ChangesBackwards, "the changes of a commit are made in their order"),
        (Twist::OneCollection, "each collection has records of its own"),
        (Twist::SortsSigned, "scan gives the records in the order of the bytes"),
        (Twist::SortsShorterFirst, "scan gives the records in the order of the bytes"),
        (Twist::ListsTheKeyItself, "scan begins after after_key"),
        (Twist::OneTooMany, "scan gives as many records as there are, and at most limit"),
        (Twist::ShortPages, "scan gives as many records as there are, and at most limit"),
        (Twist::OnlyAHundredChanges, "a commit may have a thousand changes"),
        (Twist::OneThreadOnly, "several threads may call at once"),
        (Twist::InMemoryOnly, "everything is there when the place is opened again"),
    ];
    let mut noticed = BTreeSet::new();
    for (twist, rule) in cases {
        let broken = broken_by(twist);
        assert!(broken.iter().any(|says| says.starts_with(rule)), "{twist:?}: {broken:#?}");
        noticed.insert(rule);
    }
    // All of them.
    assert_eq!(noticed.len(), 14);
}

#[test]
fn an_error_breaks_a_rule_and_is_told() {
    let broken = broken_by(Twist::Fails);
    assert!(broken[0].ends_with("(STORE_IO: on purpose)"), "{broken:#?}");
    let closed = || Err(E2eeError::StoreClosed { detail: String::from("gone") });
    assert_eq!(broken_rules(closed).len(), 14);
}
