//! A device that has used libolm moves in, in the middle of its conversations.

use std::time::Instant;

use super::*;

fn say(from: &mut Peer, to: &Value, session_id: &Value, content: &Value) -> Value {
    from.ask(
        "olm_encrypt",
        json!({"recipient": to, "type": NOTE, "content": content, "session_id": session_id}),
    )
}

/// Both sides answer each other for a while; of what the partner says, some is left on its way.
pub(super) fn a_talk_with_skipped_messages_moves_and_goes_on(stage: &mut Stage) {
    let mut former = Peer::start(Program::Libolm, US, "MOVING");
    let mut partner = Peer::start(Program::Libolm, THEM, "THEIRS");
    let (device, partners_device) = (former.address(), partner.address());
    let identity_key = text(&partners_device["identity_key"]).to_owned();
    let start = json!({"device_keys": former.device_keys(), "one_time_key": former.one_time_key()});
    partner.ask("olm_start", start);
    let mut late: Vec<(u32, Value, Value)> = Vec::new();
    let rounds = stage.rng.random_range(6..12);
    for round in 0..rounds {
        let count = stage.rng.random_range(2..8);
        let heard = stage.rng.random_range(0..count);
        for serial in 0..count {
            let content = any_content(&mut stage.rng, serial);
            let message = say(&mut partner, &device, &Value::Null, &content);
            if serial == heard {
                former.ask("olm_decrypt", json!({"sender": THEM, "content": message}));
            } else {
                late.push((round, message, content));
            }
        }
        let answer = say(&mut former, &partners_device, &Value::Null, &json!({}));
        partner.ask("olm_decrypt", json!({"sender": US, "content": answer}));
    }
    let (key, hex) = pickle_key(stage);
    let ids = former.ask("olm_session_ids", json!({"identity_key": identity_key}));
    let pickles = former.ask("pickle_olm", json!({"identity_key": identity_key, "key": hex}));
    let ours = move_in(stage, &mut former);
    drop(former);
    let from = OlmChannel::from_libolm_pickles;
    let channel = ok(from(&ours.account, THEM, &identity_key, &pickles.to_string(), key));
    assert_eq!(ok(channel.session_count()), ids.as_array().expect("a list").len() as u32);
    ok(channel.set_partner_device_keys(&partner.device_keys().to_string()));
    // A new chain: it takes the place of the oldest of five.
    ours.send(&mut partner, NOTE, &json!({}));
    let answer = say(&mut partner, &device, &Value::Null, &json!({"new": "chain"}));
    read(&channel, &answer, NOTE, &json!({"new": "chain"}));
    late.shuffle(&mut stage.rng);
    for (round, message, content) in &late {
        if *round >= rounds - 4 {
            read(&channel, message, NOTE, content);
            let again = undecryptable(channel.decrypt(&message.to_string()));
            assert_eq!(again, "missing_message_key");
        }
    }
    for serial in 0..10 {
        let content = any_content(&mut stage.rng, serial);
        assert_eq!(ours.send(&mut partner, NOTE, &content)["content"], content);
        let answer = say(&mut partner, &device, &Value::Null, &content);
        read(&channel, &answer, NOTE, &content);
    }
}

