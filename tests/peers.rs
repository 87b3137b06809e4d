//! The library against live ones, both ways: `vodozemac` from PyPI and libolm.
//!
//! Each scenario runs against both. `tests/peers/run.sh` installs them and runs
//! this; without `MATRIXE2EE_PEERS` the scenarios are skipped, and say so.
//! `PEER_SEED=<number>` repeats a run, apart from the keys, which the libraries
//! draw themselves.

#[path = "peers/link.rs"]
mod link;
#[path = "peers/ours.rs"]
mod ours;
#[path = "peers/traffic.rs"]
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use link::{Peer, Program};
use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, OutboundMegolmSession, canonical_json,
    keys_claim_request, read_keys_claim_response, verify_signed_json,
};
use ours::{MEGOLM, Ours, ok, parse, refused, text, undecryptable};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use traffic::{Direction, any_content, pick};

const US: &str = "@us:example.org";
const THEM: &str = "@them:example.com";
const ROOM: &str = "!room:example.org";
const NOTE: &str = "org.example.note";

/// What a scenario runs with.
struct Stage {
    program: Program,
    rng: StdRng,
}

impl Stage {
    /// Both sides, strangers to each other.
    fn two_devices(&self) -> (Ours, Peer) {
        (Ours::new(US, "OURS"), Peer::start(self.program, THEM, "THEIRS"))
    }

    /// Both sides, with a channel that both have used.
    fn two_friends(&self) -> (Ours, Peer) {
        let (ours, mut peer) = self.two_devices();
        ours.start_channel(&mut peer);
        ours.send(&mut peer, "m.dummy", &json!({}));
        let answer = ours.message_from(&mut peer, "m.dummy", &json!({}));
        ok(ours.channel(&peer).decrypt(&answer.to_string()));
        (ours, peer)
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.random_ratio(1, one_in)
    }
}

fn perform(name: &str, program: Program, scenario: fn(&mut Stage)) {
    if !program.is_there() {
        return;
    }
    let seed = match std::env::var("PEER_SEED") {
        Ok(seed) => seed.parse().expect("PEER_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("{name} against {program:?}: PEER_SEED={seed}");
    scenario(&mut Stage { program, rng: StdRng::seed_from_u64(seed) });
}

macro_rules! against {
    ($($module:ident $program:ident { $($scenario:ident),* $(,)? })*) => {$(
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    let name = stringify!($scenario);
                    super::perform(name, super::Program::$program, super::$scenario);
                }
            )*
        }
    )*};
}

macro_rules! against_both {
    ($($scenario:ident),* $(,)?) => {
        against! {
            vodozemac Vodozemac { $($scenario),* }
            libolm Libolm { $($scenario),* }
        }
    };
}

against_both![
    a_channel_that_we_start_carries_events_both_ways,
    a_channel_that_the_peer_starts_carries_events_both_ways,
    a_fallback_key_starts_a_channel_either_way_and_no_message_opens_twice,
    of_several_olm_sessions_the_last_to_receive_sends_and_the_longest_silent_is_dropped,
    a_first_olm_event_that_lies_leaves_a_channel_without_a_fingerprint,
    an_olm_event_whose_envelope_lies_is_refused_and_the_channel_goes_on,
    a_long_olm_conversation_survives_reordering_loss_repetition_and_restarts,
    forty_skipped_olm_messages_still_open_and_a_gap_of_two_thousand_does_not,
    our_room_events_open_at_the_peer_in_any_order_and_across_restarts,
    a_power_loss_never_makes_us_use_a_message_index_twice,
    room_events_of_the_peer_open_once_each_in_any_order_and_across_restarts,
    a_lower_room_key_of_the_peer_extends_the_session_and_a_higher_one_does_not,
    exported_sessions_open_the_same_events_on_the_other_side,
    an_account_pickle_becomes_our_account_and_its_one_time_keys_still_work,
    device_keys_and_one_time_keys_verify_on_the_other_side_and_altered_ones_do_not,
    signed_json_of_any_shape_verifies_on_the_other_side,
];

mod from_vodozemac_pickles {
    #[test]
    fn olm_sessions_continue_with_vodozemac() {
        let name = "olm_sessions_continue_with_vodozemac";
        super::perform(name, super::Program::Vodozemac, |stage| {
            super::olm_sessions_continue_from_pickles(stage, super::Program::Vodozemac);
        });
    }

    #[test]
    fn olm_sessions_continue_with_libolm() {
        if super::Program::Libolm.is_there() {
            let name = "olm_sessions_continue_with_libolm";
            super::perform(name, super::Program::Vodozemac, |stage| {
                super::olm_sessions_continue_from_pickles(stage, super::Program::Libolm);
            });
        }
    }
}

/// Decrypts a message of the peer and compares it with what the peer was given.
#[track_caller]
fn read(channel: &OlmChannel, message: &Value, event_type: &str, content: &Value) {
    let event = parse(&ok(channel.decrypt(&message.to_string())));
    assert_eq!((&event["type"], &event["content"]), (&json!(event_type), content));
}

fn message_type(message: &Value, recipient_key: &str) -> u64 {
    message["ciphertext"][recipient_key]["type"].as_u64().expect("a message for the recipient")
}

// 1. Olm, started by us.

fn a_channel_that_we_start_carries_events_both_ways(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_devices();
    let (keys, one_time_key) = (peer.device_keys(), peer.one_time_key());

    // K1-K3: claiming, with a server's answer made by hand.
    let request = ok(keys_claim_request(&json!({THEM: ["THEIRS"]}).to_string(), Some(10_000)));
    let claim = json!({THEM: {"THEIRS": "signed_curve25519"}});
    assert_eq!(parse(&request), json!({"one_time_keys": claim, "timeout": 10_000}));
    let response = json!({"one_time_keys": {THEM: {"THEIRS": one_time_key}}, "failures": {}});
    let claimed = parse(&ok(read_keys_claim_response(&request, &response.to_string())));
    let claimed = &claimed["one_time_keys"][THEM]["THEIRS"];
    assert_eq!(*claimed, one_time_key);

    let channel = ok(OlmChannel::create_outbound_channel(
        &ours.account,
        &keys.to_string(),
        &claimed.to_string(),
    ));
    assert_eq!(ok(channel.session_count()), 1); // O5
    // D26: device keys make the fingerprint a verified one.
    assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "verified");

    for serial in 0..5 {
        let content = any_content(&mut stage.rng, serial);
        let message = parse(&ok(ours.channel(&peer).encrypt(NOTE, &content.to_string())));
        assert_eq!(message["algorithm"], "m.olm.v1.curve25519-aes-sha2"); // O1
        assert_eq!(message["sender_key"], ours.identity_key()); // O9
        assert_eq!(message_type(&message, &peer.identity_key), 0); // O11
        let event = ours.deliver(&mut peer, &message);
        // O10, and D30 for the last one.
        assert_eq!(
            event,
            json!({
                "type": NOTE,
                "content": content,
                "sender": US,
                "recipient": THEM,
                "recipient_keys": {"ed25519": peer.fingerprint},
                "keys": {"ed25519": ok(ours.account.fingerprint_key())},
                "sender_device_keys": ours.device_keys(),
            })
        );
        if serial == 2 {
            ours.reopen(); // O12, O21: before any answer.
        }
    }
    assert_eq!(
        peer.ask("olm_session_ids", json!({"identity_key": ours.identity_key()}))
            .as_array()
            .map(Vec::len),
        Some(1)
    );

    for serial in 5..15 {
        let content = any_content(&mut stage.rng, serial);
        let message = ours.message_from(&mut peer, NOTE, &content);
        read(&ours.channel(&peer), &message, NOTE, &content);
        if stage.chance(3) {
            ours.reopen();
        }
        let content = any_content(&mut stage.rng, serial);
        let message = parse(&ok(ours.channel(&peer).encrypt(NOTE, &content.to_string())));
        assert_eq!(message_type(&message, &peer.identity_key), 1); // O11
        assert_eq!(ours.deliver(&mut peer, &message)["content"], content);
    }

    // O7, O14, O15: a second session, which is used from then on.
    ok(ours.channel(&peer).add_outbound_olm_session(&peer.one_time_key().to_string()));
    ours.reopen(); // D23
    assert_eq!(ok(ours.channel(&peer).session_count()), 2);
    let message = parse(&ok(ours.channel(&peer).encrypt("m.dummy", "{}")));
    assert_eq!(message_type(&message, &peer.identity_key), 0);
    ours.deliver(&mut peer, &message);
    let content = any_content(&mut stage.rng, 15);
    let message = ours.message_from(&mut peer, NOTE, &content);
    read(&ours.channel(&peer), &message, NOTE, &content);

    // O13: a message for somebody else.
    let mut foreign = message;
    foreign["ciphertext"] = json!({peer.identity_key.clone(): {"type": 0, "body": "AA"}});
    let error = refused(ours.channel(&peer).decrypt(&foreign.to_string()));
    assert!(matches!(error, E2eeError::NotEncryptedForUs { .. }));
}

