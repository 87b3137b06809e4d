//! Encrypting the records of a commit: on all cores, if they are many.

use super::batch::{Pending, Value};
use super::record_store::Change;
use super::seal::{NONCE_LENGTH, Seal};
use crate::base::parallel;
use crate::error::Result;

/// How many records a thread encrypts in one go.
const AT_ONCE: usize = 64;
/// How many records cost as much as a message.
const WORTH_A_MESSAGE: usize = 16;

/// The changes as they are stored. `nonces`: one after the other, for all records that are not
/// encrypted yet.
pub(super) fn seal_all(seal: &Seal, changes: Vec<Pending>, nonces: &[u8]) -> Result<Vec<Change>> {
    let mut nonces = nonces.chunks_exact(NONCE_LENGTH);
    let puts = nonces.len();
    let mut changes = changes.into_iter().map(|change| {
        let nonce = if matches!(change.value, Value::Plain(_)) { nonces.next() } else { None };
        (change, nonce.unwrap_or_default())
    });
    if puts <= AT_ONCE {
        // With room for the manifest.
        let mut sealed = Vec::with_capacity(changes.len().saturating_add(1));
        for (change, nonce) in changes {
            sealed.push(seal_one(seal, change, nonce)?);
        }
        return Ok(sealed);
    }
    let mut chunks = Vec::new();
    while changes.len() > 0 {
        chunks.push(changes.by_ref().take(AT_ONCE).collect::<Vec<_>>());
    }
    let sealed = parallel::map(chunks, puts / WORTH_A_MESSAGE, |chunk| {
        let work = |(change, nonce)| seal_one(seal, change, nonce);
        chunk.into_iter().map(work).collect::<Result<Vec<_>>>()
    })?;
    let mut all = Vec::new();
    for chunk in sealed {
        all.extend(chunk?);
    }
    Ok(all)
}

fn seal_one(seal: &Seal, Pending { key, value }: Pending, nonce: &[u8]) -> Result<Change> {
    let value = match value {
        Value::Deleted => None,
        Value::Plain(value) => Some(seal.close(key.collection, key.bytes(), value, nonce)?),
        Value::Sealed(value) => Some(value),
    };
    Ok(Change { collection: key.collection, key: key.into_bytes(), value })
}
