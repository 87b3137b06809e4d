//! What is stored of an inbound session: its first known ratchet and who claims it (SEC-45).

use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::Curve25519PublicKey;
use vodozemac::megolm::{InboundGroupSession, InboundGroupSessionPickle};

use super::claims::{Claim, Claims, Source};
use super::ratchet::{KnownRatchet, Merged};
use super::uses::Block;
use super::{InboundMegolmSession, SessionInfo, list, replay};
use crate::base::identifiers::UserId;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::olm::{FingerprintKey, FingerprintStatus, known_fingerprint};
use crate::store::collections::{INBOUND_ROOMS, INBOUND_SESSIONS};
use crate::store::{RecordKey, RecordPrefix, Records, Transaction};

/// An inbound session in memory. Keys are bytes here and base64 in the record: there may be
/// thousands of sessions.
pub(super) struct InboundState {
    pub(super) ratchet: KnownRatchet,
    pub(super) claims: Claims,
    /// Where the uses of its indices are that an earlier version noted, if there may be some.
    pub(super) old_uses: Option<Box<RecordPrefix>>,
    /// The block of uses that the last message is in.
    pub(super) last_uses: Option<Box<Block>>,
    /// What the account had noted of fingerprints when the channels were asked last.
    fingerprints_asked: Option<u64>,
    /// The channels said something that is not stored yet.
    pub(super) has_gained: bool,
}

impl fmt::Debug for InboundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundState").finish_non_exhaustive()
    }
}

impl InboundState {
    pub(super) fn new(ratchet: KnownRatchet, claim: Claim) -> Self {
        let claims = Claims::of_one(claim);
        Self {
            ratchet,
            claims,
            old_uses: None,
            last_uses: None,
            fingerprints_asked: None,
            has_gained: false,
        }
    }

    /// With the best of another copy and its claim. Nothing if that is what is stored.
    pub(super) fn merged(&self, ratchet: KnownRatchet, claim: Claim) -> Result<Option<Self>> {
        let old_uses = self.old_uses.clone();
        let is_signed = ratchet.signed_from.is_some();
        let ratchet = match self.ratchet.merge(ratchet)? {
            Merged::Replaced(ratchet) => {
                return Ok(Some(Self { old_uses, ..Self::new(ratchet, claim) }));
            }
            Merged::Better(ratchet) => Some(ratchet),
            Merged::Kept => None,
        };
        let mut claims = self.claims.clone();
        match claims.add(claim) {
            Ok(false) if ratchet.is_none() => return Ok(None),
            // What a signature proves is the owner's, whoever brought it and whatever he claims: the
            // owner's events are read with it (SEC-44). What is our own we have ourselves.
            Err(_) if ratchet.is_some() && is_signed && !claims.are_of_our_own() => {}
            added => drop(added?),
        }
        let ratchet = ratchet.unwrap_or_else(|| self.ratchet.copy());
        Ok(Some(Self {
            ratchet,
            claims,
            old_uses,
            last_uses: None,
            fingerprints_asked: None,
            has_gained: false,
        }))
    }
}

/// The best claim stands in the record itself, where earlier versions have the only one. (Without
/// `flatten`, which would copy the key through a buffer that nobody wipes.)
#[derive(Serialize)]
struct SessionOut<'a> {
    room_id: &'a str,
    session_id: &'a str,
    pickle: InboundGroupSessionPickle,
    signed_from: Option<u32>,
    sender_key: String,
    owner_user_id: Option<&'a str>,
    fingerprint_key: Option<String>,
    fingerprint: FingerprintStatus,
    source: Source,
    shared_history: bool,
    other_claims: Vec<ClaimOut<'a>>,
    uses_by_sender: bool,
}

#[derive(Serialize)]
struct ClaimOut<'a> {
    sender_key: String,
    owner_user_id: Option<&'a str>,
    fingerprint_key: Option<String>,
    fingerprint: FingerprintStatus,
    source: Source,
    shared_history: bool,
}

#[derive(Deserialize)]
struct SessionIn {
    room_id: String,
    session_id: String,
    pickle: InboundGroupSessionPickle,
    signed_from: Option<u32>,
    sender_key: String,
    owner_user_id: Option<UserId>,
    fingerprint_key: Option<String>,
    fingerprint: Option<FingerprintStatus>,
    source: Source,
    shared_history: bool,
    /// This and other options are absent in records of the first versions.
    other_claims: Option<Vec<ClaimIn>>,
    #[serde(default)]
    uses_by_sender: bool,
}

#[derive(Deserialize)]
struct ClaimIn {
    sender_key: String,
    owner_user_id: Option<UserId>,
    fingerprint_key: Option<String>,
    fingerprint: Option<FingerprintStatus>,
    source: Source,
    shared_history: bool,
}

impl<'a> ClaimOut<'a> {
    fn of(claim: &'a Claim) -> Self {
        Self {
            sender_key: claim.sender_key.to_base64(),
            owner_user_id: claim.owner_user_id.as_deref(),
            fingerprint_key: claim.fingerprint_key.map(FingerprintKey::to_base64),
            fingerprint: claim.fingerprint,
            source: claim.source,
            shared_history: claim.shared_history,
        }
    }
}

