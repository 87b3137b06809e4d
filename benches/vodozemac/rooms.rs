//! Megolm sessions and their messages.

use std::collections::HashMap;

use serde_json::Value;
use vodozemac::megolm::{
    ExportedSessionKey, GroupSession, InboundGroupSession, MegolmMessage, SessionConfig, SessionKey,
};

use crate::measure::{Task, Timer, shuffle, together};
use crate::texts;

pub fn encrypt(task: &Task) -> f64 {
    let (mut session, text) = (GroupSession::default(), texts::room_plaintext(task.size));
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| session.encrypt(&text).to_base64());
    }
    timer.of_processor()
}

fn decrypt_one(session: &mut InboundGroupSession, ciphertext: &str) -> Vec<u8> {
    session.decrypt(&MegolmMessage::from_base64(ciphertext).unwrap()).unwrap().plaintext
}

fn sessions(traffic: &Value) -> Vec<InboundGroupSession> {
    let key = |session: &Value| {
        let key = session["room_key"]["session_key"].as_str().unwrap();
        InboundGroupSession::new(&SessionKey::from_base64(key).unwrap(), SessionConfig::version_1())
    };
    traffic["sessions"].as_array().unwrap().iter().map(key).collect()
}

/// Each ciphertext with the number of its session.
fn messages(
    traffic: &Value,
    sessions: &[InboundGroupSession],
    count: usize,
) -> Vec<(usize, String)> {
    let numbers: HashMap<_, _> = sessions
        .iter()
        .enumerate()
        .map(|(number, session)| (session.session_id(), number))
        .collect();
    let message = |event: &Value| {
        let content = &event["content"];
        let number = numbers[content["session_id"].as_str().unwrap()];
        (number, content["ciphertext"].as_str().unwrap().to_owned())
    };
    traffic["events"].as_array().unwrap().iter().take(count).map(message).collect()
}

pub fn decrypt(task: &Task) -> f64 {
    let traffic = task.read(&format!("events-{}.json", task.size));
    let mut sessions = sessions(&traffic);
    let mut timer = Timer::default();
    for (number, ciphertext) in messages(&traffic, &sessions, task.count) {
        timer.time(|| decrypt_one(&mut sessions[number], &ciphertext));
    }
    timer.of_processor()
}

pub fn backlog(task: &Task, file: &str, random: bool) -> f64 {
    let traffic = task.read(file);
    let mut sessions = sessions(&traffic);
    let mut messages = messages(&traffic, &sessions, task.count);
    if random {
        shuffle(&mut messages);
    }
    let decrypt =
        |(number, ciphertext): &(usize, String)| decrypt_one(&mut sessions[*number], ciphertext);
    together(task.count, || messages.iter().map(decrypt).collect::<Vec<_>>()).0
}

pub fn decrypt_in_batches(task: &Task) -> f64 {
    let traffic = task.read("deep.json");
    let mut sessions = sessions(&traffic);
    let messages = messages(&traffic, &sessions, task.count);
    let batch = task.count.div_ceil(10);
    let mut timer = Timer::default();
    for messages in messages.chunks(batch) {
        let decrypt = |(number, ciphertext): &(usize, String)| {
            decrypt_one(&mut sessions[*number], ciphertext)
        };
        timer.time(|| messages.iter().map(decrypt).collect::<Vec<_>>());
    }
    timer.of_processor() / batch as f64
}

pub fn session_id(task: &Task) -> f64 {
    let session = &sessions(&task.read("deep.json"))[0];
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| session.session_id());
    }
    timer.of_processor()
}

pub fn exports(task: &Task) -> Vec<String> {
    let text = |export: &Value| export["session_key"].as_str().unwrap().to_owned();
    task.read("exports.json").as_array().unwrap().iter().take(task.count).map(text).collect()
}

pub fn import(key: &str) -> InboundGroupSession {
    let key = ExportedSessionKey::from_base64(key).unwrap();
    InboundGroupSession::import(&key, SessionConfig::version_1())
}

pub fn import_keys(task: &Task) -> f64 {
    let keys = exports(task);
    together(task.count, || keys.iter().map(|key| import(key)).collect::<Vec<_>>()).0
}
