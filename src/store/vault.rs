//! Encryption at rest, above any record store.
//!
//! A random data key, which only the header record holds, wrapped under the user's key, gives
//! two keys: one encrypts values, one hashes record keys. The store below sees collection names,
//! the number and sizes of records and which of them share a beginning of their names, but no
//! user, room or secret.
//!
//! A record that was altered or moved does not decrypt (`seal`); one that is missing, too many or
//! older than it should be does not fit the index. Both are CORRUPT.

mod conversion;
mod damage;
mod lists;
mod opening;
mod sets;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::{Batch, Pending, Sealed, Value};
use super::collections::MANIFEST;
use super::header::{DataKey, Header};
use super::index::{self, Index, IndexChange, NewVersion, NodeCache, Version};
use super::manifest::{self, Manifest};
use super::record_key::{KeyHash, RecordKey, RecordPrefix};
use super::record_store::{Change, Durability, RecordStore};
use super::seal::{self, NONCE_LENGTH, Nonces, Seal, damaged};
use super::seal_all::seal_all;
use crate::base::environment::{RandomBytes, check_not_in_callback, forget_drawn};
use crate::base::traces;
use crate::error::{E2eeError, Result};
pub(crate) use damage::Problem;
#[cfg(test)]
pub(super) use damage::ProblemKind;
pub(crate) use sets::SetOf;

/// An encrypted record store.
pub(crate) struct Vault {
    records: Box<dyn RecordStore>,
    seal: Seal,
    key_hash: KeyHash,
    data_key: DataKey,
    random: Arc<dyn RandomBytes>,
    /// Held during a commit and whatever else must see no commit half done.
    last_commit: Mutex<LastCommit>,
    /// The same manifest, for those who read meanwhile; `None` while it is in doubt.
    manifest: RwLock<Option<Arc<Manifest>>>,
    verified_nodes: NodeCache,
    closed: AtomicBool,
}

