//! What is stored of an outbound session. Shares stand in a record for each user, so that handing
//! out a key rewrites only what changed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::megolm::{GroupSession, GroupSessionPickle};
use zeroize::Zeroizing;

use super::{OutboundMegolmSession, Settings};
use crate::account::Account;
use crate::error::Result;
use crate::room_settings::RotationPeriod;
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
    /// Whom the session was meant for, and what became of it.
    pub(super) shares: BTreeMap<String, UserShares>,
}

/// One user's devices by device ID; a user without devices is remembered too (D9).
pub(super) type UserShares = BTreeMap<String, Share>;

/// What a device got, bound to its identity key, because a device ID can be reused (D10).
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) identity_key: String,
    pub(super) status: ShareStatus,
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
            session,
            created_ms,
            settings,
            period: settings.limits.default_period(),
            shared_history: None,
            invalidated: false,
            recipients_unknown: false,
            shares: BTreeMap::new(),
        }
    }
}

#[derive(Serialize)]
struct SessionOut {
    pickle: GroupSessionPickle,
    created_ms: i64,
    settings: Settings,
    period: RotationPeriod,
    shared_history: Option<bool>,
    invalidated: bool,
    recipients_unknown: bool,
}

#[derive(Deserialize)]
struct SessionIn {
    pickle: GroupSessionPickle,
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
    Ok(Some(OutboundState {
        session: GroupSession::from_pickle(record.pickle),
        created_ms: record.created_ms,
        settings: record.settings,
        period: record.period,
        shared_history: record.shared_history,
        invalidated: record.invalidated,
        recipients_unknown: record.recipients_unknown,
        shares,
    }))
}

pub(super) fn put(
    outbound: &OutboundMegolmSession,
    state: &OutboundState,
    batch: &mut Batch,
) -> Result<()> {
    batch.put(
        &outbound.key,
        &SessionOut {
            pickle: state.session.pickle(),
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
    account.vault().read(&account.record_key(OUTBOUND_CURRENT, &[room_id]))
}

pub(super) fn put_current(outbound: &OutboundMegolmSession, batch: &mut Batch) -> Result<()> {
    let key = outbound.account.record_key(OUTBOUND_CURRENT, &[&outbound.room_id]);
    batch.put(&key, &outbound.session_id)
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
        batch.delete(&account.record_key(OUTBOUND_CURRENT, &[&outbound.room_id]));
    }
    Ok(())
}
