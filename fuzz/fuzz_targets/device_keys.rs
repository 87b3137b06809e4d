//! Device keys: only a device that has signed its keys is given a room key, and refused keys
//! change nothing about a channel.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{Input, MEGOLM, ROOM, Stranger, device, ok, parse, sound};
use matrixe2ee::{Account, OlmChannel, OutboundMegolmSession, verify_signed_json};
use serde_json::{Value, json};

static ALICE: LazyLock<Arc<Account>> = LazyLock::new(|| device("@alice:example.org", "ALICE"));
static BOB: LazyLock<Stranger> = LazyLock::new(|| Stranger::new("@bob:example.org", "BOB"));
static CHANNEL: LazyLock<Arc<OlmChannel>> = LazyLock::new(|| {
    let key = BOB.one_time_keys[0].to_string();
    ok(OlmChannel::create_outbound_channel(&ALICE, &BOB.device_keys.to_string(), &key))
});

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::read(data) else { return };
    let text = input.on(&BOB.device_keys);
    room_key(&text);
    channel(&text);
});

/// Whether the device's own signature stands under its keys, by the library's other door.
fn is_self_signed(keys: &Value) -> bool {
    let text = |name: &str| keys[name].as_str().unwrap_or_default().to_owned();
    let key_id = format!("ed25519:{}", text("device_id"));
    let key = keys["keys"][&key_id].as_str().unwrap_or_default();
    verify_signed_json(&keys.to_string(), &text("user_id"), &key_id, key).is_ok()
}

fn room_key(text: &str) {
    // What is no JSON could close a bracket and say something of other devices.
    let Ok(keys) = serde_json::from_str::<Value>(text) else { return };
    let name = |name, other| keys[name].as_str().unwrap_or(other).to_owned();
    let (user, id) = (name("user_id", "@bob:example.org"), name("device_id", "BOB"));
    let mut room = json!({
        "encryption": { "algorithm": MEGOLM }, "history_visibility": "shared",
        "members": { &user: "join" }, "device_keys": { &user: { &id: 0 } },
    })
    .to_string();
    // The text itself, with keys that stand twice, as a server could send it.
    room = room.replacen("\":0}", &format!("\":{text}}}"), 1);
    let session = ok(OutboundMegolmSession::create(&ALICE, ROOM, None));
    if let Ok(lines) = sound(session.get_session_key_for_sending(&room)) {
        for line in parse(&lines).as_array().expect("a list") {
            assert_ne!(line.get("content").is_some(), line.get("error").is_some(), "{line}");
            if line.get("content").is_some() {
                assert!(is_self_signed(&line["device"]), "{line}");
                assert_eq!(
                    (&line["device"]["user_id"], &line["device"]["device_id"]),
                    (&json!(user), &json!(id))
                );
            }
        }
    }
    ok(session.erase());
}

fn channel(text: &str) {
    let before = ok(CHANNEL.partner());
    if sound(CHANNEL.set_partner_device_keys(text)).is_ok() {
        let keys = parse(text);
        assert!(is_self_signed(&keys));
        assert_eq!(keys["keys"], BOB.device_keys["keys"]);
    }
    assert_eq!(ok(CHANNEL.partner()), before);
    let key = BOB.one_time_keys[1].to_string();
    if let Ok(other) = sound(OlmChannel::create_outbound_channel(&ALICE, text, &key)) {
        // The key is signed by Bob: only with his keys it makes a channel.
        assert_eq!(parse(text)["keys"], BOB.device_keys["keys"]);
        drop(other);
    }
}
