//! The crash test: a child process works on a store and is killed (SIGKILL) at random moments,
//! again and again, sometimes with the power failing; the parent and its peers judge all that it has
//! let out. (Security
//! requirements: "Store durability checklist", SEC-21, 22, 45, 51, 112 to 114; D4, D22, O12, O23.)
//!
//! `CRASH_POINTS` sets the number of kills, `CRASH_SECONDS` goes on for a given time instead, and
//! `CRASH_SEED` repeats a run. The choice of operations follows the seed; the machine's timing
//! decides what a kill hits.
#![cfg(unix)]

#[path = "crash/allowance.rs"]
mod allowance;
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
#[path = "crash/power.rs"]
mod power;
#[path = "crash/process.rs"]
mod process;
#[path = "crash/protocol.rs"]
mod protocol;
#[path = "crash/server.rs"]
mod server;
#[path = "crash/statistics.rs"]
mod statistics;
#[path = "crash/world.rs"]
mod world;

use std::io::Write;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use driver::Driver;
use process::STORE_VARIABLE;
use statistics::Statistics;
use world::World;

const TEST: &str = "no_kill_loses_what_was_acknowledged_or_uses_a_message_key_twice";
const DEFAULT_POINTS: usize = 500;
/// Each store is killed that often; then a new one begins, so that its making is killed, too.
const POINTS_OF_A_STORE: usize = 25;
/// Stores at a time. A child mostly waits for the disk, and the parent for the child.
const THREADS: usize = 2;
/// How often a long run says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(60);

#[test]
fn no_kill_loses_what_was_acknowledged_or_uses_a_message_key_twice() {
    if let Ok(store) = std::env::var(STORE_VARIABLE) {
        return child::run(&store);
    }
    let points = number("CRASH_POINTS").map_or(DEFAULT_POINTS, |points| points as usize);
    let seconds = number("CRASH_SECONDS").map(Duration::from_secs);
    let seed = number("CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    let run = Run {
        end: seconds.map(|seconds| Instant::now() + seconds),
        points,
        seed,
        state: Mutex::default(),
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| run.stores());
        }
    });
    let State { statistics, problems, .. } = run.state.into_inner().unwrap();
    say(&format!("{statistics}, {} violations, seed {seed}", problems.len()));
    say(&statistics.details());
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

/// All stores of one run.
struct Run {
    /// Goes on until then; else until there were so many kills.
    end: Option<Instant>,
    points: usize,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stores: usize,
    /// Kills that were handed out to stores, done or not.
    begun: usize,
    statistics: Statistics,
    reports: u32,
    problems: Vec<String>,
}

impl Run {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One thread's work: store after store.
    fn stores(&self) {
        let begin = Instant::now();
        while let Some((number, kills)) = self.next() {
            let (statistics, problem) = one_store(self.seed.wrapping_add(number), kills);
            let mut state = self.state();
            state.statistics.add(statistics);
            state.problems.extend(problem);
            if begin.elapsed() > REPORT_EVERY * (state.reports + 1) {
                state.reports += 1;
                let minutes = begin.elapsed().as_secs() / 60;
                say(&format!("after {minutes} min: {}", state.statistics));
            }
        }
    }

    /// The number of the next store and its share of the kills, unless the run is over.
    fn next(&self) -> Option<(u64, usize)> {
        let mut state = self.state();
        let kills = match self.end {
            Some(end) if Instant::now() < end => POINTS_OF_A_STORE,
            Some(_) => 0,
            None => POINTS_OF_A_STORE.min(self.points.saturating_sub(state.begun)),
        };
        if kills == 0 || !state.problems.is_empty() {
            return None;
        }
        state.begun += kills;
        state.stores += 1;
        Some((state.stores as u64 - 1, kills))
    }
}

/// One store from its making to its end; what went wrong, if something did.
fn one_store(seed: u64, kills: usize) -> (Statistics, Option<String>) {
    let mut seeds = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store.sqlite");
    let moments = StdRng::seed_from_u64(seeds.random());
    let world = World::new(seeds.random());
    let mut driver = Driver::new(TEST, &store, moments, world);
    let Err(problem) = driver.run(kills) else { return (driver.statistics(), None) };
    let lines = driver.last_lines();
    let store = directory.keep();
    let problem = format!(
        "the last lines:\n{lines}\ncrash test: repeat with CRASH_SEED={seed} \
         CRASH_POINTS={POINTS_OF_A_STORE}: {problem}; the store is kept in {}",
        store.display(),
    );
    (driver.statistics(), Some(problem))
}

/// Not `println!`, which the test harness would hide.
fn say(text: &str) {
    writeln!(std::io::stdout().lock(), "\ncrash test: {text}").unwrap();
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}
