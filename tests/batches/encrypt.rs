//! `encrypt_for_devices`: every device decrypts what is for it, in order, and no item spoils another.

use std::sync::Arc;

use matrixe2ee::{OlmChannel, Store};
use serde_json::{Value, json};
use vodozemac::olm::{OlmMessage, Session};

use super::common::raw::RawDevice;
use super::common::{Device, connected, fails, v};
use super::{encrypt, error};

const KEY: [u8; 32] = [7; 32];

/// A device without the library, with a channel that Alice has to it.
struct Peer {
    raw: RawDevice,
    session: Option<Session>,
}

impl Peer {
    fn new(alice: &Device) -> Self {
        let mut raw = RawDevice::new("@peer:p.org", "PEER");
        let (keys, key) = (raw.device_keys().to_string(), raw.one_time_key().to_string());
        OlmChannel::create_outbound_channel(&alice.account, &keys, &key).unwrap();
        Self { raw, session: None }
    }

    fn item(&self, body: impl Into<Value>) -> Value {
        json!({"user_id": self.raw.user_id, "identity_key": self.raw.identity_key(),
               "type": "m.note", "content": {"body": body.into()}})
    }

    /// The plaintext of an answer.
    #[track_caller]
    fn hear(&mut self, answer: &Value) -> Value {
        let content = answer["content"].to_string();
        match &mut self.session {
            None => {
                let (session, plaintext) = self.raw.receive_first(&content);
                self.session = Some(session);
                plaintext
            }
            Some(session) => {
                let message = self.raw.unpack(&content);
                serde_json::from_slice(&session.decrypt(&message).unwrap()).unwrap()
            }
        }
    }
}

fn alice() -> Device {
    Device::new("@alice:a.org", "ALICE")
}

#[test]
fn every_device_gets_its_own_message_in_the_order_of_the_list() {
    let alice = alice();
    let mut peers: Vec<Peer> = (0..40).map(|_| Peer::new(&alice)).collect();
    let items: Vec<Value> = peers.iter().enumerate().map(|(n, peer)| peer.item(n)).collect();
    let answers = encrypt(&alice.account, &items);
    for (n, (peer, answer)) in peers.iter_mut().zip(&answers).enumerate() {
        assert_eq!(answer.as_object().unwrap().len(), 1);
        assert_eq!(peer.hear(answer)["content"], json!({"body": n}));
    }
}

#[test]
fn an_answer_is_what_the_single_call_gives() {
    let alice = alice();
    let mut peer = Peer::new(&alice);
    let content = r#"{"b": 1.50, "a": [1e3, "é"], "c": {}}"#;
    let item = format!(
        r#"[ {{"type": "m.note", "content": {content}, "user_id": "@peer:p.org", "identity_key": "{}", "more": 1}} ]"#,
        peer.raw.identity_key()
    );
    let batch = v(&alice.account.encrypt_for_devices(&item).unwrap());
    let (user, key) = (peer.raw.user_id, peer.raw.identity_key());
    let channel = OlmChannel::create_from_storage(&alice.account, user, &key).unwrap();
    let single = json!({"content": v(&channel.encrypt("m.note", content).unwrap())});
    for field in ["algorithm", "sender_key"] {
        assert_eq!(batch[0]["content"][field], single["content"][field]);
    }
    assert_eq!(peer.hear(&batch[0]), peer.hear(&single));
}