impl ClaimIn {
    fn read(self) -> Result<Claim> {
        let key = self.fingerprint_key.as_deref().map(FingerprintKey::from_stored).transpose()?;
        let fingerprint = self.fingerprint.unwrap_or(match self.source {
            Source::OwnOutbound => FingerprintStatus::DeviceKeys,
            Source::Direct if key.is_some() => FingerprintStatus::Learned,
            Source::Direct | Source::Export => FingerprintStatus::Unknown,
        });
        Ok(Claim {
            source: self.source,
            sender_key: Curve25519PublicKey::from_base64(&self.sender_key)
                .map_err(|_| E2eeError::corrupt("a stored identity key is no key"))?,
            owner_user_id: self.owner_user_id,
            fingerprint_key: key,
            fingerprint,
            shared_history: self.shared_history,
        })
    }
}

pub(super) fn session_key(account: &Account, room_id: &str, session_id: &str) -> RecordKey {
    account.record_key(INBOUND_SESSIONS, &[room_id, session_id])
}

pub(super) fn load(
    session: &InboundMegolmSession,
    records: &Records<'_>,
) -> Result<Option<InboundState>> {
    let Some(record) = records.read::<SessionIn>(&session.key)? else { return Ok(None) };
    let ratchet = InboundGroupSession::from_pickle(record.pickle);
    let is_old = record.other_claims.is_none();
    let signed_from = if is_old && record.source.is_authenticated() {
        Some(ratchet.first_known_index())
    } else {
        record.signed_from
    };
    let best = ClaimIn {
        sender_key: record.sender_key,
        owner_user_id: record.owner_user_id,
        fingerprint_key: record.fingerprint_key,
        fingerprint: record.fingerprint,
        source: record.source,
        shared_history: record.shared_history,
    };
    let claims = std::iter::once(best).chain(record.other_claims.into_iter().flatten());
    let old_uses = || Box::new(replay::old_prefix(session));
    Ok(Some(InboundState {
        ratchet: KnownRatchet { session: ratchet, signed_from },
        claims: Claims::from_stored(claims.map(ClaimIn::read).collect::<Result<_>>()?),
        old_uses: (!record.uses_by_sender).then(old_uses),
        last_uses: None,
        fingerprints_asked: None,
        has_gained: false,
    }))
}

pub(super) fn put(
    session: &InboundMegolmSession,
    state: &InboundState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    list::note(session, tx);
    tx.put(&session.key, &SessionOut::of(session, state)?)
}

impl<'a> SessionOut<'a> {
    fn of(session: &'a InboundMegolmSession, state: &'a InboundState) -> Result<Self> {
        let best = state.claims.best()?;
        let others = state.claims.iter().filter(|claim| !std::ptr::eq(*claim, best));
        let other_claims = others.map(ClaimOut::of).collect();
        let best = ClaimOut::of(best);
        Ok(Self {
            room_id: &session.room_id,
            session_id: &session.session_id,
            pickle: state.ratchet.session.pickle(),
            signed_from: state.ratchet.signed_from,
            sender_key: best.sender_key,
            owner_user_id: best.owner_user_id,
            fingerprint_key: best.fingerprint_key,
            fingerprint: best.fingerprint,
            source: best.source,
            shared_history: best.shared_history,
            other_claims,
            uses_by_sender: state.old_uses.is_none(),
        })
    }
}

/// Takes what the channels have come to know of the devices that sent the key. It can be found
/// again, so that storing it needs no sync. Who asks clears `has_gained` if his change succeeds.
pub(super) fn ask_channels(
    session: &InboundMegolmSession,
    state: &mut InboundState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let account = &session.account;
    let noted = account.fingerprints_noted();
    if state.fingerprints_asked.replace(noted) != Some(noted) {
        for claim in state.claims.iter_mut().filter(|claim| claim.may_gain()) {
            let Some(user_id) = claim.owner_user_id.as_deref() else { continue };
            // What may be wrong with the channel's record concerns the channel.
            if let Ok(found) = known_fingerprint(account, tx.records(), user_id, claim.sender_key) {
                state.has_gained |= claim.gain(found);
            }
        }
    }
    if state.has_gained {
        tx.put_relaxed(&session.key, &SessionOut::of(session, state)?)?;
    }
    Ok(())
}

/// What is listed of a session.
pub(super) fn info(
    account: &Account,
    room_id: &str,
    session_id: &str,
) -> Result<Option<SessionInfo>> {
    let record = account.vault().read::<SessionIn>(&session_key(account, room_id, session_id))?;
    Ok(record.map(|record| SessionInfo {
        first_known_index: InboundGroupSession::from_pickle(record.pickle).first_known_index(),
        room_id: record.room_id,
        session_id: record.session_id,
        sender_key: record.sender_key,
        owner_user_id: record.owner_user_id,
        authenticated: record.source.is_authenticated(),
    }))
}

pub(super) fn delete(session: &InboundMegolmSession, tx: &mut Transaction<'_>) -> Result<()> {
    let uses = replay::keys(session, tx.records())?;
    tx.delete(&session.key);
    list::unnote(session, tx);
    // Earlier versions noted here which room a session is for.
    tx.delete(&session.account.record_key(INBOUND_ROOMS, &[&session.session_id]));
    uses.iter().for_each(|key| tx.delete(key));
    Ok(())
}
