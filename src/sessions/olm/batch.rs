//! Encrypting for many devices, on all cores and with one commit.

use std::sync::Arc;

use serde_json::value::RawValue;
use vodozemac::Curve25519PublicKey;

use super::record::{ChannelState, load, put_channel, session_key};
use super::{OlmChannel, time_of_use};
use crate::base::identifiers::{EventType, UserId};
use crate::base::json::{self, EVENT_LIMIT};
use crate::base::parallel;
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::store::{Sealed, Transaction};

/// The largest item: a content, and two names and a key.
const ITEM_LIMIT: usize = EVENT_LIMIT + 4_096;
/// How many items or channels a thread works on in one go.
const AT_ONCE: usize = 16;

/// An item and its place in the list.
type Placed<T> = (usize, T);

/// One item of the list, checked.
struct Wanted<'a> {
    event_type: EventType,
    /// As it stands in the list.
    content: &'a RawValue,
}

/// One device, and what it is to get.
struct Recipient<'a> {
    channel: OlmChannel,
    items: Vec<Placed<Wanted<'a>>>,
}

/// What one device gets, and the session to be committed before.
struct Encrypted {
    contents: Vec<Placed<Result<String>>>,
    session: Option<Sealed>,
    /// The channel's own record has to be written, too.
    is_noted: bool,
}

#[derive(serde::Deserialize)]
struct RawItem<'a> {
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Encrypts `[{"user_id", "identity_key", "type", "content"}]`, each in its device's channel, on
/// all cores. The results stand in the order of the list; nobody may see them before the
/// transaction is committed.
pub fn encrypt_for_devices(
    account: &Arc<Account>,
    tx: &mut Transaction<'_>,
    items: &[&RawValue],
) -> Result<Vec<Result<String>>> {
    let mut results: Vec<Option<Result<String>>> = Vec::new();
    results.resize_with(items.len(), || None);
    let recipients = read_all(account, items, &mut results)?;
    let now = time_of_use(tx)?;
    let mut states = Vec::with_capacity(recipients.len());
    let mut found = Vec::with_capacity(recipients.len());
    let taken = tx.take_all(
        &recipients,
        |recipient| &recipient.channel.shared,
        |recipient, records| load(&recipient.channel, records),
    )?;
    for (Recipient { channel, items }, state) in recipients.iter().zip(taken) {
        match state {
            Ok(state) => {
                channel.keep();
                states.push(state);
                found.push((channel, items.as_slice()));
            }
            Err(error) => {
                for (place, _) in items {
                    put(&mut results, *place, Err(error.clone()));
                }
            }
        }
    }
    let mut work = Vec::with_capacity(found.len());
    for (&(channel, items), state) in found.iter().zip(&mut states) {
        work.push((channel, items, state.begin_change()?));
    }
    let mut chunks = Vec::new();
    let mut work = work.into_iter().peekable();
    while work.peek().is_some() {
        chunks.push(work.by_ref().take(AT_ONCE).collect::<Vec<_>>());
    }
    let encrypted = parallel::map(chunks, items.len(), |chunk| {
        let encrypt = |(channel, items, state)| encrypt_for(channel, items, state, now);
        chunk.into_iter().map(encrypt).collect::<Vec<_>>()
    })?;
    for ((encrypted, state), (channel, _)) in
        encrypted.into_iter().flatten().zip(&mut states).zip(found)
    {
        let Encrypted { contents, session, is_noted } = encrypted?;
        state.finish_change();
        if is_noted {
            state.change(|state| put_channel(channel, state, tx))?;
        }
        if let Some(session) = session {
            tx.put_sealed(session);
        }
        for (place, content) in contents {
            put(&mut results, place, content);
        }
    }
    let missing = || E2eeError::panic("an item was lost");
    results.into_iter().map(|result| result.ok_or_else(missing)).collect()
}

fn put(results: &mut [Option<Result<String>>], place: usize, result: Result<String>) {
    if let Some(slot) = results.get_mut(place) {
        *slot = Some(result);
    }
}

/// Reads the list, one recipient for each device, in the order of their keys: one order for all
/// who lock several channels, so that none waits for another in a circle.
fn read_all<'a>(
    account: &Arc<Account>,
    items: &[&'a RawValue],
    results: &mut [Option<Result<String>>],
) -> Result<Vec<Recipient<'a>>> {
    let chunks = items.chunks(AT_ONCE).collect();
    let read = parallel::map(chunks, items.len(), |chunk: &[&'a RawValue]| {
        chunk.iter().map(|item| read_item(account, item)).collect::<Vec<_>>()
    })?;
    let mut wanted = Vec::with_capacity(items.len());
    for (place, item) in read.into_iter().flatten().enumerate() {
        match item {
            Ok((channel, item)) => wanted.push((channel, (place, item))),
            Err(error) => put(results, place, Err(error)),
        }
    }
    wanted.sort_unstable_by(|(a, (a_place, _)), (b, (b_place, _))| {
        a.key.cmp(&b.key).then(a_place.cmp(b_place))
    });
    let mut recipients: Vec<Recipient<'a>> = Vec::with_capacity(wanted.len());
    for (channel, item) in wanted {
        match recipients.last_mut() {
            Some(last) if last.channel.key == channel.key => last.items.push(item),
            _ => recipients.push(Recipient { channel, items: vec![item] }),
        }
    }
    Ok(recipients)
}

fn read_item<'a>(account: &Arc<Account>, item: &'a RawValue) -> Result<(OlmChannel, Wanted<'a>)> {
    let object = json::parse_object("item", item.get(), ITEM_LIMIT)?;
    let user_id = json::text(&object, "user_id")?;
    let identity_key = json::text(&object, "identity_key")?;
    let event_type = json::text(&object, "type")?;
    json::object(&object, "content")?;
    let user_id = UserId::read("user_id", user_id)?;
    let event_type = EventType::read("type", event_type)?;
    let identity_key: Curve25519PublicKey = public_keys::curve25519("identity_key", identity_key)?;
    // The text itself is what is encrypted, not a copy with its fields in another order.
    let raw: RawItem<'a> = serde_json::from_str(item.get())
        .map_err(|_| E2eeError::invalid_json("the item cannot be read"))?;
    let content = raw.content;
    json::check_size("content", content.get(), EVENT_LIMIT)?;
    let channel = OlmChannel::named(account, user_id, identity_key);
    Ok((channel, Wanted { event_type, content }))
}

/// Encrypts all items of one device in their order.
fn encrypt_for(
    channel: &OlmChannel,
    items: &[Placed<Wanted<'_>>],
    state: &mut ChannelState,
    now: Option<i64>,
) -> Result<Encrypted> {
    let mut contents = Vec::with_capacity(items.len());
    let mut advanced = false;
    for (place, item) in items {
        let content = channel.plaintext(state, &item.event_type, item.content).and_then(|text| {
            let session = state.sending_session()?;
            advanced = true;
            channel.seal(session, &text)
        });
        contents.push((*place, content));
    }
    let is_noted = advanced && state.note_sending(now);
    let session = state.sessions.last().filter(|_| advanced);
    let session = session
        .map(|session| {
            let key = session_key(channel, &session.session_id());
            channel.account.vault().seal(key, &session.pickle())
        })
        .transpose()?;
    Ok(Encrypted { contents, session, is_noted })
}
