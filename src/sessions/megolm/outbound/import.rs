//! Outbound sessions from libolm pickles. A pickle does not say when the session was made nor who
//! has its key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vodozemac::megolm::GroupSession;

use super::record::{self, OutboundState};
use super::{OutboundMegolmSession, Settings, room};
use crate::base::identifiers::check_room_id;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::libolm_pickles;
use crate::store::Batch;

impl OutboundMegolmSession {
    /// Stores a session that libolm pickled; it becomes the room's current one if the room has
    /// none. Its key is handed out only once `mark_as_sent` has told who has it already: somebody
    /// who has left may be among them (M13). It counts as made now.
    pub fn from_libolm_pickle(
        account: &Arc<Account>,
        room_id: &str,
        pickle: &str,
        pickle_key: &[u8],
    ) -> Result<Self> {
        // Alone, so that no other session becomes the room's current one meanwhile.
        let _entered = account.enter_alone()?;
        let session = read(room_id, pickle, pickle_key)?;
        let now = account.now_ms()?;
        let outbound = Self::named(account, room_id, &session.session_id());
        outbound.shared.state.create(
            || outbound.load(),
            || {
                if room::knows(&outbound)? {
                    let detail = "the session was erased here, and does not come back";
                    return Err(E2eeError::already_exists(detail));
                }
                let mut batch = Batch::new();
                let state = OutboundState::imported(session, now);
                record::put(&outbound, &state, &mut batch)?;
                room::put(&outbound, true, &mut batch)?;
                if record::current(account, room_id)?.is_none() {
                    record::put_current(&outbound, &mut batch)?;
                }
                account.vault().commit(batch)?;
                Ok(state)
            },
        )?;
        Ok(outbound)
    }
}

fn read(room_id: &str, pickle: &str, pickle_key: &[u8]) -> Result<GroupSession> {
    check_room_id("room_id", room_id)?;
    let session = libolm_pickles::outbound_group_session(pickle, pickle_key)?;
    public_keys::ed25519("pickle", &session.session_id())?;
    Ok(session)
}

impl OutboundState {
    fn imported(session: GroupSession, now: i64) -> Self {
        let mut state = Self::new(session, now, Settings::default());
        state.recipients_unknown = true;
        state
    }
}

/// Many sessions on their way into one batch, for a caller that has entered the account alone.
pub(crate) struct OutboundImport<'a> {
    account: &'a Arc<Account>,
    now: i64,
    /// The room of each session that the batch ties to one.
    added: BTreeMap<String, String>,
    rooms: BTreeSet<String>,
}

impl<'a> OutboundImport<'a> {
    pub(crate) fn new(account: &'a Arc<Account>, now: i64) -> Self {
        Self { account, now, added: BTreeMap::new(), rooms: BTreeSet::new() }
    }

    /// As `OutboundMegolmSession::from_libolm_pickle`; false if it is stored or was erased, which
    /// changes nothing: the stored one may have encrypted since.
    pub(crate) fn add_libolm_pickle(
        &mut self,
        room_id: &str,
        pickle: &str,
        pickle_key: &[u8],
        batch: &mut Batch,
    ) -> Result<bool> {
        let session = read(room_id, pickle, pickle_key)?;
        let session_id = session.session_id();
        let outbound = OutboundMegolmSession::named(self.account, room_id, &session_id);
        if let Some(room) = self.added.get(&session_id) {
            return if room == room_id { Ok(false) } else { Err(room::belongs_elsewhere()) };
        }
        let known = room::knows(&outbound)?;
        let stored = outbound.load()?.is_some();
        if stored && !known {
            // By an earlier version.
            room::put(&outbound, true, batch)?;
            self.added.insert(session_id, room_id.to_owned());
            return Ok(false);
        }
        if known {
            return Ok(false);
        }
        let is_first =
            !self.rooms.contains(room_id) && record::current(self.account, room_id)?.is_none();
        record::put(&outbound, &OutboundState::imported(session, self.now), batch)?;
        room::put(&outbound, true, batch)?;
        if is_first {
            record::put_current(&outbound, batch)?;
            self.rooms.insert(room_id.to_owned());
        }
        self.added.insert(session_id, room_id.to_owned());
        Ok(true)
    }
}
