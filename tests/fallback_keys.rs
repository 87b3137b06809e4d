//! The life of fallback keys, and replays of messages to them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{DAY, Device, HOUR, MINUTE, unable, v};
use matrixe2ee::{OlmChannel, Result};
use serde_json::Value;

const ALL_USED: &str = "[]";
const UNUSED: &str = r#"["signed_curve25519"]"#;

/// A device that keeps its keys on a server, and the fallback key that lies there.
fn bob() -> (Device, Value) {
    let bob = Device::new("@bob:b.org", "BOB");
    let fallback = bob.upload()["fallback_keys"].clone();
    (bob, fallback)
}

/// What /sync says: enough one-time keys, and these unused fallback keys.
fn sync(bob: &Device, unused: Option<&str>) {
    let counts = r#"{"signed_curve25519":50}"#;
    bob.account.receive_key_counts(counts, unused.map(String::from)).unwrap();
}

/// The fallback key that the next upload brings, if any.
fn next_fallback(bob: &Device) -> Option<Value> {
    let body = v(&bob.account.keys_upload_request().unwrap()?);
    let answer = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
    bob.account.receive_keys_upload_response(200, answer).unwrap();
    body.get("fallback_keys").cloned()
}

/// Rotates because the server reports the key used, and gives the new one.
fn rotate(bob: &Device) -> Value {
    sync(bob, Some(UNUSED));
    sync(bob, Some(ALL_USED));
    bob.clock.advance(HOUR); // the previous key's
    next_fallback(bob).unwrap()
}

/// A first message from someone new to a fallback key.
struct Knock {
    sender: RawDevice,
    content: String,
}

impl Knock {
    fn at(bob: &Device, fallback: &Value) -> Self {
        let sender = RawDevice::new("@alice:a.org", "ALICE");
        let mut session = sender.session_to(bob, fallback);
        let content = sender.say(&mut session, bob);
        Self { sender, content }
    }

    fn open(&self, bob: &Device) -> Result<Arc<OlmChannel>> {
        let (user, key) = (self.sender.user_id, self.sender.identity_key());
        OlmChannel::create_from_encrypted_message(
            &bob.account,
            user,
            &key,
            &self.content,
            None,
            None,
        )
    }
}

#[test]
fn a_fallback_key_is_replaced_when_the_server_reports_it_used() {
    let (bob, first) = bob();
    sync(&bob, Some(UNUSED));
    assert_eq!(next_fallback(&bob), None);
    sync(&bob, None); // the server does not say
    assert_eq!(next_fallback(&bob), None);
    sync(&bob, Some(ALL_USED));
    sync(&bob, Some(ALL_USED));
    sync(&bob, Some(r#"["new_kind"]"#)); // SEC-104
    // S7, SEC-24: once, however often the server says it
    let second = next_fallback(&bob).unwrap();
    assert_eq!(second.as_object().unwrap().len(), 1);
    assert_ne!(first, second);
    assert_eq!(next_fallback(&bob), None);
    sync(&bob, Some(UNUSED));
    assert_eq!(next_fallback(&bob), None);
}

#[test]
fn the_report_of_a_used_key_survives_a_crash() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let first = bob.upload()["fallback_keys"].clone();
    sync(&bob, Some(UNUSED));
    sync(&bob, Some(ALL_USED));
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    assert_ne!(next_fallback(&after).unwrap(), first); // SEC-24
}

#[test]
fn a_fallback_key_is_replaced_after_seven_days_used_or_not() {
    let (bob, first) = bob();
    bob.clock.advance(7 * DAY - 1);
    assert_eq!(next_fallback(&bob), None);
    bob.clock.advance(1);
    // SEC-24
    let second = next_fallback(&bob).unwrap();
    assert_ne!(first, second);
    bob.clock.advance(7 * DAY - 1);
    assert_eq!(next_fallback(&bob), None);
}

#[test]
fn an_unpublished_fallback_key_is_not_replaced_again() {
    let (bob, _) = bob();
    sync(&bob, Some(UNUSED));
    sync(&bob, Some(ALL_USED));
    let body = bob.account.keys_upload_request().unwrap();
    sync(&bob, Some(ALL_USED));
    bob.clock.advance(30 * DAY);
    assert_eq!(bob.account.keys_upload_request().unwrap(), body); // SEC-22
}

#[test]
fn the_previous_key_works_until_an_hour_after_the_first_use_of_the_new_one() {
    let (bob, first) = bob();
    let second = rotate(&bob);
    bob.clock.advance(3 * DAY);
    // S7: the new one was not used yet, so the old one still works.
    Knock::at(&bob, &first).open(&bob).unwrap().first_event().unwrap();
    Knock::at(&bob, &second).open(&bob).unwrap().first_event().unwrap();
    bob.clock.advance(HOUR - 1);
    sync(&bob, None);
    Knock::at(&bob, &first).open(&bob).unwrap().first_event().unwrap();
    // A second use does not prolong it.
    Knock::at(&bob, &second).open(&bob).unwrap();
    bob.clock.advance(1);
    sync(&bob, None);
    // S7, SEC-24
    unable(Knock::at(&bob, &first).open(&bob), "no_matching_session");
    Knock::at(&bob, &second).open(&bob).unwrap();
}

#[test]
fn the_previous_key_is_refused_after_its_hour_even_if_nothing_happened_in_between() {
    let (bob, first) = bob();
    let second = rotate(&bob);
    Knock::at(&bob, &second).open(&bob).unwrap();
    bob.clock.advance(HOUR);
    unable(Knock::at(&bob, &first).open(&bob), "no_matching_session"); // S7, SEC-24
}

#[test]
fn the_previous_key_is_forgotten_on_disk_too() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let first = bob.upload()["fallback_keys"].clone();
    let second = rotate(&bob);
    Knock::at(&bob, &second).open(&bob).unwrap();
    bob.clock.advance(HOUR);
    sync(&bob, None);
    // The clock of the reopened store stands where it began: nothing brings the key back.
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    unable(Knock::at(&after, &first).open(&after), "no_matching_session"); // S7
    Knock::at(&after, &second).open(&after).unwrap();
}

