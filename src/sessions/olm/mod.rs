//! An Olm channel: all Olm sessions with one other device (O1-O23, D20-D34).

mod batch;
mod claim;
mod create;
mod decrypt;
mod encrypt;
mod envelope;
mod import;
mod list;
mod origin;
mod record;
mod strangers;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use vodozemac::Curve25519PublicKey;

use crate::base::identifiers::{DeviceId, UserId};
use crate::base::json::Object;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::{DeviceKeys, read_one_time_key};
use crate::store::{Live, RecordKey, Records, Taken, Transaction};

pub use batch::encrypt_for_devices;
pub use claim::{keys_claim_request, read_keys_claim_response};
pub use create::KnownPartner;
pub use list::{ChannelInfo, list_channels};
pub use record::FingerprintStatus;
pub(crate) use record::{ChannelState, Fingerprint, FingerprintKey};

/// How often a new session with one device may be asked for (D32).
const NEW_SESSION_INTERVAL_MS: i64 = 3_600_000;

/// All Olm sessions between this device and one other.
pub struct OlmChannel {
    account: Arc<Account>,
    partner_user_id: UserId,
    partner_identity_key: Curve25519PublicKey,
    partner_identity_text: String,
    key: RecordKey,
    /// All open handles on one channel share it.
    shared: Arc<Live<ChannelState>>,
}

impl fmt::Debug for OlmChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OlmChannel").finish_non_exhaustive()
    }
}

impl OlmChannel {
    /// Names a channel, without looking whether it exists.
    fn named(
        account: &Arc<Account>,
        partner_user_id: UserId,
        partner_identity_key: Curve25519PublicKey,
    ) -> Self {
        let partner_identity_text = partner_identity_key.to_base64();
        let key = record::channel_key(account, &partner_user_id, &partner_identity_text);
        let shared = account.live().get_or_insert(&key, Live::new);
        Self {
            account: Arc::clone(account),
            partner_user_id,
            partner_identity_key,
            partner_identity_text,
            key,
            shared,
        }
    }

    /// Refuses this account itself as the other device, by its key, or by its name with whatever
    /// key: a session with itself would answer itself, and its name cannot be another device's.
    fn refuse_own(
        account: &Account,
        user_id: &str,
        identity_key: &Curve25519PublicKey,
        device_id: Option<&str>,
    ) -> Result<()> {
        let own_name = user_id == account.user_id() && device_id == Some(account.device_id());
        if own_name || identity_key.as_bytes() == account.identity_public_key().as_bytes() {
            let problem = "is this account's own device, with which it has no channel";
            return Err(E2eeError::invalid_field("partner", problem));
        }
        Ok(())
    }

    /// Names a channel and takes its state, if there is one.
    fn find(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        partner_user_id: &UserId,
        partner_identity_key: Curve25519PublicKey,
    ) -> Result<(Self, Option<Taken<ChannelState>>)> {
        loop {
            let channel = Self::named(account, partner_user_id.clone(), partner_identity_key);
            match tx.find(&channel.shared, |records| record::load(&channel, records)) {
                // At this moment: it is forgotten by now, and named anew.
                Err(E2eeError::NotFound { .. }) if channel.shared.is_erased() => {}
                found => return found.map(|state| (channel, state)),
            }
        }
    }

    /// Makes a channel that `find` did not find.
    fn create(&self, tx: &mut Transaction<'_>, mut state: ChannelState) -> Result<()> {
        record::put_channel(self, &mut state, tx)?;
        tx.create(&self.shared, state)?;
        self.keep_and_note(tx);
        Ok(())
    }

    /// Opens a stored channel (O21).
    pub fn create_from_storage(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        partner_user_id: UserId,
        partner_identity_key: Curve25519PublicKey,
    ) -> Result<Self> {
        let channel = Self::named(account, partner_user_id, partner_identity_key);
        channel.take(tx)?;
        channel.keep();
        Ok(channel)
    }

    /// The account of this side.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Notes that the channel, which exists, is in use.
    fn keep(&self) {
        self.account.live().keep(&self.key, &self.shared);
    }

    /// Once what is changed is stored: keeps the channel in memory, and tells those who keep what it
    /// knew of the device.
    fn keep_and_note(&self, tx: &mut Transaction<'_>) {
        let (account, key, shared) = (self.account.clone(), self.key.clone(), self.shared.clone());
        tx.after_commit(move || {
            account.live().keep(&key, &shared);
            account.note_fingerprint();
        });
    }

    fn take(&self, tx: &mut Transaction<'_>) -> Result<Taken<ChannelState>> {
        tx.take(&self.shared, |records| record::load(self, records))
    }

    /// How many Olm sessions the channel holds.
    pub fn session_count(&self, tx: &mut Transaction<'_>) -> Result<usize> {
        Ok(self.take(tx)?.sessions.len())
    }

    /// What is known of the other device.
    pub fn partner(&self, tx: &mut Transaction<'_>) -> Result<Partner> {
        let state = self.take(tx)?;
        Ok(Partner {
            user_id: self.partner_user_id.clone(),
            identity_key: self.partner_identity_text.clone(),
            device_id: state.device_id.clone(),
            fingerprint_key: state.fingerprint.key().map(FingerprintKey::to_base64),
            fingerprint: state.fingerprint.status(),
        })
    }

