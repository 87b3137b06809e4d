//! Olm sessions and their messages.

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use vodozemac::olm::{Account, OlmMessage, PreKeyMessage, Session, SessionConfig};

use super::keys::Device;
use crate::measure::{Task, Timer, together};
use crate::texts;

fn plaintext(task: &Task) -> String {
    texts::olm_plaintext(&texts::content(task.size).to_string())
}

fn encrypt_one(session: &mut Session, plaintext: &str) -> (usize, String) {
    let (kind, bytes) = session.encrypt(plaintext).unwrap().to_parts();
    (kind, BASE64.encode(bytes))
}

fn decrypt_one(session: &mut Session, (kind, body): &(usize, String)) -> Vec<u8> {
    let bytes = BASE64.decode(body).unwrap();
    session.decrypt(&OlmMessage::from_parts(*kind, &bytes).unwrap()).unwrap()
}

pub fn open(alice: &Account, device: &Device) -> Session {
    let config = SessionConfig::version_1();
    alice.create_outbound_session(config, device.identity, device.key).unwrap()
}

fn accept(bob: &mut Account, body: &str) -> Session {
    let message = PreKeyMessage::from_bytes(&BASE64.decode(body).unwrap()).unwrap();
    let config = SessionConfig::version_1();
    bob.create_inbound_session(config, message.identity_key(), &message).unwrap().session
}

pub fn outbound_channel(task: &Task) -> f64 {
    let (alice, text) = (Account::new(), plaintext(task));
    let mut timer = Timer::default();
    for device in Device::all(task) {
        timer.time(|| {
            device.verify();
            let mut session = open(&alice, &device);
            let message = encrypt_one(&mut session, &text);
            (session, message)
        });
    }
    timer.of_processor()
}

/// The sender's device keys are in the message: they are checked too.
pub fn inbound_channel(task: &Task) -> f64 {
    let (alice, text) = (Account::new(), plaintext(task));
    let sender = &Device::all(task)[0];
    let mut timer = Timer::default();
    for _ in 0..task.count {
        let mut bob = Account::new();
        bob.generate_one_time_keys(50);
        let (identity, key) = (bob.curve25519_key(), *bob.one_time_keys().values().next().unwrap());
        let config = SessionConfig::version_1();
        let mut session = alice.create_outbound_session(config, identity, key).unwrap();
        let (_, body) = encrypt_one(&mut session, &text);
        timer.time(|| {
            sender.verify_device_keys();
            accept(&mut bob, &body)
        });
    }
    timer.of_processor()
}

/// Two sessions that have talked, so that messages are normal ones.
fn talked() -> (Session, Session) {
    let (alice, mut bob) = (Account::new(), Account::new());
    let key = bob.generate_one_time_keys(1).created[0];
    let config = SessionConfig::version_1();
    let mut a = alice.create_outbound_session(config, bob.curve25519_key(), key).unwrap();
    let mut b = accept(&mut bob, &encrypt_one(&mut a, "first").1);
    let answer = encrypt_one(&mut b, "answer");
    decrypt_one(&mut a, &answer);
    (a, b)
}

pub fn encrypt(task: &Task) -> f64 {
    let ((mut a, _b), text) = (talked(), plaintext(task));
    let mut timer = Timer::default();
    for _ in 0..task.count {
        timer.time(|| encrypt_one(&mut a, &text));
    }
    timer.of_processor()
}

pub fn decrypt(task: &Task) -> f64 {
    let ((mut a, mut b), text) = (talked(), plaintext(task));
    let messages: Vec<_> = (0..task.count).map(|_| encrypt_one(&mut b, &text)).collect();
    let mut timer = Timer::default();
    for message in &messages {
        timer.time(|| decrypt_one(&mut a, message));
    }
    timer.of_processor()
}

pub fn ping_pong(task: &Task) -> (f64, f64) {
    let ((mut a, mut b), text) = (talked(), plaintext(task));
    let (mut encrypt, mut decrypt) = (Timer::default(), Timer::default());
    for _ in 0..task.count {
        let message = encrypt.time(|| encrypt_one(&mut a, &text));
        decrypt_one(&mut b, &message);
        let answer = encrypt_one(&mut b, &text);
        decrypt.time(|| decrypt_one(&mut a, &answer));
    }
    (encrypt.of_processor(), decrypt.of_processor())
}

/// Sessions that nobody has answered yet, as with the other programs.
pub fn share_existing(task: &Task) -> f64 {
    let (alice, text) = (Account::new(), texts::room_key_plaintext(task));
    let mut sessions: Vec<_> =
        Device::all(task).iter().map(|device| open(&alice, device)).collect();
    let encrypt = |session: &mut Session| encrypt_one(session, &text);
    together(task.count, || sessions.iter_mut().map(encrypt).collect::<Vec<_>>()).0
}

pub fn share_new(task: &Task) -> f64 {
    let (alice, text) = (Account::new(), texts::room_key_plaintext(task));
    let devices = Device::all(task);
    let share = |device: &Device| {
        device.verify();
        let mut session = open(&alice, device);
        let message = encrypt_one(&mut session, &text);
        (session, message)
    };
    together(task.count, || devices.iter().map(share).collect::<Vec<_>>()).0
}
