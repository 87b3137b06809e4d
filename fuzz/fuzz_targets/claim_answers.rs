//! Answers to `/keys/claim`: nothing comes out that was not asked for or not in the answer, and a
//! key makes a session only if its device signed it.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{Input, Stranger, device, ok, parse, sound};
use matrixe2ee::{
    Account, OlmChannel, keys_claim_request, read_keys_claim_response, verify_signed_json,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

static ALICE: LazyLock<Arc<Account>> = LazyLock::new(|| device("@alice:example.org", "ALICE"));
static BOB: LazyLock<Stranger> = LazyLock::new(|| Stranger::new("@bob:example.org", "BOB"));

/// A request and its answer, as a list.
static GENUINE: LazyLock<Value> = LazyLock::new(|| {
    let request = ok(keys_claim_request(r#"{"@bob:example.org":["BOB"],"@c:d":["C"]}"#, None));
    json!([parse(&request), {
        "failures": { "d": {} },
        "one_time_keys": { "@bob:example.org": { "BOB": BOB.one_time_keys[0] } },
    }])
});

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::read(data) else { return };
    let text = input.on(&GENUINE);
    // The texts themselves, with keys that stand twice and letters that are none.
    let Ok([request, response]) = serde_json::from_str::<[&RawValue; 2]>(&text) else { return };
    let _ = sound(keys_claim_request(request.get(), None));
    let answer = sound(read_keys_claim_response(request.get(), response.get()));
    let Ok(answer) = answer.map(|text| parse(&text)) else { return };
    for failed in answer.get("failed").and_then(Value::as_array).into_iter().flatten() {
        assert!(failed["device"]["user_id"].is_string() && failed["error"]["code"].is_i64());
    }
    let value = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
    let (Some(request), Some(response)) = (value(request), value(response)) else { return };
    for (user, devices) in answer["one_time_keys"].as_object().expect("users") {
        for (id, keys) in devices.as_object().expect("devices") {
            assert!(request["one_time_keys"][user].get(id).is_some(), "{answer}");
            let keys = keys.as_object().expect("keys");
            assert_eq!(keys.len(), 1);
            for (key_id, key) in keys {
                assert!(key_id.starts_with("signed_curve25519:"));
                assert_eq!(&response["one_time_keys"][user][id][key_id], key);
                use_key(key_id, key);
            }
        }
    }
});

fn use_key(key_id: &str, key: &Value) {
    let fingerprint = ok(BOB.account.fingerprint_key());
    let is_signed =
        verify_signed_json(&key.to_string(), "@bob:example.org", "ed25519:BOB", &fingerprint);
    let (keys, claimed) = (BOB.device_keys.to_string(), json!({ key_id: key }).to_string());
    let channel = sound(OlmChannel::create_outbound_channel(&ALICE, &keys, &claimed));
    if let Ok(channel) = channel {
        ok(is_signed);
        ok(channel.erase());
    }
}
