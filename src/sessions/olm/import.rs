//! Channels from the session pickles of libolm and vodozemac.

use std::sync::Arc;

use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Session, SessionPickle};

use super::record::{self, ChannelState, Fingerprint, MAX_SESSIONS, put_channel, put_session};
use super::{OlmChannel, origin};
use crate::base::identifiers::UserId;
use crate::error::{E2eeError, Result};
use crate::sessions::account::{Account, pickle_error, vodozemac_pickle_key};
use crate::sessions::libolm_pickles;
use crate::store::Transaction;

/// What became of sessions that came from elsewhere.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrivals {
    pub(crate) added: usize,
    /// The channel had them already.
    pub(crate) known: usize,
    /// The channel has as many newer ones as it may have (D24).
    pub(crate) surplus: usize,
}

impl OlmChannel {
    /// Stores sessions that libolm pickled, oldest first. An existing channel receives those that
    /// it lacks, as older than its own. The transaction is alone on its account, so that no other
    /// call brings the same session into another channel meanwhile.
    pub fn from_libolm_pickles(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        partner_user_id: UserId,
        partner_identity_key: Curve25519PublicKey,
        pickles: &[&str],
        pickle_key: &[u8],
    ) -> Result<Self> {
        let channel = Self::with_partner(account, partner_user_id, partner_identity_key)?;
        channel.adopt_all(tx, pickles, |pickle| libolm_pickles::olm_session(pickle, pickle_key))
    }

    /// As `from_libolm_pickles`, for sessions that vodozemac pickled and encrypted.
    pub fn from_vodozemac_pickles(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        partner_user_id: UserId,
        partner_identity_key: Curve25519PublicKey,
        pickles: &[&str],
        pickle_key: &[u8],
    ) -> Result<Self> {
        let pickle_key = vodozemac_pickle_key(pickle_key)?;
        let channel = Self::with_partner(account, partner_user_id, partner_identity_key)?;
        channel.adopt_all(tx, pickles, |pickle| {
            let pickle = SessionPickle::from_encrypted(pickle, pickle_key).map_err(pickle_error)?;
            Ok(Session::from_pickle(pickle))
        })
    }

    /// The channel to a device, whether it is stored or not; for `add_unpickled`.
    pub(crate) fn with_partner(
        account: &Arc<Account>,
        partner_user_id: UserId,
        partner_identity_key: Curve25519PublicKey,
    ) -> Result<Self> {
        Self::refuse_own(account, &partner_user_id, &partner_identity_key, None)?;
        Ok(Self::named(account, partner_user_id, partner_identity_key))
    }

    /// A session must have been started by this account or by the partner, and belong to no other
    /// channel.
    pub(crate) fn check_member(&self, tx: &Transaction<'_>, session: &Session) -> Result<()> {
        let starter = session.session_keys().identity_key;
        let known = [self.account.identity_public_key(), &self.partner_identity_key];
        if known.iter().all(|key| key.as_bytes() != starter.as_bytes()) {
            let problem = "has a session between other devices";
            return Err(E2eeError::invalid_field("pickles", problem));
        }
        origin::knows(self, tx, &session.session_id()).map(drop)
    }

    fn adopt_all(
        self,
        tx: &mut Transaction<'_>,
        pickles: &[&str],
        read: impl Fn(&str) -> Result<Session>,
    ) -> Result<Self> {
        let mut sessions = Vec::new();
        for pickle in pickles {
            let session = read(pickle)?;
            self.check_member(tx, &session)?;
            sessions.push(session);
        }
        if sessions.is_empty() {
            return Err(E2eeError::invalid_field("pickles", "is empty"));
        }
        let is_new = tx.find(&self.shared, |records| record::load(&self, records))?.is_none();
        let arrivals = self.add_unpickled(tx, sessions)?;
        if is_new && arrivals.added == 0 {
            let detail = "the sessions were erased here, and do not come back";
            return Err(E2eeError::already_exists(detail));
        }
        if !is_new {
            self.keep();
        }
        Ok(self)
    }

    /// Adds sessions as older than the channel's own, up to the limit, or as a new channel. The
    /// transaction is alone on its account.
    pub(crate) fn add_unpickled(
        &self,
        tx: &mut Transaction<'_>,
        sessions: Vec<Session>,
    ) -> Result<Arrivals> {
        let known = tx.find(&self.shared, |records| record::load(self, records))?;
        let own = known.as_ref().map_or(&[][..], |state| &state.sessions);
        let total = sessions.len();
        let mut added: Vec<Session> = Vec::new();
        let mut unnoted = Vec::new();
        for session in sessions {
            let id = session.session_id();
            let came_before = origin::knows(self, tx, &id)?;
            if own.iter().any(|other| other.session_id() == id) {
                if !came_before {
                    // Imported by an earlier version.
                    unnoted.push(id);
                }
            } else if !came_before && added.iter().all(|other| other.session_id() != id) {
                added.push(session);
            }
        }
        let room = MAX_SESSIONS.saturating_sub(own.len());
        let known_count = total.saturating_sub(added.len());
        let surplus = added.len().saturating_sub(room);
        added.drain(..surplus);
        let arrivals = Arrivals { added: added.len(), known: known_count, surplus };
        for session_id in unnoted.into_iter().chain(added.iter().map(Session::session_id)) {
            origin::put(self, tx, &session_id)?;
        }
        for session in &added {
            self.account.note_imported_session(tx, &session.session_keys())?;
            put_session(self, session, tx)?;
        }
        if added.is_empty() {
            return Ok(arrivals);
        }
        match known {
            Some(mut state) => state.change(|state| {
                added.append(&mut state.sessions);
                state.sessions = added;
                // It is the program that brings them.
                state.is_unanswered = false;
                put_channel(self, state, tx)
            })?,
            None => {
                let mut state = ChannelState::new(None, Fingerprint::Unknown);
                state.sessions = added;
                self.create(tx, state)?;
            }
        }
        Ok(arrivals)
    }
}
