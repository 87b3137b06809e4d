//! Accounts: identity, many in one store, import, closing, erasing and the clock.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex, OnceLock};

use common::sqlite::SqliteDirectory;
use common::{Device, TestClock, connected, fails, fails_saying, v};
use matrixe2ee::{
    Account, Clock, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Result,
    Store, verify_signed_json,
};
use serde_json::{Value, json};
use vodozemac::olm::Account as RawAccount;

#[test]
fn device_keys_are_signed_by_the_device_and_name_it_and_its_algorithms() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let text = alice.device_keys();
    let keys = v(&text);
    assert_eq!(keys["user_id"], "@alice:a.org");
    assert_eq!(keys["device_id"], "ALICE");
    // O1
    assert_eq!(keys["algorithms"], json!(["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"]));
    assert_eq!(keys["keys"]["curve25519:ALICE"], json!(alice.identity_key()));
    assert_eq!(keys["keys"]["ed25519:ALICE"], json!(alice.fingerprint_key()));
    // SEC-3
    verify_signed_json(&text, "@alice:a.org", "ed25519:ALICE", &alice.fingerprint_key()).unwrap();
    assert_eq!(alice.device_keys(), text);
}

#[test]
fn an_account_is_made_once_and_found_again_also_after_a_crash() {
    let directory = SqliteDirectory::new();
    let store = directory.open();
    let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
    let again = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
    assert_eq!(again.device_keys().unwrap(), account.device_keys().unwrap());
    let crashed = directory.crashed().open();
    let recovered = Account::open(&crashed, "@alice:a.org", "ALICE").unwrap();
    assert_eq!(recovered.device_keys().unwrap(), account.device_keys().unwrap());
}

#[test]
fn accounts_of_one_store_share_nothing() {
    let store = Store::in_memory(vec![7; 32]).unwrap();
    let names = [
        ("@alice:a.org", "PHONE"),
        ("@alice:a.org", "LAPTOP"),
        ("@bob:a.org", "PHONE"),
        ("@Alice:a.org", "PHONE"), // SEC-102: compared byte by byte
        ("@alice:a.org", "phone"),
    ];
    let accounts = names.map(|(user, device)| Account::open(&store, user, device).unwrap());
    let mut keys: Vec<_> = accounts.iter().map(|a| a.identity_key().unwrap()).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 5);
    // Uploads and erasing concern one of them.
    accounts[0].keys_upload_request().unwrap().unwrap();
    let body = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
    accounts[0].receive_keys_upload_response(200, body).unwrap();
    assert!(accounts[0].keys_upload_request().unwrap().is_none());
    assert!(accounts[1].keys_upload_request().unwrap().is_some());
    accounts[1].erase().unwrap();
    fails(accounts[1].identity_key(), "NOT_FOUND");
    assert_eq!(accounts[0].identity_key().unwrap(), keys_of(&store, names[0]));
    assert_eq!(accounts[2].identity_key().unwrap(), keys_of(&store, names[2]));
}

fn keys_of(store: &Store, (user, device): (&str, &str)) -> String {
    Account::open(store, user, device).unwrap().identity_key().unwrap()
}

