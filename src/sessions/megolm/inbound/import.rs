//! Where inbound sessions come from; a second copy of one is merged with the first
//! (M22, M23, D4, SEC-43 to 46).

use std::sync::Arc;

use vodozemac::Curve25519PublicKey;
use vodozemac::megolm::{InboundGroupSession, SessionConfig};

use super::InboundMegolmSession;
use super::claims::{Claim, Source};
use super::ratchet::KnownRatchet;
use super::record::{self, InboundState};
use crate::base::identifiers::{RoomId, UserId};
use crate::base::json::Object;
use crate::error::Result;
use crate::sessions::account::Account;
use crate::sessions::megolm::outbound::OutboundMegolmSession;
use crate::sessions::megolm::room_key::{self, ReceivedKey};
use crate::sessions::olm::{Fingerprint, FingerprintKey, known_fingerprint};
use crate::store::Transaction;

/// What became of a key that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    /// The session was stored, and has gained from it.
    Merged,
    /// The session was stored, and stays as it is.
    Known,
}

impl InboundMegolmSession {
    /// The receiving half of our own session, from its current index on: make it before the
    /// first encryption to be able to read all of it (M22).
    pub fn from_outbound_session(
        outbound: &OutboundMegolmSession,
        tx: &mut Transaction<'_>,
    ) -> Result<Self> {
        let account = outbound.account();
        let (key, shared_history) = outbound.session_key(tx)?;
        let session = InboundGroupSession::new(&key, SessionConfig::version_1());
        let received = ReceivedKey {
            room_id: outbound.room_id().clone(),
            session_id: session.session_id(),
            session,
            shared_history,
        };
        let origin = Origin {
            source: Source::OwnOutbound,
            sender_key: *account.identity_public_key(),
            owner_user_id: Some(UserId::read("user_id", account.user_id())?),
            fingerprint: Fingerprint::DeviceKeys((*account.fingerprint_key()).into()),
            claimed_fingerprint: None,
        };
        Self::store(account, tx, ArrivingSession::new(received, origin))
    }

    /// A session from the content of `m.room_key`, which must have come over Olm from this
    /// sender; merged with what is stored (D4).
    pub fn from_room_key(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        sender_user_id: UserId,
        sender_key: Curve25519PublicKey,
        content: &Object,
    ) -> Result<Self> {
        let received = room_key::read_room_key(content)?;
        let fingerprint = known_fingerprint(account, tx.records(), &sender_user_id, sender_key)?;
        let origin = Origin {
            source: Source::Direct,
            sender_key,
            owner_user_id: Some(sender_user_id),
            fingerprint,
            claimed_fingerprint: None,
        };
        Self::store(account, tx, ArrivingSession::new(received, origin))
    }

    /// A session from exported session data. An export proves nothing of its origin: the session
    /// counts as not authenticated, and its owner is whom the caller names, if anybody. Merged with
    /// what is stored.
    pub fn from_export(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        session_data: &Object,
        sender_user_id: Option<UserId>,
    ) -> Result<Self> {
        Self::store(account, tx, ArrivingSession::of_export(session_data, sender_user_id)?)
    }

    /// A session that libolm pickled. A pickle proves nothing of its origin: the session counts as
    /// not authenticated, and its owner is whom the caller names, if anybody. Merged with what is
    /// stored.
    pub fn from_libolm_pickle(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        room_id: RoomId,
        sender_key: Curve25519PublicKey,
        pickle: &str,
        pickle_key: &[u8],
        sender_user_id: Option<UserId>,
    ) -> Result<Self> {
        let arriving = ArrivingSession::of_libolm_pickle(
            room_id,
            sender_key,
            pickle,
            pickle_key,
            sender_user_id,
        )?;
        Self::store(account, tx, arriving)
    }

    fn store(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        arriving: ArrivingSession,
    ) -> Result<Self> {
        let (session, _) = Self::take_in(account, tx, arriving)?;
        let (account, key, shared) = (account.clone(), session.key.clone(), session.shared.clone());
        tx.after_commit(move || account.live().keep(&key, &shared));
        Ok(session)
    }

    /// Stores one of many sessions, of which none stays in memory.
    pub(crate) fn add(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        arriving: ArrivingSession,
    ) -> Result<Arrival> {
        Ok(Self::take_in(account, tx, arriving)?.1)
    }

    /// Makes the session of what arrives, or merges that with what is stored. If it is refused,
    /// nothing is changed.
    fn take_in(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        arriving: ArrivingSession,
    ) -> Result<(Self, Arrival)> {
        let ArrivingSession { room_id, session_id, ratchet, claim } = arriving;
        let owner = claim.owner_user_id.as_ref();
        let (session, stored) = Self::find(account, tx, &room_id, &session_id, owner)?;
        let Some(mut stored) = stored else {
            let state = InboundState::new(ratchet, claim);
            record::put(&session, &state, tx)?;
            tx.create(&session.shared, state)?;
            return Ok((session, Arrival::New));
        };
        let Some(merged) = stored.merged(ratchet, claim)? else {
            return Ok((session, Arrival::Known));
        };
        stored.change(|state| {
            *state = merged;
            record::put(&session, state, tx)
        })?;
        Ok((session, Arrival::Merged))
    }
}

/// A session that was read, on its way to be stored.
pub struct ArrivingSession {
    room_id: RoomId,
    session_id: String,
    ratchet: KnownRatchet,
    claim: Claim,
}

impl ArrivingSession {
    /// As `InboundMegolmSession::from_export`.
    pub(crate) fn of_export(session_data: &Object, sender_user_id: Option<UserId>) -> Result<Self> {
        let (received, sender_key, claimed) = room_key::read_export(session_data)?;
        let claimed_fingerprint = claimed.map(FingerprintKey::from);
        let origin = Origin { claimed_fingerprint, ..Origin::unproven(sender_key, sender_user_id) };
        Ok(Self::new(received, origin))
    }

    /// As `InboundMegolmSession::from_libolm_pickle`.
    pub(crate) fn of_libolm_pickle(
        room_id: RoomId,
        sender_key: Curve25519PublicKey,
        pickle: &str,
        pickle_key: &[u8],
        sender_user_id: Option<UserId>,
    ) -> Result<Self> {
        let received = room_key::read_libolm_pickle(room_id, pickle, pickle_key)?;
        Ok(Self::new(received, Origin::unproven(sender_key, sender_user_id)))
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

/// Where a session came from.
struct Origin {
    source: Source,
    sender_key: Curve25519PublicKey,
    owner_user_id: Option<UserId>,
    fingerprint: Fingerprint,
    /// What an export says of the sender.
    claimed_fingerprint: Option<FingerprintKey>,
}

impl Origin {
    /// What proves nothing of its origin; the owner is whom the caller names, if anybody.
    fn unproven(sender_key: Curve25519PublicKey, sender_user_id: Option<UserId>) -> Self {
        Self {
            source: Source::Export,
            sender_key,
            owner_user_id: sender_user_id,
            fingerprint: Fingerprint::Unknown,
            claimed_fingerprint: None,
        }
    }
}
