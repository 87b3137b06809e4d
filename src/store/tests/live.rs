//! One live state per object.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Shared;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::recent::KEPT;
use crate::store::{Live, LiveRegistry, Store};

fn stored(value: u32) -> impl FnOnce() -> Result<Option<u32>> {
    move || Ok(Some(value))
}

fn nothing() -> Result<Option<u32>> {
    Ok(None)
}

fn io<T>() -> Result<T> {
    Err(E2eeError::store_io("the commit failed"))
}

fn unexpected() -> Result<Option<u32>> {
    panic!("this state is loaded")
}

fn name<T>(result: Result<T>) -> &'static str {
    result.err().map_or("OK", |error| error.name())
}

#[test]
fn a_state_is_loaded_once_and_changes_stay() {
    let live = Live::new();
    assert_eq!(name(live.lock(nothing)), "NOT_FOUND");
    assert_eq!(name(live.lock(io)), "STORE_IO");
    assert_eq!(*live.lock(stored(1)).unwrap(), 1);
    let mut guard = live.lock(unexpected).unwrap();
    assert_eq!(
        guard
            .change(|state| {
                *state += 1;
                Ok(*state)
            })
            .unwrap(),
        2
    );
    assert_eq!(
        guard
            .change(|state| {
                *state += 1;
                Ok(*state)
            })
            .unwrap(),
        3
    );
    assert_eq!(*guard, 3);
    drop(guard);
    assert_eq!(*live.lock(unexpected).unwrap(), 3);
}

#[test]
fn a_failed_change_makes_the_next_call_read_the_store() {
    // SEC-114
    let live = Live::new();
    let mut guard = live.lock(stored(1)).unwrap();
    assert_eq!(
        name(guard.change(|state| {
            *state = 9;
            io::<()>()
        })),
        "STORE_IO"
    );
    assert_eq!(name(guard.change(|_| Ok(()))), "STORE_IO");
    drop(guard);
    assert_eq!(*live.lock(stored(1)).unwrap(), 1);
}

#[test]
fn a_panic_in_a_change_drops_the_state_and_refuses_further_use() {
    let live = Live::new();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = live.lock(stored(1)).unwrap();
        guard.change(|_| -> Result<()> { panic!("inside") })
    }));
    assert!(unwound.is_err());
    assert_eq!(name(live.lock(stored(1))), "PANIC");
    assert_eq!(name(live.create(nothing, || Ok(1))), "PANIC");
    assert_eq!(name(live.erase(stored(1), || Ok(()))), "PANIC");
    assert_eq!(live.retire(|state| *state), None);
    assert_eq!(live.try_retire(|state| *state), None);
}

#[test]
fn creating_what_exists_fails_and_a_failed_creation_leaves_nothing() {
    let live = Live::new();
    assert_eq!(name(live.create(nothing, io)), "STORE_IO");
    assert_eq!(name(live.lock(nothing)), "NOT_FOUND");
    assert_eq!(name(live.create(io, || Ok(5))), "STORE_IO");
    live.create(nothing, || Ok(5)).unwrap();
    assert_eq!(*live.lock(unexpected).unwrap(), 5);
    assert_eq!(name(live.create(unexpected, || Ok(6))), "ALREADY_EXISTS");
    let other = Live::new();
    assert_eq!(name(other.create(stored(7), || panic!("it exists"))), "ALREADY_EXISTS");
    assert_eq!(*other.lock(unexpected).unwrap(), 7);
}

#[test]
fn an_erased_state_is_not_found_for_every_holder_but_only_after_the_commit() {
    let live = Live::new();
    assert_eq!(name(live.erase(nothing, || panic!("nothing to erase"))), "NOT_FOUND");
    assert_eq!(name(live.erase(stored(1), io)), "STORE_IO");
    assert_eq!(*live.lock(stored(2)).unwrap(), 2);
    live.erase(unexpected, || Ok(())).unwrap();
    assert_eq!(name(live.lock(stored(3))), "NOT_FOUND");
    assert_eq!(name(live.create(nothing, || Ok(3))), "NOT_FOUND");
    assert_eq!(name(live.erase(stored(3), || Ok(()))), "NOT_FOUND");
}

#[test]
fn a_state_taken_out_of_memory_is_shown_once_and_read_anew_afterwards() {
    let live = Live::new();
    assert_eq!(live.retire(|state: &u32| *state), None);
    assert_eq!(*live.lock(stored(1)).unwrap(), 1);
    assert_eq!(live.retire(|state| *state), Some(1));
    assert_eq!(live.retire(|state| *state), None);
    assert_eq!(*live.lock(stored(2)).unwrap(), 2);
    let guard = live.lock(unexpected).unwrap();
    assert_eq!(live.try_retire(|state| *state), None, "it is in use");
    drop(guard);
    assert_eq!(live.try_retire(|state| *state), Some(2));
    // Nobody reads it anew before `last` is done.
    assert_eq!(*live.lock(stored(3)).unwrap(), 3);
    assert_eq!(live.retire(|_| live.try_retire(|_| ())), Some(None));
    // What is erased stays so.
    live.erase(stored(3), || Ok(())).unwrap();
    assert_eq!(live.retire(|state| *state), None);
    assert_eq!(name(live.lock(stored(4))), "NOT_FOUND");
}

