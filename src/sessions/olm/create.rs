//! Making channels (O3-O6, O20).

use std::sync::Arc;

use vodozemac::Curve25519PublicKey;
use vodozemac::olm::OlmMessage;

use super::decrypt::{Incoming, check_ratchet_key, malformed, receive_plaintext};
use super::record::{ChannelState, Fingerprint, FingerprintKey};
use super::{OlmChannel, strangers, time_of_use};
use crate::base::identifiers::{DeviceId, UserId};
use crate::base::json::Object;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::{DeviceKeys, read_one_time_key};
use crate::store::Transaction;

/// What the caller already knows of the other device.
#[derive(Debug, Default)]
pub struct KnownPartner {
    /// Its device ID.
    pub device_id: Option<DeviceId>,
    /// Its fingerprint key, which then counts as known from device keys.
    pub fingerprint_key: Option<vodozemac::Ed25519PublicKey>,
}

impl OlmChannel {
    /// Starts a channel to a device from its device keys and a claimed one-time key of it.
    pub fn create_outbound_channel(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        device: DeviceKeys,
        one_time_key: &Object,
    ) -> Result<Self> {
        let device_id = Some(device.device_id.as_str());
        Self::refuse_own(account, &device.user_id, &device.identity_key, device_id)?;
        let one_time_key = read_one_time_key(
            one_time_key,
            &device.user_id,
            &device.device_id,
            &device.fingerprint_key,
        )?;
        let (channel, known) = Self::find(account, tx, &device.user_id, device.identity_key)?;
        if known.is_some() {
            return Err(already_exists());
        }
        let session = account.create_outbound_session(tx, device.identity_key, one_time_key)?;
        let fingerprint = Fingerprint::DeviceKeys(device.fingerprint_key.into());
        let mut state = ChannelState::new(Some(device.device_id), fingerprint);
        state.note_use(time_of_use(tx)?);
        state.push(&channel, session, tx)?;
        channel.create(tx, state)?;
        Ok(channel)
    }

    /// Starts a channel from a first message. The channel exists once the message is
    /// decrypted; the second result is the event, or why it has to be discarded (O20).
    pub fn create_from_encrypted_message(
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        partner_user_id: &UserId,
        partner_identity_key: Curve25519PublicKey,
        content: &Object,
        known: KnownPartner,
    ) -> Result<(Self, Result<String>)> {
        let KnownPartner { device_id, fingerprint_key } = known;
        Self::refuse_own(account, partner_user_id, &partner_identity_key, device_id.as_deref())?;
        let (channel, known) = Self::find(account, tx, partner_user_id, partner_identity_key)?;
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
        if known.is_some() {
            return Err(already_exists());
        }
        let (session, plaintext) = account.create_inbound_session(tx, &message)?;
        let fingerprint = fingerprint_key.map(FingerprintKey::from);
        let fingerprint = fingerprint.map_or(Fingerprint::Unknown, Fingerprint::DeviceKeys);
        if fingerprint == Fingerprint::Unknown {
            strangers::make_room(&channel, tx)?;
        }
        let mut state = ChannelState::new(device_id, fingerprint);
        state.is_unanswered = true;
        state.note_use(time_of_use(tx)?);
        state.push(&channel, session, tx)?;
        let event = receive_plaintext(&channel, &mut state, plaintext);
        channel.create(tx, state)?;
        Ok((channel, event))
    }
}

fn already_exists() -> E2eeError {
    E2eeError::already_exists("the channel is stored already")
}
