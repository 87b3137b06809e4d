//! Eight threads that start together.

use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

pub const THREADS: usize = 8;
/// Far more than the slowest machine needs: a call that waits this long waits for ever.
const FOR_EVER: Duration = Duration::from_secs(120);

/// Runs `work` in eight threads, each with its number, and `meanwhile` in one more.
pub fn in_threads<T: Send + 'static>(
    work: impl Fn(usize) -> T + Send + Sync + 'static,
    meanwhile: impl FnOnce() + Send + 'static,
) -> Vec<T> {
    let (results, done) = mpsc::channel();
    let (work, start) = (Arc::new(work), Arc::new(Barrier::new(THREADS + 1)));
    let mut threads = Vec::new();
    for number in 0..THREADS {
        let (work, start, results) = (Arc::clone(&work), Arc::clone(&start), results.clone());
        threads.push(thread::spawn(move || {
            start.wait();
            let _ = results.send(Some(work(number)));
        }));
    }
    threads.push(thread::spawn(move || {
        start.wait();
        meanwhile();
        let _ = results.send(None);
    }));
    let result = |_| done.recv_timeout(FOR_EVER).expect("a thread has failed, or waits for ever");
    let results = (0..=THREADS).filter_map(result).collect();
    // They have nothing left to do but to let go of what they share.
    threads.into_iter().for_each(|thread| thread.join().expect("a thread has failed"));
    results
}
