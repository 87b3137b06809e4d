//! What is stored, listed in pages: inbound sessions and channels (issue 10, section 1).
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "common/rooms.rs"]
mod rooms;

use matrixe2ee::{InboundMegolmSession, OlmChannel};
use rooms::*;
use serde_json::{Value, json};

const OTHER: &str = "!other:example.org";

fn ids(list: &Value, field: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

/// All pages of so many sessions.
fn paged(device: &Device, room: Option<&str>, limit: u32) -> Vec<(String, String)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let room = room.map(str::to_owned);
        let page = answer(device.account.list_sessions(room, after, Some(limit)));
        let (sessions, rooms) = (ids(&page, "session_id"), ids(&page, "room_id"));
        after = sessions.last().cloned();
        let is_last = sessions.len() < limit as usize;
        all.extend(sessions.into_iter().zip(rooms));
        if is_last {
            return all;
        }
    }
}

fn key_for(raw: &RawSession, room_id: &str) -> Value {
    let mut key = raw.room_key();
    key["room_id"] = json!(room_id);
    key
}

fn erase(device: &Device, (session_id, room_id): &(String, String)) {
    ok(InboundMegolmSession::from_storage(&device.account, room_id, session_id, None)
        .and_then(|session| session.erase()));
}

fn check_pages(device: &Device, expected: &[(String, String)]) {
    for limit in [1, 7, 56, 60, 61, 10_000] {
        assert_eq!(paged(device, None, limit), expected);
        for room in [ROOM, OTHER, "!small", "!none"] {
            let of_room: Vec<_> = expected.iter().filter(|(_, id)| id == room).cloned().collect();
            assert_eq!(paged(device, Some(room), limit), of_room);
        }
    }
}

#[test]
fn sessions_are_listed_in_the_order_of_their_ids_page_by_page() {
    let (alice, mut bob) = (Device::new(ALICE, "A"), Device::on_disk(BOB, "B"));
    let mut expected = Vec::new();
    for number in 0..60 {
        let raw = RawSession::new();
        let room_id = [ROOM, OTHER, "!small"][number % 7 % 3];
        ok(bob.receive(&alice, &key_for(&raw, room_id)));
        expected.push((raw.id(), room_id.to_owned()));
    }
    expected.sort();
    check_pages(&bob, &expected);
    // As if nobody had said how many.
    assert_eq!(bob.sessions().as_array().unwrap().len(), 60);
    for at in [50, 31, 30, 0] {
        erase(&bob, &expected.remove(at));
    }
    check_pages(&bob, &expected);
    bob.reopen();
    check_pages(&bob, &expected);
    // Behind what is no session's ID, too.
    let middle = format!("{}~", &expected[20].0[..20]);
    let page = answer(bob.account.list_sessions(None, Some(middle.clone()), Some(3)));
    let behind = expected.iter().filter(|(id, _)| *id > middle).take(3);
    assert!(ids(&page, "session_id").iter().eq(behind.map(|(id, _)| id)));
}

#[test]
fn a_session_id_that_stands_in_many_rooms_is_not_divided_between_pages() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raws: Vec<_> = (0..5).map(|_| RawSession::new()).collect();
    raws.sort_by_key(RawSession::id);
    let mut expected = Vec::new();
    for (number, raw) in raws.iter().enumerate() {
        for room in 0..if number == 2 { 20 } else { 1 } {
            let room_id = format!("!room{room:02}");
            ok(bob.receive(&alice, &key_for(raw, &room_id)));
            expected.push((raw.id(), room_id));
        }
    }
    let page = |after: Option<&RawSession>, limit| {
        let page = answer(bob.account.list_sessions(None, after.map(RawSession::id), Some(limit)));
        ids(&page, "session_id").into_iter().zip(ids(&page, "room_id")).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2), expected[..2]);
    assert_eq!(page(None, 3), expected[..22]);
    assert_eq!(page(Some(&raws[1]), 1), expected[2..22]);
    assert_eq!(page(Some(&raws[2]), 1), expected[22..23]);
    assert_eq!(page(None, 100), expected);
}