// 2. Olm, started by the peer.

/// Takes one of the account's published one-time keys.
fn take_key(request: &Value, kind: &str, rng: &mut StdRng) -> Value {
    let keys: Vec<_> = request[kind].as_object().expect("keys are uploaded").iter().collect();
    let (key_id, key) = pick(rng, &keys).expect("keys are uploaded");
    json!({key_id.as_str(): key})
}

/// All of the account's published one-time keys, each as a claim would give it.
fn one_time_keys(request: &Value) -> Vec<Value> {
    let keys = request["one_time_keys"].as_object().expect("keys are uploaded");
    keys.iter().map(|(key_id, key)| json!({key_id: key})).collect()
}

fn create_from(ours: &Ours, peer: &Peer, message: &Value) -> matrixe2ee::Result<Arc<OlmChannel>> {
    OlmChannel::create_from_encrypted_message(
        &ours.account,
        &peer.user_id,
        &peer.identity_key,
        &message.to_string(),
        None,
        None,
    )
}

fn a_channel_that_the_peer_starts_carries_events_both_ways(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_devices();
    let upload = ours.upload_keys(0);
    ours.reopen(); // The private halves are on disk before the upload (SEC-22).
    let one_time_key = take_key(&upload, "one_time_keys", &mut stage.rng);
    let start = json!({"device_keys": upload["device_keys"], "one_time_key": one_time_key});
    peer.ask("olm_start", start.clone());

    let mut contents: Vec<Value> = (0..6).map(|n| any_content(&mut stage.rng, n)).collect();
    let mut messages: Vec<Value> =
        contents.iter().map(|content| ours.message_from(&mut peer, NOTE, content)).collect();
    // Any of them may come first.
    let first = stage.rng.random_range(..messages.len());
    let (first, first_content) = (messages.remove(first), contents.remove(first));

    // O20: a damaged one makes nothing, and costs nothing (SEC-31).
    let mut damaged = first.clone();
    let body = &mut damaged["ciphertext"][ours.identity_key()]["body"];
    let mut altered = text(body).to_owned();
    let at = altered.len() - 5;
    altered.replace_range(at..=at, if altered.as_bytes()[at] == b'A' { "B" } else { "A" });
    *body = altered.into();
    undecryptable(create_from(&ours, &peer, &damaged));
    let stored = OlmChannel::create_from_storage(&ours.account, THEM, &peer.identity_key);
    assert!(matches!(refused(stored), E2eeError::NotFound { .. })); // O21

    let channel = ok(create_from(&ours, &peer, &first));
    let event = parse(&ok(channel.first_event()));
    // O20: the whole envelope.
    assert_eq!(event["content"], first_content);
    assert_eq!((text(&event["sender"]), text(&event["recipient"])), (THEM, US));
    // O18, D26, D30: learned from the message, and not verified by that.
    let partner = parse(&ok(channel.partner()));
    assert_eq!(partner["fingerprint"], "learned");
    assert_eq!(partner["fingerprint_key"], peer.fingerprint);
    assert_eq!(partner["user_id"], THEM);
    let again = refused(create_from(&ours, &peer, &first));
    assert!(matches!(again, E2eeError::AlreadyExists { .. }));

    messages.iter().zip(&contents).enumerate().for_each(|(n, (message, content))| {
        if n == 2 {
            ours.reopen(); // D22: session and account in one commit.
        }
        read(&ours.channel(&peer), message, NOTE, content);
    });
    // O14, SEC-30: all of them belong to one session.
    assert_eq!(ok(ours.channel(&peer).session_count()), 1);

    // D21, O23: a pre-key message is not opened a second time, not after a restart either.
    ours.reopen();
    for message in messages.iter().chain([&first]) {
        let channel = ours.channel(&peer);
        assert_eq!(undecryptable(channel.decrypt(&message.to_string())), "missing_message_key");
        assert_eq!(ok(channel.session_count()), 1); // O16
        // DESIGN section 4: a repetition is no reason for a new session.
        assert!(!ok(channel.should_create_new_session()));
    }

    // D26: add_outbound_olm_session wants more than a learned fingerprint.
    let channel = ours.channel(&peer);
    let one_time_key = peer.one_time_key().to_string();
    let error = refused(channel.add_outbound_olm_session(&one_time_key));
    assert!(matches!(error, E2eeError::UnknownFingerprint { .. }));
    ok(channel.set_partner_device_keys(&peer.device_keys().to_string()));
    assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "verified");
    assert_eq!(parse(&ok(channel.partner()))["device_id"], "THEIRS");

    for serial in 10..20 {
        let content = any_content(&mut stage.rng, serial);
        let message = parse(&ok(ours.channel(&peer).encrypt(NOTE, &content.to_string())));
        assert_eq!(message_type(&message, &peer.identity_key), 1); // O11
        assert_eq!(ours.deliver(&mut peer, &message)["content"], content);
        let content = any_content(&mut stage.rng, serial);
        let message = ours.message_from(&mut peer, NOTE, &content);
        read(&ours.channel(&peer), &message, NOTE, &content);
        if stage.chance(3) {
            ours.reopen();
        }
    }

    // O15: the peer starts again (it lost its session, say) with a key of ours.
    let one_time_key = loop {
        let key = take_key(&upload, "one_time_keys", &mut stage.rng);
        if key != start["one_time_key"] {
            break key;
        }
    };
    peer.ask(
        "olm_start",
        json!({"device_keys": upload["device_keys"], "one_time_key": one_time_key}),
    );
    let content = any_content(&mut stage.rng, 20);
    let message = ours.message_from(&mut peer, NOTE, &content);
    assert_eq!(message_type(&message, &ours.identity_key()), 0);
    read(&ours.channel(&peer), &message, NOTE, &content);
    assert_eq!(ok(ours.channel(&peer).session_count()), 2);
    ours.reopen();
    // O14: the session that received last is the one to send on.
    let message = parse(&ok(ours.channel(&peer).encrypt("m.dummy", "{}")));
    ours.deliver(&mut peer, &message);
    let sessions = peer.ask("olm_session_ids", json!({"identity_key": ours.identity_key()}));
    assert_eq!(sessions.as_array().map(Vec::len), Some(2));
    assert_eq!(message_type(&message, &peer.identity_key), 1);

    // O23: a key that served once serves nobody else.
    let mut thief = Peer::start(stage.program, "@thief:example.com", "THIEF");
    thief.ask("olm_start", start);
    let message = ours.message_from(&mut thief, NOTE, &json!({}));
    undecryptable(create_from(&ours, &thief, &message));
}

