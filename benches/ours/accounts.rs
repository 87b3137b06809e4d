//! Accounts and their keys.

use super::place::Place;
use super::{DEVICE, USER};
use crate::c_abi::{self, c};
use crate::measure::{Task, Timer};

pub fn account(task: &Task, place: &Place) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 50) {
        let store = place.store();
        timer.time(|| c_abi::account(&store, USER, DEVICE));
    }
    place.result(&timer)
}

/// 50 one-time keys and a fallback key.
pub fn one_time_keys(task: &Task, place: &Place) -> f64 {
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 50) {
        let account = place.alice();
        timer.time(|| c_abi::keys_upload_request(&account));
    }
    place.result(&timer)
}

pub fn verify_device(task: &Task) -> f64 {
    let mut timer = Timer::default();
    for device in task.read("devices.json").as_array().unwrap().iter().take(task.count) {
        let keys = c(&device["device_keys"].to_string());
        let user = c(device["user_id"].as_str().unwrap());
        let key_id = c(&format!("ed25519:{}", device["device_id"].as_str().unwrap()));
        let key = c(device["fingerprint_key"].as_str().unwrap());
        timer.time(|| c_abi::verify(&keys, &user, &key_id, &key));
    }
    timer.of_processor()
}
