//! The files of an SQLite store: what is in them, and what happens when they cannot be written.
//! (Security requirements, "Store durability checklist" 1, 9, 10 and 12 (d).)
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use common::sqlite::{KEY, SqliteDirectory};
use common::{Device, v};
use matrixe2ee::{Account, InboundMegolmSession, OutboundMegolmSession, Result, Store};
use serde_json::{Value, json};

const CHILD: &str = "STORE_FILES_CHILD";
const USER: &str = "@alice-canary:canary.example.org";
const DEVICE: &str = "CANARYDEVICE";
const ROOM: &str = "!canary-room:canary.example.org";
const BODY: &str = "the canary sings";

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn files(directory: &Path) -> Vec<Vec<u8>> {
    fs::read_dir(directory).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect()
}

// B11, SEC-106
#[test]
fn no_name_key_or_plaintext_is_in_any_file_of_the_store() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), USER, DEVICE);
    let bob = Device::new("@bob-canary:canary.example.org", "CANARYBOB");
    let channel = alice.channel_to(&bob);
    let sent = channel.encrypt("m.canary", r#"{"body":"the canary sings"}"#).unwrap();
    let back = bob.receive_first(&alice, &sent).unwrap();
    channel.decrypt(&back.encrypt("m.canary", r#"{"body":"the canary sings"}"#).unwrap()).unwrap();
    let outbound = OutboundMegolmSession::create(&alice.account, ROOM, None).unwrap();
    let recipients = json!({
        "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "members": {"@bob-canary:canary.example.org": "join"},
        "device_keys": {"@bob-canary:canary.example.org": {"CANARYBOB": v(&bob.device_keys())}},
    });
    let lines = v(&outbound.get_session_key_for_sending(&recipients.to_string()).unwrap());
    let room_key = lines[0]["content"]["session_key"].as_str().unwrap().to_owned();
    let inbound = InboundMegolmSession::from_outbound_session(&outbound).unwrap();
    let content = v(&outbound.encrypt("m.canary", &json!({"body": BODY}).to_string()).unwrap());
    let event = json!({
        "event_id": "$canary", "sender": USER, "room_id": ROOM, "content": content,
    });
    inbound.decrypt(&event.to_string()).unwrap();
    let secret_half = v(&inbound.export_at(None).unwrap())["session_key"].to_string();
    let canaries = [
        "canary".to_owned(),
        "CANARY".to_owned(),
        outbound.session_id().unwrap(),
        alice.identity_key(),
        alice.fingerprint_key(),
        bob.identity_key(),
        room_key[40..80].to_owned(),
        secret_half[40..80].to_owned(),
    ];
    let look = || {
        for bytes in files(directory.path().parent().unwrap()) {
            for canary in &canaries {
                assert!(!contains(&bytes, canary.as_bytes()), "{canary}");
                let decoded = vodozemac::base64_decode(canary).unwrap_or_default();
                assert!(decoded.len() < 16 || !contains(&bytes, &decoded[..16]), "{canary}");
            }
            assert!(!contains(&bytes, &KEY[..16]));
        }
    };
    look();
    alice.store.shut_down().unwrap();
    look();
}

// `secure_delete`: a deleted record is not left over in a free page.
#[test]
fn what_was_erased_is_not_in_the_file_any_more() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), USER, DEVICE);
    alice.one_time_keys();
    alice.store.shut_down().unwrap();
    let stored: Vec<Vec<u8>> = {
        let file = rusqlite::Connection::open(directory.path()).unwrap();
        let mut rows = file
            .prepare("SELECT substr(value, -200) FROM record WHERE collection = 'account'")
            .unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(std::result::Result::unwrap).collect()
    };
    let left = |bytes: &[u8]| stored.iter().filter(|value| contains(bytes, value)).count();
    assert_eq!(left(&fs::read(directory.path()).unwrap()), 1);
    let store = directory.open();
    Account::open(&store, USER, DEVICE).unwrap().erase().unwrap();
    store.shut_down().unwrap();
    for bytes in files(directory.path().parent().unwrap()) {
        assert_eq!(left(&bytes), 0);
    }
}

/// Runs `child` in another process, behind a shell command that sets its limits.
fn run_child(mode: &str, path: &Path, shell: &str, as_nobody: bool) -> Output {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    // A program that anybody may run, wherever the tests were built.
    let copy = path.parent().unwrap().join("child");
    let program = if as_nobody {
        fs::copy(program, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(65_534).gid(65_534);
        copy
    } else {
        program
    };
    command
        .args(["-c", &format!("{shell} exec \"$@\""), "sh"])
        .arg(program)
        .args(["--exact", "the_child", "--nocapture"])
        .env(CHILD, mode)
        .env("STORE_FILES_PATH", path)
        .output()
        .unwrap()
}

fn last_json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rfind(|line| line.starts_with('{'));
    v(line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr))))
}

/// What the tests below run in another process.
#[test]
fn the_child() {
    let Ok(mode) = std::env::var(CHILD) else { return };
    let path = std::env::var("STORE_FILES_PATH").unwrap();
    let report = match mode.as_str() {
        "open" => json!({ "error": error(Store::open_sqlite(&path, KEY.to_vec())) }),
        _ => fill(&path),
    };
    println!("\n{report}");
}

fn error<T>(result: Result<T>) -> Value {
    result.err().map_or(Value::Null, |error| v(&error.to_json()))
}

