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
    /// All keys are strictly greater.
    pub(in crate::store) after: &'a [u8],
    pub(in crate::store) limit: usize,
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

    /// The first records of a range, in the order of their keys.
    pub(in crate::store) fn list(
        self,
        root: Option<&Root>,
        collection: &str,
        range: Range<'_>,
    ) -> Result<Vec<(Vec<u8>, Version)>> {
        let mut found = Vec::new();
        if let Some(root) = root {
            self.list_node(&*self.root(root, collection)?, collection, range, &mut found)?;
        }
        Ok(found)
    }

    /// Says whether the range may go on behind the node.
    fn list_node(
        self,
        node: &Node,
        collection: &str,
        range: Range<'_>,
        found: &mut Vec<(Vec<u8>, Version)>,
    ) -> Result<bool> {
        let is_beyond = |key: &[u8]| key > range.prefix && !key.starts_with(range.prefix);
        let Some(level) = node.level().checked_sub(1) else {
            for Entry { key, version, .. } in
                (node.count_up_to(range.after)..node.len()).filter_map(|at| node.entry(at))
            {
                if is_beyond(key) || found.len() >= range.limit {
                    return Ok(false);
                }
                if key.starts_with(range.prefix) {
                    found.push((key.to_vec(), version));
                }
            }
            return Ok(true);
        };
        let first = node.position_of_child(range.after);
        for at in first..node.len() {
            let child = node.entry(at).ok_or_else(|| damaged_index(collection))?;
            if at > first && (is_beyond(child.key) || found.len() >= range.limit) {
                return Ok(false);
            }
            let child = self.node(child, level, collection)?;
            if !self.list_node(&child, collection, range, found)? {
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
