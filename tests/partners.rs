//! Whom a channel is with: never with the own device, and with one set of keys, whatever ID their
//! device goes by.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{Device, fails, fails_saying, unable, v};
use matrixe2ee::{Account, OlmChannel};
use serde_json::{Value, json};
use vodozemac::olm::SessionConfig;

const PICKLE_KEY: [u8; 32] = [9; 32];

fn alice() -> Device {
    Device::new("@alice:a.org", "ALICE")
}

fn entry(keys: &[Value]) -> String {
    keys[0].to_string()
}

#[test]
fn an_account_has_no_channel_with_itself() {
    let alice = alice();
    let (keys, one_time_keys) = (alice.device_keys(), alice.one_time_keys());
    let refused = |result: matrixe2ee::Result<std::sync::Arc<OlmChannel>>| {
        let error = fails_saying(result, "INVALID_FIELD", "own device");
        assert_eq!(v(&error.to_json())["field"], "partner");
    };
    let own = alice.identity_key();
    refused(OlmChannel::create_outbound_channel(&alice.account, &keys, &entry(&one_time_keys)));
    // By its keys under another name, and by its name with other keys.
    let as_bob = RawDevice::new("@bob:b.org", "BOB");
    let mut stolen = as_bob.unsigned_device_keys();
    stolen["keys"]["curve25519:BOB"] = json!(own);
    let (stolen, key) = (as_bob.sign(stolen), as_bob.sign(json!({"key": own})));
    let key = json!({"signed_curve25519:AAAA": key});
    let (stolen, key) = (stolen.to_string(), key.to_string());
    refused(OlmChannel::create_outbound_channel(&alice.account, &stolen, &key));
    let mut double = RawDevice::new("@alice:a.org", "ALICE");
    let (double_keys, key) = (double.device_keys().to_string(), double.one_time_key().to_string());
    refused(OlmChannel::create_outbound_channel(&alice.account, &double_keys, &key));

    let create = |user: &str, key: &str, device: Option<&str>| {
        let content = json!({"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": key,
                             "ciphertext": {&own: {"type": 0, "body": "AAAA"}}});
        let (content, device) = (content.to_string(), device.map(str::to_owned));
        OlmChannel::create_from_encrypted_message(&alice.account, user, key, &content, device, None)
    };
    refused(create("@alice:a.org", &own, None));
    refused(create("@bob:b.org", &own, None));
    refused(create("@alice:a.org", &double.identity_key(), Some("ALICE")));

    // A session of the own device with itself, as another library let it make one.
    let mut raw = RawDevice::new("@alice:a.org", "OLD");
    let account = raw.account.pickle().encrypt(&PICKLE_KEY);
    let open = Account::from_vodozemac_pickle;
    let old = open(&alice.store, raw.user_id, raw.device_id, &account, PICKLE_KEY.into()).unwrap();
    let key = raw.one_time_key();
    let key = key.as_object().unwrap().values().next().unwrap()["key"].as_str().unwrap().to_owned();
    let key = vodozemac::Curve25519PublicKey::from_base64(&key).unwrap();
    let own = raw.account.curve25519_key();
    let session =
        raw.account.create_outbound_session(SessionConfig::version_1(), own, key).unwrap();
    let pickles = json!([session.pickle().encrypt(&PICKLE_KEY)]).to_string();
    let own = own.to_base64();
    for user in ["@alice:a.org", "@bob:b.org"] {
        let imported =
            OlmChannel::from_vodozemac_pickles(&old, user, &own, &pickles, PICKLE_KEY.into());
        refused(imported);
        refused(OlmChannel::from_libolm_pickles(&old, user, &own, "[\"AAAA\"]", b"key".into()));
        let item = json!([{"kind": "olm", "user_id": user, "identity_key": own, "pickle": "AAAA"}]);
        let report = old.import_libolm_sessions(&item.to_string(), b"key".into()).unwrap();
        assert_eq!(v(&report)["failed"][0]["error"]["field"], "partner");
        fails(OlmChannel::create_from_storage(&old, user, &own), "NOT_FOUND");
    }
    // Another device of the own user is as good as any.
    let laptop = Device::new("@alice:a.org", "LAPTOP");
    alice.channel_to(&laptop);
}

/// One device under two IDs, as a new login of an old store makes it.
struct TwoLogins {
    first: RawDevice,
    second: RawDevice,
}

impl TwoLogins {
    fn new() -> Self {
        let first = RawDevice::new("@bob:b.org", "X1");
        let account = vodozemac::olm::Account::from_pickle(first.account.pickle());
        Self { first, second: RawDevice { user_id: "@bob:b.org", device_id: "X2", account } }
    }
}

fn device_id(channel: &OlmChannel) -> Value {
    v(&channel.partner().unwrap())["device_id"].clone()
}

