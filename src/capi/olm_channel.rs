//! The channel to another device in C.

use std::ffi::c_char;

use super::account::matrixe2ee_account;
use super::boundary::{answer, optional_text, perform, release, secret, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::tickets::{borrow, free};
use crate::OlmChannel;

/// All Olm sessions with one other device: the encrypted way to send it room keys
/// and other to-device events.
pub struct matrixe2ee_olm_channel {
    _private: [u8; 0],
}

/// Makes the channel to a device with which there is none yet.
///
/// The signatures of both arguments are checked. On return the channel is on disk.
///
/// \param recipient_device_keys the device's entry in the answer to /keys/query:
/// {"user_id": "...", "device_id": "...", "algorithms": [...], "keys": {...},
/// "signatures": {...}}.
/// \param recipient_one_time_key one claimed key, {"signed_curve25519:AAAAHQ":
/// {"key": "...", "signatures": {...}}}: what
/// matrixe2ee_read_keys_claim_response() gives for the device.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD (also "partner": the own device), TOO_LARGE,
/// INVALID_KEY, BAD_SIGNATURE, UNKNOWN_ALGORITHM, ALREADY_EXISTS (open it with
/// matrixe2ee_olm_channel_create_from_storage() and add a session).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_create_outbound_channel(
    account: *const matrixe2ee_account,
    recipient_device_keys: *const c_char,
    recipient_one_time_key: *const c_char,
    out: *mut *mut matrixe2ee_olm_channel,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OlmChannel::create_outbound_channel(
                &*borrow(account)?,
                text("recipient_device_keys", recipient_device_keys)?,
                text("recipient_one_time_key", recipient_one_time_key)?,
            )
        })
    }
}

/// Makes the channel from the first message of a device with which there is none
/// yet.
///
/// The call succeeds once the channel is on disk and the one-time key is used up;
/// matrixe2ee_olm_channel_first_event() then gives the decrypted event, or fails
/// with what is wrong with it. If this call fails, nothing has changed.
///
/// Anybody can send such messages, under any number of invented devices:
/// matrixe2ee_account_list_channels() says how many of these channels there may be.
/// Until something was sent in it, or the device's keys were given, a channel may make
/// room for another; then its handles answer NOT_FOUND.
///
/// \param partner_user_id the event's "sender".
/// \param partner_identity_key the "sender_key" of the event's content.
/// \param content the event's content: {"algorithm":
/// "m.olm.v1.curve25519-aes-sha2", "sender_key": "...", "ciphertext": {"<our
/// identity key>": {"type": 0, "body": "..."}}}.
/// \param partner_device_id the device ID, if it is known; NULL otherwise.
/// \param partner_fingerprint_key the device's Ed25519 key, if it is known from
/// device keys that were checked; NULL otherwise.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD (also "partner": the own device), TOO_LARGE,
/// INVALID_KEY, UNKNOWN_ALGORITHM, NOT_ENCRYPTED_FOR_US, UNABLE_TO_DECRYPT,
/// INVALID_MESSAGE (no message type 0 or 1), CLOCK_FAILED, ALREADY_EXISTS (open it with
/// matrixe2ee_olm_channel_create_from_storage() and decrypt there).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_create_from_encrypted_message(
    account: *const matrixe2ee_account,
    partner_user_id: *const c_char,
    partner_identity_key: *const c_char,
    content: *const c_char,
    partner_device_id: *const c_char,
    partner_fingerprint_key: *const c_char,
    out: *mut *mut matrixe2ee_olm_channel,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OlmChannel::create_from_encrypted_message(
                &*borrow(account)?,
                text("partner_user_id", partner_user_id)?,
                text("partner_identity_key", partner_identity_key)?,
                text("content", content)?,
                optional_text("partner_device_id", partner_device_id)?,
                optional_text("partner_fingerprint_key", partner_fingerprint_key)?,
            )
        })
    }
}

/// Opens a channel that is stored.
///
/// \param out the channel, to be released with matrixe2ee_olm_channel_free(); every
/// handle to one channel stands for the same live object.
///
/// Errors: NOT_FOUND (there is none), INVALID_FIELD, INVALID_KEY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_create_from_storage(
    account: *const matrixe2ee_account,
    partner_user_id: *const c_char,
    partner_identity_key: *const c_char,
    out: *mut *mut matrixe2ee_olm_channel,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OlmChannel::create_from_storage(
                &*borrow(account)?,
                text("partner_user_id", partner_user_id)?,
                text("partner_identity_key", partner_identity_key)?,
            )
        })
    }
}

