//! What a device asks of a homeserver, and a stand-in for one, inside the program: it answers the
//! requests that matter for encryption as a real one does over HTTP, with JSON text in and out, and
//! forgets everything at the end. It sees what a real one sees: public keys and ciphertexts.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, from_str, json};

pub const ROOM: &str = "!room:example.org";

pub trait Homeserver {
    /// `POST /keys/upload`, by this device.
    fn keys_upload(&self, user_id: &str, device_id: &str, body: &str) -> String;

    /// `POST /keys/query`: `{"device_keys": {"@bob:example.org": []}}`.
    fn keys_query(&self, body: &str) -> String;

    /// `POST /keys/claim`: gives away one key of each device, a fallback key if there is no other.
    fn keys_claim(&self, body: &str) -> String;

    /// `GET /rooms/{room_id}/joined_members`: `{"joined": {"@alice:example.org": {}, ...}}`.
    fn joined_members(&self) -> String;

    /// `PUT /sendToDevice/{type}`: `{"messages": {"@bob:example.org": {"DEVICE": {...}}}}`.
    fn send_to_device(&self, user_id: &str, event_type: &str, body: &str);

    /// `PUT /rooms/{room_id}/send/{type}`: gives `{"event_id": "$..."}`. There is one room.
    fn send(&self, user_id: &str, event_type: &str, content: &str) -> String;

    /// `GET /sync`: what is new for this device since it asked last.
    fn sync(&self, user_id: &str, device_id: &str) -> String;

    /// `GET /rooms/{room_id}/event/{event_id}`.
    fn event(&self, event_id: &str) -> String;
}

#[derive(Default)]
struct Device {
    device_keys: Option<Value>,
    one_time_keys: Map<String, Value>,
    fallback_keys: Map<String, Value>,
    to_device: Vec<Value>,
    /// Events of the timeline that were handed out.
    seen: usize,
}

#[derive(Default)]
pub struct StandIn {
    devices: RefCell<BTreeMap<(String, String), Device>>,
    timeline: RefCell<Vec<Value>>,
}

impl Homeserver for StandIn {
    fn keys_upload(&self, user_id: &str, device_id: &str, body: &str) -> String {
        let request: Value = from_str(body).unwrap();
        self.device(user_id, device_id, |device| {
            if let Some(keys) = request.get("device_keys") {
                device.device_keys = Some(keys.clone());
            }
            if let Some(keys) = request["one_time_keys"].as_object() {
                device.one_time_keys.extend(keys.clone());
            }
            if let Some(keys) = request["fallback_keys"].as_object() {
                device.fallback_keys.extend(keys.clone());
            }
            json!({ "one_time_key_counts": key_counts(device) }).to_string()
        })
    }

    fn keys_query(&self, body: &str) -> String {
        let request: Value = from_str(body).unwrap();
        let mut found = json!({});
        for user_id in request["device_keys"].as_object().unwrap().keys() {
            found[user_id] = json!({});
            for ((owner, device_id), device) in self.devices.borrow().iter() {
                if let Some(keys) = device.device_keys.as_ref().filter(|_| owner == user_id) {
                    found[user_id][device_id] = keys.clone();
                }
            }
        }
        json!({ "device_keys": found, "failures": {} }).to_string()
    }

    fn keys_claim(&self, body: &str) -> String {
        let request: Value = from_str(body).unwrap();
        let mut found = json!({});
        for (user_id, devices) in request["one_time_keys"].as_object().unwrap() {
            for device_id in devices.as_object().unwrap().keys() {
                self.device(user_id, device_id, |device| {
                    let first = device.one_time_keys.keys().next().cloned();
                    let one_time = first.and_then(|id| device.one_time_keys.remove_entry(&id));
                    let fallback = || {
                        let (id, key) = device.fallback_keys.iter().next()?;
                        Some((id.clone(), key.clone()))
                    };
                    if let Some((key_id, key)) = one_time.or_else(fallback) {
                        found[user_id][device_id] = json!({ key_id: key });
                    }
                });
            }
        }
        json!({ "one_time_keys": found, "failures": {} }).to_string()
    }

    fn joined_members(&self) -> String {
        json!({ "joined": { "@alice:example.org": {}, "@bob:example.org": {} } }).to_string()
    }

    fn send_to_device(&self, user_id: &str, event_type: &str, body: &str) {
        let request: Value = from_str(body).unwrap();
        for (recipient, devices) in request["messages"].as_object().unwrap() {
            for (device_id, content) in devices.as_object().unwrap() {
                let event = json!({ "sender": user_id, "type": event_type, "content": content });
                self.device(recipient, device_id, |device| device.to_device.push(event));
            }
        }
    }

    fn send(&self, user_id: &str, event_type: &str, content: &str) -> String {
        let mut timeline = self.timeline.borrow_mut();
        let number = timeline.len() + 1;
        let event_id = format!("$event{number}");
        timeline.push(json!({
            "event_id": event_id, "sender": user_id, "type": event_type,
            "origin_server_ts": 1_700_000_000_000_u64 + number as u64,
            "content": from_str::<Value>(content).unwrap(),
        }));
        json!({ "event_id": event_id }).to_string()
    }

    fn sync(&self, user_id: &str, device_id: &str) -> String {
        let timeline = self.timeline.borrow();
        self.device(user_id, device_id, |device| {
            let to_device = std::mem::take(&mut device.to_device);
            let events = &timeline[device.seen..];
            device.seen = timeline.len();
            let fallback = !device.fallback_keys.is_empty();
            let types = if fallback { vec!["signed_curve25519"] } else { vec![] };
            json!({
                "to_device": { "events": to_device },
                "rooms": { "join": { ROOM: { "timeline": { "events": events } } } },
                "device_one_time_keys_count": key_counts(device),
                "device_unused_fallback_key_types": types,
            })
            .to_string()
        })
    }

    fn event(&self, event_id: &str) -> String {
        let timeline = self.timeline.borrow();
        let mut event =
            timeline.iter().find(|event| event["event_id"] == event_id).unwrap().clone();
        event["room_id"] = json!(ROOM);
        event.to_string()
    }
}

impl StandIn {
    fn device<T>(
        &self,
        user_id: &str,
        device_id: &str,
        use_it: impl FnOnce(&mut Device) -> T,
    ) -> T {
        let mut devices = self.devices.borrow_mut();
        use_it(devices.entry((user_id.to_owned(), device_id.to_owned())).or_default())
    }
}

fn key_counts(device: &Device) -> Value {
    json!({ "signed_curve25519": device.one_time_keys.len() })
}
