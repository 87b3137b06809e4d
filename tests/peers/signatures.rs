//! Signed JSON, both ways.

use super::*;

pub(super) fn device_keys_and_one_time_keys_verify_on_the_other_side_and_altered_ones_do_not(
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

pub(super) fn signed_json_of_any_shape_verifies_on_the_other_side(stage: &mut Stage) {
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
