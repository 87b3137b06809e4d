//! Who is said to own a session. Whoever sends a room key proves only that he has it: its owner and
//! device are claims, and nobody's claim displaces another user's (SEC-44, SEC-45).
//!
//! Of one session there are at most four claims that name an owner. A user with several of them
//! makes room for one who has none; four of different users are full, and then the events of
//! everybody else are read as of an unknown owner, so that no number of claims hides an event.
//!
//! An export names no owner. What it opens to everybody stays open until a claim names the owner
//! of the device that the export names, be there claims of other devices or not: these may be a
//! member's, who would make the owner's events unreadable with it.

use serde::{Deserialize, Serialize};
use vodozemac::Curve25519PublicKey;

use crate::base::identifiers::UserId;
use crate::error::{E2eeError, Result};
use crate::sessions::olm::{Fingerprint, FingerprintKey, FingerprintStatus};

/// The most claims that name an owner, and the most that name none.
const MAX_CLAIMS: usize = 4;

/// How a session reached us.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Our own outbound session.
    OwnOutbound,
    /// `m.room_key` over Olm from this device.
    Direct,
    /// An export, or another library's pickle: anybody who had the key can have made it.
    Export,
}

impl Source {
    pub(super) fn is_authenticated(self) -> bool {
        matches!(self, Self::OwnOutbound | Self::Direct)
    }
}

/// Whose a session is, by one who had its key.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) source: Source,
    pub(super) sender_key: Curve25519PublicKey,
    /// `None` if nobody says.
    pub(super) owner_user_id: Option<UserId>,
    /// Known from the channel with the device, or named by an export.
    pub(super) fingerprint_key: Option<FingerprintKey>,
    /// What was known of the device. Nothing of one that did not send the key itself.
    pub(super) fingerprint: FingerprintStatus,
    pub(super) shared_history: bool,
}

impl Claim {
    pub(super) fn is_authenticated(&self) -> bool {
        self.source.is_authenticated()
    }

    /// Whether the channel with the device may come to know more of it.
    pub(super) fn may_gain(&self) -> bool {
        self.source == Source::Direct && self.fingerprint < FingerprintStatus::DeviceKeys
    }

    /// Takes what is known of the device by now, if it is more; never another key.
    pub(super) fn gain(&mut self, found: Fingerprint) -> bool {
        let Some(key) = found.key() else { return false };
        if found.status() <= self.fingerprint || self.fingerprint_key.is_some_and(|k| k != key) {
            return false;
        }
        self.fingerprint_key = Some(key);
        self.fingerprint = found.status();
        true
    }

    pub(super) fn names_an_owner(&self) -> bool {
        self.owner_user_id.is_some()
    }

    pub(super) fn is_of(&self, user_id: &str) -> bool {
        self.owner_user_id.as_deref() == Some(user_id)
    }

    /// Which of two claims to believe first.
    fn strength(&self) -> (u8, FingerprintStatus) {
        let source = match self.source {
            Source::OwnOutbound => 3,
            Source::Direct => 2,
            Source::Export => u8::from(self.names_an_owner()),
        };
        (source, self.fingerprint)
    }

    /// Whether this claim says all that the other one does, and more.
    fn covers(&self, other: &Self) -> bool {
        if other.names_an_owner() {
            let proves_more = self.is_authenticated() && !other.is_authenticated();
            proves_more && self.owner_user_id == other.owner_user_id
        } else {
            self.names_an_owner() && self.sender_key == other.sender_key
        }
    }

    /// Whether owner and device are the same.
    fn agrees(&self, other: &Self) -> bool {
        self.sender_key == other.sender_key && self.owner_user_id == other.owner_user_id
    }

    /// Takes what another claim to the same knows better, if anything.
    fn improve(&mut self, other: Self) -> bool {
        if other.is_authenticated() && !self.is_authenticated() {
            *self = other;
            return true;
        }
        let gains = other.is_authenticated() && other.fingerprint > self.fingerprint;
        if gains {
            self.fingerprint_key = other.fingerprint_key;
            self.fingerprint = other.fingerprint;
        }
        gains
    }

    /// The answer of our own session to a claim. It says that history is shared only once its key
    /// was first handed out (D17).
    fn admit(&mut self, claim: &Claim) -> Result<bool> {
        if claim.names_an_owner() && !self.agrees(claim) {
            return Err(E2eeError::wrong_sender("the session is our own"));
        }
        let shared_since =
            claim.source == Source::OwnOutbound && claim.shared_history && !self.shared_history;
        self.shared_history |= shared_since;
        Ok(shared_since)
    }
}

