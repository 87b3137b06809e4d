//! How large JSON may be, and what reading it may cost (SEC-100; spec: "Size limits").

use std::cell::Cell;
use std::rc::Rc;

use serde_json::value::RawValue;

use crate::error::{E2eeError, Result};

/// The largest event or to-device content, in bytes.
pub(crate) const EVENT_LIMIT: usize = 65_536;
/// The largest entry for one device in an answer of the server, in bytes.
pub(crate) const DEVICE_LIMIT: usize = 65_536;
/// The largest answer of a server, in bytes, unless the caller has asked for more.
pub(crate) const ANSWER_LIMIT: usize = 16 << 20;
/// The largest other JSON argument, in bytes.
pub(crate) const ARGUMENT_LIMIT: usize = 128 << 20;

/// What reading a small text may take; no event or device's entry can reach it.
const SMALL_TEXT: usize = 8 << 20;
/// What all parts of an argument together may take beyond their own.
const FREE: usize = 4 << 20;
/// How much more than its text reading a larger one may take.
const MEMORY_PER_BYTE: usize = 4;

/// What reading one argument may still take of memory: four times its text. `0,` is two bytes in
/// the text and 64 in memory, so that a size alone bounds nothing.
pub(crate) struct Allowance {
    all: usize,
    left: Cell<usize>,
    /// What all parts of an argument have together beyond their own.
    free: Rc<Cell<usize>>,
}

impl Allowance {
    /// For a text that is read whole; as much again is for writing what it becomes.
    pub(super) fn for_whole(text: &str) -> Self {
        Self::new((own(text) / 2).max(SMALL_TEXT), Rc::default())
    }

    /// For a text that is read in parts.
    pub(super) fn for_parts(text: &str) -> Self {
        Self::new(own(text), Rc::new(Cell::new(FREE)))
    }

    /// For a part that may be as it likes and leaves the others what is theirs.
    pub(crate) fn for_part(&self, part: &RawValue) -> Self {
        Self::new(own(part.get()), Rc::clone(&self.free))
    }

    fn new(own: usize, free: Rc<Cell<usize>>) -> Self {
        Self { all: own.saturating_add(free.get()), left: Cell::new(own), free }
    }

    /// Whether that much was left.
    pub(super) fn has(&self, bytes: usize) -> bool {
        [&self.left, &*self.free].into_iter().any(|cell| match cell.get().checked_sub(bytes) {
            Some(left) => {
                cell.set(left);
                true
            }
            None => false,
        })
    }

    /// `TOO_LARGE` if that much is not left.
    pub(crate) fn take(&self, what: &str, bytes: usize) -> Result<()> {
        if self.has(bytes) { Ok(()) } else { Err(self.exceeded(what)) }
    }

    pub(super) fn exceeded(&self, what: &str) -> E2eeError {
        let all = self.all;
        E2eeError::TooLarge {
            detail: format!(
                "{what} has more values than its size allows: reading it would take over {all} \
                 bytes of memory"
            ),
            limit: all as u64,
        }
    }
}

fn own(text: &str) -> usize {
    text.len().saturating_mul(MEMORY_PER_BYTE)
}

/// `TOO_LARGE` if a text is longer than that.
pub(crate) fn check_size(what: &str, text: &str, limit: usize) -> Result<()> {
    if text.len() > limit {
        return Err(E2eeError::too_large(what, text.len(), limit));
    }
    Ok(())
}

/// What a server puts around a content when it sends the event to others, but for the names: 20
/// previous and 10 authorising events, hashes and two signatures, each at its longest.
const FRAME: usize = 2_048;

/// Room for the event around a content: it names its sender, also as a server that signs, and a
/// room or a recipient.
pub(crate) fn event_frame(sender: &str, recipient: &str) -> usize {
    FRAME.saturating_add(sender.len().saturating_mul(2)).saturating_add(recipient.len())
}

/// Refuses a plaintext whose ciphertext no server would take and no receiver would read.
///
/// `overhead`: what the message has beside the padded plaintext, such as keys and a signature.
/// `around`: what stands in the event beside the ciphertext.
pub(crate) fn check_encrypted_size(plaintext: usize, overhead: usize, around: usize) -> Result<()> {
    let padded = (plaintext / 16).saturating_add(1).saturating_mul(16);
    let base64 = padded.saturating_add(overhead).div_ceil(3).saturating_mul(4);
    let size = base64.saturating_add(around);
    if size > EVENT_LIMIT {
        return Err(E2eeError::too_large("the encrypted event", size, EVENT_LIMIT));
    }
    Ok(())
}
