//! Encrypting a room event (M15, M16, D12, D13, S6).

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{OutboundMegolmSession, record};
use crate::base::identifiers::EventType;
use crate::base::json::{self, EVENT_LIMIT};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::store::Transaction;

/// Framing, MAC and signature of a message.
const OVERHEAD: usize = 16 + 8 + 64;

/// What a room event says, without `m.relates_to`, which goes outside, where servers and clients look
/// for it (D12).
pub struct EventContent<'a> {
    without_relation: Cow<'a, RawValue>,
    relation: Option<Value>,
}

#[derive(serde::Serialize)]
struct Plaintext<'a> {
    room_id: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    content: &'a RawValue,
}

/// The content of an `m.room.encrypted` event.
#[derive(serde::Serialize)]
pub struct EncryptedEvent<'a> {
    algorithm: &'static str,
    sender_key: &'a str,
    device_id: &'a str,
    session_id: &'a str,
    ciphertext: String,
    #[serde(rename = "m.relates_to", skip_serializing_if = "Option::is_none")]
    relates_to: Option<&'a Value>,
}

impl fmt::Debug for EventContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventContent").finish_non_exhaustive()
    }
}

impl fmt::Debug for EncryptedEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptedEvent").finish_non_exhaustive()
    }
}

impl<'a> EventContent<'a> {
    /// Reads an object within the limits of an event.
    pub fn read(text: &'a str) -> Result<Self> {
        let mut object = json::parse_field("content", text, EVENT_LIMIT)?;
        let relation = object.remove("m.relates_to");
        let without_relation = match &relation {
            None => Cow::Borrowed(
                serde_json::from_str(text)
                    .map_err(|_| E2eeError::invalid_json("the content cannot be written"))?,
            ),
            Some(_) => Cow::Owned(json::to_raw(&object)?),
        };
        Ok(Self { without_relation, relation })
    }
}

impl OutboundMegolmSession {
    /// Encrypts an event. That its index is used is durable, or in this transaction: nobody may see
    /// the ciphertext before that is committed, so that no index is ever used twice.
    ///
    /// What is too large or too deep for the event that a server makes of it, or for whoever
    /// decrypts it, is refused before an index is used.
    pub fn encrypt<'a>(
        &'a self,
        tx: &mut Transaction<'_>,
        event_type: &EventType,
        content: &'a EventContent<'_>,
    ) -> Result<EncryptedEvent<'a>> {
        let plaintext = json::to_text(&Plaintext {
            room_id: &self.room_id,
            event_type,
            content: &content.without_relation,
        })?;
        let mut encrypted = EncryptedEvent {
            algorithm: MEGOLM_ALGORITHM,
            sender_key: self.account.identity_key(),
            device_id: self.account.device_id(),
            session_id: &self.session_id,
            ciphertext: String::new(),
            relates_to: content.relation.as_ref(),
        };
        let frame = json::event_frame(self.account.user_id(), &self.room_id);
        let around = json::to_text(&encrypted)?.len().saturating_add(frame);
        json::check_encrypted_size(plaintext.len(), OVERHEAD, around)?;
        let now = tx.now_ms()?;
        let mut state = self.take(tx)?;
        state.check_life(state.period, now)?;
        state.change(|state| {
            let is_reserved = state.has_reserved();
            if !is_reserved {
                state.reserve();
            }
            encrypted.ciphertext = state.session.encrypt(&plaintext).to_base64();
            if is_reserved { Ok(()) } else { record::put(self, state, tx) }
        })?;
        Ok(encrypted)
    }
}