struct LastCommit {
    /// The manifest of the last commit that was made for certain.
    manifest: Arc<Manifest>,
    /// A commit has failed: the store may hold its changes or not.
    is_in_doubt: bool,
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
        let value = self.verified(|manifest| self.expected(manifest, key), |_| true)?;
        value.map(|value| self.seal.open(collection, key.bytes(), value)).transpose()
    }

    /// Reads a record that is to be stored.
    pub(super) fn read_pending<T: DeserializeOwned>(
        &self,
        key: &RecordKey,
        value: &Value,
    ) -> Result<T> {
        match value {
            Value::Deleted => Err(E2eeError::panic("a record was deleted")),
            Value::Plain(value) => seal::deserialise(key.collection, value),
            Value::Sealed(value) => self.seal.open(key.collection, key.bytes(), value.clone()),
        }
    }

    /// The value that the index vouches for.
    fn expected(&self, manifest: &Manifest, key: &RecordKey) -> Result<Option<Vec<u8>>> {
        let collection = key.collection;
        let expected = self.index().find(manifest.root(collection), collection, key.bytes())?;
        let problem = match (expected, self.records.get(collection, key.bytes())?) {
            (None, None) => return Ok(None),
            (Some(version), Some(value)) if index::version(&value) == Some(version) => {
                return Ok(Some(value));
            }
            (Some(_), Some(_)) => return Err(damaged(collection)),
            (Some(_), None) => "is missing",
            (None, Some(_)) => "should be gone",
        };
        Err(E2eeError::corrupt(format!("a record of \"{collection}\" {problem}")))
    }

    /// Looks at the store while others may commit. What does not fit then is looked at once more
    /// with commits held off: only now is it damaged.
    fn verified<T>(
        &self,
        look: impl Fn(&Manifest) -> Result<T>,
        is_whole: impl Fn(&T) -> bool,
    ) -> Result<T> {
        match look(&*self.manifest()?) {
            Ok(found) if is_whole(&found) => Ok(found),
            Ok(_) | Err(E2eeError::Corrupt { .. }) => look(&self.hold_commits()?.manifest),
            other => other,
        }
    }

    fn manifest(&self) -> Result<Arc<Manifest>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(E2eeError::store_closed("the store was shut down"));
        }
        let known = self.manifest.read().unwrap_or_else(PoisonError::into_inner).clone();
        known.map_or_else(|| Ok(self.hold_commits()?.manifest.clone()), Ok)
    }

    fn index(&self) -> Index<'_> {
        Index { records: &*self.records, seal: &self.seal, cache: &self.verified_nodes }
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
        let Batch { changes, members, durability, .. } = batch;
        // One call for all nonces: each call of the generator costs.
        let puts = changes.iter().filter(|c| matches!(c.value, Value::Plain(_))).count();
        let nonces = self.draw_nonces(puts.saturating_add(1))?;
        let (of_index, of_changes) = nonces.split_at_checked(NONCE_LENGTH).unwrap_or_default();
        let sealed = seal_all(&self.seal, changes, of_changes)?;
        let mut last = self.hold_commits()?;
        let mut next = Manifest::clone(&last.manifest);
        let mut index = self.change_index(&mut next, &of_records(&sealed))?;
        self.change_sets(&mut next, &mut index, &members)?;
        self.commit_with(&mut last, next, index, sealed, of_index, durability)
    }

    /// Works out the index that fits some changes.
    fn change_index(
        &self,
        next: &mut Manifest,
        versions: &[(&'static str, Vec<NewVersion<'_>>)],
    ) -> Result<IndexChange<'_>> {
        let mut index = IndexChange::new(self.index(), next.next_node);
        for (collection, versions) in versions {
            let root = index.change(next.root(collection).copied(), collection, versions)?;
            next.set_root(collection, root);
        }
        next.next_node = index.next_node();
        Ok(index)
    }

    /// Makes changes that are encrypted already, with the index and the manifest that fit them.
    /// `nonce`: a random one, for these.
    fn commit_with(
        &self,
        last: &mut LastCommit,
        mut next: Manifest,
        mut index: IndexChange<'_>,
        mut changes: Vec<Change>,
        nonce: &[u8],
        durability: Durability,
    ) -> Result<()> {
        let mut nonces = Nonces::after(nonce)?;
        index.encrypt(&self.seal, &mut nonces, &mut changes)?;
        next.roots_mut().for_each(|root| *root = index.finished(*root));
        next.revision = next.revision.saturating_add(1);
        let value = seal::serialise(MANIFEST, &next)?;
        let value = Some(self.seal.close(MANIFEST, manifest::KEY, value, &nonces.draw())?);
        changes.push(Change { collection: MANIFEST, key: manifest::KEY.to_vec(), value });
        if let Err(error) = self.records.commit(changes, durability) {
            last.is_in_doubt = true;
            self.publish(None);
            return Err(error);
        }
        index.remember(&self.verified_nodes);
        self.is_made(last, next);
        Ok(())
    }

    fn is_made(&self, last: &mut LastCommit, manifest: Manifest) {
        *last = LastCommit { manifest: Arc::new(manifest), is_in_doubt: false };
        self.publish(Some(last.manifest.clone()));
    }

    fn publish(&self, manifest: Option<Arc<Manifest>>) {
        *self.manifest.write().unwrap_or_else(PoisonError::into_inner) = manifest;
    }

    /// The last commit, with the next one held off. If it is in doubt, the store is asked.
    fn hold_commits(&self) -> Result<MutexGuard<'_, LastCommit>> {
        // A backend that comes back here on its own thread would wait for itself.
        check_not_in_callback()?;
        let mut last = self
            .last_commit
            .lock()
            .map_err(|_| E2eeError::panic("the store failed inside; reopen it"))?;
        if last.is_in_doubt {
            let found = Manifest::read(&*self.records, &self.seal)?;
            let known = last.manifest.revision;
            if found.revision < known || found.revision > known.saturating_add(1) {
                return Err(E2eeError::corrupt("the manifest of the store is not the last one"));
            }
            let header = Header::find(self.records.as_ref())?
                .ok_or_else(|| E2eeError::corrupt("the header of the store is missing"))?;
            found.check_header(&header)?;
            self.is_made(&mut last, found);
        }
        Ok(last)
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

    fn draw_nonces(&self, count: usize) -> Result<Vec<u8>> {
        let mut nonces = vec![0; count.saturating_mul(NONCE_LENGTH)];
        self.random.fill(&mut nonces)?;
        Ok(nonces)
    }
}

/// What changes in each collection.
type ByCollection<'a> = Vec<(&'static str, Vec<NewVersion<'a>>)>;

fn of_records(changes: &[Change]) -> ByCollection<'_> {
    by_collection(changes.iter().map(|Change { collection, key, value }| {
        (*collection, key.as_slice(), value.as_deref().and_then(index::version))
    }))
}

/// The last change of each record or member, in the order of collections and keys.
fn by_collection<'a>(
    changes: impl Iterator<Item = (&'static str, &'a [u8], Option<Version>)>,
) -> ByCollection<'a> {
    let mut order: Vec<_> = changes.collect();
    // Several changes of one record stay in their order.
    order.sort_by_key(|(collection, key, _)| (*collection, *key));
    let mut collections = ByCollection::new();
    for (collection, key, version) in order {
        if collections.last().is_none_or(|(known, _)| *known != collection) {
            collections.push((collection, Vec::new()));
        }
        let Some((_, versions)) = collections.last_mut() else { continue };
        match versions.last_mut() {
            Some((known, last)) if *known == key => *last = version,
            _ => versions.push((key, version)),
        }
    }
    collections
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vault").finish_non_exhaustive()
    }
}
