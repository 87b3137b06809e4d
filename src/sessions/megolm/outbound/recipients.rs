//! For whom a room key is: the room's members and their devices, each read by itself (M11, M12, D11,
//! D33; SEC-1, 3, 8-10, 13, 100).
//!
//! What others have put into the room or into a server's answer must not stop the room: it concerns
//! that member or device alone, which gets no key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::unchanged::Answered;
use crate::base::identifiers::check_user_id;
use crate::base::json::{self, ARGUMENT_LIMIT, Allowance, DEVICE_LIMIT, EVENT_LIMIT, RawObject};
use crate::base::parallel;
use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::DeviceKeys;
use crate::sessions::room_settings::{
    HistoryVisibility, RotationLimits, RotationPeriod, read_encryption,
};

/// Who is in a room and with which devices, as the caller says: read and checked.
pub struct Recipients<'a> {
    /// Of the text that it was read from.
    pub(super) digest: [u8; 32],
    /// How long the room wants a key to be used.
    pub(super) period: RotationPeriod,
    pub(super) visibility: HistoryVisibility,
    pub(super) users: BTreeSet<Cow<'a, str>>,
    pub(super) devices: Vec<RecipientDevice<'a>>,
}

/// A device that the caller listed under a recipient.
pub(super) struct RecipientDevice<'a> {
    pub(super) user_id: Cow<'a, str>,
    pub(super) device_id: Cow<'a, str>,
    pub(super) name: DeviceName<'a>,
    pub(super) eligibility: Eligibility<'a>,
}

/// How a device is called in the answer.
#[derive(Clone, serde::Serialize)]
#[serde(untagged)]
pub(super) enum DeviceName<'a> {
    /// By its entry as it was given.
    Entry(&'a RawValue),
    /// By where it was listed, if its entry is none, not fit to be given on, or names another.
    Place {
        user_id: Cow<'a, str>,
        /// Absent if all that is listed under the user is meant.
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<Cow<'a, str>>,
    },
}

/// Whether a device may have the key.
pub(super) enum Eligibility<'a> {
    Eligible(Box<DeviceKeys>),
    Blocked { keys: Box<DeviceKeys>, code: Cow<'a, str> },
    Refused(E2eeError),
}

/// What a device costs, or a user whose devices cannot be read, with its line in the answer.
const DEVICE_COST: usize = 1_200;
/// How many devices a thread checks in one go.
const AT_ONCE: usize = 16;

/// What stands under one device ID, or under a user.
struct UncheckedDevice<'a> {
    user_id: Cow<'a, str>,
    /// `None` if all that is listed under the user is meant.
    device_id: Option<Cow<'a, str>>,
    /// With the code if it is blocked.
    entry: Result<(&'a RawValue, Option<Cow<'a, str>>)>,
}

impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients").finish_non_exhaustive()
    }
}

impl<'a> Recipients<'a> {
    /// Reads `{"encryption", "history_visibility", "members", "device_keys", "blocked"}`. All
    /// signatures are checked, on all cores: hold no transaction meanwhile.
    pub fn read(account: &Account, recipients: &'a str, limits: RotationLimits) -> Result<Self> {
        let digest = Answered::digest(recipients);
        let (recipients, allowance) = RawObject::parse("recipients", recipients, ARGUMENT_LIMIT)?;
        let encryption = recipients
            .optional("encryption")
            .map(|encryption| json::parse_object("encryption", encryption.get(), EVENT_LIMIT))
            .transpose()?;
        let period = read_encryption(encryption.as_ref(), limits)?;
        // One that cannot be read is one that we do not know (SEC-59).
        let visibility = recipients.optional("history_visibility").map(|visibility| {
            json::parse("history_visibility", visibility.get(), EVENT_LIMIT)
                .unwrap_or(Value::Bool(false))
        });
        let visibility = HistoryVisibility::read(visibility.as_ref());
        let members = recipients.object("members", &allowance)?;
        let device_keys = recipients.object("device_keys", &allowance)?;
        let blocked = recipients.optional_object("blocked", &allowance)?;
        let (mut users, mut given) = (BTreeSet::new(), Vec::new());
        for (user_id, membership) in members.into_fields() {
            let membership = json::raw_text(membership);
            if !membership.is_some_and(|membership| visibility.includes(&membership)) {
                continue;
            }
            let before = given.len();
            if let Some(devices) = device_keys.get(&user_id) {
                let blocked = Blocked::of(blocked.as_ref(), &user_id, &allowance);
                match read_devices(account, &user_id, devices, &blocked, &allowance) {
                    Ok(devices) => given.extend(devices),
                    // Told as long as there is room for it: a server with thousands of such users
                    // must not keep the key from all others.
                    Err(error) if allowance.take("recipients", DEVICE_COST).is_ok() => {
                        let user_id = user_id.clone();
                        given.push(UncheckedDevice { user_id, device_id: None, entry: Err(error) });
                    }
                    Err(_) => {}
                }
            }
            // The own user counts only with another device (M12), and nobody has a malformed ID.
            let counts = given.len() > before || user_id != account.user_id();
            if counts && check_user_id("members", &user_id).is_ok() {
                users.insert(user_id);
            }
        }
        let count = given.len();
        let mut chunks = Vec::new();
        let mut given = given.into_iter();
        while given.len() > 0 {
            chunks.push(given.by_ref().take(AT_ONCE).collect::<Vec<_>>());
        }
        let devices = parallel::map(chunks, count, |chunk| {
            chunk.into_iter().map(UncheckedDevice::check).collect::<Vec<_>>()
        })?;
        let devices = devices.into_iter().flatten().collect();
        Ok(Self { digest, period, visibility, users, devices })
    }
}

