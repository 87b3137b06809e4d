//! Decrypting Olm messages (O13-O19; D20, D21, D27, D34; SEC-26, 29-32, 35, 39).

use serde_json::Value;
use vodozemac::olm::{DecryptionError, OlmMessage, PreKeyMessage, Session};

use super::record::{ChannelState, Fingerprint, put_channel, put_channel_relaxed, put_session};
use super::{OlmChannel, envelope, time_of_use};
use crate::base::json::{self, Object};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::OLM_ALGORITHM;
use crate::store::{Taken, Transaction};

/// The ciphertext for us, decoded if it can be.
pub(super) enum Incoming {
    Message(OlmMessage),
    Malformed,
}

pub(super) fn malformed() -> E2eeError {
    E2eeError::unable_to_decrypt("malformed", "the ciphertext is not an Olm message")
}

impl OlmChannel {
    /// Decrypts the content of an `m.room.encrypted` to-device event and returns the plaintext.
    ///
    /// After an error, too, there may be something to be committed: a message that is decrypted but
    /// has to be discarded (INVALID_MESSAGE, MISMATCHED_FINGERPRINT) has advanced its session
    /// (O19), and one that cannot be decrypted may show that a new session is needed.
    pub fn decrypt(&self, tx: &mut Transaction<'_>, content: &Object) -> Result<String> {
        let incoming = self.read_content(content)?;
        let now = time_of_use(tx)?;
        let mut state = self.take(tx)?;
        let fingerprint = state.fingerprint;
        let result = match incoming {
            Incoming::Message(message) => self.decrypt_message(tx, &mut state, &message, now),
            Incoming::Malformed => Err(malformed()),
        };
        if state.fingerprint != fingerprint {
            self.keep_and_note(tx);
        }
        if let Err(E2eeError::UnableToDecrypt { reason, .. }) = &result
            && reason != "missing_message_key"
            && reason != "message_gap"
        {
            self.note_need(tx, &mut state)?;
        }
        result
    }

    /// Stores that a new session is needed, once until there is one (D32).
    fn note_need(&self, tx: &mut Transaction<'_>, state: &mut Taken<ChannelState>) -> Result<()> {
        if state.needs_new_session {
            return Ok(());
        }
        state.change(|state| {
            state.needs_new_session = true;
            // No key depends on it, and whoever sends garbage shall not make the disk work.
            put_channel_relaxed(self, state, tx)
        })
    }

    fn decrypt_message(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut Taken<ChannelState>,
        message: &OlmMessage,
        now: Option<i64>,
    ) -> Result<String> {
        check_ratchet_key(message)?;
        if let OlmMessage::PreKey(pre_key) = message {
            self.check_identity(pre_key)?;
            let session_id = pre_key.session_id();
            // A pre-key message that matches a session is tried only there (D21, SEC-30).
            let known = state.sessions.iter().position(|s| s.session_id() == session_id);
            return match known {
                Some(index) => self.decrypt_with(tx, state, index, message, now),
                None => self.decrypt_in_new_session(tx, state, pre_key, now),
            };
        }
        let mut worst: Option<E2eeError> = None;
        for index in (0..state.sessions.len()).rev() {
            match self.decrypt_with(tx, state, index, message, now) {
                Err(error @ E2eeError::UnableToDecrypt { .. }) => {
                    worst = Some(more_telling(worst, error));
                }
                result => return result,
            }
        }
        Err(worst.unwrap_or_else(|| {
            E2eeError::unable_to_decrypt("no_matching_session", "the channel has no session")
        }))
    }

    /// Tries one session; a success moves it to the end of the list.
    fn decrypt_with(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut Taken<ChannelState>,
        index: usize,
        message: &OlmMessage,
        now: Option<i64>,
    ) -> Result<String> {
        let plaintext = state.try_change(|state| state.try_session(index, message))?;
        state.change(|state| {
            let session = state.sessions.remove(index);
            put_session(self, &session, tx)?;
            let is_moved = index != state.sessions.len();
            state.sessions.push(session);
            let before = (state.fingerprint, state.device_id.clone());
            let event = receive_plaintext(self, state, plaintext);
            let is_noted = state.note_use(now);
            let is_learned = (state.fingerprint, &state.device_id) != (before.0, &before.1);
            if is_moved || is_noted || is_learned {
                put_channel(self, state, tx)?;
            }
            Ok(event)
        })?
    }

    fn decrypt_in_new_session(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut Taken<ChannelState>,
        message: &PreKeyMessage,
        now: Option<i64>,
    ) -> Result<String> {
        let (session, plaintext) = self.account.create_inbound_session(tx, message)?;
        state.change(|state| {
            state.needs_new_session = false;
            state.note_use(now);
            state.push(self, session, tx)?;
            let event = receive_plaintext(self, state, plaintext);
            put_channel(self, state, tx)?;
            Ok(event)
        })?
    }

