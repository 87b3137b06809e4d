//! A room's session ends when the room gets another one.
//!
//! Its shares are deleted: there is one for each device of the room, and nobody else needs them.
//! Whom the key must not reach any more cannot be judged without them, so the session has expired
//! for good. Key requests do not need them either: the own verified devices get whatever is known
//! of a session, and others what they were sent of the room's current one (SEC-62), whose shares
//! say as of which index.

use super::shares::Shares;
use super::{OutboundMegolmSession, record, share_records};
use crate::error::{E2eeError, Result};
use crate::store::Transaction;

impl OutboundMegolmSession {
    /// The room's current session, for whoever holds the room. What is damaged is out of use
    /// already, and does not keep the room from getting another session.
    pub(super) fn predecessor(&self, tx: &Transaction<'_>) -> Result<Option<Self>> {
        let current = readable(record::current(&self.account, tx, &self.room_id))?;
        Ok(current.map(|id| Self::named(&self.account, self.room_id.clone(), &id)))
    }

    /// Expires the session for good and forgets to whom it was sent. Nothing happens if it is out
    /// of use: it was erased, its record is damaged, or a call on it has unwound.
    pub(super) fn supersede(self, tx: &mut Transaction<'_>) -> Result<()> {
        let load = |records: &_| {
            self.account.check_open()?;
            // Without its shares, which go: they may be many, or damaged.
            record::load_alone(&self, records)
        };
        let state = match tx.find(&self.shared.state, load) {
            Err(E2eeError::NotFound { .. } | E2eeError::Panic { .. }) => None,
            found => readable(found)?,
        };
        if let Some(mut state) = state {
            state.change(|state| {
                state.superseded = true;
                state.shares = Shares::default();
                state.answered = None;
                record::put(&self, state, tx)?;
                share_records::delete(&self, tx)
            })?;
        }
        self.keep_until_stored(tx);
        Ok(())
    }
}

fn readable<T>(result: Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Err(E2eeError::Corrupt { .. } | E2eeError::NewerFormat { .. }) => Ok(None),
        other => other,
    }
}
