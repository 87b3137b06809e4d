//! A live peer on plain vodozemac: it judges what the child encrypts, and writes to the child.

use serde_json::{Value, json};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account, OlmMessage, Session, SessionConfig};

use super::protocol::{Partner, USER};

pub const OLM: &str = "m.olm.v1.curve25519-aes-sha2";
pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";

/// How many sessions the child's channel keeps at least (SEC-38).
const KEPT_BY_CHILD: usize = 8;
/// How many sessions the peer tries; the child encrypts in one of its latest. More than a run
/// opens at its end for keys that must be refused, before the child has answered to any of them.
const KEPT_BY_PEER: usize = 400;

/// The account that is crashed, as its peers know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Child {
    pub identity_key: String,
    pub fingerprint_key: String,
    pub device_keys: Value,
}

/// A message for the child.
pub struct Delivery {
    /// The content of the to-device event, as text.
    pub message: String,
    pub event_type: &'static str,
    pub content: Value,
    pub session_id: String,
    /// The one-time key that it uses up, if it may be the first of its session.
    pub one_time_key: Option<Curve25519PublicKey>,
    /// It was under way when the child was killed: the child may have consumed it.
    pub in_doubt: bool,
}

pub struct Peer {
    account: Account,
    pub user_id: String,
    pub device_id: String,
    pub device_keys: Value,
    sessions: Vec<Session>,
    /// Sessions that the child surely has, least recently used first.
    pub known_to_child: Vec<String>,
    keys_made: usize,
    /// Messages that the child has not acknowledged.
    pub pending: Vec<Delivery>,
    /// Messages that the child has decrypted, and one-time keys that they used up.
    pub received: Vec<String>,
    pub used_keys: Vec<Curve25519PublicKey>,
    /// The child's channel, as acknowledged.
    pub has_channel: bool,
    pub fingerprint: Fingerprint,
    /// The channel may have come into being, or be gone, when the child was killed.
    pub in_doubt: bool,
    /// An erase is in this batch.
    pub erasing: bool,
}

/// How sure the child is of this peer's fingerprint; never less sure after a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fingerprint {
    Unknown,
    Learned,
    DeviceKeys,
}

impl Peer {
    pub fn new(number: usize) -> Self {
        let account = Account::new();
        let user_id = format!("@peer{number}:test");
        let device_id = format!("PEER{number}");
        let device_keys = json!({
            "algorithms": [OLM, MEGOLM],
            "device_id": device_id,
            "keys": {
                format!("curve25519:{device_id}"): account.curve25519_key().to_base64(),
                format!("ed25519:{device_id}"): account.ed25519_key().to_base64(),
            },
            "user_id": user_id,
        });
        let mut peer = Self {
            account,
            user_id,
            device_id,
            device_keys: Value::Null,
            sessions: Vec::new(),
            known_to_child: Vec::new(),
            keys_made: 0,
            pending: Vec::new(),
            received: Vec::new(),
            used_keys: Vec::new(),
            has_channel: false,
            fingerprint: Fingerprint::Unknown,
            in_doubt: false,
            erasing: false,
        };
        peer.device_keys = peer.sign(device_keys);
        peer
    }

    pub fn partner(&self) -> Partner {
        let identity_key = self.account.curve25519_key().to_base64();
        Partner { user_id: self.user_id.clone(), identity_key }
    }

    pub fn fingerprint_key(&self) -> String {
        self.account.ed25519_key().to_base64()
    }

    fn sign(&self, mut object: Value) -> Value {
        let bytes = matrixe2ee::canonical_json(&object.to_string()).unwrap();
        let signature = self.account.sign(bytes).to_base64();
        let id = format!("ed25519:{}", self.device_id);
        object["signatures"] = json!({ self.user_id.as_str(): { id: signature } });
        object
    }

    /// A fresh signed one-time key, as a claim would give it.
    pub fn one_time_key(&mut self) -> String {
        let key = self.account.generate_one_time_keys(1).created[0].to_base64();
        self.account.mark_keys_as_published();
        self.keys_made += 1;
        let id = format!("signed_curve25519:{}", self.keys_made);
        json!({ id: self.sign(json!({ "key": key })) }).to_string()
    }