#[test]
fn two_accounts_of_one_store_can_talk_to_each_other() {
    let store = Store::in_memory(vec![7; 32]).unwrap();
    let phone = Device::open_in(store.clone(), "@alice:a.org", "PHONE");
    let laptop = Device::open_in(store, "@alice:a.org", "LAPTOP");
    let to_laptop = phone.channel_to(&laptop);
    let first = to_laptop.encrypt("m.dummy", r#"{"a":1}"#).unwrap();
    let to_phone = laptop.receive_first(&phone, &first).unwrap();
    assert_eq!(v(&to_phone.first_event().unwrap())["content"], json!({"a": 1}));
    to_laptop.decrypt(&to_phone.encrypt("m.dummy", "{}").unwrap()).unwrap();
}

#[test]
fn ids_that_matrix_does_not_allow_open_no_account() {
    let store = Store::in_memory(vec![7; 32]).unwrap();
    let long = format!("@{}:a.org", "a".repeat(249));
    assert_eq!(long.len(), 256);
    for (user, device, says) in [
        ("alice:a.org", "ALICE", "user ID"), // SEC-102: the sigil
        ("@alice", "ALICE", "user ID"),      // SEC-102: a colon
        ("", "ALICE", "empty"),
        (long.as_str(), "ALICE", "255"),           // SEC-102
        ("@ali\u{0}ce:a.org", "ALICE", "control"), // SEC-102
        ("@ali\nce:a.org", "ALICE", "control"),
        ("@alice:a.org", "", "empty"),
        ("@alice:a.org", "A\u{7f}", "control"),
    ] {
        fails_saying(Account::open(&store, user, device), "INVALID_FIELD", says);
    }
    Account::open(&store, &long[1..].replacen('a', "@", 1), "ALICE").unwrap();
}

#[test]
fn a_mistyped_name_opens_no_account_where_one_is_expected() {
    let directory = SqliteDirectory::new();
    let store = directory.open();
    let existing = |user, device| Account::open_existing(&store, user, device);
    for _ in 0..2 {
        fails(existing("@alice:a.org", "ALICE"), "NOT_FOUND");
    }
    let opened = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
    for (user, device) in
        [("@alicf:a.org", "ALICE"), ("@alice:a.org", "alice"), ("@alice:a.org", "ALICE ")]
    {
        fails(existing(user, device), "NOT_FOUND");
    }
    fails(existing("alice", "ALICE"), "INVALID_FIELD");
    let again = existing("@alice:a.org", "ALICE").unwrap();
    assert_eq!(again.identity_key().unwrap(), opened.identity_key().unwrap());
    // One live state, and nothing was created beside it.
    let body = opened.keys_upload_request().unwrap();
    assert_eq!(again.keys_upload_request().unwrap(), body);
    let key = opened.identity_key().unwrap();
    drop((opened, again, store));
    let store = directory.open();
    let after = Account::open_existing(&store, "@alice:a.org", "ALICE").unwrap();
    assert_eq!(after.identity_key().unwrap(), key);
    after.erase().unwrap();
    fails(Account::open_existing(&store, "@alice:a.org", "ALICE"), "NOT_FOUND");
    store.shut_down().unwrap();
    fails(Account::open_existing(&store, "@alice:a.org", "ALICE"), "STORE_CLOSED");
}

/// The names in an object, in order.
fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

// mautrix-go drops a device whose signed keys hold anything that it does not know.
#[test]
fn what_is_signed_of_our_keys_has_the_fields_of_the_specification_and_no_other() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let own_signature = |object: &Value| {
        assert_eq!(names(&object["signatures"]), ["@alice:a.org"]);
        assert_eq!(names(&object["signatures"]["@alice:a.org"]), ["ed25519:ALICE"]);
    };
    let body = alice.upload();
    assert_eq!(names(&body), ["device_keys", "fallback_keys", "one_time_keys"]);
    let bob = Device::new("@bob:b.org", "BOB");
    let mut raw = common::raw::RawDevice::new("@carol:c.org", "CAROL");
    let (keys, key) = (raw.device_keys(), raw.one_time_key());
    let channel =
        OlmChannel::create_outbound_channel(&alice.account, &keys.to_string(), &key.to_string())
            .unwrap();
    let (_, plaintext) = raw.receive_first(&channel.encrypt("m.dummy", "{}").unwrap());
    for keys in [&body["device_keys"], &v(&alice.device_keys()), &plaintext["sender_device_keys"]] {
        assert_eq!(names(keys), ["algorithms", "device_id", "keys", "signatures", "user_id"]);
        assert_eq!(names(&keys["keys"]), ["curve25519:ALICE", "ed25519:ALICE"]);
        own_signature(keys);
    }
    let (one_time, fallback) = (&body["one_time_keys"], &body["fallback_keys"]);
    for key in one_time.as_object().unwrap().values() {
        assert_eq!(names(key), ["key", "signatures"]);
        own_signature(key);
    }
    for key in fallback.as_object().unwrap().values() {
        assert_eq!(names(key), ["fallback", "key", "signatures"]);
        assert_eq!(key["fallback"], json!(true));
        own_signature(key);
    }
    assert_eq!(names(&v(&bob.device_keys())), names(&body["device_keys"]));
}

