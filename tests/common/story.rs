//! A session that somebody else claims as well: who sends, who is a member, and what each of them
//! can make a third device see.
#![allow(dead_code)] // Every test file uses another part.

use std::sync::Arc;

use matrixe2ee::{InboundMegolmSession, Result};
use serde_json::{Value, json};

use crate::rooms::*;

pub const MALLORY: &str = "@mallory:example.net";

/// Alice, who sends; Mallory, who is a member; and what each of them can make Bob see.
pub struct Story {
    pub alice: Device,
    pub mallory: Device,
    pub raw: RawSession,
    pub key: Value,
    pub export: Value,
    pub event: Value,
}

impl Story {
    pub fn of(alice: &Device, mallory: &Device) -> Self {
        let mut raw = RawSession::new();
        let (key, export) = (raw.room_key(), raw.export(alice));
        let event = alice.event("$genuine", &raw.message("I agree"));
        let (alice, mallory) = (alice.again(), mallory.again());
        Self { alice, mallory, raw, key, export, event }
    }

    pub fn new() -> Self {
        Self::of(&Device::new(ALICE, "A"), &Device::new(MALLORY, "M"))
    }

    pub fn key_for_another_room(&self) -> Value {
        let mut key = self.key.clone();
        key["room_id"] = json!("!other:example.org");
        key
    }

    /// The ciphertext, sent by Mallory as an event of her own.
    pub fn copied(&self) -> Value {
        self.mallory.event("$copy", &self.event["content"])
    }

    /// Another ratchet under the session's ID, as anybody can make it who knows the ID.
    pub fn forged(&self) -> Value {
        let other = RawSession::new().export(&self.alice);
        let mut bytes = from_base64(other["session_key"].as_str().unwrap());
        bytes.splice(133.., from_base64(&self.raw.id()));
        let mut data = self.export.clone();
        data["session_key"] = json!(base64(bytes));
        data
    }

    pub fn stored(&self, bob: &Device, sender: Option<&str>) -> Result<Arc<InboundMegolmSession>> {
        let sender = sender.map(str::to_owned);
        InboundMegolmSession::from_storage(&bob.account, ROOM, &self.raw.id(), sender)
    }
}

pub trait Receive {
    fn export(&self, data: &Value) -> Result<Arc<InboundMegolmSession>>;
    fn read(&self, event: &Value) -> std::result::Result<Value, String>;
}

impl Receive for Device {
    fn export(&self, data: &Value) -> Result<Arc<InboundMegolmSession>> {
        InboundMegolmSession::from_export(&self.account, &data.to_string(), None)
    }

    /// What is said of the event, or the error's name; alone and in a batch.
    fn read(&self, event: &Value) -> std::result::Result<Value, String> {
        let batch = answer(self.account.decrypt_room_events(&json!([event]).to_string()));
        let batch = match &batch[0]["event"] {
            Value::Null => Err(batch[0]["error"]["name"].as_str().unwrap().to_owned()),
            event => Ok(event["matrixe2ee"].clone()),
        };
        let id = event["content"]["session_id"].as_str().unwrap();
        let Ok(session) = InboundMegolmSession::from_storage(&self.account, ROOM, id, None) else {
            return batch;
        };
        let alone = match session.decrypt(&event.to_string()) {
            Ok(event) => Ok(parse(&event)["matrixe2ee"].clone()),
            Err(error) => Err(error.name().to_owned()),
        };
        assert_eq!(alone, batch);
        batch
    }
}
