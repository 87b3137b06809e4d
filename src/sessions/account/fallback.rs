//! The life of fallback keys (S7, SEC-24) and of the sessions made from them (SEC-25).

use serde::{Deserialize, Serialize};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{Account as OlmAccount, PreKeyMessage, SessionKeys};

use super::opened::OpenedAccount;
use super::{Account, AccountState};
use crate::error::{E2eeError, Result};
use crate::store::Transaction;
use crate::store::collections::FALLBACK_SESSIONS;

/// A fallback key is replaced at this age, used or not.
const MAX_AGE_MS: i64 = 7 * 24 * 3_600_000;
/// How long the previous key is kept after the first use of the new one.
const GRACE_MS: i64 = 3_600_000;

/// The fallback keys whose private halves vodozemac keeps: at most two.
#[derive(Serialize, Deserialize, Default, Clone)]
pub(super) struct FallbackState {
    current: Option<FallbackKey>,
    previous: Option<String>,
    /// The server did not list the current key as unused. That counts once the key is known to be
    /// there: a sync answer that was made before the upload says it of the key before.
    reported_used: bool,
}

#[derive(Serialize, Deserialize, Clone)]
struct FallbackKey {
    public_key: String,
    created_ms: i64,
    /// When the first message to it came.
    first_used_ms: Option<i64>,
    published: bool,
    /// The server has listed it as unused since it was published. (Absent in records of the first
    /// versions, as is the next.)
    #[serde(default)]
    seen_unused: bool,
    /// When the server first said that it was used, and that counted.
    #[serde(default)]
    reported_used_ms: Option<i64>,
}

impl FallbackKey {
    fn new(public_key: String, now: i64) -> Self {
        Self {
            public_key,
            created_ms: now,
            first_used_ms: None,
            published: false,
            seen_unused: false,
            reported_used_ms: None,
        }
    }

    /// Whether it was this key that the server did not list: it was listed before, or a message
    /// has used it.
    fn may_be_reported(&self) -> bool {
        self.seen_unused || self.first_used_ms.is_some()
    }

    /// When it was first used, as far as we know.
    fn used_ms(&self) -> Option<i64> {
        [self.first_used_ms, self.reported_used_ms].into_iter().flatten().min()
    }
}

impl FallbackState {
    /// Whether there is no key, or the current one is used or old, and nobody waits for the
    /// previous one, which a renewal ends (S7).
    fn is_renewal_due(&self, now: i64) -> bool {
        let Some(key) = &self.current else { return true };
        let used = self.reported_used && key.may_be_reported();
        let old = now.saturating_sub(key.created_ms) >= MAX_AGE_MS;
        let in_its_hour = self.previous.is_some()
            && key.used_ms().is_some_and(|used| now.saturating_sub(used) < GRACE_MS);
        key.published && (used || old) && !in_its_hour
    }

    /// Makes a new key; the current one becomes the previous one. The result is the key that was
    /// the previous one before, and is gone now.
    fn renew(&mut self, account: &mut OlmAccount, now: i64) -> Option<String> {
        account.generate_fallback_key();
        let gone =
            std::mem::replace(&mut self.previous, self.current.take().map(|key| key.public_key));
        self.current = account
            .fallback_key()
            .into_values()
            .next()
            .map(|public_key| FallbackKey::new(public_key.to_base64(), now));
        self.reported_used = false;
        gone
    }

    /// The keys that an imported account holds. How old they are and whether they were used, its
    /// former library knew: a published one counts as used now.
    pub(super) fn imported(account: &OlmAccount, now: i64) -> Result<Self> {
        let keys = OpenedAccount::open(account)?.fallback_keys;
        let current = keys.fallback_key.map(|held| FallbackKey {
            published: held.published,
            seen_unused: held.published,
            reported_used_ms: held.published.then_some(now),
            ..FallbackKey::new(Curve25519PublicKey::from(&held.key).to_base64(), now)
        });
        let previous = keys.previous_fallback_key;
        Ok(Self {
            reported_used: current.as_ref().is_some_and(|key| key.published),
            current,
            previous: previous.map(|held| Curve25519PublicKey::from(&held.key).to_base64()),
        })
    }

    pub(super) fn mark_as_published(&mut self) {
        if let Some(key) = &mut self.current {
            key.published = true;
        }
    }

    /// Notes whether the server lists our fallback key as unused; true if that is news. It says
    /// nothing of a key that it may not have yet.
    pub(super) fn report(&mut self, unused: bool, now: i64) -> bool {
        let Some(key) = self.current.as_mut().filter(|key| key.published) else { return false };
        let before = (key.seen_unused, self.reported_used, key.reported_used_ms);
        if unused {
            // Whatever said before that it was used did not mean this key.
            self.reported_used &= key.may_be_reported();
            key.seen_unused = true;
        } else {
            self.reported_used = true;
            if key.may_be_reported() {
                key.reported_used_ms.get_or_insert(now);
            }
        }
        before != (key.seen_unused, self.reported_used, key.reported_used_ms)
    }

