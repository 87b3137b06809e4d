//! Sessions that libolm itself has pickled (`fixtures/libolm_sessions.json`), taken over in the middle of
//! their conversations.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;

use common::sqlite::SqliteDirectory;
use common::{DAY, Device, fails, fails_saying, unable, v};
use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Result, Store};
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession, MegolmMessage};
use vodozemac::olm::{OlmMessage, Session};

const NOTE: &str = "org.example.note";

/// The device as it is after its account has moved, and all that its application has stored.
struct Move {
    fixture: Value,
    device: Device,
}

impl Move {
    fn new() -> Self {
        Self::into(Store::in_memory(vec![7; 32]).unwrap())
    }

    fn into(store: Arc<Store>) -> Self {
        let fixture = v(include_str!("fixtures/libolm_sessions.json"));
        let (us, key) = (&fixture["us"], fixture["pickle_key"].as_str().unwrap());
        let (user, device) = (text(&us["user_id"]), text(&us["device_id"]));
        let key = key.as_bytes().to_vec();
        Account::from_libolm_pickle(&store, user, device, text(&us["account"]), key).unwrap();
        let device = Device::open_in(store, user, device);
        Self { fixture, device }
    }

    fn account(&self) -> &Account {
        &self.device.account
    }

    fn key(&self) -> Vec<u8> {
        text(&self.fixture["pickle_key"]).as_bytes().to_vec()
    }

    fn us(&self, field: &str) -> &str {
        text(&self.fixture["us"][field])
    }

    fn them(&self, field: &str) -> &str {
        text(&self.fixture["them"][field])
    }

    fn channel_from(&self, pickles: &Value, key: Vec<u8>) -> Result<Arc<OlmChannel>> {
        let (user, identity_key) = (self.them("user_id"), self.them("identity_key"));
        let pickles = pickles.to_string();
        OlmChannel::from_libolm_pickles(self.account(), user, identity_key, &pickles, key)
    }

    /// The channel with all sessions of the fixture.
    fn channel(&self) -> Arc<OlmChannel> {
        let channel = self.channel_from(&self.fixture["us"]["sessions"], self.key()).unwrap();
        let keys = &self.fixture["them"]["device_keys"];
        channel.set_partner_device_keys(&keys.to_string()).unwrap();
        channel
    }

    /// The partner's end of the session that received last.
    fn partners_session(&self) -> Session {
        let pickles = self.fixture["them"]["sessions"].as_array().unwrap();
        let session = Session::from_libolm_pickle(text(pickles.last().unwrap()), &self.key());
        let session = session.unwrap();
        assert_eq!(session.session_id(), self.fixture["olm_session_id"]);
        session
    }

    /// What the partner says, in an envelope that we must accept.
    fn partner_says(&self, session: &mut Session, words: &str) -> String {
        let envelope = json!({
            "type": NOTE,
            "content": {"text": words},
            "sender": self.them("user_id"),
            "recipient": self.us("user_id"),
            "recipient_keys": {"ed25519": self.us("fingerprint")},
            "keys": {"ed25519": self.them("fingerprint")},
        });
        let (kind, body) = session.encrypt(envelope.to_string()).unwrap().to_parts();
        let body = vodozemac::base64_encode(body);
        json!({
            "algorithm": "m.olm.v1.curve25519-aes-sha2",
            "sender_key": self.them("identity_key"),
            "ciphertext": {self.us("identity_key"): {"type": kind, "body": body}},
        })
        .to_string()
    }

    /// What the partner reads of a message of ours.
    fn partner_hears(&self, session: &mut Session, content: &str) -> Value {
        let ours = v(content)["ciphertext"][self.them("identity_key")].clone();
        let body = vodozemac::base64_decode(text(&ours["body"])).unwrap();
        let kind = usize::try_from(ours["type"].as_u64().unwrap()).unwrap();
        let message = OlmMessage::from_parts(kind, &body).unwrap();
        serde_json::from_slice(&session.decrypt(&message).unwrap()).unwrap()
    }

    fn inbound(&self, pickle: &str, sender: Option<&str>) -> Result<Arc<InboundMegolmSession>> {
        InboundMegolmSession::from_libolm_pickle(
            self.account(),
            text(&self.fixture["room_id"]),
            self.them("identity_key"),
            self.us(pickle),
            self.key(),
            sender.map(str::to_owned),
        )
    }

