//! The same question again: a program asks before each message who needs the key, and nearly always
//! nothing has changed. Then nothing is read and no signature verified anew.

use sha2::{Digest, Sha256};

use super::record::{OutboundState, Share, ShareStatus};
use crate::error::Result;
use crate::store::LiveGuard;

/// How much of an answer is kept.
const LONGEST: usize = 65_536;

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

    pub(super) fn new(recipients: [u8; 32], without_keys: String) -> Option<Self> {
        let answered = Self { recipients, without_keys, keys_are_sent: false };
        (answered.without_keys.len() <= LONGEST).then_some(answered)
    }
}

/// The answer, if the question was the last one and the keys that it gave then were sent; the session
/// may have expired since.
pub(super) fn answer_again(
    state: &mut LiveGuard<'_, OutboundState>,
    recipients: &[u8; 32],
    now: i64,
) -> Result<Option<String>> {
    let Some(answered) = &state.answered else { return Ok(None) };
    if answered.recipients != *recipients {
        return Ok(None);
    }
    if !answered.keys_are_sent {
        if state.shares.values().flat_map(|devices| devices.values()).any(Share::waits) {
            return Ok(None);
        }
        state.change(|state| {
            state.answered.iter_mut().for_each(|answered| answered.keys_are_sent = true);
            Ok(())
        })?;
    }
    state.check_life(state.period, now)?;
    Ok(state.answered.as_ref().map(|answered| format!("[{}]", answered.without_keys)))
}

impl Share {
    /// Whether its key is to be sent; not while the device cannot be reached.
    pub(super) fn waits(&self) -> bool {
        matches!(self.status, ShareStatus::Pending(_)) && self.notice.is_none()
    }
}
