//! What is stored of an outbound session. Shares stand in a record for each user, so that handing
//! out a key rewrites only what changed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::megolm::{GroupSession, GroupSessionPickle};
use zeroize::Zeroizing;

use super::unchanged::Answered;
use super::{OutboundMegolmSession, Settings};
use crate::error::Result;
use crate::sessions::account::Account;
use crate::sessions::device_keys::DeviceKeys;
use crate::sessions::room_settings::RotationPeriod;
use crate::store::collections::{OUTBOUND_CURRENT, OUTBOUND_SESSIONS, OUTBOUND_SHARES};
use crate::store::{Batch, RecordKey};

/// An outbound session in memory.
pub(super) struct OutboundState {
    pub(super) session: GroupSession,
    pub(super) created_ms: i64,
    pub(super) settings: Settings,
    /// As of the last `m.room.encryption` content seen.
    pub(super) period: RotationPeriod,
    /// Fixed by the first call that hands out the key.
    pub(super) shared_history: Option<bool>,
    pub(super) invalidated: bool,
    /// It came from elsewhere, and nobody has told yet who has its key.
    pub(super) recipients_unknown: bool,
    /// Indices below this may be used: it is on disk. See `reserve`.
    pub(super) reserved_until: u32,
    /// Whether the next reservation is a whole block.
    pub(super) reserves_blocks: bool,
    /// Whom the session was meant for, and what became of it.
    pub(super) shares: BTreeMap<String, UserShares>,
    /// Not stored.
    pub(super) answered: Option<Answered>,
}

/// One user's devices by device ID; a user without devices is remembered too (D9).
pub(super) type UserShares = BTreeMap<String, Share>;

/// What a device got, bound to its identity key, because a device ID can be reused (D10).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) identity_key: String,
    /// Not stored by earlier versions, and not known of a device that only `mark_as_sent` named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint_key: Option<String>,
    pub(super) status: ShareStatus,
    /// While the key waits: the device is told that it cannot be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) notice: Option<Notice>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    Pending,
    Sent,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(super) enum ShareStatus {
    /// The key at the index at which it was first handed out (M7).
    Pending(PendingKey),
    Sent,
    /// A notice that the key is withheld was handed out.
    WithheldPending,
    WithheldSent,
}

impl Share {
    pub(super) fn new(
        identity_key: String,
        fingerprint_key: Option<String>,
        status: ShareStatus,
    ) -> Self {
        Self { identity_key, fingerprint_key, status, notice: None }
    }

    /// Whether the device may have the key, or may get it.
    pub(super) fn has_key(&self) -> bool {
        self.status.is_about_key()
    }

    /// Whether it is this device's, which is certain.
    pub(super) fn is_of(&self, keys: &DeviceKeys) -> bool {
        self.fingerprint_key.is_some() && self.may_be_of(keys)
    }

    /// Whether it is this device's, as far as its keys are known.
    pub(super) fn may_be_of(&self, keys: &DeviceKeys) -> bool {
        let is = |known: &String| *known == keys.fingerprint_key.to_base64();
        self.identity_key == keys.identity_key.to_base64()
            && self.fingerprint_key.as_ref().is_none_or(is)
    }
}

impl ShareStatus {
    pub(super) fn is_about_key(&self) -> bool {
        matches!(self, Self::Pending(_) | Self::Sent)
    }
}

/// A room key that waits to be sent.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(transparent)]
pub(super) struct PendingKey(pub(super) Zeroizing<String>);

impl fmt::Debug for OutboundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundState").finish_non_exhaustive()
    }
}

impl OutboundState {
    pub(super) fn new(session: GroupSession, created_ms: i64, settings: Settings) -> Self {
        Self {
            reserved_until: session.message_index(),
            session,
            created_ms,
            settings,
            period: settings.limits.default_period(),
            shared_history: None,
            invalidated: false,
            recipients_unknown: false,
            reserves_blocks: true,
            shares: BTreeMap::new(),
            answered: None,
        }
    }
}

#[derive(Serialize)]
struct SessionOut {
    /// Once "pickle": a version that does not skip what is reserved must not read this.
    reserving_pickle: GroupSessionPickle,
    reserved_until: u32,
    created_ms: i64,
    settings: Settings,
    period: RotationPeriod,
    shared_history: Option<bool>,
    invalidated: bool,
    recipients_unknown: bool,
}

