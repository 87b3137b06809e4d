//! Exported sessions, which nobody signs: whatever one claims, a session that its owner sent stays
//! as good as it was; what is accepted comes out as it went in.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{Input, Room, device, ok, parse, sound};
use matrixe2ee::{Account, InboundMegolmSession};
use serde_json::Value;

const ALICE: &str = "@alice:example.org";

static BOB: LazyLock<Arc<Account>> = LazyLock::new(|| device("@bob:example.org", "BOB"));
static CAROL: LazyLock<Arc<Account>> = LazyLock::new(|| device("@carol:example.org", "CAROL"));

struct Known {
    export: Value,
    session: Arc<InboundMegolmSession>,
    first: u32,
    event: Value,
    shown: Value,
}

/// A session that came from its owner, from index 2 on; the export is from index 0 on.
static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut room = Room::default();
    let sender_key = ok(CAROL.identity_key());
    let export = room.export(&sender_key);
    for words in 0..2 {
        room.event(ALICE, &Room::plaintext(words).to_string());
    }
    let key = room.room_key().to_string();
    let session = ok(InboundMegolmSession::from_room_key(&BOB, ALICE, &sender_key, &key));
    let event = room.event(ALICE, &Room::plaintext(2).to_string());
    let shown = parse(&ok(session.decrypt(&event.to_string())));
    let first = ok(session.first_known_index());
    Known { export, session, first, event, shown }
});

fuzz_target!(|data: &[u8]| {
    let known = &*KNOWN;
    let Some(input) = Input::read(data) else { return };
    let text = input.on(&known.export);

    // Where the session is known, from its owner.
    let result = sound(InboundMegolmSession::from_export(&BOB, &text, None));
    assert!(ok(known.session.authenticated()));
    assert_eq!(ok(known.session.sender_key()), ok(CAROL.identity_key()));
    assert!(ok(known.session.first_known_index()) <= known.first);
    assert_eq!(parse(&ok(known.session.decrypt(&known.event.to_string()))), known.shown);
    if let Ok(session) = result {
        let id = ok(session.session_id());
        let data = parse(&text);
        assert_eq!(data["session_id"], *id);
        // For another room it is another session, whatever its ID.
        if id != ok(known.session.session_id()) || data["room_id"] != known.export["room_id"] {
            assert!(!ok(session.authenticated()));
            ok(session.erase());
        }
    }

    // Where it is not.
    let before = ok(CAROL.list_sessions(None, None, None));
    assert_eq!(before, "[]");
    let Ok(session) = sound(InboundMegolmSession::from_export(&CAROL, &text, None)) else {
        return assert_eq!(ok(CAROL.list_sessions(None, None, None)), before);
    };
    assert!(!ok(session.authenticated()));
    let exported = ok(session.export_at(None));
    for name in ["session_id", "session_key", "room_id", "sender_key"] {
        assert_eq!(parse(&exported)[name], parse(&text)[name], "{name}");
    }
    let first = ok(session.first_known_index());
    assert!(first == 0 || session.export_at(Some(first - 1)).is_err());
    ok(session.erase());
    let again = ok(InboundMegolmSession::from_export(&CAROL, &exported, None));
    assert_eq!(ok(again.export_at(None)), exported);
    ok(again.erase());
});
