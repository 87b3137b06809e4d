//! A room key of some device, in C.

use std::ffi::c_char;

use super::account::matrixe2ee_account;
use super::boundary::{answer, optional_number, optional_text, perform, release, secret, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::outbound_megolm_session::matrixe2ee_outbound_megolm_session;
use super::tickets::{borrow, free};
use crate::InboundMegolmSession;

/// A room key of some device, with which its messages in one room are decrypted.
///
/// Whoever sends a room key proves only that he has it. Who owns the session is a
/// claim, and up to four users may claim one: an event is read under the claim of its
/// sender, whatever others say. What a handle says of the session's origin is the
/// claim of the user it was opened for, or the best one: our own, then one that came
/// through a channel, then what an import said.
pub struct matrixe2ee_inbound_megolm_session {
    _private: [u8; 0],
}

/// The session that decrypts what the own outbound session encrypts, from its
/// current index on: make it before the first message. On return it is on disk.
///
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_from_outbound_session(
    outbound: *const matrixe2ee_outbound_megolm_session,
    out: *mut *mut matrixe2ee_inbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || InboundMegolmSession::from_outbound_session(&*borrow(outbound)?)) }
}

/// Stores the room key of an m.room_key event that came through a channel, which its
/// sender claims with it.
///
/// If the session is stored already, the two are merged: the lower first index is
/// kept, and this claim beside those of others. What was stored under its ID without
/// a signature and is another session gives way. On return it is on disk.
///
/// What is known of the device ("sender_fingerprint" of
/// matrixe2ee_inbound_megolm_session_decrypt()) is taken from the channel with it, now
/// and whenever the channel comes to know more.
///
/// \param sender_user_id the channel's partner.
/// \param sender_key the identity key of the channel's partner.
/// \param room_key_content the decrypted event's content: {"algorithm":
/// "m.megolm.v1.aes-sha2", "room_id": "...", "session_id": "...", "session_key":
/// "..."}.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, INVALID_KEY, BAD_SIGNATURE,
/// UNKNOWN_ALGORITHM, MISMATCHED_SESSION_ID (also when another signed session has
/// this ID), WRONG_SENDER (the session is our own, or as many users claim it as may).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_from_room_key(
    account: *const matrixe2ee_account,
    sender_user_id: *const c_char,
    sender_key: *const c_char,
    room_key_content: *const c_char,
    out: *mut *mut matrixe2ee_inbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            InboundMegolmSession::from_room_key(
                &*borrow(account)?,
                text("sender_user_id", sender_user_id)?,
                text("sender_key", sender_key)?,
                text("room_key_content", room_key_content)?,
            )
        })
    }
}

/// Stores an exported room key, from a file, a backup or
/// matrixe2ee_inbound_megolm_session_export_at().
///
/// An export proves nothing about its origin: the session is not authenticated. If
/// the session is stored already, the two are merged. On return it is on disk.
///
/// \param session_data {"algorithm": "m.megolm.v1.aes-sha2", "room_id": "...",
/// "session_id": "...", "session_key": "...", "sender_key": "...",
/// "sender_claimed_keys": {...}, "forwarding_curve25519_key_chain": []}.
/// \param sender_user_id the user of the device that "sender_key" belongs to, if you
/// know: only this user's events are then decrypted with it. NULL if the owner is
/// unknown: events of any sender are decrypted until the room key comes from that
/// device.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
///
/// Errors: as for matrixe2ee_inbound_megolm_session_from_room_key();
/// MISMATCHED_SESSION_ID whenever another session has this ID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_from_export(
    account: *const matrixe2ee_account,
    session_data: *const c_char,
    sender_user_id: *const c_char,
    out: *mut *mut matrixe2ee_inbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            InboundMegolmSession::from_export(
                &*borrow(account)?,
                text("session_data", session_data)?,
                optional_text("sender_user_id", sender_user_id)?,
            )
        })
    }
}

/// Takes over an inbound session that libolm (olm_pickle_inbound_group_session) has
/// pickled.
///
/// A pickle proves nothing about its origin: the session is not authenticated, until
/// a room key that came through a channel proves it. If the session is stored
/// already, the two are merged. On return it is on disk.
///
/// \param sender_key the identity key of the device that the session came from.
/// \param pickle the pickle, as text.
/// \param pickle_key the key that it was written with; wipe your copy after the
/// call.
/// \param sender_user_id the user of that device, if you know: only this user's events
/// are then decrypted with it. NULL if the owner is unknown.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free().
///
/// Errors: WRONG_KEY, INVALID_FIELD (not such a pickle), NEWER_FORMAT (of a libolm that
/// is not known yet), INVALID_KEY, WRONG_SENDER, MISMATCHED_SESSION_ID (another session
/// is stored under its ID).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_from_libolm_pickle(
    account: *const matrixe2ee_account,
    room_id: *const c_char,
    sender_key: *const c_char,
    pickle: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    sender_user_id: *const c_char,
    out: *mut *mut matrixe2ee_inbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            InboundMegolmSession::from_libolm_pickle(
                &*borrow(account)?,
                text("room_id", room_id)?,
                text("sender_key", sender_key)?,
                text("pickle", pickle)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
                optional_text("sender_user_id", sender_user_id)?,
            )
        })
    }
}

