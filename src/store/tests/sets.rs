//! Sets: names in their order, in the index alone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::{KEY, Shared};
use crate::base::environment::SystemRandom;
use crate::error::{E2eeError, Result};
use crate::store::collections::{INBOUND_LISTS, INBOUND_SESSIONS, OLM_LISTS};
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::user_key::UserKey;
use crate::store::vault::ProblemKind;
use crate::store::{Batch, RecordKey, SetOf, Vault};

const OWNER: [&str; 2] = ["@alice:example.org", "ALICE"];
const OF: SetOf<'static> = SetOf { set: INBOUND_LISTS, owner: OWNER };

fn commit(vault: &Vault, change: impl FnOnce(&mut Batch)) -> Result<()> {
    let mut batch = Batch::new();
    change(&mut batch);
    vault.commit(batch)
}

/// Names of very different lengths, some of which begin others.
fn name(number: u32) -> [String; 2] {
    let first = format!("{:x}", number.wrapping_mul(0x9e37_79b9) % 4096);
    let length = [0, 1, 20, 127, 128, 255, 300, 700][number as usize % 8];
    [first.repeat(1 + number as usize % 3), "r".repeat(length) + &(number % 5).to_string()]
}

fn all_of(vault: &Vault, list: &str) -> Vec<String> {
    vault.names(&vault.list(OF, list), &[], usize::MAX).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_list_has_its_names_in_their_order_however_it_grew_and_shrank(
        steps in prop::collection::vec((0_u8..5, 0_u32..1_000, 1_u32..400), 1..12),
        pages in prop::collection::vec((0_u32..1_000, 1_usize..600), 8),
    ) {
        let shared = Shared::new();
        let mut vault = shared.vault().unwrap();
        let mut models: [BTreeSet<String>; 2] = Default::default();
        for (kind, start, count) in steps {
            let mut batch = Batch::new();
            for number in (0..count).map(|number| (start + number * 7) % 1_000) {
                let name = name(number);
                let name = name.each_ref().map(String::as_str);
                for (which, model) in models.iter_mut().enumerate().take(1 + number as usize % 2) {
                    let list = vault.list(OF, ["", "!room"][which]);
                    if kind < 3 {
                        batch.note(&list, &name);
                        model.insert(name.join("\0"));
                    } else {
                        batch.unnote(&list, &name);
                        model.remove(&name.join("\0"));
                    }
                }
            }
            vault.commit(batch).unwrap();
            if kind == 0 {
                vault = shared.vault().unwrap();
            }
            for (model, list) in models.iter().zip(["", "!room"]) {
                prop_assert!(all_of(&vault, list).iter().eq(model));
            }
        }
        let [model, _] = &models;
        for (number, limit) in pages {
            let [after, _] = name(number);
            let both = |a: &str, b: &str| Ok(Some([a, b].join("\0")));
            let part = (Some(after.as_str()), limit);
            let page = vault.page_of_list(OF, "", part, |(): (), _| {}, both).unwrap();
            let first = |name: &String| name.split('\0').next().unwrap().to_owned();
            let rest: Vec<_> = model.iter().filter(|name| first(name) > after).cloned().collect();
            prop_assert_eq!(&page[..], &rest[..page.len()]);
            // It is full, and ends where another first text begins.
            if let Some(next) = rest.get(page.len()) {
                prop_assert!(page.len() >= limit && first(next) != first(page.last().unwrap()));
                prop_assert!(page.len() == limit || first(&page[limit - 1]) == first(page.last().unwrap()));
            }
        }
        prop_assert_eq!(vault.problems().unwrap(), []);
        // The store below learns no name, and nothing is left of an empty set.
        prop_assert_eq!(shared.entries(INBOUND_LISTS), []);
        let mut batch = Batch::new();
        vault.unnote_all(INBOUND_LISTS, &OWNER, &mut batch).unwrap();
        vault.commit(batch).unwrap();
        prop_assert_eq!(all_of(&shared.vault().unwrap(), ""), Vec::<String>::new());
        prop_assert_eq!(shared.entries("vault_index").len(), 0);
    }
}

fn record(vault: &Vault, number: usize) -> RecordKey {
    vault.key(INBOUND_SESSIONS, &[OWNER[0], OWNER[1], "!room", &number.to_string()])
}

/// Records without a set, as an earlier version left them.
fn put_records(vault: &Vault, count: usize) {
    commit(vault, |batch| {
        (0..count).for_each(|n| batch.put(&record(vault, n), &format!("{n:05}")).unwrap());
    })
    .unwrap();
}

