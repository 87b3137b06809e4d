//! Moving in, in C: an account from elsewhere, and sessions in any number.

use std::ffi::c_char;

use super::account::matrixe2ee_account;
use super::boundary::{answer, secret, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::store::matrixe2ee_store;
use super::tickets::borrow;
use crate::Account;

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

/// Takes over exported Megolm sessions, in any number: the list that a decrypted key file
/// holds, or what matrixe2ee_inbound_megolm_session_export_at() gave. Each is stored as
/// matrixe2ee_inbound_megolm_session_from_export() does without a user, and merged with
/// what is stored.
///
/// They are written to disk in chunks of 200, in the order of the list; other calls on
/// this account wait for one chunk at most. After an error or a crash, what was written
/// stays: make the same call again, it finds that stored ("known") and goes on.
///
/// \param sessions [{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!r:example.org",
/// "session_id": "...", "session_key": "...", "sender_key": "...", "sender_claimed_keys":
/// {"ed25519": "..."}, "forwarding_curve25519_key_chain": []}]: room keys, so wipe your
/// own copy after the call. It may have 128 MiB, about 200,000 sessions; import more in
/// several calls.
/// \param out {"imported": 3, "merged": 0, "known": 0, "surplus": 0, "failed":
/// [{"index": 4, "error": {...}}]}, to be released with matrixe2ee_string_free():
/// "merged" sessions were stored and can decrypt more now, or have one claim more;
/// "surplus" is 0; "failed" ones spoil no other, and neither does one whose record in the
/// store is damaged (CORRUPT).
///
/// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_import_sessions(
    account: *const matrixe2ee_account,
    sessions: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || borrow(account)?.import_sessions(text("sessions", sessions)?)) }
}
