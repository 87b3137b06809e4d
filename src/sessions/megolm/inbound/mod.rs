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
mod uses;

use std::fmt;
use std::sync::{Arc, OnceLock};

use vodozemac::Curve25519PublicKey;

use crate::base::identifiers::{RoomId, UserId};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::olm::FingerprintKey;
use crate::store::{Live, RecordKey, RecordPrefix, Taken, Transaction};

pub use batch::decrypt_room_events;
use claims::Claim;
pub use decrypt::Decrypted;
pub(crate) use import::Arrival;
pub use import::ArrivingSession;
pub use list::{SessionInfo, list_sessions};
use record::InboundState;

/// The receiving half of a Megolm session in one room.
///
/// Others may claim the session as well (SEC-44). What a handle says of its origin is what the
/// user says whom it was opened for, or else the best claim; events are read under the claim of
/// their sender, with any handle.
pub struct InboundMegolmSession {
    account: Arc<Account>,
    room_id: RoomId,
    session_id: String,
    /// Whose claim to show, if there is one of that user.
    opened_for: Option<UserId>,
    key: RecordKey,
    /// The beginning of the keys of its uses, once they are asked for: hashed once for all messages.
    uses: OnceLock<Box<RecordPrefix>>,
    shared: Arc<Live<InboundState>>,
}

impl fmt::Debug for InboundMegolmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundMegolmSession").finish_non_exhaustive()
    }
}

/// Session data as key exports and backups carry it. It holds the room key.
#[derive(serde::Serialize)]
pub struct ExportedSession {
    algorithm: &'static str,
    forwarding_curve25519_key_chain: [String; 0],
    room_id: RoomId,
    sender_claimed_keys: ClaimedKeys,
    sender_key: String,
    session_id: String,
    session_key: zeroize::Zeroizing<String>,
    shared_history: bool,
}

#[derive(serde::Serialize)]
struct ClaimedKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    ed25519: Option<String>,
}

impl fmt::Debug for ExportedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportedSession").finish_non_exhaustive()
    }
}

impl InboundMegolmSession {
    /// Opens a stored session. With a sender, one whose events that user cannot have sent counts as
    /// absent.
    pub fn from_storage(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        room_id: RoomId,
        session_id: &str,
        sender_user_id: Option<UserId>,
    ) -> Result<Self> {
        let session = Self::named(account, room_id, session_id, sender_user_id);
        let state = session.take(tx)?;
        if session.opened_for.as_ref().is_some_and(|sender| state.claims.of(sender).is_err()) {
            return Err(E2eeError::not_found("the session belongs to another user"));
        }
        session.keep();
        Ok(session)
    }

    /// Names a session, without looking whether it exists.
    fn named(
        account: &Arc<Account>,
        room_id: RoomId,
        session_id: &str,
        opened_for: Option<UserId>,
    ) -> Self {
        let key = record::session_key(account, &room_id, session_id);
        let shared = account.live().get_or_insert(&key, Live::new);
        Self {
            account: Arc::clone(account),
            uses: OnceLock::new(),
            room_id,
            session_id: session_id.to_owned(),
            opened_for,
            key,
            shared,
        }
    }

    /// Names the session of a key and takes its state, if there is one.
    fn find(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        room_id: &RoomId,
        session_id: &str,
        opened_for: Option<&UserId>,
    ) -> Result<(Self, Option<Taken<InboundState>>)> {
        loop {
            let session = Self::named(account, room_id.clone(), session_id, opened_for.cloned());
            match tx.find(&session.shared, |records| record::load(&session, records)) {
                // At this moment: it is forgotten by now, and named anew.
                Err(E2eeError::NotFound { .. }) if session.shared.is_erased() => {}
                found => return found.map(|state| (session, state)),
            }
        }
    }

    fn take(&self, tx: &mut Transaction<'_>) -> Result<Taken<InboundState>> {
        tx.take(&self.shared, |records| record::load(self, records))
    }

    fn uses(&self) -> &RecordPrefix {
        self.uses.get_or_init(|| {
            Box::new(replay::prefix(&self.account, &self.room_id, &self.session_id))
        })
    }

    /// The claim that this handle shows.
    fn claim<'a>(&self, state: &'a InboundState) -> Result<&'a Claim> {
        let of_user = self.opened_for.as_deref().and_then(|user_id| state.claims.of(user_id).ok());
        of_user.flatten().map_or_else(|| state.claims.best(), Ok)
    }

    /// Notes that the session, which exists, is in use.
    fn keep(&self) {
        self.account.live().keep(&self.key, &self.shared);
    }

    /// The account that reads with it.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// The session's ID.
    pub fn session_id(&self, tx: &mut Transaction<'_>) -> Result<&str> {
        self.take(tx)?;
        Ok(&self.session_id)
    }

    /// The identity key of the device that the session came from, or is said to come from.
    pub fn sender_key(&self, tx: &mut Transaction<'_>) -> Result<Curve25519PublicKey> {
        Ok(self.claim(&*self.take(tx)?)?.sender_key)
    }

    /// Whether the key came over Olm from the device of `sender_key`, or is our own.
    pub fn authenticated(&self, tx: &mut Transaction<'_>) -> Result<bool> {
        let state = self.take(tx)?;
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
    pub fn first_known_index(&self, tx: &mut Transaction<'_>) -> Result<u32> {
        Ok(self.take(tx)?.ratchet.session.first_known_index())
    }

    /// The session data for an export, from the given index or the first known one.
    pub fn export_at(
        &self,
        tx: &mut Transaction<'_>,
        index: Option<u32>,
    ) -> Result<ExportedSession> {
        let state = self.take(tx)?;
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
        Ok(ExportedSession {
            algorithm: MEGOLM_ALGORITHM,
            forwarding_curve25519_key_chain: [],
            room_id: self.room_id.clone(),
            sender_claimed_keys: ClaimedKeys {
                ed25519: claim.fingerprint_key.map(FingerprintKey::to_base64),
            },
            sender_key: claim.sender_key.to_base64(),
            session_id: self.session_id.clone(),
            session_key: zeroize::Zeroizing::new(key.to_base64()),
            shared_history: claim.shared_history
                && (is_asked_for || state.claims.agree_to_share_history()),
        })
    }

    /// Deletes the session with all claims to it and its replay records.
    pub fn erase(&self, tx: &mut Transaction<'_>) -> Result<()> {
        let state = self.take(tx)?;
        record::delete(self, tx)?;
        state.erase();
        let (account, key) = (self.account.clone(), self.key.clone());
        // Before anybody sees that it is erased: who names it anew finds a new one.
        tx.after_commit(move || account.live().forget(&key));
        Ok(())
    }
}
