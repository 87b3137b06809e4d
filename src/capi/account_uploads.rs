//! Publishing the account's keys, in C: what to upload, and what the server says of it.

use std::ffi::c_char;

use super::account::matrixe2ee_account;
use super::boundary::{answer, optional_text, perform, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::tickets::borrow;

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
