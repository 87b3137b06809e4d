//! What is stored of an inbound session: its first known ratchet and where it came from (SEC-45).

use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::Curve25519PublicKey;
use vodozemac::megolm::{InboundGroupSession, InboundGroupSessionPickle};

use super::{InboundMegolmSession, replay};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::olm::FingerprintKey;
use crate::store::collections::{INBOUND_ROOMS, INBOUND_SESSIONS};
use crate::store::{Batch, RecordKey};

/// An inbound session in memory. Keys are bytes here and base64 in the record: there may be
/// thousands of sessions.
pub(super) struct InboundState {
    pub(super) session: InboundGroupSession,
    pub(super) sender_key: Curve25519PublicKey,
    pub(super) owner_user_id: Option<Box<str>>,
    /// The owner's fingerprint key: known from its channel, or claimed by an export.
    pub(super) fingerprint_key: Option<FingerprintKey>,
    pub(super) source: Source,
    pub(super) shared_history: bool,
}

/// How a session reached us.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Our own outbound session.
    OwnOutbound,
    /// `m.room_key` over Olm from its owner.
    Direct,
    /// An export, or another library's pickle: anybody who had the key can have made it.
    Export,
}

impl Source {
    pub(super) fn is_authenticated(self) -> bool {
        matches!(self, Self::OwnOutbound | Self::Direct)
    }
}

impl fmt::Debug for InboundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundState").finish_non_exhaustive()
    }
}

/// A stored inbound session, without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// The room.
    pub room_id: String,
    /// The session's ID.
    pub session_id: String,
    /// The identity key of the device it came from, or is said to come from.
    pub sender_key: String,
    /// The user who owns it, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_user_id: Option<String>,
    /// The first message index that can be decrypted.
    pub first_known_index: u32,
    /// Whether the key came from its owner over Olm, or is our own.
    pub authenticated: bool,
}

#[derive(Serialize)]
struct SessionOut<'a> {
    room_id: &'a str,
    session_id: &'a str,
    pickle: InboundGroupSessionPickle,
    sender_key: String,
    owner_user_id: Option<&'a str>,
    fingerprint_key: Option<String>,
    source: Source,
    shared_history: bool,
}

#[derive(Deserialize)]
struct SessionIn {
    room_id: String,
    session_id: String,
    pickle: InboundGroupSessionPickle,
    sender_key: String,
    owner_user_id: Option<String>,
    fingerprint_key: Option<String>,
    source: Source,
    shared_history: bool,
}

pub(super) fn session_key(account: &Account, room_id: &str, session_id: &str) -> RecordKey {
    account.record_key(INBOUND_SESSIONS, &[room_id, session_id])
}

pub(super) fn load(session: &InboundMegolmSession) -> Result<Option<InboundState>> {
    let Some(record) = session.account.vault().read::<SessionIn>(&session.key)? else {
        return Ok(None);
    };
    Ok(Some(InboundState {
        session: InboundGroupSession::from_pickle(record.pickle),
        sender_key: Curve25519PublicKey::from_base64(&record.sender_key)
            .map_err(|_| E2eeError::corrupt("a stored identity key is no key"))?,
        owner_user_id: record.owner_user_id.map(String::into_boxed_str),
        fingerprint_key: record
            .fingerprint_key
            .as_deref()
            .map(FingerprintKey::from_stored)
            .transpose()?,
        source: record.source,
        shared_history: record.shared_history,
    }))
}

pub(super) fn put(
    session: &InboundMegolmSession,
    state: &InboundState,
    batch: &mut Batch,
) -> Result<()> {
    batch.put(&room_record(&session.account, &session.session_id), &session.room_id)?;
    batch.put(
        &session.key,
        &SessionOut {
            room_id: &session.room_id,
            session_id: &session.session_id,
            pickle: state.session.pickle(),
            sender_key: state.sender_key.to_base64(),
            owner_user_id: state.owner_user_id.as_deref(),
            fingerprint_key: state.fingerprint_key.map(FingerprintKey::to_base64),
            source: state.source,
            shared_history: state.shared_history,
        },
    )
}

/// The record of the room that a session ID belongs to.
pub(super) fn room_record(account: &Account, session_id: &str) -> RecordKey {
    account.record_key(INBOUND_ROOMS, &[session_id])
}

/// The room under which a session ID is stored, if it is.
pub(super) fn room_of(account: &Account, session_id: &str) -> Result<Option<String>> {
    account.vault().read(&room_record(account, session_id))
}

pub(super) fn delete(session: &InboundMegolmSession, batch: &mut Batch) -> Result<()> {
    batch.delete(&session.key);
    batch.delete(&room_record(&session.account, &session.session_id));
    for key in replay::keys(session)? {
        batch.delete(&key);
    }
    Ok(())
}

pub(super) fn list(account: &Account, room_id: Option<&str>) -> Result<Vec<SessionInfo>> {
    let mut parts = vec![account.user_id(), account.device_id()];
    parts.extend(room_id);
    let records = account.vault().scan::<SessionIn>(INBOUND_SESSIONS, &parts)?;
    Ok(records
        .into_iter()
        .map(|(_, record)| SessionInfo {
            first_known_index: InboundGroupSession::from_pickle(record.pickle).first_known_index(),
            room_id: record.room_id,
            session_id: record.session_id,
            sender_key: record.sender_key,
            owner_user_id: record.owner_user_id,
            authenticated: record.source.is_authenticated(),
        })
        .collect())
}
