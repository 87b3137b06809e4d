//! What decryption says of the device that a room key came from (SEC-45).

#[path = "common/rooms.rs"]
mod rooms;
#[path = "common/story.rs"]
mod story;

use std::sync::Arc;

use matrixe2ee::{InboundMegolmSession, OlmChannel};
use rooms::*;
use serde_json::{Value, json};
use story::{Receive, Story};

/// The channel that a message of Alice's makes at Bob's.
fn channel(alice: &Device, bob: &Device) -> Arc<OlmChannel> {
    let upload = answer(bob.account.keys_upload_request().map(Option::unwrap));
    let (id, key) = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
    let one_time_key = json!({ id: key }).to_string();
    let (keys, account) = (bob.keys().to_string(), &alice.account);
    let to_bob = ok(OlmChannel::create_outbound_channel(account, &keys, &one_time_key));
    let first = ok(to_bob.encrypt("m.dummy", "{}"));
    let from = OlmChannel::create_from_encrypted_message;
    ok(from(&bob.account, &alice.user_id, &alice.identity_key(), &first, None, None))
}

#[test]
fn what_is_known_of_the_sender_is_a_fact_of_its_own_and_grows() {
    let mut story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    ok(bob.receive(&story.alice, &story.key));
    let says = |bob: &Device, event: &Value| {
        let facts = bob.read(event).unwrap();
        assert_eq!((&facts["authenticated"], &facts["owner"]), (&json!(true), &json!("known")));
        facts["sender_fingerprint"].clone()
    };
    assert_eq!(says(&bob, &story.event), "unknown"); // SEC-45
    let at_bobs = channel(&story.alice, &bob);
    assert_eq!(says(&bob, &story.event), "learned"); // SEC-45: whom the server may have invented
    bob.reopen();
    assert_eq!(says(&bob, &story.event), "learned");
    drop(at_bobs);
    let open = OlmChannel::create_from_storage;
    let at_bobs = ok(open(&bob.account, ALICE, &story.alice.identity_key()));
    ok(at_bobs.set_partner_device_keys(&story.alice.keys().to_string()));
    assert_eq!(answer(at_bobs.partner())["fingerprint"], "device_keys"); // SEC-45
    assert_eq!(says(&bob, &story.event), "device_keys"); // SEC-45
    // It is stored with the session: the channel may go.
    ok(at_bobs.erase());
    bob.reopen();
    assert_eq!(says(&bob, &story.event), "device_keys");
    // A later room key says no less; a new session knows what the channel does, which is nothing.
    ok(bob.receive(&story.alice, &story.key));
    assert_eq!(says(&bob, &story.event), "device_keys");
    story = Story::of(&story.alice, &story.mallory);
    ok(bob.receive(&story.alice, &story.key));
    assert_eq!(says(&bob, &story.event), "unknown");
}

#[test]
fn a_room_key_that_comes_again_brings_what_is_known_of_its_sender_by_then() {
    let story = Story::new();
    let mut bob = Device::on_disk(BOB, "B");
    ok(bob.receive(&story.alice, &story.key));
    let at_bobs = channel(&story.alice, &bob);
    ok(at_bobs.set_partner_device_keys(&story.alice.keys().to_string()));
    ok(bob.receive(&story.alice, &story.key));
    ok(at_bobs.erase());
    bob.reopen();
    assert_eq!(bob.read(&story.event).unwrap()["sender_fingerprint"], "device_keys"); // SEC-45
}

#[test]
fn nothing_is_said_of_a_device_by_another_ones_keys() {
    let story = Story::new();
    let bob = Device::new(BOB, "B");
    ok(bob.receive(&story.mallory, &story.key));
    let at_bobs = channel(&story.alice, &bob);
    ok(at_bobs.set_partner_device_keys(&story.alice.keys().to_string()));
    assert_eq!(bob.read(&story.copied()).unwrap()["sender_fingerprint"], "unknown"); // SEC-45
    // Nor of one that an export names.
    let data = story.export.to_string();
    ok(InboundMegolmSession::from_export(&bob.account, &data, Some(ALICE.to_owned())));
    let facts = bob.read(&story.event).unwrap();
    assert_eq!(facts["sender_fingerprint"], "unknown"); // SEC-45
}
