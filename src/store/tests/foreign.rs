//! The layer between the library and a backend: what it asks, what it notices and when it lets go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, Weak, mpsc};
use std::thread;

use super::{KEY, put};
use crate::base::environment::in_callback;
use crate::error::{E2eeError, Result};
use crate::store::foreign::{ForeignStore, StoreBackend, StoreChange, StoreEntry};
use crate::store::record_store::{Durability, RecordStore};
use crate::store::{Store, collections};

type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// A backend that keeps the rules.
#[derive(Default)]
pub(super) struct Kept {
    records: Mutex<Records>,
    /// How many backends were dropped, for tests that keep a hand on it.
    dropped: Arc<AtomicUsize>,
}

impl StoreBackend for Kept {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        Ok(self.records.lock().unwrap().get(&(collection, key)).cloned())
    }

    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>> {
        assert!(limit > 0, "the library asks for nothing");
        let records = self.records.lock().unwrap();
        let found = records
            .range((collection.clone(), after_key.clone().unwrap_or_default())..)
            .take_while(|((name, _), _)| *name == collection)
            .filter(|((_, key), _)| Some(key) != after_key.as_ref())
            .map(|((_, key), value)| StoreEntry { key: key.clone(), value: value.clone() });
        Ok(found.take(limit as usize).collect())
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        let mut records = self.records.lock().unwrap();
        for StoreChange { collection, key, value } in changes {
            match value {
                Some(value) => records.insert((collection, key), value),
                None => records.remove(&(collection, key)),
            };
        }
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// A backend that answers as it is told to.
struct Scripted {
    answer: Box<dyn Fn() -> Result<Vec<StoreEntry>> + Send + Sync>,
}

fn scripted(answer: impl Fn() -> Result<Vec<StoreEntry>> + Send + Sync + 'static) -> ForeignStore {
    ForeignStore::new(Arc::new(Scripted { answer: Box::new(answer) }))
}

impl StoreBackend for Scripted {
    fn get(&self, _: String, _: Vec<u8>) -> Result<Option<Vec<u8>>> {
        (self.answer)().map(|entries| entries.into_iter().next().map(|entry| entry.value))
    }
    fn scan(&self, _: String, _: Option<Vec<u8>>, _: u32) -> Result<Vec<StoreEntry>> {
        (self.answer)()
    }
    fn commit(&self, _: Vec<StoreChange>) -> Result<()> {
        (self.answer)().map(drop)
    }
}

/// What each of the three calls answers.
fn three_calls(store: &ForeignStore) -> [Result<()>; 3] {
    [
        store.get("account", b"k").map(drop),
        store.scan("account", None, 5).map(drop),
        store.commit(vec![put("account", b"k", b"1")], Durability::Synced),
    ]
}

fn texts(store: &ForeignStore) -> [String; 3] {
    three_calls(store).map(|result| {
        let error = result.unwrap_err();
        assert_eq!(error.name(), "STORE_IO", "{error}");
        error.to_string()
    })
}

#[test]
fn every_error_of_a_backend_is_store_io_and_repeats_at_most_a_few_plain_words() {
    let says = |error: E2eeError| texts(&scripted(move || Err(error.clone())))[2].clone();
    assert_eq!(says(E2eeError::store_io("disk full")), "the backend failed to commit: disk full");
    for hidden in [
        String::new(),
        String::from("postgres://user:password@host"),
        String::from("a\nb"),
        "7".repeat(41),
    ] {
        let text = says(E2eeError::store_io(hidden));
        assert_eq!(text, "the backend failed to commit (STORE_IO)");
    }
    for (error, name) in [
        (E2eeError::corrupt("secret"), "CORRUPT"),
        (E2eeError::busy("secret"), "BUSY"),
        (E2eeError::store_closed("secret"), "STORE_CLOSED"),
        (E2eeError::not_found("secret"), "NOT_FOUND"),
    ] {
        assert_eq!(says(error), format!("the backend failed to commit ({name})"));
    }
    let [get, scan, _] = texts(&scripted(|| Err(E2eeError::store_io("no"))));
    assert_eq!(
        (get.as_str(), scan.as_str()),
        ("the backend failed to get: no", "the backend failed to scan: no")
    );
}

#[test]
fn a_backend_that_panics_is_an_error_and_the_next_call_is_made() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let store = scripted(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("secret")
    });
    assert_eq!(texts(&store)[0], "the backend failed to get: it panicked");
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[test]
fn a_list_that_is_not_what_was_asked_for_is_refused() {
    let list = |keys: &[&[u8]]| {
        let entries: Vec<_> =
            keys.iter().map(|key| StoreEntry { key: key.to_vec(), value: vec![1] }).collect();
        scripted(move || Ok(entries.clone())).scan("account", Some(b"b"), 3).map(|page| page.len())
    };
    assert_eq!(list(&[]), Ok(0));
    assert_eq!(list(&[b"b\0", b"c", b"d"]), Ok(3));
    let out_of_order = "the backend listed its records out of order";
    let cases: [(&[&[u8]], &str); 6] = [
        (&[b"c", b"d", b"e", b"f"], "the backend listed more records than it was asked for"),
        (&[b"a"], out_of_order),
        (&[b""], out_of_order),
        (&[b"b", b"c"], out_of_order),
        (&[b"c", b"c"], out_of_order),
        (&[b"d", b"c"], out_of_order),
    ];
    for (keys, says) in cases {
        let error = list(keys).unwrap_err();
        assert_eq!((error.name(), error.to_string().as_str()), ("STORE_IO", says), "{keys:?}");
    }
    // From the beginning, even the empty key is after nothing; twice it is not.
    let empty = || Ok(vec![StoreEntry { key: vec![], value: vec![1] }]);
    assert_eq!(scripted(empty).scan("account", None, 1).unwrap().len(), 1);
    let twice = move || Ok([empty().unwrap(), empty().unwrap()].concat());
    assert!(scripted(twice).scan("account", None, 2).is_err());
}

