//! Where inbound sessions come from, and how a second copy of one is merged with the first
//! (M22, M23, D4, SEC-43 to 46, P8).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use vodozemac::Curve25519PublicKey;
use vodozemac::megolm::{InboundGroupSession, SessionConfig, SessionOrdering};

use super::InboundMegolmSession;
use super::record::{self, InboundState, Source};
use crate::base::identifiers::check_user_id;
use crate::base::json::Object;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::megolm::outbound::OutboundMegolmSession;
use crate::sessions::megolm::room_key::{self, ReceivedKey};
use crate::sessions::olm::{FingerprintKey, known_fingerprint};
use crate::store::{Batch, LiveGuard};

impl InboundMegolmSession {
    /// The receiving half of our own session, from its current index on: make it before the
    /// first encryption to be able to read all of it (M22).
    pub fn from_outbound_session(outbound: &OutboundMegolmSession) -> Result<Self> {
        let account = outbound.account();
        let _entered = account.enter()?;
        let key = outbound.session_key()?;
        let session = InboundGroupSession::new(&key, SessionConfig::version_1());
        let received = ReceivedKey {
            room_id: outbound.room_id().to_owned(),
            session_id: session.session_id(),
            session,
            shared_history: outbound.shares_history()?,
        };
        let origin = Origin {
            source: Source::OwnOutbound,
            sender_key: *account.identity_public_key(),
            owner_user_id: Some(account.user_id().into()),
            fingerprint_key: Some((*account.fingerprint_key()).into()),
        };
        Self::store(account, received, origin)
    }

    /// A session from the content of `m.room_key`, which must have come over Olm from this
    /// sender; merged with what is stored (D4).
    pub fn from_room_key(
        account: &Arc<Account>,
        sender_user_id: &str,
        sender_key: &str,
        content: &Object,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        check_user_id("sender_user_id", sender_user_id)?;
        let sender_key = public_keys::curve25519("sender_key", sender_key)?;
        let received = room_key::read_room_key(content)?;
        let fingerprint = known_fingerprint(account, sender_user_id, sender_key)?;
        let origin = Origin {
            source: Source::Direct,
            sender_key,
            owner_user_id: Some(sender_user_id.into()),
            fingerprint_key: fingerprint,
        };
        Self::store(account, received, origin)
    }

    /// A session from exported session data: its owner is not known; merged with what is stored.
    pub fn from_export(account: &Arc<Account>, session_data: &Object) -> Result<Self> {
        let _entered = account.enter()?;
        let (received, sender_key, claimed) = room_key::read_export(session_data)?;
        let origin = Origin {
            source: Source::Export,
            sender_key,
            owner_user_id: None,
            fingerprint_key: claimed.map(FingerprintKey::from),
        };
        Self::store(account, received, origin)
    }

    /// A session that libolm pickled. A pickle proves nothing of its origin: the session counts as
    /// not authenticated, and its owner is whom the caller names, if anybody. Merged with what is
    /// stored.
    pub fn from_libolm_pickle(
        account: &Arc<Account>,
        room_id: &str,
        sender_key: &str,
        pickle: &str,
        pickle_key: &[u8],
        sender_user_id: Option<&str>,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        let origin = Origin::of_pickle(sender_key, sender_user_id)?;
        let received = room_key::read_libolm_pickle(room_id, pickle, pickle_key)?;
        Self::store(account, received, origin)
    }

    fn store(account: &Arc<Account>, received: ReceivedKey, origin: Origin) -> Result<Self> {
        let gate = super::gate(account, &received.session_id);
        let _alone = gate.lock().unwrap_or_else(PoisonError::into_inner);
        check_room(record::room_of(account, &received.session_id)?, &received)?;
        let inbound = Self::named(account, &received.room_id, &received.session_id);
        let mut state = Some(origin.into_state(received));
        let created = inbound.shared.create(
            || inbound.load(),
            || {
                let state = state.take().ok_or_else(|| E2eeError::panic("internal error"))?;
                inbound.commit(&state)?;
                Ok(state)
            },
        );
        match (created, state) {
            (Err(E2eeError::AlreadyExists { .. }), Some(received)) => {
                inbound.merge(&mut inbound.state()?, received)?;
            }
            (created, _) => created?,
        }
        inbound.keep();
        Ok(inbound)
    }

    fn commit(&self, state: &InboundState) -> Result<()> {
        let mut batch = Batch::new();
        record::put(self, state, &mut batch)?;
        self.account.vault().commit(batch)
    }

    fn merge(
        &self,
        stored: &mut LiveGuard<'_, InboundState>,
        received: InboundState,
    ) -> Result<()> {
        let Some(merged) = merged(stored, received)? else { return Ok(()) };
        stored.change(|state| {
            *state = merged;
            self.commit(state)
        })
    }
}

/// A session ID belongs to one room (SEC-44).
fn check_room(stored: Option<String>, received: &ReceivedKey) -> Result<()> {
    if stored.is_some_and(|room_id| room_id != received.room_id) {
        return Err(E2eeError::wrong_room("the session ID is stored for another room"));
    }
    Ok(())
}

