//! Room events: an altered one is refused or means the same, one index never serves two events,
//! and a refused event costs the genuine one nothing.
#![no_main]

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{Edit, ROOM, Room, apply, device, ok, parse, sound};
use matrixe2ee::{Account, InboundMegolmSession};
use serde_json::{Value, json};

const ALICE: &str = "@alice:example.org";

static BOB: LazyLock<Arc<Account>> = LazyLock::new(|| device("@bob:example.org", "BOB"));

/// What real clients have sent, with the keys of their sessions.
static REAL: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let events = parse(include_str!("../../tests/fixtures/megolm_events.json"));
    let events = events.as_array().expect("a list").clone();
    for event in events.iter().filter(|event| event["exported_session"].is_object()) {
        ok(InboundMegolmSession::from_export(&BOB, &event["exported_session"].to_string(), None));
    }
    events
});

thread_local! {
    static WORLD: RefCell<(Room, Arc<InboundMegolmSession>)> = RefCell::new({
        let room = Room::default();
        let key = room.room_key().to_string();
        let sender_key = ok(BOB.identity_key());
        let session = ok(InboundMegolmSession::from_room_key(&BOB, ALICE, &sender_key, &key));
        (room, session)
    });
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    if *kind == b'{' {
        return real(data);
    }
    let Ok(edits) = Vec::<Edit>::arbitrary(&mut Unstructured::new(rest)) else { return };
    WORLD.with_borrow_mut(|(room, session)| match kind % 2 {
        0 => altered(room, session, &edits),
        _ => plaintext(room, session, &edits),
    });
});

/// A text like an event of the real clients decrypts to what they showed, or not at all.
fn real(data: &[u8]) {
    let real = &*REAL;
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(lines) = sound(BOB.decrypt_room_events(&format!("[{text}]"))) else { return };
    for line in parse(&lines).as_array().expect("a list") {
        assert_ne!(line.get("event").is_some(), line.get("error").is_some(), "{line}");
        let Some(event) = line.get("event") else { continue };
        let mut content = event["content"].clone();
        content.as_object_mut().expect("a content").remove("m.relates_to");
        let known = real.iter().any(|real| {
            let mut shown = real["decrypted"]["content"].clone();
            shown.as_object_mut().is_some_and(|shown| {
                shown.remove("m.relates_to");
                true
            }) && shown == content
        });
        assert!(known, "{line}");
    }
}

fn altered(room: &mut Room, session: &InboundMegolmSession, edits: &[Edit]) {
    let plaintext = Room::plaintext(room.0.message_index().into());
    let event = room.event(ALICE, &plaintext.to_string());
    let mut other = event.clone();
    apply(&mut other, edits);
    let accepted = sound(session.decrypt(&other.to_string()));
    let genuine = sound(session.decrypt(&event.to_string()));
    if let Ok(decrypted) = &accepted {
        check(&parse(decrypted), &plaintext);
        // The sender, the room and the session are the session's.
        for name in ["sender", "room_id"] {
            assert_eq!(other[name], event[name]);
        }
    }
    let differs = |name| other[name] != event[name];
    if accepted.is_ok() && differs("event_id") {
        let Err(error) = genuine else { panic!("one index served two events") };
        assert_eq!(error.name(), "REPLAY");
    } else if accepted.is_ok() && differs("origin_server_ts") {
        // Another time is another event, no time at all may be this one.
        genuine.map_or_else(|error| assert_eq!(error.name(), "REPLAY"), drop);
    } else {
        check(&parse(&ok(genuine)), &plaintext);
    }
}

fn check(decrypted: &Value, plaintext: &Value) {
    let mut content = decrypted["content"].clone();
    content.as_object_mut().expect("a content").remove("m.relates_to");
    assert_eq!(content, plaintext["content"]);
    assert_eq!(decrypted["type"], plaintext["type"]);
    assert_eq!(decrypted["room_id"], plaintext["room_id"]);
    assert_eq!(decrypted["matrixe2ee"]["authenticated"], json!(true));
}

/// What the owner of the session itself encrypts.
fn plaintext(room: &mut Room, session: &InboundMegolmSession, edits: &[Edit]) {
    let mut plaintext = Room::plaintext(1);
    apply(&mut plaintext, edits);
    let event = room.event(ALICE, &plaintext.to_string());
    let first = sound(session.decrypt(&event.to_string()));
    if let Ok(decrypted) = &first {
        let decrypted = parse(decrypted);
        assert_eq!(plaintext["room_id"], ROOM);
        assert_eq!(decrypted["type"], plaintext["type"]);
        assert!(decrypted["content"].is_object());
    }
    // The same event says the same again.
    let again = session.decrypt(&event.to_string());
    assert_eq!(first.as_ref().ok(), again.as_ref().ok());
}
