//! Decrypting room events (M25-M28; D5, D6, D12; SEC-48 to 54).

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;
use vodozemac::megolm::{DecryptionError, InboundGroupSession, MegolmMessage};

use super::replay::{self, Use};
use super::{InboundMegolmSession, InboundState};
use crate::device_keys::MEGOLM_ALGORITHM;
use crate::error::{E2eeError, Result};
use crate::identifiers::{check_event_id, check_room_id, check_user_id};
use crate::json::{self, EVENT_LIMIT, Object};
use crate::store::{Batch, LiveGuard};

/// From this many events on, `decrypt_many` spreads them over all cores.
const PARALLEL_FROM: usize = 32;

/// A decrypted event.
#[derive(serde::Serialize)]
pub struct Decrypted {
    #[serde(rename = "type")]
    event_type: String,
    content: Object,
    room_id: String,
    matrixe2ee: Facts,
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
    authenticated: bool,
    owner: &'static str,
    unauthenticated: Vec<&'static str>,
}

/// An event before its decryption.
struct Encrypted {
    seen: Use,
    message: MegolmMessage,
    relates_to: Option<Value>,
}

/// An event after its decryption, before the replay check.
struct Opened {
    seen: Use,
    message_index: u32,
    event: Decrypted,
}

impl InboundMegolmSession {
    /// Decrypts an event and records which event used its message index; the record is committed
    /// before the plaintext is returned.
    pub fn decrypt(&self, event: &Object) -> Result<Decrypted> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        let opened = state.change_late(|state, _| {
            let encrypted = self.read_event(state, event)?;
            let facts = SessionFacts::of(self, state);
            facts.open(&mut state.session, encrypted)
        })?;
        let mut batch = Batch::new();
        let event = self.admit(opened, &mut HashMap::new(), &mut batch)?;
        self.commit_uses(batch)?;
        Ok(event)
    }

    /// Decrypts many events of this session, on all cores and with one commit. The results stand
    /// in the order of the events; the call itself fails only if the commit does.
    pub fn decrypt_many(&self, events: &[&RawValue]) -> Result<Vec<Result<Decrypted>>> {
        let _entered = self.enter()?;
        let state = self.state()?;
        let mut uses = HashMap::new();
        let mut batch = Batch::new();
        let results = self
            .open_many(&state, events)
            .into_iter()
            .map(|opened| opened.and_then(|opened| self.admit(opened, &mut uses, &mut batch)))
            .collect();
        self.commit_uses(batch)?;
        Ok(results)
    }

    fn open_many(
        &self,
        state: &LiveGuard<'_, InboundState>,
        events: &[&RawValue],
    ) -> Vec<Result<Opened>> {
        let state: &InboundState = state;
        let facts = SessionFacts::of(self, state);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share =
            if events.len() < PARALLEL_FROM { events.len() } else { events.len().div_ceil(cores) };
        let open_chunk = |chunk: &[&RawValue]| -> Vec<Result<Opened>> {
            // Each chunk has its own copy: decrypting moves a session's ratchet.
            let mut session = InboundGroupSession::from_pickle(state.session.pickle());
            chunk
                .iter()
                .map(|event| {
                    let event = json::parse_object("event", event.get(), EVENT_LIMIT)?;
                    facts.open(&mut session, self.read_event(state, &event)?)
                })
                .collect()
        };
        let mut chunks = events.chunks(share.max(1));
        let Some(first) = chunks.next() else { return Vec::new() };
        std::thread::scope(|scope| {
            let others: Vec<_> =
                chunks.map(|chunk| scope.spawn(move || open_chunk(chunk))).collect();
            let mut results = open_chunk(first);
            for other in others {
                match other.join() {
                    Ok(more) => results.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            results
        })
    }

    /// Reads an event and checks its cleartext against the session. The cleartext `sender_key`
    /// and `device_id` are not looked at (S6, SEC-48).
    fn read_event(&self, state: &InboundState, event: &Object) -> Result<Encrypted> {
        let event_id = json::text(event, "event_id")?;
        let sender = json::text(event, "sender")?;
        let room_id = json::text(event, "room_id")?;
        check_event_id("event_id", event_id)?;
        check_user_id("sender", sender)?;
        check_room_id("room_id", room_id)?;
        let origin_server_ts = json::optional_integer(event, "origin_server_ts")?;
        let content = json::object(event, "content")?;
        let algorithm = json::text(content, "algorithm")?;
        if algorithm != MEGOLM_ALGORITHM {
            return Err(E2eeError::unknown_algorithm(algorithm, MEGOLM_ALGORITHM));
        }
        json::optional_text(content, "sender_key")?;
        json::optional_text(content, "device_id")?;
        if room_id != self.room_id {
            return Err(E2eeError::wrong_room("the event is of another room than the session"));
        }
        if json::text(content, "session_id")? != self.session_id {
            return Err(E2eeError::mismatched_session_id("the event names another session"));
        }
        if state.owner_user_id.as_deref().is_some_and(|owner| owner != sender) {
            return Err(E2eeError::wrong_sender(
                "the event's sender does not own the session it is encrypted with",
            ));
        }
        let ciphertext = json::text(content, "ciphertext")?;
        let message = json::decode_base64("ciphertext", ciphertext)
            .ok()
            .and_then(|bytes| MegolmMessage::from_bytes(&bytes).ok())
            .ok_or_else(|| {
                E2eeError::unable_to_decrypt("malformed", "the ciphertext is not a Megolm message")
            })?;
        let seen = Use { event_id: event_id.to_owned(), origin_server_ts };
        Ok(Encrypted { seen, message, relates_to: content.get("m.relates_to").cloned() })
    }

    /// The replay check (M27): `uses` holds what this call has admitted already.
    fn admit(
        &self,
        opened: Opened,
        uses: &mut HashMap<u32, Use>,
        batch: &mut Batch,
    ) -> Result<Decrypted> {
        let index = opened.message_index;
        if let Some(known) = uses.get(&index) {
            known.check(&opened.seen, index)?;
            return Ok(opened.event);
        }
        let key = replay::key(self, index);
        match self.account.vault().read::<Use>(&key)? {
            Some(known) => known.check(&opened.seen, index)?,
            None => {
                batch.put(&key, &opened.seen)?;
                uses.insert(index, opened.seen);
            }
        }
        Ok(opened.event)
    }

    /// Replay records alone need no sync: losing one in a power cut loses no key (DESIGN, State).
    fn commit_uses(&self, mut batch: Batch) -> Result<()> {
        batch.relaxed();
        self.account.vault().commit(batch)
    }
}

/// What is the same for all events of a session.
struct SessionFacts<'a> {
    room_id: &'a str,
    session_id: &'a str,
    authenticated: bool,
    owner: &'static str,
}

