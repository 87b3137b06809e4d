//! Work on all cores, with threads that live for one call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder};

use crate::error::{E2eeError, Result};

/// A thread costs about as much as one message: each has to have this many to do.
const WORTH_A_THREAD: usize = 16;

/// The number of cores; asking the system reads several files.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Does all tasks, on as many threads as the `messages` in them are worth; the results stand in the
/// order of the tasks. Each thread takes the next task when it is done with one, so that a long one
/// holds up no others. A panic in a task is PANIC.
pub(crate) fn map<T: Send, R: Send>(
    tasks: Vec<T>,
    messages: usize,
    work: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    let threads = cores().min(tasks.len()).min(messages / WORTH_A_THREAD).max(1);
    map_on(tasks, threads, Builder::new, work)
}

fn map_on<T: Send, R: Send>(
    tasks: Vec<T>,
    threads: usize,
    builder: impl Fn() -> Builder,
    work: impl Fn(T) -> R + Sync,
) -> Result<Vec<R>> {
    let mut results: Vec<Option<R>> = Vec::new();
    results.resize_with(tasks.len(), || None);
    let queue = Mutex::new(tasks.into_iter().zip(&mut results));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let run = || {
        let all = || {
            while let Some((task, result)) = next() {
                *result = Some(work(task));
            }
        };
        // The panic's text may hold data, and its end may panic again.
        catch_unwind(AssertUnwindSafe(all)).unwrap_or_else(std::mem::forget);
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // If the system refuses a thread, there is one fewer: this one does its work.
            if builder().spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    let results: Option<Vec<R>> = results.into_iter().collect();
    results.ok_or_else(|| E2eeError::panic("internal error"))
}
