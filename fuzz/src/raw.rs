//! A device without the library, which encrypts whatever it is told to.

use matrixe2ee::{Account, OlmChannel};
use serde_json::{Value, json};
use vodozemac::olm::{self, OlmMessage, Session, SessionConfig};
use vodozemac::{Curve25519PublicKey, base64_decode, base64_encode};

use crate::{ok, parse};

pub struct Raw {
    pub user_id: &'static str,
    pub account: olm::Account,
}

impl Raw {
    pub fn new(user_id: &'static str) -> Self {
        Self { user_id, account: olm::Account::new() }
    }

    pub fn identity_key(&self) -> String {
        self.account.curve25519_key().to_base64()
    }

    /// A session to a device of the library, with one of its keys.
    pub fn session_to(&self, to: &Account, one_time_key: &str) -> Session {
        let key = |text: &str| Curve25519PublicKey::from_base64(text).expect("a key");
        let identity_key = key(&ok(to.identity_key()));
        self.account
            .create_outbound_session(SessionConfig::version_1(), identity_key, key(one_time_key))
            .expect("a session")
    }

    /// A plaintext that the device must accept.
    pub fn plaintext(&self, to: &Account, content: Value) -> Value {
        json!({
            "type": "org.example.words", "content": content,
            "sender": self.user_id, "recipient": ok(to.user_id()),
            "keys": { "ed25519": self.account.ed25519_key().to_base64() },
            "recipient_keys": { "ed25519": ok(to.fingerprint_key()) },
        })
    }

    /// The content of `m.room.encrypted`.
    pub fn encrypt(&self, session: &mut Session, to: &Account, plaintext: &[u8]) -> Value {
        let (kind, body) = session.encrypt(plaintext).expect("a message").to_parts();
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": self.identity_key(),
            "ciphertext": { ok(to.identity_key()): { "type": kind, "body": base64_encode(body) } },
        })
    }

    /// Takes the channel's next message, so that the session sends normal ones from then on.
    pub fn hear(&self, session: &mut Session, channel: &OlmChannel) {
        let content = parse(&ok(channel.encrypt("m.dummy", "{}")));
        let ours = &content["ciphertext"][self.identity_key()];
        let body = base64_decode(ours["body"].as_str().expect("a body")).expect("base64");
        let message = OlmMessage::from_parts(1, &body).expect("a normal message");
        session.decrypt(&message).expect("an answer");
    }
}
