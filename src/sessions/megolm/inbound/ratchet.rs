//! The ratchet of a session, and what two copies of it make together (D4, SEC-46, P8).

use vodozemac::megolm::{InboundGroupSession, SessionConfig, SessionOrdering};

use crate::error::{E2eeError, Result};

/// A ratchet, and how much of it is proven.
pub(super) struct KnownRatchet {
    pub(super) session: InboundGroupSession,
    /// From this index on the signature of the session's own key proves it; nothing does without.
    /// Below may stand what anybody made who knew a later part of the ratchet.
    pub(super) signed_from: Option<u32>,
}

/// What became of two copies.
pub(super) enum Merged {
    /// The stored one has all.
    Kept,
    /// Together they know more.
    Better(KnownRatchet),
    /// The stored one was forged or damaged: nothing of it remains, nor of what came with it.
    Replaced(KnownRatchet),
}

impl KnownRatchet {
    /// With the signature that `m.room_key` has.
    pub(super) fn signed(session: InboundGroupSession) -> Self {
        Self { signed_from: Some(session.first_known_index()), session }
    }

    /// From an export or a pickle: whoever had a copy can have changed it.
    pub(super) fn unsigned(session: InboundGroupSession) -> Self {
        Self { session, signed_from: None }
    }

    pub(super) fn copy(&self) -> Self {
        let session = InboundGroupSession::from_pickle(self.session.pickle());
        Self { session, signed_from: self.signed_from }
    }

    /// Only what is signed.
    fn proven(&self) -> Option<Self> {
        let key = self.copy().session.export_at(self.signed_from?)?;
        let session = InboundGroupSession::import(&key, SessionConfig::version_1());
        Some(Self { session, signed_from: self.signed_from })
    }

    /// The lower first index, if they are one ratchet. If not, a signed one replaces what is not
    /// signed, never the other way round; of two unsigned ones the first stays.
    pub(super) fn merge(&self, mut received: Self) -> Result<Merged> {
        let mut stored = self.copy();
        let ordering = stored.session.compare(&mut received.session);
        if ordering != SessionOrdering::Unconnected {
            let signed_from = least(self.signed_from, received.signed_from);
            if ordering != SessionOrdering::Worse && signed_from == self.signed_from {
                return Ok(Merged::Kept);
            }
            return Ok(Merged::Better(stored.join(received)?));
        }
        if received.signed_from.is_none() {
            return Err(unconnected());
        }
        match self.proven() {
            None => Ok(Merged::Replaced(received)),
            Some(proven) => Ok(Merged::Better(proven.join(received)?)),
        }
    }

    fn join(mut self, mut other: Self) -> Result<Self> {
        let session = self.session.merge(&mut other.session).ok_or_else(unconnected)?;
        Ok(Self { session, signed_from: least(self.signed_from, other.signed_from) })
    }
}

fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    a.into_iter().chain(b).min()
}

fn unconnected() -> E2eeError {
    E2eeError::mismatched_session_id(
        "another session is stored under this ID: the key is forged or damaged",
    )
}
