//! Changing the trees: only what lies on the way to the records that change is written anew.

use std::collections::HashMap;
use std::sync::Arc;

use serde_bytes::ByteArray;

use super::cache::NodeCache;
use super::find::{Bounds, Index};
use super::node::{Entry, Node};
use super::{Root, Version, version};
use crate::error::{E2eeError, Result};
use crate::store::collections::{INDEX, is_set};
use crate::store::record_store::Change;
use crate::store::seal::{self, Nonces, Seal};

/// How many records a leaf has at most, and how many children another node. SQLite keeps a record
/// of up to 1,000 bytes in one page, with others: so many fit, as keys and separators are stored
/// without what they share with their neighbours. Larger nodes cost a commit more than they save.
const MOST_RECORDS: usize = 20;
const MOST_CHILDREN: usize = 36;
/// What has fewer is joined with its neighbour.
const FEW: usize = 6;
/// How many records a scan asks for.
const PAGE: usize = 256;

fn most(level: u8) -> usize {
    if level == 0 { MOST_RECORDS } else { MOST_CHILDREN }
}

/// What becomes of a record: its next version, or `None` if it is deleted.
pub(in crate::store) type NewVersion<'a> = (&'a [u8], Option<Version>);

/// The trees as they will be after a commit.
pub(in crate::store) struct IndexChange<'a> {
    index: Index<'a>,
    /// The ID of the next new node.
    next_node: u64,
    /// The nodes that change. `None`: it is deleted. Their parents know their versions only when
    /// they are encrypted.
    changed: HashMap<u64, Option<Arc<Node>>>,
    encrypted: HashMap<u64, Version>,
}

impl<'a> IndexChange<'a> {
    pub(in crate::store) fn new(index: Index<'a>, next_node: u64) -> Self {
        Self { index, next_node, changed: HashMap::new(), encrypted: HashMap::new() }
    }

    pub(in crate::store) fn next_node(&self) -> u64 {
        self.next_node
    }

    /// Takes what another change, which began where this one ends, has done.
    pub(in crate::store) fn absorb(&mut self, later: Self) {
        self.next_node = later.next_node;
        self.changed.extend(later.changed);
    }

