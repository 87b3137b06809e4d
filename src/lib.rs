//! Matrix end-to-end encryption as one library.

#![deny(missing_docs, unsafe_code)]

// The only unsafe code of the crate.
#[cfg(feature = "capi")]
#[allow(unsafe_code)]
mod capi;
mod environment;
mod error;

pub use environment::{Clock, RandomBytes, SystemClock, SystemRandom};
pub use error::{E2eeError, Result};

#[cfg(feature = "uniffi")]
uniffi::setup_scaffolding!("matrixe2ee");
