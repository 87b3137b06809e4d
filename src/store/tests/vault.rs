//! Encryption at rest.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::{KEY, Shared, put};
use crate::base::environment::{RandomBytes, SystemRandom};
use crate::error::{E2eeError, Result};
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::sqlite::SqliteStore;
use crate::store::user_key::UserKey;
use crate::store::{Batch, RecordKey, Vault};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    name: String,
    numbers: Vec<u32>,
}

fn record(name: &str) -> Record {
    Record { name: name.to_owned(), numbers: vec![1, 2, 3] }
}

fn store(vault: &Vault, key: &RecordKey, value: &impl Serialize) {
    let mut batch = Batch::new();
    batch.put(key, value).unwrap();
    vault.commit(batch).unwrap();
}

fn read_name(vault: &Vault, key: &RecordKey) -> &'static str {
    vault.read::<Record>(key).unwrap_err().name()
}

#[test]
fn records_survive_reopening_under_the_same_names() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    let key = vault.key("olm", &["@a:hs", "DEVICE"]);
    store(&vault, &key, &record("first"));
    store(&vault, &key, &record("second"));
    let vault = shared.vault().unwrap();
    assert_eq!(vault.key("olm", &["@a:hs", "DEVICE"]), key);
    assert_eq!(vault.read(&key).unwrap(), Some(record("second")));
    let mut batch = Batch::new();
    batch.delete(&key);
    assert!(!batch.is_empty());
    vault.commit(batch).unwrap();
    assert_eq!(vault.read::<Record>(&key).unwrap(), None);
}

#[test]
fn a_commit_of_many_records_is_made_in_order_and_never_uses_a_nonce_twice() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let open = || {
        let records = Box::new(SqliteStore::open(path.to_str().unwrap()).unwrap());
        Vault::open(records, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap()
    };
    let vault = open();
    let mut batch = Batch::new();
    for number in 0..3000 {
        // Each name three times: once deleted, once overwritten.
        let key = vault.key("olm", &[&(number % 1000).to_string()]);
        if number / 1000 == 1 { batch.delete(&key) } else { batch.put(&key, &number).unwrap() }
    }
    vault.commit(batch).unwrap();
    vault.close().unwrap();
    drop(vault);
    let vault = open();
    for number in 0..1000 {
        let key = vault.key("olm", &[&number.to_string()]);
        assert_eq!(vault.read(&key).unwrap(), Some(number + 2000));
    }
    drop(vault);
    let records = SqliteStore::open(path.to_str().unwrap()).unwrap();
    let entries = records.scan("olm", None, 5000).unwrap();
    let nonces: HashSet<_> = entries.iter().map(|entry| entry.value[..24].to_vec()).collect();
    assert_eq!((entries.len(), nonces.len()), (1000, 1000));
}

#[test]
fn an_empty_batch_is_no_commit() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    vault.close().unwrap();
    vault.commit(Batch::new()).unwrap();
}

#[test]
fn a_key_of_another_length_is_refused() {
    for length in [0, 16, 31, 33, 64] {
        let error = Shared::new().vault_with(&vec![1; length]).unwrap_err();
        assert_eq!(error.name(), "INVALID_LENGTH");
    }
}

#[test]
fn a_wrong_key_is_told_from_a_damaged_header() {
    let shared = Shared::new();
    shared.vault().unwrap();
    assert_eq!(shared.vault_with(&[8; 32]).unwrap_err().name(), "WRONG_KEY");
    let header = shared.get("vault", b"header").unwrap().unwrap();
    for damaged in [&header[..header.len() - 1], &[0xc1], &[], b"\x80"] {
        shared.set("vault", b"header", damaged);
        assert_eq!(shared.vault().unwrap_err().name(), "CORRUPT");
    }
    shared.set("vault", b"header", &header);
    shared.vault().unwrap();
}

