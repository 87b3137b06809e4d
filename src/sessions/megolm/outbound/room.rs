//! The one room of an outbound session: the same ratchet in two rooms would use each index twice.
//!
//! The record of a session from elsewhere outlives it: the pickle may still be around, at an index
//! that was used here since. Of a session made here there is no pickle, so its record goes with it.
//! Sessions stored by earlier versions have none.

use serde::{Deserialize, Serialize};

use super::OutboundMegolmSession;
use crate::base::identifiers::RoomId;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::collections::OUTBOUND_ROOMS;
use crate::store::{RecordKey, Transaction};

#[derive(Serialize, Deserialize)]
struct Room {
    room_id: RoomId,
    imported: bool,
}

fn key(account: &Account, session_id: &str) -> RecordKey {
    account.record_key(OUTBOUND_ROOMS, &[session_id])
}

pub(super) fn put(
    outbound: &OutboundMegolmSession,
    imported: bool,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let room = Room { room_id: outbound.room_id.clone(), imported };
    tx.put(&key(&outbound.account, &outbound.session_id), &room)
}

/// Whether the session is known in this room, be it only as one that was erased. `WRONG_ROOM` if
/// it is known in another one.
pub(super) fn knows(outbound: &OutboundMegolmSession, tx: &Transaction<'_>) -> Result<bool> {
    match tx.read::<Room>(&key(&outbound.account, &outbound.session_id))? {
        None => Ok(false),
        Some(room) if room.room_id == outbound.room_id => Ok(true),
        Some(_) => Err(E2eeError::wrong_room("the session belongs to another room")),
    }
}

/// For a session that is erased in the same transaction.
pub(super) fn put_erased(outbound: &OutboundMegolmSession, tx: &mut Transaction<'_>) -> Result<()> {
    let key = key(&outbound.account, &outbound.session_id);
    match tx.read::<Room>(&key)? {
        Some(room) if room.imported => Ok(()),
        Some(_) => {
            tx.delete(&key);
            Ok(())
        }
        // Stored by an earlier version: it may have come from elsewhere.
        None => put(outbound, true, tx),
    }
}
