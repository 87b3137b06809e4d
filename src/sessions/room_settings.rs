//! What a room's state says about its encryption, read defensively (M10, D2, D7, D17, SEC-59).

use serde_json::Value;

use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::MEGOLM_ALGORITHM;

/// The spec's default of `rotation_period_ms`: a week.
const DEFAULT_PERIOD_MS: i64 = 604_800_000;
/// The spec's default of `rotation_period_msgs`.
const DEFAULT_PERIOD_MSGS: i64 = 100;

/// When a room key must be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct RotationPeriod {
    pub(crate) milliseconds: i64,
    pub(crate) messages: u32,
}

/// The application's limits on what a room may ask for (S1, D7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RotationLimits {
    pub(crate) minimum_period_ms: i64,
    pub(crate) maximum_period_msgs: u32,
}

impl Default for RotationLimits {
    fn default() -> Self {
        Self { minimum_period_ms: 3_600_000, maximum_period_msgs: 10_000 }
    }
}

impl RotationLimits {
    /// The period of a room without settings of its own.
    pub(crate) fn default_period(self) -> RotationPeriod {
        self.clamp(DEFAULT_PERIOD_MS, DEFAULT_PERIOD_MSGS)
    }

    fn clamp(self, milliseconds: i64, messages: i64) -> RotationPeriod {
        let messages = messages.clamp(1, i64::from(self.maximum_period_msgs.max(1)));
        RotationPeriod {
            milliseconds: milliseconds.max(self.minimum_period_ms),
            messages: u32::try_from(messages).unwrap_or(self.maximum_period_msgs),
        }
    }
}

/// Reads the content of `m.room.encryption`; null or absent means that the room is not encrypted.
pub(crate) fn read_encryption(
    encryption: Option<&Object>,
    limits: RotationLimits,
) -> Result<RotationPeriod> {
    let encryption = encryption.ok_or_else(|| {
        E2eeError::room_not_encrypted("the room has no m.room.encryption settings")
    })?;
    let algorithm = json::text(encryption, "algorithm")?;
    if algorithm != MEGOLM_ALGORITHM {
        return Err(E2eeError::unknown_algorithm(algorithm, MEGOLM_ALGORITHM));
    }
    Ok(limits.clamp(
        json::integer_or(encryption, "rotation_period_ms", DEFAULT_PERIOD_MS),
        json::integer_or(encryption, "rotation_period_msgs", DEFAULT_PERIOD_MSGS),
    ))
}

/// Who may read a room's history (`m.room.history_visibility`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryVisibility {
    Invited,
    Joined,
    Shared,
    WorldReadable,
}

impl HistoryVisibility {
    /// Absent is `shared`, as the spec says; anything else that we do not know is `joined` (SEC-59).
    pub(crate) fn read(value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Shared,
            Some(value) => match value.as_str() {
                Some("shared") => Self::Shared,
                Some("invited") => Self::Invited,
                Some("world_readable") => Self::WorldReadable,
                _ => Self::Joined,
            },
        }
    }

    /// Whether room keys may be handed to people who join later (D17, S11).
    pub(crate) fn shares_history(self) -> bool {
        matches!(self, Self::Shared | Self::WorldReadable)
    }

    /// Whether a member of this membership receives room keys (M11, D2).
    pub(crate) fn includes(self, membership: &str) -> bool {
        membership == "join" || (membership == "invite" && self != Self::Joined)
    }
}
