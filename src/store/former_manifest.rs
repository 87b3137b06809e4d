//! What vouched for the records of a store of format 2, until they are in the index.
//!
//! Each record had an element: a keyed hash of its place and of the nonce and tag of its
//! encryption. The manifest had, for each collection, how many records there are and the exclusive
//! or of their elements (an incremental multiset hash: Clarke, Devadas, van Dijk, Gassend, Suh,
//! "Incremental Multiset Hash Functions and Their Application to Memory Integrity Checking",
//! ASIACRYPT 2003).

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::Sha256;

use super::collections::HEADER;
use super::header::{self, Header};
use crate::error::{E2eeError, Result};

const LENGTH: usize = 16;

/// The hash of one state of one record.
pub(super) type Element = [u8; LENGTH];

/// Makes elements.
pub(super) struct ElementHash(Hmac<Sha256>);

impl ElementHash {
    pub(super) fn new(keyed: Hmac<Sha256>) -> Self {
        Self(keyed)
    }

    /// The element of a record; `state` differs for each of its states.
    pub(super) fn element(&self, collection: &str, key: &[u8], state: &[u8]) -> Element {
        let mut hash = self.0.clone();
        for part in [collection.as_bytes(), key] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(state);
        let whole: [u8; 32] = hash.finalize().into_bytes().into();
        let mut element = [0; LENGTH];
        element.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        element
    }
}

/// The manifest of format 2.
#[derive(Deserialize)]
pub(super) struct FormerManifest {
    pub(super) revision: u64,
    header: ByteArray<LENGTH>,
    pub(super) collections: BTreeMap<String, Sum>,
}

impl FormerManifest {
    pub(super) fn check_header(&self, header: &Header, hash: &ElementHash) -> Result<()> {
        if *self.header == hash.element(HEADER, header::KEY, header.digest()) {
            Ok(())
        } else {
            Err(E2eeError::corrupt("the header of the store is not the one written last"))
        }
    }
}

/// How many records there are, and the sum of their elements.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    count: u64,
    elements: ByteArray<LENGTH>,
}

impl Sum {
    pub(super) fn add(&mut self, element: &Element) {
        self.count = self.count.wrapping_add(1);
        self.flip(element);
    }

    pub(super) fn subtract(&mut self, element: &Element) {
        self.count = self.count.wrapping_sub(1);
        self.flip(element);
    }

    fn flip(&mut self, element: &Element) {
        self.elements.iter_mut().zip(element).for_each(|(sum, byte)| *sum ^= byte);
    }
}

/// The records of a collection that are not in the index yet: all behind a key.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Unconverted {
    pub(super) after: ByteBuf,
    /// What they add up to; format 1 did not say.
    pub(super) sum: Option<Sum>,
}
