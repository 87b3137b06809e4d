//! A unit of work: all that one call changes, in one commit.
//!
//! A call begins one, hands it down to whatever does a part of the work, and commits it in the end. Until
//! then nothing is stored and nobody else sees a change: whoever reads through the transaction sees
//! what was changed in it, in the states that it has taken and in the records. If it is dropped, or
//! if the commit fails, all states that were changed are out of memory, and the next call reads what
//! the store has (SEC-114).

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use super::batch::{Batch, Sealed};
use super::life::Access;
use super::live::{Live, already_exists, not_found};
use super::record_key::{RecordKey, RecordPrefix};
use super::records::Records;
use super::taken::{Home, States, Taken};
use super::vault::SetOf;
use crate::base::parallel;
use crate::error::{E2eeError, Result};

/// How many states a thread reads in one go.
const AT_ONCE: usize = 16;

/// What a call changes, until it is committed.
///
/// The fields are dropped in this order: the states are back before others may enter.
pub struct Transaction<'a> {
    store: &'a Store,
    records: Records<'a>,
    now_ms: Option<i64>,
    /// By the addresses of their `Live`s, which they hold.
    taken: HashMap<usize, Rc<dyn States>>,
    after: Vec<Box<dyn FnOnce() + 'a>>,
    _access: Access<'a>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(store: &'a Store, access: Access<'a>) -> Self {
        Self {
            store,
            records: Records::of(store.vault()),
            now_ms: None,
            taken: HashMap::new(),
            after: Vec::new(),
            _access: access,
        }
    }

    /// The time by the store's clock, as Unix time in milliseconds: one for the whole transaction.
    pub(crate) fn now_ms(&mut self) -> Result<i64> {
        match self.now_ms {
            Some(now) => Ok(now),
            None => Ok(*self.now_ms.insert(self.store.now_ms()?)),
        }
    }

    /// The records as they are with what was changed here.
    pub(crate) fn records(&self) -> &Records<'a> {
        &self.records
    }

    /// Reads a record.
    pub(crate) fn read<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<T>> {
        self.records.read(key)
    }

    /// Stores a record. The value is serialised now, so that it may change before the commit.
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, key: &RecordKey, value: &T) -> Result<()> {
        self.batch().put(key, value)
    }

    /// As `put`, for what need not be on disk when the commit returns: nothing in it keeps a key
    /// from being used twice.
    pub(crate) fn put_relaxed<T: Serialize + ?Sized>(
        &mut self,
        key: &RecordKey,
        value: &T,
    ) -> Result<()> {
        self.batch().put_relaxed(key, value)
    }

    /// Stores a record that the vault has encrypted.
    pub(crate) fn put_sealed(&mut self, sealed: Sealed) {
        self.batch().put_sealed(sealed);
    }

    /// Deletes a record, if there is one.
    pub(crate) fn delete(&mut self, key: &RecordKey) {
        self.batch().delete(key);
    }

    /// Puts a name into a list of a set, if it is not there.
    pub(crate) fn note(&mut self, list: &RecordPrefix, name: &[&str]) {
        self.batch().note(list, name);
    }

    /// Takes a name out of a list, if it is there.
    pub(crate) fn unnote(&mut self, list: &RecordPrefix, name: &[&str]) {
        self.batch().unnote(list, name);
    }

    /// Says that an owner's set is whole: of one who has no records yet.
    pub(crate) fn note_built(&mut self, of: SetOf<'_>) {
        let vault = self.store.vault();
        vault.note_built(of, self.batch());
    }

    pub(crate) fn batch(&mut self) -> &mut Batch {
        self.records.pending_mut()
    }

    /// Takes a state, reading it with `load` if need be. `NOT_FOUND` if there is none, here or in
    /// the store.
    ///
    /// Others wait for it until this transaction ends. Who takes several states without being alone
    /// takes them in an order that all keep to: a channel before its account, channels in the order
    /// of their keys.
    pub(crate) fn take<S: 'static>(
        &mut self,
        live: &Arc<Live<S>>,
        load: impl FnOnce(&Records<'a>) -> Result<Option<S>>,
    ) -> Result<Taken<S>> {
        let found = self.find(live, load)?;
        if found.is_none() {
            self.let_go(live);
        }
        found.ok_or_else(not_found)
    }

    /// Gives the place of a state back where there is none.
    fn let_go<S: 'static>(&mut self, live: &Arc<Live<S>>) {
        let address = Arc::as_ptr(live).addr();
        if self.taken.get(&address).is_some_and(|home| home.is_empty()) {
            self.taken.remove(&address);
        }
    }

    /// As `take`; `None` if there is no state yet. It stays so until `create`, or until this
    /// transaction ends.
    pub(crate) fn find<S: 'static>(
        &mut self,
        live: &Arc<Live<S>>,
        load: impl FnOnce(&Records<'a>) -> Result<Option<S>>,
    ) -> Result<Option<Taken<S>>> {
        let home = self.home(live)?;
        if home.is_unread() {
            home.fill(load(&self.records)?);
        }
        Taken::out_of(home)
    }

    /// As `find`, without waiting: `None` also if somebody else has the state, or if a call before
    /// unwound.
    pub(crate) fn try_find<S: 'static>(
        &mut self,
        live: &Arc<Live<S>>,
        load: impl FnOnce(&Records<'a>) -> Result<Option<S>>,
    ) -> Result<Option<Taken<S>>> {
        let address = Arc::as_ptr(live).addr();
        if let Entry::Vacant(entry) = self.taken.entry(address) {
            let Some(home) = Home::without_waiting(live) else { return Ok(None) };
            entry.insert(Rc::new(home));
        }
        self.find(live, load)
    }

    /// Takes a state that did not exist: `find` said so.
    pub(crate) fn create<S: 'static>(&mut self, live: &Arc<Live<S>>, state: S) -> Result<Taken<S>> {
        let home = self.home(live)?;
        if !home.create(state) {
            return Err(already_exists());
        }
        Taken::out_of(home)?.ok_or_else(not_found)
    }

    /// Takes the states of all holders, which stand in the order of their keys, reading those that
    /// are not in memory on all cores. A state that cannot be had is an error of its own.
    pub(crate) fn take_all<'h, H: Sync, S: Send + Sync + 'static>(
        &mut self,
        holders: &'h [H],
        live: impl Fn(&'h H) -> &'h Arc<Live<S>>,
        load: impl Fn(&H, &Records<'a>) -> Result<Option<S>> + Sync,
    ) -> Result<Vec<Result<Taken<S>>>> {
        let homes: Vec<_> = holders.iter().map(|holder| self.home(live(holder))).collect();
        let is_unread =
            |home: &Result<Rc<Home<S>>>| home.as_ref().is_ok_and(|home| home.is_unread());
        let unread = holders.iter().zip(&homes).filter(|(_, home)| is_unread(home));
        let unread: Vec<&H> = unread.map(|(holder, _)| holder).collect();
        let records = &self.records;
        // One message is not worth a thread: so this one reads all.
        let count = if records.vault().is_read_by_any_thread() { unread.len() } else { 1 };
        let chunks = unread.chunks(AT_ONCE).collect();
        let read = parallel::map(chunks, count, |chunk: &[&H]| {
            chunk.iter().map(|holder| load(holder, records)).collect::<Vec<_>>()
        })?;
        let mut read = read.into_iter().flatten();
        let mut take = |home: Rc<Home<S>>| {
            if home.is_unread() {
                home.fill(read.next().ok_or_else(|| E2eeError::panic("a state was lost"))??);
            }
            Taken::out_of(home)?.ok_or_else(not_found)
        };
        let taken: Vec<_> = homes.into_iter().map(|home| home.and_then(&mut take)).collect();
        for (holder, _) in holders.iter().zip(&taken).filter(|(_, taken)| taken.is_err()) {
            self.let_go(live(holder));
        }
        Ok(taken)
    }

    /// Where this transaction has a state, from now on.
    fn home<S: 'static>(&mut self, live: &Arc<Live<S>>) -> Result<Rc<Home<S>>> {
        let address = Arc::as_ptr(live).addr();
        if let Some(home) = self.taken.get(&address) {
            let home: Rc<dyn Any> = home.clone();
            return home.downcast().map_err(|_| E2eeError::panic("two states are in one place"));
        }
        let home = Rc::new(Home::wait(live)?);
        self.taken.insert(address, home.clone());
        Ok(home)
    }

    /// Has something done once all is stored, before anybody else sees the states.
    pub(crate) fn after_commit(&mut self, work: impl FnOnce() + 'a) {
        self.after.push(Box::new(work));
    }

    /// As `commit`, for a call whose error may leave something to be stored, such as a message that
    /// is decrypted and discarded. Nothing is stored if that error has left a change half done.
    pub fn finish<R>(self, result: Result<R>) -> Result<R> {
        if result.is_err() && self.taken.values().any(|home| home.check().is_err()) {
            return result;
        }
        self.commit()?;
        result
    }

    /// Makes all changes, or none. They are on disk when this returns, unless all are relaxed.
    pub fn commit(mut self) -> Result<()> {
        for home in self.taken.values() {
            home.check()?;
        }
        let batch = std::mem::take(self.batch());
        self.records.vault().commit(batch)?;
        for work in self.after.drain(..) {
            work();
        }
        for home in self.taken.values() {
            home.note_stored();
        }
        Ok(())
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transaction").finish_non_exhaustive()
    }
}
