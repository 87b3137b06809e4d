//! Sending to a room: the session whose key every device gets (M2-M16; SEC-56, SEC-60).

mod encrypt;
mod import;
mod recipients;
mod record;
mod reserve;
mod room;
mod rotation;
mod sent;
mod share;
mod share_records;
mod shared;
mod shares;
mod supersede;
#[cfg(test)]
mod tests;
mod unchanged;

use std::fmt;
use std::sync::{Arc, Weak};

use vodozemac::megolm::{GroupSession, SessionConfig, SessionKey};

use crate::base::identifiers::RoomId;
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::room_settings::RotationLimits;
use crate::store::{Live, RecordKey, Records, Taken, Transaction, WriteBack};
pub use encrypt::{EncryptedEvent, EventContent};
pub use recipients::Recipients;
use record::OutboundState;
use reserve::{DEFAULT_BLOCK, LARGEST_BLOCK};
pub use sent::SentDevice;
pub use share::KeysToSend;
use shared::Shared;

/// An application's limits and options for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    limits: RotationLimits,
    old_shared_history_names: bool,
    /// Not stored by earlier versions.
    #[serde(default = "default_block")]
    reserve_ahead: u32,
}

fn default_block() -> u32 {
    DEFAULT_BLOCK
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: RotationLimits::default(),
            old_shared_history_names: false,
            reserve_ahead: DEFAULT_BLOCK,
        }
    }
}

impl Settings {
    /// Reads `{"minimum_rotation_period_ms", "maximum_rotation_period_msgs", "reserve_ahead",
    /// "old_shared_history_names"}`, all optional.
    pub fn read(settings: &Object) -> Result<Self> {
        let mut read = Self::default();
        if let Some(period) = json::optional_integer(settings, "minimum_rotation_period_ms")? {
            if period < 0 {
                return Err(E2eeError::invalid_field("minimum_rotation_period_ms", "is negative"));
            }
            read.limits.minimum_period_ms = period;
        }
        if let Some(count) = json::optional_integer(settings, "maximum_rotation_period_msgs")? {
            let problem = "is not between 1 and 10000";
            read.limits.maximum_period_msgs = u32::try_from(count)
                .ok()
                .filter(|count| (1..=10_000).contains(count))
                .ok_or_else(|| E2eeError::invalid_field("maximum_rotation_period_msgs", problem))?;
        }
        if let Some(count) = json::optional_integer(settings, "reserve_ahead")? {
            let problem = format!("is not between 0 and {LARGEST_BLOCK}");
            read.reserve_ahead = u32::try_from(count)
                .ok()
                .filter(|count| *count <= LARGEST_BLOCK)
                .ok_or_else(|| E2eeError::invalid_field("reserve_ahead", problem))?;
        }
        match settings.get("old_shared_history_names") {
            None | Some(serde_json::Value::Null) => {}
            Some(serde_json::Value::Bool(old)) => read.old_shared_history_names = *old,
            Some(_) => {
                let problem = "is not true or false";
                return Err(E2eeError::invalid_field("old_shared_history_names", problem));
            }
        }
        Ok(read)
    }
}

/// The sending half of a Megolm session.
///
/// The fields are dropped in this order: as long as a session's shared object lives, its account's
/// does, where another handle finds it.
pub struct OutboundMegolmSession {
    shared: Arc<Shared>,
    account: Arc<Account>,
    room_id: RoomId,
    session_id: String,
    key: RecordKey,
}

impl Drop for OutboundMegolmSession {
    fn drop(&mut self) {
        self.shared.remove_handle(&self.account);
    }
}

impl fmt::Debug for OutboundMegolmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundMegolmSession").finish_non_exhaustive()
    }
}

impl OutboundMegolmSession {
    /// Makes a new session and makes it the room's current one. The one that was has expired for
    /// good with that, and to whom it was sent is forgotten.
    pub fn create(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        room_id: RoomId,
        settings: Settings,
    ) -> Result<Self> {
        let now = tx.now_ms()?;
        let session = GroupSession::new(SessionConfig::version_1());
        let outbound = Self::named(account, room_id, &session.session_id());
        outbound.hold_room(tx)?;
        if let Some(predecessor) = outbound.predecessor(tx)? {
            predecessor.supersede(tx)?;
        }
        let state = OutboundState::new(session, now, settings);
        record::put(&outbound, &state, tx)?;
        room::put(&outbound, false, tx)?;
        record::put_current(&outbound, tx)?;
        tx.create(&outbound.shared.state, state)?;
        Ok(outbound)
    }

