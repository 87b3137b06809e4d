//! Private one-time keys that nobody has used for long, in records of their own: the account's
//! record, which each new channel rewrites, has only the newest ones.
//!
//! A key stays unused because its message is on the way or never comes, which nobody can tell. So
//! none is given up before 5,000 newer ones were set aside: many times what the server holds
//! (SEC-23).

use serde::{Deserialize, Serialize};
use vodozemac::olm::{InboundCreationResult, PreKeyMessage, SessionConfig, SessionCreationError};
use vodozemac::{Curve25519PublicKey, Curve25519SecretKey, KeyId};

use super::opened::OpenedAccount;
use super::upload::{key_id, unpublished};
use super::{Account, AccountState, creation_error};
use crate::error::{E2eeError, Result};
use crate::store::collections::ONE_TIME_KEYS;
use crate::store::{RecordKey, Transaction, Vault};

/// With more published keys than this in the account, the oldest are set aside until so many are
/// left as the server may hold.
const CROWD: usize = 100;
const LEFT: usize = 50;
/// With more keys than this set aside, the oldest are given up until so many are left. Not one by
/// one: to find them, all are read.
const MOST_ASIDE: usize = 5_500;
const LEFT_ASIDE: usize = 5_000;

/// A key's record.
#[derive(Serialize, Deserialize)]
struct Aside {
    id: KeyId,
    key: Curve25519SecretKey,
}

/// Sets aside what the account has too many of; for whoever then puts it into the same
/// transaction.
pub(super) fn set_aside(
    vault: &Vault,
    (user_id, device_id): (&str, &str),
    state: &mut AccountState,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let AccountState { account, published } = state;
    let count = account.stored_one_time_key_count();
    if count <= CROWD {
        return Ok(());
    }
    let count = count.saturating_sub(unpublished(account, published).len());
    if count <= CROWD {
        return Ok(());
    }
    let mut opened = OpenedAccount::open(account)?;
    let keys = &mut opened.one_time_keys;
    // What the server refuses is offered no more, as if it were published.
    keys.public_keys.retain(|id, _| !published.skipped.contains(&key_id(*id)));
    published.skipped.clear();
    let old: Vec<KeyId> = keys
        .private_keys
        .keys()
        .filter(|id| !keys.public_keys.contains_key(id))
        .take(count.saturating_sub(LEFT))
        .copied()
        .collect();
    let prefix = vault.prefix(ONE_TIME_KEYS, &[user_id, device_id]);
    if published.set_aside.saturating_add(old.len()) > MOST_ASIDE {
        let stored = tx.records().scan_keys(ONE_TIME_KEYS, &[user_id, device_id])?;
        let left = LEFT_ASIDE.saturating_sub(old.len());
        published.set_aside = give_up_oldest(stored, left, tx)?;
    }
    for id in old {
        if let Some(key) = keys.private_keys.remove(&id) {
            let public_key = Curve25519PublicKey::from(&key);
            tx.put(&prefix.key(&public_key.to_base64()), &Aside { id, key })?;
            published.set_aside = published.set_aside.saturating_add(1);
        }
    }
    *account = opened.close()?;
    Ok(())
}

/// Deletes the oldest of these records; the result is how many are left.
fn give_up_oldest(
    mut stored: Vec<RecordKey>,
    left: usize,
    tx: &mut Transaction<'_>,
) -> Result<usize> {
    stored.sort_unstable();
    stored.dedup();
    let mut by_age = Vec::with_capacity(stored.len());
    for key in stored {
        match tx.read::<Aside>(&key) {
            Ok(Some(aside)) => by_age.push((Some(aside.id), key)),
            Ok(None) => {}
            // Of no use to anybody: the first to go.
            Err(E2eeError::Corrupt { .. }) => by_age.push((None, key)),
            Err(error) => return Err(error),
        }
    }
    by_age.sort_unstable_by_key(|(id, _)| *id);
    let surplus = by_age.len().saturating_sub(left);
    by_age.iter().take(surplus).for_each(|(_, key)| tx.delete(key));
    Ok(by_age.len().saturating_sub(surplus))
}

/// Makes a session from a message to a key that was set aside, and deletes the key.
/// A failure leaves the account as it was.
pub(super) fn create_inbound_session(
    account: &Account,
    state: &mut AccountState,
    message: &PreKeyMessage,
    tx: &mut Transaction<'_>,
) -> Result<InboundCreationResult> {
    let public_key = message.one_time_key();
    let unknown = || creation_error(SessionCreationError::MissingOneTimeKey(public_key));
    if state.published.set_aside == 0 {
        return Err(unknown());
    }
    let record = account.record_key(ONE_TIME_KEYS, &[&public_key.to_base64()]);
    let Aside { id, key } = tx.read(&record)?.ok_or_else(unknown)?;
    let mut opened = OpenedAccount::open(&state.account)?;
    opened.one_time_keys.public_keys.clear();
    opened.one_time_keys.private_keys = [(id, key)].into();
    let created = opened
        .close()?
        .create_inbound_session(SessionConfig::version_1(), message.identity_key(), message)
        .map_err(creation_error)?;
    tx.delete(&record);
    state.published.set_aside = state.published.set_aside.saturating_sub(1);
    Ok(created)
}
