//! Making channels (O3-O6, O20).

use std::sync::Arc;

use vodozemac::olm::OlmMessage;

use super::decrypt::{Incoming, check_ratchet_key, malformed, receive_plaintext};
use super::record::{ChannelState, Fingerprint, put_channel};
use super::strangers::{Leaving, Surplus};
use super::{OlmChannel, time_of_use};
use crate::base::identifiers::check_device_id;
use crate::base::json::Object;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::{DeviceKeys, read_one_time_key};
use crate::store::Batch;

/// What the caller already knows of the other device.
#[derive(Debug, Default)]
pub struct KnownPartner<'a> {
    /// Its device ID.
    pub device_id: Option<&'a str>,
    /// Its fingerprint key, which then counts as known from device keys.
    pub fingerprint_key: Option<&'a str>,
}

impl OlmChannel {
    /// Starts a channel to a device from its device keys and a claimed one-time key of it.
    pub fn create_outbound_channel(
        account: &Arc<Account>,
        recipient_device_keys: &Object,
        recipient_one_time_key: &Object,
    ) -> Result<Self> {
        let _entered = account.enter()?;
        let device = DeviceKeys::read(recipient_device_keys)?;
        let device_id = Some(device.device_id.as_str());
        Self::refuse_own(account, &device.user_id, &device.identity_key, device_id)?;
        let one_time_key = read_one_time_key(
            recipient_one_time_key,
            &device.user_id,
            &device.device_id,
            &device.fingerprint_key,
        )?;
        let now = time_of_use(account)?;
        let create = |channel: &Self| {
            let make = || {
                let session = account.create_outbound_session(device.identity_key, one_time_key)?;
                let fingerprint = Fingerprint::DeviceKeys(device.fingerprint_key.into());
                let mut state = ChannelState::new(Some(device.device_id.clone()), fingerprint);
                state.note_use(now);
                let mut batch = Batch::new();
                state.push(channel, session, &mut batch)?;
                put_channel(channel, &mut state, &mut batch)?;
                account.vault().commit(batch)?;
                Ok(state)
            };
            channel.shared.create(|| channel.load(), make)
        };
        let (channel, ()) = Self::create(account, &device.user_id, device.identity_key, create)?;
        Ok(channel)
    }

    /// Starts a channel from a first message. The channel is stored once the message is
    /// decrypted; the second result is the event, or why it has to be discarded (O20).
    pub fn create_from_encrypted_message(
        account: &Arc<Account>,
        partner_user_id: &str,
        partner_identity_key: &str,
        content: &Object,
        known: &KnownPartner<'_>,
    ) -> Result<(Self, Result<String>)> {
        let _entered = account.enter()?;
        let key = public_keys::curve25519("partner_identity_key", partner_identity_key)?;
        if let Some(device_id) = known.device_id {
            check_device_id("partner_device_id", device_id)?;
        }
        Self::refuse_own(account, partner_user_id, &key, known.device_id)?;
        let fingerprint = match known.fingerprint_key {
            None => Fingerprint::Unknown,
            Some(text) => Fingerprint::DeviceKeys(
                public_keys::ed25519("partner_fingerprint_key", text)?.into(),
            ),
        };
        let now = time_of_use(account)?;
        Self::create(account, partner_user_id, key, |channel| {
            let Incoming::Message(message) = channel.read_content(content)? else {
                return Err(malformed());
            };
            check_ratchet_key(&message)?;
            let OlmMessage::PreKey(message) = message else {
                return Err(E2eeError::unable_to_decrypt(
                    "no_matching_session",
                    "the message belongs to a session that is not known",
                ));
            };
            channel.check_identity(&message)?;
            let is_strangers = fingerprint == Fingerprint::Unknown;
            let surplus = is_strangers.then(|| Surplus::of(channel)).transpose()?;
            let mut leaving = Leaving::default();
            let mut event = None;
            let make = || {
                account.create_inbound_session(&message, |session, plaintext, batch| {
                    let device_id = known.device_id.map(str::to_owned);
                    let mut state = ChannelState::new(device_id, fingerprint);
                    state.is_unanswered = true;
                    state.note_use(now);
                    state.push(channel, session, batch)?;
                    event = Some(receive_plaintext(channel, &mut state, plaintext));
                    put_channel(channel, &mut state, batch)?;
                    if let Some(surplus) = &surplus {
                        leaving.make_room(surplus, batch)?;
                    }
                    Ok(state)
                })
            };
            channel.shared.create(|| channel.load(), make)?;
            leaving.have_left();
            event.ok_or_else(|| E2eeError::panic("internal error"))
        })
    }
}
