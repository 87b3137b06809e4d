//! Rooms for tests of Megolm: devices on stores with a clock of the test's, the recipients of a
//! room key, and sessions whose keys and messages the test makes itself.
#![allow(dead_code)] // Every test file uses another part.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use matrixe2ee::{
    Account, Clock, E2eeError, InboundMegolmSession, OutboundMegolmSession, Result, Store,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use vodozemac::megolm::{GroupSession, MegolmMessage, SessionConfig};

pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";
pub const ROOM: &str = "!room:example.org";
pub const ALICE: &str = "@alice:example.org";
pub const BOB: &str = "@bob:example.com";
pub const CAROL: &str = "@carol:example.net";
/// When every test begins, as Unix time in milliseconds.
pub const START_MS: i64 = 1_700_000_000_000;
pub const STORE_KEY: [u8; 32] = *b"the store's key, thirty-two byte";

pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the library writes JSON")
}

/// The value, or the test fails with the whole error.
#[track_caller]
pub fn ok<T>(result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{}", error.to_json()),
    }
}

/// The JSON of a call's answer.
#[track_caller]
pub fn answer(result: Result<String>) -> Value {
    parse(&ok(result))
}

/// The error, or the test fails.
#[track_caller]
pub fn refused<T>(result: Result<T>) -> E2eeError {
    match result {
        Ok(_) => panic!("this must be refused, and was accepted"),
        Err(error) => error,
    }
}

/// The name of the error, or the test fails.
#[track_caller]
pub fn error_name<T>(result: Result<T>) -> &'static str {
    refused(result).name()
}

/// One field of the error's JSON.
#[track_caller]
pub fn error_field<T>(result: Result<T>, field: &str) -> Value {
    parse(&refused(result).to_json())[field].clone()
}

/// Why the session expired, or the test fails.
#[track_caller]
pub fn expired<T>(result: Result<T>) -> String {
    match refused(result) {
        E2eeError::SessionExpired { reason, .. } => reason,
        other => panic!("{}", other.to_json()),
    }
}

/// A clock that stands still until the test moves it.
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> Result<i64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

/// One device: a store of its own, and its account.
pub struct Device {
    folder: Option<TempDir>,
    pub clock: Arc<TestClock>,
    pub store: Arc<Store>,
    pub account: Arc<Account>,
    pub user_id: String,
    pub device_id: String,
}

impl Device {
    /// A new device on a store in memory.
    pub fn new(user_id: &str, device_id: &str) -> Self {
        Self::on(None, ok(Store::in_memory(STORE_KEY.to_vec())), user_id, device_id)
    }

    /// A new device on a store in a file.
    pub fn on_disk(user_id: &str, device_id: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = open(folder.path());
        Self::on(Some(folder), store, user_id, device_id)
    }

    /// A device in a store in memory or in a file whose keys the test knows.
    pub fn known(
        user_id: &str,
        device_id: &str,
        keys: &vodozemac::olm::Account,
        on_disk: bool,
    ) -> Self {
        let folder = on_disk.then(|| TempDir::new().expect("a temporary folder"));
        let store = match &folder {
            Some(folder) => open(folder.path()),
            None => ok(Store::in_memory(STORE_KEY.to_vec())),
        };
        let (pickle, key) = (keys.pickle().encrypt(&STORE_KEY), STORE_KEY.to_vec());
        ok(Account::from_vodozemac_pickle(&store, user_id, device_id, &pickle, key));
        Self::on(folder, store, user_id, device_id)
    }

    fn on(folder: Option<TempDir>, store: Arc<Store>, user_id: &str, device_id: &str) -> Self {
        let clock = Arc::new(TestClock(AtomicI64::new(START_MS)));
        ok(store.set_clock(clock.clone()));
        let account = ok(Account::open(&store, user_id, device_id));
        let (user_id, device_id) = (user_id.to_owned(), device_id.to_owned());
        Self { folder, clock, store, account, user_id, device_id }
    }

    /// Another ticket to the same device.
    pub fn again(&self) -> Self {
        Self {
            folder: None,
            clock: self.clock.clone(),
            store: self.store.clone(),
            account: self.account.clone(),
            user_id: self.user_id.clone(),
            device_id: self.device_id.clone(),
        }
    }

