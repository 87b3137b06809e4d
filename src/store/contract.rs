//! The rules of [`StoreBackend`] as tests, for everybody who writes one.
//!
//! A backend that keeps them, and how that is shown:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//! use matrixe2ee::{Result, StoreBackend, StoreChange, StoreEntry};
//!
//! #[derive(Default)]
//! struct InMemory(Mutex<BTreeMap<(String, Vec<u8>), Vec<u8>>>);
//!
//! impl StoreBackend for InMemory {
//!     fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
//!         Ok(self.0.lock().unwrap().get(&(collection, key)).cloned())
//!     }
//!
//!     fn scan(
//!         &self,
//!         collection: String,
//!         after_key: Option<Vec<u8>>,
//!         limit: u32,
//!     ) -> Result<Vec<StoreEntry>> {
//!         let records = self.0.lock().unwrap();
//!         let first = (collection.clone(), after_key.clone().unwrap_or_default());
//!         let found = records
//!             .range(first..)
//!             .take_while(|((name, _), _)| *name == collection)
//!             .filter(|((_, key), _)| Some(key) != after_key.as_ref())
//!             .map(|((_, key), value)| StoreEntry { key: key.clone(), value: value.clone() });
//!         Ok(found.take(limit as usize).collect())
//!     }
//!
//!     fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
//!         let mut records = self.0.lock().unwrap();
//!         for StoreChange { collection, key, value } in changes {
//!             match value {
//!                 Some(value) => records.insert((collection, key), value),
//!                 None => records.remove(&(collection, key)),
//!             };
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let place = Arc::new(InMemory::default());
//! let broken = matrixe2ee::store_contract::broken_rules(|| Ok(place.clone()));
//! assert!(broken.is_empty(), "{broken:#?}");
//! ```
//!
//! What no such test can see: that a commit is whole and on disk when the power fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::foreign::{StoreBackend, StoreChange, StoreEntry};
use crate::error::{E2eeError, Result};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Tries every rule, and gives a sentence for each that is broken.
///
/// `open` opens a place that is empty at first, and the same place each time. Before it is called
/// again, the backend that it gave is dropped. The records of the test stay in the place.
pub fn broken_rules(mut open: impl FnMut() -> Result<Arc<dyn StoreBackend>>) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, holds) in RULES {
        match open().and_then(|backend| holds(Place(backend), &mut open)) {
            Ok(true) => {}
            Ok(false) => broken.push((*rule).to_owned()),
            Err(error) => broken.push(format!("{rule} ({}: {error})", error.name())),
        }
    }
    broken
}

/// Opens the place again, after the backend before was dropped.
type Open<'a> = &'a mut dyn FnMut() -> Result<Arc<dyn StoreBackend>>;

