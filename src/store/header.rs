//! The header of a vault: its data key, wrapped under the user's key or passphrase.
//!
//! The one record that is not encrypted as the others are. Changing the user's key rewrites it
//! and nothing else but the manifest that vouches for it.

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::{AeadInOut, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::collections::HEADER;
use super::record_key::KeyHash;
use super::record_store::{Change, RecordStore};
use super::user_key::{PassphraseParameters, UserKey, cipher};
use crate::base::environment::RandomBytes;
use crate::error::{E2eeError, Result};

/// The newest format of a store. 1 had no manifest and knew keys only, 2 had no index.
pub(super) const STORE_FORMAT: u32 = 3;

pub(super) const KEY: &[u8] = b"header";
const KEY_LENGTH: usize = 32;
const KIND_KEY: &str = "raw";
const KIND_PASSPHRASE: &str = "argon2id";

pub(super) type DataKey = Box<Zeroizing<[u8; KEY_LENGTH]>>;

#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passphrase: Option<PassphraseParameters>,
    #[serde(with = "serde_bytes")]
    nonce: Vec<u8>,
    #[serde(with = "serde_bytes")]
    wrapped_key: Vec<u8>,
    /// SHA-256 of everything above, from format 2 on: tells a damaged header from a wrong key.
    /// It proves nothing; that is the manifest's part.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    digest: Vec<u8>,
}

/// What every header of any format has.
#[derive(Deserialize)]
struct HeaderFormat {
    format: u32,
}

impl Header {
    /// Wraps a data key for a user.
    pub(super) fn wrap(
        data_key: &DataKey,
        user_key: UserKey<'_>,
        random: &dyn RandomBytes,
    ) -> Result<Self> {
        let passphrase = user_key.fresh_parameters(random)?;
        let wrapping = user_key.cipher(passphrase.as_ref())?;
        let mut nonce = XNonce::default();
        random.fill(&mut nonce)?;
        let kind = if passphrase.is_some() { KIND_PASSPHRASE } else { KIND_KEY };
        let mut header = Self {
            format: STORE_FORMAT,
            kind: kind.to_owned(),
            passphrase,
            nonce: nonce.to_vec(),
            wrapped_key: Vec::new(),
            digest: Vec::new(),
        };
        let mut wrapped = data_key.clone();
        let tag = wrapping
            .encrypt_inout_detached(
                &nonce,
                &header.associated_data()?,
                InOutBuf::from(wrapped.as_mut_slice()),
            )
            .map_err(|_| failed())?;
        header.wrapped_key = [wrapped.as_slice(), tag.as_slice()].concat();
        header.digest = header.compute_digest()?;
        Ok(header)
    }

    /// The header of a store, if there is one.
    pub(super) fn find(records: &dyn RecordStore) -> Result<Option<Self>> {
        records.get(HEADER, KEY)?.map(|header| Self::read(&header)).transpose()
    }

    fn read(header: &[u8]) -> Result<Self> {
        // The format first: the rest of a newer header may look like nothing known.
        let HeaderFormat { format } = rmp_serde::from_slice(header).map_err(|_| damaged())?;
        if format > STORE_FORMAT {
            return Err(E2eeError::NewerFormat {
                detail: String::from("the store was written by a newer version of this library"),
                found: format,
                supported: STORE_FORMAT,
            });
        }
        let header: Self = rmp_serde::from_slice(header).map_err(|_| damaged())?;
        let fits_its_format = match header.format {
            1 => header.digest.is_empty() && header.passphrase.is_none(),
            2 | STORE_FORMAT => header.digest == header.compute_digest()?,
            _ => false,
        };
        let fits_its_kind = match header.kind.as_str() {
            KIND_KEY => header.passphrase.is_none(),
            KIND_PASSPHRASE => {
                header.passphrase.as_ref().is_some_and(PassphraseParameters::are_acceptable)
            }
            _ => false,
        };
        if fits_its_format && fits_its_kind { Ok(header) } else { Err(damaged()) }
    }

    pub(super) fn format(&self) -> u32 {
        self.format
    }

