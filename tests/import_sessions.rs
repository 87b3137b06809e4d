//! The Megolm sessions of a key export in one call: what it reports, what it merges, that it can be
//! interrupted, and that nobody waits for it.

#[path = "common/rooms.rs"]
mod rooms;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use matrixe2ee::InboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};

fn import(device: &Device, sessions: &[Value]) -> Value {
    answer(device.account.import_sessions(&json!(sessions).to_string()))
}

/// The numbers of a report.
fn numbers(report: &Value) -> [u64; 4] {
    ["imported", "merged", "known", "surplus"].map(|name| report[name].as_u64().expect("a number"))
}

/// Which of the list failed, and why.
fn failed(report: &Value) -> Vec<(u64, &str)> {
    let failed = report["failed"].as_array().expect("a list").iter();
    let failure = |failure: &'_ Value| failure["index"].as_u64().expect("a number");
    failed.map(|f| (failure(f), f["error"]["name"].as_str().expect("a name"))).collect()
}

fn many(count: usize, sender: &Device) -> Vec<Value> {
    (0..count).map(|_| RawSession::new().export(sender)).collect()
}

fn ids(sessions: &[Value]) -> BTreeSet<&str> {
    sessions.iter().map(|session| session["session_id"].as_str().expect("an ID")).collect()
}

fn check_stored(device: &Device, expected: &[Value]) {
    let listed = answer(device.account.list_sessions(Some(ROOM.to_owned()), None, Some(10_000)));
    assert_eq!(ids(listed.as_array().expect("a list")), ids(expected));
}

#[test]
fn a_key_export_is_read_from_its_index_on_and_belongs_to_nobody_yet() {
    let (alice, mut bob) = (Device::new(ALICE, "A"), Device::on_disk(BOB, "B"));
    let mut raw = RawSession::new();
    let early = alice.event("$0", &raw.message("early"));
    let export = raw.export(&alice);
    let late = alice.event("$1", &raw.message("late"));
    let report = import(&bob, std::slice::from_ref(&export));
    assert_eq!(report, json!({"imported": 1, "merged": 0, "known": 0, "surplus": 0, "failed": []}));
    for _ in 0..2 {
        let session = ok(InboundMegolmSession::from_storage(&bob.account, ROOM, &raw.id(), None));
        let decrypted = answer(session.decrypt(&late.to_string()));
        assert_eq!(decrypted["matrixe2ee"]["owner"], "unknown");
        assert_eq!(decrypted["matrixe2ee"]["authenticated"], false);
        assert_eq!(error_name(session.decrypt(&early.to_string())), "UNKNOWN_INDEX");
        assert_eq!(parse(&ok(session.export_at(None)))["session_key"], export["session_key"]);
        bob.reopen();
    }
}

// M23, SEC-46
#[test]
fn what_is_stored_is_merged_as_one_by_one_also_within_one_list() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let (early, early_key) = (raw.export(&alice), raw.room_key());
    raw.message("one");
    let late = raw.export(&alice);
    let open = || ok(InboundMegolmSession::from_storage(&bob.account, ROOM, &raw.id(), None));

    assert_eq!(numbers(&import(&bob, &[late.clone(), late.clone()])), [1, 0, 1, 0]);
    let handle = open();
    assert_eq!(ok(handle.first_known_index()), 1);
    let report = import(&bob, &[early.clone(), late.clone(), early.clone()]);
    assert_eq!(numbers(&report), [0, 1, 2, 0]);
    // Handles that are open see it.
    assert_eq!(ok(handle.first_known_index()), 0);
    // A room key that came over Olm stays what it is (SEC-45).
    ok(bob.receive(&alice, &early_key));
    let other = RawSession::new().export(&alice);
    assert_eq!(numbers(&import(&bob, &[early, other])), [1, 0, 1, 0]);
    assert!(ok(open().authenticated()));
}

