//! Devices and keys that are no clean JSON, as a server stores and gives them (SEC-100;
//! gomatrixserverlib#342, nio#263).

use matrixe2ee::{keys_claim_request, read_keys_claim_response};
use serde_json::{Value, json};

use crate::rooms::*;

/// What can be wrong with an object that somebody uploads, as a field of it.
fn faults() -> Vec<(&'static str, String, &'static str)> {
    let nested =
        |depth: usize| format!(r#""unsigned":{}1{}"#, r#"{"a":"#.repeat(depth), "}".repeat(depth));
    vec![
        (
            "a lone surrogate",
            r#""unsigned":{"device_display_name":"\ud83d"}"#.into(),
            "INVALID_JSON",
        ),
        ("a key twice", r#""unsigned":{"a":1,"a":2}"#.into(), "INVALID_JSON"),
        ("a key twice in front", r#""device_id":"B","key":"x","key":"y""#.into(), "INVALID_JSON"),
        ("64 deep", nested(64), "INVALID_JSON"),
        ("130 deep", nested(130), "INVALID_JSON"),
        (
            "100,000 deep",
            format!(r#""x":{}{}"#, "[".repeat(30_000), "]".repeat(30_000)),
            "INVALID_JSON",
        ),
        ("a number beyond all", r#""unsigned":{"a":1e400}"#.into(), "INVALID_JSON"),
        ("70,000 bytes", format!(r#""unsigned":{{"a":"{}"}}"#, "x".repeat(70_000)), "TOO_LARGE"),
    ]
}

/// The recipients' text, with a field added to Bob's entry.
fn with_field(room: &Recipients, bob: &Device, field: &str) -> String {
    let (text, entry) = (room.text(), bob.keys().to_string());
    assert!(text.contains(&entry));
    text.replace(&entry, &format!("{},{field}}}", entry.strip_suffix('}').unwrap()))
}

#[test]
fn a_device_that_is_no_clean_json_is_refused_alone() {
    let (alice, bob, carol) =
        (Device::new(ALICE, "A"), Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let room = Recipients::of(&[&bob, &carol]);
    for (what, field, name) in faults() {
        let session = alice.outbound(None);
        let lines = answer(session.get_session_key_for_sending(&with_field(&room, &bob, &field)));
        let lines = lines.as_array().unwrap();
        assert_eq!(lines.len(), 2, "{what}");
        assert!(line_of(lines, &carol)["content"].is_object(), "{what}"); // SEC-100
        let bad = line_of(lines, &bob); // SEC-98, SEC-100
        assert_eq!(bad["error"]["name"], name, "{what}");
        // What other readers may not be able to read is not handed on to them.
        assert_eq!(bad["device"], json!({ "user_id": BOB, "device_id": "B" }), "{what}");
        // All that the call gives can be given back.
        let devices = Value::from_iter(lines.iter().map(|line| line["device"].clone()));
        ok(session.mark_as_sent(&devices.to_string()));
        assert_eq!(keys_to_send(&session, &room).len(), 1, "{what}");
    }
    // A fraction is clean JSON, and `unsigned` is not signed.
    let field = r#""unsigned":{"age":1.5,"zero":-0}"#;
    let answered =
        alice.outbound(None).get_session_key_for_sending(&with_field(&room, &bob, field));
    assert!(line_of(answer(answered).as_array().unwrap(), &bob)["content"].is_object());
}

#[test]
fn a_users_devices_that_are_ambiguous_or_badly_named_are_refused_alone() {
    let (alice, bob, carol) =
        (Device::new(ALICE, "A"), Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let room = Recipients::of(&[&bob, &carol]);
    let entry = bob.keys().to_string();
    for (other, served) in [
        (format!(r#""B":{entry}"#), 1),   // SEC-98: the same device twice
        (r#""\ud83d":{}"#.to_owned(), 2), // a name that is no text
    ] {
        let session = alice.outbound(None);
        let text = room.text().replace(&entry, &format!("{entry},{other}"));
        let lines = answer(session.get_session_key_for_sending(&text));
        let lines = lines.as_array().unwrap();
        let keys = lines.iter().filter(|line| line.get("content").is_some()).count();
        assert_eq!(keys, served, "{other:.20}"); // SEC-100
        assert!(line_of(lines, &carol)["content"].is_object());
        let bad = lines.iter().find(|line| line.get("error").is_some()).unwrap();
        assert_eq!(bad["error"]["name"], "INVALID_JSON");
        assert_eq!(bad["device"], json!({ "user_id": BOB }));
    }
}

#[test]
fn a_bad_membership_is_none_and_a_bad_word_of_blocking_blocks() {
    let (alice, bob, carol) =
        (Device::new(ALICE, "A"), Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let room = Recipients::of(&[&bob, &carol]);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for bad in [r#""\ud83d""#, "1e400", r#"{"a":1,"a":2}"#, "null", &deep] {
        let member = format!(r#""{BOB}":"join""#);
        let text = room.text().replace(&member, &format!(r#""{BOB}":{bad}"#));
        let lines = answer(alice.outbound(None).get_session_key_for_sending(&text)); // SEC-100
        assert_eq!(lines.as_array().unwrap().len(), 1, "{bad:.20}");
        let mut room = room.clone();
        for blocked in [json!({ BOB: "BAD" }), json!({ BOB: { "B": "BAD" } })] {
            room.0["blocked"] = blocked.clone();
            let text = room.text().replace(r#""BAD""#, bad);
            let lines = answer(alice.outbound(None).get_session_key_for_sending(&text));
            let lines = lines.as_array().unwrap();
            assert!(line_of(lines, &carol)["content"].is_object(), "{bad:.20}"); // SEC-100
            // Who is meant to be blocked is not sent the key because the reason cannot be read.
            let error = line_of(lines, &bob)["error"].clone();
            assert!(error["detail"].as_str().unwrap().contains("blocked"), "{bad:.20} {error}"); // D33
        }
    }
}

#[test]
fn an_entry_that_cannot_be_read_is_not_marked_and_spoils_no_other() {
    let (alice, bob, carol) =
        (Device::new(ALICE, "A"), Device::new(BOB, "B"), Device::new(CAROL, "C"));
    for (what, field, _) in faults() {
        let session = alice.outbound(None);
        let room = Recipients::of(&[&bob, &carol]);
        keys_to_send(&session, &room);
        let entry = bob.keys().to_string();
        let bad = format!("{},{field}}}", entry.strip_suffix('}').unwrap());
        ok(session.mark_as_sent(&format!("[{bad},{}]", carol.keys()))); // M8, SEC-100
        let lines = keys_to_send(&session, &room);
        assert_eq!(lines.len(), 1, "{what}");
        assert!(line_of(&lines, &bob)["content"].is_object(), "{what}");
    }
}

#[test]
fn a_claimed_key_that_is_no_clean_json_is_named_and_costs_no_other_device_its_own() {
    let request = ok(keys_claim_request(&json!({ BOB: ["B"], CAROL: ["C"] }).to_string(), None));
    let good = json!({ "signed_curve25519:AAAA": { "key": "x" } });
    let read = |bobs: &str| {
        let response =
            format!(r#"{{"one_time_keys":{{"{BOB}":{bobs},"{CAROL}":{{"C":{good}}}}}}}"#);
        let read = answer(read_keys_claim_response(&request, &response));
        assert_eq!(read["one_time_keys"], json!({ CAROL: { "C": good } }), "{bobs:.40}"); // SEC-100
        read["failed"].clone()
    };
    for (what, field, name) in faults() {
        let failed = read(&format!(r#"{{"B":{{"signed_curve25519:AAAA":{{"a":1,{field}}}}}}}"#));
        assert_eq!(failed.as_array().unwrap().len(), 1, "{what}");
        assert_eq!(failed[0]["device"], json!({ "user_id": BOB, "device_id": "B" }), "{what}");
        assert_eq!(failed[0]["error"]["name"], name, "{what}");
    }
    for (bobs, name) in [
        (r#"{"B":{"curve25519:AAAA":"x"}}"#, "UNKNOWN_ALGORITHM"), // D31
        (r#"{"B":{"signed_curve25519:AAAA":"x"}}"#, "INVALID_FIELD"), // SEC-19
        (r#"{"B":[]}"#, "INVALID_FIELD"),
        (r#"{"B":{},"B":{}}"#, "INVALID_JSON"), // SEC-98
    ] {
        assert_eq!(read(bobs)[0]["error"]["name"], name, "{bobs}");
    }
    // Without a key there is nothing to say.
    assert_eq!(read(r#"{"B":{},"OTHER":{"a":1,"a":2}}"#), Value::Null); // K3
}
