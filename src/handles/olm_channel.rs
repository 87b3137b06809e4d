use std::fmt;
use std::sync::Arc;

use vodozemac::Curve25519PublicKey;
use zeroize::Zeroizing;

use super::Account;
use crate::base::identifiers::{DeviceId, EventType, UserId};
use crate::base::json::{self, ARGUMENT_LIMIT, DEVICE_LIMIT, EVENT_LIMIT};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::DeviceKeys;
use crate::sessions::olm;
use crate::store::Transaction;

/// All Olm sessions between this device and one other, found by its user and its identity key.
///
/// The session that received last encrypts; at most 8 are kept. A channel survives restarts.
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct OlmChannel {
    core: olm::OlmChannel,
    /// It may hold a room key (SEC-108).
    first_event: Option<Result<Zeroizing<String>>>,
}

impl fmt::Debug for OlmChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OlmChannel").finish_non_exhaustive()
    }
}

impl OlmChannel {
    fn begin(&self) -> Result<Transaction<'_>> {
        self.core.account().begin()
    }
}

fn read_partner(user_id: &str, identity_key: &str) -> Result<(UserId, Curve25519PublicKey)> {
    let identity_key = public_keys::curve25519("partner_identity_key", identity_key)?;
    Ok((UserId::read("partner_user_id", user_id)?, identity_key))
}

fn pickle_texts(list: &[serde_json::Value]) -> Result<Vec<&str>> {
    list.iter()
        .map(|pickle| {
            pickle
                .as_str()
                .ok_or_else(|| E2eeError::invalid_field("pickles", "has an item that is no text"))
        })
        .collect()
}

