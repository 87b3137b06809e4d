//! What all of libolm's pickles are wrapped in: AES-256-CBC and a MAC, with keys that HKDF derives
//! from the pickle key (libolm: `src/cipher.cpp`, `src/pickle_encoding.c`).

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::base::json::{decode_base64, encode_base64};
use crate::error::{E2eeError, Result};

pub(super) const MAC_LENGTH: usize = 8;
pub(super) const BLOCK_LENGTH: usize = 16;

struct Keys {
    aes: Zeroizing<[u8; 32]>,
    mac: Zeroizing<[u8; 32]>,
    iv: [u8; BLOCK_LENGTH],
}

impl Keys {
    fn new(pickle_key: &[u8]) -> Result<Self> {
        let wrong = |_| E2eeError::panic("the keys of a pickle cannot be derived");
        let mut keys =
            Self { aes: Zeroizing::default(), mac: Zeroizing::default(), iv: Default::default() };
        let mut bytes = Zeroizing::new([0; 32 + 32 + BLOCK_LENGTH]);
        let derived = Hkdf::<Sha256>::new(None, pickle_key);
        derived.expand(b"Pickle", &mut *bytes).map_err(wrong)?;
        let (aes, rest) = bytes.split_at(32);
        let (mac, iv) = rest.split_at(32);
        keys.aes.copy_from_slice(aes);
        keys.mac.copy_from_slice(mac);
        keys.iv.copy_from_slice(iv);
        Ok(keys)
    }

    fn mac(&self, ciphertext: &[u8]) -> Result<Hmac<Sha256>> {
        let wrong = |_| E2eeError::panic("the MAC of a pickle takes another key");
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.mac).map_err(wrong)?;
        mac.update(ciphertext);
        Ok(mac)
    }
}

/// The bytes in a pickle. `None` if it cannot be one, whatever the key.
pub(super) fn open(pickle: &str, pickle_key: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let wrong_key = || E2eeError::wrong_key("the pickle key does not fit the pickle");
    let digits = pickle.trim_end_matches('=').len();
    let length = digits.saturating_mul(3).checked_div(4).unwrap_or_default();
    let length = length.saturating_sub(MAC_LENGTH);
    if length == 0 || !length.is_multiple_of(BLOCK_LENGTH) {
        return Ok(None);
    }
    let mut bytes = Zeroizing::new(decode_base64("pickle", pickle)?);
    let keys = Keys::new(pickle_key)?;
    let (ciphertext, mac) = bytes.split_at_mut_checked(length).ok_or_else(wrong_key)?;
    // In constant time (SEC-109).
    keys.mac(ciphertext)?.verify_truncated_left(mac).map_err(|_| wrong_key())?;
    let cipher = cbc::Decryptor::<Aes256>::new((&*keys.aes).into(), (&keys.iv).into());
    let length = cipher.decrypt_padded::<Pkcs7>(ciphertext).map_err(|_| wrong_key())?.len();
    bytes.truncate(length);
    Ok(Some(bytes))
}

/// A pickle of these bytes, for vodozemac to open at once: not to be kept anywhere.
pub(super) fn seal(plaintext: &[u8], pickle_key: &[u8]) -> Result<String> {
    let wrong = || E2eeError::panic("a pickle cannot be written");
    let keys = Keys::new(pickle_key)?;
    let room = plaintext.len().saturating_add(BLOCK_LENGTH + MAC_LENGTH);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    bytes.extend_from_slice(plaintext);
    bytes.resize(plaintext.len().saturating_add(BLOCK_LENGTH), 0);
    let cipher = cbc::Encryptor::<Aes256>::new((&*keys.aes).into(), (&keys.iv).into());
    let sealed = cipher.encrypt_padded::<Pkcs7>(&mut bytes, plaintext.len());
    let length = sealed.map_err(|_| wrong())?.len();
    bytes.truncate(length);
    let mac = keys.mac(&bytes)?.finalize().into_bytes();
    bytes.extend_from_slice(mac.get(..MAC_LENGTH).unwrap_or_default());
    Ok(encode_base64(&*bytes))
}