    /// Changes the tree of a collection. `changes`: in the order of the keys, each once.
    pub(in crate::store) fn change(
        &mut self,
        root: Option<Root>,
        collection: &str,
        changes: &[NewVersion<'_>],
    ) -> Result<Option<Root>> {
        let (mut level, mut list) = match root {
            Some(Root { node, version, level }) => {
                let entry = Entry { key: &[], version: *version, node };
                (level, self.change_node(entry, level, Bounds::ALL, collection, changes)?)
            }
            None => (0, self.place(&[], merged(&Node::new(0), changes), None)),
        };
        while list.len() > 1 {
            level = level.saturating_add(1);
            list = self.place(&[], list, None);
        }
        let Some(mut root) = list.entry(0) else { return Ok(None) };
        // A root with one child is none.
        let mut node;
        while level > 0 {
            node = self.node(root, level, collection)?;
            if node.len() != 1 {
                break;
            }
            self.changed.insert(root.node, None);
            level = level.saturating_sub(1);
            root = node.entry(0).ok_or_else(|| super::damaged_index(collection))?;
            let Entry { version, node, .. } = root;
            root = Entry { key: &[], version, node };
        }
        Ok(Some(Root { node: root.node, version: ByteArray::new(root.version), level }))
    }

    /// Changes what is below an entry; gives the entries that take its place.
    fn change_node(
        &mut self,
        entry: Entry<'_>,
        level: u8,
        bounds: Bounds<'_>,
        collection: &str,
        changes: &[NewVersion<'_>],
    ) -> Result<Node> {
        let node = match self.node(entry, level, collection) {
            Err(E2eeError::Corrupt { .. }) if self.are_all(bounds, collection, changes)? => {
                return Ok(self.replace(entry, level, changes));
            }
            other => other?,
        };
        let Some(level_below) = level.checked_sub(1) else {
            let changed = merged(&node, changes);
            return Ok(self.place_if_changed(entry, &node, changed));
        };
        let mut changed = Node::new(level);
        let mut rest = changes;
        for (at, child) in node.entries().enumerate() {
            let count = node
                .key(at.saturating_add(1))
                .map_or(rest.len(), |next| rest.partition_point(|(key, _)| *key < next));
            let (here, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = others;
            if here.is_empty() {
                changed.push(child);
            } else {
                let bounds = bounds.of_child(&node, at);
                let list = self.change_node(child, level_below, bounds, collection, here)?;
                list.entries().for_each(|entry| changed.push(entry));
            }
        }
        let changed = self.join_few(changed, collection)?;
        Ok(self.place_if_changed(entry, &node, changed))
    }

    /// Whether no record that is stored between the bounds keeps its version. Then a damaged node
    /// is no loss.
    fn are_all(
        &self,
        bounds: Bounds<'_>,
        collection: &str,
        changes: &[NewVersion<'_>],
    ) -> Result<bool> {
        // Of its members nothing else is left.
        if is_set(collection) {
            return Ok(false);
        }
        let is_changed =
            |key: &[u8]| changes.binary_search_by(|(known, _)| (*known).cmp(key)).is_ok();
        let is_beyond = |key: &[u8]| bounds.end.is_some_and(|end| key >= end);
        let mut after = bounds.from.to_vec();
        // A scan gives what is behind a key. No record has an empty one.
        let is_kept = !after.is_empty() && !is_changed(&after);
        if is_kept && self.index.records.get(collection, &after)?.is_some() {
            return Ok(false);
        }
        loop {
            let page = self.index.records.scan(collection, Some(&after), PAGE)?;
            let is_last = page.len() < PAGE;
            for entry in page {
                if is_beyond(&entry.key) {
                    return Ok(true);
                }
                if !is_changed(&entry.key) {
                    return Ok(false);
                }
                after = entry.key;
            }
            if is_last {
                return Ok(true);
            }
        }
    }

    /// Writes a damaged node and all that was below it anew.
    fn replace(&mut self, entry: Entry<'_>, level: u8, changes: &[NewVersion<'_>]) -> Node {
        let mut list = self.place(entry.key, merged(&Node::new(0), changes), Some(entry.node));
        for _ in 0..level {
            list = self.place(entry.key, list, None);
        }
        list
    }

    /// Joins children that have become few with their neighbours.
    fn join_few(&mut self, list: Node, collection: &str) -> Result<Node> {
        let Some(level) = list.level().checked_sub(1) else { return Ok(list) };
        let mut joined = Node::new(list.level());
        // The one that was pushed last, which may still be joined with the next.
        let mut held: Option<(Vec<u8>, u64, Version)> = None;
        let is_few = |changed: &HashMap<u64, Option<Arc<Node>>>, id: u64| matches!(changed.get(&id), Some(Some(node)) if node.len() < FEW);
        for next in list.entries() {
            let Some((key, node, version)) = held.take() else {
                held = Some((next.key.to_vec(), next.node, next.version));
                continue;
            };
            let before = Entry { key: &key, version, node };
            let join = is_few(&self.changed, before.node) || is_few(&self.changed, next.node);
            let pair = if join { self.pair(before, next, level, collection)? } else { None };
            let Some(pair) = pair else {
                joined.push(before);
                held = Some((next.key.to_vec(), next.node, next.version));
                continue;
            };
            self.changed.insert(next.node, None);
            let placed = self.place(before.key, pair, Some(before.node));
            for (at, entry) in placed.entries().enumerate() {
                if at.saturating_add(1) == placed.len() {
                    held = Some((entry.key.to_vec(), entry.node, entry.version));
                } else {
                    joined.push(entry);
                }
            }
        }
        if let Some((key, node, version)) = held {
            joined.push(Entry { key: &key, version, node });
        }
        Ok(joined)
    }

    /// The entries of two neighbours; `None` if one cannot be read, which is its own problem.
    fn pair(
        &self,
        left: Entry<'_>,
        right: Entry<'_>,
        level: u8,
        collection: &str,
    ) -> Result<Option<Node>> {
        let mut nodes = [None, None];
        for (place, entry) in nodes.iter_mut().zip([left, right]) {
            *place = match self.node(entry, level, collection) {
                Err(E2eeError::Corrupt { .. }) => return Ok(None),
                other => Some(other?),
            };
        }
        let [Some(first), Some(second)] = nodes else { return Ok(None) };
        let mut pair = Node::clone(&first);
        for (at, entry) in second.entries().enumerate() {
            // What the first child's separator leaves out is in its parent's.
            let key = if at == 0 && level > 0 { right.key } else { entry.key };
            pair.push(Entry { key, ..entry });
        }
        Ok(Some(pair))
    }

    fn place_if_changed(&mut self, entry: Entry<'_>, former: &Node, node: Node) -> Node {
        let is_same = node == *former
            && !node
                .entries()
                .any(|child| node.level() > 0 && self.changed.contains_key(&child.node));
        if is_same && !self.changed.contains_key(&entry.node) {
            let mut list = Node::new(node.level().saturating_add(1));
            list.push(entry);
            return list;
        }
        self.place(entry.key, node, Some(entry.node))
    }

    /// Puts entries into as many nodes as they need, of which the first has a former node's ID;
    /// gives the entries that lead to them. `key`: the separator of the first.
    fn place(&mut self, key: &[u8], node: Node, mut former: Option<u64>) -> Node {
        let level = node.level();
        let mut list = Node::new(level.saturating_add(1));
        let (count, most) = (node.len(), most(level));
        if count == 0 {
            former.into_iter().for_each(|id| drop(self.changed.insert(id, None)));
            return list;
        }
        // With room to grow, if there are several.
        let pieces = if count <= most { 1 } else { count.div_ceil(most.saturating_mul(3) / 4) };
        let size = count.div_ceil(pieces);
        let mut entries = node.entries();
        let mut before: &[u8] = &[];
        let mut separator = key.to_vec();
        loop {
            let mut piece = Node::new(level);
            for entry in entries.by_ref().take(size) {
                if piece.len() == 0 && list.len() > 0 {
                    separator = shortest_between(before, entry.key, level);
                }
                before = entry.key;
                piece.push(entry);
            }
            if piece.len() == 0 {
                return list;
            }
            let id = former.take().unwrap_or_else(|| {
                let id = self.next_node;
                self.next_node = id.saturating_add(1);
                id
            });
            list.push(Entry { key: &separator, version: super::DOUBTFUL, node: id });
            self.changed.insert(id, Some(Arc::new(piece)));
        }
    }

    fn node(&self, entry: Entry<'_>, level: u8, collection: &str) -> Result<Arc<Node>> {
        match self.changed.get(&entry.node) {
            Some(Some(node)) => Ok(node.clone()),
            Some(None) => Err(super::damaged_index(collection)),
            None => self.index.node(entry, level, collection),
        }
    }

    /// Encrypts the nodes that change, from the leaves up, and adds them to a commit.
    pub(in crate::store) fn encrypt(
        &mut self,
        seal: &Seal,
        nonces: &mut Nonces,
        commit: &mut Vec<Change>,
    ) -> Result<()> {
        let mut ids: Vec<_> = self
            .changed
            .iter()
            .map(|(id, node)| (node.as_ref().map_or(0, |node| node.level()), *id))
            .collect();
        ids.sort_unstable();
        for (_, id) in ids {
            let key = id.to_be_bytes();
            let Some(Some(node)) = self.changed.get_mut(&id) else {
                commit.push(Change { collection: INDEX, key: key.to_vec(), value: None });
                continue;
            };
            let node = Arc::make_mut(node);
            for at in 0..if node.level() == 0 { 0 } else { node.len() } {
                let child = node.entry(at).map(|child| child.node);
                if let Some(version) = child.and_then(|child| self.encrypted.get(&child)) {
                    node.set_version(at, *version);
                }
            }
            let value = seal.close(INDEX, &key, seal::serialise(INDEX, node)?, &nonces.draw())?;
            let version = version(&value).ok_or_else(|| super::damaged_index(INDEX))?;
            self.encrypted.insert(id, version);
            commit.push(Change { collection: INDEX, key: key.to_vec(), value: Some(value) });
        }
        Ok(())
    }

    /// The root as it was encrypted.
    pub(in crate::store) fn finished(&self, root: Root) -> Root {
        let version = self.encrypted.get(&root.node).map_or(root.version, |v| ByteArray::new(*v));
        Root { version, ..root }
    }

    /// The commit is made: its nodes need not be read again.
    pub(in crate::store) fn remember(self, cache: &NodeCache) {
        for (id, node) in self.changed {
            if let (Some(node), Some(version)) = (node, self.encrypted.get(&id)) {
                cache.insert(id, *version, node);
            }
        }
    }
}

/// The records of a leaf after a change.
fn merged(leaf: &Node, changes: &[NewVersion<'_>]) -> Node {
    let mut merged = Node::new(0);
    let mut known = leaf.entries().peekable();
    for (key, version) in changes {
        while let Some(entry) = known.next_if(|entry| entry.key < *key) {
            merged.push(entry);
        }
        known.next_if(|entry| entry.key == *key);
        if let Some(version) = version {
            merged.push(Entry { key, version: *version, node: 0 });
        }
    }
    known.for_each(|entry| merged.push(entry));
    merged
}

/// A separator: greater than what is before it, and not greater than what follows.
fn shortest_between(before: &[u8], after: &[u8], level: u8) -> Vec<u8> {
    if level > 0 {
        return after.to_vec();
    }
    let shared = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    after.get(..shared.saturating_add(1)).unwrap_or(after).to_vec()
}
