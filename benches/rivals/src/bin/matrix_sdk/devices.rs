//! Other devices, as the server tells of them.

use std::collections::BTreeMap;

use matrix_sdk_crypto::OlmMachine;
use ruma::api::client::keys::{claim_keys, get_keys};
use ruma::serde::Raw;
use ruma::{OwnedUserId, TransactionId, UserId};
use serde_json::Value;

use crate::measure::Task;

pub struct Devices {
    pub users: Vec<OwnedUserId>,
    query: get_keys::v3::Response,
    claim: claim_keys::v3::Response,
}

fn raw<T>(value: &Value) -> Raw<T> {
    Raw::from_json_string(value.to_string()).unwrap()
}

impl Devices {
    pub fn read(task: &Task) -> Self {
        let devices = task.read("devices.json");
        Self::new(&devices.as_array().unwrap()[..task.count])
    }

    /// Of such descriptions as the material has.
    pub fn new(devices: &[Value]) -> Self {
        let mut query = get_keys::v3::Response::new();
        let mut keys: BTreeMap<OwnedUserId, BTreeMap<_, _>> = BTreeMap::new();
        for device in devices {
            let user: OwnedUserId = UserId::parse(device["user_id"].as_str().unwrap()).unwrap();
            let id = device["device_id"].as_str().unwrap();
            let of_user = query.device_keys.entry(user.clone()).or_default();
            of_user.insert(id.into(), raw(&device["device_keys"]));
            let (key_id, key) = device["one_time_key"].as_object().unwrap().iter().next().unwrap();
            let claimed = BTreeMap::from([(key_id.parse().unwrap(), raw(key))]);
            keys.entry(user).or_default().insert(id.into(), claimed);
        }
        let users = keys.keys().cloned().collect();
        Self { users, query, claim: claim_keys::v3::Response::new(keys) }
    }

    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.users.iter().map(AsRef::as_ref)
    }

    /// The answer to /keys/query.
    pub async fn receive_keys(&self, machine: &OlmMachine) {
        let request = TransactionId::new();
        machine.mark_request_as_sent(&request, &self.query).await.unwrap();
    }

    /// The request to /keys/claim, and its answer.
    pub async fn open_sessions(&self, machine: &OlmMachine) {
        let (request, _) = machine.get_missing_sessions(self.users()).await.unwrap().unwrap();
        machine.mark_request_as_sent(&request, &self.claim).await.unwrap();
    }
}

pub async fn know(machine: &OlmMachine, devices: &Devices) {
    machine.update_tracked_users(devices.users()).await.unwrap();
    devices.receive_keys(machine).await;
}
