//! Channels that strangers make. Here a user has ten of them at most, and so has each of ten groups.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::json;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account as RawAccount, Session, SessionConfig};

use super::KEY;
use crate::base::environment::Clock;
use crate::base::json::{Object, encode_base64};
use crate::error::Result;
use crate::sessions::account::{Account, Page};
use crate::sessions::device_keys::DeviceKeys;
use crate::sessions::olm::{
    ChannelInfo, KnownPartner, OlmChannel, encrypt_for_devices, list_channels,
};
use crate::store::collections::OLM_SESSIONS;
use crate::store::{Store, Transaction};

const MOST: usize = super::super::strangers::MOST;

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now_ms(&self) -> Result<i64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// Alice, whom everybody may write to.
struct Alice {
    account: Arc<Account>,
    clock: Arc<TestClock>,
    fallback_key: Curve25519PublicKey,
}

impl Alice {
    fn new() -> Self {
        let store = Store::in_memory(&KEY).unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(1_700_000_000_000)));
        store.set_clock(Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let (user_id, device_id) = ("@alice:a.org".into(), "ALICE".into());
        let account = Arc::new(Account::open(&store, user_id, device_id).unwrap());
        let mut tx = account.begin().unwrap();
        let body = account.keys_upload_request(&mut tx).unwrap().unwrap();
        account.receive_keys_upload_response(&mut tx, 200, "{}").unwrap();
        tx.commit().unwrap();
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let key = body["fallback_keys"].as_object().unwrap().values().next().unwrap();
        let fallback_key = Curve25519PublicKey::from_base64(key["key"].as_str().unwrap()).unwrap();
        Self { account, clock, fallback_key }
    }

    fn wait(&self, ms: i64) {
        self.clock.0.fetch_add(ms, Ordering::SeqCst);
    }

    fn session_of(&self, device: &RawAccount) -> Session {
        let (config, key) = (SessionConfig::version_1(), *self.account.identity_public_key());
        device.create_outbound_session(config, key, self.fallback_key).unwrap()
    }

    fn message(&self, user_id: &str, device: &RawAccount, session: &mut Session) -> Object {
        let plaintext = json!({
            "type": "m.dummy", "content": {}, "sender": user_id,
            "recipient": "@alice:a.org",
            "recipient_keys": {"ed25519": self.account.fingerprint_key().to_base64()},
            "keys": {"ed25519": device.ed25519_key().to_base64()},
        });
        let (kind, body) = session.encrypt(plaintext.to_string()).unwrap().to_parts();
        serde_json::from_value(json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": device.curve25519_key().to_base64(),
            "ciphertext": {self.account.identity_key(): {"type": kind, "body": encode_base64(body)}},
        }))
        .unwrap()
    }

    /// A first message of a device.
    fn knock(&self, user_id: &str, device: &RawAccount) -> Result<OlmChannel> {
        self.knock_with(user_id, device, &mut self.session_of(device))
    }

    fn knock_with(
        &self,
        user_id: &str,
        device: &RawAccount,
        session: &mut Session,
    ) -> Result<OlmChannel> {
        let mut tx = self.account.begin()?;
        let (channel, event) = self.knock_in(&mut tx, user_id, device, session)?;
        tx.commit()?;
        event.map(|_| channel)
    }

    fn knock_in(
        &self,
        tx: &mut Transaction<'_>,
        user_id: &str,
        device: &RawAccount,
        session: &mut Session,
    ) -> Result<(OlmChannel, Result<String>)> {
        let content = self.message(user_id, device, session);
        let (account, known) = (&self.account, KnownPartner::default());
        let (user_id, key) = (user_id.into(), device.curve25519_key());
        self.wait(1);
        OlmChannel::create_from_encrypted_message(account, tx, &user_id, key, &content, known)
    }

    fn new_device(&self, user_id: &str) -> OlmChannel {
        self.knock(user_id, &RawAccount::new()).unwrap()
    }

    fn list(&self) -> Vec<ChannelInfo> {
        list_channels(&self.account, Page::new(None, Some(10_000)).unwrap()).unwrap()
    }

    fn of(&self, user_id: &str) -> Vec<ChannelInfo> {
        self.list().into_iter().filter(|channel| channel.user_id == user_id).collect()
    }

    /// Nothing is left of what was deleted.
    fn check(&self) {
        let owner = [self.account.user_id(), self.account.device_id()];
        let sessions = self.account.vault().scan_keys(OLM_SESSIONS, &owner).unwrap().len();
        let listed = self.list().iter().map(|channel| channel.session_count).sum::<usize>();
        assert_eq!(sessions, listed);
        assert_eq!(self.account.vault().problems().unwrap(), []);
    }
}