pub(super) fn rooms_move_in_both_directions(stage: &mut Stage) {
    let mut former = Peer::start(Program::Libolm, US, "MOVING");
    let mut partner = Peer::start(Program::Libolm, THEM, "THEIRS");
    let (key, hex) = pickle_key(stage);
    let encrypt = |from: &mut Peer, room: &str, n: usize| {
        let content = json!({"n": n});
        from.ask("megolm_encrypt", json!({"room_id": room, "type": NOTE, "content": content}))
    };
    // The partner's room, heard up to its tenth message, and ours, written to five times.
    let theirs = partner.ask("megolm_create", json!({"room_id": ROOM}));
    former.ask("megolm_receive", json!({"content": theirs}));
    let events: Vec<_> = (0..30).map(|n| encrypt(&mut partner, ROOM, n)).collect();
    for event in &events[..10] {
        former.ask("megolm_decrypt", json!({"content": event}));
    }
    const OURS: &str = "!ours:example.org";
    let own = former.ask("megolm_create", json!({"room_id": OURS}));
    partner.ask("megolm_receive", json!({"content": own}));
    (0..5).for_each(|n| drop(encrypt(&mut former, OURS, n)));
    let inbound =
        former.ask("pickle_inbound", json!({"session_id": theirs["session_id"], "key": hex}));
    let outbound = former.ask("pickle_outbound", json!({"room_id": OURS, "key": hex}));
    let mut ours = move_in(stage, &mut former);
    drop(former);

    let wrong = [key.as_slice(), b"?"].concat();
    for (pickle_key, good) in [(wrong, false), (key.clone(), true)] {
        let session = InboundMegolmSession::from_libolm_pickle(
            &ours.account,
            ROOM,
            &partner.identity_key,
            text(&inbound),
            pickle_key,
            Some(THEM.to_owned()),
        );
        if !good {
            assert!(matches!(refused(session), E2eeError::WrongKey { .. }));
            continue;
        }
        let session = ok(session);
        assert_eq!(ok(session.first_known_index()), 0);
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.shuffle(&mut stage.rng);
        for n in order {
            let event = room_event(&partner, &format!("$event{n}"), &events[n]);
            let event = parse(&ok(session.decrypt(&event.to_string())));
            assert_eq!(event["content"]["n"], n);
        }
    }
    let from = OutboundMegolmSession::from_libolm_pickle;
    let session = ok(from(&ours.account, OURS, text(&outbound), key));
    let own = ok(InboundMegolmSession::from_outbound_session(&session));
    ok(session.mark_as_sent(&json!([partner.device_keys()]).to_string()));
    drop(session);
    for n in 5..25 {
        let sent = parse(&ok(ours.outbound(OURS).encrypt(NOTE, &json!({"n": n}).to_string())));
        let read = partner.ask("megolm_decrypt", json!({"content": sent}));
        assert_eq!((&read["index"], &read["payload"]["content"]["n"]), (&json!(n), &json!(n)));
        let event = json!({"event_id": format!("${n}"), "sender": US, "room_id": OURS,
                           "content": sent});
        assert_eq!(parse(&ok(own.decrypt(&event.to_string())))["content"]["n"], n);
        if stage.chance(6) {
            ours.reopen();
            break;
        }
    }
}

pub(super) fn ten_thousand_sessions_move_with_one_call(stage: &mut Stage) {
    let mut former = Peer::start(Program::Libolm, US, "MOVING");
    let (key, hex) = pickle_key(stage);
    let many = json!({"room_id": ROOM, "count": 10_000, "key": hex});
    let pickles = former.ask("pickle_many_inbound", many);
    let ours = Ours::new(US, "MOVING");
    let sender_key = former.identity_key.clone();
    let items: Vec<Value> = pickles
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| {
            json!({"kind": "inbound_megolm", "room_id": ROOM, "sender_key": sender_key,
                   "pickle": entry[1], "sender_user_id": US})
        })
        .collect();
    let items = json!(items).to_string();
    for (imported, known) in [(10_000, 0), (0, 10_000)] {
        let begin = Instant::now();
        let report = parse(&ok(ours.account.import_libolm_sessions(&items, key.clone())));
        println!("10,000 sessions of libolm's: {:?}", begin.elapsed());
        let expected = json!({"imported": imported, "known": known, "merged": 0, "surplus": 0,
                              "failed": []});
        assert_eq!(report, expected);
    }
    let listed = parse(&ok(ours.account.list_sessions(None, None, Some(10_000))));
    let ids: BTreeSet<_> =
        listed.as_array().expect("a list").iter().map(|s| text(&s["session_id"])).collect();
    assert!(pickles.as_array().expect("a list").iter().all(|entry| ids.contains(text(&entry[0]))));
    assert_eq!(ids.len(), 10_000);
}
