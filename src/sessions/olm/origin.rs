//! The one channel of an Olm session that came from elsewhere: in two channels its sending ratchet
//! would be used twice.
//!
//! The records outlive their sessions, which may be erased or make room for others: the pickle may
//! still be around, and its state was used here since.
//!
//! Only imports are noted and looked up, so that ordinary traffic writes no more. A session made
//! here cannot be in anybody's pickle, for nothing gives it away: a started one has a base key
//! drawn here, and an accepted one draws its sending ratchet here, so that even a pickle of
//! another account's state that accepted the same message shares no sending ratchet with it.
//! Sessions that an earlier version imported have no record until they are imported again.

use serde::{Deserialize, Serialize};

use super::OlmChannel;
use crate::error::{E2eeError, Result};
use crate::store::collections::OLM_IMPORTS;
use crate::store::{RecordKey, Transaction};

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Partner {
    user_id: String,
    identity_key: String,
}

impl Partner {
    fn of(channel: &OlmChannel) -> Self {
        Self {
            user_id: channel.partner_user_id.as_str().to_owned(),
            identity_key: channel.partner_identity_text.clone(),
        }
    }
}

/// Whether a session came to this channel before, be it gone since. `INVALID_FIELD` if it belongs
/// to another channel.
pub(super) fn knows(channel: &OlmChannel, tx: &Transaction<'_>, session_id: &str) -> Result<bool> {
    match tx.read::<Partner>(&key(channel, session_id))? {
        None => Ok(false),
        Some(partner) if partner == Partner::of(channel) => Ok(true),
        Some(_) => Err(E2eeError::invalid_field(
            "pickles",
            "has a session that belongs to the channel to another device",
        )),
    }
}

/// Notes that it came to this channel.
pub(super) fn put(channel: &OlmChannel, tx: &mut Transaction<'_>, session_id: &str) -> Result<()> {
    tx.put(&key(channel, session_id), &Partner::of(channel))
}

fn key(channel: &OlmChannel, session_id: &str) -> RecordKey {
    channel.account.record_key(OLM_IMPORTS, &[session_id])
}
