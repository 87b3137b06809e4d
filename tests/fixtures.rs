//! The library against what real clients and a real homeserver said to each
//! other (`fixtures/README.md` says which). Every count is asserted, so that no
//! test passes because it found nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OlmChannel, Store, keys_claim_request,
    read_keys_claim_response, verify_signed_json,
};
use serde_json::{Map, Value, json};

const STORE_KEY: [u8; 32] = [7; 32];

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the library writes JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of an object; none if it is absent.
fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn error<T>(result: matrixe2ee::Result<T>) -> E2eeError {
    match result {
        Ok(_) => panic!("this must be refused, and was accepted"),
        Err(error) => error,
    }
}

// Signatures.

/// One signature on one object, and the key that must have made it.
struct Signature {
    on: &'static str,
    by: &'static str,
    object: Value,
    user_id: String,
    key_id: String,
    public_key: String,
}

impl Signature {
    fn check(&self, object: &Value) -> matrixe2ee::Result<()> {
        verify_signed_json(&object.to_string(), &self.user_id, &self.key_id, &self.public_key)
    }

    fn place(&self) -> String {
        format!("the {} by {} {}", self.on, self.user_id, self.key_id)
    }
}

/// The public keys of a `/keys/query` answer by (user ID, key ID).
type Directory = BTreeMap<(String, String), String>;

fn directory(answers: &Value) -> Directory {
    let mut keys = Directory::new();
    let mut learn = |user: &str, object: &Value| {
        for (key_id, key) in members(&object["keys"]) {
            keys.insert((user.to_owned(), key_id.to_owned()), text(key).to_owned());
        }
    };
    for answer in list(answers) {
        let answer = &answer["response"];
        for (user, devices) in members(&answer["device_keys"]) {
            members(devices).for_each(|(_, device)| learn(user, device));
        }
        for kind in ["master_keys", "self_signing_keys", "user_signing_keys"] {
            members(&answer[kind]).for_each(|(user, key)| learn(user, key));
        }
    }
    keys
}

/// Every signature on an object whose signing key is in the directory.
fn signatures_on(
    on: &'static str,
    owner: &str,
    own_key_id: Option<&str>,
    object: &Value,
    keys: &Directory,
) -> Vec<Signature> {
    let mut found = Vec::new();
    for (user_id, signatures) in members(&object["signatures"]) {
        for (key_id, _) in members(signatures) {
            let public_key = keys
                .get(&(user_id.to_owned(), key_id.to_owned()))
                .unwrap_or_else(|| panic!("{key_id} of {user_id} signs and is not known"));
            found.push(Signature {
                on,
                by: match own_key_id {
                    _ if user_id != owner => "another user",
                    Some(own) if own == key_id => "itself",
                    _ => "another key",
                },
                object: object.clone(),
                user_id: user_id.to_owned(),
                key_id: key_id.to_owned(),
                public_key: public_key.clone(),
            });
        }
    }
    found
}

fn signatures_in_keys_query() -> Vec<Signature> {
    let answers = fixture("keys_query");
    let keys = directory(&answers);
    let mut found = Vec::new();
    for answer in list(&answers) {
        let answer = &answer["response"];
        for (user, devices) in members(&answer["device_keys"]) {
            for (device, object) in members(devices) {
                let own = format!("ed25519:{device}");
                found.extend(signatures_on("device", user, Some(&own), object, &keys));
            }
        }
        for (kind, on) in [
            ("master_keys", "master key"),
            ("self_signing_keys", "self-signing key"),
            ("user_signing_keys", "user-signing key"),
        ] {
            for (user, object) in members(&answer[kind]) {
                let own = members(&object["keys"]).next().map(|(key_id, _)| key_id);
                found.extend(signatures_on(on, user, own, object, &keys));
            }
        }
    }
    found
}

fn signatures_in_keys_upload() -> Vec<Signature> {
    let keys = directory(&fixture("keys_query"));
    let mut found = Vec::new();
    for upload in list(&fixture("keys_upload")) {
        let (user, request) = (text(&upload["user"]), &upload["request"]);
        if request["device_keys"].is_object() {
            found.extend(signatures_on("device", user, None, &request["device_keys"], &keys));
        }
        for (_, key) in members(&request["one_time_keys"]) {
            found.extend(signatures_on("one-time key", user, None, key, &keys));
        }
        for (_, key) in members(&request["fallback_keys"]) {
            assert_eq!(key["fallback"], true, "a fallback key says so inside what is signed");
            found.extend(signatures_on("fallback key", user, None, key, &keys));
        }
    }
    found
}

fn signatures_in_keys_claim() -> Vec<Signature> {
    let keys = directory(&fixture("keys_query"));
    let mut found = Vec::new();
    for claim in list(&fixture("keys_claim")) {
        for (user, devices) in members(&claim["response"]["one_time_keys"]) {
            for (_, claimed) in members(devices) {
                for (_, key) in members(claimed) {
                    found.extend(signatures_on("claimed key", user, None, key, &keys));
                }
            }
        }
    }
    found
}