    /// The identity key inside a pre-key message must be the partner's, byte for byte (SEC-29, P2).
    pub(super) fn check_identity(&self, message: &PreKeyMessage) -> Result<()> {
        // These stand outside of the MAC, and the session's ID hashes their bytes: an alias would
        // make one message open many sessions (SEC-25, SEC-30).
        let keys = [message.one_time_key(), message.base_key()];
        if !keys.iter().all(public_keys::is_canonical) {
            return Err(E2eeError::unable_to_decrypt(
                "malformed",
                "the message names a key that is not canonically encoded",
            ));
        }
        if keys.iter().any(public_keys::is_low_order) {
            return Err(low_order());
        }
        if message.identity_key().as_bytes() == self.partner_identity_key.as_bytes() {
            Ok(())
        } else {
            Err(E2eeError::unable_to_decrypt(
                "malformed",
                "the message names another identity key than its sender's",
            ))
        }
    }

    /// Reads the cleartext of an encrypted to-device event as far as it concerns us (O13, D28).
    pub(super) fn read_content(&self, content: &Object) -> Result<Incoming> {
        let algorithm = json::text(content, "algorithm")?;
        if algorithm != OLM_ALGORITHM {
            return Err(E2eeError::unknown_algorithm(algorithm, OLM_ALGORITHM));
        }
        let sender_key = json::text(content, "sender_key")?;
        let sender_key = public_keys::curve25519("sender_key", sender_key)?;
        if sender_key.as_bytes() != self.partner_identity_key.as_bytes() {
            return Err(E2eeError::invalid_field("sender_key", "is not the channel's partner"));
        }
        let ciphertext = json::object(content, "ciphertext")?;
        let ours = ciphertext.get(self.account.identity_key()).ok_or_else(|| {
            E2eeError::not_encrypted_for_us("the message has no ciphertext for this device")
        })?;
        let ours = json::as_object("ciphertext", ours)?;
        let body = json::text(ours, "body")?;
        let message_type = match ours.get("type") {
            Some(Value::Number(number)) => match number.as_u64() {
                Some(0) => 0,
                Some(1) => 1,
                _ => return Err(E2eeError::invalid_message("the message type is not 0 or 1")),
            },
            Some(_) => return Err(E2eeError::invalid_field("type", "is not a number")),
            None => return Err(E2eeError::invalid_field("type", "is missing")),
        };
        let message = json::decode_base64("body", body)
            .ok()
            .and_then(|bytes| OlmMessage::from_parts(message_type, &bytes).ok());
        Ok(message.map_or(Incoming::Malformed, Incoming::Message))
    }
}

/// A key of low order is the same error in every message, whether it would begin a session or a
/// chain of one (SEC-9, SEC-20).
pub(super) fn check_ratchet_key(message: &OlmMessage) -> Result<()> {
    let ratchet_key = match message {
        OlmMessage::Normal(message) => message.ratchet_key(),
        OlmMessage::PreKey(message) => message.message().ratchet_key(),
    };
    if public_keys::is_low_order(&ratchet_key) { Err(low_order()) } else { Ok(()) }
}

fn low_order() -> E2eeError {
    E2eeError::invalid_key("the message carries a key of low order")
}

impl ChannelState {
    /// Tries one session, which is as it was if that fails.
    fn try_session(&mut self, index: usize, message: &OlmMessage) -> Result<Vec<u8>> {
        let session = self
            .sessions
            .get_mut(index)
            .ok_or_else(|| E2eeError::no_session("the channel has no such session"))?;
        // vodozemac begins a sending chain before it looks at the MAC, if the message names a
        // ratchet key that it does not know; the store would know nothing of it (P4).
        let before = session.pickle();
        session.decrypt(message).map_err(|error| {
            *session = Session::from_pickle(before);
            decryption_error(error)
        })
    }
}

/// Checks the plaintext and learns the partner's fingerprint from it (O17, O18).
pub(super) fn receive_plaintext(
    channel: &OlmChannel,
    state: &mut ChannelState,
    plaintext: Vec<u8>,
) -> Result<String> {
    let (text, fingerprint_key) = envelope::check(channel, state, plaintext)?;
    if state.fingerprint == Fingerprint::Unknown {
        state.fingerprint = Fingerprint::Learned(fingerprint_key);
    }
    Ok(text)
}

fn decryption_error(error: DecryptionError) -> E2eeError {
    match error {
        DecryptionError::MissingMessageKey(_) => E2eeError::unable_to_decrypt(
            "missing_message_key",
            "the message was decrypted before, or is too old: its key is gone",
        ),
        DecryptionError::TooBigMessageGap(..) => {
            E2eeError::unable_to_decrypt("message_gap", "too many earlier messages are missing")
        }
        DecryptionError::NonContributoryKey => low_order(),
        DecryptionError::InvalidMAC(_) => {
            E2eeError::unable_to_decrypt("bad_mac", "no session fits, or the message was altered")
        }
        _ => E2eeError::unable_to_decrypt("malformed", "the message cannot be decrypted"),
    }
}

/// With several sessions, the error that tells most: a session that knew the message's chain.
fn more_telling(so_far: Option<E2eeError>, error: E2eeError) -> E2eeError {
    let rank = |error: &E2eeError| match error {
        E2eeError::UnableToDecrypt { reason, .. } if reason == "missing_message_key" => 2,
        E2eeError::UnableToDecrypt { reason, .. } if reason == "message_gap" => 1,
        _ => 0,
    };
    match so_far {
        Some(old) if rank(&old) >= rank(&error) => old,
        _ => error,
    }
}