#[test]
fn the_text_of_a_content_is_encrypted_as_it_stands() {
    let alice = alice();
    let mut peer = Peer::new(&alice);
    let content = r#"{"z":1.50,"a":1e3}"#;
    let item = format!(
        r#"[{{"type":"m.note","c\u006fntent":{content},"user_id":"@peer:p.org","identity_key":"{}"}}]"#,
        peer.raw.identity_key()
    );
    let answers = v(&alice.account.encrypt_for_devices(&item).unwrap());
    peer.hear(&answers[0]);
    // A second one, looked at as text.
    let answers = v(&alice.account.encrypt_for_devices(&item).unwrap());
    let message = peer.raw.unpack(&answers[0]["content"].to_string());
    let text = String::from_utf8(peer.session.unwrap().decrypt(&message).unwrap()).unwrap();
    assert!(text.contains(&format!(r#""content":{content},"#)), "{text}");
}

#[test]
fn several_items_for_one_device_are_decrypted_in_their_order() {
    let alice = alice();
    let mut peers = [Peer::new(&alice), Peer::new(&alice), Peer::new(&alice)];
    let items: Vec<Value> = (0..60).map(|n| peers[n * 7 % 3].item(n)).collect();
    for (n, answer) in encrypt(&alice.account, &items).iter().enumerate() {
        let peer = &mut peers[n * 7 % 3];
        // The next key of the chain, none left out.
        assert_eq!(chain_index(peer, answer), n as u64 / 3);
        assert_eq!(peer.hear(answer)["content"]["body"], n);
    }
}

/// The place of a message's key in its chain.
fn chain_index(peer: &Peer, answer: &Value) -> u64 {
    match peer.raw.unpack(&answer["content"].to_string()) {
        OlmMessage::Normal(message) => message.chain_index(),
        OlmMessage::PreKey(message) => message.message().chain_index(),
    }
}

#[test]
fn ten_thousand_items_reach_their_devices() {
    let alice = alice();
    let mut peers: Vec<Peer> = (0..100).map(|_| Peer::new(&alice)).collect();
    let items: Vec<Value> = (0..10_000).map(|n| peers[n % 100].item(n)).collect();
    for (n, answer) in encrypt(&alice.account, &items).iter().enumerate() {
        assert_eq!(peers[n % 100].hear(answer)["content"]["body"], n);
    }
}

#[test]
fn a_list_without_items_has_no_answers() {
    assert_eq!(alice().account.encrypt_for_devices(" [ ] ").unwrap(), "[]");
}

#[test]
fn an_unreadable_list_fails_as_a_whole() {
    let alice = alice();
    for (list, name) in [
        ("", "INVALID_JSON"),
        ("[{]", "INVALID_JSON"),
        ("[1,]", "INVALID_JSON"),
        ("{}", "INVALID_FIELD"),
        ("null", "INVALID_FIELD"),
    ] {
        fails(alice.account.encrypt_for_devices(list), name);
    }
    fails(alice.account.encrypt_for_devices(&" ".repeat((128 << 20) + 1)), "TOO_LARGE");
}

#[test]
fn what_is_wrong_with_one_item_concerns_it_alone() {
    let alice = alice();
    let mut peer = Peer::new(&alice);
    let stranger = RawDevice::new("@peer:p.org", "PEER").identity_key();
    let mut bad = vec![
        (json!(1), "INVALID_FIELD"),
        (json!([]), "INVALID_FIELD"),
        (json!({}), "INVALID_FIELD"),
    ];
    let mut with = |field: &str, value: Value, name| {
        let mut item = peer.item("bad");
        item[field] = value;
        bad.push((item, name));
    };
    with("user_id", json!("peer"), "INVALID_FIELD");
    with("user_id", json!(null), "INVALID_FIELD");
    with("user_id", json!("@other:p.org"), "NOT_FOUND");
    with("identity_key", json!(stranger), "NOT_FOUND");
    with("identity_key", json!("AAAA"), "INVALID_KEY");
    with("identity_key", json!(7), "INVALID_FIELD");
    with("type", json!(""), "INVALID_FIELD");
    with("type", json!({}), "INVALID_FIELD");
    with("content", json!("text"), "INVALID_FIELD");
    with("content", json!({"body": "x".repeat(65_536)}), "TOO_LARGE");
    // Small enough as it is, but not encrypted.
    with("content", json!({"body": "x".repeat(60_000)}), "TOO_LARGE");
    let mut items = Vec::new();
    for (item, _) in &bad {
        items.extend([item.clone(), peer.item("good")]);
    }
    let answers = encrypt(&alice.account, &items);
    for (pair, (item, name)) in answers.chunks(2).zip(&bad) {
        assert_eq!(error(&pair[0]), *name, "{item}");
        assert_eq!(peer.hear(&pair[1])["content"]["body"], "good");
    }
}

#[test]
fn an_item_that_repeats_a_key_is_refused_alone() {
    let alice = alice();
    let mut peer = Peer::new(&alice);
    let good = peer.item("good");
    let twice = good.to_string().replacen('{', r#"{"type":"m.other","#, 1);
    let inside = good.to_string().replace(r#"{"body":"good"}"#, r#"{"body":1,"body":2}"#);
    let list = format!("[{twice},{good},{inside}]");
    let answers = v(&alice.account.encrypt_for_devices(&list).unwrap());
    assert_eq!((error(&answers[0]), error(&answers[2])), ("INVALID_JSON", "INVALID_JSON")); // SEC-98
    assert_eq!(peer.hear(&answers[1])["content"]["body"], "good");
}

#[test]
fn a_device_whose_fingerprint_is_unknown_gets_nothing() {
    let (alice, bob, _, _) = connected();
    let mut claimed = alice.one_time_keys();
    let raw = RawDevice::new("@raw:r.org", "RAW");
    let session = raw.session_to(&alice, &claimed.remove(0));
    let pickles = json!([session.pickle().encrypt(&KEY)]).to_string();
    let key = raw.identity_key();
    OlmChannel::from_vodozemac_pickles(&alice.account, "@raw:r.org", &key, &pickles, KEY.to_vec())
        .unwrap();
    let to = |user: &str, key: String| json!({"user_id": user, "identity_key": key, "type": "m.note", "content": {}});
    let items = [to("@raw:r.org", key), to("@bob:b.org", bob.identity_key())];
    let answers = encrypt(&alice.account, &items);
    assert_eq!(error(&answers[0]), "UNKNOWN_FINGERPRINT"); // D25
    assert!(answers[1].get("content").is_some());
}

#[test]
fn batches_and_single_calls_use_one_session_and_no_key_twice() {
    let (alice, bob, to_bob, to_alice) = connected();
    let item = |body: &str| {
        json!({"user_id": "@bob:b.org", "identity_key": bob.identity_key(), "type": "m.note",
               "content": {"body": body}})
    };
    for round in 0..5 {
        let answers = encrypt(&alice.account, &[item("one"), item("two")]);
        let single = to_bob.encrypt("m.note", r#"{"body":"three"}"#).unwrap();
        let sent = [answers[0]["content"].to_string(), answers[1]["content"].to_string(), single];
        for (content, body) in sent.iter().zip(["one", "two", "three"]) {
            let event = v(&to_alice.decrypt(content).unwrap());
            assert_eq!(event["content"]["body"], body, "{round}");
        }
    }
}

#[test]
fn sessions_are_durable_before_the_ciphertexts_are_returned() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db").to_str().unwrap().to_owned();
    let open = || {
        let store = Store::open_sqlite(&path, KEY.to_vec()).unwrap();
        Device::open_in(store, "@alice:a.org", "ALICE")
    };
    let alice = open();
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::new(&alice)).collect();
    let items: Vec<Value> = peers.iter().map(|peer| peer.item("hello")).collect();
    let first = encrypt(&alice.account, &items);
    // As after a kill: what comes next is from the file alone. (O12)
    alice.store.shut_down().unwrap();
    let alice = open();
    let second = encrypt(&alice.account, &items);
    for (n, peer) in peers.iter_mut().enumerate() {
        peer.hear(&first[n]);
        peer.hear(&second[n]);
    }
}

#[test]
fn an_erased_account_and_a_closed_store_encrypt_and_decrypt_nothing() {
    let (alice, bob, _, _) = connected();
    bob.account.erase().unwrap();
    fails(bob.account.encrypt_for_devices("[]"), "NOT_FOUND");
    fails(bob.account.decrypt_room_events("[]"), "NOT_FOUND");
    alice.store.shut_down().unwrap();
    fails(alice.account.encrypt_for_devices("[]"), "STORE_CLOSED");
    fails(alice.account.decrypt_room_events("[]"), "STORE_CLOSED");
}

#[test]
fn an_erased_channel_gets_nothing_even_if_it_was_in_memory() {
    let alice = alice();
    let peer = Peer::new(&alice);
    let item = [peer.item("hello")];
    assert!(encrypt(&alice.account, &item)[0].get("content").is_some());
    let key = peer.raw.identity_key();
    let channel: Arc<OlmChannel> =
        OlmChannel::create_from_storage(&alice.account, peer.raw.user_id, &key).unwrap();
    channel.erase().unwrap();
    assert_eq!(error(&encrypt(&alice.account, &item)[0]), "NOT_FOUND");
}
