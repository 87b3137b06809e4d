//! The one error type of the library, with numbers that never change.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// Everything that can go wrong, in every language.
///
/// Each error carries `detail`, a sentence that names what was wrong and never
/// holds a secret or a plaintext, and the fields that a program may want to
/// act on. Its JSON form is the same everywhere:
/// `{"code": 306, "name": "REPLAY", "detail": "...", "message_index": 4, ...}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "uniffi", derive(uniffi::Error))]
#[non_exhaustive]
pub enum E2eeError {
    /// A pointer argument that may not be NULL is NULL.
    #[error("{detail}")]
    NullPointer {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// A text argument is not valid UTF-8.
    #[error("{detail}")]
    InvalidUtf8 {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// A byte argument has the wrong length.
    #[error("{detail}")]
    InvalidLength {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The handle was freed, or was never made by this library.
    #[error("{detail}")]
    StaleHandle {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The handle belongs to another kind of object than the call takes.
    #[error("{detail}")]
    WrongHandle {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// A callback called back into the library.
    #[error("{detail}")]
    Busy {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The handle was made before this process was forked.
    #[error("{detail}")]
    Forked {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// An internal error; the handle refuses further use. Reopen the store.
    #[error("{detail}")]
    Panic {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The text is not JSON, repeats a key, or is nested too deeply.
    #[error("{detail}")]
    InvalidJson {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// A field or an argument is missing, or has the wrong type or value.
    #[error("{detail}")]
    InvalidField {
        /// What was wrong, as a sentence.
        detail: String,
        /// The field or argument.
        field: String,
    },
    /// The input is larger than the library accepts.
    #[error("{detail}")]
    TooLarge {
        /// What was wrong, as a sentence.
        detail: String,
        /// The largest size accepted.
        limit: u64,
    },
    /// A key is badly encoded, of the wrong length, not canonical or weak.
    #[error("{detail}")]
    InvalidKey {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// A signature is missing or does not verify.
    #[error("{detail}")]
    BadSignature {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The algorithm is not one that this call handles.
    #[error("{detail}")]
    UnknownAlgorithm {
        /// What was wrong, as a sentence.
        detail: String,
        /// The algorithm that was found.
        algorithm: String,
    },
    /// There is no session to encrypt or decrypt with.
    #[error("{detail}")]
    NoSession {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The message has no ciphertext for this device.
    #[error("{detail}")]
    NotEncryptedForUs {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The ciphertext could not be decrypted.
    #[error("{detail}")]
    UnableToDecrypt {
        /// What was wrong, as a sentence.
        detail: String,
        /// One of bad_mac, malformed, no_matching_session, missing_message_key, message_gap.
        reason: String,
    },
    /// The message was decrypted, but what it says of itself is wrong: discard it.
    #[error("{detail}")]
    InvalidMessage {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The fingerprint key is not the one known for this device.
    #[error("{detail}")]
    MismatchedFingerprint {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The fingerprint key of the other device is not known, or not verified.
    #[error("{detail}")]
    UnknownFingerprint {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The room key must be rotated: create a new outbound session.
    #[error("{detail}")]
    SessionExpired {
        /// What was wrong, as a sentence.
        detail: String,
        /// One of invalidated, count, time, clock, device_gone, user_gone, history_visibility.
        reason: String,
    },
    /// The room has no encryption settings.
    #[error("{detail}")]
    RoomNotEncrypted {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The event, its plaintext and the session do not name the same room.
    #[error("{detail}")]
    WrongRoom {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The event was not sent by the owner of the session.
    #[error("{detail}")]
    WrongSender {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The session ID is not the one of the key or session.
    #[error("{detail}")]
    MismatchedSessionId {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The message is older than the first one that the session can decrypt.
    #[error("{detail}")]
    UnknownIndex {
        /// What was wrong, as a sentence.
        detail: String,
        /// The first index that the session can decrypt.
        first_known: u32,
        /// The index asked for.
        got: u32,
    },
    /// The message index was already used by another event.
    #[error("{detail}")]
    Replay {
        /// What was wrong, as a sentence.
        detail: String,
        /// The index that both events use.
        message_index: u32,
        /// The event that used it first.
        event_id: String,
    },
    /// Nothing of that name is stored, or it was erased.
    #[error("{detail}")]
    NotFound {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// An object of that name is stored already.
    #[error("{detail}")]
    AlreadyExists {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The store is open already, here or in another process.
    #[error("{detail}")]
    StoreInUse {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The store was shut down.
    #[error("{detail}")]
    StoreClosed {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// A stored record was altered, exchanged or damaged.
    #[error("{detail}")]
    Corrupt {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The store or record was written by a newer version of this library.
    #[error("{detail}")]
    NewerFormat {
        /// What was wrong, as a sentence.
        detail: String,
        /// The format found.
        found: u32,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// The key does not open this store or pickle.
    #[error("{detail}")]
    WrongKey {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The store could not read or write.
    #[error("{detail}")]
    StoreIo {
        /// What was wrong, as a sentence.
        detail: String,
    },
    /// The clock callback reported a failure.
    #[error("{detail}")]
    ClockFailed {
        /// What was wrong, as a sentence.
        detail: String,
    },
}

/// The result of every fallible call.
pub type Result<T> = std::result::Result<T, E2eeError>;

impl E2eeError {
    /// The number of this error. Numbers are never reused.
    pub const fn code(&self) -> i32 {
        match self {
            Self::NullPointer { .. } => 1,
            Self::InvalidUtf8 { .. } => 2,
            Self::InvalidLength { .. } => 3,
            Self::StaleHandle { .. } => 4,
            Self::WrongHandle { .. } => 5,
            Self::Busy { .. } => 6,
            Self::Forked { .. } => 7,
            Self::Panic { .. } => 8,
            Self::InvalidJson { .. } => 100,
            Self::InvalidField { .. } => 101,
            Self::TooLarge { .. } => 102,
            Self::InvalidKey { .. } => 103,
            Self::BadSignature { .. } => 104,
            Self::UnknownAlgorithm { .. } => 105,
            Self::NoSession { .. } => 200,
            Self::NotEncryptedForUs { .. } => 201,
            Self::UnableToDecrypt { .. } => 202,
            Self::InvalidMessage { .. } => 203,
            Self::MismatchedFingerprint { .. } => 204,
            Self::UnknownFingerprint { .. } => 205,
            Self::SessionExpired { .. } => 300,
            Self::RoomNotEncrypted { .. } => 301,
            Self::WrongRoom { .. } => 302,
            Self::WrongSender { .. } => 303,
            Self::MismatchedSessionId { .. } => 304,
            Self::UnknownIndex { .. } => 305,
            Self::Replay { .. } => 306,
            Self::NotFound { .. } => 500,
            Self::AlreadyExists { .. } => 501,
            Self::StoreInUse { .. } => 502,
            Self::StoreClosed { .. } => 503,
            Self::Corrupt { .. } => 504,
            Self::NewerFormat { .. } => 505,
            Self::WrongKey { .. } => 506,
            Self::StoreIo { .. } => 507,
            Self::ClockFailed { .. } => 508,
        }
    }

    /// The name of this error, as in the JSON form and the C status.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NullPointer { .. } => "NULL_POINTER",
            Self::InvalidUtf8 { .. } => "INVALID_UTF8",
            Self::InvalidLength { .. } => "INVALID_LENGTH",
            Self::StaleHandle { .. } => "STALE_HANDLE",
            Self::WrongHandle { .. } => "WRONG_HANDLE",
            Self::Busy { .. } => "BUSY",
            Self::Forked { .. } => "FORKED",
            Self::Panic { .. } => "PANIC",
            Self::InvalidJson { .. } => "INVALID_JSON",
            Self::InvalidField { .. } => "INVALID_FIELD",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::InvalidKey { .. } => "INVALID_KEY",
            Self::BadSignature { .. } => "BAD_SIGNATURE",
            Self::UnknownAlgorithm { .. } => "UNKNOWN_ALGORITHM",
            Self::NoSession { .. } => "NO_SESSION",
            Self::NotEncryptedForUs { .. } => "NOT_ENCRYPTED_FOR_US",
            Self::UnableToDecrypt { .. } => "UNABLE_TO_DECRYPT",
            Self::InvalidMessage { .. } => "INVALID_MESSAGE",
            Self::MismatchedFingerprint { .. } => "MISMATCHED_FINGERPRINT",
            Self::UnknownFingerprint { .. } => "UNKNOWN_FINGERPRINT",
            Self::SessionExpired { .. } => "SESSION_EXPIRED",
            Self::RoomNotEncrypted { .. } => "ROOM_NOT_ENCRYPTED",
            Self::WrongRoom { .. } => "WRONG_ROOM",
            Self::WrongSender { .. } => "WRONG_SENDER",
            Self::MismatchedSessionId { .. } => "MISMATCHED_SESSION_ID",
            Self::UnknownIndex { .. } => "UNKNOWN_INDEX",
            Self::Replay { .. } => "REPLAY",
            Self::NotFound { .. } => "NOT_FOUND",
            Self::AlreadyExists { .. } => "ALREADY_EXISTS",
            Self::StoreInUse { .. } => "STORE_IN_USE",
            Self::StoreClosed { .. } => "STORE_CLOSED",
            Self::Corrupt { .. } => "CORRUPT",
            Self::NewerFormat { .. } => "NEWER_FORMAT",
            Self::WrongKey { .. } => "WRONG_KEY",
            Self::StoreIo { .. } => "STORE_IO",
            Self::ClockFailed { .. } => "CLOCK_FAILED",
        }
    }

    /// The error as JSON text: `code`, `name`, `detail` and the error's own fields.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| String::from("{}"))
    }
}

impl Serialize for E2eeError {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", &self.code())?;
        map.serialize_entry("name", self.name())?;
        map.serialize_entry("detail", &self.to_string())?;
        match self {
            Self::InvalidField { field, .. } => {
                map.serialize_entry("field", field)?;
            }
            Self::TooLarge { limit, .. } => {
                map.serialize_entry("limit", limit)?;
            }
            Self::UnknownAlgorithm { algorithm, .. } => {
                map.serialize_entry("algorithm", algorithm)?;
            }
            Self::UnableToDecrypt { reason, .. } => {
                map.serialize_entry("reason", reason)?;
            }
            Self::SessionExpired { reason, .. } => {
                map.serialize_entry("reason", reason)?;
            }
            Self::UnknownIndex { first_known, got, .. } => {
                map.serialize_entry("first_known", first_known)?;
                map.serialize_entry("got", got)?;
            }
            Self::Replay { message_index, event_id, .. } => {
                map.serialize_entry("message_index", message_index)?;
                map.serialize_entry("event_id", event_id)?;
            }
            Self::NewerFormat { found, supported, .. } => {
                map.serialize_entry("found", found)?;
                map.serialize_entry("supported", supported)?;
            }
            _ => {}
        }
        map.end()
    }
}

/// Short constructors: `invalid_field("room_id", "is missing")`.
macro_rules! constructors {
    ($($function:ident => $variant:ident),* $(,)?) => {
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

impl E2eeError {
    pub(crate) fn invalid_field(field: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let field = field.into();
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
            algorithm: found.to_owned(),
        }
    }

    pub(crate) fn unable_to_decrypt(reason: &str, detail: &str) -> Self {
        Self::UnableToDecrypt { detail: detail.to_owned(), reason: reason.to_owned() }
    }

    pub(crate) fn session_expired(reason: &str, detail: &str) -> Self {
        Self::SessionExpired { detail: detail.to_owned(), reason: reason.to_owned() }
    }
}

/// A host's callback threw something that is not one of our errors.
#[cfg(feature = "uniffi")]
impl From<uniffi::UnexpectedUniFFICallbackError> for E2eeError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::store_io("a callback failed with an exception of the host's")
    }
}
