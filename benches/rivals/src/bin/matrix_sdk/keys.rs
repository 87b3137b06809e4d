//! Machines, their keys, the keys of others, and first messages.

use std::collections::BTreeMap;
use std::time::Instant;

use matrix_sdk_crypto::types::requests::AnyOutgoingRequest;
use matrix_sdk_crypto::{DecryptionSettings, EncryptionSyncChanges, OlmMachine, TrustRequirement};
use ruma::api::client::keys::upload_keys;
use ruma::api::client::sync::sync_events::DeviceLists;
use ruma::serde::Raw;
use ruma::{device_id, user_id};
use serde_json::{Value, json};

use crate::devices::{Devices, know};
use crate::machine::Place;
use crate::measure::{Task, Timer};
use crate::share;

/// With its one-time keys.
pub async fn account(task: &Task, place: &Place) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 50) {
        let builder = place.builder().await;
        let start = Instant::now();
        let _machine = builder.build().await.unwrap();
        timer.stop(start);
    }
    place.result(&timer)
}

/// The request that uploads them, signed.
pub async fn one_time_keys(task: &Task, place: &Place) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 50) {
        let machine = place.alice().await;
        let start = Instant::now();
        let _requests = machine.outgoing_requests().await.unwrap();
        timer.stop(start);
    }
    place.result(&timer)
}

/// One answer to /keys/query for all devices; each is stored too.
pub async fn verify_device(task: &Task, place: &Place) -> f64 {
    let (machine, devices) = (place.alice().await, Devices::read(task));
    machine.update_tracked_users(devices.users()).await.unwrap();
    let start = Instant::now();
    devices.receive_keys(&machine).await;
    start.elapsed().as_secs_f64() * 1e6 / task.count as f64
}

/// What a machine uploads, in the shape of the material.
async fn published(machine: &OlmMachine) -> Value {
    let requests = machine.outgoing_requests().await.unwrap();
    let upload = requests.iter().find_map(|request| match request.request() {
        AnyOutgoingRequest::KeysUpload(upload) => Some((request.request_id(), upload)),
        _ => None,
    });
    let (id, upload) = upload.unwrap();
    let (key_id, key) = upload.one_time_keys.iter().next().unwrap();
    let device = json!({
        "user_id": machine.user_id(),
        "device_id": machine.device_id(),
        "device_keys": upload.device_keys,
        "one_time_key": { key_id.to_string(): key },
    });
    let mut answer = upload_keys::v3::Response::new(BTreeMap::new());
    let count = upload.one_time_keys.len() as u32;
    answer.one_time_key_counts.insert("signed_curve25519".into(), count.into());
    machine.mark_request_as_sent(id, &answer).await.unwrap();
    device
}

/// A whole sync with a room key in a pre-key message.
pub async fn inbound_channel(task: &Task, place: &Place) -> f64 {
    let settings =
        DecryptionSettings { sender_device_trust_requirement: TrustRequirement::Untrusted };
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 50) {
        let alice = place.alice().await;
        let bob = OlmMachine::new(user_id!("@bob:example.org"), device_id!("BOBDEVICE")).await;
        let devices = Devices::new(&[published(&alice).await]);
        know(&bob, &devices).await;
        devices.open_sessions(&bob).await;
        let requests = share::share(&bob, &devices).await;
        let content = requests[0].messages.values().next().unwrap().values().next().unwrap();
        let event = json!({
            "type": "m.room.encrypted",
            "sender": "@bob:example.org",
            "content": content,
        });
        let counts = BTreeMap::from([("signed_curve25519".into(), 49_u32.into())]);
        let changes = EncryptionSyncChanges {
            to_device_events: vec![Raw::from_json_string(event.to_string()).unwrap()],
            changed_devices: &DeviceLists::new(),
            one_time_keys_counts: &counts,
            unused_fallback_keys: None,
            next_batch_token: None,
        };
        let start = Instant::now();
        let (_, room_keys) = alice.receive_sync_changes(changes, &settings).await.unwrap();
        timer.stop(start);
        assert_eq!(room_keys.len(), 1);
    }
    place.result(&timer)
}
