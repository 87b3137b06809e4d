//! Handing out the room key (M6-M14, D8-D11, D33; SEC-13).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use zeroize::Zeroizing;

use super::OutboundMegolmSession;
use super::record::{self, OutboundState, PendingKey, Share, ShareStatus};
use crate::base::identifiers::check_user_id;
use crate::base::json::{self, DEVICE_LIMIT, Object};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::{DeviceKeys, MEGOLM_ALGORITHM};
use crate::sessions::megolm::room_key::{OLD_SHARED_HISTORY, SHARED_HISTORY};
use crate::sessions::room_settings::{HistoryVisibility, read_encryption};
use crate::store::Batch;

/// One device's line in the result.
#[derive(serde::Serialize)]
struct Line<'a> {
    device: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<RoomKeyContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a E2eeError>,
}

#[derive(serde::Serialize)]
struct RoomKeyContent<'a> {
    algorithm: &'static str,
    room_id: &'a str,
    session_id: &'a str,
    session_key: Zeroizing<String>,
    #[serde(flatten)]
    shared_history: BTreeMap<&'static str, bool>,
}

/// A recipient's device as the caller listed it.
struct Listed<'a> {
    user_id: &'a str,
    device_id: &'a str,
    entry: &'a Value,
    standing: Standing<'a>,
}

enum Standing<'a> {
    Recipient(DeviceKeys),
    Blocked { keys: DeviceKeys, code: &'a str },
    Refused(E2eeError),
}

/// The room's members and their devices, read and checked.
struct Audience<'a> {
    users: BTreeSet<&'a str>,
    devices: Vec<Listed<'a>>,
}

impl OutboundMegolmSession {
    /// What to send to which device; expires the session if it may no longer be used.
    ///
    /// A device that was not handed the key before gets it at the current index, and that is
    /// durable before this returns; one whose key waits to be sent gets the same again (M7).
    pub fn get_session_key_for_sending(&self, recipients: &Object) -> Result<String> {
        let _entered = self.enter()?;
        let visibility = HistoryVisibility::read(recipients.get("history_visibility"));
        let encryption = json::optional_object(recipients, "encryption")?;
        // The host's clock is asked without the lock, for which `shut_down` waits.
        let now = self.account.now_ms()?;
        let mut state = self.state()?;
        let period = read_encryption(encryption, state.settings.limits)?;
        let audience = self.read_audience(recipients, visibility)?;
        state.check_life(period, now)?;
        let present = audience
            .devices
            .iter()
            .filter_map(|listed| match &listed.standing {
                Standing::Recipient(keys) => {
                    let device = (listed.user_id, listed.device_id);
                    Some((device, keys.identity_key.to_base64()))
                }
                _ => None,
            })
            .collect();
        state.check_audience(visibility.shares_history(), &audience.users, &present)?;
        state.change(|state| {
            let mut batch = Batch::new();
            if state.period != period || state.shared_history.is_none() {
                state.period = period;
                state.shared_history = Some(visibility.shares_history());
                record::put(self, state, &mut batch)?;
            }
            let changed = state.hand_out(&audience);
            for user_id in changed {
                if let Some(devices) = state.shares.get(user_id) {
                    record::put_shares(self, user_id, devices, &mut batch)?;
                }
            }
            self.account.vault().commit(batch)?;
            self.lines(state, &audience)
        })
    }

