//! What the server says of our keys: its answer to an upload, the counts of /sync, and the use of a
//! key (S5, S7, S8, SEC-22 to 24).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vodozemac::Curve25519PublicKey;

use super::record::OpenUpload;
use super::upload::{KEY_ALGORITHM, key_id};
use super::{Account, AccountState, fallback};
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result, cut};
use crate::store::{Taken, Transaction};

/// The longest answer that is read, in bytes: keys counted, or an error told.
const ANSWER_LIMIT: usize = 65_536;
/// How many uploads in a row may be refused before there is a pause after each.
const REFUSALS: u32 = 5;
const PAUSE_MS: i64 = 3_600_000;

/// The uploads that were refused (400) since the last one that was not.
#[derive(Serialize, Deserialize, Default, Clone, Copy)]
pub(super) struct Refusals {
    count: u32,
    last_ms: i64,
}

impl Refusals {
    /// Whether it is too early for another upload.
    pub(super) fn forbid(&self, now: i64) -> bool {
        self.count >= REFUSALS && (0..PAUSE_MS).contains(&now.saturating_sub(self.last_ms))
    }

    fn add(&mut self, now: i64) {
        *self = Self { count: self.count.saturating_add(1), last_ms: now };
    }
}

impl Account {
    /// Takes the server's answer to the open upload.
    ///
    /// A 400 ends the upload, whatever it says; what it says is an error of its own if it is
    /// anything but "already exists": the end of the upload is to be committed all the same.
    pub fn receive_keys_upload_response(
        &self,
        tx: &mut Transaction<'_>,
        http_status: u16,
        body: &str,
    ) -> Result<()> {
        let mut state = self.take(tx)?;
        let Some(upload) = state.published.open_upload.clone() else {
            return self.receive_late_answer(tx, &mut state, http_status, body);
        };
        match http_status {
            200 => {
                let count = uploaded_count(body);
                state.change(|state| {
                    accept(state, &upload, count);
                    self.put(state, tx)
                })
            }
            400 => {
                let now = tx.now_ms()?;
                let refusal = Refusal::read(body);
                state.change(|state| {
                    if give_up(state, &upload, &refusal, now) {
                        fallback::renew(self, state, now, tx)?;
                    }
                    self.put(state, tx)
                })?;
                refusal.report()
            }
            _ => Ok(()),
        }
    }

    /// The answer to an upload that is known to have arrived, because one of its keys was used.
    fn receive_late_answer(
        &self,
        tx: &mut Transaction<'_>,
        state: &mut Taken<AccountState>,
        http_status: u16,
        body: &str,
    ) -> Result<()> {
        if !state.published.answer_awaited {
            return Err(E2eeError::invalid_field("http_status", "no key upload is open"));
        }
        if http_status != 200 {
            return Ok(());
        }
        let count = uploaded_count(body);
        state.change(|state| {
            state.published.answer_awaited = false;
            if let Some(count) = count {
                set_count(state, count);
            }
            self.put(state, tx)
        })
    }

    /// Takes what /sync says of the keys on the server.
    pub fn receive_key_counts(&self, tx: &mut Transaction<'_>, counts: KeyCounts) -> Result<()> {
        let now = tx.now_ms()?;
        self.take(tx)?.change(|state| {
            let mut changed = set_count(state, counts.one_time_keys);
            if let Some(unused) = counts.fallback_unused {
                changed |= state.published.fallback.report(unused, now);
            }
            changed |= fallback::forget_previous_if_due(self, state, now, tx)?;
            if changed { self.put(state, tx) } else { Ok(()) }
        })
    }
}

/// What the server has of our kind of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyCounts {
    one_time_keys: u64,
    /// Whether the fallback key is unused, if the server says it.
    fallback_unused: Option<bool>,
}

impl KeyCounts {
    /// Reads `device_one_time_keys_count` and `device_unused_fallback_key_types` of /sync.
    pub fn read(one_time_counts: &Object, unused_fallback_types: Option<&[Value]>) -> Result<Self> {
        let fallback_unused = match unused_fallback_types {
            None => None,
            Some(types) if types.iter().all(Value::is_string) => {
                Some(types.iter().any(|name| name.as_str() == Some(KEY_ALGORITHM)))
            }
            Some(_) => {
                let problem = "is not a list of texts";
                return Err(E2eeError::invalid_field("unused_fallback_types", problem));
            }
        };
        Ok(Self { one_time_keys: read_count(one_time_counts)?, fallback_unused })
    }
}

/// The open upload, if this key is of it. A message to the key shows that the upload has arrived:
/// its sender has the key from the server.
pub(super) fn upload_of(state: &AccountState, used: &Curve25519PublicKey) -> Option<OpenUpload> {
    let AccountState { account, published } = state;
    let upload = published.open_upload.as_ref()?;
    let mut unpublished = account.one_time_keys().into_iter().filter(|(_, key)| key == used);
    let holds = unpublished.any(|(id, _)| upload.one_time_key_ids.contains(&key_id(id)))
        || upload.fallback_key_id.is_some() && published.fallback.is_unpublished(&used.to_base64());
    holds.then(|| upload.clone())
}

