//! Channels from the session pickles of libolm and vodozemac.

use std::sync::Arc;

use vodozemac::olm::{Session, SessionPickle};

use super::OlmChannel;
use super::record::{ChannelState, Fingerprint, MAX_SESSIONS, put_channel, put_session};
use crate::account::{Account, pickle_error, vodozemac_pickle_key};
use crate::error::{E2eeError, Result};
use crate::libolm_pickles;
use crate::public_keys;
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
        let _entered = account.enter()?;
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
        let _entered = account.enter()?;
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
        Self::named(account, partner_user_id, partner_key)
    }

    /// A session must have been started by this account or by the partner.
    pub(crate) fn check_member(&self, session: &Session) -> Result<()> {
        let starter = session.session_keys().identity_key;
        let known = [self.account.identity_public_key(), &self.partner_identity_key];
        if known.iter().any(|key| key.as_bytes() == starter.as_bytes()) {
            Ok(())
        } else {
            Err(E2eeError::invalid_field("pickles", "has a session between other devices"))
        }
    }

    /// Adds sessions as older than the channel's own, or as a new channel; for a caller that has
    /// entered the account alone and commits the batch.
    pub(crate) fn add_unpickled(
        &self,
        sessions: Vec<Session>,
        batch: &mut Batch,
    ) -> Result<Arrivals> {
        self.shared.unload()?;
        let mut state = self.load()?.unwrap_or_else(empty_channel);
        self.add_older(&mut state, sessions, batch)
    }

    fn adopt_all(&self, pickles: &[&str], read: impl Fn(&str) -> Result<Session>) -> Result<()> {
        let mut sessions = Vec::new();
        for pickle in pickles {
            let session = read(pickle)?;
            self.check_member(&session)?;
            sessions.push(session);
        }
        if sessions.is_empty() {
            return Err(E2eeError::invalid_field("pickles", "is empty"));
        }
        self.adopt(sessions)
    }

    fn adopt(&self, sessions: Vec<Session>) -> Result<()> {
        let mut sessions = Some(sessions);
        let mut add = |state: &mut ChannelState| {
            let mut batch = Batch::new();
            self.add_older(state, sessions.take().unwrap_or_default(), &mut batch)?;
            self.account.vault().commit(batch)
        };
        let created = self.shared.create(
            || self.load(),
            || {
                let mut state = empty_channel();
                add(&mut state)?;
                Ok(state)
            },
        );
        match created {
            Err(E2eeError::AlreadyExists { .. }) => self.state()?.change(add),
            other => other,
        }
    }

    /// Puts sessions before the channel's own, up to the limit.
    fn add_older(
        &self,
        state: &mut ChannelState,
        sessions: Vec<Session>,
        batch: &mut Batch,
    ) -> Result<Arrivals> {
        let total = sessions.len();
        let mut added: Vec<Session> = Vec::new();
        for session in sessions {
            let id = session.session_id();
            let known = state.sessions.iter().chain(&added).any(|other| other.session_id() == id);
            if !known {
                added.push(session);
            }
        }
        let known = total.saturating_sub(added.len());
        let room = MAX_SESSIONS.saturating_sub(state.sessions.len());
        let surplus = added.len().saturating_sub(room);
        added.drain(..surplus);
        let arrivals = Arrivals { added: added.len(), known, surplus };
        if added.is_empty() {
            return Ok(arrivals);
        }
        // First what can fail: the batch must not keep half a channel.
        for session in &added {
            self.account.note_imported_session(&session.session_keys(), batch)?;
        }
        for session in &added {
            put_session(self, session, batch)?;
        }
        added.append(&mut state.sessions);
        state.sessions = added;
        put_channel(self, state, batch)?;
        Ok(arrivals)
    }
}

fn empty_channel() -> ChannelState {
    ChannelState::new(None, Fingerprint::Unknown)
}
