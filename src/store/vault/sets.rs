//! Sets: names in their order, which the keyed hashes of records' keys do not keep.
//!
//! A set is a tree of the index without records below it, so the store sees none of the names, and
//! whoever reads a list needs no lock. It repeats what stands in records: if a node of it is
//! damaged, the whole set is let go of, and the next one who reads a list builds it anew. So it is
//! in stores that earlier versions made. Nodes of a set that was let go of stay in the store; nothing
//! leads to them.

use serde::de::DeserializeOwned;

use super::lists::{Found, LONGEST_PAGE, Place};
use super::{LastCommit, Vault, by_collection};
use crate::base::environment::check_not_in_callback;
use crate::base::json::{decode_base64, encode_base64};
use crate::error::{E2eeError, Result};
use crate::store::batch::{Batch, Members};
use crate::store::collections::{SETS, repeated_by};
use crate::store::index::{self, IndexChange, MEMBER, Range};
use crate::store::manifest::Manifest;
use crate::store::record_key::RecordPrefix;
use crate::store::record_store::Durability;

/// The list of a set that says how far it is built. It has one name: none at all if the set is
/// whole, and else where the next step begins.
const BUILT: &str = "built";
/// How often one call begins a set anew before it gives up.
const MOST_BEGINNINGS: usize = 3;

/// How far a set is built.
enum Built {
    All,
    UpTo(Place),
    Nothing,
}

/// The set of one owner: its lists, and the records that it repeats.
#[derive(Clone, Copy)]
pub(crate) struct SetOf<'a> {
    pub(crate) set: &'static str,
    /// The first parts of the names of the lists and of the records.
    pub(crate) owner: [&'a str; 2],
}

impl Vault {
    /// The beginning of all names of a list.
    pub(crate) fn list(&self, of: SetOf<'_>, list: &str) -> RecordPrefix {
        self.prefix(of.set, &of.owner).under(list)
    }

    /// One page of a list whose names have two texts: those whose first is behind `after`, in their
    /// order. `read` looks a name up; what it does not find is left out. The page ends when `limit`
    /// are found, but not between names with the same first text. `note` is as for `build_set`.
    pub(crate) fn page_of_list<R: DeserializeOwned, T>(
        &self,
        of: SetOf<'_>,
        list: &str,
        (after, limit): (Option<&str>, usize),
        note: impl Fn(R, &mut Batch),
        read: impl Fn(&str, &str) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let list = self.list(of, list);
        let mut attempts = 0_usize;
        loop {
            self.build_set(of, &note)?;
            let page = self.try_page_of_list(&list, after, limit, &read);
            attempts = attempts.saturating_add(1);
            match page {
                Err(E2eeError::Corrupt { .. }) if attempts < MOST_BEGINNINGS => {
                    self.let_go_of(of.set)?;
                }
                // Another call may have let go of the set before all was read.
                Ok(_) if attempts < MOST_BEGINNINGS && !self.is_built(of) => {}
                page => return page,
            }
        }
    }

    fn try_page_of_list<T>(
        &self,
        list: &RecordPrefix,
        after: Option<&str>,
        limit: usize,
        read: &impl Fn(&str, &str) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let (mut found, mut last) = (Vec::new(), String::new());
        // Behind all names with this first text, and before those whose first text begins with it.
        let mut from = after.map_or(Vec::new(), |after| [after.as_bytes(), &[1]].concat());
        loop {
            let missing = limit.saturating_sub(found.len()).saturating_add(1);
            let names = self.names(list, &from, missing.min(LONGEST_PAGE))?;
            let Some(end) = names.last() else { return Ok(found) };
            from = [end.as_bytes(), &[0]].concat();
            for name in names {
                let (first, second) = name.split_once('\0').unwrap_or((&name, ""));
                if found.len() >= limit && first != last {
                    return Ok(found);
                }
                found.extend(read(first, second)?);
                first.clone_into(&mut last);
            }
        }
    }

