//! Encrypting a room event (M15, M16, D12, D13, S6).

use serde_json::Value;
use serde_json::value::RawValue;

use super::{OutboundMegolmSession, record};
use crate::base::identifiers::check_event_type;
use crate::base::json::{self, EVENT_LIMIT};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::store::Batch;

/// Framing, MAC and signature of a message.
const OVERHEAD: usize = 16 + 8 + 64;

#[derive(serde::Serialize)]
struct Plaintext<'a> {
    room_id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    content: &'a RawValue,
}

#[derive(serde::Serialize)]
struct Content<'a> {
    algorithm: &'static str,
    sender_key: &'a str,
    device_id: &'a str,
    session_id: &'a str,
    ciphertext: String,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    relates_to: Option<Value>,
}

impl OutboundMegolmSession {
    /// Encrypts an event and returns the content of the `m.room.encrypted` event. That its index
    /// is used is durable before the ciphertext is returned, so that none is ever used twice.
    ///
    /// `m.relates_to` goes outside, where servers and clients look for it (D12). What is too large
    /// or too deep for the event that a server makes of it, or for whoever decrypts it, is refused
    /// before an index is used.
    pub fn encrypt(&self, event_type: &str, content: &str) -> Result<String> {
        let _entered = self.enter()?;
        check_event_type("event_type", event_type)?;
        let mut object = json::parse_field("content", content, EVENT_LIMIT)?;
        let relates_to = object.remove("m.relates_to");
        let without_relation;
        let content = match &relates_to {
            None => content,
            Some(_) => {
                without_relation = json::to_text(&object)?;
                without_relation.as_str()
            }
        };
        let plaintext = json::to_text(&Plaintext {
            room_id: &self.room_id,
            event_type,
            content: serde_json::from_str(content)
                .map_err(|_| E2eeError::invalid_json("the content cannot be written"))?,
        })?;
        let mut encrypted = Content {
            algorithm: MEGOLM_ALGORITHM,
            sender_key: self.account.identity_key(),
            device_id: self.account.device_id(),
            session_id: &self.session_id,
            ciphertext: String::new(),
            relates_to,
        };
        let frame = json::event_frame(self.account.user_id(), &self.room_id);
        let around = json::to_text(&encrypted)?.len().saturating_add(frame);
        json::check_encrypted_size(plaintext.len(), OVERHEAD, around)?;
        let now = self.account.now_ms()?;
        let mut state = self.state()?;
        state.check_life(state.period, now)?;
        state.change(|state| {
            let is_reserved = state.has_reserved();
            if !is_reserved {
                state.reserve();
            }
            encrypted.ciphertext = state.session.encrypt(&plaintext).to_base64();
            if !is_reserved {
                let mut batch = Batch::new();
                record::put(self, state, &mut batch)?;
                self.account.vault().commit(batch)?;
            }
            json::to_text(&encrypted)
        })
    }
}
