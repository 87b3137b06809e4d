//! The account in C.

use std::ffi::c_char;

use super::boundary::{answer, optional_text, perform, release, secret, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::store::matrixe2ee_store;
use super::tickets::{borrow, free};
use crate::Account;

/// One device of one user: its long-term keys and its one-time keys.
pub struct matrixe2ee_account {
    _private: [u8; 0],
}

/// Opens the account of a device, or creates it with new keys the first time.
///
/// On return a new account is on disk. Opening twice gives two handles to the same
/// account; release each with matrixe2ee_account_free().
///
/// \param user_id for example "@alice:example.org".
/// \param device_id the device ID that the server gave at login.
///
/// Errors: INVALID_FIELD (a malformed ID).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_open(
    store: *const matrixe2ee_store,
    user_id: *const c_char,
    device_id: *const c_char,
    out: *mut *mut matrixe2ee_account,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            Account::open(
                &*borrow(store)?,
                text("user_id", user_id)?,
                text("device_id", device_id)?,
            )
        })
    }
}

/// Opens the account of a device that the store has. Unlike matrixe2ee_account_open() it
/// creates none: a user or device ID that is mistyped is an error, and not a device with
/// new keys.
///
/// \param user_id for example "@alice:example.org".
/// \param device_id the device ID that the server gave at login.
/// \param out the account, to be released with matrixe2ee_account_free().
///
/// Errors: NOT_FOUND (the store has no such account), INVALID_FIELD (a malformed ID).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_open_existing(
    store: *const matrixe2ee_store,
    user_id: *const c_char,
    device_id: *const c_char,
    out: *mut *mut matrixe2ee_account,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            Account::open_existing(
                &*borrow(store)?,
                text("user_id", user_id)?,
                text("device_id", device_id)?,
            )
        })
    }
}

/// Takes over an account that libolm (olm_pickle_account) has pickled: same keys, same device.
///
/// On return it is on disk; from then on the old copy must not be used. The
/// device keys are uploaded again, and one-time keys once
/// matrixe2ee_account_receive_key_counts() has told how many the server has.
///
/// \param pickle the pickle, as text, of any version of libolm from 1.1 on.
/// \param pickle_key the key that the pickle was written with; wipe your copy after
/// the call.
/// \param out the account, to be released with matrixe2ee_account_free().
///
/// Errors: ALREADY_EXISTS, WRONG_KEY, INVALID_FIELD (not such a pickle), NEWER_FORMAT (of a
/// libolm that is not known yet).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_from_libolm_pickle(
    store: *const matrixe2ee_store,
    user_id: *const c_char,
    device_id: *const c_char,
    pickle: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    out: *mut *mut matrixe2ee_account,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            Account::from_libolm_pickle(
                &*borrow(store)?,
                text("user_id", user_id)?,
                text("device_id", device_id)?,
                text("pickle", pickle)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
            )
        })
    }
}

/// Takes over an account that vodozemac has pickled: same keys, same device.
///
/// On return it is on disk; from then on the old copy must not be used. The
/// device keys are uploaded again, and one-time keys once
/// matrixe2ee_account_receive_key_counts() has told how many the server has.
///
/// \param pickle the pickle, as text.
/// \param pickle_key the key that the pickle was written with; wipe your copy after
/// the call.
/// \param out the account, to be released with matrixe2ee_account_free().
///
/// Errors: ALREADY_EXISTS, WRONG_KEY, INVALID_LENGTH (pickle_key_len is not 32),
/// INVALID_FIELD (not such a pickle).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_from_vodozemac_pickle(
    store: *const matrixe2ee_store,
    user_id: *const c_char,
    device_id: *const c_char,
    pickle: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    out: *mut *mut matrixe2ee_account,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            Account::from_vodozemac_pickle(
                &*borrow(store)?,
                text("user_id", user_id)?,
                text("device_id", device_id)?,
                text("pickle", pickle)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
            )
        })
    }
}

/// The user ID that the account was opened with.
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_user_id(
    account: *const matrixe2ee_account,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.user_id()) }
}

/// The device ID that the account was opened with.
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_device_id(
    account: *const matrixe2ee_account,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.device_id()) }
}

