//! What a run has done: the figures that it prints.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Default)]
pub struct Statistics {
    pub kills: usize,
    /// Kills that were followed by a power failure which tore the log.
    pub power_failures: usize,
    pub operations: usize,
    pub ciphertexts: usize,
    pub consumed_without_answer: usize,
    pub skipped: Skipped,
    /// During which operation the child was killed, and how often.
    pub killed_during: BTreeMap<String, usize>,
}

/// Indices that were reserved and are never used, because of a kill.
#[derive(Default, Clone, Copy)]
pub struct Skipped {
    pub restarts: usize,
    pub indices: usize,
    pub most: u32,
    /// Sessions found after the store was told that it ends: they skip nothing.
    pub clean: usize,
}

impl Statistics {
    pub fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.power_failures += other.power_failures;
        self.operations += other.operations;
        self.ciphertexts += other.ciphertexts;
        self.consumed_without_answer += other.consumed_without_answer;
        self.skipped.add(other.skipped);
        for (name, count) in other.killed_during {
            *self.killed_during.entry(name).or_default() += count;
        }
    }

    /// What the kills hit, and what they cost.
    pub fn details(&self) -> String {
        let mut during: Vec<_> = self.killed_during.iter().collect();
        during.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let during: Vec<_> = during.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let consumed = self.consumed_without_answer;
        let Skipped { restarts, indices, most, clean } = self.skipped;
        format!(
            "{indices} message indices skipped at {restarts} restarts, at most {most} at once, none \
             at {clean} after a clean end; {consumed} messages consumed without an answer; killed \
             during {}",
            during.join(", ")
        )
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, power_failures, operations, ciphertexts, .. } = self;
        write!(
            f,
            "{kills} kill points ({power_failures} with a torn log), {operations} operations, \
             {ciphertexts} ciphertexts"
        )
    }
}

impl Skipped {
    /// One session after a restart.
    pub fn note(&mut self, indices: u32, clean: bool) {
        self.restarts += usize::from(indices > 0);
        self.indices += indices as usize;
        self.most = self.most.max(indices);
        self.clean += usize::from(clean);
    }

    pub fn add(&mut self, other: Self) {
        self.restarts += other.restarts;
        self.indices += other.indices;
        self.most = self.most.max(other.most);
        self.clean += other.clean;
    }
}
