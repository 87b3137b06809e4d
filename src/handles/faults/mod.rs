//! A failure at every commit of a scripted life, one at a time (SEC-114): the call answers
//! STORE_IO, the state is what the disk holds, a retry works, and no key is used twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod acts;
mod disk;
#[path = "../../../tests/common/libolm.rs"]
mod libolm;
mod moving_in;
mod people;
mod script;
mod world;

use disk::Fault;
use script::{SCRIPT, Step};
use world::World;

/// Lives through the script, with a fault at one step, and says how often each step commits.
fn live(fault: Option<(usize, Fault)>) -> Vec<usize> {
    let mut world = World::new();
    world.disk.take_commits();
    let mut commits = Vec::new();
    // After a fault, life goes on for a while.
    let end = fault.map_or(SCRIPT.len(), |(at, _)| SCRIPT.len().min(at + 8));
    for (position, step) in SCRIPT[..end].iter().enumerate() {
        (step.prepare)(&mut world);
        world.disk.take_commits();
        match fault {
            Some((at, fault)) if at == position => take_fault(&mut world, step, fault),
            _ => (step.call)(&mut world)
                .unwrap_or_else(|error| panic!("{} (fault {fault:?}): {error}", step.name)),
        }
        commits.push(world.disk.take_commits());
        if fault.is_some_and(|(at, _)| at <= position) {
            world.check_what_a_crash_would_send();
        }
    }
    commits
}

fn take_fault(world: &mut World, step: &Step, fault: Fault) {
    let what = format!("{} with a fault {fault:?}", step.name);
    world.disk.arm(fault);
    let result = (step.call)(world);
    if world.disk.disarm() {
        // A deletion needs no random bytes.
        assert!(fault == Fault::Random && result.is_ok(), "{what} made no commit");
        return;
    }
    let error = result.expect_err(&what);
    assert_eq!(error.name(), "STORE_IO", "{what}: {error}");
    world.check_live_state(&what);
    world.check_what_a_crash_would_send();
    match (step.call)(world) {
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
    for (step, commits) in SCRIPT.iter().zip(live(None)) {
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
    for (position, step) in SCRIPT.iter().enumerate() {
        if !step.writes_nothing {
            live(Some((position, fault)));
        }
    }
}
