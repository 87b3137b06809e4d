//! One unit of work over several states and records.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use super::Shared;
use super::manifest::Failing;
use crate::base::environment::{Clock, SystemRandom};
use crate::error::{E2eeError, Result};
use crate::store::{Life, Live, RecordKey, Records, Store, Transaction};

const COLLECTION: &str = "olm";

struct World {
    /// Makes the next commit fail if it is not 0.
    fail: Arc<AtomicUsize>,
    store: Arc<Store>,
    life: Life,
}

impl World {
    fn new() -> Self {
        let fail = Arc::new(AtomicUsize::new(0));
        let records = Box::new(Failing(Shared::new(), fail.clone()));
        let random = Arc::new(SystemRandom);
        let store = Store::with_record_store(records, &super::KEY, random).unwrap();
        Self { fail, store, life: Life::default() }
    }

    fn begin(&self) -> Transaction<'_> {
        Transaction::new(&self.store, self.life.enter().unwrap())
    }

    fn key(&self, name: &str) -> RecordKey {
        self.store.vault().key(COLLECTION, &["@a:hs", name])
    }

    fn stored(&self, name: &str) -> Option<u32> {
        self.store.vault().read(&self.key(name)).unwrap()
    }
}

fn value(value: u32) -> impl FnOnce(&Records<'_>) -> Result<Option<u32>> {
    move |_| Ok(Some(value))
}

fn nothing(_: &Records<'_>) -> Result<Option<u32>> {
    Ok(None)
}

fn unread(_: &Records<'_>) -> Result<Option<u32>> {
    panic!("this state is in memory")
}

fn name<T>(result: Result<T>) -> &'static str {
    result.err().map_or("OK", |error| error.name())
}

fn add_one(state: &mut u32) -> Result<()> {
    *state += 1;
    Ok(())
}

#[test]
fn all_of_a_transaction_is_stored_and_in_memory_after_its_commit_and_nothing_before() {
    let world = World::new();
    let (first, second) = (Arc::new(Live::new()), Arc::new(Live::new()));
    let done = RefCell::new(false);
    let mut tx = world.begin();
    tx.take(&first, value(1)).unwrap().change(add_one).unwrap();
    assert!(tx.find(&second, nothing).unwrap().is_none());
    assert_eq!(*tx.create(&second, 7).unwrap(), 7);
    tx.put(&world.key("first"), &2_u32).unwrap();
    tx.put(&world.key("second"), &7_u32).unwrap();
    tx.after_commit(|| *done.borrow_mut() = true);
    assert_eq!(world.stored("first"), None);
    assert!(!*done.borrow());
    tx.commit().unwrap();
    assert!(done.into_inner());
    assert_eq!((world.stored("first"), world.stored("second")), (Some(2), Some(7)));
    let mut tx = world.begin();
    assert_eq!(*tx.take(&first, unread).unwrap(), 2);
    assert_eq!(*tx.take(&second, unread).unwrap(), 7);
}

#[test]
fn reads_see_what_the_transaction_has_put_and_deleted() {
    let world = World::new();
    let (kept, gone, new) = (world.key("kept"), world.key("gone"), world.key("new"));
    let mut tx = world.begin();
    tx.put(&kept, &1_u32).unwrap();
    tx.put(&gone, &1_u32).unwrap();
    tx.commit().unwrap();
    let mut tx = world.begin();
    tx.put(&kept, &2_u32).unwrap();
    tx.put(&kept, &3_u32).unwrap();
    tx.delete(&gone);
    tx.put_sealed(world.store.vault().seal(new.clone(), &4_u32).unwrap());
    assert_eq!(tx.read::<u32>(&kept).unwrap(), Some(3));
    assert_eq!(tx.read::<u32>(&gone).unwrap(), None);
    assert_eq!(tx.read::<u32>(&new).unwrap(), Some(4));
    assert!(tx.records().scan_keys(COLLECTION, &["@a:hs"]).unwrap().contains(&new));
    let mut scanned = tx.records().scan::<u32>(COLLECTION, &["@a:hs"]).unwrap();
    scanned.sort_by_key(|(_, value)| *value);
    assert!(scanned == [(kept.clone(), 3), (new.clone(), 4)]);
    tx.delete(&new);
    assert!(!tx.records().scan_keys(COLLECTION, &["@a:hs"]).unwrap().contains(&new));
    tx.commit().unwrap();
    assert_eq!(world.stored("kept"), Some(3));
    assert_eq!((world.stored("gone"), world.stored("new")), (None, None));
}

