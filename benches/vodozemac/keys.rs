//! Accounts, and what is signed.

use serde_json::Value;
use vodozemac::olm::Account;
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey, Ed25519Signature};

use crate::measure::{Task, Timer};
use crate::texts::DEVICE_KEYS;

pub fn account(task: &Task) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| {
            let account = Account::new();
            let signature = account.sign(DEVICE_KEYS).to_base64();
            (account, signature)
        });
    }
    timer.of_processor()
}

/// 50 one-time keys and a fallback key, each signed as canonical JSON.
pub fn one_time_keys(task: &Task) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..task.count {
        let mut account = Account::new();
        timer.time(|| {
            account.generate_one_time_keys(50);
            account.generate_fallback_key();
            let keys: Vec<_> = account
                .one_time_keys()
                .into_values()
                .chain(account.fallback_key().into_values())
                .collect();
            keys.iter()
                .map(|key| account.sign(format!(r#"{{"key":"{}"}}"#, key.to_base64())).to_base64())
                .collect::<Vec<_>>()
        });
    }
    timer.of_processor()
}

/// A signed object of a device's, taken apart beforehand.
struct Signed {
    key: Ed25519PublicKey,
    signature: String,
    text: String,
}

impl Signed {
    fn by(device: &Value, object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let signatures = &object["signatures"][text(&device["user_id"])];
        let signature = text(&signatures[format!("ed25519:{}", text(&device["device_id"]))]);
        let mut rest = object.clone();
        rest.as_object_mut().unwrap().remove("signatures");
        let key =
            Ed25519PublicKey::from_base64(device["fingerprint_key"].as_str().unwrap()).unwrap();
        Self { key, signature, text: rest.to_string() }
    }

    fn verify(&self) {
        let signature = Ed25519Signature::from_base64(&self.signature).unwrap();
        self.key.verify(self.text.as_bytes(), &signature).unwrap();
    }
}

/// Another device, as far as a client knows it.
pub struct Device {
    device_keys: Signed,
    one_time_key: Signed,
    pub identity: Curve25519PublicKey,
    pub key: Curve25519PublicKey,
}

impl Device {
    pub fn all(task: &Task) -> Vec<Self> {
        let devices = task.read("devices.json");
        devices.as_array().unwrap().iter().take(task.count).map(Self::new).collect()
    }

    fn new(device: &Value) -> Self {
        let curve =
            |value: &Value| Curve25519PublicKey::from_base64(value.as_str().unwrap()).unwrap();
        let one_time_key = &device["one_time_key"]["signed_curve25519:AAAAAQ"];
        Self {
            device_keys: Signed::by(device, &device["device_keys"]),
            one_time_key: Signed::by(device, one_time_key),
            identity: curve(&device["identity_key"]),
            key: curve(&one_time_key["key"]),
        }
    }

    /// What a client must check before it opens a session.
    pub fn verify(&self) {
        self.device_keys.verify();
        self.one_time_key.verify();
    }

    /// What it must check when it is told the keys of a device.
    pub fn verify_device_keys(&self) {
        self.device_keys.verify();
    }
}

pub fn verify_device(task: &Task) -> f64 {
    let mut timer = Timer::default();
    for device in Device::all(task) {
        timer.time(|| device.verify_device_keys());
    }
    timer.of_processor()
}