fn count(signatures: &[Signature]) -> BTreeMap<(&'static str, &'static str), usize> {
    let mut counts = BTreeMap::new();
    for signature in signatures {
        *counts.entry((signature.on, signature.by)).or_default() += 1;
    }
    counts
}

fn all_signatures() -> Vec<Signature> {
    let mut all = signatures_in_keys_query();
    all.extend(signatures_in_keys_upload());
    all.extend(signatures_in_keys_claim());
    all
}

fn check_all(signatures: &[Signature]) {
    for signature in signatures {
        // SEC-3, SEC-81, SEC-99: what three other implementations signed.
        signature
            .check(&signature.object)
            .unwrap_or_else(|error| panic!("{}: {}", signature.place(), error.to_json()));
    }
}

#[test]
fn every_signature_in_the_key_query_answers_verifies() {
    let signatures = signatures_in_keys_query();
    let expected = BTreeMap::from([
        // The 126 that an independent program checked too.
        (("device", "itself"), 71),
        (("device", "another key"), 28),
        (("self-signing key", "another key"), 21),
        (("user-signing key", "another key"), 6),
        // And those on master keys.
        (("master key", "itself"), 21),
        (("master key", "another key"), 21),
        (("master key", "another user"), 4),
    ]);
    assert_eq!(count(&signatures), expected);
    assert_eq!(71 + 28 + 21 + 6, 126);
    check_all(&signatures);
}

#[test]
fn every_signature_in_the_key_uploads_verifies() {
    let signatures = signatures_in_keys_upload();
    let expected = BTreeMap::from([
        (("device", "another key"), 11),
        (("one-time key", "another key"), 561),
        (("fallback key", "another key"), 6),
    ]);
    assert_eq!(count(&signatures), expected);
    check_all(&signatures);
}

#[test]
fn every_signature_on_a_claimed_key_verifies() {
    let signatures = signatures_in_keys_claim();
    assert_eq!(count(&signatures), BTreeMap::from([(("claimed key", "another key"), 21)]));
    check_all(&signatures);
}

/// Replaces one character by another one that is as good as any in base64.
fn alter(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'B' { "C" } else { "B" };
    let mut altered = text.to_owned();
    altered.replace_range(at..=at, other);
    altered
}

/// Calls `visit` with the object as it is after one change to each text in
/// turn, and to each name.
fn with_each_text_altered(
    object: &Value,
    at: &mut Vec<String>,
    root: &Value,
    visit: &mut impl FnMut(&[String], Value),
) {
    match object {
        Value::String(old) if !old.is_empty() => {
            let mut altered = root.clone();
            let place = at.iter().try_fold(&mut altered, |value, step| match value {
                Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
                _ => value.get_mut(step),
            });
            *place.expect("the path leads to the text") = alter(old, old.len() - 1).into();
            visit(at, altered);
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push(index.to_string());
                with_each_text_altered(item, at, root, visit);
                at.pop();
            }
        }
        Value::Object(map) => {
            for (name, member) in map {
                if at.is_empty() && matches!(name.as_str(), "signatures" | "unsigned") {
                    continue;
                }
                at.push(name.clone());
                with_each_text_altered(member, at, root, visit);
                at.pop();
            }
        }
        _ => {}
    }
}

#[test]
fn no_signature_verifies_once_a_character_of_the_object_is_altered() {
    let mut refused = 0;
    for signature in all_signatures() {
        with_each_text_altered(
            &signature.object,
            &mut Vec::new(),
            &signature.object,
            &mut |at, altered| {
                // SEC-3, SEC-18, SEC-81.
                match signature.check(&altered) {
                    Err(E2eeError::BadSignature { .. }) => refused += 1,
                    other => panic!("{} with {at:?} altered: {other:?}", signature.place()),
                }
            },
        );
        let mut renamed = signature.object.clone();
        renamed["extra"] = json!(1);
        assert!(
            matches!(error(signature.check(&renamed)), E2eeError::BadSignature { .. }),
            "{} with one more field",
            signature.place()
        );
    }
    // 110 objects of devices have at least six texts each, 600 keys at least one.
    assert!(refused > 1_000, "only {refused} changes were tried");
}

#[test]
fn no_altered_signature_verifies_and_no_signature_by_another_key() {
    let signatures = all_signatures();
    assert_eq!(signatures.len(), 172 + 578 + 21);
    for (number, signature) in signatures.iter().enumerate() {
        let mut altered = signature.object.clone();
        let place = &mut altered["signatures"][&signature.user_id][&signature.key_id];
        let at = number % 80; // The last characters of a signature have spare bits.
        *place = alter(text(place), at).into();
        // SEC-10: the strict check of Ed25519 leaves no byte of a signature free.
        assert!(
            matches!(error(signature.check(&altered)), E2eeError::BadSignature { .. }),
            "{} altered at {at}",
            signature.place()
        );

        let other = signatures
            .iter()
            .find(|other| other.public_key != signature.public_key)
            .expect("there are several keys");
        let result = verify_signed_json(
            &signature.object.to_string(),
            &signature.user_id,
            &signature.key_id,
            &other.public_key,
        );
        assert!(
            matches!(error(result), E2eeError::BadSignature { .. }),
            "{} with another key",
            signature.place()
        );
    }
}

