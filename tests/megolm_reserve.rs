//! Reserving message indices ahead: what it saves, what a crash costs, and that no index is ever
//! used twice (DESIGN section 5; SEC-112, SEC-114).

#[path = "common/rooms.rs"]
mod rooms;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use matrixe2ee::{Account, Clock, E2eeError, InboundMegolmSession, OutboundMegolmSession, Result};
use rooms::*;
use serde_json::{Value, json};
use vodozemac::megolm::{InboundGroupSession, MegolmMessage, SessionConfig, SessionKey};

/// The indices at which a message made a commit.
fn commits(alice: &Device, session: &OutboundMegolmSession, messages: u32) -> Vec<u32> {
    let mut at = Vec::new();
    for _ in 0..messages {
        let before = alice.bytes();
        let index = index_of(&encrypted(session, "a"));
        if alice.bytes() != before {
            at.push(index);
        }
    }
    at
}

fn reserving(count: u32) -> Value {
    json!({ "reserve_ahead": count })
}

/// Encrypts so many messages; gives the index of the last.
fn send(session: &OutboundMegolmSession, messages: u32) -> u32 {
    let mut last = 0;
    for _ in 0..messages {
        last = index_of(&encrypted(session, "a"));
    }
    last
}

/// The index that the room's current session would use next.
fn next_index(device: &Device) -> u32 {
    ok(device.stored_outbound().message_index())
}

#[test]
fn one_commit_serves_a_block_of_messages() {
    let cases = [
        (None, 100, vec![0, 32, 64, 96]), // DESIGN: 32 by default
        (Some(5), 16, vec![0, 5, 10, 15]),
        (Some(1), 8, (0..8).collect()),
        (Some(0), 8, (0..8).collect()),
        (Some(1000), 100, vec![0]),
    ];
    for (ahead, messages, expected) in cases {
        let alice = Device::on_disk(ALICE, "A");
        let session = alice.outbound(ahead.map(reserving).as_ref());
        let at = commits(&alice, &session, messages);
        assert_eq!(at, expected, "{ahead:?}");
    }
}

#[test]
fn the_first_message_after_loading_commits_by_itself_and_the_next_reserves_a_block() {
    let mut alice = Device::on_disk(ALICE, "A");
    send(&alice.outbound(Some(&reserving(4))), 2);
    alice.reopen();
    assert_eq!(commits(&alice, &alice.stored_outbound(), 10), [2, 3, 7, 11]);
    // Opened for one message: a commit for the message, none for the end.
    alice.reopen();
    let session = alice.stored_outbound();
    send(&session, 1);
    let before = alice.bytes();
    drop(session);
    assert!(alice.bytes() == before, "nothing was left to write back");
    assert_eq!(next_index(&alice), 13);
}

#[test]
fn after_a_clean_end_no_index_is_skipped() {
    let mut alice = Device::on_disk(ALICE, "A");
    alice.outbound(None);
    let mut expected = 0;
    for messages in 1..6 {
        // Shut down, with a handle that is still open.
        let session = alice.stored_outbound();
        expected += messages;
        assert_eq!(send(&session, messages) + 1, expected);
        alice.reopen();
        assert_eq!(next_index(&alice), expected);
        assert_eq!(error_name(session.encrypt("m", "{}")), "STORE_CLOSED");
        drop(session);
        assert_eq!(next_index(&alice.crashed()), expected, "that was on disk");

        // The last of two handles is freed; the store stays open.
        let (one, two) = (alice.stored_outbound(), alice.stored_outbound());
        expected += messages + 1;
        send(&one, 1);
        assert_eq!(send(&two, messages) + 1, expected);
        drop(two);
        drop(one);
        assert_eq!(next_index(&alice.crashed()), expected);
        assert_eq!(next_index(&alice), expected);
    }
}

#[test]
fn freeing_one_of_two_handles_writes_nothing() {
    let alice = Device::on_disk(ALICE, "A");
    let (one, two) = (alice.outbound(None), alice.stored_outbound());
    send(&one, 3);
    let before = alice.bytes();
    drop(one);
    assert!(alice.bytes() == before);
    assert_eq!(commits(&alice, &two, 40), [32], "the block is still there");
}

