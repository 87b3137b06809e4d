//! What is kept in memory.

use std::ffi::CString;

use super::place::Place;
use super::share::{self, devices, open_channels};
use super::{DEVICE, USER};
use crate::c_abi::{self, c};
use crate::measure::{self, Task, heap};
use crate::texts::ROOM;

/// A loaded channel with one Olm session: what stays when the handle is freed. The store is in memory,
/// so that no cache of SQLite's is counted, and holds everything before the counting begins.
pub fn olm_session(task: &Task) -> f64 {
    let store = c_abi::store(None);
    let devices = devices(task);
    open_channels(&c_abi::account(&store, USER, DEVICE), &devices);
    let names: Vec<_> = devices
        .iter()
        .map(|device| {
            let text = |name: &str| c(device[name].as_str().unwrap());
            (text("user_id"), text("identity_key"))
        })
        .collect();
    let alice = c_abi::account(&store, USER, DEVICE);
    let before = heap();
    for (user, identity) in &names {
        c_abi::stored_channel(&alice, user, identity);
    }
    (heap() - before) / task.count as f64
}

pub fn room_key(task: &Task) -> f64 {
    let store = c_abi::store(None);
    let mut ids: Vec<CString> = Vec::new();
    let alice = c_abi::account(&store, USER, DEVICE);
    for export in task.read("exports.json").as_array().unwrap().iter().take(task.count) {
        c_abi::exported(&alice, &c(&export.to_string()));
        ids.push(c(export["session_id"].as_str().unwrap()));
    }
    drop(alice);
    let alice = c_abi::account(&store, USER, DEVICE);
    let before = heap();
    for id in &ids {
        c_abi::stored_room_key(&alice, &c(ROOM), id);
    }
    (heap() - before) / task.count as f64
}

/// The most that a process needs that opens its store and encrypts for all devices.
pub fn peak(task: &Task, place: &Place) -> f64 {
    measure::prepared_by_another_process(task, &share::prepared_name(task), "share_existing");
    let alice = share::alice(task, place);
    let items = CString::new(std::fs::read(task.folder.join("items.json")).unwrap()).unwrap();
    let answers = c_abi::encrypt_for_devices(&alice, &items);
    assert!(answers.to_bytes().len() > 500 * task.count);
    measure::peak()
}