fn note(vault: &Vault, name: &str, batch: &mut Batch) {
    batch.note(&vault.list(OF, ""), &[name]);
}

fn build(vault: &Vault) -> Result<()> {
    vault.build_set(OF, &|name: String, batch: &mut Batch| note(vault, &name, batch))
}

fn page(vault: &Vault, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
    let one = |a: &str, _: &str| Ok(Some(a.to_owned()));
    let note = |name: String, batch: &mut Batch| note(vault, &name, batch);
    vault.page_of_list(OF, "", (after, limit), note, one)
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:05}")).collect()
}

/// Lets some commits pass, and then none.
#[derive(Clone)]
struct Failing(Shared, Arc<AtomicUsize>);

impl RecordStore for Failing {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        let left = |left: usize| left.checked_sub(1);
        self.1
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            .map_err(|_| E2eeError::store_io("full"))?;
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_set_is_built_from_records_in_steps_of_which_none_is_lost() {
    let shared = Shared::new();
    put_records(&shared.vault().unwrap(), 1_000);
    let mut failures = 0;
    loop {
        // A process that ends after its second commit.
        let store = Failing(shared.clone(), Arc::new(AtomicUsize::new(2)));
        let vault =
            Vault::open(Box::new(store), UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
        // What is stored meanwhile is noted by whoever stores it.
        if failures == 1 {
            commit(&shared.vault().unwrap(), |batch| {
                batch.put(&record(&vault, 1_000), "01000").unwrap();
                batch.note(&vault.list(OF, ""), &["01000"]);
            })
            .unwrap();
        }
        let vault = if failures == 1 { shared.vault().unwrap() } else { vault };
        match build(&vault) {
            Err(error) => assert_eq!(error.name(), "STORE_IO"),
            Ok(()) => break,
        }
        failures += 1;
    }
    assert_eq!(failures, 1);
    let vault = shared.vault().unwrap();
    assert_eq!(page(&vault, None, 2_000).unwrap(), names(0..1_001));
    // Nothing is to be done any more.
    let store = Failing(shared, Arc::new(AtomicUsize::new(0)));
    let vault = Vault::open(Box::new(store), UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    assert_eq!(page(&vault, Some("00099"), 7).unwrap(), names(100..107));
}

#[test]
fn a_damaged_node_of_a_set_is_reported_fails_no_commit_and_the_next_list_builds_the_set_anew() {
    let before = Shared::new();
    let vault = before.vault().unwrap();
    put_records(&vault, 300);
    // A set of a second collection stays as it is.
    let other = SetOf { set: OLM_LISTS, ..OF };
    commit(&vault, |batch| batch.note(&vault.list(other, ""), &["a", "b"])).unwrap();
    let nodes = before.entries("vault_index");
    build(&vault).unwrap();
    let of_set: Vec<_> =
        before.entries("vault_index").into_iter().filter(|node| !nodes.contains(node)).collect();
    assert!(of_set.len() > 10);
    for (number, node) in of_set.iter().enumerate() {
        let shared = before.copy();
        match number % 3 {
            0 => shared.delete("vault_index", &node.key),
            1 => shared.set("vault_index", &node.key, &[7; 90]),
            _ => shared.set("vault_index", &node.key, &nodes[0].value),
        }
        let vault = shared.vault().unwrap();
        let found = vault.problems().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].collection, found[0].kind), ("vault_index", ProblemKind::Damaged));
        // Storing passes, wherever its name comes.
        if number % 2 == 0 {
            for number in [300, 301] {
                commit(&vault, |batch| {
                    batch.put(&record(&vault, number), &format!("{number:05}")).unwrap();
                    batch.note(&vault.list(OF, ""), &[&format!("{number:05}")]);
                })
                .unwrap();
                assert!(vault.read::<String>(&record(&vault, number)).unwrap().is_some());
            }
        }
        let count = if number % 2 == 0 { 302 } else { 300 };
        assert_eq!(page(&vault, None, 1_000).unwrap(), names(0..count));
        for vault in [vault, shared.vault().unwrap()] {
            assert_eq!(vault.problems().unwrap(), []);
            assert_eq!(page(&vault, Some("00120"), 5).unwrap(), names(121..126));
            assert_eq!(vault.names(&vault.list(other, ""), &[], 9).unwrap(), ["a\0b"]);
        }
        // An owner whose set is damaged can go.
        let shared = before.copy();
        shared.delete("vault_index", &node.key);
        let vault = shared.vault().unwrap();
        commit(&vault, |batch| {
            vault.unnote_all(INBOUND_LISTS, &OWNER, batch).unwrap();
            (0..300).for_each(|number| batch.delete(&record(&vault, number)));
        })
        .unwrap();
        assert_eq!(page(&vault, None, 9).unwrap(), Vec::<String>::new());
        assert_eq!(vault.problems().unwrap(), []);
    }
}