/// Does something with a channel, in a transaction of its own.
fn within<R>(
    channel: &OlmChannel,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<R>,
) -> Result<R> {
    let mut tx = channel.account().begin()?;
    let result = work(&mut tx)?;
    tx.commit()?;
    Ok(result)
}

/// Sends something.
fn answer(channel: &OlmChannel) {
    let content = serde_json::value::to_raw_value(&json!({})).unwrap();
    within(channel, |tx| channel.encrypt(tx, &"m.dummy".into(), &content)).unwrap();
}

fn name(channel: &OlmChannel) -> String {
    within(channel, |tx| channel.partner(tx)).unwrap().identity_key
}

fn is_gone(channel: &OlmChannel) -> bool {
    match within(channel, |tx| channel.session_count(tx)) {
        Ok(_) => false,
        Err(error) => error.name() == "NOT_FOUND",
    }
}

// Issue 10, SEC-100
#[test]
fn a_user_has_so_many_channels_of_strangers_and_no_more_while_partners_and_others_keep_theirs() {
    let alice = Alice::new();
    let mallory = "@mallory:m.org";
    // Known by her keys, answered, and a stranger of another user.
    let known = {
        let device = RawAccount::new();
        let channel = alice.knock(mallory, &device).unwrap();
        let mut keys = json!({
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"], "user_id": mallory, "device_id": "M",
            "keys": {"curve25519:M": device.curve25519_key().to_base64(),
                     "ed25519:M": device.ed25519_key().to_base64()},
        });
        let signature = device.sign(keys.to_string().as_bytes()).to_base64();
        keys["signatures"] = json!({mallory: {"ed25519:M": signature}});
        let keys = DeviceKeys::read(keys.as_object().unwrap()).unwrap();
        within(&channel, |tx| channel.set_partner_device_keys(tx, keys)).unwrap();
        channel
    };
    let answered = alice.new_device(mallory);
    answer(&answered);
    let in_a_batch = alice.new_device(mallory);
    let item = json!({"user_id": mallory, "identity_key": name(&in_a_batch), "type": "m.dummy",
                      "content": {}});
    let item = serde_json::value::to_raw_value(&item).unwrap();
    within(&in_a_batch, |tx| encrypt_for_devices(&alice.account, tx, &[&item]))
        .unwrap()
        .remove(0)
        .unwrap();
    let other = alice.new_device("@dave:d.org");
    let kept = [&known, &answered, &in_a_batch, &other];
    let mut strangers = Vec::new();
    for number in 0..MOST * 4 {
        strangers.push(alice.new_device(mallory));
        assert_eq!(alice.of(mallory).len(), 3 + MOST.min(number + 1));
    }
    let (gone, here) = strangers.split_at(MOST * 3);
    assert!(gone.iter().all(is_gone));
    assert!(!here.iter().chain(kept).any(is_gone));
    alice.check();
    // What the program deletes makes room.
    within(&here[MOST - 1], |tx| here[MOST - 1].erase(tx)).unwrap();
    alice.new_device(mallory);
    assert!(!is_gone(&here[0]));
    alice.new_device(mallory);
    assert!(is_gone(&here[0]));
    alice.check();
}

#[test]
fn a_stranger_who_speaks_again_stays_longer_than_those_who_came_later() {
    let alice = Alice::new();
    let (mallory, device) = ("@mallory:m.org", RawAccount::new());
    let mut session = alice.session_of(&device);
    let first = alice.knock_with(mallory, &device, &mut session).unwrap();
    let later: Vec<_> = (1..MOST).map(|_| alice.new_device(mallory)).collect();
    alice.wait(3_600_000);
    let message = alice.message(mallory, &device, &mut session);
    within(&first, |tx| first.decrypt(tx, &message)).unwrap();
    for channel in &later {
        assert!(!is_gone(channel));
        alice.new_device(mallory);
        assert!(is_gone(channel) && !is_gone(&first));
    }
    alice.new_device(mallory);
    assert!(is_gone(&first));
    alice.check();
}

