//! Eight threads on the same objects: nothing waits for ever, and no key is used twice.

#[path = "common/in_threads.rs"]
mod in_threads;
#[path = "common/rooms.rs"]
mod rooms;

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use in_threads::{THREADS, in_threads};
use matrixe2ee::*;
use rooms::*;
use serde_json::{Value, json};
use vodozemac::olm::OlmMessage;

/// Alice, who writes to Bob over Olm and into the room.
struct Stage {
    alice: Device,
    bob: Device,
    to_bob: Arc<OlmChannel>,
    to_alice: Arc<OlmChannel>,
    outbound: Arc<OutboundMegolmSession>,
    inbound: Arc<InboundMegolmSession>,
    room: Recipients,
    room_key: Value,
}

impl Stage {
    fn new(alice: Device) -> Self {
        let bob = Device::new(BOB, "B");
        let upload = answer(bob.account.keys_upload_request().map(Option::unwrap));
        let (id, key) = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
        let (keys, claimed) = (bob.keys().to_string(), json!({ id: key }).to_string());
        let to_bob = ok(OlmChannel::create_outbound_channel(&alice.account, &keys, &claimed));
        let outbound = alice.outbound(None);
        let room = Recipients::of(&[&bob]).encryption("rotation_period_msgs", json!(10_000));
        let room_key = keys_to_send(&outbound, &room)[0]["content"].clone();
        let first = ok(to_bob.encrypt("m.room_key", &room_key.to_string()));
        let key = alice.identity_key();
        let to_alice = OlmChannel::create_from_encrypted_message(
            &bob.account,
            ALICE,
            &key,
            &first,
            None,
            None,
        );
        let to_alice = ok(to_alice);
        ok(to_bob.decrypt(&ok(to_alice.encrypt("m.dummy", "{}"))));
        let inbound = ok(bob.receive(&alice, &room_key));
        Self { alice, bob, to_bob, to_alice, outbound, inbound, room, room_key }
    }
}

/// Which key of which session a message was encrypted with.
fn megolm_key(content: &str) -> String {
    let content = parse(content);
    format!("{} {}", content["session_id"], index_of(&content))
}

fn olm_key(content: &str) -> String {
    let content = parse(content);
    let message = content["ciphertext"].as_object().unwrap().values().next().unwrap();
    let body = from_base64(message["body"].as_str().unwrap());
    let kind = message["type"].as_u64().unwrap();
    match OlmMessage::from_parts(kind as usize, &body).unwrap() {
        OlmMessage::Normal(message) => {
            format!("{} {}", message.ratchet_key().to_base64(), message.chain_index())
        }
        OlmMessage::PreKey(message) => {
            let message = message.message();
            format!("{} {}", message.ratchet_key().to_base64(), message.chain_index())
        }
    }
}

/// Fails if a key was used twice.
fn assert_all_different(keys: Vec<String>) {
    let count = keys.len();
    assert_eq!(keys.into_iter().collect::<HashSet<_>>().len(), count, "a key was used twice");
}

