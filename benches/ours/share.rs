//! A room key for many devices.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::batches::all_good;
use super::place::Place;
use crate::c_abi::{self, Owned, c};
use crate::material::item;
use crate::measure::{Task, together};
use crate::texts::ROOM;

pub fn devices(task: &Task) -> Vec<Value> {
    let Value::Array(mut devices) = task.read("devices.json") else { panic!() };
    devices.truncate(task.count);
    devices
}

fn list(items: impl Iterator<Item = Value>) -> std::ffi::CString {
    c(&Value::from_iter(items).to_string())
}

/// The items of `encrypt_for_devices`.
fn items(task: &Task) -> std::ffi::CString {
    let room_key = task.read("room_key.json");
    list(devices(task).iter().map(|device| item(device, &room_key)))
}

pub fn open_channels(alice: &Owned, devices: &[Value]) {
    for device in devices {
        let keys = c(&device["device_keys"].to_string());
        c_abi::outbound_channel(alice, &keys, &c(&device["one_time_key"].to_string()));
    }
}

/// What a store is called that has a channel to each device.
pub fn prepared_name(task: &Task) -> String {
    format!("ours-{}.db", task.count)
}

/// Alice with a channel to each device.
pub fn alice(task: &Task, place: &Place) -> Owned {
    place.alice_prepared(&prepared_name(task), |alice| open_channels(alice, &devices(task)))
}

pub fn existing(task: &Task, place: &Place) -> f64 {
    let (alice, items) = (alice(task, place), items(task));
    let (time, answers) = together(task.count, || c_abi::encrypt_for_devices(&alice, &items));
    all_good(&answers, "content", task.count);
    time
}

/// A call for each new channel, and one that encrypts for all: over SQLite, as many synced commits and
/// one more.
pub fn new(task: &Task, place: &Place) -> f64 {
    let (alice, items) = (place.alice(), items(task));
    let keys: Vec<_> = devices(task)
        .iter()
        .map(|device| {
            (c(&device["device_keys"].to_string()), c(&device["one_time_key"].to_string()))
        })
        .collect();
    let (time, answers) = together(task.count, || {
        for (device_keys, one_time_key) in &keys {
            c_abi::outbound_channel(&alice, device_keys, one_time_key);
        }
        c_abi::encrypt_for_devices(&alice, &items)
    });
    all_good(&answers, "content", task.count);
    time
}

/// With what comes before and after the encryption: who gets the key, and who has it now. What the
/// program does in between, with JSON of its own, is not counted.
pub fn whole(task: &Task, place: &Place) -> f64 {
    let alice = alice(task, place);
    let session = c_abi::room_session(&alice, &c(ROOM));
    let recipients = c(&recipients(&devices(task)).to_string());
    let (select, answers) = together(task.count, || c_abi::keys_for_sending(&session, &recipients));
    let answers: Vec<Value> = serde_json::from_slice(answers.to_bytes()).unwrap();
    assert_eq!(answers.len(), task.count);
    let items = list(answers.iter().map(|answer| {
        let device = &answer["device"];
        let key_id = format!("curve25519:{}", device["device_id"].as_str().unwrap());
        let identity_key = &device["keys"][key_id];
        item(
            &json!({"user_id": device["user_id"], "identity_key": identity_key}),
            &answer["content"],
        )
    }));
    let sent = list(answers.iter().map(|answer| answer["device"].clone()));
    let (encrypt, answers) = together(task.count, || c_abi::encrypt_for_devices(&alice, &items));
    all_good(&answers, "content", task.count);
    let (mark, ()) = together(task.count, || c_abi::mark_as_sent(&session, &sent));
    select + encrypt + mark
}

fn recipients(devices: &[Value]) -> Value {
    let mut members = BTreeMap::new();
    let mut keys: BTreeMap<&str, BTreeMap<&str, &Value>> = BTreeMap::new();
    for device in devices {
        let (user, id) =
            (device["user_id"].as_str().unwrap(), device["device_id"].as_str().unwrap());
        members.insert(user, "join");
        keys.entry(user).or_default().insert(id, &device["device_keys"]);
    }
    json!({
        "encryption": { "algorithm": "m.megolm.v1.aes-sha2" },
        "members": members,
        "device_keys": keys,
    })
}
