//! Alice on a backend that may go wrong, and Bob on one that does not: he gets all that the library
//! gives out, and notices a key that is used twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use matrixe2ee::*;
use serde_json::{Value, json};

use super::common::{Device, TestClock, entries, v};
use super::place::Place;

const KEY: [u8; 32] = [7; 32];
const ALICE: &str = "@alice:a.org";
const BOB: &str = "@bob:b.org";
const CAROL: &str = "@carol:c.org";
const ROOM: &str = "!room";

/// One call, with everything read from the store before it.
pub struct Step {
    pub name: &'static str,
    /// What others do before it; a second try finds it done.
    pub prepare: fn(&mut World),
    pub call: fn(&World) -> Result<()>,
    /// What a second try answers if the first has taken effect in spite of its error.
    pub done_already: &'static str,
}

pub struct World {
    pub alice: Place,
    bob: Place,
    notes: BTreeMap<&'static str, String>,
    events: std::cell::Cell<u32>,
}

/// A device with what was just opened for it.
struct Open {
    store: Arc<Store>,
    account: Arc<Account>,
}

/// Opens a device's store and account.
fn open(place: &Place, user_id: &str, device_id: &str) -> Result<Open> {
    let store = Store::foreign(Arc::new(place.clone()), KEY.to_vec())?;
    store.set_clock(TestClock::new())?;
    let account = Account::open(&store, user_id, device_id)?;
    Ok(Open { store, account })
}

impl World {
    pub fn new() -> Self {
        let world = Self {
            alice: Place::default(),
            bob: Place::default(),
            notes: BTreeMap::new(),
            events: std::cell::Cell::new(0),
        };
        world.bob();
        world
    }

    /// What might happen instead.
    pub fn copy(&self) -> Self {
        Self {
            alice: self.alice.copy(),
            bob: self.bob.copy(),
            notes: self.notes.clone(),
            events: self.events.clone(),
        }
    }

    fn alice(&self) -> Result<Open> {
        open(&self.alice, ALICE, "ALICE")
    }

    fn bob(&self) -> Open {
        open(&self.bob, BOB, "BOB").unwrap()
    }

    fn note(&self, name: &str) -> &str {
        &self.notes[name]
    }

    /// Bob decrypts an Olm message of Alice's.
    fn bob_gets(&self, content: &str) {
        let bob = self.bob();
        let key = self.note("alice's key");
        match OlmChannel::create_from_storage(&bob.account, ALICE, key) {
            Ok(channel) => channel.decrypt(content).map(drop).expect("an Olm key was used twice"),
            Err(_) => {
                let account = &bob.account;
                OlmChannel::create_from_encrypted_message(account, ALICE, key, content, None, None)
                    .expect("the first message");
            }
        }
    }

    /// Bob decrypts a message in the room.
    fn bob_reads(&self, content: &str) {
        let content = v(content);
        self.events.set(self.events.get() + 1);
        let event = json!({"event_id": format!("${}", self.events.get()), "sender": ALICE,
            "room_id": ROOM, "content": content});
        let id = content["session_id"].as_str().unwrap();
        let session = InboundMegolmSession::from_storage(&self.bob().account, ROOM, id, None);
        session.unwrap().decrypt(&event.to_string()).expect("a Megolm key was used twice");
    }

    /// What Alice says from now on, once Bob can hear her, uses no key that was used before.
    pub fn later_messages_are_good(&self) {
        self.try_to_speak().expect("a message");
    }

    /// As above, for a store that may be of no more use.
    pub fn later_messages_are_good_or_corrupt(&self) {
        match self.try_to_speak() {
            Ok(()) | Err(E2eeError::Corrupt { .. }) => {}
            Err(error) => panic!("a message: {error}"),
        }
    }

