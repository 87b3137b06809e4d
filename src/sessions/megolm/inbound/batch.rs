//! Decrypting many events, on all cores.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::value::RawValue;
use vodozemac::megolm::InboundGroupSession;

use super::decrypt::{Decrypted, Encrypted, Opened, SessionFacts};
use super::{InboundMegolmSession, InboundState, record};
use crate::base::json;
use crate::base::parallel;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::{Taken, Transaction};

/// How many events a thread reads in one go.
const READ_AT_ONCE: usize = 64;
/// A long session is cut into pieces, but each begins with up to 1020 steps of the ratchet.
const SHORTEST_PIECE: usize = 32;
const LONGEST_PIECE: usize = 512;

/// An event and its place in the list. There may be very many, on their way from list to list.
type Placed<T> = (usize, Box<T>);

/// The events of one session.
struct Part<'a> {
    session: &'a InboundMegolmSession,
    state: Taken<InboundState>,
    /// In the order of their indices; those with the same index in that of the list.
    events: Vec<Placed<Encrypted>>,
    /// Into how many pieces they were cut.
    pieces: usize,
}

/// What one thread decrypts in one go: events with neighbouring indices of one session.
struct Piece<'a> {
    facts: SessionFacts<'a>,
    session: Ratchet<'a>,
    events: Vec<Placed<Encrypted>>,
}

enum Ratchet<'a> {
    /// The live one.
    Own(&'a mut InboundGroupSession),
    Copy(Box<InboundGroupSession>),
}

impl InboundMegolmSession {
    /// Decrypts many events of this session, on all cores. The results stand in the order of the
    /// events; nobody may see them before the transaction is committed.
    pub fn decrypt_many(
        &self,
        tx: &mut Transaction<'_>,
        events: &[&RawValue],
    ) -> Result<Vec<Result<Decrypted>>> {
        let (results, mut read) = read_all(events)?;
        let state = self.take(tx)?;
        read.sort_unstable_by_key(|(place, event)| (event.message_index(), *place));
        finish(tx, vec![Part { session: self, state, events: read, pieces: 0 }], results)
    }
}

/// Decrypts events of any rooms and sessions of an account, on all cores. The results stand in the
/// order of the events; nobody may see them before the transaction is committed.
pub fn decrypt_room_events(
    account: &Arc<Account>,
    tx: &mut Transaction<'_>,
    events: &[&RawValue],
) -> Result<Vec<Result<Decrypted>>> {
    let (mut results, mut read) = read_all(events)?;
    read.sort_unstable_by(|(a_place, a), (b_place, b)| {
        compare_sessions(a, b)
            .then(a.message_index().cmp(&b.message_index()))
            .then(a_place.cmp(b_place))
    });
    let mut sessions: Vec<(Box<InboundMegolmSession>, Vec<Placed<Encrypted>>)> = Vec::new();
    for (place, event) in read {
        match sessions.last_mut() {
            Some((session, events)) if session.is_of(&event) => events.push((place, event)),
            _ => {
                let session = InboundMegolmSession::named(
                    account,
                    event.room_id.clone(),
                    &event.session_id,
                    None,
                );
                sessions.push((Box::new(session), vec![(place, event)]));
            }
        }
    }
    // One order for all who lock several sessions, so that none waits for another in a circle.
    sessions.sort_unstable_by(|(a, _), (b, _)| a.key.cmp(&b.key));
    let (sessions, events): (Vec<_>, Vec<_>) = sessions.into_iter().unzip();
    let mut parts = Vec::with_capacity(sessions.len());
    let taken = tx.take_all(
        &sessions,
        |session| &session.shared,
        |session, records| record::load(session, records),
    )?;
    for ((session, events), state) in sessions.iter().zip(events).zip(taken) {
        match state {
            Ok(state) => {
                session.keep();
                parts.push(Part { session, state, events, pieces: 0 });
            }
            Err(error) => {
                let error = match error {
                    E2eeError::NotFound { .. } => {
                        E2eeError::no_session("the session of the event is not known")
                    }
                    other => other,
                };
                for (place, _) in events {
                    put(&mut results, place, Err(error.clone()));
                }
            }
        }
    }
    finish(tx, parts, results)
}

