//! Room events and room keys, both ways.

use super::*;

pub(super) fn encrypt(ours: &Ours, room_id: &str, content: &Value) -> Value {
    parse(&ok(ours.outbound(room_id).encrypt("m.room.message", &content.to_string())))
}

pub(super) fn our_room_events_open_at_the_peer_in_any_order_and_across_restarts(stage: &mut Stage) {
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

pub(super) fn a_power_loss_never_makes_us_use_a_message_index_twice(stage: &mut Stage) {
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
pub(super) fn room_event(peer: &Peer, event_id: &str, content: &Value) -> Value {
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
pub(super) fn receive_room_key(
    ours: &Ours,
    peer: &mut Peer,
    content: &Value,
) -> Arc<InboundMegolmSession> {
    let message = ours.message_from(peer, "m.room_key", content);
    let event = parse(&ok(ours.channel(peer).decrypt(&message.to_string())));
    ok(InboundMegolmSession::from_room_key(
        &ours.account,
        text(&event["sender"]),
        &peer.identity_key,
        &event["content"].to_string(),
    ))
}

pub(super) fn room_events_of_the_peer_open_once_each_in_any_order_and_across_restarts(
    stage: &mut Stage,
) {
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

pub(super) fn refuse_forgeries(session: &InboundMegolmSession, event: &Value) {
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

pub(super) fn a_lower_room_key_of_the_peer_extends_the_session_and_a_higher_one_does_not(
    stage: &mut Stage,
) {
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
