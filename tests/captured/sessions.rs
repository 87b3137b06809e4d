//! Olm and Megolm sessions of real clients.

use std::collections::BTreeSet;
use std::sync::Arc;

use matrixe2ee::{Account, E2eeError, InboundMegolmSession, OlmChannel, Store};
use serde_json::{Value, json};

use super::*;

// Megolm.

#[test]
fn exported_sessions_decrypt_room_events_to_what_the_real_clients_saw() {
    let store = Store::in_memory(STORE_KEY.to_vec()).expect("a store");
    let account = Account::open(&store, "@us:localhost", "OURS").expect("an account");
    let events = fixture("megolm_events");
    assert_eq!(list(&events).len(), 40);
    let (mut opened, mut without_session) = (0, 0);
    for entry in list(&events) {
        let (event, seen) = (&entry["event"], &entry["decrypted"]);
        let content = &event["content"];
        if !entry["exported_session"].is_object() {
            let stored = InboundMegolmSession::from_storage(
                &account,
                text(&event["room_id"]),
                text(&content["session_id"]),
                None,
            );
            assert!(matches!(error(stored), E2eeError::NotFound { .. }));
            without_session += 1;
            continue;
        }
        let export = &entry["exported_session"];
        let session = InboundMegolmSession::from_export(&account, &export.to_string(), None)
            .unwrap_or_else(|error| panic!("{}", error.to_json()));
        assert_eq!(session.session_id().expect("an ID"), text(&content["session_id"]));
        // M23, D4: an export proves nothing about its origin.
        assert!(!session.authenticated().expect("a flag"));

        let decrypted = session
            .decrypt(&event.to_string())
            .unwrap_or_else(|error| panic!("{}: {}", event["event_id"], error.to_json()));
        let decrypted = parse(&decrypted);
        // M26, and what each real client printed.
        assert_eq!(decrypted["type"], seen["type"]);
        assert_eq!(decrypted["content"], seen["content"]);
        assert_eq!(decrypted["room_id"], event["room_id"]);
        let about = &decrypted["matrixe2ee"];
        assert_eq!(about["session_id"], content["session_id"]);
        // SEC-50, SEC-89: an export does not say whose session it is.
        assert_eq!(about["owner"], "unknown");
        assert_eq!(about["authenticated"], false);

        // M27: the same event again, and its ciphertext as another event.
        let again = session.decrypt(&event.to_string()).expect("the same event opens again");
        assert_eq!(parse(&again)["content"], seen["content"]);
        let mut replayed = event.clone();
        replayed["event_id"] = json!("$replayed");
        match error(session.decrypt(&replayed.to_string())) {
            E2eeError::Replay { event_id, message_index, .. } => {
                assert_eq!(event_id, text(&event["event_id"]));
                assert_eq!(json!(message_index), about["message_index"]);
            }
            other => panic!("{}", other.to_json()),
        }
        opened += 1;
    }
    assert_eq!((opened, without_session), (39, 1));
}

// Olm, as the device that the messages were sent to.

struct Recipient {
    pickle_key: Vec<u8>,
    account: Value,
}

impl Recipient {
    fn read(fixture: &Value) -> Self {
        let account = fixture["account"].clone();
        let hex = text(&account["pickle_key_hex"]);
        let pickle_key = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("the key is hexadecimal"))
            .collect();
        Self { pickle_key, account }
    }

    /// The device in a store of its own, as if nothing had been received yet.
    fn open(&self) -> (Arc<Store>, Arc<Account>) {
        let store = Store::in_memory(STORE_KEY.to_vec()).expect("a store");
        let account = Account::from_vodozemac_pickle(
            &store,
            text(&self.account["user"]),
            text(&self.account["device"]),
            text(&self.account["vodozemac_pickle"]),
            self.pickle_key.clone(),
        )
        .unwrap_or_else(|error| panic!("{}", error.to_json()));
        (store, account)
    }

    /// The channel that an entry of `olm_inbound.json` goes through, and the
    /// event that it decrypts to.
    fn receive(&self, account: &Account, entry: &Value) -> (Arc<OlmChannel>, Value) {
        let content = &entry["event"]["content"];
        let (sender, key) = (text(&entry["sender"]), text(&content["sender_key"]));
        let before = &entry["session_before"];
        let (channel, event) = if before.is_object() {
            let channel = OlmChannel::from_vodozemac_pickles(
                account,
                sender,
                key,
                &json!([before["vodozemac_pickle_before"]]).to_string(),
                self.pickle_key.clone(),
            )
            .unwrap_or_else(|error| panic!("{}", error.to_json()));
            let event = channel.decrypt(&content.to_string());
            (channel, event)
        } else {
            let channel = OlmChannel::create_from_encrypted_message(
                account,
                sender,
                key,
                &content.to_string(),
                None,
                None,
            )
            .unwrap_or_else(|error| panic!("{}", error.to_json()));
            let event = channel.first_event();
            (channel, event)
        };
        (channel, parse(&event.unwrap_or_else(|error| panic!("{}", error.to_json()))))
    }
}