/// Takes over the Olm sessions with one device that libolm (olm_pickle_session) has
/// pickled.
///
/// An existing channel gets the sessions that it lacks, as older than its own; one
/// that it has is not put back to an older state. On return they are on disk; from
/// then on the old copies must not be used.
///
/// \param pickles a JSON list of pickles, in the order in which the sessions last
/// received, the oldest first: ["...", "..."]. The last one encrypts.
/// \param pickle_key the key that they were written with; wipe your copy after the
/// call.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// A session belongs to one channel. A session that was erased here, or made room
/// for another, does not come back: its ratchet would be used twice.
///
/// Errors: WRONG_KEY, INVALID_JSON, INVALID_FIELD (not such a pickle, a session
/// between other devices or of another channel, or "partner": the own device),
/// INVALID_KEY, NEWER_FORMAT (of a libolm that is not known yet), ALREADY_EXISTS (all
/// of them were erased here).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_from_libolm_pickles(
    account: *const matrixe2ee_account,
    partner_user_id: *const c_char,
    partner_identity_key: *const c_char,
    pickles: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    out: *mut *mut matrixe2ee_olm_channel,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OlmChannel::from_libolm_pickles(
                &*borrow(account)?,
                text("partner_user_id", partner_user_id)?,
                text("partner_identity_key", partner_identity_key)?,
                text("pickles", pickles)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
            )
        })
    }
}

/// Takes over the Olm sessions with one device that vodozemac has pickled.
///
/// An existing channel gets the sessions that it lacks, as older than its own. On
/// return they are on disk; from then on the old copies must not be used.
///
/// \param pickles a JSON list of pickles, the oldest first: ["...", "..."].
/// \param pickle_key the key that they were written with; wipe your copy after the
/// call.
/// \param out the channel, to be released with matrixe2ee_olm_channel_free().
///
/// Errors: WRONG_KEY, INVALID_LENGTH (pickle_key_len is not 32), INVALID_JSON,
/// INVALID_FIELD (not such a pickle, or a session of another channel), INVALID_KEY,
/// ALREADY_EXISTS (all of them were erased here; they do not come back).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_from_vodozemac_pickles(
    account: *const matrixe2ee_account,
    partner_user_id: *const c_char,
    partner_identity_key: *const c_char,
    pickles: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    out: *mut *mut matrixe2ee_olm_channel,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OlmChannel::from_vodozemac_pickles(
                &*borrow(account)?,
                text("partner_user_id", partner_user_id)?,
                text("partner_identity_key", partner_identity_key)?,
                text("pickles", pickles)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
            )
        })
    }
}

/// The event that came with the message the channel was made from.
///
/// It is kept in memory by the handle that
/// matrixe2ee_olm_channel_create_from_encrypted_message() gave, and may be read
/// repeatedly.
///
/// \param out the decrypted event, as from matrixe2ee_olm_channel_decrypt(), to be
/// released with matrixe2ee_string_free().
///
/// Errors: NOT_FOUND (any other handle), INVALID_MESSAGE, MISMATCHED_FINGERPRINT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_first_event(
    channel: *const matrixe2ee_olm_channel,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(channel)?.first_event()) }
}

/// Adds a new Olm session, for example when
/// matrixe2ee_olm_channel_should_create_new_session() says so. On return it is on
/// disk.
///
/// \param one_time_key one claimed key of the device, {"signed_curve25519:AAAAHQ":
/// {...}}.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, INVALID_KEY, BAD_SIGNATURE,
/// UNKNOWN_ALGORITHM, UNKNOWN_FINGERPRINT (give the device keys first, with
/// matrixe2ee_olm_channel_set_partner_device_keys()).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_add_outbound_olm_session(
    channel: *const matrixe2ee_olm_channel,
    one_time_key: *const c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            borrow(channel)?.add_outbound_olm_session(text("one_time_key", one_time_key)?)
        })
    }
}

