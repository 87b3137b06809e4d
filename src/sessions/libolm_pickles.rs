//! Reading libolm's pickles: the one place that knows its formats (SEC-111). Nothing writes them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vodozemac::LibolmPickleError;
use vodozemac::megolm::{GroupSession, InboundGroupSession};
use vodozemac::olm::{Account, Session, SessionPickle};
use zeroize::Zeroizing;

use crate::error::{E2eeError, Result};

/// What follows a pickle's ciphertext.
const MAC_LENGTH: usize = 8;
const BLOCK_LENGTH: usize = 16;
/// A version, a ratchet of 128 bytes with its index, a public and an expanded private key.
const OUTBOUND_LENGTH: usize = 4 + 132 + 32 + 64;
/// A version, two ratchets with their indices, a public key and a flag.
const INBOUND_LENGTH: usize = 4 + 132 + 132 + 32 + 1;
/// Room for a session with all chains and message keys that it can have, in JSON.
const LARGEST_SESSION: usize = 64 * 1024;

/// An account. A pickle key may have any length, here and below.
pub(crate) fn account(pickle: &str, pickle_key: &[u8]) -> Result<Account> {
    check_form(pickle, "account")?;
    Account::from_libolm_pickle(pickle, pickle_key).map_err(|error| describe(&error, "account"))
}

/// An Olm session.
pub(crate) fn olm_session(pickle: &str, pickle_key: &[u8]) -> Result<Session> {
    const WHAT: &str = "Olm session";
    check_form(pickle, WHAT)?;
    let session =
        Session::from_libolm_pickle(pickle, pickle_key).map_err(|error| describe(&error, WHAT))?;
    oldest_first(&session)
}

/// The sending half of a Megolm session.
pub(crate) fn outbound_group_session(pickle: &str, pickle_key: &[u8]) -> Result<GroupSession> {
    const WHAT: &str = "outbound Megolm session";
    check_length(pickle, OUTBOUND_LENGTH, WHAT)?;
    GroupSession::from_libolm_pickle(pickle, pickle_key).map_err(|error| describe(&error, WHAT))
}

/// The receiving half of a Megolm session.
pub(crate) fn inbound_group_session(
    pickle: &str,
    pickle_key: &[u8],
) -> Result<InboundGroupSession> {
    const WHAT: &str = "inbound Megolm session";
    check_length(pickle, INBOUND_LENGTH, WHAT)?;
    InboundGroupSession::from_libolm_pickle(pickle, pickle_key)
        .map_err(|error| describe(&error, WHAT))
}

/// How many bytes a pickle's text stands for.
fn byte_length(pickle: &str) -> usize {
    let digits = pickle.trim_end_matches('=').len();
    digits.saturating_mul(3).checked_div(4).unwrap_or_default()
}

/// Tells what cannot be a pickle from one whose key is another.
fn check_form(pickle: &str, what: &str) -> Result<()> {
    let ciphertext = byte_length(pickle).saturating_sub(MAC_LENGTH);
    if ciphertext == 0 || !ciphertext.is_multiple_of(BLOCK_LENGTH) {
        return Err(no_pickle(what));
    }
    Ok(())
}

/// vodozemac reads as far as it must and no farther: an Olm session would pass as an outbound
/// Megolm session. These have one length each, and no other pickle has it.
fn check_length(pickle: &str, length: usize, what: &str) -> Result<()> {
    let padded = length.next_multiple_of(BLOCK_LENGTH);
    if byte_length(pickle) != padded.saturating_add(MAC_LENGTH) {
        return Err(no_pickle(what));
    }
    Ok(())
}

fn no_pickle(what: &str) -> E2eeError {
    E2eeError::invalid_field("pickle", format!("is not libolm's pickle of an {what}"))
}

fn describe(error: &LibolmPickleError, what: &str) -> E2eeError {
    match error {
        LibolmPickleError::Decryption(_) => {
            E2eeError::wrong_key("the pickle key does not fit the pickle")
        }
        LibolmPickleError::Base64(_) => E2eeError::invalid_field("pickle", "is not valid base64"),
        LibolmPickleError::Version(expected, found) => E2eeError::invalid_field(
            "pickle",
            format!("has version {found}, and libolm's pickle of an {what} has version {expected}"),
        ),
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