    /// What the manifest remembers of a header.
    pub(super) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The record as it is stored.
    pub(super) fn change(&self) -> Result<Change> {
        let value = Some(rmp_serde::to_vec_named(self).map_err(|_| failed())?);
        Ok(Change { collection: HEADER, key: KEY.to_vec(), value })
    }

    pub(super) fn unwrap(&self, user_key: UserKey<'_>) -> Result<DataKey> {
        let wrapping = user_key.cipher(self.passphrase.as_ref())?;
        let nonce: &XNonce = self.nonce.as_slice().try_into().map_err(|_| damaged())?;
        let (wrapped, tag) = self.wrapped_key.split_at_checked(KEY_LENGTH).ok_or_else(damaged)?;
        let tag: &Tag = tag.try_into().map_err(|_| damaged())?;
        let mut data_key = Box::new(Zeroizing::new([0; KEY_LENGTH]));
        data_key.copy_from_slice(wrapped);
        wrapping
            .decrypt_inout_detached(
                nonce,
                &self.associated_data()?,
                InOutBuf::from(data_key.as_mut_slice()),
                tag,
            )
            .map_err(|_| {
                E2eeError::wrong_key(match user_key {
                    UserKey::Key(_) => "the key does not open this store",
                    UserKey::Passphrase(_) => "the passphrase does not open this store",
                })
            })?;
        Ok(data_key)
    }

    /// Binds the wrapped key to its purpose, its kind and its parameters.
    fn associated_data(&self) -> Result<Vec<u8>> {
        if self.format == 1 {
            return Ok(b"libmatrixe2ee store header 1 raw".to_vec());
        }
        let mut data = format!("libmatrixe2ee store header {} ", self.format).into_bytes();
        rmp_serde::encode::write(&mut data, &(&self.kind, &self.passphrase))
            .map_err(|_| failed())?;
        Ok(data)
    }

    pub(super) fn compute_digest(&self) -> Result<Vec<u8>> {
        let data = (self.associated_data()?, &self.nonce, &self.wrapped_key);
        let data = rmp_serde::to_vec(&data).map_err(|_| failed())?;
        Ok(Sha256::digest(data).to_vec())
    }
}

/// A key for a new store.
pub(super) fn draw_data_key(random: &dyn RandomBytes) -> Result<DataKey> {
    let mut data_key = Box::new(Zeroizing::new([0; KEY_LENGTH]));
    random.fill(data_key.as_mut_slice())?;
    Ok(data_key)
}

/// The keys at work, derived from the data key.
pub(super) struct Subkeys {
    pub(super) cipher: XChaCha20Poly1305,
    pub(super) key_hash: KeyHash,
    /// Of format 2, for the elements of its manifest.
    pub(super) manifest: Hmac<Sha256>,
}

impl Subkeys {
    /// The keys of a format. Values of format 1, which had no manifest, have another key, so that
    /// none of them passes for one of today's.
    pub(super) fn derive(data_key: &DataKey, format: u32) -> Result<Self> {
        let derivation = Hkdf::<Sha256>::new(None, data_key.as_slice());
        let expand = |label: &[u8]| -> Result<Zeroizing<[u8; KEY_LENGTH]>> {
            let mut subkey = Zeroizing::new([0; KEY_LENGTH]);
            derivation.expand(label, subkey.as_mut_slice()).map_err(|_| failed())?;
            Ok(subkey)
        };
        let keyed = |label: &[u8]| -> Result<Hmac<Sha256>> {
            Hmac::new_from_slice(expand(label)?.as_slice()).map_err(|_| failed())
        };
        let values: &[u8] = match format {
            1 => b"libmatrixe2ee store values 1",
            _ => b"libmatrixe2ee store values 2",
        };
        Ok(Self {
            cipher: cipher(expand(values)?.as_slice())?,
            key_hash: KeyHash::new(keyed(b"libmatrixe2ee store keys 1")?),
            manifest: keyed(b"libmatrixe2ee store manifest 1")?,
        })
    }
}

fn failed() -> E2eeError {
    E2eeError::panic("the header of the store could not be made")
}

fn damaged() -> E2eeError {
    E2eeError::corrupt("the header of the store is damaged")
}
