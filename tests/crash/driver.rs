//! Runs children, kills them, and hands their answers to the judges.

use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

use super::power;
use super::process::Process;
use super::protocol::{Answer, Command, OPENING};
use super::statistics::Statistics;
use super::world::{Outcome, Task, World};

/// How many lines a failure shows.
const SHOWN_LINES: usize = 40;
const SHOWN_LENGTH: usize = 600;

/// All children of one store, one after the other.
pub struct Driver<'a> {
    test: &'a str,
    store: &'a Path,
    /// Chooses the moments; the world has its own generator, so that they do not disturb it.
    moments: StdRng,
    pub world: World,
    statistics: Statistics,
    /// All lines of both sides, over all restarts.
    lines: Vec<String>,
    next_id: u64,
    /// How much of the store's log was there at the last answer.
    log: u64,
    opening_time: Duration,
    operation_time: Duration,
}

/// When to kill: after so many answers of the batch, and this much later.
struct Moment {
    answers: usize,
    delay: Duration,
}

impl<'a> Driver<'a> {
    pub fn new(test: &'a str, store: &'a Path, moments: StdRng, world: World) -> Self {
        Self {
            test,
            store,
            moments,
            world,
            statistics: Statistics::default(),
            lines: Vec::new(),
            next_id: 0,
            log: 0,
            opening_time: Duration::from_millis(20),
            operation_time: Duration::from_millis(2),
        }
    }

    /// Starts and kills the child that many times, then checks everything once more.
    pub fn run(&mut self, kills: usize) -> Result<(), String> {
        while self.statistics.kills < kills {
            self.round()?;
        }
        let mut process = self.start()?;
        self.report(&mut process)?;
        for batch in self.world.last_batches() {
            self.batch(&mut process, batch, None)?;
        }
        self.shut_down(process, Vec::new())?;
        Ok(())
    }

    /// What all children have done.
    pub fn statistics(mut self) -> Statistics {
        self.statistics.ciphertexts = self.world.ledger.ciphertexts;
        self.statistics.consumed_without_answer = self.world.consumed_without_answer;
        for room in &self.world.rooms {
            self.statistics.skipped.add(room.skipped);
        }
        self.statistics
    }

    /// One life of the child.
    fn round(&mut self) -> Result<(), String> {
        let mut process = self.start()?;
        if self.moments.random_bool(0.2) {
            let delay = self.moments.random_range(Duration::ZERO..self.opening_time * 5 / 4);
            std::thread::sleep(delay);
            let spoken = process.kill();
            self.killed("opening the store");
            return match spoken.as_slice() {
                [] => Ok(()),
                more => Err(format!("the child spoke without being asked: {more:?}")),
            };
        }
        self.report(&mut process)?;
        for _ in 0..self.moments.random_range(0..4) {
            let batch = self.world.batch();
            self.batch(&mut process, batch, None)?;
        }
        let mut batch = self.world.batch();
        match self.moments.random_range(0..12) {
            0 => return self.shut_down(process, batch),
            // Killed while or after it shuts down.
            1 => batch.push(World::shut_down_task()),
            _ => {}
        }
        let moment = Moment {
            answers: self.moments.random_range(0..batch.len().max(1)),
            delay: self.moments.random_range(Duration::ZERO..self.operation_time),
        };
        self.batch(&mut process, batch, Some(moment))
    }

    fn start(&mut self) -> Result<Process, String> {
        // Opening syncs what is left of the log, and closes again if the store has its other key:
        // then the log is carried over.
        self.log = power::log_length(self.store);
        power::mark(self.store);
        let mut process = Process::start(self.test, self.store);
        match process.read_line()?.as_str() {
            OPENING => Ok(process),
            other => Err(format!("the child began with {other}")),
        }
    }

    fn report(&mut self, process: &mut Process) -> Result<(), String> {
        let begin = Instant::now();
        let report = self.world.report_task();
        self.batch(process, vec![report], None)?;
        self.opening_time = (self.opening_time * 3 + begin.elapsed()) / 4;
        Ok(())
    }

    fn shut_down(&mut self, mut process: Process, mut batch: Vec<Task>) -> Result<(), String> {
        batch.push(World::shut_down_task());
        self.batch(&mut process, batch, None)?;
        match process.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("the child failed in the end: {status}")),
        }
    }

    /// Sends all commands at once and judges the answers in order. After a kill, the first
    /// command without an answer is in doubt, and the ones behind it were not begun.
    fn batch(
        &mut self,
        process: &mut Process,
        tasks: Vec<Task>,
        moment: Option<Moment>,
    ) -> Result<(), String> {
        let begin = Instant::now();
        let count = tasks.len();
        let mut waiting = Vec::new();
        for task in tasks {
            self.next_id += 1;
            let fresh = self.moments.random_bool(0.1);
            let name = task.op.name();
            let command = Command { id: self.next_id, fresh, op: task.op };
            let line = serde_json::to_string(&command).map_err(|error| error.to_string())?;
            process.write_line(&line)?;
            self.lines.push(format!("> {line}"));
            waiting.push((command.id, name, task.judge));
        }
        let mut waiting = waiting.into_iter();
        let answers = moment.as_ref().map_or(count, |moment| moment.answers);
        for (id, _, judge) in waiting.by_ref().take(answers) {
            let line = process.read_line()?;
            let outcome = self.read_answer(id, line)?;
            judge(&mut self.world, outcome)?;
        }
        let Some(moment) = moment else {
            let each = begin.elapsed() / u32::try_from(count.max(1)).unwrap_or(1);
            self.operation_time = (self.operation_time * 7 + each) / 8;
            return Ok(());
        };
        std::thread::sleep(moment.delay);
        let mut last_lines = process.kill().into_iter();
        let mut in_doubt = None;
        for (id, name, judge) in waiting {
            let outcome = match last_lines.next() {
                Some(line) => self.read_answer(id, line)?,
                None if in_doubt.is_none() => {
                    in_doubt = Some(name);
                    Outcome::Lost
                }
                None => Outcome::NotSent,
            };
            judge(&mut self.world, outcome)?;
        }
        self.killed(in_doubt.as_deref().unwrap_or("nothing"));
        Ok(())
    }

    fn read_answer(&mut self, id: u64, line: String) -> Result<Outcome, String> {
        let answer: Answer =
            serde_json::from_str(&line).map_err(|error| format!("{error}: {line}"))?;
        self.lines.push(format!("< {line}"));
        self.statistics.operations += 1;
        // A log that was begun anew keeps its length; one that was carried over is gone.
        self.log = answer.log;
        match answer {
            Answer { id: other, .. } if other != id => Err(format!("no answer to {id}: {line}")),
            Answer { result: Ok(value), .. } => Ok(Outcome::Done(value)),
            Answer { result: Err(error), .. } => Ok(Outcome::Failed(error)),
        }
    }

    fn killed(&mut self, during: &str) {
        self.lines.push(format!("killed during {during}"));
        if self.moments.random_bool(0.5)
            && let Some(how) = power::fail(self.store, self.log, &mut self.moments)
        {
            self.statistics.power_failures += 1;
            self.lines.push(how);
        }
        self.statistics.kills += 1;
        *self.statistics.killed_during.entry(during.to_owned()).or_default() += 1;
    }

    pub fn last_lines(&self) -> String {
        let first = self.lines.len().saturating_sub(SHOWN_LINES);
        let shorten = |line: &String| line.chars().take(SHOWN_LENGTH).collect::<String>();
        self.lines[first..].iter().map(shorten).collect::<Vec<_>>().join("\n")
    }
}
