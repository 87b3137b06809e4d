//! Sessions from elsewhere in any number: in chunks, each for a transaction of its own, so that what
//! is done stays done, and so that the same call again finishes what was interrupted.

mod exports;
mod libolm;

use serde::Serialize;

use crate::error::{E2eeError, Result};
use crate::sessions::megolm::Arrival;

pub use exports::ExportedSessions;
pub use libolm::LibolmSessions;

/// What became of each session: the numbers and the failures together are as many as were given.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// New here.
    pub imported: usize,
    /// Stored before, and able to decrypt more now.
    pub merged: usize,
    /// Stored before, and unchanged, or erased here: such a session does not come back.
    pub known: usize,
    /// Olm sessions that their channel has no room for: it holds as many newer ones as it may.
    pub surplus: usize,
    /// What could not be imported, in the order of the list.
    pub failed: Vec<Failure>,
}

/// One session that could not be imported.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Its place in the list.
    pub index: usize,
    /// What is wrong with it.
    pub error: E2eeError,
}

impl Report {
    fn count(&mut self, arrival: Arrival) {
        let counter = match arrival {
            Arrival::New => &mut self.imported,
            Arrival::Merged => &mut self.merged,
            Arrival::Known => &mut self.known,
        };
        *counter = counter.saturating_add(1);
    }

    /// Notes what is wrong with a session. What is wrong with the store or with the library stops
    /// the call, so that the chunk is not committed.
    fn fail(&mut self, index: usize, error: E2eeError) -> Result<()> {
        match error {
            E2eeError::StoreIo { .. }
            | E2eeError::StoreClosed { .. }
            // Of the store's records.
            | E2eeError::Corrupt { .. }
            | E2eeError::NewerFormat { .. }
            | E2eeError::Forked { .. }
            | E2eeError::Busy { .. }
            | E2eeError::Panic { .. } => Err(error),
            _ => {
                self.name_failed(index, error);
                Ok(())
            }
        }
    }

    fn name_failed(&mut self, index: usize, error: E2eeError) {
        self.failed.push(Failure { index, error });
    }
}