#[test]
fn messages_of_eight_threads_have_all_indices_once_and_all_decrypt() {
    const EACH: usize = 40;
    let stage = Arc::new(Stage::new(Device::on_disk(ALICE, "A")));
    let shared = Arc::clone(&stage);
    let sent = in_threads(
        move |number| {
            // Every other thread has a handle of its own.
            let own = (number % 2 == 0).then(|| shared.alice.stored_outbound());
            let session = own.as_ref().unwrap_or(&shared.outbound);
            let send = |n: usize| {
                let content = encrypted(session, "hello");
                let index = index_of(&content);
                let event = shared.alice.event(&format!("${number}-{n}"), &content).to_string();
                ok(shared.inbound.decrypt(&event));
                let note = ok(shared.to_bob.encrypt("m.note", "{}"));
                (index, olm_key(&note), note)
            };
            (0..EACH).map(send).collect::<Vec<_>>()
        },
        || {},
    );
    let (mut indices, mut olm_keys, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, key, note) in sent.into_iter().flatten() {
        indices.push(index);
        olm_keys.push(key);
        notes.push(note);
    }
    indices.sort_unstable();
    assert!(indices.into_iter().eq(0..(THREADS * EACH) as u32)); // M15
    assert_all_different(olm_keys.clone());
    let mut in_order: Vec<_> = olm_keys.into_iter().zip(notes).collect();
    in_order.sort_by_key(|(key, _)| key.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
    for (_, note) in in_order {
        ok(stage.to_alice.decrypt(&note));
    }
}

/// What a thread may do to the objects of all, by turns.
fn act(stage: &Stage, number: usize, n: usize, keys: &Mutex<Vec<String>>) -> Result<()> {
    let (alice, bob) = (&stage.alice, &stage.bob);
    let note = |key: String| keys.lock().unwrap().push(key);
    match (n * 7 + number * 5) % 16 {
        0 => note(megolm_key(&stage.outbound.encrypt("m", "{}")?)),
        1 => note(megolm_key(&alice.stored_outbound().encrypt("m", "{}")?)),
        2 => note(olm_key(&stage.to_bob.encrypt("m", "{}")?)),
        3 => drop(stage.to_alice.decrypt(&stage.to_bob.encrypt("m", "{}")?)?),
        4 => drop(stage.to_bob.decrypt(&stage.to_alice.encrypt("m", "{}")?)?),
        5 => drop(stage.outbound.get_session_key_for_sending(&stage.room.text())?),
        6 => stage.outbound.mark_as_sent(&json!([bob.keys()]).to_string())?,
        7 => drop(bob.account.keys_upload_request()?),
        8 => bob.account.receive_keys_upload_response(
            200,
            r#"{"one_time_key_counts": {"signed_curve25519": 50}}"#,
        )?,
        9 => bob.account.receive_key_counts(r#"{"signed_curve25519": 49}"#, None)?,
        10 => drop(Account::open(&bob.store, BOB, &format!("B{}", n % 3))?.device_keys()?),
        11 => Account::open(&bob.store, BOB, &format!("B{}", n % 3))?.erase()?,
        12 => {
            // A session of the room that is received, used, erased and received again.
            let mut raw = RawSession::new();
            let inbound = bob.receive(alice, &raw.room_key())?;
            let events: Vec<Value> =
                (0..40).map(|i| alice.event(&format!("${i}"), &raw.message("x"))).collect();
            inbound.decrypt_many(&json!(events).to_string())?;
            inbound.erase()?;
            bob.receive(alice, &raw.room_key())?;
        }
        13 => drop(bob.receive(alice, &stage.room_key)?.decrypt("{}")),
        14 => drop(bob.account.list_sessions(None, None, None)?),
        _ => {
            let id = stage.inbound.session_id()?;
            let opened = InboundMegolmSession::from_storage(&bob.account, ROOM, &id, None)?;
            drop(opened.export_at(None)?);
        }
    }
    Ok(())
}

#[test]
fn eight_threads_may_do_everything_to_the_same_objects() {
    for alice in [Device::new(ALICE, "A"), Device::on_disk(ALICE, "A")] {
        let stage = Arc::new(Stage::new(alice));
        let keys = Arc::new(Mutex::new(Vec::new()));
        let (shared, used) = (Arc::clone(&stage), Arc::clone(&keys));
        let errors = in_threads(
            move |number| {
                let act = |n| act(&shared, number, n, &used);
                (0..96).map(act).filter_map(Result::err).collect::<Vec<_>>()
            },
            || {},
        );
        for error in errors.into_iter().flatten() {
            // Another thread has erased the account, answered the upload, or gone far ahead.
            let expected = ["NOT_FOUND", "ALREADY_EXISTS", "INVALID_FIELD", "UNABLE_TO_DECRYPT"];
            assert!(expected.contains(&error.name()), "{}", error.to_json());
        }
        let keys = std::mem::take(&mut *keys.lock().unwrap());
        assert!(keys.len() > THREADS * 10);
        assert_all_different(keys); // M15
        let event = stage.alice.event("$last", &encrypted(&stage.outbound, "still fine"));
        ok(stage.inbound.decrypt(&event.to_string()));
        ok(stage.to_alice.decrypt(&ok(stage.to_bob.encrypt("m", "{}"))));
    }
}

/// Encrypts until the store or the session is gone; gives the keys used, and how it ended.
fn encrypt_until_it_ends(stage: &Stage, count: &AtomicUsize) -> (Vec<String>, Vec<&'static str>) {
    let (mut keys, mut ends) = (Vec::new(), Vec::new());
    while ends.len() < 2 {
        let (room, olm) = (stage.outbound.encrypt("m", "{}"), stage.to_bob.encrypt("m", "{}"));
        ends.clear();
        for (sent, key) in [(room, megolm_key as fn(&str) -> String), (olm, olm_key)] {
            match sent {
                Ok(content) => keys.push(key(&content)),
                Err(error) => ends.push(error.name()),
            }
        }
        count.fetch_add(1, Ordering::SeqCst);
    }
    (keys, ends)
}

/// Ends the work of eight threads when they are in the middle of it.
fn ended_midway(stage: &Arc<Stage>, end: fn(&Stage), name: &str) -> Vec<String> {
    let count = Arc::new(AtomicUsize::new(0));
    let (shared, counter, ending) = (Arc::clone(stage), Arc::clone(&count), Arc::clone(stage));
    let ended = in_threads(
        move |_| encrypt_until_it_ends(&shared, &counter),
        move || {
            while count.load(Ordering::SeqCst) < 60 {
                thread::yield_now();
            }
            end(&ending);
        },
    );
    let mut keys = Vec::new();
    for (used, ends) in ended {
        assert!(ends.iter().all(|end| *end == name), "{ends:?}");
        keys.extend(used);
    }
    keys
}

#[test]
fn a_shut_down_in_the_middle_ends_all_threads_and_loses_no_index() {
    let stage = Arc::new(Stage::new(Device::on_disk(ALICE, "A")));
    let mut keys = ended_midway(&stage, |stage| ok(stage.alice.store.shut_down()), "STORE_CLOSED");
    let mut stage = Arc::into_inner(stage).expect("all threads have ended");
    stage.alice.reopen();
    let (alice, bob) = (&stage.alice, &stage.bob);
    let channel = OlmChannel::create_from_storage(&alice.account, BOB, &bob.identity_key());
    let channel = ok(channel);
    for _ in 0..10 {
        keys.push(megolm_key(&encrypted(&alice.stored_outbound(), "later").to_string()));
        keys.push(olm_key(&ok(channel.encrypt("m", "{}"))));
    }
    assert!(keys.len() > 60);
    assert_all_different(keys); // M15
}

#[test]
fn erasing_the_account_in_the_middle_ends_all_threads() {
    for alice in [Device::new(ALICE, "A"), Device::on_disk(ALICE, "A")] {
        let stage = Arc::new(Stage::new(alice));
        let former = stage.alice.identity_key();
        let keys = ended_midway(&stage, |stage| ok(stage.alice.account.erase()), "NOT_FOUND");
        assert_all_different(keys); // M15
        assert_eq!(error_name(stage.alice.account.device_keys()), "NOT_FOUND");
        let anew = ok(Account::open(&stage.alice.store, ALICE, "A"));
        assert_ne!(ok(anew.identity_key()), former);
        ok(OutboundMegolmSession::create(&anew, ROOM, None));
    }
}

#[test]
fn erasing_a_session_in_the_middle_ends_all_threads() {
    let stage = Arc::new(Stage::new(Device::on_disk(ALICE, "A")));
    let end = |stage: &Stage| {
        ok(stage.outbound.erase());
        ok(stage.to_bob.erase());
    };
    assert_all_different(ended_midway(&stage, end, "NOT_FOUND")); // M15
    assert_eq!(index_of(&encrypted(&stage.alice.outbound(None), "a new one")), 0);
}

#[test]
fn eight_threads_bring_one_session_for_eight_rooms() {
    let (alice, bob) = (Device::new(ALICE, "A"), Arc::new(Device::new(BOB, "B")));
    let key = alice.identity_key();
    for round in 1..=40 {
        let (device, key, content) = (Arc::clone(&bob), key.clone(), RawSession::new().room_key());
        let names = in_threads(
            move |number| {
                let mut content = content.clone();
                content["room_id"] = json!(format!("!{number}"));
                let content = content.to_string();
                match InboundMegolmSession::from_room_key(&device.account, ALICE, &key, &content) {
                    Ok(_) => "ok",
                    Err(error) => error.name(),
                }
            },
            || {},
        );
        assert!(names.iter().all(|name| *name == "ok"), "{names:?}"); // SEC-44
        let listed = bob.sessions().as_array().map(Vec::len);
        assert_eq!(listed, Some(round * THREADS));
    }
}

#[test]
fn a_channel_that_is_made_while_it_is_erased_is_made_or_there_already() {
    let mut raw = vodozemac::olm::Account::new();
    let bob = Device::known(BOB, "B", &raw, false);
    let key = raw.generate_one_time_keys(1).created[0];
    let key = answer(bob.account.sign_json(&json!({"key": key.to_base64()}).to_string()));
    let key = json!({"signed_curve25519:AAAAAAAAAAA": key}).to_string();
    // On disk an erasure takes its time, in which others wait for the lock.
    let (alice, keys) = (Arc::new(Device::on_disk(ALICE, "A")), bob.keys().to_string());
    let identity_key = bob.identity_key();
    let errors = in_threads(
        move |number| {
            let mut errors = Vec::new();
            for _ in 0..40 {
                let (account, identity) = (&alice.account, &identity_key);
                if number % 2 == 0 {
                    let made = OlmChannel::create_outbound_channel(account, &keys, &key);
                    errors.extend(made.err().map(|error| error.name()));
                } else if let Ok(open) = OlmChannel::create_from_storage(account, BOB, identity) {
                    let _ = open.erase();
                }
            }
            errors
        },
        || {},
    );
    let mut errors = errors.concat();
    errors.retain(|name| *name != "ALREADY_EXISTS");
    assert_eq!(errors, [] as [&str; 0]);
}

#[test]
fn a_room_key_that_comes_while_its_session_is_erased_is_kept_or_erased_but_not_refused() {
    let (alice, bob) = (Device::new(ALICE, "A"), Arc::new(Device::new(BOB, "B")));
    let raw = RawSession::new();
    let (key, content) = (alice.identity_key(), raw.room_key().to_string());
    let errors = in_threads(
        move |number| {
            let mut errors = Vec::new();
            for _ in 0..60 {
                let made = InboundMegolmSession::from_room_key(&bob.account, ALICE, &key, &content);
                match made {
                    Ok(session) if number % 2 == 0 => drop(session.erase()),
                    Ok(_) => {}
                    Err(error) => errors.push(error.to_json()),
                }
            }
            errors
        },
        || {},
    );
    assert_eq!(errors.concat(), [] as [String; 0]);
}

#[test]
fn of_eight_threads_that_bring_one_message_as_eight_events_one_succeeds() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut raw = RawSession::new();
    let inbound = ok(bob.receive(&alice, &raw.room_key()));
    let messages: Vec<Value> = (0..50).map(|_| raw.message("hello")).collect();
    let decrypted = in_threads(
        move |number| {
            let mut own = 0;
            for message in &messages {
                let event = alice.event(&format!("${number}"), message).to_string();
                own += match inbound.decrypt(&event) {
                    Ok(_) => 1,
                    Err(error) => usize::from(error.name() != "REPLAY"),
                };
            }
            own
        },
        || {},
    );
    assert_eq!(decrypted.into_iter().sum::<usize>(), 50); // M27, SEC-51
}

#[test]
fn an_account_that_is_opened_while_it_is_erased_is_there_afterwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store").to_str().expect("UTF-8").to_owned();
    let store = Store::open_sqlite(&path, vec![7; 32]).expect("a store");
    let errors = in_threads(
        move |number| {
            let mut errors = Vec::new();
            for _ in 0..20 {
                let account = match Account::open(&store, ALICE, "A") {
                    Ok(account) => account,
                    Err(error) => {
                        errors.push(error.name());
                        continue;
                    }
                };
                if number % 2 == 0 {
                    let _ = account.erase();
                }
            }
            errors
        },
        || {},
    );
    assert_eq!(errors.concat(), [] as [&str; 0]);
}
