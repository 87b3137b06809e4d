//! The session that encrypts for a room, in C.

use std::ffi::c_char;

use super::account::matrixe2ee_account;
use super::boundary::{answer, optional_text, perform, release, secret, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::tickets::{borrow, free};
use crate::OutboundMegolmSession;

/// The session that encrypts what this device sends to one room.
pub struct matrixe2ee_outbound_megolm_session {
    _private: [u8; 0],
}

/// Makes a new session and makes it the room's current one. On return it is on
/// disk.
///
/// The session that was the room's current one has expired for good with that, for
/// all its handles (SESSION_EXPIRED with the reason "superseded"): to whom its key
/// was sent is deleted in the same write. Messages that it has encrypted before can
/// be sent as ever, and it can be opened by its ID, given to
/// matrixe2ee_inbound_megolm_session_from_outbound_session() and erased. If this
/// fails, it is the current one as before. One whose record is damaged stays as it
/// is, out of use.
///
/// \param room_id for example "!room:example.org".
/// \param settings limits applied to the room's own values, each of them optional:
/// {"minimum_rotation_period_ms": 3600000, "maximum_rotation_period_msgs": 10000,
/// "reserve_ahead": 32, "old_shared_history_names": false}; NULL for these values.
/// reserve_ahead (0 to 1000) says how many messages one write to disk serves; a
/// crash skips the indices that were left, and they count as messages. With 0 or
/// 1, each message is written by itself. old_shared_history_names writes
/// m.shared_history, which matrix-sdk-crypto 0.19 reads, beside the
/// specification's shared_history, which it does not.
/// \param out the session, to be released with
/// matrixe2ee_outbound_megolm_session_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, CLOCK_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_create(
    account: *const matrixe2ee_account,
    room_id: *const c_char,
    settings: *const c_char,
    out: *mut *mut matrixe2ee_outbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OutboundMegolmSession::create(
                &*borrow(account)?,
                text("room_id", room_id)?,
                optional_text("settings", settings)?,
            )
        })
    }
}

/// Opens a session that is stored.
///
/// \param session_id which one; NULL for the room's current one.
/// \param out the session, to be released with
/// matrixe2ee_outbound_megolm_session_free(); every handle to one session stands
/// for the same live object.
///
/// Errors: NOT_FOUND, INVALID_FIELD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_create_from_storage(
    account: *const matrixe2ee_account,
    room_id: *const c_char,
    session_id: *const c_char,
    out: *mut *mut matrixe2ee_outbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OutboundMegolmSession::create_from_storage(
                &*borrow(account)?,
                text("room_id", room_id)?,
                optional_text("session_id", session_id)?,
            )
        })
    }
}

/// Takes over an outbound session that libolm (olm_pickle_outbound_group_session)
/// has pickled. It becomes the room's current one if the room has none. On return it
/// is on disk; from then on the old copy must not be used.
///
/// A pickle does not say who has the key, and somebody who has left the room since
/// may be among them. So
/// matrixe2ee_outbound_megolm_session_get_session_key_for_sending() answers
/// SESSION_EXPIRED (make a new session), unless
/// matrixe2ee_outbound_megolm_session_mark_as_sent() was told before which devices
/// have the key, all of them. Nor does it say when the session was made: its age
/// counts from now, its messages from its beginning.
///
/// \param pickle the pickle, as text.
/// \param pickle_key the key that it was written with; wipe your copy after the
/// call.
/// \param out the session, to be released with
/// matrixe2ee_outbound_megolm_session_free().
///
/// A session belongs to one room. A session that was erased here does not come back:
/// its ratchet would be used twice.
///
/// Errors: ALREADY_EXISTS (what is stored, or was, may have encrypted since),
/// WRONG_ROOM (it belongs to another room), WRONG_KEY, INVALID_FIELD (not such a
/// pickle), NEWER_FORMAT (of a libolm that is not known yet), CLOCK_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_from_libolm_pickle(
    account: *const matrixe2ee_account,
    room_id: *const c_char,
    pickle: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    out: *mut *mut matrixe2ee_outbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            OutboundMegolmSession::from_libolm_pickle(
                &*borrow(account)?,
                text("room_id", room_id)?,
                text("pickle", pickle)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
            )
        })
    }
}

/// The session's ID.
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_session_id(
    session: *const matrixe2ee_outbound_megolm_session,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.session_id()) }
}

/// The index of the next message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_message_index(
    session: *const matrixe2ee_outbound_megolm_session,
    out: *mut u32,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.message_index()) }
}

