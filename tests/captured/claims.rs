//! One-time keys that real clients claimed.

use matrixe2ee::*;
use serde_json::{Map, Value, json};

use super::signatures::alter;
use super::*;

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
                        "fingerprint": "device_keys",
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
