//! Looking for records in the tree of a collection.

use std::sync::Arc;

use super::cache::NodeCache;
use super::node::{Entry, Node};
use super::{Root, Version, version};
use crate::error::{E2eeError, Result};
use crate::store::collections::INDEX;
use crate::store::record_store::RecordStore;
use crate::store::seal::Seal;

/// The stored trees of all collections.
#[derive(Clone, Copy)]
pub(in crate::store) struct Index<'a> {
    pub(in crate::store) records: &'a dyn RecordStore,
    pub(in crate::store) seal: &'a Seal,
    pub(in crate::store) cache: &'a NodeCache,
}

/// Where a list of records begins, and what all of them have in common.
#[derive(Clone, Copy)]
pub(in crate::store) struct Range<'a> {
    pub(in crate::store) prefix: &'a [u8],
    /// No key is less.
    pub(in crate::store) from: &'a [u8],
    pub(in crate::store) limit: usize,
}

impl Range<'_> {
    /// Whether no key of the range is so great.
    pub(in crate::store) fn is_before(&self, key: &[u8]) -> bool {
        key > self.prefix && !key.starts_with(self.prefix)
    }
}

/// Which keys a node is for: from one on, and all less than another, if there is one.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) from: &'a [u8],
    pub(super) end: Option<&'a [u8]>,
}

impl<'a> Bounds<'a> {
    pub(super) const ALL: Self = Self { from: &[], end: None };

    /// Those of one child of the node.
    pub(super) fn of_child(self, node: &'a Node, at: usize) -> Self {
        // What is less than all separators is in the first child.
        let from = if at == 0 { None } else { node.key(at) };
        Self { from: from.unwrap_or(self.from), end: node.key(at.saturating_add(1)).or(self.end) }
    }
}

/// What a collection must have between the beginning of a range and some key.
#[derive(Default)]
pub(in crate::store) struct Stretch {
    pub(in crate::store) records: Vec<(Vec<u8>, Version)>,
    /// All keys are less. `None`: the stretch goes on to the end of the range.
    pub(in crate::store) until: Option<Vec<u8>>,
    /// A node is damaged: nobody knows the records of this stretch.
    pub(in crate::store) is_lost: bool,
}

/// A node is not the one that is vouched for.
pub(in crate::store) fn damaged_index(collection: &str) -> E2eeError {
    E2eeError::corrupt(format!("the index of \"{collection}\" is damaged"))
}

impl Index<'_> {
    /// The version that a record must have; `None` if there must be none.
    pub(in crate::store) fn find(
        self,
        root: Option<&Root>,
        collection: &str,
        key: &[u8],
    ) -> Result<Option<Version>> {
        let Some(root) = root else { return Ok(None) };
        let mut node = self.root(root, collection)?;
        while let Some(level) = node.level().checked_sub(1) {
            let child = node.entry(node.position_of_child(key));
            node = self.node(child.ok_or_else(|| damaged_index(collection))?, level, collection)?;
        }
        Ok(node.record(key))
    }

    /// The first records of a range, in the order of their keys, and how far they go.
    pub(in crate::store) fn stretch(
        self,
        root: Option<&Root>,
        collection: &str,
        range: Range<'_>,
    ) -> Result<Stretch> {
        let mut stretch = Stretch::default();
        if let Some(root) = root {
            let entry = Entry { key: &[], version: *root.version, node: root.node };
            self.list_node(entry, root.level, Bounds::ALL, collection, range, &mut stretch)?;
        }
        Ok(stretch)
    }

    /// Says whether the stretch may go on behind the node.
    fn list_node(
        self,
        entry: Entry<'_>,
        level: u8,
        bounds: Bounds<'_>,
        collection: &str,
        range: Range<'_>,
        stretch: &mut Stretch,
    ) -> Result<bool> {
        let node = match self.node(entry, level, collection) {
            Err(E2eeError::Corrupt { .. }) => {
                // What is known before it is a stretch of its own.
                stretch.is_lost = stretch.records.is_empty() && bounds.from <= range.from;
                let until = if stretch.is_lost { bounds.end } else { Some(bounds.from) };
                stretch.until = until.map(Vec::from);
                return Ok(false);
            }
            other => other?,
        };
        let Some(level) = level.checked_sub(1) else {
            for Entry { key, version, .. } in node.entries().filter(|entry| entry.key >= range.from)
            {
                if range.is_before(key) || stretch.records.len() >= range.limit {
                    stretch.until = Some(key.to_vec());
                    return Ok(false);
                }
                if key.starts_with(range.prefix) {
                    stretch.records.push((key.to_vec(), version));
                }
            }
            return Ok(true);
        };
        let first = node.position_of_child(range.from);
        for at in first..node.len() {
            let child = node.entry(at).ok_or_else(|| damaged_index(collection))?;
            let is_full = stretch.records.len() >= range.limit;
            if at > first && (is_full || range.is_before(child.key)) {
                stretch.until = Some(child.key.to_vec());
                return Ok(false);
            }
            let bounds = bounds.of_child(&node, at);
            if !self.list_node(child, level, bounds, collection, range, stretch)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn root(self, root: &Root, collection: &str) -> Result<Arc<Node>> {
        let entry = Entry { key: &[], version: *root.version, node: root.node };
        self.node(entry, root.level, collection)
    }

    /// The node that an entry leads to, verified.
    pub(super) fn node(self, entry: Entry<'_>, level: u8, collection: &str) -> Result<Arc<Node>> {
        if let Some(node) = self.cache.get(entry.node, &entry.version) {
            return Ok(node);
        }
        let key = entry.node.to_be_bytes();
        let value = self
            .records
            .get(INDEX, &key)?
            .filter(|value| version(value) == Some(entry.version))
            .ok_or_else(|| damaged_index(collection))?;
        let node: Node = self.seal.open(INDEX, &key, value).map_err(|error| match error {
            E2eeError::Corrupt { .. } => damaged_index(collection),
            other => other,
        })?;
        if node.level() != level {
            return Err(damaged_index(collection));
        }
        let node = Arc::new(node);
        self.cache.insert(entry.node, entry.version, node.clone());
        Ok(node)
    }
}
