//! Encryption at rest, above any record store.
//!
//! A random data key, which only the header record holds, wrapped under the user's key, gives
//! three keys: one encrypts values, one hashes record keys, one vouches for the whole. The store
//! below sees collection names, the number and sizes of records and which of them share a
//! beginning of their names, but no user, room or secret.
//!
//! A record that was altered or moved does not decrypt (`seal`); one that is missing, too many or
//! older than it should be does not fit the manifest. Both are CORRUPT.

mod opening;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::{Batch, Pending, Sealed, Value};
use super::collections::{HEADER, MANIFEST};
use super::header::{self, DataKey, Header};
use super::manifest::{Element, ElementHash, Known, Manifest};
use super::record_key::{KeyHash, RecordKey, RecordPrefix};
use super::record_store::{Change, RecordStore};
use super::seal::{self, NONCE_LENGTH, Seal, damaged};
use super::seal_all::seal_all;
use crate::base::environment::{RandomBytes, check_not_in_callback, forget_drawn};
use crate::base::traces;
use crate::error::{E2eeError, Result};

/// Scans begin with a short page, as most find few records, and then take longer ones.
const FIRST_PAGE: usize = 16;
const LONGEST_PAGE: usize = 1024;
const MANIFEST_KEY: &[u8] = b"manifest";

/// An encrypted record store.
pub(crate) struct Vault {
    records: Box<dyn RecordStore>,
    seal: Seal,
    key_hash: KeyHash,
    element_hash: ElementHash,
    data_key: DataKey,
    random: Arc<dyn RandomBytes>,
    /// Held during a commit and whatever else must see no commit half done.
    written: Mutex<Written>,
    /// The collections that were added up. Never locked while `written` is waited for.
    known: RwLock<HashMap<&'static str, Known>>,
    closed: AtomicBool,
}

/// The manifest as it was committed last, as far as that is known.
struct Written {
    manifest: Manifest,
    /// A commit has failed: the store may hold its changes or not.
    uncertain: bool,
}

impl Vault {
    /// The key of the record of that name. Each collection has names of one length.
    pub(crate) fn key(&self, collection: &'static str, parts: &[&str]) -> RecordKey {
        self.key_hash.key(collection, parts)
    }

    /// The beginning of the keys of all records whose names begin with these parts.
    pub(crate) fn prefix(&self, collection: &'static str, parts: &[&str]) -> RecordPrefix {
        self.key_hash.prefix(collection, parts)
    }

