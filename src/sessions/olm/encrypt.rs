//! Encrypting for the other device of a channel (O9-O12, D25).

use std::collections::BTreeMap;

use vodozemac::olm::Session;

use super::record::{ChannelState, put_channel, put_session};
use super::{OlmChannel, envelope, time_of_use};
use serde_json::value::RawValue;

use crate::base::identifiers::EventType;
use crate::base::json::{self, encode_base64};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::OLM_ALGORITHM;
use crate::store::Transaction;

/// Keys, framing and MAC of a pre-key message, and the other fields of its content.
const OVERHEAD: usize = 192 + 256;

#[derive(serde::Serialize)]
struct Content<'a> {
    algorithm: &'a str,
    sender_key: &'a str,
    ciphertext: BTreeMap<&'a str, Ciphertext>,
}

#[derive(serde::Serialize)]
struct Ciphertext {
    #[serde(rename = "type")]
    message_type: usize,
    body: String,
}

impl OlmChannel {
    /// Encrypts an event in the session that received last, and returns the content of the
    /// `m.room.encrypted` event. Nobody may see it before the transaction is committed.
    ///
    /// `content` is an object, within the limits of an event.
    pub fn encrypt(
        &self,
        tx: &mut Transaction<'_>,
        event_type: &EventType,
        content: &RawValue,
    ) -> Result<String> {
        let now = time_of_use(tx)?;
        let mut state = self.take(tx)?;
        let plaintext = self.plaintext(&state, event_type, content)?;
        state.check_sending()?;
        state.change(|state| {
            let session = state.sending_session()?;
            let text = self.seal(session, &plaintext)?;
            put_session(self, session, tx)?;
            if state.note_sending(now) {
                put_channel(self, state, tx)?;
            }
            Ok(text)
        })
    }

    /// The plaintext of a checked event for the partner, if it is not too large.
    pub(super) fn plaintext(
        &self,
        state: &ChannelState,
        event_type: &str,
        content: &RawValue,
    ) -> Result<String> {
        let fingerprint = state.fingerprint.key().ok_or_else(|| {
            E2eeError::unknown_fingerprint("the other device's fingerprint key is not known")
        })?;
        let plaintext = envelope::write(self, fingerprint, event_type, content)?;
        let frame = json::event_frame(self.account.user_id(), &self.partner_user_id);
        json::check_encrypted_size(plaintext.len(), OVERHEAD, frame)?;
        Ok(plaintext)
    }

    /// Encrypts, and writes the content of `m.room.encrypted`. The session must be committed
    /// before anybody sees it.
    pub(super) fn seal(&self, session: &mut Session, plaintext: &str) -> Result<String> {
        let message = session
            .encrypt(plaintext)
            .map_err(|_| E2eeError::invalid_key("the session's keys gave no usable secret"))?;
        let (message_type, bytes) = message.to_parts();
        let ciphertext = Ciphertext { message_type, body: encode_base64(bytes) };
        json::to_text(&Content {
            algorithm: OLM_ALGORITHM,
            sender_key: self.account.identity_key(),
            ciphertext: BTreeMap::from([(self.partner_identity_text.as_str(), ciphertext)]),
        })
    }
}

impl ChannelState {
    fn check_sending(&self) -> Result<()> {
        if self.sessions.is_empty() { Err(no_session()) } else { Ok(()) }
    }

    /// The session that received last.
    pub(super) fn sending_session(&mut self) -> Result<&mut Session> {
        self.sessions.last_mut().ok_or_else(no_session)
    }
}

fn no_session() -> E2eeError {
    E2eeError::no_session("the channel has no session")
}
