//! Devices that speak Olm with vodozemac alone, so that they can also send what the library
//! would never send.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use super::{Device, v};

/// A device without the library.
pub struct RawDevice {
    pub user_id: &'static str,
    pub device_id: &'static str,
    pub account: Account,
}

impl RawDevice {
    pub fn new(user_id: &'static str, device_id: &'static str) -> Self {
        Self { user_id, device_id, account: Account::new() }
    }

    pub fn identity_key(&self) -> String {
        self.account.curve25519_key().to_base64()
    }

    pub fn fingerprint_key(&self) -> String {
        self.account.ed25519_key().to_base64()
    }

    /// Signs an object as this device would.
    pub fn sign(&self, mut object: Value) -> Value {
        let signed = object.to_string();
        let signature = self.account.sign(signed.as_bytes()).to_base64();
        object["signatures"] =
            json!({ self.user_id: { format!("ed25519:{}", self.device_id): signature } });
        object
    }

    pub fn unsigned_device_keys(&self) -> Value {
        json!({
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "device_id": self.device_id,
            "keys": {
                format!("curve25519:{}", self.device_id): self.identity_key(),
                format!("ed25519:{}", self.device_id): self.fingerprint_key(),
            },
            "user_id": self.user_id,
        })
    }

    pub fn device_keys(&self) -> Value {
        self.sign(self.unsigned_device_keys())
    }

    /// A fresh one-time key as a claim gives it.
    pub fn one_time_key(&mut self) -> Value {
        self.account.generate_one_time_keys(1);
        let (id, key) = self.account.one_time_keys().into_iter().next().unwrap();
        self.account.mark_keys_as_published();
        let id = format!("signed_curve25519:{}", id.to_base64());
        json!({ id: self.sign(json!({"key": key.to_base64()})) })
    }

    /// A session to a device of the library with one of its keys, `{key_id: key}`.
    pub fn session_to(&self, device: &Device, claimed: &Value) -> Session {
        let key = claimed.as_object().unwrap().values().next().unwrap()["key"].as_str().unwrap();
        self.account
            .create_outbound_session(
                SessionConfig::version_1(),
                Curve25519PublicKey::from_base64(&device.identity_key()).unwrap(),
                Curve25519PublicKey::from_base64(key).unwrap(),
            )
            .unwrap()
    }

    /// A plaintext that a device must accept.
    pub fn plaintext_for(&self, device: &Device) -> Value {
        json!({
            "type": "m.dummy",
            "content": {},
            "sender": self.user_id,
            "recipient": device.account.user_id().unwrap(),
            "recipient_keys": {"ed25519": device.fingerprint_key()},
            "keys": {"ed25519": self.fingerprint_key()},
        })
    }

    /// Encrypts a plaintext as it is and packs it as the content of `m.room.encrypted`.
    pub fn encrypt(&self, session: &mut Session, to: &Device, plaintext: &[u8]) -> String {
        self.pack(to, &session.encrypt(plaintext).unwrap()).to_string()
    }

    /// A good message.
    pub fn say(&self, session: &mut Session, to: &Device) -> String {
        self.encrypt(session, to, self.plaintext_for(to).to_string().as_bytes())
    }

    pub fn pack(&self, to: &Device, message: &OlmMessage) -> Value {
        let (message_type, body) = message.to_parts();
        self.pack_parts(to, message_type, &body)
    }

    pub fn pack_parts(&self, to: &Device, message_type: usize, body: &[u8]) -> Value {
        let body = vodozemac::base64_encode(body);
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": self.identity_key(),
            "ciphertext": { to.identity_key(): {"type": message_type, "body": body} },
        })
    }

    /// Takes what a device of the library sent to this one, out of its envelope.
    pub fn unpack(&self, content: &str) -> OlmMessage {
        let ours = v(content)["ciphertext"][self.identity_key()].clone();
        let body = vodozemac::base64_decode(ours["body"].as_str().unwrap()).unwrap();
        OlmMessage::from_parts(ours["type"].as_u64().unwrap().try_into().unwrap(), &body).unwrap()
    }

    /// The session of a first message from a device of the library, and its plaintext.
    pub fn receive_first(&mut self, content: &str) -> (Session, Value) {
        let OlmMessage::PreKey(message) = self.unpack(content) else { unreachable!() };
        let created = self
            .account
            .create_inbound_session(SessionConfig::version_1(), message.identity_key(), &message)
            .unwrap();
        (created.session, serde_json::from_slice(&created.plaintext).unwrap())
    }
}

/// Replaces bytes inside a message, for keys that no honest device would send.
pub fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).unwrap();
    let mut changed = bytes.to_vec();
    changed.splice(at..at + old.len(), new.iter().copied());
    changed
}