    /// What is listed is what is stored.
    pub fn lists_are_whole(&self, what: &str) {
        let account = self.alice().unwrap().account;
        let sessions = v(&account.list_sessions(None, None, None).unwrap());
        let channels = v(&account.list_channels(None, None).unwrap());
        let names: Vec<_> = self.alice.records().now.into_keys().collect();
        for (list, collection) in [(sessions, "inbound_megolm_session"), (channels, "olm_channel")]
        {
            let stored = names.iter().filter(|(name, _)| name == collection).count();
            assert_eq!(list.as_array().unwrap().len(), stored, "{what}: {collection}");
        }
    }

    fn try_to_speak(&self) -> Result<()> {
        if self.notes.contains_key("channel") {
            say_to_bob(self)?;
        }
        if self.notes.contains_key("room") {
            match say_to_room(self) {
                Err(E2eeError::SessionExpired { .. }) => {}
                said => said?,
            }
        }
        Ok(())
    }
}

impl Open {
    fn channel(&self, user_id: &str, key: &str) -> Result<Arc<OlmChannel>> {
        OlmChannel::create_from_storage(&self.account, user_id, key)
    }

    fn outbound(&self) -> Result<Arc<OutboundMegolmSession>> {
        OutboundMegolmSession::create_from_storage(&self.account, ROOM, None)
    }

    fn inbound(&self, id: &str) -> Result<Arc<InboundMegolmSession>> {
        InboundMegolmSession::from_storage(&self.account, ROOM, id, None)
    }
}

/// Asks for everything that is stored.
pub fn look(world: &World) -> Result<()> {
    let alice = world.alice()?;
    alice.account.device_keys()?;
    alice.account.list_sessions(None, None, None)?;
    for (user_id, note) in [(BOB, "bob's key"), (CAROL, "carol's key")] {
        match alice.channel(user_id, world.note(note)) {
            Err(E2eeError::NotFound { .. }) => {}
            channel => drop(channel?.session_count()?),
        }
    }
    keys_to_send(world)?;
    let (content, key) = (world.note("bob's room key"), world.note("bob's key"));
    let session = InboundMegolmSession::from_room_key(&alice.account, BOB, key, content)?;
    session.export_at(None)?;
    session.decrypt(world.note("event"))?;
    // Looks whether the new session is known in another room.
    OutboundMegolmSession::create(&alice.account, "!look", None)?;
    Ok(())
}

/// What the store says of itself.
pub fn problems(world: &World) -> Result<String> {
    Store::foreign(Arc::new(world.alice.clone()), KEY.to_vec())?.problems()
}

/// Two messages from one opened store, of which the first may be forgotten by the backend.
pub fn say_two_things(world: &World) -> Result<()> {
    let alice = world.alice()?;
    world.bob_gets(&alice.channel(BOB, world.note("bob's key"))?.encrypt("m.dummy", "{}")?);
    world.bob_reads(&alice.outbound()?.encrypt("m.note", "{}")?);
    Ok(())
}

fn keys_to_send(world: &World) -> Result<Value> {
    let recipients = json!({
        "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "members": {BOB: "join"},
        "device_keys": {BOB: {"BOB": v(world.note("bob's keys"))}},
    });
    let list = world.alice()?.outbound()?.get_session_key_for_sending(&recipients.to_string())?;
    Ok(v(&list))
}

fn say_to_bob(world: &World) -> Result<()> {
    let alice = world.alice()?;
    let bob = world.notes.get("bob's key").cloned().unwrap_or_default();
    world.bob_gets(&alice.channel(BOB, &bob)?.encrypt("m.dummy", "{}")?);
    Ok(())
}

