//! The account and its channels, at the beginning and at the end of the device's life.

use serde_json::json;
use vodozemac::olm::{Account as RawAccount, OlmMessage};

use super::acts::{
    carol_is_heard, carol_knocks, channels_of_mallory, dave_knocks, mallory_is_heard,
    mallory_knocks, open_channel, receive_first, say_to_bob, upload, uploaded,
};
use super::people::v;
use super::script::{STEP, Step};
use crate::error::E2eeError;
use crate::handles::{Account, OlmChannel};

const CONSUMED: &[&str] = &["UNABLE_TO_DECRYPT"];

const PICKLE_KEY: [u8; 32] = [3; 32];

/// What Dave's first message makes.
const DAVE_IS_HEARD: Step = Step {
    call: |world| {
        let (user, key) = (world.dave.user_id, world.dave.identity_key());
        receive_first(world, "dave", user, &key)
    },
    done_already: &["ALREADY_EXISTS"],
    recover: |world| {
        let key = world.dave.identity_key();
        open_channel(world, "dave", "@dave:d.org", &key);
    },
    ..STEP
};

pub(super) const BEGINNING: &[Step] = &[
    Step {
        name: "Account.open",
        call: |world| {
            let account = Account::open(&world.store, "@alice:a.org", "ALICE")?;
            world.account = Some(account);
            Ok(())
        },
        ..STEP
    },
    Step { name: "keys_upload_request", call: upload, ..STEP },
    Step {
        name: "receive_keys_upload_response 400",
        prepare: |world| world.input = format!("key {} already exists", world.input),
        call: |world| {
            let body = json!({ "error": world.input }).to_string();
            world.account().receive_keys_upload_response(400, &body)
        },
        done_already: &["INVALID_FIELD"],
        ..STEP
    },
    Step { name: "keys_upload_request after a conflict", call: upload, ..STEP },
    Step {
        name: "receive_keys_upload_response 200",
        call: uploaded,
        done_already: &["INVALID_FIELD"],
        ..STEP
    },
    Step {
        name: "receive_key_counts that list the fallback key",
        call: |world| {
            let unused = r#"["signed_curve25519"]"#.to_owned();
            world.account().receive_key_counts(r#"{"signed_curve25519":50}"#, Some(unused))
        },
        ..STEP
    },
    Step {
        name: "receive_key_counts",
        call: |world| {
            let counts = r#"{"signed_curve25519":40}"#;
            world.account().receive_key_counts(counts, Some("[]".into()))
        },
        ..STEP
    },
    Step { name: "keys_upload_request with a new fallback key", call: upload, ..STEP },
    Step {
        name: "receive_keys_upload_response again, which sets old keys aside",
        call: uploaded,
        done_already: &["INVALID_FIELD"],
        ..STEP
    },
    Step {
        name: "create_outbound_channel",
        prepare: |world| world.input = world.judge.bob.one_time_key(),
        call: |world| {
            let keys = world.judge.bob.device_keys().to_string();
            let channel =
                OlmChannel::create_outbound_channel(world.account(), &keys, &world.input)?;
            world.channels.insert("bob", channel);
            Ok(())
        },
        done_already: &["ALREADY_EXISTS"],
        recover: |world| {
            let key = world.judge.bob.identity_key();
            open_channel(world, "bob", "@bob:b.org", &key);
        },
        ..STEP
    },
    Step { name: "OlmChannel.encrypt", call: say_to_bob, ..STEP },
    Step {
        name: "OlmChannel.encrypt again",
        prepare: |world| world.input = String::from("again"),
        call: say_to_bob,
        ..STEP
    },
    Step {
        name: "OlmChannel.decrypt",
        prepare: |world| {
            let keys = world.device_keys();
            let session = world.judge.sessions.last_mut().unwrap();
            world.input = world.judge.bob.say(session, &keys, &json!({}));
        },
        call: |world| world.channels["bob"].decrypt(&world.input).map(drop),
        done_already: CONSUMED,
        ..STEP
    },
    Step { name: "OlmChannel.encrypt after an answer", call: say_to_bob, ..STEP },
    Step {
        name: "create_from_encrypted_message",
        prepare: |world| carol_knocks(world, &json!({})),
        call: |world| {
            let (user, key) = (world.carol.user_id, world.carol.identity_key());
            receive_first(world, "carol", user, &key)
        },
        done_already: &["ALREADY_EXISTS"],
        recover: |world| {
            let key = world.carol.identity_key();
            open_channel(world, "carol", "@carol:c.org", &key);
        },
        ..STEP
    },
    Step {
        name: "OlmChannel.decrypt in a new session",
        prepare: |world| carol_knocks(world, &json!({})),
        call: carol_is_heard,
        done_already: CONSUMED,
        ..STEP
    },
    Step {
        name: "OlmChannel.decrypt of what must be discarded",
        prepare: |world| carol_knocks(world, &json!({"sender": "@eve:e.org"})),
        call: |world| match carol_is_heard(world) {
            Err(E2eeError::InvalidMessage { .. }) => Ok(()),
            Ok(()) => panic!("it must be discarded"),
            other => other,
        },
        done_already: CONSUMED,
        ..STEP
    },
    Step {
        name: "OlmChannel.decrypt in an older session",
        prepare: |world| {
            let keys = world.device_keys();
            world.input = world.carol.say(&mut world.carols[0], &keys, &json!({}));
        },
        call: carol_is_heard,
        done_already: CONSUMED,
        ..STEP
    },
    Step {
        name: "set_partner_device_keys",
        call: |world| {
            let keys = world.carol.device_keys().to_string();
            world.channels["carol"].set_partner_device_keys(&keys)
        },
        ..STEP
    },
    Step {
        name: "add_outbound_olm_session",
        prepare: |world| world.input = world.judge.bob.one_time_key(),
        call: |world| world.channels["bob"].add_outbound_olm_session(&world.input),
        ..STEP
    },
    Step { name: "OlmChannel.encrypt in an added session", call: say_to_bob, ..STEP },
    Step {
        name: "OlmChannel.decrypt of garbage",
        prepare: |world| {
            let keys = world.device_keys();
            let said = world.carol.say(&mut world.carols[0], &keys, &json!({}));
            let own = keys["keys"]["curve25519:ALICE"].as_str().unwrap();
            let mut content = v(&said);
            let message: OlmMessage =
                serde_json::from_value(content["ciphertext"][own].clone()).unwrap();
            let mut bytes = message.to_parts().1;
            *bytes.last_mut().unwrap() ^= 1;
            content["ciphertext"][own]["body"] = json!(vodozemac::base64_encode(bytes));
            world.input = content.to_string();
        },
        // What it stores is that a new session is needed.
        call: |world| match carol_is_heard(world) {
            Err(error) if error.name() == "UNABLE_TO_DECRYPT" => Ok(()),
            result => result,
        },
        is_relaxed: true,
        ..STEP
    },
    Step {
        name: "should_create_new_session",
        call: |world| world.channels["carol"].should_create_new_session().map(drop),
        ..STEP
    },
    Step {
        name: "create_from_encrypted_message with a fallback key",
        prepare: |world| {
            world.advance(60_000);
            dave_knocks(world, &world.fallback_key.clone().unwrap());
        },
        ..DAVE_IS_HEARD
    },
    Step {
        name: "receive_key_counts when a fallback key is to be forgotten",
        prepare: |world| world.advance(3_600_000),
        call: |world| {
            let counts = r#"{"signed_curve25519":40}"#;
            world.account().receive_key_counts(counts, None)
        },
        ..STEP
    },
    Step {
        name: "OlmChannel.erase",
        call: |world| world.channels["dave"].erase(),
        done_already: &["NOT_FOUND"],
        ..STEP
    },
    Step {
        // The one that was used least recently goes with the same commit.
        name: "create_from_encrypted_message of one stranger too many",
        prepare: |world| {
            for _ in 0..10 {
                mallory_knocks(world);
                let content = world.input.clone();
                mallory_is_heard(world, &content).unwrap();
                world.advance(1);
            }
            mallory_knocks(world);
        },
        call: |world| {
            mallory_is_heard(world, &world.input)?;
            assert_eq!(channels_of_mallory(world), 10);
            Ok(())
        },
        done_already: &["ALREADY_EXISTS"],
        recover: |world| assert_eq!(channels_of_mallory(world), 10),
        ..STEP
    },
];

pub(super) const END: &[Step] = &[
    Step {
        name: "create_from_encrypted_message with a key that was set aside",
        prepare: |world| {
            assert!(world.keys_set_aside() > 0);
            dave_knocks(world, &world.unused_key.clone().unwrap());
        },
        ..DAVE_IS_HEARD
    },
    Step {
        name: "from_vodozemac_pickles",
        prepare: |world| {
            let (keys, key) = (world.device_keys(), world.one_time_keys.remove(0));
            let session = world.dave.session_to(&keys, &key);
            world.input = json!([session.pickle().encrypt(&PICKLE_KEY)]).to_string();
        },
        call: |world| {
            let (key, pickle_key) = (world.dave.identity_key(), PICKLE_KEY.to_vec());
            let account = world.account();
            OlmChannel::from_vodozemac_pickles(
                account,
                "@dave:d.org",
                &key,
                &world.input,
                pickle_key,
            )
            .map(drop)
        },
        ..STEP
    },
    Step {
        name: "Account.erase",
        call: |world| world.account().erase(),
        done_already: &["NOT_FOUND"],
        ..STEP
    },
    Step {
        name: "from_vodozemac_pickle",
        prepare: |world| {
            world.account = None;
            world.input = RawAccount::new().pickle().encrypt(&PICKLE_KEY);
        },
        call: |world| {
            let (user, key) = ("@alice:a.org", PICKLE_KEY.to_vec());
            Account::from_vodozemac_pickle(&world.store, user, "OLD", &world.input, key).map(drop)
        },
        done_already: &["ALREADY_EXISTS"],
        ..STEP
    },
];
