//! Matrix end-to-end encryption as one library: accounts, Olm channels and Megolm sessions over an
//! encrypted store, for C, C++, Kotlin, Swift, Python and Rust.
//!
//! The objects at the crate's root take and give JSON text; every language has the same ones.
//! [`typed`] is the core behind them.
//!
//! Keys that are kept are wiped when they are dropped. What passes through short-lived texts on the way
//! is wiped by an allocator: the libraries for other languages have one; a program in Rust turns on the
//! feature `hardened-alloc`, or has one like it.

#![deny(missing_docs, unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::todo
    )
)]

// Under this flag, which fuzzers set for the whole build, vodozemac accepts every MAC and signature.
#[cfg(all(fuzzing, not(feature = "fuzz-harness")))]
compile_error!(
    "--cfg fuzzing turns off all signature and MAC checks: only for the fuzzing harness"
);

mod base;
// The only unsafe code of the crate, but for three calls of the system in base/fork.rs.
#[cfg(feature = "capi")]
#[allow(unsafe_code)]
mod capi;
mod error;
#[cfg(test)]
#[path = "../tests/faults/mod.rs"]
mod faults;
mod handles;
mod sessions;
mod store;

pub use base::environment::{Clock, RandomBytes, SystemClock, SystemRandom};
pub use error::{E2eeError, Result};
pub use handles::{
    Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store, canonical_json,
    keys_claim_request, read_keys_claim_response, verify_signed_json, version,
};
#[cfg(feature = "uniffi")]
pub use handles::{StoreOpener, broken_store_rules};
pub use store::{StoreBackend, StoreChange, StoreEntry, contract as store_contract};

/// The typed core behind the objects at the crate's root.
///
/// Its functions change nothing by themselves: they work in a [`Transaction`](typed::Transaction), which the
/// caller begins on an account and commits.
pub mod typed {
    pub use crate::base::identifiers::{DeviceId, EventId, EventType, RoomId, UserId};
    pub use crate::sessions::account::{Account, KeyCounts, Page};
    pub use crate::sessions::device_keys::DeviceKeys;
    pub use crate::sessions::imports::{ExportedSessions, Failure, LibolmSessions, Report};
    pub use crate::sessions::megolm::{
        ArrivingSession, Decrypted, EncryptedEvent, EventContent, ExportedSession,
        InboundMegolmSession, KeysToSend, OutboundMegolmSession, Recipients, SentDevice,
        SessionInfo, Settings, decrypt_room_events, list_sessions,
    };
    pub use crate::sessions::olm::{
        ChannelInfo, FingerprintStatus, KnownPartner, OlmChannel, Partner, encrypt_for_devices,
        keys_claim_request, list_channels, read_keys_claim_response,
    };
    pub use crate::store::{Store, Transaction};
}

/// JSON, plaintexts and keys pass through many short-lived texts, here and in the crates below: none
/// leaves a copy in freed memory (SEC-108).
#[cfg(feature = "hardened-alloc")]
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

#[cfg(feature = "uniffi")]
uniffi::setup_scaffolding!("matrixe2ee");