#[cfg_attr(feature = "uniffi", cfg_eval::cfg_eval, uniffi::export)]
impl OlmChannel {
    /// Starts a channel to a device. The signatures of both keys are checked; `partner` then
    /// says `device_keys` of the fingerprint. The channel is durable when this returns.
    ///
    /// `recipient_device_keys`: the device's entry of `/keys/query`. `recipient_one_time_key`:
    /// `{key_id: key object}`, the device's entry of what `read_keys_claim_response` gives.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD (also `partner`: the account's own device, with which it
    /// has no channel), INVALID_KEY, BAD_SIGNATURE, UNKNOWN_ALGORITHM, TOO_LARGE, ALREADY_EXISTS
    /// (then open it and call `add_outbound_olm_session`), STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn create_outbound_channel(
        account: &Account,
        recipient_device_keys: &str,
        recipient_one_time_key: &str,
    ) -> Result<Arc<Self>> {
        let device_keys =
            json::parse_object("recipient_device_keys", recipient_device_keys, DEVICE_LIMIT)?;
        let one_time_key =
            json::parse_object("recipient_one_time_key", recipient_one_time_key, DEVICE_LIMIT)?;
        let device = DeviceKeys::read(&device_keys)?;
        let mut tx = account.core.begin()?;
        let core = olm::OlmChannel::create_outbound_channel(
            &account.core,
            &mut tx,
            device,
            &one_time_key,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core, first_event: None }))
    }

    /// Starts a channel from the first message of a device that no channel exists for.
    ///
    /// Succeeds once the message is decrypted: the channel is stored then, together with the
    /// account, whose one-time key is used up. `first_event` gives the event, or why it must be
    /// discarded. Before that point it fails and stores nothing.
    ///
    /// Anybody can send such messages, under any number of invented devices: `Account.list_channels`
    /// says how many of these channels there may be. Until something was sent in it, or the device's
    /// keys were given, a channel may make room for another; then its handles answer NOT_FOUND.
    ///
    /// `content`: the content of the `m.room.encrypted` to-device event. `partner_device_id`,
    /// `partner_fingerprint_key`: what the caller knows from the device's signed keys, else null.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD (also `partner`: the account's own device), INVALID_KEY,
    /// UNKNOWN_ALGORITHM, NOT_ENCRYPTED_FOR_US, UNABLE_TO_DECRYPT, INVALID_MESSAGE (message type),
    /// TOO_LARGE, ALREADY_EXISTS, CLOCK_FAILED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor(default(partner_device_id = None, partner_fingerprint_key = None)))]
    pub fn create_from_encrypted_message(
        account: &Account,
        partner_user_id: &str,
        partner_identity_key: &str,
        content: &str,
        partner_device_id: Option<String>,
        partner_fingerprint_key: Option<String>,
    ) -> Result<Arc<Self>> {
        let content = json::parse_object("content", content, EVENT_LIMIT)?;
        let (user_id, key) = read_partner(partner_user_id, partner_identity_key)?;
        let device_id = partner_device_id.as_deref();
        let fingerprint_key = partner_fingerprint_key.as_deref();
        let known = olm::KnownPartner {
            device_id: device_id.map(|id| DeviceId::read("partner_device_id", id)).transpose()?,
            fingerprint_key: fingerprint_key
                .map(|key| public_keys::ed25519("partner_fingerprint_key", key))
                .transpose()?,
        };
        let mut tx = account.core.begin()?;
        let (core, event) = olm::OlmChannel::create_from_encrypted_message(
            &account.core,
            &mut tx,
            &user_id,
            key,
            &content,
            known,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core, first_event: Some(event.map(Zeroizing::new)) }))
    }

    /// Opens a stored channel.
    ///
    /// Errors: NOT_FOUND, INVALID_FIELD, INVALID_KEY, STORE_CLOSED, STORE_IO, CORRUPT,
    /// NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn create_from_storage(
        account: &Account,
        partner_user_id: &str,
        partner_identity_key: &str,
    ) -> Result<Arc<Self>> {
        let (user_id, key) = read_partner(partner_user_id, partner_identity_key)?;
        let mut tx = account.core.begin()?;
        let core = olm::OlmChannel::create_from_storage(&account.core, &mut tx, user_id, key)?;
        Ok(Arc::new(Self { core, first_event: None }))
    }

    /// Stores sessions that libolm pickled. An existing channel receives those that it lacks, as
    /// older than its own; one that it has is not put back to an older state. Durable when this
    /// returns; from then on the old copies must not be used.
    ///
    /// `pickles`: a JSON list of libolm's base64 texts, in the order in which the sessions last
    /// received, oldest first: the last one encrypts. `pickle_key`: the bytes they were pickled
    /// with, of any length.
    ///
    /// A session belongs to one channel, and one that was erased here, or made room for another,
    /// does not come back: its ratchet would be used twice.
    ///
    /// Errors: WRONG_KEY, INVALID_JSON, INVALID_FIELD (also a session between other devices, or of
    /// another channel; `partner`: the account's own device), NEWER_FORMAT, INVALID_KEY,
    /// ALREADY_EXISTS (all of them were erased here), STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_libolm_pickles(
        account: &Account,
        partner_user_id: &str,
        partner_identity_key: &str,
        pickles: &str,
        pickle_key: Vec<u8>,
    ) -> Result<Arc<Self>> {
        let pickle_key = Zeroizing::new(pickle_key);
        let list = json::parse_list("pickles", pickles, ARGUMENT_LIMIT)?;
        let (user_id, key) = read_partner(partner_user_id, partner_identity_key)?;
        let mut tx = account.core.begin_alone()?;
        let core = olm::OlmChannel::from_libolm_pickles(
            &account.core,
            &mut tx,
            user_id,
            key,
            &pickle_texts(&list)?,
            &pickle_key,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core, first_event: None }))
    }

    /// Stores sessions that vodozemac pickled. As `from_libolm_pickles`, but `pickle_key` has
    /// exactly 32 bytes.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, INVALID_LENGTH, INVALID_KEY, WRONG_KEY,
    /// ALREADY_EXISTS, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_vodozemac_pickles(
        account: &Account,
        partner_user_id: &str,
        partner_identity_key: &str,
        pickles: &str,
        pickle_key: Vec<u8>,
    ) -> Result<Arc<Self>> {
        let pickle_key = Zeroizing::new(pickle_key);
        let list = json::parse_list("pickles", pickles, ARGUMENT_LIMIT)?;
        let (user_id, key) = read_partner(partner_user_id, partner_identity_key)?;
        let mut tx = account.core.begin_alone()?;
        let core = olm::OlmChannel::from_vodozemac_pickles(
            &account.core,
            &mut tx,
            user_id,
            key,
            &pickle_texts(&list)?,
            &pickle_key,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core, first_event: None }))
    }

    /// The event of the message that this very handle was created from; may be read repeatedly.
    ///
    /// Errors: NOT_FOUND (any other handle), INVALID_MESSAGE or MISMATCHED_FINGERPRINT (the
    /// message was decrypted, but must be discarded).
    pub fn first_event(&self) -> Result<String> {
        self.core.session_count(&mut self.begin()?)?;
        match &self.first_event {
            Some(Ok(event)) => Ok(event.to_string()),
            Some(Err(error)) => Err(error.clone()),
            None => Err(E2eeError::not_found("this handle was not created from a message")),
        }
    }

    /// Adds a session made from a claimed one-time key; it is the next to be used. Durable when
    /// this returns.
    ///
    /// Errors: UNKNOWN_FINGERPRINT (pass the device's keys to `set_partner_device_keys` first),
    /// INVALID_JSON, INVALID_FIELD, INVALID_KEY, BAD_SIGNATURE, UNKNOWN_ALGORITHM, STORE_IO.
    pub fn add_outbound_olm_session(&self, one_time_key: &str) -> Result<()> {
        let one_time_key = json::parse_object("one_time_key", one_time_key, DEVICE_LIMIT)?;
        let mut tx = self.begin()?;
        self.core.add_outbound_olm_session(&mut tx, &one_time_key)?;
        tx.commit()
    }

    /// Encrypts an event and returns the content of `m.room.encrypted`: `{"algorithm",
    /// "sender_key", "ciphertext": {identity_key: {"type", "body"}}}`. The session is durable
    /// before this returns; the caller keeps and resends these bytes, never encrypts again.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, UNKNOWN_FINGERPRINT, NO_SESSION, STORE_IO.
    pub fn encrypt(&self, event_type: &str, content: &str) -> Result<String> {
        let event_type = EventType::read("event_type", event_type)?;
        let content = json::parse_raw_field("content", content, EVENT_LIMIT)?;
        let mut tx = self.begin()?;
        let encrypted = self.core.encrypt(&mut tx, &event_type, content)?;
        tx.commit()?;
        Ok(encrypted)
    }

    /// Decrypts the content of an `m.room.encrypted` to-device event and returns the plaintext
    /// object: `{"type", "content", "sender", "recipient", "recipient_keys", "keys", ...}`.
    ///
    /// The session, and an account's used one-time key, are durable before this returns. After
    /// INVALID_MESSAGE or MISMATCHED_FINGERPRINT the message is consumed: discard it. After
    /// UNABLE_TO_DECRYPT nothing has changed but, for good, the answer of
    /// `should_create_new_session`: ask it.
    ///
    /// A kill between this and `InboundMegolmSession.from_room_key` may lose that room key.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, INVALID_KEY, UNKNOWN_ALGORITHM, NOT_ENCRYPTED_FOR_US,
    /// UNABLE_TO_DECRYPT, INVALID_MESSAGE, MISMATCHED_FINGERPRINT, TOO_LARGE, CLOCK_FAILED (a first
    /// message), STORE_IO.
    pub fn decrypt(&self, content: &str) -> Result<String> {
        let content = json::parse_object("content", content, EVENT_LIMIT)?;
        let mut tx = self.begin()?;
        let event = self.core.decrypt(&mut tx, &content);
        tx.finish(event)
    }

    /// How many Olm sessions the channel holds.
    pub fn session_count(&self) -> Result<u32> {
        let count = self.core.session_count(&mut self.begin()?)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Takes the other device's keys from `/keys/query`: the fingerprint is known from device keys
    /// from then on (`device_keys`). That is no verification, which is something that people do.
    /// Durable when this returns.
    ///
    /// The device ID may be another than before, as a new login of an old store makes it; the
    /// channel has the new one then. Messages whose sender names another ID are read as well; the
    /// channel takes over the ID from them only while nobody has given it the device's keys.
    ///
    /// Errors: MISMATCHED_FINGERPRINT (another one is known), INVALID_FIELD (another user or
    /// identity key; `partner`: the account's own device), INVALID_JSON, INVALID_KEY, BAD_SIGNATURE,
    /// TOO_LARGE, STORE_IO.
    pub fn set_partner_device_keys(&self, device_keys: &str) -> Result<()> {
        let device_keys = json::parse_object("device_keys", device_keys, DEVICE_LIMIT)?;
        let device_keys = DeviceKeys::read(&device_keys)?;
        let mut tx = self.begin()?;
        self.core.set_partner_device_keys(&mut tx, device_keys)?;
        tx.commit()
    }

    /// What is known of the other device: `{"user_id", "identity_key", "device_id"?,
    /// "fingerprint_key"?, "fingerprint": "unknown|learned|device_keys"}`. A learned fingerprint
    /// stood in a decrypted message; it is enforced, but proves nothing. One of `device_keys` came
    /// in signed device keys, or as a key, that the caller gave. Neither says that a person
    /// verified anything.
    pub fn partner(&self) -> Result<String> {
        let partner = self.core.partner(&mut self.begin()?)?;
        json::to_text(&partner)
    }

    /// Whether to claim a one-time key, call `add_outbound_olm_session` and send an `m.dummy`
    /// event, because a message could not be decrypted. True at most once an hour; a true answer
    /// is durable before this returns.
    ///
    /// Errors: CLOCK_FAILED, STORE_CLOSED, STORE_IO.
    pub fn should_create_new_session(&self) -> Result<bool> {
        let mut tx = self.begin()?;
        let should = self.core.should_create_new_session(&mut tx)?;
        tx.commit()?;
        Ok(should)
    }

    /// Deletes the channel. Every handle on it answers NOT_FOUND from then on.
    pub fn erase(&self) -> Result<()> {
        let mut tx = self.begin()?;
        self.core.erase(&mut tx)?;
        tx.commit()
    }
}
