//! Receiving from a room: sessions that others, or our own outbound session, gave us
//! (M20-M29; SEC-43 to 54).

mod batch;
mod decrypt;
mod import;
mod record;
mod replay;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use vodozemac::megolm::InboundGroupSession;

use crate::base::identifiers::{check_room_id, check_user_id};
use crate::base::json;
use crate::error::{E2eeError, Result};
use crate::sessions::account::{Account, Entered};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::olm::FingerprintKey;
use crate::store::{Batch, Live, LiveGuard, RecordKey, RecordPrefix};

pub use batch::decrypt_room_events;
pub use decrypt::Decrypted;
pub(crate) use import::{Arrival, InboundImport};
use record::InboundState;
pub use record::SessionInfo;

/// The receiving half of a Megolm session.
pub struct InboundMegolmSession {
    account: Arc<Account>,
    room_id: String,
    session_id: String,
    key: RecordKey,
    replays: RecordPrefix,
    shared: Arc<Live<InboundState>>,
}

impl fmt::Debug for InboundMegolmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundMegolmSession").finish_non_exhaustive()
    }
}

/// Session data as key exports and backups carry it.
#[derive(serde::Serialize)]
struct Exported<'a> {
    algorithm: &'static str,
    forwarding_curve25519_key_chain: [&'a str; 0],
    room_id: &'a str,
    sender_claimed_keys: ClaimedKeys,
    sender_key: String,
    session_id: &'a str,
    session_key: zeroize::Zeroizing<String>,
    shared_history: bool,
}

#[derive(serde::Serialize)]
struct ClaimedKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    ed25519: Option<String>,
}

impl InboundMegolmSession {
    /// Opens a stored session. With a sender, one whose known owner is another counts as absent.
    pub fn from_storage(
        account: &Arc<Account>,
        room_id: &str,
        session_id: &str,
        sender_user_id: Option<&str>,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        check_room_id("room_id", room_id)?;
        if let Some(user_id) = sender_user_id {
            check_user_id("sender_user_id", user_id)?;
        }
        let session = Self::named(account, room_id, session_id);
        let state = session.state()?;
        let owner = state.owner_user_id.as_deref();
        if sender_user_id.is_some_and(|sender| owner.is_some_and(|owner| owner != sender)) {
            return Err(E2eeError::not_found("the session belongs to another user"));
        }
        drop(state);
        session.keep();
        Ok(session)
    }

    fn named(account: &Arc<Account>, room_id: &str, session_id: &str) -> Self {
        let key = record::session_key(account, room_id, session_id);
        let shared = account.children().get_or_insert(&key, Live::new);
        Self {
            account: Arc::clone(account),
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            key,
            replays: replay::prefix(account, room_id, session_id),
            shared,
        }
    }

    fn load(&self) -> Result<Option<InboundState>> {
        record::load(self)
    }

    fn state(&self) -> Result<LiveGuard<'_, InboundState>> {
        self.shared.lock(|| self.load())
    }

    /// Notes that the session, which exists, is in use.
    fn keep(&self) {
        self.account.children().keep(&self.key, &self.shared);
    }

    fn enter(&self) -> Result<Entered<'_>> {
        self.account.enter()
    }

    /// The session's ID.
    pub fn session_id(&self) -> Result<&str> {
        let _entered = self.enter()?;
        self.state()?;
        Ok(&self.session_id)
    }

    /// The identity key of the device that the session came from, or is said to come from.
    pub fn sender_key(&self) -> Result<String> {
        let _entered = self.enter()?;
        Ok(self.state()?.sender_key.to_base64())
    }

    /// Whether the key came from its owner over Olm, or is our own.
    pub fn authenticated(&self) -> Result<bool> {
        let _entered = self.enter()?;
        Ok(self.state()?.source.is_authenticated())
    }

    /// The first message index that can be decrypted.
    pub fn first_known_index(&self) -> Result<u32> {
        let _entered = self.enter()?;
        Ok(self.state()?.session.first_known_index())
    }

    /// The session data for an export, from the given index or the first known one.
    pub fn export_at(&self, index: Option<u32>) -> Result<String> {
        let _entered = self.enter()?;
        let state = self.state()?;
        let first_known = state.session.first_known_index();
        let index = index.unwrap_or(first_known);
        // On a copy: exporting ahead moves a ratchet, and this is no change of the session.
        let mut copy = InboundGroupSession::from_pickle(state.session.pickle());
        let key = copy.export_at(index).ok_or_else(|| E2eeError::UnknownIndex {
            detail: format!("the first index that the session knows is {first_known}"),
            first_known,
            got: index,
        })?;
        json::to_text(&Exported {
            algorithm: MEGOLM_ALGORITHM,
            forwarding_curve25519_key_chain: [],
            room_id: &self.room_id,
            sender_claimed_keys: ClaimedKeys {
                ed25519: state.fingerprint_key.map(FingerprintKey::to_base64),
            },
            sender_key: state.sender_key.to_base64(),
            session_id: &self.session_id,
            session_key: zeroize::Zeroizing::new(key.to_base64()),
            shared_history: state.shared_history,
        })
    }

    /// Deletes the session and its replay records.
    pub fn erase(&self) -> Result<()> {
        let _entered = self.enter()?;
        let gate = gate(&self.account, &self.session_id);
        let _alone = gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.erase(
            || self.load(),
            || {
                let mut batch = Batch::new();
                record::delete(self, &mut batch)?;
                self.account.vault().commit(batch)
            },
        )?;
        self.account.children().forget(&self.key);
        Ok(())
    }
}

/// Held while a session is stored or erased: which room a session ID belongs to is looked up before
/// the session is (SEC-44), and nobody finds one that is erased but not yet forgotten.
fn gate(account: &Account, session_id: &str) -> Arc<Mutex<()>> {
    account.children().get_or_insert(&record::room_record(account, session_id), Mutex::default)
}

/// The stored inbound sessions of an account, of one room or of all.
pub fn list_sessions(account: &Account, room_id: Option<&str>) -> Result<Vec<SessionInfo>> {
    let _entered = account.enter()?;
    if let Some(room_id) = room_id {
        check_room_id("room_id", room_id)?;
    }
    record::list(account, room_id)
}