#[test]
fn a_list_of_nothing_is_not_asked_for() {
    let store = ForeignStore::new(Arc::new(Kept::default()));
    assert!(store.scan("account", None, 0).unwrap().is_empty());
}

#[test]
fn names_of_collections_are_what_backends_were_promised() {
    for name in collections::all() {
        assert!((1..=32).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    }
}

#[test]
fn closing_waits_for_the_calls_that_run_and_then_lets_go_of_the_backend() {
    struct Slow(mpsc::SyncSender<()>, Mutex<mpsc::Receiver<()>>, Arc<Mutex<Vec<&'static str>>>);
    impl StoreBackend for Slow {
        fn get(&self, _: String, _: Vec<u8>) -> Result<Option<Vec<u8>>> {
            self.0.send(()).unwrap();
            self.1.lock().unwrap().recv().unwrap();
            self.2.lock().unwrap().push("get is done");
            Ok(None)
        }
        fn scan(&self, _: String, _: Option<Vec<u8>>, _: u32) -> Result<Vec<StoreEntry>> {
            Ok(Vec::new())
        }
        fn commit(&self, _: Vec<StoreChange>) -> Result<()> {
            Ok(())
        }
    }
    impl Drop for Slow {
        fn drop(&mut self) {
            self.2.lock().unwrap().push("dropped");
        }
    }
    let ((inside, is_inside), (go_on, may_go_on)) = (mpsc::sync_channel(0), mpsc::sync_channel(0));
    let order = Arc::new(Mutex::new(Vec::new()));
    let store =
        ForeignStore::new(Arc::new(Slow(inside, Mutex::new(may_go_on), Arc::clone(&order))));
    let closing = Barrier::new(2);
    thread::scope(|scope| {
        let call = scope.spawn(|| store.get("account", b"k"));
        is_inside.recv().unwrap();
        let close = scope.spawn(|| {
            closing.wait();
            store.close().unwrap();
            order.lock().unwrap().push("closed");
        });
        closing.wait();
        go_on.send(()).unwrap();
        assert_eq!(call.join().unwrap(), Ok(None));
        close.join().unwrap();
    });
    assert_eq!(*order.lock().unwrap(), ["get is done", "dropped", "closed"]);
    assert!(three_calls(&store).iter().all(|r| r.as_ref().unwrap_err().name() == "STORE_CLOSED"));
}

#[test]
fn a_backend_is_dropped_once_at_the_shut_down_or_with_the_store() {
    let open = |shut_down: bool| {
        let backend = Arc::new(Kept::default());
        let dropped = Arc::clone(&backend.dropped);
        let store = Store::foreign(backend, &KEY).unwrap();
        if shut_down {
            store.shut_down().unwrap();
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
            store.shut_down().unwrap();
        } else {
            assert_eq!(dropped.load(Ordering::SeqCst), 0);
        }
        drop(store);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    };
    open(true);
    open(false);
    // A store that cannot be opened keeps nothing.
    let backend = Arc::new(Kept::default());
    let dropped = Arc::clone(&backend.dropped);
    assert_eq!(Store::foreign(backend, &KEY[1..]).unwrap_err().name(), "INVALID_LENGTH");
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn a_forked_child_leaves_the_backend_alone() {
    let backend = Arc::new(Kept::default());
    let dropped = Arc::clone(&backend.dropped);
    let mut store = ForeignStore::new(backend);
    store.pretend_to_be_forked();
    drop(store);
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
}

/// A backend each of whose methods calls the store that it belongs to.
#[derive(Default)]
struct Reentrant {
    kept: Kept,
    store: Mutex<Weak<Store>>,
    answers: Mutex<Vec<&'static str>>,
}

impl Reentrant {
    fn call_back(&self) {
        let Some(store) = self.store.lock().unwrap().upgrade() else { return };
        let results = [
            store.enter(),
            store.shut_down(),
            Store::foreign(Arc::new(Kept::default()), &KEY).map(drop),
            // Past the checks at the door.
            store.vault().read::<u32>(&store.vault().key("account", &["a"])).map(drop),
            store.vault().close(),
        ];
        let names = results.into_iter().map(|result| result.err().map_or("OK", |e| e.name()));
        self.answers.lock().unwrap().extend(names);
    }
}

impl StoreBackend for Reentrant {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.call_back();
        self.kept.get(collection, key)
    }
    fn scan(&self, name: String, after: Option<Vec<u8>>, limit: u32) -> Result<Vec<StoreEntry>> {
        self.call_back();
        self.kept.scan(name, after, limit)
    }
    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        self.call_back();
        self.kept.commit(changes)
    }
}

#[test]
fn a_backend_that_calls_back_is_answered_busy_and_not_with_a_deadlock() {
    let backend = Arc::new(Reentrant::default());
    let store = Store::foreign(Arc::clone(&backend) as Arc<dyn StoreBackend>, &KEY).unwrap();
    *backend.store.lock().unwrap() = Arc::downgrade(&store);
    let key = store.vault().key("account", &["a"]);
    assert_eq!(store.vault().read::<u32>(&key).unwrap(), None);
    store.vault().scan::<u32>("account", &["a"]).unwrap();
    let mut batch = crate::store::Batch::new();
    batch.put(&key, &7_u32).unwrap();
    store.vault().commit(batch).unwrap();
    assert_eq!(*backend.answers.lock().unwrap(), ["BUSY"; 15]);
    assert_eq!(store.vault().read::<u32>(&key).unwrap(), Some(7));
}

#[test]
fn a_backend_may_end_inside_another_ones_callback() {
    let backend = Arc::new(Kept::default());
    let dropped = Arc::clone(&backend.dropped);
    let store = ForeignStore::new(backend);
    in_callback(|| drop(store));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}
