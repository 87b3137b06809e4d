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

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OlmChannel;
use crate::error::{E2eeError, Result};
use crate::store::collections::OLM_IMPORTS;
use crate::store::{Batch, RecordKey};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Partner {
    user_id: String,
    identity_key: String,
}

impl Partner {
    fn of(channel: &OlmChannel) -> Self {
        Self {
            user_id: channel.partner_user_id.clone(),
            identity_key: channel.partner_identity_text.clone(),
        }
    }
}

/// What is noted of the sessions that come with one batch.
#[derive(Default)]
pub(crate) struct Origins {
    /// The partner of each session in the batch.
    added: BTreeMap<String, Partner>,
}

impl Origins {
    /// Whether the session came to this channel before, be it gone since. `INVALID_FIELD` if it
    /// belongs to another channel.
    pub(super) fn knows(&self, channel: &OlmChannel, session_id: &str) -> Result<bool> {
        let stored;
        let partner = match self.added.get(session_id) {
            Some(partner) => Some(partner),
            None => {
                stored = channel.account.vault().read::<Partner>(&key(channel, session_id))?;
                stored.as_ref()
            }
        };
        match partner {
            None => Ok(false),
            Some(partner) if *partner == Partner::of(channel) => Ok(true),
            Some(_) => Err(E2eeError::invalid_field(
                "pickles",
                "has a session that belongs to the channel to another device",
            )),
        }
    }

    pub(super) fn put(
        &mut self,
        channel: &OlmChannel,
        session_id: String,
        batch: &mut Batch,
    ) -> Result<()> {
        let partner = Partner::of(channel);
        batch.put(&key(channel, &session_id), &partner)?;
        self.added.insert(session_id, partner);
        Ok(())
    }
}

fn key(channel: &OlmChannel, session_id: &str) -> RecordKey {
    channel.account.record_key(OLM_IMPORTS, &[session_id])
}
