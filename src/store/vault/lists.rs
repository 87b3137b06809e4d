//! Lists of records: in pages, each of which is verified, without holding off commits in between.
//!
//! A record that is there all the time is listed once; one that comes or goes meanwhile may be
//! listed or not.

use serde::de::DeserializeOwned;

use super::Vault;
use crate::error::{E2eeError, Result};
use crate::store::collections;
use crate::store::index::{self, DOUBTFUL, Range, Stretch};
use crate::store::manifest::Manifest;
use crate::store::record_key::{RecordKey, RecordPrefix};
use crate::store::record_store::Entry;
use crate::store::seal::damaged;

/// Lists begin with a short page, as most find few records, and then take longer ones.
const FIRST_PAGE: usize = 16;
pub(super) const LONGEST_PAGE: usize = 256;

/// What became of one record.
pub(super) enum Found {
    /// It is the one that was written last; whether it decrypts is seen when it is decrypted.
    Good(Vec<u8>),
    Damaged,
    /// It should be there.
    Missing,
    /// It should not be there.
    Unexpected,
    /// Nobody knows whether it is the last one: what vouched for it is damaged.
    Doubtful(Vec<u8>),
}

/// Some records, one after the other in the order of their keys.
pub(super) struct Page {
    pub(super) records: Vec<(RecordKey, Found)>,
    /// What vouched for them is damaged.
    pub(super) is_lost: bool,
    pub(super) next: Option<Place>,
}

/// Where a page begins.
#[derive(Clone)]
pub(super) struct Place {
    /// No key is less.
    pub(super) from: Vec<u8>,
    /// The key of a stored record before that, or the prefix: the store is asked for what is behind
    /// a key.
    pub(super) after: Vec<u8>,
}

/// A list on its way through the records of a prefix.
pub(super) struct Pages<'a> {
    vault: &'a Vault,
    prefix: RecordPrefix,
    next: Option<Place>,
    limit: usize,
}

impl Vault {
    /// All records whose names begin with these parts, in no telling order. Where a record guards
    /// the use of keys, a damaged or missing one is CORRUPT; elsewhere it is left out
    /// (`problems` tells of it).
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<(RecordKey, T)>> {
        let is_strict = collections::guards_keys(collection);
        let mut found = Vec::new();
        for page in self.pages(self.prefix(collection, parts)) {
            let page = page?;
            if is_strict && page.is_lost {
                return Err(index::damaged_index(collection));
            }
            for (key, record) in page.records {
                let record = match record {
                    Found::Good(value) => self.seal.open(collection, key.bytes(), value),
                    problem => Err(problem.error(collection)),
                };
                match record {
                    Err(E2eeError::Corrupt { .. }) if !is_strict => {}
                    record => found.push((key, record?)),
                }
            }
        }
        Ok(found)
    }

    /// The keys of all records whose names begin with these parts, damaged, missing and unexpected
    /// ones included: what has to be deleted, so that nothing is left.
    pub(crate) fn scan_keys(
        &self,
        collection: &'static str,
        parts: &[&str],
    ) -> Result<Vec<RecordKey>> {
        let mut found = Vec::new();
        for page in self.pages(self.prefix(collection, parts)) {
            found.extend(page?.records.into_iter().map(|(key, _)| key));
        }
        Ok(found)
    }

