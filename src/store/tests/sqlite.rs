//! What is special about SQLite files.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::{KEY, beside, delete, put, text};
use crate::error::E2eeError;
use crate::store::record_store::{Durability, RecordStore};
use crate::store::sqlite::SqliteStore;
use crate::store::{Batch, Store};

fn open_error(path: &Path) -> E2eeError {
    SqliteStore::open(text(path)).err().unwrap()
}

#[test]
fn records_survive_closing_and_dropping() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(text(&path)).unwrap();
    store.commit(vec![put("a", b"k", b"1")], Durability::Synced).unwrap();
    store.close().unwrap();
    assert!(!beside(&path, "-wal").exists());
    let store = SqliteStore::open(text(&path)).unwrap();
    store.commit(vec![put("a", b"l", b"2")], Durability::Relaxed).unwrap();
    drop(store);
    let store = SqliteStore::open(text(&path)).unwrap();
    assert_eq!(store.scan("a", None, 9).unwrap().len(), 2);
}

#[test]
fn paths_that_name_no_file_are_refused() {
    let before: Vec<_> =
        fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for path in ["", ":memory:", "file:store.db", "FILE::memory:?cache=shared", "a\0b", ".."] {
        let error = SqliteStore::open(path).err().unwrap();
        let expected = if path == ".." { "STORE_IO" } else { "INVALID_FIELD" };
        assert_eq!(error.name(), expected, "{path:?}");
    }
    let after: Vec<_> =
        fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
}

#[test]
fn a_second_opener_in_this_process_is_refused_by_whatever_path() {
    // SEC-116
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = Store::open_sqlite(text(&path), &KEY).unwrap();
    let roundabout = directory.path().join(".").join("store.db");
    let mut paths = vec![path.clone(), roundabout];
    #[cfg(unix)]
    {
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let hard = directory.path().join("hard.db");
        fs::hard_link(&path, &hard).unwrap();
        let up = directory.path().join("up");
        std::os::unix::fs::symlink(directory.path(), &up).unwrap();
        paths.extend([link, hard, up.join("store.db")]);
    }
    for other in &paths {
        assert_eq!(
            Store::open_sqlite(text(other), &KEY).unwrap_err().name(),
            "STORE_IN_USE",
            "{other:?}"
        );
    }
    store.shut_down().unwrap();
    for other in paths {
        let store = Store::open_sqlite(text(&other), &KEY).unwrap();
        store.shut_down().unwrap();
    }
}

#[test]
fn a_failed_opening_leaves_the_file_free() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(Store::open_sqlite(text(&path), &KEY).unwrap());
    assert_eq!(Store::open_sqlite(text(&path), &[8; 32]).unwrap_err().name(), "WRONG_KEY");
    Store::open_sqlite(text(&path), &KEY).unwrap();
}

#[test]
fn a_key_of_the_wrong_length_makes_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let error = Store::open_sqlite(text(&directory.path().join("store.db")), &[1; 31]).unwrap_err();
    assert_eq!(error.name(), "INVALID_LENGTH");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
#[cfg(unix)]
fn the_files_of_a_store_are_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let _store = Store::open_sqlite(text(&directory.path().join("store.db")), &KEY).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["store.db", "store.db-lock", "store.db-wal"]);
}

#[test]
fn no_plaintext_or_key_is_in_any_file() {
    // SEC-106
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let look = || {
        for entry in fs::read_dir(directory.path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            for canary in [b"CANARY".as_slice(), &KEY[..8]] {
                assert!(!bytes.windows(canary.len()).any(|window| window == canary));
            }
        }
    };
    let store = Store::open_sqlite(text(&path), &KEY).unwrap();
    let key = store.vault().key("c", &["CANARY-NAME"]);
    let mut batch = Batch::new();
    batch.put(&key, &"CANARY-VALUE").unwrap();
    store.vault().commit(batch).unwrap();
    assert!(fs::metadata(beside(&path, "-wal")).unwrap().len() > 0);
    look();
    store.shut_down().unwrap();
    look();
    assert!(fs::metadata(&path).unwrap().len() > 0);
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let noise = directory.path().join("noise.db");
    fs::write(&noise, vec![b'x'; 5000]).unwrap();
    assert_eq!(
        open_error(&noise),
        E2eeError::corrupt("the file of the store is not an SQLite database")
    );
    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = fs::read(&foreign).unwrap();
    assert_eq!(
        open_error(&foreign),
        E2eeError::corrupt("the file is an SQLite database of another program")
    );
    assert_eq!(fs::read(&foreign).unwrap(), before);
    assert_eq!(fs::read(&noise).unwrap(), vec![b'x'; 5000]);
}

#[test]
fn a_newer_schema_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(SqliteStore::open(text(&path)).unwrap());
    let set = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    set("PRAGMA user_version = 2");
    assert!(matches!(open_error(&path), E2eeError::NewerFormat { found: 2, supported: 1, .. }));
    set("PRAGMA user_version = -1");
    assert_eq!(open_error(&path).name(), "CORRUPT");
    set("PRAGMA user_version = 1");
    SqliteStore::open(text(&path)).unwrap();
}