#[test]
fn a_vodozemac_account_is_imported_with_its_keys_and_uploads_its_device_keys_again() {
    let mut raw = RawAccount::new();
    raw.generate_one_time_keys(3);
    raw.mark_keys_as_published();
    let keys = raw.identity_keys();
    let pickle = raw.pickle().encrypt(&[3; 32]);
    let store = Store::in_memory(vec![7; 32]).unwrap();
    let import = |pickle: &str, key: Vec<u8>| {
        Account::from_vodozemac_pickle(&store, "@alice:a.org", "ALICE", pickle, key)
    };
    fails_saying(import(&pickle, vec![3; 31]), "INVALID_LENGTH", "32"); // O6
    fails_saying(import(&pickle, vec![4; 32]), "WRONG_KEY", "key");
    fails_saying(import("@@@", vec![3; 32]), "INVALID_FIELD", "base64");
    fails(import("", vec![3; 32]), "WRONG_KEY");
    let account = import(&pickle, vec![3; 32]).unwrap();
    assert_eq!(account.identity_key().unwrap(), keys.curve25519.to_base64());
    assert_eq!(account.fingerprint_key().unwrap(), keys.ed25519.to_base64());
    fails(import(&pickle, vec![3; 32]), "ALREADY_EXISTS");

    // One-time keys only once the server has said how many it holds.
    let first = v(&account.keys_upload_request().unwrap().unwrap());
    assert!(first["device_keys"].is_object() && first.get("one_time_keys").is_none(), "{first}");
    account.receive_keys_upload_response(200, "{}").unwrap();
    account.receive_key_counts(r#"{"signed_curve25519":3}"#, None).unwrap();
    let second = v(&account.keys_upload_request().unwrap().unwrap());
    let new = second["one_time_keys"].as_object().unwrap();
    assert_eq!(new.len(), 47);
    // SEC-21: the IDs go on after those of before the import.
    assert!(!new.contains_key("signed_curve25519:AAAAAAAAAAI"), "{new:?}");
    assert!(new.contains_key("signed_curve25519:AAAAAAAAAAM"), "{new:?}");
}

#[test]
fn a_message_to_a_key_from_before_the_import_is_decrypted_after_it() {
    let mut bob = common::raw::RawDevice::new("@bob:b.org", "BOB");
    let key = bob.one_time_key();
    let alice = Device::new("@alice:a.org", "ALICE");
    let keys = bob.device_keys().to_string();
    let channel =
        OlmChannel::create_outbound_channel(&alice.account, &keys, &key.to_string()).unwrap();
    let first = channel.encrypt("m.dummy", "{}").unwrap();
    let store = Store::in_memory(vec![7; 32]).unwrap();
    let pickle = bob.account.to_libolm_pickle(b"any length").unwrap();
    let import = |key: &[u8]| {
        let (user, device) = ("@bob:b.org", "BOB");
        Account::from_libolm_pickle(&store, user, device, &pickle, key.to_vec())
    };
    fails(import(b"another"), "WRONG_KEY");
    let account = import(b"any length").unwrap();
    let key = alice.identity_key();
    OlmChannel::create_from_encrypted_message(&account, "@alice:a.org", &key, &first, None, None)
        .unwrap()
        .first_event()
        .unwrap();
}

#[test]
fn two_handles_on_one_account_share_one_live_state() {
    let alice = Device::new("@alice:a.org", "ALICE");
    let other = Account::open(&alice.store, "@alice:a.org", "ALICE").unwrap();
    let body = alice.account.keys_upload_request().unwrap();
    assert_eq!(other.keys_upload_request().unwrap(), body);
    other.receive_keys_upload_response(200, "{}").unwrap();
    fails_saying(alice.account.receive_keys_upload_response(200, "{}"), "INVALID_FIELD", "open");
}

#[test]
fn after_shut_down_every_handle_says_that_the_store_is_closed() {
    let (alice, bob, to_bob, _) = connected();
    let outbound = OutboundMegolmSession::create(&alice.account, "!r", None).unwrap();
    let inbound = InboundMegolmSession::from_outbound_session(&outbound).unwrap();
    let (store, account) = (&alice.store, &alice.account);
    let own = alice.identity_key();
    let pickle = RawAccount::new().pickle().encrypt(&[3; 32]);
    let libolm = RawAccount::new().to_libolm_pickle(b"key").unwrap();
    store.shut_down().unwrap();
    store.shut_down().unwrap();
    let keys = bob.device_keys();
    let error = json!({"code": 503, "name": "STORE_CLOSED"});
    let answers: Vec<std::result::Result<(), E2eeError>> = vec![
        store.set_clock(TestClock::new()),
        Account::open(store, "@alice:a.org", "NEW").map(drop),
        Account::from_vodozemac_pickle(store, "@a:a.org", "A", &pickle, vec![3; 32]).map(drop),
        Account::from_libolm_pickle(store, "@a:a.org", "A", &libolm, b"key".to_vec()).map(drop),
        account.user_id().map(drop),
        account.device_id().map(drop),
        account.identity_key().map(drop),
        account.fingerprint_key().map(drop),
        account.device_keys().map(drop),
        account.keys_upload_request().map(drop),
        account.receive_keys_upload_response(200, "{}"),
        account.receive_key_counts("{}", None),
        account.sign_json("{}").map(drop),
        account.list_sessions(None, None, None).map(drop),
        account.import_libolm_sessions("[]", Vec::new()).map(drop),
        account.import_sessions("[]").map(drop),
        account.erase(),
        OlmChannel::create_from_storage(account, "@bob:b.org", &bob.identity_key()).map(drop),
        OlmChannel::create_outbound_channel(account, &keys, "{}").map(drop),
        OlmChannel::create_from_encrypted_message(account, "@b:b.org", &own, "{}", None, None)
            .map(drop),
        OlmChannel::from_vodozemac_pickles(account, "@b:b.org", &own, "[]", vec![3; 32]).map(drop),
        OlmChannel::from_libolm_pickles(account, "@b:b.org", &own, "[]", vec![3]).map(drop),
        to_bob.first_event().map(drop),
        to_bob.add_outbound_olm_session("{}"),
        to_bob.encrypt("m.dummy", "{}").map(drop),
        to_bob.decrypt("{}").map(drop),
        to_bob.session_count().map(drop),
        to_bob.set_partner_device_keys(&keys),
        to_bob.partner().map(drop),
        to_bob.should_create_new_session().map(drop),
        to_bob.erase(),
        OutboundMegolmSession::create(account, "!r", None).map(drop),
        OutboundMegolmSession::from_libolm_pickle(account, "!r", "p", vec![3]).map(drop),
        outbound.encrypt("m.room.message", "{}").map(drop),
        OutboundMegolmSession::create_from_storage(account, "!r", None).map(drop),
        outbound.session_id().map(drop),
        outbound.message_index().map(drop),
        outbound.get_session_key_for_sending("{}").map(drop),
        outbound.mark_as_sent("[]"),
        outbound.invalidate(),
        InboundMegolmSession::from_outbound_session(&outbound).map(drop),
        outbound.erase(),
        InboundMegolmSession::from_room_key(account, "@b:b.org", &own, "{}").map(drop),
        InboundMegolmSession::from_export(account, "{}", None).map(drop),
        InboundMegolmSession::from_libolm_pickle(account, "!r", &own, "p", vec![3], None).map(drop),
        InboundMegolmSession::from_storage(account, "!r", "id", None).map(drop),
        inbound.decrypt("{}").map(drop),
        inbound.decrypt_many("[]").map(drop),
        inbound.sender_key().map(drop),
        inbound.authenticated().map(drop),
        inbound.first_known_index().map(drop),
        inbound.export_at(None).map(drop),
        inbound.session_id().map(drop),
        inbound.erase(),
    ];
    for (position, answer) in answers.into_iter().enumerate() {
        let found = v(&answer.expect_err(&format!("answer {position}")).to_json());
        for field in ["code", "name"] {
            assert_eq!(found[field], error[field], "answer {position}: {found}");
        }
    }
}

#[test]
fn an_erased_account_is_gone_for_all_its_handles_and_leaves_nothing_behind() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let bob = Device::new("@bob:b.org", "BOB");
    let channel = alice.channel_to(&bob);
    let identity_key = alice.identity_key();
    let other = Account::open(&alice.store, "@alice:a.org", "ALICE").unwrap();
    other.erase().unwrap();
    fails(alice.account.identity_key(), "NOT_FOUND");
    fails(other.erase(), "NOT_FOUND");
    fails(channel.encrypt("m.dummy", "{}"), "NOT_FOUND");
    fails(channel.first_event(), "NOT_FOUND");
    for store in [&alice.store, &directory.crashed().open()] {
        let anew = Account::open(store, "@alice:a.org", "ALICE").unwrap();
        assert_ne!(anew.identity_key().unwrap(), identity_key);
        let found = OlmChannel::create_from_storage(&anew, "@bob:b.org", &bob.identity_key());
        fails(found, "NOT_FOUND");
    }
}

