//! All sessions of a libolm account.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::vec::IntoIter;

use serde_json::value::RawValue;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::Session;

use super::Report;
use crate::base::identifiers::{RoomId, UserId};
use crate::base::json::{self, EVENT_LIMIT};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::libolm_pickles;
use crate::sessions::megolm::{ArrivingSession, InboundMegolmSession, OutboundMegolmSession};
use crate::sessions::olm::OlmChannel;
use crate::store::Transaction;

/// How many sessions are committed at once. All sessions with one device stay together.
const CHUNK: usize = 1_000;

/// One channel's sessions, oldest first, or one Megolm session: with their places in the list.
enum Unit {
    Channel { user_id: UserId, identity_key: Curve25519PublicKey, pickles: Vec<(usize, String)> },
    Inbound(usize, Inbound),
    Outbound(usize, Outbound),
}

struct Inbound {
    room_id: RoomId,
    sender_key: Curve25519PublicKey,
    pickle: String,
    sender_user_id: Option<UserId>,
}

struct Outbound {
    room_id: String,
    pickle: String,
}

impl Unit {
    fn sessions(&self) -> usize {
        match self {
            Self::Channel { pickles, .. } => pickles.len(),
            _ => 1,
        }
    }
}

/// Sessions that libolm pickled and that are to be stored. What is wrong with one concerns it alone.
pub struct LibolmSessions<'a> {
    units: Peekable<IntoIter<Unit>>,
    pickle_key: &'a [u8],
    report: Report,
}

impl<'a> LibolmSessions<'a> {
    /// Reads the list, and none of the pickles yet.
    pub fn read(sessions: &[&RawValue], pickle_key: &'a [u8]) -> Self {
        let mut report = Report::default();
        let units = read_units(sessions, &mut report);
        Self { units: units.into_iter().peekable(), pickle_key, report }
    }

    /// Whether there are more to be stored.
    pub fn has_more(&mut self) -> bool {
        self.units.peek().is_some()
    }

    /// Stores the next ones. The transaction is alone on its account.
    pub fn store(&mut self, account: &Arc<Account>, tx: &mut Transaction<'_>) -> Result<()> {
        let mut chunk = Vec::new();
        let mut size = 0_usize;
        while size < CHUNK
            && let Some(unit) = self.units.next()
        {
            size = size.saturating_add(unit.sessions());
            chunk.push(unit);
        }
        store_units(account, tx, chunk, self.pickle_key, &mut self.report)
    }

    /// What became of them, once all are committed.
    pub fn into_report(mut self) -> Report {
        self.report.failed.sort_by_key(|failure| failure.index);
        self.report
    }
}

impl Report {
    /// As `fail`, for an error that may be the pickle's: one of a newer libolm spoils no other.
    fn fail_pickle(
        &mut self,
        index: usize,
        error: E2eeError,
        (pickle, pickle_key): (&str, &[u8]),
    ) -> Result<()> {
        match error {
            E2eeError::NewerFormat { .. } if libolm_pickles::is_newer(pickle, pickle_key) => {
                self.name_failed(index, error);
                Ok(())
            }
            error => self.fail(index, error),
        }
    }
}

/// Sorts the list by what is stored together; where a channel stands first, there it is imported.
fn read_units(sessions: &[&RawValue], report: &mut Report) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut channels: BTreeMap<(UserId, [u8; 32]), usize> = BTreeMap::new();
    for (index, item) in sessions.iter().enumerate() {
        let unit = match read_unit(index, item) {
            Ok(unit) => unit,
            Err(error) => {
                report.name_failed(index, error);
                continue;
            }
        };
        if let Unit::Channel { user_id, identity_key, pickles } = unit {
            let place = *channels
                .entry((user_id.clone(), identity_key.to_bytes()))
                .or_insert_with(|| units.len());
            match units.get_mut(place) {
                Some(Unit::Channel { pickles: earlier, .. }) => earlier.extend(pickles),
                _ => units.push(Unit::Channel { user_id, identity_key, pickles }),
            }
        } else {
            units.push(unit);
        }
    }
    units
}