#[test]
fn a_shut_down_writes_back_all_sessions_of_all_accounts() {
    let mut alice = Device::on_disk(ALICE, "A");
    let other = ok(Account::open(&alice.store, BOB, "B"));
    let rooms: Vec<String> = (0..40).map(|number| format!("!room{number}")).collect();
    let mut sessions = Vec::new();
    for (number, room) in rooms.iter().enumerate() {
        for account in [&alice.account, &other] {
            let session = ok(OutboundMegolmSession::create(account, room, None));
            send(&session, number as u32 + 1);
            sessions.push(session);
        }
    }
    ok(alice.store.shut_down());
    ok(alice.store.shut_down());
    alice.reopen();
    let other = ok(Account::open(&alice.store, BOB, "B"));
    for (number, room) in rooms.iter().enumerate() {
        for account in [&alice.account, &other] {
            let session = ok(OutboundMegolmSession::create_from_storage(account, room, None));
            assert_eq!(ok(session.message_index()), number as u32 + 1);
        }
    }
}

#[test]
fn a_crash_skips_what_was_reserved_and_uses_nothing_twice() {
    let mut alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(Some(&json!({ "reserve_ahead": 8 })));
    let key = room_key_for(&session, &Device::new(BOB, "B"));
    let key = SessionKey::from_base64(key["session_key"].as_str().expect("a key")).expect("a key");
    let mut bob = InboundGroupSession::new(&key, SessionConfig::version_1());
    let mut used = HashSet::new();
    let mut session = session;
    let mut reserved = 0;
    for messages in [1, 3, 8, 9, 2, 7] {
        let mut last = 0;
        for _ in 0..messages {
            let content = encrypted(&session, "a");
            last = index_of(&content);
            assert!(used.insert(last), "index {last} is used twice"); // SEC-112
            let body = content["ciphertext"].as_str().expect("a ciphertext");
            bob.decrypt(&MegolmMessage::from_base64(body).expect("a message")).expect("readable");
        }
        reserved = reserved.max(last + 1);
        alice = alice.crashed();
        session = alice.stored_outbound();
        let next = ok(session.message_index());
        assert!((last + 1..last + 1 + 8).contains(&next), "{last}, then {next}");
        // Loading again changes nothing, with or without a crash.
        assert_eq!(next_index(&alice.crashed()), next);
    }
}

#[test]
fn the_skipped_indices_are_those_of_the_open_block() {
    let alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(Some(&reserving(8)));
    assert_eq!(next_index(&alice.crashed()), 0); // nothing reserved yet
    let after = |messages| {
        send(&session, messages);
        next_index(&alice.crashed())
    };
    assert_eq!(after(1), 8);
    assert_eq!(after(6), 8);
    assert_eq!(after(1), 8); // all eight were used
    assert_eq!(after(1), 16);
}

#[test]
fn the_rotation_limit_is_never_passed_whatever_is_reserved_and_skipped() {
    let settings = json!({ "maximum_rotation_period_msgs": 10, "reserve_ahead": 4 });
    for crash_at in 0..10 {
        let alice = Device::on_disk(ALICE, "A");
        let session = alice.outbound(Some(&settings));
        for _ in 0..crash_at {
            encrypted(&session, "a");
        }
        let crashed = alice.crashed();
        let session = crashed.stored_outbound();
        let from = ok(session.message_index());
        assert!(from <= 10, "a block ends at the limit: {from}"); // SEC-60
        for index in from..10 {
            assert_eq!(index_of(&encrypted(&session, "a")), index);
        }
        assert_eq!(expired(session.encrypt("m", "{}")), "count"); // SEC-56: skipped ones count
        assert_eq!(ok(session.message_index()), 10);
        assert_eq!(next_index(&crashed.crashed()), 10);
    }
}

