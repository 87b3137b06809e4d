//! The same question again: a program asks before each message who needs the key, and nearly always
//! nothing has changed. Then nothing is read and no signature verified anew.

use sha2::{Digest, Sha256};

use super::OutboundMegolmSession;
use super::record::OutboundState;
use super::shares::{Share, ShareStatus};
use crate::error::Result;
use crate::store::Transaction;

/// How much of an answer is kept, in bytes: none of a longer one.
pub(super) const LONGEST: usize = 65_536;

/// What `get_session_key_for_sending` has answered last. It stays right until a call changes whom
/// the session is for or what is withheld; it holds no key, which is kept nowhere but in its share.
pub(super) struct Answered {
    recipients: [u8; 32],
    /// The lines without a key, as the inside of a JSON list.
    without_keys: String,
    /// Whether the lines with a key have been sent. Whose key waits is among them: otherwise the
    /// session would have expired.
    keys_are_sent: bool,
}

impl Answered {
    pub(super) fn digest(recipients: &str) -> [u8; 32] {
        Sha256::digest(recipients).into()
    }

    pub(super) fn new(recipients: [u8; 32], without_keys: String, keys_are_sent: bool) -> Self {
        Self { recipients, without_keys, keys_are_sent }
    }
}

impl OutboundMegolmSession {
    /// The answer of `get_session_key_for_sending`, if the question was the last one and the keys that
    /// it gave then were sent; the session may have expired since.
    pub fn answer_again(
        &self,
        tx: &mut Transaction<'_>,
        recipients: &str,
    ) -> Result<Option<String>> {
        // The host's clock is asked before the state is taken.
        let now = tx.now_ms()?;
        let digest = Answered::digest(recipients);
        let state = self.take(tx)?;
        let Some(answered) = &state.answered else { return Ok(None) };
        if answered.recipients != digest || !answered.keys_are_sent {
            return Ok(None);
        }
        state.check_life(state.period, now)?;
        Ok(Some(format!("[{}]", answered.without_keys)))
    }
}

impl OutboundState {
    /// After something was marked as sent.
    pub(super) fn note_sent(&mut self) {
        if let Some(answered) = &mut self.answered {
            answered.keys_are_sent = !self.shares.of_all().any(Share::waits);
        }
    }
}

impl Share {
    /// Whether its key is to be sent; not while the device cannot be reached.
    pub(super) fn waits(&self) -> bool {
        matches!(self.status, ShareStatus::Pending(_)) && self.notice.is_none()
    }
}
