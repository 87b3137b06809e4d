//! Children of a program that draws random numbers itself, with the generator that the library uses.
#![cfg(unix)]

use std::fs;

use matrixe2ee::{Account, Store};
use rand::Rng;

unsafe extern "C" {
    fn fork() -> i32;
    fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
    fn _exit(status: i32) -> !;
}

/// The identity key of an account that a forked child creates, as its first call of the library.
fn identity_key_of_a_child(path: &std::path::Path) -> String {
    // SAFETY: the child calls nothing that another thread could have locked, and ends itself.
    let child = unsafe { fork() };
    assert!(child >= 0, "no child");
    if child == 0 {
        let made = Store::in_memory(vec![7; 32])
            .and_then(|store| Account::open(&store, "@a:b", "A"))
            .and_then(|account| account.identity_key());
        let written = fs::write(path, made.unwrap_or_default()).is_ok();
        // SAFETY: nothing of the parent's is run at this end.
        unsafe { _exit(i32::from(!written)) }
    }
    let mut status = 0;
    // SAFETY: memory for the status, of its type.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "the child failed");
    fs::read_to_string(path).expect("what the child wrote")
}

#[test]
fn two_children_whose_parent_has_drawn_random_numbers_have_different_keys() {
    rand::rng().next_u64();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = ["one", "two"].map(|name| identity_key_of_a_child(&folder.path().join(name)));
    assert_eq!(keys[0].len(), 43);
    assert_ne!(keys[0], keys[1]); // SEC-110, P1
}
