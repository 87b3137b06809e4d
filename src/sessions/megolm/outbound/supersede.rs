//! A room's session ends when the room gets another one (issue 10, 1).
//!
//! Its shares are deleted: there is one for each device of the room, and nobody else needs them.
//! Whom the key must not reach any more cannot be judged without them, so the session has expired
//! for good. Key requests do not need them either: the own verified devices get whatever is known
//! of a session, and others what they were sent of the room's current one (SEC-62), whose shares
//! say as of which index.

use std::sync::Arc;

use super::record::{self, OutboundState};
use super::shares::Shares;
use super::{OutboundMegolmSession, share_records};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::{Batch, LiveGuard};

/// The room's current session, for whoever holds the room's gate. What is damaged is out of use
/// already, and does not keep the room from getting another session.
pub(super) fn predecessor(
    account: &Arc<Account>,
    room_id: &str,
) -> Result<Option<OutboundMegolmSession>> {
    let session_id = readable(record::current(account, room_id))?;
    Ok(session_id.map(|session_id| OutboundMegolmSession::named(account, room_id, &session_id)))
}

impl OutboundMegolmSession {
    /// Puts into a batch that the session is superseded. The change ends when the batch is
    /// committed; until then nobody else can use the session. `None` if it is out of use: it was
    /// erased, its record is damaged, or a call on it has unwound.
    pub(super) fn supersede(
        &self,
        batch: &mut Batch,
    ) -> Result<Option<LiveGuard<'_, OutboundState>>> {
        let Ok(mut lock) = self.shared.state.hold() else { return Ok(None) };
        if let Some(place) = lock.missing() {
            // Without its shares, which go: they may be many, or damaged.
            *place = readable(record::load_alone(self))?.map(Arc::new);
        }
        let Ok(mut guard) = lock.into_guard() else { return Ok(None) };
        let state = guard.begin_change()?;
        state.superseded = true;
        state.shares = Shares::default();
        state.answered = None;
        record::put(self, state, batch)?;
        share_records::delete(self, batch)?;
        Ok(Some(guard))
    }
}

fn readable<T>(result: Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Err(E2eeError::Corrupt { .. } | E2eeError::NewerFormat { .. }) => Ok(None),
        other => other,
    }
}
