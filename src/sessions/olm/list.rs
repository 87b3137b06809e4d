//! Listing the channels of an account in the order of their identity keys.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::record::{Fingerprint, channel_key};
use super::{FingerprintStatus, OlmChannel, strangers};
use crate::error::Result;
use crate::sessions::account::{Account, Page};
use crate::store::collections::OLM_LISTS;
use crate::store::{Batch, Transaction};

/// The list of all channels: [identity key, user ID].
const ALL: &str = "";

/// A stored channel.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct ChannelInfo {
    /// The other device's user.
    pub user_id: String,
    /// Its Curve25519 identity key.
    pub identity_key: String,
    /// Its device ID, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// How its fingerprint key is known.
    pub fingerprint: FingerprintStatus,
    /// How many Olm sessions the channel has.
    pub session_count: usize,
    /// When it encrypted or decrypted last, or up to an hour earlier: Unix time in milliseconds. None
    /// if that was before this was noted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used_ms: Option<i64>,
}

impl fmt::Debug for ChannelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelInfo").finish_non_exhaustive()
    }
}

/// What a channel's record says that is listed.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) partner_user_id: String,
    pub(super) partner_identity_key: String,
    sessions: Vec<IgnoredAny>,
    device_id: Option<String>,
    pub(super) fingerprint: Fingerprint,
    #[serde(default)]
    pub(super) last_used_ms: Option<i64>,
    #[serde(default)]
    pub(super) is_unanswered: bool,
}

/// Puts a channel into the list, with the commit of its record.
pub(super) fn note(channel: &OlmChannel, tx: &mut Transaction<'_>) {
    let name = [channel.partner_identity_text.as_str(), &channel.partner_user_id];
    tx.note(&channel.account.list(OLM_LISTS, ALL), &name);
}

/// Takes a channel out of the list, with the commit that deletes its record.
pub(super) fn unnote(channel: &OlmChannel, tx: &mut Transaction<'_>) {
    let name = [channel.partner_identity_text.as_str(), &channel.partner_user_id];
    tx.unnote(&channel.account.list(OLM_LISTS, ALL), &name);
}

/// The stored channels of an account in the order of their identity keys. A damaged one is left out.
///
/// An identity key that several users have, as only somebody who wants it to does, is not divided
/// between pages: they are as much longer.
pub fn list_channels(account: &Account, page: Page<'_>) -> Result<Vec<ChannelInfo>> {
    let _entered = account.enter()?;
    let list = account.list(OLM_LISTS, ALL);
    let note = |record: Listed, batch: &mut Batch| {
        batch.note(&list, &[&record.partner_identity_key, &record.partner_user_id]);
        strangers::note_listed(account, &record, batch);
    };
    account.page_of_list(OLM_LISTS, ALL, page, note, |identity_key, user_id| {
        let key = channel_key(account, user_id, identity_key);
        let record = account.vault().read::<Listed>(&key)?;
        Ok(record.map(|record| ChannelInfo {
            user_id: record.partner_user_id,
            identity_key: record.partner_identity_key,
            device_id: record.device_id,
            fingerprint: record.fingerprint.status(),
            session_count: record.sessions.len(),
            last_used_ms: record.last_used_ms,
        }))
    })
}