#[test]
fn a_session_that_is_bad_spoils_no_other_and_is_named() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let good = many(3, &alice);
    let with = |field: &str, value: Value| {
        let mut session = RawSession::new().export(&alice);
        session[field] = value;
        session
    };
    let list = [
        good[0].clone(),
        json!({}),
        json!(7),
        with("algorithm", json!("m.megolm.v2")),
        good[1].clone(),
        with("session_key", json!("AAAA")),
        with("session_id", good[0]["session_id"].clone()),
        with("room_id", json!("no room")),
        with("sender_key", json!("AAAA")),
        with("sender_claimed_keys", json!([])),
        with("padding", json!("x".repeat(65_536))),
        good[2].clone(),
    ];
    let report = import(&bob, &list);
    assert_eq!(numbers(&report), [3, 0, 0, 0]);
    let names = [
        (1, "INVALID_FIELD"),
        (2, "INVALID_FIELD"),
        (3, "UNKNOWN_ALGORITHM"),
        (5, "INVALID_KEY"),
        (6, "MISMATCHED_SESSION_ID"),
        (7, "INVALID_FIELD"),
        (8, "INVALID_KEY"),
        (9, "INVALID_FIELD"),
        (10, "TOO_LARGE"),
    ];
    assert_eq!(failed(&report), names);
    check_stored(&bob, &good);
    for (list, name) in [("{}", "INVALID_FIELD"), ("[", "INVALID_JSON"), ("[{}", "INVALID_JSON")] {
        assert_eq!(error_name(bob.account.import_sessions(list)), name, "{list}");
    }
    assert_eq!(numbers(&import(&bob, &[])), [0; 4]);
}

#[test]
fn imports_at_the_same_time_share_the_work_and_hold_nobody_up_for_long() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::on_disk(BOB, "B"));
    let sessions = many(3_000, &alice);
    let list = json!(sessions).to_string();
    let done = AtomicBool::new(false);
    let (reports, calls, longest) = std::thread::scope(|scope| {
        let import = || answer(bob.account.import_sessions(&list));
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(import)).collect();
        let caller = scope.spawn(|| {
            let (mut calls, mut longest) = (0_u32, Duration::ZERO);
            while !done.load(Ordering::Acquire) {
                let begin = Instant::now();
                ok(bob.account.sign_json("{}"));
                (calls, longest) = (calls.saturating_add(1), longest.max(begin.elapsed()));
            }
            (calls, longest)
        });
        let reports: Vec<Value> =
            threads.into_iter().map(|thread| thread.join().expect("an import")).collect();
        done.store(true, Ordering::Release);
        let (calls, longest) = caller.join().expect("a caller");
        (reports, calls, longest)
    });
    println!("{calls} calls meanwhile, none longer than {longest:?}");
    assert!(calls > 10, "{calls} calls");
    let [first, second] = [&reports[0], &reports[1]].map(numbers);
    assert_eq!(first[0].saturating_add(second[0]), 3_000);
    assert_eq!(first[2].saturating_add(second[2]), 3_000);
    check_stored(&bob, &sessions);
}

#[test]
fn ten_thousand_sessions_take_linear_time() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::on_disk(BOB, "B"));
    let sessions = many(10_000, &alice);
    let time = |sessions: &[Value], expected: [u64; 4]| {
        let begin = Instant::now();
        assert_eq!(numbers(&import(&bob, sessions)), expected);
        begin.elapsed()
    };
    let first = time(&sessions[..1_000], [1_000, 0, 0, 0]);
    let others = time(&sessions[1_000..], [9_000, 0, 0, 0]);
    let again = time(&sessions, [0, 0, 10_000, 0]);
    println!("the first 1,000: {first:?}; 9,000 more: {others:?}; all again: {again:?}");
    // Nine times as many; quadratic work would take about a hundred times as long.
    let bound = first.saturating_mul(30).saturating_add(Duration::from_secs(1));
    assert!(others < bound, "{first:?}, then {others:?}");
    check_stored(&bob, &sessions);
}
