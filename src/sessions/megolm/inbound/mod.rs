//! Receiving from a room: sessions that others, or our own outbound session, gave us
//! (M20-M29; SEC-43 to 54).

mod batch;
mod claims;
mod decrypt;
mod import;
mod list;
mod ratchet;
mod record;
mod replay;

use std::fmt;
use std::sync::Arc;

use crate::base::identifiers::{check_room_id, check_user_id};
use crate::base::json;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::olm::FingerprintKey;
use crate::store::{Access, Batch, Live, LiveGuard, RecordKey, RecordPrefix};

pub use batch::decrypt_room_events;
use claims::Claim;
pub use decrypt::Decrypted;
pub use import::ArrivingSession;
pub(crate) use import::{Arrival, InboundImport};
pub use list::{SessionInfo, list_sessions};
use record::InboundState;

/// The receiving half of a Megolm session in one room.
///
/// Others may claim the session as well (SEC-44). What a handle says of its origin is what the
/// user says whom it was opened for, or else the best claim; events are read under the claim of
/// their sender, with any handle.
pub struct InboundMegolmSession {
    account: Arc<Account>,
    room_id: String,
    session_id: String,
    /// Whose claim to show, if there is one of that user.
    opened_for: Option<Box<str>>,
    key: RecordKey,
    uses: RecordPrefix,
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
    /// Opens a stored session. With a sender, one whose events that user cannot have sent counts as
    /// absent.
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
        let session = Self::named(account, room_id, session_id, sender_user_id);
        let state = session.state()?;
        if sender_user_id.is_some_and(|sender| state.claims.of(sender).is_err()) {
            return Err(E2eeError::not_found("the session belongs to another user"));
        }
        drop(state);
        session.keep();
        Ok(session)
    }

    fn named(
        account: &Arc<Account>,
        room_id: &str,
        session_id: &str,
        opened_for: Option<&str>,
    ) -> Self {
        let key = record::session_key(account, room_id, session_id);
        let shared = account.children().get_or_insert(&key, Live::new);
        Self {
            account: Arc::clone(account),
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            opened_for: opened_for.map(Box::from),
            key,
            uses: replay::prefix(account, room_id, session_id),
            shared,
        }
    }

    fn load(&self) -> Result<Option<InboundState>> {
        record::load(self)
    }

    fn state(&self) -> Result<LiveGuard<'_, InboundState>> {
        self.shared.lock(|| self.load())
    }

    /// The claim that this handle shows.
    fn claim<'a>(&self, state: &'a InboundState) -> Result<&'a Claim> {
        let of_user = self.opened_for.as_deref().and_then(|user_id| state.claims.of(user_id).ok());
        of_user.flatten().map_or_else(|| state.claims.best(), Ok)
    }

    /// Notes that the session, which exists, is in use.
    fn keep(&self) {
        self.account.children().keep(&self.key, &self.shared);
    }

    fn enter(&self) -> Result<Access<'_>> {
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
        Ok(self.claim(&*self.state()?)?.sender_key.to_base64())
    }

    /// Whether the key came over Olm from the device of `sender_key`, or is our own.
    pub fn authenticated(&self) -> Result<bool> {
        let _entered = self.enter()?;
        let state = self.state()?;
        match self.opened_for.as_deref() {
            // Others' claims prove nothing for this user.
            Some(user_id) => {
                let claim = state.claims.of(user_id).ok().flatten();
                Ok(claim.is_some_and(Claim::is_authenticated))
            }
            None => Ok(state.claims.best()?.is_authenticated()),
        }
    }

    /// The first message index that can be decrypted.
    pub fn first_known_index(&self) -> Result<u32> {
        let _entered = self.enter()?;
        Ok(self.state()?.ratchet.session.first_known_index())
    }

    /// The session data for an export, from the given index or the first known one.
    pub fn export_at(&self, index: Option<u32>) -> Result<String> {
        let _entered = self.enter()?;
        let state = self.state()?;
        let claim = self.claim(&state)?;
        let is_asked_for = self.opened_for.as_deref().is_some_and(|user_id| claim.is_of(user_id));
        // On a copy: exporting ahead moves a ratchet, and this is no change of the session.
        let mut copy = state.ratchet.copy().session;
        let first_known = copy.first_known_index();
        let index = index.unwrap_or(first_known);
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
                ed25519: claim.fingerprint_key.map(FingerprintKey::to_base64),
            },
            sender_key: claim.sender_key.to_base64(),
            session_id: &self.session_id,
            session_key: zeroize::Zeroizing::new(key.to_base64()),
            shared_history: claim.shared_history
                && (is_asked_for || state.claims.agree_to_share_history()),
        })
    }

    /// Deletes the session with all claims to it and its replay records.
    pub fn erase(&self) -> Result<()> {
        let _entered = self.enter()?;
        self.shared.erase(
            || self.load(),
            || {
                let mut batch = Batch::new();
                record::delete(self, &mut batch)?;
                self.account.vault().commit(batch)?;
                // Before anybody sees that it is erased: who names it anew finds a new one.
                self.account.children().forget(&self.key);
                Ok(())
            },
        )
    }
}
