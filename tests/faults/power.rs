//! The power fails while a store in a file is being written: every torn state of the file opens
//! as what was before the commit that was under way, and no key is used twice (SEC-112, SEC-114;
//! "Store durability checklist", 12c).

use std::thread;

use serde_json::Value;

use super::file::{FileStore, Image};
use super::people::Judge;
use super::script::script;
use super::world::World;

const THREADS: usize = 8;

/// What is surely on disk, and what has become of it since.
struct Synced {
    image: Image,
    judge: Judge,
    /// How the store looked then and after each commit since, all of them relaxed.
    looks: Vec<Value>,
}

impl Synced {
    fn new(world: &World, image: Image) -> Self {
        let looks = vec![look(world, &image)];
        Self { image, judge: world.judge.copy(), looks }
    }

    /// Several at a time: they mostly wait for the disk.
    fn check_all(&self, world: &World, what: &str, torn: Vec<(String, Image)>) {
        thread::scope(|scope| {
            for some in torn.chunks(torn.len().div_ceil(THREADS).max(1)) {
                scope.spawn(move || {
                    for (how, torn) in some {
                        self.check(world, &format!("{what}, {how}"), torn);
                    }
                });
            }
        });
    }

    fn check(&self, world: &World, what: &str, torn: &Image) {
        let store = torn.store();
        let store = world.open(&store).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = world.look(&store);
        assert!(self.looks.contains(&found), "{what}: {found} is none of {:?}", self.looks);
        world.check_what_is_sent(&store, self.judge.copy());
    }
}

fn look(world: &World, image: &Image) -> Value {
    let store = image.store();
    world.look(&world.open(&store).unwrap())
}

fn image(world: &World) -> Image {
    world.place.image().unwrap()
}

/// A world before its store is shut down.
fn long_lived() -> World {
    let mut world = World::new(Box::new(FileStore::new()));
    for step in script().iter().take_while(|step| step.name != "Store.shut_down") {
        (step.prepare)(&mut world);
        (step.call)(&mut world).unwrap_or_else(|error| panic!("{}: {error}", step.name));
        (step.after)(&mut world);
    }
    world
}

#[test]
fn a_power_failure_during_a_commit_leaves_what_was_before_it() {
    let mut world = World::new(Box::new(FileStore::new()));
    let mut synced = None;
    let mut states = 0;
    for step in script() {
        (step.prepare)(&mut world);
        let before = synced.take().unwrap_or_else(|| Synced::new(&world, image(&world)));
        (step.call)(&mut world).unwrap_or_else(|error| panic!("{}: {error}", step.name));
        let after = image(&world);
        // What was acknowledged is there, and no key of it is used again.
        if step.name != "Store.shut_down" {
            world.check_live_state(step.name);
            world.check_what_a_crash_would_send();
        }
        if before.image != after && before.image.database == after.database {
            let torn = before.image.torn_logs(&after);
            states += torn.len();
            before.check_all(&world, step.name, torn);
        }
        (step.after)(&mut world);
        if step.is_relaxed {
            let mut looks = before.looks;
            looks.push(look(&world, &after));
            synced = Some(Synced { looks, ..before });
        }
    }
    assert!(states > 500, "only {states} torn states");
}

#[test]
fn a_power_failure_while_the_store_is_closed_loses_nothing() {
    let mut world = long_lived();
    // What it had reserved is given back now, and there is nothing left to write but the database.
    world.outbound = None;
    let before = Synced::new(&world, image(&world));
    world.store.shut_down().unwrap();
    let after = image(&world);
    assert!(after.log.is_empty() && before.image.database != after.database);
    before.check_all(&world, "shut_down", before.image.torn_databases(&after));
    before.check(&world, "shut_down", &after);
}

#[test]
fn a_power_failure_while_the_log_is_carried_over_and_begun_anew_loses_nothing() {
    let mut world = long_lived();
    // Written again and again until SQLite does both by itself.
    let mut before = image(&world);
    let (mut carried_over, mut begun_anew) = (false, false);
    for _ in 0..2000 {
        let judge = world.judge.copy();
        let channel = &world.channels["bob"];
        let said = channel.encrypt("m.dummy", "{}").unwrap();
        let after = image(&world);
        if before.database != after.database {
            carried_over = true;
            world.judge.olm(&said);
            // The commit is in the log, and synced, before any of it is carried over.
            let log = after.log.clone();
            let whole = Image { database: before.database.clone(), log };
            let synced = Synced::new(&world, whole);
            synced.check_all(&world, "carried over", synced.image.torn_databases(&after));
        } else if carried_over {
            begun_anew = true;
            let synced = Synced { looks: vec![look(&world, &before)], image: before, judge };
            synced.check_all(&world, "begun anew", synced.image.torn_logs(&after));
            break;
        } else {
            world.judge.olm(&said);
        }
        before = after;
    }
    assert!(carried_over && begun_anew);
}