    /// Names of a list in their order: at most `limit` that are not less than `from`. CORRUPT if
    /// the set has to be built anew.
    pub(crate) fn names(
        &self,
        list: &RecordPrefix,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<String>> {
        check_not_in_callback()?;
        let mut names = Vec::new();
        let keys = self.member_keys(list, [list.bytes(), from].concat(), limit)?;
        for key in keys {
            let name = key.get(list.bytes().len()..).unwrap_or_default().to_vec();
            let lost = |_| index::damaged_index(list.collection());
            names.push(String::from_utf8(name).map_err(lost)?);
        }
        Ok(names)
    }

    fn member_keys(
        &self,
        prefix: &RecordPrefix,
        mut from: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let (set, mut keys) = (prefix.collection(), Vec::new());
        loop {
            // Nothing holds off commits for longer than one page takes.
            let limit = limit.saturating_sub(keys.len()).min(LONGEST_PAGE);
            if limit == 0 {
                return Ok(keys);
            }
            let range = Range { prefix: prefix.bytes(), from: &from, limit };
            let stretch = self.verified(
                |manifest| self.index().stretch(manifest.root(set), set, range),
                |stretch| !stretch.is_lost,
            )?;
            if stretch.is_lost {
                return Err(index::damaged_index(set));
            }
            keys.extend(stretch.records.into_iter().map(|(key, _)| key));
            match stretch.until.filter(|until| !range.is_before(until)) {
                Some(until) => from = until,
                None => return Ok(keys),
            }
        }
    }

    /// Takes everything of an owner out of a set.
    pub(crate) fn unnote_all(
        &self,
        set: &'static str,
        owner: &[&str],
        batch: &mut Batch,
    ) -> Result<()> {
        let prefix = self.prefix(set, owner);
        match self.member_keys(&prefix, prefix.bytes().to_vec(), usize::MAX) {
            Err(E2eeError::Corrupt { .. }) => self.let_go_of(set),
            keys => {
                batch.members.extend(keys?.into_iter().map(|key| ((set, key), false)));
                Ok(())
            }
        }
    }

    /// Says that an owner's set is whole: of one who has no records yet.
    pub(crate) fn note_built(&self, of: SetOf<'_>, batch: &mut Batch) {
        batch.note(&self.list(of, BUILT), &[]);
    }

    /// Has a set whole: puts into it what records say, if an earlier version has written them or the
    /// set was damaged. `note` gets each record that can be read. In steps of one commit each, so
    /// that whoever comes after a crash goes on where it stopped. Others may commit meanwhile, and
    /// so a name may stay whose record they delete.
    pub(crate) fn build_set<T: DeserializeOwned>(
        &self,
        of: SetOf<'_>,
        note: &impl Fn(T, &mut Batch),
    ) -> Result<()> {
        let mut beginnings = 0_usize;
        loop {
            let place = match self.built(of) {
                Ok(Built::All) => return Ok(()),
                Ok(Built::UpTo(place)) => Some(place),
                Ok(Built::Nothing) if beginnings < MOST_BEGINNINGS => None,
                Err(E2eeError::Corrupt { .. }) if beginnings < MOST_BEGINNINGS => {
                    self.let_go_of(of.set)?;
                    None
                }
                Ok(Built::Nothing) => return Err(index::damaged_index(of.set)),
                Err(error) => return Err(error),
            };
            if place.is_none() {
                beginnings = beginnings.saturating_add(1);
                self.check_is_last(&*self.hold_commits()?)?;
            }
            self.build_some(of, place, note)?;
        }
    }

    /// Who only looks must not make a commit on an old manifest that the store has shown once.
    fn check_is_last(&self, last: &LastCommit) -> Result<()> {
        if Manifest::read(&*self.records, &self.seal)?.revision == last.manifest.revision {
            Ok(())
        } else {
            Err(E2eeError::corrupt("the manifest of the store is not the last one"))
        }
    }

    fn is_built(&self, of: SetOf<'_>) -> bool {
        matches!(self.built(of), Ok(Built::All))
    }

    fn built(&self, of: SetOf<'_>) -> Result<Built> {
        let names = self.names(&self.list(of, BUILT), &[], 1)?;
        let Some(name) = names.first() else { return Ok(Built::Nothing) };
        if name.is_empty() {
            return Ok(Built::All);
        }
        let place = name.split_once('\0').and_then(|(from, after)| {
            let read = |text| decode_base64(BUILT, text).ok();
            Some(Place { from: read(from)?, after: read(after)? })
        });
        place.map(Built::UpTo).ok_or_else(|| index::damaged_index(of.set))
    }

    fn build_some<T: DeserializeOwned>(
        &self,
        of: SetOf<'_>,
        place: Option<Place>,
        note: &impl Fn(T, &mut Batch),
    ) -> Result<()> {
        let (mut batch, records) = (Batch::new(), repeated_by(of.set));
        let list = self.list(of, BUILT);
        let name_of = |place: &Place| [&place.from, &place.after].map(encode_base64);
        if let Some(place) = &place {
            batch.unnote(&list, &name_of(place).each_ref().map(String::as_str));
        }
        let page = self.pages_from(self.prefix(records, &of.owner), place).next().transpose()?;
        let mut next = None;
        if let Some(page) = page {
            for (key, found) in page.records {
                let Found::Good(value) = found else { continue };
                match self.seal.open(records, key.bytes(), value) {
                    Err(E2eeError::Corrupt { .. }) => {}
                    record => note(record?, &mut batch),
                }
            }
            next = page.next;
        }
        match next {
            Some(next) => batch.note(&list, &name_of(&next).each_ref().map(String::as_str)),
            None => batch.note(&list, &[]),
        }
        self.commit(batch)
    }

    fn let_go_of(&self, set: &'static str) -> Result<()> {
        let mut last = self.hold_commits()?;
        self.check_is_last(&last)?;
        let mut next = Manifest::clone(&last.manifest);
        next.set_root(set, None);
        let index = self.change_index(&mut next, &[])?;
        let nonce = self.draw_nonces(1)?;
        self.commit_with(&mut last, next, index, Vec::new(), &nonce, Durability::Relaxed)
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn let_go_of_sets(&self) {
        SETS.into_iter().for_each(|set| self.let_go_of(set).unwrap());
    }

    /// Changes sets with a commit. A damaged one is let go of: it fails no commit.
    pub(super) fn change_sets<'a>(
        &'a self,
        next: &mut Manifest,
        index: &mut IndexChange<'a>,
        members: &Members,
    ) -> Result<()> {
        let members = members
            .iter()
            .map(|((set, key), is_in)| (*set, key.as_slice(), is_in.then_some(MEMBER)));
        for (set, members) in by_collection(members) {
            let mut of_set = IndexChange::new(self.index(), index.next_node());
            match of_set.change(next.root(set).copied(), set, &members) {
                Err(E2eeError::Corrupt { .. }) => next.set_root(set, None),
                root => {
                    next.set_root(set, root?);
                    index.absorb(of_set);
                }
            }
        }
        next.next_node = index.next_node();
        Ok(())
    }

    /// How many nodes of sets are damaged.
    pub(super) fn lost_of_sets(&self) -> Result<u64> {
        let mut lost = 0_u64;
        for set in SETS {
            let mut from = Some(Vec::new());
            while let Some(place) = from {
                let range = Range { prefix: &[], from: &place, limit: LONGEST_PAGE };
                let stretch = self.verified(
                    |manifest| self.index().stretch(manifest.root(set), set, range),
                    |stretch| !stretch.is_lost,
                )?;
                lost = lost.saturating_add(u64::from(stretch.is_lost));
                from = stretch.until;
            }
        }
        Ok(lost)
    }
}
