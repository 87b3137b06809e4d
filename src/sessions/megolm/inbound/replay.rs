//! The replay guard: a message index belongs to the first event that used it, for good
//! (M27, D3, SEC-51; P7: vodozemac decrypts one message any number of times).

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::InboundMegolmSession;
use super::decrypt::{Decrypted, Opened};
use crate::error::{E2eeError, Result, cut};
use crate::sessions::account::Account;
use crate::store::collections::INBOUND_REPLAYS;
use crate::store::{Batch, RecordKey, RecordPrefix};

/// The event that used an index.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) event_id: String,
    pub(super) origin_server_ts: Option<i64>,
}

impl Use {
    /// The event ID decides; timestamps count only if both have one.
    pub(super) fn check(&self, later: &Self, message_index: u32) -> Result<()> {
        let same_time = match (self.origin_server_ts, later.origin_server_ts) {
            (Some(first), Some(second)) => first == second,
            _ => true,
        };
        if self.event_id == later.event_id && same_time {
            return Ok(());
        }
        Err(E2eeError::Replay {
            detail: "the message index was already used by another event".to_owned(),
            message_index,
            event_id: cut(&self.event_id),
        })
    }
}

/// The check of one call's events, in their order. The locks of their sessions are held meanwhile.
pub(super) struct ReplayGuard<'a> {
    account: &'a Account,
    /// What this call has admitted already, by the short form of the record's key.
    uses: HashMap<[u8; 16], Use>,
    batch: Batch,
}

impl<'a> ReplayGuard<'a> {
    pub(super) fn new(account: &'a Account) -> Self {
        Self { account, uses: HashMap::new(), batch: Batch::new() }
    }

    /// Refuses an event whose index another one has used (M27).
    pub(super) fn admit(&mut self, opened: Opened) -> Result<Decrypted> {
        let Opened { seen, message_index, key, event } = opened;
        if let Some(known) = self.uses.get(&key.short()) {
            known.check(&seen, message_index)?;
            return Ok(event);
        }
        match self.account.vault().read::<Use>(&key)? {
            Some(known) => known.check(&seen, message_index)?,
            None => {
                self.batch.put(&key, &seen)?;
                self.uses.insert(key.short(), seen);
            }
        }
        Ok(event)
    }

    /// Replay records alone need no sync: losing one in a power cut loses no key (DESIGN, State).
    pub(super) fn commit(mut self) -> Result<()> {
        self.batch.relaxed();
        self.account.vault().commit(self.batch)
    }
}

/// The beginning of the keys of a session's replay records: hashed once for all its messages.
pub(super) fn prefix(account: &Account, room_id: &str, session_id: &str) -> RecordPrefix {
    let parts = [account.user_id(), account.device_id(), room_id, session_id];
    account.vault().prefix(INBOUND_REPLAYS, &parts)
}

pub(super) fn key(replays: &RecordPrefix, message_index: u32) -> RecordKey {
    replays.key(&message_index.to_string())
}

/// The keys of all replay records of a session.
pub(super) fn keys(session: &InboundMegolmSession) -> Result<Vec<RecordKey>> {
    let account = &session.account;
    let parts = [account.user_id(), account.device_id(), &session.room_id, &session.session_id];
    account.vault().scan_keys(INBOUND_REPLAYS, &parts)
}
