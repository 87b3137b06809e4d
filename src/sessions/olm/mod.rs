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

use crate::base::identifiers::check_user_id;
use crate::base::json::Object;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::{Account, Entered};
use crate::sessions::device_keys::{DeviceKeys, read_one_time_key};
use crate::store::{Batch, Live, LiveGuard, RecordKey};

pub use batch::encrypt_for_devices;
pub use claim::{keys_claim_request, read_keys_claim_response};
pub use create::KnownPartner;
pub use list::{ChannelInfo, list_channels};
pub(crate) use origin::Origins;
pub use record::FingerprintStatus;
pub(crate) use record::{ChannelState, Fingerprint, FingerprintKey};

/// How often a new session with one device may be asked for (D32).
const NEW_SESSION_INTERVAL_MS: i64 = 3_600_000;

/// All Olm sessions between this device and one other.
pub struct OlmChannel {
    account: Arc<Account>,
    partner_user_id: String,
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
        partner_user_id: &str,
        partner_identity_key: Curve25519PublicKey,
    ) -> Result<Self> {
        check_user_id("partner_user_id", partner_user_id)?;
        let partner_identity_text = partner_identity_key.to_base64();
        let key = record::channel_key(account, partner_user_id, &partner_identity_text);
        let shared = account.children().get_or_insert(&key, Live::new);
        Ok(Self {
            account: Arc::clone(account),
            partner_user_id: partner_user_id.to_owned(),
            partner_identity_key,
            partner_identity_text,
            key,
            shared,
        })
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

    /// Names a channel and creates it; again, if it was erased in between.
    fn create<R>(
        account: &Arc<Account>,
        partner_user_id: &str,
        partner_identity_key: Curve25519PublicKey,
        mut create: impl FnMut(&Self) -> Result<R>,
    ) -> Result<(Self, R)> {
        loop {
            let channel = Self::named(account, partner_user_id, partner_identity_key)?;
            match create(&channel) {
                Err(E2eeError::NotFound { .. }) if channel.shared.is_erased() => {}
                result => {
                    let result = result?;
                    channel.keep();
                    account.note_fingerprint();
                    return Ok((channel, result));
                }
            }
        }
    }

    /// Opens a stored channel (O21).
    pub fn create_from_storage(
        account: &Arc<Account>,
        partner_user_id: &str,
        partner_identity_key: &str,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        let key = public_keys::curve25519("partner_identity_key", partner_identity_key)?;
        let channel = Self::named(account, partner_user_id, key)?;
        channel.state()?;
        channel.keep();
        Ok(channel)
    }

    /// The account of this side.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Notes that the channel, which exists, is in use.
    fn keep(&self) {
        self.account.children().keep(&self.key, &self.shared);
    }

    fn enter(&self) -> Result<Entered<'_>> {
        self.account.enter()
    }

    fn state(&self) -> Result<LiveGuard<'_, ChannelState>> {
        self.shared.lock(|| self.load())
    }

    fn load(&self) -> Result<Option<ChannelState>> {
        record::load(self)
    }

    /// How many Olm sessions the channel holds.
    pub fn session_count(&self) -> Result<usize> {
        let _entered = self.enter()?;
        Ok(self.state()?.sessions.len())
    }

    /// What is known of the other device.
    pub fn partner(&self) -> Result<Partner> {
        let _entered = self.enter()?;
        let state = self.state()?;
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
    pub fn set_partner_device_keys(&self, device_keys: &Object) -> Result<()> {
        let _entered = self.enter()?;
        let device_keys = DeviceKeys::read(device_keys)?;
        if device_keys.user_id != self.partner_user_id {
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
        let mut state = self.state()?;
        let fingerprint_key = device_keys.fingerprint_key.into();
        state.fingerprint.check(fingerprint_key)?;
        state.change(|state| {
            state.device_id = Some(device_keys.device_id);
            state.fingerprint = Fingerprint::DeviceKeys(fingerprint_key);
            self.commit_channel(state)
        })?;
        self.account.note_fingerprint();
        Ok(())
    }

    /// Adds a session made from a claimed one-time key; it is the next to be used (O7, D23).
    pub fn add_outbound_olm_session(&self, one_time_key: &Object) -> Result<()> {
        let _entered = self.enter()?;
        // Earlier versions made such channels.
        let (user_id, identity_key) = (&self.partner_user_id, &self.partner_identity_key);
        Self::refuse_own(&self.account, user_id, identity_key, None)?;
        let mut state = self.state()?;
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
            self.account.create_outbound_session(self.partner_identity_key, one_time_key)?;
        state.change(|state| {
            let mut batch = Batch::new();
            state.needs_new_session = false;
            state.push(self, session, &mut batch)?;
            record::put_channel(self, state, &mut batch)?;
            self.account.vault().commit(batch)
        })
    }

    /// Whether the caller should claim a one-time key and add a session, because messages of the
    /// other device cannot be decrypted: true at most once an hour, and that is stored (D32).
    pub fn should_create_new_session(&self) -> Result<bool> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        if !state.needs_new_session {
            return Ok(false);
        }
        let now = self.account.now_ms()?;
        let recent = state
            .new_session_advised_ms
            .is_some_and(|last| (0..NEW_SESSION_INTERVAL_MS).contains(&now.saturating_sub(last)));
        if recent {
            return Ok(false);
        }
        state.change(|state| {
            state.new_session_advised_ms = Some(now);
            self.commit_channel(state)
        })?;
        Ok(true)
    }

    /// Deletes the channel and its sessions. Those that came from elsewhere cannot again.
    pub fn erase(&self) -> Result<()> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        let mut batch = Batch::new();
        record::delete(self, state.begin_change()?, &mut batch)?;
        self.account.vault().commit(batch)?;
        // Before anybody sees that it is erased: who names it anew finds a new one.
        self.account.children().forget(&self.key);
        state.finish_erase();
        Ok(())
    }

    fn commit_channel(&self, state: &mut ChannelState) -> Result<()> {
        let mut batch = Batch::new();
        record::put_channel(self, state, &mut batch)?;
        self.account.vault().commit(batch)
    }
}

/// What is known of the other device of a channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Partner {
    /// Its user.
    pub user_id: String,
    /// Its Curve25519 identity key.
    pub identity_key: String,
    /// Its device ID, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Its Ed25519 fingerprint key, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint_key: Option<String>,
    /// How the fingerprint key is known.
    pub fingerprint: FingerprintStatus,
}

/// What the channel with a device knows of its fingerprint, for the sessions that it sends (SEC-45).
pub(crate) fn known_fingerprint(
    account: &Account,
    user_id: &str,
    identity_key: Curve25519PublicKey,
) -> Result<Fingerprint> {
    record::known_fingerprint(account, user_id, &identity_key.to_base64())
}

/// When a channel is used. A clock that fails makes no message fail for that.
fn time_of_use(account: &Account) -> Result<Option<i64>> {
    match account.now_ms() {
        Err(E2eeError::ClockFailed { .. }) => Ok(None),
        now => now.map(Some),
    }
}
