//! Whatever text comes in: no call crashes, a refused one changes nothing, and messages decrypt in
//! any order. Every run draws new texts; a failure shows the smallest one.

#[path = "common/hostile.rs"]
mod hostile;
#[path = "common/rooms.rs"]
mod rooms;

use std::sync::Arc;

use hostile::{CALLS, World};
use matrixe2ee::{OlmChannel, keys_claim_request, read_keys_claim_response};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};
use rooms::*;
use serde_json::{Map, Number, Value, json};

/// Runs a property, and shows the smallest input that breaks it.
fn check<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |input| {
        property(input);
        Ok(())
    });
    match outcome {
        Err(TestError::Fail(reason, input)) => panic!("{reason}\n{input:?}"),
        other => other.expect("enough inputs"),
    }
}

/// Gives a text to one argument of one call; refused, it must have changed nothing.
fn offer(world: &World, call: &hostile::Call, text: &str) {
    let before = world.state();
    match (call.run)(world, text) {
        Ok(()) => assert!(call.may_accept, "{} accepts {text:?}", call.name),
        Err(error) => {
            assert_ne!(error.name(), "PANIC", "{}", call.name);
            assert!(world.state() == before, "{} changes the state: {}", call.name, error);
        }
    }
}

/// Names that the library looks for, so that texts go past its first checks.
const NAMES: &[&str] = &[
    "algorithm",
    "algorithms",
    "blocked",
    "ciphertext",
    "content",
    "device_id",
    "device_keys",
    "encryption",
    "event_id",
    "fallback",
    "key",
    "keys",
    "members",
    "one_time_keys",
    "origin_server_ts",
    "room_id",
    "rotation_period_ms",
    "rotation_period_msgs",
    "sender",
    "sender_key",
    "session_id",
    "session_key",
    "signatures",
    "signed_curve25519",
    "signed_curve25519:AAAA",
    "type",
    "user_id",
    ALICE,
    BOB,
    "B",
    "ed25519:B",
    "curve25519:B",
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => select(NAMES).prop_map(str::to_owned), 1 => any::<String>()]
}

const TEXTS: &[&str] =
    &[MEGOLM, "m.olm.v1.curve25519-aes-sha2", ROOM, ALICE, BOB, "$event", "join", ""];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| Number::from_f64(number).map_or(Value::Null, Value::Number)),
        select(TEXTS).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        vec(any::<u8>(), 0..240).prop_map(|bytes| Value::from(base64(bytes))),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            2 => vec((name(), inner.clone()), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            1 => vec(inner, 0..6).prop_map(Value::Array),
        ]
    })
}

/// A change to a valid text.
#[derive(Debug, Clone)]
enum Change {
    Replace(Index, Value),
    Remove(Index),
    Rename(Index, String),
    Cut(Index),
    Overwrite(Index, char),
    Repeat(Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<Index>(), tree()).prop_map(|(at, value)| Change::Replace(at, value)),
        3 => any::<Index>().prop_map(Change::Remove),
        2 => (any::<Index>(), name()).prop_map(|(at, name)| Change::Rename(at, name)),
        1 => any::<Index>().prop_map(Change::Cut),
        3 => (any::<Index>(), any::<char>()).prop_map(|(at, with)| Change::Overwrite(at, with)),
        1 => any::<Index>().prop_map(Change::Repeat),
    ]
}

/// The places of all values in a tree.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(field, &format!("{here}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, &format!("{here}/{index}"), all);
            }
        }
        _ => {}
    }
}

fn change_tree(tree: &mut Value, change: &Change) {
    let (Change::Replace(at, _) | Change::Remove(at) | Change::Rename(at, _)) = change else {
        return;
    };
    let mut all = Vec::new();
    pointers(tree, "", &mut all);
    let place = at.get(&all);
    if let Change::Replace(_, value) = change {
        *tree.pointer_mut(place).expect("it was listed") = value.clone();
        return;
    }
    let Some((parent, name)) = place.rsplit_once('/') else { return };
    let name = name.replace("~1", "/").replace("~0", "~");
    match tree.pointer_mut(parent).expect("it was listed") {
        Value::Object(fields) => {
            let value = fields.remove(&name).expect("it was listed");
            if let Change::Rename(_, other) = change {
                fields.insert(other.clone(), value);
            }
        }
        Value::Array(items) => drop(items.remove(name.parse().expect("an index"))),
        _ => unreachable!("only these have children"),
    }
}

fn changed(text: String, changes: &[Change]) -> String {
    let text = match serde_json::from_str::<Value>(&text) {
        Ok(mut tree) => {
            changes.iter().for_each(|change| change_tree(&mut tree, change));
            tree.to_string()
        }
        Err(_) => text, // An ID, or a pickle.
    };
    let mut letters: Vec<char> = text.chars().collect();
    for change in changes.iter().filter(|_| !text.is_empty()) {
        match change {
            Change::Cut(at) => letters.truncate(at.index(text.len())),
            Change::Overwrite(at, with) if !letters.is_empty() => {
                let at = at.index(letters.len());
                letters[at] = *with;
            }
            Change::Repeat(at) => {
                let from = at.index(text.len()).min(letters.len());
                let part: Vec<char> = letters[from..].to_vec();
                letters.extend(part);
            }
            _ => {}
        }
    }
    letters.into_iter().collect()
}

#[test]
fn arbitrary_bytes_never_crash_a_call_and_never_change_the_state() {
    let world = World::new();
    check(40, vec(any::<u8>(), 0..300), |bytes| {
        let text = String::from_utf8_lossy(&bytes);
        CALLS.iter().for_each(|call| offer(&world, call, &text)); // SEC-100
        world.good_messages();
    });
}

