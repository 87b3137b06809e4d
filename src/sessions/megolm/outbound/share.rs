//! Handing out the room key (M6-M14, D8-D11, D33; SEC-4, 5, 13).

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use super::recipients::{DeviceName, Eligibility, NO_OLM, RecipientDevice, Recipients};
use super::record::{self, OutboundState};
use super::shares::{Notice, PendingKey, Share, ShareStatus};
use super::unchanged::{self, Answered};
use super::{OutboundMegolmSession, share_records};
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::known_devices::{self, KnownDevices};
use crate::sessions::megolm::room_key::{OLD_SHARED_HISTORY, SHARED_HISTORY};
use crate::sessions::room_settings::RotationLimits;
use crate::store::Transaction;

/// What to send to which device: the answer of `get_session_key_for_sending`.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub struct KeysToSend<'a>(Vec<ToDevice<'a>>);

/// What one device gets.
#[derive(serde::Serialize)]
struct ToDevice<'a> {
    device: DeviceName<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<RoomKeyContent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<E2eeError>,
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

impl fmt::Debug for KeysToSend<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeysToSend").finish_non_exhaustive()
    }
}

impl KeysToSend<'_> {
    /// For `answer_again`.
    fn remember(&self, digest: [u8; 32]) -> Result<Option<Answered>> {
        let mut without_keys = String::new();
        let mut keys_are_sent = true;
        for line in &self.0 {
            if line.content.is_some() {
                keys_are_sent = false;
                continue;
            }
            if !without_keys.is_empty() {
                without_keys.push(',');
            }
            without_keys.push_str(&json::to_text(line)?);
            if without_keys.len() > unchanged::LONGEST {
                return Ok(None);
            }
        }
        Ok(Some(Answered::new(digest, without_keys, keys_are_sent)))
    }
}

impl OutboundMegolmSession {
    /// The limits within which `Recipients` are read.
    pub fn limits(&self, tx: &mut Transaction<'_>) -> Result<RotationLimits> {
        Ok(self.take(tx)?.settings.limits)
    }

    /// What to send to which device; expires the session if it may no longer be used.
    ///
    /// A device that was not handed the key before gets it at the current index, and nobody may see
    /// that before it is committed; one whose key waits to be sent gets the same again (M7).
    pub fn get_session_key_for_sending<'a>(
        &'a self,
        tx: &mut Transaction<'_>,
        mut recipients: Recipients<'a>,
    ) -> Result<KeysToSend<'a>> {
        let now = tx.now_ms()?;
        let mut state = self.take(tx)?;
        let period = recipients.period;
        state.check_life(period, now)?;
        let mut known = KnownDevices::hold(&self.account, tx)?;
        for device in &mut recipients.devices {
            state.recognise(device, &mut known, tx)?;
        }
        let shares_history = recipients.visibility.shares_history();
        state.check_recipients(shares_history, &recipients)?;
        state.change(|state| {
            if state.period != period || state.shared_history.is_none() {
                state.period = period;
                state.shared_history = Some(shares_history);
                record::put(self, state, tx)?;
            }
            state.hand_out(&recipients, &mut known, tx)?;
            share_records::put(self, &mut state.shares, tx)?;
            known.put(tx)?;
            let digest = recipients.digest;
            let keys = self.keys_to_send(state, recipients)?;
            state.answered = keys.remember(digest)?;
            Ok(keys)
        })
    }

    fn keys_to_send<'a>(
        &'a self,
        state: &OutboundState,
        recipients: Recipients<'a>,
    ) -> Result<KeysToSend<'a>> {
        let mut lines = Vec::new();
        for device in recipients.devices {
            let share = state.shares.get(&device.user_id, &device.device_id);
            let status = share.map(|share| (share.status, share.notice));
            let (mut content, mut withheld, mut error) = (None, None, None);
            match (device.eligibility, status) {
                (Eligibility::Refused(refused), _) => error = Some(refused),
                (Eligibility::Eligible(_), Some((ShareStatus::Pending(index), _))) => {
                    content = Some(self.room_key_content(state, index)?);
                }
                (
                    Eligibility::Blocked { code, .. },
                    Some((ShareStatus::WithheldPending, _) | (_, Some(Notice::Pending))),
                ) => {
                    withheld = Some(self.withheld_content(&code));
                }
                _ => continue,
            }
            lines.push(ToDevice { device: device.name, content, withheld, error });
        }
        Ok(KeysToSend(lines))
    }

    fn room_key_content(&self, state: &OutboundState, index: u32) -> Result<RoomKeyContent<'_>> {
        let key = state.shares.key(index);
        let key = key.ok_or_else(|| E2eeError::panic("a device waits for a key that is gone"))?;
        let mut names = vec![SHARED_HISTORY];
        if state.settings.old_shared_history_names {
            names.push(OLD_SHARED_HISTORY);
        }
        let shared_history = state.shared_history.unwrap_or(false);
        Ok(RoomKeyContent {
            algorithm: MEGOLM_ALGORITHM,
            room_id: &self.room_id,
            session_id: &self.session_id,
            session_key: key.0.clone(),
            shared_history: names.into_iter().map(|name| (name, shared_history)).collect(),
        })
    }

    /// The content of `m.room_key.withheld`; `m.no_olm` is about no session in particular.
    fn withheld_content(&self, code: &str) -> Object {
        let mut content = Object::new();
        let mut put = |name: &str, value: &str| {
            content.insert(name.to_owned(), value.into());
        };
        put("algorithm", MEGOLM_ALGORITHM);
        put("code", code);
        put("sender_key", self.account.identity_key());
        if code != NO_OLM {
            put("room_id", &self.room_id);
            put("session_id", &self.session_id);
        }
        content
    }
}

