//! Publishing keys: the body of `/keys/upload` and what the server says of it (S5, S7, S8, SEC-21 to 24).

use std::collections::BTreeSet;

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::Account as OlmAccount;

use super::record::{OpenUpload, Published};
use super::{Account, AccountState, fallback};
use crate::base::json::{self, ARGUMENT_LIMIT, Object};
use crate::error::{E2eeError, Result};
use crate::store::{Batch, LiveGuard};

const KEY_ALGORITHM: &str = "signed_curve25519";

impl Account {
    /// The body to send to `/keys/upload`, or nothing if the server lacks nothing.
    ///
    /// What is generated is durable before it is returned, and as long as the upload is
    /// unanswered the same bytes come back.
    pub fn keys_upload_request(&self) -> Result<Option<String>> {
        let _entered = self.enter()?;
        let now = self.now_ms()?;
        let mut state = self.state()?;
        if let Some(upload) = &state.published.open_upload {
            return Ok(Some(upload.body.clone()));
        }
        state.change(|state| {
            let mut batch = Batch::new();
            let forgotten = fallback::forget_previous_if_due(self, state, now, &mut batch)?;
            fallback::renew_if_due(self, state, now, &mut batch)?;
            let AccountState { account, published } = state;
            generate_one_time_keys(account, published);
            published.open_upload = self.new_upload(account, published)?;
            if forgotten || published.open_upload.is_some() {
                self.put(state, &mut batch)?;
            }
            self.vault().commit(batch)?;
            Ok(state.published.open_upload.as_ref().map(|upload| upload.body.clone()))
        })
    }

    fn new_upload(
        &self,
        account: &OlmAccount,
        published: &Published,
    ) -> Result<Option<OpenUpload>> {
        let one_time_keys: Vec<_> = unpublished(account, published)
            .into_iter()
            .map(|(key_id, key)| self.signed_key(account, key_id, key, false))
            .collect::<Result<_>>()?;
        let fallback_keys: Vec<_> = account
            .fallback_key()
            .into_iter()
            .map(|(id, key)| self.signed_key(account, key_id(id), key, true))
            .collect::<Result<_>>()?;
        let device_keys = if published.device_keys { None } else { Some(self.device_keys()) };
        if device_keys.is_none() && one_time_keys.is_empty() && fallback_keys.is_empty() {
            return Ok(None);
        }
        let body = json::to_text(&Body {
            device_keys: device_keys
                .map(serde_json::from_str)
                .transpose()
                .map_err(|_| E2eeError::invalid_json("the device keys cannot be written"))?,
            one_time_keys: &one_time_keys,
            fallback_keys: &fallback_keys,
        })?;
        Ok(Some(OpenUpload {
            body,
            one_time_key_ids: one_time_keys.into_iter().map(|(id, _)| id).collect(),
            fallback_key_id: fallback_keys.into_iter().map(|(id, _)| id).next(),
        }))
    }

    fn signed_key(
        &self,
        account: &OlmAccount,
        key_id: String,
        key: Curve25519PublicKey,
        fallback: bool,
    ) -> Result<(String, Object)> {
        let mut object = Object::new();
        object.insert("key".to_owned(), Value::String(key.to_base64()));
        if fallback {
            object.insert("fallback".to_owned(), Value::Bool(true));
        }
        json::add_signature(&mut object, self.user_id(), &self.fingerprint_id(), |bytes| {
            account.sign(bytes)
        })?;
        Ok((key_id, object))
    }