#[test]
fn arbitrary_json_never_crashes_a_call_and_never_changes_the_state() {
    let world = World::new();
    check(60, tree(), |tree| {
        let text = tree.to_string();
        CALLS.iter().for_each(|call| offer(&world, call, &text)); // SEC-100, D16
        world.good_messages();
    });
}

#[test]
fn a_valid_text_with_a_few_changes_never_crashes_a_call_and_never_changes_the_state_if_refused() {
    let world = World::new();
    let input = (select((0..CALLS.len()).collect::<Vec<_>>()), vec(change(), 1..4));
    check(2_500, input, |(call, changes)| {
        let call = &CALLS[call];
        let text = changed((call.valid)(&world), &changes);
        let before = world.state();
        // Here, even an altered text may still be right.
        if let Err(error) = (call.run)(&world, &text) {
            assert_ne!(error.name(), "PANIC", "{}", call.name);
            assert!(world.state() == before, "{} changes the state: {}", call.name, error);
        }
        world.good_messages();
    });
}

#[test]
fn whatever_stands_in_one_devices_place_another_gets_its_key() {
    let (alice, bob, carol) =
        (Device::new(ALICE, "A"), Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let good = json!({ "signed_curve25519:AAAA": { "key": "x" } });
    let request = keys_claim_request(&json!({ BOB: ["B"], CAROL: ["C"] }).to_string(), None);
    let request = ok(request);
    let entry = prop_oneof![
        tree().prop_map(|tree| tree.to_string()),
        vec(change(), 1..4).prop_map(move |changes| changed(bob.keys().to_string(), &changes)),
        (1..200_usize).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
    ];
    check(300, entry, |entry| {
        // What is no JSON at all could close a bracket, and makes the whole text none.
        if serde_json::from_str::<&serde_json::value::RawValue>(&entry).is_err() {
            return;
        }
        let mut room = Recipients::of(&[&carol]).member(BOB, "join");
        room.0["device_keys"][BOB] = json!({ "B": "ENTRY" });
        let text = room.text().replace("\"ENTRY\"", &entry);
        let lines = answer(alice.outbound(None).get_session_key_for_sending(&text));
        let lines = lines.as_array().expect("a list");
        assert!(line_of(lines, &carol)["content"].is_object(), "{entry}"); // SEC-100
        assert_eq!(lines.len(), 2, "{entry}");
        let response = json!({ "one_time_keys": { BOB: { "B": "ENTRY" }, CAROL: { "C": good } } });
        let response = response.to_string().replace("\"ENTRY\"", &entry);
        let claimed = answer(read_keys_claim_response(&request, &response));
        assert_eq!(claimed["one_time_keys"][CAROL]["C"], good, "{entry}"); // SEC-100
    });
}

#[test]
fn the_valid_texts_are_accepted() {
    for call in CALLS {
        let world = World::new();
        let text = (call.valid)(&world);
        if let Err(error) = (call.run)(&world, &text) {
            assert!(call.never, "{} refuses {text}: {}", call.name, error.to_json());
        }
    }
}

#[test]
fn room_messages_decrypt_in_any_order_with_losses_and_repetitions() {
    let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
    check(60, vec(0..40_usize, 0..80), |order| {
        let mut raw = RawSession::new();
        let session = ok(bob.receive(&alice, &raw.room_key()));
        let events: Vec<Value> =
            (0..40).map(|n| alice.event(&format!("${n}"), &raw.message(&n.to_string()))).collect();
        for n in &order {
            let event = answer(session.decrypt(&events[*n].to_string())); // M14, M27
            assert_eq!(event["content"]["body"], n.to_string());
            assert_eq!(event["matrixe2ee"]["message_index"], *n);
        }
        let list = Value::from_iter(order.iter().map(|n| events[*n].clone()));
        for (n, item) in
            order.iter().zip(answer(session.decrypt_many(&list.to_string())).as_array().unwrap())
        {
            assert_eq!(item["event"]["content"]["body"], n.to_string());
        }
        assert_eq!(ok(session.first_known_index()), 0);
        ok(session.erase());
    });
}

#[test]
fn olm_messages_decrypt_in_any_order_with_losses_and_repetitions() {
    let turns = vec((1..12_usize, any::<Index>()), 1..4);
    check(40, (turns, vec(any::<Index>(), 0..60)), |(turns, order)| {
        let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
        let to_bob = hostile::channel(&alice, &bob);
        let mut to_alice: Option<Arc<OlmChannel>> = None;
        let mut sent = Vec::new();
        for (count, first) in turns {
            let from = sent.len();
            for n in from..from + count {
                let content = ok(to_bob.encrypt("m.note", &json!({ "n": n }).to_string()));
                sent.push((content, false));
            }
            // One of them arrives, so that Bob can answer and both ratchets turn.
            let n = from + first.index(count);
            let (content, arrived) = &mut sent[n];
            let channel = to_alice.get_or_insert_with(|| {
                *arrived = true;
                hostile::accept(&bob, &alice, content)
            });
            if !*arrived {
                assert_eq!(answer(channel.decrypt(content))["content"]["n"], n);
                *arrived = true;
            }
            ok(to_bob.decrypt(&ok(channel.encrypt("m.dummy", "{}"))));
        }
        let channel = to_alice.expect("there is at least one turn");
        for pick in order {
            let n = pick.index(sent.len());
            let (content, arrived) = &mut sent[n];
            if std::mem::replace(arrived, true) {
                assert_eq!(error_name(channel.decrypt(content)), "UNABLE_TO_DECRYPT");
            } else {
                assert_eq!(answer(channel.decrypt(content))["content"]["n"], n);
            }
        }
        assert_eq!(ok(channel.session_count()), 1);
    });
}
