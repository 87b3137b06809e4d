//! Channels from vodozemac's session pickles.

use std::sync::Arc;

use vodozemac::olm::{Session, SessionPickle};

use super::OlmChannel;
use super::record::{ChannelState, Fingerprint, MAX_SESSIONS, put_channel, put_session};
use crate::account::{Account, pickle_error, vodozemac_pickle_key};
use crate::error::{E2eeError, Result};
use crate::public_keys;
use crate::store::Batch;

impl OlmChannel {
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
        let partner_key = public_keys::curve25519("partner_identity_key", partner_identity_key)?;
        let pickle_key = vodozemac_pickle_key(pickle_key)?;
        let channel = Self::named(account, partner_user_id, partner_key)?;
        let mut sessions = Vec::new();
        for pickle in pickles {
            let pickle = SessionPickle::from_encrypted(pickle, pickle_key).map_err(pickle_error)?;
            let session = Session::from_pickle(pickle);
            channel.check_member(&session)?;
            sessions.push(session);
        }
        if sessions.is_empty() {
            return Err(E2eeError::invalid_field("pickles", "is empty"));
        }
        channel.adopt(sessions)?;
        channel.keep();
        Ok(channel)
    }

    /// A session must have been started by this account or by the partner.
    fn check_member(&self, session: &Session) -> Result<()> {
        let starter = session.session_keys().identity_key;
        let known = [self.account.identity_public_key(), &self.partner_identity_key];
        if known.iter().any(|key| key.as_bytes() == starter.as_bytes()) {
            Ok(())
        } else {
            Err(E2eeError::invalid_field("pickles", "has a session between other devices"))
        }
    }

    fn adopt(&self, sessions: Vec<Session>) -> Result<()> {
        let fresh = ChannelState::new(None, Fingerprint::Unknown);
        let mut sessions = Some(sessions);
        let created = self
            .shared
            .create(|| self.load(), || self.add_older(fresh, sessions.take().unwrap_or_default()));
        match created {
            Err(E2eeError::AlreadyExists { .. }) => {}
            other => return other,
        }
        let mut state = self.state()?;
        let sessions = sessions.take().unwrap_or_default();
        state.change(|state| {
            let empty = ChannelState::new(None, Fingerprint::Unknown);
            let current = std::mem::replace(state, empty);
            *state = self.add_older(current, sessions)?;
            Ok(())
        })
    }

    /// Puts sessions before the channel's own, up to the limit, and commits.
    fn add_older(&self, mut state: ChannelState, sessions: Vec<Session>) -> Result<ChannelState> {
        let mut batch = Batch::new();
        let mut added: Vec<Session> = Vec::new();
        for session in sessions {
            let id = session.session_id();
            let known = state.sessions.iter().chain(&added).any(|other| other.session_id() == id);
            if !known {
                added.push(session);
            }
        }
        let room = MAX_SESSIONS.saturating_sub(state.sessions.len());
        let surplus = added.len().saturating_sub(room);
        added.drain(..surplus);
        for session in &added {
            put_session(self, session, &mut batch)?;
        }
        added.append(&mut state.sessions);
        state.sessions = added;
        put_channel(self, &state, &mut batch)?;
        self.account.vault().commit(batch)?;
        Ok(state)
    }
}
