//! Stores on a backend of the program's own: a good one, and one that goes wrong at each call in
//! turn. Its failures and lies are typed errors, and no key is used twice.

mod common;
#[path = "foreign/place.rs"]
mod place;
#[path = "foreign/rolled_back.rs"]
mod rolled_back;
#[path = "foreign/world.rs"]
mod world;

use std::cell::Cell;

use common::fails;
use place::{Fault, Lie};
use world::{STEPS, Step, World};

/// Lives through all steps. Before each it calls `what_if` with a copy of the world for every call
/// of the backend that the step makes, and the number of that call.
fn at_every_call(what_if: impl Fn(&World, &Step, usize)) {
    let mut world = World::new();
    for step in STEPS {
        (step.prepare)(&mut world);
        let before = world.copy();
        world.alice.take_calls();
        (step.call)(&world).unwrap_or_else(|error| panic!("{}: {error}", step.name));
        let calls = world.alice.take_calls();
        assert!(calls > 0, "{} asks nothing of the backend", step.name);
        for at in 0..calls {
            what_if(&before.copy(), step, at);
        }
    }
    world.later_messages_are_good();
}

fn every_call_fails(fault: Fault) {
    at_every_call(|world, step, at| {
        let what = format!("{}, call {at}: {fault:?}", step.name);
        world.alice.arm(at, fault);
        let result = (step.call)(world);
        assert!(world.alice.disarm(), "{what} did not happen");
        let error = fails(result, "STORE_IO");
        assert!(error.to_string().ends_with("no luck"), "{what}: {error}");
        match (step.call)(world) {
            Ok(()) => {}
            // Of all calls only a commit can have taken effect.
            Err(error) if fault == Fault::After => {
                assert_eq!(error.name(), step.done_already, "{what}")
            }
            Err(error) => panic!("{what}, again: {error}"),
        }
        world.later_messages_are_good();
    });
}

// SEC-114
#[test]
fn a_backend_that_fails_once_at_any_call_costs_one_call_and_no_key() {
    every_call_fails(Fault::Before);
}

// SEC-114
#[test]
fn a_backend_that_fails_from_any_call_on_costs_nothing_once_it_works_again() {
    every_call_fails(Fault::FromThenOn);
}

// SEC-114
#[test]
fn a_backend_that_does_its_work_and_says_that_it_failed_leads_to_no_second_use_of_a_key() {
    every_call_fails(Fault::After);
}

// SEC-112
#[test]
fn values_that_are_cut_short_altered_or_exchanged_are_corrupt() {
    for lie in [Lie::ShortValue, Lie::NoValue, Lie::AlteredValue, Lie::ExchangedValues] {
        every_lie_is(lie, "CORRUPT");
    }
}

#[test]
fn lists_that_are_not_what_was_asked_for_are_errors() {
    for lie in [Lie::Reordered, Lie::Repeated, Lie::NotAfter, Lie::BeyondLimit] {
        every_lie_is(lie, "STORE_IO");
    }
}

/// What the first record of all, which is not encrypted with a key of the store, may be taken for.
const HEADER: [&str; 3] = ["CORRUPT", "WRONG_KEY", "NEWER_FORMAT"];

fn every_lie_is(lie: Lie, expected: &str) {
    let told = Cell::new(0);
    at_every_call(|world, step, at| {
        let what = format!("{}, call {at}: {lie:?}", step.name);
        world.alice.arm(at, Fault::Lies(lie));
        let result = (step.call)(world);
        if world.alice.disarm() {
            told.set(told.get() + 1);
            match result {
                // Damaged records can be erased.
                Ok(()) if step.name.ends_with(".erase") => {}
                // Lists that stand in the index alone are built anew.
                Ok(()) => {
                    let lied_of = world.alice.lied_of();
                    assert_eq!(lied_of, ["vault_index"], "{what}: nobody noticed");
                    world.lists_are_whole(&what);
                }
                Err(error) => {
                    let name = error.name();
                    let is_header = at == 0 && HEADER.contains(&name);
                    assert!(name == expected || is_header, "{what}: {error}");
                    (step.call)(world).unwrap_or_else(|error| panic!("{what}, again: {error}"));
                }
            }
        }
        world.later_messages_are_good();
    });
    assert!(told.get() > 0, "{lie:?} was never told");
}