    fn read_audience<'a>(
        &self,
        recipients: &'a Object,
        visibility: HistoryVisibility,
    ) -> Result<Audience<'a>> {
        let members = json::object(recipients, "members")?;
        let device_keys = json::object(recipients, "device_keys")?;
        let blocked = json::optional_object(recipients, "blocked")?;
        let mut audience = Audience { users: BTreeSet::new(), devices: Vec::new() };
        for (user_id, membership) in members {
            // What others have put into the room or a server's answer must not stop the room: it
            // concerns that member alone, who gets no key (SEC-100).
            if !membership.as_str().is_some_and(|membership| visibility.includes(membership)) {
                continue;
            }
            let before = audience.devices.len();
            match device_keys.get(user_id) {
                None => {}
                Some(Value::Object(entries)) => {
                    for (device_id, entry) in entries {
                        if self.is_own_device(user_id, device_id) {
                            continue;
                        }
                        let code = blocked_code(blocked, user_id, device_id)?;
                        let standing = standing(user_id, device_id, entry, code);
                        audience.devices.push(Listed { user_id, device_id, entry, standing });
                    }
                }
                Some(entry) => {
                    let problem = "has a user whose devices are no object";
                    let standing =
                        Standing::Refused(E2eeError::invalid_field("device_keys", problem));
                    audience.devices.push(Listed { user_id, device_id: "", entry, standing });
                }
            }
            // The own user counts only with another device (M12), and nobody has a malformed ID.
            let has_devices = audience.devices.len() > before;
            let counts = has_devices || user_id != self.account.user_id();
            if counts && check_user_id("members", user_id).is_ok() {
                audience.users.insert(user_id);
            }
        }
        Ok(audience)
    }

    fn is_own_device(&self, user_id: &str, device_id: &str) -> bool {
        user_id == self.account.user_id() && device_id == self.account.device_id()
    }

    fn lines(&self, state: &OutboundState, audience: &Audience<'_>) -> Result<String> {
        let mut lines = Vec::new();
        for listed in &audience.devices {
            let mut line =
                Line { device: listed.entry, content: None, withheld: None, error: None };
            let share = state.shares.get(listed.user_id).and_then(|d| d.get(listed.device_id));
            match (&listed.standing, share.map(|share| &share.status)) {
                (Standing::Refused(error), _) => line.error = Some(error),
                (Standing::Recipient(_), Some(ShareStatus::Pending(key))) => {
                    line.content = Some(self.room_key_content(state, key));
                }
                (Standing::Blocked { code, .. }, Some(ShareStatus::WithheldPending)) => {
                    line.withheld = Some(self.withheld_content(code));
                }
                _ => continue,
            }
            lines.push(line);
        }
        json::to_text(&lines)
    }

    fn room_key_content(&self, state: &OutboundState, key: &PendingKey) -> RoomKeyContent<'_> {
        let old = state.settings.old_shared_history_names;
        let name = if old { OLD_SHARED_HISTORY } else { SHARED_HISTORY[0] };
        RoomKeyContent {
            algorithm: MEGOLM_ALGORITHM,
            room_id: &self.room_id,
            session_id: &self.session_id,
            session_key: key.0.clone(),
            shared_history: BTreeMap::from([(name, state.shared_history.unwrap_or(false))]),
        }
    }

    /// The content of `m.room_key.withheld`; `m.no_olm` is about no session in particular.
    fn withheld_content(&self, code: &str) -> Object {
        let mut content = Object::new();
        let mut put = |name: &str, value: &str| {
            content.insert(name.to_owned(), Value::String(value.to_owned()));
        };
        put("algorithm", MEGOLM_ALGORITHM);
        put("code", code);
        put("sender_key", self.account.identity_key());
        if code != "m.no_olm" {
            put("room_id", &self.room_id);
            put("session_id", &self.session_id);
        }
        content
    }

    /// Notes that devices have been sent what `get_session_key_for_sending` gave for them (M8), or
    /// for an imported session, which devices have its key.
    pub fn mark_as_sent(&self, devices: &[Value]) -> Result<()> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        let mut sent = Vec::new();
        for device in devices {
            // The own device is no recipient (M12): remembered, it would expire the session.
            if named(device).is_some_and(|(user_id, id)| self.is_own_device(user_id, id)) {
                continue;
            }
            match SentTo::read(device) {
                Some(device) => sent.push(device),
                // Who has an imported session's key is told once: nobody may be left out.
                None if state.recipients_unknown => {
                    let problem = "has an entry without user, device or a good identity key";
                    return Err(E2eeError::invalid_field("devices", problem));
                }
                None => {}
            }
        }
        state.change(|state| {
            let changed: BTreeSet<_> =
                sent.into_iter().filter_map(|device| state.mark_device(device)).collect();
            let mut batch = Batch::new();
            if std::mem::take(&mut state.recipients_unknown) {
                record::put(self, state, &mut batch)?;
            }
            for user_id in changed {
                if let Some(devices) = state.shares.get(user_id) {
                    record::put_shares(self, user_id, devices, &mut batch)?;
                }
            }
            self.account.vault().commit(batch)
        })
    }
}

fn blocked_code<'a>(
    blocked: Option<&'a Object>,
    user_id: &str,
    device_id: &str,
) -> Result<Option<&'a str>> {
    let Some(devices) = blocked.and_then(|users| users.get(user_id)) else { return Ok(None) };
    match json::as_object("blocked", devices)?.get(device_id) {
        None => Ok(None),
        Some(Value::String(code)) if !code.is_empty() => Ok(Some(code)),
        Some(_) => Err(E2eeError::invalid_field("blocked", "has a code that is no text")),
    }
}