    /// Whether this is the current key, and nothing has told yet that the server has it.
    pub(super) fn is_unpublished(&self, public_key: &str) -> bool {
        self.current.as_ref().is_some_and(|key| !key.published && key.public_key == public_key)
    }

    fn is_previous_due(&self, now: i64) -> bool {
        self.current
            .as_ref()
            .and_then(|key| key.first_used_ms)
            .is_some_and(|first_used| now.saturating_sub(first_used) >= GRACE_MS)
    }

    fn holds(&self, public_key: &str) -> bool {
        self.current.as_ref().is_some_and(|key| key.public_key == public_key)
            || self.previous.as_deref() == Some(public_key)
    }
}

impl Account {
    /// Notes that a session from elsewhere was made from a fallback key that is still held: its
    /// first message must make no second one, also after the session is gone (SEC-25).
    pub(crate) fn note_imported_session(
        &self,
        tx: &mut Transaction<'_>,
        keys: &SessionKeys,
    ) -> Result<()> {
        let public_key = keys.one_time_key.to_base64();
        if !self.take(tx)?.published.fallback.holds(&public_key) {
            return Ok(());
        }
        let key = self.record_key(FALLBACK_SESSIONS, &[&public_key, &keys.session_id()]);
        tx.put(&key, &true)
    }
}

/// Makes a new fallback key if there is none, or the current one is used or old.
pub(super) fn renew_if_due(
    account: &Account,
    state: &mut AccountState,
    now: i64,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    if state.published.fallback.is_renewal_due(now) {
        renew(account, state, now, tx)?;
    }
    Ok(())
}

/// Makes a new fallback key.
pub(super) fn renew(
    account: &Account,
    state: &mut AccountState,
    now: i64,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let AccountState { account: olm, published } = state;
    match published.fallback.renew(olm, now) {
        Some(gone) => forget_sessions(account, &gone, tx),
        None => Ok(()),
    }
}

/// Forgets the previous fallback key an hour after the first use of the current one. True if
/// something changed.
pub(super) fn forget_previous_if_due(
    account: &Account,
    state: &mut AccountState,
    now: i64,
    tx: &mut Transaction<'_>,
) -> Result<bool> {
    if !state.published.fallback.is_previous_due(now) {
        return Ok(false);
    }
    let forgotten = state.account.forget_fallback_key();
    let Some(previous) = state.published.fallback.previous.take() else { return Ok(forgotten) };
    forget_sessions(account, &previous, tx)?;
    Ok(true)
}

/// Forgets which sessions a key made that is gone: nobody can replay them any more.
fn forget_sessions(account: &Account, public_key: &str, tx: &mut Transaction<'_>) -> Result<()> {
    let parts = [account.user_id(), account.device_id(), public_key];
    for key in tx.records().scan_keys(FALLBACK_SESSIONS, &parts)? {
        tx.delete(&key);
    }
    Ok(())
}

/// Refuses a pre-key message to the previous key after its hour, which nothing may have ended
/// yet, and one whose session a fallback key already made: a replay (D21, SEC-25).
pub(super) fn check(
    account: &Account,
    state: &AccountState,
    message: &PreKeyMessage,
    now: i64,
    tx: &Transaction<'_>,
) -> Result<()> {
    let public_key = message.one_time_key().to_base64();
    let fallback = &state.published.fallback;
    if !fallback.holds(&public_key) {
        return Ok(());
    }
    if fallback.previous.as_deref() == Some(&public_key) && fallback.is_previous_due(now) {
        return Err(E2eeError::unable_to_decrypt(
            "no_matching_session",
            "the message uses a fallback key that has been replaced",
        ));
    }
    let key = account.record_key(FALLBACK_SESSIONS, &[&public_key, &message.session_id()]);
    match tx.read::<bool>(&key)? {
        None => Ok(()),
        Some(_) => Err(E2eeError::unable_to_decrypt(
            "missing_message_key",
            "the message was received before: its session was made from a fallback key",
        )),
    }
}

/// Notes the first use of the current fallback key, and which session it made.
pub(super) fn record_use(
    account: &Account,
    state: &mut AccountState,
    message: &PreKeyMessage,
    now: i64,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let public_key = message.one_time_key().to_base64();
    let fallback = &mut state.published.fallback;
    if let Some(current) = &mut fallback.current
        && current.public_key == public_key
    {
        current.first_used_ms.get_or_insert(now);
    }
    if fallback.holds(&public_key) {
        let key = account.record_key(FALLBACK_SESSIONS, &[&public_key, &message.session_id()]);
        tx.put(&key, &true)?;
    }
    forget_previous_if_due(account, state, now, tx)?;
    Ok(())
}
