//! How many channels strangers may have: whoever knows the account's keys can make one with each
//! message, under invented devices (SEC-100).
//!
//! A channel is a stranger's if it was made from a message, nothing was sent in it since, and its
//! fingerprint did not come from device keys. A user has at most 100 of them. So has each of 100
//! groups into which a keyed hash divides the channels of all users; that is at most 10,000, and
//! nobody chooses the group, nor has anybody to count. When a channel is made for which there is no
//! room, the one that was used least recently is deleted with the same commit.
//!
//! The channels of a user and of a group are in two lists of a set: [last use, identity key, user].
//! If that was damaged, or the store is a copy of what was good, the lists have those channels only
//! that were used since, until somebody lists all channels.

use vodozemac::Curve25519PublicKey;

use super::OlmChannel;
use super::list::Listed;
use super::record::{self, ChannelState, Fingerprint};
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::collections::OLM_LISTS;
use crate::store::{Batch, LiveGuard, RecordKey, RecordPrefix};

/// How many channels of strangers a user has at most, and a group. The tests' worlds are small.
pub(super) const MOST: usize = if cfg!(test) { 10 } else { 100 };
const GROUPS: u16 = if cfg!(test) { 10 } else { 100 };
/// How many more are looked at, because one that is in use right now stays.
const SPARE: usize = 8;

impl ChannelState {
    pub(super) fn is_strangers(&self) -> bool {
        is_strangers(self.is_unanswered, &self.fingerprint)
    }
}

fn is_strangers(is_unanswered: bool, fingerprint: &Fingerprint) -> bool {
    is_unanswered && !matches!(fingerprint, Fingerprint::DeviceKeys(_))
}

/// The two lists of a channel.
fn lists(account: &Account, user_id: &str, key: &RecordKey) -> [RecordPrefix; 2] {
    let [first, second, ..] = key.short();
    let group = u16::from_be_bytes([first, second]) % GROUPS;
    [user_id, &group.to_string()].map(|list| account.list(OLM_LISTS, list))
}

fn lists_of(channel: &OlmChannel) -> [RecordPrefix; 2] {
    lists(&channel.account, &channel.partner_user_id, &channel.key)
}

/// The order of these is the order of the times.
fn time_text(last_used_ms: i64) -> String {
    format!("{:016x}", last_used_ms.max(0))
}

/// Lists a channel as a stranger's, or no more, with the commit of its record.
pub(super) fn note(channel: &OlmChannel, state: &mut ChannelState, batch: &mut Batch) {
    unnote(channel, state, batch);
    if state.is_strangers() {
        let last_used_ms = state.last_used_ms.unwrap_or_default();
        for list in lists_of(channel) {
            batch.note(&list, &name(&time_text(last_used_ms), channel));
        }
        state.listed_as_strangers = Some(last_used_ms);
    }
}

pub(super) fn unnote(channel: &OlmChannel, state: &mut ChannelState, batch: &mut Batch) {
    if let Some(last_used_ms) = state.listed_as_strangers.take() {
        for list in lists_of(channel) {
            batch.unnote(&list, &name(&time_text(last_used_ms), channel));
        }
    }
}

fn name<'a>(time: &'a str, channel: &'a OlmChannel) -> [&'a str; 3] {
    [time, &channel.partner_identity_text, &channel.partner_user_id]
}

/// Lists the channel of a record, where the lists are built anew.
pub(super) fn note_listed(account: &Account, record: &Listed, batch: &mut Batch) {
    if !is_strangers(record.is_unanswered, &record.fingerprint) {
        return;
    }
    let (user_id, identity_key) = (&record.partner_user_id, &record.partner_identity_key);
    let key = record::channel_key(account, user_id, identity_key);
    let time = time_text(record.last_used_ms.unwrap_or_default());
    for list in lists(account, user_id, &key) {
        batch.note(&list, &[&time, identity_key, user_id]);
    }
}