impl<'a> SessionFacts<'a> {
    fn of(session: &'a InboundMegolmSession, state: &InboundState) -> Self {
        Self {
            room_id: &session.room_id,
            session_id: &session.session_id,
            authenticated: state.source.is_authenticated(),
            owner: if state.owner_user_id.is_some() { "known" } else { "unknown" },
        }
    }

    /// Decrypts, and checks the plaintext (M26, SEC-49, SEC-53).
    fn open(&self, session: &mut InboundGroupSession, encrypted: Encrypted) -> Result<Opened> {
        let decrypted = session.decrypt(&encrypted.message).map_err(decryption_error)?;
        let message_index = decrypted.message_index;
        let plaintext = zeroize::Zeroizing::new(decrypted.plaintext);
        let text = std::str::from_utf8(&plaintext)
            .map_err(|_| E2eeError::invalid_message("the plaintext is not UTF-8"))?;
        let mut object = json::parse_object("the plaintext", text, EVENT_LIMIT).map_err(discard)?;
        if json::text(&object, "room_id").map_err(discard)? != self.room_id {
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
            content.insert("m.relates_to".to_owned(), relates_to);
            unauthenticated.push("m.relates_to");
        }
        let event = Decrypted {
            event_type,
            content,
            room_id: self.room_id.to_owned(),
            matrixe2ee: Facts {
                message_index,
                session_id: self.session_id.to_owned(),
                authenticated: self.authenticated,
                owner: self.owner,
                unauthenticated,
            },
        };
        Ok(Opened { seen: encrypted.seen, message_index, event })
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
