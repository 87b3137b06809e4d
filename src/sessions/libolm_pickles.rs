//! Reading libolm's pickles: the one place that knows its formats (SEC-111). Nothing writes them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vodozemac::LibolmPickleError;
use vodozemac::megolm::{GroupSession, InboundGroupSession};
use vodozemac::olm::{Account, Session, SessionPickle};
use zeroize::Zeroizing;

use crate::error::{E2eeError, Result};

mod envelope;
mod older;

/// The newest version of each kind of pickle, which vodozemac reads.
const ACCOUNT: u32 = 4;
const OLM_SESSION: u32 = 1;
const OUTBOUND: u32 = 1;
const INBOUND: u32 = 2;
/// A version that no kind has is of a newer libolm; below it, it can be another kind's.
const NEWEST: u32 = ACCOUNT;
/// A version, a ratchet of 128 bytes with its index, a public and an expanded private key.
const OUTBOUND_LENGTH: usize = 4 + 132 + 32 + 64;
/// A version, two ratchets with their indices, a public key and, since version 2, a flag.
const INBOUND_LENGTH: usize = OLD_INBOUND_LENGTH + 1;
const OLD_INBOUND_LENGTH: usize = 4 + 132 + 132 + 32;
/// Room for a session with all chains and message keys that it can have, in JSON.
const LARGEST_SESSION: usize = 64 * 1024;

/// An account. A pickle key may have any length, here and below.
pub(crate) fn account(pickle: &str, pickle_key: &[u8]) -> Result<Account> {
    const WHAT: &str = "account";
    let (version, bytes) = open(pickle, pickle_key, WHAT)?;
    let pickle = match version {
        ACCOUNT => Cow::Borrowed(pickle),
        2 | 3 => {
            let newest = older::account(version, &bytes, ACCOUNT).ok_or_else(|| no_pickle(WHAT))?;
            Cow::Owned(envelope::seal(&newest, pickle_key)?)
        }
        found => return Err(wrong_version(found, ACCOUNT, WHAT)),
    };
    Account::from_libolm_pickle(&pickle, pickle_key).map_err(|error| describe(&error, WHAT))
}

/// An Olm session.
pub(crate) fn olm_session(pickle: &str, pickle_key: &[u8]) -> Result<Session> {
    const WHAT: &str = "Olm session";
    let (version, _) = open(pickle, pickle_key, WHAT)?;
    if version != OLM_SESSION {
        return Err(wrong_version(version, OLM_SESSION, WHAT));
    }
    let session =
        Session::from_libolm_pickle(pickle, pickle_key).map_err(|error| describe(&error, WHAT))?;
    oldest_first(&session)
}

/// The sending half of a Megolm session.
pub(crate) fn outbound_group_session(pickle: &str, pickle_key: &[u8]) -> Result<GroupSession> {
    const WHAT: &str = "outbound Megolm session";
    let (version, bytes) = open(pickle, pickle_key, WHAT)?;
    if version != OUTBOUND {
        return Err(wrong_version(version, OUTBOUND, WHAT));
    }
    // vodozemac reads as far as it must and no farther: an Olm session would pass.
    if bytes.len() != OUTBOUND_LENGTH {
        return Err(no_pickle(WHAT));
    }
    GroupSession::from_libolm_pickle(pickle, pickle_key).map_err(|error| describe(&error, WHAT))
}

/// The receiving half of a Megolm session.
pub(crate) fn inbound_group_session(
    pickle: &str,
    pickle_key: &[u8],
) -> Result<InboundGroupSession> {
    const WHAT: &str = "inbound Megolm session";
    let (version, bytes) = open(pickle, pickle_key, WHAT)?;
    // vodozemac reads as far as it must and no farther.
    let pickle = match (version, bytes.len()) {
        (INBOUND, INBOUND_LENGTH) => Cow::Borrowed(pickle),
        (1, OLD_INBOUND_LENGTH) => {
            let newest = older::inbound_group_session(&bytes, INBOUND);
            Cow::Owned(envelope::seal(&newest.ok_or_else(|| no_pickle(WHAT))?, pickle_key)?)
        }
        (1 | INBOUND, _) => return Err(no_pickle(WHAT)),
        (found, _) => return Err(wrong_version(found, INBOUND, WHAT)),
    };
    InboundGroupSession::from_libolm_pickle(&pickle, pickle_key)
        .map_err(|error| describe(&error, WHAT))
}