#[test]
fn a_header_of_a_newer_format_is_refused_even_if_the_rest_is_unknown() {
    #[derive(Serialize)]
    struct Newer {
        format: u32,
        surprise: bool,
    }
    let shared = Shared::new();
    let header = rmp_serde::to_vec_named(&Newer { format: 4, surprise: true }).unwrap();
    shared.set("vault", b"header", &header);
    match shared.vault().unwrap_err() {
        E2eeError::NewerFormat { found: 4, supported: 3, .. } => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_header_with_more_fields_or_another_kind_is_no_wrong_key() {
    let shared = Shared::new();
    shared.set(
        "vault",
        b"header",
        &rmp_serde::to_vec_named(&serde_json::json!({
            "format": 1, "kind": "argon", "nonce": [], "wrapped_key": [],
        }))
        .unwrap(),
    );
    assert_eq!(shared.vault().unwrap_err().name(), "CORRUPT");
}

#[test]
fn records_without_a_header_are_corrupt_and_not_a_new_store() {
    let shared = Shared::new();
    shared.set("account", b"k", b"v");
    assert_eq!(shared.vault().unwrap_err().name(), "CORRUPT");
    assert_eq!(shared.get("vault", b"header").unwrap(), None);
}

#[test]
fn every_altered_byte_of_a_record_is_detected() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    let key = vault.key("olm", &["a"]);
    store(&vault, &key, &record("x"));
    let entry = shared.entries("olm").remove(0);
    for position in 0..entry.value.len() {
        let mut altered = entry.value.clone();
        altered[position] ^= 1;
        shared.set("olm", &entry.key, &altered);
        let error = vault.read::<Record>(&key).unwrap_err();
        assert_eq!(error.name(), "CORRUPT");
        assert!(error.to_string().contains("olm"));
    }
    for length in 0..entry.value.len() {
        shared.set("olm", &entry.key, &entry.value[..length]);
        assert_eq!(read_name(&vault, &key), "CORRUPT");
    }
}

#[test]
fn records_exchanged_within_or_between_collections_are_detected() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    let (a, b, c) =
        (vault.key("olm", &["a"]), vault.key("olm", &["b"]), vault.key("megolm", &["a"]));
    store(&vault, &a, &record("a"));
    store(&vault, &b, &record("b"));
    store(&vault, &c, &record("c"));
    let value = |key: &RecordKey| shared.get(key.collection, key.bytes()).unwrap().unwrap();
    let (of_a, of_b, of_c) = (value(&a), value(&b), value(&c));
    shared.set("olm", b.bytes(), &of_a);
    assert_eq!(read_name(&vault, &b), "CORRUPT");
    shared.set("olm", a.bytes(), &of_c);
    assert_eq!(read_name(&vault, &a), "CORRUPT");
    // Even under the very same key bytes, another collection is another place.
    shared.set("olm", a.bytes(), &of_a);
    shared.set("olm", b.bytes(), &of_b);
    shared.delete("megolm", c.bytes());
    shared.set("megolm", a.bytes(), &of_a);
    let vault = shared.vault().unwrap();
    let moved = RecordKey::from_stored("megolm", a.bytes().to_vec());
    assert_eq!(read_name(&vault, &moved), "CORRUPT");
}

#[test]
fn a_record_that_is_not_of_the_expected_type_is_corrupt() {
    let vault = Shared::new().vault().unwrap();
    let key = vault.key("olm", &["a"]);
    store(&vault, &key, &"only a text");
    assert_eq!(read_name(&vault, &key), "CORRUPT");
}

#[test]
fn a_record_of_a_newer_format_is_refused() {
    let vault = Shared::new().vault().unwrap();
    let key = vault.key("olm", &["a"]);
    let mut batch = Batch::new();
    batch.put(&key, &record("x")).unwrap();
    batch.set_record_format(9);
    vault.commit(batch).unwrap();
    match vault.read::<Record>(&key).unwrap_err() {
        E2eeError::NewerFormat { found: 9, supported: 1, .. } => {}
        other => panic!("{other:?}"),
    }
    let mut batch = Batch::new();
    batch.put(&key, &record("x")).unwrap();
    batch.set_record_format(0);
    vault.commit(batch).unwrap();
    assert_eq!(read_name(&vault, &key), "CORRUPT");
}

#[test]
fn a_scan_finds_exactly_the_records_that_begin_with_the_parts() {
    let vault = Shared::new().vault().unwrap();
    let mut batch = Batch::new();
    for user in ["@a:hs", "@b:hs", "@a:h"] {
        for index in 0..90 {
            let key = vault.key("olm", &[user, "DEVICE", &index.to_string()]);
            batch.put(&key, &record(&format!("{user} {index}"))).unwrap();
        }
    }
    batch.put(&vault.key("megolm", &["@a:hs", "DEVICE", "1"]), &record("megolm")).unwrap();
    vault.commit(batch).unwrap();
    let found: Vec<(RecordKey, Record)> = vault.scan("olm", &["@a:hs"]).unwrap();
    assert_eq!(found.len(), 90);
    assert!(found.iter().all(|(_, record)| record.name.starts_with("@a:hs ")));
    for (key, record) in &found {
        assert_eq!(vault.read(key).unwrap().as_ref(), Some(record));
    }
    assert_eq!(vault.scan_keys("olm", &["@a:hs", "DEVICE"]).unwrap().len(), 90);
    assert_eq!(
        vault.scan_keys("olm", &["@a:hs", "DEVICE", "7"]).unwrap(),
        [vault.key("olm", &["@a:hs", "DEVICE", "7"])]
    );
    assert_eq!(vault.scan_keys("olm", &[]).unwrap().len(), 270);
    assert_eq!(vault.scan_keys("olm", &["@a:hs", "DEVIC"]).unwrap(), []);
    assert_eq!(vault.scan_keys("olm", &["@a:hsDEVICE"]).unwrap(), []);
    assert_eq!(vault.scan_keys("none", &[]).unwrap(), []);
}

#[test]
fn the_parts_of_a_name_cannot_run_into_each_other() {
    let vault = Shared::new().vault().unwrap();
    let keys = [
        vault.key("c", &["ab", "c"]),
        vault.key("c", &["a", "bc"]),
        vault.key("c", &["abc", ""]),
        vault.key("c", &["", "abc"]),
        vault.key("ca", &["b", "c"]),
    ];
    for (index, key) in keys.iter().enumerate() {
        assert!(keys[..index].iter().all(|other| other.bytes() != key.bytes()));
    }
    let prefix = vault.prefix("c", &["ab"]);
    assert!(prefix.covers(keys[0].bytes()) && !prefix.covers(keys[1].bytes()));
}