#[test]
fn a_state_that_is_taken_again_shows_what_was_changed_before() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let mut tx = world.begin();
    tx.take(&live, value(1)).unwrap().change(add_one).unwrap();
    let mut again = tx.take(&live, unread).unwrap();
    assert_eq!(*again, 2);
    assert_eq!(name(tx.take(&live, unread)), "PANIC", "it is out already");
    assert_eq!(name(tx.create(&live, 9)), "ALREADY_EXISTS");
    again.change(add_one).unwrap();
    drop(again);
    assert_eq!(*tx.take(&live, unread).unwrap(), 3);
}

#[test]
fn what_is_not_committed_is_read_anew() {
    // SEC-114
    let world = World::new();
    let (changed, unchanged, new) =
        (Arc::new(Live::new()), Arc::new(Live::new()), Arc::new(Live::new()));
    let mut tx = world.begin();
    tx.take(&changed, value(1)).unwrap().change(add_one).unwrap();
    assert_eq!(*tx.take(&unchanged, value(5)).unwrap(), 5);
    tx.create(&new, 8).unwrap();
    tx.put(&world.key("new"), &8_u32).unwrap();
    drop(tx);
    assert_eq!(world.stored("new"), None);
    let mut tx = world.begin();
    assert_eq!(*tx.take(&changed, value(1)).unwrap(), 1);
    assert_eq!(*tx.take(&unchanged, unread).unwrap(), 5);
    assert_eq!(name(tx.take(&new, nothing)), "NOT_FOUND");
}

#[test]
fn a_commit_that_fails_drops_all_that_was_changed() {
    // SEC-114
    let world = World::new();
    let live = Arc::new(Live::new());
    let done = RefCell::new(false);
    let mut tx = world.begin();
    tx.take(&live, value(1)).unwrap().change(add_one).unwrap();
    tx.put(&world.key("a"), &2_u32).unwrap();
    tx.after_commit(|| *done.borrow_mut() = true);
    world.fail.store(1, Ordering::SeqCst);
    assert_eq!(name(tx.commit()), "STORE_IO");
    assert!(!done.into_inner());
    assert_eq!(*world.begin().take(&live, value(1)).unwrap(), 1);
    assert_eq!(world.stored("a"), None);
}

#[test]
fn after_a_change_that_failed_halfway_nothing_can_be_committed() {
    let world = World::new();
    let (broken, other) = (Arc::new(Live::new()), Arc::new(Live::new()));
    let mut tx = world.begin();
    tx.take(&other, value(1)).unwrap().change(add_one).unwrap();
    let mut state = tx.take(&broken, value(1)).unwrap();
    let failed = state.change(|state| -> Result<()> {
        *state = 9;
        Err(E2eeError::invalid_message("halfway"))
    });
    assert_eq!(name(failed), "INVALID_MESSAGE");
    assert_eq!(name(state.change(add_one)), "STORE_IO");
    drop(state);
    tx.put(&world.key("a"), &1_u32).unwrap();
    assert_eq!(name(tx.commit()), "STORE_IO");
    assert_eq!(world.stored("a"), None);
    assert_eq!(*world.begin().take(&broken, value(1)).unwrap(), 1);
}

#[test]
fn a_try_that_fails_leaves_the_state_and_the_transaction_as_they_were() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let mut tx = world.begin();
    let mut state = tx.take(&live, value(1)).unwrap();
    let failed: Result<()> = state.try_change(|_| Err(E2eeError::invalid_message("no")));
    assert_eq!(name(failed), "INVALID_MESSAGE");
    drop(state);
    drop(tx);
    // Nothing has to be read anew for it.
    let mut tx = world.begin();
    let mut state = tx.take(&live, unread).unwrap();
    state.try_change(add_one).unwrap();
    drop(state);
    drop(tx);
    assert_eq!(*world.begin().take(&live, value(1)).unwrap(), 1);
}