#[test]
fn olm_messages_of_real_clients_decrypt_from_the_captured_state_of_their_recipient() {
    let inbound = fixture("olm_inbound");
    let recipient = Recipient::read(&inbound);
    let mut senders = Vec::new();
    for entry in list(&inbound["events"]) {
        // A store for each: between two of these messages the real device sent its own.
        let (_store, account) = recipient.open();
        assert_eq!(account.identity_key().expect("a key"), text(&recipient.account["curve25519"]));
        assert_eq!(account.fingerprint_key().expect("a key"), text(&recipient.account["ed25519"]));

        let (channel, event) = recipient.receive(&account, entry);
        // O13-O15, O17: decrypted, checked, and as the real client had it.
        assert_eq!(event, entry["plaintext"]);
        assert_eq!(channel.session_count().expect("a count"), 1);
        let partner = parse(&channel.partner().expect("a partner"));
        // O18, D26: the fingerprint is learned, not from device keys.
        assert_eq!(partner["fingerprint_key"], entry["plaintext"]["keys"]["ed25519"]);
        assert_eq!(partner["fingerprint"], "learned");

        let content = entry["event"]["content"].to_string();
        // O16, D21: a second delivery finds the message key used.
        match error(channel.decrypt(&content)) {
            E2eeError::UnableToDecrypt { reason, .. } => assert_eq!(reason, "missing_message_key"),
            other => panic!("{}", other.to_json()),
        }

        let sender = text(&entry["sender"]);
        let keys = list(&fixture("keys_query"))
            .iter()
            .flat_map(|answer| members(&answer["response"]["device_keys"][sender]).last())
            .map(|(_, keys)| keys.clone())
            .find(|keys| members(&keys["keys"]).any(|(_, key)| *key == partner["identity_key"]))
            .expect("the sender's device is in the key query answers");
        channel.set_partner_device_keys(&keys.to_string()).expect("the keys are the partner's");
        assert_eq!(parse(&channel.partner().expect("a partner"))["fingerprint"], "device_keys");
        // O9: and the channel answers, past the pre-key messages (O11).
        let answer = parse(&channel.encrypt("m.dummy", "{}").expect("a session is there"));
        let key = text(&partner["identity_key"]);
        assert_eq!(answer["ciphertext"][key]["type"], 1);
        senders.push(format!("{sender} {}", entry["olm_type"]));
    }
    assert_eq!(
        senders,
        [
            "@alice:localhost 0",
            "@carol:localhost 1",
            "@alice:localhost 1",
            "@alice:localhost 1",
            "@dave:localhost 1"
        ]
    );
}

#[test]
fn room_keys_from_those_olm_messages_open_the_events_of_the_room() {
    let inbound = fixture("olm_inbound");
    let recipient = Recipient::read(&inbound);
    let events = fixture("megolm_events");
    let mut opened = BTreeSet::new();
    for entry in list(&inbound["events"]) {
        let (_store, account) = recipient.open();
        let (_channel, room_key) = recipient.receive(&account, entry);
        assert_eq!(room_key["type"], "m.room_key");
        let session = InboundMegolmSession::from_room_key(
            &account,
            text(&entry["sender"]),
            text(&entry["event"]["content"]["sender_key"]),
            &room_key["content"].to_string(),
        )
        .unwrap_or_else(|error| panic!("{}", error.to_json()));
        // M23: it came over Olm.
        assert!(session.authenticated().expect("a flag"));
        assert_eq!(session.first_known_index().expect("an index"), 0);
        for room_event in list(&events) {
            let event = &room_event["event"];
            if event["content"]["session_id"] != room_key["content"]["session_id"] {
                continue;
            }
            let decrypted = session
                .decrypt(&event.to_string())
                .unwrap_or_else(|error| panic!("{}: {}", event["event_id"], error.to_json()));
            let decrypted = parse(&decrypted);
            assert_eq!(decrypted["content"], room_event["decrypted"]["content"]);
            assert_eq!(decrypted["matrixe2ee"]["owner"], "known");
            assert_eq!(decrypted["matrixe2ee"]["authenticated"], true);

            // D5, SEC-50: the same event, put into somebody else's mouth.
            let mut stolen = event.clone();
            stolen["sender"] = json!("@mallory:localhost");
            let refused = error(session.decrypt(&stolen.to_string()));
            assert!(matches!(refused, E2eeError::WrongSender { .. }));
            opened.insert(text(&event["event_id"]).to_owned());
        }
    }
    assert_eq!(opened.len(), 11 + 10 + 1 + 2 + 1);
}

#[test]
fn a_captured_account_is_refused_with_another_pickle_key() {
    let recipient = Recipient::read(&fixture("olm_inbound"));
    let store = Store::in_memory(STORE_KEY.to_vec()).expect("a store");
    let refused = Account::from_vodozemac_pickle(
        &store,
        "@bob:localhost",
        "YWRVHQDGXU",
        text(&recipient.account["vodozemac_pickle"]),
        vec![1; 32],
    );
    assert!(matches!(error(refused), E2eeError::WrongKey { .. }));
}
