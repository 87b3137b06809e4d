use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Account;
use crate::base::identifiers::{EventType, RoomId};
use crate::base::json::{self, ARGUMENT_LIMIT};
use crate::error::Result;
use crate::sessions::megolm::{self, EventContent, Recipients, SentDevice, Settings};
use crate::store::Transaction;

/// The sending half of a Megolm session: encrypts for a room, and hands its key to every device.
///
/// Not every message waits for the disk: one commit reserves the indices of `reserve_ahead`
/// messages. What is left of them is given back when the session's last handle is freed, or by
/// `Store.shut_down`; a program that ends otherwise skips them at its next start. Keep the handle
/// while you write to the room.
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct OutboundMegolmSession {
    pub(super) core: megolm::OutboundMegolmSession,
}

impl fmt::Debug for OutboundMegolmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundMegolmSession").finish_non_exhaustive()
    }
}

impl OutboundMegolmSession {
    fn begin(&self) -> Result<Transaction<'_>> {
        self.core.account().begin()
    }
}

#[cfg_attr(feature = "uniffi", cfg_eval::cfg_eval, uniffi::export)]
impl OutboundMegolmSession {
    /// Makes a new session, durable and the room's current one when this returns.
    ///
    /// The session that was the room's current one has expired for good with that, for all its
    /// handles (SESSION_EXPIRED with the reason `superseded`): to whom its key was sent is deleted
    /// in the same write. Messages that it has encrypted before can be sent as ever, and it can be
    /// opened by its ID, given to `InboundMegolmSession.from_outbound_session` and erased. If this
    /// fails, it is the current one as before. One whose record is damaged stays as it is, out of
    /// use.
    ///
    /// `settings`: `{"minimum_rotation_period_ms": 3600000, "maximum_rotation_period_msgs": 10000,
    /// "reserve_ahead": 32, "old_shared_history_names": false}`, all optional, or null: limits
    /// applied to the room's own values. `reserve_ahead` is 0 to 1000; with 0 or 1 each message is
    /// written to disk by itself. More means fewer writes, and more indices to skip after a crash;
    /// skipped ones count as messages of the session. `old_shared_history_names` writes
    /// `m.shared_history`, which matrix-sdk-crypto 0.19 reads, beside the specification's
    /// `shared_history`, which it does not.
    ///
    /// Errors: INVALID_FIELD, INVALID_JSON, CLOCK_FAILED, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor(default(settings = None)))]
    pub fn create(account: &Account, room_id: &str, settings: Option<String>) -> Result<Arc<Self>> {
        let settings = match settings {
            None => Settings::default(),
            Some(text) => Settings::read(&json::parse_object("settings", &text, ARGUMENT_LIMIT)?)?,
        };
        let room_id = RoomId::read("room_id", room_id)?;
        let mut tx = account.core.begin()?;
        let core =
            megolm::OutboundMegolmSession::create(&account.core, &mut tx, room_id, settings)?;
        tx.commit()?;
        Ok(Arc::new(Self { core }))
    }

    /// Opens a stored session; without `session_id`, the room's current one.
    ///
    /// Errors: NOT_FOUND, INVALID_FIELD, STORE_CLOSED, STORE_IO, CORRUPT,
    /// NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::constructor(default(session_id = None)))]
    pub fn create_from_storage(
        account: &Account,
        room_id: &str,
        session_id: Option<String>,
    ) -> Result<Arc<Self>> {
        let room_id = RoomId::read("room_id", room_id)?;
        let mut tx = account.core.begin()?;
        let core = megolm::OutboundMegolmSession::create_from_storage(
            &account.core,
            &mut tx,
            room_id,
            session_id.as_deref(),
        )?;
        Ok(Arc::new(Self { core }))
    }

