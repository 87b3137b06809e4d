//! Calls and incoming messages that several steps of the script share.

use serde_json::{Value, json};

use super::people::{Person, v};
use super::world::{ROOM, World};
use crate::error::Result;
use crate::handles::{InboundMegolmSession, OlmChannel};

pub(super) fn dave_knocks(world: &mut World, key: &str) {
    let keys = world.device_keys();
    let mut session = world.dave.session_to(&keys, key);
    world.input = world.dave.say(&mut session, &keys, &json!({}));
}

pub(super) fn upload(world: &mut World) -> Result<()> {
    let body = v(&world.account().keys_upload_request()?.unwrap());
    let keys = |kind: &str| -> Vec<String> {
        let keys = body[kind].as_object().into_iter().flatten();
        keys.map(|(_, key)| key["key"].as_str().unwrap().to_owned()).collect()
    };
    world.one_time_keys = keys("one_time_keys");
    if world.unused_key.is_none() {
        world.unused_key = world.one_time_keys.first().cloned();
    }
    world.fallback_key = keys("fallback_keys").pop().or(world.fallback_key.take());
    world.input = body["one_time_keys"].as_object().unwrap().keys().next().unwrap().clone();
    Ok(())
}

pub(super) fn uploaded(world: &mut World) -> Result<()> {
    let body = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
    world.account().receive_keys_upload_response(200, body)
}

/// A first message of Carol's in a new session.
pub(super) fn carol_knocks(world: &mut World, changes: &Value) {
    let (keys, key) = (world.device_keys(), world.one_time_keys.remove(0));
    let mut session = world.carol.session_to(&keys, &key);
    world.input = world.carol.say(&mut session, &keys, changes);
    world.carols.push(session);
}

/// A first message of a device that Mallory has invented.
pub(super) fn mallory_knocks(world: &mut World) {
    let mallory = Person::new("@mallory:m.org", "M");
    let (keys, key) = (world.device_keys(), world.fallback_key.clone().unwrap());
    world.input = mallory.say(&mut mallory.session_to(&keys, &key), &keys, &json!({}));
}

pub(super) fn mallory_is_heard(world: &World, content: &str) -> Result<()> {
    let key = v(content)["sender_key"].as_str().unwrap().to_owned();
    let user = "@mallory:m.org";
    OlmChannel::create_from_encrypted_message(world.account(), user, &key, content, None, None)
        .map(drop)
}

pub(super) fn channels_of_mallory(world: &World) -> usize {
    let channels = v(&world.account().list_channels(None, None).unwrap());
    let all = channels.as_array().unwrap().iter();
    all.filter(|channel| channel["user_id"] == "@mallory:m.org").count()
}

pub(super) fn carol_is_heard(world: &mut World) -> Result<()> {
    world.channels["carol"].decrypt(&world.input).map(drop)
}

pub(super) fn open_channel(world: &mut World, name: &'static str, user_id: &str, key: &str) {
    let channel = OlmChannel::create_from_storage(world.account(), user_id, key).unwrap();
    world.channels.insert(name, channel);
}

pub(super) fn say_to_bob(world: &mut World) -> Result<()> {
    let content = json!({"body": world.input}).to_string();
    let message = world.channels["bob"].encrypt("m.dummy", &content)?;
    assert_eq!(world.judge.olm(&message)["content"], v(&content));
    Ok(())
}

/// Two messages to Bob and one to Carol.
pub(super) fn say_to_several(world: &mut World) -> Result<()> {
    let item = |person: &Person, body: &str| {
        json!({"user_id": person.user_id, "identity_key": person.identity_key(),
               "type": "m.dummy", "content": {"body": body}})
    };
    let (bob, carol) = (&world.judge.bob, &world.carol);
    let items = json!([item(bob, "one"), item(carol, "two"), item(bob, "three")]);
    let answers = v(&world.account().encrypt_for_devices(&items.to_string())?);
    assert!(answers[1].get("content").is_some());
    for place in [0, 2] {
        let message = world.judge.olm(&answers[place]["content"].to_string());
        assert_eq!(message["content"], items[place]["content"]);
    }
    Ok(())
}

pub(super) fn say_to_room(world: &mut World) -> Result<()> {
    let content = json!({"body": world.outbound().message_index()?, "n": world.input});
    let message = world.outbound().encrypt("m.room.message", &content.to_string())?;
    world.input.push('+');
    world.judge.megolm(&message);
    Ok(())
}

pub(super) fn recipients(world: &World, messages: u32) -> String {
    let keys = world.judge.bob.device_keys();
    json!({
        "encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": messages},
        "members": {"@bob:b.org": "join"},
        "device_keys": {"@bob:b.org": {"BOB": keys}},
    })
    .to_string()
}

/// An event of Bob's in the room.
pub(super) fn bob_writes(world: &mut World, event_id: &str) -> Value {
    let plaintext = json!({"room_id": ROOM, "type": "m.room.message", "content": {}});
    let ciphertext = world.room.encrypt(plaintext.to_string()).to_base64();
    json!({
        "event_id": event_id,
        "sender": "@bob:b.org",
        "room_id": ROOM,
        "content": {
            "algorithm": "m.megolm.v1.aes-sha2",
            "session_id": world.room.session_id(),
            "ciphertext": ciphertext,
        },
    })
}

pub(super) fn from_room_key(world: &mut World) -> Result<()> {
    let (key, content) = (world.judge.bob.identity_key(), world.input.clone());
    let session =
        InboundMegolmSession::from_room_key(world.account(), "@bob:b.org", &key, &content)?;
    world.inbound.insert("bob", session);
    Ok(())
}

/// Makes a channel from the first message that was received.
pub(super) fn receive_first(
    world: &mut World,
    name: &'static str,
    user_id: &str,
    key: &str,
) -> Result<()> {
    let channel = OlmChannel::create_from_encrypted_message(
        world.account(),
        user_id,
        key,
        &world.input,
        None,
        None,
    )?;
    channel.first_event().unwrap();
    world.channels.insert(name, channel);
    Ok(())
}
