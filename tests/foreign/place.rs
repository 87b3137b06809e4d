//! A backend that goes wrong when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use matrixe2ee::{E2eeError, Result, StoreBackend, StoreChange, StoreEntry};

type Name = (String, Vec<u8>);

/// Records by their names.
#[derive(Clone, Default)]
struct Records {
    now: BTreeMap<Name, Vec<u8>>,
}

impl Records {
    fn scan(&self, collection: &str, after: &Option<Vec<u8>>, limit: usize) -> Vec<StoreEntry> {
        self.now
            .range((collection.to_owned(), after.clone().unwrap_or_default())..)
            .take_while(|((name, _), _)| name == collection)
            .filter(|((_, key), _)| Some(key) != after.as_ref())
            .take(limit)
            .map(|((_, key), value)| StoreEntry { key: key.clone(), value: value.clone() })
            .collect()
    }
}

/// What goes wrong at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails and does nothing.
    Before,
    /// The call does what it should, and answers with an error.
    After,
    /// This call and all after it fail and do nothing.
    FromThenOn,
    /// The call answers what is not so.
    Lie(Lie),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    ShortValue,
    NoValue,
    AlteredValue,
    ExchangedValues,
    Reordered,
    Repeated,
    NotAfter,
    BeyondLimit,
}

#[derive(Default)]
struct State {
    records: Records,
    calls: usize,
    plan: Option<(usize, Fault)>,
    struck: bool,
}

/// The backend. Clones are the same place.
#[derive(Clone, Default)]
pub struct Place(Arc<Mutex<State>>);

impl Place {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Another place with the same records.
    pub fn copy(&self) -> Self {
        let records = self.state().records.clone();
        Self(Arc::new(Mutex::new(State { records, ..State::default() })))
    }

    /// Lets the call with this number go wrong, counted from now on.
    pub fn arm(&self, at: usize, fault: Fault) {
        let mut state = self.state();
        (state.calls, state.plan, state.struck) = (0, Some((at, fault)), false);
    }

    /// Ends that, and says whether anything went wrong.
    pub fn disarm(&self) -> bool {
        let mut state = self.state();
        state.plan = None;
        std::mem::take(&mut state.struck)
    }

    /// The number of calls since the last time this was asked.
    pub fn take_calls(&self) -> usize {
        std::mem::take(&mut self.state().calls)
    }
}

fn failure() -> E2eeError {
    E2eeError::StoreIo { detail: String::from("no luck") }
}

impl State {
    /// What goes wrong at this call, if anything does.
    fn fault(&mut self) -> Option<Fault> {
        let call = self.calls;
        self.calls += 1;
        let (at, fault) = self.plan?;
        (call == at || (call > at && fault == Fault::FromThenOn)).then_some(fault)
    }

    /// Runs a call and gives its answer, or what takes its place.
    fn answer<T: PartialEq + Clone>(
        &mut self,
        truth: impl FnOnce(&mut Records) -> T,
        lie: impl FnOnce(&Records, T, Lie) -> T,
    ) -> Result<T> {
        let fault = self.fault();
        if let Some(Fault::Before | Fault::FromThenOn) = fault {
            self.struck = true;
            return Err(failure());
        }
        let truth = truth(&mut self.records);
        match fault {
            Some(Fault::Lie(kind)) => {
                let said = lie(&self.records, truth.clone(), kind);
                self.struck |= said != truth;
                Ok(said)
            }
            Some(_) => {
                self.struck = true;
                Err(failure())
            }
            None => Ok(truth),
        }
    }
}

/// A value that is not the one that was stored under its key.
fn wrong_value(records: &Records, name: &Name, value: Vec<u8>, lie: Lie) -> Vec<u8> {
    let mut value = value;
    match lie {
        Lie::ShortValue => drop(value.pop()),
        Lie::NoValue => value.clear(),
        Lie::AlteredValue => *value.last_mut().unwrap() ^= 1,
        Lie::ExchangedValues => {
            // A neighbour's, of the same collection if there is one.
            let mut others = records.now.iter().filter(|(other, _)| *other != name);
            let near = others.clone().find(|(other, _)| other.0 == name.0);
            value = near.or_else(|| others.next()).map_or(value, |(_, value)| value.clone());
        }
        _ => {}
    }
    value
}

fn wrong_page(
    records: &Records,
    collection: &str,
    after: &Option<Vec<u8>>,
    page: Vec<StoreEntry>,
    lie: Lie,
) -> Vec<StoreEntry> {
    let mut page = page;
    match lie {
        Lie::Reordered => page.reverse(),
        Lie::Repeated => page.extend(page.last().cloned()),
        Lie::NotAfter => {
            let before = after.iter().map(|key| StoreEntry { key: key.clone(), value: vec![1] });
            page.splice(0..0, before);
        }
        Lie::BeyondLimit => {
            // More than was ever asked for, in their order.
            let mut key = page.last().map(|entry| entry.key.clone()).unwrap_or_default();
            page.extend((0..300).map(|_| {
                key.push(0);
                StoreEntry { key: key.clone(), value: vec![1] }
            }));
        }
        _ => {
            for entry in &mut page {
                let name = (collection.to_owned(), entry.key.clone());
                let value = std::mem::take(&mut entry.value);
                entry.value = wrong_value(records, &name, value, lie);
            }
        }
    }
    page
}

impl StoreBackend for Place {
    fn get(&self, collection: String, key: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let name = (collection, key);
        self.state().answer(
            |records| records.now.get(&name).cloned(),
            |records, value, lie| value.map(|value| wrong_value(records, &name, value, lie)),
        )
    }

    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>> {
        self.state().answer(
            |records| records.scan(&collection, &after_key, limit as usize),
            |records, page, lie| wrong_page(records, &collection, &after_key, page, lie),
        )
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        self.state().answer(
            |records| {
                for StoreChange { collection, key, value } in changes {
                    match value {
                        Some(value) => records.now.insert((collection, key), value),
                        None => records.now.remove(&(collection, key)),
                    };
                }
            },
            |_, (), _| (),
        )
    }
}
