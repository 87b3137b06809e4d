//! The same operations with vodozemac called bare, plus base64.

use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage};
use vodozemac::olm::{Account, OlmMessage, PreKeyMessage, Session, SessionConfig};
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey, Ed25519Signature};

pub fn account() -> (Account, String) {
    let account = Account::new();
    let signature = account.sign(DEVICE_KEYS).to_base64();
    (account, signature)
}

/// As long as the canonical device keys of one device.
const DEVICE_KEYS: &str = r#"{"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"device_id":"ALICEDEVICE","keys":{"curve25519:ALICEDEVICE":"PzjSz3MiIGaZAVjWwkdVEdDAXh+3S6R6rK/vs30LDgA","ed25519:ALICEDEVICE":"nGw+NyiY9m3NpQ1pPI+9jsxWWn3+oufWz9RgK0OWwOM"},"user_id":"@alice:example.org"}"#;

/// 50 one-time keys and a fallback key, each signed as canonical JSON.
pub fn signed_keys(account: &mut Account) -> Vec<String> {
    account.generate_one_time_keys(50);
    account.generate_fallback_key();
    let fallback = account.fallback_key();
    account
        .one_time_keys()
        .values()
        .chain(fallback.values())
        .map(|key| account.sign(format!(r#"{{"key":"{}"}}"#, key.to_base64())).to_base64())
        .collect()
}

/// A one-time key's canonical JSON, as far as its length matters.
const ONE_TIME_KEY: &str = r#"{"key":"PzjSz3MiIGaZAVjWwkdVEdDAXh+3S6R6rK/vs30LDgA"}"#;

/// What a receiver must verify before it trusts a device: its keys, and a one-time key of it.
pub struct Signatures {
    key: Ed25519PublicKey,
    device_keys: String,
    one_time_key: String,
}

impl Signatures {
    pub fn by(account: &Account) -> Self {
        Self {
            key: account.ed25519_key(),
            device_keys: account.sign(DEVICE_KEYS).to_base64(),
            one_time_key: account.sign(ONE_TIME_KEY).to_base64(),
        }
    }

    pub fn verify_device_keys(&self) {
        let signature = Ed25519Signature::from_base64(&self.device_keys).unwrap();
        self.key.verify(DEVICE_KEYS.as_bytes(), &signature).unwrap();
    }

    pub fn verify_one_time_key(&self) {
        let signature = Ed25519Signature::from_base64(&self.one_time_key).unwrap();
        self.key.verify(ONE_TIME_KEY.as_bytes(), &signature).unwrap();
    }
}

/// A session and its first message.
pub fn outbound(
    alice: &Account,
    bob: &Account,
    key: Curve25519PublicKey,
    text: &str,
) -> (Session, OlmMessage) {
    let mut session = alice
        .create_outbound_session(SessionConfig::version_1(), bob.curve25519_key(), key)
        .unwrap();
    let message = session.encrypt(text).unwrap();
    (session, message)
}

/// A session and the plaintext of its first message.
pub fn inbound(bob: &mut Account, message: &str) -> (Session, Vec<u8>) {
    use base64::Engine;
    let bytes = base64::prelude::BASE64_STANDARD_NO_PAD.decode(message).unwrap();
    let message = PreKeyMessage::from_bytes(&bytes).unwrap();
    let created = bob
        .create_inbound_session(SessionConfig::version_1(), message.identity_key(), &message)
        .unwrap();
    (created.session, created.plaintext)
}

pub fn encode(message: &OlmMessage) -> (usize, String) {
    use base64::Engine;
    let (kind, bytes) = message.to_parts();
    (kind, base64::prelude::BASE64_STANDARD_NO_PAD.encode(bytes))
}

pub fn olm_decrypt(session: &mut Session, kind: usize, body: &str) -> Vec<u8> {
    use base64::Engine;
    let bytes = base64::prelude::BASE64_STANDARD_NO_PAD.decode(body).unwrap();
    session.decrypt(&OlmMessage::from_parts(kind, &bytes).unwrap()).unwrap()
}

pub fn room_encrypt(session: &mut GroupSession, text: &str) -> String {
    session.encrypt(text).to_base64()
}

pub fn room_decrypt(session: &mut InboundGroupSession, message: &str) -> Vec<u8> {
    session.decrypt(&MegolmMessage::from_base64(message).unwrap()).unwrap().plaintext
}
