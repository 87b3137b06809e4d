//! Texts that C owns, and wiping.
//!
//! In front of each text lies its length, so that all of it can be wiped and
//! released even if C has written a NUL into it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ffi::{c_char, c_void};
use std::ptr;

use crate::error::{E2eeError, Result};

const HEADER: usize = size_of::<usize>();

/// Bytes that are wiped when they are dropped. (zeroize's own types write byte by byte.)
struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.fill(0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

/// The layout of a text of this length with its header and its NUL.
fn layout(length: usize) -> Result<Layout> {
    length
        .checked_add(HEADER + 1)
        .and_then(|size| Layout::from_size_align(size, align_of::<usize>()).ok())
        .ok_or_else(|| E2eeError::panic("a text is too long"))
}

/// Copies a text into memory that C owns, and wipes the original.
pub(super) fn give(text: String) -> Result<*mut c_char> {
    let text = Wiped(text.into_bytes());
    let bytes = text.0.as_slice();
    if bytes.contains(&0) {
        return Err(E2eeError::panic("a result holds a NUL"));
    }
    let layout = layout(bytes.len())?;
    // SAFETY: the layout is never empty. The three writes fill exactly its
    // header, its text and its NUL.
    unsafe {
        let start = alloc(layout);
        if start.is_null() {
            handle_alloc_error(layout);
        }
        start.cast::<usize>().write(bytes.len());
        let out = start.add(HEADER);
        ptr::copy_nonoverlapping(bytes.as_ptr(), out, bytes.len());
        out.add(bytes.len()).write(0);
        Ok(out.cast())
    }
}

/// Wipes and releases a text that `give` made.
///
/// SAFETY: `text` must be NULL or come from `give`, and not be used again.
pub(super) unsafe fn take_back(text: *mut c_char) {
    if text.is_null() {
        return;
    }
    // SAFETY: `give` put the length in front of the text and used this layout.
    unsafe {
        let start = text.cast::<u8>().sub(HEADER);
        let length = start.cast::<usize>().read();
        let Ok(layout) = layout(length) else { return };
        wipe(start.cast(), layout.size());
        dealloc(start, layout);
    }
}

/// Overwrites memory with zeroes, in a way that the compiler does not leave out.
///
/// SAFETY: `data` must point to `length` bytes, unless one of them is 0 or NULL.
pub(super) unsafe fn wipe(data: *mut c_void, length: usize) {
    if data.is_null() || length > isize::MAX as usize {
        return;
    }
    // SAFETY: the caller promises `length` bytes at `data`.
    let bytes = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), length) };
    bytes.fill(0);
    zeroize::optimization_barrier(bytes);
}
