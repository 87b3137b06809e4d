//! Channels from vodozemac's session pickles.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{Device, fails, fails_saying, v};
use matrixe2ee::{Account, OlmChannel, Result, Store};
use serde_json::json;
use vodozemac::olm::{OlmMessage, Session};

const KEY: [u8; 32] = [3; 32];

/// Bob as he was before he used the library, with sessions that Alice started.
struct Before {
    alice: RawDevice,
    bob: RawDevice,
    /// Alice's and Bob's end of each session, one message sent in it.
    sessions: Vec<(Session, Session)>,
}

impl Before {
    fn new(count: usize) -> Self {
        let mut before = Self {
            alice: RawDevice::new("@alice:a.org", "ALICE"),
            bob: RawDevice::new("@bob:b.org", "BOB"),
            sessions: Vec::new(),
        };
        (0..count).for_each(|_| before.add());
        before
    }

    fn add(&mut self) {
        let key = self.bob.one_time_key();
        let key = key.as_object().unwrap().values().next().unwrap()["key"].as_str().unwrap();
        let config = vodozemac::olm::SessionConfig::version_1();
        let key = vodozemac::Curve25519PublicKey::from_base64(key).unwrap();
        let bobs_key = self.bob.account.curve25519_key();
        let mut alices = self.alice.account.create_outbound_session(config, bobs_key, key).unwrap();
        let OlmMessage::PreKey(message) = alices.encrypt("{}").unwrap() else { unreachable!() };
        let from = message.identity_key();
        let bobs = self.bob.account.create_inbound_session(config, from, &message).unwrap();
        self.sessions.push((alices, bobs.session));
    }

    fn account(&self, store: &Store) -> Arc<Account> {
        let pickle = self.bob.account.pickle().encrypt(&KEY);
        let key = KEY.to_vec();
        Account::from_vodozemac_pickle(store, "@bob:b.org", "BOB", &pickle, key).unwrap()
    }

    fn pickles(&self, range: std::ops::Range<usize>) -> String {
        let encrypt = |(_, bobs): &(Session, Session)| bobs.pickle().encrypt(&KEY);
        let pickles: Vec<_> = self.sessions[range].iter().map(encrypt).collect();
        json!(pickles).to_string()
    }

    fn import(&self, account: &Account, pickles: &str) -> Result<Arc<OlmChannel>> {
        let (user, key) = (self.alice.user_id, self.alice.identity_key());
        OlmChannel::from_vodozemac_pickles(account, user, &key, pickles, KEY.to_vec())
    }

    /// Whether the channel decrypts what Alice says in a session.
    fn heard_in(&mut self, channel: &OlmChannel, bob: &Device, session: usize) -> bool {
        let content = self.alice.say(&mut self.sessions[session].0, bob);
        channel.decrypt(&content).is_ok()
    }
}

fn device(before: &Before, store: Arc<Store>) -> Device {
    before.account(&store);
    Device::open_in(store, "@bob:b.org", "BOB")
}

fn in_memory() -> Arc<Store> {
    Store::in_memory(vec![7; 32]).unwrap()
}

#[test]
fn imported_sessions_decrypt_and_their_order_is_kept() {
    let directory = SqliteDirectory::new();
    let mut before = Before::new(3);
    let bob = device(&before, directory.open());
    let channel = before.import(&bob.account, &before.pickles(0..3)).unwrap();
    assert_eq!(channel.session_count().unwrap(), 3);
    // D26: no fingerprint is known, and none is guessed.
    assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "unknown");
    fails(channel.encrypt("m.dummy", "{}"), "UNKNOWN_FINGERPRINT"); // D25
    let keys = before.alice.device_keys().to_string();
    channel.set_partner_device_keys(&keys).unwrap();
    // O9: oldest first, so the last one encrypts.
    let reply = before.alice.unpack(&channel.encrypt("m.dummy", "{}").unwrap());
    before.sessions[2].0.decrypt(&reply).unwrap();
    assert!(before.heard_in(&channel, &bob, 0));
    // Durable when it returned
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    let key = before.alice.identity_key();
    let channel = OlmChannel::create_from_storage(&after.account, "@alice:a.org", &key).unwrap();
    assert_eq!(v(&channel.partner().unwrap())["fingerprint"], "device_keys"); // D26: stored
    for session in 0..3 {
        assert!(before.heard_in(&channel, &after, session));
    }
}

#[test]
fn an_existing_channel_receives_the_sessions_that_it_lacks_as_older_ones() {
    let mut before = Before::new(3);
    let bob = device(&before, in_memory());
    let channel = before.import(&bob.account, &before.pickles(2..3)).unwrap();
    assert!(before.heard_in(&channel, &bob, 2));
    let again = before.import(&bob.account, &before.pickles(0..3)).unwrap();
    assert_eq!(again.session_count().unwrap(), 3);
    assert_eq!(channel.session_count().unwrap(), 3);
    // The session it had is neither replaced by its older state nor put behind.
    let reply = before.alice.unpack(&channel.encrypt("m.dummy", "{}").unwrap());
    before.sessions[2].0.decrypt(&reply).unwrap();
    for session in [0, 1, 2] {
        assert!(before.heard_in(&channel, &bob, session));
    }
    // The same pickles twice in a list are one session.
    let mut once = Before::new(1);
    let bob = device(&once, in_memory());
    let pickle = v(&once.pickles(0..1))[0].clone();
    let channel = once.import(&bob.account, &json!([pickle, pickle]).to_string()).unwrap();
    assert_eq!(channel.session_count().unwrap(), 1);
    assert!(once.heard_in(&channel, &bob, 0));
}

