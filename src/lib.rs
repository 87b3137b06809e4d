//! Matrix end-to-end encryption as one library.

#![deny(missing_docs, unsafe_code)]

mod account;
mod device_keys;
mod environment;
mod error;
mod identifiers;
mod json;
mod olm;
mod public_keys;
mod room_settings;
mod store;

pub use environment::{Clock, RandomBytes, SystemClock, SystemRandom};
pub use error::{E2eeError, Result};
pub use store::Store;

#[cfg(feature = "uniffi")]
uniffi::setup_scaffolding!("matrixe2ee");