/// Whether a rule holds. Each works in collections of its own.
type Holds = fn(Place, Open<'_>) -> Result<bool>;

const RULES: &[(&str, Holds)] = &[
    ("a key that is not there has no value, and a new collection no records", is_empty_at_first),
    ("get gives the value that was committed, byte by byte", keeps_every_byte),
    ("scan gives the value that was committed, byte by byte", scans_every_byte),
    ("a new value takes the place of the old one", replaces),
    ("a deleted record is gone", deletes),
    ("the changes of a commit are made in their order", keeps_the_order_of_changes),
    ("each collection has records of its own", separates_collections),
    ("keys are the same only if all their bytes are", tells_keys_apart),
    ("scan gives the records in the order of the bytes of their keys", sorts_by_bytes),
    ("scan begins after after_key, whether or not there is such a record", begins_after),
    ("scan gives as many records as there are, and at most limit", keeps_the_limit),
    ("a commit may have a thousand changes", takes_large_commits),
    ("several threads may call at once, and see what others have committed", serves_threads),
    ("everything is there when the place is opened again", survives_reopening),
];

fn is_empty_at_first(place: Place, _: Open<'_>) -> Result<bool> {
    Ok(place.get("rule_new", b"key")?.is_none() && place.records("rule_new")?.is_empty())
}

fn keeps_every_byte(place: Place, _: Open<'_>) -> Result<bool> {
    let records = odd_records();
    place.put_all("rule_bytes", &records)?;
    for (key, value) in &records {
        if place.get("rule_bytes", key)?.as_ref() != Some(value) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn scans_every_byte(place: Place, _: Open<'_>) -> Result<bool> {
    let records = odd_records();
    place.put_all("rule_scanned_bytes", &records)?;
    Ok(place.records("rule_scanned_bytes")? == in_order(&records))
}

fn replaces(place: Place, _: Open<'_>) -> Result<bool> {
    for value in [&b"long value"[..], b"value", b"another value"] {
        place.commit(vec![put("rule_replace", b"key", value)])?;
        let records = place.records("rule_replace")?;
        if place.get("rule_replace", b"key")?.as_deref() != Some(value) || records.len() != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn deletes(place: Place, _: Open<'_>) -> Result<bool> {
    let name = "rule_delete";
    place.commit(vec![put(name, b"a", b"1"), put(name, b"b", b"2"), put(name, b"c", b"3")])?;
    place.commit(vec![delete(name, b"b"), delete(name, b"not there")])?;
    let gone = place.get(name, b"b")?.is_none();
    Ok(gone && place.keys(name, None, u32::MAX)? == [b"a", b"c"])
}

fn keeps_the_order_of_changes(place: Place, _: Open<'_>) -> Result<bool> {
    let name = "rule_order_of_changes";
    place.commit(vec![
        put(name, b"a", b"1"),
        delete(name, b"a"),
        put(name, b"a", b"2"),
        put(name, b"a", b"3"),
        put(name, b"b", b"4"),
        delete(name, b"b"),
    ])?;
    Ok(place.get(name, b"a")?.as_deref() == Some(b"3") && place.get(name, b"b")?.is_none())
}

fn separates_collections(place: Place, _: Open<'_>) -> Result<bool> {
    // The longest name; and where the ends of names and the beginnings of keys look alike.
    let names = ["rule_collection", "rule_collections", "rule_collection_with_a_long_name"];
    for name in names {
        place.commit(vec![put(name, b"sskey", name.as_bytes()), put(name, b"skey", b"1")])?;
    }
    place.commit(vec![delete("rule_collection", b"skey")])?;
    for (name, count) in names.into_iter().zip([1, 2, 2]) {
        let right = place.get(name, b"sskey")?.as_deref() == Some(name.as_bytes());
        if !right || place.records(name)?.len() != count {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tells_keys_apart(place: Place, _: Open<'_>) -> Result<bool> {
    let keys = sorted_keys();
    for (number, key) in (0_u32..).zip(&keys) {
        place.commit(vec![put("rule_keys", key, &number.to_be_bytes())])?;
    }
    for (number, key) in (0_u32..).zip(&keys) {
        if place.get("rule_keys", key)?.as_deref() != Some(&number.to_be_bytes()[..]) {
            return Ok(false);
        }
    }
    Ok(place.get("rule_keys", b"kEy")?.is_none())
}

fn sorts_by_bytes(place: Place, _: Open<'_>) -> Result<bool> {
    let keys = sorted_keys();
    // Neither in order nor the other way round.
    let (even, odd): (Vec<_>, Vec<_>) = (0..).zip(&keys).partition(|(number, _)| number % 2 == 0);
    for (_, key) in odd.into_iter().rev().chain(even) {
        place.commit(vec![put("rule_order", key, b"value")])?;
    }
    Ok(place.keys("rule_order", None, u32::MAX)? == keys)
}

fn begins_after(place: Place, _: Open<'_>) -> Result<bool> {
    let name = "rule_after";
    place.commit([b"b", b"d", b"f"].map(|key| put(name, key, b"value")).to_vec())?;
    let after =
        |key: &[u8]| -> Result<Vec<u8>> { Ok(place.keys(name, Some(key), u32::MAX)?.concat()) };
    Ok(after(b"a")? == b"bdf"
        && after(b"b")? == b"df"
        && after(b"b\0")? == b"df"
        && after(b"c")? == b"df"
        && after(b"f")?.is_empty()
        && after(b"\xff")?.is_empty())
}

fn keeps_the_limit(place: Place, _: Open<'_>) -> Result<bool> {
    let records: Vec<_> =
        (0_u16..300).map(|number| (number.to_be_bytes().to_vec(), vec![1])).collect();
    place.put_all("rule_limit", &records)?;
    for limit in [1, 7, 150, 256, 300, 301] {
        if place.pages("rule_limit", limit)? != Some(in_order(&records)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn takes_large_commits(place: Place, _: Open<'_>) -> Result<bool> {
    let records: Vec<_> =
        (0_u16..1000).map(|number| (number.to_be_bytes().to_vec(), vec![7; 300])).collect();
    place.put_all("rule_large", &records)?;
    let kept = place.records("rule_large")?.len() == records.len();
    place.commit(records.iter().map(|(key, _)| delete("rule_large", key)).collect())?;
    Ok(kept && place.records("rule_large")?.is_empty())
}

fn serves_threads(place: Place, _: Open<'_>) -> Result<bool> {
    const THREADS: u8 = 4;
    const ROUNDS: u8 = 25;
    let name = "rule_threads";
    let work = |thread: u8| -> Result<bool> {
        for round in 0..ROUNDS {
            let key = [thread, round];
            place.commit(vec![put(name, &key, &key), put(name, &[thread], &[round])])?;
            let seen = place.keys(name, Some(&[thread]), u32::from(ROUNDS))?;
            if place.get(name, &key)?.as_deref() != Some(&key) || !seen.contains(&key.to_vec()) {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let fine = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || work(thread))).collect();
        let stopped = || Err(E2eeError::store_io("a thread panicked"));
        let results = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| stopped()));
        results.collect::<Result<Vec<bool>>>()
    })?;
    let expected = usize::from(THREADS).saturating_mul(usize::from(ROUNDS).saturating_add(1));
    Ok(!fine.contains(&false) && place.records(name)?.len() == expected)
}

fn survives_reopening(place: Place, open: Open<'_>) -> Result<bool> {
    let name = "rule_reopen";
    let mut expected = odd_records();
    place.put_all(name, &expected)?;
    place.commit(vec![put(name, b"changed", b"1"), put(name, b"deleted", b"1")])?;
    place.commit(vec![put(name, b"changed", b"2"), delete(name, b"deleted")])?;
    drop(place);
    expected.push((b"changed".to_vec(), b"2".to_vec()));
    let same = |place: &Place| Ok::<_, E2eeError>(place.records(name)? == in_order(&expected));
    let place = Place(open()?);
    let once = same(&place)?;
    drop(place);
    Ok(once && same(&Place(open()?))?)
}

/// An open place.
struct Place(Arc<dyn StoreBackend>);

impl Place {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection.to_owned(), key.to_vec())
    }

    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: u32) -> Result<Vec<StoreEntry>> {
        self.0.scan(collection.to_owned(), after.map(<[u8]>::to_vec), limit)
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        self.0.commit(changes)
    }

    fn put_all(&self, collection: &str, records: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
        self.commit(records.iter().map(|(key, value)| put(collection, key, value)).collect())
    }

    fn keys(&self, collection: &str, after: Option<&[u8]>, limit: u32) -> Result<Vec<Vec<u8>>> {
        let entries = self.scan(collection, after, limit)?;
        Ok(entries.into_iter().map(|entry| entry.key).collect())
    }

    /// A whole collection. A record that is listed twice counts once.
    fn records(&self, collection: &str) -> Result<Records> {
        let entries = self.scan(collection, None, u32::MAX)?;
        Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
    }

    /// A whole collection in pages; `None` if one is not as it should be.
    fn pages(&self, collection: &str, limit: u32) -> Result<Option<Records>> {
        let total = self.records(collection)?.len();
        let at_most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = Records::new();
        loop {
            let expected = total.saturating_sub(found.len()).min(at_most);
            let after = found.last_key_value().map(|(key, _)| key.clone());
            let page = self.scan(collection, after.as_deref(), limit)?;
            let (before, length) = (found.len(), page.len());
            found.extend(page.into_iter().map(|entry| (entry.key, entry.value)));
            // Each of them is new: a backend that begins again would never come to an end.
            if length != expected || found.len().saturating_sub(before) != length {
                return Ok(None);
            }
            if length == 0 {
                return Ok(Some(found));
            }
        }
    }
}

fn put(collection: &str, key: &[u8], value: &[u8]) -> StoreChange {
    let value = Some(value.to_vec());
    StoreChange { collection: collection.to_owned(), key: key.to_vec(), value }
}

fn delete(collection: &str, key: &[u8]) -> StoreChange {
    StoreChange { collection: collection.to_owned(), key: key.to_vec(), value: None }
}

fn in_order(records: &[(Vec<u8>, Vec<u8>)]) -> Records {
    records.iter().cloned().collect()
}

/// Every byte in keys and values, the shortest and the longest key, and a long value.
fn odd_records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes: Vec<u8> = (0..=255).collect();
    let mut records: Vec<_> = bytes.iter().map(|byte| (vec![*byte], vec![*byte])).collect();
    records.push((bytes.iter().skip(1).copied().collect(), bytes.repeat(4096)));
    records.push((b"zeroes".to_vec(), vec![0; 100]));
    records
}

/// Keys that a careless comparison takes for each other, or sorts otherwise.
fn sorted_keys() -> Vec<Vec<u8>> {
    let keys: [&[u8]; 18] = [
        b"\0", b"\0\0", b"\x01", b"%", b"-1", b"10", b"9", b"KEY", b"Key", b"_", b"key", b"key\0",
        b"key\0a", b"key ", b"keys", b"\x7f", b"\x80", b"\xff",
    ];
    keys.map(<[u8]>::to_vec).to_vec()
}
