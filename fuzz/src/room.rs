//! A sender of room messages without the library.

use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, SessionConfig};

use crate::{MEGOLM, ROOM};

pub struct Room(pub GroupSession);

impl Default for Room {
    fn default() -> Self {
        Self(GroupSession::new(SessionConfig::version_1()))
    }
}

impl Room {
    /// The content of `m.room_key`, from the current index on.
    pub fn room_key(&self) -> Value {
        json!({ "algorithm": MEGOLM, "room_id": ROOM, "session_id": self.0.session_id(),
                "session_key": self.0.session_key().to_base64() })
    }

    /// Session data, from the current index on.
    pub fn export(&self, sender_key: &str) -> Value {
        let key = self.0.session_key().to_bytes();
        // A session key is an exported one with a signature at its end.
        let key = vodozemac::base64_encode([&[1], &key[1..165]].concat());
        json!({ "algorithm": MEGOLM, "room_id": ROOM, "session_id": self.0.session_id(),
                "session_key": key, "sender_key": sender_key, "sender_claimed_keys": {},
                "forwarding_curve25519_key_chain": [] })
    }

    /// The whole event around any plaintext.
    pub fn event(&mut self, sender: &str, plaintext: &str) -> Value {
        let index = self.0.message_index();
        let content = json!({ "algorithm": MEGOLM, "session_id": self.0.session_id(),
                              "ciphertext": self.0.encrypt(plaintext).to_base64() });
        json!({ "event_id": format!("$event{index}"), "sender": sender, "room_id": ROOM,
                "type": "m.room.encrypted", "origin_server_ts": 1, "content": content })
    }

    pub fn plaintext(words: u64) -> Value {
        json!({ "type": "m.room.message", "room_id": ROOM, "content": { "body": words } })
    }
}