    pub(super) fn pages(&self, prefix: RecordPrefix) -> Pages<'_> {
        let start = prefix.bytes().to_vec();
        // Every full key is longer than the prefix, hence strictly after it.
        let next = Some(Place { from: start.clone(), after: start });
        Pages { vault: self, prefix, next, limit: FIRST_PAGE }
    }

    /// As `pages`, all long; goes on where a page ended.
    pub(super) fn pages_from(&self, prefix: RecordPrefix, place: Option<Place>) -> Pages<'_> {
        let pages = self.pages(prefix);
        Pages { next: place.or(pages.next), limit: LONGEST_PAGE, ..pages }
    }

    /// Compares what the index lists with what the store lists.
    fn page(
        &self,
        manifest: &Manifest,
        prefix: &RecordPrefix,
        place: &Place,
        limit: usize,
    ) -> Result<Page> {
        let collection = prefix.collection();
        let range = Range { prefix: prefix.bytes(), from: &place.from, limit };
        let root = manifest.root(collection);
        let stretch = self.index().stretch(root, collection, range)?;
        let stored = match self.stored_page(collection, &place.after, limit) {
            // A part of the file cannot be listed: what must be there is looked for one by one.
            Err(E2eeError::Corrupt { .. }) if !stretch.is_lost => {
                self.stored_one_by_one(collection, &stretch)?
            }
            page => page?,
        };
        // Neither list says anything about what is behind its end.
        let end_of_stored =
            stored.last().filter(|_| stored.len() >= limit).map(|entry| just_behind(&entry.key));
        let end = [stretch.until, end_of_stored].into_iter().flatten().min();
        let is_here = |key: &[u8]| end.as_deref().is_none_or(|end| key < end);
        let mut expected = stretch.records.into_iter().filter(|(key, _)| is_here(key)).peekable();
        let mut records = Vec::new();
        let mut found = |key, found| records.push((RecordKey::from_stored(collection, key), found));
        let mut after = None;
        for Entry { key, value } in stored.into_iter().filter(|entry| is_here(&entry.key)) {
            after = Some(key.clone());
            if !prefix.covers(&key) {
                continue;
            }
            while let Some((missing, _)) = expected.next_if(|(expected, _)| *expected < key) {
                found(missing, Found::Missing);
            }
            let version = expected.next_if(|(expected, _)| *expected == key);
            let record = match version {
                None if stretch.is_lost => Found::Doubtful(value),
                None => Found::Unexpected,
                Some((_, DOUBTFUL)) => Found::Doubtful(value),
                Some((_, version)) if index::version(&value) == Some(version) => Found::Good(value),
                Some(_) => Found::Damaged,
            };
            found(key, record);
        }
        expected.for_each(|(key, _)| found(key, Found::Missing));
        let next = end
            .filter(|end| !range.is_before(end))
            .map(|from| Place { from, after: after.unwrap_or_else(|| place.after.clone()) });
        Ok(Page { records, is_lost: stretch.is_lost, next })
    }

    fn stored_one_by_one(&self, collection: &'static str, stretch: &Stretch) -> Result<Vec<Entry>> {
        let mut page = Vec::new();
        for (key, _) in &stretch.records {
            let value = match self.records.get(collection, key) {
                // No record has an empty value: this one is damaged.
                Err(E2eeError::Corrupt { .. }) => Some(Vec::new()),
                value => value?,
            };
            page.extend(value.map(|value| Entry { key: key.clone(), value }));
        }
        Ok(page)
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

impl Iterator for Pages<'_> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.next.take()?;
        let page = self.vault.verified(
            |manifest| self.vault.page(manifest, &self.prefix, &place, self.limit),
            Page::is_whole,
        );
        self.limit = self.limit.saturating_mul(4).min(LONGEST_PAGE);
        if let Ok(page) = &page {
            self.next.clone_from(&page.next);
        }
        Some(page)
    }
}

impl Page {
    fn is_whole(&self) -> bool {
        !self.is_lost && self.records.iter().all(|(_, found)| matches!(found, Found::Good(_)))
    }
}

impl Found {
    fn error(&self, collection: &str) -> E2eeError {
        let problem = match self {
            Self::Good(_) | Self::Damaged | Self::Doubtful(_) => return damaged(collection),
            Self::Missing => "is missing",
            Self::Unexpected => "should be gone",
        };
        E2eeError::corrupt(format!("a record of \"{collection}\" {problem}"))
    }
}

/// The first of all keys that are greater.
fn just_behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
