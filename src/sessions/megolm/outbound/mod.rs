//! Sending to a room: the session whose key every device gets (M2-M16; SEC-56, SEC-60).

mod audience;
mod encrypt;
mod import;
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
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vodozemac::megolm::{GroupSession, SessionConfig, SessionKey};

use crate::base::identifiers::check_room_id;
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::room_settings::RotationLimits;
use crate::store::{Access, Batch, LiveGuard, RecordKey, WriteBack};
pub(crate) use import::OutboundImport;
use record::OutboundState;
use reserve::{DEFAULT_BLOCK, LARGEST_BLOCK};
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
    room_id: String,
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
    pub fn create(account: &Arc<Account>, room_id: &str, settings: Settings) -> Result<Self> {
        let _entered = account.enter()?;
        check_room_id("room_id", room_id)?;
        let now = account.now_ms()?;
        let session = GroupSession::new(SessionConfig::version_1());
        let outbound = Self::named(account, room_id, &session.session_id());
        let gate = gate(account, room_id);
        let _alone = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let predecessor = supersede::predecessor(account, room_id)?;
        outbound.shared.state.create(
            || outbound.load(),
            || {
                let state = OutboundState::new(session, now, settings);
                let mut batch = Batch::new();
                let superseded = predecessor
                    .as_ref()
                    .map(|predecessor| predecessor.supersede(&mut batch))
                    .transpose()?;
                record::put(&outbound, &state, &mut batch)?;
                room::put(&outbound, false, &mut batch)?;
                record::put_current(&outbound, &mut batch)?;
                account.vault().commit(batch)?;
                if let Some(mut superseded) = superseded.flatten() {
                    superseded.finish_change();
                }
                Ok(state)
            },
        )?;
        Ok(outbound)
    }

    /// Opens a stored session; without an ID, the room's current one.
    pub fn create_from_storage(
        account: &Arc<Account>,
        room_id: &str,
        session_id: Option<&str>,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        check_room_id("room_id", room_id)?;
        let session_id = match session_id {
            Some(session_id) => session_id.to_owned(),
            None => record::current(account, room_id)?
                .ok_or_else(|| E2eeError::not_found("the room has no outbound session"))?,
        };
        let outbound = Self::named(account, room_id, &session_id);
        outbound.state()?;
        Ok(outbound)
    }

    fn named(account: &Arc<Account>, room_id: &str, session_id: &str) -> Self {
        let key = record::session_key(account, room_id, session_id);
        let mut is_new = false;
        let shared = account.children().get_or_insert(&key, || {
            is_new = true;
            Shared::new(account, &key)
        });
        shared.add_handle();
        if is_new {
            let shared: Weak<Shared> = Arc::downgrade(&shared);
            account.add_write_back(shared as Weak<dyn WriteBack>);
        }
        Self {
            shared,
            account: Arc::clone(account),
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            key,
        }
    }

    fn load(&self) -> Result<Option<OutboundState>> {
        // Under the lock: a call that was under way at `shut_down` must not begin anew after what
        // that has written.
        self.account.check_open()?;
        record::load(self)
    }

    fn state(&self) -> Result<LiveGuard<'_, OutboundState>> {
        self.shared.state.lock(|| self.load())
    }

    fn enter(&self) -> Result<Access<'_>> {
        self.account.enter()
    }

    /// The account that owns the session.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The room.
    pub fn room_id(&self) -> &str {
        &self.room_id
    }

    /// The session's ID.
    pub fn session_id(&self) -> Result<&str> {
        let _entered = self.enter()?;
        self.state()?;
        Ok(&self.session_id)
    }

    /// The index of the next message.
    pub fn message_index(&self) -> Result<u32> {
        let _entered = self.enter()?;
        Ok(self.state()?.session.message_index())
    }

    /// The session's key at its current index.
    pub(crate) fn session_key(&self) -> Result<SessionKey> {
        Ok(self.state()?.session.session_key())
    }

    /// Whether the first call of `get_session_key_for_sending` found history to be shared.
    pub(crate) fn shares_history(&self) -> Result<bool> {
        Ok(self.state()?.shared_history.unwrap_or(false))
    }

    /// Expires the session for good, for example after a leave was seen (D9b, S11).
    pub fn invalidate(&self) -> Result<()> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        if state.invalidated {
            return Ok(());
        }
        state.change(|state| {
            state.invalidated = true;
            let mut batch = Batch::new();
            record::put(self, state, &mut batch)?;
            self.account.vault().commit(batch)
        })
    }

    /// Deletes the session, and to whom it was sent. If it came from elsewhere, it cannot again.
    pub fn erase(&self) -> Result<()> {
        let _entered = self.enter()?;
        let gate = gate(&self.account, &self.room_id);
        let _alone = gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.state.erase(
            || self.load(),
            || {
                let mut batch = Batch::new();
                record::delete(self, &mut batch)?;
                room::put_erased(self, &mut batch)?;
                self.account.vault().commit(batch)
            },
        )?;
        self.account.children().forget(&self.key);
        Ok(())
    }
}

/// Held while a room's current session is made or erased, lest erasing one forgets that another has
/// just become the current one.
fn gate(account: &Account, room_id: &str) -> Arc<Mutex<()>> {
    account.children().get_or_insert(&record::current_key(account, room_id), Mutex::default)
}