/// An upload has arrived whose answer has not. Sent again, it would offer used keys to others, who
/// would be lost.
pub(super) fn accept_unanswered(state: &mut AccountState, upload: &OpenUpload) {
    accept(state, upload, None);
    state.published.answer_awaited = true;
}

fn accept(state: &mut AccountState, upload: &OpenUpload, count: Option<u64>) {
    let AccountState { account, published } = state;
    account.mark_keys_as_published();
    published.device_keys = true;
    if upload.fallback_key_id.is_some() {
        published.fallback.mark_as_published();
    }
    published.skipped.clear();
    published.refusals = Refusals::default();
    published.open_upload = None;
    // An answer without counts: assume that what we sent has arrived.
    let sent = upload.one_time_key_ids.len() as u64;
    let assumed = published.one_time_keys.unwrap_or(0).saturating_add(sent);
    set_count(state, count.unwrap_or(assumed));
}

/// Notes how many keys the server holds, as far as that is possible (SEC-23); true if it is news.
fn set_count(state: &mut AccountState, count: u64) -> bool {
    let count = count.min(state.account.max_number_of_one_time_keys() as u64);
    state.published.one_time_keys.replace(count) != Some(count)
}

/// What a 400 says.
struct Refusal {
    text: Option<String>,
}

impl Refusal {
    fn read(body: &str) -> Self {
        let answer = json::parse_object("body", body, ANSWER_LIMIT).ok();
        let text = answer.as_ref().and_then(|answer| {
            let text = |field| answer.get(field).and_then(Value::as_str);
            text("error").or_else(|| text("errcode"))
        });
        Self { text: text.map(str::to_owned) }
    }

    /// The server has had another key under one of the IDs (S8).
    fn is_conflict(&self) -> bool {
        let text = self.text.as_deref().unwrap_or_default();
        text.to_ascii_lowercase().contains("already exists")
    }

    fn names(&self, key_id: &str) -> bool {
        self.text.as_deref().is_some_and(|text| names_key(text, key_id))
    }

    /// A conflict is dealt with; anything else somebody has to look at.
    fn report(&self) -> Result<()> {
        if self.is_conflict() {
            return Ok(());
        }
        let problem = match &self.text {
            Some(text) => format!("says that the server refused the upload: {}", cut(text)),
            None => "says that the server refused the upload, and not why".to_owned(),
        };
        Err(E2eeError::invalid_field("body", problem))
    }
}

/// Ends an upload that was refused. True if its fallback key is to be replaced.
///
/// All its one-time keys are offered no more, not only the one that the server names: it names one
/// at a time, and where it has one it has more. They stay, in case that it has given them out.
fn give_up(state: &mut AccountState, upload: &OpenUpload, refusal: &Refusal, now: i64) -> bool {
    let published = &mut state.published;
    published.open_upload = None;
    published.refusals.add(now);
    // Both kinds of keys are counted from 0: an ID that both have means the one-time key, and if
    // it did not, the next answer names it again.
    let fallback = refusal.is_conflict()
        && upload.fallback_key_id.as_ref().is_some_and(|id| {
            upload.one_time_key_ids.is_empty()
                || refusal.names(id) && !upload.one_time_key_ids.contains(id)
        });
    // A server that refuses everything must not make us draw keys for ever (SEC-23).
    let endless = published.refusals.count > REFUSALS && !refusal.is_conflict();
    if !fallback && !endless {
        published.skipped.extend(upload.one_time_key_ids.iter().cloned());
    }
    fallback
}

/// Whether an error text names this key ID, and not just a longer one that begins alike.
fn names_key(text: &str, key_id: &str) -> bool {
    text.match_indices(key_id).any(|(start, _)| {
        let rest = text.get(start.saturating_add(key_id.len())..).unwrap_or_default();
        !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '+' || next == '/')
    })
}

/// The count in the answer to an upload. The status says that the server has the keys: whatever the
/// body is, they must be offered to nobody else, and not be uploaded again.
fn uploaded_count(body: &str) -> Option<u64> {
    let answer = json::parse_object("body", body, ANSWER_LIMIT).ok()?;
    let counts = json::optional_object(&answer, "one_time_key_counts").ok()??;
    read_count(counts).ok()
}

/// The number of our kind of keys; an absent kind means none, a hostile number is clamped later.
fn read_count(counts: &Object) -> Result<u64> {
    match counts.get(KEY_ALGORITHM) {
        None => Ok(0),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(number.as_u64().unwrap_or(0))
        }
        Some(_) => Err(E2eeError::invalid_field(KEY_ALGORITHM, "is not an integer")),
    }
}