fn a_fallback_key_starts_a_channel_either_way_and_no_message_opens_twice(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_devices();
    let upload = ours.upload_keys(0);
    let fallback_key = take_key(&upload, "fallback_keys", &mut stage.rng);
    let start = json!({"device_keys": upload["device_keys"], "one_time_key": fallback_key});

    let mut seen = Vec::new();
    for serial in 0..3 {
        // The key serves again and again (SEC-24), each time for another session.
        peer.ask("olm_start", start.clone());
        let content = any_content(&mut stage.rng, serial);
        let message = ours.message_from(&mut peer, NOTE, &content);
        if serial == 0 {
            let channel = ok(create_from(&ours, &peer, &message));
            assert_eq!(parse(&ok(channel.first_event()))["content"], content);
        } else {
            read(&ours.channel(&peer), &message, NOTE, &content);
        }
        seen.push(message);
        ours.reopen();
        for message in &seen {
            // D21, SEC-25: though its key is still there, a message opens once.
            undecryptable(ours.channel(&peer).decrypt(&message.to_string()));
        }
    }
    assert_eq!(ok(ours.channel(&peer).session_count()), 3);

    // A peer's fallback key, claimed by us.
    let mut other = Peer::start(stage.program, "@other:example.com", "OTHER");
    let (keys, fallback_key) = (other.device_keys(), other.ask("fallback_key", json!({})));
    ok(OlmChannel::create_outbound_channel(
        &ours.account,
        &keys.to_string(),
        &fallback_key.to_string(),
    ));
    let content = any_content(&mut stage.rng, 3);
    assert_eq!(ours.send(&mut other, NOTE, &content)["content"], content);
}

fn of_several_olm_sessions_the_last_to_receive_sends_and_the_longest_silent_is_dropped(
    stage: &mut Stage,
) {
    let (mut ours, mut peer) = stage.two_friends();
    let upload = ours.upload_keys(0);
    let mut one_time_keys = one_time_keys(&upload);
    let identity_key = ours.identity_key();
    let sessions = |peer: &mut Peer| {
        let ids = peer.ask("olm_session_ids", json!({"identity_key": identity_key}));
        ids.as_array().cloned().expect("a list")
    };
    // The sessions that we must have, the longest silent first.
    let mut expected = sessions(&mut peer);
    let mut dropped = Vec::new();
    for serial in 0..80 {
        if serial % 6 == 0 || stage.chance(10) {
            let start = json!({
                "device_keys": upload["device_keys"],
                "one_time_key": one_time_keys.pop().expect("there are enough"),
            });
            peer.ask("olm_start", start);
            expected.push(sessions(&mut peer).pop().expect("the new session"));
            if expected.len() > 8 {
                dropped.push(expected.remove(0)); // D20, D24, SEC-38
            }
        } else {
            let chosen = stage.rng.random_range(0..expected.len());
            let chosen = expected.remove(chosen);
            expected.push(chosen); // O14
        }
        let session_id = expected.last().expect("there is one");
        let from = |peer: &mut Peer, session_id: &Value, content: &Value| {
            let recipient = ours.address();
            peer.ask(
                "olm_encrypt",
                json!({"recipient": recipient, "type": NOTE, "content": content,
                       "session_id": session_id}),
            )
        };
        let content = any_content(&mut stage.rng, serial);
        let message = from(&mut peer, session_id, &content);
        read(&ours.channel(&peer), &message, NOTE, &content);
        assert_eq!(ok(ours.channel(&peer).session_count()) as usize, expected.len());
        if let Some(gone) = pick(&mut stage.rng, &dropped) {
            let message = from(&mut peer, gone, &json!({}));
            undecryptable(ours.channel(&peer).decrypt(&message.to_string()));
        }
        if stage.chance(4) {
            ours.reopen(); // O8: the order is stored.
        }
        // O9: the answer goes through the session that received last.
        ours.send(&mut peer, "m.dummy", &json!({}));
        assert_eq!(sessions(&mut peer).last(), expected.last());
    }
    assert!(!dropped.is_empty());
}

fn a_first_olm_event_that_lies_leaves_a_channel_without_a_fingerprint(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_devices();
    let upload = ours.upload_keys(0);
    let mut one_time_keys = one_time_keys(&upload);
    let mut start = |peer: &mut Peer| {
        let one_time_key = one_time_keys.pop().expect("there are enough");
        let start = json!({"device_keys": upload["device_keys"], "one_time_key": one_time_key});
        peer.ask("olm_start", start);
    };
    start(&mut peer);
    let message = peer.ask(
        "olm_encrypt",
        json!({"recipient": ours.address(), "type": NOTE, "content": {},
               "change": {"recipient": "@stranger:example.net"}}),
    );
    // O20: decrypted, hence a channel; to be discarded, hence no event.
    let channel = ok(create_from(&ours, &peer, &message));
    for _ in 0..2 {
        let error = refused(channel.first_event());
        assert!(matches!(error, E2eeError::InvalidMessage { .. }), "{}", error.to_json());
    }
    assert!(matches!(refused(ours.channel(&peer).first_event()), E2eeError::NotFound { .. }));
    ours.reopen();
    let channel = ours.channel(&peer);
    assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "unknown");
    let error = refused(channel.encrypt(NOTE, "{}"));
    assert!(matches!(error, E2eeError::UnknownFingerprint { .. })); // D25
    undecryptable(channel.decrypt(&message.to_string())); // O19
    let message = ours.message_from(&mut peer, NOTE, &json!({"n": 1}));
    read(&channel, &message, NOTE, &json!({"n": 1}));
    assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "learned"); // O18
    ours.send(&mut peer, NOTE, &json!({"n": 2}));

    // O20: what the caller knows of the partner is compared, and counts as verified.
    for (user_id, right) in [("@honest:example.com", true), ("@liar:example.com", false)] {
        let mut other = Peer::start(stage.program, user_id, "OTHER");
        start(&mut other);
        let message = ours.message_from(&mut other, NOTE, &json!({"n": 3}));
        let known = if right { &other.fingerprint } else { &peer.fingerprint };
        let channel = ok(OlmChannel::create_from_encrypted_message(
            &ours.account,
            user_id,
            &other.identity_key,
            &message.to_string(),
            Some("OTHER".into()),
            Some(known.clone()),
        ));
        assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "verified");
        assert_eq!(parse(&ok(channel.partner()))["device_id"], "OTHER");
        if right {
            assert_eq!(parse(&ok(channel.first_event()))["content"], json!({"n": 3}));
        } else {
            let error = refused(channel.first_event());
            assert!(matches!(error, E2eeError::MismatchedFingerprint { .. })); // O17
        }
    }
}