/// Those who have to make room for one more channel.
#[derive(Default)]
pub(super) struct Surplus([OfList; 2]);

/// Those of one list.
#[derive(Default)]
struct OfList {
    /// How many of them have to.
    count: usize,
    /// In the order of their last use.
    candidates: Vec<Candidate>,
}

struct Candidate {
    channel: OlmChannel,
    list: RecordPrefix,
    time: String,
}

impl Surplus {
    /// For a stranger's channel that is about to be made.
    pub(super) fn of(channel: &OlmChannel) -> Result<Self> {
        let mut surplus = Self::default();
        for (of_list, list) in surplus.0.iter_mut().zip(lists_of(channel)) {
            let vault = channel.account.vault();
            let names = match vault.names(&list, &[], MOST.saturating_add(SPARE)) {
                // What a damaged set does not tell stops no message.
                Err(E2eeError::Corrupt { .. }) => continue,
                names => names?,
            };
            of_list.count = names.len().saturating_add(1).saturating_sub(MOST);
            if of_list.count == 0 {
                continue;
            }
            for name in names.into_iter().take(of_list.count.saturating_add(SPARE)) {
                of_list.candidates.extend(Candidate::read(channel, &list, &name)?);
            }
        }
        Ok(surplus)
    }
}

impl Candidate {
    fn read(channel: &OlmChannel, list: &RecordPrefix, name: &str) -> Result<Option<Self>> {
        let mut parts = name.splitn(3, '\0');
        let (Some(time), Some(identity_key), Some(user_id)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Ok(None);
        };
        let Ok(key) = Curve25519PublicKey::from_base64(identity_key) else { return Ok(None) };
        Ok(Some(Self {
            channel: OlmChannel::named(&channel.account, user_id, key)?,
            list: list.clone(),
            time: time.to_owned(),
        }))
    }

    fn is_due(&self, state: &ChannelState) -> bool {
        state.listed_as_strangers.map(time_text).as_ref() == Some(&self.time)
    }
}

/// The channels that are deleted with the commit that makes another one, locked until then.
#[derive(Default)]
pub(super) struct Leaving<'a>(Vec<(&'a OlmChannel, LiveGuard<'a, ChannelState>)>);

impl<'a> Leaving<'a> {
    /// Adds to the batch what makes room. It waits for nobody, as its caller holds locks: a channel
    /// that is in use right now is not the one that was used least recently.
    pub(super) fn make_room(&mut self, surplus: &'a Surplus, batch: &mut Batch) -> Result<()> {
        for OfList { count, candidates } in &surplus.0 {
            let mut left = *count;
            for candidate in candidates {
                if left == 0 {
                    break;
                }
                if self.leaves(candidate, batch)? {
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(())
    }

    /// Whether there is one less in the list.
    fn leaves(&mut self, candidate: &'a Candidate, batch: &mut Batch) -> Result<bool> {
        let Candidate { channel, list, time } = candidate;
        if self.0.iter().any(|(leaving, _)| leaving.key == channel.key) {
            return Ok(true);
        }
        let Some(mut lock) = channel.shared.try_hold() else { return Ok(false) };
        if let Some(place) = lock.missing() {
            match channel.load() {
                // Its program has to see what is wrong with it.
                Err(E2eeError::Corrupt { .. }) => return Ok(false),
                state => *place = state?.map(std::sync::Arc::new),
            }
        }
        match lock.into_guard() {
            Ok(mut state) if candidate.is_due(&state) => {
                record::delete(channel, state.begin_change()?, batch)?;
                self.0.push((channel, state));
            }
            // The set is not true of this one.
            Ok(_) | Err(E2eeError::NotFound { .. }) => batch.unnote(list, &name(time, channel)),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// The commit is made.
    pub(super) fn have_left(self) {
        for (channel, state) in self.0 {
            channel.account.children().forget(&channel.key);
            state.finish_erase();
        }
    }
}
