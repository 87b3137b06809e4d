//! Bytes on the heap for each session that a program holds.

use vodozemac::olm::Account;

use super::keys::Device;
use super::{olm, rooms};
use crate::measure::{Task, heap};

/// What so many take, each of them.
fn each<T>(count: usize, mut make: impl FnMut() -> T) -> f64 {
    // In a list that does not grow: what is counted is in the boxes.
    let mut all = Vec::with_capacity(count);
    let before = heap();
    all.extend((0..count).map(|_| Box::new(make())));
    (heap() - before) / count as f64
}

pub fn olm_session(task: &Task) -> f64 {
    let (alice, devices) = (Account::new(), Device::all(task));
    let mut devices = devices.iter();
    each(task.count, || olm::open(&alice, devices.next().unwrap()))
}

pub fn room_key(task: &Task) -> f64 {
    let keys = rooms::exports(task);
    let mut keys = keys.iter();
    each(task.count, || rooms::import(keys.next().unwrap()))
}
