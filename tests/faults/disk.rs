//! A place for records whose commits fail on command.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use super::world::{Place, with_its_key};
use crate::base::environment::{RandomBytes, SystemRandom};
use crate::error::{E2eeError, Result};
use crate::store::{self, Change, Durability, Entry, RecordStore};

/// What goes wrong at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is written.
    Before,
    /// All is written, but the answer is an error.
    After,
    /// There are no random bytes for the encryption of the records.
    Random,
    /// Only so many of the changes are written, and the answer is an error: the disk breaks its
    /// promise.
    Short(usize),
}

impl Place for Disk {
    fn open(&self) -> Result<Arc<store::Store>> {
        with_its_key(|key| {
            let (records, random) = (Box::new(self.clone()), Arc::new(self.clone()));
            store::Store::with_record_store(records, key, random)
        })
    }

    fn copy(&self) -> Box<dyn Place> {
        Box::new(Self::with(self.state().records.clone()))
    }
}

/// Records in memory; clones are the same disk, `copy` makes another.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<State>>);

type Records = BTreeMap<(String, Vec<u8>), Vec<u8>>;

struct State {
    records: Records,
    commits: usize,
    /// How many changes the last commit was to make.
    changes: usize,
    /// How many commits were not to be synced.
    relaxed: usize,
    fault: Option<Fault>,
    /// How many commits succeed before the fault.
    spared: usize,
    /// What happens when the next commit arrives here, before anything of it is written.
    before_commit: Option<Box<dyn FnOnce() + Send>>,
}

impl State {
    /// The fault, if it is this one's turn.
    fn take_fault(&mut self, concerns: impl FnOnce(&Fault) -> bool) -> Option<Fault> {
        let fault = self.fault.filter(concerns)?;
        if self.spared > 0 {
            self.spared -= 1;
            return None;
        }
        self.fault = None;
        Some(fault)
    }
}

impl Disk {
    pub(super) fn new() -> Self {
        Self::with(Records::new())
    }

    fn with(records: Records) -> Self {
        Self(Arc::new(Mutex::new(State {
            records,
            commits: 0,
            changes: 0,
            relaxed: 0,
            fault: None,
            spared: 0,
            before_commit: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Commits since the last call of this.
    pub(super) fn take_commits(&self) -> usize {
        std::mem::take(&mut self.state().commits)
    }

    pub(super) fn last_changes(&self) -> usize {
        self.state().changes
    }

    /// Commits that were not to be synced, since the last call of this.
    pub(super) fn take_relaxed(&self) -> usize {
        std::mem::take(&mut self.state().relaxed)
    }

    pub(super) fn before_next_commit(&self, work: impl FnOnce() + Send + 'static) {
        self.state().before_commit = Some(Box::new(work));
    }

    /// Makes the next commit fail.
    pub(super) fn arm(&self, fault: Fault) {
        self.arm_later(0, fault);
    }

    /// Makes a commit fail after so many that succeed.
    pub(super) fn arm_later(&self, spared: usize, fault: Fault) {
        let mut state = self.state();
        state.fault = Some(fault);
        state.spared = spared;
    }

    /// Whether the fault is still to come; it is called off.
    pub(super) fn disarm(&self) -> bool {
        self.state().fault.take().is_some()
    }
}

impl RecordStore for Disk {
    fn get(&self, collection: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.state().records.get(&(collection.to_owned(), key.to_vec())).cloned())
    }

    fn scan(&self, collection: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>> {
        let start = (collection.to_owned(), after.unwrap_or_default().to_vec());
        Ok(self
            .state()
            .records
            .range((Bound::Excluded(start), Bound::Unbounded))
            .take_while(|((name, _), _)| name == collection)
            .take(limit)
            .map(|((_, key), value)| Entry { key: key.clone(), value: value.clone() })
            .collect())
    }

    fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<()> {
        // Without the lock.
        let before = self.state().before_commit.take();
        before.into_iter().for_each(|work| work());
        let mut state = self.state();
        state.commits += 1;
        state.changes = changes.len();
        state.relaxed += usize::from(durability == Durability::Relaxed);
        let fault = state.take_fault(|fault| !matches!(fault, Fault::Random));
        let written = match fault {
            Some(Fault::Before) => 0,
            Some(Fault::Short(count)) => count,
            _ => changes.len(),
        };
        for Change { collection, key, value } in changes.into_iter().take(written) {
            let name = (collection.to_owned(), key);
            match value {
                Some(value) => state.records.insert(name, value),
                None => state.records.remove(&name),
            };
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(E2eeError::store_io("the disk failed")),
        }
    }

    fn close(&self) -> Result<()> {
        Ok(())
    }
}

impl RandomBytes for Disk {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        let mut state = self.state();
        if state.take_fault(|fault| matches!(fault, Fault::Random)).is_some() {
            state.commits += 1;
            return Err(E2eeError::store_io("there are no random bytes"));
        }
        drop(state);
        SystemRandom.fill(buffer)
    }
}