#[test]
fn threads_that_share_a_state_never_see_each_other_halfway() {
    let live = Live::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    live.lock(stored(0))
                        .unwrap()
                        .change(|state| {
                            *state += 1;
                            Ok(())
                        })
                        .unwrap();
                }
            });
        }
    });
    assert_eq!(*live.lock(unexpected).unwrap(), 4000);
}

#[test]
fn handles_of_one_record_share_one_object_until_it_is_forgotten() {
    let vault = Shared::new().vault().unwrap();
    let registry = LiveRegistry::new();
    let key = vault.key("olm", &["@a:hs", "D"]);
    let first = registry.get_or_insert(&key, || 1_u32);
    assert!(Arc::ptr_eq(&first, &registry.get_or_insert(&key, || 2)));
    let elsewhere = registry.get_or_insert(&vault.key("megolm", &["@a:hs", "D"]), || 3_u32);
    assert_eq!((*first, *elsewhere), (1, 3));
    registry.forget(&key);
    let again = registry.get_or_insert(&key, || 4_u32);
    assert_eq!(*again, 4);
    assert!(Arc::ptr_eq(
        &elsewhere,
        &registry.get_or_insert(&vault.key("megolm", &["@a:hs", "D"]), || 6)
    ));
    drop(first);
}

#[test]
fn the_registry_does_not_grow_with_the_dead() {
    let vault = Shared::new().vault().unwrap();
    let registry = LiveRegistry::new();
    let kept = registry.get_or_insert(&vault.key("c", &["kept"]), || 1_u32);
    for index in 0..10_000 {
        registry.get_or_insert(&vault.key("c", &[&index.to_string()]), || 2_u32);
    }
    assert!(registry.len() < 200);
    assert!(Arc::ptr_eq(&kept, &registry.get_or_insert(&vault.key("c", &["kept"]), || 3)));
}

#[test]
fn what_was_used_last_stays_in_memory_without_a_handle() {
    let vault = Shared::new().vault().unwrap();
    let registry = LiveRegistry::new();
    let use_one = |number: usize| {
        let key = vault.key("a", &[&number.to_string()]);
        let object = registry.get_or_insert(&key, || number);
        registry.keep(&key, &object);
        Arc::downgrade(&object)
    };
    let objects: Vec<_> = (0..KEPT).map(use_one).collect();
    assert!(objects.iter().all(|object| object.strong_count() == 1));
    // The first is used again, so that the second one has to make room.
    use_one(0);
    use_one(KEPT);
    assert_eq!((objects[0].strong_count(), objects[1].strong_count()), (1, 0));
    // Another collection has room of its own.
    let key = vault.key("b", &["0"]);
    let other = registry.get_or_insert(&key, || 0_usize);
    registry.keep(&key, &other);
    assert_eq!(objects[2].strong_count(), 1);
    registry.forget(&vault.key("a", &["2"]));
    assert_eq!(objects[2].strong_count(), 0);
    registry.retire();
    assert!(objects.iter().all(|object| object.strong_count() == 0));
    registry.keep(&key, &other);
    assert_eq!(Arc::strong_count(&other), 1);
}

#[test]
fn an_object_that_was_erased_meanwhile_is_not_kept() {
    let vault = Shared::new().vault().unwrap();
    let registry = LiveRegistry::new();
    let key = vault.key("a", &["0"]);
    let object = registry.get_or_insert(&key, || 0);
    registry.forget(&key);
    registry.keep(&key, &object);
    let next = registry.get_or_insert(&key, || 1);
    registry.keep(&key, &object);
    assert_eq!((Arc::strong_count(&object), *next), (1, 1));
}

#[test]
fn shutting_down_and_erasing_the_account_empty_the_memory() {
    for end in [
        |store: &Store, _: &Account| store.shut_down(),
        |_: &Store, account: &Account| account.erase(),
    ] {
        let store = Store::in_memory(&[7; 32]).unwrap();
        let account = Account::open(&store, "@a:b".into(), "A".into()).unwrap();
        let key = account.record_key("a", &["0"]);
        let object = account.children().get_or_insert(&key, || 0);
        account.children().keep(&key, &object);
        let kept = Arc::downgrade(&object);
        drop(object);
        assert_eq!(kept.strong_count(), 1);
        end(&store, &account).unwrap();
        assert_eq!(kept.strong_count(), 0);
    }
}