    /// Closes the store and reads everything back from the file. All handles made before answer
    /// `STORE_CLOSED` from then on.
    pub fn reopen(&mut self) {
        ok(self.store.shut_down());
        self.store = open(self.folder());
        ok(self.store.set_clock(self.clock.clone()));
        self.account = ok(Account::open(&self.store, &self.user_id, &self.device_id));
    }

    /// The device as another process finds it if this one is killed now.
    pub fn crashed(&self) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for name in ["store.db", "store.db-wal"] {
            let from = self.folder().join(name);
            if from.exists() {
                std::fs::copy(from, folder.path().join(name)).expect("a copy of the store");
            }
        }
        let store = open(folder.path());
        let crashed = Self::on(Some(folder), store, &self.user_id, &self.device_id);
        crashed.clock.0.store(self.clock.0.load(Ordering::SeqCst), Ordering::SeqCst);
        crashed
    }

    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a store in a file").path()
    }

    /// Everything that the store has on disk, byte by byte: any commit changes it.
    pub fn bytes(&self) -> Vec<u8> {
        let folder = self.folder();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
        [read("store.db"), read("store.db-wal")].concat()
    }

    /// The device keys as `/keys/query` lists them.
    pub fn keys(&self) -> Value {
        answer(self.account.device_keys())
    }

    /// The device keys with a change, signed anew by the device.
    pub fn keys_with(&self, change: impl FnOnce(&mut Value)) -> Value {
        let mut keys = self.keys();
        keys.as_object_mut().expect("an object").remove("signatures");
        change(&mut keys);
        answer(self.account.sign_json(&keys.to_string()))
    }

    pub fn identity_key(&self) -> String {
        ok(self.account.identity_key())
    }

    pub fn outbound(&self, settings: Option<&Value>) -> Arc<OutboundMegolmSession> {
        ok(OutboundMegolmSession::create(&self.account, ROOM, settings.map(Value::to_string)))
    }

    /// The room's current session, as stored.
    pub fn stored_outbound(&self) -> Arc<OutboundMegolmSession> {
        ok(OutboundMegolmSession::create_from_storage(&self.account, ROOM, None))
    }

    /// Takes a room key that came from another device.
    pub fn receive(&self, from: &Device, content: &Value) -> Result<Arc<InboundMegolmSession>> {
        let (user_id, key) = (&from.user_id, from.identity_key());
        InboundMegolmSession::from_room_key(&self.account, user_id, &key, &content.to_string())
    }

    pub fn sessions(&self) -> Value {
        answer(self.account.list_sessions(None, None, None))
    }

    /// The whole event around an encrypted content.
    pub fn event(&self, event_id: &str, content: &Value) -> Value {
        json!({ "event_id": event_id, "sender": self.user_id, "room_id": ROOM, "content": content })
    }
}

fn open(folder: &Path) -> Arc<Store> {
    let path = folder.join("store.db");
    ok(Store::open_sqlite(path.to_str().expect("a path in UTF-8"), STORE_KEY.to_vec()))
}

/// What `get_session_key_for_sending` takes.
#[derive(Clone)]
pub struct Recipients(pub Value);

impl Recipients {
    /// Users who joined an encrypted room, with these devices.
    pub fn of(devices: &[&Device]) -> Self {
        let encryption = json!({ "algorithm": MEGOLM });
        let value = json!({ "encryption": encryption, "members": {}, "device_keys": {} });
        let empty = Self(value);
        devices.iter().fold(empty, |room, device| room.member(&device.user_id, "join").with(device))
    }

    pub fn member(mut self, user_id: &str, membership: &str) -> Self {
        self.0["members"][user_id] = json!(membership);
        self
    }

    pub fn with(self, device: &Device) -> Self {
        self.with_keys(&device.user_id, &device.device_id, device.keys())
    }

    /// Lists any value as the keys of a device.
    pub fn with_keys(mut self, user_id: &str, device_id: &str, keys: Value) -> Self {
        if self.0["device_keys"][user_id].is_null() {
            self.0["device_keys"][user_id] = json!({});
        }
        self.0["device_keys"][user_id][device_id] = keys;
        self
    }

    pub fn blocked(mut self, device: &Device, code: &str) -> Self {
        self.0["blocked"] = json!({ &device.user_id: { &device.device_id: code } });
        self
    }

    pub fn visibility(mut self, visibility: &str) -> Self {
        self.0["history_visibility"] = json!(visibility);
        self
    }

