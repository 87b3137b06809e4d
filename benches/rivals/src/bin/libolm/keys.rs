//! Accounts, and what is signed.

use serde_json::Value;

use crate::ffi::{Account, Utility};
use crate::measure::{Task, Timer};
use crate::texts::DEVICE_KEYS;

pub fn account(task: &Task) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| {
            let account = Account::new();
            (account.sign(DEVICE_KEYS), account)
        });
    }
    timer.of_processor()
}

/// 50 one-time keys and a fallback key, each signed as canonical JSON.
pub fn one_time_keys(task: &Task) -> f64 {
    let key = r#"{"key":"PzjSz3MiIGaZAVjWwkdVEdDAXh+3S6R6rK/vs30LDgA"}"#;
    let mut timer = Timer::default();
    for _ in 0..task.count {
        let account = Account::new();
        timer.time(|| {
            account.generate_fallback_key();
            let keys = account.generate_one_time_keys(50);
            (keys, (0..51).map(|_| account.sign(key)).collect::<Vec<_>>())
        });
    }
    timer.of_processor()
}

/// A signed object of a device's, taken apart beforehand.
struct Signed {
    key: String,
    signature: String,
    text: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl Signed {
    fn by(device: &Value, object: &Value) -> Self {
        let key_id = format!("ed25519:{}", text(&device["device_id"]));
        let signature = text(&object["signatures"][text(&device["user_id"])][key_id]);
        let mut rest = object.clone();
        rest.as_object_mut().unwrap().remove("signatures");
        Self { key: text(&device["fingerprint_key"]), signature, text: rest.to_string() }
    }
}

/// Another device, as far as a client knows it.
pub struct Device {
    device_keys: Signed,
    one_time_key: Signed,
    pub identity: String,
    pub key: String,
}

impl Device {
    pub fn all(task: &Task) -> Vec<Self> {
        let devices = task.read("devices.json");
        devices.as_array().unwrap().iter().take(task.count).map(Self::new).collect()
    }

    fn new(device: &Value) -> Self {
        let one_time_key = &device["one_time_key"]["signed_curve25519:AAAAAQ"];
        Self {
            device_keys: Signed::by(device, &device["device_keys"]),
            one_time_key: Signed::by(device, one_time_key),
            identity: text(&device["identity_key"]),
            key: text(&one_time_key["key"]),
        }
    }

    pub fn verify_device_keys(&self, utility: &Utility) {
        let signed = &self.device_keys;
        utility.verify(&signed.key, &signed.text, &signed.signature);
    }

    pub fn verify_one_time_key(&self, utility: &Utility) {
        let signed = &self.one_time_key;
        utility.verify(&signed.key, &signed.text, &signed.signature);
    }
}

pub fn verify_device(task: &Task) -> f64 {
    let (utility, mut timer) = (Utility::new(), Timer::default());
    for device in Device::all(task) {
        timer.time(|| device.verify_device_keys(&utility));
    }
    timer.of_processor()
}
