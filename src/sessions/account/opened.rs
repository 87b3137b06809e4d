//! vodozemac's pickle of an account, opened: it tells which private keys there are, and single keys
//! can be taken out of it. vodozemac itself shows only what is not published.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vodozemac::olm::{Account as OlmAccount, AccountPickle};
use vodozemac::{Curve25519PublicKey, Curve25519SecretKey, Ed25519Keypair, KeyId};
use zeroize::Zeroizing;

use crate::error::{E2eeError, Result};

/// Room for the pickle of an account without one-time keys, and for each of these, published or
/// not: so that no copy is left behind.
const ACCOUNT_LENGTH: usize = 4_096;
const KEY_LENGTH: usize = 256;

#[derive(Serialize, Deserialize)]
pub(super) struct OpenedAccount {
    signing_key: Ed25519Keypair,
    diffie_hellman_key: Curve25519SecretKey,
    pub(super) one_time_keys: OneTimeKeys,
    pub(super) fallback_keys: FallbackKeys,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OneTimeKeys {
    next_key_id: u64,
    /// Only those that are not published.
    pub(super) public_keys: BTreeMap<KeyId, Curve25519PublicKey>,
    pub(super) private_keys: BTreeMap<KeyId, Curve25519SecretKey>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FallbackKeys {
    key_id: u64,
    pub(super) fallback_key: Option<FallbackKey>,
    pub(super) previous_fallback_key: Option<FallbackKey>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FallbackKey {
    key_id: KeyId,
    pub(super) key: Curve25519SecretKey,
    pub(super) published: bool,
}

impl OpenedAccount {
    pub(super) fn open(account: &OlmAccount) -> Result<Self> {
        let pickle = serialise(&account.pickle(), account.stored_one_time_key_count())?;
        rmp_serde::from_slice(&pickle).map_err(|_| another_form())
    }

    pub(super) fn close(&self) -> Result<OlmAccount> {
        let pickle = serialise(self, self.one_time_keys.private_keys.len())?;
        let pickle: AccountPickle = rmp_serde::from_slice(&pickle).map_err(|_| another_form())?;
        Ok(OlmAccount::from_pickle(pickle))
    }
}

fn serialise<T: Serialize>(account: &T, one_time_keys: usize) -> Result<Zeroizing<Vec<u8>>> {
    let length = one_time_keys.saturating_mul(KEY_LENGTH).saturating_add(ACCOUNT_LENGTH);
    let mut pickle = Zeroizing::new(Vec::with_capacity(length));
    rmp_serde::encode::write_named(&mut *pickle, account).map_err(|_| another_form())?;
    Ok(pickle)
}

fn another_form() -> E2eeError {
    E2eeError::panic("vodozemac's pickles of accounts have another form")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_the_same_after_it_was_opened_and_closed() {
        let mut account = OlmAccount::new();
        for _ in 0..3 {
            account.generate_one_time_keys(50);
            account.generate_fallback_key();
            let mut published = OlmAccount::from_pickle(account.pickle());
            published.mark_keys_as_published();
            for account in [&account, &published] {
                let closed = OpenedAccount::open(account).unwrap().close().unwrap();
                let count = account.stored_one_time_key_count();
                let [before, after] =
                    [account, &closed].map(|account| serialise(&account.pickle(), count).unwrap());
                assert_eq!(before, after);
                assert!(before.len() < ACCOUNT_LENGTH + count * KEY_LENGTH, "{}", before.len());
            }
        }
    }
}
