//! What is stored of a channel: one record for the channel, one for each of its Olm sessions, so
//! that a message rewrites only the session that it used.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use vodozemac::Ed25519PublicKey;
use vodozemac::olm::{Session, SessionPickle};

use super::{OlmChannel, list, strangers};
use crate::base::identifiers::DeviceId;
use crate::base::json::{Object, decode_base64, encode_base64};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::DeviceKeys;
use crate::store::collections::{OLM_CHANNELS, OLM_SESSIONS};
use crate::store::{RecordKey, Records, Transaction};

/// The most sessions of a channel; the least recently used one makes room (D24, SEC-38).
pub(super) const MAX_SESSIONS: usize = 8;

/// How often the time of a channel's last use is stored.
const USE_INTERVAL_MS: i64 = 3_600_000;

/// A channel in memory. The session that received last stands last (O14).
pub(crate) struct ChannelState {
    pub(super) sessions: Vec<Session>,
    pub(super) device_id: Option<DeviceId>,
    pub(super) fingerprint: Fingerprint,
    pub(super) new_session_advised_ms: Option<i64>,
    /// A decryption ended in UNABLE_TO_DECRYPT since the last new session.
    pub(super) needs_new_session: bool,
    /// When it encrypted or decrypted last, or up to an hour earlier.
    pub(super) last_used_ms: Option<i64>,
    /// It was made from a message of the other device, and nothing was sent in it since.
    pub(super) is_unanswered: bool,
    /// As which it is listed among the strangers' channels, if it is.
    pub(super) listed_as_strangers: Option<i64>,
    /// The last `sender_device_keys` that were verified, as sent and as read; only in memory.
    pub(super) sender_device_keys: Option<Box<(Object, DeviceKeys)>>,
}

impl fmt::Debug for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelState").finish_non_exhaustive()
    }
}

/// The other device's fingerprint key and how we came to know it (D26).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fingerprint {
    Unknown,
    /// It stood in a decrypted message: enforced, but proves nothing about the device.
    Learned(FingerprintKey),
    /// From signed device keys, or from the caller. In records it has its name of the first
    /// versions.
    #[serde(rename = "Verified")]
    DeviceKeys(FingerprintKey),
}

/// What is known of a device. That a person verified it is none of this (SEC-45).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FingerprintStatus {
    /// Nothing.
    Unknown,
    /// Its fingerprint key stood in a message of its own.
    Learned,
    /// The caller gave its signed keys, or its fingerprint key.
    DeviceKeys,
}

/// An Ed25519 key that was checked when it came in, as its bytes: vodozemac's type also holds the
/// point, which takes much of a loaded channel's memory and of the time to load it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FingerprintKey(ByteArray<32>);

impl FingerprintKey {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn to_base64(self) -> String {
        encode_base64(*self.0)
    }

    /// A key that was stored as base64.
    pub(crate) fn from_stored(text: &str) -> Result<Self> {
        let bytes = decode_base64("key", text).ok().and_then(|bytes| bytes.try_into().ok());
        let no_key = || E2eeError::corrupt("a stored fingerprint key is no key");
        bytes.map(|bytes: [u8; 32]| Self::from(bytes)).ok_or_else(no_key)
    }

    /// The key to verify with.
    pub(super) fn to_public_key(self) -> Result<Ed25519PublicKey> {
        Ed25519PublicKey::from_slice(&self.0)
            .map_err(|_| E2eeError::corrupt("a stored fingerprint key is no key"))
    }
}

impl From<Ed25519PublicKey> for FingerprintKey {
    fn from(key: Ed25519PublicKey) -> Self {
        Self::from(*key.as_bytes())
    }
}

impl From<[u8; 32]> for FingerprintKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(ByteArray::new(bytes))
    }
}

impl Fingerprint {
    pub(crate) fn key(&self) -> Option<FingerprintKey> {
        match self {
            Self::Unknown => None,
            Self::Learned(key) | Self::DeviceKeys(key) => Some(*key),
        }
    }

    pub(crate) fn status(&self) -> FingerprintStatus {
        match self {
            Self::Unknown => FingerprintStatus::Unknown,
            Self::Learned(_) => FingerprintStatus::Learned,
            Self::DeviceKeys(_) => FingerprintStatus::DeviceKeys,
        }
    }

    /// Fails if another key is known.
    pub(super) fn check(&self, found: FingerprintKey) -> Result<()> {
        match self.key() {
            Some(known) if known != found => Err(E2eeError::mismatched_fingerprint(
                "the fingerprint key is not the one known for this device",
            )),
            _ => Ok(()),
        }
    }
}

impl ChannelState {
    pub(super) fn new(device_id: Option<DeviceId>, fingerprint: Fingerprint) -> Self {
        Self {
            sessions: Vec::new(),
            device_id,
            fingerprint,
            new_session_advised_ms: None,
            needs_new_session: false,
            last_used_ms: None,
            is_unanswered: false,
            listed_as_strangers: None,
            sender_device_keys: None,
        }
    }

    /// Notes that the channel is used, and says whether the record has to be written for it: once
    /// in an hour. `None`: the clock does not say when.
    pub(super) fn note_use(&mut self, now: Option<i64>) -> bool {
        let Some(now) = now else { return false };
        let age = self.last_used_ms.map(|last| now.saturating_sub(last));
        let is_recent = age.is_some_and(|age| (0..USE_INTERVAL_MS).contains(&age));
        if !is_recent {
            self.last_used_ms = Some(now);
        }
        !is_recent
    }

