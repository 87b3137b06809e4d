//! No secret and no plaintext in what the library prints, reports or writes to disk (SEC-106).

#[path = "common/rooms.rs"]
mod rooms;
#[path = "common/secrets.rs"]
mod secrets;

use std::fmt::Debug;
use std::sync::Arc;

use matrixe2ee::*;
use rooms::*;
use secrets::*;
use serde_json::{Map, Value, json};
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::{self, SessionConfig};

const CANARY: &str = "CANARY-4f9d0c7be1a25386-THE-PLAINTEXT-OF-A-MESSAGE";
const PICKLE_KEY: [u8; 32] = *b"a pickle's key, thirty-two bytes";

/// A device all of whose keys the test knows, in the middle of its life.
struct Stage {
    alice: Device,
    bob: Device,
    /// Bob's keys, from before the library had them.
    bobs: olm::Account,
    /// An Olm session with Bob in the test's own hands.
    olm: olm::Session,
    sender: olm::Account,
    raw: RawSession,
    channel: Arc<OlmChannel>,
    inbound: Arc<InboundMegolmSession>,
    outbound: Arc<OutboundMegolmSession>,
    needles: Vec<Needle>,
}

fn needles_of(name: &str, session_key: &[u8]) -> Vec<Needle> {
    // The four parts of the ratchet.
    session_key[5..133].chunks(32).map(|part| Needle::new(name, part)).collect()
}

impl Stage {
    fn new() -> Self {
        let (mut bobs, sender) = (olm::Account::new(), olm::Account::new());
        bobs.generate_one_time_keys(2);
        let keys: Vec<Curve25519PublicKey> = bobs.one_time_keys().into_values().collect();
        let mut needles = keys_in_pickle("Bob's account", &bobs.pickle());
        let bob = Device::known(BOB, "B", &bobs, true);
        let alice = Device::known(ALICE, "A", &sender, false);
        let mut new_session = |key| {
            let config = SessionConfig::version_1();
            let session = sender.create_outbound_session(config, bobs.curve25519_key(), key);
            let session = session.expect("a session");
            needles.extend(keys_in_pickle("an Olm session", &session.pickle()));
            session
        };
        let (mut first, olm) = (new_session(keys[0]), new_session(keys[1]));
        let content = olm_content(&mut first, &sender, &bobs, &olm_plaintext(&alice, &bob, &bobs));
        let key = alice.identity_key();
        let (account, content) = (&bob.account, content.to_string());
        let channel =
            OlmChannel::create_from_encrypted_message(account, ALICE, &key, &content, None, None);
        let channel = ok(channel);
        assert!(ok(channel.first_event()).contains(CANARY));
        let mut raw = RawSession::new();
        needles.extend(needles_of("a received room key", &raw.0.session_key().to_bytes()));
        let inbound = ok(bob.receive(&alice, &raw.room_key()));
        let event = bob_reads(&alice, &mut raw);
        assert!(ok(inbound.decrypt(&event.to_string())).contains(CANARY));
        let outbound = bob.outbound(None);
        let pending = room_key_for(&outbound, &alice)["session_key"].as_str().unwrap().to_owned();
        needles.extend(needles_of("a pending room key", &from_base64(&pending)));
        ok(outbound.encrypt("m.room.message", &json!({ "body": CANARY }).to_string()));
        ok(channel.encrypt("m.note", &json!({ "body": CANARY }).to_string()));
        needles.push(Needle::new("the store's key", &STORE_KEY));
        needles.push(Needle::new("the pickle key", &PICKLE_KEY));
        needles.push(Needle::new("a plaintext", CANARY.as_bytes()));
        Self { alice, bob, bobs, olm, sender, raw, channel, inbound, outbound, needles }
    }
}

fn bob_reads(alice: &Device, raw: &mut RawSession) -> Value {
    alice.event("$read", &raw.message(CANARY))
}

