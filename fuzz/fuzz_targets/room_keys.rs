//! Room keys: what is accepted is what it says it is and was signed, what is refused changes
//! nothing.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{Input, Room, device, ok, parse, sound};
use matrixe2ee::{Account, InboundMegolmSession};
use serde_json::{Value, json};
use vodozemac::base64_decode;

const ALICE: &str = "@alice:example.org";

static BOB: LazyLock<Arc<Account>> = LazyLock::new(|| device("@bob:example.org", "BOB"));
static SENDER_KEY: LazyLock<String> = LazyLock::new(|| ok(device(ALICE, "ALICE").identity_key()));
static ROOM: LazyLock<Mutex<Room>> = LazyLock::new(Mutex::default);
static GENUINE: LazyLock<Value> = LazyLock::new(|| ROOM.lock().expect("a room").room_key());

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::read(data) else { return };
    let text = input.on(&GENUINE);
    let before = ok(BOB.list_sessions(None, None, None));
    assert_eq!(before, "[]");
    let result = sound(InboundMegolmSession::from_room_key(&BOB, ALICE, &SENDER_KEY, &text));
    let Ok(session) = result else {
        return assert_eq!(ok(BOB.list_sessions(None, None, None)), before);
    };
    let content = parse(&text);
    let key = base64_decode(content["session_key"].as_str().expect("a key")).expect("base64");
    assert_eq!(json!(ok(session.session_id())), content["session_id"]);
    assert_eq!(ok(session.first_known_index()).to_be_bytes(), key[1..5]);
    assert_eq!(ok(session.sender_key()), *SENDER_KEY);
    assert!(ok(session.authenticated()));

    let exported = parse(&ok(session.export_at(None)));
    let exported = base64_decode(exported["session_key"].as_str().expect("a key")).expect("base64");
    assert_eq!(exported[1..], key[1..165]);
    if content["session_id"] == GENUINE["session_id"] {
        // Signed by the session's own key: nobody but its owner has made it.
        assert_eq!(
            content["session_key"].as_str().map(|text| text.trim_end_matches('=')),
            GENUINE["session_key"].as_str()
        );
    }
    ok(session.erase());
});
