//! What `encrypt` gives, a server takes and `decrypt` reads; what is refused has used no key
//! (SEC-100; element-web#19330).

use std::sync::Arc;

use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, Store};
use serde_json::{Value, json};

use crate::rooms::*;

const LIMIT: usize = 65_536;

fn channel(from: &Device, to: &Device) -> Arc<OlmChannel> {
    let upload = answer(to.account.keys_upload_request().map(|body| body.expect("new keys")));
    let (id, key) = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
    let (keys, one_time_key) = (to.keys().to_string(), json!({ id: key }).to_string());
    ok(OlmChannel::create_outbound_channel(&from.account, &keys, &one_time_key))
}

/// The channel that the first message makes.
fn accept(at: &Device, from: &Device, content: &str) -> Arc<OlmChannel> {
    let (user_id, key) = (&from.user_id, from.identity_key());
    let account = &at.account;
    ok(OlmChannel::create_from_encrypted_message(account, user_id, &key, content, None, None))
}

/// The event as servers send it to each other, each part as long as it may be.
fn on_the_wire(sender: &str, room_id: &str, content: &Value) -> usize {
    let id = format!("${}", "x".repeat(43));
    let server = sender.split_once(':').unwrap().1;
    let signatures =
        json!({ "ed25519:a_AbCdEf": "s".repeat(86), "ed25519:policy": "s".repeat(86) });
    json!({
        "auth_events": vec![&id; 10], "prev_events": vec![&id; 20], "content": content,
        "depth": (1_i64 << 53) - 1, "hashes": { "sha256": "h".repeat(43) },
        "origin_server_ts": 1_700_000_000_000_i64, "room_id": room_id, "sender": sender,
        "signatures": { server: signatures }, "type": "m.room.encrypted",
        "unsigned": { "age_ts": 1_700_000_000_000_i64 },
    })
    .to_string()
    .len()
}

#[test]
fn a_message_that_no_server_would_take_is_refused_before_an_index_is_used() {
    let long = |sigil: &str| format!("{sigil}{}:{}", "n".repeat(126), "s".repeat(127));
    for (user, room, device) in [
        (ALICE.to_owned(), ROOM.to_owned(), "A".to_owned()),
        (long("@"), long("!"), "D".repeat(255)),
    ] {
        let store = ok(Store::in_memory(STORE_KEY.to_vec()));
        let account = ok(Account::open(&store, &user, &device));
        let session = ok(matrixe2ee::OutboundMegolmSession::create(&account, &room, None));
        let inbound = ok(InboundMegolmSession::from_outbound_session(&session));
        let many = Recipients::of(&[]).encryption("rotation_period_msgs", json!(10_000));
        keys_to_send(&session, &many);
        let relation = json!({ "rel_type": "m.thread", "event_id": "$\"\u{1}" });
        let (mut sent, mut longest, mut refused) = (0, 0, 0);
        for length in (30_000..49_000).step_by(397) {
            for content in [
                json!({ "body": "x".repeat(length) }),
                json!({ "body": "x".repeat(length), "m.relates_to": relation }),
                json!({ "body": "x".repeat(30_000), "m.relates_to": "\u{1}".repeat(length / 16) }),
            ] {
                let result = session.encrypt("m.room.message", &content.to_string());
                let Ok(encrypted) = result else {
                    assert_eq!(error_name(result), "TOO_LARGE");
                    refused += 1;
                    continue;
                };
                let encrypted = parse(&encrypted);
                sent += 1;
                let size = on_the_wire(&user, &room, &encrypted);
                assert!(size <= LIMIT, "{length}: {size}"); // SEC-100
                longest = longest.max(size);
                let event = json!({ "event_id": format!("${sent}"), "sender": user,
                    "room_id": room, "content": encrypted });
                let event = answer(inbound.decrypt(&event.to_string()));
                assert_eq!(event["content"], content);
            }
        }
        assert!(sent > 50 && refused > 5, "{sent} {refused}");
        assert!(longest > LIMIT - 2_048, "the margin is no larger than needed: {longest}");
        assert_eq!(ok(session.message_index()), sent); // a refused one has used no index
    }
}

#[test]
fn what_is_nested_too_deeply_to_be_decrypted_is_not_encrypted() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let session = alice.outbound(None);
    let inbound = ok(InboundMegolmSession::from_outbound_session(&session));
    let to_bob = channel(&alice, &bob);
    let mut to_alice: Option<Arc<OlmChannel>> = None;
    let (mut sent, mut refused) = (0, 0);
    for depth in 55..70 {
        let nested = |name: &str| {
            let text = format!(r#"{{"{name}":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
            serde_json::from_str::<Value>(&text).unwrap()
        };
        for content in [nested("a"), nested("m.relates_to")] {
            match session.encrypt("m.test", &content.to_string()) {
                Ok(encrypted) => {
                    sent += 1;
                    let event = alice.event(&format!("${sent}"), &parse(&encrypted));
                    assert_eq!(answer(inbound.decrypt(&event.to_string()))["content"], content);
                }
                Err(error) => {
                    refused += 1;
                    assert_eq!(error.name(), "INVALID_JSON", "{depth}"); // SEC-100
                }
            }
            if let Ok(message) = to_bob.encrypt("m.test", &content.to_string()) {
                let event = match &to_alice {
                    Some(channel) => ok(channel.decrypt(&message)),
                    None => {
                        let channel = accept(&bob, &alice, &message);
                        let event = ok(channel.first_event());
                        to_alice = Some(channel);
                        event
                    }
                };
                assert_eq!(parse(&event)["content"], content);
            }
        }
    }
    assert!(sent > 8 && refused > 8);
    assert_eq!(ok(session.message_index()), sent);
}