    fn outbound(&self) -> Result<Arc<OutboundMegolmSession>> {
        let room_id = text(&self.fixture["our_room_id"]);
        let pickle = self.us("outbound");
        OutboundMegolmSession::from_libolm_pickle(self.account(), room_id, pickle, self.key())
    }

    /// An event of the partner's room.
    fn event(&self, number: usize) -> String {
        self.event_of(&self.fixture["events"][number], number)
    }

    fn event_of(&self, content: &Value, number: usize) -> String {
        json!({
            "event_id": format!("${number}"),
            "sender": self.them("user_id"),
            "room_id": self.fixture["room_id"],
            "content": content,
        })
        .to_string()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn hear(channel: &OlmChannel, said: &Value) -> Result<()> {
    let event = v(&channel.decrypt(&said["content"].to_string())?);
    assert_eq!(event["content"]["text"], said["text"]);
    Ok(())
}

#[test]
fn olm_conversations_go_on_both_ways_where_libolm_left_them() {
    let directory = SqliteDirectory::new();
    let moved = Move::into(directory.open());
    let channel = moved.channel();
    assert_eq!(channel.session_count().unwrap(), 3);
    // What was on its way, out of order and once each
    let waiting = moved.fixture["waiting"].as_array().unwrap();
    hear(&channel, &waiting[1]).unwrap();
    hear(&channel, &waiting[0]).unwrap();
    unable(hear(&channel, &waiting[0]), "missing_message_key");
    let mut partner = moved.partners_session();
    for serial in 0..3 {
        let content = json!({"n": serial});
        // O9: the session that received last encrypts.
        let sent = channel.encrypt(NOTE, &content.to_string()).unwrap();
        assert_eq!(moved.partner_hears(&mut partner, &sent)["content"], content);
        let answer = moved.partner_says(&mut partner, "answer");
        channel.decrypt(&answer).unwrap();
    }
    // Durable, and in the same state
    let device = Device::open_in(directory.crashed().open(), moved.us("user_id"), "MOVING");
    let (user, key) = (moved.them("user_id"), moved.them("identity_key"));
    let channel = OlmChannel::create_from_storage(&device.account, user, key).unwrap();
    let sent = channel.encrypt(NOTE, "{}").unwrap();
    moved.partner_hears(&mut partner, &sent);
}

#[test]
fn skipped_messages_open_after_the_move_even_after_new_answers() {
    let moved = Move::new();
    let channel = moved.channel();
    // libolm keeps five receiving chains, newest first. A sixth must push out the oldest, not
    // the newest.
    let mut partner = moved.partners_session();
    let sent = channel.encrypt(NOTE, "{}").unwrap();
    moved.partner_hears(&mut partner, &sent);
    let answer = moved.partner_says(&mut partner, "in a new chain");
    channel.decrypt(&answer).unwrap();
    let waiting = moved.fixture["waiting"].as_array().unwrap();
    waiting.iter().for_each(|said| hear(&channel, said).unwrap());
    // Round 6 is the newest one of libolm's; with the new chain, five are kept.
    let late = moved.fixture["late"].as_array().unwrap();
    assert_eq!(late.len(), 7);
    for round in (3..7).rev() {
        for said in late[round].as_array().unwrap() {
            hear(&channel, said).unwrap();
        }
    }
    unable(hear(&channel, &late[2][0]), "bad_mac");
}

#[test]
fn olm_pickles_that_do_not_belong_are_refused_and_nothing_is_stored() {
    let moved = Move::new();
    let good = &moved.fixture["us"]["sessions"][0];
    let garbage = vodozemac::base64_encode([7; 16 * 20 + 8]);
    for (pickles, key, name, says) in [
        (json!([]), moved.key(), "INVALID_FIELD", "empty"),
        (json!({}), moved.key(), "INVALID_FIELD", "list"),
        (json!([good, 5]), moved.key(), "INVALID_FIELD", "text"),
        (json!([good, "?"]), moved.key(), "INVALID_FIELD", "libolm's pickle"),
        (json!(["????????????????????????????????"]), moved.key(), "INVALID_FIELD", "base64"),
        (json!([good]), vec![4; 32], "WRONG_KEY", "key"),
        (json!([good]), Vec::new(), "WRONG_KEY", "key"),
        (json!([garbage]), moved.key(), "WRONG_KEY", "key"),
        // Of another kind
        (json!([moved.us("account")]), moved.key(), "INVALID_FIELD", "version 4"),
        (json!([moved.us("inbound")]), moved.key(), "INVALID_FIELD", "version 2"),
        (json!([moved.us("outbound")]), moved.key(), "INVALID_FIELD", "Olm session"),
    ] {
        fails_saying(moved.channel_from(&pickles, key), name, says);
        let (user, key) = (moved.them("user_id"), moved.them("identity_key"));
        fails(OlmChannel::create_from_storage(moved.account(), user, key), "NOT_FOUND");
    }
    // Sessions between two other devices
    let stranger = Device::new("@stranger:example.org", "STRANGER");
    let other = Device::new("@bob:example.org", "OTHER");
    let (user, key) = ("@bob:example.org", other.identity_key());
    let pickles = moved.fixture["us"]["sessions"].to_string();
    let account = &stranger.account;
    let imported = OlmChannel::from_libolm_pickles(account, user, &key, &pickles, moved.key());
    fails_saying(imported, "INVALID_FIELD", "other devices");
    moved.channel();
}

#[test]
fn room_events_open_with_an_inbound_pickle_whose_origin_is_not_proven() {
    let moved = Move::new();
    let session = moved.inbound("inbound_from_4", None).unwrap();
    assert_eq!(session.first_known_index().unwrap(), 4);
    fails(session.decrypt(&moved.event(3)), "UNKNOWN_INDEX");
    // D4: the other copy reaches farther back, and the first one takes nothing away from it.
    let session = moved.inbound("inbound", None).unwrap();
    assert_eq!(session.first_known_index().unwrap(), 0);
    moved.inbound("inbound_from_4", None).unwrap();
    for number in [5, 0, 3, 4] {
        let event = v(&session.decrypt(&moved.event(number)).unwrap());
        assert_eq!(event["content"]["n"], number);
        assert_eq!(event["matrixe2ee"]["owner"], "unknown");
        assert_eq!(event["matrixe2ee"]["authenticated"], false); // SEC-45
    }
    // M27
    fails(session.decrypt(&moved.event_of(&moved.fixture["events"][5], 9)), "REPLAY");
    // An owner may be told later, if it is the same device.
    let (account, owner) = (moved.account(), moved.them("user_id").to_owned());
    let room = text(&moved.fixture["room_id"]);
    let (pickle, other) = (moved.us("inbound"), moved.us("identity_key"));
    let key = moved.key();
    let from = InboundMegolmSession::from_libolm_pickle;
    from(account, room, other, pickle, key.clone(), Some(owner.clone())).unwrap();
    // The caller's word says who the owner is, and no more (SEC-45).
    let facts = v(&session.decrypt(&moved.event(1)).unwrap())["matrixe2ee"].clone();
    assert_eq!((&facts["owner"], &facts["sender_key"]), (&json!("known"), &json!(other)));
    moved.inbound("inbound", Some(&owner)).unwrap();
    let facts = v(&session.decrypt(&moved.event(1)).unwrap())["matrixe2ee"].clone();
    assert_eq!(facts["owner"], "known");
    assert_eq!(
        (&facts["authenticated"], &facts["sender_fingerprint"]),
        (&json!(false), &json!("unknown"))
    );
    // D4: the key itself, over Olm, proves it.
    let sender_key = moved.them("identity_key");
    let content = moved.fixture["room_key"].to_string();
    InboundMegolmSession::from_room_key(account, &owner, sender_key, &content).unwrap();
    assert!(session.authenticated().unwrap());
    moved.inbound("inbound_from_4", None).unwrap();
    assert!(session.authenticated().unwrap());
    assert_eq!(session.first_known_index().unwrap(), 0);
}

#[test]
fn an_inbound_session_with_an_owner_decrypts_nobody_elses_events() {
    let moved = Move::new();
    let owner = moved.them("user_id");
    let session = moved.inbound("inbound", Some(owner)).unwrap();
    let mut event = v(&moved.event(2));
    event["sender"] = json!("@eve:example.org");
    fails(session.decrypt(&event.to_string()), "WRONG_SENDER"); // D5
    session.decrypt(&moved.event(2)).unwrap();
    fails(moved.inbound("inbound", Some("eve")), "INVALID_FIELD");
    let (account, key) = (moved.account(), moved.key());
    let from = |room: &str, sender_key: &str, pickle: &str, key: Vec<u8>| {
        InboundMegolmSession::from_libolm_pickle(account, room, sender_key, pickle, key, None)
    };
    let (room, sender_key) = (text(&moved.fixture["room_id"]), moved.them("identity_key"));
    let pickle = moved.us("inbound");
    fails(from("room", sender_key, pickle, key.clone()), "INVALID_FIELD");
    fails(from(room, "?", pickle, key.clone()), "INVALID_KEY");
    fails(from(room, sender_key, pickle, vec![1]), "WRONG_KEY");
    for other in ["outbound", "account"] {
        fails(from(room, sender_key, moved.us(other), key.clone()), "INVALID_FIELD");
    }
    assert_eq!(v(&account.list_sessions(None, None, None).unwrap()).as_array().unwrap().len(), 1);
}

#[test]
fn an_outbound_session_goes_on_at_its_index_and_can_be_read_back() {
    let moved = Move::new();
    let outbound = moved.outbound().unwrap();
    assert_eq!(outbound.message_index().unwrap(), 3);
    let from_now_on = InboundMegolmSession::from_outbound_session(&outbound).unwrap();
    assert!(from_now_on.authenticated().unwrap()); // M22
    assert_eq!(from_now_on.first_known_index().unwrap(), 3);
    let pickle = text(&moved.fixture["them"]["inbound"]);
    let mut partners = InboundGroupSession::from_libolm_pickle(pickle, &moved.key()).unwrap();
    let sent = v(&outbound.encrypt(NOTE, r#"{"n":3}"#).unwrap());
    let message = MegolmMessage::from_base64(text(&sent["ciphertext"])).unwrap();
    let read = partners.decrypt(&message).unwrap();
    assert_eq!(read.message_index, 3);
    assert_eq!(serde_json::from_slice::<Value>(&read.plaintext).unwrap()["content"]["n"], 3);
    // libolm's own half of it reaches back to the beginning.
    let room_id = text(&moved.fixture["our_room_id"]);
    let own = InboundMegolmSession::from_libolm_pickle(
        moved.account(),
        room_id,
        moved.us("identity_key"),
        moved.us("own_inbound"),
        moved.key(),
        None,
    )
    .unwrap();
    assert_eq!(own.first_known_index().unwrap(), 0);
    assert!(own.authenticated().unwrap());
    let mut events = moved.fixture["our_events"].as_array().unwrap().clone();
    events.push(sent);
    for (number, content) in events.iter().enumerate() {
        let event = json!({"event_id": format!("${number}"), "sender": moved.us("user_id"),
                           "room_id": room_id, "content": content});
        assert_eq!(v(&own.decrypt(&event.to_string()).unwrap())["content"]["n"], number);
    }
    // What is stored has moved on: its index must not be put back.
    fails(moved.outbound(), "ALREADY_EXISTS");
    assert_eq!(outbound.message_index().unwrap(), 4);
    let own = moved.us("own_inbound");
    let from = OutboundMegolmSession::from_libolm_pickle;
    fails(from(moved.account(), room_id, own, moved.key()), "INVALID_FIELD");
    fails(from(moved.account(), room_id, moved.us("account"), moved.key()), "INVALID_FIELD");
    // An Olm session has the version of an outbound session.
    let olm = text(&moved.fixture["us"]["sessions"][2]);
    fails(from(moved.account(), room_id, olm, moved.key()), "INVALID_FIELD");
    fails(from(moved.account(), room_id, moved.us("outbound"), vec![1]), "WRONG_KEY");
}

#[test]
fn an_outbound_session_hands_out_no_key_before_it_is_told_who_has_it() {
    let directory = SqliteDirectory::new();
    let moved = Move::into(directory.open());
    let outbound = moved.outbound().unwrap();
    let (user, keys) = (moved.them("user_id"), &moved.fixture["them"]["device_keys"]);
    let recipients = |members: Value| {
        let devices = json!({user: {"THEIRS": keys}});
        let encryption = json!({"algorithm": "m.megolm.v1.aes-sha2"});
        json!({"encryption": encryption, "members": members, "device_keys": devices}).to_string()
    };
    let (here, gone) = (recipients(json!({user: "join"})), recipients(json!({})));
    // M13: who has it is not known, so nobody can be said to be gone.
    let error = fails(outbound.get_session_key_for_sending(&here), "SESSION_EXPIRED");
    assert_eq!(v(&error.to_json())["reason"], "recipients_unknown");
    // An entry that cannot be read might be somebody who has the key.
    let mut bad_key = keys.clone();
    bad_key["keys"]["curve25519:THEIRS"] = json!("?");
    let mut bad_user = keys.clone();
    bad_user["user_id"] = json!("them");
    for bad in [json!(5), json!({"user_id": user}), bad_key, bad_user] {
        for list in [json!([bad]), json!([keys, bad])] {
            let error = fails(outbound.mark_as_sent(&list.to_string()), "INVALID_FIELD");
            assert_eq!(v(&error.to_json())["field"], "devices");
            fails(outbound.get_session_key_for_sending(&here), "SESSION_EXPIRED");
        }
    }
    outbound.mark_as_sent(&json!([keys]).to_string()).unwrap();
    // From then on the list is a report, of which what cannot be read is left out.
    outbound.mark_as_sent("[5]").unwrap();
    // Stored, and from here on as in any session
    let device = Device::open_in(directory.crashed().open(), moved.us("user_id"), "MOVING");
    let room_id = text(&moved.fixture["our_room_id"]);
    let open = OutboundMegolmSession::create_from_storage;
    let outbound = open(&device.account, room_id, None).unwrap();
    assert_eq!(outbound.message_index().unwrap(), 3);
    assert_eq!(v(&outbound.get_session_key_for_sending(&here).unwrap()), json!([]));
    let error = fails(outbound.get_session_key_for_sending(&gone), "SESSION_EXPIRED");
    assert_eq!(v(&error.to_json())["reason"], "user_gone");
    // M10: its age counts from the move.
    device.clock.advance(7 * DAY + 1);
    let error = fails(outbound.encrypt(NOTE, "{}"), "SESSION_EXPIRED");
    assert_eq!(v(&error.to_json())["reason"], "time");
    // Only an empty list says that nobody has it.
    let moved = Move::new();
    let outbound = moved.outbound().unwrap();
    outbound.mark_as_sent("[]").unwrap();
    let lines = v(&outbound.get_session_key_for_sending(&here).unwrap());
    assert_eq!(lines.as_array().unwrap().len(), 1);
}

#[test]
fn an_imported_outbound_session_does_not_take_the_place_of_the_rooms_own() {
    let moved = Move::new();
    let room_id = text(&moved.fixture["our_room_id"]);
    let own = OutboundMegolmSession::create(moved.account(), room_id, None).unwrap();
    let imported = moved.outbound().unwrap();
    let open = OutboundMegolmSession::create_from_storage;
    let current = open(moved.account(), room_id, None).unwrap();
    assert_eq!(current.session_id().unwrap(), own.session_id().unwrap());
    let id = imported.session_id().unwrap();
    open(moved.account(), room_id, Some(id)).unwrap();
}

#[test]
fn a_message_to_libolms_fallback_key_opens_once_even_if_its_session_is_gone() {
    let moved = Move::new();
    let (account, third) = (moved.account(), &moved.fixture["third"]);
    let (user, key) = (text(&third["user_id"]), text(&third["identity_key"]));
    let content = third["content"].to_string();
    let create = |user: &str, key: &str, content: &str| {
        OlmChannel::create_from_encrypted_message(account, user, key, content, None, None)
    };
    // SEC-25: a session made here
    let channel = create(user, key, &content).unwrap();
    assert_eq!(v(&channel.first_event().unwrap())["content"]["text"], "hello");
    channel.erase().unwrap();
    unable(create(user, key, &content), "missing_message_key");
    // and one that libolm made
    moved.channel().erase().unwrap();
    let (user, key) = (moved.them("user_id"), moved.them("identity_key"));
    let content = moved.fixture["from_fallback"].to_string();
    unable(create(user, key, &content), "missing_message_key");
    // S7: its age is not known, so it is replaced at once.
    let upload = moved.device.upload();
    assert_eq!(upload["fallback_keys"].as_object().unwrap().len(), 1);
    assert!(account.keys_upload_request().unwrap().is_none());
}

#[test]
fn the_partners_room_goes_on_after_the_move() {
    let moved = Move::new();
    let session = moved.inbound("inbound", Some(moved.them("user_id"))).unwrap();
    let pickle = text(&moved.fixture["them"]["outbound"]);
    let mut outbound = GroupSession::from_libolm_pickle(pickle, &moved.key()).unwrap();
    for number in 6..9 {
        let plaintext = json!({"room_id": moved.fixture["room_id"], "type": NOTE,
                               "content": {"n": number}});
        let content = json!({
            "algorithm": "m.megolm.v1.aes-sha2",
            "session_id": outbound.session_id(),
            "ciphertext": outbound.encrypt(plaintext.to_string()).to_base64(),
        });
        let event = v(&session.decrypt(&moved.event_of(&content, number)).unwrap());
        assert_eq!(event["content"]["n"], number);
        assert_eq!(event["matrixe2ee"]["message_index"], number);
    }
}