#[test]
fn a_failing_clock_fails_the_call_that_needs_it_and_changes_nothing() {
    let (alice, bob) = (Device::new("@alice:a.org", "ALICE"), Device::new("@bob:b.org", "BOB"));
    let channel = alice.channel_to(&bob);
    let first = channel.encrypt("m.dummy", "{}").unwrap();
    bob.clock.set(-1);
    alice.clock.set(-1);
    fails_saying(bob.account.keys_upload_request(), "CLOCK_FAILED", "clock");
    fails(bob.account.receive_key_counts("{}", None), "CLOCK_FAILED");
    fails(bob.receive_first(&alice, &first), "CLOCK_FAILED");
    fails(OutboundMegolmSession::create(&bob.account, "!r", None), "CLOCK_FAILED");
    // What needs no time works on.
    channel.encrypt("m.dummy", "{}").unwrap();
    bob.clock.set(common::START);
    bob.receive_first(&alice, &first).unwrap().first_event().unwrap();
}

/// A clock that calls back into the library.
struct MeddlingClock {
    account: OnceLock<Arc<Account>>,
    answers: Mutex<Vec<String>>,
}

impl Clock for MeddlingClock {
    fn now_ms(&self) -> Result<i64> {
        if let Some(account) = self.account.get() {
            let answer = account.identity_key().unwrap_err().name().to_owned();
            self.answers.lock().unwrap().push(answer);
        }
        Ok(common::START)
    }
}

#[test]
fn a_clock_that_calls_back_into_the_library_is_told_that_it_is_busy() {
    let store = Store::in_memory(vec![7; 32]).unwrap();
    let clock =
        Arc::new(MeddlingClock { account: OnceLock::new(), answers: Mutex::new(Vec::new()) });
    store.set_clock(clock.clone()).unwrap();
    let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
    assert!(clock.account.set(account.clone()).is_ok());
    account.keys_upload_request().unwrap();
    assert!(clock.answers.lock().unwrap().iter().all(|name| name == "BUSY"));
    assert!(!clock.answers.lock().unwrap().is_empty());
    assert!(account.identity_key().is_ok());
}
