//! The header of a vault: its data key, wrapped under the user's key.
//!
//! The one record that is not encrypted as the others are. Changing the user's
//! key rewrites it and nothing else.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::collections::HEADER;
use super::record_key::KeyHash;
use super::record_store::{Change, Durability, RecordStore};
use crate::environment::RandomBytes;
use crate::error::{E2eeError, Result};

/// The format of keys, nonces and associated data; a header has the same number.
pub(super) const VAULT_FORMAT: u8 = 1;

const KEY: &[u8] = b"header";
const KEY_LENGTH: usize = 32;
/// The data key is wrapped under the user's 32 bytes as they are. A passphrase
/// will be another kind, with parameters in fields of their own.
const KIND_RAW: &str = "raw";
/// Binds the wrapped key to its purpose and its kind.
const ASSOCIATED_DATA: &[u8] = b"libmatrixe2ee store header 1 raw";

type DataKey = Box<Zeroizing<[u8; KEY_LENGTH]>>;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    kind: String,
    #[serde(with = "serde_bytes")]
    nonce: Vec<u8>,
    #[serde(with = "serde_bytes")]
    wrapped_key: Vec<u8>,
}

/// What every header of any format has.
#[derive(Deserialize)]
struct HeaderFormat {
    format: u32,
}

/// The keys at work, derived from the data key.
pub(super) struct Subkeys {
    pub(super) cipher: XChaCha20Poly1305,
    pub(super) key_hash: KeyHash,
}

/// The data key of a store; a new one if the store is empty.
pub(super) fn open_or_create(
    records: &dyn RecordStore,
    key: &[u8],
    random: &dyn RandomBytes,
) -> Result<DataKey> {
    let wrapping = cipher(key)?;
    match records.get(HEADER, KEY)? {
        Some(header) => unwrap_key(&wrapping, &read(&header)?),
        None if records.is_empty()? => create(records, &wrapping, random),
        None => Err(E2eeError::corrupt("the store has records but no header")),
    }
}

pub(super) fn derive_subkeys(data_key: &[u8; KEY_LENGTH]) -> Result<Subkeys> {
    let failed = || E2eeError::panic("the keys of the store could not be derived");
    let derivation = Hkdf::<Sha256>::new(None, data_key);
    let mut subkey = Zeroizing::new([0; KEY_LENGTH]);
    derivation
        .expand(b"libmatrixe2ee store values 1", subkey.as_mut_slice())
        .map_err(|_| failed())?;
    let cipher = cipher(subkey.as_slice())?;
    derivation
        .expand(b"libmatrixe2ee store keys 1", subkey.as_mut_slice())
        .map_err(|_| failed())?;
    let keyed = Hmac::new_from_slice(subkey.as_slice()).map_err(|_| failed())?;
    let key_hash = KeyHash::new(keyed);
    Ok(Subkeys { cipher, key_hash })
}

fn create(
    records: &dyn RecordStore,
    wrapping: &XChaCha20Poly1305,
    random: &dyn RandomBytes,
) -> Result<DataKey> {
    let failed = || E2eeError::panic("the header of the store could not be made");
    let mut data_key = Box::new(Zeroizing::new([0; KEY_LENGTH]));
    random.fill(data_key.as_mut_slice())?;
    let mut nonce = XNonce::default();
    random.fill(&mut nonce)?;
    let mut wrapped = data_key.clone();
    let tag = wrapping
        .encrypt_inout_detached(&nonce, ASSOCIATED_DATA, InOutBuf::from(wrapped.as_mut_slice()))
        .map_err(|_| failed())?;
    let header = Header {
        format: u32::from(VAULT_FORMAT),
        kind: KIND_RAW.to_owned(),
        nonce: nonce.to_vec(),
        wrapped_key: [wrapped.as_slice(), tag.as_slice()].concat(),
    };
    let value = Some(rmp_serde::to_vec_named(&header).map_err(|_| failed())?);
    let change = Change { collection: HEADER, key: KEY.to_vec(), value };
    records.commit(vec![change], Durability::Synced)?;
    Ok(data_key)
}

fn read(header: &[u8]) -> Result<Header> {
    let supported = u32::from(VAULT_FORMAT);
    // The format first: the rest of a newer header may look like nothing known.
    let HeaderFormat { format } = rmp_serde::from_slice(header).map_err(|_| damaged())?;
    if format > supported {
        return Err(E2eeError::NewerFormat {
            detail: String::from("the store was written by a newer version of this library"),
            found: format,
            supported,
        });
    }
    let header: Header = rmp_serde::from_slice(header).map_err(|_| damaged())?;
    if header.format == supported && header.kind == KIND_RAW { Ok(header) } else { Err(damaged()) }
}

fn unwrap_key(wrapping: &XChaCha20Poly1305, header: &Header) -> Result<DataKey> {
    let nonce: &XNonce = header.nonce.as_slice().try_into().map_err(|_| damaged())?;
    let (wrapped, tag) = header.wrapped_key.split_at_checked(KEY_LENGTH).ok_or_else(damaged)?;
    let tag: &Tag = tag.try_into().map_err(|_| damaged())?;
    let mut data_key = Box::new(Zeroizing::new([0; KEY_LENGTH]));
    data_key.copy_from_slice(wrapped);
    wrapping
        .decrypt_inout_detached(
            nonce,
            ASSOCIATED_DATA,
            InOutBuf::from(data_key.as_mut_slice()),
            tag,
        )
        .map_err(|_| E2eeError::wrong_key("the key does not open this store"))?;
    Ok(data_key)
}

fn damaged() -> E2eeError {
    E2eeError::corrupt("the header of the store is damaged")
}

/// The cipher of the records, and of the header under the user's key.
pub(super) fn cipher(key: &[u8]) -> Result<XChaCha20Poly1305> {
    XChaCha20Poly1305::new_from_slice(key).map_err(|_| {
        E2eeError::invalid_length(format!("the key of a store has 32 bytes, not {}", key.len()))
    })
}
