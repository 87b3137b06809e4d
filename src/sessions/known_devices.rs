//! The keys that devices had when they were first given a room key. Whoever comes under the same
//! device ID with others is somebody else, and is given nothing (SEC-4, 5, 7).
//!
//! They are kept as long as the account: a device that was gone for a while is remembered, too.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{E2eeError, Result};
use crate::sessions::account::Account;
use crate::sessions::device_keys::DeviceKeys;
use crate::store::collections::KNOWN_DEVICES;
use crate::store::{Live, RecordKey, Transaction};

#[derive(Serialize, Deserialize, Default)]
struct User {
    devices: BTreeMap<String, Device>,
}

#[derive(Serialize, Deserialize)]
struct Device {
    identity_key: String,
    fingerprint_key: String,
}

/// What is remembered of the users that one call is about, and what it adds.
pub(crate) struct KnownDevices<'a> {
    account: &'a Account,
    users: BTreeMap<String, Result<Changed>>,
}

#[derive(Default)]
struct Changed {
    user: User,
    is_changed: bool,
}

pub(crate) fn mismatched() -> E2eeError {
    E2eeError::mismatched_fingerprint("the device had other keys when it was given a room key")
}

impl<'a> KnownDevices<'a> {
    /// Nobody else looks a device up until the transaction ends, so that two calls do not remember
    /// two keys.
    pub(crate) fn hold(account: &'a Account, tx: &mut Transaction<'_>) -> Result<Self> {
        let key = account.record_key(KNOWN_DEVICES, &[]);
        let gate: Arc<Live<()>> = account.live().get_or_insert(&key, Live::new);
        tx.take(&gate, |_| Ok(Some(())))?;
        Ok(Self { account, users: BTreeMap::new() })
    }

    /// `MISMATCHED_FINGERPRINT` if the device is known by other keys. If what is remembered of the
    /// user is damaged, each device of the user has that error, and no other user's.
    pub(crate) fn check(&mut self, device: &DeviceKeys, tx: &Transaction<'_>) -> Result<()> {
        match self.user(&device.user_id, tx)?.devices.get(&*device.device_id) {
            Some(known) if !known.is_of(device) => Err(mismatched()),
            _ => Ok(()),
        }
    }

    /// Remembers a device that was checked.
    pub(crate) fn remember(&mut self, device: &DeviceKeys, tx: &Transaction<'_>) -> Result<()> {
        let devices = &self.user(&device.user_id, tx)?.devices;
        if devices.contains_key(&*device.device_id) {
            return Ok(());
        }
        if let Some(Ok(changed)) = self.users.get_mut(&*device.user_id) {
            changed.user.devices.insert(device.device_id.as_str().to_owned(), Device::new(device));
            changed.is_changed = true;
        }
        Ok(())
    }

    pub(crate) fn put(&self, tx: &mut Transaction<'_>) -> Result<()> {
        for (user_id, changed) in &self.users {
            if let Ok(Changed { user, is_changed: true }) = changed {
                tx.put(&self.key(user_id), user)?;
            }
        }
        Ok(())
    }

    fn user(&mut self, user_id: &str, tx: &Transaction<'_>) -> Result<&User> {
        if !self.users.contains_key(user_id) {
            let user = match tx.read(&self.key(user_id)) {
                Ok(user) => Ok(Changed { user: user.unwrap_or_default(), is_changed: false }),
                Err(error @ E2eeError::Corrupt { .. }) => Err(error),
                Err(error) => return Err(error),
            };
            self.users.insert(user_id.to_owned(), user);
        }
        match self.users.get(user_id) {
            Some(Ok(changed)) => Ok(&changed.user),
            Some(Err(error)) => Err(error.clone()),
            None => Err(E2eeError::panic("internal error")),
        }
    }

    fn key(&self, user_id: &str) -> RecordKey {
        self.account.record_key(KNOWN_DEVICES, &[user_id])
    }
}

impl Device {
    fn new(keys: &DeviceKeys) -> Self {
        Self {
            identity_key: keys.identity_key.to_base64(),
            fingerprint_key: keys.fingerprint_key.to_base64(),
        }
    }

    fn is_of(&self, keys: &DeviceKeys) -> bool {
        self.identity_key == keys.identity_key.to_base64()
            && self.fingerprint_key == keys.fingerprint_key.to_base64()
    }
}
