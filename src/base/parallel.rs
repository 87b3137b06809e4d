//! Work on all cores, with threads that live for one call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{self, Builder};

use super::traces;
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
            traces::leave();
            while let Some((task, result)) = next() {
                *result = Some(work(task));
            }
        };
        // The panic's text may hold data, and its end may panic again.
        traces::without(|| catch_unwind(AssertUnwindSafe(all))).unwrap_or_else(std::mem::forget);
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

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread::ThreadId;

    use super::*;

    fn who_did<T: Send>(tasks: Vec<T>, messages: usize) -> Vec<ThreadId> {
        map(tasks, messages, |_| thread::current().id()).unwrap()
    }

    #[test]
    fn results_stand_in_the_order_of_the_tasks() {
        let tasks: Vec<usize> = (0..1000).collect();
        let doubled = map_on(tasks, 4, Builder::new, |task| task * 2).unwrap();
        assert!(doubled.into_iter().eq((0..1000).map(|task| task * 2)));
        assert!(map(Vec::new(), 0, |task: u8| task).unwrap().is_empty());
    }

    #[test]
    fn several_threads_work_at_once() {
        // Neither task ends before the other has begun.
        let both = Barrier::new(2);
        map_on(vec![1, 2], 2, Builder::new, |_| both.wait().is_leader()).unwrap();
    }

    #[test]
    fn little_work_is_done_by_the_caller() {
        let own = thread::current().id();
        assert!(who_did((0..31).collect(), 31).iter().all(|id| *id == own));
    }

    #[test]
    fn a_thread_that_the_system_refuses_is_done_without() {
        let too_large = || Builder::new().stack_size(usize::MAX / 4);
        let own = thread::current().id();
        let ids = map_on(vec![(); 100], 4, too_large, |()| thread::current().id()).unwrap();
        assert!(ids.len() == 100 && ids.iter().all(|id| *id == own));
    }

    #[test]
    fn a_panic_in_any_thread_is_an_error() {
        for threads in [1, 4] {
            let work = |task: usize| assert_ne!(task, 50, "this panic is part of the test");
            let result = map_on((0..100).collect(), threads, Builder::new, work);
            assert_eq!(result.unwrap_err().name(), "PANIC");
        }
    }
}
