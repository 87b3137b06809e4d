//! To whom a session's key went, and what became of it, in chunks of some users each: a chunk is
//! what is written when something changes, so it is small, and a room of thousands has few of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::sessions::device_keys::DeviceKeys;
use crate::store::RecordKey;

/// A chunk takes no further users once it has so many entries: users and their devices.
const FULL: usize = 64;

/// Whom the session was meant for, and what became of it.
#[derive(Default)]
pub(super) struct Shares {
    pub(super) chunks: Vec<Chunk>,
    /// The chunk of each user, for good.
    places: HashMap<String, usize>,
    /// The keys that wait to be sent, by the index at which they were handed out.
    keys: BTreeMap<u32, PendingKey>,
    /// Which chunks are not stored as they are.
    changed: BTreeSet<usize>,
    /// Where the shares stand in the form of an earlier version.
    former: Vec<RecordKey>,
}

/// By user ID.
pub(super) type Chunk = BTreeMap<String, UserShares>;

/// One user's devices by device ID; a user without devices is remembered too (D9).
pub(super) type UserShares = BTreeMap<String, Share>;

/// What a device got, bound to its identity key, because a device ID can be reused (D10).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) identity_key: [u8; 32],
    /// Not stored by the first versions, and not known of a device that only `mark_as_sent` named.
    pub(super) fingerprint_key: Option<[u8; 32]>,
    pub(super) status: ShareStatus,
    /// While the key waits: the device is told that it cannot be reached.
    pub(super) notice: Option<Notice>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Notice {
    Pending,
    Sent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ShareStatus {
    /// The key waits, as of the index at which it was first handed out (M7).
    Pending(u32),
    /// As of which index it was sent, if that is known: more is never sent again (SEC-62).
    Sent(Option<u32>),
    /// A notice that the key is withheld was handed out.
    WithheldPending,
    WithheldSent,
}

/// A room key that waits to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct PendingKey(pub(super) Zeroizing<String>);

impl Shares {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &UserShares)> {
        self.chunks.iter().flatten()
    }

    pub(super) fn of_all(&self) -> impl Iterator<Item = &Share> {
        self.iter().flat_map(|(_, devices)| devices.values())
    }

    pub(super) fn get(&self, user_id: &str, device_id: &str) -> Option<&Share> {
        self.chunks.get(*self.places.get(user_id)?)?.get(user_id)?.get(device_id)
    }

    /// One that is changed must be named to `note_change`.
    pub(super) fn get_mut(&mut self, user_id: &str, device_id: &str) -> Option<&mut Share> {
        self.chunks.get_mut(*self.places.get(user_id)?)?.get_mut(user_id)?.get_mut(device_id)
    }

    /// Remembers a user.
    pub(super) fn add_user(&mut self, user_id: &str) {
        if self.places.contains_key(user_id) {
            return;
        }
        if self.chunks.last().is_none_or(is_full) {
            self.chunks.push(Chunk::new());
        }
        let place = self.chunks.len().saturating_sub(1);
        self.places.insert(user_id.to_owned(), place);
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.insert(user_id.to_owned(), UserShares::new());
        }
        self.changed.insert(place);
    }

    /// In place of what was known of a device of that ID.
    pub(super) fn put(&mut self, user_id: &str, device_id: &str, share: Share) {
        self.add_user(user_id);
        if let Some(place) = self.places.get(user_id)
            && let Some(devices) = self.chunks.get_mut(*place).and_then(|c| c.get_mut(user_id))
        {
            devices.insert(device_id.to_owned(), share);
            self.changed.insert(*place);
        }
    }

    pub(super) fn note_change(&mut self, user_id: &str) {
        self.changed.extend(self.places.get(user_id));
    }

    pub(super) fn key(&self, index: u32) -> Option<&PendingKey> {
        self.keys.get(&index)
    }

    pub(super) fn add_key(&mut self, index: u32, key: PendingKey) {
        self.keys.insert(index, key);
    }

    /// Forgets the keys for which no device waits any more.
    pub(super) fn forget_sent_keys(&mut self) {
        let waiting: BTreeSet<u32> =
            self.of_all().filter_map(|share| share.status.waits_as_of()).collect();
        self.keys.retain(|index, _| waiting.contains(index));
    }

    /// The shares as they are stored, in their chunks.
    pub(super) fn stored(chunks: Vec<Chunk>, keys: BTreeMap<u32, PendingKey>) -> Self {
        let mut places = HashMap::new();
        for (place, chunk) in chunks.iter().enumerate() {
            places.extend(chunk.keys().map(|user_id| (user_id.clone(), place)));
        }
        Self { chunks, places, keys, ..Self::default() }
    }

    /// They stand in these records, too, and in no chunk until the next change.
    pub(super) fn add_former(
        &mut self,
        user_id: &str,
        devices: UserShares,
        keys: BTreeMap<u32, PendingKey>,
        record: RecordKey,
    ) {
        self.add_user(user_id);
        for (device_id, share) in devices {
            self.put(user_id, &device_id, share);
        }
        self.keys.extend(keys);
        self.former.push(record);
    }

    /// Ends what `add_former` began: nothing has changed.
    pub(super) fn note_stored(&mut self) {
        self.changed.clear();
    }

    /// The places of the chunks that have to be written, and the records that they replace.
    pub(super) fn take_changes(&mut self) -> (BTreeSet<usize>, Vec<RecordKey>) {
        if self.changed.is_empty() {
            return Default::default();
        }
        if !self.former.is_empty() {
            self.changed.extend(0..self.chunks.len());
        }
        (std::mem::take(&mut self.changed), std::mem::take(&mut self.former))
    }
}

fn is_full(chunk: &Chunk) -> bool {
    let devices: usize = chunk.values().map(BTreeMap::len).sum();
    chunk.len().saturating_add(devices) >= FULL
}

impl Share {
    pub(super) fn new(
        identity_key: [u8; 32],
        fingerprint_key: Option<[u8; 32]>,
        status: ShareStatus,
    ) -> Self {
        Self { identity_key, fingerprint_key, status, notice: None }
    }

    /// Whether the device may have the key, or may get it.
    pub(super) fn has_key(&self) -> bool {
        self.status.is_about_key()
    }

    /// Whether it is this device's, which is certain.
    pub(super) fn is_of(&self, keys: &DeviceKeys) -> bool {
        self.fingerprint_key.is_some() && self.may_be_of(keys)
    }

    /// Whether it is this device's, as far as its keys are known.
    pub(super) fn may_be_of(&self, keys: &DeviceKeys) -> bool {
        let is = |known: &[u8; 32]| known == keys.fingerprint_key.as_bytes();
        self.identity_key == *keys.identity_key.as_bytes()
            && self.fingerprint_key.as_ref().is_none_or(is)
    }
}

impl ShareStatus {
    pub(super) fn is_about_key(self) -> bool {
        matches!(self, Self::Pending(_) | Self::Sent(_))
    }

    pub(super) fn waits_as_of(self) -> Option<u32> {
        match self {
            Self::Pending(index) => Some(index),
            _ => None,
        }
    }
}