/// All claims to one session, those that came first at the front.
#[derive(Clone)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    pub(super) fn of_one(claim: Claim) -> Self {
        Self(vec![claim])
    }

    pub(super) fn from_stored(claims: Vec<Claim>) -> Self {
        Self(claims)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Claim> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Claim> {
        self.0.iter_mut()
    }

    /// The one to believe first: what a session is listed and exported with.
    pub(super) fn best(&self) -> Result<&Claim> {
        strongest(self.iter()).ok_or_else(|| E2eeError::corrupt("a stored session has no origin"))
    }

    /// The claim under which events of a user are read; `None` if that is none of these, but
    /// nobody can say that the user is not the owner. `WRONG_SENDER` if others are (SEC-50).
    pub(super) fn of(&self, user_id: &str) -> Result<Option<&Claim>> {
        let own = strongest(self.iter().filter(|claim| claim.is_of(user_id)));
        let open = || self.iter().find(|claim| !claim.names_an_owner());
        match own.or_else(open) {
            None if !self.is_contested() => Err(E2eeError::wrong_sender(
                "the event's sender does not own the session it is encrypted with",
            )),
            found => Ok(found),
        }
    }

    /// Whether all who sent the key say that its history may be shared: which of them made the
    /// session, nobody can say (SEC-59).
    pub(super) fn agree_to_share_history(&self) -> bool {
        self.iter().filter(|claim| claim.is_authenticated()).all(|claim| claim.shared_history)
    }

    /// Whether the session is our own, and nobody else's.
    pub(super) fn are_of_our_own(&self) -> bool {
        self.iter().any(|known| known.source == Source::OwnOutbound)
    }

    /// Adds a claim; whether that changed anything. `WRONG_SENDER` if it is refused.
    pub(super) fn add(&mut self, claim: Claim) -> Result<bool> {
        if let Some(own) = self.iter_mut().find(|known| known.source == Source::OwnOutbound) {
            return own.admit(&claim);
        }
        if claim.source == Source::OwnOutbound {
            *self = Self::of_one(claim);
            return Ok(true);
        }
        if self.iter().any(|known| known.covers(&claim)) {
            return Ok(false);
        }
        if let Some(known) = self.iter_mut().find(|known| known.agrees(&claim)) {
            if !known.improve(claim) {
                return Ok(false);
            }
        } else if self.make_room(&claim)? {
            self.0.push(claim);
        } else {
            return Ok(false);
        }
        self.drop_covered();
        Ok(true)
    }

    /// Whether there is room, once the claim has replaced what it covers. The user who would have
    /// to make it does; he cannot be the one whose claim it is.
    fn make_room(&mut self, claim: &Claim) -> Result<bool> {
        let rivals = |known: &&Claim| {
            known.names_an_owner() == claim.names_an_owner() && !claim.covers(known)
        };
        if self.iter().filter(rivals).count() < MAX_CLAIMS {
            return Ok(true);
        }
        let Some(user_id) = claim.owner_user_id.as_deref() else {
            // The session is open to everybody already.
            return Ok(false);
        };
        let has_one = self.iter().any(|known| known.is_of(user_id));
        let place = if has_one { self.weaker(user_id, claim) } else { self.surplus() };
        let place = place.ok_or_else(|| {
            E2eeError::wrong_sender("the session is claimed by as many others as may claim one")
        })?;
        self.0.remove(place);
        Ok(true)
    }

    /// The weakest claim of a user, if it is weaker than another one of his: a server can invent as
    /// many devices as there are places.
    fn weaker(&self, user_id: &str, claim: &Claim) -> Option<usize> {
        let of_user = self.0.iter().enumerate().rev().filter(|(_, known)| known.is_of(user_id));
        let weakest = of_user.min_by_key(|(_, known)| known.strength());
        weakest.filter(|(_, known)| known.strength() < claim.strength()).map(|(place, _)| place)
    }

    /// The weakest claim of a user who has several.
    fn surplus(&self) -> Option<usize> {
        let is_surplus = |claim: &Claim| {
            let same_user = |other: &&Claim| other.owner_user_id == claim.owner_user_id;
            let best = strongest(self.iter().filter(same_user));
            claim.names_an_owner() && best.is_some_and(|best| !std::ptr::eq(best, claim))
        };
        let claims = self.0.iter().enumerate().rev().filter(|(_, claim)| is_surplus(claim));
        claims.min_by_key(|(_, claim)| claim.strength()).map(|(place, _)| place)
    }

    /// Whether as many users claim the session as may: the owner may be one who could not.
    fn is_contested(&self) -> bool {
        let claims = self.iter().filter(|claim| claim.names_an_owner());
        claims.count() >= MAX_CLAIMS && self.surplus().is_none()
    }

    fn drop_covered(&mut self) {
        let covered = |claim: &&Claim| self.iter().any(|other| other.covers(claim));
        let kept = self.iter().filter(|claim| !covered(claim)).cloned().collect();
        self.0 = kept;
    }
}

/// The first of the strongest.
fn strongest<'a>(claims: impl DoubleEndedIterator<Item = &'a Claim>) -> Option<&'a Claim> {
    claims.rev().max_by_key(|claim| claim.strength())
}
