use std::fmt;
use std::sync::Arc;

use super::Account;
use crate::error::Result;
use crate::json::{self, ARGUMENT_LIMIT};
use crate::megolm::{self, Settings};

/// The sending half of a Megolm session: encrypts for a room, and hands its key to every device.
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct OutboundMegolmSession {
    pub(super) core: megolm::OutboundMegolmSession,
}

impl fmt::Debug for OutboundMegolmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundMegolmSession").finish_non_exhaustive()
    }
}

#[cfg_attr(feature = "uniffi", uniffi::export)]
impl OutboundMegolmSession {
    /// Makes a new session, durable and the room's current one when this returns.
    ///
    /// `settings`: `{"minimum_rotation_period_ms": 3600000, "maximum_rotation_period_msgs": 10000,
    /// "reserve_ahead": 32, "old_shared_history_names": false}`, all optional, or null: limits
    /// applied to the room's own values.
    ///
    /// Errors: INVALID_FIELD, INVALID_JSON, CLOCK_FAILED, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn create(account: &Account, room_id: &str, settings: Option<String>) -> Result<Arc<Self>> {
        let settings = match settings {
            None => Settings::default(),
            Some(text) => Settings::read(&json::parse_object("settings", &text, ARGUMENT_LIMIT)?)?,
        };
        let core = megolm::OutboundMegolmSession::create(&account.core, room_id, settings)?;
        Ok(Arc::new(Self { core }))
    }

    /// Opens a stored session; without `session_id`, the room's current one.
    ///
    /// Errors: NOT_FOUND, INVALID_FIELD, STORE_CLOSED, STORE_IO, CORRUPT,
    /// NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn create_from_storage(
        account: &Account,
        room_id: &str,
        session_id: Option<String>,
    ) -> Result<Arc<Self>> {
        let core = megolm::OutboundMegolmSession::create_from_storage(
            &account.core,
            room_id,
            session_id.as_deref(),
        )?;
        Ok(Arc::new(Self { core }))
    }

    /// The session's ID.
    pub fn session_id(&self) -> Result<String> {
        self.core.session_id().map(str::to_owned)
    }

    /// The index that the next message will have.
    pub fn message_index(&self) -> Result<u32> {
        self.core.message_index()
    }

    /// What to send to which device before the next message: `[{"device": {device keys},
    /// "content": {content of m.room_key}}]`; a blocked device has `"withheld"` (the content of
    /// `m.room_key.withheld`) instead of `"content"`, a device with bad keys has `"error"`.
    ///
    /// A device keeps getting the same key, also after a restart, until `mark_as_sent`; all this
    /// is durable when this returns.
    ///
    /// `recipients`: `{"encryption": {content of m.room.encryption}, "history_visibility":
    /// "shared", "members": {"@u:hs": "join"}, "device_keys": {"@u:hs": {"DEVICE": {...}}},
    /// "blocked": {"@u:hs": {"DEVICE": "m.blacklisted"}}}`. `members` is complete.
    ///
    /// Errors: SESSION_EXPIRED (create a new session; nothing has changed), ROOM_NOT_ENCRYPTED,
    /// UNKNOWN_ALGORITHM, INVALID_JSON, INVALID_FIELD, CLOCK_FAILED, STORE_CLOSED, STORE_IO.
    pub fn get_session_key_for_sending(&self, recipients: &str) -> Result<String> {
        let recipients = json::parse_object("recipients", recipients, ARGUMENT_LIMIT)?;
        self.core.get_session_key_for_sending(&recipients)
    }

    /// Notes that devices have been sent what `get_session_key_for_sending` gave for them.
    ///
    /// `devices`: a JSON list of its `device` objects; others without user, device or key are
    /// ignored. Durable when this returns.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, STORE_CLOSED, STORE_IO.
    pub fn mark_as_sent(&self, devices: &str) -> Result<()> {
        let devices = json::parse_list("devices", devices, ARGUMENT_LIMIT)?;
        self.core.mark_as_sent(&devices)
    }

    /// Encrypts a room event and returns the content of `m.room.encrypted`: `{"algorithm",
    /// "sender_key", "device_id", "session_id", "ciphertext"}`, and `m.relates_to` if `content`
    /// has it. The session is durable before this returns; the caller keeps and resends these bytes.
    ///
    /// Whether all devices have the key is judged by `get_session_key_for_sending` only.
    ///
    /// Errors: SESSION_EXPIRED, INVALID_JSON, INVALID_FIELD, TOO_LARGE, CLOCK_FAILED, STORE_IO.
    pub fn encrypt(&self, event_type: &str, content: &str) -> Result<String> {
        self.core.encrypt(event_type, content)
    }

    /// Expires the session for good: after a leave was seen, for example. Durable when this
    /// returns.
    pub fn invalidate(&self) -> Result<()> {
        self.core.invalidate()
    }

    /// Deletes the session. Every handle on it answers NOT_FOUND from then on.
    pub fn erase(&self) -> Result<()> {
        self.core.erase()
    }
}
