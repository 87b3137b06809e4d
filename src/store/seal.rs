//! The form of a stored value: nonce, then XChaCha20-Poly1305 over one format byte and the
//! MessagePack of the record with its field names.
//!
//! The associated data are the collection, the key and the format of the encryption: a record
//! that was moved to another place does not decrypt. vodozemac's own pickle encryption is
//! deterministic and has no part in this (P6).

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, Tag, XChaCha20Poly1305, XNonce};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::collections;
use super::secret_buffer::SecretBuffer;
use crate::error::{E2eeError, Result};

pub(super) const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
/// The format of keys, nonces and associated data.
const SEAL_FORMAT: u8 = 1;
/// Room for most records; larger ones grow.
const USUAL_RECORD: usize = 1024;

/// A record ready to be sealed: room for the nonce, the format, the MessagePack.
pub(super) fn serialise<T: Serialize + ?Sized>(
    collection: &str,
    value: &T,
) -> Result<Zeroizing<Vec<u8>>> {
    let mut buffer = SecretBuffer::with_capacity(USUAL_RECORD);
    buffer.extend(&[0; NONCE_LENGTH]);
    buffer.extend(&[collections::format(collection)]);
    rmp_serde::encode::write_named(&mut buffer, value).map_err(|_| {
        E2eeError::store_io(format!("a record of \"{collection}\" could not be serialised"))
    })?;
    Ok(buffer.into_inner())
}

/// What no two states of any records share: the nonce and the tag of a stored value.
pub(super) fn state(value: &[u8]) -> Option<[u8; NONCE_LENGTH + TAG_LENGTH]> {
    let mut state = [0; NONCE_LENGTH + TAG_LENGTH];
    let (nonce, tag) = state.split_first_chunk_mut::<NONCE_LENGTH>()?;
    *nonce = *value.first_chunk()?;
    tag.copy_from_slice(value.last_chunk::<TAG_LENGTH>()?);
    Some(state)
}

/// Nonces in any number, from a random one: their last eight bytes count on from there.
pub(super) struct Nonces(XNonce);

impl Nonces {
    pub(super) fn after(first: &[u8]) -> Result<Self> {
        let first = first.try_into().map_err(|_| E2eeError::panic("a nonce has another length"))?;
        Ok(Self(first))
    }

    pub(super) fn draw(&mut self) -> XNonce {
        if let Some(count) = self.0.last_chunk_mut::<8>() {
            *count = u64::from_be_bytes(*count).wrapping_add(1).to_be_bytes();
        }
        self.0
    }
}

/// Encrypts and decrypts values.
pub(super) struct Seal(XChaCha20Poly1305);

impl Seal {
    pub(super) fn new(cipher: XChaCha20Poly1305) -> Self {
        Self(cipher)
    }

    /// Encrypts in place: the ciphertext overwrites the plaintext.
    pub(super) fn close(
        &self,
        collection: &str,
        key: &[u8],
        mut value: Zeroizing<Vec<u8>>,
        nonce: &[u8],
    ) -> Result<Vec<u8>> {
        let failed = || E2eeError::panic("a record could not be encrypted");
        let (space, plaintext) = value.split_at_mut_checked(NONCE_LENGTH).ok_or_else(failed)?;
        let nonce: &XNonce = nonce.try_into().map_err(|_| failed())?;
        space.copy_from_slice(nonce);
        let associated_data = associated_data(collection, key);
        let tag = self
            .0
            .encrypt_inout_detached(nonce, &associated_data, InOutBuf::from(plaintext))
            .map_err(|_| failed())?;
        let mut ciphertext = std::mem::take(&mut *value);
        ciphertext.extend_from_slice(&tag);
        Ok(ciphertext)
    }

    /// Decrypts a value to what `close` takes: room for the nonce, then the plaintext.
    pub(super) fn reopen(
        &self,
        collection: &str,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut value = Zeroizing::new(value);
        self.decrypt(collection, key, &mut value)?;
        let length = value.len().saturating_sub(TAG_LENGTH);
        value.truncate(length);
        Ok(value)
    }

    /// Decrypts in place; gives the plaintext.
    fn decrypt<'a>(&self, collection: &str, key: &[u8], value: &'a mut [u8]) -> Result<&'a [u8]> {
        let damaged = || damaged(collection);
        let (nonce, rest) = value.split_at_mut_checked(NONCE_LENGTH).ok_or_else(damaged)?;
        let length = rest.len().checked_sub(TAG_LENGTH).ok_or_else(damaged)?;
        let (plaintext, tag) = rest.split_at_mut_checked(length).ok_or_else(damaged)?;
        let nonce: &XNonce = (&*nonce).try_into().map_err(|_| damaged())?;
        let tag: &Tag = (&*tag).try_into().map_err(|_| damaged())?;
        let associated_data = associated_data(collection, key);
        self.0
            .decrypt_inout_detached(nonce, &associated_data, InOutBuf::from(&mut *plaintext), tag)
            .map_err(|_| damaged())?;
        Ok(plaintext)
    }

    pub(super) fn open<T: DeserializeOwned>(
        &self,
        collection: &str,
        key: &[u8],
        value: Vec<u8>,
    ) -> Result<T> {
        let mut value = Zeroizing::new(value);
        read(collection, self.decrypt(collection, key, &mut value)?)
    }
}

/// Reads what `serialise` has written.
pub(super) fn deserialise<T: DeserializeOwned>(collection: &str, value: &[u8]) -> Result<T> {
    read(collection, value.get(NONCE_LENGTH..).unwrap_or_default())
}

/// Reads a plaintext: the format, the MessagePack.
fn read<T: DeserializeOwned>(collection: &str, plaintext: &[u8]) -> Result<T> {
    let supported = collections::format(collection);
    match plaintext.split_first() {
        Some((&format, _)) if format > supported => Err(E2eeError::NewerFormat {
            detail: format!(
                "a record of \"{collection}\" was written by a newer version of this library"
            ),
            found: u32::from(format),
            supported: u32::from(supported),
        }),
        // Their readers know all former formats.
        Some((&format, record)) if format > 0 => {
            rmp_serde::from_slice(record).map_err(|_| damaged(collection))
        }
        _ => Err(damaged(collection)),
    }
}

pub(super) fn damaged(collection: &str) -> E2eeError {
    E2eeError::corrupt(format!("a record of \"{collection}\" is damaged"))
}

fn associated_data(collection: &str, key: &[u8]) -> Vec<u8> {
    let length = collection.len().saturating_add(key.len()).saturating_add(9);
    let mut data = Vec::with_capacity(length);
    data.extend_from_slice(&(collection.len() as u64).to_be_bytes());
    data.extend_from_slice(collection.as_bytes());
    data.extend_from_slice(key);
    data.push(SEAL_FORMAT);
    data
}