/// Says which devices still need the room key, and with what content. Call it
/// before each message, encrypt each content for its device with
/// matrixe2ee_olm_channel_encrypt(), send, and report with
/// matrixe2ee_outbound_megolm_session_mark_as_sent(). Until then a device is given
/// the same key again, also after a restart: that is on disk on return.
///
/// \param recipients {"encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
/// "history_visibility": "shared", "members": {"@bob:example.org": "join"},
/// "device_keys": {"@bob:example.org": {"DEVICE": {...}}}, "blocked":
/// {"@bob:example.org": {"OTHER": "m.blacklisted"}}}. "members" is complete; a
/// member who is absent from "device_keys" has no devices.
/// \param out [{"device": {...}, "content": {...}}], one entry for each device that
/// lacks the key, with its full device keys and the content of m.room_key. A
/// blocked device has {"device": {...}, "withheld": {...}} instead, the content of
/// m.room_key.withheld; a device whose keys fail their checks has {"device": {...},
/// "error": {...}}, counts as gone and spoils no other. "device" is the entry as it
/// was given, or {"user_id": "...", "device_id": "..."} if that is no object, cannot be
/// read or says that it is another device; without "device_id" if that is so of all
/// that is listed under the user. To be released with matrixe2ee_string_free(). It is
/// secret: it holds the room key.
///
/// The keys with which a device is first given a room key are remembered by the
/// account for good: with others it has the error MISMATCHED_FINGERPRINT, in every
/// room and session. Blocking a device that had the key expires the session, but
/// for "m.no_olm": it could only not be reached. The same text as the last time
/// costs little.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, ROOM_NOT_ENCRYPTED,
/// UNKNOWN_ALGORITHM, CLOCK_FAILED, SESSION_EXPIRED (someone who has the key is no
/// longer a recipient, or the session is used up: make a new one; or "superseded":
/// open the room's current one).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_get_session_key_for_sending(
    session: *const matrixe2ee_outbound_megolm_session,
    recipients: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            borrow(session)?.get_session_key_for_sending(text("recipients", recipients)?)
        })
    }
}

/// Reports to which devices the key, or the news that it is withheld, has been
/// sent. On return it is on disk.
///
/// \param devices the "device" objects that
/// matrixe2ee_outbound_megolm_session_get_session_key_for_sending() gave: [{...}].
/// For a session that was taken over, the first call tells who has its key already:
/// full device keys, as from /keys/query, or [] if nobody has. An entry that cannot
/// be read is INVALID_FIELD then, and nothing changes; later it is ignored. For a
/// superseded session nothing is noted, and that is no error.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_mark_as_sent(
    session: *const matrixe2ee_outbound_megolm_session,
    devices: *const c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(session)?.mark_as_sent(text("devices", devices)?)) }
}

/// Encrypts an event for the room.
///
/// On return the message's index can never be used again, even after a crash. Send
/// what was returned, and send the same again if sending failed: never encrypt
/// again for a second try.
///
/// \param event_type for example "m.room.message".
/// \param content the event's content, a JSON object: {"msgtype": "m.text", "body":
/// "Hello"}.
/// \param out the content of an m.room.encrypted event: {"algorithm":
/// "m.megolm.v1.aes-sha2", "sender_key": "...", "device_id": "...", "session_id":
/// "...", "ciphertext": "..."}, and "m.relates_to" if the content has it; to be
/// released with matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the event that the server makes of
/// it could have over 65,536 bytes; no index is used), CLOCK_FAILED, SESSION_EXPIRED
/// (make a new session, or if it is "superseded", open the room's current one).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_encrypt(
    session: *const matrixe2ee_outbound_megolm_session,
    event_type: *const c_char,
    content: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            borrow(session)?.encrypt(text("event_type", event_type)?, text("content", content)?)
        })
    }
}

/// Ends the use of the session: from now on it encrypts nothing. Call it when
/// someone has left the room. On return it is on disk.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_invalidate(
    session: *const matrixe2ee_outbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(session)?.invalidate()) }
}

/// Erases the session.
///
/// On return it is gone from disk, and every handle to it answers NOT_FOUND. The
/// handles must still be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_erase(
    session: *const matrixe2ee_outbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(session)?.erase()) }
}

/// Releases a session handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
///
/// The last handle of a session gives back what was reserved ahead and not used,
/// which writes to disk: keep the handle while you write to the room.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_outbound_megolm_session_free(
    session: *mut matrixe2ee_outbound_megolm_session,
) {
    release(|| free(session));
}