    /// Takes the server's answer to the open upload.
    pub fn receive_keys_upload_response(&self, http_status: u16, body: &str) -> Result<()> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        let Some(upload) = state.published.open_upload.clone() else {
            return Err(E2eeError::invalid_field("http_status", "no key upload is open"));
        };
        match http_status {
            200 => {
                let count = uploaded_count(body);
                self.commit_change(&mut state, |state, _| {
                    accept(state, &upload, count);
                    Ok(())
                })
            }
            400 => match existing_key_error(body) {
                Some(text) => {
                    let now = self.now_ms()?;
                    self.commit_change(&mut state, |state, batch| {
                        if skip_conflicts(state, &upload, &text) {
                            fallback::renew(self, state, now, batch)?;
                        }
                        Ok(())
                    })
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Takes what /sync says of the keys on the server.
    pub fn receive_key_counts(
        &self,
        one_time_counts: &Object,
        unused_fallback_types: Option<&[Value]>,
    ) -> Result<()> {
        let _entered = self.enter()?;
        let count = read_count(one_time_counts)?;
        let fallback_used = match unused_fallback_types {
            None => false,
            Some(types) if types.iter().all(Value::is_string) => {
                !types.iter().any(|name| name.as_str() == Some(KEY_ALGORITHM))
            }
            Some(_) => {
                let problem = "is not a list of texts";
                return Err(E2eeError::invalid_field("unused_fallback_types", problem));
            }
        };
        let now = self.now_ms()?;
        let mut state = self.state()?;
        state.change(|state| {
            let mut batch = Batch::new();
            let maximum = state.account.max_number_of_one_time_keys() as u64;
            let count = count.min(maximum);
            let mut changed = state.published.one_time_keys.replace(count) != Some(count);
            changed |= fallback_used && state.published.fallback.report_used();
            changed |= fallback::forget_previous_if_due(self, state, now, &mut batch)?;
            if changed {
                self.put(state, &mut batch)?;
            }
            self.vault().commit(batch)
        })
    }

    fn commit_change(
        &self,
        state: &mut LiveGuard<'_, AccountState>,
        change: impl FnOnce(&mut AccountState, &mut Batch) -> Result<()>,
    ) -> Result<()> {
        state.change(|state| {
            let mut batch = Batch::new();
            change(state, &mut batch)?;
            self.put(state, &mut batch)?;
            self.vault().commit(batch)
        })
    }
}

/// The keys to upload, oldest first (S7), without those that the server refuses.
fn unpublished(account: &OlmAccount, published: &Published) -> Vec<(String, Curve25519PublicKey)> {
    let mut keys: Vec<_> = account.one_time_keys().into_iter().collect();
    keys.sort_unstable_by_key(|(id, _)| *id);
    keys.into_iter()
        .map(|(id, key)| (key_id(id), key))
        .filter(|(id, _)| !published.skipped.contains(id))
        .collect()
}

fn key_id(id: vodozemac::KeyId) -> String {
    format!("{KEY_ALGORITHM}:{}", id.to_base64())
}

/// Tops the server's keys up to the maximum; nothing while its count is unknown (SEC-23).
fn generate_one_time_keys(account: &mut OlmAccount, published: &Published) {
    let Some(on_server) = published.one_time_keys else { return };
    let maximum = account.max_number_of_one_time_keys();
    let on_server = usize::try_from(on_server).unwrap_or(maximum);
    let missing =
        maximum.saturating_sub(on_server).saturating_sub(unpublished(account, published).len());
    account.generate_one_time_keys(missing);
}

fn accept(state: &mut AccountState, upload: &OpenUpload, count: Option<u64>) {
    let AccountState { account, published } = state;
    let maximum = account.max_number_of_one_time_keys() as u64;
    account.mark_keys_as_published();
    published.device_keys = true;
    if upload.fallback_key_id.is_some() {
        published.fallback.mark_as_published();
    }
    published.skipped.clear();
    published.open_upload = None;
    // An answer without counts: assume that what we sent has arrived.
    let sent = upload.one_time_key_ids.len() as u64;
    let assumed = published.one_time_keys.unwrap_or(0).saturating_add(sent);
    published.one_time_keys = Some(count.unwrap_or(assumed).min(maximum));
}

/// Drops just the one-time keys that the server names, or all of the upload's if it names none
/// (S8). True if it names the fallback key.
fn skip_conflicts(state: &mut AccountState, upload: &OpenUpload, text: &str) -> bool {
    let AccountState { account, published } = state;
    let named: Vec<_> =
        upload.one_time_key_ids.iter().filter(|id| names_key(text, id)).cloned().collect();
    // Both kinds of keys are counted from 0: an ID that both have means the one-time key, and if
    // it did not, the next answer names it again.
    let fallback = upload
        .fallback_key_id
        .as_ref()
        .is_some_and(|id| names_key(text, id) && !named.contains(id));
    if named.is_empty() && !fallback {
        published.skipped.extend(upload.one_time_key_ids.iter().cloned());
    }
    published.skipped.extend(named);
    // Those that vodozemac has dropped by now, to make room for newer ones, are offered no more.
    let known: BTreeSet<String> = account.one_time_keys().into_keys().map(key_id).collect();
    published.skipped.retain(|id| known.contains(id));
    published.open_upload = None;
    fallback
}

/// Whether an error text names this key ID, and not just a longer one that begins alike.
fn names_key(text: &str, key_id: &str) -> bool {
    text.match_indices(key_id).any(|(start, _)| {
        let rest = text.get(start.saturating_add(key_id.len())..).unwrap_or_default();
        !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '+' || next == '/')
    })
}

/// The server's error text if it is the "already exists" answer.
fn existing_key_error(body: &str) -> Option<String> {
    let answer = json::parse_object("body", body, ARGUMENT_LIMIT).ok()?;
    let text = answer.get("error")?.as_str()?;
    text.to_ascii_lowercase().contains("already exists").then(|| text.to_owned())
}

/// The count in the answer to an upload. The status says that the server has the keys: whatever the
/// body is, they must be offered to nobody else, and not be uploaded again.
fn uploaded_count(body: &str) -> Option<u64> {
    let answer = json::parse_object("body", body, ARGUMENT_LIMIT).ok()?;
    let counts = json::optional_object(&answer, "one_time_key_counts").ok()??;
    read_count(counts).ok()
}

/// The number of our kind of keys; an absent kind means none, a hostile number is clamped later.
fn read_count(counts: &Object) -> Result<u64> {
    match counts.get(KEY_ALGORITHM) {
        None => Ok(0),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Ok(number.as_u64().unwrap_or(0))
        }
        Some(_) => Err(E2eeError::invalid_field(KEY_ALGORITHM, "is not an integer")),
    }
}

/// The upload's body; keys keep the order of their IDs' numbers.
#[derive(serde::Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_keys: Option<&'a RawValue>,
    #[serde(serialize_with = "in_order", skip_serializing_if = "<[_]>::is_empty")]
    one_time_keys: &'a [(String, Object)],
    #[serde(serialize_with = "in_order", skip_serializing_if = "<[_]>::is_empty")]
    fallback_keys: &'a [(String, Object)],
}

fn in_order<S: Serializer>(
    keys: &&[(String, Object)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(keys.len()))?;
    for (key_id, key) in keys.iter() {
        map.serialize_entry(key_id, key)?;
    }
    map.end()
}