/// The best of both, if they are one session: the lower first index, the better source. Nothing if
/// that is what is stored.
fn merged(stored: &InboundState, mut received: InboundState) -> Result<Option<InboundState>> {
    let mut copy = InboundGroupSession::from_pickle(stored.session.pickle());
    let ordering = copy.compare(&mut received.session);
    if ordering == SessionOrdering::Unconnected {
        return Err(E2eeError::mismatched_session_id(
            "another session is stored under this ID: the key is forged or damaged",
        ));
    }
    let better_source = received.source.is_authenticated() && !stored.source.is_authenticated();
    if received.source.is_authenticated() && stored.source.is_authenticated() {
        check_same_owner(stored, &received)?;
    }
    if let (Some(known), Some(claimed)) = (&stored.owner_user_id, &received.owner_user_id)
        && known != claimed
    {
        return Err(E2eeError::wrong_sender("the session belongs to another user"));
    }
    // Only a caller who moves sessions in names an owner without proof.
    let tells_owner = stored.owner_user_id.is_none()
        && received.owner_user_id.is_some()
        && stored.sender_key == received.sender_key;
    // Our own session says so only once its key was first handed out (D17).
    let own = Source::OwnOutbound;
    let shared_since = (stored.source, received.source) == (own, own)
        && received.shared_history
        && !stored.shared_history;
    if ordering != SessionOrdering::Worse && !better_source && !tells_owner && !shared_since {
        return Ok(None);
    }
    let session = copy
        .merge(&mut received.session)
        .ok_or_else(|| E2eeError::mismatched_session_id("the sessions cannot be merged"))?;
    if better_source {
        return Ok(Some(InboundState { session, ..received }));
    }
    let owner_user_id = if tells_owner { received.owner_user_id } else { None };
    Ok(Some(InboundState {
        session,
        sender_key: stored.sender_key,
        owner_user_id: owner_user_id.or_else(|| stored.owner_user_id.clone()),
        fingerprint_key: stored.fingerprint_key,
        source: stored.source,
        shared_history: stored.shared_history || shared_since,
    }))
}

/// How one of many sessions arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// It was stored, and has gained from it.
    Merged,
    /// It was stored, and stays as it is.
    Known,
}

/// Many sessions on their way into one batch, for a caller that has entered the account alone.
pub(crate) struct InboundImport<'a> {
    account: &'a Arc<Account>,
    /// By session ID. Not written before `finish`, so that each is written once.
    sessions: BTreeMap<String, (InboundMegolmSession, InboundState)>,
}

impl<'a> InboundImport<'a> {
    pub(crate) fn new(account: &'a Arc<Account>) -> Self {
        Self { account, sessions: BTreeMap::new() }
    }

    /// As `InboundMegolmSession::from_libolm_pickle`.
    pub(crate) fn add_libolm_pickle(
        &mut self,
        room_id: &str,
        sender_key: &str,
        pickle: &str,
        pickle_key: &[u8],
        sender_user_id: Option<&str>,
    ) -> Result<Arrival> {
        let origin = Origin::of_pickle(sender_key, sender_user_id)?;
        let received = room_key::read_libolm_pickle(room_id, pickle, pickle_key)?;
        if let Some((inbound, state)) = self.sessions.get_mut(&received.session_id) {
            check_room(Some(inbound.room_id.clone()), &received)?;
            let Some(merged) = merged(state, origin.into_state(received))? else {
                return Ok(Arrival::Known);
            };
            *state = merged;
            return Ok(Arrival::Merged);
        }
        check_room(record::room_of(self.account, &received.session_id)?, &received)?;
        let session_id = received.session_id.clone();
        let inbound = InboundMegolmSession::named(self.account, &received.room_id, &session_id);
        let state = origin.into_state(received);
        let (arrival, state) = match inbound.load()? {
            None => (Arrival::New, state),
            Some(stored) => match merged(&stored, state)? {
                None => return Ok(Arrival::Known),
                Some(merged) => (Arrival::Merged, merged),
            },
        };
        self.sessions.insert(session_id, (inbound, state));
        Ok(arrival)
    }

    pub(crate) fn finish(self, batch: &mut Batch) -> Result<()> {
        for (inbound, state) in self.sessions.values() {
            inbound.shared.unload()?;
            record::put(inbound, state, batch)?;
        }
        Ok(())
    }
}

/// Where a session came from.
struct Origin {
    source: Source,
    sender_key: Curve25519PublicKey,
    owner_user_id: Option<Box<str>>,
    fingerprint_key: Option<FingerprintKey>,
}

impl Origin {
    fn of_pickle(sender_key: &str, sender_user_id: Option<&str>) -> Result<Self> {
        if let Some(user_id) = sender_user_id {
            check_user_id("sender_user_id", user_id)?;
        }
        Ok(Self {
            source: Source::Export,
            sender_key: public_keys::curve25519("sender_key", sender_key)?,
            owner_user_id: sender_user_id.map(Box::from),
            fingerprint_key: None,
        })
    }

    fn into_state(self, received: ReceivedKey) -> InboundState {
        InboundState {
            session: received.session,
            sender_key: self.sender_key,
            owner_user_id: self.owner_user_id,
            fingerprint_key: self.fingerprint_key,
            source: self.source,
            shared_history: received.shared_history,
        }
    }
}

/// An authenticated session never changes its device silently (D4).
fn check_same_owner(stored: &InboundState, received: &InboundState) -> Result<()> {
    if stored.owner_user_id == received.owner_user_id && stored.sender_key == received.sender_key {
        Ok(())
    } else {
        Err(E2eeError::wrong_sender("the session belongs to another device"))
    }
}