#[test]
fn a_limit_that_falls_inside_a_block_holds_at_once() {
    let bob = Device::new(BOB, "B");
    let alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(None);
    send(&session, 3);
    let room = Recipients::of(&[&bob]).encryption("rotation_period_msgs", json!(5));
    keys_to_send(&session, &room);
    assert_eq!(send(&session, 2), 4);
    assert_eq!(expired(session.encrypt("m", "{}")), "count"); // M10
    assert_eq!(expired(alice.crashed().stored_outbound().encrypt("m", "{}")), "count");
}

#[test]
fn other_commits_of_the_session_keep_what_is_reserved() {
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(Some(&reserving(8)));
    keys_to_send(&session, &Recipients::of(&[&bob]));
    send(&session, 3);
    // It writes the session's record, because the period is new, and the key for Carol at index 3.
    let room = Recipients::of(&[&bob, &carol]).encryption("rotation_period_msgs", json!(50));
    let key = keys_to_send(&session, &room);
    assert_eq!(next_index(&alice.crashed()), 8);
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    assert_eq!(commits(&alice, &session, 6), [8], "the block goes on");
    // After a crash, Carol still waits for the same key; and a later one fits, too.
    let crashed = alice.crashed();
    let restored = crashed.stored_outbound();
    let again = keys_to_send(&restored, &room);
    assert!(line_of(&again, &carol).is_object());
    assert_eq!(line_of(&key, &carol), line_of(&again, &carol)); // M7
    let late = InboundMegolmSession::from_outbound_session(&restored);
    assert_eq!(ok(ok(late).first_known_index()), 16);
    ok(session.invalidate());
    let crashed = alice.crashed();
    assert_eq!(next_index(&crashed), 16);
    assert_eq!(expired(crashed.stored_outbound().encrypt("m", "{}")), "invalidated"); // D9b
    // The write-back says so, too.
    drop(session);
    assert_eq!(next_index(&alice.crashed()), 9);
    assert_eq!(expired(alice.crashed().stored_outbound().encrypt("m", "{}")), "invalidated");
}

#[test]
fn bad_input_inside_a_block_costs_no_index() {
    let alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(None);
    send(&session, 2);
    assert_eq!(error_name(session.encrypt("m", "[]")), "INVALID_FIELD");
    assert_eq!(error_name(session.get_session_key_for_sending("{}")), "ROOM_NOT_ENCRYPTED");
    alice.clock.set(-1);
    assert_eq!(error_name(session.encrypt("m", "{}")), "CLOCK_FAILED");
    alice.clock.set(START_MS);
    assert_eq!(send(&session, 1), 2);
}

#[test]
fn what_was_erased_is_not_written_back() {
    // The session: by another handle, before this one is freed or the store shut down.
    let mut alice = Device::on_disk(ALICE, "A");
    let session = alice.outbound(None);
    send(&session, 1);
    ok(alice.stored_outbound().erase());
    drop(session);
    let left_open = alice.outbound(None);
    send(&left_open, 1);
    ok(alice.stored_outbound().erase());
    alice.reopen();
    let open =
        |device: &Device| OutboundMegolmSession::create_from_storage(&device.account, ROOM, None);
    assert_eq!(error_name(open(&alice)), "NOT_FOUND");
    // The account.
    for shut_down in [false, true] {
        let id = ok(alice.outbound(None).session_id());
        let session = alice.stored_outbound();
        send(&session, 2); // the second one reserves a block
        ok(alice.account.erase());
        if !shut_down {
            drop(session);
        }
        alice.reopen();
        let by_id = OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id));
        assert_eq!(error_name(by_id), "NOT_FOUND");
    }
}

#[test]
fn blocks_are_limited_in_length() {
    let alice = Device::new(ALICE, "A");
    for (count, fits) in [(0, true), (1000, true), (1001, false), (-1, false), (i64::MAX, false)] {
        let settings = Some(json!({ "reserve_ahead": count }).to_string());
        let created = OutboundMegolmSession::create(&alice.account, ROOM, settings);
        match fits {
            true => drop(ok(created)),
            false => assert_eq!(error_name(created), "INVALID_FIELD", "{count}"),
        }
    }
}

/// A clock that frees a handle while it is asked.
struct FreeingClock(Mutex<Option<Arc<OutboundMegolmSession>>>);