#[test]
fn an_erased_state_is_gone_for_all_once_that_is_committed() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let mut tx = world.begin();
    tx.take(&live, value(1)).unwrap().erase();
    assert_eq!(name(tx.take(&live, unread)), "NOT_FOUND");
    assert_eq!(name(tx.create(&live, 2)), "ALREADY_EXISTS", "not before its record is gone");
    drop(tx);
    assert!(!live.is_erased());
    let mut tx = world.begin();
    tx.take(&live, value(1)).unwrap().erase();
    tx.commit().unwrap();
    assert!(live.is_erased());
    assert_eq!(name(world.begin().take(&live, value(1))), "NOT_FOUND");
}

#[test]
fn a_transaction_with_a_state_still_in_work_is_not_committed() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let mut tx = world.begin();
    let state = tx.take(&live, value(1)).unwrap();
    assert_eq!(name(tx.commit()), "PANIC");
    drop(state);
    assert_eq!(*world.begin().take(&live, unread).unwrap(), 1);
}

#[test]
fn whoever_unwinds_with_a_state_spoils_it_for_all() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut tx = world.begin();
        let mut state = tx.take(&live, value(1)).unwrap();
        state.change(|_| -> Result<()> { panic!("inside") })
    }));
    assert!(unwound.is_err());
    assert_eq!(name(world.begin().take(&live, value(1))), "PANIC");
}

#[test]
fn others_wait_for_a_state_until_the_transaction_ends() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let (begun, has_begun) = channel();
    std::thread::scope(|scope| {
        let mut tx = world.begin();
        tx.take(&live, value(1)).unwrap().change(add_one).unwrap();
        let waiting = scope.spawn(|| {
            let mut tx = world.begin();
            begun.send(()).unwrap();
            *tx.take(&live, unread).unwrap()
        });
        has_begun.recv().unwrap();
        tx.take(&live, unread).unwrap().change(add_one).unwrap();
        tx.commit().unwrap();
        assert_eq!(waiting.join().unwrap(), 3);
    });
}

#[test]
fn many_threads_never_see_each_other_halfway() {
    let world = World::new();
    let lives = [Arc::new(Live::new()), Arc::new(Live::new())];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let mut tx = world.begin();
                    for live in &lives {
                        tx.take(live, value(0)).unwrap().change(add_one).unwrap();
                    }
                    tx.commit().unwrap();
                }
            });
        }
    });
    let mut tx = world.begin();
    assert_eq!(lives.each_ref().map(|live| *tx.take(live, unread).unwrap()), [2000, 2000]);
}

#[test]
fn waiting_threads_all_learn_that_a_state_was_erased() {
    let (world, live) = (Arc::new(World::new()), Arc::new(Live::new()));
    let mut tx = world.begin();
    tx.take(&live, value(1)).unwrap().erase();
    let (tell, told) = channel();
    let (say, said) = channel();
    for _ in 0..4 {
        let (world, live, tell, say) = (world.clone(), live.clone(), tell.clone(), say.clone());
        std::thread::spawn(move || {
            tell.send(()).unwrap();
            say.send(name(world.begin().take(&live, value(1)))).unwrap();
        });
    }
    (0..4).for_each(|_| told.recv().unwrap());
    // They wait by now, or will not have to.
    (0..1000).for_each(|_| std::thread::yield_now());
    tx.commit().unwrap();
    for _ in 0..4 {
        let answer = said.recv_timeout(Duration::from_secs(30)).expect("a thread waits for ever");
        assert_eq!(answer, "NOT_FOUND");
    }
}

#[test]
fn many_states_are_taken_at_once_and_each_that_cannot_be_had_is_its_own_error() {
    let world = World::new();
    let lives: Vec<_> = (0..100).map(|_| Arc::new(Live::new())).collect();
    let holders: Vec<usize> = (0..100).collect();
    let mut tx = world.begin();
    // This one is known before, with a change.
    tx.take(&lives[3], value(30)).unwrap().change(add_one).unwrap();
    let load = |holder: &usize, _: &Records<'_>| match holder {
        50 => Err(E2eeError::corrupt("this one")),
        60 => Ok(None),
        number => Ok(Some(u32::try_from(*number).unwrap())),
    };
    let taken = tx.take_all(&holders, |holder| &lives[*holder], load).unwrap();
    for (number, state) in taken.iter().enumerate() {
        match (number, state) {
            (50, Err(error)) => assert_eq!(error.name(), "CORRUPT"),
            (60, Err(error)) => assert_eq!(error.name(), "NOT_FOUND"),
            (3, Ok(state)) => assert_eq!(**state, 31),
            (number, Ok(state)) => assert_eq!(**state, u32::try_from(number).unwrap()),
            (number, Err(error)) => panic!("{number}: {error}"),
        }
    }
}

