//! Handing out the room key (M6-M14, D8-D11, D33; SEC-4, 5, 13).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use zeroize::Zeroizing;

use super::audience::{Audience, Listed, NO_OLM, Name, Standing};
use super::record::{self, OutboundState};
use super::shares::{Notice, PendingKey, Share, ShareStatus};
use super::unchanged::{self, Answered};
use super::{OutboundMegolmSession, share_records};
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;
use crate::sessions::known_devices::{self, KnownDevices};
use crate::sessions::megolm::room_key::{OLD_SHARED_HISTORY, SHARED_HISTORY};
use crate::store::Batch;

/// One device's line in the result.
#[derive(serde::Serialize)]
struct Line<'a> {
    device: &'a Name<'a>,
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

fn answered(recipients: [u8; 32], lines: &[Line<'_>]) -> Result<Option<Answered>> {
    let mut without_keys = String::new();
    let mut keys_are_sent = true;
    for line in lines {
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
    Ok(Some(Answered::new(recipients, without_keys, keys_are_sent)))
}

impl OutboundMegolmSession {
    /// What to send to which device; expires the session if it may no longer be used.
    ///
    /// A device that was not handed the key before gets it at the current index, and that is
    /// durable before this returns; one whose key waits to be sent gets the same again (M7).
    pub fn get_session_key_for_sending(&self, recipients: &str) -> Result<String> {
        let _entered = self.enter()?;
        // The host's clock is asked without the lock, for which `shut_down` waits.
        let now = self.account.now_ms()?;
        let digest = Answered::digest(recipients);
        let state = self.state()?;
        if let Some(answer) = state.answer_again(&digest, now)? {
            return Ok(answer);
        }
        let limits = state.settings.limits;
        drop(state);
        let mut audience = Audience::read(&self.account, recipients, limits)?;
        let period = audience.period;
        let gate = known_devices::gate(&self.account);
        let _alone = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state()?;
        state.check_life(period, now)?;
        let mut known = KnownDevices::new(&self.account);
        for listed in &mut audience.devices {
            state.recognise(listed, &mut known)?;
        }
        let shares_history = audience.visibility.shares_history();
        state.check_audience(shares_history, &audience)?;
        state.change(|state| {
            let mut batch = Batch::new();
            if state.period != period || state.shared_history.is_none() {
                state.period = period;
                state.shared_history = Some(shares_history);
                record::put(self, state, &mut batch)?;
            }
            state.hand_out(&audience, &mut known)?;
            share_records::put(self, &mut state.shares, &mut batch)?;
            known.put(&mut batch)?;
            self.account.vault().commit(batch)?;
            let lines = self.lines(state, &audience)?;
            state.answered = answered(digest, &lines)?;
            json::to_text(&lines)
        })
    }

    fn lines<'a>(
        &'a self,
        state: &OutboundState,
        audience: &'a Audience<'_>,
    ) -> Result<Vec<Line<'a>>> {
        let mut lines = Vec::new();
        for listed in &audience.devices {
            let device = &listed.name;
            let mut line = Line { device, content: None, withheld: None, error: None };
            let share = state.shares.get(&listed.user_id, &listed.device_id);
            let status = share.map(|share| (share.status, share.notice));
            match (&listed.standing, status) {
                (Standing::Refused(error), _) => line.error = Some(error),
                (Standing::Recipient(_), Some((ShareStatus::Pending(index), _))) => {
                    line.content = Some(self.room_key_content(state, index)?);
                }
                (
                    Standing::Blocked { code, .. },
                    Some((ShareStatus::WithheldPending, _) | (_, Some(Notice::Pending))),
                ) => {
                    line.withheld = Some(self.withheld_content(code));
                }
                _ => continue,
            }
            lines.push(line);
        }
        Ok(lines)
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
    fn recognise(&self, listed: &mut Listed<'_>, known: &mut KnownDevices<'_>) -> Result<()> {
        let Some(keys) = listed.keys() else { return Ok(()) };
        let verdict = match self.shares.get(&listed.user_id, &listed.device_id) {
            // Who was only told that he gets no key is not known by it.
            Some(share) if share.has_key() && share.is_of(keys) => Ok(()),
            Some(share) if share.has_key() && !share.may_be_of(keys) => {
                Err(known_devices::mismatched())
            }
            _ => known.check(keys),
        };
        match verdict {
            Err(error @ (E2eeError::MismatchedFingerprint { .. } | E2eeError::Corrupt { .. })) => {
                listed.standing = Standing::Refused(error);
                Ok(())
            }
            other => other,
        }
    }

    /// Records the key for devices that are new, and all users.
    fn hand_out(&mut self, audience: &Audience<'_>, known: &mut KnownDevices<'_>) -> Result<()> {
        let index = self.session.message_index();
        let mut is_new = true;
        for listed in &audience.devices {
            let (keys, fresh, code) = match &listed.standing {
                Standing::Recipient(keys) => (keys, ShareStatus::Pending(index), None),
                Standing::Blocked { keys, code } => {
                    (keys, ShareStatus::WithheldPending, Some(code))
                }
                Standing::Refused(_) => continue,
            };
            let identity_key = keys.identity_key.to_bytes();
            let fingerprint_key = Some(*keys.fingerprint_key.as_bytes());
            if code.is_none() {
                known.remember(keys)?;
            }
            let (user_id, device_id) = (&listed.user_id, &listed.device_id);
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
        audience.users.iter().for_each(|user_id| self.shares.add_user(user_id));
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
