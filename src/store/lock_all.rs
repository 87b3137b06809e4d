//! Locking many live states at once, reading those that are not in memory on all cores.

use super::live::Live;
use super::live_guard::LiveGuard;
use super::vault::Vault;
use crate::base::parallel;
use crate::error::{E2eeError, Result};

/// How many states a thread reads in one go.
const AT_ONCE: usize = 16;

/// Locks the states of all holders, which stand in the order of their keys: one order for all who
/// lock several, so that none waits for another in a circle. A state that cannot be had is an
/// error of its own; the call fails only if a thread does.
pub(crate) fn lock_all<'a, H: Sync, S: Send + Sync>(
    vault: &Vault,
    holders: &'a [H],
    live: impl Fn(&'a H) -> &'a Live<S>,
    load: impl Fn(&H) -> Result<Option<S>> + Sync,
) -> Result<Vec<Result<LiveGuard<'a, S>>>> {
    let mut locks: Vec<_> = holders.iter().map(|holder| live(holder).hold()).collect();
    let mut missing = Vec::new();
    for (holder, lock) in holders.iter().zip(&mut locks) {
        if let Ok(lock) = lock
            && let Some(place) = lock.missing()
        {
            missing.push((holder, place));
        }
    }
    // One message is not worth a thread: so this one reads all.
    let count = if vault.is_read_by_any_thread() { missing.len() } else { 1 };
    let mut chunks = Vec::new();
    let mut missing = missing.into_iter().peekable();
    while missing.peek().is_some() {
        chunks.push(missing.by_ref().take(AT_ONCE).collect::<Vec<_>>());
    }
    let problems = parallel::map(chunks, count, |chunk| {
        let read = |(holder, place): (&H, &mut Option<_>)| -> Result<()> {
            *place = load(holder)?.map(std::sync::Arc::new);
            Ok(())
        };
        chunk.into_iter().map(read).collect::<Vec<_>>()
    })?;
    let mut problems = problems.into_iter().flatten();
    let lost = || E2eeError::panic("a state was lost");
    Ok(locks
        .into_iter()
        .map(|lock| {
            let lock = lock?;
            if lock.was_missing() {
                problems.next().ok_or_else(lost)??;
            }
            lock.into_guard()
        })
        .collect())
}
