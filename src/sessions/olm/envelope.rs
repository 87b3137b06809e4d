//! The plaintext of an Olm message: what it must say of its sender and recipient
//! (O10, O17, S9; SEC-32, SEC-33; spec: "Validation of incoming decrypted events").

use serde_json::Value;
use serde_json::value::RawValue;

use super::{ChannelState, Fingerprint, FingerprintKey, OlmChannel};
use crate::base::json::{self, EVENT_LIMIT, Object};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::DeviceKeys;

#[derive(serde::Serialize)]
struct Plaintext<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    content: &'a RawValue,
    sender: &'a str,
    recipient: &'a str,
    recipient_keys: Ed25519Key<'a>,
    keys: Ed25519Key<'a>,
    sender_device_keys: &'a RawValue,
}

#[derive(serde::Serialize)]
struct Ed25519Key<'a> {
    ed25519: &'a str,
}

/// Writes the plaintext of an event for the partner (O10, D30).
pub(super) fn write(
    channel: &OlmChannel,
    partner_fingerprint: FingerprintKey,
    event_type: &str,
    content: &RawValue,
) -> Result<String> {
    let account = &channel.account;
    json::to_text(&Plaintext {
        event_type,
        content,
        sender: account.user_id(),
        recipient: &channel.partner_user_id,
        recipient_keys: Ed25519Key { ed25519: &partner_fingerprint.to_base64() },
        keys: Ed25519Key { ed25519: &account.fingerprint_key().to_base64() },
        sender_device_keys: serde_json::from_str(account.device_keys())
            .map_err(|_| E2eeError::invalid_json("the device keys cannot be written"))?,
    })
}

/// Checks a decrypted plaintext; gives it back as text with the sender's fingerprint key.
pub(super) fn check(
    channel: &OlmChannel,
    state: &mut ChannelState,
    plaintext: Vec<u8>,
) -> Result<(String, FingerprintKey)> {
    let text = String::from_utf8(plaintext)
        .map_err(|_| E2eeError::invalid_message("the plaintext is not UTF-8"))?;
    let mut event = json::parse_object("the plaintext", &text, EVENT_LIMIT).map_err(discard)?;
    let fingerprint_key = check_fields(channel, state, &event).map_err(discard)?;
    state.fingerprint.check(fingerprint_key)?;
    match event.remove("sender_device_keys") {
        None => {}
        Some(Value::Object(entry)) => {
            check_device_keys(channel, state, entry, fingerprint_key).map_err(
                |error| match error {
                    E2eeError::InvalidMessage { .. } => error,
                    // Only the kind: its sentence holds texts of the plaintext (SEC-106).
                    other => E2eeError::invalid_message(format!(
                        "the decrypted message is invalid: its sender_device_keys are refused ({})",
                        other.name()
                    )),
                },
            )?;
        }
        Some(_) => return Err(E2eeError::invalid_message("sender_device_keys is no object")),
    }
    Ok((text, fingerprint_key))
}

/// Whatever is wrong inside a decrypted message: one error, "discard it" (D34).
fn discard(error: E2eeError) -> E2eeError {
    match error {
        E2eeError::InvalidMessage { .. } => error,
        other => E2eeError::invalid_message(format!("the decrypted message is invalid: {other}")),
    }
}

fn check_fields(
    channel: &OlmChannel,
    state: &ChannelState,
    event: &Object,
) -> Result<FingerprintKey> {
    let account = &channel.account;
    json::text(event, "type")?;
    json::object(event, "content")?;
    if json::text(event, "sender")? != &*channel.partner_user_id {
        return Err(E2eeError::invalid_message("the message names another sender"));
    }
    if json::text(event, "recipient")? != account.user_id() {
        return Err(E2eeError::invalid_message("the message is for another user"));
    }
    let recipient_key = json::text(json::object(event, "recipient_keys")?, "ed25519")?;
    if !public_keys::is_key(account.fingerprint_key().as_bytes(), recipient_key) {
        return Err(E2eeError::invalid_message("the message is for another device"));
    }
    let key = json::text(json::object(event, "keys")?, "ed25519")?;
    match state.fingerprint.key() {
        // Reading a key takes point arithmetic, comparing it with a known one does not.
        Some(known) if public_keys::is_key(known.as_bytes(), key) => Ok(known),
        // `check_device_keys` reads it, and refuses another one.
        None if event.contains_key("sender_device_keys") => {
            public_keys::ed25519_bytes("keys", key).map(FingerprintKey::from)
        }
        _ => public_keys::ed25519("keys", key).map(FingerprintKey::from),
    }
}

/// The sender's own device keys, if it sent them, must fit the sender and the message (S9).
///
/// A device sends the same ones in every message: their signature is verified once.
fn check_device_keys(
    channel: &OlmChannel,
    state: &mut ChannelState,
    entry: Object,
    fingerprint_key: FingerprintKey,
) -> Result<()> {
    let known = state.sender_device_keys.take().filter(|known| known.0 == entry);
    let known = match known {
        Some(known) => known,
        None => {
            let device_keys = DeviceKeys::read(&entry)?;
            Box::new((entry, device_keys))
        }
    };
    let device_keys = &known.1;
    let problem = if *device_keys.user_id != *channel.partner_user_id {
        "sender_device_keys belong to another user"
    } else if device_keys.identity_key.as_bytes() != channel.partner_identity_key.as_bytes() {
        "sender_device_keys hold another identity key"
    } else if device_keys.fingerprint_key.as_bytes() != fingerprint_key.as_bytes() {
        "sender_device_keys hold another fingerprint key"
    } else if device_keys.user_id == *channel.account.user_id()
        && device_keys.device_id == *channel.account.device_id()
    {
        "sender_device_keys belong to this device"
    } else {
        // A device ID may change while the keys stay. What the caller said of it counts more than
        // what the device says of itself.
        let given = matches!(state.fingerprint, Fingerprint::DeviceKeys(_));
        if !given || state.device_id.is_none() {
            state.device_id = Some(device_keys.device_id.clone());
        }
        state.sender_device_keys = Some(known);
        return Ok(());
    };
    Err(E2eeError::invalid_message(problem))
}
