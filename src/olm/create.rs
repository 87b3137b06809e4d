//! Making channels (O3-O6, O20).

use std::sync::Arc;

use vodozemac::olm::OlmMessage;

use super::OlmChannel;
use super::decrypt::{Incoming, receive_plaintext};
use super::record::{ChannelState, Fingerprint, put_channel};
use crate::account::Account;
use crate::device_keys::{DeviceKeys, read_one_time_key};
use crate::error::{E2eeError, Result};
use crate::identifiers::check_device_id;
use crate::json::Object;
use crate::public_keys;
use crate::store::Batch;

/// What the caller already knows of the other device.
#[derive(Debug, Default)]
pub struct KnownPartner<'a> {
    /// Its device ID.
    pub device_id: Option<&'a str>,
    /// Its fingerprint key, which then counts as verified.
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
        let one_time_key = read_one_time_key(
            recipient_one_time_key,
            &device.user_id,
            &device.device_id,
            &device.fingerprint_key,
        )?;
        let channel = Self::named(account, &device.user_id, device.identity_key)?;
        channel.shared.create(
            || channel.load(),
            || {
                let session = account.create_outbound_session(device.identity_key, one_time_key)?;
                let fingerprint = Fingerprint::Verified(device.fingerprint_key.into());
                let mut state = ChannelState::new(Some(device.device_id.clone()), fingerprint);
                let mut batch = Batch::new();
                state.push(&channel, session, &mut batch)?;
                put_channel(&channel, &state, &mut batch)?;
                account.vault().commit(batch)?;
                Ok(state)
            },
        )?;
        channel.keep();
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
        let fingerprint = match known.fingerprint_key {
            None => Fingerprint::Unknown,
            Some(text) => {
                Fingerprint::Verified(public_keys::ed25519("partner_fingerprint_key", text)?.into())
            }
        };
        let channel = Self::named(account, partner_user_id, key)?;
        let message = match channel.read_content(content)? {
            Incoming::Message(OlmMessage::PreKey(message)) => message,
            Incoming::Message(OlmMessage::Normal(_)) => {
                return Err(E2eeError::unable_to_decrypt(
                    "no_matching_session",
                    "the message belongs to a session that is not known",
                ));
            }
            Incoming::Malformed => return Err(super::decrypt::malformed()),
        };
        channel.check_identity(&message)?;
        let mut event = None;
        channel.shared.create(
            || channel.load(),
            || {
                account.create_inbound_session(&message, |session, plaintext, batch| {
                    let device_id = known.device_id.map(str::to_owned);
                    let mut state = ChannelState::new(device_id, fingerprint);
                    state.push(&channel, session, batch)?;
                    event = Some(receive_plaintext(&channel, &mut state, plaintext));
                    put_channel(&channel, &state, batch)?;
                    Ok(state)
                })
            },
        )?;
        channel.keep();
        let event = event.ok_or_else(|| E2eeError::panic("internal error"))?;
        Ok((channel, event))
    }
}
