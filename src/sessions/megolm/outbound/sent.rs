//! What was sent to whom (M8, D33).

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::value::RawValue;

use super::OutboundMegolmSession;
use super::record::{self, Notice, OutboundState, Share, ShareStatus};
use crate::base::identifiers::check_user_id;
use crate::base::json::{self, DEVICE_LIMIT};
use crate::base::public_keys;
use crate::error::{E2eeError, Result};
use crate::store::Batch;

/// A device that is reported to have been sent something.
struct SentTo {
    user_id: String,
    device_id: String,
    identity_key: String,
}

impl OutboundMegolmSession {
    /// Notes that devices have been sent what `get_session_key_for_sending` gave for them (M8), or
    /// for an imported session, which devices have its key. Each entry is read by itself.
    pub fn mark_as_sent(&self, devices: &[&RawValue]) -> Result<()> {
        let _entered = self.enter()?;
        let mut state = self.state()?;
        let mut sent = Vec::new();
        for device in devices {
            match SentTo::read(device) {
                // The own device is no recipient (M12): remembered, it would expire the session.
                Some(device) if self.is_own_device(&device.user_id, &device.device_id) => {}
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
            state.note_sent();
            let mut batch = Batch::new();
            if std::mem::take(&mut state.recipients_unknown) {
                record::put(self, state, &mut batch)?;
            }
            for user_id in changed {
                if let Some(devices) = state.shares.get(&user_id) {
                    record::put_shares(self, &user_id, devices, &mut batch)?;
                }
            }
            self.account.vault().commit(batch)
        })
    }

    pub(super) fn is_own_device(&self, user_id: &str, device_id: &str) -> bool {
        user_id == self.account.user_id() && device_id == self.account.device_id()
    }
}

impl OutboundState {
    /// Marks one device; gives its user if something changed.
    fn mark_device(&mut self, device: SentTo) -> Option<String> {
        let SentTo { user_id, device_id, identity_key } = device;
        let devices = self.shares.entry(user_id.clone()).or_default();
        match devices.get_mut(&device_id) {
            Some(share) if share.identity_key == identity_key => {
                let was_key = share.waits();
                share.mark()?;
                if !was_key {
                    self.answered = None;
                }
            }
            Some(_) => return None,
            None => {
                // The session is for one device more than it was said to be.
                self.answered = None;
                let share = Share::new(identity_key, None, ShareStatus::Sent);
                devices.insert(device_id, share);
            }
        }
        Some(user_id)
    }
}

impl Share {
    /// What was handed out was sent; `None` if that is known already.
    fn mark(&mut self) -> Option<()> {
        match (&self.status, self.notice) {
            (ShareStatus::Pending(_), Some(Notice::Sent)) => return None,
            (ShareStatus::Pending(_), Some(Notice::Pending)) => self.notice = Some(Notice::Sent),
            (ShareStatus::Pending(_), None) => self.status = ShareStatus::Sent,
            (ShareStatus::WithheldPending, _) => self.status = ShareStatus::WithheldSent,
            (ShareStatus::Sent | ShareStatus::WithheldSent, _) => return None,
        }
        Some(())
    }
}

impl SentTo {
    fn read(device: &RawValue) -> Option<Self> {
        let device: Value = json::parse("devices", device.get(), DEVICE_LIMIT).ok()?;
        let user_id = device.get("user_id")?.as_str()?;
        let device_id = device.get("device_id")?.as_str()?;
        check_user_id("user_id", user_id).ok()?;
        let key_id = format!("curve25519:{device_id}");
        let identity_key = device.get("keys")?.get(&key_id)?.as_str()?;
        let identity_key = public_keys::curve25519("keys", identity_key).ok()?.to_base64();
        Some(Self { user_id: user_id.to_owned(), device_id: device_id.to_owned(), identity_key })
    }
}
