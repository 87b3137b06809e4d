//! Outbound sessions from libolm pickles. A pickle does not say when the session was made nor who
//! has its key.

use std::sync::Arc;

use vodozemac::megolm::GroupSession;

use super::record::{self, OutboundState};
use super::{OutboundMegolmSession, Settings, room};
use crate::base::identifiers::RoomId;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::libolm_pickles;
use crate::store::Transaction;

impl OutboundMegolmSession {
    /// Stores a session that libolm pickled; it becomes the room's current one if the room has
    /// none. Its key is handed out only once `mark_as_sent` has told who has it already: somebody
    /// who has left may be among them (M13). It counts as made now.
    ///
    /// The transaction is alone on its account, so that no other session becomes the room's current
    /// one meanwhile. After `ALREADY_EXISTS` it may go on: what is stored may have encrypted since,
    /// and what was erased does not come back.
    pub fn from_libolm_pickle(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        room_id: RoomId,
        pickle: &str,
        pickle_key: &[u8],
    ) -> Result<Self> {
        let session = libolm_pickles::outbound_group_session(pickle, pickle_key)?;
        public_keys::ed25519("pickle", &session.session_id())?;
        let outbound = Self::named(account, room_id, &session.session_id());
        let is_known = room::knows(&outbound, tx)?;
        if tx.find(&outbound.shared.state, |records| outbound.load(records))?.is_some() {
            if !is_known {
                // By an earlier version.
                room::put(&outbound, true, tx)?;
            }
            return Err(E2eeError::already_exists("an object of that name is stored already"));
        }
        if is_known {
            let detail = "the session was erased here, and does not come back";
            return Err(E2eeError::already_exists(detail));
        }
        let state = OutboundState::imported(session, tx.now_ms()?);
        record::put(&outbound, &state, tx)?;
        room::put(&outbound, true, tx)?;
        if record::current(account, tx, &outbound.room_id)?.is_none() {
            record::put_current(&outbound, tx)?;
        }
        tx.create(&outbound.shared.state, state)?;
        Ok(outbound)
    }
}

impl OutboundState {
    fn imported(session: GroupSession, now: i64) -> Self {
        let mut state = Self::new(session, now, Settings::default());
        state.recipients_unknown = true;
        state
    }
}