fn say_to_room(world: &World) -> Result<()> {
    let content = world.alice()?.outbound()?.encrypt("m.room.message", r#"{"body": "hello"}"#)?;
    world.bob_reads(&content);
    Ok(())
}

const STEP: Step = Step { name: "", prepare: |_| {}, call: |_| Ok(()), done_already: "" };

pub const STEPS: &[Step] = &[
    Step { name: "Account.open", call: |world| world.alice().map(drop), ..STEP },
    Step {
        name: "keys_upload_request",
        prepare: |world| {
            let alice = world.alice().unwrap().account;
            world.notes.insert("alice's key", alice.identity_key().unwrap());
            world.notes.insert("alice's keys", alice.device_keys().unwrap());
        },
        call: |world| world.alice()?.account.keys_upload_request().map(drop),
        ..STEP
    },
    Step {
        name: "receive_keys_upload_response",
        prepare: |world| {
            let body = world.alice().unwrap().account.keys_upload_request().unwrap().unwrap();
            world.notes.insert("a key", entries(&v(&body)["one_time_keys"])[0].to_string());
        },
        call: |world| {
            let counts = r#"{"one_time_key_counts": {"signed_curve25519": 50}}"#;
            world.alice()?.account.receive_keys_upload_response(200, counts)
        },
        done_already: "INVALID_FIELD",
    },
    Step {
        name: "create_outbound_channel",
        prepare: |world| {
            let bob = world.bob().account;
            world.notes.insert("bob's key", bob.identity_key().unwrap());
            world.notes.insert("bob's keys", bob.device_keys().unwrap());
            let body = v(&bob.keys_upload_request().unwrap().unwrap());
            world
                .notes
                .insert("bob's one-time key", entries(&body["one_time_keys"])[0].to_string());
        },
        call: |world| {
            let (keys, one) = (world.note("bob's keys"), world.note("bob's one-time key"));
            OlmChannel::create_outbound_channel(&world.alice()?.account, keys, one).map(drop)
        },
        done_already: "ALREADY_EXISTS",
    },
    Step {
        name: "OlmChannel.encrypt",
        prepare: |world| drop(world.notes.insert("channel", String::new())),
        call: say_to_bob,
        ..STEP
    },
    Step {
        name: "OlmChannel.decrypt",
        prepare: |world| {
            let channel = world.bob().channel(ALICE, world.note("alice's key")).unwrap();
            world.notes.insert("reply", channel.encrypt("m.dummy", "{}").unwrap());
        },
        call: |world| {
            let channel = world.alice()?.channel(BOB, world.note("bob's key"))?;
            channel.decrypt(world.note("reply")).map(drop)
        },
        done_already: "UNABLE_TO_DECRYPT",
    },
    Step { name: "OlmChannel.encrypt after an answer", call: say_to_bob, ..STEP },
    Step {
        name: "create_from_encrypted_message",
        prepare: |world| {
            let carol = Device::new(CAROL, "CAROL");
            let (keys, one) = (world.note("alice's keys"), world.note("a key"));
            let channel = OlmChannel::create_outbound_channel(&carol.account, keys, one).unwrap();
            world.notes.insert("knock", channel.encrypt("m.dummy", "{}").unwrap());
            world.notes.insert("carol's key", carol.identity_key());
        },
        call: |world| {
            let (account, key) = (world.alice()?.account, world.note("carol's key"));
            let knock = world.note("knock");
            OlmChannel::create_from_encrypted_message(&account, CAROL, key, knock, None, None)
                .map(drop)
        },
        done_already: "ALREADY_EXISTS",
    },
    Step {
        name: "should_create_new_session",
        call: |world| {
            let channel = world.alice()?.channel(CAROL, world.note("carol's key"))?;
            channel.should_create_new_session().map(drop)
        },
        ..STEP
    },
    Step {
        name: "OutboundMegolmSession.create",
        call: |world| OutboundMegolmSession::create(&world.alice()?.account, ROOM, None).map(drop),
        ..STEP
    },
    Step {
        name: "get_session_key_for_sending",
        call: |world| {
            let list = keys_to_send(world)?;
            let (bob, key) = (world.bob().account, world.note("alice's key"));
            let content = list[0]["content"].to_string();
            InboundMegolmSession::from_room_key(&bob, ALICE, key, &content).unwrap();
            Ok(())
        },
        ..STEP
    },
    Step {
        name: "mark_as_sent",
        prepare: |world| drop(world.notes.insert("room", String::new())),
        call: |world| {
            let devices = json!([v(world.note("bob's keys"))]).to_string();
            world.alice()?.outbound()?.mark_as_sent(&devices)
        },
        ..STEP
    },
    Step { name: "OutboundMegolmSession.encrypt", call: say_to_room, ..STEP },
    Step { name: "keys for nobody new", call: |world| keys_to_send(world).map(drop), ..STEP },
    Step {
        name: "from_room_key",
        prepare: |world| {
            let bob = world.bob();
            let session = OutboundMegolmSession::create(&bob.account, ROOM, None).unwrap();
            world.notes.insert("bob's session", session.session_id().unwrap());
            let recipients = json!({
                "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
                "members": {ALICE: "join"},
                "device_keys": {ALICE: {"ALICE": v(world.note("alice's keys"))}},
            });
            let list = session.get_session_key_for_sending(&recipients.to_string()).unwrap();
            world.notes.insert("bob's room key", v(&list)[0]["content"].to_string());
        },
        call: |world| {
            let (account, key) = (world.alice()?.account, world.note("bob's key"));
            let content = world.note("bob's room key");
            InboundMegolmSession::from_room_key(&account, BOB, key, content).map(drop)
        },
        ..STEP
    },
    Step {
        name: "InboundMegolmSession.decrypt",
        prepare: |world| {
            let content = world.bob().outbound().unwrap().encrypt("m.note", "{}").unwrap();
            let event = json!({"event_id": "$bob", "sender": BOB, "room_id": ROOM,
                "content": v(&content)});
            world.notes.insert("event", event.to_string());
        },
        call: |world| {
            let session = world.alice()?.inbound(world.note("bob's session"))?;
            session.decrypt(world.note("event")).map(drop)
        },
        ..STEP
    },
    Step {
        name: "decrypt of a replayed message",
        call: |world| {
            let session = world.alice()?.inbound(world.note("bob's session"))?;
            let replay = world.note("event").replace("$bob", "$eve");
            match session.decrypt(&replay) {
                Err(E2eeError::Replay { .. }) => Ok(()),
                other => other.map(|_| panic!("a replayed message was accepted")),
            }
        },
        ..STEP
    },
    Step {
        name: "list_sessions",
        prepare: |world| {
            let alice = world.alice().unwrap().account;
            for room in ["!one", "!two"] {
                let session = OutboundMegolmSession::create(&alice, room, None).unwrap();
                InboundMegolmSession::from_outbound_session(&session).unwrap();
            }
        },
        call: |world| {
            let list = world.alice()?.account.list_sessions(None, None, None)?;
            match v(&list).as_array().unwrap().len() {
                3 => Ok(()),
                // A damaged session is left out.
                _ => Err(E2eeError::Corrupt { detail: list }),
            }
        },
        ..STEP
    },
    Step {
        name: "export_at",
        call: |world| {
            world.alice()?.inbound(world.note("bob's session"))?.export_at(None).map(drop)
        },
        ..STEP
    },
    Step {
        name: "OlmChannel.erase",
        call: |world| world.alice()?.channel(CAROL, world.note("carol's key"))?.erase(),
        done_already: "NOT_FOUND",
        ..STEP
    },
    Step {
        name: "InboundMegolmSession.erase",
        // A message of the next 32: there are two records of messages to list.
        prepare: |world| {
            let session = world.bob().outbound().unwrap();
            let mut content = String::new();
            for _ in 0..33 {
                content = session.encrypt("m.note", "{}").unwrap();
            }
            let event = json!({"event_id": "$later", "sender": BOB, "room_id": ROOM,
                "content": v(&content)});
            let session = world.alice().unwrap().inbound(world.note("bob's session")).unwrap();
            session.decrypt(&event.to_string()).unwrap();
        },
        call: |world| world.alice()?.inbound(world.note("bob's session"))?.erase(),
        done_already: "NOT_FOUND",
    },
    Step { name: "invalidate", call: |world| world.alice()?.outbound()?.invalidate(), ..STEP },
    Step { name: "shut_down", call: |world| world.alice()?.store.shut_down(), ..STEP },
];
