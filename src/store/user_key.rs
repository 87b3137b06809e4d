//! What a user opens a store with: 32 bytes, or a passphrase that Argon2id turns into 32 bytes
//! (RFC 9106).

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base::environment::RandomBytes;
use crate::error::{E2eeError, Result};

const KEY_LENGTH: usize = 32;
const SALT_LENGTH: usize = 16;
/// The second recommended choice of RFC 9106, section 4.
const MEMORY_KIB: u32 = 64 * 1024;
const ITERATIONS: u32 = 3;
const LANES: u32 = 4;
/// A header that asks for more is damaged, or made to keep its reader busy (SEC-93's reason).
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_ITERATIONS: u32 = 16;
const MOST_LANES: u32 = 16;
/// Longer passphrases are no stronger.
const LONGEST_PASSPHRASE: usize = 65_536;

/// The user's secret, as it was passed.
#[derive(Clone, Copy)]
pub(crate) enum UserKey<'a> {
    /// 32 random bytes, used as they are.
    Key(&'a [u8]),
    Passphrase(&'a str),
}

/// How a passphrase becomes a key; stored, so that later versions may choose otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PassphraseParameters {
    memory_kib: u32,
    iterations: u32,
    lanes: u32,
    #[serde(with = "serde_bytes")]
    salt: Vec<u8>,
}

impl PassphraseParameters {
    /// Today's choice, with a fresh salt.
    pub(super) fn fresh(random: &dyn RandomBytes) -> Result<Self> {
        let mut salt = vec![0; SALT_LENGTH];
        random.fill(&mut salt)?;
        Ok(Self { memory_kib: MEMORY_KIB, iterations: ITERATIONS, lanes: LANES, salt })
    }

    /// Whether they are such as this library or a later one would write.
    pub(super) fn are_acceptable(&self) -> bool {
        self.memory_kib <= MOST_MEMORY_KIB
            && (1..=MOST_ITERATIONS).contains(&self.iterations)
            && (1..=MOST_LANES).contains(&self.lanes)
            && self.memory_kib >= self.lanes.saturating_mul(8)
            && (SALT_LENGTH..=64).contains(&self.salt.len())
    }

    fn derive(&self, passphrase: &str) -> Result<Zeroizing<[u8; KEY_LENGTH]>> {
        let failed = || E2eeError::panic("the passphrase could not be made into a key");
        let parameters =
            Params::new(self.memory_kib, self.iterations, self.lanes, Some(KEY_LENGTH))
                .map_err(|_| failed())?;
        // Ours, not the crate's, so that it is wiped and a lack of memory is an error.
        let mut memory = Zeroizing::new(Vec::new());
        let blocks = parameters.block_count();
        memory.try_reserve_exact(blocks).map_err(|_| {
            E2eeError::store_io("there is not enough memory to make the passphrase into a key")
        })?;
        memory.resize(blocks, Block::new());
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into_with_memory(
                passphrase.as_bytes(),
                &self.salt,
                key.as_mut_slice(),
                memory.as_mut_slice(),
            )
            .map_err(|_| failed())?;
        Ok(key)
    }
}

impl UserKey<'_> {
    /// Before anything is made for a key or passphrase that cannot open it.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::Key(key) => cipher(key).map(drop),
            Self::Passphrase("") => Err(E2eeError::invalid_length("the passphrase is empty")),
            Self::Passphrase(passphrase) if passphrase.len() > LONGEST_PASSPHRASE => {
                Err(E2eeError::invalid_length(format!(
                    "the passphrase has {} bytes, at most {LONGEST_PASSPHRASE} are accepted",
                    passphrase.len()
                )))
            }
            Self::Passphrase(_) => Ok(()),
        }
    }

    /// The parameters of a new header; a key needs none.
    pub(super) fn fresh_parameters(
        self,
        random: &dyn RandomBytes,
    ) -> Result<Option<PassphraseParameters>> {
        match self {
            Self::Key(_) => Ok(None),
            Self::Passphrase(_) => PassphraseParameters::fresh(random).map(Some),
        }
    }

    /// The cipher that wraps the data key; takes a while for a passphrase.
    pub(super) fn cipher(
        self,
        parameters: Option<&PassphraseParameters>,
    ) -> Result<XChaCha20Poly1305> {
        match (self, parameters) {
            (Self::Key(key), None) => cipher(key),
            (Self::Passphrase(passphrase), Some(parameters)) => {
                cipher(parameters.derive(passphrase)?.as_slice())
            }
            (Self::Key(_), Some(_)) => {
                Err(E2eeError::wrong_key("this store is opened with a passphrase, not with a key"))
            }
            (Self::Passphrase(_), None) => {
                Err(E2eeError::wrong_key("this store is opened with a key, not with a passphrase"))
            }
        }
    }
}

/// The cipher of the records, and of the header under the user's key.
pub(super) fn cipher(key: &[u8]) -> Result<XChaCha20Poly1305> {
    XChaCha20Poly1305::new_from_slice(key).map_err(|_| {
        E2eeError::invalid_length(format!("the key of a store has 32 bytes, not {}", key.len()))
    })
}
