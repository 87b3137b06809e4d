//! When a session may no longer be used (M10, M13, D1, D9, D17, SEC-56, SEC-60).

use std::collections::BTreeMap;

use super::recipients::Recipients;
use super::record::OutboundState;
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::DeviceKeys;
use crate::sessions::room_settings::RotationPeriod;

impl OutboundState {
    /// Expiry by the session's own life: told so, replaced, too many messages, too
    /// old.
    pub(super) fn check_life(&self, period: RotationPeriod, now: i64) -> Result<()> {
        if self.invalidated {
            return Err(E2eeError::session_expired("invalidated", "the session was invalidated"));
        }
        if self.superseded {
            let detail = "the room has a newer session, its current one";
            return Err(E2eeError::session_expired("superseded", detail));
        }
        if self.session.message_index() >= period.messages {
            return Err(E2eeError::session_expired(
                "count",
                "the session has encrypted as many messages as the room allows",
            ));
        }
        if now < self.created_ms {
            return Err(E2eeError::session_expired(
                "clock",
                "the clock stands before the session's creation",
            ));
        }
        if now.saturating_sub(self.created_ms) > period.milliseconds {
            return Err(E2eeError::session_expired(
                "time",
                "the session is older than the room allows",
            ));
        }
        Ok(())
    }

    /// Expiry by who may read: history visibility crossed over, or somebody who may have the key
    /// is gone.
    pub(super) fn check_recipients(
        &self,
        shares_history: bool,
        recipients: &Recipients<'_>,
    ) -> Result<()> {
        let present: BTreeMap<(&str, &str), &DeviceKeys> = recipients
            .devices
            .iter()
            .filter(|device| device.may_keep_key())
            .filter_map(|device| {
                Some(((device.user_id.as_ref(), device.device_id.as_ref()), device.keys()?))
            })
            .collect();
        if self.recipients_unknown {
            return Err(E2eeError::session_expired(
                "recipients_unknown",
                "the session was imported, and mark_as_sent has not told who has its key",
            ));
        }
        if self.shared_history.is_some_and(|before| before != shares_history) {
            return Err(E2eeError::session_expired(
                "history_visibility",
                "the room's history visibility has changed",
            ));
        }
        for (user_id, devices) in self.shares.iter() {
            if !recipients.users.contains(user_id.as_str()) {
                return Err(E2eeError::session_expired(
                    "user_gone",
                    "a user for whom the session was meant is no longer a recipient",
                ));
            }
            for (device_id, share) in devices {
                let here = present
                    .get(&(user_id.as_str(), device_id.as_str()))
                    .is_some_and(|keys| share.may_be_of(keys));
                if share.has_key() && !here {
                    return Err(E2eeError::session_expired(
                        "device_gone",
                        "a device that may have the key is no longer a recipient",
                    ));
                }
            }
        }
        Ok(())
    }
}
