use std::sync::Arc;

use crate::error::Result;
use crate::store::{StoreBackend, contract};

/// Opens the place that a store backend of your own keeps its records in, for a test of it.
#[uniffi::export(foreign)]
pub trait StoreOpener: Send + Sync {
    /// A backend on the place: the same place each time, empty at first. What an earlier call gave
    /// is out of use when this is called again.
    fn open(&self) -> Result<Arc<dyn StoreBackend>>;
}

/// Tries all rules of a store backend on one of your own, and gives a sentence for each that is
/// broken: a test that `broken_store_rules(opener)` is empty belongs to every backend.
///
/// The records of the test stay in the place. What no such test can see: that a commit is whole
/// and on disk when the power fails.
#[uniffi::export]
pub fn broken_store_rules(opener: Arc<dyn StoreOpener>) -> Vec<String> {
    contract::broken_rules(|| opener.open())
}
