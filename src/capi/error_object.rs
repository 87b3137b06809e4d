//! The status that every function returns, and the error object behind it.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use super::boundary::release;
use crate::error::E2eeError;

/// The result of a call: 0 is success, everything else a kind of error.
///
/// Numbers are never reused; a later version may add new ones, so treat an
/// unknown number as a failure.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum matrixe2ee_status {
    /// The call did what it says.
    Ok = 0,
    /// A pointer argument that may not be NULL is NULL.
    NullPointer = 1,
    /// A text argument is not valid UTF-8.
    InvalidUtf8 = 2,
    /// A byte argument has the wrong length.
    InvalidLength = 3,
    /// The handle was freed, or was never made by this library.
    StaleHandle = 4,
    /// The handle belongs to another kind of object than the call takes.
    WrongHandle = 5,
    /// A callback called back into the library.
    Busy = 6,
    /// The handle was made before this process was forked.
    Forked = 7,
    /// An internal error; the handle refuses further use. Reopen the store.
    Panic = 8,
    /// The text is not JSON, repeats a key, or is nested too deeply.
    InvalidJson = 100,
    /// A field or an argument is missing, or has the wrong type or value.
    InvalidField = 101,
    /// The input is larger than the library accepts.
    TooLarge = 102,
    /// A key is badly encoded, of the wrong length, not canonical or weak.
    InvalidKey = 103,
    /// A signature is missing or does not verify.
    BadSignature = 104,
    /// The algorithm is not one that this call handles.
    UnknownAlgorithm = 105,
    /// There is no session to encrypt or decrypt with.
    NoSession = 200,
    /// The message has no ciphertext for this device.
    NotEncryptedForUs = 201,
    /// The ciphertext could not be decrypted.
    UnableToDecrypt = 202,
    /// The message was decrypted, but what it says of itself is wrong: discard it.
    InvalidMessage = 203,
    /// The fingerprint key is not the one known for this device.
    MismatchedFingerprint = 204,
    /// The fingerprint key of the other device is not known, or not from device keys.
    UnknownFingerprint = 205,
    /// The room key must be rotated: create a new outbound session.
    SessionExpired = 300,
    /// The room has no encryption settings.
    RoomNotEncrypted = 301,
    /// The event, its plaintext and the session do not name the same room.
    WrongRoom = 302,
    /// The event was not sent by the owner of the session.
    WrongSender = 303,
    /// The session ID is not the one of the key or session.
    MismatchedSessionId = 304,
    /// The message is older than the first one that the session can decrypt.
    UnknownIndex = 305,
    /// The message index was already used by another event.
    Replay = 306,
    /// Nothing of that name is stored, or it was erased.
    NotFound = 500,
    /// An object of that name is stored already.
    AlreadyExists = 501,
    /// The store is open already, here or in another process.
    StoreInUse = 502,
    /// The store was shut down.
    StoreClosed = 503,
    /// A stored record was altered, exchanged or damaged.
    Corrupt = 504,
    /// The store or record was written by a newer version of this library.
    NewerFormat = 505,
    /// The key does not open this store or pickle.
    WrongKey = 506,
    /// The store could not read or write.
    StoreIo = 507,
    /// The clock callback reported a failure.
    ClockFailed = 508,
}

