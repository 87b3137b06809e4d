//! A place for records that remembers what was there before, and a backend on it that goes wrong
//! when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use matrixe2ee::{E2eeError, Result, StoreBackend, StoreChange, StoreEntry};

pub type Name = (String, Vec<u8>);

/// Records, and the former values of each.
#[derive(Clone, Default)]
pub struct Records {
    pub now: BTreeMap<Name, Vec<u8>>,
    past: BTreeMap<Name, Vec<u8>>,
}

impl Records {
    pub fn put(&mut self, name: Name, value: Option<Vec<u8>>) {
        let former = match value {
            Some(value) => self.now.insert(name.clone(), value),
            None => self.now.remove(&name),
        };
        if let Some(former) = former {
            self.past.insert(name, former);
        }
    }

    /// The value that a record had before its last change, if it had one.
    pub fn former(&self, name: &Name) -> Option<Vec<u8>> {
        self.past.get(name).cloned()
    }

    /// Records that are not there any more.
    pub fn deleted(&self) -> Vec<Name> {
        self.past.keys().filter(|name| !self.now.contains_key(*name)).cloned().collect()
    }

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
    /// This call and all after it answer what is not so.
    Lies(Lie),
    /// The call answers what is not so.
    LiesOnce(Lie),
    /// A commit says that it is done, and made nothing, all but its first or last change, or no
    /// deletion.
    ForgetsAll,
    ForgetsFirst,
    ForgetsLast,
    ForgetsDeletions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    // What is noticed without knowing what should be there.
    ShortValue,
    NoValue,
    AlteredValue,
    ExchangedValues,
    Reordered,
    Repeated,
    NotAfter,
    BeyondLimit,
    // What looks right but is old, too little or too much.
    Stale,
    Missing,
    Resurrected,
    ShortScan,
}

#[derive(Default)]
struct State {
    records: Records,
    calls: usize,
    plan: Option<(usize, Fault)>,
    struck: bool,
    /// The collections of which it told lies.
    lied_of: BTreeSet<String>,
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

    pub fn records(&self) -> Records {
        self.state().records.clone()
    }

    /// Changes what is stored, as somebody with access to the database would.
    pub fn put(&self, name: Name, value: Option<Vec<u8>>) {
        self.state().records.put(name, value);
    }

    /// Lets the call with this number go wrong, counted from now on.
    pub fn arm(&self, at: usize, fault: Fault) {
        let mut state = self.state();
        (state.calls, state.plan, state.struck) = (0, Some((at, fault)), false);
        state.lied_of.clear();
    }

    /// Ends that, and says whether anything went wrong.
    pub fn disarm(&self) -> bool {
        let mut state = self.state();
        state.plan = None;
        std::mem::take(&mut state.struck)
    }

    /// The collections of which lies were told since it was armed.
    pub fn lied_of(&self) -> Vec<String> {
        self.state().lied_of.iter().cloned().collect()
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
        let goes_on = matches!(fault, Fault::FromThenOn | Fault::Lies(_));
        (call == at || (call > at && goes_on)).then_some(fault)
    }

    /// Runs a call and gives its answer, or what takes its place.
    fn answer<T: PartialEq + Clone>(
        &mut self,
        collection: &str,
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
            Some(Fault::Lies(kind) | Fault::LiesOnce(kind)) => {
                let said = lie(&self.records, truth.clone(), kind);
                if said != truth {
                    self.struck = true;
                    self.lied_of.insert(collection.to_owned());
                }
                Ok(said)
            }
            Some(Fault::After) => {
                self.struck = true;
                Err(failure())
            }
            _ => Ok(truth),
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
        Lie::Stale => value = records.former(name).unwrap_or(value),
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
        Lie::Missing if !page.is_empty() => drop(page.remove(0)),
        Lie::ShortScan => drop(page.pop()),
        Lie::Resurrected => {
            let deleted = records.deleted().into_iter();
            let back =
                deleted.filter(|(name, key)| name == collection && Some(key) > after.as_ref());
            page.extend(
                back.map(|name| StoreEntry { value: records.former(&name).unwrap(), key: name.1 }),
            );
            page.sort_by(|one, other| one.key.cmp(&other.key));
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
            &name.0,
            |records| records.now.get(&name).cloned(),
            |records, value, lie| match lie {
                Lie::Missing => None,
                Lie::Resurrected => value.or_else(|| records.former(&name)),
                _ => value.map(|value| wrong_value(records, &name, value, lie)),
            },
        )
    }

    fn scan(
        &self,
        collection: String,
        after_key: Option<Vec<u8>>,
        limit: u32,
    ) -> Result<Vec<StoreEntry>> {
        // No key is empty, so the beginning of a collection has no other name than null.
        assert_ne!(after_key, Some(Vec::new()));
        self.state().answer(
            &collection,
            |records| records.scan(&collection, &after_key, limit as usize),
            |records, page, lie| wrong_page(records, &collection, &after_key, page, lie),
        )
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<()> {
        let mut state = self.state();
        let mut changes = changes;
        let count = changes.len();
        if let Some((_, fault)) = state.plan.filter(|(at, _)| *at == state.calls) {
            match fault {
                Fault::ForgetsAll => changes.clear(),
                Fault::ForgetsFirst => drop(changes.remove(0)),
                Fault::ForgetsLast => drop(changes.pop()),
                Fault::ForgetsDeletions => changes.retain(|change| change.value.is_some()),
                _ => {}
            }
            state.struck |= changes.len() < count;
        }
        state.answer(
            "",
            |records| {
                for StoreChange { collection, key, value } in changes {
                    records.put((collection, key), value);
                }
            },
            |_, (), _| (),
        )
    }
}