fn read_unit(index: usize, item: &RawValue) -> Result<Unit> {
    let object = json::parse_object("sessions", item.get(), EVENT_LIMIT)?;
    let text = |field: &str| -> Result<String> { json::text(&object, field).map(str::to_owned) };
    match json::text(&object, "kind")? {
        "olm" => Ok(Unit::Channel {
            user_id: UserId::read("user_id", &text("user_id")?)?,
            identity_key: public_keys::curve25519("identity_key", &text("identity_key")?)?,
            pickles: vec![(index, text("pickle")?)],
        }),
        "inbound_megolm" => {
            let sender_user_id = json::optional_text(&object, "sender_user_id")?;
            Ok(Unit::Inbound(
                index,
                Inbound {
                    room_id: RoomId::read("room_id", json::text(&object, "room_id")?)?,
                    sender_key: public_keys::curve25519("sender_key", &text("sender_key")?)?,
                    pickle: text("pickle")?,
                    sender_user_id: sender_user_id
                        .map(|user_id| UserId::read("sender_user_id", user_id))
                        .transpose()?,
                },
            ))
        }
        "outbound_megolm" => Ok(Unit::Outbound(
            index,
            Outbound { room_id: text("room_id")?, pickle: text("pickle")? },
        )),
        _ => Err(E2eeError::invalid_field(
            "kind",
            "is not \"olm\", \"inbound_megolm\" or \"outbound_megolm\"",
        )),
    }
}

fn store_units(
    account: &Arc<Account>,
    tx: &mut Transaction<'_>,
    units: Vec<Unit>,
    pickle_key: &[u8],
    report: &mut Report,
) -> Result<()> {
    for unit in units {
        match unit {
            Unit::Channel { user_id, identity_key, pickles } => {
                match OlmChannel::with_partner(account, user_id, identity_key) {
                    Ok(channel) => {
                        import_channel(&channel, tx, pickles, pickle_key, report)?;
                    }
                    Err(error) => {
                        for (index, _) in pickles {
                            report.fail(index, error.clone())?;
                        }
                    }
                }
            }
            Unit::Inbound(index, session) => {
                let Inbound { room_id, sender_key, pickle, sender_user_id } = session;
                let arriving = ArrivingSession::of_libolm_pickle(
                    room_id,
                    sender_key,
                    &pickle,
                    pickle_key,
                    sender_user_id,
                );
                match arriving.and_then(|arriving| InboundMegolmSession::add(account, tx, arriving))
                {
                    Ok(arrival) => report.count(arrival),
                    Err(error) => report.fail_pickle(index, error, (&pickle, pickle_key))?,
                }
            }
            Unit::Outbound(index, session) => {
                let Outbound { room_id, pickle } = session;
                let session = RoomId::read("room_id", &room_id).and_then(|room_id| {
                    let key = pickle_key;
                    OutboundMegolmSession::from_libolm_pickle(account, tx, room_id, &pickle, key)
                });
                match session {
                    Ok(_) => report.count(super::Arrival::New),
                    Err(E2eeError::AlreadyExists { .. }) => report.count(super::Arrival::Known),
                    Err(error) => report.fail_pickle(index, error, (&pickle, pickle_key))?,
                }
            }
        }
    }
    Ok(())
}

fn import_channel(
    channel: &OlmChannel,
    tx: &mut Transaction<'_>,
    pickles: Vec<(usize, String)>,
    pickle_key: &[u8],
    report: &mut Report,
) -> Result<()> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut indices = Vec::new();
    for (index, pickle) in pickles {
        let session = libolm_pickles::olm_session(&pickle, pickle_key)
            .and_then(|session| channel.check_member(tx, &session).map(|()| session));
        match session {
            Ok(session) => {
                sessions.push(session);
                indices.push(index);
            }
            Err(error) => report.fail_pickle(index, error, (&pickle, pickle_key))?,
        }
    }
    match channel.add_unpickled(tx, sessions) {
        Ok(arrivals) => {
            report.imported = report.imported.saturating_add(arrivals.added);
            report.known = report.known.saturating_add(arrivals.known);
            report.surplus = report.surplus.saturating_add(arrivals.surplus);
        }
        Err(error) => {
            for index in indices {
                report.fail(index, error.clone())?;
            }
        }
    }
    Ok(())
}
