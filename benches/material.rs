//! Devices, room keys and events that all programs get alike, made by raw vodozemac.

use std::path::Path;

use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession};
use vodozemac::olm::Account;

use crate::texts::{ROOM, SENDER, room_plaintext};

/// Sizes of message bodies; the last one fills an event of 64 KiB.
const SIZES: [usize; 3] = [128, 1024, 47_000];

/// Writes all files; so many of everything.
pub fn write(folder: &Path, devices: usize, events: usize, exports: usize) {
    let save = |name: &str, value: Value| {
        std::fs::write(folder.join(name), value.to_string()).unwrap();
    };
    let sender = Device::new(SENDER, "BOBDEVICE");
    for size in SIZES {
        save(&format!("events-{size}.json"), traffic(&sender, 1, (events / 10).max(20), size));
    }
    save("backlog.json", traffic(&sender, (events / 100).max(1), events, 1024));
    let deep = traffic(&sender, 1, events, 1024);
    std::fs::write(folder.join("deep.lines"), lines(&deep)).unwrap();
    save("deep.json", deep);
    let devices = (0..devices).map(|number| {
        let user = format!("@user{}:example.org", number / 4);
        Device::new(&user, &format!("DEVICE{}", number % 4)).public()
    });
    let devices: Vec<_> = devices.collect();
    let room_key = room_key(&GroupSession::default());
    save("items.json", devices.iter().map(|device| item(device, &room_key)).collect());
    save("devices.json", devices.into());
    save("room_key.json", room_key);
    save("exports.json", (0..exports).map(|_| export(&sender, &GroupSession::default())).collect());
}

/// The sender's key, the room key, and each event: for programs without a JSON library.
fn lines(traffic: &Value) -> String {
    let mut lines = vec![traffic["sender_key"].as_str().unwrap().to_owned()];
    lines.push(traffic["sessions"][0]["room_key"].to_string());
    lines.extend(traffic["events"].as_array().unwrap().iter().map(Value::to_string));
    lines.join("\n")
}

/// What `encrypt_for_devices` is told of a device.
pub fn item(device: &Value, content: &Value) -> Value {
    json!({
        "user_id": device["user_id"],
        "identity_key": device["identity_key"],
        "type": "m.room_key",
        "content": content,
    })
}

pub struct Device {
    user: String,
    device: String,
    account: Account,
}

impl Device {
    pub fn new(user: &str, device: &str) -> Self {
        Self { user: user.to_owned(), device: device.to_owned(), account: Account::new() }
    }

    pub fn identity_key(&self) -> String {
        self.account.curve25519_key().to_base64()
    }

    /// serde_json sorts keys and leaves no spaces: that is canonical here.
    fn sign(&self, mut object: Value) -> Value {
        let signature = self.account.sign(object.to_string()).to_base64();
        object["signatures"] =
            json!({ &self.user: { format!("ed25519:{}", self.device): signature } });
        object
    }

    /// What a server tells others of it.
    fn public(mut self) -> Value {
        let keys = json!({
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "device_id": self.device,
            "keys": {
                format!("curve25519:{}", self.device): self.account.curve25519_key().to_base64(),
                format!("ed25519:{}", self.device): self.account.ed25519_key().to_base64(),
            },
            "user_id": self.user,
        });
        let key = self.account.generate_one_time_keys(1).created[0].to_base64();
        json!({
            "user_id": self.user,
            "device_id": self.device,
            "identity_key": self.account.curve25519_key().to_base64(),
            "fingerprint_key": self.account.ed25519_key().to_base64(),
            "device_keys": self.sign(keys),
            "one_time_key": { "signed_curve25519:AAAAAQ": self.sign(json!({ "key": key })) },
        })
    }
}

/// The content of an `m.room_key`.
pub fn room_key(session: &GroupSession) -> Value {
    json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "room_id": ROOM,
        "session_id": session.session_id(),
        "session_key": session.session_key().to_base64(),
        "shared_history": true,
    })
}

pub fn export(sender: &Device, session: &GroupSession) -> Value {
    let key = InboundGroupSession::from(session).export_at_first_known_index();
    json!({
        "algorithm": "m.megolm.v1.aes-sha2",
        "forwarding_curve25519_key_chain": [],
        "room_id": ROOM,
        "sender_claimed_keys": { "ed25519": sender.account.ed25519_key().to_base64() },
        "sender_key": sender.account.curve25519_key().to_base64(),
        "session_id": session.session_id(),
        "session_key": key.to_base64(),
    })
}

/// Sessions, and the events that they encrypted in turn.
fn traffic(sender: &Device, sessions: usize, events: usize, bytes: usize) -> Value {
    let mut groups: Vec<_> = (0..sessions).map(|_| GroupSession::default()).collect();
    let sessions: Vec<_> = groups
        .iter()
        .map(|group| json!({ "room_key": room_key(group), "export": export(sender, group) }))
        .collect();
    let plaintext = room_plaintext(bytes);
    let events = (0..events).map(|index| {
        let count = groups.len();
        event(sender, &mut groups[index % count], index, &plaintext)
    });
    let events: Vec<_> = events.collect();
    json!({ "sender_key": sender.identity_key(), "sessions": sessions, "events": events })
}

/// The next event of a session; the index tells it from all others of the room.
pub fn event(sender: &Device, group: &mut GroupSession, index: usize, plaintext: &str) -> Value {
    json!({
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": group.encrypt(plaintext).to_base64(),
            "device_id": sender.device,
            "sender_key": sender.identity_key(),
            "session_id": group.session_id(),
        },
        "event_id": format!("$event{index}"),
        "origin_server_ts": 1_700_000_000_000_u64 + index as u64,
        "room_id": ROOM,
        "sender": sender.user,
        "type": "m.room.encrypted",
    })
}
