//! What the library takes from its surroundings: the time, random bytes and the process.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng;
use rand::rngs::ThreadRng;

use super::fork;
use crate::error::{E2eeError, Result};

/// A source of the current time.
///
/// Implement it to give a store another clock than the system's, for example in
/// tests. It is called on the thread of the call that needs the time, and must
/// not call back into the library (`BUSY`).
#[cfg_attr(feature = "uniffi", uniffi::export(rust, foreign))]
pub trait Clock: Send + Sync {
    /// The current time as Unix time in milliseconds. A negative number or an
    /// error means failure: the call that asked fails with `CLOCK_FAILED`.
    fn now_ms(&self) -> Result<i64>;
}

/// The system's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> Result<i64> {
        // As a host's clock may have to, see `was_cut_short`.
        CONFIRMED.set(true);
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| E2eeError::clock_failed("the system's clock stands before 1970"))?;
        i64::try_from(since_epoch.as_millis())
            .map_err(|_| E2eeError::clock_failed("the system's clock is out of range"))
    }
}

/// A source of the library's own random bytes (nonces and store keys).
///
/// Only Rust tests replace it. Ratchet and account keys are drawn inside
/// vodozemac and are not affected.
pub trait RandomBytes: Send + Sync {
    /// Fills the whole buffer or fails.
    fn fill(&self, buffer: &mut [u8]) -> Result<()>;
}

/// The operating system's random generator.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl RandomBytes for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        getrandom::fill(buffer).map_err(|_| E2eeError::store_io("the system gave no random bytes"))
    }
}

/// The process that something was made in, to notice a `fork()`. Process IDs do not tell: parent
/// and child can have the same one, in two namespaces or one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u64);

thread_local! {
    /// The generator that vodozemac draws keys from, too: all of a thread are one.
    static GENERATOR: ThreadRng = rand::rng();
    static LAST_PROCESS: Cell<u64> = const { Cell::new(0) };
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    static CONFIRMED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the host's language confirms each callback that ran to its end.
static HOST_CONFIRMS: AtomicBool = AtomicBool::new(false);

impl Process {
    /// The current process; a thread that finds itself in a new one reseeds its
    /// random generator first, because a fork copies the generator's state (SEC-110).
    /// So does every thread at its first call: the host may have drawn from the same
    /// generator before it forked.
    pub(crate) fn current() -> Result<Self> {
        let generation = generation();
        if LAST_PROCESS.get() != generation {
            GENERATOR
                .with(|generator| generator.clone().reseed())
                .map_err(|_| E2eeError::store_io("the system gave no random bytes"))?;
            LAST_PROCESS.set(generation);
        }
        Ok(Self(generation))
    }

    /// The current process, for something that draws no random numbers.
    pub(crate) fn here() -> Self {
        Self(generation())
    }

    /// Whether this is still the current process.
    pub(crate) fn is_current(self) -> bool {
        self.0 == generation()
    }

    /// As a number; 0 is no process.
    #[cfg(feature = "capi")]
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// A process that nothing was made in.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self(0)
    }

    /// Fails with `FORKED` unless this is still the current process.
    pub(crate) fn check(self) -> Result<()> {
        if Self::current()? == self {
            Ok(())
        } else {
            Err(E2eeError::forked("this handle was made before fork(); open a store of your own"))
        }
    }
}

/// What the generator draws in one go, of which each drawing takes its part.
const DRAWN_AT_ONCE: usize = 256;

/// Overwrites the keys that were drawn on this thread, where the generator still has them (SEC-108).
pub(crate) fn forget_drawn() {
    let draw = |generator: &ThreadRng| {
        generator.clone().fill_bytes(std::hint::black_box(&mut [0; DRAWN_AT_ONCE]));
    };
    // The thread may be ending: what it has for itself, the generator too, goes one by one.
    let _ = GENERATOR.try_with(draw);
}

#[cfg(not(test))]
fn generation() -> u64 {
    fork::generation()
}

#[cfg(test)]
fn generation() -> u64 {
    if FORKED.get() { !fork::generation() } else { fork::generation() }
}

#[cfg(test)]
thread_local! {
    static FORKED: Cell<bool> = const { Cell::new(false) };
}

/// Does something as a forked child would.
#[cfg(test)]
pub(crate) fn as_if_forked<T>(work: impl FnOnce() -> T) -> T {
    FORKED.set(true);
    let result = work();
    FORKED.set(false);
    result
}

/// Runs a host's callback; while it runs, calls from the same thread answer `BUSY`.
pub(crate) fn in_callback<T>(callback: impl FnOnce() -> T) -> T {
    struct Reset(bool);
    impl Drop for Reset {
        fn drop(&mut self) {
            IN_CALLBACK.set(self.0);
        }
    }
    let _reset = Reset(IN_CALLBACK.replace(true));
    CONFIRMED.set(false);
    callback()
}

/// The host's word that the callback on this thread ran to its end, see `was_cut_short`.
#[cfg(feature = "uniffi")]
pub(crate) fn confirm_callback() {
    HOST_CONFIRMS.store(true, Ordering::Relaxed);
    CONFIRMED.set(true);
}

/// Whether the callback that `in_callback` ran last has ended without a word, in a language that
/// promised one. Such a callback may not have run at all: Python leaves a function before its first
/// line when somebody presses Ctrl-C, and to its caller that looks like success.
pub(crate) fn was_cut_short() -> bool {
    HOST_CONFIRMS.load(Ordering::Relaxed) && !CONFIRMED.get()
}

/// Fails with `BUSY` if the current thread is inside a callback.
pub(crate) fn check_not_in_callback() -> Result<()> {
    if IN_CALLBACK.get() {
        Err(E2eeError::busy("a callback may not call back into the library"))
    } else {
        Ok(())
    }
}

/// Reads a clock, turning every failure into `CLOCK_FAILED`.
pub(crate) fn read_clock(clock: &Arc<dyn Clock>) -> Result<i64> {
    match in_callback(|| clock.now_ms()) {
        Ok(_) if was_cut_short() => Err(E2eeError::clock_failed("the clock was interrupted")),
        Ok(now) if now >= 0 => Ok(now),
        Ok(_) => Err(E2eeError::clock_failed("the clock gave a negative time")),
        Err(_) => Err(E2eeError::clock_failed("the clock failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handle that a program keeps for each thread, and whose end writes something.
    struct Kept;

    impl Drop for Kept {
        fn drop(&mut self) {
            forget_drawn();
        }
    }

    thread_local! {
        static KEPT: Kept = const { Kept };
    }

    #[test]
    fn a_thread_that_ends_can_still_write() {
        for kept_first in [true, false] {
            // A panic at this end would end the process.
            let thread = std::thread::spawn(move || {
                if kept_first {
                    KEPT.with(|_| ());
                }
                Process::current().map(|_| KEPT.with(|_| ()))
            });
            assert!(thread.join().is_ok_and(|called| called.is_ok()));
        }
    }
}
