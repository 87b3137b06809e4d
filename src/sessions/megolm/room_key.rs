//! Room keys as they travel: `m.room_key` and exported session data (M23, S4, SEC-43, SEC-59).

use serde_json::Value;
use vodozemac::megolm::{
    ExportedSessionKey, InboundGroupSession, SessionConfig, SessionKey, SessionKeyDecodeError,
};
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use crate::base::identifiers::RoomId;
use crate::base::json::{self, Object};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::libolm_pickles;

/// The specification's name, which matrix-sdk-crypto does not know up to 0.19.
pub(super) const SHARED_HISTORY: &str = "shared_history";
/// What matrix-sdk-crypto writes and reads instead.
pub(super) const OLD_SHARED_HISTORY: &str = "m.shared_history";
/// Never written: matrix-sdk-crypto loses a room key that has this and `m.shared_history`.
const OLDEST_SHARED_HISTORY: &str = "org.matrix.msc3061.shared_history";

/// The unpadded base64 of a session key's 229 bytes.
const SESSION_KEY_LENGTH: usize = 306;
/// The base64 of an exported session key's 165 bytes, which needs no padding.
const EXPORTED_KEY_LENGTH: usize = 220;

/// A session that came from elsewhere, and what came with it.
pub(super) struct ReceivedKey {
    pub(super) room_id: RoomId,
    pub(super) session_id: String,
    pub(super) session: InboundGroupSession,
    pub(super) shared_history: bool,
}

/// Reads the content of `m.room_key` (D16).
pub(super) fn read_room_key(content: &Object) -> Result<ReceivedKey> {
    check_algorithm(content)?;
    let text = session_key_text(content, SESSION_KEY_LENGTH, "==")?;
    let key = SessionKey::from_base64(text).map_err(key_error)?;
    received(content, InboundGroupSession::new(&key, SessionConfig::version_1()))
}

/// Reads exported session data, the element of a key export or backup. Also gives the claimed
/// identity and fingerprint keys of the sender.
pub(super) fn read_export(
    data: &Object,
) -> Result<(ReceivedKey, Curve25519PublicKey, Option<Ed25519PublicKey>)> {
    check_algorithm(data)?;
    let sender_key = public_keys::curve25519("sender_key", json::text(data, "sender_key")?)?;
    let claimed = json::optional_object(data, "sender_claimed_keys")?
        .map(|keys| json::optional_text(keys, "ed25519"))
        .transpose()?
        .flatten()
        .map(|key| public_keys::ed25519("sender_claimed_keys", key))
        .transpose()?;
    let text = session_key_text(data, EXPORTED_KEY_LENGTH, "")?;
    let key = ExportedSessionKey::from_base64(text).map_err(key_error)?;
    let session = InboundGroupSession::import(&key, SessionConfig::version_1());
    Ok((received(data, session)?, sender_key, claimed))
}

/// Reads libolm's pickle of an inbound session, which does not say what room it is for.
pub(super) fn read_libolm_pickle(
    room_id: RoomId,
    pickle: &str,
    pickle_key: &[u8],
) -> Result<ReceivedKey> {
    let session = libolm_pickles::inbound_group_session(pickle, pickle_key)?;
    let session_id = session.session_id();
    public_keys::ed25519_bytes("pickle", &session_id)?;
    Ok(ReceivedKey { room_id, session_id, session, shared_history: false })
}

fn received(object: &Object, session: InboundGroupSession) -> Result<ReceivedKey> {
    let room_id = RoomId::read("room_id", json::text(object, "room_id")?)?;
    let session_id = session.session_id();
    // The session's ID is its signing key, which must be usable as one (SEC-10). vodozemac has
    // found it on the curve.
    public_keys::ed25519_bytes("session_key", &session_id)?;
    if json::text(object, "session_id")? != session_id {
        return Err(E2eeError::mismatched_session_id("the session ID is not the session key's"));
    }
    Ok(ReceivedKey { room_id, session_id, session, shared_history: shared_history(object) })
}

/// True only if every spelling that is there says so.
fn shared_history(object: &Object) -> bool {
    let names = [SHARED_HISTORY, OLD_SHARED_HISTORY, OLDEST_SHARED_HISTORY];
    let mut said = names.iter().filter_map(|name| object.get(*name)).peekable();
    said.peek().is_some() && said.all(|value| *value == Value::Bool(true))
}

fn check_algorithm(object: &Object) -> Result<()> {
    match json::text(object, "algorithm")? {
        MEGOLM_ALGORITHM => Ok(()),
        other => Err(E2eeError::unknown_algorithm(other, MEGOLM_ALGORITHM)),
    }
}

/// The key's base64 without the padding that it may have, if it is as long as it must be. Only
/// vodozemac decodes it, in constant time, and refuses all else that is lenient (SEC-101, SEC-109).
fn session_key_text<'a>(object: &'a Object, length: usize, padding: &str) -> Result<&'a str> {
    let text = json::text(object, "session_key")?;
    let unpadded = text.strip_suffix(padding).unwrap_or(text);
    if unpadded.len() != length {
        return Err(not_a_session_key());
    }
    Ok(unpadded)
}

fn key_error(error: SessionKeyDecodeError) -> E2eeError {
    match error {
        SessionKeyDecodeError::Signature(_) => {
            E2eeError::bad_signature("the session key's signature does not verify")
        }
        _ => not_a_session_key(),
    }
}

fn not_a_session_key() -> E2eeError {
    E2eeError::invalid_key("session_key is not a Megolm session key")
}
