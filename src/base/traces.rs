//! What a call leaves behind on its thread's stack: parts of keys and plaintexts, where functions had
//! them that have ended (SEC-108). The heap is the allocator's business, see the feature `hardened-alloc`.

use std::cell::Cell;

/// Olm needs the most, some 40 KiB; tests/c/plain/memory.c looks for what is deeper.
const DEPTH: usize = 64 * 1024;

thread_local! {
    static LEFT: Cell<bool> = const { Cell::new(false) };
}

/// Says that the work on this thread has read or written what may be secret: JSON, records.
#[inline]
pub(crate) fn leave() {
    LEFT.set(true);
}

/// Does some work, and overwrites the part of the stack that it had if it left traces there.
#[inline]
pub(crate) fn without<T>(work: impl FnOnce() -> T) -> T {
    let around = LEFT.replace(false);
    let result = below(work);
    if LEFT.replace(around) {
        overwrite();
    }
    result
}

/// In a frame of its own, and so all that it calls: `overwrite` begins where this began.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn overwrite() {
    std::hint::black_box(&mut [0_u8; DEPTH]);
}