    /// Reads a record.
    pub(crate) fn read<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<T>> {
        check_not_in_callback()?;
        let collection = key.collection;
        let expected = loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(E2eeError::store_closed("the store was shut down"));
            }
            let expected =
                self.known().get(collection).map(|known| known.get(key.bytes()).copied());
            match expected {
                Some(Some(element)) => break element,
                Some(None) => return Ok(None),
                None => self.survey(collection, &*self.settled()?)?,
            }
        };
        let value = self.records.get(collection, key.bytes())?;
        if let Some(value) = value
            && self.element(key, &value) == Some(expected)
        {
            return self.seal.open(collection, key.bytes(), value).map(Some);
        }
        self.read_again(key)
    }

    /// Another thread may have committed between the two looks above; now none can.
    fn read_again<T: DeserializeOwned>(&self, key: &RecordKey) -> Result<Option<T>> {
        let collection = key.collection;
        let written = self.settled()?;
        self.survey(collection, &written)?;
        let value = self.records.get(collection, key.bytes())?;
        let expected =
            self.known().get(collection).and_then(|known| known.get(key.bytes()).copied());
        match (value, expected) {
            (None, None) => Ok(None),
            (Some(value), Some(expected)) if self.element(key, &value) == Some(expected) => {
                self.seal.open(collection, key.bytes(), value).map(Some)
            }
            (Some(_), Some(_)) => Err(damaged(collection)),
            (None, Some(_)) => {
                Err(E2eeError::corrupt(format!("a record of \"{collection}\" is missing")))
            }
            (Some(_), None) => {
                Err(E2eeError::corrupt(format!("a record of \"{collection}\" should be gone")))
            }
        }
    }

    /// All records whose names begin with these parts, in no telling order.
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<(RecordKey, T)>> {
        let mut found = Vec::new();
        self.scan_checked(collection, parts, |key, value| {
            let record = self.seal.open(collection, key.bytes(), value)?;
            found.push((key, record));
            Ok(())
        })?;
        Ok(found)
    }

    /// As `scan`, without decrypting anything.
    pub(crate) fn scan_keys(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<RecordKey>> {
        let mut found = Vec::new();
        self.scan_checked(collection, parts, |key, _| {
            found.push(key);
            Ok(())
        })?;
        Ok(found)
    }

    /// Scans, with commits held off, and checks that nothing is missing or out of date.
    fn scan_checked(
        &self,
        collection: &'static str,
        parts: &[&str],
        mut each: impl FnMut(RecordKey, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let prefix = self.prefix(collection, parts);
        let written = self.settled()?;
        self.survey(collection, &written)?;
        let mut found = 0_usize;
        self.scan_each(&prefix, |key, value| {
            let expected = self.known().get(collection).and_then(|k| k.get(key.bytes()).copied());
            if expected.is_none() || expected != self.element(&key, &value) {
                return Err(damaged(collection));
            }
            found = found.saturating_add(1);
            each(key, value)
        })?;
        let expected = self.known().get(collection).map_or(0, |k| k.count_under(prefix.bytes()));
        if found < expected {
            return Err(E2eeError::corrupt(format!("records of \"{collection}\" are missing")));
        }
        Ok(())
    }

    fn scan_each(
        &self,
        prefix: &RecordPrefix,
        mut each: impl FnMut(RecordKey, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        // Every full key is longer than the prefix, hence strictly after it.
        let mut after = prefix.bytes().to_vec();
        let mut limit = FIRST_PAGE;
        loop {
            let page = self.records.scan(prefix.collection(), Some(&after), limit)?;
            let is_last = page.len() < limit;
            for entry in page {
                if entry.key <= after {
                    return Err(E2eeError::store_io("the store listed its records out of order"));
                }
                let key = RecordKey::from_stored(prefix.collection(), entry.key);
                if !prefix.covers(&key) {
                    return Ok(());
                }
                after.clear();
                after.extend_from_slice(key.bytes());
                each(key, entry.value)?;
            }
            if is_last {
                return Ok(());
            }
            limit = limit.saturating_mul(4).min(LONGEST_PAGE);
        }
    }

    /// Encrypts a record for a later commit, on the caller's thread.
    pub(crate) fn seal<T: Serialize>(&self, key: RecordKey, value: &T) -> Result<Sealed> {
        let plain = seal::serialise(key.collection, value)?;
        let nonce = self.draw_nonces(1)?;
        let mut value = self.seal.close(key.collection, key.bytes(), plain, &nonce)?;
        // It came with room to grow, and thousands may wait for their commit.
        value.shrink_to_fit();
        Ok(Sealed(Pending { key, value: Value::Sealed(value) }))
    }

    /// Makes all changes of a batch, or none. Unless the batch is relaxed, they are on disk when
    /// this returns. An empty batch is no commit.
    pub(crate) fn commit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        // New keys are stored before they are used: here are all that were drawn.
        forget_drawn();
        traces::leave();
        let Batch { changes, durability } = batch;
        // One call for all nonces, the manifest's included: each call of the generator costs.
        let puts = changes.iter().filter(|c| matches!(c.value, Value::Plain(_))).count();
        let nonces = self.draw_nonces(puts.saturating_add(1))?;
        let (of_manifest, of_records) = nonces.split_at_checked(NONCE_LENGTH).unwrap_or_default();
        let mut sealed = seal_all(&self.seal, changes, of_records)?;
        let mut written = self.settled()?;
        for change in &sealed {
            self.survey(change.collection, &written)?;
        }
        self.note(&sealed, &mut written.manifest);
        let deleted: Vec<_> = sealed
            .iter()
            .filter(|change| change.value.is_none())
            .map(|change| (change.collection, change.key.clone()))
            .collect();
        let done = self.manifest_change(&mut written.manifest, of_manifest).and_then(|manifest| {
            sealed.push(manifest);
            self.records.commit(sealed, durability)
        });
        self.settle(&mut written, done)?;
        if !deleted.is_empty() {
            let mut collections = self.known_mut();
            for (collection, key) in deleted {
                collections.entry(collection).and_modify(|known| known.sweep(&key));
            }
        }
        Ok(())
    }

    /// Whether `read` may be called on other threads than the one of the call.
    pub(crate) fn is_read_by_any_thread(&self) -> bool {
        self.records.is_read_by_any_thread()
    }

    /// Closes the store below.
    pub(crate) fn close(&self) -> Result<()> {
        check_not_in_callback()?;
        self.closed.store(true, Ordering::Release);
        self.records.close()
    }

    /// Notes changes that are about to be committed.
    fn note(&self, changes: &[Change], manifest: &mut Manifest) {
        let mut collections = self.known_mut();
        for Change { collection, key, value } in changes {
            let Some(known) = collections.get_mut(collection) else { continue };
            match value.as_deref().and_then(seal::state) {
                Some(state) => {
                    let element = self.element_hash.element(collection, key, &state);
                    let old = known.insert(key, element);
                    manifest.replace(collection, old.as_ref(), Some(&element));
                }
                None => {
                    let old = known.delete(key);
                    manifest.replace(collection, old.as_ref(), None);
                }
            }
        }
    }

    fn manifest_change(&self, manifest: &mut Manifest, nonce: &[u8]) -> Result<Change> {
        manifest.revision = manifest.revision.saturating_add(1);
        let value = seal::serialise(MANIFEST, manifest)?;
        let value = Some(self.seal.close(MANIFEST, MANIFEST_KEY, value, nonce)?);
        Ok(Change { collection: MANIFEST, key: MANIFEST_KEY.to_vec(), value })
    }

    fn read_manifest(&self) -> Result<Manifest> {
        let value = self
            .records
            .get(MANIFEST, MANIFEST_KEY)?
            .ok_or_else(|| E2eeError::corrupt("the manifest of the store is missing"))?;
        self.seal.open(MANIFEST, MANIFEST_KEY, value)
    }

    fn written(&self) -> Result<MutexGuard<'_, Written>> {
        // A backend that comes back here on its own thread would wait for itself.
        check_not_in_callback()?;
        self.written.lock().map_err(|_| E2eeError::panic("the store failed inside; reopen it"))
    }

    /// The manifest that the store holds, with commits held off; read anew if it is not known
    /// what became of the last one.
    fn settled(&self) -> Result<MutexGuard<'_, Written>> {
        let mut written = self.written()?;
        if written.uncertain {
            let manifest = self.read_manifest()?;
            let attempted = written.manifest.revision;
            if manifest.revision > attempted || manifest.revision.saturating_add(1) < attempted {
                return Err(E2eeError::corrupt("the manifest of the store is not the last one"));
            }
            let header = Header::find(self.records.as_ref())?
                .ok_or_else(|| E2eeError::corrupt("the header of the store is missing"))?;
            manifest.check_header(&self.header_element(&header))?;
            *written = Written { manifest, uncertain: false };
        }
        Ok(written)
    }

    /// What a commit's end means for the next one.
    fn settle(&self, written: &mut Written, done: Result<()>) -> Result<()> {
        if done.is_err() {
            written.uncertain = true;
            self.known_mut().clear();
        }
        done
    }

    /// Adds up a collection, once, and checks it; the guard in the caller's hand holds off commits.
    fn survey(&self, collection: &'static str, written: &Written) -> Result<()> {
        if self.known().contains_key(collection) {
            return Ok(());
        }
        let known = self.add_up(collection)?;
        written.manifest.check(collection, &known)?;
        self.known_mut().insert(collection, known);
        Ok(())
    }

    fn add_up(&self, collection: &'static str) -> Result<Known> {
        let mut known = Known::default();
        self.scan_each(&self.prefix(collection, &[]), |key, value| {
            let element = self.element(&key, &value).ok_or_else(|| damaged(collection))?;
            if !key.is_well_formed() || known.insert(key.bytes(), element).is_some() {
                return Err(damaged(collection));
            }
            Ok(())
        })?;
        Ok(known)
    }

    fn element(&self, key: &RecordKey, value: &[u8]) -> Option<Element> {
        let state = seal::state(value)?;
        Some(self.element_hash.element(key.collection, key.bytes(), &state))
    }

    fn header_element(&self, header: &Header) -> Element {
        self.element_hash.element(HEADER, header::KEY, header.digest())
    }

    fn draw_nonces(&self, count: usize) -> Result<Vec<u8>> {
        let mut nonces = vec![0; count.saturating_mul(NONCE_LENGTH)];
        self.random.fill(&mut nonces)?;
        Ok(nonces)
    }

    fn known(&self) -> RwLockReadGuard<'_, HashMap<&'static str, Known>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, HashMap<&'static str, Known>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vault").finish_non_exhaustive()
    }
}
