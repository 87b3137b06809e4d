//! Threads whose batches want the same sessions in different orders.

use std::collections::HashSet;
use std::sync::Arc;

use matrixe2ee::{InboundMegolmSession, OlmChannel};
use serde_json::{Value, json};
use vodozemac::olm::OlmMessage;

use super::common::raw::RawDevice;
use super::in_threads::{THREADS, in_threads};
use super::rooms::*;
use super::{decrypt, encrypt};

/// Which key of which chain a message was encrypted with.
fn olm_key(content: &Value) -> (String, u64) {
    let message = content["ciphertext"].as_object().unwrap().values().next().unwrap();
    let body = from_base64(message["body"].as_str().unwrap());
    let kind = message["type"].as_u64().unwrap();
    match OlmMessage::from_parts(kind as usize, &body).unwrap() {
        OlmMessage::Normal(message) => (message.ratchet_key().to_base64(), message.chain_index()),
        OlmMessage::PreKey(message) => {
            (message.message().ratchet_key().to_base64(), message.message().chain_index())
        }
    }
}

#[test]
fn batches_that_want_the_same_channels_in_other_orders_wait_for_no_circle() {
    let alice = Arc::new(Device::new(ALICE, "A"));
    let mut keys = Vec::new();
    for _ in 0..40 {
        let mut raw = RawDevice::new("@peer:p.org", "PEER");
        let (device, key) = (raw.device_keys().to_string(), raw.one_time_key().to_string());
        ok(OlmChannel::create_outbound_channel(&alice.account, &device, &key));
        keys.push(raw.identity_key());
    }
    let used = in_threads(
        move |number| {
            let mut used = Vec::new();
            for round in 0..15 {
                let items: Vec<Value> = (0..40)
                    .map(|n| {
                        let key = &keys[(n * 3 + number * 5 + round * 7) % 40];
                        json!({"user_id": "@peer:p.org", "identity_key": key, "type": "m.note",
                               "content": {}})
                    })
                    .collect();
                let items = if number % 2 == 0 { items } else { items.into_iter().rev().collect() };
                used.extend(encrypt(&alice.account, &items).iter().map(|a| olm_key(&a["content"])));
                let key = &keys[(number + round) % 40];
                let channel =
                    ok(OlmChannel::create_from_storage(&alice.account, "@peer:p.org", key));
                used.push(olm_key(&parse(&ok(channel.encrypt("m.note", "{}")))));
            }
            used
        },
        || {},
    );
    let used: Vec<_> = used.into_iter().flatten().collect();
    assert_eq!(used.len(), THREADS * 15 * 41);
    assert_eq!(used.iter().collect::<HashSet<_>>().len(), used.len(), "a key was used twice");
}

#[test]
fn batches_that_want_the_same_sessions_in_other_orders_admit_each_index_once() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    let mut sessions: Vec<RawSession> = (0..10).map(|_| RawSession::new()).collect();
    for session in &sessions {
        ok(bob.receive(&alice, &session.room_key()));
    }
    let messages: Vec<Value> = (0..100).map(|n| sessions[n % 10].message("hello")).collect();
    let ids: Vec<String> = sessions.iter().map(RawSession::id).collect();
    let admitted = in_threads(
        move |number| {
            let mut events: Vec<Value> = messages
                .iter()
                .map(|message| alice.event(&format!("${number}"), message))
                .collect();
            if number % 2 == 0 {
                events.reverse();
            }
            let id = &ids[number];
            if number % 3 == 0 {
                let session = InboundMegolmSession::from_storage(&bob.account, ROOM, id, None);
                // Single calls beside the batches.
                drop(ok(session).decrypt(&events[number].to_string()));
            }
            let answers = decrypt(&bob.account, &events);
            answers.iter().filter(|answer| answer.get("event").is_some()).count()
        },
        || {},
    );
    assert_eq!(admitted.into_iter().sum::<usize>(), 100); // M27, SEC-51
}