#[test]
fn a_copy_of_what_is_good_builds_its_sets_by_itself() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    put_records(&vault, 300);
    build(&vault).unwrap();
    shared.delete(INBOUND_SESSIONS, record(&vault, 7).bytes());
    let copy = Shared::new();
    let to = Failing(copy.clone(), Arc::new(AtomicUsize::new(1_000)));
    vault.salvage(Box::new(to), UserKey::Key(&KEY)).unwrap();
    let mut expected = names(0..300);
    expected.remove(7);
    assert_eq!(page(&copy.vault().unwrap(), None, 1_000).unwrap(), expected);
}

// Issue 10: listing costs what it lists.
#[test]
fn a_page_reads_a_few_nodes_of_the_index_however_long_the_list_is() {
    for count in [1_000, 20_000] {
        let shared = Shared::new();
        let vault = shared.vault().unwrap();
        for first in (0..count).step_by(500) {
            commit(&vault, |batch| {
                let list = vault.list(OF, "");
                (first..first + 500).for_each(|number| {
                    batch.note(&list, &[&format!("{number:05}"), "!room:example.org"]);
                });
                vault.note_built(OF, batch);
            })
            .unwrap();
        }
        let reads = Arc::new(AtomicUsize::new(0));
        let store = Counting(shared, Arc::clone(&reads));
        let vault =
            Vault::open(Box::new(store), UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
        reads.store(0, Ordering::SeqCst);
        assert_eq!(page(&vault, Some("00499"), 100).unwrap(), names(500..600));
        let reads = reads.load(Ordering::SeqCst);
        // The way down, twice, and a leaf for each ten or more.
        assert!(reads <= 20, "{count}: {reads}");
    }
}

struct Counting(Shared, Arc<AtomicUsize>);

impl RecordStore for Counting {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.1.fetch_add(limit, Ordering::SeqCst);
        self.0.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

/// Says when a list asks for its first node, and waits until it may go on.
struct Blocking(Arc<Block>);

struct Block {
    records: Shared,
    is_armed: AtomicBool,
    signals: Mutex<(SyncSender<()>, Receiver<()>)>,
    waited_too_long: AtomicBool,
}

impl RecordStore for Blocking {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Block { records, is_armed, signals, waited_too_long } = &*self.0;
        if is_armed.swap(false, Ordering::SeqCst) {
            let (asks, may_go_on) = &*signals.lock().unwrap();
            asks.send(()).unwrap();
            if may_go_on.recv_timeout(Duration::from_secs(30)).is_err() {
                waited_too_long.store(true, Ordering::SeqCst);
            }
        }
        records.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        self.0.records.scan(collection, after, limit)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        self.0.records.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        Ok(())
    }
}

// Issue 10: no call waits for another's listing.
#[test]
fn commits_pass_a_page_that_waits_for_the_store_below() {
    let records = Shared::new();
    put_records(&records.vault().unwrap(), 500);
    build(&records.vault().unwrap()).unwrap();
    let (asks, asked) = sync_channel(0);
    let (go_on, may_go_on) = sync_channel(1);
    let block = Arc::new(Block {
        records,
        is_armed: AtomicBool::new(false),
        signals: Mutex::new((asks, may_go_on)),
        waited_too_long: AtomicBool::new(false),
    });
    let store = Box::new(Blocking(Arc::clone(&block)));
    let vault = Vault::open(store, UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let mut listed = Vec::new();
    for round in 0..5 {
        let number = 1_000 + round;
        block.is_armed.store(true, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let after = listed.last().cloned();
            let vault = &vault;
            let page = scope.spawn(move || page(vault, after.as_deref(), 100));
            asked.recv().unwrap();
            // While the page waits: this needs the lock of commits.
            commit(vault, |batch| {
                batch.put(&record(vault, number), &format!("{number:05}")).unwrap();
                batch.note(&vault.list(OF, ""), &[&format!("{number:05}")]);
                batch.delete(&record(vault, 400 + round));
                batch.unnote(&vault.list(OF, ""), &[&format!("{:05}", 400 + round)]);
            })
            .unwrap();
            go_on.send(()).unwrap();
            listed.extend(page.join().unwrap().unwrap());
        });
        assert!(!block.waited_too_long.load(Ordering::SeqCst));
    }
    assert_eq!(listed[..400], names(0..400));
    assert!(listed.is_sorted());
}
