//! Opening a vault, making it, bringing it to the newest format, and giving it another key.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use super::{MANIFEST_KEY, Vault, Written};
use crate::base::environment::RandomBytes;
use crate::error::{E2eeError, Result};
use crate::store::collections::{MANIFEST, OF_AN_ACCOUNT};
use crate::store::header::{self, DataKey, Header, STORE_FORMAT, Subkeys};
use crate::store::manifest::{ElementHash, Known, Manifest};
use crate::store::record_store::{Change, Durability, RecordStore};
use crate::store::seal::Seal;
use crate::store::user_key::UserKey;

impl Vault {
    /// Opens a vault, or makes a new one in an empty store.
    pub(crate) fn open(
        records: Box<dyn RecordStore>,
        user_key: UserKey<'_>,
        random: Arc<dyn RandomBytes>,
    ) -> Result<Self> {
        user_key.check()?;
        match Header::find(records.as_ref())? {
            Some(header) => {
                let data_key = header.unwrap(user_key)?;
                let former = Subkeys::derive(&data_key, header.format())?.cipher;
                let vault = Self::with(records, data_key, random)?;
                if header.format() == STORE_FORMAT {
                    vault.begin(&header)?;
                } else {
                    vault.migrate(&Seal::new(former), user_key)?;
                }
                Ok(vault)
            }
            None if records.is_empty()? => {
                let vault = Self::with(records, header::draw_data_key(random.as_ref())?, random)?;
                vault.write_header(user_key)?;
                Ok(vault)
            }
            None => Err(E2eeError::corrupt("the store has records but no header")),
        }
    }

    fn with(
        records: Box<dyn RecordStore>,
        data_key: DataKey,
        random: Arc<dyn RandomBytes>,
    ) -> Result<Self> {
        let Subkeys { cipher, key_hash, manifest } = Subkeys::derive(&data_key, STORE_FORMAT)?;
        Ok(Self {
            records,
            seal: Seal::new(cipher),
            key_hash,
            element_hash: ElementHash::new(manifest),
            data_key,
            random,
            written: Mutex::new(Written { manifest: Manifest::default(), uncertain: false }),
            known: RwLock::new(HashMap::new()),
            closed: AtomicBool::new(false),
        })
    }

    fn begin(&self, header: &Header) -> Result<()> {
        let manifest = self.read_manifest()?;
        manifest.check_header(&self.header_element(header))?;
        self.written()?.manifest = manifest;
        Ok(())
    }

    /// From format 1, which had no manifest: what is there now is what must be there. All values
    /// are encrypted anew, in one commit with the header and the manifest, so that a header of
    /// format 1 that is put back later opens none of them.
    fn migrate(&self, former: &Seal, user_key: UserKey<'_>) -> Result<()> {
        if self.records.get(MANIFEST, MANIFEST_KEY)?.is_some() {
            return Err(E2eeError::corrupt("the header of the store is older than its manifest"));
        }
        let mut changes = Vec::new();
        for collection in OF_AN_ACCOUNT {
            self.known_mut().insert(collection, Known::default());
            self.scan_each(&self.prefix(collection, &[]), |key, value| {
                let value = former.reopen(collection, key.bytes(), value)?;
                let nonce = self.draw_nonces(1)?;
                let value = Some(self.seal.close(collection, key.bytes(), value, &nonce)?);
                changes.push(Change { collection, key: key.into_bytes(), value });
                Ok(())
            })?;
        }
        self.note(&changes, &mut self.written()?.manifest);
        self.commit_header(user_key, changes)
    }

    /// Wraps the data key for a user, in one commit: a crash leaves the former header or this one.
    pub(crate) fn write_header(&self, user_key: UserKey<'_>) -> Result<()> {
        user_key.check()?;
        if matches!(user_key, UserKey::Passphrase(_)) && !self.records.takes_passphrases() {
            let problem = "cannot open a foreign store: derive a key from it yourself";
            return Err(E2eeError::invalid_field("passphrase", problem));
        }
        self.commit_header(user_key, Vec::new())?;
        // So that the former header is in no file any more; it would go sooner or later.
        let _is_done_all_the_same = self.records.tidy_up();
        Ok(())
    }

    fn commit_header(&self, user_key: UserKey<'_>, mut changes: Vec<Change>) -> Result<()> {
        // Before the lock: a passphrase takes its time.
        let header = Header::wrap(&self.data_key, user_key, self.random.as_ref())?;
        let mut written = self.settled()?;
        written.manifest.set_header(self.header_element(&header));
        let done = header.change().and_then(|change| {
            changes.push(change);
            changes.push(self.manifest_change(&mut written.manifest, &self.draw_nonces(1)?)?);
            self.records.commit(changes, Durability::Synced)
        });
        self.settle(&mut written, done)
    }
}