fn olm_plaintext(alice: &Device, bob: &Device, bobs: &olm::Account) -> Value {
    json!({ "type": "m.note", "content": { "body": CANARY }, "sender": alice.user_id,
        "recipient": bob.user_id, "recipient_keys": { "ed25519": bobs.ed25519_key().to_base64() },
        "keys": { "ed25519": ok(alice.account.fingerprint_key()) } })
}

fn olm_content(
    session: &mut olm::Session,
    from: &olm::Account,
    to: &olm::Account,
    plaintext: &impl ToString,
) -> Value {
    let message = session.encrypt(plaintext.to_string()).expect("a message").to_parts();
    json!({ "algorithm": "m.olm.v1.curve25519-aes-sha2",
        "sender_key": from.curve25519_key().to_base64(),
        "ciphertext": { to.curve25519_key().to_base64():
            { "type": message.0, "body": base64(&message.1) } } })
}

#[test]
fn no_object_shows_its_secrets() {
    let stage = Stage::new();
    let show = |what: &str, object: &dyn Debug| {
        for text in [format!("{object:?}"), format!("{object:#?}")] {
            assert_text_free_of(&stage.needles, what, &text); // SEC-106, SEC-108
        }
    };
    show("Store", &stage.bob.store);
    show("Account", &stage.bob.account);
    show("OlmChannel", &stage.channel);
    show("OutboundMegolmSession", &stage.outbound);
    show("InboundMegolmSession", &stage.inbound);
    show("SystemClock", &SystemClock);
    show("SystemRandom", &SystemRandom);
    show_typed_core(&show);
}

/// The same for the core behind the objects, on a store of its own.
fn show_typed_core(show: &dyn Fn(&str, &dyn Debug)) {
    let object = |value: &Value| -> Map<String, Value> { value.as_object().unwrap().clone() };
    let store = ok(typed::Store::in_memory(&STORE_KEY));
    let user_id = ok(typed::UserId::read("user_id", BOB));
    let device_id = ok(typed::DeviceId::read("device_id", "TYPED"));
    let account = Arc::new(ok(typed::Account::open(&store, user_id, device_id)));
    let mut raw = RawSession::new();
    let needles = needles_of("a room key", &raw.0.session_key().to_bytes());
    let (alice, content) = (Device::new(ALICE, "A"), object(&raw.room_key()));
    let key = alice.identity_key();
    let alice_id = ok(typed::UserId::read("user_id", ALICE));
    let key = vodozemac::Curve25519PublicKey::from_base64(&key).unwrap();
    let event = object(&bob_reads(&alice, &mut raw));
    let mut tx = ok(account.begin());
    let inbound =
        typed::InboundMegolmSession::from_room_key(&account, &mut tx, alice_id, key, &content);
    let inbound = ok(inbound);
    let decrypted = ok(inbound.decrypt(&mut tx, &event));
    let exported = ok(inbound.export_at(&mut tx, None));
    let (room_id, settings) =
        (ok(typed::RoomId::read("room_id", ROOM)), typed::Settings::default());
    let outbound = typed::OutboundMegolmSession::create(&account, &mut tx, room_id, settings);
    let outbound = ok(outbound);
    show("typed::Transaction", &tx);
    ok(tx.commit());
    let said = raw.room_key().to_string();
    let (user, page) =
        (ok(typed::UserId::read("user_id", ALICE)), ok(typed::Page::new(None, None)));
    let keys =
        json!({"user_id": ALICE, "device_id": "A", "keys": {"curve25519:A": key.to_base64()}});
    let keys = serde_json::value::to_raw_value(&keys).unwrap();
    let objects: [(&str, &dyn Debug); 12] = [
        ("typed::UserId", &user),
        ("typed::Page", &page),
        ("typed::SentDevice", &ok(typed::SentDevice::read(&keys))),
        ("typed::EventContent", &ok(typed::EventContent::read(&said))),
        ("typed::Store", &store),
        ("typed::Account", &account),
        ("typed::InboundMegolmSession", &inbound),
        ("typed::OutboundMegolmSession", &outbound),
        ("typed::Settings", &typed::Settings::default()),
        (
            "typed::SessionInfo",
            &ok(typed::list_sessions(&account, None, typed::Page::new(None, None).unwrap())),
        ),
        ("typed::Decrypted", &decrypted),
        ("typed::ExportedSession", &exported),
    ];
    for (what, object) in objects {
        show(what, object);
        let text = format!("{object:?}{object:#?}");
        assert_text_free_of(&needles, what, &text);
        assert!(![ALICE, BOB, ROOM].iter().any(|id| text.contains(id)), "{what}: {text}");
    }
}

