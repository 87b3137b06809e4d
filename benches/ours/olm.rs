//! Channels, and messages in them one by one.

use serde_json::{Value, json};

use super::place::Place;
use super::{DEVICE, MESSAGE, USER};
use crate::c_abi::{self, Owned, Text, c};
use crate::measure::{Task, Timer};
use crate::texts;

pub const BOB: &std::ffi::CStr = c"@bob:example.org";
const BOBS_DEVICE: &std::ffi::CStr = c"BOBDEVICE";

fn content(task: &Task) -> std::ffi::CString {
    c(&texts::content(task.size).to_string())
}

/// With the first message; both signatures, of device and one-time key, are checked.
pub fn outbound_channel(task: &Task, place: &Place) -> f64 {
    let (alice, content) = (place.alice(), content(task));
    let mut timer = Timer::default();
    let devices = task.read("devices.json");
    for device in devices.as_array().unwrap().iter().take(place.count(task.count, 100)) {
        let keys = c(&device["device_keys"].to_string());
        let key = c(&device["one_time_key"].to_string());
        timer.time(|| {
            let channel = c_abi::outbound_channel(&alice, &keys, &key);
            c_abi::olm_encrypt(&channel, MESSAGE, &content)
        });
    }
    place.result(&timer)
}

/// Bob, whose one-time keys are published, and one of them.
pub fn bob(store: &Owned) -> (Owned, std::ffi::CString) {
    let bob = c_abi::account(store, BOB, BOBS_DEVICE);
    let upload: Value =
        serde_json::from_slice(c_abi::keys_upload_request(&bob).to_bytes()).unwrap();
    c_abi::keys_uploaded(&bob);
    let (id, key) = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
    (bob, c(&json!({ id: key }).to_string()))
}

/// From a first message, for an account that has 50 one-time keys.
pub fn inbound_channel(task: &Task, place: &Place) -> f64 {
    let content = content(task);
    let alice = c_abi::account(&c_abi::store(None), USER, DEVICE);
    let identity = c_abi::identity_key(&alice);
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 50) {
        let (bob, key) = bob(&place.store());
        let channel = c_abi::outbound_channel(&alice, &c_abi::device_keys(&bob), &key);
        let message = c_abi::olm_encrypt(&channel, MESSAGE, &content);
        timer.time(|| c_abi::inbound_channel(&bob, USER, &identity, &message));
    }
    place.result(&timer)
}

/// Two ends of a channel that have talked, so that messages are normal ones. Alice's is measured.
fn talked(alice_place: &Place, bobs: &Owned) -> (Owned, Owned) {
    let (bob, key) = bob(bobs);
    talk(&alice_place.alice(), &bob, &key)
}

/// The two ends of a channel from Alice to Bob, after a message each way.
pub fn talk(alice: &Owned, bob: &Owned, key: &std::ffi::CStr) -> (Owned, Owned) {
    let a = c_abi::outbound_channel(alice, &c_abi::device_keys(bob), key);
    let first = c_abi::olm_encrypt(&a, c"m.dummy", c"{}");
    let b = c_abi::inbound_channel(bob, USER, &c_abi::identity_key(alice), &first);
    let answer = c_abi::olm_encrypt(&b, c"m.dummy", c"{}");
    c_abi::olm_decrypt(&a, &answer);
    (a, b)
}

pub fn encrypt(task: &Task, place: &Place) -> f64 {
    let (a, _b) = talked(place, &c_abi::store(None));
    let content = content(task);
    let mut timer = Timer::default();
    for _ in 0..place.count(task.count, 200) {
        timer.time(|| c_abi::olm_encrypt(&a, MESSAGE, &content));
    }
    place.result(&timer)
}

pub fn decrypt(task: &Task, place: &Place) -> f64 {
    let (a, b) = talked(place, &c_abi::store(None));
    let content = content(task);
    let messages: Vec<Text> = (0..place.count(task.count, 200))
        .map(|_| c_abi::olm_encrypt(&b, MESSAGE, &content))
        .collect();
    let mut timer = Timer::default();
    for message in &messages {
        timer.time(|| c_abi::olm_decrypt(&a, message));
    }
    place.result(&timer)
}

/// Each message answers one, so that each brings a new ratchet key. µs of encrypting, of decrypting.
pub fn ping_pong(task: &Task, place: &Place) -> (f64, f64) {
    let (a, b) = talked(place, &c_abi::store(None));
    let content = content(task);
    let (mut encrypt, mut decrypt) = (Timer::default(), Timer::default());
    for _ in 0..place.count(task.count, 200) {
        let message = encrypt.time(|| c_abi::olm_encrypt(&a, MESSAGE, &content));
        c_abi::olm_decrypt(&b, &message);
        let answer = c_abi::olm_encrypt(&b, MESSAGE, &content);
        decrypt.time(|| c_abi::olm_decrypt(&a, &answer));
    }
    (place.result(&encrypt), place.result(&decrypt))
}
