//! Many room events in one call, and many room keys.

use serde_json::Value;

use super::place::Place;
use super::rooms::receive_keys;
use crate::c_abi::{self, Text, c};
use crate::measure::{Task, Timer, shuffle, together};

pub fn backlog(task: &Task, place: &Place, random: bool) -> f64 {
    let mut traffic = task.read("backlog.json");
    let alice = place.alice();
    drop(receive_keys(&alice, &traffic));
    let list = list(&mut traffic, task.count, random);
    let (time, answers) = together(task.count, || c_abi::decrypt_room_events(&alice, &list));
    all_good(&answers, "event", task.count);
    time
}

pub fn deep_session(task: &Task, place: &Place) -> f64 {
    let mut traffic = task.read("deep.json");
    let session = &receive_keys(&place.alice(), &traffic)[0];
    let list = list(&mut traffic, task.count, true);
    let (time, answers) = together(task.count, || c_abi::room_decrypt_many(session, &list));
    all_good(&answers, "event", task.count);
    time
}

/// Events of one session in ten calls.
pub fn decrypt_many(task: &Task, place: &Place) -> f64 {
    let traffic = task.read("deep.json");
    let session = &receive_keys(&place.alice(), &traffic)[0];
    let events = &traffic["events"].as_array().unwrap()[..task.count];
    let batch = task.count.div_ceil(10);
    let mut timer = Timer::default();
    for events in events.chunks(batch) {
        let list = c(&Value::from(events).to_string());
        let answers = timer.time(|| c_abi::room_decrypt_many(session, &list));
        all_good(&answers, "event", events.len());
    }
    place.result(&timer) / batch as f64
}

fn list(traffic: &mut Value, count: usize, random: bool) -> std::ffi::CString {
    let events = traffic["events"].as_array_mut().unwrap();
    events.truncate(count);
    if random {
        shuffle(events);
    }
    c(&traffic["events"].to_string())
}

pub fn all_good(answers: &Text, name: &str, count: usize) {
    let answers: Vec<Value> = serde_json::from_slice(answers.to_bytes()).unwrap();
    assert_eq!(answers.len(), count);
    assert!(answers.iter().all(|answer| answer.get(name).is_some()));
}

/// One call for all keys.
pub fn import_keys(task: &Task, place: &Place) -> f64 {
    let alice = place.alice();
    let exports = task.read("exports.json");
    let exports = exports.as_array().unwrap();
    let exports = &exports[..exports.len().min(place.count(task.count, 2000))];
    let list = c(&serde_json::to_string(exports).unwrap());
    let (each, report) = together(exports.len(), || c_abi::import_sessions(&alice, &list));
    let report: Value = serde_json::from_slice(report.to_bytes()).unwrap();
    assert_eq!(report["imported"], exports.len());
    each
}