/// An error in all its forms.
#[track_caller]
fn check(needles: &[Needle], error: &E2eeError) {
    let json = error.to_json();
    for text in [format!("{error}"), format!("{error:?}"), format!("{error:#?}"), json.clone()] {
        assert_text_free_of(needles, &json, &text); // SEC-106
    }
}

/// A text with one thing wrong: cut off, repeated, or with another value in one place.
fn spoiled(text: &str) -> Vec<String> {
    let mut all: Vec<String> = (0..12).map(|n| text[..text.len() * n / 12].to_owned()).collect();
    all.extend([format!("{text}x"), format!("[{text}]"), format!("{text}{text}")]);
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return all };
    all.push(text.replacen('{', &format!("{{\"{CANARY}\":1,\"{CANARY}\":2,"), 1));
    all.push(text.replacen('{', &format!("{{\"{CANARY}\":{}", "[".repeat(70)), 1));
    for name in fields.keys() {
        for value in [json!(null), json!(5), json!([]), json!("x"), json!("AAAA")] {
            let mut fields = fields.clone();
            fields[name] = value;
            all.push(Value::Object(fields).to_string());
        }
    }
    all
}

#[test]
fn no_error_about_a_text_with_a_secret_repeats_it() {
    let stage = Stage::new();
    let mut errors = 0;
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            check(&stage.needles, &error);
            errors += 1;
        }
    };
    let (store, account) = (&stage.bob.store, &stage.bob.account);
    let key = stage.alice.identity_key();
    for text in spoiled(&json!({ "body": CANARY }).to_string()) {
        note(stage.outbound.encrypt("m.room.message", &text).map(drop));
        note(stage.channel.encrypt("m.note", &text).map(drop));
        note(account.sign_json(&text).map(drop));
        note(stage.inbound.decrypt_many(&text).map(drop));
    }
    note(stage.outbound.encrypt("", &json!({ "body": CANARY }).to_string()).map(drop));
    let large = json!({ "body": CANARY.repeat(2_000) }).to_string();
    note(stage.outbound.encrypt("m", &large).map(drop));
    note(stage.channel.encrypt("m", &large).map(drop));
    for text in spoiled(&stage.raw.room_key().to_string()) {
        note(InboundMegolmSession::from_room_key(account, ALICE, &key, &text).map(drop));
    }
    for text in spoiled(&stage.raw.export(&stage.alice).to_string()) {
        note(InboundMegolmSession::from_export(account, &text, None).map(drop));
        note(account.import_sessions(&text).map(drop));
    }
    let pickle = stage.bobs.pickle().encrypt(&PICKLE_KEY);
    let sessions = json!([stage.olm.pickle().encrypt(&PICKLE_KEY)]).to_string();
    for key_bytes in [&PICKLE_KEY[..], &STORE_KEY, b"short"] {
        let bytes = || key_bytes.to_vec();
        for text in spoiled(&pickle) {
            note(Account::from_vodozemac_pickle(store, "@l:x", "L", &text, bytes()).map(drop));
            note(Account::from_libolm_pickle(store, "@v:x", "V", &text, bytes()).map(drop));
            let from = InboundMegolmSession::from_libolm_pickle;
            note(from(account, "!r", &key, &text, bytes(), Some(CANARY.to_owned())).map(drop));
            let from = OutboundMegolmSession::from_libolm_pickle;
            note(from(account, "!r", &text, bytes()).map(drop));
            let item = json!([{"kind": CANARY, "pickle": text}]).to_string();
            let report = account.import_libolm_sessions(&item, bytes());
            assert_text_free_of(&stage.needles, "the report", &report.unwrap());
        }
        for text in spoiled(&sessions) {
            let made =
                OlmChannel::from_vodozemac_pickles(account, CAROL, &key, &text, bytes()).map(drop);
            note(made);
        }
    }
    note(Store::in_memory(STORE_KEY[..31].to_vec()).map(drop));
    let path = stage.bob.folder().join("store.db");
    note(Store::open_sqlite(path.to_str().unwrap(), PICKLE_KEY.to_vec()).map(drop));
    ok(store.shut_down());
    note(Store::open_sqlite(path.to_str().unwrap(), PICKLE_KEY.to_vec()).map(drop));
    note(stage.inbound.export_at(None).map(drop));
    assert!(errors > 250, "only {errors} errors were looked at");
}

