//! Which events used the indices of a session: one record for a block of consecutive indices of
//! one sender, so that there are few records, and a batch writes few.

use serde::{Deserialize, Serialize, Serializer};

use crate::base::identifiers::EventId;
use crate::error::{E2eeError, Result, cut};
use crate::store::{RecordKey, RecordPrefix};

/// How many indices share a record, which is written again for each message that comes alone.
const BLOCK: u32 = 32;

/// The event that used an index.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) event_id: EventId,
    pub(super) origin_server_ts: Option<i64>,
}

/// The uses in a block, as they are stored.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Uses {
    uses: Vec<(u32, Use)>,
}

/// A block in memory.
pub(super) struct Block {
    pub(super) key: RecordKey,
    pub(super) uses: Uses,
    /// Not all of it is stored yet.
    pub(super) has_grown: bool,
}

/// The key of the block that an index belongs to. `uses`: the session's.
pub(super) fn block_key(uses: &RecordPrefix, sender: &str, message_index: u32) -> RecordKey {
    uses.under(sender).key(&(message_index / BLOCK).to_string())
}

impl Uses {
    /// The use of an index of this block.
    pub(super) fn of(&self, message_index: u32) -> Option<&Use> {
        self.uses.iter().find(|(index, _)| *index == message_index).map(|(_, known)| known)
    }

    pub(super) fn add(&mut self, message_index: u32, seen: Use) {
        self.uses.push((message_index, seen));
    }
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

/// A list, without names, which a block would have over and over. What earlier versions wrote has
/// them; both are read.
impl Serialize for Use {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (&self.event_id, self.origin_server_ts).serialize(serializer)
    }
}