#[test]
fn a_page_has_between_one_and_ten_thousand_items_and_begins_behind_an_id() {
    let bob = Device::new(BOB, "B");
    for limit in [0, 10_001, u32::MAX] {
        let sessions = bob.account.list_sessions(None, None, Some(limit));
        assert_eq!(error_field(sessions, "field"), "limit");
        assert_eq!(error_field(bob.account.list_channels(None, Some(limit)), "field"), "limit");
    }
    let long = Some("x".repeat(256));
    assert_eq!(error_field(bob.account.list_sessions(None, long.clone(), None), "field"), "after");
    assert_eq!(error_field(bob.account.list_channels(long, None), "field"), "after");
    let no_room = bob.account.list_sessions(Some("room".to_owned()), None, None);
    assert_eq!(error_field(no_room, "field"), "room_id");
    for after in ["", "~", "\u{1}", "ä\u{10ffff}"] {
        let after = Some(after.to_owned());
        assert_eq!(answer(bob.account.list_sessions(None, after.clone(), Some(10_000))), json!([]));
        assert_eq!(answer(bob.account.list_channels(after, Some(1))), json!([]));
    }
}

#[test]
fn accounts_of_one_store_do_not_list_each_other_and_one_that_is_erased_leaves_nothing() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut phone = bob.again();
    phone.account = ok(matrixe2ee::Account::open(&bob.store, BOB, "PHONE"));
    let (one, two) = (RawSession::new(), RawSession::new());
    ok(bob.receive(&alice, &one.room_key()));
    ok(phone.receive(&alice, &two.room_key()));
    let listed = |device: &Device| ids(&device.sessions(), "session_id");
    assert_eq!((listed(&bob), listed(&phone)), (vec![one.id()], vec![two.id()]));
    ok(phone.account.erase());
    assert_eq!(listed(&bob), [one.id()]);
    phone.account = ok(matrixe2ee::Account::open(&bob.store, BOB, "PHONE"));
    assert_eq!(listed(&phone), Vec::<String>::new());
    assert_eq!(answer(phone.account.list_channels(None, None)), json!([]));
}

#[test]
fn channels_are_listed_in_the_order_of_their_identity_keys_with_what_is_known_of_them() {
    let alice = Device::new(ALICE, "A");
    let mut expected = Vec::new();
    for number in 0..12 {
        let user_id = format!("@user{number}:example.org");
        let other = Device::new(&user_id, "D");
        let upload = answer(other.account.keys_upload_request().map(Option::unwrap));
        let key = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
        let key = json!({key.0: key.1}).to_string();
        ok(OlmChannel::create_outbound_channel(&alice.account, &other.keys().to_string(), &key));
        expected.push((other.identity_key(), user_id));
    }
    expected.sort();
    let all = answer(alice.account.list_channels(None, None));
    let names: Vec<_> = ids(&all, "identity_key").into_iter().zip(ids(&all, "user_id")).collect();
    assert_eq!(names, expected);
    let first = &all[0];
    assert_eq!(first["device_id"], "D");
    assert_eq!(first["fingerprint"], "device_keys");
    assert_eq!(first["session_count"], 1);
    assert!(first["last_used_ms"].as_i64().is_some_and(|last| last > 0));
    let mut after = None;
    for expected in expected.chunks(5) {
        let page = answer(alice.account.list_channels(after, Some(5)));
        assert!(ids(&page, "user_id").iter().eq(expected.iter().map(|(_, user)| user)));
        after = ids(&page, "identity_key").pop();
    }
    // What the program deletes is gone.
    let (key, user_id) = expected.remove(3);
    ok(OlmChannel::create_from_storage(&alice.account, &user_id, &key)
        .and_then(|channel| channel.erase()));
    let left = answer(alice.account.list_channels(None, None));
    assert!(ids(&left, "identity_key").iter().eq(expected.iter().map(|(key, _)| key)));
}
