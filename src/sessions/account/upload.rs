//! Publishing keys: the body of `/keys/upload` (S7, S8, SEC-21 to 24).

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::Account as OlmAccount;

use super::record::{OpenUpload, Published};
use super::{Account, AccountState, fallback};
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::store::Transaction;

pub(super) const KEY_ALGORITHM: &str = "signed_curve25519";

impl Account {
    /// The body to send to `/keys/upload`, or nothing if the server lacks nothing.
    ///
    /// What is generated is durable before it is returned, and the same bytes come back as long as
    /// the upload is unanswered and none of its keys is used. After five refusals in a row there is
    /// nothing for an hour after each.
    pub fn keys_upload_request(&self, tx: &mut Transaction<'_>) -> Result<Option<String>> {
        let now = tx.now_ms()?;
        let mut state = self.take(tx)?;
        if state.published.refusals.forbid(now) {
            return Ok(None);
        }
        if let Some(upload) = &state.published.open_upload {
            return Ok(Some(upload.body.clone()));
        }
        state.change(|state| {
            let forgotten = fallback::forget_previous_if_due(self, state, now, tx)?;
            fallback::renew_if_due(self, state, now, tx)?;
            let AccountState { account, published } = state;
            generate_one_time_keys(account, published);
            published.open_upload = self.new_upload(account, published)?;
            // Whoever asks for the next upload waits for no answer to the last.
            published.answer_awaited &= published.open_upload.is_none();
            if forgotten || published.open_upload.is_some() {
                self.put(state, tx)?;
            }
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
}

/// The keys to upload, oldest first (S7), without those that the server refuses.
pub(super) fn unpublished(
    account: &OlmAccount,
    published: &Published,
) -> Vec<(String, Curve25519PublicKey)> {
    let mut keys: Vec<_> = account.one_time_keys().into_iter().collect();
    keys.sort_unstable_by_key(|(id, _)| *id);
    keys.into_iter()
        .map(|(id, key)| (key_id(id), key))
        .filter(|(id, _)| !published.skipped.contains(id))
        .collect()
}

pub(super) fn key_id(id: vodozemac::KeyId) -> String {
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
