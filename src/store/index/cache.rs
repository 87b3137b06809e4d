//! Nodes that were read and verified lately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Version;
use super::node::Node;

/// How many nodes each half keeps; all together they take some 10 MB.
const HALF: usize = 2048;

/// Keeps the nodes that were used last: those of the newer half, and those of the older one until
/// the newer is full.
#[derive(Default)]
pub(in crate::store) struct NodeCache(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    newer: Half,
    older: Half,
}

/// By ID. A node is another one in each version.
type Half = HashMap<u64, (Version, Arc<Node>)>;

impl NodeCache {
    pub(super) fn get(&self, id: u64, version: &Version) -> Option<Arc<Node>> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, node)) = halves.newer.get(&id) {
            return (known == version).then(|| node.clone());
        }
        let (known, node) = halves.older.remove(&id)?;
        let found = (known == *version).then(|| node.clone());
        halves.insert(id, known, node);
        found
    }

    pub(super) fn insert(&self, id: u64, version: Version, node: Arc<Node>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, version, node);
    }
}

impl Halves {
    fn insert(&mut self, id: u64, version: Version, node: Arc<Node>) {
        if self.newer.len() >= HALF {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(id, (version, node));
    }
}
