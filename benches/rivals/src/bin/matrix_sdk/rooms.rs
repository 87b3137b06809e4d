//! Room keys and room events.

use std::time::Instant;

use matrix_sdk_crypto::olm::ExportedRoomKey;
use matrix_sdk_crypto::types::events::room::encrypted::EncryptedEvent;
use matrix_sdk_crypto::{DecryptionSettings, EncryptionSettings, OlmMachine, TrustRequirement};
use ruma::serde::Raw;
use ruma::{RoomId, UserId};
use serde_json::Value;

use crate::machine::Place;
use crate::measure::{Task, Timer, heap, shuffle};
use crate::texts::{self, ROOM};

pub fn room() -> &'static RoomId {
    ROOM.try_into().unwrap()
}

pub fn settings() -> EncryptionSettings {
    EncryptionSettings { rotation_period_msgs: 10_000, ..Default::default() }
}

pub async fn encrypt(task: &Task, place: &Place) -> f64 {
    let machine = place.alice().await;
    machine.share_room_key(room(), std::iter::empty::<&UserId>(), settings()).await.unwrap();
    let content = Raw::from_json_string(texts::content(task.size).to_string()).unwrap();
    let mut timer = Timer::default();
    for _ in 0..task.count {
        let start = Instant::now();
        let result = machine.encrypt_room_event_raw(room(), "m.room.message", &content).await;
        let _text = result.unwrap().content.json().get().len();
        timer.stop(start);
    }
    place.result(&timer)
}

async fn import(machine: &OlmMachine, exports: &[String]) {
    let keys = exports.iter().map(|text| serde_json::from_str::<ExportedRoomKey>(text).unwrap());
    let store = machine.store();
    let result = store.import_exported_room_keys(keys.collect(), |_, _| {}).await.unwrap();
    assert_eq!(result.imported_count, exports.len());
}

/// A machine that has the keys, and the events.
async fn read(task: &Task, place: &Place, file: &str) -> (OlmMachine, Vec<Raw<EncryptedEvent>>) {
    let traffic = task.read(file);
    let export = |session: &Value| session["export"].to_string();
    let exports: Vec<_> = traffic["sessions"].as_array().unwrap().iter().map(export).collect();
    let machine = place.alice().await;
    import(&machine, &exports).await;
    let events = traffic["events"].as_array().unwrap().iter().take(task.count);
    (machine, events.map(|event| Raw::from_json_string(event.to_string()).unwrap()).collect())
}

async fn decrypt_one(machine: &OlmMachine, event: &Raw<EncryptedEvent>) {
    let settings =
        DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };
    let event = machine.decrypt_room_event(event, room(), &settings).await.unwrap();
    std::hint::black_box(event);
}

pub async fn decrypt(task: &Task, place: &Place) -> f64 {
    let file = format!("events-{}.json", task.size);
    let (machine, events) = read(task, place, &file).await;
    let mut timer = Timer::default();
    for event in &events {
        let start = Instant::now();
        decrypt_one(&machine, event).await;
        timer.stop(start);
    }
    place.result(&timer)
}

/// One event after the other: it has no call for many.
pub async fn backlog(task: &Task, place: &Place, file: &str, random: bool) -> f64 {
    let (machine, mut events) = read(task, place, file).await;
    if random {
        shuffle(&mut events);
    }
    let start = Instant::now();
    for event in &events {
        decrypt_one(&machine, event).await;
    }
    start.elapsed().as_secs_f64() * 1e6 / task.count as f64
}

fn exports(task: &Task) -> Vec<String> {
    let exports = task.read("exports.json");
    exports.as_array().unwrap().iter().take(task.count).map(Value::to_string).collect()
}

/// All in one call.
pub async fn import_keys(task: &Task, place: &Place) -> f64 {
    let (machine, exports) = (place.alice().await, exports(task));
    let start = Instant::now();
    import(&machine, &exports).await;
    start.elapsed().as_secs_f64() * 1e6 / task.count as f64
}

/// In the store in memory, where all of them are loaded.
pub async fn bytes(task: &Task, place: &Place) -> f64 {
    let (machine, exports) = (place.alice().await, exports(task));
    let before = heap();
    import(&machine, &exports).await;
    (heap() - before) / task.count as f64
}
