//! The trees of the index, as they grow and shrink.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use proptest::prelude::*;

use super::{KEY, Shared};
use crate::base::environment::SystemRandom;
use crate::error::Result;
use crate::store::record_store::{Change, Durability, Entry, RecordStore};
use crate::store::user_key::UserKey;
use crate::store::{Batch, RecordKey, Vault};

const COLLECTION: &str = "olm_session";

fn key(vault: &Vault, number: u32) -> RecordKey {
    // Some rooms are large, most are small.
    let room = (number % 97).min(number % 7).to_string();
    vault.key(COLLECTION, &["@alice:example.org", &room, &number.to_string()])
}

fn check(shared: &Shared, vault: &Vault, model: &BTreeMap<u32, u32>) {
    for number in 0..1_000 {
        assert_eq!(vault.read(&key(vault, number)).unwrap(), model.get(&number).copied());
    }
    let all = vault.scan::<u32>(COLLECTION, &["@alice:example.org"]).unwrap();
    assert_eq!(all.len(), model.len());
    assert!(all.is_sorted_by(|(one, _), (next, _)| one < next));
    for room in 0..7 {
        let room = room.to_string();
        let found = vault.scan::<u32>(COLLECTION, &["@alice:example.org", &room]).unwrap();
        let prefix = vault.prefix(COLLECTION, &["@alice:example.org", &room]);
        let expected = model.keys().filter(|number| prefix.covers(key(vault, **number).bytes()));
        assert_eq!(found.len(), expected.count());
    }
    // No node is left over, and none is larger than a page can hold.
    let nodes = shared.entries("vault_index");
    assert!(nodes.len() <= model.len() / 5 + 3, "{} nodes for {}", nodes.len(), model.len());
    assert!(nodes.iter().all(|node| node.value.len() < 1_900));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_holds_what_was_committed_however_it_grew_and_shrank(
        steps in prop::collection::vec((0_u8..5, 0_u32..1_000, 1_u32..400), 1..12),
    ) {
        let shared = Shared::new();
        let mut vault = shared.vault().unwrap();
        let mut model = BTreeMap::new();
        for (step, (kind, first, count)) in (0_u32..).zip(steps) {
            let numbers = (0..count).map(|number| (first + number * 7) % 1_000);
            let mut batch = Batch::new();
            for number in numbers {
                if kind < 3 {
                    batch.put(&key(&vault, number), &(number + step)).unwrap();
                    model.insert(number, number + step);
                } else {
                    batch.delete(&key(&vault, number));
                    model.remove(&number);
                }
            }
            vault.commit(batch).unwrap();
            if kind == 0 {
                vault = shared.vault().unwrap();
            }
            check(&shared, &vault, &model);
        }
        assert_eq!(vault.problems().unwrap(), []);
        // Nothing is left of an empty one.
        let mut batch = Batch::new();
        model.keys().for_each(|number| batch.delete(&key(&vault, *number)));
        vault.commit(batch).unwrap();
        check(&shared, &shared.vault().unwrap(), &BTreeMap::new());
        assert_eq!(shared.entries("vault_index").len(), 0);
    }
}

#[test]
fn records_that_come_and_go_one_by_one_leave_a_tree_of_full_nodes() {
    let shared = Shared::new();
    let vault = shared.vault().unwrap();
    let mut model = BTreeMap::new();
    let commit = |change: &mut dyn FnMut(&mut Batch)| {
        let mut batch = Batch::new();
        change(&mut batch);
        vault.commit(batch).unwrap();
    };
    for number in 0..1_000 {
        commit(&mut |batch| batch.put(&key(&vault, number), &number).unwrap());
        model.insert(number, number);
    }
    check(&shared, &vault, &model);
    for number in (0..1_000).filter(|number| number % 10 != 3) {
        commit(&mut |batch| batch.delete(&key(&vault, number)));
        model.remove(&number);
    }
    check(&shared, &shared.vault().unwrap(), &model);
}

/// Says when a list asks for its next page, and waits until it may go on.
struct Waiting(Shared, Mutex<(SyncSender<()>, Receiver<()>)>);

impl RecordStore for Waiting {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(collection, key)
    }
    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let page = self.0.scan(collection, after, limit)?;
        // Opening asks whether there is anything.
        if collection == COLLECTION && !page.is_empty() {
            let waiting = self.1.lock().unwrap();
            waiting.0.send(()).unwrap();
            waiting.1.recv().unwrap();
        }
        Ok(page)
    }
    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        self.0.commit(changes, durability)
    }
    fn close(&self) -> Result<()> {
        self.0.close()
    }
}

// Issue 10: no call waits for another's listing.
#[test]
fn commits_pass_a_list_on_its_way_which_lists_all_that_stays() {
    let (asks, asked) = sync_channel(0);
    let (go_on, may_go_on) = sync_channel(0);
    let store = Waiting(Shared::new(), Mutex::new((asks, may_go_on)));
    let vault = Vault::open(Box::new(store), UserKey::Key(&KEY), Arc::new(SystemRandom)).unwrap();
    let put = |number: u32, value: u32| {
        let mut batch = Batch::new();
        batch.put(&key(&vault, number), &value).unwrap();
        vault.commit(batch).unwrap();
    };
    let mut batch = Batch::new();
    (0..1_000).for_each(|number| batch.put(&key(&vault, number), &number).unwrap());
    vault.commit(batch).unwrap();
    std::thread::scope(|scope| {
        let list = scope.spawn(|| vault.scan::<u32>(COLLECTION, &["@alice:example.org"]));
        let mut pages = 0;
        while asked.recv_timeout(std::time::Duration::from_millis(500)).is_ok() {
            // Between the looks at the store, and while a page is compared.
            if pages % 2 == 0 && pages < 8 {
                put(1_000 + pages, 1);
                put(500, 500);
                let mut batch = Batch::new();
                batch.delete(&key(&vault, pages));
                vault.commit(batch).unwrap();
            }
            pages += 1;
            go_on.send(()).unwrap();
            if list.is_finished() {
                break;
            }
        }
        let mut found: Vec<_> =
            list.join().unwrap().unwrap().into_iter().map(|(key, _)| key).collect();
        let stays = (0..1_000).filter(|number| ![0, 2, 4, 6].contains(number));
        assert!(stays.into_iter().all(|number| found.contains(&key(&vault, number))));
        let count = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), count);
    });
}
