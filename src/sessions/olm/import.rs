//! Channels from the session pickles of libolm and vodozemac.

use std::sync::Arc;

use vodozemac::olm::{Session, SessionPickle};

use super::OlmChannel;
use super::origin::Origins;
use super::record::{ChannelState, Fingerprint, MAX_SESSIONS, put_channel, put_session};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::{Account, pickle_error, vodozemac_pickle_key};
use crate::sessions::libolm_pickles;
use crate::store::Batch;

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
    /// it lacks, as older than its own.
    pub fn from_libolm_pickles(
        account: &Arc<Account>,
        partner_user_id: &str,
        partner_identity_key: &str,
        pickles: &[&str],
        pickle_key: &[u8],
    ) -> Result<Self> {
        // Alone, so that no other call brings the same session into another channel meanwhile.
        let _entered = account.enter_alone()?;
        let channel = Self::with_partner(account, partner_user_id, partner_identity_key)?;
        channel.adopt_all(pickles, |pickle| libolm_pickles::olm_session(pickle, pickle_key))?;
        channel.keep();
        Ok(channel)
    }

    /// Stores sessions that vodozemac pickled, oldest first. An existing channel receives those
    /// that it lacks, as older than its own.
    pub fn from_vodozemac_pickles(
        account: &Arc<Account>,
        partner_user_id: &str,
        partner_identity_key: &str,
        pickles: &[&str],
        pickle_key: &[u8],
    ) -> Result<Self> {
        // Alone, so that no other call brings the same session into another channel meanwhile.
        let _entered = account.enter_alone()?;
        let pickle_key = vodozemac_pickle_key(pickle_key)?;
        let channel = Self::with_partner(account, partner_user_id, partner_identity_key)?;
        channel.adopt_all(pickles, |pickle| {
            let pickle = SessionPickle::from_encrypted(pickle, pickle_key).map_err(pickle_error)?;
            Ok(Session::from_pickle(pickle))
        })?;
        channel.keep();
        Ok(channel)
    }

    /// The channel to a device, whether it is stored or not; for `add_unpickled`.
    pub(crate) fn with_partner(
        account: &Arc<Account>,
        partner_user_id: &str,
        partner_identity_key: &str,
    ) -> Result<Self> {
        let partner_key = public_keys::curve25519("partner_identity_key", partner_identity_key)?;
        Self::refuse_own(account, partner_user_id, &partner_key, None)?;
        Self::named(account, partner_user_id, partner_key)
    }

    /// A session must have been started by this account or by the partner, and belong to no other
    /// channel.
    pub(crate) fn check_member(&self, session: &Session, origins: &Origins) -> Result<()> {
        let starter = session.session_keys().identity_key;
        let known = [self.account.identity_public_key(), &self.partner_identity_key];
        if known.iter().all(|key| key.as_bytes() != starter.as_bytes()) {
            let problem = "has a session between other devices";
            return Err(E2eeError::invalid_field("pickles", problem));
        }
        origins.knows(self, &session.session_id()).map(drop)
    }

    /// Adds sessions as older than the channel's own, or as a new channel; for a caller that has
    /// entered the account alone and commits the batch.
    pub(crate) fn add_unpickled(
        &self,
        sessions: Vec<Session>,
        origins: &mut Origins,
        batch: &mut Batch,
    ) -> Result<Arrivals> {
        self.shared.unload()?;
        let mut state = self.load()?.unwrap_or_else(empty_channel);
        self.add_older(&mut state, sessions, origins, batch)
    }

    /// For a caller that has entered the account alone.
    fn adopt_all(&self, pickles: &[&str], read: impl Fn(&str) -> Result<Session>) -> Result<()> {
        let mut origins = Origins::default();
        let mut sessions = Vec::new();
        for pickle in pickles {
            let session = read(pickle)?;
            self.check_member(&session, &origins)?;
            sessions.push(session);
        }
        if sessions.is_empty() {
            return Err(E2eeError::invalid_field("pickles", "is empty"));
        }
        let mut batch = Batch::new();
        let arrivals = self.add_unpickled(sessions, &mut origins, &mut batch)?;
        if arrivals.added == 0 && self.load()?.is_none() {
            let detail = "the sessions were erased here, and do not come back";
            return Err(E2eeError::already_exists(detail));
        }
        self.account.vault().commit(batch)
    }

    /// Puts sessions before the channel's own, up to the limit.
    fn add_older(
        &self,
        state: &mut ChannelState,
        sessions: Vec<Session>,
        origins: &mut Origins,
        batch: &mut Batch,
    ) -> Result<Arrivals> {
        let total = sessions.len();
        let mut added: Vec<Session> = Vec::new();
        let mut unnoted = Vec::new();
        for session in sessions {
            let id = session.session_id();
            let known = origins.knows(self, &id)?;
            if state.sessions.iter().any(|other| other.session_id() == id) {
                if !known {
                    // Imported by an earlier version.
                    unnoted.push(id);
                }
            } else if !known && added.iter().all(|other| other.session_id() != id) {
                added.push(session);
            }
        }
        let known = total.saturating_sub(added.len());
        let room = MAX_SESSIONS.saturating_sub(state.sessions.len());
        let surplus = added.len().saturating_sub(room);
        added.drain(..surplus);
        let arrivals = Arrivals { added: added.len(), known, surplus };
        // First what can fail: the batch must not keep half a channel.
        for session in &added {
            self.account.note_imported_session(&session.session_keys(), batch)?;
        }
        for session_id in unnoted.into_iter().chain(added.iter().map(Session::session_id)) {
            origins.put(self, session_id, batch)?;
        }
        if added.is_empty() {
            return Ok(arrivals);
        }
        for session in &added {
            put_session(self, session, batch)?;
        }
        added.append(&mut state.sessions);
        state.sessions = added;
        // It is the program that brings them.
        state.is_unanswered = false;
        put_channel(self, state, batch)?;
        Ok(arrivals)
    }
}

fn empty_channel() -> ChannelState {
    ChannelState::new(None, Fingerprint::Unknown)
}