/// Encrypts an event for the device.
///
/// On return the session's new state is on disk, so that no key is used twice even
/// after a crash. Send what was returned, and send the same again if sending
/// failed: never encrypt again for a second try.
///
/// \param event_type for example "m.room_key".
/// \param content the event's content, a JSON object.
/// \param out the content of an m.room.encrypted event for /sendToDevice:
/// {"algorithm": "m.olm.v1.curve25519-aes-sha2", "sender_key": "...", "ciphertext":
/// {"...": {"type": 0, "body": "..."}}}, to be released with
/// matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, NO_SESSION, UNKNOWN_FINGERPRINT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_encrypt(
    channel: *const matrixe2ee_olm_channel,
    event_type: *const c_char,
    content: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            borrow(channel)?.encrypt(text("event_type", event_type)?, text("content", content)?)
        })
    }
}

/// Decrypts a message of the device and checks what it says of itself.
///
/// On return the session's new state is on disk: the same message does not decrypt
/// again. Store what comes out before you acknowledge the /sync answer that brought
/// it; see the beginning of this header on room keys.
///
/// \param content the content of the m.room.encrypted event.
/// \param out the event: {"type": "m.room_key", "content": {...}, "sender": "...",
/// "recipient": "...", "recipient_keys": {...}, "keys": {...}}, to be released with
/// matrixe2ee_string_free(). It is secret: it may hold a room key.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, INVALID_KEY, UNKNOWN_ALGORITHM,
/// NOT_ENCRYPTED_FOR_US, UNABLE_TO_DECRYPT (nothing has changed but the answer of
/// matrixe2ee_olm_channel_should_create_new_session(): ask it), CLOCK_FAILED
/// (a first message), INVALID_MESSAGE, MISMATCHED_FINGERPRINT. After the last two the
/// ratchet has moved on, and the message is to be discarded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_decrypt(
    channel: *const matrixe2ee_olm_channel,
    content: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(channel)?.decrypt(text("content", content)?)) }
}

/// The number of Olm sessions in the channel, at most 8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_session_count(
    channel: *const matrixe2ee_olm_channel,
    out: *mut u32,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(channel)?.session_count()) }
}

/// Gives the channel the partner's signed device keys, from /keys/query. They are
/// checked; the fingerprint is then "device_keys". On return it is on disk.
///
/// The device ID may be another than before, as a new login of an old store makes it;
/// the channel has the new one then. Messages whose sender names another ID are read as
/// well; the channel takes over the ID from them only while nobody has given it keys.
///
/// \param device_keys {"user_id": "...", "device_id": "...", "algorithms": [...],
/// "keys": {...}, "signatures": {...}}.
///
/// Errors: INVALID_JSON, INVALID_FIELD (keys of another device, or the own one), TOO_LARGE,
/// INVALID_KEY, BAD_SIGNATURE, MISMATCHED_FINGERPRINT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_set_partner_device_keys(
    channel: *const matrixe2ee_olm_channel,
    device_keys: *const c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || borrow(channel)?.set_partner_device_keys(text("device_keys", device_keys)?))
    }
}

/// Who the other device is, as far as is known.
///
/// \param out {"user_id": "@bob:example.org", "identity_key": "...", "device_id":
/// "BOBDEVICE", "fingerprint_key": "...", "fingerprint": "device_keys"}, to be
/// released with matrixe2ee_string_free(). "fingerprint" is "unknown", "learned"
/// (from a message) or "device_keys" (given by the caller); "device_id" and
/// "fingerprint_key" are absent while unknown.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_partner(
    channel: *const matrixe2ee_olm_channel,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(channel)?.partner()) }
}

/// Whether the sessions with this device are broken, so that a new one should be
/// made: claim a key, call matrixe2ee_olm_channel_add_outbound_olm_session() and
/// send an m.dummy event.
///
/// True at most once an hour; a true answer is on disk on return.
///
/// Errors: CLOCK_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_should_create_new_session(
    channel: *const matrixe2ee_olm_channel,
    out: *mut bool,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(channel)?.should_create_new_session()) }
}

/// Erases the channel and its sessions.
///
/// On return it is gone from disk, and every handle to it answers NOT_FOUND. The
/// handles must still be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_erase(
    channel: *const matrixe2ee_olm_channel,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(channel)?.erase()) }
}

/// Releases a channel handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_olm_channel_free(channel: *mut matrixe2ee_olm_channel) {
    release(|| free(channel));
}
