//! Keys and passphrases of a store in a file, as a user meets them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::fails;
use matrixe2ee::{Account, E2eeError, Result, Store};
use tempfile::TempDir;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn key(&self, key: [u8; 32]) -> Result<Arc<Store>> {
        Store::open_sqlite(&self.text(), key.to_vec())
    }

    fn passphrase(&self, passphrase: &str) -> Result<Arc<Store>> {
        Store::open_sqlite_with_passphrase(&self.text(), passphrase.to_owned())
    }
}

/// The identity key of the account in a store, which is then shut down.
fn identity(store: Result<Arc<Store>>) -> String {
    let store = store.unwrap();
    let account = Account::open(&store, "@alice:example.org", "ALICE").unwrap();
    let key = account.identity_key().unwrap();
    store.shut_down().unwrap();
    key
}

#[test]
fn the_same_account_is_there_under_every_key_that_takes_the_place_of_the_last() {
    let file = File::new();
    let alice = identity(file.passphrase("first"));
    let store = file.passphrase("first").unwrap();
    store.rekey(OLD.to_vec()).unwrap();
    store.shut_down().unwrap();
    fails(file.passphrase("first"), "WRONG_KEY");
    assert_eq!(identity(file.key(OLD)), alice);
    let store = file.key(OLD).unwrap();
    store.rekey(NEW.to_vec()).unwrap();
    store.rekey_with_passphrase("second".to_owned()).unwrap();
    store.shut_down().unwrap();
    fails(store.rekey(OLD.to_vec()), "STORE_CLOSED");
    fails(file.key(OLD), "WRONG_KEY");
    fails(file.key(NEW), "WRONG_KEY");
    fails(file.passphrase("first"), "WRONG_KEY");
    assert_eq!(identity(file.passphrase("second")), alice);
}

#[test]
fn after_a_rekey_the_former_header_is_in_no_file() {
    let file = File::new();
    let store = file.key(OLD).unwrap();
    store.shut_down().unwrap();
    let header: Vec<u8> = {
        let open = rusqlite::Connection::open(file.path()).unwrap();
        let sql = "SELECT substr(value, -60) FROM record WHERE collection = 'vault'";
        open.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let is_left = || {
        fs::read_dir(file.0.path()).unwrap().any(|entry| {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(header.len()).any(|window| window == header)
        })
    };
    assert!(is_left());
    let store = file.key(OLD).unwrap();
    store.rekey(NEW.to_vec()).unwrap();
    assert!(!is_left());
    store.shut_down().unwrap();
}

#[test]
fn a_rekey_that_is_refused_changes_nothing() {
    let file = File::new();
    let store = file.key(OLD).unwrap();
    fails(store.rekey(vec![1; 31]), "INVALID_LENGTH");
    fails(store.rekey(Vec::new()), "INVALID_LENGTH");
    fails(store.rekey_with_passphrase(String::new()), "INVALID_LENGTH");
    store.shut_down().unwrap();
    identity(file.key(OLD));
}

/// Writes an SQLite file as an attacker with the file, but without the key, can.
fn tamper(path: &Path, sql: &str) -> usize {
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute(sql, []).unwrap()
}

// Security requirements, "Store durability checklist" 3 and 12 (f)
#[test]
fn every_single_record_that_is_deleted_altered_swapped_or_put_back_is_noticed() {
    let file = File::new();
    let names = |path: &Path| -> Vec<(String, Vec<u8>)> {
        let open = rusqlite::Connection::open(path).unwrap();
        let mut rows = open.prepare("SELECT collection, key FROM record").unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(std::result::Result::unwrap)
            .collect()
    };
    let old = File::new();
    live(&file, 1);
    fs::copy(file.path(), old.path()).unwrap();
    live(&file, 2);
    let all = names(&file.path());
    assert!(all.len() > 8);
    let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut changed = 0;
    for (collection, key) in &all {
        let place = format!("collection = '{collection}' AND key = x'{}'", hex(key));
        let attach = format!("ATTACH '{}' AS old", old.text());
        let changes = [
            format!("DELETE FROM record WHERE {place}"),
            format!("UPDATE record SET value = x'00' || value WHERE {place}"),
            format!("UPDATE record SET value = substr(value, 1, length(value) - 1) WHERE {place}"),
            format!(
                "UPDATE record SET value = (SELECT value FROM record AS other WHERE NOT \
                 (other.collection = '{collection}' AND other.key = x'{}') LIMIT 1) WHERE {place}",
                hex(key)
            ),
            format!(
                "UPDATE record SET value = (SELECT value FROM old.record WHERE {place}) WHERE \
                 {place} AND EXISTS (SELECT 1 FROM old.record AS former WHERE former.{} AND \
                 former.value IS NOT record.value)",
                place.replace(" AND ", " AND former.")
            ),
        ];
        for change in changes {
            let copy = File::new();
            fs::copy(file.path(), copy.path()).unwrap();
            let open = rusqlite::Connection::open(copy.path()).unwrap();
            open.execute(&attach, []).unwrap();
            if open.execute(&change, []).unwrap() == 0 {
                continue;
            }
            drop(open);
            changed += 1;
            let error = look(&copy).expect_err(&change);
            // Another record in place of the header may look like that of a later version.
            let is_header = collection == "vault" && error.name() == "NEWER_FORMAT";
            assert!(is_header || error.name() == "CORRUPT", "{change}: {error}");
        }
    }
    assert!(changed > all.len() * 4);
    look(&file).unwrap();
}

/// Some life in a store, so that there is a record of most kinds.
fn live(file: &File, pass: u8) {
    let store = file.key(OLD).unwrap();
    let alice = common::Device::open_in(store, "@alice:example.org", "ALICE");
    let bob = common::Device::new("@bob:example.org", "BOB");
    if pass == 1 {
        alice.upload();
    }
    let channel = alice.channel_to(&bob);
    channel.encrypt("m.dummy", "{}").unwrap();
    let outbound =
        matrixe2ee::OutboundMegolmSession::create(&alice.account, "!r:example.org", None).unwrap();
    let inbound = matrixe2ee::InboundMegolmSession::from_outbound_session(&outbound).unwrap();
    let content = outbound.encrypt("m.room.message", r#"{"body":"x"}"#).unwrap();
    let event = serde_json::json!({
        "event_id": "$1", "sender": "@alice:example.org", "room_id": "!r:example.org",
        "content": common::v(&content),
    });
    inbound.decrypt(&event.to_string()).unwrap();
    alice.store.shut_down().unwrap();
}

/// Reads all there is in a store, and erases what can be erased.
fn look(file: &File) -> std::result::Result<(), E2eeError> {
    let store = file.key(OLD)?;
    let problems = store.problems().unwrap();
    match Account::open(&store, "@alice:example.org", "ALICE") {
        Ok(account) => {
            drop(account.list_sessions(None, None, None));
            account.erase().unwrap();
            assert_eq!(store.problems().unwrap(), "[]");
        }
        Err(error) => assert_eq!((error.name(), problems == "[]"), ("CORRUPT", false)),
    }
    store.shut_down().unwrap();
    if problems == "[]" { Ok(()) } else { Err(E2eeError::Corrupt { detail: problems }) }
}

#[test]
fn a_tampered_file_is_told_from_a_file_of_another_program() {
    let file = File::new();
    live(&file, 1);
    tamper(&file.path(), "DELETE FROM record WHERE collection = 'vault_manifest'");
    fails(file.key(OLD), "CORRUPT");
    // The key is looked at first: who has a wrong one learns nothing of the rest.
    fails(file.key(NEW), "WRONG_KEY");
}
