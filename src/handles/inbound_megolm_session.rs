use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Account, OutboundMegolmSession, batch};
use crate::base::identifiers::{RoomId, UserId};
use crate::base::json::{self, ARGUMENT_LIMIT, EVENT_LIMIT};
use crate::base::public_keys;
use crate::error::Result;
use crate::sessions::megolm;
use crate::store::Transaction;

/// The receiving half of a Megolm session: decrypts a room's events and refuses replayed ones.
///
/// Whoever sends a room key proves only that he has it. Who owns the session is a claim, and up to
/// four users may claim one: an event is read under the claim of its sender, whatever others say.
/// What a handle says of the session's origin is the claim of the user it was opened for, or the
/// best one: our own, then one that came over Olm, then what an import said.
#[cfg_attr(feature = "uniffi", derive(uniffi::Object))]
pub struct InboundMegolmSession {
    core: megolm::InboundMegolmSession,
}

impl fmt::Debug for InboundMegolmSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InboundMegolmSession").finish_non_exhaustive()
    }
}

impl InboundMegolmSession {
    fn begin(&self) -> Result<Transaction<'_>> {
        self.core.account().begin()
    }
}

fn read_sender(user_id: Option<String>) -> Result<Option<UserId>> {
    user_id.map(|user_id| UserId::read("sender_user_id", &user_id)).transpose()
}

