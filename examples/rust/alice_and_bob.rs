//! Alice and Bob talk in an encrypted room, each with one device on one SQLite file. What a device
//! does is in device.rs; the homeserver is a stand-in inside this program (homeserver.rs).
//! examples/c, examples/cpp and the others hold the same program, line by line.
//!
//!     cargo run --example alice_and_bob
//!
//! The program checks each answer, and ends with a panic if anything is not as it should be.

mod device;
mod homeserver;

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use device::{
    Device, channel_to, close_device, from_text, open_device, query_devices, receive, refuse,
    refused, say, string_in, upload_keys,
};
use homeserver::{Homeserver, StandIn};
use matrixe2ee::{Account, OlmChannel, Store};
use serde_json::{Value, json};

fn step(what: &str) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    println!("\n{}. {what}", NUMBER.fetch_add(1, Ordering::Relaxed));
}

fn no_messages() -> [Value; 5] {
    let (olm, megolm) = ("m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2");
    [
        json!({}),
        json!({ "algorithm": olm, "sender_key": null, "ciphertext": {} }),
        json!({ "algorithm": olm, "sender_key": "AAAA", "ciphertext": [1] }),
        json!({ "algorithm": megolm, "session_id": 5, "ciphertext": null }),
        json!({ "algorithm": megolm, "session_id": "AAAA", "ciphertext": "AAAA" }),
    ]
}

/// What receive() gives for words of this device.
fn said(device: &Device, words: &str) -> (String, String) {
    (device.user_id.to_owned(), words.to_owned())
}

fn new_device(
    folder: &Path,
    name: &'static str,
    user_id: &'static str,
    device_id: &'static str,
) -> Device {
    let path = folder.join(format!("{name}.sqlite")).to_str().expect("UTF-8").to_owned();
    let mut store_key = vec![0; 32];
    getrandom::fill(&mut store_key).expect("random bytes for the key of the store");
    Device { name, user_id, device_id, path, store_key, store: None, account: None }
}

fn main() {
    println!("matrixe2ee {}, from Rust", matrixe2ee::version());
    let server = StandIn::default();
    let folder = tempfile::tempdir().expect("a folder for the stores");
    let mut alice = new_device(folder.path(), "Alice", "@alice:example.org", "ALICEPHONE");
    let mut bob = new_device(folder.path(), "Bob", "@bob:example.org", "BOBPHONE");

    step("Both make an account and upload its public keys");
    open_device(&mut alice);
    open_device(&mut bob);
    upload_keys(&server, &alice);
    upload_keys(&server, &bob);

    step("Alice writes to the room; Bob reads");
    say(&server, &alice, "Hello Bob!");
    let second = say(&server, &alice, "Can you read this?");
    assert_eq!(
        receive(&server, &bob),
        [said(&alice, "Hello Bob!"), said(&alice, "Can you read this?")]
    );

    step("Both programs end, and start again from their files");
    close_device(&mut alice);
    close_device(&mut bob);
    open_device(&mut alice);
    open_device(&mut bob);

    step("Bob answers in a session of his own; Alice goes on in hers");
    say(&server, &bob, "Yes, every word.");
    let fourth = say(&server, &alice, "Even after a restart.");
    assert_eq!(
        receive(&server, &alice),
        [
            said(&alice, "Hello Bob!"),
            said(&alice, "Can you read this?"),
            said(&bob, "Yes, every word."),
            said(&alice, "Even after a restart."),
        ]
    );
    assert_eq!(
        receive(&server, &bob),
        [said(&bob, "Yes, every word."), said(&alice, "Even after a restart.")]
    );

    step("Somebody changes one letter of a ciphertext");
    let mut tampered = from_text(&server.event(&fourth));
    let mut ciphertext = string_in(&tampered["content"], "ciphertext").to_owned();
    let letter = if &ciphertext[20..21] == "A" { "B" } else { "A" };
    ciphertext.replace_range(20..21, letter);
    tampered["content"]["ciphertext"] = json!(ciphertext);
    refuse(&bob, &tampered, "UNABLE_TO_DECRYPT");

    step("The server delivers an old message again, as a new event");
    let mut replayed = from_text(&server.event(&second));
    replayed["event_id"] = json!("$another");
    refuse(&bob, &replayed, "REPLAY");

    step("The server delivers to Bob's laptop what was meant for his phone");
    let mut laptop = new_device(folder.path(), "Bob's laptop", bob.user_id, "BOBLAPTOP");
    let store = Store::in_memory(laptop.store_key.clone()).unwrap();
    laptop.account = Some(Account::open(&store, laptop.user_id, laptop.device_id).unwrap());
    laptop.store = Some(store);
    let devices = query_devices(&server);
    let channel = channel_to(&server, &alice, &devices[bob.user_id][bob.device_id]).unwrap();
    let for_phone = channel.encrypt("m.dummy", "{}").unwrap();
    let alice_key = alice.account().identity_key().unwrap();
    refused(
        "NOT_ENCRYPTED_FOR_US",
        OlmChannel::create_from_encrypted_message(
            laptop.account(),
            alice.user_id,
            &alice_key,
            &for_phone,
            None,
            None,
        ),
    );
    close_device(&mut laptop);

    step("A stranger sends what is no message; Bob's program goes on");
    for content in no_messages() {
        let body = json!({ "messages": { bob.user_id: { bob.device_id: content } } });
        server.send_to_device("@mallory:example.org", "m.room.encrypted", &body.to_string());
        server.send("@mallory:example.org", "m.room.encrypted", &content.to_string());
    }
    say(&server, &alice, "Still there?");
    assert_eq!(receive(&server, &bob), [said(&alice, "Still there?")]);

    println!("\nAll is as it should be.");
    close_device(&mut alice);
    close_device(&mut bob);
}