fn an_olm_event_whose_envelope_lies_is_refused_and_the_channel_goes_on(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_friends();
    let mut stranger = Peer::start(stage.program, "@stranger:example.net", "STRANGER");
    let strangers_keys = stranger.device_keys();
    let mut unsigned_keys = peer.device_keys();
    unsigned_keys["device_id"] = json!("OTHER");

    let lies = [
        // O17, SEC-32.
        ("INVALID_MESSAGE", json!({"sender": "@stranger:example.net"})),
        ("INVALID_MESSAGE", json!({"recipient": "@stranger:example.net"})),
        ("INVALID_MESSAGE", json!({"recipient_keys": {"ed25519": stranger.fingerprint}})),
        ("INVALID_MESSAGE", json!({"recipient": null})),
        ("INVALID_MESSAGE", json!({"recipient_keys": null})),
        ("INVALID_MESSAGE", json!({"keys": null})),
        ("INVALID_MESSAGE", json!({"content": "text"})),
        ("INVALID_MESSAGE", json!({"type": 1})),
        (
            "MISMATCHED_FINGERPRINT",
            json!({"keys": {"ed25519": stranger.fingerprint}, "sender_device_keys": null}),
        ),
        // D30, SEC-33.
        ("INVALID_MESSAGE", json!({"sender_device_keys": strangers_keys})),
        ("INVALID_MESSAGE", json!({"sender_device_keys": unsigned_keys})),
        ("INVALID_MESSAGE", json!({"sender_device_keys": {}})),
    ];
    for (name, change) in lies {
        let message = peer.ask(
            "olm_encrypt",
            json!({"recipient": ours.address(), "type": NOTE, "content": {}, "change": change}),
        );
        let error = refused(ours.channel(&peer).decrypt(&message.to_string()));
        assert_eq!(error.name(), name, "{change}: {}", error.to_json());
        if stage.chance(2) {
            ours.reopen();
        }
        // O19, SEC-35: it is consumed all the same...
        let repeated = undecryptable(ours.channel(&peer).decrypt(&message.to_string()));
        assert_eq!(repeated, "missing_message_key");
        // ... and the channel works both ways.
        let message = ours.message_from(&mut peer, NOTE, &json!({"after": change}));
        read(&ours.channel(&peer), &message, NOTE, &json!({"after": change}));
        ours.send(&mut peer, "m.dummy", &json!({}));
    }

    // Clients before spec 1.15 do not send their device keys.
    let message = peer.ask(
        "olm_encrypt",
        json!({
            "recipient": ours.address(), "type": NOTE, "content": {"n": 1},
            "change": {"sender_device_keys": null},
        }),
    );
    read(&ours.channel(&peer), &message, NOTE, &json!({"n": 1}));
}

// 3. A long Olm conversation.

fn a_long_olm_conversation_survives_reordering_loss_repetition_and_restarts(stage: &mut Stage) {
    const MESSAGES_EACH_WAY: usize = 320;
    let (mut ours, mut peer) = stage.two_devices();
    ours.start_channel(&mut peer);
    let mut to_peer = Direction::new(peer.identity_key.clone());
    let mut to_us = Direction::new(ours.identity_key());
    let (mut repeated, mut damaged, mut restarts) = (0, 0, 0);
    let mut serials_here = BTreeSet::new();
    let mut serials_there = BTreeSet::new();

    while to_peer.sent.min(to_us.sent) < MESSAGES_EACH_WAY
        || !to_peer.is_empty()
        || !to_us.is_empty()
    {
        let peer_knows_us = to_peer.delivered() > 0;
        match stage.rng.random_range(0..100) {
            0..25 if !to_peer.is_full() && to_peer.sent < MESSAGES_EACH_WAY => {
                let content = any_content(&mut stage.rng, to_peer.sent);
                let message = ok(ours.channel(&peer).encrypt(NOTE, &content.to_string()));
                to_peer.post(parse(&message), NOTE, content);
            }
            25..50 if peer_knows_us && !to_us.is_full() && to_us.sent < MESSAGES_EACH_WAY => {
                let content = any_content(&mut stage.rng, to_us.sent);
                to_us.post(ours.message_from(&mut peer, NOTE, &content), NOTE, content);
            }
            50..67 => {
                for letter in to_peer.arrivals(&mut stage.rng) {
                    let event = ours.deliver(&mut peer, &letter.message);
                    assert_eq!(event["type"], letter.event_type);
                    assert_eq!(event["content"], letter.content);
                    assert!(serials_there.insert(event["content"]["serial"].as_u64()));
                }
            }
            67..84 => {
                for letter in to_us.arrivals(&mut stage.rng) {
                    let channel = ours.channel(&peer);
                    // O13-O15.
                    read(&channel, &letter.message, &letter.event_type, &letter.content);
                    assert!(serials_here.insert(letter.content["serial"].as_u64()));
                }
            }
            84..90 => {
                if let Some(letter) = to_us.repetition(&mut stage.rng) {
                    let result = ours.channel(&peer).decrypt(&letter.message.to_string());
                    // O16, SEC-39.
                    assert_eq!(undecryptable(result), "missing_message_key");
                    repeated += 1;
                }
                if let Some(letter) = to_peer.repetition(&mut stage.rng) {
                    let again = json!({"sender": US, "content": letter.message});
                    peer.try_ask("olm_decrypt", again).expect_err("the peer opened it twice");
                }
            }
            90..94 => {
                if let Some(message) = to_us.damaged(&mut stage.rng) {
                    let result = ours.channel(&peer).decrypt(&message.to_string());
                    // O16; the true one opens later (SEC-31).
                    assert_eq!(undecryptable(result), "bad_mac");
                    damaged += 1;
                }
            }
            94..96 => {
                // The first message to the peer has to arrive some day.
                if peer_knows_us {
                    to_peer.lose(&mut stage.rng);
                }
                to_us.lose(&mut stage.rng);
            }
            96..98 => {
                ours.reopen(); // O12, O21
                restarts += 1;
            }
            98..100 => {
                ours = ours.after_power_loss(); // O12: what we know is on disk.
                restarts += 1;
            }
            _ => {}
        }
    }

    println!("to the peer: {}; to us: {}", to_peer.counts(), to_us.counts());
    println!("{repeated} repeated, {damaged} damaged, {restarts} restarts");
    // All that was not lost was read, and read once.
    assert_eq!(serials_there.len() + to_peer.lost(), MESSAGES_EACH_WAY);
    assert_eq!(serials_here.len() + to_us.lost(), MESSAGES_EACH_WAY);
    assert!(repeated > 5 && damaged > 2 && restarts > 2, "the dice were not rolled");
    assert_eq!(ok(ours.channel(&peer).session_count()), 1);
}

fn forty_skipped_olm_messages_still_open_and_a_gap_of_two_thousand_does_not(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_friends();
    // A chain of its own, from its first message on.
    ours.send(&mut peer, "m.dummy", &json!({}));
    let contents: Vec<Value> = (0..42).map(|n| any_content(&mut stage.rng, n)).collect();
    let messages: Vec<Value> =
        contents.iter().map(|content| ours.message_from(&mut peer, NOTE, content)).collect();

    // The last one first: 41 are skipped, and 40 keys are kept.
    read(&ours.channel(&peer), &messages[41], NOTE, &contents[41]);
    ours.reopen();
    let mut order: Vec<usize> = (1..41).collect();
    order.shuffle(&mut stage.rng);
    for n in order {
        read(&ours.channel(&peer), &messages[n], NOTE, &contents[n]);
    }
    // SEC-39: the oldest is lost, and that is no broken session.
    let result = ours.channel(&peer).decrypt(&messages[0].to_string());
    assert_eq!(undecryptable(result), "missing_message_key");
    assert!(!ok(ours.channel(&peer).should_create_new_session()));

    let mut late = Vec::new();
    for _ in 0..2_002 {
        late.push(ours.message_from(&mut peer, NOTE, &json!({})));
    }
    let result = ours.channel(&peer).decrypt(&late[2_001].to_string());
    assert_eq!(undecryptable(result), "message_gap"); // SEC-39
    assert!(!ok(ours.channel(&peer).should_create_new_session()));
    // Nothing has moved: the next ones open, and then the far one is near enough.
    read(&ours.channel(&peer), &late[0], NOTE, &json!({}));
    read(&ours.channel(&peer), &late[2_001], NOTE, &json!({}));
    read(&ours.channel(&peer), &late[1_990], NOTE, &json!({}));
}

