//! The names of all collections, in one place: erasing an account, checking that a store is whole
//! and telling a new one from one that lost its header need them all.
//!
//! A collection's comment gives the parts of its records' names. A name here is for good.

/// The store's own record, which is not encrypted as the others are.
pub(super) const HEADER: &str = "vault";
/// The nodes of the index: which records there must be, and in which version.
pub(super) const INDEX: &str = "vault_index";
/// What vouches for the index and the header.
pub(super) const MANIFEST: &str = "vault_manifest";

/// [user, device].
pub(crate) const ACCOUNTS: &str = "account";
/// [user, device, one-time key]: the private half of a key that has been unused for long.
pub(crate) const ONE_TIME_KEYS: &str = "olm_one_time_key";
/// [user, device, fallback key, session ID].
pub(crate) const FALLBACK_SESSIONS: &str = "olm_fallback_session";
/// [user, device, partner user, partner identity key].
pub(crate) const OLM_CHANNELS: &str = "olm_channel";
/// [user, device, partner user, partner identity key, session ID].
pub(crate) const OLM_SESSIONS: &str = "olm_session";
/// [user, device, session ID]: the one channel of a session that came from elsewhere, for good.
pub(crate) const OLM_IMPORTS: &str = "olm_import";
/// [user, device, room, session ID].
pub(crate) const OUTBOUND_SESSIONS: &str = "outbound_megolm_session";
/// [user, device, session ID]: the one room that a session ID may belong to; if it came from
/// elsewhere, for good.
pub(crate) const OUTBOUND_ROOMS: &str = "outbound_megolm_room";
/// [user, device, room]: the room's current session.
pub(crate) const OUTBOUND_CURRENT: &str = "outbound_megolm_current";
/// [user, device, room, session ID, chunk number]: to whom a session was sent.
pub(crate) const OUTBOUND_SHARE_CHUNKS: &str = "outbound_megolm_share_chunk";
/// [user, device, room, session ID, recipient user]. Only earlier versions wrote it.
pub(crate) const OUTBOUND_SHARES: &str = "outbound_megolm_share";
/// [user, device, other user]: the keys by which their devices are known.
pub(crate) const KNOWN_DEVICES: &str = "known_device";
/// [user, device, room, session ID].
pub(crate) const INBOUND_SESSIONS: &str = "inbound_megolm_session";
/// [user, device, session ID]: the room of a session. Only earlier versions wrote it.
pub(crate) const INBOUND_ROOMS: &str = "inbound_megolm_room";
/// [user, device, room, session ID, message index]. Only earlier versions wrote it.
pub(crate) const INBOUND_REPLAYS: &str = "inbound_megolm_replay";
/// [user, device, room, session ID, sender, block]: the events that used the indices of a block.
pub(crate) const INBOUND_USES: &str = "inbound_megolm_use";

/// [user, device, list]: the sessions of the list, a room or "" for all: [session ID, room].
pub(crate) const INBOUND_LISTS: &str = "inbound_megolm_list";
/// [user, device, list]: the channels of the list, [partner identity key, partner user] of all in "",
/// and those of strangers in lists of their own.
pub(crate) const OLM_LISTS: &str = "olm_list";

/// The sets, which have no records of their own: their members' names stand in the index (`vault`'s
/// `sets`). What is in them stands in records, too, so that a set can be built anew.
pub(crate) const SETS: [&str; 2] = [INBOUND_LISTS, OLM_LISTS];

/// Every collection whose records stand under (user, device).
pub(crate) const OF_AN_ACCOUNT: [&str; 16] = [
    ACCOUNTS,
    ONE_TIME_KEYS,
    FALLBACK_SESSIONS,
    OLM_CHANNELS,
    OLM_SESSIONS,
    OLM_IMPORTS,
    OUTBOUND_SESSIONS,
    OUTBOUND_ROOMS,
    OUTBOUND_CURRENT,
    OUTBOUND_SHARE_CHUNKS,
    OUTBOUND_SHARES,
    KNOWN_DEVICES,
    INBOUND_SESSIONS,
    INBOUND_ROOMS,
    INBOUND_REPLAYS,
    INBOUND_USES,
];

/// The format of a collection's records. It changes when a version that knows the former one only
/// would lose something by reading and rewriting a record; such a version then refuses it.
pub(super) fn format(_collection: &str) -> u8 {
    1
}

/// Whether the records of a collection keep keys from being used twice, or in the wrong place: an
/// object whose record is damaged is out of use. What the others lose is worked around.
pub(super) fn guards_keys(collection: &str) -> bool {
    ![OUTBOUND_CURRENT, INBOUND_SESSIONS, INBOUND_REPLAYS, INBOUND_USES].contains(&collection)
}

/// The collection whose records say what is in a set.
pub(super) fn repeated_by(set: &str) -> &'static str {
    if set == OLM_LISTS { OLM_CHANNELS } else { INBOUND_SESSIONS }
}

pub(super) fn is_set(collection: &str) -> bool {
    SETS.contains(&collection)
}

/// Whether this version knows what stands in a collection or set of that name.
pub(super) fn is_known(name: &str) -> bool {
    OF_AN_ACCOUNT.contains(&name) || SETS.contains(&name)
}

pub(super) fn all() -> impl Iterator<Item = &'static str> {
    OF_AN_ACCOUNT.into_iter().chain([HEADER, MANIFEST, INDEX])
}