    /// Opens a stored session; without an ID, the room's current one.
    pub fn create_from_storage(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        room_id: RoomId,
        session_id: Option<&str>,
    ) -> Result<Self> {
        let session_id = match session_id {
            Some(session_id) => session_id.to_owned(),
            None => record::current(account, tx, &room_id)?
                .ok_or_else(|| E2eeError::not_found("the room has no outbound session"))?,
        };
        let outbound = Self::named(account, room_id, &session_id);
        outbound.take(tx)?;
        Ok(outbound)
    }

    /// Names a session, without looking whether it exists. In a transaction that changes it, this
    /// must live on until the end: see `keep_until_stored`.
    fn named(account: &Arc<Account>, room_id: RoomId, session_id: &str) -> Self {
        let key = record::session_key(account, &room_id, session_id);
        let mut is_new = false;
        let shared = account.live().get_or_insert(&key, || {
            is_new = true;
            Shared::new(account, &key)
        });
        shared.add_handle();
        if is_new {
            let shared: Weak<Shared> = Arc::downgrade(&shared);
            account.add_write_back(shared as Weak<dyn WriteBack>);
        }
        let account = Arc::clone(account);
        Self { shared, account, room_id, session_id: session_id.to_owned(), key }
    }

    /// Lets this handle end with the transaction: while that holds the state, others must find it
    /// by its name, and wait.
    fn keep_until_stored(self, tx: &mut Transaction<'_>) {
        tx.after_commit(move || drop(self));
    }

    fn load(&self, records: &Records<'_>) -> Result<Option<OutboundState>> {
        // Now that nobody else has the state: a call that was under way at `shut_down` must not begin
        // anew after what that has written.
        self.account.check_open()?;
        record::load(self, records)
    }

    fn take(&self, tx: &mut Transaction<'_>) -> Result<Taken<OutboundState>> {
        tx.take(&self.shared.state, |records| self.load(records))
    }

    /// Until the transaction ends, nobody else makes or erases a session of the room: erasing one
    /// would forget that another has just become the current one.
    fn hold_room(&self, tx: &mut Transaction<'_>) -> Result<()> {
        let key = record::current_key(&self.account, &self.room_id);
        let room: Arc<Live<()>> = self.account.live().get_or_insert(&key, Live::new);
        tx.take(&room, |_| Ok(Some(()))).map(drop)
    }

    /// The account that owns the session.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The room.
    pub fn room_id(&self) -> &RoomId {
        &self.room_id
    }

    /// The session's ID.
    pub fn session_id(&self, tx: &mut Transaction<'_>) -> Result<&str> {
        self.take(tx)?;
        Ok(&self.session_id)
    }

    /// The index of the next message.
    pub fn message_index(&self, tx: &mut Transaction<'_>) -> Result<u32> {
        Ok(self.take(tx)?.session.message_index())
    }

    /// The session's key at its current index, and whether the first call of
    /// `get_session_key_for_sending` found history to be shared.
    pub(crate) fn session_key(&self, tx: &mut Transaction<'_>) -> Result<(SessionKey, bool)> {
        let state = self.take(tx)?;
        Ok((state.session.session_key(), state.shared_history.unwrap_or(false)))
    }

    /// Expires the session for good, for example after a leave was seen (D9b, S11).
    pub fn invalidate(&self, tx: &mut Transaction<'_>) -> Result<()> {
        let mut state = self.take(tx)?;
        if state.invalidated {
            return Ok(());
        }
        state.change(|state| {
            state.invalidated = true;
            record::put(self, state, tx)
        })
    }

    /// Deletes the session, and to whom it was sent. If it came from elsewhere, it cannot again.
    pub fn erase(&self, tx: &mut Transaction<'_>) -> Result<()> {
        self.hold_room(tx)?;
        let state = self.take(tx)?;
        record::delete(self, tx)?;
        room::put_erased(self, tx)?;
        state.erase();
        let (account, key) = (self.account.clone(), self.key.clone());
        // Before anybody sees that it is erased: who names it anew finds a new one.
        tx.after_commit(move || account.live().forget(&key));
        Ok(())
    }
}