impl From<&E2eeError> for matrixe2ee_status {
    fn from(error: &E2eeError) -> Self {
        match error {
            E2eeError::NullPointer { .. } => Self::NullPointer,
            E2eeError::InvalidUtf8 { .. } => Self::InvalidUtf8,
            E2eeError::InvalidLength { .. } => Self::InvalidLength,
            E2eeError::StaleHandle { .. } => Self::StaleHandle,
            E2eeError::WrongHandle { .. } => Self::WrongHandle,
            E2eeError::Busy { .. } => Self::Busy,
            E2eeError::Forked { .. } => Self::Forked,
            E2eeError::Panic { .. } => Self::Panic,
            E2eeError::InvalidJson { .. } => Self::InvalidJson,
            E2eeError::InvalidField { .. } => Self::InvalidField,
            E2eeError::TooLarge { .. } => Self::TooLarge,
            E2eeError::InvalidKey { .. } => Self::InvalidKey,
            E2eeError::BadSignature { .. } => Self::BadSignature,
            E2eeError::UnknownAlgorithm { .. } => Self::UnknownAlgorithm,
            E2eeError::NoSession { .. } => Self::NoSession,
            E2eeError::NotEncryptedForUs { .. } => Self::NotEncryptedForUs,
            E2eeError::UnableToDecrypt { .. } => Self::UnableToDecrypt,
            E2eeError::InvalidMessage { .. } => Self::InvalidMessage,
            E2eeError::MismatchedFingerprint { .. } => Self::MismatchedFingerprint,
            E2eeError::UnknownFingerprint { .. } => Self::UnknownFingerprint,
            E2eeError::SessionExpired { .. } => Self::SessionExpired,
            E2eeError::RoomNotEncrypted { .. } => Self::RoomNotEncrypted,
            E2eeError::WrongRoom { .. } => Self::WrongRoom,
            E2eeError::WrongSender { .. } => Self::WrongSender,
            E2eeError::MismatchedSessionId { .. } => Self::MismatchedSessionId,
            E2eeError::UnknownIndex { .. } => Self::UnknownIndex,
            E2eeError::Replay { .. } => Self::Replay,
            E2eeError::NotFound { .. } => Self::NotFound,
            E2eeError::AlreadyExists { .. } => Self::AlreadyExists,
            E2eeError::StoreInUse { .. } => Self::StoreInUse,
            E2eeError::StoreClosed { .. } => Self::StoreClosed,
            E2eeError::Corrupt { .. } => Self::Corrupt,
            E2eeError::NewerFormat { .. } => Self::NewerFormat,
            E2eeError::WrongKey { .. } => Self::WrongKey,
            E2eeError::StoreIo { .. } => Self::StoreIo,
            E2eeError::ClockFailed { .. } => Self::ClockFailed,
        }
    }
}

/// The names of the numbers.
pub(super) const STATUS_NAMES: &[(matrixe2ee_status, &CStr)] = &[
    (matrixe2ee_status::Ok, c"OK"),
    (matrixe2ee_status::NullPointer, c"NULL_POINTER"),
    (matrixe2ee_status::InvalidUtf8, c"INVALID_UTF8"),
    (matrixe2ee_status::InvalidLength, c"INVALID_LENGTH"),
    (matrixe2ee_status::StaleHandle, c"STALE_HANDLE"),
    (matrixe2ee_status::WrongHandle, c"WRONG_HANDLE"),
    (matrixe2ee_status::Busy, c"BUSY"),
    (matrixe2ee_status::Forked, c"FORKED"),
    (matrixe2ee_status::Panic, c"PANIC"),
    (matrixe2ee_status::InvalidJson, c"INVALID_JSON"),
    (matrixe2ee_status::InvalidField, c"INVALID_FIELD"),
    (matrixe2ee_status::TooLarge, c"TOO_LARGE"),
    (matrixe2ee_status::InvalidKey, c"INVALID_KEY"),
    (matrixe2ee_status::BadSignature, c"BAD_SIGNATURE"),
    (matrixe2ee_status::UnknownAlgorithm, c"UNKNOWN_ALGORITHM"),
    (matrixe2ee_status::NoSession, c"NO_SESSION"),
    (matrixe2ee_status::NotEncryptedForUs, c"NOT_ENCRYPTED_FOR_US"),
    (matrixe2ee_status::UnableToDecrypt, c"UNABLE_TO_DECRYPT"),
    (matrixe2ee_status::InvalidMessage, c"INVALID_MESSAGE"),
    (matrixe2ee_status::MismatchedFingerprint, c"MISMATCHED_FINGERPRINT"),
    (matrixe2ee_status::UnknownFingerprint, c"UNKNOWN_FINGERPRINT"),
    (matrixe2ee_status::SessionExpired, c"SESSION_EXPIRED"),
    (matrixe2ee_status::RoomNotEncrypted, c"ROOM_NOT_ENCRYPTED"),
    (matrixe2ee_status::WrongRoom, c"WRONG_ROOM"),
    (matrixe2ee_status::WrongSender, c"WRONG_SENDER"),
    (matrixe2ee_status::MismatchedSessionId, c"MISMATCHED_SESSION_ID"),
    (matrixe2ee_status::UnknownIndex, c"UNKNOWN_INDEX"),
    (matrixe2ee_status::Replay, c"REPLAY"),
    (matrixe2ee_status::NotFound, c"NOT_FOUND"),
    (matrixe2ee_status::AlreadyExists, c"ALREADY_EXISTS"),
    (matrixe2ee_status::StoreInUse, c"STORE_IN_USE"),
    (matrixe2ee_status::StoreClosed, c"STORE_CLOSED"),
    (matrixe2ee_status::Corrupt, c"CORRUPT"),
    (matrixe2ee_status::NewerFormat, c"NEWER_FORMAT"),
    (matrixe2ee_status::WrongKey, c"WRONG_KEY"),
    (matrixe2ee_status::StoreIo, c"STORE_IO"),
    (matrixe2ee_status::ClockFailed, c"CLOCK_FAILED"),
];