    /// Takes the other device's keys: its fingerprint is known from them from now on (D26).
    /// Its device ID may have changed, as a new login of an old store changes it; the fingerprint
    /// may not.
    pub fn set_partner_device_keys(
        &self,
        tx: &mut Transaction<'_>,
        device_keys: DeviceKeys,
    ) -> Result<()> {
        if *device_keys.user_id != *self.partner_user_id {
            return Err(E2eeError::invalid_field("user_id", "is not the channel's user"));
        }
        if device_keys.identity_key.as_bytes() != self.partner_identity_key.as_bytes() {
            return Err(E2eeError::invalid_field("keys", "hold another identity key"));
        }
        let device_id = Some(device_keys.device_id.as_str());
        Self::refuse_own(
            &self.account,
            &device_keys.user_id,
            &device_keys.identity_key,
            device_id,
        )?;
        let mut state = self.take(tx)?;
        let fingerprint_key = device_keys.fingerprint_key.into();
        state.fingerprint.check(fingerprint_key)?;
        state.change(|state| {
            state.device_id = Some(device_keys.device_id);
            state.fingerprint = Fingerprint::DeviceKeys(fingerprint_key);
            record::put_channel(self, state, tx)
        })?;
        self.keep_and_note(tx);
        Ok(())
    }

    /// Adds a session made from a claimed one-time key; it is the next to be used (O7, D23).
    pub fn add_outbound_olm_session(
        &self,
        tx: &mut Transaction<'_>,
        one_time_key: &Object,
    ) -> Result<()> {
        // Earlier versions made such channels.
        let (user_id, identity_key) = (&self.partner_user_id, &self.partner_identity_key);
        Self::refuse_own(&self.account, user_id, identity_key, None)?;
        let mut state = self.take(tx)?;
        let (Some(device_id), Fingerprint::DeviceKeys(fingerprint_key)) =
            (state.device_id.clone(), state.fingerprint)
        else {
            return Err(E2eeError::unknown_fingerprint(
                "the other device's keys are not known: pass them to set_partner_device_keys",
            ));
        };
        let fingerprint_key = fingerprint_key.to_public_key()?;
        let one_time_key =
            read_one_time_key(one_time_key, &self.partner_user_id, &device_id, &fingerprint_key)?;
        let session =
            self.account.create_outbound_session(tx, self.partner_identity_key, one_time_key)?;
        state.change(|state| {
            state.needs_new_session = false;
            state.push(self, session, tx)?;
            record::put_channel(self, state, tx)
        })
    }

    /// Whether the caller should claim a one-time key and add a session, because messages of the
    /// other device cannot be decrypted: true at most once an hour, and that is stored (D32).
    pub fn should_create_new_session(&self, tx: &mut Transaction<'_>) -> Result<bool> {
        let mut state = self.take(tx)?;
        if !state.needs_new_session {
            return Ok(false);
        }
        let now = tx.now_ms()?;
        let recent = state
            .new_session_advised_ms
            .is_some_and(|last| (0..NEW_SESSION_INTERVAL_MS).contains(&now.saturating_sub(last)));
        if recent {
            return Ok(false);
        }
        state.change(|state| {
            state.new_session_advised_ms = Some(now);
            record::put_channel(self, state, tx)
        })?;
        Ok(true)
    }

    /// Deletes the channel and its sessions. Those that came from elsewhere cannot again.
    pub fn erase(&self, tx: &mut Transaction<'_>) -> Result<()> {
        let state = self.take(tx)?;
        self.delete(tx, state)
    }

    fn delete(&self, tx: &mut Transaction<'_>, mut state: Taken<ChannelState>) -> Result<()> {
        state.change(|state| record::delete(self, state, tx))?;
        state.erase();
        let (account, key) = (self.account.clone(), self.key.clone());
        // Before anybody sees that it is erased: who names it anew finds a new one.
        tx.after_commit(move || account.live().forget(&key));
        Ok(())
    }
}

/// What is known of the other device of a channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Partner {
    /// Its user.
    pub user_id: UserId,
    /// Its Curve25519 identity key.
    pub identity_key: String,
    /// Its device ID, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// Its Ed25519 fingerprint key, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint_key: Option<String>,
    /// How the fingerprint key is known.
    pub fingerprint: FingerprintStatus,
}

/// What the channel with a device knows of its fingerprint, for the sessions that it sends (SEC-45).
pub(crate) fn known_fingerprint(
    account: &Account,
    records: &Records<'_>,
    user_id: &str,
    identity_key: Curve25519PublicKey,
) -> Result<Fingerprint> {
    record::known_fingerprint(account, records, user_id, &identity_key.to_base64())
}

/// When a channel is used. A clock that fails makes no message fail for that.
fn time_of_use(tx: &mut Transaction<'_>) -> Result<Option<i64>> {
    match tx.now_ms() {
        Err(E2eeError::ClockFailed { .. }) => Ok(None),
        now => now.map(Some),
    }
}
