use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Store, batch};
use crate::base::identifiers::{DeviceId, RoomId, UserId};
use crate::base::json::{self, ARGUMENT_LIMIT};
use crate::error::Result;
use crate::sessions::account::{self, Page};
use crate::sessions::imports::{ExportedSessions, LibolmSessions};
use crate::sessions::megolm::{decrypt_room_events, list_sessions};
use crate::sessions::olm;

/// One device's account: its long-term keys and the one-time and fallback keys that it publishes.
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct Account {
    pub(super) core: Arc<account::Account>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").finish_non_exhaustive()
    }
}

fn read_user(user_id: &str) -> Result<UserId> {
    UserId::read("user_id", user_id)
}

fn read_device(device_id: &str) -> Result<DeviceId> {
    DeviceId::read("device_id", device_id)
}

#[cfg_attr(feature = "uniffi", cfg_eval::cfg_eval, uniffi::export)]
impl Account {
    /// Opens the account of a device, or creates it if the store has none: then new keys are
    /// drawn, and are durable when this returns. All handles on one account share its state.
    ///
    /// Errors: INVALID_FIELD (an ID is malformed), STORE_CLOSED, STORE_IO, CORRUPT,
    /// NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn open(store: &Store, user_id: &str, device_id: &str) -> Result<Arc<Self>> {
        let core =
            account::Account::open(&store.core, read_user(user_id)?, read_device(device_id)?)?;
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// Opens the account of a device that the store has. Unlike `open`, it creates none: a user or
    /// device ID that is mistyped is an error, not a device with new keys.
    ///
    /// Errors: NOT_FOUND (the store has no such account), INVALID_FIELD (an ID is malformed),
    /// STORE_CLOSED, STORE_IO, CORRUPT, NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn open_existing(store: &Store, user_id: &str, device_id: &str) -> Result<Arc<Self>> {
        let core = account::Account::open_existing(
            &store.core,
            read_user(user_id)?,
            read_device(device_id)?,
        )?;
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// Stores an account that libolm pickled.
    ///
    /// The device keys are uploaded again; one-time keys are topped up once the server has told
    /// its count. The account is durable when this returns.
    ///
    /// `pickle`: libolm's base64 text, of any version from 1.1 on. `pickle_key`: the bytes it was
    /// pickled with, of any length.
    ///
    /// Errors: WRONG_KEY, INVALID_FIELD, NEWER_FORMAT (a libolm that is not known yet),
    /// ALREADY_EXISTS, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_libolm_pickle(
        store: &Store,
        user_id: &str,
        device_id: &str,
        pickle: &str,
        pickle_key: Vec<u8>,
    ) -> Result<Arc<Self>> {
        let key = Zeroizing::new(pickle_key);
        let core = account::Account::from_libolm_pickle(
            &store.core,
            read_user(user_id)?,
            read_device(device_id)?,
            pickle,
            &key,
        )?;
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// Stores an account that vodozemac pickled and encrypted. As `from_libolm_pickle`, but
    /// `pickle_key` has exactly 32 bytes.
    ///
    /// Errors: INVALID_LENGTH, WRONG_KEY, INVALID_FIELD, ALREADY_EXISTS, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_vodozemac_pickle(
        store: &Store,
        user_id: &str,
        device_id: &str,
        pickle: &str,
        pickle_key: Vec<u8>,
    ) -> Result<Arc<Self>> {
        let key = Zeroizing::new(pickle_key);
        let core = account::Account::from_vodozemac_pickle(
            &store.core,
            read_user(user_id)?,
            read_device(device_id)?,
            pickle,
            &key,
        )?;
        Ok(Arc::new(Self { core: Arc::new(core) }))
    }

    /// The user, for example `@alice:example.org`.
    pub fn user_id(&self) -> Result<String> {
        let _entered = self.core.enter()?;
        Ok(self.core.user_id().to_owned())
    }

    /// The device.
    pub fn device_id(&self) -> Result<String> {
        let _entered = self.core.enter()?;
        Ok(self.core.device_id().to_owned())
    }

    /// The Curve25519 identity key as unpadded base64 (the `sender_key` of messages).
    pub fn identity_key(&self) -> Result<String> {
        let _entered = self.core.enter()?;
        Ok(self.core.identity_key().to_owned())
    }

    /// The Ed25519 fingerprint key as unpadded base64.
    pub fn fingerprint_key(&self) -> Result<String> {
        let _entered = self.core.enter()?;
        Ok(self.core.fingerprint_key().to_base64())
    }

    /// The signed device keys, as in `/keys/upload`:
    /// `{"algorithms": [...], "device_id": "...", "keys": {...}, "signatures": {...}, "user_id": "..."}`.
    pub fn device_keys(&self) -> Result<String> {
        let _entered = self.core.enter()?;
        Ok(self.core.device_keys().to_owned())
    }

    /// The body to send to `POST /_matrix/client/v3/keys/upload`, or null if there is nothing to
    /// upload: `{"device_keys": {...}, "one_time_keys": {...}, "fallback_keys": {...}}`, each if needed.
    ///
    /// New keys are durable when this returns. Until the answer is given to
    /// `receive_keys_upload_response`, the same bytes come back, also after a restart; unless a
    /// message has used one of the keys before, which shows that the upload has arrived. Call this
    /// after each sync, and send one upload at a time. It gives null, too, for an hour after each
    /// refusal once the server has refused five uploads in a row.
    ///
    /// Errors: STORE_CLOSED, STORE_IO, CLOCK_FAILED, NOT_FOUND (erased).
    pub fn keys_upload_request(&self) -> Result<Option<String>> {
        let mut tx = self.core.begin()?;
        let body = self.core.keys_upload_request(&mut tx)?;
        tx.commit()?;
        Ok(body)
    }

    /// Takes the server's answer to the open upload.
    ///
    /// 200 publishes the keys. 400 ends the upload: its one-time keys are given up, so that the
    /// next one has others. If it says anything but "already exists", that is reported as
    /// INVALID_FIELD of `body`, for somebody to look at; the upload has ended all the same, and
    /// nothing else has to be done. Any other status leaves the upload open, to be sent again.
    ///
    /// `body`: the answer, for example `{"one_time_key_counts": {"signed_curve25519": 50}}`; after
    /// a 200, a body that cannot be read counts as one without counts. It is read to 64 KiB.
    ///
    /// Errors: INVALID_FIELD (`http_status`: no upload is open; `body`: the server refused it),
    /// CLOCK_FAILED (400), STORE_CLOSED, STORE_IO.
    pub fn receive_keys_upload_response(&self, http_status: u16, body: &str) -> Result<()> {
        let mut tx = self.core.begin()?;
        let result = self.core.receive_keys_upload_response(&mut tx, http_status, body);
        tx.finish(result)
    }

    /// Takes what `/sync` says of this device's keys on the server.
    ///
    /// A fallback key counts as used if its type is missing after it was listed, or after a message
    /// has used it: an answer from before its upload does not replace it. It is replaced by a
    /// later `keys_upload_request`, not within an hour of the first use.
    ///
    /// `one_time_counts`: `device_one_time_keys_count`, for example `{"signed_curve25519": 12}`;
    /// `{}` means none. `unused_fallback_types`: `device_unused_fallback_key_types`, for example
    /// `["signed_curve25519"]`; null if the server does not say.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, CLOCK_FAILED, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::method(default(unused_fallback_types = None)))]
    pub fn receive_key_counts(
        &self,
        one_time_counts: &str,
        unused_fallback_types: Option<String>,
    ) -> Result<()> {
        let counts = json::parse_object("one_time_counts", one_time_counts, ARGUMENT_LIMIT)?;
        let types = unused_fallback_types
            .map(|types| json::parse_list("unused_fallback_types", &types, ARGUMENT_LIMIT))
            .transpose()?;
        let counts = account::KeyCounts::read(&counts, types.as_deref())?;
        let mut tx = self.core.begin()?;
        self.core.receive_key_counts(&mut tx, counts)?;
        tx.commit()
    }

    /// Signs a JSON object with the fingerprint key and returns the whole object with the
    /// signature added under `signatures`; `unsigned` and other signatures are kept.
    ///
    /// Errors: INVALID_JSON (also numbers that canonical JSON lacks), INVALID_FIELD, STORE_CLOSED.
    pub fn sign_json(&self, object: &str) -> Result<String> {
        let object = json::parse_object("object", object, ARGUMENT_LIMIT)?;
        let mut tx = self.core.begin()?;
        let signed = self.core.sign_json(&mut tx, object)?;
        drop(tx);
        json::to_text(&signed)
    }

    /// Encrypts events for many devices, each in its stored channel, on all cores and with one
    /// commit. The answer is a list in the same order, each item `{"content": {content of
    /// m.room.encrypted}}` as from `OlmChannel.encrypt`, or `{"error": ...}` if there is no such
    /// channel (NOT_FOUND) or that item alone cannot be encrypted.
    ///
    /// All sessions are durable before this returns. If it fails, nothing was encrypted.
    ///
    /// `items`: `[{"user_id": "@bob:example.org", "identity_key": "...", "type": "m.room_key",
    /// "content": {...}}]`. A device may occur more than once.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), STORE_CLOSED, STORE_IO,
    /// NOT_FOUND (the account was erased).
    pub fn encrypt_for_devices(&self, items: &str) -> Result<String> {
        let items: Vec<&RawValue> = json::parse_raw_list("items", items, ARGUMENT_LIMIT)?;
        let mut tx = self.core.begin()?;
        let contents = olm::encrypt_for_devices(&self.core, &mut tx, &items)?;
        tx.commit()?;
        batch::contents(contents)
    }

    /// Decrypts events of any rooms with the stored sessions, on all cores and with one commit.
    /// The answer is a list in the same order, each item `{"event": ...}` as from
    /// `InboundMegolmSession.decrypt`, or `{"error": ...}`; NO_SESSION if the key is missing.
    ///
    /// `events`: a list of events, each with `event_id`, `sender`, `room_id` (a /sync answer
    /// leaves it out: add it), `content` and, if known, `origin_server_ts`.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), STORE_CLOSED, STORE_IO,
    /// NOT_FOUND (the account was erased).
    pub fn decrypt_room_events(&self, events: &str) -> Result<String> {
        let events: Vec<&RawValue> = json::parse_raw_list("events", events, ARGUMENT_LIMIT)?;
        let mut tx = self.core.begin()?;
        let answers = decrypt_room_events(&self.core, &mut tx, &events)?;
        tx.commit()?;
        batch::events(answers)
    }

    /// The stored inbound sessions of one room or of all, in the order of their session IDs (by
    /// their bytes), in pages: `[{"room_id", "session_id", "sender_key", "owner_user_id"?,
    /// "first_known_index", "authenticated"}]`.
    ///
    /// `room_id`: null for all rooms. `after`: the last session ID of the page before; null for the
    /// first page. `limit`: how many sessions a page has, 1 to 10,000; null for 1,000. A page with
    /// fewer is the last one. One with more ends with a session ID that stands in several rooms, as
    /// it does only if somebody wants it to: these are not divided.
    ///
    /// A page costs what it lists, however many sessions are stored, and no other call waits for it.
    /// So pages are no snapshot: a session that is there all the time is in one of them, once. A
    /// damaged session is left out (`Store.problems` counts it). The lists are kept beside the
    /// sessions; the first call on a store that an earlier version has made, or in which they are
    /// damaged, builds them, which takes some seconds for 100,000 sessions.
    ///
    /// Errors: INVALID_FIELD (`room_id`, `after`, `limit`), STORE_CLOSED, STORE_IO, CORRUPT,
    /// NEWER_FORMAT.
    #[cfg_attr(
        feature = "uniffi",
        uniffi::method(default(room_id = None, after = None, limit = None))
    )]
    pub fn list_sessions(
        &self,
        room_id: Option<String>,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<String> {
        let page = Page::new(after.as_deref(), limit)?;
        let room_id = room_id.map(|room_id| RoomId::read("room_id", &room_id)).transpose()?;
        json::to_text(&list_sessions(&self.core, room_id.as_ref(), page)?)
    }

    /// The stored Olm channels in the order of their identity keys (by their bytes), in pages:
    /// `[{"user_id", "identity_key", "device_id"?, "fingerprint": "unknown|learned|device_keys",
    /// "session_count", "last_used_ms"?}]`. `last_used_ms` is when the channel encrypted or
    /// decrypted last, or up to an hour earlier; it is absent if that was with an earlier version.
    ///
    /// With it a program can delete channels that it does not want, as those of strangers:
    /// `OlmChannel.create_from_storage(...)`, then `erase`. Strangers cannot fill the store, though:
    /// of channels that were made from messages, in which nothing was sent since and whose
    /// fingerprint is not known from device keys, each user has at most 100, and there are at most
    /// 10,000. For one more, the one of the same user, or of all, that was used least recently is
    /// deleted; of all, it is the oldest of a hundredth part, so that the first ones may go when
    /// there are some 7,000.
    ///
    /// `after`: the last identity key of the page before; null for the first page. `limit`: how many
    /// channels a page has, 1 to 10,000; null for 1,000. A page with fewer is the last one. One with
    /// more ends with an identity key that several users have: these are not divided. As to cost and
    /// damage, this is as `list_sessions`.
    ///
    /// Errors: INVALID_FIELD (`after`, `limit`), STORE_CLOSED, STORE_IO, CORRUPT, NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::method(default(after = None, limit = None)))]
    pub fn list_channels(&self, after: Option<String>, limit: Option<u32>) -> Result<String> {
        json::to_text(&olm::list_channels(&self.core, Page::new(after.as_deref(), limit)?)?)
    }

    /// Stores sessions that libolm pickled, of all kinds and in any number, as
    /// `OlmChannel.from_libolm_pickles`, `InboundMegolmSession.from_libolm_pickle` and
    /// `OutboundMegolmSession.from_libolm_pickle` do it one by one.
    ///
    /// They are committed in chunks of about 1,000, in the order of the list, while no other call
    /// on this account runs. After an error or a crash, what was committed stays: make the same
    /// call again, it finds that stored ("known") and goes on. The report counts what is durable
    /// when this returns.
    ///
    /// `sessions`: `[{"kind": "olm", "user_id": "@bob:hs", "identity_key": "...", "pickle": "..."},
    /// {"kind": "inbound_megolm", "room_id": "!room:hs", "sender_key": "...", "pickle": "...",
    /// "sender_user_id": "@bob:hs"}, {"kind": "outbound_megolm", "room_id": "!room:hs", "pickle":
    /// "..."}]`; `sender_user_id` is optional. The sessions with one device stand in the order in
    /// which they last received, oldest first. `pickle_key`: the bytes that all were pickled with.
    ///
    /// Returns `{"imported": 3, "merged": 0, "known": 0, "surplus": 0, "failed": [{"index": 4,
    /// "error": {...}}]}`: `merged` sessions were stored and can decrypt more now; `surplus` ones
    /// were left out, because their channel has 8 newer ones; `failed` ones spoil no other.
    /// A session belongs to one room or channel. An outbound or Olm session that was erased here does
    /// not come back, nor does an Olm session that made room for another, for its ratchet would be
    /// used twice: it counts as `known`.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), CLOCK_FAILED, STORE_CLOSED,
    /// STORE_IO, CORRUPT, NEWER_FORMAT (of the store; a pickle's faults stand in `failed`, also that
    /// a newer libolm has written it).
    pub fn import_libolm_sessions(&self, sessions: &str, pickle_key: Vec<u8>) -> Result<String> {
        let pickle_key = Zeroizing::new(pickle_key);
        let sessions = json::parse_raw_list("sessions", sessions, ARGUMENT_LIMIT)?;
        drop(self.core.begin()?);
        let mut sessions = LibolmSessions::read(&sessions, &pickle_key);
        while sessions.has_more() {
            let mut tx = self.core.begin_alone()?;
            sessions.store(&self.core, &mut tx)?;
            tx.commit()?;
        }
        json::to_text(&sessions.into_report())
    }

    /// Stores exported Megolm sessions, in any number: the list that a decrypted key file holds, or
    /// what `export_at` gave. Each is stored as `InboundMegolmSession.from_export` does without a
    /// `sender_user_id`, and merged with what is stored.
    ///
    /// They are committed in chunks of 200, in the order of the list; other calls on this account
    /// wait for one chunk at most. After an error or a crash, what was committed stays: make the
    /// same call again, it finds that stored ("known") and goes on. The report counts what is
    /// durable when this returns. A list may have 128 MiB, about 200,000 sessions; import more in
    /// several calls.
    ///
    /// `sessions`: `[{"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!room:hs", "session_id":
    /// "...", "session_key": "...", "sender_key": "...", "sender_claimed_keys": {"ed25519": "..."},
    /// "forwarding_curve25519_key_chain": []}]`. They hold room keys: secrets.
    ///
    /// Returns `{"imported": 3, "merged": 0, "known": 0, "surplus": 0, "failed": [{"index": 4,
    /// "error": {...}}]}`, the report of `import_libolm_sessions`: `merged` sessions were stored and
    /// can decrypt more now, or have one claim more; `surplus` is 0; `failed` ones spoil no other,
    /// and neither does one whose record in the store is damaged (CORRUPT).
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), STORE_CLOSED, STORE_IO, NOT_FOUND
    /// (the account was erased).
    pub fn import_sessions(&self, sessions: &str) -> Result<String> {
        let sessions = json::parse_raw_list("sessions", sessions, ARGUMENT_LIMIT)?;
        drop(self.core.begin()?);
        let mut sessions = ExportedSessions::new(&sessions);
        while let Some(read) = sessions.read()? {
            let mut tx = self.core.begin_alone()?;
            sessions.store(&self.core, &mut tx, read)?;
            tx.commit()?;
        }
        json::to_text(&sessions.into_report())
    }

    /// Deletes the account and everything stored under it. Every handle on it, its channels and
    /// its sessions answers NOT_FOUND from then on.
    ///
    /// Errors: NOT_FOUND, STORE_CLOSED, STORE_IO, NEWER_FORMAT (a newer version of the library has
    /// stored what this one does not know, and would leave behind).
    pub fn erase(&self) -> Result<()> {
        self.core.erase()
    }
}
