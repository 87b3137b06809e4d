//! Reserving message indices ahead, so that not every message waits for the disk.
//!
//! **The rule.** An index is used only if it is below a `reserved_until` that a synced commit has
//! put on disk. The record holds the ratchet as it was at the last commit and `reserved_until`:
//! the indices between the two may have been used, and whoever loads the record skips them.
//!
//! - Using the index at `reserved_until` takes a commit, which reserves a block; using one below
//!   it takes none. A block has `reserve_ahead` indices and ends at the rotation limit.
//! - Every other commit of the session writes the ratchet as it is and keeps `reserved_until`.
//! - In memory, what was just loaded has nothing reserved: its index is `reserved_until`. So its
//!   first message commits, whatever the disk says.
//! - Skipped indices count toward the rotation limit. Keys that were handed out stay good: they
//!   are of lower indices.
//! - `reserved_until` goes down in one place only, the write-back, which sets it to the ratchet's
//!   index, so that the next load skips nothing. It is made under the lock of the state, which is
//!   out of memory when the lock is released, whether the commit has succeeded or not: nobody is
//!   left who would use an index on the strength of the old value. (A flag beside an unchanged
//!   `reserved_until` would say the same, and would have to be obeyed in the same way.)
//! - A record of a version that reserved nothing has no `reserved_until`: it is its index.
//! - The first message after loading reserves nothing but itself, so that a program that opens
//!   the session for each message pays one commit for it, not a second one for the write-back.
//!
//! | what happens | commits | indices skipped |
//! |---|---|---|
//! | a message, `reserve_ahead` 0 or 1 | 1 | |
//! | messages of a new session, `reserve_ahead` n | 1 for every n | |
//! | the first message after loading | 1 | |
//! | the last handle is freed, or the store shut down | 1, if a reserved index is left | 0 |
//! | a crash, or an I/O error in any call on the session | | what was left, n - 1 at most |
//! | loading after that | 0 | about 30 us for each skipped one and each one since the commit |

use super::record::OutboundState;
use crate::error::{E2eeError, Result};

/// How many indices a block has by default.
pub(super) const DEFAULT_BLOCK: u32 = 32;
/// The largest block: what a crash skips costs time at the next load, and rotates earlier.
pub(super) const LARGEST_BLOCK: u32 = 1000;

impl OutboundState {
    /// Whether the next index may be used without a commit.
    pub(super) fn has_reserved(&self) -> bool {
        self.session.message_index() < self.reserved_until
    }

    /// Reserves the next index and those after it. Not before this is on disk may it be used.
    pub(super) fn reserve(&mut self) {
        let index = self.session.message_index();
        let block = if self.reserves_blocks { self.settings.reserve_ahead } else { 1 };
        let until = index.saturating_add(block).min(self.period.messages);
        self.reserved_until = self.reserved_until.max(until).max(index.saturating_add(1));
        self.reserves_blocks = true;
    }

    /// Skips what may have been used by whoever had the session before.
    pub(super) fn skip_reserved(&mut self) -> Result<()> {
        let index = self.session.message_index();
        if self.reserved_until.saturating_sub(index) > LARGEST_BLOCK {
            return Err(E2eeError::corrupt("an outbound session has reserved too many messages"));
        }
        while self.has_reserved() {
            // A session can only be advanced by encrypting; nobody sees this message.
            self.session.encrypt("");
        }
        self.reserved_until = self.session.message_index();
        Ok(())
    }
}
