//! Megolm sessions and their messages.

use std::collections::HashMap;

use serde_json::Value;

use crate::ffi::{Inbound, Outbound};
use crate::measure::{Task, Timer, heap, shuffle, together};
use crate::texts;

pub fn encrypt(task: &Task) -> f64 {
    let (session, text) = (Outbound::new(), texts::room_plaintext(task.size));
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| session.encrypt(&text));
    }
    timer.of_processor()
}

/// Sessions by their IDs, and each event's session ID and ciphertext.
fn read(task: &Task, file: &str) -> (HashMap<String, Inbound>, Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let traffic = task.read(file);
    let sessions = traffic["sessions"].as_array().unwrap().iter().map(|session| {
        let key = &session["room_key"];
        (text(&key["session_id"]), Inbound::new(key["session_key"].as_str().unwrap()))
    });
    let events = traffic["events"].as_array().unwrap().iter().take(task.count);
    let message = |event: &Value| {
        (text(&event["content"]["session_id"]), text(&event["content"]["ciphertext"]))
    };
    (sessions.collect(), events.map(message).collect())
}

pub fn decrypt(task: &Task) -> f64 {
    let (sessions, messages) = read(task, &format!("events-{}.json", task.size));
    let mut timer = Timer::default();
    for (id, ciphertext) in &messages {
        let session = &sessions[id];
        timer.time(|| session.decrypt(ciphertext));
    }
    timer.of_processor()
}

pub fn backlog(task: &Task, file: &str, random: bool) -> f64 {
    let (sessions, mut messages) = read(task, file);
    if random {
        shuffle(&mut messages);
    }
    let decrypt = |(id, ciphertext): &(String, String)| sessions[id].decrypt(ciphertext);
    together(task.count, || messages.iter().map(decrypt).collect::<Vec<_>>()).0
}

fn exports(task: &Task) -> Vec<String> {
    let text = |export: &Value| export["session_key"].as_str().unwrap().to_owned();
    task.read("exports.json").as_array().unwrap().iter().take(task.count).map(text).collect()
}

pub fn import_keys(task: &Task) -> f64 {
    let keys = exports(task);
    let import = || keys.iter().map(|key| Inbound::import(key)).collect::<Vec<_>>();
    together(task.count, import).0
}

pub fn bytes(task: &Task) -> f64 {
    let keys = exports(task);
    let mut sessions = Vec::with_capacity(task.count);
    let before = heap();
    sessions.extend(keys.iter().map(|key| Inbound::import(key)));
    (heap() - before) / task.count as f64
}