type Results = Vec<Option<Result<Decrypted>>>;

fn put(results: &mut Results, place: usize, result: Result<Decrypted>) {
    if let Some(slot) = results.get_mut(place) {
        *slot = Some(result);
    }
}

fn compare_sessions(a: &Encrypted, b: &Encrypted) -> Ordering {
    a.session_id.cmp(&b.session_id).then_with(|| a.room_id.cmp(&b.room_id))
}

/// Reads all events. Those that cannot be read have their error in the results already.
fn read_all(events: &[&RawValue]) -> Result<(Results, Vec<Placed<Encrypted>>)> {
    let mut results = Results::new();
    results.resize_with(events.len(), || None);
    let chunks = events.chunks(READ_AT_ONCE).collect();
    let read = parallel::map(chunks, events.len(), |chunk: &[&RawValue]| {
        let read = |event: &&RawValue| {
            Encrypted::read(&json::parse_event("event", event.get())?).map(Box::new)
        };
        chunk.iter().map(read).collect::<Vec<_>>()
    })?;
    let mut encrypted = Vec::with_capacity(events.len());
    for (place, event) in read.into_iter().flatten().enumerate() {
        match event {
            Ok(event) => encrypted.push((place, event)),
            Err(error) => put(&mut results, place, Err(error)),
        }
    }
    Ok((results, encrypted))
}

/// Decrypts on all cores, and checks for replays in the order of the list.
fn finish(
    tx: &mut Transaction<'_>,
    mut parts: Vec<Part<'_>>,
    mut results: Results,
) -> Result<Vec<Result<Decrypted>>> {
    let count = parts.iter().map(|part| part.events.len()).sum();
    let mut pieces = Vec::new();
    for part in &mut parts {
        part.cut(count, &mut pieces, tx)?;
    }
    let mut opened = parallel::map(pieces, count, Piece::open)?.into_iter();
    for part in &mut parts {
        part.state.finish_change();
        part.state.change(|state| {
            for (place, opened) in opened.by_ref().take(part.pieces).flatten() {
                put(&mut results, place, opened.and_then(|opened| state.admit(tx, opened)));
            }
            state.has_gained = false;
            state.store_uses(tx)
        })?;
    }
    let missing = || E2eeError::panic("an event was lost");
    results.into_iter().map(|result| result.ok_or_else(missing)).collect()
}

impl InboundMegolmSession {
    fn is_of(&self, event: &Encrypted) -> bool {
        self.session_id == event.session_id && self.room_id == event.room_id
    }
}

impl Part<'_> {
    /// Cuts the events into pieces, and begins the change of the state.
    fn cut<'a>(
        &'a mut self,
        count: usize,
        pieces: &mut Vec<Piece<'a>>,
        tx: &mut Transaction<'_>,
    ) -> Result<()> {
        let longest = count
            .div_ceil(parallel::cores().saturating_mul(8))
            .clamp(SHORTEST_PIECE, LONGEST_PIECE);
        let state = self.state.begin_change()?;
        record::ask_channels(self.session, state, tx)?;
        let (facts, session) = SessionFacts::of(self.session, state);
        let mut events = std::mem::take(&mut self.events).into_iter().peekable();
        while events.len() > longest {
            let piece = events.by_ref().take(longest).collect();
            let copy = Box::new(InboundGroupSession::from_pickle(session.pickle()));
            pieces.push(Piece { facts, session: Ratchet::Copy(copy), events: piece });
            self.pieces = self.pieces.saturating_add(1);
        }
        // The last ones move the live ratchet: the next events will probably come after them.
        pieces.push(Piece { facts, session: Ratchet::Own(session), events: events.collect() });
        self.pieces = self.pieces.saturating_add(1);
        Ok(())
    }
}

impl Piece<'_> {
    fn open(self) -> Vec<(usize, Result<Opened>)> {
        let Self { facts, mut session, .. } = self;
        let session: &mut InboundGroupSession = match &mut session {
            Ratchet::Own(session) => session,
            Ratchet::Copy(session) => session,
        };
        self.events.into_iter().map(|(place, event)| (place, facts.open(session, *event))).collect()
    }
}