#[test]
fn a_trigger_or_a_changed_table_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(SqliteStore::open(text(&path)).unwrap());
    let set = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    set("CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM record; END");
    assert_eq!(open_error(&path).name(), "CORRUPT");
    set("DROP TRIGGER t; ALTER TABLE record ADD COLUMN more");
    assert_eq!(open_error(&path).name(), "CORRUPT");
}

#[test]
fn a_value_of_another_type_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(SqliteStore::open(text(&path)).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO record VALUES ('a', x'01', 5)", [])
        .unwrap();
    let store = SqliteStore::open(text(&path)).unwrap();
    assert_eq!(store.get("a", &[1]).unwrap_err().name(), "CORRUPT");
    assert_eq!(store.scan("a", None, 9).unwrap_err().name(), "CORRUPT");
}

#[test]
fn a_damaged_page_is_corrupt_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(text(&path)).unwrap();
    let changes = (0..500_u32).map(|n| put("a", &n.to_be_bytes(), &[9; 200])).collect();
    store.commit(changes, Durability::Synced).unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(4096).step_by(7) {
        *byte ^= 0x5a;
    }
    fs::write(&path, bytes).unwrap();
    let errors = match SqliteStore::open(text(&path)) {
        Ok(store) => store.scan("a", None, 999).err(),
        Err(error) => Some(error),
    };
    assert_eq!(errors.unwrap().name(), "CORRUPT");
}

#[test]
fn a_missing_directory_a_directory_and_a_dangling_link_are_io_errors() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(open_error(directory.path()).name(), "STORE_IO");
    assert_eq!(open_error(&directory.path().join("none").join("store.db")).name(), "STORE_IO");
    #[cfg(unix)]
    {
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
        assert_eq!(open_error(&link).name(), "STORE_IO");
        fs::remove_file(link).unwrap();
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_commit_that_does_not_fit_fails_whole_and_a_later_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(text(&directory.path().join("store.db"))).unwrap();
    store.commit(vec![put("a", b"k", b"old")], Durability::Synced).unwrap();
    store.limit_pages(8);
    let changes =
        vec![put("a", b"k", b"new"), put("a", b"large", &vec![1; 100_000]), delete("a", b"k")];
    let error = store.commit(changes, Durability::Synced).unwrap_err();
    assert_eq!(error.name(), "STORE_IO");
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(store.get("a", b"k").unwrap().unwrap(), b"old");
    assert_eq!(store.get("a", b"large").unwrap(), None);
    store.limit_pages(1_000_000);
    store.commit(vec![put("a", b"k", b"new")], Durability::Relaxed).unwrap();
    assert_eq!(store.get("a", b"k").unwrap().unwrap(), b"new");
}

#[test]
fn the_connection_is_set_up_for_durability() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(text(&directory.path().join("store.db"))).unwrap();
    let expected = [
        ("journal_mode", "wal"),
        ("locking_mode", "exclusive"),
        ("synchronous", "2"),
        ("secure_delete", "1"),
        ("trusted_schema", "0"),
        ("temp_store", "2"),
        ("cell_size_check", "1"),
        ("foreign_keys", "1"),
        ("fullfsync", "1"),
        ("checkpoint_fullfsync", "1"),
    ];
    for (pragma, value) in expected {
        assert_eq!(store.pragma(pragma), value, "{pragma}");
    }
    store.commit(vec![put("a", b"k", b"1")], Durability::Relaxed).unwrap();
    assert_eq!(store.pragma("synchronous"), "1");
    store.commit(vec![put("a", b"k", b"2")], Durability::Synced).unwrap();
    assert_eq!(store.pragma("synchronous"), "2");
}

// Issue 10: the log shrinks.
#[test]
fn what_a_large_commit_makes_of_the_log_is_given_back() {
    const LIMIT: u64 = 4 * 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let store = SqliteStore::open(text(&path)).unwrap();
    let log = || fs::metadata(beside(&path, "-wal")).unwrap().len();
    store.commit(vec![put("a", b"k", &vec![7; 5 << 22])], Durability::Synced).unwrap();
    assert!(log() > 4 * LIMIT);
    store.commit(vec![put("a", b"l", b"1")], Durability::Synced).unwrap();
    assert!(log() <= LIMIT, "{}", log());
}

#[test]
fn dropping_the_store_in_a_forked_child_leaves_the_files_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = SqliteStore::open(text(&path)).unwrap();
    store.commit(vec![put("a", b"k", b"1")], Durability::Synced).unwrap();
    let before = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
    store.pretend_to_be_forked();
    drop(store);
    let after = (fs::read(&path).unwrap(), fs::read(beside(&path, "-wal")).unwrap());
    assert!(before == after);
    // As the connection still exists, SQLite itself refuses a second one here.
    assert_eq!(open_error(&path).name(), "STORE_IN_USE");
}
