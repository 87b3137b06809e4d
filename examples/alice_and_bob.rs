//! Alice and Bob talk in an encrypted room, each with one device on one SQLite file. The homeserver
//! is a stand-in inside this program (examples/homeserver). examples/c/alice_and_bob.c is the same
//! program in C, line by line.
//!
//!     cargo run --example alice_and_bob
//!
//! The program checks each answer, and ends with a panic if anything is not as it should be.

mod homeserver;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use homeserver::{Homeserver, ROOM};
use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Result, Store,
    keys_claim_request, read_keys_claim_response,
};
use serde_json::{Value, json};

const MEGOLM: &str = "m.megolm.v1.aes-sha2";

struct Device {
    name: &'static str,
    user_id: &'static str,
    device_id: &'static str,
    path: String,
    store_key: Vec<u8>, // a real program keeps it in the system's key store
    open: Option<Open>,
}

struct Open {
    store: Arc<Store>,
    account: Arc<Account>,
}

impl Device {
    fn account(&self) -> &Account {
        &self.open.as_ref().expect("the device is open").account
    }
}

// Checks: what may not fail is unwrapped, what has to fail stands in refused().

fn refused<T>(expected: &str, result: Result<T>) {
    let error = result.err().expect("nothing comes out");
    assert_eq!(error.name(), expected, "{error}");
    println!("   refused: {} ({}), \"{error}\"", error.name(), error.code());
}

fn step(what: &str) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    println!("\n{}. {what}", NUMBER.fetch_add(1, Ordering::Relaxed));
}

fn from_text(text: &str) -> Value {
    serde_json::from_str(text).expect("the text is JSON")
}

fn string_in<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().expect(name)
}

/// Opens the store and the account in it; the first time, both are made.
fn open_device(device: &mut Device) {
    let store = Store::open_sqlite(&device.path, device.store_key.clone()).unwrap();
    let account = Account::open(&store, device.user_id, device.device_id).unwrap();
    device.open = Some(Open { store, account });
}

fn close_device(device: &mut Device) {
    let open = device.open.take().expect("the device is open");
    open.store.shut_down().unwrap();
}

/// Uploads what the account has to upload, if anything.
fn upload_keys(server: &Homeserver, device: &Device) {
    let Some(body) = device.account().keys_upload_request().unwrap() else { return };
    let answer = server.keys_upload(device.user_id, device.device_id, &body);
    device.account().receive_keys_upload_response(200, &answer).unwrap();
    let request = from_text(&body);
    println!(
        "   {} uploads {}one-time keys: {}",
        device.name,
        if request.get("device_keys").is_some() { "the keys of the device, and " } else { "" },
        request["one_time_keys"].as_object().map_or(0, |keys| keys.len()),
    );
}

