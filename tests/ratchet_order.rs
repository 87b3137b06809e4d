//! Messages come in any order, some never and some twice (O14, M27; SEC-39, SEC-51, SEC-52).

use std::sync::Arc;

use matrixe2ee::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the library writes JSON")
}

fn ok<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{}", error.to_json()))
}

fn accounts() -> [Arc<Account>; 2] {
    [("@alice:x", "ALICE"), ("@bob:x", "BOB")].map(|(user, device)| {
        let store = ok(Store::in_memory(vec![1; 32]));
        ok(Account::open(&store, user, device))
    })
}

/// Which of `count` messages arrive, in which order, some of them twice.
fn arrivals(count: usize) -> impl Strategy<Value = Vec<usize>> {
    let messages = (0..count).collect::<Vec<_>>();
    (prop::sample::subsequence(messages, 1..=count), prop::collection::vec(any::<usize>(), 0..8))
        .prop_flat_map(|(kept, again)| {
            let mut all = kept.clone();
            all.extend(again.iter().map(|index| kept[index % kept.len()]));
            Just(all).prop_shuffle()
        })
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value)) {
    let config = Config { failure_persistence: None, cases, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        test(value);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn megolm_events_in_any_order_decrypt_and_the_same_event_twice_is_no_replay() {
    let [alice, bob] = accounts();
    run(48, (arrivals(80), 0usize..80, any::<bool>()), |(arrivals, from, batch)| {
        let outbound = ok(OutboundMegolmSession::create(&alice, "!r:x", None));
        let own = ok(InboundMegolmSession::from_outbound_session(&outbound));
        let events: Vec<String> = (0..80)
            .map(|n| {
                let content = ok(outbound.encrypt("m.x", &json!({ "n": n }).to_string()));
                json!({"event_id": format!("${n}"), "sender": "@alice:x", "room_id": "!r:x",
                    "content": parse(&content)})
                .to_string()
            })
            .collect();
        let first = u32::try_from(from).expect("small");
        let export = ok(own.export_at(Some(first)));
        let inbound = ok(InboundMegolmSession::from_export(&bob, &export, None));
        let answers: Vec<Value> = if batch {
            let list: Vec<Value> = arrivals.iter().map(|n| parse(&events[*n])).collect();
            let answers = parse(&ok(inbound.decrypt_many(&Value::from(list).to_string())));
            answers.as_array().expect("a list").clone()
        } else {
            let one = |n: &usize| match inbound.decrypt(&events[*n]) {
                Ok(event) => json!({"event": parse(&event)}),
                Err(error) => json!({"error": parse(&error.to_json())}),
            };
            arrivals.iter().map(one).collect()
        };
        assert_eq!(answers.len(), arrivals.len());
        for (n, answer) in arrivals.iter().zip(&answers) {
            if *n < from {
                assert_eq!(answer["error"]["name"], "UNKNOWN_INDEX", "SEC-52: {answer}");
                assert_eq!(answer["error"]["first_known"], from);
                assert_eq!(answer["error"]["got"], *n);
            } else {
                assert_eq!(answer["event"]["content"]["n"], *n, "M27: {answer}");
                assert_eq!(answer["event"]["matrixe2ee"]["message_index"], *n);
            }
        }
        // The same index under another event ID is a replay, whatever came before (SEC-51).
        let Some(n) = arrivals.iter().find(|n| **n >= from) else { return };
        let mut forged = parse(&events[*n]);
        forged["event_id"] = json!("$other");
        match inbound.decrypt(&forged.to_string()) {
            Err(E2eeError::Replay { message_index, event_id, .. }) => {
                assert_eq!((message_index as usize, event_id), (*n, format!("${n}")));
            }
            other => panic!("SEC-51: {other:?}"),
        }
        ok(inbound.erase());
        ok(own.erase());
    });
}

#[test]
fn olm_messages_in_any_order_decrypt_once() {
    let [alice, bob] = accounts();
    let upload = parse(&ok(bob.keys_upload_request()).expect("a new account uploads"));
    let key = upload["fallback_keys"].to_string();
    let to_bob = ok(OlmChannel::create_outbound_channel(&alice, &ok(bob.device_keys()), &key));
    let first = ok(to_bob.encrypt("m.dummy", "{}"));
    let identity_key = ok(alice.identity_key());
    let to_alice = OlmChannel::create_from_encrypted_message(
        &bob,
        "@alice:x",
        &identity_key,
        &first,
        None,
        None,
    );
    let to_alice = ok(to_alice);
    // Several chains, of at most 40 messages each: a reply begins the next one.
    let rounds = prop::collection::vec((1usize..=40).prop_flat_map(arrivals_of), 1..4);
    run(48, rounds, |rounds| {
        ok(to_bob.decrypt(&ok(to_alice.encrypt("m.dummy", "{}"))));
        let mut late: Vec<(usize, String)> = Vec::new();
        for (count, arrivals) in rounds {
            let messages: Vec<String> = (0..count)
                .map(|n| ok(to_bob.encrypt("m.x", &json!({ "n": n }).to_string())))
                .collect();
            let mut seen = vec![false; count];
            for n in arrivals {
                receive(&to_alice, &messages[n], n, &mut seen[n]);
            }
            let lost = seen.iter().position(|seen| !seen);
            late.extend(lost.map(|n| (n, messages[n].clone())));
            ok(to_bob.decrypt(&ok(to_alice.encrypt("m.dummy", "{}"))));
            // What is late still decrypts: vodozemac keeps 40 keys of each of the last 5 chains.
            for (n, message) in late.drain(..) {
                match to_alice.decrypt(&message) {
                    Ok(event) => {
                        assert_eq!(parse(&event)["content"]["n"], n);
                        receive(&to_alice, &message, n, &mut true);
                    }
                    Err(error) => panic!("O14: message {n} is late: {}", error.to_json()),
                }
            }
        }
    });
}

fn arrivals_of(count: usize) -> impl Strategy<Value = (usize, Vec<usize>)> {
    arrivals(count).prop_map(move |arrivals| (count, arrivals))
}

/// A message decrypts the first time, and never again.
fn receive(channel: &OlmChannel, message: &str, n: usize, seen: &mut bool) {
    match channel.decrypt(message) {
        Ok(event) => {
            assert!(!*seen, "SEC-39: message {n} decrypts twice");
            assert_eq!(parse(&event)["content"]["n"], n, "O14");
            *seen = true;
        }
        Err(E2eeError::UnableToDecrypt { reason, .. }) => {
            assert!(*seen, "O14: message {n} comes for the first time: {reason}");
            assert_eq!(reason, "missing_message_key", "SEC-39");
        }
        Err(error) => panic!("{}", error.to_json()),
    }
}