impl Clock for FreeingClock {
    fn now_ms(&self) -> Result<i64> {
        drop(self.0.lock().expect("no panic").take());
        Ok(START_MS)
    }
}

#[test]
fn a_handle_freed_inside_a_callback_writes_nothing_and_only_skips() {
    let alice = Device::on_disk(ALICE, "A");
    let id = ok(alice.outbound(Some(&reserving(8))).session_id());
    let session = alice.stored_outbound();
    send(&session, 3); // 0 by itself, then the block from 1 to 8
    let other = ok(OutboundMegolmSession::create(&alice.account, "!other", None));
    let clock = Arc::new(FreeingClock(Mutex::new(Some(session))));
    ok(alice.store.set_clock(clock.clone()));
    ok(other.encrypt("m", "{}"));
    assert!(clock.0.lock().expect("no panic").is_none(), "the handle is freed");
    let again = OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id));
    assert_eq!(ok(ok(again).message_index()), 9);
}

#[test]
fn erasing_a_session_never_takes_a_newer_ones_place_as_the_current_one() {
    let alice = Arc::new(Device::new(ALICE, "A"));
    for _ in 0..200 {
        let old = alice.outbound(None);
        let new = std::thread::scope(|scope| {
            let eraser = scope.spawn(|| ok(old.erase()));
            let new = scope.spawn(|| ok(alice.outbound(None).session_id()));
            eraser.join().expect("erased");
            new.join().expect("created")
        });
        assert_eq!(ok(alice.stored_outbound().session_id()), new); // M2
    }
}

/// What the threads of one store have let out.
#[derive(Default)]
struct Sent(Mutex<Vec<(String, u32)>>);

impl Sent {
    /// Encrypts until the store is shut down.
    fn write(&self, open: impl Fn() -> Result<Arc<OutboundMegolmSession>>, keep: bool) {
        let mut kept = None;
        loop {
            let session = match kept.take().map_or_else(&open, Ok) {
                Ok(session) => session,
                Err(E2eeError::StoreClosed { .. }) => return,
                Err(error) => panic!("{}", error.to_json()),
            };
            match session.encrypt("m.room.message", "{}") {
                Ok(content) => {
                    let content = parse(&content);
                    let id = content["session_id"].as_str().expect("an ID").to_owned();
                    self.0.lock().expect("no panic").push((id, index_of(&content)));
                }
                Err(E2eeError::StoreClosed { .. }) => return,
                Err(error) => panic!("{}", error.to_json()),
            }
            if keep {
                kept = Some(session);
            }
        }
    }
}

#[test]
fn no_index_is_used_twice_while_handles_come_and_go_and_the_store_is_shut_down() {
    let mut alice = Device::on_disk(ALICE, "A");
    let settings = json!({ "maximum_rotation_period_msgs": 10_000, "reserve_ahead": 7 });
    ok(alice.outbound(Some(&settings)).session_id());
    let bob = Device::new(BOB, "B");
    let room = Recipients::of(&[&bob]).encryption("rotation_period_msgs", json!(10_000));
    keys_to_send(&alice.stored_outbound(), &room);
    let mut before = HashSet::new();
    for round in 0..12 {
        let sent = Sent::default();
        let open = || OutboundMegolmSession::create_from_storage(&alice.account, ROOM, None);
        std::thread::scope(|scope| {
            // The second one keeps its handle in every other round: otherwise all are freed often.
            scope.spawn(|| sent.write(open, false));
            scope.spawn(|| sent.write(open, round % 2 == 0));
            scope.spawn(|| sent.write(open, false));
            scope.spawn(|| {
                while sent.0.lock().expect("no panic").len() < 60 {
                    std::thread::yield_now();
                }
                ok(alice.store.shut_down());
            });
        });
        let sent = sent.0.into_inner().expect("no panic");
        let highest = sent.iter().map(|(_, index)| *index).max().expect("messages");
        for used in sent {
            assert!(before.insert(used.clone()), "{used:?} is used twice"); // SEC-112
        }
        alice.reopen();
        // All messages went through one live state: what the shut-down wrote is the next index.
        assert_eq!(next_index(&alice), highest + 1);
    }
}
