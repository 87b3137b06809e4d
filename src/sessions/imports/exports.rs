//! Exported Megolm sessions, as a key file has them.

use std::slice;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::Report;
use crate::base::json::{self, EVENT_LIMIT};
use crate::base::parallel;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::megolm::{ArrivingSession, InboundMegolmSession};
use crate::store::Transaction;

/// How many sessions are committed at once, while all other calls on the account wait: 5 ms in
/// a small store, 30 in one of 100,000 sessions.
const CHUNK: usize = 200;
/// How many one thread reads at once.
const READ_AT_ONCE: usize = 50;

/// Exported sessions that are to be stored, each as by `InboundMegolmSession::from_export` without
/// a user. What is wrong with one concerns it alone.
pub struct ExportedSessions<'a> {
    chunks: slice::Chunks<'a, &'a RawValue>,
    /// How many were stored or have failed.
    done: usize,
    report: Report,
}

impl<'a> ExportedSessions<'a> {
    /// None of them is read yet.
    pub fn new(sessions: &'a [&'a RawValue]) -> Self {
        Self { chunks: sessions.chunks(CHUNK), done: 0, report: Report::default() }
    }

    /// Reads the next ones; `None` if all are done. That is most of the work, and nobody has to wait
    /// for it.
    pub fn read(&mut self) -> Result<Option<Vec<Result<ArrivingSession>>>> {
        let Some(sessions) = self.chunks.next() else { return Ok(None) };
        let pieces = sessions.chunks(READ_AT_ONCE).collect();
        let read = parallel::map(pieces, sessions.len(), |piece: &[&RawValue]| {
            let read = |data: &&RawValue| {
                let data = json::parse_object("session_data", data.get(), EVENT_LIMIT)?;
                ArrivingSession::of_export(&data, None)
            };
            piece.iter().map(read).collect::<Vec<_>>()
        })?;
        Ok(Some(read.into_iter().flatten().collect()))
    }

    /// Stores what was read. The transaction is alone on its account.
    pub fn store(
        &mut self,
        account: &Arc<Account>,
        tx: &mut Transaction<'_>,
        sessions: Vec<Result<ArrivingSession>>,
    ) -> Result<()> {
        for arriving in sessions {
            let index = self.done;
            self.done = self.done.saturating_add(1);
            match arriving.and_then(|arriving| InboundMegolmSession::add(account, tx, arriving)) {
                Ok(arrival) => self.report.count(arrival),
                // Of what is stored of this session, which is no other's problem.
                Err(error @ (E2eeError::Corrupt { .. } | E2eeError::NewerFormat { .. })) => {
                    self.report.name_failed(index, error);
                }
                Err(error) => self.report.fail(index, error)?,
            }
        }
        Ok(())
    }

    /// What became of them, once all are committed.
    pub fn into_report(self) -> Report {
        self.report
    }
}