/// The Curve25519 identity key in unpadded base64: other devices know this device
/// by it in Olm messages ("sender_key").
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_identity_key(
    account: *const matrixe2ee_account,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.identity_key()) }
}

/// The Ed25519 fingerprint key in unpadded base64: it signs for this device and is
/// what users compare.
///
/// \param out the text, to be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_fingerprint_key(
    account: *const matrixe2ee_account,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.fingerprint_key()) }
}

/// The signed device keys, as /keys/upload takes them in "device_keys".
///
/// \param out {"user_id": "...", "device_id": "...", "algorithms": [...], "keys":
/// {"curve25519:DEVICE": "...", "ed25519:DEVICE": "..."}, "signatures": {...}}, to
/// be released with matrixe2ee_string_free().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_device_keys(
    account: *const matrixe2ee_account,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.device_keys()) }
}

/// The body of the next request to /keys/upload, or NULL if there is nothing to
/// upload.
///
/// It holds what the server lacks as far as is known from
/// matrixe2ee_account_receive_key_counts(): device keys, one-time keys, a fallback
/// key. The keys in it are on disk on return. Until the answer has come in, the
/// same request is given again, unless a message has used one of its keys before: that
/// shows that the request has arrived. Call this after each sync, and send one request
/// at a time. Once the server has refused five in a row, there is nothing to upload for
/// an hour after each refusal.
///
/// \param out {"device_keys": {...}, "one_time_keys": {"signed_curve25519:AAAAAQ":
/// {...}}, "fallback_keys": {...}}, to be released with matrixe2ee_string_free();
/// NULL, with MATRIXE2EE_STATUS_OK, if there is nothing to upload.
///
/// Errors: CLOCK_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_keys_upload_request(
    account: *const matrixe2ee_account,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.keys_upload_request()) }
}

/// Tells the account what the server answered to the body of
/// matrixe2ee_account_keys_upload_request(). On return it is on disk.
///
/// With status 200 the keys count as published. With 400 the one-time keys of the
/// request are given up, so that the next request has new ones. If the body says
/// anything else than that a key exists already, that is reported as INVALID_FIELD of
/// "body", for somebody to look at; the request is closed all the same. After any other
/// status the request stays open.
///
/// \param http_status the HTTP status of the answer.
/// \param body the body of the answer, for example {"one_time_key_counts":
/// {"signed_curve25519": 50}}; after a 200, one that cannot be read counts as one
/// without counts. It is read to 64 KiB.
///
/// Errors: INVALID_FIELD ("http_status": no request is open; "body": the server refused
/// it), CLOCK_FAILED (with 400).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_receive_keys_upload_response(
    account: *const matrixe2ee_account,
    http_status: u16,
    body: *const c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            borrow(account)?.receive_keys_upload_response(http_status, text("body", body)?)
        })
    }
}

/// Tells the account how many of its keys the server still has, from each answer to
/// /sync. On return it is on disk.
///
/// A fallback key counts as used if its type is missing after it was listed, or after a
/// message has used it: an answer from before its upload does not replace it. It is
/// replaced by a later request, not within an hour of its first use.
///
/// \param one_time_counts "device_one_time_keys_count": {"signed_curve25519": 20};
/// {} means none.
/// \param unused_fallback_types "device_unused_fallback_key_types":
/// ["signed_curve25519"]; NULL if the answer has no such field.
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE, CLOCK_FAILED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_receive_key_counts(
    account: *const matrixe2ee_account,
    one_time_counts: *const c_char,
    unused_fallback_types: *const c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            borrow(account)?.receive_key_counts(
                text("one_time_counts", one_time_counts)?,
                optional_text("unused_fallback_types", unused_fallback_types)?,
            )
        })
    }
}

/// Signs a JSON object with the fingerprint key.
///
/// \param object any JSON object; "signatures" and "unsigned" are not signed.
/// \param out the whole object with the signature added under "signatures", to be
/// released with matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_sign_json(
    account: *const matrixe2ee_account,
    object: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.sign_json(text("object", object)?)) }
}

