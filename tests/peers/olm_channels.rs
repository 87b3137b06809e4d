//! Channels: started by us, started by the peer, from fallback keys.

use super::*;

pub(super) fn a_channel_that_we_start_carries_events_both_ways(stage: &mut Stage) {
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
    // D26: device keys make it the fingerprint of device keys.
    assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "device_keys");

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

/// Takes one of the account's published one-time keys.
pub(super) fn take_key(request: &Value, kind: &str, rng: &mut StdRng) -> Value {
    let keys: Vec<_> = request[kind].as_object().expect("keys are uploaded").iter().collect();
    let (key_id, key) = pick(rng, &keys).expect("keys are uploaded");
    json!({key_id.as_str(): key})
}

/// All of the account's published one-time keys, each as a claim would give it.
pub(super) fn one_time_keys(request: &Value) -> Vec<Value> {
    let keys = request["one_time_keys"].as_object().expect("keys are uploaded");
    keys.iter().map(|(key_id, key)| json!({key_id: key})).collect()
}

pub(super) fn create_from(
    ours: &Ours,
    peer: &Peer,
    message: &Value,
) -> matrixe2ee::Result<Arc<OlmChannel>> {
    OlmChannel::create_from_encrypted_message(
        &ours.account,
        &peer.user_id,
        &peer.identity_key,
        &message.to_string(),
        None,
        None,
    )
}

pub(super) fn a_channel_that_the_peer_starts_carries_events_both_ways(stage: &mut Stage) {
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
    // O18, D26, D30: learned from the message, and not known from device keys by that.
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
    assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "device_keys");
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

pub(super) fn a_fallback_key_starts_a_channel_either_way_and_no_message_opens_twice(
    stage: &mut Stage,
) {
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