/// Works until the disk is full, and then tries a little more.
fn fill(path: &str) -> Value {
    let mut report = json!({"errors": [], "ciphertexts": []});
    let failed = |report: &mut Value, failure: Value| {
        report["errors"].as_array_mut().unwrap().push(failure);
    };
    let store = match Store::open_sqlite(path, KEY.to_vec()) {
        Ok(store) => store,
        Err(failure) => {
            failed(&mut report, v(&failure.to_json()));
            return report;
        }
    };
    let account = match Account::open(&store, USER, DEVICE) {
        Ok(account) => account,
        Err(failure) => {
            failed(&mut report, v(&failure.to_json()));
            return report;
        }
    };
    report["identity_key"] = account.identity_key().unwrap().into();
    let settings = Some(json!({"reserve_ahead": 0}).to_string());
    let mut session = None;
    for _ in 0..300 {
        if session.is_none() {
            match OutboundMegolmSession::create(&account, ROOM, settings.clone()) {
                Ok(created) => session = Some(created),
                Err(failure) => {
                    failed(&mut report, v(&failure.to_json()));
                    break;
                }
            }
        }
        // A record for each event, so that the file grows.
        let Some(session) = &session else { break };
        let own = InboundMegolmSession::from_outbound_session(session);
        match session.encrypt("m.room.message", "{}") {
            Ok(content) => report["ciphertexts"].as_array_mut().unwrap().push(v(&content)),
            Err(failure) => failed(&mut report, v(&failure.to_json())),
        }
        let Some(content) = report["ciphertexts"].as_array().unwrap().last().cloned() else {
            continue;
        };
        let count = report["ciphertexts"].as_array().unwrap().len();
        let event = json!({
            "event_id": format!("${count}"), "sender": USER, "room_id": ROOM, "content": content,
        });
        match own.and_then(|own| own.decrypt(&event.to_string())) {
            Ok(_) => {}
            Err(failure) if failure.name() == "STORE_IO" => {
                failed(&mut report, v(&failure.to_json()));
            }
            // The index is older than our copy, or was seen: no fault of the disk.
            Err(_) => {}
        }
        if report["errors"].as_array().unwrap().len() > 6 {
            break;
        }
    }
    report
}

fn message_index(content: &Value) -> u32 {
    let text = content["ciphertext"].as_str().unwrap();
    vodozemac::megolm::MegolmMessage::from_base64(text).unwrap().message_index()
}

// Checklist 10 and 12 (d): the limit on a file's size stands in for the full disk.
#[test]
fn on_a_full_disk_calls_fail_with_an_error_and_nothing_is_lost_or_used_twice() {
    let mut full = 0;
    for kib in (4..=240).step_by(8) {
        let directory = SqliteDirectory::new();
        // In blocks of 512 bytes. Without the trap, the first failure would kill the child.
        let shell = format!("trap '' XFSZ; ulimit -f {};", kib * 2);
        let report = last_json(&run_child("fill", &directory.path(), &shell, false));
        for failure in report["errors"].as_array().unwrap() {
            assert_eq!(failure["name"], "STORE_IO", "{kib} KiB: {failure}");
            full += 1;
        }
        // There is room again, and all is as it was.
        let store = directory.open();
        let account = Account::open(&store, USER, DEVICE).unwrap();
        if let Some(key) = report["identity_key"].as_str() {
            assert_eq!(account.identity_key().unwrap(), key, "{kib} KiB");
        }
        let mut indices: Vec<u32> =
            report["ciphertexts"].as_array().unwrap().iter().map(message_index).collect();
        if let Ok(session) = OutboundMegolmSession::create_from_storage(&account, ROOM, None) {
            let content = v(&session.encrypt("m.room.message", "{}").unwrap());
            indices.push(message_index(&content));
        } else {
            assert!(indices.is_empty(), "{kib} KiB: the session is lost");
        }
        assert!(indices.windows(2).all(|pair| pair[0] < pair[1]), "{kib} KiB: {indices:?}");
    }
    assert!(full > 20, "the disk was never full");
}

#[test]
fn a_store_that_may_only_be_read_is_refused_and_stays_as_it_is() {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let directory = SqliteDirectory::new();
    let store = directory.open();
    Account::open(&store, USER, DEVICE).unwrap();
    store.shut_down().unwrap();
    let folder = directory.path().parent().unwrap().to_owned();
    let before = fs::read(directory.path()).unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let lock = folder.join("store.db-lock");
    for (file, lock_file, within) in
        [(0o444, 0o666, 0o777), (0o444, 0o444, 0o555), (0o666, 0o444, 0o555)]
    {
        mode(&directory.path(), file);
        mode(&lock, lock_file);
        mode(&folder, within);
        // Root may write whatever the mode says, so it sends somebody else.
        let report = last_json(&run_child("open", &directory.path(), "", is_root));
        assert_eq!(report["error"]["name"], "STORE_IO", "{file:o} {within:o}: {report}");
        mode(&folder, 0o755);
        assert!(fs::read(directory.path()).unwrap() == before);
    }
    mode(&directory.path(), 0o600);
    mode(&lock, 0o600);
    let store = directory.open();
    Account::open(&store, USER, DEVICE).unwrap();
}

// Store durability checklist 9; found by fuzzing. In a file like this SQLite finds no record by its key.
#[test]
fn a_file_whose_pages_were_exchanged_is_damaged_and_no_new_store() {
    let directory = SqliteDirectory::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores");
    let mut file = fs::read(folder.join("format-1.sqlite")).unwrap();
    let (before, after) = file.split_at_mut(4 * 4096);
    before[3 * 4096..].swap_with_slice(&mut after[..4096]); // The two leaves of its only tree.
    fs::write(directory.path(), &file).unwrap();
    let opened = Store::open_sqlite(directory.path().to_str().unwrap(), vec![0x11; 32]);
    assert_eq!(error(opened)["name"], "CORRUPT");
    assert!(fs::read(directory.path()).unwrap()[4096..] == file[4096..], "the file was changed");
}
