//! Messages of a room, one by one.

use serde_json::json;
use vodozemac::megolm::GroupSession;

use super::MESSAGE;
use super::place::Place;
use crate::c_abi::{self, Owned, c};
use crate::measure::{Task, Timer};
use crate::texts::{self, ROOM, SENDER};

/// None, and nothing that ends a session early.
pub const RECIPIENTS: &str = r#"{"encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 10000}, "members": {}, "device_keys": {}}"#;

/// A session that has its recipients.
pub fn session(account: &Owned) -> Owned {
    let session = c_abi::room_session(account, &c(ROOM));
    c_abi::keys_for_sending(&session, &c(RECIPIENTS));
    session
}

pub fn encrypt(task: &Task, place: &Place) -> f64 {
    let session = session(&place.alice());
    let content = c(&texts::content(task.size).to_string());
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| c_abi::room_encrypt(&session, MESSAGE, &content));
    }
    place.result(&timer)
}

pub fn decrypt(task: &Task, place: &Place) -> f64 {
    let traffic = task.read(&format!("events-{}.json", task.size));
    let session = &receive_keys(&place.alice(), &traffic)[0];
    let mut timer = Timer::default();
    for event in traffic["events"].as_array().unwrap().iter().take(task.count) {
        let event = c(&event.to_string());
        timer.time(|| c_abi::room_decrypt(session, &event));
    }
    place.result(&timer)
}

/// A page of those sessions, wherever it begins: what each session in it costs.
pub fn list_page(task: &Task, place: &Place) -> f64 {
    const PAGES: usize = 20;
    let on_a_page = task.count.min(1_000);
    let alice = place.alice();
    let sender_key = c("hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo");
    let mut ids: Vec<_> = (0..task.count)
        .map(|number| {
            let session = GroupSession::default();
            let (id, key) = (session.session_id(), session.session_key().to_base64());
            let key = json!({"algorithm": "m.megolm.v1.aes-sha2", "session_id": id,
                             "room_id": format!("!room{}:example.org", number / 50),
                             "session_key": key});
            c_abi::room_key(&alice, &c(SENDER), &sender_key, &c(&key.to_string()));
            id
        })
        .collect();
    ids.sort_unstable();
    let mut timer = Timer::default();
    let mut found = 0;
    for page in 0..PAGES {
        let before = (page * task.count / PAGES).min(task.count.saturating_sub(1_001));
        let after = (before > 0).then(|| c(&ids[before]));
        let sessions = timer.time(|| c_abi::list_sessions(&alice, after.as_deref()));
        found += sessions.to_bytes().windows(12).filter(|text| text == b"\"session_id\"").count();
    }
    assert_eq!(found, PAGES * on_a_page);
    place.result(&timer) / on_a_page as f64
}

/// What a call costs that does next to nothing.
pub fn bare_call(task: &Task, place: &Place) -> f64 {
    let session = &receive_keys(&place.alice(), &task.read("deep.json"))[0];
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| c_abi::session_id(session));
    }
    place.result(&timer)
}

/// One that takes and gives a text.
pub fn bare_text(task: &Task, place: &Place) -> f64 {
    let content = c(&texts::content(task.size).to_string());
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| c_abi::canonical_json(&content));
    }
    place.result(&timer)
}

/// As if the room keys had come through a channel.
pub fn receive_keys(account: &Owned, traffic: &serde_json::Value) -> Vec<Owned> {
    let sender_key = c(traffic["sender_key"].as_str().unwrap());
    let sessions = traffic["sessions"].as_array().unwrap().iter();
    sessions
        .map(|session| {
            let key = c(&session["room_key"].to_string());
            c_abi::room_key(account, &c(SENDER), &sender_key, &key)
        })
        .collect()
}
