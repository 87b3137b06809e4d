//! The replay guard: a message index belongs to the first event that used it, for good
//! (M27, D3, SEC-51; P7: vodozemac decrypts one message any number of times).
//!
//! Each sender has indices of his own: where the owner is not known, or several claim to be it, a
//! member's copy of a ciphertext must not take the index from the owner's event. Once others than
//! the owner are refused, nobody looks at what they used. Earlier versions noted uses without
//! their senders; those hold for everybody.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::InboundMegolmSession;
use super::decrypt::{Decrypted, Opened};
use crate::error::{E2eeError, Result, cut};
use crate::sessions::account::Account;
use crate::store::collections::{INBOUND_REPLAYS, INBOUND_USES};
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
    pub(super) batch: Batch,
}

impl<'a> ReplayGuard<'a> {
    pub(super) fn new(account: &'a Account) -> Self {
        Self { account, uses: HashMap::new(), batch: Batch::new() }
    }

    /// Refuses an event whose index another one has used (M27).
    pub(super) fn admit(&mut self, opened: Opened) -> Result<Decrypted> {
        let Opened { seen, message_index, key, old_key, event } = opened;
        if let Some(known) = self.uses.get(&key.short()) {
            known.check(&seen, message_index)?;
            return Ok(event);
        }
        let known = match (self.account.vault().read::<Use>(&key)?, old_key) {
            (None, Some(old_key)) => self.account.vault().read(&old_key)?,
            (known, _) => known,
        };
        match known {
            Some(known) => known.check(&seen, message_index)?,
            None => {
                self.batch.put(&key, &seen)?;
                self.uses.insert(key.short(), seen);
            }
        }
        Ok(event)
    }

    /// Replay records need no sync: losing one in a power cut loses no key (DESIGN, State). What
    /// else is in the batch can be found again.
    pub(super) fn commit(mut self) -> Result<()> {
        self.batch.relaxed();
        self.account.vault().commit(self.batch)
    }
}

/// The beginning of the keys of a session's records: hashed once for all its messages.
pub(super) fn prefix(account: &Account, room_id: &str, session_id: &str) -> RecordPrefix {
    let parts = [account.user_id(), account.device_id(), room_id, session_id];
    account.vault().prefix(INBOUND_USES, &parts)
}

/// As `prefix`, for what earlier versions have noted.
pub(super) fn old_prefix(session: &InboundMegolmSession) -> RecordPrefix {
    session.account.vault().prefix(INBOUND_REPLAYS, &parts(session))
}

pub(super) fn key(uses: &RecordPrefix, sender: &str, message_index: u32) -> RecordKey {
    uses.under(sender).key(&message_index.to_string())
}

pub(super) fn old_key(uses: &RecordPrefix, message_index: u32) -> RecordKey {
    uses.key(&message_index.to_string())
}

/// The keys of all replay records of a session.
pub(super) fn keys(session: &InboundMegolmSession) -> Result<Vec<RecordKey>> {
    let vault = session.account.vault();
    let mut keys = vault.scan_keys(INBOUND_USES, &parts(session))?;
    keys.extend(vault.scan_keys(INBOUND_REPLAYS, &parts(session))?);
    Ok(keys)
}

fn parts(session: &InboundMegolmSession) -> [&str; 4] {
    let account = &session.account;
    [account.user_id(), account.device_id(), &session.room_id, &session.session_id]
}
