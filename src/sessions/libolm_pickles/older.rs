//! What earlier versions of libolm pickled, rewritten as the newest one does, for vodozemac reads
//! no other. The result is what libolm 3.2 reads from them (its `src/account.cpp` and
//! `src/inbound_group_session.c`).

use zeroize::Zeroizing;

/// A key's ID, whether it is published, its public and its private half.
const KEY_LENGTH: usize = 4 + 1 + 32 + 32;
/// What stands before the one-time keys: a version, the Ed25519 keys, the Curve25519 keys.
const IDENTITY_LENGTH: usize = 4 + 32 + 64 + 32 + 32;
const VERSION_LENGTH: usize = 4;
const COUNT_LENGTH: usize = 4;
/// The number that the next key gets.
const NEXT_ID_LENGTH: usize = 4;

/// An account. Version 2 (libolm 1.1 to 3.1) has no fallback keys; version 3 (to 3.2.6) has two
/// places for them, and whether a place is taken where version 4 has whether its key is published.
///
/// `None` if it has another length than such an account.
pub(super) fn account(version: u32, pickle: &[u8], newest: u32) -> Option<Zeroizing<Vec<u8>>> {
    let (before, rest) = pickle.split_at_checked(IDENTITY_LENGTH)?;
    let (count, rest) = rest.split_at_checked(COUNT_LENGTH)?;
    let count = u32::from_be_bytes(count.try_into().ok()?);
    let keys_length = usize::try_from(count).ok()?.checked_mul(KEY_LENGTH)?;
    let (_, rest) = rest.split_at_checked(keys_length)?;
    let (places, next_id) = rest.split_at_checked(rest.len().checked_sub(NEXT_ID_LENGTH)?)?;
    let fallback_keys: &[u8] = match (version, places.len()) {
        (2, 0) => &[],
        (3, length) if length == KEY_LENGTH.checked_mul(2)? => {
            let (current, previous) = places.split_at_checked(KEY_LENGTH)?;
            match (is_taken(current)?, is_taken(previous)?) {
                (false, _) => &[],
                (true, false) => current,
                (true, true) => places,
            }
        }
        _ => return None,
    };
    let without_version = before.get(VERSION_LENGTH..)?;
    let keys = pickle.get(IDENTITY_LENGTH..IDENTITY_LENGTH.checked_add(COUNT_LENGTH)?)?;
    let listed = pickle.get(IDENTITY_LENGTH.checked_add(COUNT_LENGTH)?..)?.get(..keys_length)?;
    let fallback_count = u8::try_from(fallback_keys.len().checked_div(KEY_LENGTH)?).ok()?;
    Some(joined(&[
        &newest.to_be_bytes(),
        without_version,
        keys,
        listed,
        &[fallback_count],
        fallback_keys,
        next_id,
    ]))
}

fn is_taken(place: &[u8]) -> Option<bool> {
    Some(*place.get(4)? != 0)
}

/// The receiving half of a Megolm session. Version 1 lacks the flag at the end that says that the
/// key was verified: then all were (libolm 2).
pub(super) fn inbound_group_session(pickle: &[u8], newest: u32) -> Option<Zeroizing<Vec<u8>>> {
    Some(joined(&[&newest.to_be_bytes(), pickle.get(VERSION_LENGTH..)?, &[1]]))
}

/// Copied once, into its full length, so that no copy is left behind.
fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length = parts.iter().map(|part| part.len()).sum();
    let mut all = Zeroizing::new(Vec::with_capacity(length));
    for part in parts {
        all.extend_from_slice(part);
    }
    all
}
