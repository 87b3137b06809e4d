//! Decrypting room events (M25-M28; D5, D6, D12; SEC-48 to 54).

use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;
use vodozemac::megolm::{DecryptionError, InboundGroupSession, MegolmMessage};

use super::claims::{Claim, Claims};
use super::replay;
use super::uses::{Use, block_key};
use super::{InboundMegolmSession, InboundState, record};
use crate::base::identifiers::{EventId, RoomId, UserId};
use crate::base::json::{self, EVENT_LIMIT, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::olm::FingerprintStatus;
use crate::store::{RecordKey, RecordPrefix, Transaction};

/// A decrypted event.
#[derive(serde::Serialize)]
pub struct Decrypted {
    #[serde(rename = "type")]
    event_type: String,
    /// As text: `0,` is two bytes there and 64 as a value, and a batch may hold very many.
    content: Box<RawValue>,
    room_id: RoomId,
    matrixe2ee: Box<Facts>,
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted").finish_non_exhaustive()
    }
}

/// What this library says of a decrypted event.
#[derive(serde::Serialize)]
struct Facts {
    message_index: u32,
    session_id: String,
    /// Of the device that the key came from; absent if there is none of this sender's.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_key: Option<String>,
    authenticated: bool,
    owner: &'static str,
    sender_fingerprint: FingerprintStatus,
    unauthenticated: Vec<&'static str>,
}

/// An event before its decryption.
pub(super) struct Encrypted {
    seen: Use,
    sender: UserId,
    pub(super) room_id: RoomId,
    pub(super) session_id: String,
    /// `None` if the ciphertext is none.
    message: Option<MegolmMessage>,
    relates_to: Option<Box<RawValue>>,
}

/// An event after its decryption, before the replay check.
pub(super) struct Opened {
    pub(super) seen: Use,
    pub(super) message_index: u32,
    /// Of the block that the index belongs to.
    pub(super) key: RecordKey,
    /// Where an earlier version may have noted the use.
    pub(super) old_key: Option<RecordKey>,
    pub(super) event: Decrypted,
}

impl InboundMegolmSession {
    /// Decrypts an event and notes which event used its message index. Nobody may see the plaintext
    /// before the transaction is committed.
    pub fn decrypt(&self, tx: &mut Transaction<'_>, event: &Object) -> Result<Decrypted> {
        let encrypted = Encrypted::read(event)?;
        let mut state = self.take(tx)?;
        // What is refused changes nothing that is stored.
        let event = state.try_change(|state| {
            record::ask_channels(self, state, tx)?;
            let (facts, session) = SessionFacts::of(self, state);
            let opened = facts.open(session, encrypted)?;
            state.admit(tx, opened)
        })?;
        state.change(|state| {
            state.has_gained = false;
            state.store_uses(tx)
        })?;
        Ok(event)
    }
}

impl Encrypted {
    /// Reads an event. The cleartext `sender_key` and `device_id` are not looked at (S6, SEC-48).
    pub(super) fn read(event: &Object) -> Result<Self> {
        let event_id = json::text(event, "event_id")?;
        let sender = json::text(event, "sender")?;
        let room_id = json::text(event, "room_id")?;
        let event_id = EventId::read("event_id", event_id)?;
        let sender = UserId::read("sender", sender)?;
        let room_id = RoomId::read("room_id", room_id)?;
        // Whatever is no time says nothing of the event, as if it were absent.
        let origin_server_ts = event.get("origin_server_ts").and_then(Value::as_i64);
        let content = read_content(event)?;
        let algorithm = json::text(content, "algorithm")?;
        if algorithm != MEGOLM_ALGORITHM {
            return Err(E2eeError::unknown_algorithm(algorithm, MEGOLM_ALGORITHM));
        }
        json::optional_text(content, "sender_key")?;
        json::optional_text(content, "device_id")?;
        let session_id = json::text(content, "session_id")?;
        let ciphertext = json::text(content, "ciphertext")?;
        Ok(Self {
            seen: Use { event_id, origin_server_ts },
            sender,
            room_id,
            session_id: session_id.to_owned(),
            message: json::decode_base64("ciphertext", ciphertext)
                .ok()
                .and_then(|bytes| MegolmMessage::from_bytes(&bytes).ok()),
            relates_to: content.get("m.relates_to").map(json::to_raw).transpose()?,
        })
    }

    /// The index that the message claims to have.
    pub(super) fn message_index(&self) -> u32 {
        self.message.as_ref().map_or(0, MegolmMessage::message_index)
    }
}

/// The content, unless the event was redacted: nothing of it is left then.
fn read_content(event: &Object) -> Result<&Object> {
    let redacted =
        || E2eeError::unable_to_decrypt("redacted", "the event was redacted: its content is gone");
    if event.get("content").is_some_and(Value::is_null) {
        return Err(redacted());
    }
    let content = json::object(event, "content")?;
    let is_encrypted = ["algorithm", "ciphertext"].iter().any(|name| content.contains_key(*name));
    if is_encrypted { Ok(content) } else { Err(redacted()) }
}