/// Whether a newer libolm has written this pickle: it is why it was refused, not the store.
pub(crate) fn is_newer(pickle: &str, pickle_key: &[u8]) -> bool {
    open(pickle, pickle_key, "pickle").is_ok_and(|(version, _)| version > NEWEST)
}

/// The bytes in a pickle and its version. Here, because vodozemac does not wipe what it has
/// decrypted if it is of another version.
fn open(pickle: &str, pickle_key: &[u8], what: &str) -> Result<(u32, Zeroizing<Vec<u8>>)> {
    let bytes = envelope::open(pickle, pickle_key)?.ok_or_else(|| no_pickle(what))?;
    let version = bytes.first_chunk().ok_or_else(|| no_pickle(what))?;
    Ok((u32::from_be_bytes(*version), bytes))
}

fn no_pickle(what: &str) -> E2eeError {
    E2eeError::invalid_field("pickle", format!("is not libolm's pickle of an {what}"))
}

fn wrong_version(found: u32, newest: u32, what: &str) -> E2eeError {
    let problem =
        format!("has version {found}, and libolm's pickle of an {what} has version {newest}");
    if found > NEWEST {
        return E2eeError::NewerFormat {
            detail: format!("the pickle {problem}"),
            found,
            supported: newest,
        };
    }
    E2eeError::invalid_field("pickle", problem)
}

/// What is wrong with a pickle whose MAC and version are right.
fn describe(error: &LibolmPickleError, what: &str) -> E2eeError {
    match error {
        LibolmPickleError::Decryption(_) => {
            E2eeError::wrong_key("the pickle key does not fit the pickle")
        }
        _ => no_pickle(what),
    }
}

/// vodozemac's pickle of a session, as far as it has to be put in order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionMirror<'a> {
    #[serde(borrow)]
    session_keys: &'a RawValue,
    #[serde(borrow)]
    sending_ratchet: &'a RawValue,
    #[serde(borrow)]
    receiving_chains: Listed<ChainMirror<'a>>,
    #[serde(borrow)]
    config: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed<T> {
    inner: Vec<T>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainMirror<'a> {
    #[serde(borrow)]
    ratchet_key: &'a RawValue,
    #[serde(borrow)]
    hkdf_ratchet: &'a RawValue,
    #[serde(borrow)]
    skipped_message_keys: Listed<&'a RawValue>,
    #[serde(borrow)]
    ratchet_count: &'a RawValue,
}

/// libolm lists receiving chains and skipped message keys newest first, vodozemac oldest first,
/// and it takes them over as they stand. Left so, the next answer of the partner would push out
/// the chain that its messages on the way belong to.
fn oldest_first(session: &Session) -> Result<Session> {
    let changed = |_| E2eeError::panic("vodozemac's pickles of sessions have another form");
    // Never moved, so that no copy of it is left behind.
    let mut before = Zeroizing::new(Vec::with_capacity(LARGEST_SESSION));
    serde_json::to_writer(&mut *before, &session.pickle()).map_err(changed)?;
    let mut mirror: SessionMirror<'_> = serde_json::from_slice(&before).map_err(changed)?;
    mirror.receiving_chains.inner.reverse();
    for chain in &mut mirror.receiving_chains.inner {
        chain.skipped_message_keys.inner.reverse();
    }
    let mut after = Zeroizing::new(Vec::with_capacity(LARGEST_SESSION));
    serde_json::to_writer(&mut *after, &mirror).map_err(changed)?;
    let pickle: SessionPickle = serde_json::from_slice(&after).map_err(changed)?;
    Ok(Session::from_pickle(pickle))
}
