//! One device: its store and its account, what it says to the homeserver, and how it reads and
//! writes in the room. A call that fails although it may not fail ends the program.

use std::error::Error;
use std::sync::Arc;

use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Result, Store,
    keys_claim_request, read_keys_claim_response,
};
use serde_json::{Value, json};

use crate::homeserver::{Homeserver, ROOM};

const MEGOLM: &str = "m.megolm.v1.aes-sha2";

pub struct Device {
    pub name: &'static str,
    pub user_id: &'static str,
    pub device_id: &'static str,
    pub path: String,
    pub store_key: Vec<u8>, // a real program keeps it in the system's key store
    pub store: Option<Arc<Store>>,
    pub account: Option<Arc<Account>>,
}

impl Device {
    pub fn account(&self) -> &Account {
        self.account.as_ref().expect("the device is open")
    }
}

// Checks: what may not fail is unwrapped, what has to fail stands in refused().

pub fn refused<T>(expected: &str, result: Result<T>) {
    let error = result.err().expect("nothing comes out");
    assert_eq!(error.name(), expected, "{error}");
    println!("   refused: {} ({}), \"{error}\"", error.name(), error.code());
}

pub fn from_text(text: &str) -> Value {
    serde_json::from_str(text).expect("the text is JSON")
}

pub fn string_in<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().expect(name)
}

// What comes from the server or from another device may be any JSON: what is absent is null, a text that
// is none is an error, and the library refuses what does not fit. One bad event is left out; the others
// are read.

type Tried<T> = std::result::Result<T, Box<dyn Error>>;

/// What came of it; or nothing, and a line that says what is left out because of it.
fn usable<T>(device: &Device, what: &str, tried: Tried<T>) -> Option<T> {
    tried.inspect_err(|error| println!("   {} leaves out {what}: {error}", device.name)).ok()
}

fn field<'a>(object: &'a Value, name: &str) -> Tried<&'a str> {
    object[name].as_str().ok_or_else(|| format!("there is no {name}").into())
}

/// The items of a list; of anything else, none.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Opens the store and the account in it; the first time, both are made.
pub fn open_device(device: &mut Device) {
    let store = Store::open_sqlite(&device.path, device.store_key.clone()).unwrap();
    let account = Account::open(&store, device.user_id, device.device_id).unwrap();
    device.store = Some(store);
    device.account = Some(account);
}

pub fn close_device(device: &mut Device) {
    device.store.take().expect("the device is open").shut_down().unwrap();
    device.account = None;
}

/// Uploads what the account has to upload, if anything.
pub fn upload_keys(server: &dyn Homeserver, device: &Device) {
    let Some(body) = device.account().keys_upload_request().unwrap() else { return };
    let answer = server.keys_upload(device.user_id, device.device_id, &body);
    let taken = device.account().receive_keys_upload_response(200, &answer);
    // Else the next sync uploads them again.
    let Some(()) = usable(device, "the answer to an upload", taken.map_err(Into::into)) else {
        return;
    };
    let request = from_text(&body);
    println!(
        "   {} uploads {}one-time keys: {}",
        device.name,
        if request.get("device_keys").is_some() { "the keys of the device, and " } else { "" },
        request["one_time_keys"].as_object().map_or(0, |keys| keys.len()),
    );
}

/// Who is in the room: {user: value}, with the same value for each.
fn members(server: &dyn Homeserver, value: Value) -> Value {
    let answer = from_text(&server.joined_members());
    let joined = answer["joined"].as_object();
    let user_ids = joined.into_iter().flat_map(|joined| joined.keys());
    user_ids.map(|user_id| (user_id.clone(), value.clone())).collect()
}

/// The devices of all who are in the room: {user: {device: device keys}}.
pub fn query_devices(server: &dyn Homeserver) -> Value {
    let body = json!({ "device_keys": members(server, json!([])) }).to_string();
    let answer = from_text(&server.keys_query(&body));
    answer["device_keys"].clone()
}

/// Claims a one-time key of a device: {key_id: key}.
pub fn claim_key(server: &dyn Homeserver, user_id: &str, device_id: &str) -> Tried<String> {
    let devices = json!({ user_id: [device_id] }).to_string();
    let request = keys_claim_request(&devices, Some(10_000)).unwrap();
    let answer = server.keys_claim(&request);
    let claimed = from_text(&read_keys_claim_response(&request, &answer)?);
    Ok(claimed["one_time_keys"][user_id][device_id].to_string())
}

/// The channel to a device: the stored one, or a new one with a key claimed for it.
pub fn channel_to(
    server: &dyn Homeserver,
    from: &Device,
    device_keys: &Value,
) -> Tried<Arc<OlmChannel>> {
    let user_id = field(device_keys, "user_id")?;
    let device_id = field(device_keys, "device_id")?;
    let identity_key = field(&device_keys["keys"], &format!("curve25519:{device_id}"))?;
    let signed_keys = device_keys.to_string();

    match OlmChannel::create_from_storage(from.account(), user_id, identity_key) {
        Ok(channel) => {
            channel.set_partner_device_keys(&signed_keys)?;
            Ok(channel)
        }
        Err(E2eeError::NotFound { .. }) => {
            let key = claim_key(server, user_id, device_id)?;
            let channel = OlmChannel::create_outbound_channel(from.account(), &signed_keys, &key)?;
            println!("   {} claims a one-time key of {device_id} and opens a channel", from.name);
            Ok(channel)
        }
        Err(error) => Err(error.into()),
    }
}