impl OutboundState {
    /// Refuses a device that is known by other keys, whether from this session or another.
    fn recognise(
        &self,
        device: &mut RecipientDevice<'_>,
        known: &mut KnownDevices<'_>,
        tx: &Transaction<'_>,
    ) -> Result<()> {
        let Some(keys) = device.keys() else { return Ok(()) };
        let verdict = match self.shares.get(&device.user_id, &device.device_id) {
            // Who was only told that he gets no key is not known by it.
            Some(share) if share.has_key() && share.is_of(keys) => Ok(()),
            Some(share) if share.has_key() && !share.may_be_of(keys) => {
                Err(known_devices::mismatched())
            }
            _ => known.check(keys, tx),
        };
        match verdict {
            Err(error @ (E2eeError::MismatchedFingerprint { .. } | E2eeError::Corrupt { .. })) => {
                device.eligibility = Eligibility::Refused(error);
                Ok(())
            }
            other => other,
        }
    }

    /// Records the key for devices that are new, and all users.
    fn hand_out(
        &mut self,
        recipients: &Recipients<'_>,
        known: &mut KnownDevices<'_>,
        tx: &Transaction<'_>,
    ) -> Result<()> {
        let index = self.session.message_index();
        let mut is_new = true;
        for device in &recipients.devices {
            let (keys, fresh, code) = match &device.eligibility {
                Eligibility::Eligible(keys) => (keys, ShareStatus::Pending(index), None),
                Eligibility::Blocked { keys, code } => {
                    (keys, ShareStatus::WithheldPending, Some(code))
                }
                Eligibility::Refused(_) => continue,
            };
            let identity_key = keys.identity_key.to_bytes();
            let fingerprint_key = Some(*keys.fingerprint_key.as_bytes());
            if code.is_none() {
                known.remember(keys, tx)?;
            }
            let (user_id, device_id) = (&device.user_id, &device.device_id);
            let share = self
                .shares
                .get_mut(user_id, device_id)
                .filter(|share| share.identity_key == identity_key)
                .filter(|share| share.status.is_like(fresh) || code.is_some_and(|c| c == NO_OLM));
            match share {
                Some(share) => {
                    if share.go_on(fingerprint_key, code.is_some()) {
                        self.shares.note_change(user_id);
                    }
                }
                None => {
                    if is_new && code.is_none() {
                        let key = Zeroizing::new(self.session.session_key().to_base64());
                        self.shares.add_key(index, PendingKey(key));
                        is_new = false;
                    }
                    let share = Share::new(identity_key, fingerprint_key, fresh);
                    self.shares.put(user_id, device_id, share);
                }
            }
        }
        recipients.users.iter().for_each(|user_id| self.shares.add_user(user_id));
        Ok(())
    }
}

impl Share {
    /// Goes on with the same device; true if that has changed something. `blocked`: it cannot be
    /// reached now, and is told so if its key still waits.
    fn go_on(&mut self, fingerprint_key: Option<[u8; 32]>, blocked: bool) -> bool {
        let waits = matches!(self.status, ShareStatus::Pending(_));
        let notice = match self.notice {
            _ if !blocked || !waits => None,
            None => Some(Notice::Pending),
            told => told,
        };
        let is_changed = self.notice != notice || self.fingerprint_key != fingerprint_key;
        self.notice = notice;
        self.fingerprint_key = fingerprint_key;
        is_changed
    }
}

impl ShareStatus {
    /// Whether both are about the key, or both about its being withheld.
    fn is_like(self, other: Self) -> bool {
        self.is_about_key() == other.is_about_key()
    }
}