#[test]
fn at_most_two_fallback_keys_are_kept() {
    let (bob, first) = bob();
    let second = rotate(&bob);
    let third = rotate(&bob);
    unable(Knock::at(&bob, &first).open(&bob), "no_matching_session"); // SEC-24
    Knock::at(&bob, &second).open(&bob).unwrap();
    Knock::at(&bob, &third).open(&bob).unwrap();
}

#[test]
fn a_fallback_key_serves_many_senders() {
    let (bob, fallback) = bob();
    for _ in 0..5 {
        Knock::at(&bob, &fallback).open(&bob).unwrap().first_event().unwrap();
    }
    assert_eq!(next_fallback(&bob), None); // its private half is still there, and no new one made
}

#[test]
fn a_repeated_message_to_a_fallback_key_is_refused_by_its_session() {
    let (bob, fallback) = bob();
    let knock = Knock::at(&bob, &fallback);
    let channel = knock.open(&bob).unwrap();
    unable(channel.decrypt(&knock.content), "missing_message_key"); // D21, SEC-25, SEC-30
    assert_eq!(channel.session_count().unwrap(), 1);
}

#[test]
fn a_repeated_message_to_a_fallback_key_is_refused_when_its_channel_is_erased() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let fallback = bob.upload()["fallback_keys"].clone();
    let knock = Knock::at(&bob, &fallback);
    knock.open(&bob).unwrap().erase().unwrap();
    unable(knock.open(&bob), "missing_message_key"); // D21, SEC-25
    rotate(&bob);
    unable(knock.open(&bob), "missing_message_key"); // SEC-25: also to the previous key
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    unable(knock.open(&after), "missing_message_key"); // SEC-25: also after a crash
}

#[test]
fn a_repeated_message_to_a_fallback_key_is_refused_when_its_session_was_evicted() {
    let (bob, fallback) = bob();
    let keys = bob.account.sign_json("{}").unwrap(); // any use of the account
    assert!(!keys.is_empty());
    let sender = RawDevice::new("@alice:a.org", "ALICE");
    let mut messages = Vec::new();
    for _ in 0..9 {
        let mut session = sender.session_to(&bob, &fallback);
        messages.push(sender.say(&mut session, &bob));
    }
    let key = sender.identity_key();
    let channel = OlmChannel::create_from_encrypted_message(
        &bob.account,
        sender.user_id,
        &key,
        &messages[0],
        None,
        None,
    )
    .unwrap();
    for message in &messages[1..] {
        channel.decrypt(message).unwrap();
    }
    assert_eq!(channel.session_count().unwrap(), 8); // SEC-38: the first is gone
    unable(channel.decrypt(&messages[0]), "missing_message_key"); // D21, SEC-25
    assert_eq!(channel.session_count().unwrap(), 8);
}

/// How many sessions are on record as made from fallback keys.
fn guarded_sessions(directory: &SqliteDirectory) -> i64 {
    let copy = directory.crashed();
    let database = rusqlite::Connection::open(copy.path()).unwrap();
    let count = "SELECT count(*) FROM record WHERE collection = 'olm_fallback_session'";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

#[test]
fn the_guard_against_replays_forgets_the_sessions_of_forgotten_keys() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let mut fallback = bob.upload()["fallback_keys"].clone();
    for _ in 0..3 {
        Knock::at(&bob, &fallback).open(&bob).unwrap().erase().unwrap();
        bob.clock.advance(HOUR + MINUTE);
        fallback = rotate(&bob);
    }
    assert_eq!(guarded_sessions(&directory), 1); // the third key's, which is the previous one
    Knock::at(&bob, &fallback).open(&bob).unwrap();
    bob.clock.advance(HOUR);
    sync(&bob, None);
    assert_eq!(guarded_sessions(&directory), 1); // SEC-25: the fourth's
    rotate(&bob);
    rotate(&bob);
    assert_eq!(guarded_sessions(&directory), 0); // SEC-25: bounded, also by rotations alone
}

