//! Longer talks over Olm: several sessions, lying envelopes, loss and repetition.

use super::*;

pub(super) fn of_several_olm_sessions_the_last_to_receive_sends_and_the_longest_silent_is_dropped(
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

pub(super) fn a_first_olm_event_that_lies_leaves_a_channel_without_a_fingerprint(
    stage: &mut Stage,
) {
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

    // O20: what the caller knows of the partner is compared, and counts as device keys.
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
        assert_eq!(parse(&ok(channel.partner()))["fingerprint"], "device_keys");
        assert_eq!(parse(&ok(channel.partner()))["device_id"], "OTHER");
        if right {
            assert_eq!(parse(&ok(channel.first_event()))["content"], json!({"n": 3}));
        } else {
            let error = refused(channel.first_event());
            assert!(matches!(error, E2eeError::MismatchedFingerprint { .. })); // O17
        }
    }
}

pub(super) fn an_olm_event_whose_envelope_lies_is_refused_and_the_channel_goes_on(
    stage: &mut Stage,
) {
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

pub(super) fn a_long_olm_conversation_survives_reordering_loss_repetition_and_restarts(
    stage: &mut Stage,
) {
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

pub(super) fn forty_skipped_olm_messages_still_open_and_a_gap_of_two_thousand_does_not(
    stage: &mut Stage,
) {
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
