//! What an outbound session may do: how many messages, and how many indices a crash may skip.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::world::Verdict;

/// The library's defaults.
const DEFAULT_ROTATION: u32 = 100;
const DEFAULT_MAXIMUM: u32 = 10_000;
const DEFAULT_BLOCK: u32 = 32;

#[derive(Clone)]
pub struct Allowance {
    /// The application's own limit.
    maximum: u32,
    block: u32,
    /// The limit as of the last settings of the room that the session has seen; two numbers while
    /// the answer to a call that showed it other settings is missing.
    least: u32,
    most: u32,
    /// The highest limit there ever was: a block reserved then may reach as far.
    highest: u32,
}

impl Allowance {
    /// Chooses settings for a new session.
    pub fn choose(rng: &mut StdRng) -> (Self, Option<String>) {
        let maximum = [DEFAULT_MAXIMUM, DEFAULT_MAXIMUM, 5000, 25][rng.random_range(0..4)];
        let block = [DEFAULT_BLOCK, DEFAULT_BLOCK, 0, 1, 2, 5, 200][rng.random_range(0..7)];
        let settings = match (maximum, block) {
            (DEFAULT_MAXIMUM, DEFAULT_BLOCK) if rng.random_bool(0.5) => None,
            _ => Some(json!({ "maximum_rotation_period_msgs": maximum, "reserve_ahead": block })),
        };
        let limit = DEFAULT_ROTATION.min(maximum);
        let allowance = Self { maximum, block, least: limit, most: limit, highest: limit };
        (allowance, settings.as_ref().map(Value::to_string))
    }

    /// The session has seen the room's settings; or may have seen them.
    pub fn see(&mut self, rotation: u32, certain: bool) {
        let limit = rotation.min(self.maximum);
        self.highest = self.highest.max(limit);
        if certain {
            (self.least, self.most) = (limit, limit);
        } else {
            (self.least, self.most) = (self.least.min(limit), self.most.max(limit));
        }
    }

    /// A message has this index (SEC-56, SEC-60).
    pub fn judge_message(&self, index: u32) -> Verdict {
        if index < self.most {
            return Ok(());
        }
        Err(format!("SEC-60: a message of index {index}, where {} are allowed", self.most))
    }

    /// The session says that it has encrypted enough; `rotation` if that was asked for.
    pub fn judge_expired(&self, next_index: u32, rotation: Option<u32>) -> Verdict {
        let limit = rotation.map_or(self.least, |rotation| rotation.min(self.maximum));
        if next_index >= limit {
            return Ok(());
        }
        Err(format!("M10: expired at index {next_index}, where {limit} messages are allowed"))
    }

    /// After a restart: the next index, and the lowest that it could be.
    pub fn judge_skip(&self, lowest: u32, index: u32, clean: bool) -> Verdict {
        let most = if clean { 0 } else { self.block.max(1) };
        if index - lowest > most {
            return Err(format!("{} indices are skipped, and not {most}", index - lowest));
        }
        if index > lowest && index > self.highest {
            return Err(format!("SEC-60: index {index} is beyond the limit {}", self.highest));
        }
        Ok(())
    }
}