/// What is the same for all events of a session.
#[derive(Clone, Copy)]
pub(super) struct SessionFacts<'a> {
    room_id: &'a RoomId,
    session_id: &'a str,
    claims: &'a Claims,
    uses: &'a RecordPrefix,
    old_uses: Option<&'a RecordPrefix>,
}

impl<'a> SessionFacts<'a> {
    /// Takes a state apart into what stays and what moves.
    pub(super) fn of(
        session: &'a InboundMegolmSession,
        state: &'a mut InboundState,
    ) -> (Self, &'a mut InboundGroupSession) {
        let facts = Self {
            room_id: &session.room_id,
            session_id: &session.session_id,
            claims: &state.claims,
            uses: session.uses(),
            old_uses: state.old_uses.as_deref(),
        };
        (facts, &mut state.ratchet.session)
    }

    /// Checks the cleartext against the session.
    fn check(&self, encrypted: &Encrypted) -> Result<()> {
        if encrypted.room_id != *self.room_id {
            return Err(E2eeError::wrong_room("the event is of another room than the session"));
        }
        if encrypted.session_id != self.session_id {
            return Err(E2eeError::mismatched_session_id("the event names another session"));
        }
        Ok(())
    }

    /// Decrypts, and checks the plaintext (M26, SEC-49, SEC-53).
    pub(super) fn open(
        &self,
        session: &mut InboundGroupSession,
        encrypted: Encrypted,
    ) -> Result<Opened> {
        self.check(&encrypted)?;
        // The claim of the event's sender, whatever the handle was opened for (SEC-44, SEC-50).
        let claim = self.claims.of(&encrypted.sender)?;
        let message = encrypted.message.ok_or_else(|| {
            E2eeError::unable_to_decrypt("malformed", "the ciphertext is not a Megolm message")
        })?;
        let decrypted = session.decrypt(&message).map_err(decryption_error)?;
        let message_index = decrypted.message_index;
        let plaintext = zeroize::Zeroizing::new(decrypted.plaintext);
        let text = std::str::from_utf8(&plaintext)
            .map_err(|_| E2eeError::invalid_message("the plaintext is not UTF-8"))?;
        let mut object = json::parse_object("the plaintext", text, EVENT_LIMIT).map_err(discard)?;
        if json::text(&object, "room_id").map_err(discard)? != self.room_id.as_str() {
            return Err(E2eeError::wrong_room("the plaintext is of another room than the event"));
        }
        let event_type = json::text(&object, "type").map_err(discard)?.to_owned();
        let Some(Value::Object(mut content)) = object.remove("content") else {
            return Err(E2eeError::invalid_message("the plaintext has no content object"));
        };
        // Only the cleartext's relation counts, and nobody vouches for it (D12, SEC-54).
        content.remove("m.relates_to");
        let mut unauthenticated = Vec::new();
        if let Some(relates_to) = encrypted.relates_to {
            let relates_to = json::parse("m.relates_to", relates_to.get(), EVENT_LIMIT)?;
            content.insert("m.relates_to".to_owned(), relates_to);
            unauthenticated.push("m.relates_to");
        }
        let event = Decrypted {
            event_type,
            content: json::to_raw(&content)?,
            room_id: encrypted.room_id,
            matrixe2ee: Box::new(Facts {
                message_index,
                session_id: encrypted.session_id,
                sender_key: claim.map(|claim| claim.sender_key.to_base64()),
                authenticated: claim.is_some_and(Claim::is_authenticated),
                owner: if claim.is_some_and(Claim::names_an_owner) { "known" } else { "unknown" },
                sender_fingerprint: claim
                    .map_or(FingerprintStatus::Unknown, |claim| claim.fingerprint),
                unauthenticated,
            }),
        };
        let key = block_key(self.uses, &encrypted.sender, message_index);
        let old_key = self.old_uses.map(|uses| replay::old_key(uses, message_index));
        Ok(Opened { seen: encrypted.seen, message_index, key, old_key, event })
    }
}

fn discard(error: E2eeError) -> E2eeError {
    E2eeError::invalid_message(format!("the decrypted event is invalid: {error}"))
}

fn decryption_error(error: DecryptionError) -> E2eeError {
    match error {
        DecryptionError::UnknownMessageIndex(first_known, got) => E2eeError::UnknownIndex {
            detail: format!("the first index that the session knows is {first_known}"),
            first_known,
            got,
        },
        DecryptionError::Signature(_) | DecryptionError::InvalidMAC(_) => {
            E2eeError::unable_to_decrypt("bad_mac", "the message was altered")
        }
        _ => E2eeError::unable_to_decrypt("malformed", "the message cannot be decrypted"),
    }
}
