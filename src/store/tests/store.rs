//! The store itself: its clock, its end, and the checks before every call.

use std::sync::{Arc, Mutex, Weak};

use super::{KEY, text};
use crate::base::environment::Clock;
use crate::error::{E2eeError, Result};
use crate::store::Store;

struct Fixed(i64);

impl Clock for Fixed {
    fn now_ms(&self) -> Result<i64> {
        Ok(self.0)
    }
}

#[test]
fn a_store_has_the_systems_clock_until_it_is_given_another() {
    let store = Store::in_memory(&KEY).unwrap();
    assert!(store.now_ms().unwrap() > 1_700_000_000_000);
    store.set_clock(Arc::new(Fixed(42))).unwrap();
    assert_eq!(store.now_ms().unwrap(), 42);
    store.set_clock(Arc::new(Fixed(-1))).unwrap();
    assert_eq!(store.now_ms().unwrap_err().name(), "CLOCK_FAILED");
}

#[derive(Default)]
struct Reentrant {
    store: Mutex<Weak<Store>>,
    answers: Mutex<Vec<&'static str>>,
}

impl Clock for Reentrant {
    fn now_ms(&self) -> Result<i64> {
        let store = self.store.lock().unwrap().upgrade().unwrap();
        let results = [
            store.enter(),
            store.shut_down(),
            store.set_clock(Arc::new(Fixed(1))),
            Store::in_memory(&KEY).map(drop),
        ];
        let names =
            results.into_iter().map(|result| result.err().map_or("OK", |error| error.name()));
        self.answers.lock().unwrap().extend(names);
        Err(E2eeError::clock_failed("on purpose"))
    }
}

#[test]
fn a_clock_that_calls_back_is_answered_busy_and_not_with_a_deadlock() {
    let store = Store::in_memory(&KEY).unwrap();
    let clock = Arc::new(Reentrant::default());
    *clock.store.lock().unwrap() = Arc::downgrade(&store);
    store.set_clock(clock.clone()).unwrap();
    assert_eq!(store.now_ms().unwrap_err().name(), "CLOCK_FAILED");
    assert_eq!(*clock.answers.lock().unwrap(), ["BUSY"; 4]);
    store.enter().unwrap();
}

#[test]
fn shutting_down_twice_is_fine_and_everything_after_it_answers_store_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    for store in [Store::in_memory(&KEY).unwrap(), Store::open_sqlite(text(&path), &KEY).unwrap()] {
        store.enter().unwrap();
        store.shut_down().unwrap();
        store.shut_down().unwrap();
        let key = store.vault().key("c", &["a"]);
        assert_eq!(store.enter().unwrap_err().name(), "STORE_CLOSED");
        assert_eq!(store.set_clock(Arc::new(Fixed(1))).unwrap_err().name(), "STORE_CLOSED");
        assert_eq!(store.vault().read::<u32>(&key).unwrap_err().name(), "STORE_CLOSED");
    }
}

#[test]
fn the_debug_text_of_a_store_says_nothing() {
    // SEC-106
    assert_eq!(format!("{:?}", Store::in_memory(&KEY).unwrap()), "Store { .. }");
}

#[test]
fn stores_may_be_used_from_any_thread() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<Store>();
}
