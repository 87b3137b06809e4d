//! What is stored of an account.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::olm::{Account as OlmAccount, AccountPickle};

use super::answer::Refusals;
use super::fallback::FallbackState;
use crate::error::Result;
use crate::store::{RecordKey, Records, Transaction};

/// An account in memory.
pub(crate) struct AccountState {
    pub(super) account: OlmAccount,
    pub(super) published: Published,
}

impl fmt::Debug for AccountState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountState").finish_non_exhaustive()
    }
}

impl AccountState {
    /// A fresh account: the server holds none of its keys.
    pub(super) fn new(account: OlmAccount) -> Self {
        let published = Published { one_time_keys: Some(0), ..Published::default() };
        Self { account, published }
    }

    /// An account from elsewhere: what the server holds is not known until it says so.
    pub(super) fn imported(account: OlmAccount, now: i64) -> Result<Self> {
        let fallback = FallbackState::imported(&account, now)?;
        Ok(Self { account, published: Published { fallback, ..Published::default() } })
    }
}

/// What the server holds, as far as we know, and what we have asked it to hold.
#[derive(Serialize, Deserialize, Default, Clone)]
pub(super) struct Published {
    pub(super) device_keys: bool,
    /// How many one-time keys the server holds; unknown for an imported account.
    pub(super) one_time_keys: Option<u64>,
    /// The upload that has not been answered: repeated byte for byte (SEC-22).
    pub(super) open_upload: Option<OpenUpload>,
    /// A message has used a key of the last upload, which so has arrived; the server's answer to
    /// it may follow.
    #[serde(default)]
    pub(super) answer_awaited: bool,
    /// One-time key IDs that the server refuses because it has had them before (S8).
    pub(super) skipped: BTreeSet<String>,
    #[serde(default)]
    pub(super) refusals: Refusals,
    pub(super) fallback: FallbackState,
}

/// A body for `/keys/upload` that was handed out.
#[derive(Serialize, Deserialize, Clone)]
pub(super) struct OpenUpload {
    pub(super) body: String,
    pub(super) one_time_key_ids: Vec<String>,
    pub(super) fallback_key_id: Option<String>,
}

#[derive(Serialize)]
struct RecordOut<'a> {
    user_id: &'a str,
    device_id: &'a str,
    pickle: AccountPickle,
    published: &'a Published,
}

#[derive(Deserialize)]
struct RecordIn {
    pickle: AccountPickle,
    published: Published,
}

pub(super) fn load(records: &Records<'_>, key: &RecordKey) -> Result<Option<AccountState>> {
    Ok(records.read::<RecordIn>(key)?.map(|record| AccountState {
        account: OlmAccount::from_pickle(record.pickle),
        published: record.published,
    }))
}

pub(super) fn put(
    key: &RecordKey,
    user_id: &str,
    device_id: &str,
    state: &AccountState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    tx.put(
        key,
        &RecordOut {
            user_id,
            device_id,
            pickle: state.account.pickle(),
            published: &state.published,
        },
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::AccountState;
    use crate::sessions::account::Account;
    use crate::store::Store;

    // S8, SEC-100: a server that refuses everything for ever.
    #[test]
    fn the_list_of_refused_keys_does_not_grow_beyond_the_keys_that_there_are() {
        let store = Store::in_memory(&[7; 32]).unwrap();
        let account = Account::open(&store, "@alice:a.org".into(), "ALICE".into()).unwrap();
        let refuse = || {
            let mut tx = account.begin().unwrap();
            account.keys_upload_request(&mut tx).unwrap().unwrap();
            let body = r#"{"error": "One time key already exists"}"#;
            account.receive_keys_upload_response(&mut tx, 400, body).unwrap();
            tx.commit().unwrap();
        };
        refuse();
        // As many as vodozemac keeps: the first ones have to make room.
        let mut tx = account.begin().unwrap();
        let mut state = account.take(&mut tx).unwrap();
        let generate = |state: &mut AccountState| {
            state.account.generate_one_time_keys(5000);
            Ok(())
        };
        state.change(generate).unwrap();
        drop(state);
        tx.commit().unwrap();
        refuse();
        let mut tx = account.begin().unwrap();
        let state = account.take(&mut tx).unwrap();
        let keys = state.account.one_time_keys().len();
        assert_eq!((keys, state.published.skipped.len()), (5000, 5000));
    }
}