    /// Stores a session that libolm pickled. It becomes the room's current one if the room has
    /// none. Durable when this returns; from then on the old copy must not be used.
    ///
    /// A pickle does not say who has the key, and somebody who has left the room since may be
    /// among them. So `get_session_key_for_sending` answers SESSION_EXPIRED (`recipients_unknown`,
    /// create a new session) unless `mark_as_sent` has been told before which devices have the
    /// key, all of them: `[]` if none has. Nor does it say when the session was made: its age
    /// counts from now, its messages from its beginning.
    ///
    /// `pickle`: libolm's base64 text. `pickle_key`: the bytes it was pickled with, of any length.
    ///
    /// A session belongs to one room, and one that was erased here does not come back: its ratchet
    /// would be used twice.
    ///
    /// Errors: ALREADY_EXISTS (what is stored, or was, may have encrypted since), WRONG_ROOM (it
    /// belongs to another room), WRONG_KEY, INVALID_FIELD, NEWER_FORMAT (a libolm that is not known
    /// yet), CLOCK_FAILED, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_libolm_pickle(
        account: &Account,
        room_id: &str,
        pickle: &str,
        pickle_key: Vec<u8>,
    ) -> Result<Arc<Self>> {
        let key = Zeroizing::new(pickle_key);
        let room_id = RoomId::read("room_id", room_id)?;
        let mut tx = account.core.begin_alone()?;
        let core = megolm::OutboundMegolmSession::from_libolm_pickle(
            &account.core,
            &mut tx,
            room_id,
            pickle,
            &key,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core }))
    }

    /// The session's ID.
    pub fn session_id(&self) -> Result<String> {
        self.core.session_id(&mut self.begin()?).map(str::to_owned)
    }

    /// The index that the next message will have. After a crash or a failed write it is higher than
    /// that of the last message plus one, by at most what was reserved.
    pub fn message_index(&self) -> Result<u32> {
        self.core.message_index(&mut self.begin()?)
    }

    /// What to send to which device before the next message: `[{"device": {device keys},
    /// "content": {content of m.room_key}}]`; a blocked device has `"withheld"` (the content of
    /// `m.room_key.withheld`) instead of `"content"`, a device with bad keys has `"error"`, and
    /// counts as gone. What is wrong with one device or member spoils no other.
    ///
    /// A device keeps getting the same key, also after a restart, until `mark_as_sent`; all this
    /// is durable when this returns. The same text as the last time costs little.
    ///
    /// The keys with which a device is first given a room key are remembered by the account for
    /// good: with others it has the error MISMATCHED_FINGERPRINT, in every room and session.
    /// `device` is the entry as it was given, or `{"user_id", "device_id"}` if that is no object,
    /// cannot be read or says that it is another device; without `device_id` if that is so of all
    /// that is listed under the user.
    ///
    /// `recipients`: `{"encryption": {content of m.room.encryption}, "history_visibility":
    /// "shared", "members": {"@u:hs": "join"}, "device_keys": {"@u:hs": {"DEVICE": {...}}},
    /// "blocked": {"@u:hs": {"DEVICE": "m.blacklisted"}}}`. `members` is complete. Blocking a device
    /// that had the key expires the session, but for `m.no_olm`: it could only not be reached.
    ///
    /// Errors: SESSION_EXPIRED (create a new session, or with the reason `superseded`, open the
    /// room's current one; nothing has changed), ROOM_NOT_ENCRYPTED,
    /// UNKNOWN_ALGORITHM, INVALID_JSON, INVALID_FIELD, TOO_LARGE, CLOCK_FAILED, STORE_CLOSED,
    /// STORE_IO.
    pub fn get_session_key_for_sending(&self, recipients: &str) -> Result<String> {
        let mut tx = self.begin()?;
        if let Some(answer) = self.core.answer_again(&mut tx, recipients)? {
            return Ok(answer);
        }
        let limits = self.core.limits(&mut tx)?;
        // Others may use the session while all signatures are checked.
        drop(tx);
        let recipients = Recipients::read(self.core.account(), recipients, limits)?;
        let mut tx = self.begin()?;
        let keys = self.core.get_session_key_for_sending(&mut tx, recipients)?;
        tx.commit()?;
        json::to_text(&keys)
    }

    /// Notes that devices have been sent what `get_session_key_for_sending` gave for them.
    ///
    /// `devices`: a JSON list of its `device` objects; any that cannot be read, or are without user,
    /// device or key, are ignored. For an imported session, the first call tells who has its key, `[]` if nobody has:
    /// an entry that cannot be read is INVALID_FIELD then, and changes nothing. For a superseded session
    /// nothing is noted, and that is no error. Durable when this returns.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, STORE_CLOSED, STORE_IO.
    pub fn mark_as_sent(&self, devices: &str) -> Result<()> {
        let devices = json::parse_raw_list("devices", devices, ARGUMENT_LIMIT)?;
        let devices = devices.into_iter().map(SentDevice::read).collect();
        let mut tx = self.begin()?;
        self.core.mark_as_sent(&mut tx, devices)?;
        tx.commit()
    }

    /// Encrypts a room event and returns the content of `m.room.encrypted`: `{"algorithm",
    /// "sender_key", "device_id", "session_id", "ciphertext"}`, and `m.relates_to` if `content`
    /// has it. That the message's index is used is durable before this returns; the caller keeps and
    /// resends these bytes.
    ///
    /// Whether all devices have the key is judged by `get_session_key_for_sending` only. A content
    /// is TOO_LARGE if the event that the server makes of it could have over 65,536 bytes; then no
    /// index is used.
    ///
    /// Errors: SESSION_EXPIRED, INVALID_JSON, INVALID_FIELD, TOO_LARGE, CLOCK_FAILED, STORE_IO.
    pub fn encrypt(&self, event_type: &str, content: &str) -> Result<String> {
        let event_type = EventType::read("event_type", event_type)?;
        let content = EventContent::read(content)?;
        let mut tx = self.begin()?;
        let encrypted = self.core.encrypt(&mut tx, &event_type, &content)?;
        tx.commit()?;
        json::to_text(&encrypted)
    }

    /// Expires the session for good: after a leave was seen, for example. Durable when this
    /// returns.
    pub fn invalidate(&self) -> Result<()> {
        let mut tx = self.begin()?;
        self.core.invalidate(&mut tx)?;
        tx.commit()
    }

    /// Deletes the session. Every handle on it answers NOT_FOUND from then on.
    pub fn erase(&self) -> Result<()> {
        let mut tx = self.begin()?;
        self.core.erase(&mut tx)?;
        tx.commit()
    }
}
