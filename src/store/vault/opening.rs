//! Opening a vault, making it, and giving it another key.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, RwLock};

use super::{LastCommit, Vault};
use crate::base::environment::RandomBytes;
use crate::error::{E2eeError, Result};
use crate::store::header::{self, DataKey, Header, STORE_FORMAT, Subkeys};
use crate::store::index::NodeCache;
use crate::store::manifest::Manifest;
use crate::store::record_store::{Durability, RecordStore};
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
                let vault = Self::with(records, data_key, random)?;
                if header.format() == STORE_FORMAT {
                    let manifest = Manifest::read(&*vault.records, &vault.seal)?;
                    manifest.check_header(&header)?;
                    vault.is_made(&mut *vault.hold_commits()?, manifest);
                } else {
                    vault.begin_conversion(&header, user_key)?;
                }
                vault.convert()?;
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

    pub(super) fn with(
        records: Box<dyn RecordStore>,
        data_key: DataKey,
        random: Arc<dyn RandomBytes>,
    ) -> Result<Self> {
        let Subkeys { cipher, key_hash, .. } = Subkeys::derive(&data_key, STORE_FORMAT)?;
        let manifest = Arc::new(Manifest::default());
        Ok(Self {
            records,
            seal: Seal::new(cipher),
            key_hash,
            data_key,
            random,
            manifest: RwLock::new(Some(manifest.clone())),
            last_commit: Mutex::new(LastCommit { manifest, is_in_doubt: false }),
            verified_nodes: NodeCache::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Wraps the data key for a user, in one commit: a crash leaves the former header or this one.
    pub(crate) fn write_header(&self, user_key: UserKey<'_>) -> Result<()> {
        user_key.check()?;
        if matches!(user_key, UserKey::Passphrase(_)) && !self.records.takes_passphrases() {
            let problem = "cannot open a foreign store: derive a key from it yourself";
            return Err(E2eeError::invalid_field("passphrase", problem));
        }
        self.commit_header(user_key, Manifest::clone)?;
        // So that the former header is in no file any more; it would go sooner or later.
        let _is_done_all_the_same = self.records.tidy_up();
        Ok(())
    }

    pub(super) fn commit_header(
        &self,
        user_key: UserKey<'_>,
        next: impl FnOnce(&Manifest) -> Manifest,
    ) -> Result<()> {
        // Before the lock: a passphrase takes its time.
        let header = Header::wrap(&self.data_key, user_key, self.random.as_ref())?;
        let mut last = self.hold_commits()?;
        let mut next = next(&last.manifest);
        next.set_header(&header);
        // The manifest itself vouches for the header.
        let index = self.change_index(&mut next, &[])?;
        let changes = vec![header.change()?];
        let nonce = self.draw_nonces(1)?;
        self.commit_with(&mut last, next, index, changes, &nonce, Durability::Synced)
    }
}