/// Encrypts events for many devices, each in the channel that is stored for it, on
/// all cores and with one commit.
///
/// On return all sessions are on disk. If the call fails, nothing was encrypted.
///
/// \param items [{"user_id": "@bob:example.org", "identity_key": "...", "type":
/// "m.room_key", "content": {...}}]; a device may occur more than once.
/// \param out a list in the order of the items: [{"content": {content of
/// m.room.encrypted}}, {"error": {"code": 500, "name": "NOT_FOUND", "detail":
/// "..."}}], to be released with matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE. What is wrong with one item is in
/// its place in the list: NOT_FOUND (no channel to the device is stored),
/// UNKNOWN_FINGERPRINT, NO_SESSION, INVALID_JSON, INVALID_FIELD, INVALID_KEY,
/// TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_encrypt_for_devices(
    account: *const matrixe2ee_account,
    items: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.encrypt_for_devices(text("items", items)?)) }
}

/// Decrypts events of any rooms with the sessions that are stored, on all cores and
/// with one commit.
///
/// On return it is recorded which events have used their message indices.
///
/// \param events a list of events as for matrixe2ee_inbound_megolm_session_decrypt().
/// \param out a list in the order of the events: [{"event": {...}}, {"error":
/// {"code": 200, "name": "NO_SESSION", "detail": "..."}}], to be released with
/// matrixe2ee_string_free().
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE. What is wrong with one event is
/// in its place in the list: NO_SESSION (its room key is not there), and what
/// matrixe2ee_inbound_megolm_session_decrypt() may answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_decrypt_room_events(
    account: *const matrixe2ee_account,
    events: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.decrypt_room_events(text("events", events)?)) }
}

/// Takes over sessions that libolm has pickled, of all kinds and in any number: as
/// matrixe2ee_olm_channel_from_libolm_pickles(),
/// matrixe2ee_inbound_megolm_session_from_libolm_pickle() and
/// matrixe2ee_outbound_megolm_session_from_libolm_pickle() do it one by one.
///
/// They are written to disk in chunks of about 1,000, in the order of the list;
/// other calls on this account wait meanwhile. After an error or a crash, what was
/// written stays: make the same call again, it finds that stored ("known") and goes
/// on.
///
/// \param sessions [{"kind": "olm", "user_id": "@bob:example.org", "identity_key":
/// "...", "pickle": "..."}, {"kind": "inbound_megolm", "room_id":
/// "!r:example.org", "sender_key": "...", "pickle": "...", "sender_user_id":
/// "@bob:example.org"}, {"kind": "outbound_megolm", "room_id": "!r:example.org",
/// "pickle": "..."}]; "sender_user_id" is optional. The sessions with one device
/// stand in the order in which they last received, the oldest first.
/// \param pickle_key the key that all were written with; wipe your copy after the
/// call.
/// \param out {"imported": 3, "merged": 0, "known": 0, "surplus": 0, "failed":
/// [{"index": 4, "error": {...}}]}, to be released with matrixe2ee_string_free():
/// "merged" sessions were stored and can decrypt more now; "surplus" ones were left
/// out because their channel has 8 newer ones; "failed" ones spoil no other.
/// A session belongs to one room or channel. An outbound or Olm session that was
/// erased here does not come back, nor does an Olm session that made room for
/// another, for its ratchet would be used twice: it counts as "known".
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), CLOCK_FAILED, CORRUPT
/// and NEWER_FORMAT (of the store; a pickle's faults stand in "failed").
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_import_libolm_sessions(
    account: *const matrixe2ee_account,
    sessions: *const c_char,
    pickle_key: *const u8,
    pickle_key_len: usize,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            borrow(account)?.import_libolm_sessions(
                text("sessions", sessions)?,
                secret("pickle_key", pickle_key, pickle_key_len)?,
            )
        })
    }
}

/// Erases the account and everything stored under it: channels, sessions, keys.
///
/// On return it is gone from disk, and every handle to any of it answers NOT_FOUND.
/// The handles must still be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_erase(
    account: *const matrixe2ee_account,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { perform(err, || borrow(account)?.erase()) }
}

/// Releases an account handle. NULL, freed handles and handles of other kinds are
/// ignored. What is stored stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_free(account: *mut matrixe2ee_account) {
    release(|| free(account));
}
