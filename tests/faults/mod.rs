//! A failure at every commit of a scripted life, one at a time (SEC-114): the call answers
//! STORE_IO, the state is what the disk holds, a retry works, and no key is used twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod acts;
mod disk;
mod file;
#[path = "../common/libolm.rs"]
mod libolm;
mod moving_in;
mod people;
mod power;
mod script;
mod script_olm;
mod script_rooms;
mod shut_down;
mod world;

use crate::error::{E2eeError, Result};
use crate::handles::Store;
use disk::{Disk, Fault};
use script::{Step, script};
use world::World;

/// Lives through the script, with a fault at one step, and says how often each step commits.
fn live(fault: Option<(usize, Fault)>) -> Vec<usize> {
    let disk = Disk::new();
    let mut world = World::new(Box::new(disk.clone()));
    disk.take_commits();
    let mut commits = Vec::new();
    // After a fault, life goes on for a while.
    let script = script();
    let end = fault.map_or(script.len(), |(at, _)| script.len().min(at + 8));
    for (position, step) in script[..end].iter().enumerate() {
        (step.prepare)(&mut world);
        disk.take_commits();
        match fault {
            Some((at, fault)) if at == position => take_fault(&mut world, &disk, step, fault),
            _ => {
                (step.call)(&mut world)
                    .unwrap_or_else(|error| panic!("{} (fault {fault:?}): {error}", step.name));
                (step.after)(&mut world);
            }
        }
        let relaxed = disk.take_relaxed();
        if fault.is_none() {
            assert_eq!(relaxed, usize::from(step.is_relaxed), "{}", step.name); // SEC-112
        }
        commits.push(disk.take_commits());
        if fault.is_some_and(|(at, _)| at <= position) {
            world.check_what_a_crash_would_send();
        }
    }
    commits
}

fn take_fault(world: &mut World, disk: &Disk, step: &Step, fault: Fault) {
    let what = format!("{} with a fault {fault:?}", step.name);
    disk.arm(fault);
    let result = (step.call)(world);
    (step.after)(world);
    if disk.disarm() {
        // A deletion needs no random bytes.
        assert!(fault == Fault::Random && result.is_ok(), "{what} made no commit");
        return;
    }
    if !step.tells_nobody {
        let error = result.expect_err(&what);
        assert_eq!(error.name(), "STORE_IO", "{what}: {error}");
    }
    world.check_live_state(&what);
    world.check_what_a_crash_would_send();
    if step.tells_nobody {
        return;
    }
    let retry = (step.call)(world);
    (step.after)(world);
    match retry {
        Ok(()) => {}
        // The commit had taken effect: the retry may find that.
        Err(error) if fault == Fault::After => {
            assert!(step.done_already.contains(&error.name()), "{what}, retry: {error}");
            (step.recover)(world);
        }
        Err(error) => panic!("{what}, retry: {error}"),
    }
    world.check_live_state(&what);
}

// DESIGN section 5
#[test]
fn each_call_makes_at_most_one_commit() {
    for (step, commits) in script().iter().zip(live(None)) {
        assert_eq!(commits, usize::from(!step.writes_nothing), "{}", step.name);
    }
}

// SEC-114, SEC-112, SEC-31, D22, D23, O12, O23
#[test]
fn a_commit_that_writes_nothing_leaves_everything_as_it_was() {
    each_step(Fault::Before);
}

// SEC-114: the outcome is unknown to the caller, so the state is read again.
#[test]
fn a_commit_that_fails_after_writing_leaves_what_was_written() {
    each_step(Fault::After);
}

// SEC-110
#[test]
fn without_random_bytes_a_call_fails_and_leaves_everything_as_it_was() {
    each_step(Fault::Random);
}

fn each_step(fault: Fault) {
    for (position, step) in script().into_iter().enumerate() {
        if !step.writes_nothing {
            live(Some((position, fault)));
        }
    }
}

/// A store that promises that a commit is whole and breaks it is found out: the manifest does not
/// fit, for the open store and for the next opening, so that nothing is sent on its strength.
#[test]
fn a_commit_that_is_written_in_part_is_noticed_before_any_key_is_used() {
    let mut shorts = 0;
    for (position, step) in script().into_iter().enumerate() {
        let mut written = 1;
        while shorten(position, step, written) {
            written += 1;
            shorts += 1;
        }
    }
    assert!(shorts > 20, "{shorts} commits were cut short");
}

/// Lives up to a step and writes only so many changes of its commit; `false` if it has no more.
fn shorten(position: usize, step: &Step, written: usize) -> bool {
    let disk = Disk::new();
    let mut world = World::new(Box::new(disk.clone()));
    for step in &script()[..position] {
        (step.prepare)(&mut world);
        (step.call)(&mut world).unwrap();
        (step.after)(&mut world);
    }
    (step.prepare)(&mut world);
    disk.arm(Fault::Short(written));
    let result = (step.call)(&mut world);
    if disk.disarm() || disk.last_changes() <= written {
        return false;
    }
    let what = format!("{} with {written} changes written", step.name);
    if !step.tells_nobody {
        assert_eq!(result.expect_err(&what).name(), "STORE_IO", "{what}");
    }
    (step.after)(&mut world);
    let next_opening = world.open(&*world.place.copy()).and_then(|store| add_up(&store));
    assert_eq!(next_opening.expect_err(&what).name(), "CORRUPT", "{what}");
    assert_eq!(add_up(&world.store).expect_err(&what).name(), "CORRUPT", "{what}");
    true
}

/// Reads a whole store.
fn add_up(store: &Store) -> Result<()> {
    match store.core.problems()?.first() {
        None => Ok(()),
        Some(problem) => Err(E2eeError::corrupt(format!("{problem:?}"))),
    }
}
