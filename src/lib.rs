//! Matrix end-to-end encryption as one library.

#![deny(missing_docs, unsafe_code)]

mod environment;
mod error;
mod store;

pub use environment::{Clock, RandomBytes, SystemClock, SystemRandom};
pub use error::{E2eeError, Result};
pub use store::Store;

#[cfg(feature = "uniffi")]
uniffi::setup_scaffolding!("matrixe2ee");