/// Checks one device; what is wrong with it concerns it alone (SEC-1, 3, 8-10, 13).
fn standing<'a>(
    user_id: &str,
    device_id: &str,
    entry: &Value,
    code: Option<&'a str>,
) -> Standing<'a> {
    let keys = json::as_object("device_keys", entry).and_then(|entry| {
        let size = json::to_text(entry)?.len();
        if size > DEVICE_LIMIT {
            return Err(E2eeError::too_large("the device's entry", size, DEVICE_LIMIT));
        }
        DeviceKeys::read_listed(user_id, device_id, entry)
    });
    match (keys, code) {
        (Err(error), _) => Standing::Refused(error),
        (Ok(keys), Some(code)) => Standing::Blocked { keys, code },
        (Ok(keys), None) if keys.supports_rooms() => Standing::Recipient(keys),
        (Ok(_), None) => Standing::Refused(E2eeError::UnknownAlgorithm {
            detail: "the device does not support both Olm and Megolm".to_owned(),
            algorithm: String::new(),
        }),
    }
}

impl OutboundState {
    /// Records the key for devices that are new; gives the users whose shares changed.
    fn hand_out<'a>(&mut self, audience: &Audience<'a>) -> BTreeSet<&'a str> {
        let mut changed = BTreeSet::new();
        for user_id in &audience.users {
            if !self.shares.contains_key(*user_id) {
                self.shares.insert((*user_id).to_owned(), BTreeMap::new());
                changed.insert(*user_id);
            }
        }
        let key = Zeroizing::new(self.session.session_key().to_base64());
        for listed in &audience.devices {
            let (keys, fresh) = match &listed.standing {
                Standing::Recipient(keys) => (keys, ShareStatus::Pending(PendingKey(key.clone()))),
                Standing::Blocked { keys, .. } => (keys, ShareStatus::WithheldPending),
                Standing::Refused(_) => continue,
            };
            let identity_key = keys.identity_key.to_base64();
            let devices = self.shares.entry(listed.user_id.to_owned()).or_default();
            let current = devices.get(listed.device_id);
            let same_kind = current.is_some_and(|share| {
                share.identity_key == identity_key && share.status.is_like(&fresh)
            });
            if !same_kind {
                let share = Share { identity_key, status: fresh };
                devices.insert(listed.device_id.to_owned(), share);
                changed.insert(listed.user_id);
            }
        }
        changed
    }

    /// Marks one device; gives its user if something changed.
    fn mark_device<'a>(&mut self, device: SentTo<'a>) -> Option<&'a str> {
        let SentTo { user_id, device_id, identity_key } = device;
        let devices = self.shares.entry(user_id.to_owned()).or_default();
        let status = match devices.get(device_id) {
            Some(share) if share.identity_key == identity_key => share.status.sent()?,
            Some(_) => return None,
            None => ShareStatus::Sent,
        };
        devices.insert(device_id.to_owned(), Share { identity_key, status });
        Some(user_id)
    }
}

/// A device that is reported to have been sent the key.
struct SentTo<'a> {
    user_id: &'a str,
    device_id: &'a str,
    identity_key: String,
}

impl<'a> SentTo<'a> {
    fn read(device: &'a Value) -> Option<Self> {
        let (user_id, device_id) = named(device)?;
        check_user_id("user_id", user_id).ok()?;
        let key_id = format!("curve25519:{device_id}");
        let identity_key = device.get("keys")?.get(&key_id)?.as_str()?;
        let identity_key = public_keys::curve25519("keys", identity_key).ok()?.to_base64();
        Some(Self { user_id, device_id, identity_key })
    }
}

/// The user and device that an entry names.
fn named(device: &Value) -> Option<(&str, &str)> {
    Some((device.get("user_id")?.as_str()?, device.get("device_id")?.as_str()?))
}

impl ShareStatus {
    /// Whether both are about the key, or both about its being withheld.
    fn is_like(&self, other: &Self) -> bool {
        let about_key = |status: &Self| matches!(status, Self::Pending(_) | Self::Sent);
        about_key(self) == about_key(other)
    }

    /// The status after sending, unless it was sent already.
    fn sent(&self) -> Option<Self> {
        match self {
            Self::Pending(_) => Some(Self::Sent),
            Self::WithheldPending => Some(Self::WithheldSent),
            Self::Sent | Self::WithheldSent => None,
        }
    }
}
