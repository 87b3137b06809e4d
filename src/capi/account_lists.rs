//! What is stored under an account, listed in C.

use std::ffi::c_char;

use super::account::matrixe2ee_account;
use super::boundary::{answer, optional_number, optional_text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::tickets::borrow;

/// Lists the inbound Megolm sessions that are stored, in the order of their session
/// IDs, in pages.
///
/// A page costs what it lists, however many sessions are stored, and no other call
/// waits for it. So pages are no snapshot: a session that is there all the time is in
/// one of them, once. A damaged session is left out (matrixe2ee_store_problems()
/// counts it). The first call on a store that an earlier version of this library has
/// made, or whose lists are damaged, builds the lists: some seconds for 100,000
/// sessions.
///
/// \param room_id only those of this room; NULL for all.
/// \param after the last session ID of the page before; NULL for the first page.
/// \param limit how many sessions a page has, 1 to 10,000; -1 for 1,000. A page with
/// fewer is the last one. One with more ends with a session ID that stands in several
/// rooms, as it does only if somebody wants it to: these are not divided.
/// \param out [{"room_id": "!r:example.org", "session_id": "...", "sender_key":
/// "...", "owner_user_id": "@bob:example.org", "first_known_index": 0,
/// "authenticated": true}], to be released with matrixe2ee_string_free();
/// "owner_user_id" is absent while the owner is unknown.
///
/// Errors: INVALID_FIELD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_list_sessions(
    account: *const matrixe2ee_account,
    room_id: *const c_char,
    after: *const c_char,
    limit: i64,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            borrow(account)?.list_sessions(
                optional_text("room_id", room_id)?,
                optional_text("after", after)?,
                optional_number("limit", limit)?,
            )
        })
    }
}

/// Lists the Olm channels that are stored, in the order of their identity keys, in
/// pages. As to cost and damage, this is as matrixe2ee_account_list_sessions().
///
/// With it a program can delete channels that it does not want, as those of strangers:
/// matrixe2ee_olm_channel_create_from_storage(), matrixe2ee_olm_channel_erase().
/// Strangers cannot fill the store, though: of channels that were made from messages,
/// in which nothing was sent since and whose fingerprint is not known from device
/// keys, each user has at most 100, and there are at most 10,000. For one more, the one
/// of the same user, or of all, that was used least recently is deleted; of all, it is
/// the oldest of a hundredth part, so that the first ones may go when there are some
/// 7,000.
///
/// \param after the last identity key of the page before; NULL for the first page.
/// \param limit how many channels a page has, 1 to 10,000; -1 for 1,000. A page with
/// fewer is the last one. One with more ends with an identity key that several users
/// have: these are not divided.
/// \param out [{"user_id": "@bob:example.org", "identity_key": "...", "device_id":
/// "BOBPHONE", "fingerprint": "device_keys", "session_count": 1, "last_used_ms":
/// 1700000000000}], to be released with matrixe2ee_string_free(). "fingerprint" is
/// "unknown", "learned" or "device_keys", as in matrixe2ee_olm_channel_partner();
/// "last_used_ms" is when the channel encrypted or decrypted last, or up to an hour
/// earlier, as Unix time in milliseconds, and absent if that was with an earlier
/// version; "device_id" is absent if it is not known.
///
/// Errors: INVALID_FIELD.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_account_list_channels(
    account: *const matrixe2ee_account,
    after: *const c_char,
    limit: i64,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            borrow(account)?
                .list_channels(optional_text("after", after)?, optional_number("limit", limit)?)
        })
    }
}
