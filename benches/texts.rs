//! What is encrypted and signed: the same in every program.

use serde_json::{Value, json};

use crate::measure::Task;

pub const ROOM: &str = "!room:example.org";
pub const SENDER: &str = "@bob:example.org";

pub fn content(bytes: usize) -> Value {
    json!({"msgtype": "m.text", "body": "x".repeat(bytes)})
}

/// What is encrypted for a room, so that everybody encrypts the same bytes.
pub fn room_plaintext(bytes: usize) -> String {
    json!({"type": "m.room.message", "room_id": ROOM, "content": content(bytes)}).to_string()
}

/// A plaintext as long as the envelope that Olm messages have to have, with the sender's keys.
pub fn olm_plaintext(content: &str) -> String {
    format!("{content}{}", "y".repeat(900))
}

/// As long as the canonical device keys of one device.
pub const DEVICE_KEYS: &str = r#"{"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"device_id":"ALICEDEVICE","keys":{"curve25519:ALICEDEVICE":"PzjSz3MiIGaZAVjWwkdVEdDAXh+3S6R6rK/vs30LDgA","ed25519:ALICEDEVICE":"nGw+NyiY9m3NpQ1pPI+9jsxWWn3+oufWz9RgK0OWwOM"},"user_id":"@alice:example.org"}"#;

/// As long as an `m.room_key` in the envelope of an Olm message.
pub fn room_key_plaintext(task: &Task) -> String {
    olm_plaintext(&task.read("room_key.json").to_string())
}