/// The devices of one user but the own one. An error concerns them all.
fn read_devices<'a>(
    account: &Account,
    user_id: &Cow<'a, str>,
    devices: &'a RawValue,
    blocked: &Blocked<'a>,
    allowance: &Allowance,
) -> Result<Vec<UncheckedDevice<'a>>> {
    let allowance = allowance.for_part(devices);
    let devices = RawObject::read("device_keys", devices, &allowance)?;
    let mut given = Vec::new();
    let mut list = |device_id, entry| {
        given.push(UncheckedDevice { user_id: user_id.clone(), device_id, entry });
        allowance.take("device_keys", DEVICE_COST)
    };
    if devices.has_unreadable_name() {
        let problem = "device_keys has a device ID that is no text";
        list(None, Err(E2eeError::invalid_json(problem)))?;
    }
    for (device_id, entry) in devices.into_fields() {
        if user_id == account.user_id() && device_id == account.device_id() {
            continue;
        }
        let entry = blocked.code(&device_id).map(|code| (entry, code));
        list(Some(device_id), entry)?;
    }
    Ok(given)
}

impl<'a> UncheckedDevice<'a> {
    /// Checks one device; what is wrong with it concerns it alone.
    fn check(self) -> RecipientDevice<'a> {
        let Self { user_id, device_id, entry } = self;
        let place = DeviceName::Place { user_id: user_id.clone(), device_id: device_id.clone() };
        let device_id = device_id.unwrap_or_default();
        let read = entry.and_then(|(entry, code)| {
            let object = json::parse_object("the device's entry", entry.get(), DEVICE_LIMIT)?;
            Ok((entry, code, object))
        });
        let (name, eligibility) = match read {
            // Only what any reader of the answer can read is given back.
            Err(error) => (place, Eligibility::Refused(error)),
            Ok((entry, code, object)) => {
                let says = |name: &str| object.get(name).and_then(Value::as_str);
                let is_named = says("user_id") == Some(&*user_id);
                // One that calls itself another device must not be taken for that (SEC-1).
                let is_named = is_named && says("device_id") == Some(&*device_id);
                let eligibility = DeviceKeys::read_listed(&user_id, &device_id, &object)
                    .map_or_else(Eligibility::Refused, |keys| {
                        Eligibility::new(Box::new(keys), code)
                    });
                (if is_named { DeviceName::Entry(entry) } else { place }, eligibility)
            }
        };
        RecipientDevice { user_id, device_id, name, eligibility }
    }
}

impl<'a> Eligibility<'a> {
    /// Of a device whose keys are good.
    fn new(keys: Box<DeviceKeys>, code: Option<Cow<'a, str>>) -> Self {
        match code {
            Some(code) => Self::Blocked { keys, code },
            None if keys.supports_rooms() => Self::Eligible(keys),
            None => Self::Refused(E2eeError::UnknownAlgorithm {
                detail: "the device does not support both Olm and Megolm".to_owned(),
                algorithm: String::new(),
            }),
        }
    }
}

impl RecipientDevice<'_> {
    /// The keys of a device that was not refused.
    pub(super) fn keys(&self) -> Option<&DeviceKeys> {
        match &self.eligibility {
            Eligibility::Eligible(keys) | Eligibility::Blocked { keys, .. } => Some(keys),
            Eligibility::Refused(_) => None,
        }
    }

    /// Whether the device may go on having the key, if it has it: it is a recipient, or can only
    /// not be reached at the moment.
    pub(super) fn may_keep_key(&self) -> bool {
        match &self.eligibility {
            Eligibility::Eligible(_) => true,
            Eligibility::Blocked { code, .. } => code == NO_OLM,
            Eligibility::Refused(_) => false,
        }
    }
}

/// There is no Olm session with the device, which says nothing against it.
pub(super) const NO_OLM: &str = "m.no_olm";

/// Which devices of one user get no key.
enum Blocked<'a> {
    None,
    Devices(RawObject<'a>),
    /// The caller has said something that cannot be read: then none of them gets it.
    All(E2eeError),
}

impl<'a> Blocked<'a> {
    fn of(blocked: Option<&RawObject<'a>>, user_id: &str, allowance: &Allowance) -> Self {
        match blocked.and_then(|users| users.get(user_id)) {
            None => Self::None,
            Some(devices) => {
                match RawObject::read("blocked", devices, &allowance.for_part(devices)) {
                    Ok(devices) => Self::Devices(devices),
                    Err(error) => Self::All(error),
                }
            }
        }
    }

    fn code(&self, device_id: &str) -> Result<Option<Cow<'a, str>>> {
        match self {
            Self::None => Ok(None),
            Self::All(error) => Err(error.clone()),
            Self::Devices(devices) => match devices.get(device_id).map(json::raw_text) {
                None => Ok(None),
                Some(Some(code)) if !code.is_empty() => Ok(Some(code)),
                Some(_) => Err(E2eeError::invalid_field("blocked", "has a code that is no text")),
            },
        }
    }
}
