//! How shares are stored: a record for each chunk, small, for there are many devices. Version 0.1
//! had a record for each user; a session that it stored is read like any other, and its shares
//! move into chunks when the first of them changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use zeroize::Zeroizing;

use super::OutboundMegolmSession;
use super::shares::{Chunk, Notice, PendingKey, Share, ShareStatus, Shares, UserShares};
use crate::base::json::decode_base64;
use crate::error::{E2eeError, Result};
use crate::store::collections::{OUTBOUND_SHARE_CHUNKS, OUTBOUND_SHARES};
use crate::store::{RecordKey, Records, Transaction};

/// Lists instead of objects: the names of fields would be a third of the record.
#[derive(Serialize, Deserialize)]
struct StoredChunk {
    number: usize,
    /// User ID, devices.
    users: Vec<(String, Vec<StoredShare>)>,
    /// The keys for which some of the devices wait: index, key.
    keys: Vec<(u32, PendingKey)>,
}

/// Device ID, identity key, fingerprint key if it is known, state, index if it is known.
type StoredShare = (String, ByteArray<32>, Option<ByteArray<32>>, u8, Option<u32>);

/// What the states of a share are in its record.
const WAITS: u8 = 0;
const SENT: u8 = 1;
const WITHHELD_WAITS: u8 = 2;
const WITHHELD_SENT: u8 = 3;
const WAITS_NOTICE_WAITS: u8 = 4;
const WAITS_NOTICE_SENT: u8 = 5;

pub(super) fn load(outbound: &OutboundMegolmSession, records: &Records<'_>) -> Result<Shares> {
    let parts = parts(outbound);
    let stored = records.scan::<StoredChunk>(OUTBOUND_SHARE_CHUNKS, &parts)?;
    let mut stored: Vec<_> = stored.into_iter().map(|(_, chunk)| chunk).collect();
    stored.sort_unstable_by_key(|chunk| chunk.number);
    let (mut chunks, mut keys) = (Vec::with_capacity(stored.len()), BTreeMap::new());
    for chunk in stored {
        if chunk.number != chunks.len() {
            return Err(damaged());
        }
        let (chunk, of_chunk) = chunk.read()?;
        chunks.push(chunk);
        keys.extend(of_chunk);
    }
    let mut shares = Shares::stored(chunks, keys);
    for (key, former) in records.scan::<FormerShares>(OUTBOUND_SHARES, &parts)? {
        let (devices, keys) = read_former(former.devices)?;
        shares.add_former(&former.user_id, devices, keys, key);
    }
    shares.note_stored();
    Ok(shares)
}

/// Stores what has changed.
pub(super) fn put(
    outbound: &OutboundMegolmSession,
    shares: &mut Shares,
    tx: &mut Transaction<'_>,
) -> Result<()> {
    let (changed, former) = shares.take_changes();
    if changed.is_empty() {
        return Ok(());
    }
    shares.forget_sent_keys();
    for place in changed {
        if let Some(chunk) = shares.chunks.get(place) {
            let record = StoredChunk::new(place, chunk, shares)?;
            tx.put(&chunk_key(outbound, place), &record)?;
        }
    }
    former.iter().for_each(|key| tx.delete(key));
    Ok(())
}

/// Deletes all shares of a session, damaged ones too.
pub(super) fn delete(outbound: &OutboundMegolmSession, tx: &mut Transaction<'_>) -> Result<()> {
    for collection in [OUTBOUND_SHARE_CHUNKS, OUTBOUND_SHARES] {
        for key in tx.records().scan_keys(collection, &parts(outbound))? {
            tx.delete(&key);
        }
    }
    Ok(())
}

fn parts(outbound: &OutboundMegolmSession) -> [&str; 4] {
    let account = &outbound.account;
    [account.user_id(), account.device_id(), &outbound.room_id, &outbound.session_id]
}

fn chunk_key(outbound: &OutboundMegolmSession, number: usize) -> RecordKey {
    let parts = [outbound.room_id.as_str(), &outbound.session_id, &number.to_string()];
    outbound.account.record_key(OUTBOUND_SHARE_CHUNKS, &parts)
}

impl StoredChunk {
    fn new(number: usize, chunk: &Chunk, shares: &Shares) -> Result<Self> {
        let mut users = Vec::with_capacity(chunk.len());
        let mut waiting = BTreeSet::new();
        for (user_id, devices) in chunk {
            waiting.extend(devices.values().filter_map(|share| share.status.waits_as_of()));
            let devices = devices.iter().map(|(id, share)| share.stored(id)).collect();
            users.push((user_id.clone(), devices));
        }
        let key = |index| shares.key(index).map(|key| (index, key.clone()));
        let keys: Vec<_> = waiting.iter().filter_map(|index| key(*index)).collect();
        if keys.len() != waiting.len() {
            return Err(E2eeError::panic("a device waits for a key that is not there"));
        }
        Ok(Self { number, users, keys })
    }

