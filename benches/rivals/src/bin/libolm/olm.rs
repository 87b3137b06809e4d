//! Olm sessions and their messages.

use serde_json::Value;

use crate::ffi::{Account, Session, Utility};
use crate::keys::Device;
use crate::measure::{Task, Timer, heap, together};
use crate::texts;

fn plaintext(task: &Task) -> String {
    texts::olm_plaintext(&texts::content(task.size).to_string())
}

/// With the checks that come first.
fn open(alice: &Account, device: &Device, utility: &Utility) -> Session {
    device.verify_device_keys(utility);
    device.verify_one_time_key(utility);
    alice.open(&device.identity, &device.key)
}

/// A session with Bob, who has so many one-time keys.
fn open_to(bob: &Account, keys: usize, alice: &Account) -> Session {
    let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    let keys = json(bob.generate_one_time_keys(keys));
    bob.mark_keys_as_published();
    let key = keys["curve25519"].as_object().unwrap().values().next().unwrap();
    let identity = &json(bob.identity_keys())["curve25519"];
    alice.open(identity.as_str().unwrap(), key.as_str().unwrap())
}

pub fn outbound_channel(task: &Task) -> f64 {
    let (alice, utility, text) = (Account::new(), Utility::new(), plaintext(task));
    let mut timer = Timer::default();
    for device in Device::all(task) {
        timer.time(|| {
            let session = open(&alice, &device, &utility);
            (session.encrypt(&text), session)
        });
    }
    timer.of_processor()
}

/// The sender's device keys are in the message: they are checked too.
pub fn inbound_channel(task: &Task) -> f64 {
    let (alice, utility, text) = (Account::new(), Utility::new(), plaintext(task));
    let sender = &Device::all(task)[0];
    let mut timer = Timer::default();
    for _ in 0..task.count {
        let bob = Account::new();
        let message = open_to(&bob, 50, &alice).encrypt(&text);
        timer.time(|| {
            sender.verify_device_keys(&utility);
            let session = bob.accept(&message.1);
            (session.decrypt(&message), session)
        });
    }
    timer.of_processor()
}

/// Two sessions that have talked, so that messages are normal ones.
fn talked() -> (Session, Session) {
    let (alice, bob) = (Account::new(), Account::new());
    let a = open_to(&bob, 1, &alice);
    let first = a.encrypt("first");
    let b = bob.accept(&first.1);
    b.decrypt(&first);
    a.decrypt(&b.encrypt("answer"));
    (a, b)
}

pub fn encrypt(task: &Task) -> f64 {
    let ((a, _b), text) = (talked(), plaintext(task));
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| a.encrypt(&text));
    }
    timer.of_processor()
}

pub fn decrypt(task: &Task) -> f64 {
    let ((a, b), text) = (talked(), plaintext(task));
    let messages: Vec<_> = (0..task.count).map(|_| b.encrypt(&text)).collect();
    let mut timer = Timer::default();
    for message in &messages {
        timer.time(|| a.decrypt(message));
    }
    timer.of_processor()
}

pub fn ping_pong(task: &Task) -> (f64, f64) {
    let ((a, b), text) = (talked(), plaintext(task));
    let (mut encrypt, mut decrypt) = (Timer::default(), Timer::default());
    for _ in 0..task.count {
        let message = encrypt.time(|| a.encrypt(&text));
        b.decrypt(&message);
        let answer = b.encrypt(&text);
        decrypt.time(|| a.decrypt(&answer));
    }
    (encrypt.of_processor(), decrypt.of_processor())
}

/// Sessions that nobody has answered yet, as with the other programs.
pub fn share_existing(task: &Task) -> f64 {
    let (alice, text) = (Account::new(), texts::room_key_plaintext(task));
    let open = |device: &Device| alice.open(&device.identity, &device.key);
    let sessions: Vec<_> = Device::all(task).iter().map(open).collect();
    let encrypt = |session: &Session| session.encrypt(&text);
    together(task.count, || sessions.iter().map(encrypt).collect::<Vec<_>>()).0
}

pub fn share_new(task: &Task) -> f64 {
    let (alice, utility) = (Account::new(), Utility::new());
    let (devices, text) = (Device::all(task), texts::room_key_plaintext(task));
    let share = |device: &Device| {
        let session = open(&alice, device, &utility);
        (session.encrypt(&text), session)
    };
    together(task.count, || devices.iter().map(share).collect::<Vec<_>>()).0
}

pub fn bytes(task: &Task) -> f64 {
    let (alice, devices) = (Account::new(), Device::all(task));
    let mut sessions = Vec::with_capacity(task.count);
    let before = heap();
    sessions.extend(devices.iter().map(|device| alice.open(&device.identity, &device.key)));
    (heap() - before) / task.count as f64
}
