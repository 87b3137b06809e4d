//! What the store must hold: notices records that are missing, too many, or put back to an
//! earlier state, which no encryption of single records can show.
//!
//! Each collection has a tree (a Merkle tree in the shape of a B+ tree) over the keys of its
//! records. Its leaves list keys, in their order, each with the version of its record: the tag of
//! the record's encryption, which no earlier or later state shares. Its other nodes list their
//! children, each with the version of its node. Nodes are records of their own, encrypted as all
//! others are, and the manifest has the versions of the roots: so each record and each node is
//! vouched for by the one above it, and what is read to check one record is a path of the tree.
//!
//! A set is a tree without records: its keys are all that it holds.
//!
//! A node that was read is known by its ID and version for good: it never changes, the next commit
//! writes another one under its ID. So whoever reads needs no lock (`find`), and what was verified
//! stays so (`cache`).

mod cache;
mod change;
mod find;
mod node;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

pub(super) use cache::NodeCache;
pub(super) use change::{IndexChange, NewVersion};
pub(super) use find::{Index, Range, Stretch, damaged_index};

pub(super) const VERSION_LENGTH: usize = 16;

/// Tells the states of one record apart: the tag of its encryption.
pub(super) type Version = [u8; VERSION_LENGTH];

/// No record's version: what is stored under the key is not to be believed.
pub(super) const DOUBTFUL: Version = [0; VERSION_LENGTH];

/// In place of a record's version, that of a member of a set, which has no record: the tree is all
/// there is of it.
pub(super) const MEMBER: Version = [1; VERSION_LENGTH];

/// The version of a stored value.
pub(super) fn version(value: &[u8]) -> Option<Version> {
    value.last_chunk().copied()
}

/// The tree of one collection, as the manifest knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Root {
    node: u64,
    version: ByteArray<VERSION_LENGTH>,
    /// The root's level; leaves have level 0.
    level: u8,
}