    fn read(self) -> Result<(Chunk, BTreeMap<u32, PendingKey>)> {
        let keys = BTreeMap::from_iter(self.keys);
        let mut chunk = Chunk::new();
        for (user_id, stored) in self.users {
            let mut devices = UserShares::new();
            for (device_id, identity_key, fingerprint_key, state, index) in stored {
                let (status, notice) = read_state(state, index)?;
                if status.waits_as_of().is_some_and(|index| !keys.contains_key(&index)) {
                    return Err(damaged());
                }
                let identity_key = identity_key.into_array();
                let fingerprint_key = fingerprint_key.map(ByteArray::into_array);
                let share = Share { identity_key, fingerprint_key, status, notice };
                devices.insert(device_id, share);
            }
            chunk.insert(user_id, devices);
        }
        Ok((chunk, keys))
    }
}

impl Share {
    fn stored(&self, device_id: &str) -> StoredShare {
        let (state, index) = match (self.status, self.notice) {
            (ShareStatus::Pending(index), None) => (WAITS, Some(index)),
            (ShareStatus::Pending(index), Some(Notice::Pending)) => {
                (WAITS_NOTICE_WAITS, Some(index))
            }
            (ShareStatus::Pending(index), Some(Notice::Sent)) => (WAITS_NOTICE_SENT, Some(index)),
            (ShareStatus::Sent(index), _) => (SENT, index),
            (ShareStatus::WithheldPending, _) => (WITHHELD_WAITS, None),
            (ShareStatus::WithheldSent, _) => (WITHHELD_SENT, None),
        };
        let identity_key = ByteArray::new(self.identity_key);
        let fingerprint_key = self.fingerprint_key.map(ByteArray::new);
        (device_id.to_owned(), identity_key, fingerprint_key, state, index)
    }
}

fn read_state(state: u8, index: Option<u32>) -> Result<(ShareStatus, Option<Notice>)> {
    Ok(match (state, index) {
        (WAITS, Some(index)) => (ShareStatus::Pending(index), None),
        (WAITS_NOTICE_WAITS, Some(index)) => (ShareStatus::Pending(index), Some(Notice::Pending)),
        (WAITS_NOTICE_SENT, Some(index)) => (ShareStatus::Pending(index), Some(Notice::Sent)),
        (SENT, index) => (ShareStatus::Sent(index), None),
        (WITHHELD_WAITS, _) => (ShareStatus::WithheldPending, None),
        (WITHHELD_SENT, _) => (ShareStatus::WithheldSent, None),
        _ => return Err(damaged()),
    })
}

/// One user's record as version 0.1 wrote it.
#[derive(Deserialize)]
struct FormerShares {
    user_id: String,
    devices: BTreeMap<String, FormerShare>,
}

#[derive(Deserialize)]
struct FormerShare {
    identity_key: String,
    #[serde(default)]
    fingerprint_key: Option<String>,
    status: FormerStatus,
    #[serde(default)]
    notice: Option<Notice>,
}

#[derive(Deserialize)]
enum FormerStatus {
    Pending(PendingKey),
    Sent,
    WithheldPending,
    WithheldSent,
}

fn read_former(
    former: BTreeMap<String, FormerShare>,
) -> Result<(UserShares, BTreeMap<u32, PendingKey>)> {
    let (mut devices, mut keys) = (UserShares::new(), BTreeMap::new());
    for (device_id, former) in former {
        let status = match former.status {
            FormerStatus::Pending(key) => {
                let index = index_of(&key)?;
                keys.insert(index, key);
                ShareStatus::Pending(index)
            }
            FormerStatus::Sent => ShareStatus::Sent(None),
            FormerStatus::WithheldPending => ShareStatus::WithheldPending,
            FormerStatus::WithheldSent => ShareStatus::WithheldSent,
        };
        let identity_key = public_key(&former.identity_key)?;
        let fingerprint_key = former.fingerprint_key.as_deref().map(public_key).transpose()?;
        let share = Share { identity_key, fingerprint_key, status, notice: former.notice };
        devices.insert(device_id, share);
    }
    Ok((devices, keys))
}

/// A session key says its index after its first byte, which is its version.
fn index_of(key: &PendingKey) -> Result<u32> {
    let key = Zeroizing::new(decode_base64("key", &key.0).map_err(|_| damaged())?);
    let index = key.get(1..5).and_then(|index| index.try_into().ok());
    index.map(u32::from_be_bytes).ok_or_else(damaged)
}

fn public_key(text: &str) -> Result<[u8; 32]> {
    let key = decode_base64("key", text).map_err(|_| damaged())?;
    key.try_into().map_err(|_| damaged())
}

fn damaged() -> E2eeError {
    E2eeError::corrupt("what is stored of the recipients of an outbound session is damaged")
}
