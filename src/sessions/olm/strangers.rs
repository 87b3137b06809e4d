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

use serde::de::IgnoredAny;
use vodozemac::Curve25519PublicKey;

use super::OlmChannel;
use super::list::Listed;
use super::record::{self, ChannelState, Fingerprint};
use crate::base::identifiers::UserId;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::collections::OLM_LISTS;
use crate::store::{Batch, RecordKey, RecordPrefix, Transaction};

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
pub(super) fn note(channel: &OlmChannel, state: &mut ChannelState, tx: &mut Transaction<'_>) {
    unnote(channel, state, tx);
    if state.is_strangers() {
        let last_used_ms = state.last_used_ms.unwrap_or_default();
        for list in lists_of(channel) {
            tx.note(&list, &name(&time_text(last_used_ms), channel));
        }
        state.listed_as_strangers = Some(last_used_ms);
    }
}

pub(super) fn unnote(channel: &OlmChannel, state: &mut ChannelState, tx: &mut Transaction<'_>) {
    if let Some(last_used_ms) = state.listed_as_strangers.take() {
        for list in lists_of(channel) {
            tx.unnote(&list, &name(&time_text(last_used_ms), channel));
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

/// A channel of a list.
struct Candidate {
    channel: OlmChannel,
    list: RecordPrefix,
    time: String,
}

impl Candidate {
    fn read(channel: &OlmChannel, list: &RecordPrefix, name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, '\0');
        let (time, identity_key, user_id) = (parts.next()?, parts.next()?, parts.next()?);
        let key = Curve25519PublicKey::from_base64(identity_key).ok()?;
        let user_id = UserId::read("user_id", user_id).ok()?;
        let channel = OlmChannel::named(&channel.account, user_id, key);
        Some(Self { channel, list: list.clone(), time: time.to_owned() })
    }

    fn is_due(&self, state: &ChannelState) -> bool {
        state.listed_as_strangers.map(time_text).as_ref() == Some(&self.time)
    }

    /// Deletes the channel; says whether there is one less in the list. It waits for nobody, as its
    /// caller holds states: a channel that is in use right now is not the one that was used least
    /// recently.
    fn leave(&self, tx: &mut Transaction<'_>) -> Result<bool> {
        let Self { channel, list, time } = self;
        let found = tx.try_find(&channel.shared, |records| record::load(channel, records));
        match found {
            // Its program has to see what is wrong with it.
            Err(E2eeError::Corrupt { .. }) => Ok(false),
            Ok(Some(state)) if self.is_due(&state) => channel.delete(tx, state).map(|()| true),
            Ok(None) if tx.read::<IgnoredAny>(&channel.key)?.is_some() => Ok(false),
            // The set is not true of this one.
            Ok(_) => {
                tx.unnote(list, &name(time, channel));
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }
}

/// Makes room for a stranger's channel, in the same commit, if there is none for it.
pub(super) fn make_room(channel: &OlmChannel, tx: &mut Transaction<'_>) -> Result<()> {
    for list in lists_of(channel) {
        let names = match tx.records().first_names(&list, MOST.saturating_add(SPARE)) {
            // What a damaged set does not tell stops no message.
            Err(E2eeError::Corrupt { .. }) => continue,
            names => names?,
        };
        let mut surplus = names.len().saturating_add(1).saturating_sub(MOST);
        let most = surplus.saturating_add(SPARE);
        for name in names.into_iter().take(most) {
            if surplus == 0 {
                break;
            }
            let candidate = Candidate::read(channel, &list, &name);
            if candidate.map_or(Ok(false), |candidate| candidate.leave(tx))? {
                surplus = surplus.saturating_sub(1);
            }
        }
    }
    Ok(())
}
