//! What the parent tells the child and what the child answers: one line of JSON each.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The account that is crashed.
pub const USER: &str = "@crash:test";
pub const DEVICE: &str = "CRASH";
/// The store is opened with 32 times one of these bytes; the first makes it.
pub const STORE_KEYS: [u8; 2] = [7, 8];

/// What the child writes before it opens its store.
pub const OPENING: &str = "\"opening\"";

/// One command. `fresh` drops the handles that the child holds, so that it opens new ones.
#[derive(Serialize, Deserialize, Debug)]
pub struct Command {
    pub id: u64,
    pub fresh: bool,
    pub op: Op,
}

/// The answer to a command, written right after the library's call has returned.
#[derive(Serialize, Deserialize, Debug)]
pub struct Answer {
    pub id: u64,
    pub result: Result<Value, Value>,
    /// How long the store's log was then: all of it may be relied on.
    pub log: u64,
}

/// The other end of an Olm channel.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    pub user_id: String,
    pub identity_key: String,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
pub enum Op {
    /// What the store holds: the first command after each start.
    Report {
        partners: Vec<Partner>,
        rooms: Vec<String>,
    },
    UploadRequest,
    UploadResponse {
        status: u16,
        body: String,
    },
    KeyCounts {
        counts: String,
        fallback_types: Option<String>,
    },
    CreateChannel {
        device_keys: String,
        one_time_key: String,
    },
    AddSession {
        partner: Partner,
        one_time_key: String,
    },
    SetDeviceKeys {
        partner: Partner,
        device_keys: String,
    },
    Encrypt {
        partner: Partner,
        event_type: String,
        content: Value,
    },
    /// One event for each of several partners, with one commit.
    EncryptForDevices {
        items: Vec<(Partner, Value)>,
    },
    /// Decrypts in the channel with the partner, or makes one from the message (O22).
    Receive {
        partner: Partner,
        content: String,
    },
    EraseChannel {
        partner: Partner,
    },
    RoomKey {
        partner: Partner,
        content: String,
    },
    Export {
        data: String,
    },
    Decrypt {
        room_id: String,
        session_id: String,
        events: Vec<Value>,
    },
    EraseInbound {
        room_id: String,
        session_id: String,
    },
    CreateOutbound {
        room_id: String,
        settings: Option<String>,
    },
    /// `from_outbound_session`, and its key, so that the parent can judge all that follows.
    OwnInbound {
        room_id: String,
    },
    Share {
        room_id: String,
        recipients: String,
    },
    MarkAsSent {
        room_id: String,
        devices: String,
    },
    EncryptRoom {
        room_id: String,
        content: Value,
    },
    Invalidate {
        room_id: String,
    },
    /// Opens the store with another key from now on.
    Rekey {
        key: u8,
    },
    /// Closes the store and ends the process.
    ShutDown,
}

impl Op {
    /// The operation's name, for the statistics of where kills fell.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        text.chars().take_while(char::is_ascii_alphanumeric).collect()
    }
}

impl Partner {
    /// The partner as the key of a map.
    pub fn key(&self) -> String {
        format!("{} {}", self.user_id, self.identity_key)
    }
}

/// The content of a message; its number makes it different from all others.
pub fn message_content(number: u64) -> Value {
    json!({ "body": format!("message {number}"), "number": number })
}