/// The session that encrypts what this device sends: the stored one, or a new one.
pub fn room_session(device: &Device) -> Arc<OutboundMegolmSession> {
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
pub fn share_room_key(server: &dyn Homeserver, device: &Device, session: &OutboundMegolmSession) {
    let recipients = json!({
        "encryption": { "algorithm": MEGOLM },
        "history_visibility": "shared",
        "members": members(server, json!("join")),
        "device_keys": query_devices(server),
    });
    let list = from_text(&session.get_session_key_for_sending(&recipients.to_string()).unwrap());
    for item in list.as_array().unwrap() {
        let keys = &item["device"];
        let user_id = string_in(keys, "user_id");
        // Absent if nothing that is listed under the user can be read.
        let device_id = keys["device_id"].as_str().unwrap_or("any device");
        if item["content"].is_null() {
            let problem = &item["error"]["detail"];
            println!("   {} sends no room key to {device_id} of {user_id}: {problem}", device.name);
            continue;
        }
        let Some(channel) = usable(device, device_id, channel_to(server, device, keys)) else {
            continue;
        };
        let encrypted = channel.encrypt("m.room_key", &item["content"].to_string()).unwrap();
        let body = json!({ "messages": { user_id: { device_id: from_text(&encrypted) } } });
        server.send_to_device(device.user_id, "m.room.encrypted", &body.to_string());
        session.mark_as_sent(&json!([keys]).to_string()).unwrap();
        println!("   {} sends the room key to {device_id}", device.name);
    }
}

/// Sends words to the room; gives the event's ID.
pub fn say(server: &dyn Homeserver, device: &Device, words: &str) -> String {
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
pub fn receive_to_device(device: &Device, event: &Value) -> Tried<()> {
    let content = &event["content"];
    let sender = field(event, "sender")?;
    let sender_key = field(content, "sender_key")?;
    let encrypted = content.to_string();
    let text = match OlmChannel::create_from_storage(device.account(), sender, sender_key) {
        Ok(channel) => channel.decrypt(&encrypted)?,
        Err(E2eeError::NotFound { .. }) => {
            let channel = OlmChannel::create_from_encrypted_message(
                device.account(),
                sender,
                sender_key,
                &encrypted,
                None,
                None,
            )?;
            channel.first_event()?
        }
        Err(error) => return Err(error.into()),
    };
    let plain = from_text(&text);
    if plain["type"] == "m.room_key" {
        let room_key = plain["content"].to_string();
        InboundMegolmSession::from_room_key(device.account(), sender, sender_key, &room_key)?;
        println!("   {} receives a room key from {sender}", device.name);
    }
    Ok(())
}

/// The session that decrypts this event.
pub fn session_of(device: &Device, event: &Value) -> Tried<Arc<InboundMegolmSession>> {
    let session_id = field(&event["content"], "session_id")?;
    let sender = field(event, "sender")?.to_owned();
    Ok(InboundMegolmSession::from_storage(device.account(), ROOM, session_id, Some(sender))?)
}

/// What an event of the room says: sender and words.
fn read_event(device: &Device, event: &Value) -> Tried<(String, String)> {
    let session = session_of(device, event)?;
    // A /sync answer leaves the room out of its events.
    let mut event = event.clone();
    event["room_id"] = json!(ROOM);
    let plain = from_text(&session.decrypt(&event.to_string())?);
    let words = field(&plain["content"], "body")?;
    let sender = field(&event, "sender")?;
    println!("   {} reads from {sender}: {words}", device.name);
    Ok((sender.to_owned(), words.to_owned()))
}

/// Takes an answer to /sync; gives what was read: (sender, words).
pub fn receive(server: &dyn Homeserver, device: &Device) -> Vec<(String, String)> {
    let answer = from_text(&server.sync(device.user_id, device.device_id));
    for event in items(&answer["to_device"]["events"]) {
        usable(device, "a to-device event", receive_to_device(device, event));
    }
    let events = items(&answer["rooms"]["join"][ROOM]["timeline"]["events"]).iter();
    let read =
        events.filter_map(|event| usable(device, "an event", read_event(device, event))).collect();
    // How many keys the server still has, so that the account tops them up.
    let counts = answer.get("device_one_time_keys_count").map_or("{}".to_owned(), Value::to_string);
    let unused = answer.get("device_unused_fallback_key_types").map(Value::to_string);
    let taken = device.account().receive_key_counts(&counts, unused);
    usable(device, "the counts of keys", taken.map_err(Into::into));
    upload_keys(server, device);
    read
}

/// Takes an event that the library has to refuse.
pub fn refuse(device: &Device, event: &Value, expected: &str) {
    let session = session_of(device, event).expect("the session is there");
    refused(expected, session.decrypt(&event.to_string()));
}
