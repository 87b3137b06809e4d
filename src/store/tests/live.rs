//! One live object for all handles of a record.

use std::sync::Arc;

use super::Shared;
use crate::sessions::account::Account;
use crate::store::recent::KEPT;
use crate::store::{LiveRegistry, Store};

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
        let object = account.live().get_or_insert(&key, || 0);
        account.live().keep(&key, &object);
        let kept = Arc::downgrade(&object);
        drop(object);
        assert_eq!(kept.strong_count(), 1);
        end(&store, &account).unwrap();
        assert_eq!(kept.strong_count(), 0);
    }
}
