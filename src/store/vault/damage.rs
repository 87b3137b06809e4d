//! What is wrong with a store, and how to get what is good out of it.

use serde::Serialize;

use super::Vault;
use super::lists::Found;
use crate::base::environment::check_not_in_callback;
use crate::error::{E2eeError, Result};
use crate::store::collections::{HEADER, INDEX, MANIFEST, OF_AN_ACCOUNT, guards_keys};
use crate::store::header::Header;
use crate::store::index::DOUBTFUL;
use crate::store::manifest::Manifest;
use crate::store::record_key::RecordKey;
use crate::store::record_store::{Change, Durability, RecordStore};
use crate::store::user_key::UserKey;

/// How many records of a collection are not as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) collection: &'static str,
    pub(crate) kind: ProblemKind,
    pub(crate) count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProblemKind {
    /// It was altered, or is not the last one that was written, or nobody knows.
    Damaged,
    /// It should be there.
    Missing,
    /// It should not be there.
    Unexpected,
}

impl Vault {
    /// Reads everything, in pages, and says what is not as it should be.
    pub(crate) fn problems(&self) -> Result<Vec<Problem>> {
        let mut problems = self.own_problems()?;
        let mut lost = 0_u64;
        for collection in OF_AN_ACCOUNT {
            // What one damaged node vouched for may take several pages.
            let mut was_lost = false;
            for page in self.pages(self.prefix(collection, &[])) {
                let page = page?;
                lost = lost.saturating_add(u64::from(page.is_lost && !was_lost));
                was_lost = page.is_lost;
                for (key, found) in page.records {
                    let kind = match found {
                        Found::Good(value) if self.is_intact(&key, &value)? => continue,
                        Found::Good(_) | Found::Damaged | Found::Doubtful(_) => {
                            ProblemKind::Damaged
                        }
                        Found::Missing => ProblemKind::Missing,
                        Found::Unexpected => ProblemKind::Unexpected,
                    };
                    add(&mut problems, collection, kind, 1);
                }
            }
        }
        lost = lost.saturating_add(self.lost_of_sets()?);
        add(&mut problems, INDEX, ProblemKind::Damaged, lost);
        Ok(problems)
    }

    /// The header and the manifest are in memory: they are needed at the next opening only.
    fn own_problems(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let last = self.hold_commits()?;
        let manifest = Manifest::read(&*self.records, &self.seal).and_then(|found| {
            let is_last = found.revision == last.manifest.revision;
            is_last.then_some(()).ok_or_else(|| E2eeError::corrupt("it is an old one"))
        });
        let header = Header::find(self.records.as_ref()).and_then(|found| {
            let found = found.ok_or_else(|| E2eeError::corrupt("it is missing"))?;
            last.manifest.check_header(&found)
        });
        for (collection, result) in [(MANIFEST, manifest), (HEADER, header)] {
            match result {
                Ok(()) => {}
                Err(E2eeError::Corrupt { .. } | E2eeError::NewerFormat { .. }) => {
                    add(&mut problems, collection, ProblemKind::Damaged, 1);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(problems)
    }

    /// `NEWER_FORMAT` if a newer version has stored something in collections of its own: what is
    /// deleted or copied whole must be known whole.
    pub(crate) fn check_all_known(&self) -> Result<()> {
        self.manifest()?.check_all_known()
    }

    fn is_intact(&self, key: &RecordKey, value: &[u8]) -> Result<bool> {
        match self.seal.reopen(key.collection, key.bytes(), value.to_vec()) {
            Err(E2eeError::Corrupt { .. }) => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Copies what is good into an empty place, which is a store only when all is copied. What
    /// guards the use of keys and is not good is known to be damaged there, too.
    pub(crate) fn salvage(
        &self,
        records: Box<dyn RecordStore>,
        user_key: UserKey<'_>,
    ) -> Result<()> {
        check_not_in_callback()?;
        if !records.is_empty()? {
            return Err(E2eeError::already_exists("the file holds a store already"));
        }
        self.check_all_known()?;
        // The names of records are hashed with a key that comes from the data key.
        let copy = Self::with(records, self.data_key.clone(), self.random.clone())?;
        for collection in OF_AN_ACCOUNT {
            let guards_keys = guards_keys(collection);
            for page in self.pages(self.prefix(collection, &[])) {
                let (mut good, mut doubtful) = (Vec::new(), Vec::new());
                for (key, found) in page?.records {
                    let value = match found {
                        Found::Good(value) => Some(value),
                        Found::Doubtful(value) if !guards_keys => Some(value),
                        Found::Unexpected => continue,
                        Found::Damaged | Found::Missing | Found::Doubtful(_) => None,
                    };
                    match value {
                        Some(value) if self.is_intact(&key, &value)? => good.push((key, value)),
                        _ if guards_keys => doubtful.push(key),
                        _ => {}
                    }
                }
                copy.add_salvaged(good, &doubtful)?;
            }
        }
        copy.commit_header(user_key, Manifest::clone)?;
        copy.close()
    }

    fn add_salvaged(&self, good: Vec<(RecordKey, Vec<u8>)>, doubtful: &[RecordKey]) -> Result<()> {
        let changes: Vec<_> = good
            .into_iter()
            .map(|(key, value)| {
                let collection = key.collection;
                Change { collection, key: key.into_bytes(), value: Some(value) }
            })
            .collect();
        let mut last = self.hold_commits()?;
        let mut next = Manifest::clone(&last.manifest);
        let mut versions = super::of_records(&changes);
        for key in doubtful {
            let entry = (key.bytes(), Some(DOUBTFUL));
            match versions.first_mut() {
                Some((_, versions)) => versions.push(entry),
                None => versions.push((key.collection, vec![entry])),
            }
        }
        versions.iter_mut().for_each(|(_, versions)| versions.sort_unstable());
        let index = self.change_index(&mut next, &versions)?;
        let nonce = self.draw_nonces(1)?;
        self.commit_with(&mut last, next, index, changes, &nonce, Durability::Relaxed)
    }
}

fn add(problems: &mut Vec<Problem>, collection: &'static str, kind: ProblemKind, count: u64) {
    let known = problems
        .iter_mut()
        .find(|problem| problem.collection == collection && problem.kind == kind);
    match known {
        Some(problem) => problem.count = problem.count.saturating_add(count),
        None if count > 0 => problems.push(Problem { collection, kind, count }),
        None => {}
    }
}
