//! Accounts from libolm and vodozemac pickles.

use std::sync::Arc;

use vodozemac::PickleError;
use vodozemac::olm::{Account as OlmAccount, AccountPickle};

use super::Account;
use crate::base::identifiers::{DeviceId, UserId};
use crate::error::{E2eeError, Result};
use crate::sessions::libolm_pickles;
use crate::store::Store;

impl Account {
    /// Stores an account that libolm pickled; its pickle key may have any length.
    pub fn from_libolm_pickle(
        store: &Arc<Store>,
        user_id: UserId,
        device_id: DeviceId,
        pickle: &str,
        pickle_key: &[u8],
    ) -> Result<Self> {
        let account = libolm_pickles::account(pickle, pickle_key)?;
        Self::adopt(store, user_id, device_id, account)
    }

    /// Stores an account that vodozemac pickled and encrypted.
    pub fn from_vodozemac_pickle(
        store: &Arc<Store>,
        user_id: UserId,
        device_id: DeviceId,
        pickle: &str,
        pickle_key: &[u8],
    ) -> Result<Self> {
        let key = vodozemac_pickle_key(pickle_key)?;
        let pickle = AccountPickle::from_encrypted(pickle, key).map_err(pickle_error)?;
        Self::adopt(store, user_id, device_id, OlmAccount::from_pickle(pickle))
    }
}

/// vodozemac's pickle keys have exactly 32 bytes.
pub(crate) fn vodozemac_pickle_key(pickle_key: &[u8]) -> Result<&[u8; 32]> {
    pickle_key.try_into().map_err(|_| E2eeError::invalid_length("pickle_key is not 32 bytes long"))
}

/// Tells a wrong key from a pickle that is none.
pub(crate) fn pickle_error(error: PickleError) -> E2eeError {
    match error {
        PickleError::Decryption(_) => {
            E2eeError::wrong_key("the pickle key does not fit the pickle")
        }
        PickleError::Base64(_) => E2eeError::invalid_field("pickle", "is not valid base64"),
        PickleError::Serialization(_) => {
            E2eeError::invalid_field("pickle", "does not hold what was expected")
        }
    }
}