/// The devices of both users: {user: {device: device keys}}.
fn query_devices(server: &Homeserver) -> Value {
    let answer = from_text(
        &server
            .keys_query(r#"{"device_keys": {"@alice:example.org": [], "@bob:example.org": []}}"#),
    );
    answer["device_keys"].clone()
}

/// Claims a one-time key of a device: {key_id: key}.
fn claim_key(server: &Homeserver, user_id: &str, device_id: &str) -> String {
    let devices = json!({ user_id: [device_id] }).to_string();
    let request = keys_claim_request(&devices, Some(10_000)).unwrap();
    let answer = server.keys_claim(&request);
    let claimed = from_text(&read_keys_claim_response(&request, &answer).unwrap());
    let key = &claimed["one_time_keys"][user_id][device_id];
    assert!(key.is_object(), "the server had a key to claim");
    key.to_string()
}

/// The channel to a device: the stored one, or a new one with a key claimed for it.
fn channel_to(server: &Homeserver, from: &Device, device_keys: &Value) -> Arc<OlmChannel> {
    let user_id = string_in(device_keys, "user_id");
    let device_id = string_in(device_keys, "device_id");
    let identity_key = string_in(&device_keys["keys"], &format!("curve25519:{device_id}"));
    let signed_keys = device_keys.to_string();

    match OlmChannel::create_from_storage(from.account(), user_id, identity_key) {
        Ok(channel) => {
            channel.set_partner_device_keys(&signed_keys).unwrap();
            channel
        }
        Err(E2eeError::NotFound { .. }) => {
            let key = claim_key(server, user_id, device_id);
            let channel =
                OlmChannel::create_outbound_channel(from.account(), &signed_keys, &key).unwrap();
            println!("   {} claims a one-time key of {device_id} and opens a channel", from.name);
            channel
        }
        Err(error) => panic!("{error}"),
    }
}

/// The session that encrypts what this device sends: the stored one, or a new one.
fn room_session(device: &Device) -> Arc<OutboundMegolmSession> {
    match OutboundMegolmSession::create_from_storage(device.account(), ROOM, None) {
        Ok(session) => session,
        Err(E2eeError::NotFound { .. }) => {
            let session = OutboundMegolmSession::create(device.account(), ROOM, None).unwrap();
            println!("   {} makes a session for the room", device.name);
            // The other half, so that the device can read what it has sent itself.
            InboundMegolmSession::from_outbound_session(&session).unwrap();
            session
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sends the room key to each device that lacks it, over its channel. (A real program makes a new
/// session when this answers SESSION_EXPIRED.)
fn share_room_key(server: &Homeserver, device: &Device, session: &OutboundMegolmSession) {
    let recipients = json!({
        "encryption": { "algorithm": MEGOLM },
        "history_visibility": "shared",
        "members": { "@alice:example.org": "join", "@bob:example.org": "join" },
        "device_keys": query_devices(server),
    });
    let list = from_text(&session.get_session_key_for_sending(&recipients.to_string()).unwrap());
    for item in list.as_array().unwrap() {
        let keys = &item["device"];
        let user_id = string_in(keys, "user_id");
        let device_id = string_in(keys, "device_id");
        let channel = channel_to(server, device, keys);
        let encrypted = channel.encrypt("m.room_key", &item["content"].to_string()).unwrap();
        let body = json!({ "messages": { user_id: { device_id: from_text(&encrypted) } } });
        server.send_to_device(device.user_id, "m.room.encrypted", &body.to_string());
        session.mark_as_sent(&json!([keys]).to_string()).unwrap();
        println!("   {} sends the room key to {device_id}", device.name);
    }
}

/// Sends words to the room; gives the event's ID.
fn say(server: &Homeserver, device: &Device, words: &str) -> String {
    let session = room_session(device);
    share_room_key(server, device, &session);
    let content = json!({ "msgtype": "m.text", "body": words }).to_string();
    let encrypted = session.encrypt("m.room.message", &content).unwrap();
    let answer = from_text(&server.send(device.user_id, "m.room.encrypted", &encrypted));
    let event_id = string_in(&answer, "event_id").to_owned();
    println!("   {} says in {event_id}: {words}", device.name);
    event_id
}

/// Decrypts a to-device event. If it is a room key, it is stored before anything else is done.
fn receive_to_device(device: &Device, event: &Value) {
    let content = &event["content"];
    let sender = string_in(event, "sender");
    let sender_key = string_in(content, "sender_key");
    let encrypted = content.to_string();
    let text = match OlmChannel::create_from_storage(device.account(), sender, sender_key) {
        Ok(channel) => channel.decrypt(&encrypted).unwrap(),
        Err(E2eeError::NotFound { .. }) => {
            let channel = OlmChannel::create_from_encrypted_message(
                device.account(),
                sender,
                sender_key,
                &encrypted,
                None,
                None,
            )
            .unwrap();
            channel.first_event().unwrap()
        }
        Err(error) => panic!("{error}"),
    };
    let plain = from_text(&text);
    if string_in(&plain, "type") == "m.room_key" {
        let room_key = plain["content"].to_string();
        InboundMegolmSession::from_room_key(device.account(), sender, sender_key, &room_key)
            .unwrap();
        println!("   {} receives a room key from {sender}", device.name);
    }
}

/// The session that decrypts this event.
fn session_of(device: &Device, event: &Value) -> Arc<InboundMegolmSession> {
    let session_id = string_in(&event["content"], "session_id");
    let sender = string_in(event, "sender").to_owned();
    InboundMegolmSession::from_storage(device.account(), ROOM, session_id, Some(sender)).unwrap()
}

/// Takes an answer to /sync, which has to bring these messages.
fn receive(server: &Homeserver, device: &Device, expected: &[&str]) {
    let answer = from_text(&server.sync(device.user_id, device.device_id));
    for event in answer["to_device"]["events"].as_array().unwrap() {
        receive_to_device(device, event);
    }
    let mut expected = expected.iter();
    for event in answer["rooms"]["join"][ROOM]["timeline"]["events"].as_array().unwrap() {
        // A /sync answer leaves the room out of its events.
        let mut event = event.clone();
        event["room_id"] = json!(ROOM);
        let session = session_of(device, &event);
        let plain = from_text(&session.decrypt(&event.to_string()).unwrap());
        let words = string_in(&plain["content"], "body");
        println!("   {} reads from {}: {words}", device.name, string_in(&event, "sender"));
        assert_eq!(Some(&words), expected.next(), "it is what was said");
    }
    assert_eq!(expected.next(), None, "all that was said has come");
    // How many keys the server still has, so that the account tops them up.
    let counts = answer["device_one_time_keys_count"].to_string();
    let unused = answer["device_unused_fallback_key_types"].to_string();
    device.account().receive_key_counts(&counts, Some(unused)).unwrap();
    upload_keys(server, device);
}

/// Takes an event that the library has to refuse.
fn refuse(device: &Device, event: &Value, expected: &str) {
    let session = session_of(device, event);
    refused(expected, session.decrypt(&event.to_string()));
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
    Device { name, user_id, device_id, path, store_key, open: None }
}

fn main() {
    println!("matrixe2ee {}, from Rust", matrixe2ee::version());
    let server = Homeserver::default();
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
    receive(&server, &bob, &["Hello Bob!", "Can you read this?"]);

    step("Both programs end, and start again from their files");
    close_device(&mut alice);
    close_device(&mut bob);
    open_device(&mut alice);
    open_device(&mut bob);

    step("Bob answers in a session of his own; Alice goes on in hers");
    say(&server, &bob, "Yes, every word.");
    let fourth = say(&server, &alice, "Even after a restart.");
    let all = ["Hello Bob!", "Can you read this?", "Yes, every word.", "Even after a restart."];
    receive(&server, &alice, &all);
    receive(&server, &bob, &["Yes, every word.", "Even after a restart."]);

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
    let account = Account::open(&store, laptop.user_id, laptop.device_id).unwrap();
    laptop.open = Some(Open { store, account });
    let devices = query_devices(&server);
    let channel = channel_to(&server, &alice, &devices[bob.user_id][bob.device_id]);
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

    println!("\nAll is as it should be.");
    close_device(&mut alice);
    close_device(&mut bob);
}