#[test]
fn unsigned_parts_are_outside_of_the_signature() {
    let mut seen = 0;
    for signature in signatures_in_keys_query() {
        if signature.object.get("unsigned").is_some() {
            seen += 1;
        }
        let mut altered = signature.object.clone();
        altered["unsigned"] = json!({"device_display_name": "something else"});
        // SEC-99: `unsigned` at the top, and only there, is left out.
        signature.check(&altered).expect("unsigned is not signed");
        altered["keys"]["unsigned"] = json!({});
        assert!(matches!(error(signature.check(&altered)), E2eeError::BadSignature { .. }));
    }
    assert!(seen > 0, "some answers carry display names");
}

// Claiming one-time keys.

/// The newest device keys in the `/keys/query` answers.
fn device_keys(user: &str, device: &str) -> Value {
    list(&fixture("keys_query"))
        .iter()
        .map(|answer| &answer["response"]["device_keys"][user][device])
        .rfind(|keys| keys.is_object())
        .unwrap_or_else(|| panic!("{user} has no device {device}"))
        .clone()
}

#[test]
fn claims_of_real_clients_are_written_and_read_as_they_and_their_server_did() {
    let mut claimed = 0;
    for claim in list(&fixture("keys_claim")) {
        let (request, response) = (&claim["request"], &claim["response"]);
        let mut devices = Map::new();
        for (user, algorithms) in members(&request["one_time_keys"]) {
            let names: Vec<&str> = members(algorithms).map(|(device, _)| device).collect();
            devices.insert(user.to_owned(), json!(names));
        }
        let timeout = request["timeout"].as_u64();
        let ours = keys_claim_request(&Value::from(devices).to_string(), timeout)
            .expect("the devices are well named");
        // K1: the body is what js, nio and mautrix send.
        assert_eq!(parse(&ours), *request);

        let read = read_keys_claim_response(&ours, &response.to_string()).expect("it is readable");
        let read = parse(&read);
        // K2, K3, DESIGN section 3.
        assert_eq!(read["one_time_keys"], response["one_time_keys"]);
        assert_eq!(read["failures"], json!([]));
        for (_, devices) in members(&read["one_time_keys"]) {
            claimed += members(devices).count();
        }
    }
    assert_eq!(claimed, 21);
}

#[test]
fn every_claimed_key_of_a_real_client_starts_a_channel_and_an_altered_one_does_not() {
    let mut started = 0;
    for claim in list(&fixture("keys_claim")) {
        for (user, devices) in members(&claim["response"]["one_time_keys"]) {
            for (device, one_time_key) in members(devices) {
                let store = Store::in_memory(STORE_KEY.to_vec()).expect("a store");
                let account = Account::open(&store, "@us:localhost", "OURS").expect("an account");
                let keys = device_keys(user, device);

                let mut altered = one_time_key.clone();
                for (_, key) in altered.as_object_mut().into_iter().flatten() {
                    key["key"] = alter(text(&key["key"]), 20).into();
                }
                let refused = OlmChannel::create_outbound_channel(
                    &account,
                    &keys.to_string(),
                    &altered.to_string(),
                );
                // O4, SEC-18: refused, and nothing is stored.
                assert!(matches!(error(refused), E2eeError::BadSignature { .. }));
                let identity_key = text(&keys["keys"][format!("curve25519:{device}")]);
                let stored = OlmChannel::create_from_storage(&account, user, identity_key);
                assert!(matches!(error(stored), E2eeError::NotFound { .. }));

                let channel = OlmChannel::create_outbound_channel(
                    &account,
                    &keys.to_string(),
                    &one_time_key.to_string(),
                )
                .unwrap_or_else(|error| panic!("{user} {device}: {}", error.to_json()));
                // O3, O5.
                assert_eq!(channel.session_count().expect("a count"), 1);
                assert_eq!(
                    parse(&channel.partner().expect("a partner")),
                    json!({
                        "user_id": user,
                        "device_id": device,
                        "identity_key": identity_key,
                        "fingerprint_key": keys["keys"][format!("ed25519:{device}")],
                        "fingerprint": "verified",
                    })
                );
                let content = channel.encrypt("m.dummy", "{}").expect("a session is there");
                // O9, O11.
                assert_eq!(parse(&content)["ciphertext"][identity_key]["type"], 0);
                started += 1;
            }
        }
    }
    assert_eq!(started, 21);
}

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
        let session = InboundMegolmSession::from_export(&account, &export.to_string())
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
        // O18, D26: the fingerprint is learned, not verified.
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
        assert_eq!(parse(&channel.partner().expect("a partner"))["fingerprint"], "verified");
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
