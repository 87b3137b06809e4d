//! Pickles of libolm's earlier versions, which vodozemac does not read, and of later ones.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::{Device, fails, fails_saying, libolm, unable, v};
use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, Result, Store};
use serde_json::{Value, json};

const SENDER_KEY: &str = "AEdWFuAujIA7TS/WmPcGfmE5EtYanO0FJ+McnuFf1hc";

fn fixture() -> Value {
    v(include_str!("fixtures/libolm_older.json"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn key(fixture: &Value) -> Vec<u8> {
    text(&fixture["pickle_key"]).as_bytes().to_vec()
}

fn in_memory() -> Arc<Store> {
    Store::in_memory(vec![7; 32]).unwrap()
}

fn account(fixture: &Value, store: &Store, version: &str) -> Result<Arc<Account>> {
    let pickle = text(&fixture["us"]["accounts"][version]);
    Account::from_libolm_pickle(store, "@old:example.org", "OLD", pickle, key(fixture))
}

/// What came to a key that the account had published.
fn receive(fixture: &Value, account: &Account, which: &str) -> Result<Value> {
    let message = &fixture["messages"][which];
    let channel = OlmChannel::create_from_encrypted_message(
        account,
        text(&message["user_id"]),
        text(&message["identity_key"]),
        &message["content"].to_string(),
        None,
        None,
    )?;
    Ok(v(&channel.first_event()?)["content"].clone())
}

#[test]
fn an_account_of_an_older_libolm_moves_in_with_the_keys_that_libolm_reads_from_it() {
    let fixture = fixture();
    for (version, fallback_keys) in [
        ("v2", &[][..]),
        ("v3_none", &[]),
        ("v3_one", &["current"]),
        ("v3", &["current", "previous"]),
        ("v4", &["current", "previous"]),
    ] {
        let store = in_memory();
        let account = account(&fixture, &store, version).unwrap();
        assert_eq!(account.identity_key().unwrap(), text(&fixture["us"]["identity_key"]));
        assert_eq!(account.fingerprint_key().unwrap(), text(&fixture["us"]["fingerprint"]));
        for which in ["current", "previous"] {
            let received = receive(&fixture, &account, which);
            if fallback_keys.contains(&which) {
                assert_eq!(received.unwrap(), json!({ "to": which }), "{version}");
            } else {
                unable(received, "no_matching_session");
            }
        }
        assert_eq!(receive(&fixture, &account, "one_time").unwrap(), json!({"to": "one_time"}));
        // SEC-21: the next IDs go on after libolm's.
        account.keys_upload_request().unwrap().unwrap();
        account.receive_keys_upload_response(200, "{}").unwrap();
        account.receive_key_counts("{}", None).unwrap();
        let body = v(&account.keys_upload_request().unwrap().unwrap());
        let number = |id: &String| {
            let id = id.strip_prefix("signed_curve25519:").unwrap();
            u64::from_be_bytes(vodozemac::base64_decode(id).unwrap().try_into().unwrap())
        };
        let keys = body["one_time_keys"].as_object().unwrap();
        assert!(keys.keys().map(number).min().unwrap() > 5, "{keys:?}");
    }
}

#[test]
fn an_account_that_an_older_libolm_wrote_moves_in_with_its_session() {
    let fixture = fixture();
    let nio = &fixture["nio"];
    let (pickle, key) = (text(&nio["account_v2"]), text(&nio["pickle_key"]).as_bytes().to_vec());
    assert_eq!(libolm::open(pickle, &key)[..4], 2_u32.to_be_bytes());
    let store = in_memory();
    let import = |key: Vec<u8>| {
        Account::from_libolm_pickle(&store, "@example:localhost", "DEVICEID", pickle, key)
    };
    fails(import(b"DEFAULT_KEZ".to_vec()), "WRONG_KEY");
    fails(import(Vec::new()), "WRONG_KEY");
    let account = import(key.clone()).unwrap();
    assert_eq!(account.identity_key().unwrap(), text(&nio["identity_key"]));
    assert_eq!(account.fingerprint_key().unwrap(), text(&nio["fingerprint"]));
    let pickles = json!([nio["olm_session"]]).to_string();
    let partner = text(&nio["sender_key"]);
    OlmChannel::from_libolm_pickles(&account, "@bob:localhost", partner, &pickles, key).unwrap();
}

#[test]
fn an_inbound_session_of_an_older_libolm_moves_in_and_decrypts() {
    let fixture = fixture();
    let room = text(&fixture["room_id"]);
    let event = json!({
        "event_id": "$1", "sender": "@z:example.org", "room_id": room,
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "session_id": fixture["session_id"],
            "ciphertext": fixture["ciphertext"],
        },
    });
    for version in ["v1", "v2"] {
        let us = Device::new("@us:example.org", "US");
        let pickle = text(&fixture["inbound"][version]);
        let from = InboundMegolmSession::from_libolm_pickle;
        fails(from(&us.account, room, SENDER_KEY, pickle, b"no".to_vec(), None), "WRONG_KEY");
        let session = from(&us.account, room, SENDER_KEY, pickle, key(&fixture), None).unwrap();
        assert_eq!(session.session_id().unwrap(), text(&fixture["session_id"]));
        let plain = v(&session.decrypt(&event.to_string()).unwrap());
        assert_eq!(plain["content"], json!({"n": 1}));
        let item = json!([{"kind": "inbound_megolm", "room_id": room, "sender_key": SENDER_KEY,
                           "pickle": pickle}]);
        let report = us.account.import_libolm_sessions(&item.to_string(), key(&fixture)).unwrap();
        assert_eq!(v(&report)["known"], 1);
    }
}

#[test]
fn a_pickle_of_a_newer_libolm_says_so_and_spoils_no_other() {
    let fixture = fixture();
    let store = in_memory();
    let error = fails(account(&fixture, &store, "v5"), "NEWER_FORMAT");
    let error = v(&error.to_json());
    assert_eq!((&error["found"], &error["supported"]), (&json!(5), &json!(4)));

    let us = Device::new("@us:example.org", "US");
    let (room, partner) = (text(&fixture["room_id"]), "@bob:example.org");
    let (pickle, key) = (text(&fixture["inbound"]["v5"]), key(&fixture));
    let from = InboundMegolmSession::from_libolm_pickle;
    let error =
        fails(from(&us.account, room, SENDER_KEY, pickle, key.clone(), None), "NEWER_FORMAT");
    assert_eq!(v(&error.to_json())["supported"], 2);
    let newer = libolm::seal(&[&6_u32.to_be_bytes()[..], &[0; 228]].concat(), &key);
    let items = json!([
        {"kind": "inbound_megolm", "room_id": room, "sender_key": SENDER_KEY, "pickle": pickle},
        {"kind": "olm", "user_id": partner, "identity_key": SENDER_KEY, "pickle": newer},
        {"kind": "outbound_megolm", "room_id": room, "pickle": newer},
        {"kind": "inbound_megolm", "room_id": room, "sender_key": SENDER_KEY,
         "pickle": fixture["inbound"]["v2"]},
    ]);
    let report = v(&us.account.import_libolm_sessions(&items.to_string(), key).unwrap());
    assert_eq!(report["imported"], 1, "{report}");
    let failed = report["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 3);
    assert!(failed.iter().all(|failed| failed["error"]["name"] == "NEWER_FORMAT"), "{report}");
}

#[test]
fn what_no_libolm_reads_is_no_account() {
    let fixture = fixture();
    let store = in_memory();
    // libolm itself: the keys of such an account have leaked.
    fails_saying(account(&fixture, &store, "v1"), "INVALID_FIELD", "version 1");
    for version in ["v3_long", "v2_short"] {
        fails_saying(account(&fixture, &store, version), "INVALID_FIELD", "account");
    }
    // Every length, and every number of keys, with a MAC that fits.
    let key = key(&fixture);
    let import = |bytes: &[u8]| {
        let pickle = libolm::seal(bytes, &key);
        Account::from_libolm_pickle(&store, "@x:example.org", "X", &pickle, key.clone())
    };
    for version in ["v2", "v3"] {
        let good = libolm::open(text(&fixture["us"]["accounts"][version]), &key);
        for length in 0..good.len() {
            fails(import(&good[..length]), "INVALID_FIELD");
        }
        for count in [0, 2, 4, 5, 6, u32::MAX / 69 + 4, u32::MAX] {
            let mut other = good.clone();
            other[164..168].copy_from_slice(&count.to_be_bytes());
            fails(import(&other), "INVALID_FIELD");
        }
        import(&good).unwrap().erase().unwrap();
    }
    for bytes in [&[][..], &[0; 3], &[0; 4], &[0; 400]] {
        fails(import(bytes), "INVALID_FIELD");
    }
}
