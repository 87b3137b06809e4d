//! Encryption at rest, above any record store.
//!
//! A random data key, which only the header record holds, wrapped under the
//! user's key, gives two keys: one encrypts values, one hashes record keys. The
//! store below sees collection names, the number and sizes of records and which
//! of them share a beginning of their names, but no user, room or secret.
//!
//! **Values.** Nonce, then XChaCha20-Poly1305 over one format byte and the
//! MessagePack of the record with its field names. The associated data are the
//! collection, the key and the format of the vault: a record that was moved to
//! another place does not decrypt. vodozemac's own pickle encryption is
//! deterministic and has no part in this (P6).
//!
//! A store put back to an earlier state as a whole, or a record put back to its
//! own earlier value, is not noticed here (SEC-115).

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, Tag, XChaCha20Poly1305, XNonce};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::header::{self, Subkeys, VAULT_FORMAT};
use super::record_key::{KeyHash, RecordKey, RecordPrefix};
use super::record_store::{Change, Durability, RecordStore};
use super::secret_buffer::SecretBuffer;
use crate::environment::RandomBytes;
use crate::error::{E2eeError, Result};

const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
/// The format of the records' own contents, inside the encryption.
const RECORD_FORMAT: u8 = 1;
/// Room for most records; larger ones grow.
const USUAL_RECORD: usize = 1024;
/// Scans begin with a short page, as most find few records, and then take longer ones.
const FIRST_PAGE: usize = 16;
const LONGEST_PAGE: usize = 256;

/// Changes that are committed together, in their order.
pub(crate) struct Batch {
    changes: Vec<Pending>,
    durability: Durability,
}