// 4. Megolm.

fn encrypt(ours: &Ours, room_id: &str, content: &Value) -> Value {
    parse(&ok(ours.outbound(room_id).encrypt("m.room.message", &content.to_string())))
}

fn our_room_events_open_at_the_peer_in_any_order_and_across_restarts(stage: &mut Stage) {
    const EVENTS: usize = 320;
    let (mut ours, mut peer) = stage.two_friends();
    ok(OutboundMegolmSession::create(&ours.account, ROOM, None));
    let known = ours.share_room_key(ROOM, &mut [&mut peer]);
    assert_eq!(Value::from(known), json!({"THEIRS": 0}));

    // Another device, which gets the key later.
    let mut late = Peer::start(stage.program, "@late:example.net", "LATE");
    ours.start_channel(&mut late);
    let late_from = stage.rng.random_range(100..200);

    let mut on_the_way = Vec::new();
    let mut indices = BTreeMap::new();
    let mut opened = 0;
    for serial in 0..EVENTS {
        if serial == late_from {
            // M7, M14: the key at the index that comes next, and not to the first device again.
            let next = ok(ours.outbound(ROOM).message_index());
            let known = ours.share_room_key(ROOM, &mut [&mut peer, &mut late]);
            assert_eq!(Value::from(known), json!({"LATE": next}));
        }
        let content = any_content(&mut stage.rng, serial);
        let index = ok(ours.outbound(ROOM).message_index());
        let event = encrypt(&ours, ROOM, &content);
        // M1, M15.
        assert_eq!(event["algorithm"], MEGOLM);
        assert_eq!(event["session_id"], ok(ours.outbound(ROOM).session_id()));
        assert!(indices.insert(index, serial).is_none(), "index {index} is used twice");
        on_the_way.push((event, content, index, serial));
        match stage.rng.random_range(0..40) {
            0 => ours.reopen(),
            1 => ours = ours.after_power_loss(),
            2..5 => drop(on_the_way.swap_remove(stage.rng.random_range(..on_the_way.len()))),
            _ => {}
        }
        while on_the_way.len() > 60 || serial + 1 == EVENTS && !on_the_way.is_empty() {
            let chosen = stage.rng.random_range(..on_the_way.len());
            let (event, content, index, serial) = on_the_way.swap_remove(chosen);
            let payload = json!({"type": "m.room.message", "content": content, "room_id": ROOM});
            // Twice: Megolm itself does not mind.
            for _ in 0..2 {
                let read = peer.ask("megolm_decrypt", json!({"content": event}));
                assert_eq!(read, json!({"payload": payload, "index": index}));
            }
            let read = late.try_ask("megolm_decrypt", json!({"content": event}));
            // M14: who joined later reads what came later, and nothing before.
            assert_eq!(read.is_ok(), serial >= late_from, "{read:?}");
            opened += 1;
        }
    }
    assert!(opened > 250, "only {opened} arrived");
    println!("{opened} of {EVENTS} arrived; the late one joined at {late_from}");
}

fn a_power_loss_never_makes_us_use_a_message_index_twice(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_friends();
    let settings = json!({"reserve_ahead": stage.rng.random_range(1..20)});
    let settings = Some(settings.to_string());
    ok(OutboundMegolmSession::create(&ours.account, ROOM, settings));
    ours.share_room_key(ROOM, &mut [&mut peer]);
    let mut used = BTreeMap::new();
    for life in 0..12 {
        for serial in 0..stage.rng.random_range(0..15) {
            let content = json!({"life": life, "serial": serial});
            let event = encrypt(&ours, ROOM, &content);
            let read = peer.ask("megolm_decrypt", json!({"content": event}));
            assert_eq!(read["payload"]["content"], content);
            // M15, SEC-112, by the word of the peer: all that ever left the library counts.
            let before = used.insert(read["index"].as_u64(), content.clone());
            assert_eq!(before, None, "and {content} has index {}", read["index"]);
        }
        ours = ours.after_power_loss();
    }
    assert!(used.len() > 20, "only {} events", used.len());
}

/// An event as it stands in a room of the peer's.
fn room_event(peer: &Peer, event_id: &str, content: &Value) -> Value {
    json!({
        "type": "m.room.encrypted",
        "event_id": event_id,
        "sender": peer.user_id,
        "room_id": ROOM,
        "origin_server_ts": 1_700_000_000_000_u64,
        "content": content,
    })
}

/// Receives a room key of the peer's over Olm.
fn receive_room_key(ours: &Ours, peer: &mut Peer, content: &Value) -> Arc<InboundMegolmSession> {
    let message = ours.message_from(peer, "m.room_key", content);
    let event = parse(&ok(ours.channel(peer).decrypt(&message.to_string())));
    ok(InboundMegolmSession::from_room_key(
        &ours.account,
        text(&event["sender"]),
        &peer.identity_key,
        &event["content"].to_string(),
    ))
}

fn room_events_of_the_peer_open_once_each_in_any_order_and_across_restarts(stage: &mut Stage) {
    const EVENTS: usize = 320;
    let (mut ours, mut peer) = stage.two_friends();
    let room_key = peer.ask("megolm_create", json!({"room_id": ROOM}));
    let session_id = text(&room_key["session_id"]).to_owned();
    let session = receive_room_key(&ours, &mut peer, &room_key);
    // M23, M29.
    assert!(ok(session.authenticated()));
    assert_eq!(ok(session.session_id()), session_id);
    assert_eq!(ok(session.sender_key()), peer.identity_key);
    assert_eq!(ok(session.first_known_index()), 0);
    let stored = |ours: &Ours| {
        ok(InboundMegolmSession::from_storage(&ours.account, ROOM, &session_id, Some(THEM.into())))
    };

    let mut on_the_way = Vec::new();
    let mut opened: Vec<(Value, Value, usize)> = Vec::new();
    for index in 0..EVENTS {
        let content = any_content(&mut stage.rng, index);
        let mut encrypted = peer.ask(
            "megolm_encrypt",
            json!({"room_id": ROOM, "type": "m.room.message", "content": content}),
        );
        if stage.chance(3) {
            // M25: newer clients leave these out.
            let map = encrypted.as_object_mut().expect("an object");
            map.remove("sender_key");
            map.remove("device_id");
        }
        on_the_way.push((room_event(&peer, &format!("$event{index}"), &encrypted), content, index));
        match stage.rng.random_range(0..30) {
            0 => ours.reopen(), // M24, D3: what was seen is still known.
            1 => ours = ours.after_power_loss(),
            2..4 => drop(on_the_way.swap_remove(stage.rng.random_range(..on_the_way.len()))),
            4..6 => {
                // D5, D6: an event that is refused does not claim the index.
                let (event, ..) = pick(&mut stage.rng, &on_the_way).expect("one is on the way");
                refuse_forgeries(&stored(&ours), event);
            }
            6 => {
                // M26: a payload for another room.
                let content = peer.ask(
                    "megolm_encrypt",
                    json!({"room_id": ROOM, "type": "m.room.message", "content": {},
                           "payload_room_id": "!other:example.org"}),
                );
                let event = room_event(&peer, "$elsewhere", &content);
                let error = refused(stored(&ours).decrypt(&event.to_string()));
                assert!(matches!(error, E2eeError::WrongRoom { .. }), "{}", error.to_json());
            }
            _ => {}
        }

        while on_the_way.len() > 60 || index + 1 == EVENTS && !on_the_way.is_empty() {
            // Small batches and such as are spread over the cores.
            let most = if stage.chance(4) { on_the_way.len() } else { 5 };
            let size = stage.rng.random_range(1..=most.min(on_the_way.len()));
            on_the_way.shuffle(&mut stage.rng);
            let batch = on_the_way.split_off(on_the_way.len() - size);
            let session = stored(&ours);
            let results = if size == 1 {
                vec![json!({"event": parse(&ok(session.decrypt(&batch[0].0.to_string())))})]
            } else {
                let mut events: Vec<Value> =
                    batch.iter().map(|(event, ..)| event.clone()).collect();
                // One ciphertext under two event IDs, both new: the first one has it.
                let mut replayed = events[stage.rng.random_range(0..size)].clone();
                replayed["event_id"] = json!("$another");
                events.push(replayed);
                let results = ok(session.decrypt_many(&json!(events).to_string()));
                let mut results: Vec<Value> = serde_json::from_str(&results).expect("a list");
                let last = results.pop().expect("a result for each event");
                assert_eq!(last["error"]["name"], "REPLAY", "{last}"); // M27
                results
            };
            assert_eq!(results.len(), batch.len());
            for (result, (.., content, _)) in results.iter().zip(&batch) {
                let event = &result["event"];
                assert_eq!(event["content"], *content, "{result}");
                assert_eq!(event["type"], "m.room.message");
                assert_eq!(event["room_id"], ROOM);
                assert_eq!(event["matrixe2ee"]["owner"], "known");
                assert_eq!(event["matrixe2ee"]["authenticated"], true);
            }
            opened.extend(batch);
        }
        if let Some((event, content, _)) = pick(&mut stage.rng, &opened) {
            let session = stored(&ours);
            // M27: the same event opens again.
            let again = parse(&ok(session.decrypt(&event.to_string())));
            assert_eq!(again["content"], *content);
            // M27, SEC-51: its ciphertext under another event ID does not.
            let mut replayed = event.clone();
            replayed["event_id"] = json!("$another");
            match refused(session.decrypt(&replayed.to_string())) {
                E2eeError::Replay { message_index, event_id, .. } => {
                    assert_eq!(json!(message_index), again["matrixe2ee"]["message_index"]);
                    assert_eq!(json!(event_id), event["event_id"]);
                }
                other => panic!("{}", other.to_json()),
            }
        }
    }
    assert!(opened.len() > 270, "only {} arrived", opened.len());
    println!("{} of {EVENTS} arrived", opened.len());
}

