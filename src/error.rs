//! The one error type of the library: one table, with numbers that never change.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The result of every fallible call.
pub type Result<T> = std::result::Result<T, E2eeError>;

/// Writes the enum and everything that walks it from one table. Each variant carries `detail`.
macro_rules! errors {
    ($(
        $(#[$meta:meta])*
        $variant:ident = $code:literal $name:literal
        { $( $(#[$field_meta:meta])* $field:ident: $type:ty, )* }
    )*) => {
        /// Everything that can go wrong, in every language.
        ///
        /// Each error carries `detail`, a sentence that names what was wrong and never holds a
        /// secret or a plaintext, and the fields that a program may want to act on. A text from
        /// outside (an algorithm, an ID, a server's answer) is cut at 64 characters. Its JSON form
        /// is the same everywhere:
        /// `{"code": 306, "name": "REPLAY", "detail": "...", "message_index": 4, ...}`.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[cfg_attr(feature = "uniffi", derive(uniffi::Error))]
        #[non_exhaustive]
        pub enum E2eeError {
            $(
                $(#[$meta])*
                #[error("{detail}")]
                $variant {
                    /// What was wrong, as a sentence.
                    detail: String,
                    $( $(#[$field_meta])* $field: $type, )*
                },
            )*
        }

        impl E2eeError {
            /// Every error's number and name, in order.
            pub const TABLE: &[(i32, &str)] = &[$(($code, $name)),*];

            /// The number of this error. Numbers are never reused.
            pub const fn code(&self) -> i32 {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }

            /// The name of this error, as in the JSON form and the C status.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }
        }

        impl Serialize for E2eeError {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> std::result::Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("code", &self.code())?;
                map.serialize_entry("name", self.name())?;
                match self {
                    $(Self::$variant { detail, $($field,)* } => {
                        map.serialize_entry("detail", detail)?;
                        $(map.serialize_entry(stringify!($field), $field)?;)*
                    })*
                }
                map.end()
            }
        }
    };
}

errors! {
    // The boundary.
    /// A pointer argument that may not be NULL is NULL.
    NullPointer = 1 "NULL_POINTER" {}
    /// A text argument is not valid UTF-8.
    InvalidUtf8 = 2 "INVALID_UTF8" {}
    /// A byte argument has the wrong length.
    InvalidLength = 3 "INVALID_LENGTH" {}
    /// The handle was freed, or was never made by this library.
    StaleHandle = 4 "STALE_HANDLE" {}
    /// The handle belongs to another kind of object than the call takes.
    WrongHandle = 5 "WRONG_HANDLE" {}
    /// A callback called back into the library.
    Busy = 6 "BUSY" {}
    /// The handle was made before this process was forked.
    Forked = 7 "FORKED" {}
    /// An internal error; the handle refuses further use. Reopen the store.
    Panic = 8 "PANIC" {}

    // Input.
    /// The text is not JSON, repeats a key, or is nested too deeply.
    InvalidJson = 100 "INVALID_JSON" {}
    /// A field or an argument is missing, or has the wrong type or value.
    InvalidField = 101 "INVALID_FIELD" {
        /// The field or argument.
        field: String,
    }
    /// The input is larger than the library accepts.
    TooLarge = 102 "TOO_LARGE" {
        /// The largest size accepted.
        limit: u64,
    }
    /// A key is badly encoded, of the wrong length, not canonical or weak.
    InvalidKey = 103 "INVALID_KEY" {}
    /// A signature is missing or does not verify.
    BadSignature = 104 "BAD_SIGNATURE" {}
    /// The algorithm is not one that this call handles.
    UnknownAlgorithm = 105 "UNKNOWN_ALGORITHM" {
        /// The algorithm that was found.
        algorithm: String,
    }

    // Olm.
    /// There is no session to encrypt or decrypt with.
    NoSession = 200 "NO_SESSION" {}
    /// The message has no ciphertext for this device.
    NotEncryptedForUs = 201 "NOT_ENCRYPTED_FOR_US" {}
    /// The ciphertext could not be decrypted.
    UnableToDecrypt = 202 "UNABLE_TO_DECRYPT" {
        /// One of bad_mac, malformed, no_matching_session, missing_message_key, message_gap,
        /// redacted.
        reason: String,
    }
    /// The message was decrypted, but what it says of itself is wrong: discard it.
    InvalidMessage = 203 "INVALID_MESSAGE" {}
    /// The fingerprint key is not the one known for this device.
    MismatchedFingerprint = 204 "MISMATCHED_FINGERPRINT" {}
    /// The fingerprint key of the other device is not known, or not from device keys.
    UnknownFingerprint = 205 "UNKNOWN_FINGERPRINT" {}

    // Megolm.
    /// The room key must be rotated: create a new outbound session.
    SessionExpired = 300 "SESSION_EXPIRED" {
        /// One of invalidated, count, time, clock, device_gone, user_gone, history_visibility,
        /// recipients_unknown, superseded.
        reason: String,
    }
    /// The room has no encryption settings.
    RoomNotEncrypted = 301 "ROOM_NOT_ENCRYPTED" {}
    /// The event, its plaintext and the session do not name the same room.
    WrongRoom = 302 "WRONG_ROOM" {}
    /// The event was not sent by the owner of the session.
    WrongSender = 303 "WRONG_SENDER" {}
    /// The session ID is not the one of the key or session.
    MismatchedSessionId = 304 "MISMATCHED_SESSION_ID" {}
    /// The message is older than the first one that the session can decrypt.
    UnknownIndex = 305 "UNKNOWN_INDEX" {
        /// The first index that the session can decrypt.
        first_known: u32,
        /// The index asked for.
        got: u32,
    }
    /// The message index was already used by another event.
    Replay = 306 "REPLAY" {
        /// The index that both events use.
        message_index: u32,
        /// The event that used it first.
        event_id: String,
    }

    // The store. (400: the account has no errors of its own.)
    /// Nothing of that name is stored, or it was erased.
    NotFound = 500 "NOT_FOUND" {}
    /// An object of that name is stored already.
    AlreadyExists = 501 "ALREADY_EXISTS" {}
    /// The store is open already, here or in another process.
    StoreInUse = 502 "STORE_IN_USE" {}
    /// The store was shut down.
    StoreClosed = 503 "STORE_CLOSED" {}
    /// A stored record was altered, exchanged or damaged.
    Corrupt = 504 "CORRUPT" {}
    /// The store or record was written by a newer version of this library.
    NewerFormat = 505 "NEWER_FORMAT" {
        /// The format found.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    }
    /// The key does not open this store or pickle.
    WrongKey = 506 "WRONG_KEY" {}
    /// The store could not read or write.
    StoreIo = 507 "STORE_IO" {}
    /// The clock callback reported a failure.
    ClockFailed = 508 "CLOCK_FAILED" {}
}

impl E2eeError {
    /// The error as JSON text: `code`, `name`, `detail` and the error's own fields.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| String::from("{}"))
    }
}

/// Short constructors: `invalid_field("room_id", "is missing")`.
macro_rules! constructors {
    ($($function:ident => $variant:ident),* $(,)?) => {
        // Some are for the C ABI alone.
        #[cfg_attr(not(feature = "capi"), allow(dead_code))]
        impl E2eeError {
            $(pub(crate) fn $function(detail: impl Into<String>) -> Self {
                Self::$variant { detail: detail.into() }
            })*
        }
    };
}

constructors! {
    null_pointer => NullPointer,
    invalid_utf8 => InvalidUtf8,
    invalid_length => InvalidLength,
    stale_handle => StaleHandle,
    wrong_handle => WrongHandle,
    busy => Busy,
    forked => Forked,
    panic => Panic,
    invalid_json => InvalidJson,
    invalid_key => InvalidKey,
    bad_signature => BadSignature,
    no_session => NoSession,
    not_encrypted_for_us => NotEncryptedForUs,
    invalid_message => InvalidMessage,
    mismatched_fingerprint => MismatchedFingerprint,
    unknown_fingerprint => UnknownFingerprint,
    room_not_encrypted => RoomNotEncrypted,
    wrong_room => WrongRoom,
    wrong_sender => WrongSender,
    mismatched_session_id => MismatchedSessionId,
    not_found => NotFound,
    already_exists => AlreadyExists,
    store_in_use => StoreInUse,
    store_closed => StoreClosed,
    corrupt => Corrupt,
    wrong_key => WrongKey,
    store_io => StoreIo,
    clock_failed => ClockFailed,
}

/// How much of a text from outside an error repeats, in characters.
const FOREIGN: usize = 64;

/// A text from outside, as it may stand in an error: at most 64 characters, the last one an
/// ellipsis if it was longer. Whatever an error repeats of what it was given passes through here.
pub(crate) fn cut(text: &str) -> String {
    let mut characters = text.chars();
    let mut start: String = characters.by_ref().take(FOREIGN).collect();
    if characters.next().is_some() {
        start.pop();
        start.push('\u{2026}');
    }
    start
}

impl E2eeError {
    pub(crate) fn invalid_field(field: impl AsRef<str>, problem: impl std::fmt::Display) -> Self {
        let field = cut(field.as_ref());
        Self::InvalidField { detail: format!("{field}: {problem}"), field }
    }

    pub(crate) fn too_large(what: &str, size: usize, limit: usize) -> Self {
        Self::TooLarge {
            detail: format!("{what} has {size} bytes, at most {limit} are accepted"),
            limit: limit as u64,
        }
    }

    pub(crate) fn unknown_algorithm(found: &str, expected: &str) -> Self {
        Self::UnknownAlgorithm {
            detail: format!("the algorithm is not {expected}"),
            algorithm: cut(found),
        }
    }

    pub(crate) fn unable_to_decrypt(reason: &str, detail: &str) -> Self {
        Self::UnableToDecrypt { detail: detail.to_owned(), reason: reason.to_owned() }
    }

    pub(crate) fn session_expired(reason: &str, detail: &str) -> Self {
        Self::SessionExpired { detail: detail.to_owned(), reason: reason.to_owned() }
    }
}

/// What the methods above are in the other languages, which know neither constants nor serde.
#[cfg(feature = "uniffi")]
#[uniffi::export]
impl E2eeError {
    /// The number of this error, the same in every language and release.
    #[uniffi::method(name = "code")]
    pub fn number(&self) -> i32 {
        self.code()
    }

    /// The name of this error, the same in every language: `UNABLE_TO_DECRYPT`.
    #[uniffi::method(name = "name")]
    pub fn plain_name(&self) -> String {
        self.name().to_owned()
    }

    /// This error as JSON: `{"code": 306, "name": "REPLAY", "detail": "...", ...}`.
    #[uniffi::method(name = "json")]
    pub fn json_text(&self) -> String {
        self.to_json()
    }
}

/// A host's callback threw something that is not one of our errors.
#[cfg(feature = "uniffi")]
impl From<uniffi::UnexpectedUniFFICallbackError> for E2eeError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::store_io("a callback failed with an exception of the host's")
    }
}