#[test]
fn two_stores_share_no_key_and_equal_values_never_look_equal() {
    // P6: the encryption is not deterministic.
    let (one, two) = (Shared::new(), Shared::new());
    let (first, second) = (one.vault().unwrap(), two.vault().unwrap());
    assert_ne!(first.key("c", &["a"]), second.key("c", &["a"]));
    let key = first.key("c", &["a"]);
    store(&first, &key, &record("x"));
    let before = one.entries("c");
    store(&first, &key, &record("x"));
    assert_ne!(before, one.entries("c"));
}

#[test]
fn neither_values_nor_names_reach_the_store_below_nor_any_debug_text() {
    // SEC-106
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    let key = vault.key("c", &["CANARY-NAME"]);
    store(&vault, &key, &record("CANARY-VALUE"));
    for entry in shared.entries("c").iter().chain(&shared.entries("vault")) {
        for bytes in [&entry.key, &entry.value] {
            assert!(!bytes.windows(6).any(|window| window == b"CANARY" || window == [7; 6]));
        }
    }
    let debug = format!("{key:?} {vault:?} {:?}", vault.prefix("c", &["CANARY-NAME"]));
    assert_eq!(
        debug,
        "RecordKey { collection: \"c\", .. } Vault { .. } RecordPrefix { collection: \"c\", .. }"
    );
}

struct CountedRandom(AtomicUsize, AtomicUsize);

impl RandomBytes for CountedRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let call = self.0.fetch_add(1, Ordering::SeqCst);
        if call >= self.1.load(Ordering::SeqCst) {
            return Err(E2eeError::store_io("no random bytes"));
        }
        SystemRandom.fill(buffer)
    }
}

#[test]
fn a_commit_draws_its_nonces_at_once_and_fails_whole_without_them() {
    // SEC-110
    let random = Arc::new(CountedRandom(AtomicUsize::new(0), AtomicUsize::new(4)));
    let shared = Shared::new();
    let vault = Vault::open(Box::new(shared.clone()), UserKey::Key(&KEY), random.clone()).unwrap();
    let put_two = || {
        let mut batch = Batch::new();
        batch.put_relaxed(&vault.key("c", &["a"]), &1).unwrap();
        batch.delete(&vault.key("c", &["c"]));
        batch.put_relaxed(&vault.key("c", &["b"]), &2).unwrap();
        vault.commit(batch)
    };
    put_two().unwrap();
    assert_eq!(random.0.load(Ordering::SeqCst), 4);
    let before = shared.entries("c");
    assert_ne!(before[0].value[..24], before[1].value[..24]);
    assert_eq!(put_two().unwrap_err().name(), "STORE_IO");
    assert_eq!(shared.entries("c"), before);
    // A new store without random bytes is no store.
    let empty = Shared::new();
    assert!(Vault::open(Box::new(empty.clone()), UserKey::Key(&KEY), random).is_err());
    assert!(empty.is_empty().unwrap());
}

#[test]
fn a_large_record_survives_the_growing_of_its_buffer() {
    let vault = Shared::new().vault().unwrap();
    let key = vault.key("c", &["a"]);
    let large: Vec<u32> = (0..100_000).collect();
    store(&vault, &key, &large);
    assert_eq!(vault.read(&key).unwrap(), Some(large));
}

struct Disordered(Shared);

impl RecordStore for Disordered {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, _: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, None, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

#[test]
fn a_store_that_lists_the_same_records_again_is_an_error_and_no_endless_loop() {
    let store = Box::new(Disordered(Shared::new()));
    let vault = Vault::open(store, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let mut batch = Batch::new();
    for index in 0..40 {
        batch.put(&vault.key("c", &["a", &index.to_string()]), &index).unwrap();
    }
    vault.commit(batch).unwrap();
    assert_eq!(vault.scan_keys("c", &["a"]).unwrap_err().name(), "STORE_IO");
}

proptest! {
    #[test]
    fn arbitrary_stored_bytes_are_an_error_and_never_a_panic(
        value in prop::collection::vec(any::<u8>(), 0..200),
        plaintext in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let shared = Shared::new();
        let vault = shared.vault().unwrap();
        let key = vault.key("c", &["a"]);
        store(&vault, &key, &record("x"));
        shared.set("c", key.bytes(), &value);
        prop_assert_eq!(vault.read::<Record>(&key).unwrap_err().name(), "CORRUPT");
        // The same inside the encryption, where only the decoder stands guard.
        let vault = Shared::new().vault().unwrap();
        let key = vault.key("c", &["a"]);
        let mut batch = Batch::new();
        batch.put_plaintext(&key, &plaintext);
        vault.commit(batch).unwrap();
        let _ = vault.read::<Record>(&key);
        // And as the header.
        shared.commit(vec![put("vault", b"header", &value)], Durability::Synced).unwrap();
        let _ = shared.vault().unwrap_err();
    }
}