// The homeserver made this answer before the upload, and it came after it.
#[test]
fn a_sync_answer_from_before_an_upload_drops_no_key_that_is_in_use() {
    let (bob, first) = bob();
    let (early, late) = (Knock::at(&bob, &first), Knock::at(&bob, &first));
    sync(&bob, Some(ALL_USED));
    early.open(&bob).unwrap();
    let second = next_fallback(&bob).unwrap();
    bob.clock.advance(2_000);
    for _ in 0..3 {
        sync(&bob, Some(ALL_USED));
        assert_eq!(next_fallback(&bob), None); // SEC-24
    }
    bob.clock.advance(MINUTE);
    late.open(&bob).unwrap().first_event().unwrap();
    // It was the first key's report: the second is not used.
    sync(&bob, Some(UNUSED));
    assert_eq!(next_fallback(&bob), None);
    Knock::at(&bob, &second).open(&bob).unwrap();
}

#[test]
fn nothing_is_renewed_while_the_previous_key_is_in_its_hour() {
    let (bob, first) = bob();
    let second = rotate(&bob);
    sync(&bob, Some(UNUSED));
    Knock::at(&bob, &second).open(&bob).unwrap();
    sync(&bob, Some(ALL_USED));
    assert_eq!(next_fallback(&bob), None); // S7, SEC-24
    bob.clock.advance(HOUR - 1);
    assert_eq!(next_fallback(&bob), None);
    Knock::at(&bob, &first).open(&bob).unwrap();
    bob.clock.advance(1);
    let third = next_fallback(&bob).unwrap();
    unable(Knock::at(&bob, &first).open(&bob), "no_matching_session");
    Knock::at(&bob, &second).open(&bob).unwrap();
    Knock::at(&bob, &third).open(&bob).unwrap();
}

#[test]
fn the_hour_of_the_previous_key_begins_with_the_report_if_no_message_comes() {
    let (bob, first) = bob();
    rotate(&bob);
    sync(&bob, Some(UNUSED));
    bob.clock.advance(DAY);
    sync(&bob, Some(ALL_USED)); // claimed, and nothing sent
    assert_eq!(next_fallback(&bob), None);
    bob.clock.advance(HOUR - 1);
    sync(&bob, Some(ALL_USED));
    assert_eq!(next_fallback(&bob), None);
    Knock::at(&bob, &first).open(&bob).unwrap();
    bob.clock.advance(1);
    assert!(next_fallback(&bob).is_some()); // SEC-24
}

#[test]
fn a_key_that_is_used_before_the_server_listed_it_is_renewed_when_its_message_comes() {
    let (bob, first) = bob();
    sync(&bob, Some(ALL_USED)); // claimed between the upload and the first sync
    assert_eq!(next_fallback(&bob), None);
    Knock::at(&bob, &first).open(&bob).unwrap();
    assert!(next_fallback(&bob).is_some()); // S7
}

#[test]
fn a_key_that_is_seven_days_old_waits_for_the_hour_of_the_one_before() {
    let (bob, first) = bob();
    let second = rotate(&bob);
    bob.clock.advance(7 * DAY - MINUTE);
    Knock::at(&bob, &second).open(&bob).unwrap();
    bob.clock.advance(HOUR - 1);
    assert_eq!(next_fallback(&bob), None);
    Knock::at(&bob, &first).open(&bob).unwrap();
    bob.clock.advance(1);
    assert!(next_fallback(&bob).is_some()); // SEC-24
}

#[test]
fn what_is_known_of_a_fallback_key_survives_a_crash() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    bob.upload();
    sync(&bob, Some(UNUSED));
    let seen = directory.crashed();
    let after = Device::open_in(seen.open(), "@bob:b.org", "BOB");
    sync(&after, Some(ALL_USED));
    assert!(next_fallback(&after).is_some()); // SEC-24: it had been seen unused
    // The new key has not been, and still is not after a crash.
    sync(&after, Some(ALL_USED));
    let again = Device::open_in(seen.crashed().open(), "@bob:b.org", "BOB");
    sync(&again, Some(ALL_USED));
    assert_eq!(next_fallback(&again), None);
    sync(&again, Some(UNUSED));
    assert_eq!(next_fallback(&again), None);
}
