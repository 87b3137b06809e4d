//! Moving all of libolm's sessions in with one call: what it reports, that it can be interrupted,
//! and that it takes anything.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::sqlite::SqliteDirectory;
use common::{Device, entries, fails, libolm, v};
use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store};
use proptest::prelude::*;
use rand::RngExt;
use serde_json::{Value, json};
use vodozemac::megolm::GroupSession;

const ROOM: &str = "!room:example.org";
const KEY: &[u8] = b"pickle key";

fn fixture() -> Value {
    v(include_str!("fixtures/libolm_sessions.json"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn fixture_key(fixture: &Value) -> Vec<u8> {
    text(&fixture["pickle_key"]).as_bytes().to_vec()
}

/// The fixture's device with its account and none of its sessions.
fn moved(fixture: &Value, store: Arc<Store>) -> Device {
    let (user, device) = (text(&fixture["us"]["user_id"]), text(&fixture["us"]["device_id"]));
    let (pickle, key) = (text(&fixture["us"]["account"]), fixture_key(fixture));
    Account::from_libolm_pickle(&store, user, device, pickle, key).unwrap();
    Device::open_in(store, user, device)
}

fn in_memory() -> Arc<Store> {
    Store::in_memory(vec![7; 32]).unwrap()
}

/// The Olm sessions of the fixture as items of the list.
fn olm_items(fixture: &Value) -> Vec<Value> {
    let them = &fixture["them"];
    let item = |pickle: &Value| {
        json!({"kind": "olm", "user_id": them["user_id"],
               "identity_key": them["identity_key"], "pickle": pickle})
    };
    fixture["us"]["sessions"].as_array().unwrap().iter().map(item).collect()
}

fn inbound_item(room_id: &str, pickle: &str) -> Value {
    // Any key will do.
    let sender_key = "AEdWFuAujIA7TS/WmPcGfmE5EtYanO0FJ+McnuFf1hc";
    json!({"kind": "inbound_megolm", "room_id": room_id, "sender_key": sender_key,
           "pickle": pickle})
}

/// Inbound sessions as libolm would pickle them, and their IDs.
fn many(count: usize) -> (Vec<Value>, BTreeSet<String>) {
    (0..count)
        .map(|_| {
            let session = GroupSession::new(Default::default());
            let pickle = libolm::inbound_pickle(&session, KEY);
            (inbound_item(ROOM, &pickle), session.session_id())
        })
        .unzip()
}

fn stored(account: &Account) -> BTreeSet<String> {
    let sessions = v(&account.list_sessions(Some(ROOM.to_owned()), None, Some(10_000)).unwrap());
    let ids = sessions.as_array().unwrap().iter();
    ids.map(|session| text(&session["session_id"]).to_owned()).collect()
}

/// Imports and compares the four numbers; gives the failures.
#[track_caller]
fn import(account: &Account, items: &[Value], key: &[u8], numbers: [usize; 4]) -> Vec<Value> {
    let report = account.import_libolm_sessions(&json!(items).to_string(), key.to_vec()).unwrap();
    let report = v(&report);
    let found = ["imported", "merged", "known", "surplus"].map(|name| &report[name]);
    assert_eq!(found, numbers.map(|number| json!(number)).each_ref(), "{report}");
    let failed = report["failed"].as_array().unwrap().clone();
    assert_eq!(numbers.iter().sum::<usize>() + failed.len(), items.len());
    failed
}

#[test]
fn sessions_of_all_kinds_move_in_with_one_call_and_the_same_call_again_changes_nothing() {
    let fixture = fixture();
    let directory = SqliteDirectory::new();
    let device = moved(&fixture, directory.open());
    let us = &fixture["us"];
    let mut items = olm_items(&fixture);
    let room = text(&fixture["room_id"]);
    items.push(inbound_item(room, text(&us["inbound_from_4"])));
    items.push(inbound_item(room, text(&us["inbound"])));
    items.push(json!({"kind": "outbound_megolm", "room_id": fixture["our_room_id"],
                      "pickle": us["outbound"]}));
    let key = fixture_key(&fixture);
    // The second copy of the inbound session reaches farther back than the first.
    assert!(import(&device.account, &items, &key, [5, 1, 0, 0]).is_empty());
    let after = Device::open_in(directory.crashed().open(), text(&us["user_id"]), "MOVING");
    for account in [&device.account, &after.account] {
        assert!(import(account, &items, &key, [0, 0, 6, 0]).is_empty());
        let (user, partner) = (&fixture["them"]["user_id"], &fixture["them"]["identity_key"]);
        let open = OlmChannel::create_from_storage;
        let channel = open(account, text(user), text(partner)).unwrap();
        assert_eq!(channel.session_count().unwrap(), 3);
        let waiting = fixture["waiting"][0]["content"].to_string();
        channel.decrypt(&waiting).unwrap();
        let listed = v(&account.list_sessions(None, None, None).unwrap());
        assert_eq!(listed[0]["first_known_index"], 0);
        let room = text(&fixture["our_room_id"]);
        let outbound = OutboundMegolmSession::create_from_storage(account, room, None).unwrap();
        assert_eq!(outbound.message_index().unwrap(), 3);
    }
}

#[test]
fn what_was_used_since_is_not_put_back_and_open_handles_see_what_is_new() {
    let fixture = fixture();
    let device = moved(&fixture, in_memory());
    let (key, items) = (fixture_key(&fixture), olm_items(&fixture));
    import(&device.account, &items[2..], &key, [1, 0, 0, 0]);
    let (user, partner) = (&fixture["them"]["user_id"], &fixture["them"]["identity_key"]);
    let open = OlmChannel::create_from_storage;
    let channel = open(&device.account, text(user), text(partner)).unwrap();
    let waiting = fixture["waiting"][0]["content"].to_string();
    channel.decrypt(&waiting).unwrap();
    let room = text(&fixture["room_id"]);
    let later = inbound_item(room, text(&fixture["us"]["inbound_from_4"]));
    let whole = inbound_item(room, text(&fixture["us"]["inbound"]));
    import(&device.account, &[later], &key, [1, 0, 0, 0]);
    let session_id = text(&fixture["room_key"]["session_id"]);
    let open = InboundMegolmSession::from_storage;
    let session = open(&device.account, room, session_id, None).unwrap();
    assert_eq!(session.first_known_index().unwrap(), 4);

    import(&device.account, &items, &key, [2, 0, 1, 0]);
    import(&device.account, &[whole], &key, [0, 1, 0, 0]);
    assert_eq!(channel.session_count().unwrap(), 3);
    common::unable(channel.decrypt(&waiting), "missing_message_key");
    assert_eq!(session.first_known_index().unwrap(), 0);
    // The session that was there stays the one that encrypts: the others are older.
    let keys = fixture["them"]["device_keys"].to_string();
    channel.set_partner_device_keys(&keys).unwrap();
    let pickle = text(&fixture["them"]["sessions"][2]);
    let mut partner = vodozemac::olm::Session::from_libolm_pickle(pickle, &key).unwrap();
    let sent = v(&channel.encrypt("m.dummy", "{}").unwrap());
    let sent = &sent["ciphertext"][text(&fixture["them"]["identity_key"])];
    let message: vodozemac::olm::OlmMessage = serde_json::from_value(sent.clone()).unwrap();
    partner.decrypt(&message).unwrap();
}

#[test]
fn a_session_that_fails_spoils_no_other_and_is_named() {
    let fixture = fixture();
    let device = moved(&fixture, in_memory());
    let key = fixture_key(&fixture);
    let olm = olm_items(&fixture);
    let inbound = inbound_item(ROOM, text(&fixture["us"]["inbound"]));
    let with = |item: &Value, field: &str, value: Value| {
        let mut item = item.clone();
        item[field] = value;
        item
    };
    let foreign = libolm::seal(&libolm::open(text(&fixture["us"]["inbound"]), &key), KEY);
    let items = [
        json!(5),                                                                // 0
        with(&olm[0], "kind", json!("pk")),                                      // 1
        with(&olm[0], "user_id", json!("them")),                                 // 2
        with(&olm[0], "identity_key", json!("?")),                               // 3
        with(&olm[0], "pickle", json!("?")),                                     // 4
        olm[0].clone(),                                                          // 5: good
        with(&olm[1], "identity_key", fixture["third"]["identity_key"].clone()), // 6
        inbound.clone(),                                                         // 7: good
        with(&inbound, "room_id", json!("!other:example.org")),                  // 8: SEC-44
        with(&inbound, "pickle", json!(foreign)),                                // 9
        with(&inbound, "sender_user_id", json!("them")),                         // 10
        json!({"kind": "outbound_megolm", "room_id": ROOM}),                     // 11
        json!({"kind": "inbound_megolm", "room_id": ROOM, "pickle": "?"}),       // 12
        olm[0].clone(), // 13: known by then
    ];
    let failed = import(&device.account, &items, &key, [3, 0, 1, 0]);
    let found: Vec<_> =
        failed.iter().map(|f| (f["index"].as_u64().unwrap(), text(&f["error"]["name"]))).collect();
    let expected = [
        (0, "INVALID_FIELD"),
        (1, "INVALID_FIELD"),
        (2, "INVALID_FIELD"),
        (3, "INVALID_KEY"),
        (4, "INVALID_FIELD"),
        (6, "INVALID_FIELD"),
        (9, "WRONG_KEY"),
        (10, "INVALID_FIELD"),
        (11, "INVALID_FIELD"),
        (12, "INVALID_FIELD"),
    ];
    assert_eq!(found, expected);
    let call = |list: &str| device.account.import_libolm_sessions(list, key.clone());
    fails(call("{}"), "INVALID_FIELD");
    fails(call("[{]"), "INVALID_JSON");
    assert_eq!(v(&call("[]").unwrap())["imported"], 0);
    device.account.erase().unwrap();
    fails(call("[]"), "NOT_FOUND");
}

#[test]
fn of_a_channel_with_too_many_sessions_the_newest_stay_whatever_stands_between_them() {
    // The same session under other IDs: libolm's pickle begins with the keys that make the ID.
    let fixture = fixture();
    let device = moved(&fixture, in_memory());
    let key = fixture_key(&fixture);
    let olm = olm_items(&fixture);
    let plaintext = libolm::open(text(&olm[2]["pickle"]), &key);
    let variant = |number: u8| {
        let mut plaintext = plaintext.clone();
        plaintext[5 + 64] ^= number; // a byte of the one-time key
        let mut item = olm[2].clone();
        item["pickle"] = json!(libolm::seal(&plaintext, &key));
        item
    };
    // More than a chunk between the first and the others
    let mut items = vec![variant(1)];
    items.extend(many(1_200).0.into_iter().map(|mut item| {
        let plaintext = libolm::open(text(&item["pickle"]), KEY);
        item["pickle"] = json!(libolm::seal(&plaintext, &key));
        item
    }));
    items.extend((2..=10).map(variant));
    assert!(import(&device.account, &items, &key, [1_208, 0, 0, 2]).is_empty()); // D24, SEC-38
    // The two oldest were left out, and are again.
    assert!(import(&device.account, &items[..1], &key, [0, 0, 0, 1]).is_empty());
    assert!(import(&device.account, &[variant(3)], &key, [0, 0, 1, 0]).is_empty());
    let (user, partner) = (&fixture["them"]["user_id"], &fixture["them"]["identity_key"]);
    let open = OlmChannel::create_from_storage;
    let channel = open(&device.account, text(user), text(partner)).unwrap();
    assert_eq!(channel.session_count().unwrap(), 8);
}

#[test]
fn imports_at_the_same_time_share_the_work() {
    let device = Device::open_in(in_memory(), "@us:example.org", "MOVING");
    let (items, ids) = many(2_500);
    let list = json!(items).to_string();
    let reports: Vec<Value> = std::thread::scope(|scope| {
        let import = || v(&device.account.import_libolm_sessions(&list, KEY.to_vec()).unwrap());
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(import)).collect();
        // Other calls go on between the chunks.
        (0..100).for_each(|_| drop(device.account.sign_json("{}").unwrap()));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |name: &str| reports.iter().map(|report| report[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("imported"), sum("known")), (2_500, 5_000));
    assert_eq!(stored(&device.account), ids);
}

#[test]
fn ten_thousand_sessions_take_linear_time() {
    let directory = SqliteDirectory::new();
    let device = Device::open_in(directory.open(), "@us:example.org", "MOVING");
    let (items, ids) = many(10_000);
    let time = |items: &[Value], numbers: [usize; 4]| {
        let begin = Instant::now();
        assert!(import(&device.account, items, KEY, numbers).is_empty());
        begin.elapsed()
    };
    let first = time(&items[..1_000], [1_000, 0, 0, 0]);
    let others = time(&items[1_000..], [9_000, 0, 0, 0]);
    let again = time(&items, [0, 0, 10_000, 0]);
    println!("the first 1,000: {first:?}; 9,000 more: {others:?}; all again: {again:?}");
    // Nine times as many; quadratic work would take about a hundred times as long.
    assert!(others < first * 30 + Duration::from_secs(1), "{first:?}, then {others:?}");
    assert_eq!(stored(&device.account), ids);
}

const CHILD: &str = "MATRIXE2EE_IMPORT_STORE";

/// The child's part of the next test: imports what the parent has written beside the store.
fn import_until_killed(store: &str) {
    let items = std::fs::read_to_string(format!("{store}.items")).unwrap();
    let store = Store::open_sqlite(store, vec![7; 32]).unwrap();
    let account = Account::open(&store, "@us:example.org", "MOVING").unwrap();
    let report = account.import_libolm_sessions(&items, KEY.to_vec()).unwrap();
    println!("\n{report}");
}

#[test]
fn an_import_that_is_killed_again_and_again_loses_nothing_and_ends() {
    if let Ok(store) = std::env::var(CHILD) {
        return import_until_killed(&store);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.sqlite");
    let path = text_of(&path);
    let (items, ids) = many(6_000);
    std::fs::write(format!("{path}.items"), json!(items).to_string()).unwrap();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_import_that_is_killed_again_and_again_loses_nothing_and_ends"])
            .arg("--nocapture")
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut before = BTreeSet::new();
    let mut interrupted = 0;
    for kill in 0..15 {
        let mut child = start();
        std::thread::sleep(Duration::from_millis(rand::rng().random_range(5..400)));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open_sqlite(&path, vec![7; 32]).unwrap();
        let account = Account::open(&store, "@us:example.org", "MOVING").unwrap();
        let now = stored(&account);
        store.shut_down().unwrap();
        assert!(before.is_subset(&now), "kill {kill} lost a session");
        // A chunk is there as a whole, or not at all.
        assert_eq!(now.len() % 1_000, 0);
        if now.len() == ids.len() {
            break;
        }
        interrupted += usize::from(!now.is_empty());
        before = now;
    }
    println!("interrupted {interrupted} times on the way");
    let output = start().wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let report = v(output.lines().find(|line| line.starts_with('{')).unwrap());
    let sum = report["imported"].as_u64().unwrap() + report["known"].as_u64().unwrap();
    assert_eq!(sum, 6_000);
    assert_eq!(report["failed"], json!([]));
    let store = Store::open_sqlite(&path, vec![7; 32]).unwrap();
    let account = Account::open(&store, "@us:example.org", "MOVING").unwrap();
    assert_eq!(stored(&account), ids);
}

fn text_of(path: &std::path::Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// All that one may do with what a pickle made: it may fail, but must not panic.
fn use_everything(device: &Device, fixture: &Value, pickle: &str, key: &[u8]) -> usize {
    let account = &device.account;
    let (user, partner) = (text(&fixture["them"]["user_id"]), &fixture["them"]["identity_key"]);
    let mut made = 0;
    let pickles = json!([pickle]).to_string();
    let from = OlmChannel::from_libolm_pickles;
    if let Ok(channel) = from(account, user, text(partner), &pickles, key.to_vec()) {
        made += 1;
        channel.set_partner_device_keys(&fixture["them"]["device_keys"].to_string()).unwrap();
        let _ = channel.encrypt("m.dummy", "{}");
        for said in entries(&json!({"0": fixture["waiting"][0], "1": fixture["late"][6][0]})) {
            let said = said.as_object().unwrap().values().next().unwrap();
            let _ = channel.decrypt(&said["content"].to_string());
        }
        channel.erase().unwrap();
    }
    let from = InboundMegolmSession::from_libolm_pickle;
    if let Ok(session) = from(account, ROOM, text(partner), pickle, key.to_vec(), None) {
        made += 1;
        let event = json!({"event_id": "$e", "sender": user, "room_id": ROOM,
                           "content": fixture["events"][5]});
        let _ = session.decrypt(&event.to_string());
        let first = session.first_known_index().unwrap();
        session.export_at(Some(first)).unwrap();
        let _ = session.export_at(Some(u32::MAX));
        session.erase().unwrap();
    }
    let from = OutboundMegolmSession::from_libolm_pickle;
    if let Ok(session) = from(account, ROOM, pickle, key.to_vec()) {
        made += 1;
        let _ = session.encrypt("m.dummy", "{}");
        let inbound = InboundMegolmSession::from_outbound_session(&session).unwrap();
        inbound.erase().unwrap();
        session.erase().unwrap();
    }
    let store = in_memory();
    let from = Account::from_libolm_pickle;
    if let Ok(account) = from(&store, "@us:example.org", "OTHER", pickle, key.to_vec()) {
        made += 1;
        account.keys_upload_request().unwrap();
        account.sign_json("{}").unwrap();
    }
    made
}

fn pickles(fixture: &Value) -> Vec<String> {
    let us = &fixture["us"];
    let mut pickles = vec![&us["account"], &us["inbound"], &us["outbound"], &us["own_inbound"]];
    pickles.extend(us["sessions"].as_array().unwrap());
    pickles.into_iter().map(|pickle| text(pickle).to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_refused(text in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let fixture = fixture();
        let device = moved(&fixture, in_memory());
        for pickle in [text, vodozemac::base64_encode(bytes)] {
            prop_assert_eq!(use_everything(&device, &fixture, &pickle, b"key"), 0);
        }
    }

    /// Bytes that no libolm would write, with a good MAC: they may make something, which may
    /// fail in use, but nothing panics, and the next pickle is not harmed.
    #[test]
    fn any_bytes_with_a_good_mac_do_no_harm(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let fixture = fixture();
        let key = fixture_key(&fixture);
        let device = moved(&fixture, in_memory());
        let pickles = pickles(&fixture);
        let mut plaintext = libolm::open(which.get::<String>(&pickles), &key);
        for (at, byte) in changes {
            let at = at.index(plaintext.len());
            plaintext[at] = byte;
        }
        if let Some(cut) = cut {
            plaintext.truncate(cut.index(plaintext.len()));
        }
        use_everything(&device, &fixture, &libolm::seal(&plaintext, &key), &key);
        let items = olm_items(&fixture);
        // One of them may have been used and erased above: it does not come back.
        let list = json!(items).to_string();
        let report = v(&device.account.import_libolm_sessions(&list, key).unwrap());
        prop_assert_eq!(&report["failed"], &json!([]));
        let numbers = ["imported", "known"].map(|name| report[name].as_u64().unwrap());
        prop_assert!(numbers == [3, 0] || numbers == [2, 1], "{:?}", report);
    }
}
