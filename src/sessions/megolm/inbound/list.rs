//! Listing the inbound sessions of an account in the order of their IDs: all, and those of a room.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::InboundMegolmSession;
use super::record;
use crate::base::identifiers::{RoomId, UserId};
use crate::error::Result;
use crate::sessions::account::{Account, Page};
use crate::store::collections::INBOUND_LISTS;
use crate::store::{Batch, Transaction};

/// The list of all sessions: [session ID, room]. Those of the rooms are under the rooms' IDs and
/// have the sessions' IDs.
const ALL: &str = "";

/// A stored inbound session, without its key.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct SessionInfo {
    /// The room.
    pub room_id: String,
    /// The session's ID.
    pub session_id: String,
    /// The identity key of the device it came from, or is said to come from.
    pub sender_key: String,
    /// The user who owns it, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_user_id: Option<UserId>,
    /// The first message index that can be decrypted.
    pub first_known_index: u32,
    /// Whether the key came over Olm from the device of `sender_key`, or is our own.
    pub authenticated: bool,
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionInfo").finish_non_exhaustive()
    }
}

/// The names in a session's record.
#[derive(Deserialize)]
struct Names {
    room_id: String,
    session_id: String,
}

/// Puts a session into the lists, with the commit of its record.
pub(super) fn note(session: &InboundMegolmSession, tx: &mut Transaction<'_>) {
    note_names(&session.account, &session.room_id, &session.session_id, tx.batch());
}

fn note_names(account: &Account, room_id: &str, session_id: &str, batch: &mut Batch) {
    batch.note(&account.list(INBOUND_LISTS, ALL), &[session_id, room_id]);
    batch.note(&account.list(INBOUND_LISTS, room_id), &[session_id]);
}

/// Takes a session out of the lists, with the commit that deletes its record.
pub(super) fn unnote(session: &InboundMegolmSession, tx: &mut Transaction<'_>) {
    let InboundMegolmSession { account, room_id, session_id, .. } = session;
    tx.unnote(&account.list(INBOUND_LISTS, ALL), &[session_id, room_id]);
    tx.unnote(&account.list(INBOUND_LISTS, room_id), &[session_id]);
}

/// The stored inbound sessions of an account, of one room or of all, in the order of their IDs: each
/// once, with the best claim. A damaged one is left out.
///
/// A session ID that stands in several rooms, as it does only if somebody wants it to, is not divided
/// between pages: they are as much longer.
pub fn list_sessions(
    account: &Account,
    room_id: Option<&RoomId>,
    page: Page<'_>,
) -> Result<Vec<SessionInfo>> {
    let _access = account.enter()?;
    let note = |Names { room_id, session_id }, batch: &mut Batch| {
        note_names(account, &room_id, &session_id, batch);
    };
    let room_id = room_id.map(RoomId::as_str);
    let list = room_id.unwrap_or(ALL);
    account.page_of_list(INBOUND_LISTS, list, page, note, |session_id, room| {
        record::info(account, room_id.unwrap_or(room), session_id)
    })
}
