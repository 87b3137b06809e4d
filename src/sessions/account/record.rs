//! What is stored of an account.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use vodozemac::olm::{Account as OlmAccount, AccountPickle};

use super::answer::Refusals;
use super::fallback::FallbackState;
use super::set_aside::set_aside;
use super::upload;
use crate::error::Result;
use crate::store::{RecordKey, Records, Transaction, Vault};

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
        let mut published = Published { fallback, ..Published::default() };
        // More than a server is given: the newest are offered, the others kept.
        let mut unpublished = upload::unpublished(&account, &published);
        let offered = account.max_number_of_one_time_keys();
        unpublished.truncate(unpublished.len().saturating_sub(offered));
        published.skipped = unpublished.into_iter().map(|(id, _)| id).collect();
        Ok(Self { account, published })
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
    /// How many private one-time keys have records of their own.
    #[serde(default)]
    pub(super) set_aside: usize,
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

/// Puts the account into a transaction, and what it has too many of beside it.
pub(super) fn put(
    vault: &Vault,
    key: &RecordKey,
    (user_id, device_id): (&str, &str),
    state: &mut AccountState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    set_aside(vault, (user_id, device_id), state, tx)?;
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
    use vodozemac::olm::{Account as OlmAccount, OlmMessage, SessionConfig};

    use super::RecordOut;
    use crate::sessions::account::Account;
    use crate::store::Store;

    fn counts(account: &Account) -> (usize, usize, usize) {
        let mut tx = account.begin().unwrap();
        let state = account.take(&mut tx).unwrap();
        let kept = state.account.stored_one_time_key_count();
        (kept, state.published.set_aside, state.published.skipped.len())
    }

    // S8, SEC-100: a server that refuses everything for ever.
    #[test]
    fn refused_keys_leave_the_record_of_the_account_and_are_kept() {
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
        refuse();
        assert_eq!(counts(&account), (100, 0, 100));
        refuse();
        assert_eq!(counts(&account), (50, 100, 0));
    }

    // What versions wrote that kept all keys in the account's record.
    #[test]
    fn a_record_with_thousands_of_keys_opens_and_sets_them_aside_at_its_next_change() {
        let store = Store::in_memory(&[7; 32]).unwrap();
        let open = || Account::open(&store, "@alice:a.org".into(), "ALICE".into()).unwrap();
        let account = open();
        let mut keys = Vec::new();
        let mut tx = account.begin().unwrap();
        let mut state = account.take(&mut tx).unwrap();
        let write = state.change(|state| {
            state.account.generate_one_time_keys(3_000);
            keys.extend(state.account.one_time_keys());
            state.account.mark_keys_as_published();
            let (user_id, device_id) = (account.user_id(), account.device_id());
            let (pickle, published) = (state.account.pickle(), &state.published);
            tx.put(&account.key, &RecordOut { user_id, device_id, pickle, published })
        });
        write.unwrap();
        drop(state);
        tx.commit().unwrap();
        drop(account);
        let account = open();
        keys.sort_unstable_by_key(|(id, _)| *id);
        assert_eq!(counts(&account), (3_000, 0, 0));
        let bob = OlmAccount::new();
        // The oldest key, while it is in the record, and then the next.
        for (_, key) in keys.iter().take(2) {
            let config = SessionConfig::version_1();
            let to = *account.identity_public_key();
            let mut session = bob.create_outbound_session(config, to, *key).unwrap();
            let OlmMessage::PreKey(message) = session.encrypt(b"hello").unwrap() else { return };
            let mut tx = account.begin().unwrap();
            let (_, plaintext) = account.create_inbound_session(&mut tx, &message).unwrap();
            assert_eq!(plaintext, b"hello");
            // The transaction sees that the key is gone, and so does the next.
            assert!(account.create_inbound_session(&mut tx, &message).is_err());
            tx.commit().unwrap();
            let mut tx = account.begin().unwrap();
            assert!(account.create_inbound_session(&mut tx, &message).is_err());
        }
        assert_eq!(counts(&account), (50, 2_948, 0));
    }
}