#[derive(Deserialize)]
struct SessionIn {
    #[serde(alias = "pickle")]
    reserving_pickle: GroupSessionPickle,
    #[serde(default)]
    reserved_until: u32,
    created_ms: i64,
    settings: Settings,
    period: RotationPeriod,
    shared_history: Option<bool>,
    invalidated: bool,
    #[serde(default)]
    recipients_unknown: bool,
}

#[derive(Serialize)]
struct SharesOut<'a> {
    user_id: &'a str,
    devices: &'a UserShares,
}

#[derive(Deserialize)]
struct SharesIn {
    user_id: String,
    devices: UserShares,
}

pub(super) fn session_key(account: &Account, room_id: &str, session_id: &str) -> RecordKey {
    account.record_key(OUTBOUND_SESSIONS, &[room_id, session_id])
}

pub(super) fn load(outbound: &OutboundMegolmSession) -> Result<Option<OutboundState>> {
    let account = &outbound.account;
    let Some(record) = account.vault().read::<SessionIn>(&outbound.key)? else { return Ok(None) };
    let parts = [account.user_id(), account.device_id(), &outbound.room_id, &outbound.session_id];
    let shares = account
        .vault()
        .scan::<SharesIn>(OUTBOUND_SHARES, &parts)?
        .into_iter()
        .map(|(_, shares)| (shares.user_id, shares.devices))
        .collect();
    let mut state = OutboundState {
        session: GroupSession::from_pickle(record.reserving_pickle),
        created_ms: record.created_ms,
        settings: record.settings,
        period: record.period,
        shared_history: record.shared_history,
        invalidated: record.invalidated,
        recipients_unknown: record.recipients_unknown,
        reserved_until: record.reserved_until,
        reserves_blocks: false,
        shares,
        answered: None,
    };
    state.skip_reserved()?;
    Ok(Some(state))
}

pub(super) fn put(
    outbound: &OutboundMegolmSession,
    state: &OutboundState,
    batch: &mut Batch,
) -> Result<()> {
    put_record(&outbound.key, state, state.reserved_until, batch)
}

/// Stores a state that is taken out of memory: no index from here on was used, or will be before
/// the record is read again.
pub(super) fn put_unreserved(
    key: &RecordKey,
    state: &OutboundState,
    batch: &mut Batch,
) -> Result<()> {
    put_record(key, state, state.session.message_index(), batch)
}

fn put_record(
    key: &RecordKey,
    state: &OutboundState,
    reserved_until: u32,
    batch: &mut Batch,
) -> Result<()> {
    batch.put(
        key,
        &SessionOut {
            reserving_pickle: state.session.pickle(),
            reserved_until,
            created_ms: state.created_ms,
            settings: state.settings,
            period: state.period,
            shared_history: state.shared_history,
            invalidated: state.invalidated,
            recipients_unknown: state.recipients_unknown,
        },
    )
}

pub(super) fn put_shares(
    outbound: &OutboundMegolmSession,
    user_id: &str,
    devices: &UserShares,
    batch: &mut Batch,
) -> Result<()> {
    let parts = [outbound.room_id.as_str(), &outbound.session_id, user_id];
    let key = outbound.account.record_key(OUTBOUND_SHARES, &parts);
    batch.put(&key, &SharesOut { user_id, devices })
}

pub(super) fn current(account: &Account, room_id: &str) -> Result<Option<String>> {
    account.vault().read(&current_key(account, room_id))
}

pub(super) fn put_current(outbound: &OutboundMegolmSession, batch: &mut Batch) -> Result<()> {
    let key = current_key(&outbound.account, &outbound.room_id);
    batch.put(&key, &outbound.session_id)
}

pub(super) fn current_key(account: &Account, room_id: &str) -> RecordKey {
    account.record_key(OUTBOUND_CURRENT, &[room_id])
}

/// Deletes all records of a session; if it is the room's current one, the room has none then.
pub(super) fn delete(outbound: &OutboundMegolmSession, batch: &mut Batch) -> Result<()> {
    let account = &outbound.account;
    batch.delete(&outbound.key);
    let parts = [account.user_id(), account.device_id(), &outbound.room_id, &outbound.session_id];
    for key in account.vault().scan_keys(OUTBOUND_SHARES, &parts)? {
        batch.delete(&key);
    }
    if current(account, &outbound.room_id)?.as_deref() == Some(outbound.session_id.as_str()) {
        batch.delete(&current_key(account, &outbound.room_id));
    }
    Ok(())
}