#[test]
fn a_transaction_has_one_time() {
    struct Counting(AtomicI64);
    impl Clock for Counting {
        fn now_ms(&self) -> Result<i64> {
            Ok(self.0.fetch_add(1, Ordering::SeqCst))
        }
    }
    let world = World::new();
    world.store.set_clock(Arc::new(Counting(AtomicI64::new(5)))).unwrap();
    let mut tx = world.begin();
    assert_eq!([tx.now_ms().unwrap(), tx.now_ms().unwrap()], [5, 5]);
    drop(tx);
    assert_eq!(world.begin().now_ms().unwrap(), 6);
}

#[test]
fn a_state_taken_out_of_memory_is_shown_once_and_read_anew_afterwards() {
    let world = World::new();
    let live = Arc::new(Live::new());
    assert_eq!(live.retire(|state: &u32| *state), None);
    assert_eq!(*world.begin().take(&live, value(1)).unwrap(), 1);
    assert_eq!(live.retire(|state| *state), Some(1));
    assert_eq!(live.retire(|state| *state), None);
    let mut tx = world.begin();
    assert_eq!(*tx.take(&live, value(2)).unwrap(), 2);
    assert_eq!(live.try_retire(|state| *state), None, "it is in use");
    drop(tx);
    assert_eq!(live.try_retire(|state| *state), Some(2));
    // Nobody reads it anew before `last` is done.
    assert_eq!(*world.begin().take(&live, value(3)).unwrap(), 3);
    assert_eq!(live.retire(|_| live.try_retire(|_| ())), Some(None));
    // What is erased stays so.
    let mut tx = world.begin();
    tx.take(&live, value(3)).unwrap().erase();
    tx.commit().unwrap();
    assert_eq!(live.retire(|state| *state), None);
}

#[test]
fn what_somebody_else_has_is_not_waited_for() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let mut tx = world.begin();
    assert_eq!(*tx.take(&live, value(1)).unwrap(), 1);
    let mut other = world.begin();
    assert!(other.try_find(&live, unread).unwrap().is_none());
    assert_eq!(tx.try_find(&live, unread).unwrap().map(|state| *state), Some(1));
    drop(tx);
    assert_eq!(other.try_find(&live, unread).unwrap().map(|state| *state), Some(1));
}

#[test]
fn an_error_that_leaves_something_to_store_is_answered_once_that_is_stored() {
    let world = World::new();
    let live = Arc::new(Live::new());
    let refused = || -> Result<()> { Err(E2eeError::invalid_message("discarded")) };
    let mut tx = world.begin();
    tx.take(&live, value(1)).unwrap().change(add_one).unwrap();
    tx.put(&world.key("a"), &2_u32).unwrap();
    assert_eq!(name(tx.finish(refused())), "INVALID_MESSAGE");
    assert_eq!(world.stored("a"), Some(2));
    // One that has left a change half done is answered, too, and nothing is stored.
    let mut tx = world.begin();
    tx.put(&world.key("a"), &3_u32).unwrap();
    let failed = tx.take(&live, unread).unwrap().change(|_| refused());
    assert_eq!(name(tx.finish(failed)), "INVALID_MESSAGE");
    assert_eq!(world.stored("a"), Some(2));
    // The commit's own error counts more: nobody may take the first for done.
    let mut tx = world.begin();
    tx.put(&world.key("a"), &3_u32).unwrap();
    world.fail.store(1, Ordering::SeqCst);
    assert_eq!(name(tx.finish(refused())), "STORE_IO");
}

#[test]
fn nobody_waits_for_a_state_that_was_looked_for_and_is_not_there() {
    let world = World::new();
    let lives = [Arc::new(Live::new()), Arc::new(Live::new())];
    let mut tx = world.begin();
    assert_eq!(name(tx.take(&lives[0], nothing)), "NOT_FOUND");
    let found = tx.take_all(&[1_usize], |at| &lives[*at], |_, records| nothing(records)).unwrap();
    assert_eq!(found.into_iter().map(name).collect::<Vec<_>>(), ["NOT_FOUND"]);
    let mut other = world.begin();
    for live in &lives {
        assert!(other.try_find(live, value(1)).unwrap().is_some());
    }
}
