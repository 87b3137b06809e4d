//! What is stored of an outbound session, but for its shares (`share_records`).

use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::megolm::{GroupSession, GroupSessionPickle};

use super::shares::Shares;
use super::unchanged::Answered;
use super::{OutboundMegolmSession, Settings, share_records};
use crate::base::identifiers::RoomId;
use crate::error::Result;
use crate::sessions::account::Account;
use crate::sessions::room_settings::RotationPeriod;
use crate::store::collections::{OUTBOUND_CURRENT, OUTBOUND_SESSIONS};
use crate::store::{Batch, RecordKey, Records, Transaction};

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
    /// The room has got a newer one: to whom this one was sent is forgotten.
    pub(super) superseded: bool,
    /// It came from elsewhere, and nobody has told yet who has its key.
    pub(super) recipients_unknown: bool,
    /// Indices below this may be used: it is on disk. See `reserve`.
    pub(super) reserved_until: u32,
    /// Whether the next reservation is a whole block.
    pub(super) reserves_blocks: bool,
    pub(super) shares: Shares,
    /// Not stored.
    pub(super) answered: Option<Answered>,
}

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
            superseded: false,
            recipients_unknown: false,
            reserves_blocks: true,
            shares: Shares::default(),
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
    superseded: bool,
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
    superseded: bool,
    #[serde(default)]
    recipients_unknown: bool,
}

pub(super) fn session_key(account: &Account, room_id: &str, session_id: &str) -> RecordKey {
    account.record_key(OUTBOUND_SESSIONS, &[room_id, session_id])
}

pub(super) fn load(
    outbound: &OutboundMegolmSession,
    records: &Records<'_>,
) -> Result<Option<OutboundState>> {
    let Some(mut state) = load_alone(outbound, records)? else { return Ok(None) };
    state.shares = share_records::load(outbound, records)?;
    Ok(Some(state))
}

/// A session as if nobody had its key.
pub(super) fn load_alone(
    outbound: &OutboundMegolmSession,
    records: &Records<'_>,
) -> Result<Option<OutboundState>> {
    let Some(record) = records.read::<SessionIn>(&outbound.key)? else { return Ok(None) };
    let mut state = OutboundState {
        session: GroupSession::from_pickle(record.reserving_pickle),
        created_ms: record.created_ms,
        settings: record.settings,
        period: record.period,
        shared_history: record.shared_history,
        invalidated: record.invalidated,
        superseded: record.superseded,
        recipients_unknown: record.recipients_unknown,
        reserved_until: record.reserved_until,
        reserves_blocks: false,
        shares: Shares::default(),
        answered: None,
    };
    state.skip_reserved()?;
    Ok(Some(state))
}

pub(super) fn put(
    outbound: &OutboundMegolmSession,
    state: &OutboundState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    tx.put(&outbound.key, &SessionOut::new(state, state.reserved_until))
}

/// Stores a state that is taken out of memory: no index from here on was used, or will be before
/// the record is read again.
pub(super) fn put_unreserved(
    key: &RecordKey,
    state: &OutboundState,
    batch: &mut Batch,
) -> Result<()> {
    batch.put(key, &SessionOut::new(state, state.session.message_index()))
}

impl SessionOut {
    fn new(state: &OutboundState, reserved_until: u32) -> Self {
        Self {
            reserving_pickle: state.session.pickle(),
            reserved_until,
            created_ms: state.created_ms,
            settings: state.settings,
            period: state.period,
            shared_history: state.shared_history,
            invalidated: state.invalidated,
            superseded: state.superseded,
            recipients_unknown: state.recipients_unknown,
        }
    }
}

pub(super) fn current(
    account: &Account,
    tx: &Transaction<'_>,
    room_id: &RoomId,
) -> Result<Option<String>> {
    tx.read(&current_key(account, room_id))
}

pub(super) fn put_current(
    outbound: &OutboundMegolmSession,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let key = current_key(&outbound.account, &outbound.room_id);
    tx.put(&key, &outbound.session_id)
}

pub(super) fn current_key(account: &Account, room_id: &RoomId) -> RecordKey {
    account.record_key(OUTBOUND_CURRENT, &[room_id])
}

/// Deletes all records of a session; if it is the room's current one, the room has none then.
pub(super) fn delete(outbound: &OutboundMegolmSession, tx: &mut Transaction<'_>) -> Result<()> {
    let account = &outbound.account;
    tx.delete(&outbound.key);
    share_records::delete(outbound, tx)?;
    if current(account, tx, &outbound.room_id)?.as_deref() == Some(outbound.session_id.as_str()) {
        tx.delete(&current_key(account, &outbound.room_id));
    }
    Ok(())
}
