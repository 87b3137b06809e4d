//! The people around the device under test, with vodozemac alone, and the judge of what it sent.

use std::collections::HashMap;

use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage};
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};
use vodozemac::{Curve25519PublicKey, megolm};

pub(super) fn v(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Another device, which does not use the library.
pub(super) struct Person {
    pub(super) user_id: &'static str,
    device_id: &'static str,
    account: Account,
}

impl Person {
    pub(super) fn new(user_id: &'static str, device_id: &'static str) -> Self {
        Self { user_id, device_id, account: Account::new() }
    }

    fn copy(&self) -> Self {
        Self { account: Account::from_pickle(self.account.pickle()), ..*self }
    }

    pub(super) fn identity_key(&self) -> String {
        self.account.curve25519_key().to_base64()
    }

    fn sign(&self, mut object: Value) -> Value {
        let signature = self.account.sign(object.to_string()).to_base64();
        object["signatures"] =
            json!({ self.user_id: { format!("ed25519:{}", self.device_id): signature } });
        object
    }

    pub(super) fn device_keys(&self) -> Value {
        self.sign(json!({
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "device_id": self.device_id,
            "keys": {
                format!("curve25519:{}", self.device_id): self.identity_key(),
                format!("ed25519:{}", self.device_id): self.account.ed25519_key().to_base64(),
            },
            "user_id": self.user_id,
        }))
    }

    pub(super) fn one_time_key(&mut self) -> String {
        self.account.generate_one_time_keys(1);
        let (id, key) = self.account.one_time_keys().into_iter().next().unwrap();
        self.account.mark_keys_as_published();
        let id = format!("signed_curve25519:{}", id.to_base64());
        json!({ id: self.sign(json!({"key": key.to_base64()})) }).to_string()
    }

    /// A session to the device with these keys, with one key of its upload.
    pub(super) fn session_to(&self, device_keys: &Value, key: &str) -> Session {
        let config = SessionConfig::version_1();
        let identity_key = device_keys["keys"]["curve25519:ALICE"].as_str().unwrap();
        let identity_key = Curve25519PublicKey::from_base64(identity_key).unwrap();
        let key = Curve25519PublicKey::from_base64(key).unwrap();
        self.account.create_outbound_session(config, identity_key, key).unwrap()
    }

    /// The content of an encrypted event for the device with these keys.
    pub(super) fn say(&self, session: &mut Session, to: &Value, changes: &Value) -> String {
        let mut plaintext = json!({
            "type": "m.dummy",
            "content": {},
            "sender": self.user_id,
            "recipient": to["user_id"],
            "recipient_keys": {"ed25519": to["keys"]["ed25519:ALICE"]},
            "keys": {"ed25519": self.account.ed25519_key().to_base64()},
        });
        for (field, value) in changes.as_object().unwrap() {
            plaintext[field] = value.clone();
        }
        let (kind, body) = session.encrypt(plaintext.to_string()).unwrap().to_parts();
        let to = to["keys"]["curve25519:ALICE"].as_str().unwrap();
        let body = vodozemac::base64_encode(body);
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": self.identity_key(),
            "ciphertext": { to: {"type": kind, "body": body} },
        })
        .to_string()
    }
}

/// Bob, who receives everything and notices every key that is used twice.
pub(super) struct Judge {
    pub(super) bob: Person,
    pub(super) sessions: Vec<Session>,
    rooms: HashMap<String, InboundGroupSession>,
    used: HashMap<(String, u32), Vec<u8>>,
}

impl Judge {
    pub(super) fn new() -> Self {
        let bob = Person::new("@bob:b.org", "BOB");
        Self { bob, sessions: Vec::new(), rooms: HashMap::new(), used: HashMap::new() }
    }

    /// For what might have happened instead.
    pub(super) fn copy(&self) -> Self {
        let rooms = self.rooms.iter();
        Self {
            bob: self.bob.copy(),
            sessions: self.sessions.iter().map(|s| Session::from_pickle(s.pickle())).collect(),
            rooms: rooms
                .map(|(id, s)| (id.clone(), InboundGroupSession::from_pickle(s.pickle())))
                .collect(),
            used: self.used.clone(),
        }
    }

    /// Decrypts an Olm message. A second one with the same key would find it gone.
    pub(super) fn olm(&mut self, content: &str) -> Value {
        let ours = v(content)["ciphertext"][self.bob.identity_key()].clone();
        let message: OlmMessage = serde_json::from_value(ours).unwrap();
        if let OlmMessage::PreKey(first) = &message
            && !self.sessions.iter().any(|known| known.session_id() == first.session_id())
        {
            let config = SessionConfig::version_1();
            let from = first.identity_key();
            let made = self.bob.account.create_inbound_session(config, from, first).unwrap();
            self.sessions.push(made.session);
            return serde_json::from_slice(&made.plaintext).unwrap();
        }
        let plaintext = self.sessions.iter_mut().find_map(|s| s.decrypt(&message).ok());
        serde_json::from_slice(&plaintext.expect("an Olm key was used twice")).unwrap()
    }

    /// Learns a room key at index 0.
    pub(super) fn learn(&mut self, room_key: &Value) {
        let key = room_key["session_key"].as_str().unwrap();
        let key = megolm::SessionKey::from_base64(key).unwrap();
        let session = InboundGroupSession::new(&key, megolm::SessionConfig::version_1());
        self.rooms.insert(room_key["session_id"].as_str().unwrap().to_owned(), session);
    }

    /// Whether it has the key of a room's session.
    pub(super) fn knows(&self, session_id: &str) -> bool {
        self.rooms.contains_key(session_id)
    }

    /// Decrypts a room message and sees to it that no index carries two plaintexts.
    pub(super) fn megolm(&mut self, content: &str) {
        let content = v(content);
        let id = content["session_id"].as_str().unwrap().to_owned();
        let message = MegolmMessage::from_base64(content["ciphertext"].as_str().unwrap()).unwrap();
        let decrypted = self.rooms.get_mut(&id).unwrap().decrypt(&message).unwrap();
        let index = (id, decrypted.message_index);
        let first = self.used.entry(index).or_insert_with(|| decrypted.plaintext.clone());
        assert_eq!(*first, decrypted.plaintext, "a Megolm index was used twice");
    }
}

/// Bob's own session in a room, and its room key.
pub(super) fn bobs_room() -> (GroupSession, Value) {
    let session = GroupSession::new(megolm::SessionConfig::version_1());
    let room_key = json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": "!room",
        "session_id": session.session_id(),
        "session_key": session.session_key().to_base64(),
    });
    (session, room_key)
}