    /// As `note_use`, for a message of ours.
    pub(super) fn note_sending(&mut self, now: Option<i64>) -> bool {
        self.note_use(now) | std::mem::take(&mut self.is_unanswered)
    }

    /// Appends a session, so that it is used next, and drops the least recently used one if there
    /// are too many.
    pub(super) fn push(
        &mut self,
        channel: &OlmChannel,
        session: Session,
        tx: &mut Transaction<'_>,
    ) -> Result<()> {
        put_session(channel, &session, tx)?;
        self.sessions.push(session);
        while self.sessions.len() > MAX_SESSIONS {
            let evicted = self.sessions.remove(0);
            tx.delete(&session_key(channel, &evicted.session_id()));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct ChannelOut<'a> {
    partner_user_id: &'a str,
    partner_identity_key: &'a str,
    sessions: Vec<String>,
    device_id: &'a Option<DeviceId>,
    fingerprint: &'a Fingerprint,
    new_session_advised_ms: Option<i64>,
    needs_new_session: bool,
    last_used_ms: Option<i64>,
    is_unanswered: bool,
}

impl<'a> ChannelOut<'a> {
    fn of(channel: &'a OlmChannel, state: &'a ChannelState) -> Self {
        Self {
            partner_user_id: &channel.partner_user_id,
            partner_identity_key: &channel.partner_identity_text,
            sessions: state.sessions.iter().map(Session::session_id).collect(),
            device_id: &state.device_id,
            fingerprint: &state.fingerprint,
            new_session_advised_ms: state.new_session_advised_ms,
            needs_new_session: state.needs_new_session,
            last_used_ms: state.last_used_ms,
            is_unanswered: state.is_unanswered,
        }
    }
}

#[derive(Deserialize)]
struct ChannelIn {
    sessions: Vec<String>,
    device_id: Option<DeviceId>,
    fingerprint: Fingerprint,
    new_session_advised_ms: Option<i64>,
    /// Absent, as what follows, in records of the first versions.
    #[serde(default)]
    needs_new_session: bool,
    #[serde(default)]
    last_used_ms: Option<i64>,
    #[serde(default)]
    is_unanswered: bool,
}

pub(super) fn channel_key(account: &Account, user_id: &str, identity_key: &str) -> RecordKey {
    account.record_key(OLM_CHANNELS, &[user_id, identity_key])
}

pub(super) fn session_key(channel: &OlmChannel, session_id: &str) -> RecordKey {
    let parts = [&*channel.partner_user_id, &channel.partner_identity_text, session_id];
    channel.account.record_key(OLM_SESSIONS, &parts)
}

/// The keys of all stored sessions of a channel.
fn session_keys(channel: &OlmChannel, records: &Records<'_>) -> Result<Vec<RecordKey>> {
    let account = &channel.account;
    let parts = [
        account.user_id(),
        account.device_id(),
        &channel.partner_user_id,
        &channel.partner_identity_text,
    ];
    records.scan_keys(OLM_SESSIONS, &parts)
}

pub(super) fn load(channel: &OlmChannel, records: &Records<'_>) -> Result<Option<ChannelState>> {
    let Some(record) = records.read::<ChannelIn>(&channel.key)? else { return Ok(None) };
    let sessions = record
        .sessions
        .iter()
        .map(|session_id| {
            records
                .read::<SessionPickle>(&session_key(channel, session_id))?
                .map(Session::from_pickle)
                .ok_or_else(|| E2eeError::corrupt("a record of an Olm session is missing"))
        })
        .collect::<Result<_>>()?;
    let mut state = ChannelState {
        sessions,
        device_id: record.device_id,
        fingerprint: record.fingerprint,
        new_session_advised_ms: record.new_session_advised_ms,
        needs_new_session: record.needs_new_session,
        last_used_ms: record.last_used_ms,
        is_unanswered: record.is_unanswered,
        listed_as_strangers: None,
        sender_device_keys: None,
    };
    state.listed_as_strangers =
        state.is_strangers().then(|| state.last_used_ms.unwrap_or_default());
    Ok(Some(state))
}

/// Deletes a channel and its sessions.
pub(super) fn delete(
    channel: &OlmChannel,
    state: &mut ChannelState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    tx.delete(&channel.key);
    for key in session_keys(channel, tx.records())? {
        tx.delete(&key);
    }
    list::unnote(channel, tx);
    strangers::unnote(channel, state, tx);
    Ok(())
}

pub(super) fn put_channel(
    channel: &OlmChannel,
    state: &mut ChannelState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    list::note(channel, tx);
    strangers::note(channel, state, tx);
    tx.put(&channel.key, &ChannelOut::of(channel, state))
}

pub(super) fn put_channel_relaxed(
    channel: &OlmChannel,
    state: &ChannelState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    tx.put_relaxed(&channel.key, &ChannelOut::of(channel, state))
}

pub(super) fn put_session(
    channel: &OlmChannel,
    session: &Session,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    tx.put(&session_key(channel, &session.session_id()), &session.pickle())
}

pub(super) fn known_fingerprint(
    account: &Account,
    records: &Records<'_>,
    user_id: &str,
    identity_key: &str,
) -> Result<Fingerprint> {
    let key = channel_key(account, user_id, identity_key);
    let record = records.read::<ChannelIn>(&key)?;
    Ok(record.map_or(Fingerprint::Unknown, |record| record.fingerprint))
}