/// Opens a session that is stored.
///
/// \param room_id the event's room.
/// \param session_id the "session_id" of the event's content.
/// \param sender_user_id the event's sender, whose claim the handle then shows; a
/// session that only others own is not found. NULL to ask for no sender.
/// \param out the session, to be released with
/// matrixe2ee_inbound_megolm_session_free(); every handle to one session stands for
/// the same live object.
///
/// Errors: NOT_FOUND, INVALID_FIELD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_from_storage(
    account: *const matrixe2ee_account,
    room_id: *const c_char,
    session_id: *const c_char,
    sender_user_id: *const c_char,
    out: *mut *mut matrixe2ee_inbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            InboundMegolmSession::from_storage(
                &*borrow(account)?,
                text("room_id", room_id)?,
                text("session_id", session_id)?,
                optional_text("sender_user_id", sender_user_id)?,
            )
        })
    }
}

/// Decrypts an event of the room.
///
/// The message index is remembered with the event's ID, so that the same ciphertext
/// in another event is noticed; decrypting the same event again is fine. While nobody
/// knows the owner, each sender has indices of his own.
///
/// \param event the whole event: {"event_id": "$e", "sender": "@bob:example.org",
/// "room_id": "!room:example.org", "origin_server_ts": 1700000000000, "content":
/// {...}}. An answer to /sync leaves "room_id" out: add it. "unsigned" is not looked
/// at and may be of any size.
/// \param out {"type": "m.room.message", "content": {...}, "room_id": "...",
/// "matrixe2ee": {"message_index": 0, "session_id": "...", "sender_key": "...",
/// "authenticated": true, "owner": "known", "sender_fingerprint": "device_keys",
/// "unauthenticated": ["m.relates_to"]}}, to be released with
/// matrixe2ee_string_free(). "authenticated" says that the key came through a channel
/// from the device of "sender_key"; "sender_fingerprint" what is known of that device:
/// "device_keys" if you gave its signed keys, "learned" or "unknown" if the server may
/// have invented it. Neither says that a person verified anything. "owner" is
/// "unknown" if nobody says who made the session; "unauthenticated" lists what was
/// taken from outside the ciphertext.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, UNKNOWN_ALGORITHM,
/// UNABLE_TO_DECRYPT (with the reason "redacted" if nothing is left of the content),
/// INVALID_MESSAGE, WRONG_ROOM, WRONG_SENDER, MISMATCHED_SESSION_ID, UNKNOWN_INDEX,
/// REPLAY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_decrypt(
    session: *const matrixe2ee_inbound_megolm_session,
    event: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.decrypt(text("event", event)?)) }
}

/// Decrypts a list of events of this session, on all processor cores and with one
/// write to disk.
///
/// \param events a JSON list of events, each as for
/// matrixe2ee_inbound_megolm_session_decrypt().
/// \param out a list in the same order: [{"event": {...}}, {"error": {"code": 306,
/// "name": "REPLAY", "detail": "..."}}], to be released with
/// matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE. What is wrong with one event is
/// in its place in the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_decrypt_many(
    session: *const matrixe2ee_inbound_megolm_session,
    events: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.decrypt_many(text("events", events)?)) }
}

/// The session's ID.
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_session_id(
    session: *const matrixe2ee_inbound_megolm_session,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.session_id()) }
}

/// The Curve25519 identity key of the device that the session came from, or is said
/// to come from. (Decrypting says it for each event.)
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_sender_key(
    session: *const matrixe2ee_inbound_megolm_session,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.sender_key()) }
}

/// Whether the session came through a channel from the device that "sender_key" gives,
/// and not from an export or a backup.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_authenticated(
    session: *const matrixe2ee_inbound_megolm_session,
    out: *mut bool,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.authenticated()) }
}

/// The index of the first message that the session can decrypt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_first_known_index(
    session: *const matrixe2ee_inbound_megolm_session,
    out: *mut u32,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.first_known_index()) }
}

/// Exports the session, for another device of the same user or for a backup.
///
/// \param index the first message that the export can decrypt; -1 for the first
/// known one.
/// \param out what matrixe2ee_inbound_megolm_session_from_export() takes, to be
/// released with matrixe2ee_string_free(). It is secret: it holds the room key.
///
/// Errors: INVALID_FIELD (not an index), UNKNOWN_INDEX (before the first known one).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_export_at(
    session: *const matrixe2ee_inbound_megolm_session,
    index: i64,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(session)?.export_at(optional_number("index", index)?)) }
}

/// Erases the session and all claims to it.
///
/// On return it is gone from disk, and every handle to it answers NOT_FOUND. The
/// handles must still be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_erase(
    session: *const matrixe2ee_inbound_megolm_session,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(session)?.erase()) }
}

/// Releases a session handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_inbound_megolm_session_free(
    session: *mut matrixe2ee_inbound_megolm_session,
) {
    release(|| free(session));
}
