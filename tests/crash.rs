//! The crash test: a child process works on a store and is killed (SIGKILL) at random moments,
//! again and again; the parent and its peers judge all that it has let out. (Security
//! requirements: "Store durability checklist", SEC-21, 22, 45, 51, 112 to 114; D4, D22, O12, O23.)
//!
//! `CRASH_POINTS` sets the number of kills, `CRASH_SEED` repeats a run. The choice of operations
//! follows the seed; the machine's timing decides what a kill hits.
#![cfg(unix)]

#[path = "crash/child.rs"]
mod child;
#[path = "crash/driver.rs"]
mod driver;
#[path = "crash/events.rs"]
mod events;
#[path = "crash/inbound.rs"]
mod inbound;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/olm.rs"]
mod olm;
#[path = "crash/outbound.rs"]
mod outbound;
#[path = "crash/peer.rs"]
mod peer;
#[path = "crash/process.rs"]
mod process;
#[path = "crash/protocol.rs"]
mod protocol;
#[path = "crash/server.rs"]
mod server;
#[path = "crash/world.rs"]
mod world;

use std::io::Write;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use driver::{Driver, Statistics};
use process::STORE_VARIABLE;
use world::World;

const DEFAULT_POINTS: usize = 200;
/// Each store is killed that often; then a new one begins, so that its making is killed, too.
const POINTS_OF_A_STORE: usize = 25;

#[test]
fn no_kill_loses_what_was_acknowledged_or_uses_a_message_key_twice() {
    if let Ok(store) = std::env::var(STORE_VARIABLE) {
        return child::run(&store);
    }
    let test = "no_kill_loses_what_was_acknowledged_or_uses_a_message_key_twice";
    let points = number("CRASH_POINTS").map_or(DEFAULT_POINTS, |points| points as usize);
    let seed = number("CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    let mut seeds = StdRng::seed_from_u64(seed);
    let mut statistics = Statistics::default();
    while statistics.kills < points {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store.sqlite");
        let moments = StdRng::seed_from_u64(seeds.random());
        let world = World::new(seeds.random());
        let kills = POINTS_OF_A_STORE.min(points - statistics.kills);
        let mut driver = Driver::new(test, &store, moments, world, &mut statistics);
        if let Err(problem) = driver.run(kills) {
            let lines = driver.last_lines();
            let store = directory.keep();
            panic!(
                "the last lines:\n{lines}\ncrash test: seed {seed} (CRASH_SEED={seed}), after {} kill \
                 points: {problem}; the store is kept in {}",
                statistics.kills,
                store.display(),
            );
        }
    }
    // Not `println!`, which the test harness would hide.
    let mut output = std::io::stdout().lock();
    writeln!(output, "\ncrash test: {statistics}, 0 violations, seed {seed}").unwrap();
    writeln!(output, "crash test: {}", statistics.details()).unwrap();
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
