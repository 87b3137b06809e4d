//! Records that are old, missing or back again are CORRUPT when they are used, although each of them
//! is a good one, and `problems` tells of them.
//! (A store that was put back as a whole is not noticed.)

use super::at_every_call;
use super::place::{Fault, Lie, Name};
use super::world::{STEPS, World, look, problems, say_two_things};

/// Alice's store after all steps but the erasing ones and the last.
fn lived() -> World {
    let mut world = World::new();
    for step in STEPS.iter().take_while(|step| step.name != "InboundMegolmSession.erase") {
        (step.prepare)(&mut world);
        (step.call)(&world).unwrap();
    }
    look(&world).unwrap();
    assert_eq!(problems(&world).unwrap(), "[]");
    world
}

fn check(what: &str, world: &World) {
    let reported = problems(&world.copy());
    match look(world) {
        // It was not needed, or stands for less than it did: then it is reported.
        Ok(()) => assert_ne!(reported.unwrap(), "[]", "{what}: nobody noticed"),
        Err(error) => assert_eq!(error.name(), "CORRUPT", "{what}: {error}"),
    }
}

// SEC-112, SEC-115
#[test]
fn a_record_that_was_rolled_back_removed_or_put_back_is_corrupt() {
    let world = lived();
    let records = world.alice.records();
    let change = |what: &str, name: &Name, value: Option<Vec<u8>>| {
        let world = world.copy();
        world.alice.put(name.clone(), value);
        let what = format!("a record of {} was {what}", name.0);
        check(&what, &world.copy());
        match problems(&world) {
            // A node of the index that was deleted is no record of anybody's.
            Ok(list) if list == "[]" => {
                assert!(what.ends_with("vault_index was put back"), "{what}")
            }
            Ok(list) => {
                // What an old manifest vouches for is not there any more.
                let is_named = list.contains(&name.0) || name.0 == "vault_manifest";
                assert!(is_named, "{what}: {list}");
            }
            // Without these two there is no store.
            Err(error) => {
                assert!(["vault", "vault_manifest"].contains(&name.0.as_str()), "{what}");
                assert_eq!(error.name(), "CORRUPT", "{what}: {error}");
            }
        }
    };
    for name in records.now.keys() {
        change("removed", name, None);
        if let Some(former) = records.former(name) {
            change("rolled back", name, Some(former));
        }
    }
    let deleted = records.deleted();
    assert!(!deleted.is_empty());
    for name in deleted {
        change("put back", &name, records.former(&name));
    }
}

// SEC-112, SEC-115
#[test]
fn an_answer_that_is_old_too_little_or_too_much_is_corrupt_or_does_no_harm() {
    for lie in [Lie::Stale, Lie::Missing, Lie::Resurrected, Lie::ShortScan] {
        at_every_call(|world, step, at| {
            let what = format!("{}, call {at}: {lie:?}", step.name);
            world.alice.arm(at, Fault::LiesOnce(lie));
            let result = (step.call)(world);
            if world.alice.disarm()
                && let Err(error) = result
            {
                assert_eq!(error.name(), "CORRUPT", "{what}: {error}");
                (step.call)(world).unwrap_or_else(|error| panic!("{what}, again: {error}"));
            }
            // Whoever is shown an old manifest writes its successor, which then fits nothing.
            world.later_messages_are_good_or_corrupt();
        });
    }
}

// SEC-112, SEC-115
#[test]
fn a_commit_that_was_forgotten_in_whole_or_in_part_is_corrupt() {
    let world = lived();
    let before = world.copy();
    world.alice.take_calls();
    say_two_things(&world).unwrap();
    let calls = world.alice.take_calls();
    let mut forgotten = 0;
    for fault in [Fault::ForgetsAll, Fault::ForgetsFirst, Fault::ForgetsLast] {
        for at in 0..calls {
            let world = before.copy();
            world.alice.arm(at, fault);
            say_two_things(&world).unwrap();
            let is_last = at + 1 == calls;
            let is_noticed = match fault {
                // The manifest comes last, and the next one has all that it had.
                Fault::ForgetsLast => is_last,
                // Nobody can know of a last commit of which there is no trace.
                Fault::ForgetsAll => !is_last,
                _ => true,
            };
            if world.alice.disarm() && is_noticed {
                forgotten += 1;
                check(&format!("call {at}: {fault:?}"), &world);
            }
        }
    }
    assert!(forgotten >= 4);
    // What was erased is still there.
    let erase = STEPS.iter().find(|step| step.name == "OlmChannel.erase").unwrap();
    let mut world = World::new();
    for step in STEPS.iter().take_while(|step| step.name != erase.name) {
        (step.prepare)(&mut world);
        (step.call)(&world).unwrap();
    }
    let before = world.copy();
    world.alice.take_calls();
    (erase.call)(&world).unwrap();
    let last = world.alice.take_calls() - 1;
    before.alice.arm(last, Fault::ForgetsDeletions);
    (erase.call)(&before).unwrap();
    assert!(before.alice.disarm());
    check("deletions were forgotten", &before);
}
