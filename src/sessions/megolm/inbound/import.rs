//! Where inbound sessions come from; a second copy of one is merged with the first
//! (M22, M23, D4, SEC-43 to 46).

use std::collections::BTreeMap;
use std::sync::Arc;

use vodozemac::Curve25519PublicKey;
use vodozemac::megolm::{InboundGroupSession, SessionConfig};

use super::InboundMegolmSession;
use super::claims::{Claim, Source};
use super::ratchet::KnownRatchet;
use super::record::{self, InboundState};
use crate::base::identifiers::check_user_id;
use crate::base::json::Object;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::megolm::outbound::OutboundMegolmSession;
use crate::sessions::megolm::room_key::{self, ReceivedKey};
use crate::sessions::olm::{Fingerprint, FingerprintKey, known_fingerprint};
use crate::store::{Batch, Records};

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
            fingerprint: Fingerprint::DeviceKeys((*account.fingerprint_key()).into()),
            claimed_fingerprint: None,
        };
        Self::store(account, ArrivingSession::new(received, origin))
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
        let origin = Origin {
            source: Source::Direct,
            sender_key,
            owner_user_id: Some(sender_user_id.into()),
            fingerprint: known_fingerprint(
                account,
                &Records::of(account.vault()),
                sender_user_id,
                sender_key,
            )?,
            claimed_fingerprint: None,
        };
        Self::store(account, ArrivingSession::new(received, origin))
    }

    /// A session from exported session data. An export proves nothing of its origin: the session
    /// counts as not authenticated, and its owner is whom the caller names, if anybody. Merged with
    /// what is stored.
    pub fn from_export(
        account: &Arc<Account>,
        session_data: &Object,
        sender_user_id: Option<&str>,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        Self::store(account, ArrivingSession::of_export(session_data, sender_user_id)?)
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
        let arriving = ArrivingSession::of_libolm_pickle(
            room_id,
            sender_key,
            pickle,
            pickle_key,
            sender_user_id,
        )?;
        Self::store(account, arriving)
    }

    fn store(account: &Arc<Account>, arriving: ArrivingSession) -> Result<Self> {
        let ArrivingSession { room_id, session_id, ratchet, claim } = arriving;
        let owner = claim.owner_user_id.clone();
        let named = || Self::named(account, &room_id, &session_id, owner.as_deref());
        let mut inbound = named();
        let mut arriving = Some((ratchet, claim));
        loop {
            match inbound.take_in(&mut arriving) {
                // Erased at this moment: it is forgotten by now, and made anew.
                Err(E2eeError::NotFound { .. }) if inbound.shared.is_erased() => inbound = named(),
                result => {
                    result?;
                    inbound.keep();
                    return Ok(inbound);
                }
            }
        }
    }

    /// Creates the session from what arrives, or merges that with what is stored.
    fn take_in(&self, arriving: &mut Option<(KnownRatchet, Claim)>) -> Result<()> {
        let mut take = || arriving.take().ok_or_else(|| E2eeError::panic("a key was lost"));
        let created = self.shared.create(
            || self.load(),
            || {
                let (ratchet, claim) = take()?;
                let state = InboundState::new(ratchet, claim);
                self.commit(&state)?;
                Ok(state)
            },
        );
        let Err(E2eeError::AlreadyExists { .. }) = created else { return created };
        let mut stored = self.state()?;
        let (ratchet, claim) = take()?;
        let Some(merged) = stored.merged(ratchet, claim)? else { return Ok(()) };
        stored.change(|state| {
            *state = merged;
            self.commit(state)
        })
    }

    fn commit(&self, state: &InboundState) -> Result<()> {
        let mut batch = Batch::new();
        record::put(self, state, &mut batch)?;
        self.account.vault().commit(batch)
    }
}

/// A session that was read, on its way to be stored.
pub struct ArrivingSession {
    room_id: String,
    session_id: String,
    ratchet: KnownRatchet,
    claim: Claim,
}

impl ArrivingSession {
    /// As `InboundMegolmSession::from_export`.
    pub(crate) fn of_export(session_data: &Object, sender_user_id: Option<&str>) -> Result<Self> {
        let (received, sender_key, claimed) = room_key::read_export(session_data)?;
        let claimed_fingerprint = claimed.map(FingerprintKey::from);
        let origin = Origin::unproven(sender_key, sender_user_id)?;
        Ok(Self::new(received, Origin { claimed_fingerprint, ..origin }))
    }

    /// As `InboundMegolmSession::from_libolm_pickle`.
    pub(crate) fn of_libolm_pickle(
        room_id: &str,
        sender_key: &str,
        pickle: &str,
        pickle_key: &[u8],
        sender_user_id: Option<&str>,
    ) -> Result<Self> {
        let sender_key = public_keys::curve25519("sender_key", sender_key)?;
        let origin = Origin::unproven(sender_key, sender_user_id)?;
        Ok(Self::new(room_key::read_libolm_pickle(room_id, pickle, pickle_key)?, origin))
    }

    fn new(received: ReceivedKey, origin: Origin) -> Self {
        let ReceivedKey { room_id, session_id, session, shared_history } = received;
        let ratchet = match origin.source {
            Source::OwnOutbound | Source::Direct => KnownRatchet::signed(session),
            Source::Export => KnownRatchet::unsigned(session),
        };
        let claim = Claim {
            source: origin.source,
            sender_key: origin.sender_key,
            owner_user_id: origin.owner_user_id,
            fingerprint_key: origin.fingerprint.key().or(origin.claimed_fingerprint),
            fingerprint: origin.fingerprint.status(),
            shared_history,
        };
        Self { room_id, session_id, ratchet, claim }
    }
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
    /// By room and session ID. Not written before `finish`, so that each is written once.
    sessions: BTreeMap<(String, String), (InboundMegolmSession, InboundState)>,
}

impl<'a> InboundImport<'a> {
    pub(crate) fn new(account: &'a Arc<Account>) -> Self {
        Self { account, sessions: BTreeMap::new() }
    }

    /// Creates a session, or merges it with what is stored.
    pub(crate) fn add(&mut self, arriving: ArrivingSession) -> Result<Arrival> {
        let ArrivingSession { room_id, session_id, ratchet, claim } = arriving;
        let name = (room_id, session_id);
        if let Some((_, state)) = self.sessions.get_mut(&name) {
            let Some(merged) = state.merged(ratchet, claim)? else { return Ok(Arrival::Known) };
            *state = merged;
            return Ok(Arrival::Merged);
        }
        let inbound = InboundMegolmSession::named(self.account, &name.0, &name.1, None);
        let (arrival, state) = match inbound.load()? {
            None => (Arrival::New, InboundState::new(ratchet, claim)),
            Some(stored) => match stored.merged(ratchet, claim)? {
                None => return Ok(Arrival::Known),
                Some(merged) => (Arrival::Merged, merged),
            },
        };
        self.sessions.insert(name, (inbound, state));
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
    fingerprint: Fingerprint,
    /// What an export says of the sender.
    claimed_fingerprint: Option<FingerprintKey>,
}

impl Origin {
    /// What proves nothing of its origin; the owner is whom the caller names, if anybody.
    fn unproven(sender_key: Curve25519PublicKey, sender_user_id: Option<&str>) -> Result<Self> {
        if let Some(user_id) = sender_user_id {
            check_user_id("sender_user_id", user_id)?;
        }
        Ok(Self {
            source: Source::Export,
            sender_key,
            owner_user_id: sender_user_id.map(Box::from),
            fingerprint: Fingerprint::Unknown,
            claimed_fingerprint: None,
        })
    }
}
