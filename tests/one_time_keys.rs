//! Private one-time keys that stay unused: how long they are kept, and what they cost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{Device, TestClock, key_ids, unable, upload_request, v};
use matrixe2ee::{Account, OlmChannel, Result, Store, StoreBackend, StoreChange, StoreEntry};
use serde_json::{Value, json};
use vodozemac::KeyId;
use vodozemac::olm::Account as RawAccount;

const PICKLE_KEY: [u8; 32] = [3; 32];

/// What a sender claims.
fn claimed(key: &vodozemac::Curve25519PublicKey) -> Value {
    json!({"signed_curve25519:AAAAAA": {"key": key.to_base64()}})
}

/// A first message from a stranger to a key of a device.
fn knock(key: &Value, bob: &Device) -> (String, String) {
    let stranger = RawDevice::new("@alice:a.org", "ALICE");
    let message = stranger.say(&mut stranger.session_to(bob, key), bob);
    (stranger.identity_key(), message)
}

fn receive(bob: &Device, (sender, message): &(String, String)) -> Result<Arc<OlmChannel>> {
    let (account, user) = (&bob.account, "@alice:a.org");
    OlmChannel::create_from_encrypted_message(account, user, sender, message, None, None)
}

/// The server says that it has no keys left, and gets as many as there may be.
fn upload_anew(bob: &Device) -> Vec<Value> {
    bob.account.receive_key_counts("{}", None).unwrap();
    bob.one_time_keys()
}

/// An account of vodozemac with so many keys, the first ones of them published, in their order.
fn raw_account(published: usize, unpublished: usize) -> (RawAccount, Vec<Value>) {
    let mut account = RawAccount::new();
    let mut keys: BTreeMap<KeyId, Value> = BTreeMap::new();
    for count in [published, unpublished] {
        account.mark_keys_as_published();
        account.generate_one_time_keys(count);
        keys.extend(account.one_time_keys().iter().map(|(id, key)| (*id, claimed(key))));
    }
    (account, keys.into_values().collect())
}

fn import(store: Arc<Store>, account: &RawAccount) -> Device {
    let clock = TestClock::new();
    store.set_clock(clock.clone()).unwrap();
    let pickle = account.pickle().encrypt(&PICKLE_KEY);
    let key = PICKLE_KEY.to_vec();
    let account = Account::from_vodozemac_pickle(&store, "@bob:b.org", "BOB", &pickle, key);
    Device { store, account: account.unwrap(), clock }
}

#[test]
fn each_of_many_unused_keys_opens_one_channel_however_old_it_is() {
    let directory = SqliteDirectory::new();
    let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
    let keys: Vec<Value> = (0..16).flat_map(|_| upload_anew(&bob)).collect();
    assert_eq!(keys.len(), 800);
    let (now, later) = ([0, 1, 90, 399, 799], [2, 91, 400, 798]);
    for at in now {
        let first = knock(&keys[at], &bob);
        receive(&bob, &first).unwrap(); // SEC-23
        unable(receive(&bob, &knock(&keys[at], &bob)), "no_matching_session"); // O23
    }
    // In the same commit as the session: after a crash, too.
    let bob = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    for at in now {
        unable(receive(&bob, &knock(&keys[at], &bob)), "no_matching_session"); // O23
    }
    for at in later {
        receive(&bob, &knock(&keys[at], &bob)).unwrap();
    }
    assert_eq!(v(&bob.store.problems().unwrap()), json!([]));
}

#[test]
fn an_altered_message_to_an_old_key_uses_nothing_up() {
    let bob = Device::new("@bob:b.org", "BOB");
    let keys: Vec<Value> = (0..4).flat_map(|_| upload_anew(&bob)).collect();
    let (sender, good) = knock(&keys[0], &bob);
    let mut altered = v(&good);
    let body = &mut altered["ciphertext"][bob.identity_key()]["body"];
    let mut bytes = vodozemac::base64_decode(body.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *body = json!(vodozemac::base64_encode(bytes));
    unable(receive(&bob, &(sender.clone(), altered.to_string())), "bad_mac"); // SEC-31
    receive(&bob, &(sender, good)).unwrap();
}

#[test]
fn an_imported_account_keeps_all_its_keys_and_offers_fifty() {
    let (raw, keys) = raw_account(400, 300);
    let bob = import(Store::in_memory(vec![7; 32]).unwrap(), &raw);
    let offered = upload_request(&bob.account);
    assert_eq!(key_ids(&offered).len(), 50);
    let newest = keys[699].as_object().unwrap().values().next().unwrap();
    let offered: Vec<&Value> = offered["one_time_keys"].as_object().unwrap().values().collect();
    assert!(offered.iter().any(|key| key["key"] == newest["key"]));
    for at in [0, 399, 400, 649, 650, 699] {
        receive(&bob, &knock(&keys[at], &bob)).unwrap();
    }
}

#[test]
fn the_oldest_keys_are_given_up_only_for_five_thousand_newer_ones() {
    let (raw, keys) = raw_account(5_000, 0);
    let bob = import(Store::in_memory(vec![7; 32]).unwrap(), &raw);
    // Nothing is given up for less.
    receive(&bob, &knock(&keys[0], &bob)).unwrap();
    let newer: Vec<Value> = (0..13).flat_map(|_| upload_anew(&bob)).collect();
    let all: Vec<&Value> = keys.iter().chain(&newer).collect();
    assert_eq!(all.len(), 5_650);
    unable(receive(&bob, &knock(all[1], &bob)), "no_matching_session");
    for at in [650, 2_000, 4_999, 5_000, 5_649] {
        receive(&bob, &knock(all[at], &bob)).unwrap(); // SEC-23
    }
    assert_eq!(v(&bob.store.problems().unwrap()), json!([]));
}

type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

/// Counts the bytes that are written.
#[derive(Default)]
struct Counting {
    records: Mutex<Records>,
    written: Mutex<usize>,
}

impl StoreBackend for Counting {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        Ok(self.records.lock().unwrap().get(&(collection, key)).cloned())
    }

    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>> {
        let records = self.records.lock().unwrap();
        Ok(records
            .iter()
            .filter(|((name, key), _)| *name == collection && Some(key) > after_key.as_ref())
            .take(limit.try_into().unwrap())
            .map(|((_, key), value)| StoreEntry { key: key.clone(), value: value.clone() })
            .collect())
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        let mut records = self.records.lock().unwrap();
        for StoreChange { collection, key, value } in changes {
            if let Some(value) = value {
                *self.written.lock().unwrap() += value.len();
                records.insert((collection, key), value);
            } else {
                records.remove(&(collection, key));
            }
        }
        Ok(())
    }
}

/// What a new channel writes with so many keys unused.
fn written_with(unused: usize) -> usize {
    let (raw, keys) = raw_account(unused, 0);
    let backend = Arc::new(Counting::default());
    let bob = import(Store::foreign(backend.clone(), vec![7; 32]).unwrap(), &raw);
    // Whatever is set aside is by now.
    receive(&bob, &knock(&keys[unused - 1], &bob)).unwrap();
    let message = knock(&keys[unused - 2], &bob);
    *backend.written.lock().unwrap() = 0;
    receive(&bob, &message).unwrap();
    *backend.written.lock().unwrap()
}

#[test]
fn a_new_channel_writes_no_more_with_five_thousand_unused_keys_than_with_a_hundred() {
    let (few, many) = (written_with(100), written_with(5_000));
    assert!(many <= few, "{few} bytes with 100 keys, {many} with 5,000");
    assert!(few < 16 * 1024, "{few} bytes");
}