fn refuse_forgeries(session: &InboundMegolmSession, event: &Value) {
    let forged = |place: &str, value: Value| {
        let mut forged = event.clone();
        *forged.pointer_mut(place).expect("the place is there") = value;
        refused(session.decrypt(&forged.to_string())).name()
    };
    assert_eq!(forged("/sender", json!("@mallory:example.org")), "WRONG_SENDER"); // D5, SEC-50
    assert_eq!(forged("/room_id", json!("!other:example.org")), "WRONG_ROOM"); // D5, SEC-49
    let other_id = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(forged("/content/session_id", json!(other_id)), "MISMATCHED_SESSION_ID"); // D5
    assert_eq!(forged("/content/algorithm", json!("m.megolm.v2")), "UNKNOWN_ALGORITHM"); // M25
    let ciphertext = text(&event["content"]["ciphertext"]);
    for at in [ciphertext.len() / 2, ciphertext.len() - 20] {
        let other = if ciphertext.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut damaged = ciphertext.to_owned();
        damaged.replace_range(at..=at, other);
        assert_eq!(forged("/content/ciphertext", json!(damaged)), "UNABLE_TO_DECRYPT");
    }
}

fn a_lower_room_key_of_the_peer_extends_the_session_and_a_higher_one_does_not(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_friends();
    let mut keys = vec![peer.ask("megolm_create", json!({"room_id": ROOM}))];
    let mut events = Vec::new();
    for index in 0..30 {
        let content = any_content(&mut stage.rng, index);
        let encrypted = peer.ask(
            "megolm_encrypt",
            json!({"room_id": ROOM, "type": "m.room.message", "content": content}),
        );
        events.push((room_event(&peer, &format!("$event{index}"), &encrypted), content));
        keys.push(peer.ask("room_key", json!({"room_id": ROOM})));
    }
    let decrypt = |ours: &Ours, n: usize| {
        let id = text(&keys[0]["session_id"]);
        ok(InboundMegolmSession::from_storage(&ours.account, ROOM, id, None))
            .decrypt(&events[n].0.to_string())
            .map(|event| assert_eq!(parse(&event)["content"], events[n].1))
    };

    let session = receive_room_key(&ours, &mut peer, &keys[10]);
    assert_eq!(ok(session.first_known_index()), 10);
    match refused(decrypt(&ours, 9)) {
        // M14 from the other side, SEC-52.
        E2eeError::UnknownIndex { first_known, got, .. } => assert_eq!((first_known, got), (10, 9)),
        other => panic!("{}", other.to_json()),
    }
    ok(decrypt(&ours, 10));
    ok(decrypt(&ours, 25));

    // D4: a higher key takes nothing away.
    let session = receive_room_key(&ours, &mut peer, &keys[20]);
    assert_eq!(ok(session.first_known_index()), 10);
    ours.reopen();
    ok(decrypt(&ours, 12));
    // D4, SEC-46: a lower one opens what came before.
    let session = receive_room_key(&ours, &mut peer, &keys[3]);
    assert_eq!(ok(session.first_known_index()), 3);
    ours.reopen();
    assert!(matches!(refused(decrypt(&ours, 2)), E2eeError::UnknownIndex { .. }));
    (3..30).for_each(|n| ok(decrypt(&ours, n)));

    // D4: the replay record has outlived both.
    let session = receive_room_key(&ours, &mut peer, &keys[0]);
    for (event, _) in &events[3..] {
        let mut replayed = event.clone();
        replayed["event_id"] = json!("$another");
        let error = refused(session.decrypt(&replayed.to_string()));
        assert!(matches!(error, E2eeError::Replay { .. }), "{}", error.to_json());
    }

    // M23: an ID that is not the key's.
    let mut forged = keys[0].clone();
    forged["session_id"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let result = InboundMegolmSession::from_room_key(
        &ours.account,
        THEM,
        &peer.identity_key,
        &forged.to_string(),
    );
    assert!(matches!(refused(result), E2eeError::MismatchedSessionId { .. }));
}

// 5. Exports.

fn exported_sessions_open_the_same_events_on_the_other_side(stage: &mut Stage) {
    let (mut ours, mut peer) = stage.two_friends();

    // Our session, handed to the peer from our own export.
    let outbound = ok(OutboundMegolmSession::create(&ours.account, ROOM, None));
    let own = ok(InboundMegolmSession::from_outbound_session(&outbound));
    assert!(ok(own.authenticated())); // M22
    ours.share_room_key(ROOM, &mut [&mut peer]);
    let events: Vec<(Value, Value)> = (0..20)
        .map(|serial| {
            let content = any_content(&mut stage.rng, serial);
            (encrypt(&ours, ROOM, &content), content)
        })
        .collect();
    ours.reopen();
    let session_id = ok(ours.outbound(ROOM).session_id());
    let own = ok(InboundMegolmSession::from_storage(&ours.account, ROOM, &session_id, None));
    let from = stage.rng.random_range(1..19);
    let mut other = Peer::start(stage.program, "@other:example.net", "OTHER");
    for (at, first) in [(Some(from), from), (None, 0)] {
        let export = parse(&ok(own.export_at(at)));
        assert_eq!(export["session_id"], session_id);
        assert_eq!(export["room_id"], ROOM);
        assert_eq!(export["sender_key"], ours.identity_key());
        let known = other.ask("megolm_import", json!({"data": export}));
        assert_eq!(known, first);
        for (index, (event, content)) in events.iter().enumerate() {
            match other.try_ask("megolm_decrypt", json!({"content": event})) {
                Ok(read) => assert_eq!(read["payload"]["content"], *content),
                Err(error) => assert!(index < first as usize, "{index}: {error}"),
            }
        }
    }

    // The same session, exported by the peer, in another account of ours.
    let import = |index: u32, account: &Account, peer: &mut Peer| {
        let export = peer.ask(
            "megolm_export",
            json!({"session_id": session_id, "index": index, "sender_key": ours.identity_key(),
                   "fingerprint": ok(ours.account.fingerprint_key())}),
        );
        ok(InboundMegolmSession::from_export(account, &export.to_string()))
    };
    let mut second = Ours::new(US, "SECOND");
    let imported = import(from, &second.account, &mut peer);
    assert_eq!(ok(imported.first_known_index()), from);
    assert!(!ok(imported.authenticated())); // An export proves no origin (SEC-45).
    let as_event = |n: usize| {
        json!({"event_id": format!("$event{n}"), "sender": US, "room_id": ROOM,
               "type": "m.room.encrypted", "content": events[n].0})
    };
    for (n, (_, content)) in events.iter().enumerate() {
        let result = imported.decrypt(&as_event(n).to_string());
        if n < from as usize {
            assert!(matches!(refused(result), E2eeError::UnknownIndex { .. }));
        } else {
            let event = parse(&ok(result));
            assert_eq!(event["content"], *content);
            assert_eq!(event["matrixe2ee"]["owner"], "unknown");
        }
    }
    // D4: a lower export extends it, a higher one does not shorten it.
    assert_eq!(ok(import(0, &second.account, &mut peer).first_known_index()), 0);
    second.reopen();
    let imported = import(from, &second.account, &mut peer);
    assert_eq!(ok(imported.first_known_index()), 0);
    let event = parse(&ok(imported.decrypt(&as_event(0).to_string())));
    assert_eq!(event["content"], events[0].1);

    // D4: the key itself, over Olm and connected with the export, vouches for it.
    second.start_channel(&mut peer);
    second.send(&mut peer, "m.dummy", &json!({}));
    let room_key = peer.ask("megolm_create", json!({"room_id": ROOM}));
    peer.ask("megolm_receive", json!({"content": room_key}));
    let export = peer.ask(
        "megolm_export",
        json!({"session_id": room_key["session_id"], "index": 0,
               "sender_key": peer.identity_key, "fingerprint": peer.fingerprint}),
    );
    let session = ok(InboundMegolmSession::from_export(&second.account, &export.to_string()));
    assert!(!ok(session.authenticated()));
    let session = receive_room_key(&second, &mut peer, &room_key);
    assert!(ok(session.authenticated()));
    let encrypted = peer.ask(
        "megolm_encrypt",
        json!({"room_id": ROOM, "type": "m.room.message", "content": {"n": 1}}),
    );
    let event = room_event(&peer, "$event", &encrypted);
    let event = parse(&ok(session.decrypt(&event.to_string())));
    assert_eq!(event["matrixe2ee"]["owner"], "known");
}

// 6. Pickles.

/// Takes over the peer's account and lets the peer's process go.
fn move_in(stage: &mut Stage, peer: &mut Peer) -> Ours {
    let (user_id, device_id) = (peer.user_id.clone(), peer.device_id.clone());
    let key: Vec<u8> = match stage.program {
        Program::Vodozemac => (0..32).map(|_| stage.rng.random()).collect(),
        // libolm takes a key of any length; python-olm takes text.
        Program::Libolm => {
            let length = stage.rng.random_range(1..80);
            (0..length).map(|_| stage.rng.random_range(b' '..b'~')).collect()
        }
    };
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let pickle = peer.ask("pickle_account", json!({"key": hex}));
    Ours::with_account(&user_id, &device_id, |store| {
        let make = match stage.program {
            Program::Vodozemac => Account::from_vodozemac_pickle,
            Program::Libolm => Account::from_libolm_pickle,
        };
        let mut other_key = key.clone();
        other_key[0] ^= 1;
        let error = refused(make(store, &user_id, &device_id, text(&pickle), other_key));
        assert!(matches!(error, E2eeError::WrongKey { .. }), "{}", error.to_json());
        make(store, &user_id, &device_id, text(&pickle), key)
    })
}

fn an_account_pickle_becomes_our_account_and_its_one_time_keys_still_work(stage: &mut Stage) {
    let mut former = Peer::start(stage.program, US, "MOVING");
    let device_keys = former.device_keys();
    let one_time_keys = former.ask("one_time_keys", json!({"count": 12}));
    let fallback_key = former.ask("fallback_key", json!({}));
    let mut ours = move_in(stage, &mut former);
    assert_eq!(ours.identity_key(), former.identity_key);
    assert_eq!(ok(ours.account.fingerprint_key()), former.fingerprint);
    assert_eq!(ours.device_keys()["keys"], device_keys["keys"]);

    // SEC-21: what we publish from now on has new names and new keys.
    ok(ours.account.receive_key_counts(&json!({"signed_curve25519": 12}).to_string(), None));
    let upload = ours.upload_keys(12);
    let old: BTreeSet<&str> =
        one_time_keys.as_object().into_iter().flatten().map(|(_, key)| text(&key["key"])).collect();
    assert_eq!(old.len(), 12);
    for (key_id, key) in upload["one_time_keys"].as_object().into_iter().flatten() {
        assert!(one_time_keys.get(key_id).is_none(), "{key_id} is published again");
        assert!(!old.contains(text(&key["key"])), "a key is published again");
    }
    ours.reopen();

    let mut peer = Peer::start(stage.program, THEM, "THEIRS");
    let mut keys: Vec<Value> = one_time_keys
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key_id, key)| json!({key_id: key}))
        .chain([fallback_key])
        .collect();
    keys.shuffle(&mut stage.rng);
    for (serial, one_time_key) in keys.iter().enumerate() {
        let start = json!({"device_keys": device_keys, "one_time_key": one_time_key});
        peer.ask("olm_start", start);
        let content = any_content(&mut stage.rng, serial);
        let message = ours.message_from(&mut peer, NOTE, &content);
        if serial == 0 {
            let channel = ok(create_from(&ours, &peer, &message));
            assert_eq!(parse(&ok(channel.first_event()))["content"], content);
        } else {
            read(&ours.channel(&peer), &message, NOTE, &content);
        }
        if stage.chance(4) {
            ours.reopen();
        }
        assert_eq!(ours.send(&mut peer, NOTE, &content)["content"], content);
    }
    // SEC-38: at most 8 are kept.
    assert_eq!(ok(ours.channel(&peer).session_count()), 8);

    // New keys of the moved account work too.
    let one_time_key = take_key(&upload, "one_time_keys", &mut stage.rng);
    let mut newcomer = Peer::start(stage.program, "@new:example.net", "NEW");
    newcomer.ask("olm_start", json!({"device_keys": device_keys, "one_time_key": one_time_key}));
    let message = ours.message_from(&mut newcomer, NOTE, &json!({"n": 1}));
    let channel = ok(create_from(&ours, &newcomer, &message));
    assert_eq!(parse(&ok(channel.first_event()))["content"], json!({"n": 1}));
}

