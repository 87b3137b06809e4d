//! A room key for many devices.

use std::sync::Arc;
use std::time::Instant;

use matrix_sdk_crypto::OlmMachine;
use matrix_sdk_crypto::types::requests::ToDeviceRequest;
use ruma::UserId;
use ruma::api::client::to_device::send_event_to_device;

use crate::devices::{Devices, know};
use crate::machine::Place;
use crate::measure::{self, Task};
use crate::rooms::{room, settings};

pub async fn share(machine: &OlmMachine, devices: &Devices) -> Vec<Arc<ToDeviceRequest>> {
    machine.share_room_key(room(), devices.users(), settings()).await.unwrap()
}

/// What a store is called that has an Olm session with each device.
fn prepared_name(task: &Task) -> String {
    format!("matrix-sdk-{}", task.count)
}

/// A machine that has an Olm session with each device.
async fn alice(task: &Task, place: &Place) -> OlmMachine {
    let prepare = async |machine: &OlmMachine| {
        let devices = Devices::read(task);
        know(machine, &devices).await;
        devices.open_sessions(machine).await;
    };
    place.alice_prepared(&prepared_name(task), prepare).await
}

fn each(task: &Task, start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6 / task.count as f64
}

fn complete(task: &Task, requests: &[Arc<ToDeviceRequest>]) {
    let count: usize = requests.iter().map(|request| request.message_count()).sum();
    assert_eq!(count, task.count);
}

pub async fn existing(task: &Task, place: &Place) -> f64 {
    let (machine, devices) = (alice(task, place).await, Devices::read(task));
    let start = Instant::now();
    let requests = share(&machine, &devices).await;
    let time = each(task, start);
    complete(task, &requests);
    time
}

/// The device keys are known: the answer with the one-time keys, and the room key.
pub async fn new(task: &Task, place: &Place) -> f64 {
    let (machine, devices) = (place.alice().await, Devices::read(task));
    know(&machine, &devices).await;
    let start = Instant::now();
    devices.open_sessions(&machine).await;
    let requests = share(&machine, &devices).await;
    let time = each(task, start);
    complete(task, &requests);
    time
}

/// With marking each request as sent.
pub async fn whole(task: &Task, place: &Place) -> f64 {
    let (machine, devices) = (alice(task, place).await, Devices::read(task));
    let start = Instant::now();
    let requests = share(&machine, &devices).await;
    for request in &requests {
        let answer = send_event_to_device::v3::Response::new();
        machine.mark_request_as_sent(&request.txn_id, &answer).await.unwrap();
    }
    let time = each(task, start);
    complete(task, &requests);
    time
}

/// The most that a process needs that opens its store and encrypts for all devices.
pub async fn peak(task: &Task, place: &Place) -> f64 {
    measure::prepared_by_another_process(task, &prepared_name(task), "share_existing");
    let machine = alice(task, place).await;
    // As in the material: four devices each.
    let users: Vec<_> = (0..task.count.div_ceil(4))
        .map(|number| UserId::parse(format!("@user{number}:example.org")).unwrap())
        .collect();
    let users = users.iter().map(AsRef::as_ref);
    let requests = machine.share_room_key(room(), users, settings()).await.unwrap();
    complete(task, &requests);
    measure::peak()
}
