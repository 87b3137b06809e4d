//! libolm's pickle format, written, for more pickles than a fixture holds and for damaged ones that
//! have a good MAC. (The sources of libolm: `src/cipher.cpp`, `src/pickle.cpp`,
//! `src/inbound_group_session.c`.)
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing)]

use aes::Aes256;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use vodozemac::megolm::GroupSession;

const MAC_LENGTH: usize = 8;

struct Keys {
    aes: [u8; 32],
    mac: [u8; 32],
    iv: [u8; 16],
}

fn keys(pickle_key: &[u8]) -> Keys {
    let mut bytes = [0; 80];
    hkdf::Hkdf::<Sha256>::new(None, pickle_key).expand(b"Pickle", &mut bytes).unwrap();
    Keys {
        aes: bytes[..32].try_into().unwrap(),
        mac: bytes[32..64].try_into().unwrap(),
        iv: bytes[64..].try_into().unwrap(),
    }
}

fn mac(keys: &Keys, ciphertext: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&keys.mac).unwrap();
    mac.update(ciphertext);
    mac.finalize().into_bytes()[..MAC_LENGTH].to_vec()
}

/// A pickle of these bytes.
pub fn seal(plaintext: &[u8], pickle_key: &[u8]) -> String {
    let keys = keys(pickle_key);
    let cipher = cbc::Encryptor::<Aes256>::new(&keys.aes.into(), &keys.iv.into());
    let mut pickle = cipher.encrypt_padded_vec::<Pkcs7>(plaintext);
    let mac = mac(&keys, &pickle);
    pickle.extend(mac);
    vodozemac::base64_encode(pickle)
}

/// The bytes in a pickle.
pub fn open(pickle: &str, pickle_key: &[u8]) -> Vec<u8> {
    let keys = keys(pickle_key);
    let pickle = vodozemac::base64_decode(pickle).unwrap();
    let (ciphertext, found) = pickle.split_at(pickle.len() - MAC_LENGTH);
    assert_eq!(found, mac(&keys, ciphertext));
    let cipher = cbc::Decryptor::<Aes256>::new(&keys.aes.into(), &keys.iv.into());
    cipher.decrypt_padded_vec::<Pkcs7>(ciphertext).unwrap()
}

/// The receiving half of a session at its current index, as libolm would pickle it.
pub fn inbound_pickle(session: &GroupSession, pickle_key: &[u8]) -> String {
    // Version, index, ratchet, public key, signature.
    let key = session.session_key().to_bytes();
    let (index, ratchet, public_key) = (&key[1..5], &key[5..133], &key[133..165]);
    let mut plaintext = 2_u32.to_be_bytes().to_vec();
    for _ in 0..2 {
        plaintext.extend(ratchet);
        plaintext.extend(index);
    }
    plaintext.extend(public_key);
    plaintext.push(1);
    seal(&plaintext, pickle_key)
}
