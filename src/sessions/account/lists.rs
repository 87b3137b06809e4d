//! Lists of what is stored under an account, in pages.

use std::fmt;

use serde::de::DeserializeOwned;

use super::Account;
use crate::error::{E2eeError, Result};
use crate::store::{Batch, RecordPrefix, SetOf};

/// How many items a page has if nobody says.
const USUAL_LIMIT: u32 = 1_000;
const LARGEST_LIMIT: u32 = 10_000;
/// The longest ID that a page may begin behind.
const LONGEST_ID: usize = 255;

/// Which part of a list is asked for.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    after: Option<&'a str>,
    limit: usize,
}

impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<'a> Page<'a> {
    /// What follows an ID, or the beginning; at most `limit` items, or 1,000.
    pub fn new(after: Option<&'a str>, limit: Option<u32>) -> Result<Self> {
        if after.is_some_and(|after| after.len() > LONGEST_ID) {
            return Err(E2eeError::invalid_field("after", "is longer than 255 bytes"));
        }
        let limit = limit.unwrap_or(USUAL_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            return Err(E2eeError::invalid_field("limit", "is not between 1 and 10000"));
        }
        Ok(Self { after, limit: usize::try_from(limit).unwrap_or(usize::MAX) })
    }
}

impl Account {
    fn set_of(&self, set: &'static str) -> SetOf<'_> {
        SetOf { set, owner: [&self.user_id, &self.device_id] }
    }

    /// A list of this account in a set.
    pub(crate) fn list(&self, set: &'static str, list: &str) -> RecordPrefix {
        self.vault().list(self.set_of(set), list)
    }

    /// One page of a list. `note` puts what a record says into the set, in stores in which nobody
    /// has done so; `read` gives the item of a name, if it is stored and whole.
    pub(crate) fn page_of_list<R: DeserializeOwned, T>(
        &self,
        set: &'static str,
        list: &str,
        page: Page<'_>,
        note: impl Fn(R, &mut Batch),
        read: impl Fn(&str, &str) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let read = |first: &str, second: &str| match read(first, second) {
            Err(E2eeError::Corrupt { .. }) => Ok(None),
            item => item,
        };
        let part = (page.after, page.limit);
        self.vault().page_of_list(self.set_of(set), list, part, note, read)
    }
}
