//! Exported Megolm sessions, as a key file has them.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::Report;
use crate::base::json::{self, EVENT_LIMIT};
use crate::base::parallel;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::megolm::{ArrivingSession, InboundImport};

/// How many sessions are committed at once, while all other calls on the account wait: 5 ms in
/// a small store, 30 in one of 100,000 sessions.
const CHUNK: usize = 200;
/// How many one thread reads at once.
const READ_AT_ONCE: usize = 50;

/// Stores exported sessions, each as `InboundMegolmSession::from_export` does without a user. What
/// is wrong with one concerns it alone; the call itself fails only if the store does, and what was
/// committed before stays.
pub fn import_sessions(account: &Arc<Account>, sessions: &[&RawValue]) -> Result<Report> {
    drop(account.enter()?);
    let mut report = Report::default();
    let mut index = 0_usize;
    for chunk in sessions.chunks(CHUNK) {
        // Most of the work, for which nobody has to wait.
        let read = read(chunk)?;
        import_chunk(account, index, read, &mut report)?;
        index = index.saturating_add(chunk.len());
    }
    Ok(report)
}

fn read(sessions: &[&RawValue]) -> Result<Vec<Result<ArrivingSession>>> {
    let chunks = sessions.chunks(READ_AT_ONCE).collect();
    let read = parallel::map(chunks, sessions.len(), |chunk: &[&RawValue]| {
        let read = |data: &&RawValue| {
            let data = json::parse_object("session_data", data.get(), EVENT_LIMIT)?;
            ArrivingSession::of_export(&data, None)
        };
        chunk.iter().map(read).collect::<Vec<_>>()
    })?;
    Ok(read.into_iter().flatten().collect())
}

/// One commit. The report counts nothing that is not on disk.
fn import_chunk(
    account: &Arc<Account>,
    first: usize,
    sessions: Vec<Result<ArrivingSession>>,
    report: &mut Report,
) -> Result<()> {
    let mut tx = account.begin_alone()?;
    let mut inbound = InboundImport::new(account);
    for (place, arriving) in sessions.into_iter().enumerate() {
        match arriving.and_then(|arriving| inbound.add(arriving)) {
            Ok(arrival) => report.count(arrival),
            Err(error) => {
                let index = first.saturating_add(place);
                match error {
                    // Of what is stored of this session, which is no other's problem.
                    E2eeError::Corrupt { .. } | E2eeError::NewerFormat { .. } => {
                        report.name_failed(index, error);
                    }
                    error => report.fail(index, error)?,
                }
            }
        }
    }
    inbound.finish(tx.batch())?;
    tx.commit()
}