/// Decrypted texts that are wrong in every place, with the canary in every other.
fn wrong_plaintexts(right: &Value) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = spoiled(&right.to_string()).into_iter().map(Vec::from).collect();
    all.push(CANARY.into());
    all.push([CANARY.as_bytes(), b"\xff"].concat());
    for name in right.as_object().unwrap().keys() {
        for value in [json!(CANARY), json!([CANARY]), json!({ CANARY: CANARY })] {
            let mut other = right.clone();
            other[name] = value;
            all.push(other.to_string().into_bytes());
        }
    }
    all
}

#[test]
fn no_error_about_a_decrypted_message_repeats_it() {
    let mut stage = Stage::new();
    let mut errors = 0;
    let right = json!({ "type": "m", "room_id": ROOM, "content": { "body": CANARY } });
    for (n, plaintext) in wrong_plaintexts(&right).iter().enumerate() {
        let content = stage.raw.encrypt(plaintext);
        let event = stage.alice.event(&format!("${n}"), &content);
        if let Err(error) = stage.inbound.decrypt(&event.to_string()) {
            check(&stage.needles, &error); // SEC-106
            let list = ok(stage.inbound.decrypt_many(&json!([event]).to_string()));
            assert_text_free_of(&stage.needles, "an item of decrypt_many", &list);
            errors += 1;
        }
    }
    let right = olm_plaintext(&stage.alice, &stage.bob, &stage.bobs);
    for plaintext in wrong_plaintexts(&right) {
        let text = String::from_utf8_lossy(&plaintext);
        let content = olm_content(&mut stage.olm, &stage.sender, &stage.bobs, &text);
        if let Err(error) = stage.channel.decrypt(&content.to_string()) {
            check(&stage.needles, &error); // SEC-106
            errors += 1;
        }
    }
    assert!(errors > 60, "only {errors} errors were looked at");
}

#[test]
fn nothing_of_it_stands_in_the_files_of_the_store() {
    let stage = Stage::new();
    let names = [ALICE, BOB, ROOM, "$read"].map(str::as_bytes);
    for name in names {
        assert!(!contains(&stage.bob.bytes(), name), "the store knows no names"); // D18
    }
    // M4, D15: the key of a pending device, too; SEC-106.
    assert_free_of(&stage.needles, "the open store", &stage.bob.bytes());
    let files = || std::fs::read_dir(stage.bob.folder()).unwrap().map(|file| file.unwrap().path());
    assert!(files().any(|file| file.to_string_lossy().ends_with("-wal")));
    ok(stage.outbound.erase());
    ok(stage.bob.store.shut_down());
    for file in files() {
        let bytes = std::fs::read(&file).unwrap();
        assert_free_of(&stage.needles, &file.to_string_lossy(), &bytes);
    }
}
