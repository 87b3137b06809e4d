//! Moving state: exported sessions and pickles.

use super::*;

pub(super) fn exported_sessions_open_the_same_events_on_the_other_side(stage: &mut Stage) {
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
        ok(InboundMegolmSession::from_export(account, &export.to_string(), None))
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
    let session = ok(InboundMegolmSession::from_export(&second.account, &export.to_string(), None));
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

/// A pickle key that the peer's library takes, as bytes and as hexadecimal digits.
pub(super) fn pickle_key(stage: &mut Stage) -> (Vec<u8>, String) {
    let key: Vec<u8> = match stage.program {
        Program::Vodozemac => (0..32).map(|_| stage.rng.random()).collect(),
        // libolm takes a key of any length; python-olm takes text.
        Program::Libolm => {
            let length = stage.rng.random_range(1..80);
            (0..length).map(|_| stage.rng.random_range(b' '..b'~')).collect()
        }
    };
    let hex = key.iter().map(|byte| format!("{byte:02x}")).collect();
    (key, hex)
}

/// Takes over the peer's account and lets the peer's process go.
pub(super) fn move_in(stage: &mut Stage, peer: &mut Peer) -> Ours {
    let (user_id, device_id) = (peer.user_id.clone(), peer.device_id.clone());
    let (key, hex) = pickle_key(stage);
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

pub(super) fn an_account_pickle_becomes_our_account_and_its_one_time_keys_still_work(
    stage: &mut Stage,
) {
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

pub(super) fn olm_sessions_continue_from_pickles(stage: &mut Stage, other: Program) {
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
    let (key, hex) = pickle_key(stage);
    let identity_key = text(&partners_device["identity_key"]);
    let pickles = former.ask("pickle_olm", json!({"identity_key": identity_key, "key": hex}));
    drop(former);
    let import = |key: &[u8]| {
        let from = match stage.program {
            Program::Vodozemac => OlmChannel::from_vodozemac_pickles,
            Program::Libolm => OlmChannel::from_libolm_pickles,
        };
        from(&ours.account, THEM, identity_key, &pickles.to_string(), key.to_vec())
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
