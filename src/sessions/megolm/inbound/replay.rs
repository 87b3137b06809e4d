//! The replay guard: a message index belongs to the first event that used it, for good
//! (M27, D3, SEC-51; P7: vodozemac decrypts one message any number of times).
//!
//! Each sender has indices of his own: where the owner is not known, or several claim to be it, a
//! member's copy of a ciphertext must not take the index from the owner's event. Once others than
//! the owner are refused, nobody looks at what they used. Earlier versions noted uses without
//! their senders; those hold for everybody.

use super::InboundMegolmSession;
use super::decrypt::{Decrypted, Opened};
use super::record::InboundState;
use super::uses::{Block, Use};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::collections::{INBOUND_REPLAYS, INBOUND_USES};
use crate::store::{RecordKey, RecordPrefix, Records, Transaction};

impl InboundState {
    /// Refuses an event whose index another one has used (M27). What it notes is stored by
    /// `store_uses`: events in the order of their indices write each block once.
    pub(super) fn admit(&mut self, tx: &mut Transaction<'_>, opened: Opened) -> Result<Decrypted> {
        let Opened { seen, message_index, key, old_key, event } = opened;
        let block = self.block(tx, key)?;
        if let Some(known) = block.uses.of(message_index) {
            known.check(&seen, message_index)?;
            return Ok(event);
        }
        match old_key.map(|old_key| tx.read::<Use>(&old_key)).transpose()?.flatten() {
            Some(known) => known.check(&seen, message_index)?,
            None => {
                block.uses.add(message_index, seen);
                block.has_grown = true;
            }
        }
        Ok(event)
    }

    /// The block of that key, which takes the place of the one before.
    fn block(&mut self, tx: &mut Transaction<'_>, key: RecordKey) -> Result<&mut Block> {
        if self.last_uses.as_ref().is_none_or(|block| block.key != key) {
            let uses = tx.read(&key)?.unwrap_or_default();
            self.store_uses(tx)?;
            self.last_uses = Some(Box::new(Block { key, uses, has_grown: false }));
        }
        self.last_uses.as_deref_mut().ok_or_else(|| E2eeError::panic("a block was lost"))
    }

    /// Stores what was noted. That needs no sync: losing it in a power cut loses no key (DESIGN,
    /// State).
    pub(super) fn store_uses(&mut self, tx: &mut Transaction<'_>) -> Result<()> {
        if let Some(block) = self.last_uses.as_mut().filter(|block| block.has_grown) {
            tx.put_relaxed(&block.key, &block.uses)?;
            block.has_grown = false;
        }
        Ok(())
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
pub(super) fn keys(
    session: &InboundMegolmSession,
    records: &Records<'_>,
) -> Result<Vec<RecordKey>> {
    let mut keys = records.scan_keys(INBOUND_USES, &parts(session))?;
    keys.extend(records.scan_keys(INBOUND_REPLAYS, &parts(session))?);
    Ok(keys)
}

fn parts(session: &InboundMegolmSession) -> [&str; 4] {
    let account = &session.account;
    [account.user_id(), account.device_id(), &session.room_id, &session.session_id]
}