#[cfg_attr(feature = "uniffi", cfg_eval::cfg_eval, uniffi::export)]
impl InboundMegolmSession {
    /// The receiving half of our own session, from its current index on: make it before the first
    /// encryption, to be able to read back what is sent. Durable when this returns.
    ///
    /// Errors: NOT_FOUND, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_outbound_session(outbound: &OutboundMegolmSession) -> Result<Arc<Self>> {
        let mut tx = outbound.core.account().begin()?;
        let core = megolm::InboundMegolmSession::from_outbound_session(&outbound.core, &mut tx)?;
        tx.commit()?;
        Ok(Arc::new(Self { core }))
    }

    /// A session from a room key that came over Olm, which its sender claims with it. If the
    /// session is stored already, the two are merged: the lower first index is kept, and this claim
    /// beside those of others. What was stored under its ID without a signature and is another
    /// session gives way. Durable when this returns.
    ///
    /// What is known of the device (`sender_fingerprint` of `decrypt`) is taken from the channel
    /// with it, now and whenever the channel comes to know more.
    ///
    /// `sender_user_id`, `sender_key`: of the Olm message. `room_key_content`: the content of the
    /// decrypted `m.room_key` event.
    ///
    /// Errors: UNKNOWN_ALGORITHM, MISMATCHED_SESSION_ID (also when another signed session has this
    /// ID), WRONG_SENDER (the session is our own, or as many users claim it as may), BAD_SIGNATURE,
    /// INVALID_JSON, INVALID_FIELD, INVALID_KEY, TOO_LARGE, STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor)]
    pub fn from_room_key(
        account: &Account,
        sender_user_id: &str,
        sender_key: &str,
        room_key_content: &str,
    ) -> Result<Arc<Self>> {
        let content = json::parse_object("room_key_content", room_key_content, EVENT_LIMIT)?;
        let sender_user_id = UserId::read("sender_user_id", sender_user_id)?;
        let sender_key = public_keys::curve25519("sender_key", sender_key)?;
        let mut tx = account.core.begin()?;
        let core = megolm::InboundMegolmSession::from_room_key(
            &account.core,
            &mut tx,
            sender_user_id,
            sender_key,
            &content,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core }))
    }

    /// A session from exported session data, merged like `from_room_key`; durable when this
    /// returns.
    ///
    /// An export proves nothing of its origin, so it counts as not authenticated. Its owner is
    /// `sender_user_id`, or with null unknown until the room key comes from the device that it
    /// names; events of any sender are read until then. Name the user of that device, if your
    /// program knows.
    ///
    /// `session_data`: `{"algorithm", "room_id", "session_id", "session_key", "sender_key",
    /// "sender_claimed_keys": {"ed25519": "..."}, ...}`, as in key exports and backups.
    ///
    /// Errors: as `from_room_key`; MISMATCHED_SESSION_ID whenever another session has this ID.
    #[cfg_attr(feature = "uniffi", uniffi::constructor(default(sender_user_id = None)))]
    pub fn from_export(
        account: &Account,
        session_data: &str,
        sender_user_id: Option<String>,
    ) -> Result<Arc<Self>> {
        let data = json::parse_object("session_data", session_data, EVENT_LIMIT)?;
        let sender_user_id = read_sender(sender_user_id)?;
        let mut tx = account.core.begin()?;
        let core = megolm::InboundMegolmSession::from_export(
            &account.core,
            &mut tx,
            &data,
            sender_user_id,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core }))
    }

    /// A session that libolm pickled, merged like `from_room_key`; durable when this returns.
    ///
    /// A pickle proves nothing of its origin, so the session counts as not authenticated until a
    /// room key over Olm proves it. Its owner is `sender_user_id`, or unknown with null, as for
    /// `from_export`: name the user of the device whose identity key `sender_key` is, if your
    /// program knows.
    ///
    /// `pickle`: libolm's base64 text. `pickle_key`: the bytes it was pickled with, of any length.
    ///
    /// Errors: WRONG_KEY, INVALID_FIELD, NEWER_FORMAT (a libolm that is not known yet), INVALID_KEY,
    /// WRONG_SENDER, MISMATCHED_SESSION_ID (another session has this ID), STORE_CLOSED, STORE_IO.
    #[cfg_attr(feature = "uniffi", uniffi::constructor(default(sender_user_id = None)))]
    pub fn from_libolm_pickle(
        account: &Account,
        room_id: &str,
        sender_key: &str,
        pickle: &str,
        pickle_key: Vec<u8>,
        sender_user_id: Option<String>,
    ) -> Result<Arc<Self>> {
        let key = Zeroizing::new(pickle_key);
        let sender_key = public_keys::curve25519("sender_key", sender_key)?;
        let sender_user_id = read_sender(sender_user_id)?;
        let room_id = RoomId::read("room_id", room_id)?;
        let mut tx = account.core.begin()?;
        let core = megolm::InboundMegolmSession::from_libolm_pickle(
            &account.core,
            &mut tx,
            room_id,
            sender_key,
            pickle,
            &key,
            sender_user_id,
        )?;
        tx.commit()?;
        Ok(Arc::new(Self { core }))
    }

    /// Opens a stored session, for the claim of `sender_user_id` if that is given. If it is, and
    /// only others own the session, there is no such session.
    ///
    /// Errors: NOT_FOUND, INVALID_FIELD, STORE_CLOSED, STORE_IO, CORRUPT,
    /// NEWER_FORMAT.
    #[cfg_attr(feature = "uniffi", uniffi::constructor(default(sender_user_id = None)))]
    pub fn from_storage(
        account: &Account,
        room_id: &str,
        session_id: &str,
        sender_user_id: Option<String>,
    ) -> Result<Arc<Self>> {
        let room_id = RoomId::read("room_id", room_id)?;
        let sender_user_id = read_sender(sender_user_id)?;
        let mut tx = account.core.begin()?;
        let core = megolm::InboundMegolmSession::from_storage(
            &account.core,
            &mut tx,
            room_id,
            session_id,
            sender_user_id,
        )?;
        Ok(Arc::new(Self { core }))
    }

    /// Decrypts a room event: `{"type", "content", "room_id", "matrixe2ee": {"message_index",
    /// "session_id", "sender_key"?, "authenticated", "owner": "known|unknown",
    /// "sender_fingerprint": "unknown|learned|device_keys", "unauthenticated": ["m.relates_to"]}}`.
    ///
    /// `authenticated` says that the key came over Olm from the device of `sender_key`;
    /// `sender_fingerprint` says what is known of that device: with `device_keys` your program gave
    /// its signed keys, otherwise the server may have invented it. Neither says that a person
    /// verified anything. `unauthenticated` names what was taken from the cleartext.
    ///
    /// Which event used the message index is committed before this returns; the same event may be
    /// decrypted again. While nobody knows the owner, each sender has indices of his own.
    ///
    /// `event`: the event with `event_id`, `sender`, `room_id` (a /sync answer leaves it out: add
    /// it), `content` and, if known, `origin_server_ts`. Its `unsigned` is not looked at and may be
    /// of any size. UNABLE_TO_DECRYPT with the reason `redacted`: nothing is left of its content.
    ///
    /// Errors: REPLAY, UNKNOWN_INDEX, UNABLE_TO_DECRYPT, WRONG_ROOM, WRONG_SENDER,
    /// MISMATCHED_SESSION_ID, UNKNOWN_ALGORITHM, INVALID_MESSAGE, INVALID_JSON, INVALID_FIELD,
    /// TOO_LARGE, STORE_CLOSED, STORE_IO.
    pub fn decrypt(&self, event: &str) -> Result<String> {
        let event = json::parse_event("event", event)?;
        let mut tx = self.begin()?;
        let event = self.core.decrypt(&mut tx, &event)?;
        tx.commit()?;
        json::to_text(&event)
    }

    /// Decrypts a JSON list of events of this session on all cores and with one commit. The
    /// answer is a list in the same order, each item `{"event": ...}` as from `decrypt` or
    /// `{"error": ...}`.
    ///
    /// Errors: INVALID_JSON, INVALID_FIELD, TOO_LARGE (the list), STORE_CLOSED, STORE_IO.
    pub fn decrypt_many(&self, events: &str) -> Result<String> {
        let events: Vec<&RawValue> = json::parse_raw_list("events", events, ARGUMENT_LIMIT)?;
        let mut tx = self.begin()?;
        let answers = self.core.decrypt_many(&mut tx, &events)?;
        tx.commit()?;
        batch::events(answers)
    }

    /// The session's ID.
    pub fn session_id(&self) -> Result<String> {
        self.core.session_id(&mut self.begin()?).map(str::to_owned)
    }

    /// The identity key of the device that the session came from, or is said to come from.
    /// (`decrypt` says it for each event.)
    pub fn sender_key(&self) -> Result<String> {
        Ok(self.core.sender_key(&mut self.begin()?)?.to_base64())
    }

    /// Whether the key came over Olm from the device of `sender_key`, or is our own.
    pub fn authenticated(&self) -> Result<bool> {
        self.core.authenticated(&mut self.begin()?)
    }

    /// The first message index that can be decrypted.
    pub fn first_known_index(&self) -> Result<u32> {
        self.core.first_known_index(&mut self.begin()?)
    }

    /// The session data for an export, from `index` on or, with null, from the first known index:
    /// what `from_export` takes. It holds the room key: a secret.
    ///
    /// Errors: UNKNOWN_INDEX (below the first known one), NOT_FOUND, STORE_CLOSED.
    #[cfg_attr(feature = "uniffi", uniffi::method(default(index = None)))]
    pub fn export_at(&self, index: Option<u32>) -> Result<String> {
        let exported = self.core.export_at(&mut self.begin()?, index)?;
        json::to_text(&exported)
    }

    /// Deletes the session, all claims to it and its replay records. Every handle on it answers NOT_FOUND then.
    pub fn erase(&self) -> Result<()> {
        let mut tx = self.begin()?;
        self.core.erase(&mut tx)?;
        tx.commit()
    }
}