#[test]
fn of_more_than_eight_sessions_the_newest_are_kept() {
    let mut before = Before::new(10);
    let bob = device(&before, in_memory());
    let channel = before.import(&bob.account, &before.pickles(0..10)).unwrap();
    assert_eq!(channel.session_count().unwrap(), 8); // D24, SEC-38
    assert!(!before.heard_in(&channel, &bob, 1));
    for session in [9, 2] {
        assert!(before.heard_in(&channel, &bob, session));
    }
}

#[test]
fn pickles_that_do_not_belong_are_refused_and_nothing_is_stored() {
    let before = Before::new(2);
    let strangers = Before::new(1);
    let bob = device(&before, in_memory());
    let good = v(&before.pickles(0..1))[0].clone();
    let import = |pickles: String, key: Vec<u8>| {
        let (user, partner) = (before.alice.user_id, before.alice.identity_key());
        OlmChannel::from_vodozemac_pickles(&bob.account, user, &partner, &pickles, key)
    };
    for (pickles, key, name, says) in [
        (String::from("[]"), vec![3; 32], "INVALID_FIELD", "empty"),
        (String::from("{}"), vec![3; 32], "INVALID_FIELD", "list"),
        (json!([good, 5]).to_string(), vec![3; 32], "INVALID_FIELD", "text"),
        (json!([good, "?"]).to_string(), vec![3; 32], "INVALID_FIELD", "base64"),
        (json!([good]).to_string(), vec![3; 31], "INVALID_LENGTH", "32"), // O6
        (json!([good]).to_string(), vec![4; 32], "WRONG_KEY", "key"),
        // A session between two other devices
        (strangers.pickles(0..1), vec![3; 32], "INVALID_FIELD", "other devices"),
    ] {
        fails_saying(import(pickles, key), name, says);
        let key = before.alice.identity_key();
        fails(OlmChannel::create_from_storage(&bob.account, "@alice:a.org", &key), "NOT_FOUND");
    }
    import(json!([good]).to_string(), KEY.to_vec()).unwrap();
}

#[test]
fn a_session_that_was_started_here_has_one_channel_and_its_ratchet_is_not_used_twice() {
    let mut before = Before::new(0);
    let config = vodozemac::olm::SessionConfig::version_1();
    let key = before.alice.one_time_key();
    let key = key.as_object().unwrap().values().next().unwrap()["key"].as_str().unwrap();
    let key = vodozemac::Curve25519PublicKey::from_base64(key).unwrap();
    let partner = before.alice.account.curve25519_key();
    let session = before.bob.account.create_outbound_session(config, partner, key).unwrap();
    let pickles = json!([session.pickle().encrypt(&KEY)]).to_string();
    let bob = device(&before, in_memory());
    before.import(&bob.account, &pickles).unwrap();
    let carol = RawDevice::new("@carol:c.org", "CAROL").identity_key();
    let alice = before.alice.identity_key();
    for (user, key) in [("@alice:a.org", &carol), ("@carol:c.org", &alice)] {
        let from = OlmChannel::from_vodozemac_pickles;
        let imported = from(&bob.account, user, key, &pickles, KEY.to_vec());
        fails_saying(imported, "INVALID_FIELD", "another device");
        let stored = OlmChannel::create_from_storage(&bob.account, user, key);
        fails(stored, "NOT_FOUND");
    }
}

#[test]
fn a_session_that_made_room_for_another_does_not_come_back() {
    let mut before = Before::new(8);
    let one_time_key = before.bob.one_time_key();
    let directory = SqliteDirectory::new();
    let bob = device(&before, directory.open());
    let channel = before.import(&bob.account, &before.pickles(0..8)).unwrap();
    let mut ninth = before.alice.session_to(&bob, &one_time_key);
    channel.decrypt(&before.alice.say(&mut ninth, &bob)).unwrap();
    assert!(!before.heard_in(&channel, &bob, 0)); // D24, SEC-38
    channel.erase().unwrap();
    let after = Device::open_in(directory.crashed().open(), "@bob:b.org", "BOB");
    for number in [0, 1] {
        let pickle = before.pickles(number..number + 1);
        fails_saying(before.import(&after.account, &pickle), "ALREADY_EXISTS", "erased");
    }
    // What was never here still comes.
    before.add();
    let channel = before.import(&after.account, &before.pickles(0..9)).unwrap();
    assert_eq!(channel.session_count().unwrap(), 1);
}
