//! Bringing a store of a former format to the newest one, in steps of one commit each: whoever
//! opens it after a crash goes on where it stopped.
//!
//! The first commit writes a header of the new format, which a former version of the library
//! refuses, and a manifest that knows what is still to be done. Each of the next ones puts some
//! records into the index.

use serde_bytes::ByteBuf;

use super::Vault;
use crate::error::{E2eeError, Result};
use crate::store::collections::{MANIFEST, OF_AN_ACCOUNT};
use crate::store::former_manifest::{Element, ElementHash, FormerManifest, Sum, Unconverted};
use crate::store::header::{Header, Subkeys};
use crate::store::index::{self, DOUBTFUL};
use crate::store::manifest::{self, Manifest};
use crate::store::record_key::RecordKey;
use crate::store::record_store::{Change, Durability, Entry};
use crate::store::seal::{self, Seal, damaged};
use crate::store::user_key::UserKey;

/// How many records one commit puts into the index. The tests' stores are small.
const STEP: usize = if cfg!(test) { 2 } else { 500 };

/// What only a store of a former format needs.
struct Former {
    /// Of format 1.
    seal: Seal,
    /// Of format 2.
    element_hash: ElementHash,
}

impl Vault {
    pub(super) fn begin_conversion(&self, header: &Header, user_key: UserKey<'_>) -> Result<()> {
        let former = self.former()?;
        let mut first = Manifest::default();
        if header.format() == 1 {
            // Format 1 had no manifest: what is there now is what must be there.
            if self.records.get(MANIFEST, manifest::KEY)?.is_some() {
                let problem = "the header of the store is older than its manifest";
                return Err(E2eeError::corrupt(problem));
            }
            let all = OF_AN_ACCOUNT.map(|name| (name.to_owned(), Unconverted::default()));
            first.unconverted = all.into();
        } else {
            let value = self
                .records
                .get(MANIFEST, manifest::KEY)?
                .ok_or_else(|| E2eeError::corrupt("the manifest of the store is missing"))?;
            let known: FormerManifest = self.seal.open(MANIFEST, manifest::KEY, value)?;
            known.check_header(header, &former.element_hash)?;
            first.revision = known.revision;
            first.unconverted = known
                .collections
                .into_iter()
                .map(|(name, sum)| (name, Unconverted { after: ByteBuf::new(), sum: Some(sum) }))
                .collect();
        }
        self.commit_header(user_key, |_| first)
    }

    /// Puts into the index what is not there yet.
    pub(super) fn convert(&self) -> Result<()> {
        let todo = self.hold_commits()?.manifest.unconverted.clone();
        if todo.is_empty() {
            return Ok(());
        }
        let former = self.former()?;
        for (name, unconverted) in todo {
            let collection = OF_AN_ACCOUNT.into_iter().find(|known| *known == name);
            let collection = collection.ok_or_else(|| {
                E2eeError::corrupt("the store has a collection that its format does not know")
            })?;
            let adds_up = match unconverted.sum {
                Some(sum) => self.add_up(&former, collection, &unconverted.after)? == Some(sum),
                None => true,
            };
            while self.convert_some(&former, collection, adds_up)? {}
        }
        // So that no value of the former format is in any file any more.
        let _is_done_all_the_same = self.records.tidy_up();
        Ok(())
    }

    /// One step; says whether there are more. `adds_up`: what is there is what was written. If it
    /// is not, nobody knows which of the records are to be believed.
    fn convert_some(
        &self,
        former: &Former,
        collection: &'static str,
        adds_up: bool,
    ) -> Result<bool> {
        let mut last = self.hold_commits()?;
        let mut next = Manifest::clone(&last.manifest);
        let Some(unconverted) = next.unconverted.get_mut(collection) else { return Ok(false) };
        let page = self.stored_page(collection, &unconverted.after, STEP)?;
        let is_last = page.len() < STEP;
        if let Some(entry) = page.last() {
            unconverted.after = ByteBuf::from(entry.key.clone());
        }
        let mut changes = Vec::new();
        let mut known = Vec::with_capacity(page.len());
        for Entry { key, value } in page {
            let version = match &mut unconverted.sum {
                Some(sum) => {
                    former.element(collection, &key, &value).into_iter().for_each(|element| {
                        sum.subtract(&element);
                    });
                    index::version(&value)
                }
                // All values are encrypted anew, so that a header of format 1 that is put back
                // later opens none of them.
                None => match former.seal.reopen(collection, &key, value) {
                    Err(E2eeError::Corrupt { .. }) => None,
                    value => {
                        let nonce = self.draw_nonces(1)?;
                        let value = self.seal.close(collection, &key, value?, &nonce)?;
                        let version = index::version(&value);
                        let value = Some(value);
                        changes.push(Change { collection, key: key.clone(), value });
                        version
                    }
                },
            };
            known.push((key, version.filter(|_| adds_up).unwrap_or(DOUBTFUL)));
        }
        if is_last {
            let rest = next.unconverted.remove(collection).and_then(|rest| rest.sum);
            if adds_up && rest.is_some_and(|rest| rest != Sum::default()) {
                return Err(damaged(collection));
            }
        }
        let versions = known.iter().map(|(key, version)| (key.as_slice(), Some(*version)));
        let change = self.change_index(&mut next, &[(collection, versions.collect())])?;
        let nonce = self.draw_nonces(1)?;
        self.commit_with(&mut last, next, change, changes, &nonce, Durability::Synced)?;
        Ok(!is_last)
    }

    /// What the records behind a key add up to; `None` if one was not written by this library.
    fn add_up(
        &self,
        former: &Former,
        collection: &'static str,
        after: &[u8],
    ) -> Result<Option<Sum>> {
        let (mut sum, mut after) = (Sum::default(), after.to_vec());
        loop {
            let page = self.stored_page(collection, &after, STEP)?;
            let is_last = page.len() < STEP;
            for Entry { key, value } in page {
                let is_well_formed =
                    RecordKey::from_stored(collection, key.clone()).is_well_formed();
                match former.element(collection, &key, &value).filter(|_| is_well_formed) {
                    Some(element) => sum.add(&element),
                    None => return Ok(None),
                }
                after = key;
            }
            if is_last {
                return Ok(Some(sum));
            }
        }
    }

    fn former(&self) -> Result<Former> {
        let first = Subkeys::derive(&self.data_key, 1)?;
        Ok(Former { seal: Seal::new(first.cipher), element_hash: ElementHash::new(first.manifest) })
    }
}

impl Former {
    fn element(&self, collection: &str, key: &[u8], value: &[u8]) -> Option<Element> {
        let state = seal::state(value)?;
        Some(self.element_hash.element(collection, key, &state))
    }
}
