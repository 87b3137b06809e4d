//! One node: a sorted list of keys, and what each leads to.

use serde::{Deserialize, Serialize};

use super::{MEMBER, VERSION_LENGTH, Version};

/// In a leaf, one record; in another node, one child, whose keys are not less than this one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) version: Version,
    /// The child's ID.
    pub(super) node: u64,
}

/// In as few pieces of memory as can be, as thousands are kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node {
    /// 0: a leaf.
    level: u8,
    /// All keys, one after the other.
    keys: Vec<u8>,
    /// Where each key ends.
    ends: Vec<u32>,
    versions: Vec<Version>,
    /// The IDs of the children; empty in a leaf.
    children: Vec<u64>,
}

/// A length of so much or more takes two bytes: the first has this bit.
const LONG: u8 = 0x80;

/// The node as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    level: u8,
    /// Of each key: how many bytes it shares with the one before, how many follow, and these.
    #[serde(with = "serde_bytes")]
    keys: Vec<u8>,
    /// Empty if all are members of a set.
    #[serde(with = "serde_bytes")]
    versions: Vec<u8>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    children: Vec<u64>,
}

impl Node {
    pub(super) fn new(level: u8) -> Self {
        Self { level, keys: vec![], ends: vec![], versions: vec![], children: vec![] }
    }

    pub(super) fn level(&self) -> u8 {
        self.level
    }

    pub(super) fn len(&self) -> usize {
        self.versions.len()
    }

    pub(super) fn push(&mut self, entry: Entry<'_>) {
        self.keys.extend_from_slice(entry.key);
        // A node has a few dozen keys of some hundred bytes.
        self.ends.push(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        self.versions.push(entry.version);
        if self.level > 0 {
            self.children.push(entry.node);
        }
    }

    pub(super) fn key(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        self.keys.get(start.unwrap_or(0) as usize..end as usize)
    }

    pub(super) fn entry(&self, at: usize) -> Option<Entry<'_>> {
        let node = self.children.get(at).copied().unwrap_or_default();
        Some(Entry { key: self.key(at)?, version: *self.versions.get(at)?, node })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.len()).filter_map(|at| self.entry(at))
    }

    /// How many keys are not greater than this one.
    pub(super) fn count_up_to(&self, key: &[u8]) -> usize {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            if self.key(middle).is_some_and(|known| known <= key) {
                from = middle.saturating_add(1);
            } else {
                to = middle;
            }
        }
        from
    }

    /// The record of exactly this key.
    pub(super) fn record(&self, key: &[u8]) -> Option<Version> {
        let at = self.count_up_to(key).checked_sub(1)?;
        self.entry(at).filter(|entry| entry.key == key).map(|entry| entry.version)
    }

    /// Which child has this key, if any has.
    pub(super) fn position_of_child(&self, key: &[u8]) -> usize {
        // What is less than all separators is in the first.
        self.count_up_to(key).saturating_sub(1)
    }

    /// Notes the version under which a child will be stored.
    pub(super) fn set_version(&mut self, at: usize, version: Version) {
        self.versions.get_mut(at).into_iter().for_each(|known| *known = version);
    }

    fn pack(&self) -> Stored {
        let mut keys = Vec::with_capacity(self.keys.len());
        let mut before: &[u8] = &[];
        for Entry { key, .. } in self.entries() {
            let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count().min(255);
            let rest = key.get(shared..).unwrap_or_default();
            keys.push(u8::try_from(shared).unwrap_or(255));
            push_length(&mut keys, rest.len());
            keys.extend_from_slice(rest);
            before = key;
        }
        let are_members = self.versions.iter().all(|version| *version == MEMBER);
        let versions = if are_members { Vec::new() } else { self.versions.concat() };
        Stored { level: self.level, keys, versions, children: self.children.clone() }
    }
}

/// No key has 32,768 bytes.
fn push_length(coded: &mut Vec<u8>, length: usize) {
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if high == 0 && low < LONG {
        coded.push(low);
    } else {
        coded.extend([high | LONG, low]);
    }
}

fn take_length(coded: &[u8]) -> Option<(usize, &[u8])> {
    match *coded {
        [high, low, ref more @ ..] if high >= LONG => {
            Some((usize::from(u16::from_be_bytes([high & !LONG, low])), more))
        }
        [length, ref more @ ..] if length < LONG => Some((usize::from(length), more)),
        _ => None,
    }
}

impl Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pack().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        stored.unpack().ok_or_else(|| serde::de::Error::custom("no node"))
    }
}

impl Stored {
    fn unpack(self) -> Option<Node> {
        let (versions, rest) = self.versions.as_chunks::<VERSION_LENGTH>();
        let mut node = Node::new(self.level);
        let mut coded = self.keys.as_slice();
        // Where the key before begins.
        let mut last = 0_usize;
        while let Some((&shared, more)) = coded.split_first() {
            let (length, more) = take_length(more)?;
            let (own, more) = more.split_at_checked(length)?;
            let before = last..last.checked_add(usize::from(shared))?;
            if before.end > node.keys.len() {
                return None;
            }
            last = node.keys.len();
            node.keys.extend_from_within(before);
            node.keys.extend_from_slice(own);
            node.ends.push(u32::try_from(node.keys.len()).ok()?);
            coded = more;
        }
        let are_members = versions.is_empty() && node.level == 0;
        node.versions = if are_members { vec![MEMBER; node.ends.len()] } else { versions.to_vec() };
        node.children = self.children;
        let children = if node.level == 0 { 0 } else { node.len() };
        let fits = node.ends.len() == node.len() && node.children.len() == children;
        (fits && rest.is_empty() && coded.is_empty()).then_some(node)
    }
}