/// One failure in words and in JSON. It is never changed after it was made,
/// belongs to the caller, and is released with matrixe2ee_error_free().
pub struct matrixe2ee_error {
    status: matrixe2ee_status,
    message: CString,
    json: CString,
}

impl matrixe2ee_error {
    /// Hands an error over to C.
    pub(super) fn give(error: E2eeError) -> *mut Self {
        Box::into_raw(Box::new(Self {
            status: matrixe2ee_status::from(&error),
            message: without_nul(error.to_string()),
            json: without_nul(error.to_json()),
        }))
    }
}

fn without_nul(text: String) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// The status of an error, the same that the failed call returned.
///
/// Gives MATRIXE2EE_STATUS_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_error_code(
    error: *const matrixe2ee_error,
) -> matrixe2ee_status {
    // SAFETY: the caller promises that `error` is NULL or an error object not yet freed.
    unsafe { error.as_ref() }.map_or(matrixe2ee_status::Ok, |error| error.status)
}

/// What went wrong, as an English sentence for logs. It holds no key and no
/// plaintext.
///
/// The text belongs to the error object and lives as long as it. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_error_message(error: *const matrixe2ee_error) -> *const c_char {
    // SAFETY: the caller promises that `error` is NULL or an error object not yet freed.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.message.as_ptr())
}

/// The error as a JSON object, with the fields that a program may act on:
/// {"code": 305, "name": "UNKNOWN_INDEX", "detail": "...", "first_known": 4, "got": 2}.
///
/// The fields beside code, name and detail are: field (INVALID_FIELD), limit
/// (TOO_LARGE), algorithm (UNKNOWN_ALGORITHM), reason (UNABLE_TO_DECRYPT and
/// SESSION_EXPIRED), first_known and got (UNKNOWN_INDEX), message_index and
/// event_id (REPLAY), found and supported (NEWER_FORMAT).
///
/// The text belongs to the error object and lives as long as it. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_error_json(error: *const matrixe2ee_error) -> *const c_char {
    // SAFETY: the caller promises that `error` is NULL or an error object not yet freed.
    unsafe { error.as_ref() }.map_or(ptr::null(), |error| error.json.as_ptr())
}

/// Releases an error object and its texts. NULL is ignored. Unlike a handle,
/// an error object must not be freed twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn matrixe2ee_error_free(error: *mut matrixe2ee_error) {
    release(|| {
        if !error.is_null() {
            // SAFETY: not NULL, so it came from `give`, and the caller gives it up.
            drop(unsafe { Box::from_raw(error) });
        }
    });
}

/// The name of a status, for example "UNKNOWN_INDEX"; "UNKNOWN" for a number
/// that this version does not know. The text is static: do not free it.
#[unsafe(no_mangle)]
pub extern "C" fn matrixe2ee_status_name(status: i32) -> *const c_char {
    STATUS_NAMES
        .iter()
        .find(|(known, _)| *known as i32 == status)
        .map_or(c"UNKNOWN", |(_, name)| name)
        .as_ptr()
}
