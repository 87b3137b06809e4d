//! Lists of records: in pages, each of which is verified, without holding off commits in between.
//!
//! A record that is there all the time is listed once; one that comes or goes meanwhile may be
//! listed or not.

use serde::de::DeserializeOwned;

use super::Vault;
use crate::error::{E2eeError, Result};
use crate::store::index::{self, Range, Version};
use crate::store::manifest::Manifest;
use crate::store::record_key::{RecordKey, RecordPrefix};
use crate::store::record_store::Entry;
use crate::store::seal::damaged;

/// Lists begin with a short page, as most find few records, and then take longer ones.
const FIRST_PAGE: usize = 16;
const LONGEST_PAGE: usize = 256;

/// Some records, one after the other in the order of their keys.
struct Page {
    records: Vec<Entry>,
    /// The last key that was looked at, if there may be more behind it.
    next: Option<Vec<u8>>,
}

impl Vault {
    /// All records whose names begin with these parts, in no telling order.
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<(RecordKey, T)>> {
        let mut found = Vec::new();
        self.scan_each(collection, parts, |key, value| {
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
            let page = self.verified(|manifest| self.page(manifest, &prefix, &after, limit))?;
            for Entry { key, value } in page.records {
                each(RecordKey::from_stored(collection, key), value)?;
            }
            let Some(next) = page.next else { return Ok(()) };
            after = next;
            limit = limit.saturating_mul(4).min(LONGEST_PAGE);
        }
    }

    /// Compares what the index lists with what the store lists.
    fn page(
        &self,
        manifest: &Manifest,
        prefix: &RecordPrefix,
        after: &[u8],
        limit: usize,
    ) -> Result<Page> {
        let collection = prefix.collection();
        let range = Range { prefix: prefix.bytes(), after, limit };
        let expected = self.index().list(manifest.root(collection), collection, range)?;
        let mut stored = self.stored_page(collection, after, limit)?;
        // Neither list says anything about what is behind its end, if it is a full one.
        let ends = [
            expected.last().filter(|_| expected.len() >= limit).map(|(key, _)| key),
            stored.last().filter(|_| stored.len() >= limit).map(|entry| &entry.key),
        ];
        let end = ends.into_iter().flatten().min().cloned();
        let is_here = |key: &[u8]| end.as_deref().is_none_or(|end| key <= end);
        stored.retain(|entry| prefix.covers(&entry.key) && is_here(&entry.key));
        let expected: Vec<_> = expected.into_iter().filter(|(key, _)| is_here(key)).collect();
        check_page(collection, &expected, &stored)?;
        Ok(Page { records: stored, next: end.filter(|end| prefix.covers(end)) })
    }

    pub(super) fn stored_page(
        &self,
        collection: &'static str,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let page = self.records.scan(collection, Some(after), limit)?;
        let keys = page.iter().map(|entry| entry.key.as_slice());
        if !std::iter::once(after).chain(keys).is_sorted_by(|one, next| one < next) {
            return Err(E2eeError::store_io("the store listed its records out of order"));
        }
        Ok(page)
    }
}

fn check_page(collection: &str, expected: &[(Vec<u8>, Version)], stored: &[Entry]) -> Result<()> {
    let problem = match stored.len().cmp(&expected.len()) {
        std::cmp::Ordering::Less => "are missing",
        std::cmp::Ordering::Greater => "were added from elsewhere",
        std::cmp::Ordering::Equal => {
            let is_good = expected.iter().zip(stored).all(|((key, version), entry)| {
                *key == entry.key && index::version(&entry.value) == Some(*version)
            });
            return if is_good { Ok(()) } else { Err(damaged(collection)) };
        }
    };
    Err(E2eeError::corrupt(format!("records of \"{collection}\" {problem}")))
}
