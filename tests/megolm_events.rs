//! Room events as servers give them: with odd fields, redacted, and with what they bundle.

#[path = "common/rooms.rs"]
mod rooms;

use std::sync::Arc;

use matrixe2ee::InboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};

struct Talk {
    alice: Device,
    bob: Device,
    raw: RawSession,
    inbound: Arc<InboundMegolmSession>,
}

impl Talk {
    fn new() -> Self {
        let (alice, bob) = (Device::new(ALICE, "A"), Device::new(BOB, "B"));
        let raw = RawSession::new();
        let inbound = ok(bob.receive(&alice, &raw.room_key()));
        Self { alice, bob, raw, inbound }
    }

    /// The answer or the error, alone and in both kinds of lists.
    fn read(&self, event: &str) -> Value {
        let alone = match self.inbound.decrypt(event) {
            Ok(event) => json!({ "event": parse(&event) }),
            Err(error) => json!({ "error": parse(&error.to_json()) }),
        };
        let list = format!("[{event}]");
        assert_eq!(answer(self.inbound.decrypt_many(&list))[0], alone);
        assert_eq!(answer(self.bob.account.decrypt_room_events(&list))[0], alone);
        alone
    }
}

#[test]
fn a_time_that_is_none_is_read_as_if_it_were_absent() {
    let mut talk = Talk::new();
    let times =
        ["1700000000000.0", "9223372036854775808", "1e30", "\"1700000000000\"", "true", "[]", "{}"];
    for (n, time) in times.iter().enumerate() {
        let event = talk.alice.event(&format!("${n}"), &talk.raw.message("hello"));
        let text = event.to_string();
        let odd = format!(r#"{{"origin_server_ts":{time},{}"#, &text[1..]);
        assert_eq!(talk.read(&odd)["event"]["content"]["body"], "hello", "{time}");
        // SEC-51: the same event with and without its time
        assert_eq!(talk.read(&text)["event"]["content"]["body"], "hello");
        let mut timed = event.clone();
        timed["origin_server_ts"] = json!(1_700_000_000_000_i64);
        ok(talk.inbound.decrypt(&timed.to_string()));
        timed["event_id"] = json!("$another");
        assert_eq!(error_name(talk.inbound.decrypt(&timed.to_string())), "REPLAY"); // SEC-51
    }
}

#[test]
fn a_redacted_event_says_that_it_is_one() {
    let mut talk = Talk::new();
    let event = talk.alice.event("$1", &talk.raw.message("hello"));
    let because = json!({ "redacted_because": { "type": "m.room.redaction", "content": {} } });
    let redacted = [
        (json!({}), json!({})),
        (json!({}), because.clone()),
        (json!(null), because.clone()),
        (json!({ "session_id": talk.raw.id() }), because),
    ];
    for (content, unsigned) in redacted {
        let mut event = event.clone();
        (event["content"], event["unsigned"]) = (content, unsigned);
        let error = talk.read(&event.to_string())["error"].clone();
        assert_eq!(error["name"], "UNABLE_TO_DECRYPT", "{event}");
        assert_eq!(error["reason"], "redacted", "{event}");
    }
    // What is damaged is not redacted, whatever the server says of it.
    for field in ["algorithm", "ciphertext", "session_id"] {
        let mut event = event.clone();
        event["content"].as_object_mut().unwrap().remove(field);
        event["unsigned"] = json!({ "redacted_because": {} });
        assert_eq!(talk.read(&event.to_string())["error"]["field"], field);
    }
    let mut event = event;
    event["unsigned"] = json!({ "redacted_because": {} });
    assert_eq!(talk.read(&event.to_string())["event"]["content"]["body"], "hello");
}

/// The event with this as its `unsigned`, in front or behind.
fn with_unsigned(event: &Value, unsigned: &str) -> [String; 2] {
    let text = event.to_string();
    let (inside, unsigned) = (&text[1..text.len() - 1], format!(r#""unsigned":{unsigned}"#));
    [format!("{{{unsigned},{inside}}}"), format!("{{{inside} , {unsigned} }}")]
}

#[test]
fn what_a_server_puts_into_unsigned_spoils_no_event() {
    let mut talk = Talk::new();
    let event = talk.alice.event("$1", &talk.raw.message("hello"));
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let long = json!({ "m.relations": { "m.replace": "x".repeat(200_000) } }).to_string();
    let odd =
        [&long, &deep, r#"{"a":1,"a":2}"#, r#"{"a":1e400}"#, r#""\ud800""#, "null", "5", "{}"];
    for unsigned in odd {
        for text in with_unsigned(&event, unsigned) {
            let answer = talk.read(&text);
            assert_eq!(answer["event"]["content"]["body"], "hello", "{unsigned:.40}");
        }
    }
    // It must be JSON all the same.
    for unsigned in ["[", "{]", "nul", ""] {
        for text in with_unsigned(&event, unsigned) {
            assert_eq!(error_name(talk.inbound.decrypt(&text)), "INVALID_JSON", "{unsigned}");
        }
    }
}

#[test]
fn an_edited_long_message_is_read_as_the_server_gives_it() {
    let mut talk = Talk::new();
    let first = talk.alice.event("$1", &talk.raw.message(&"x".repeat(30_000)));
    let edit = talk.alice.event("$2", &talk.raw.message(&"y".repeat(30_000)));
    let mut bundled = first;
    bundled["unsigned"] = json!({ "m.relations": { "m.replace": edit } });
    let text = bundled.to_string();
    assert!(text.len() > 65_536);
    let answer = talk.read(&text);
    assert_eq!(answer["event"]["content"]["body"].as_str().unwrap().len(), 30_000);
}

#[test]
fn all_but_unsigned_is_limited_as_before() {
    let mut talk = Talk::new();
    let event = talk.alice.event("$1", &talk.raw.message("hello"));
    let padded = |size: usize, unsigned: &str| {
        let mut event = event.clone();
        event["pad"] = json!("");
        let rest = event.to_string().len();
        event["pad"] = json!("x".repeat(size - rest));
        assert_eq!(event.to_string().len(), size);
        let text = event.to_string();
        format!("{}{unsigned}}}", &text[..size - 1])
    };
    let name = |text: &str| talk.read(text)["error"]["name"].clone();
    assert_eq!(name(&padded(65_536, "")), Value::Null); // SEC-100
    assert_eq!(name(&padded(65_537, "")), "TOO_LARGE"); // SEC-100
    let unsigned = format!(r#","unsigned":"{}""#, "u".repeat(70_000));
    assert_eq!(name(&padded(65_500, &unsigned)), Value::Null);
    assert_eq!(name(&padded(65_537, &unsigned)), "TOO_LARGE"); // SEC-100
    // Only the event's own `unsigned` is one.
    let mut inner = event.clone();
    inner["content"]["unsigned"] = json!("u".repeat(70_000));
    assert_eq!(name(&inner.to_string()), "TOO_LARGE");
    let text = event.to_string();
    let repeated = format!(r#"{{"pad":1,"pad":2,{}"#, &text[1..]);
    assert_eq!(name(&repeated), "INVALID_JSON"); // SEC-98
    let deep = format!(r#"{{"pad":{}{},{}"#, "[".repeat(64), "]".repeat(64), &text[1..]);
    assert_eq!(name(&deep), "INVALID_JSON"); // SEC-100
    let shallow = format!(r#"{{"pad":{}{},{}"#, "[".repeat(63), "]".repeat(63), &text[1..]);
    assert_eq!(name(&shallow), Value::Null);
}
