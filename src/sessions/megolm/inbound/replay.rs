//! The replay guard: a message index belongs to the first event that used it, for good
//! (M27, D3, SEC-51; P7: vodozemac decrypts one message any number of times).
//!
//! Each sender has indices of his own: where the owner is not known, or several claim to be it, a
//! member's copy of a ciphertext must not take the index from the owner's event. Once others than
//! the owner are refused, nobody looks at what they used. Earlier versions noted uses without
//! their senders; those hold for everybody.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::InboundMegolmSession;
use super::decrypt::{Decrypted, Opened};
use super::uses::{Block, Use, Uses};
use crate::error::Result;
use crate::sessions::account::Account;
use crate::store::collections::{INBOUND_REPLAYS, INBOUND_USES};
use crate::store::{Batch, RecordKey, RecordPrefix};

/// By the short forms of their records' keys.
type Blocks = HashMap<[u8; 16], Block>;

/// The check of one call's events, in their order. The locks of their sessions are held meanwhile.
pub(super) struct ReplayGuard<'a> {
    account: &'a Account,
    /// What this call has looked at: each block is read once and written once.
    blocks: Blocks,
    pub(super) batch: Batch,
}

impl<'a> ReplayGuard<'a> {
    pub(super) fn new(account: &'a Account) -> Self {
        Self { account, blocks: Blocks::new(), batch: Batch::new() }
    }

    /// Saves the reading of a block. It must be what the store holds.
    pub(super) fn lend(&mut self, block: Block) {
        self.blocks.insert(block.key.short(), block);
    }

    /// Refuses an event whose index another one has used (M27).
    pub(super) fn admit(&mut self, opened: Opened) -> Result<Decrypted> {
        let Opened { seen, message_index, key, old_key, event } = opened;
        let vault = self.account.vault();
        let block = match self.blocks.entry(key.short()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let uses = vault.read::<Uses>(&key)?.unwrap_or_default();
                place.insert(Block { key, uses, has_grown: false })
            }
        };
        if let Some(known) = block.uses.of(message_index) {
            known.check(&seen, message_index)?;
            return Ok(event);
        }
        match old_key.map(|old_key| vault.read::<Use>(&old_key)).transpose()?.flatten() {
            Some(known) => known.check(&seen, message_index)?,
            None => {
                block.uses.add(message_index, seen);
                block.has_grown = true;
            }
        }
        Ok(event)
    }

    /// Stores what has grown, and gives all blocks back. They need no sync: losing one in a power
    /// cut loses no key (DESIGN, State). What else is in the batch can be found again.
    pub(super) fn commit(mut self) -> Result<Blocks> {
        for block in self.blocks.values_mut() {
            if std::mem::take(&mut block.has_grown) {
                self.batch.put(&block.key, &block.uses)?;
            }
        }
        self.batch.relaxed();
        self.account.vault().commit(self.batch)?;
        Ok(self.blocks)
    }
}

/// The beginning of the keys of a session's blocks: hashed once for all its messages.
pub(super) fn prefix(account: &Account, room_id: &str, session_id: &str) -> RecordPrefix {
    let parts = [account.user_id(), account.device_id(), room_id, session_id];
    account.vault().prefix(INBOUND_USES, &parts)
}

/// As `prefix`, for what earlier versions have noted.
pub(super) fn old_prefix(session: &InboundMegolmSession) -> RecordPrefix {
    session.account.vault().prefix(INBOUND_REPLAYS, &parts(session))
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