    /// Starts a session from a key of the child; gives its ID.
    pub fn open_session(&mut self, child: &Child, one_time_key: Curve25519PublicKey) -> String {
        let identity_key = Curve25519PublicKey::from_base64(&child.identity_key).unwrap();
        let config = SessionConfig::version_1();
        let session =
            self.account.create_outbound_session(config, identity_key, one_time_key).unwrap();
        let session_id = session.session_id();
        self.keep(session);
        session_id
    }

    fn keep(&mut self, session: Session) {
        self.sessions.push(session);
        if self.sessions.len() > KEPT_BY_PEER {
            self.sessions.remove(0);
        }
    }

    /// The child has used this session: it is the last that it would drop.
    pub fn touch(&mut self, session_id: &str) {
        self.known_to_child.retain(|known| known != session_id);
        self.known_to_child.push(session_id.to_owned());
        if self.known_to_child.len() > KEPT_BY_CHILD {
            self.known_to_child.remove(0);
        }
        self.sessions.sort_by_key(|session| session.session_id() == session_id);
    }

    /// The child may have made a session that the peer has not seen; that takes a place, too.
    pub fn touch_unseen(&mut self) {
        self.touch(&format!("unseen {}", self.keys_made));
    }

    pub fn has_session(&self, session_id: &str) -> bool {
        self.sessions.iter().any(|session| session.session_id() == session_id)
    }

    /// Encrypts an event for the child; gives the content of the to-device event.
    pub fn encrypt(
        &mut self,
        child: &Child,
        session_id: &str,
        event_type: &str,
        content: &Value,
    ) -> String {
        let plaintext = json!({
            "type": event_type,
            "content": content,
            "sender": self.user_id,
            "recipient": USER,
            "recipient_keys": { "ed25519": child.fingerprint_key },
            "keys": { "ed25519": self.fingerprint_key() },
        });
        let session =
            self.sessions.iter_mut().find(|session| session.session_id() == session_id).unwrap();
        let (message_type, bytes) = session.encrypt(plaintext.to_string()).unwrap().to_parts();
        let body = vodozemac::base64_encode(bytes);
        let ours = self.account.curve25519_key().to_base64();
        json!({
            "algorithm": OLM,
            "sender_key": ours,
            "ciphertext": { child.identity_key.as_str(): { "type": message_type, "body": body } },
        })
        .to_string()
    }

    /// Decrypts a message of the child, as any client would that has missed none: gives the
    /// plaintext and the session's ID.
    pub fn decrypt(
        &mut self,
        child: &Child,
        message: &OlmMessage,
    ) -> Result<(Value, String), String> {
        if let OlmMessage::PreKey(pre_key) = message
            && !self.has_session(&pre_key.session_id())
        {
            let identity_key = Curve25519PublicKey::from_base64(&child.identity_key).unwrap();
            let created = self
                .account
                .create_inbound_session(SessionConfig::version_1(), identity_key, pre_key)
                .map_err(|error| format!("the peer can make no session: {error}"))?;
            let session_id = created.session.session_id();
            self.keep(created.session);
            return Ok((serde_json::from_slice(&created.plaintext).unwrap(), session_id));
        }
        let mut errors = Vec::new();
        for session in self.sessions.iter_mut().rev() {
            let session_id = session.session_id();
            if let OlmMessage::PreKey(pre_key) = message
                && pre_key.session_id() != session_id
            {
                continue;
            }
            match session.decrypt(message) {
                Ok(plaintext) => {
                    return Ok((serde_json::from_slice(&plaintext).unwrap(), session_id));
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        Err(format!("the peer cannot decrypt: {errors:?}"))
    }

    /// The child's channel is erased: it knows nothing of this peer.
    pub fn forget_channel(&mut self) {
        self.has_channel = false;
        self.fingerprint = Fingerprint::Unknown;
        self.known_to_child.clear();
        self.pending.clear();
    }
}