struct Pending {
    key: RecordKey,
    /// Room for the nonce, then the plaintext. `None` deletes.
    value: Option<Zeroizing<Vec<u8>>>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self { changes: Vec::new(), durability: Durability::Synced }
    }

    /// Stores a record. The value is serialised now, so that it may change before the commit.
    pub(crate) fn put<T: Serialize + ?Sized>(&mut self, key: &RecordKey, value: &T) -> Result<()> {
        let mut buffer = SecretBuffer::with_capacity(USUAL_RECORD);
        buffer.extend(&[0; NONCE_LENGTH]);
        buffer.extend(&[RECORD_FORMAT]);
        rmp_serde::encode::write_named(&mut buffer, value).map_err(|_| {
            E2eeError::store_io(format!(
                "a record of \"{}\" could not be serialised",
                key.collection
            ))
        })?;
        self.changes.push(Pending { key: key.clone(), value: Some(buffer.into_inner()) });
        Ok(())
    }

    /// Deletes a record, if there is one.
    pub(crate) fn delete(&mut self, key: &RecordKey) {
        self.changes.push(Pending { key: key.clone(), value: None });
    }

    /// Lets the commit return before the changes are synced to disk. Only for
    /// batches without anything that keeps a key from being used twice.
    pub(crate) fn relaxed(&mut self) {
        self.durability = Durability::Relaxed;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
impl Batch {
    /// Makes all records look like ones of another format.
    pub(super) fn set_record_format(&mut self, format: u8) {
        for value in self.changes.iter_mut().filter_map(|change| change.value.as_mut()) {
            value[NONCE_LENGTH] = format;
        }
    }

    /// Stores bytes that no version of this library would write.
    pub(super) fn put_plaintext(&mut self, key: &RecordKey, plaintext: &[u8]) {
        let value = Some(Zeroizing::new([&[0; NONCE_LENGTH], plaintext].concat()));
        self.changes.push(Pending { key: key.clone(), value });
    }
}

/// An encrypted record store.
pub(crate) struct Vault {
    records: Box<dyn RecordStore>,
    cipher: XChaCha20Poly1305,
    key_hash: KeyHash,
    random: Arc<dyn RandomBytes>,
}

impl Vault {
    /// Opens a vault, or makes a new one in an empty store. `key` has 32 bytes.
    pub(crate) fn open(
        records: Box<dyn RecordStore>,
        key: &[u8],
        random: Arc<dyn RandomBytes>,
    ) -> Result<Self> {
        let data_key = header::open_or_create(records.as_ref(), key, random.as_ref())?;
        let Subkeys { cipher, key_hash } = header::derive_subkeys(&data_key)?;
        Ok(Self { records, cipher, key_hash, random })
    }

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
        match self.records.get(key.collection, key.bytes())? {
            Some(value) => self.decrypt(key, value).map(Some),
            None => Ok(None),
        }
    }

    /// All records whose names begin with these parts, in no telling order.
    /// Records committed meanwhile may be missing.
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<(RecordKey, T)>> {
        let mut found = Vec::new();
        self.scan_each(collection, parts, |key, value| {
            let record = self.decrypt(&key, value)?;
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
        self.scan_each(collection, parts, |key, _| {
            found.push(key);
            Ok(())
        })?;
        Ok(found)
    }

    fn scan_each(
        &self,
        collection: &'static str,
        parts: &[&str],
        mut each: impl FnMut(RecordKey, Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let prefix = self.prefix(collection, parts);
        // Every full key is longer than the prefix, hence strictly after it.
        let mut after = prefix.bytes().to_vec();
        let mut limit = FIRST_PAGE;
        loop {
            let page = self.records.scan(collection, Some(&after), limit)?;
            let is_last = page.len() < limit;
            for entry in page {
                if entry.key <= after {
                    return Err(E2eeError::store_io("the store listed its records out of order"));
                }
                let key = RecordKey::from_stored(collection, entry.key);
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

    /// Makes all changes of a batch, or none. Unless the batch is relaxed, they
    /// are on disk when this returns. An empty batch is no commit.
    pub(crate) fn commit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let Batch { changes, durability } = batch;
        // One call for all nonces: each call of the system's generator costs.
        let puts = changes.iter().filter(|change| change.value.is_some()).count();
        let mut nonces = vec![0; puts.saturating_mul(NONCE_LENGTH)];
        if puts > 0 {
            self.random.fill(&mut nonces)?;
        }
        let mut nonces = nonces.chunks_exact(NONCE_LENGTH);
        let mut encrypted = Vec::with_capacity(changes.len());
        for Pending { key, value } in changes {
            let value = match value {
                Some(value) => {
                    Some(self.encrypt(&key, value, nonces.next().unwrap_or_default())?)
                }
                None => None,
            };
            encrypted.push(Change { collection: key.collection, key: key.into_bytes(), value });
        }
        self.records.commit(encrypted, durability)
    }

    /// Closes the store below.
    pub(crate) fn close(&self) -> Result<()> {
        self.records.close()
    }

    /// Encrypts in place: the ciphertext overwrites the plaintext.
    fn encrypt(
        &self,
        key: &RecordKey,
        mut value: Zeroizing<Vec<u8>>,
        nonce: &[u8],
    ) -> Result<Vec<u8>> {
        let failed = || E2eeError::panic("a record could not be encrypted");
        let (space, plaintext) = value.split_at_mut_checked(NONCE_LENGTH).ok_or_else(failed)?;
        let nonce: &XNonce = nonce.try_into().map_err(|_| failed())?;
        space.copy_from_slice(nonce);
        let tag = self
            .cipher
            .encrypt_inout_detached(nonce, &associated_data(key), InOutBuf::from(plaintext))
            .map_err(|_| failed())?;
        let mut ciphertext = std::mem::take(&mut *value);
        ciphertext.extend_from_slice(&tag);
        Ok(ciphertext)
    }

    fn decrypt<T: DeserializeOwned>(&self, key: &RecordKey, value: Vec<u8>) -> Result<T> {
        let damaged =
            || E2eeError::corrupt(format!("a record of \"{}\" is damaged", key.collection));
        let mut value = Zeroizing::new(value);
        let (nonce, rest) = value.split_at_mut_checked(NONCE_LENGTH).ok_or_else(damaged)?;
        let length = rest.len().checked_sub(TAG_LENGTH).ok_or_else(damaged)?;
        let (plaintext, tag) = rest.split_at_mut_checked(length).ok_or_else(damaged)?;
        let nonce: &XNonce = (&*nonce).try_into().map_err(|_| damaged())?;
        let tag: &Tag = (&*tag).try_into().map_err(|_| damaged())?;
        self.cipher
            .decrypt_inout_detached(
                nonce,
                &associated_data(key),
                InOutBuf::from(&mut *plaintext),
                tag,
            )
            .map_err(|_| damaged())?;
        match plaintext.split_first() {
            Some((&RECORD_FORMAT, record)) => rmp_serde::from_slice(record).map_err(|_| damaged()),
            Some((&newer, _)) if newer > RECORD_FORMAT => Err(E2eeError::NewerFormat {
                detail: format!(
                    "a record of \"{}\" was written by a newer version of this library",
                    key.collection
                ),
                found: u32::from(newer),
                supported: u32::from(RECORD_FORMAT),
            }),
            _ => Err(damaged()),
        }
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vault").finish_non_exhaustive()
    }
}

fn associated_data(key: &RecordKey) -> Vec<u8> {
    let collection = key.collection.as_bytes();
    let mut data =
        Vec::with_capacity(collection.len().saturating_add(key.bytes().len()).saturating_add(9));
    data.extend_from_slice(&(collection.len() as u64).to_be_bytes());
    data.extend_from_slice(collection);
    data.extend_from_slice(key.bytes());
    data.push(VAULT_FORMAT);
    data
}
