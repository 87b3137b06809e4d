//! Batches: `encrypt_for_devices` and `decrypt_room_events` (DESIGN, section 3), each answer beside
//! what the single call says.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "common/mod.rs"]
mod common;
#[path = "batches/decrypt.rs"]
mod decrypt;
#[path = "batches/encrypt.rs"]
mod encrypt;
#[path = "common/in_threads.rs"]
mod in_threads;
#[path = "common/rooms.rs"]
mod rooms;
#[path = "batches/threads.rs"]
mod threads;

use matrixe2ee::Account;
use rooms::answer;
use serde_json::{Value, json};

/// The answers to a list, as many as it has items.
#[track_caller]
fn encrypt(account: &Account, items: &[Value]) -> Vec<Value> {
    list(answer(account.encrypt_for_devices(&json!(items).to_string())), items.len())
}

#[track_caller]
fn decrypt(account: &Account, events: &[Value]) -> Vec<Value> {
    list(answer(account.decrypt_room_events(&json!(events).to_string())), events.len())
}

#[track_caller]
fn list(answers: Value, count: usize) -> Vec<Value> {
    let Value::Array(answers) = answers else { panic!("{answers} is no list") };
    assert_eq!(answers.len(), count);
    answers
}

/// The name of an item's error.
#[track_caller]
fn error(item: &Value) -> &str {
    assert_eq!(item.as_object().unwrap().len(), 1, "{item}");
    item["error"]["name"].as_str().unwrap_or_else(|| panic!("{item} is no error"))
}
