//! What a store costs does not depend on how much is in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{KEY, Shared, put, text};
use crate::base::environment::SystemRandom;
use crate::error::Result;
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::sqlite::SqliteStore;
use crate::store::user_key::UserKey;
use crate::store::{Batch, Vault};

const COLLECTION: &str = "inbound_megolm_session";

/// Counts what a vault asks of the store below it.
#[derive(Clone, Default)]
struct Counts {
    reads: Arc<AtomicUsize>,
    bytes_written: Arc<AtomicUsize>,
    scanned: Arc<AtomicUsize>,
}

struct Counted<R>(R, Counts);

impl<R: RecordStore> RecordStore for Counted<R> {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.1.reads.fetch_add(1, Ordering::SeqCst);
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let page = self.0.scan(collection, after, limit)?;
        self.1.scanned.fetch_add(page.len(), Ordering::SeqCst);
        Ok(page)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        let bytes = changes.iter().map(|c| c.key.len() + c.value.as_ref().map_or(0, Vec::len));
        self.1.bytes_written.fetch_add(bytes.sum(), Ordering::SeqCst);
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

fn name(number: usize) -> [String; 4] {
    let room = format!("!{}:example.org", number / 50);
    [String::from("@alice:example.org"), String::from("ALICE"), room, number.to_string()]
}

fn fill(vault: &Vault, count: usize) {
    let value = "v".repeat(400);
    for first in (0..count).step_by(500) {
        let mut batch = Batch::new();
        for number in first..count.min(first + 500) {
            let name = name(number);
            let parts = name.each_ref().map(String::as_str);
            batch.put_relaxed(&vault.key(COLLECTION, &parts), &value).unwrap();
        }
        vault.commit(batch).unwrap();
    }
}

fn put_one(vault: &Vault, number: usize, durable: bool) {
    let name = name(number);
    let mut batch = Batch::new();
    let key = vault.key(COLLECTION, &name.each_ref().map(String::as_str));
    let value = "w".repeat(400);
    if durable { batch.put(&key, &value) } else { batch.put_relaxed(&key, &value) }.unwrap();
    vault.commit(batch).unwrap();
}

fn read_one(vault: &Vault, number: usize) {
    let name = name(number);
    let key = vault.key(COLLECTION, &name.each_ref().map(String::as_str));
    assert!(vault.read::<String>(&key).unwrap().is_some());
}

#[derive(Debug, PartialEq, PartialOrd)]
struct Cost {
    opening: usize,
    first_read: usize,
    commit: usize,
    bytes: usize,
}

fn cost(count: usize) -> Cost {
    let shared = Shared::new();
    fill(&shared.vault().unwrap(), count);
    let counts = Counts::default();
    let taken = |counter: &AtomicUsize| counter.swap(0, Ordering::SeqCst);
    let store = Box::new(Counted(shared.clone(), counts.clone()));
    let vault = Vault::open(store, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let opening = taken(&counts.reads);
    read_one(&vault, count / 2);
    let first_read = taken(&counts.reads);
    put_one(&vault, count / 3, true);
    let commit = taken(&counts.reads);
    let bytes = taken(&counts.bytes_written);
    assert_eq!(taken(&counts.scanned), 0);
    Cost { opening, first_read, commit, bytes }
}

// Issue 10: opening, a first look-up and a commit cost what they touch.
#[test]
fn opening_reading_and_committing_touch_a_few_records_however_many_there_are() {
    for count in [1_000, 20_000] {
        let cost = cost(count);
        let most = Cost { opening: 2, first_read: 6, commit: 5, bytes: 6_000 };
        let Cost { opening, first_read, commit, bytes } = most;
        assert!(
            cost.opening <= opening
                && cost.first_read <= first_read
                && cost.commit <= commit
                && cost.bytes <= bytes,
            "{count}: {cost:?}"
        );
    }
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// `STORE_FIGURES=1000,100000,1000000 cargo test --release --lib figures -- --nocapture`
#[test]
fn figures_of_stores_of_several_sizes() {
    let sizes = std::env::var("STORE_FIGURES").unwrap_or_else(|_| String::from("200"));
    for count in sizes.split(',').map(|count| count.parse::<usize>().unwrap()) {
        let directory =
            tempfile::tempdir_in(std::env::var("STORE_FOLDER").unwrap_or_else(|_| ".".into()))
                .unwrap();
        let path = directory.path().join("store.db");
        let counts = Counts::default();
        let open = || {
            let records = SqliteStore::open(text(&path)).unwrap();
            let store = Box::new(Counted(records, counts.clone()));
            Vault::open(store, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap()
        };
        let vault = open();
        let start = Instant::now();
        fill(&vault, count);
        let filled = start.elapsed();
        vault.close().unwrap();
        drop(vault);
        let memory = resident();
        let start = Instant::now();
        let vault = open();
        let opening = start.elapsed();
        read_one(&vault, count / 2);
        let first_read = start.elapsed();
        let spread = |number: usize| number.wrapping_mul(7919) % count;
        let mean = |rounds: usize, mut work: Box<dyn FnMut(usize) + '_>| -> Duration {
            let start = Instant::now();
            (0..rounds).for_each(|round| work(spread(round)));
            start.elapsed() / rounds as u32
        };
        let read = mean(2000, Box::new(|number| read_one(&vault, number)));
        counts.bytes_written.store(0, Ordering::SeqCst);
        let times = Mutex::new(Vec::new());
        let commit = |durable: bool, round: usize| {
            let start = Instant::now();
            put_one(&vault, spread(round + 13), durable);
            times.lock().unwrap().push(start.elapsed());
        };
        let median = || {
            let mut times = std::mem::take(&mut *times.lock().unwrap());
            times.sort();
            (times[times.len() / 2], times.iter().sum::<Duration>() / times.len() as u32)
        };
        (0..1000).for_each(|round| commit(false, round));
        let relaxed = median();
        (0..1000).for_each(|round| commit(true, round));
        let durable = median();
        let bytes = counts.bytes_written.load(Ordering::SeqCst) / 2000;
        let memory = resident().saturating_sub(memory) / 1024;
        let start = Instant::now();
        let listed = vault.scan_keys(COLLECTION, &["@alice:example.org"]).unwrap().len();
        let list = start.elapsed();
        assert_eq!(listed, count);
        vault.close().unwrap();
        drop(vault);
        // What the same commits would cost without an index.
        let records = SqliteStore::open(text(&path)).unwrap();
        let keys = records.scan(COLLECTION, None, count).unwrap();
        let bare = |durability, round: usize| {
            let record = put(COLLECTION, &keys[spread(round + 13)].key, &[round as u8; 500]);
            let manifest = put("vault_manifest", b"manifest", &[round as u8; 700]);
            let start = Instant::now();
            records.commit(vec![record, manifest], durability).unwrap();
            times.lock().unwrap().push(start.elapsed());
        };
        (0..1000).for_each(|round| bare(Durability::Relaxed, round));
        let bare_relaxed = median();
        (0..1000).for_each(|round| bare(Durability::Synced, round));
        let bare_durable = median();
        println!("without an index: {bare_relaxed:?}, {bare_durable:?}");
        println!(
            "{count:>9}: filled {filled:?}, opened {opening:?}, first read {first_read:?}, \
             read {read:?}, relaxed {relaxed:?}, durable {durable:?} (median, mean), \
             {bytes} bytes a commit, list {list:?}, {memory} KiB more"
        );
    }
}