    pub fn encryption(mut self, name: &str, value: Value) -> Self {
        self.0["encryption"][name] = value;
        self
    }

    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// What is to be sent to whom.
#[track_caller]
pub fn keys_to_send(session: &OutboundMegolmSession, room: &Recipients) -> Vec<Value> {
    match answer(session.get_session_key_for_sending(&room.text())) {
        Value::Array(lines) => lines,
        other => panic!("{other} is no list"),
    }
}

/// The line of one device.
#[track_caller]
pub fn line_of(lines: &[Value], device: &Device) -> Value {
    let same = |line: &&Value| {
        line["device"]["user_id"] == *device.user_id
            && line["device"]["device_id"] == *device.device_id
    };
    lines.iter().find(same).cloned().unwrap_or(Value::Null)
}

/// Hands the current key to one device, and gives the content of its `m.room_key`.
#[track_caller]
pub fn room_key_for(session: &OutboundMegolmSession, device: &Device) -> Value {
    let lines = keys_to_send(session, &Recipients::of(&[device]));
    line_of(&lines, device)["content"].clone()
}

/// Encrypts, and gives the content of the event.
#[track_caller]
pub fn encrypted(session: &OutboundMegolmSession, body: &str) -> Value {
    answer(session.encrypt("m.room.message", &json!({ "body": body }).to_string()))
}

/// The index of an encrypted content.
pub fn index_of(content: &Value) -> u32 {
    let ciphertext = content["ciphertext"].as_str().expect("a ciphertext");
    MegolmMessage::from_base64(ciphertext).expect("a Megolm message").message_index()
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

pub fn from_base64(text: &str) -> Vec<u8> {
    STANDARD_NO_PAD.decode(text).expect("unpadded base64")
}

/// A sender's session in the test's own hands, which may encrypt anything.
pub struct RawSession(pub GroupSession);

impl RawSession {
    pub fn new() -> Self {
        Self(GroupSession::new(SessionConfig::version_1()))
    }

    /// The session as it is now: both go on from the same index.
    pub fn twin(&self) -> Self {
        Self(GroupSession::from_pickle(self.0.pickle()))
    }

    pub fn id(&self) -> String {
        self.0.session_id()
    }

    /// The content of `m.room_key` from the current index on.
    pub fn room_key(&self) -> Value {
        room_key(&self.id(), &self.0.session_key().to_base64())
    }

    /// Session data from the current index on, said to come from a device.
    pub fn export(&self, claimed_sender: &Device) -> Value {
        // A session key is an exported one with a signature at its end.
        let bytes = self.0.session_key().to_bytes();
        export(&self.id(), &base64([&[1], &bytes[1..165]].concat()), claimed_sender)
    }

    /// The content of an event with any plaintext.
    pub fn encrypt(&mut self, plaintext: impl AsRef<[u8]>) -> Value {
        let ciphertext = self.0.encrypt(plaintext).to_base64();
        json!({ "algorithm": MEGOLM, "session_id": self.id(), "ciphertext": ciphertext })
    }

    /// The content of an ordinary message.
    pub fn message(&mut self, body: &str) -> Value {
        let content = json!({ "body": body });
        self.encrypt(
            json!({ "type": "m.room.message", "room_id": ROOM, "content": content }).to_string(),
        )
    }
}

pub fn room_key(session_id: &str, session_key: &str) -> Value {
    json!({ "algorithm": MEGOLM, "room_id": ROOM, "session_id": session_id,
            "session_key": session_key })
}

pub fn export(session_id: &str, session_key: &str, claimed_sender: &Device) -> Value {
    let fingerprint = ok(claimed_sender.account.fingerprint_key());
    json!({ "algorithm": MEGOLM, "room_id": ROOM, "session_id": session_id,
            "session_key": session_key, "sender_key": claimed_sender.identity_key(),
            "sender_claimed_keys": { "ed25519": fingerprint },
            "forwarding_curve25519_key_chain": [] })
}

/// A session key of the test's own making: any ratchet at any index, signed by this key.
pub fn forged_session_key(signer: &SigningKey, index: u32, ratchet: [u8; 128]) -> String {
    let public = signer.verifying_key();
    let mut bytes = [&[2][..], &index.to_be_bytes(), &ratchet, public.as_bytes()].concat();
    bytes.extend(signer.sign(&bytes).to_bytes());
    base64(bytes)
}