// Issue 10, SEC-100
#[test]
fn all_strangers_together_have_so_many_channels_and_those_who_are_known_keep_theirs() {
    let alice = Alice::new();
    let partner = alice.new_device("@bob:b.org");
    answer(&partner);
    let mut last = Vec::new();
    for number in 0..MOST * 40 {
        last.push(name(&alice.new_device(&format!("@user{number}:m.org"))));
        if number % 50 == 0 {
            assert!(alice.list().len() <= MOST * 10 + 1);
        }
    }
    let left: BTreeSet<String> =
        alice.list().into_iter().map(|channel| channel.identity_key).collect();
    assert!(left.contains(&name(&partner)));
    assert!((MOST * 9..=MOST * 10 + 1).contains(&left.len()), "{}", left.len());
    // Those of the last ones are there, whatever their group.
    assert!(last[last.len() - MOST..].iter().all(|key| left.contains(key)));
    alice.check();
    // Also after the lists were lost.
    let vault = alice.account.vault();
    vault.let_go_of_sets();
    assert_eq!(alice.list().len(), left.len());
    for number in 0..MOST * 2 {
        alice.new_device(&format!("@more{number}:m.org"));
        assert!(alice.list().len() <= MOST * 10 + 1);
    }
    assert!(!is_gone(&partner));
    alice.check();
}

#[test]
fn a_channel_that_is_in_use_stays_and_the_next_one_goes() {
    let alice = Alice::new();
    let strangers: Vec<_> = (0..MOST).map(|_| alice.new_device("@mallory:m.org")).collect();
    let mut in_use = alice.account.begin().unwrap();
    strangers[0].session_count(&mut in_use).unwrap();
    // Both have no handle, and the second is not in memory.
    alice.new_device("@mallory:m.org");
    assert!(is_gone(&strangers[1]));
    drop(in_use);
    assert!(!is_gone(&strangers[0]));
    alice.new_device("@mallory:m.org");
    assert!(is_gone(&strangers[0]) && !is_gone(&strangers[2]));
    alice.check();
}

#[test]
fn a_message_that_makes_no_channel_deletes_none() {
    let alice = Alice::new();
    let strangers: Vec<_> = (0..MOST).map(|_| alice.new_device("@mallory:m.org")).collect();
    // With a key that the account does not have.
    let other = Alice::new();
    let wrong = Alice { fallback_key: other.fallback_key, ..alice };
    assert!(wrong.knock("@mallory:m.org", &RawAccount::new()).is_err());
    assert!(!strangers.iter().any(is_gone));
    wrong.check();
}

#[test]
fn the_last_use_of_a_channel_is_known_to_the_hour() {
    let alice = Alice::new();
    let channel = alice.new_device("@bob:b.org");
    let last_use = || alice.of("@bob:b.org")[0].last_used_ms.unwrap();
    let first = last_use();
    assert_eq!(first, alice.clock.now_ms().unwrap());
    answer(&channel);
    alice.wait(3_599_999);
    answer(&channel);
    assert_eq!(last_use(), first);
    alice.wait(1);
    answer(&channel);
    assert_eq!(last_use(), first + 3_600_000);
    // A clock that was put back counts from there; one that fails does not matter.
    alice.wait(-7_200_000);
    answer(&channel);
    assert_eq!(last_use(), first - 3_600_000);
    alice.clock.0.store(-1, Ordering::SeqCst);
    answer(&channel);
    assert_eq!(last_use(), first - 3_600_000);
}

// Issue 10: reads see what the transaction has changed.
#[test]
fn strangers_who_come_in_one_transaction_make_room_for_each_other() {
    let (alice, mallory) = (Alice::new(), "@mallory:m.org");
    let before: Vec<_> = (0..MOST).map(|_| alice.new_device(mallory)).collect();
    let devices: Vec<_> = (0..MOST * 2).map(|_| RawAccount::new()).collect();
    let mut tx = alice.account.begin().unwrap();
    let knock = |tx: &mut Transaction<'_>, device: &RawAccount| {
        let (channel, event) =
            alice.knock_in(tx, mallory, device, &mut alice.session_of(device)).unwrap();
        event.unwrap();
        channel
    };
    let dropped: Vec<_> = devices.iter().map(|device| knock(&mut tx, device)).collect();
    // What is not committed deletes nothing.
    drop(tx);
    assert!(!before.iter().any(is_gone) && dropped.iter().all(is_gone));
    let mut tx = alice.account.begin().unwrap();
    devices.iter().for_each(|device| drop(knock(&mut tx, device)));
    tx.commit().unwrap();
    assert_eq!(alice.of(mallory).len(), MOST);
    assert!(before.iter().all(is_gone));
    alice.check();
}