#[test]
fn the_device_id_of_a_channel_follows_the_device_keys() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let TwoLogins { mut first, mut second } = TwoLogins::new();
    let (keys, key) = (first.device_keys().to_string(), first.one_time_key().to_string());
    let channel = OlmChannel::create_outbound_channel(&alice.account, &keys, &key).unwrap();
    let key = second.one_time_key().to_string();
    // As before: a key that is signed under another ID than the one known.
    fails(channel.add_outbound_olm_session(&key), "BAD_SIGNATURE");
    channel.set_partner_device_keys(&second.device_keys().to_string()).unwrap();
    channel.add_outbound_olm_session(&key).unwrap();
    let after = Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE");
    let (user, identity_key) = (second.user_id, second.identity_key());
    let stored = OlmChannel::create_from_storage(&after.account, user, &identity_key).unwrap();
    for channel in [&channel, &stored] {
        let partner = v(&channel.partner().unwrap());
        assert_eq!(partner["device_id"], "X2");
        assert_eq!(partner["fingerprint_key"], json!(first.fingerprint_key()));
    }
    // SEC-4: its fingerprint may not change, under whichever ID.
    for id in ["X1", "X2", "X3"] {
        let other = RawDevice::new("@bob:b.org", id);
        let mut keys = other.unsigned_device_keys();
        keys["keys"][format!("curve25519:{id}")] = json!(identity_key);
        let keys = other.sign(keys).to_string();
        fails(channel.set_partner_device_keys(&keys), "MISMATCHED_FINGERPRINT");
    }
    // Nor may it take the name of this device.
    let (user_id, device_id) = ("@alice:a.org", "ALICE");
    let account = vodozemac::olm::Account::from_pickle(first.account.pickle());
    let double = RawDevice { user_id, device_id, account }.device_keys().to_string();
    fails(channel.set_partner_device_keys(&double), "INVALID_FIELD");
    assert_eq!(v(&channel.partner().unwrap())["device_id"], "X2");
}

/// A message that carries its sender's device keys.
fn with_device_keys(from: &RawDevice, to: &Device, keys: &Value) -> Vec<u8> {
    let mut plaintext = from.plaintext_for(to);
    plaintext["sender_device_keys"] = keys.clone();
    plaintext.to_string().into_bytes()
}

#[test]
fn a_message_is_read_whatever_id_its_sender_has_now() {
    let alice = alice();
    let TwoLogins { first, second } = TwoLogins::new();
    let key = alice.one_time_keys().remove(0);
    let mut session = first.session_to(&alice, &key);
    let plaintext = with_device_keys(&first, &alice, &first.device_keys());
    let message = first.encrypt(&mut session, &alice, &plaintext);
    let (user, identity_key) = (first.user_id, first.identity_key());
    let channel = OlmChannel::create_from_encrypted_message(
        &alice.account,
        user,
        &identity_key,
        &message,
        None,
        None,
    )
    .unwrap();
    assert_eq!(device_id(&channel), "X1");
    let plaintext = with_device_keys(&second, &alice, &second.device_keys());
    channel.decrypt(&second.encrypt(&mut session, &alice, &plaintext)).unwrap();
    assert_eq!(device_id(&channel), "X2");
    // What the caller says counts more than what a message says.
    channel.set_partner_device_keys(&first.device_keys().to_string()).unwrap();
    channel.decrypt(&second.encrypt(&mut session, &alice, &plaintext)).unwrap();
    assert_eq!(device_id(&channel), "X1");
    // S9, SEC-33: another fingerprint key is still refused, and so is this device's own name.
    let other = RawDevice::new("@bob:b.org", "X2");
    let mut keys = other.unsigned_device_keys();
    keys["keys"]["curve25519:X2"] = json!(identity_key);
    let plaintext = with_device_keys(&second, &alice, &other.sign(keys));
    let message = second.encrypt(&mut session, &alice, &plaintext);
    fails(channel.decrypt(&message), "INVALID_MESSAGE");
    unable(channel.decrypt(&message), "missing_message_key");
    assert_eq!(device_id(&channel), "X1");
}

#[test]
fn a_device_id_from_a_message_is_stored_with_it() {
    let directory = SqliteDirectory::new();
    let alice = Device::open_in(directory.open(), "@alice:a.org", "ALICE");
    let TwoLogins { first, second } = TwoLogins::new();
    let key = alice.one_time_keys().remove(0);
    let mut session = first.session_to(&alice, &key);
    let (user, key) = (first.user_id, first.identity_key());
    let message = first.say(&mut session, &alice);
    let channel =
        OlmChannel::create_from_encrypted_message(&alice.account, user, &key, &message, None, None)
            .unwrap();
    assert_eq!(device_id(&channel), Value::Null);
    for device in [&first, &second] {
        let plaintext = with_device_keys(device, &alice, &device.device_keys());
        channel.decrypt(&device.encrypt(&mut session, &alice, &plaintext)).unwrap();
        let after = Device::open_in(directory.crashed().open(), "@alice:a.org", "ALICE");
        let stored = OlmChannel::create_from_storage(&after.account, user, &key).unwrap();
        assert_eq!(device_id(&stored), device.device_id);
    }
}
