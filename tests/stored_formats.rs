//! Store files of every format open in this version, whole: one file for each format, and for each
//! release since, made by the version that wrote it, with what was on its way to it at that time.
//! (Security requirements, "Store durability checklist" 7.)
//!
//! `MAKE_STORE=version-0.2 cargo test --test stored_formats` makes the next one, with this version.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::raw::RawDevice;
use common::{Device, fails, v};
use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store};
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage, SessionConfig};
use vodozemac::olm::{Session, SessionPickle};

const KEY: [u8; 32] = [0x11; 32];
const ROOM: &str = "!room:example.org";
const PICKLE_KEY: [u8; 32] = [0x22; 32];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores")
}

fn open(path: &Path) -> Device {
    let store = Store::open_sqlite(path.to_str().unwrap(), KEY.to_vec()).unwrap();
    Device::open_in(store, "@alice:example.org", "ALICE")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// An event in the room, as `/sync` would give it.
fn event(sender: &str, event_id: &str, content: &Value) -> String {
    json!({
        "type": "m.room.encrypted", "event_id": event_id, "sender": sender, "room_id": ROOM,
        "origin_server_ts": 1, "content": content,
    })
    .to_string()
}

fn message(room: &mut GroupSession, body: &str) -> Value {
    let plaintext =
        json!({"type": "m.room.message", "room_id": ROOM, "content": {"body": body}}).to_string();
    json!({
        "algorithm": "m.megolm.v1.aes-sha2", "session_id": room.session_id(),
        "ciphertext": room.encrypt(plaintext).to_base64(),
    })
}

/// A store of this version, and beside it what the test will need to know.
fn make(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let alice = open(&path);
    let mut bob = RawDevice::new("@bob:example.com", "BOB");
    let carol = RawDevice::new("@carol:example.net", "CAROL");
    let one_time_keys = alice.one_time_keys();
    let channel = OlmChannel::create_outbound_channel(
        &alice.account,
        &bob.device_keys().to_string(),
        &bob.one_time_key().to_string(),
    )
    .unwrap();
    let (mut bobs, _) = bob.receive_first(&channel.encrypt("m.dummy", "{}").unwrap());
    channel.decrypt(&bob.say(&mut bobs, &alice)).unwrap();
    let late = bob.say(&mut bobs, &alice);
    let first_of_carol = carol.say(&mut carol.session_to(&alice, &one_time_keys[3]), &alice);

    let outbound = OutboundMegolmSession::create(&alice.account, ROOM, None).unwrap();
    let own = InboundMegolmSession::from_outbound_session(&outbound).unwrap();
    let recipients = json!({
        "encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
        "members": {"@alice:example.org": "join", "@bob:example.com": "join"},
        "device_keys": {"@bob:example.com": {"BOB": bob.device_keys()}},
    })
    .to_string();
    let lines = v(&outbound.get_session_key_for_sending(&recipients).unwrap());
    outbound.mark_as_sent(&json!([lines[0]["device"]]).to_string()).unwrap();
    let sent: Vec<Value> = (0..3)
        .map(|_| v(&outbound.encrypt("m.room.message", r#"{"body":"from Alice"}"#).unwrap()))
        .collect();
    own.decrypt(&event("@alice:example.org", "$alice0", &sent[0])).unwrap();

    let mut room = GroupSession::new(SessionConfig::version_1());
    let room_key = json!({
        "algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM, "session_id": room.session_id(),
        "session_key": room.session_key().to_base64(),
    });
    let inbound = InboundMegolmSession::from_room_key(
        &alice.account,
        "@bob:example.com",
        &bob.identity_key(),
        &room_key.to_string(),
    )
    .unwrap();
    let of_bob: Vec<Value> = (0..3).map(|_| message(&mut room, "from Bob")).collect();
    let (user_id, sender_key) = ("@carol:example.net", carol.identity_key());
    let room_key = room_key.to_string();
    InboundMegolmSession::from_room_key(&alice.account, user_id, &sender_key, &room_key).unwrap();
    for (index, content) in of_bob[..2].iter().enumerate() {
        inbound.decrypt(&event("@bob:example.com", &format!("$bob{index}"), content)).unwrap();
    }
    let facts = json!({
        "device_keys": v(&alice.device_keys()),
        "recipients": v(&recipients),
        "bob": {"identity_key": bob.identity_key(), "fingerprint_key": bob.fingerprint_key()},
        "bobs_session": bobs.pickle().encrypt(&PICKLE_KEY),
        "late_message_of_bob": v(&late),
        "carol": carol.identity_key(),
        "first_message_of_carol": v(&first_of_carol),
        "sent_by_alice": sent,
        "room_key_of_alice": lines[0]["content"]["session_key"],
        "sent_by_bob": of_bob,
        "claimed_by_carol": true,
    });
    alice.store.shut_down().unwrap();
    fs::create_dir_all(folder()).unwrap();
    fs::copy(&path, folder().join(format!("{name}.sqlite"))).unwrap();
    let facts = serde_json::to_string_pretty(&facts).unwrap();
    fs::write(folder().join(format!("{name}.json")), facts + "\n").unwrap();
}

/// Opens a copy, and lives on where the file's writer stopped.
fn check(name: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    fs::copy(folder().join(format!("{name}.sqlite")), &path).unwrap();
    let facts = v(&fs::read_to_string(folder().join(format!("{name}.json"))).unwrap());
    for pass in 0..2 {
        let alice = open(&path);
        assert_eq!(v(&alice.device_keys()), facts["device_keys"], "{name}");
        // Whoever wrote the file kept no lists: they are built.
        let sessions = v(&alice.account.list_sessions(None, None, None).unwrap());
        let ids = [0, 1].map(|at| text(&sessions[at]["session_id"]));
        assert!(sessions.as_array().unwrap().len() == 2 && ids[0] < ids[1]);
        let after = alice.account.list_sessions(None, Some(ids[0].to_owned()), None);
        assert_eq!(v(&after.unwrap()), json!([sessions[1]]));
        let channels = v(&alice.account.list_channels(None, None).unwrap());
        assert_eq!(channels.as_array().unwrap().len(), 1 + pass as usize, "{channels}");
        let used = channels.as_array().unwrap().iter().filter(|c| c.get("last_used_ms").is_some());
        assert_eq!(used.count(), if pass == 0 { 0 } else { channels.as_array().unwrap().len() });
        let outbound =
            OutboundMegolmSession::create_from_storage(&alice.account, ROOM, None).unwrap();
        assert_eq!(outbound.message_index().unwrap(), 3 + pass, "{name}");
        check_rooms(&alice, &outbound, &facts);
        if pass == 0 {
            check_channels(&alice.account, &facts);
        }
        alice.store.shut_down().unwrap();
    }
}

fn check_rooms(alice: &Device, outbound: &Arc<OutboundMegolmSession>, facts: &Value) {
    // Nobody needs the key again: the shares are known.
    let recipients = facts["recipients"].to_string();
    assert_eq!(outbound.get_session_key_for_sending(&recipients).unwrap(), "[]");
    let sent = v(&outbound.encrypt("m.room.message", r#"{"body":"more"}"#).unwrap());
    let key = vodozemac::megolm::SessionKey::from_base64(text(&facts["room_key_of_alice"]));
    let mut bobs = InboundGroupSession::new(&key.unwrap(), SessionConfig::version_1());
    let message = MegolmMessage::from_base64(text(&sent["ciphertext"])).unwrap();
    let opened = bobs.decrypt(&message).unwrap();
    assert_eq!(v(std::str::from_utf8(&opened.plaintext).unwrap())["content"]["body"], "more");
    assert!(opened.message_index >= 3);

    let session = |content: &Value| {
        let id = text(&content["session_id"]);
        InboundMegolmSession::from_storage(&alice.account, ROOM, id, None).unwrap()
    };
    let own = session(&facts["sent_by_alice"][0]);
    own.decrypt(&event("@alice:example.org", "$alice0", &facts["sent_by_alice"][0])).unwrap();
    own.decrypt(&event("@alice:example.org", "$alice2", &facts["sent_by_alice"][2])).unwrap();
    let of_bob = session(&facts["sent_by_bob"][0]);
    let opened = of_bob.decrypt(&event("@bob:example.com", "$bob2", &facts["sent_by_bob"][2]));
    assert_eq!(v(&opened.unwrap())["content"]["body"], "from Bob");
    // The replay guard remembers which event used an index (SEC-51).
    of_bob.decrypt(&event("@bob:example.com", "$bob1", &facts["sent_by_bob"][1])).unwrap();
    let again = event("@bob:example.com", "$another", &facts["sent_by_bob"][1]);
    fails(of_bob.decrypt(&again), "REPLAY");
    if facts["claimed_by_carol"] == true {
        check_claims(alice, &of_bob, facts);
    }
}

/// What is stored since 0.2: several claims to a session, and the keys by which a device is known.
fn check_claims(alice: &Device, of_bob: &InboundMegolmSession, facts: &Value) {
    let copy = event("@carol:example.net", "$copy", &facts["sent_by_bob"][0]);
    let opened = v(&of_bob.decrypt(&copy).unwrap());
    assert_eq!(opened["matrixe2ee"]["sender_key"], facts["carol"]); // SEC-44
    let original = event("@bob:example.com", "$bob0", &facts["sent_by_bob"][0]);
    let opened = v(&of_bob.decrypt(&original).unwrap());
    assert_eq!(opened["matrixe2ee"]["sender_fingerprint"], "device_keys"); // SEC-45
    let mut recipients = facts["recipients"].clone();
    let other = RawDevice::new("@bob:example.com", "BOB").device_keys();
    recipients["device_keys"]["@bob:example.com"]["BOB"] = other;
    let session = OutboundMegolmSession::create(&alice.account, "!other:example.org", None);
    let lines = session.unwrap().get_session_key_for_sending(&recipients.to_string()).unwrap();
    assert_eq!(v(&lines)[0]["error"]["name"], "MISMATCHED_FINGERPRINT"); // SEC-4, SEC-7
}

fn check_channels(account: &Account, facts: &Value) {
    let bob = &facts["bob"];
    let identity_key = text(&bob["identity_key"]);
    let channel =
        OlmChannel::create_from_storage(account, "@bob:example.com", identity_key).unwrap();
    let partner = v(&channel.partner().unwrap());
    assert_eq!(partner["fingerprint_key"], bob["fingerprint_key"]);
    assert_eq!(partner["fingerprint"], "device_keys");
    channel.decrypt(&facts["late_message_of_bob"].to_string()).unwrap();
    let pickle = SessionPickle::from_encrypted(text(&facts["bobs_session"]), &PICKLE_KEY).unwrap();
    let mut bobs = Session::from_pickle(pickle);
    let sent = v(&channel.encrypt("m.dummy", r#"{"still":"here"}"#).unwrap());
    let ours = &sent["ciphertext"][identity_key];
    let body = vodozemac::base64_decode(text(&ours["body"])).unwrap();
    let kind = usize::try_from(ours["type"].as_u64().unwrap()).unwrap();
    let message = vodozemac::olm::OlmMessage::from_parts(kind, &body).unwrap();
    let opened = String::from_utf8(bobs.decrypt(&message).unwrap()).unwrap();
    assert_eq!(v(&opened)["content"]["still"], "here");
    // The private halves of published one-time keys are there.
    OlmChannel::create_from_encrypted_message(
        account,
        "@carol:example.net",
        text(&facts["carol"]),
        &facts["first_message_of_carol"].to_string(),
        None,
        None,
    )
    .unwrap()
    .first_event()
    .unwrap();
}

#[test]
fn the_store_files_of_all_formats_open_and_nothing_in_them_is_lost() {
    if let Ok(name) = std::env::var("MAKE_STORE") {
        make(&name);
    }
    let names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".sqlite")?.to_owned())
        })
        .collect();
    for name in ["format-1", "format-2", "format-3", "version-0.2"] {
        assert!(names.iter().any(|other| other == name), "{name}");
    }
    names.iter().for_each(|name| check(name));
}

/// How many records of a collection a store has.
fn records(path: &Path, collection: &str) -> i64 {
    let file = rusqlite::Connection::open(path).unwrap();
    let count = "SELECT count(*) FROM record WHERE collection = ?1";
    file.query_row(count, [collection], |row| row.get(0)).unwrap()
}

/// The shares of an outbound session stood in a record for each user.
#[test]
fn whom_a_key_was_sent_to_moves_into_chunks_when_it_changes_and_nobody_gets_the_key_again() {
    for name in ["format-1", "format-2", "format-3", "version-0.2"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.db");
        fs::copy(folder().join(format!("{name}.sqlite")), &path).unwrap();
        let facts = v(&fs::read_to_string(folder().join(format!("{name}.json"))).unwrap());
        let former = records(&path, "outbound_megolm_share");
        assert!(former > 0, "{name}");
        let open_session = |alice: &Device| {
            OutboundMegolmSession::create_from_storage(&alice.account, ROOM, None).unwrap()
        };
        let dora = RawDevice::new("@dora:example.org", "DORA").device_keys();
        let mut recipients = facts["recipients"].clone();
        recipients["members"]["@dora:example.org"] = json!("join");
        recipients["device_keys"]["@dora:example.org"] = json!({"DORA": dora});

        let alice = open(&path);
        let lines = open_session(&alice).get_session_key_for_sending(&recipients.to_string());
        let lines = v(&lines.unwrap());
        assert_eq!((lines.as_array().unwrap().len(), &lines[0]["device"]), (1, &dora), "{name}");
        alice.store.shut_down().unwrap();
        assert_eq!(records(&path, "outbound_megolm_share"), 0, "{name}");
        assert_eq!(records(&path, "outbound_megolm_share_chunk"), 1, "{name}");

        let alice = open(&path);
        let session = open_session(&alice);
        assert_eq!(
            v(&session.get_session_key_for_sending(&recipients.to_string()).unwrap()),
            lines
        );
        session.mark_as_sent(&json!([dora]).to_string()).unwrap();
        assert_eq!(session.get_session_key_for_sending(&recipients.to_string()).unwrap(), "[]");
        let gone = facts["recipients"].to_string();
        fails(session.get_session_key_for_sending(&gone), "SESSION_EXPIRED"); // M13
        // What is stored in the former way goes with its session, too.
        alice.store.shut_down().unwrap();
        fs::copy(folder().join(format!("{name}.sqlite")), &path).unwrap();
        let alice = open(&path);
        OutboundMegolmSession::create(&alice.account, ROOM, None).unwrap();
        alice.store.shut_down().unwrap();
        assert_eq!(records(&path, "outbound_megolm_share"), 0, "{name}");
    }
}