fn olm_sessions_continue_from_pickles(stage: &mut Stage, other: Program) {
    let mut former = Peer::start(stage.program, US, "MOVING");
    let mut partner = Peer::start(other, THEM, "THEIRS");
    let say = |from: &mut Peer, to: &mut Peer, content: &Value| {
        let message = from.ask(
            "olm_encrypt",
            json!({"recipient": to.address(), "type": NOTE, "content": content}),
        );
        let arriving = json!({"sender": from.user_id, "content": message});
        assert_eq!(to.ask("olm_decrypt", arriving)["content"], *content);
    };
    // Two sessions, one started by each, and some talk in each.
    for round in 0..2 {
        let (starter, other) =
            if round == 0 { (&mut former, &mut partner) } else { (&mut partner, &mut former) };
        let start =
            json!({"device_keys": other.device_keys(), "one_time_key": other.one_time_key()});
        starter.ask("olm_start", start);
        for serial in 0..stage.rng.random_range(1..6) {
            say(starter, other, &any_content(&mut stage.rng, serial));
            say(other, starter, &any_content(&mut stage.rng, serial));
        }
    }
    // And one message that is on its way while the device moves.
    let (device, partners_device) = (former.address(), partner.address());
    let waiting_content = any_content(&mut stage.rng, 100);
    let waiting = partner
        .ask("olm_encrypt", json!({"recipient": device, "type": NOTE, "content": waiting_content}));

    let mut ours = move_in(stage, &mut former);
    let key: Vec<u8> = (0..32).map(|_| stage.rng.random()).collect();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let identity_key = text(&partners_device["identity_key"]);
    let pickles = former.ask("pickle_olm", json!({"identity_key": identity_key, "key": hex}));
    drop(former);
    let import = |key: &[u8]| {
        OlmChannel::from_vodozemac_pickles(
            &ours.account,
            THEM,
            identity_key,
            &pickles.to_string(),
            key.to_vec(),
        )
    };
    let error = refused(import(&[0; 32]));
    assert!(matches!(error, E2eeError::WrongKey { .. }), "{}", error.to_json());
    let channel = ok(import(&key));
    assert_eq!(ok(channel.session_count()), 2);
    // The same sessions again are no new sessions.
    assert_eq!(ok(ok(import(&key)).session_count()), 2);

    read(&channel, &waiting, NOTE, &waiting_content);
    let repeated = undecryptable(channel.decrypt(&waiting.to_string()));
    assert_eq!(repeated, "missing_message_key");
    ok(channel.set_partner_device_keys(&partner.device_keys().to_string()));
    for serial in 0..20 {
        let content = any_content(&mut stage.rng, serial);
        assert_eq!(ours.send(&mut partner, NOTE, &content)["content"], content);
        let content = any_content(&mut stage.rng, serial);
        let message = ours.message_from(&mut partner, NOTE, &content);
        read(&ours.channel(&partner), &message, NOTE, &content);
        if stage.chance(5) {
            ours.reopen();
        }
    }
}

