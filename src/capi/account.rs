//! The account in C.

use std::ffi::c_char;

use super::boundary::{answer, perform, release, text};
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

/// Erases the account and everything stored under it: channels, sessions, keys.
///
/// On return it is gone from disk, and every handle to any of it answers NOT_FOUND.
/// The handles must still be freed.
///
/// NEWER_FORMAT, and nothing is erased, if a newer version of the library has stored
/// what this one does not know, and would leave behind.
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
