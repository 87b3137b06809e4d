//! The functions that belong to no object.

use std::ffi::{c_char, c_void};

use super::boundary::{answer, optional_number, perform, release, text};
use super::error_object::{matrixe2ee_error, matrixe2ee_status};
use super::strings;

/// The version of the ABI that this header describes: the program compares it
/// with what matrixe2ee_abi_version() gives.
pub const MATRIXE2EE_ABI_VERSION: u32 = 2;
/// The version of the library that this header belongs to, in three parts.
pub const MATRIXE2EE_VERSION_MAJOR: u32 = 0;
/// Its second part.
pub const MATRIXE2EE_VERSION_MINOR: u32 = 2;
/// Its third part.
pub const MATRIXE2EE_VERSION_PATCH: u32 = 0;

// The three parts are those of Cargo.toml.
const _: () = {
    const fn is(part: u32, text: &str) -> bool {
        matches!(u32::from_str_radix(text, 10), Ok(number) if number == part)
    }
    assert!(is(MATRIXE2EE_VERSION_MAJOR, env!("CARGO_PKG_VERSION_MAJOR")));
    assert!(is(MATRIXE2EE_VERSION_MINOR, env!("CARGO_PKG_VERSION_MINOR")));
    assert!(is(MATRIXE2EE_VERSION_PATCH, env!("CARGO_PKG_VERSION_PATCH")));
};

/// The version of the library that is running, for example "0.2.0". The text
/// is static: do not free it.
#[unsafe(no_mangle)]
pub extern "C" fn matrixe2ee_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The version of the ABI of the library that is running. A program that was
/// compiled with another MATRIXE2EE_ABI_VERSION must not use it.
#[unsafe(no_mangle)]
pub extern "C" fn matrixe2ee_abi_version() -> u32 {
    MATRIXE2EE_ABI_VERSION
}

/// Wipes and releases a text that this library gave out through an out
/// pointer. NULL is ignored. Do not pass anything else, and nothing twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_string_free(string: *mut c_char) {
    // SAFETY: the caller passes NULL or a text of ours, for the last time.
    release(|| unsafe { strings::take_back(string) });
}

/// Overwrites memory with zeroes in a way that the compiler does not leave out:
/// for the program's own copies of keys and plaintexts. NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_wipe(data: *mut c_void, length: usize) {
    // SAFETY: the caller passes NULL or `length` bytes of its own.
    release(|| unsafe { strings::wipe(data, length) });
}

/// Makes the body of a request to /keys/claim, asking for one signed_curve25519
/// key for each device.
///
/// Usable from any thread; touches no store.
///
/// \param devices the devices by user: {"@bob:example.org": ["DEVICE"]}.
/// \param timeout_ms how long the server may wait for other servers, in
/// milliseconds; -1 leaves it to the server.
/// \param out {"one_time_keys": {"@bob:example.org": {"DEVICE":
/// "signed_curve25519"}}, "timeout": 10000}, to be released with
/// matrixe2ee_string_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_keys_claim_request(
    devices: *const c_char,
    timeout_ms: i64,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            crate::keys_claim_request(
                text("devices", devices)?,
                optional_number("timeout_ms", timeout_ms)?,
            )
        })
    }
}

/// Reads the server's answer to /keys/claim, dropping what was not asked for.
///
/// The signatures are checked later, by
/// matrixe2ee_olm_channel_create_outbound_channel(), which takes the innermost
/// object, {key_id: key}, as its recipient_one_time_key. Usable from any
/// thread; touches no store.
///
/// \param request the body that was sent.
/// \param response the body that the server answered: at most 16 MiB or, if
/// that is more, 1,024 bytes for each device that the request asks for.
/// \param out {"one_time_keys": {"@bob:example.org": {"DEVICE":
/// {"signed_curve25519:AAAAHQ": {"key": "...", "signatures": {...}}}}},
/// "failures": ["example.net"]}, to be released with matrixe2ee_string_free().
/// A device that has no key is absent. One whose key is of no use is named in
/// "failed": [{"device": {"user_id": "...", "device_id": "..."}, "error":
/// {...}}], which is there only if there is one; without "device_id" if all that the
/// answer has of the user is of no use.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_read_keys_claim_response(
    request: *const c_char,
    response: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        answer(out, err, || {
            crate::read_keys_claim_response(text("request", request)?, text("response", response)?)
        })
    }
}

/// Checks one Ed25519 signature of a signed JSON object: the status is the
/// answer.
///
/// Usable from any thread; touches no store.
///
/// \param object the whole object with its signatures: {"key": "...",
/// "signatures": {"@bob:example.org": {"ed25519:DEVICE": "..."}}}.
/// \param user_id whose signature.
/// \param key_id which signature, for example "ed25519:DEVICE".
/// \param public_key the Ed25519 key in unpadded base64.
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE,
/// INVALID_KEY, BAD_SIGNATURE (missing, or does not verify).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_verify_signed_json(
    object: *const c_char,
    user_id: *const c_char,
    key_id: *const c_char,
    public_key: *const c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe {
        perform(err, || {
            crate::verify_signed_json(
                text("object", object)?,
                text("user_id", user_id)?,
                text("key_id", key_id)?,
                text("public_key", public_key)?,
            )
        })
    }
}

/// Writes a JSON value as canonical JSON: sorted keys, no spaces, integers only, -0
/// as 0.
///
/// Usable from any thread; touches no store.
///
/// \param value any JSON, for example {"b": 1, "a": 2}.
/// \param out {"a":2,"b":1}, to be released with matrixe2ee_string_free().
///
/// Errors: NULL_POINTER, INVALID_UTF8, INVALID_JSON, INVALID_FIELD, TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_canonical_json(
    value: *const c_char,
    out: *mut *mut c_char,
    err: *mut *mut matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller keeps the header's rules on arguments.
    unsafe { answer(out, err, || crate::canonical_json(text("value", value)?)) }
}