// 7. Signatures.

fn device_keys_and_one_time_keys_verify_on_the_other_side_and_altered_ones_do_not(
    stage: &mut Stage,
) {
    let (ours, mut peer) = stage.two_devices();
    let upload = ours.upload_keys(0);
    let fingerprint = ok(ours.account.fingerprint_key());
    let device_keys = upload["device_keys"].clone();
    assert_eq!(device_keys, ours.device_keys());
    assert_eq!(
        device_keys["algorithms"],
        json!(["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"])
    );
    let mut signed: Vec<Value> = vec![device_keys];
    for kind in ["one_time_keys", "fallback_keys"] {
        for (key_id, key) in upload[kind].as_object().into_iter().flatten() {
            assert!(key_id.starts_with("signed_curve25519:"));
            assert_eq!(key["fallback"] == true, kind == "fallback_keys"); // SEC-19
            signed.push(key.clone());
        }
    }
    assert!(signed.len() > 40, "only {} keys are uploaded", signed.len());
    let by_us = |value: &Value| json!({"value": value, "user_id": US, "key_id": "ed25519:OURS", "public_key": fingerprint});
    for mut value in signed {
        peer.ask("verify", by_us(&value));
        value["extra"] = json!(true);
        peer.try_ask("verify", by_us(&value)).expect_err("the peer accepts an altered key");
    }

    // And what the peer signs.
    let keys = peer.device_keys();
    let fingerprint = peer.fingerprint.clone();
    let check = |value: &Value| {
        verify_signed_json(&value.to_string(), THEM, "ed25519:THEIRS", &fingerprint)
    };
    ok(check(&keys));
    let one_time_keys = peer.ask("one_time_keys", json!({"count": 20}));
    let one_time_keys = one_time_keys.as_object().expect("an object");
    assert_eq!(one_time_keys.len(), 20);
    for (key_id, key) in one_time_keys {
        ok(check(key));
        for altered in [
            json!({"key": keys["keys"]["curve25519:THEIRS"], "signatures": key["signatures"]}),
            json!({"key": key["key"], "signatures": key["signatures"], "fallback": true}),
            json!({"key": key["key"], "signatures": keys["signatures"]}),
            json!({"key": key["key"], "signatures": {}}),
            json!({"key": key["key"]}),
        ] {
            assert!(matches!(refused(check(&altered)), E2eeError::BadSignature { .. }));
            let channel = OlmChannel::create_outbound_channel(
                &ours.account,
                &keys.to_string(),
                &json!({key_id: altered}).to_string(),
            );
            // O4, SEC-18: and nothing is stored.
            assert!(matches!(refused(channel), E2eeError::BadSignature { .. }));
        }
    }
    let (key_id, key) = one_time_keys.iter().next().expect("there are 20");
    for (place, value) in [
        ("/user_id", json!(US)),
        ("/device_id", json!("OTHER")),
        ("/algorithms", json!(["m.olm.v1.curve25519-aes-sha2"])),
        ("/keys/curve25519:THEIRS", json!(ours.identity_key())),
        ("/keys/ed25519:THEIRS", json!(ok(ours.account.fingerprint_key()))),
    ] {
        let mut altered = keys.clone();
        *altered.pointer_mut(place).expect("the place is there") = value;
        let channel = OlmChannel::create_outbound_channel(
            &ours.account,
            &altered.to_string(),
            &json!({key_id: key}).to_string(),
        );
        refused(channel); // O4, SEC-1, SEC-3
    }
    let stored = OlmChannel::create_from_storage(&ours.account, THEM, &peer.identity_key);
    assert!(matches!(refused(stored), E2eeError::NotFound { .. }));
    ok(OlmChannel::create_outbound_channel(
        &ours.account,
        &keys.to_string(),
        &json!({key_id: key}).to_string(),
    ));
}

fn signed_json_of_any_shape_verifies_on_the_other_side(stage: &mut Stage) {
    let (ours, mut peer) = stage.two_devices();
    let fingerprint = ok(ours.account.fingerprint_key());
    for serial in 0..300 {
        let mut value = any_content(&mut stage.rng, serial);
        if stage.chance(2) {
            value["unsigned"] = json!({"age": serial});
        }
        // SEC-99: two writers of canonical JSON agree on each of these.
        let ours_signed = parse(&ok(ours.account.sign_json(&value.to_string())));
        peer.ask(
            "verify",
            json!({"value": ours_signed, "user_id": US, "key_id": "ed25519:OURS",
                   "public_key": fingerprint}),
        );
        // With both signatures on it, each of them still holds.
        let both = peer.ask("sign", json!({"value": ours_signed}));
        let both_text = both.to_string();
        ok(verify_signed_json(&both_text, US, "ed25519:OURS", &fingerprint));
        ok(verify_signed_json(&both_text, THEM, "ed25519:THEIRS", &peer.fingerprint));
        let again = parse(&ok(ours.account.sign_json(&both_text)));
        assert_eq!(again, both, "signing again adds nothing and loses nothing");
        assert_eq!(parse(&ok(canonical_json(&value.to_string()))), value);
    }
}
