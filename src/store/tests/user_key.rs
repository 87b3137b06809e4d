//! Keys and passphrases: what opens a store, and what no longer does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::manifest::Failing;
use super::{Shared, text};
use crate::base::environment::SystemRandom;
use crate::error::{E2eeError, Result};
use crate::store::header::Header;
use crate::store::record_store::RecordStore;
use crate::store::user_key::UserKey;
use crate::store::{Batch, Store, Vault};

const OLD: UserKey<'static> = UserKey::Key(&[1; 32]);
const NEW: UserKey<'static> = UserKey::Key(&[2; 32]);
const PASSPHRASE: UserKey<'static> = UserKey::Passphrase("correct horse battery staple");

fn open(shared: &Shared, user_key: UserKey<'_>) -> Result<Vault> {
    Vault::open(Box::new(shared.clone()), user_key, Arc::new(SystemRandom))
}

/// A store with one record under a key.
fn filled(user_key: UserKey<'_>) -> Shared {
    let shared = Shared::new();
    let vault = open(&shared, user_key).unwrap();
    let mut batch = Batch::new();
    batch.put(&vault.key("account", &["a"]), &5).unwrap();
    vault.commit(batch).unwrap();
    shared
}

fn works(shared: &Shared, user_key: UserKey<'_>) {
    let vault = open(shared, user_key).unwrap();
    assert_eq!(vault.read::<u32>(&vault.key("account", &["a"])).unwrap(), Some(5));
}

fn refused(shared: &Shared, user_key: UserKey<'_>, name: &str) -> E2eeError {
    let error = open(shared, user_key).unwrap_err();
    assert_eq!(error.name(), name, "{error}");
    error
}

#[test]
fn a_passphrase_opens_what_it_made_and_nothing_else_does() {
    let shared = filled(PASSPHRASE);
    works(&shared, PASSPHRASE);
    refused(&shared, UserKey::Passphrase("correct horse battery stapl"), "WRONG_KEY");
    let error = refused(&shared, OLD, "WRONG_KEY");
    assert!(error.to_string().contains("passphrase"), "{error}");
    let error = refused(&filled(OLD), PASSPHRASE, "WRONG_KEY");
    assert!(error.to_string().contains("with a key"), "{error}");
}

#[test]
fn an_empty_passphrase_makes_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let error = Store::open_sqlite_with_passphrase(text(&path), "").unwrap_err();
    assert_eq!(error.name(), "INVALID_LENGTH");
    assert!(!path.exists());
    let long = "x".repeat(65_537);
    let error = Store::open_sqlite_with_passphrase(text(&path), &long).unwrap_err();
    assert_eq!(error.name(), "INVALID_LENGTH");
    let error = Store::in_memory(&[1; 32]).unwrap().rekey_with_passphrase("").unwrap_err();
    assert_eq!(error.name(), "INVALID_LENGTH");
}

#[test]
fn another_key_takes_the_place_of_the_former_at_once() {
    let shared = filled(OLD);
    let before = shared.entries("account");
    let vault = open(&shared, OLD).unwrap();
    for (now, former) in [(NEW, OLD), (PASSPHRASE, NEW), (OLD, PASSPHRASE)] {
        vault.write_header(now).unwrap();
        works(&shared, now);
        refused(&shared, former, "WRONG_KEY");
    }
    // No record was encrypted anew.
    assert_eq!(shared.entries("account"), before);
    let error = vault.write_header(UserKey::Key(&[3; 31])).unwrap_err();
    assert_eq!(error.name(), "INVALID_LENGTH");
    works(&shared, OLD);
}

// A crash in the middle is a commit that was made or was not.
#[test]
fn a_rekey_whose_commit_fails_leaves_exactly_one_of_the_two_keys_working() {
    for (failure, works_now, former) in [(1, OLD, NEW), (2, NEW, OLD)] {
        let fail = Arc::new(AtomicUsize::new(0));
        let shared = filled(OLD);
        let store = Failing(shared.clone(), fail.clone());
        let vault = Vault::open(Box::new(store), OLD, Arc::new(SystemRandom)).unwrap();
        fail.store(failure, Ordering::SeqCst);
        assert_eq!(vault.write_header(NEW).unwrap_err().name(), "STORE_IO");
        works(&shared, works_now);
        refused(&shared, former, "WRONG_KEY");
        // The open store goes on, and a second try works.
        assert_eq!(vault.read::<u32>(&vault.key("account", &["a"])).unwrap(), Some(5));
        vault.write_header(NEW).unwrap();
        works(&shared, NEW);
    }
}

#[test]
fn a_former_header_put_back_does_not_bring_the_former_key_back() {
    let shared = filled(OLD);
    let former = shared.get("vault", b"header").unwrap().unwrap();
    open(&shared, OLD).unwrap().write_header(NEW).unwrap();
    shared.set("vault", b"header", &former);
    refused(&shared, OLD, "CORRUPT");
    refused(&shared, NEW, "WRONG_KEY");
}

#[test]
fn every_altered_byte_of_the_header_is_told_from_a_wrong_key() {
    for user_key in [OLD, PASSPHRASE] {
        let shared = filled(user_key);
        let header = shared.get("vault", b"header").unwrap().unwrap();
        for position in 0..header.len() {
            let mut altered = header.clone();
            altered[position] ^= 1;
            shared.set("vault", b"header", &altered);
            let error = open(&shared, user_key).unwrap_err();
            assert!(matches!(error.name(), "CORRUPT" | "NEWER_FORMAT"), "{position}: {error}");
        }
    }
}

#[test]
fn parameters_that_would_keep_the_reader_busy_are_refused_unread() {
    // The reason of SEC-93: numbers in a file are not to be trusted.
    for (name, value) in [
        ("memory_kib", u32::MAX),
        ("iterations", 1_000_000),
        ("lanes", 0),
        ("memory_kib", 1),
        ("", 0),
    ] {
        let shared = filled(OLD);
        let mut header = serde_json::json!({
            "format": 2, "kind": "argon2id", "nonce": vec![0; 24], "wrapped_key": vec![0; 48],
            "digest": vec![0; 32],
            "passphrase": {"memory_kib": 65536, "iterations": 3, "lanes": 4, "salt": vec![0; 16]},
        });
        if !name.is_empty() {
            header["passphrase"][name] = value.into();
        }
        // The digest is right, so that only the parameters can be what is refused.
        let bytes = rmp_serde::to_vec_named(&header).unwrap();
        let digest = rmp_serde::from_slice::<Header>(&bytes).unwrap().compute_digest().unwrap();
        header["digest"] = digest.into();
        shared.set("vault", b"header", &rmp_serde::to_vec_named(&header).unwrap());
        refused(&shared, PASSPHRASE, if name.is_empty() { "WRONG_KEY" } else { "CORRUPT" });
    }
}
