//! What was sent to whom (M8, D33).

use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::record::{self, OutboundState};
use super::shares::{Notice, Share, ShareStatus};
use super::{OutboundMegolmSession, share_records};
use crate::base::identifiers::UserId;
use crate::base::json::{self, DEVICE_LIMIT};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::store::Transaction;

/// A device that is reported to have been sent something.
pub struct SentDevice {
    user_id: UserId,
    device_id: String,
    identity_key: [u8; 32],
}

impl fmt::Debug for SentDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentDevice").finish_non_exhaustive()
    }
}

impl OutboundMegolmSession {
    /// Notes that devices have been sent what `get_session_key_for_sending` gave for them (M8), or
    /// for an imported session, which devices have its key. Of an entry that could not be read, the
    /// error is given here: it concerns that entry alone. Of a superseded session nothing is noted.
    pub fn mark_as_sent(
        &self,
        tx: &mut Transaction<'_>,
        devices: Vec<Result<SentDevice>>,
    ) -> Result<()> {
        let mut state = self.take(tx)?;
        if state.superseded {
            return Ok(());
        }
        let mut sent = Vec::new();
        for device in devices {
            match device {
                // The own device is no recipient (M12): remembered, it would expire the session.
                Ok(device) if self.is_own_device(&device.user_id, &device.device_id) => {}
                Ok(device) => sent.push(device),
                // Who has an imported session's key is told once: nobody may be left out.
                Err(error) if state.recipients_unknown => return Err(error),
                Err(_) => {}
            }
        }
        state.change(|state| {
            sent.into_iter().for_each(|device| state.mark_device(device));
            state.note_sent();
            if std::mem::take(&mut state.recipients_unknown) {
                record::put(self, state, tx)?;
            }
            share_records::put(self, &mut state.shares, tx)
        })
    }

    fn is_own_device(&self, user_id: &str, device_id: &str) -> bool {
        user_id == self.account.user_id() && device_id == self.account.device_id()
    }
}

impl OutboundState {
    fn mark_device(&mut self, device: SentDevice) {
        let SentDevice { user_id, device_id, identity_key } = device;
        match self.shares.get_mut(&user_id, &device_id) {
            Some(share) if share.identity_key == identity_key => {
                let was_key = share.waits();
                if share.mark().is_none() {
                    return;
                }
                if !was_key {
                    self.answered = None;
                }
                self.shares.note_change(&user_id);
            }
            Some(_) => {}
            None => {
                // The session is for one device more than it was said to be.
                self.answered = None;
                let share = Share::new(identity_key, None, ShareStatus::Sent(None));
                self.shares.put(&user_id, &device_id, share);
            }
        }
    }
}

impl Share {
    /// What was handed out was sent; `None` if that is known already.
    fn mark(&mut self) -> Option<()> {
        match (self.status, self.notice) {
            (ShareStatus::Pending(_), Some(Notice::Sent)) => return None,
            (ShareStatus::Pending(_), Some(Notice::Pending)) => self.notice = Some(Notice::Sent),
            (ShareStatus::Pending(index), None) => self.status = ShareStatus::Sent(Some(index)),
            (ShareStatus::WithheldPending, _) => self.status = ShareStatus::WithheldSent,
            (ShareStatus::Sent(_) | ShareStatus::WithheldSent, _) => return None,
        }
        Some(())
    }
}

impl SentDevice {
    /// Reads a device's keys; nothing is verified.
    pub fn read(device: &RawValue) -> Result<Self> {
        let problem = "has an entry without user, device or a good identity key";
        let unusable = || E2eeError::invalid_field("devices", problem);
        let device = json::parse("devices", device.get(), DEVICE_LIMIT).map_err(|_| unusable())?;
        Self::of(&device).ok_or_else(unusable)
    }

    fn of(device: &Value) -> Option<Self> {
        let device_id = device.get("device_id")?.as_str()?;
        let user_id = UserId::read("user_id", device.get("user_id")?.as_str()?).ok()?;
        let identity_key = device.get("keys")?.get(format!("curve25519:{device_id}"))?.as_str()?;
        let identity_key = public_keys::curve25519("keys", identity_key).ok()?.to_bytes();
        Some(Self { user_id, device_id: device_id.to_owned(), identity_key })
    }
}
