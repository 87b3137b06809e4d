//! Two copies of one session: which parts of each are kept, and which copies are refused.

#[path = "common/rooms.rs"]
mod rooms;

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use matrixe2ee::InboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};
use vodozemac::megolm::{InboundGroupSession, SessionConfig};

/// Alice, who sends; Bob, who receives; and the key of one session at two of its indices.
struct Stage {
    alice: Device,
    bob: Device,
    raw: RawSession,
    /// At index 0 and 3, as `m.room_key` and as an export.
    early: (Value, Value),
    late: (Value, Value),
    /// The messages from index 0 to 3.
    events: Vec<Value>,
}

impl Stage {
    fn new() -> Self {
        let alice = Device::new(ALICE, "A");
        let mut raw = RawSession::new();
        let early = (raw.room_key(), raw.export(&alice));
        let mut events: Vec<Value> =
            (0..3).map(|n| alice.event(&format!("${n}"), &raw.message("hello"))).collect();
        let late = (raw.room_key(), raw.export(&alice));
        events.push(alice.event("$3", &raw.message("hello")));
        Self { alice, bob: Device::on_disk(BOB, "B"), raw, early, late, events }
    }

    fn room_key(&self, content: &Value) -> matrixe2ee::Result<Arc<InboundMegolmSession>> {
        self.bob.receive(&self.alice, content)
    }

    fn export(&self, data: &Value) -> matrixe2ee::Result<Arc<InboundMegolmSession>> {
        InboundMegolmSession::from_export(&self.bob.account, &data.to_string(), None)
    }

    fn stored(&self) -> Arc<InboundMegolmSession> {
        let id = self.raw.id();
        ok(InboundMegolmSession::from_storage(&self.bob.account, ROOM, &id, None))
    }

    /// What a session is and can do, before and after a restart.
    fn check(&mut self, first_known: u32, authenticated: bool, owner: &str) {
        for _ in 0..2 {
            let session = self.stored();
            assert_eq!(ok(session.first_known_index()), first_known);
            assert_eq!(ok(session.authenticated()), authenticated);
            assert_eq!(ok(session.sender_key()), self.alice.identity_key());
            for (index, event) in (0..).zip(&self.events) {
                let decrypted = session.decrypt(&event.to_string());
                if index < first_known {
                    assert_eq!(error_name(decrypted), "UNKNOWN_INDEX");
                } else {
                    let facts = answer(decrypted)["matrixe2ee"].clone();
                    assert_eq!(facts["owner"], owner);
                    assert_eq!(facts["authenticated"], authenticated);
                }
            }
            self.bob.reopen();
        }
    }

    /// Offers a copy that must be refused, and looks whether anything changed.
    #[track_caller]
    fn refuses(
        &self,
        offer: impl FnOnce(&Self) -> matrixe2ee::Result<Arc<InboundMegolmSession>>,
        name: &str,
    ) {
        let state = |stage: &Self| {
            let session = stage.stored();
            (stage.bob.bytes(), stage.bob.sessions(), answer(session.export_at(None)))
        };
        let before = state(self);
        assert_eq!(error_name(offer(self)), name);
        assert!(state(self) == before, "nothing has changed");
    }
}

#[test]
fn a_key_with_a_lower_index_opens_older_messages() {
    type Pick = fn(&Stage) -> matrixe2ee::Result<Arc<InboundMegolmSession>>;
    let early_key: Pick = |stage| stage.room_key(&stage.early.0);
    let late_key: Pick = |stage| stage.room_key(&stage.late.0);
    let early_export: Pick = |stage| stage.export(&stage.early.1);
    let late_export: Pick = |stage| stage.export(&stage.late.1);
    for (first, second, first_known, authenticated) in [
        (late_key, early_key, 0, true),        // D4, SEC-46: a lower index
        (early_key, late_key, 0, true),        // D4: a higher one destroys nothing
        (early_key, early_key, 0, true),       // D4: the same
        (late_key, early_export, 0, true),     // D4: connected, so it is the same session
        (early_key, late_export, 0, true),     // D4, SEC-45: no downgrade
        (late_export, early_export, 0, false), // D4
        (early_export, late_export, 0, false), // D4
        (late_export, early_key, 0, true),     // D4, SEC-45: authenticated from now on
        (early_export, late_key, 0, true),     // D4, SEC-45: and keeps the lower index
        (late_key, late_export, 3, true),      // D4
        (late_export, late_export, 3, false),  // SEC-45: an export never authenticates
    ] {
        let mut stage = Stage::new();
        let one = ok(first(&stage));
        let two = ok(second(&stage));
        assert_eq!(ok(one.first_known_index()), first_known); // one live state
        assert_eq!(ok(two.authenticated()), authenticated);
        assert_eq!(ok(one.authenticated()), authenticated);
        drop((one, two));
        stage.check(first_known, authenticated, if authenticated { "known" } else { "unknown" });
    }
}

#[test]
fn merging_keeps_the_replay_records() {
    let stage = Stage::new();
    let session = ok(stage.room_key(&stage.late.0));
    ok(session.decrypt(&stage.events[3].to_string()));
    let mut replay = stage.events[3].clone();
    replay["event_id"] = json!("$replay");
    for merged in [stage.room_key(&stage.early.0), stage.export(&stage.early.1)] {
        assert_eq!(error_name(ok(merged).decrypt(&replay.to_string())), "REPLAY"); // D4, SEC-51
    }
    assert_eq!(error_name(session.decrypt(&replay.to_string())), "REPLAY"); // D4
}

#[test]
fn without_a_known_owner_anybodys_event_decrypts_and_says_so() {
    let stage = Stage::new();
    let session = ok(stage.export(&stage.early.1));
    let mut event = stage.events[0].clone();
    event["sender"] = json!(CAROL);
    let decrypted = answer(session.decrypt(&event.to_string()));
    assert_eq!(decrypted["matrixe2ee"]["owner"], "unknown"); // SEC-45, SEC-50
    assert_eq!(decrypted["matrixe2ee"]["authenticated"], false); // M29
    let any = Some(CAROL.to_owned());
    ok(InboundMegolmSession::from_storage(&stage.bob.account, ROOM, &stage.raw.id(), any)); // M24
    ok(stage.room_key(&stage.late.0));
    let now = session.decrypt(&event.to_string());
    assert_eq!(error_name(now), "WRONG_SENDER"); // SEC-50: the room key told the owner
}

#[test]
fn a_forged_session_under_a_stored_id_is_refused() {
    // P8: another ratchet under this session's signing key imports without complaint.
    let forged = |stage: &Stage, index: usize| {
        let mut other = RawSession::new();
        for _ in 0..index {
            other.message("moves on");
        }
        let mut bytes = from_base64(other.export(&stage.alice)["session_key"].as_str().unwrap());
        let signing_key = from_base64(&stage.raw.id());
        bytes.splice(133.., signing_key);
        let mut data = stage.early.1.clone();
        data["session_key"] = json!(base64(bytes));
        data
    };
    for index in [0, 3, 5] {
        for by_room_key in [true, false] {
            let mut stage = Stage::new();
            if by_room_key {
                ok(stage.room_key(&stage.late.0));
            } else {
                ok(stage.export(&stage.late.1));
            }
            let fake = forged(&stage, index);
            stage.refuses(|stage| stage.export(&fake), "MISMATCHED_SESSION_ID"); // SEC-46, D4, P8
            stage.check(3, by_room_key, if by_room_key { "known" } else { "unknown" });
        }
    }
    // The other way round: what nothing proves gives way to what the session's own key has signed.
    let mut stage = Stage::new();
    let fake = forged(&stage, 0);
    ok(stage.export(&fake)); // P8
    ok(stage.room_key(&stage.late.0)); // SEC-46
    stage.refuses(|stage| stage.export(&fake), "MISMATCHED_SESSION_ID");
    stage.check(3, true, "known");
}

#[test]
fn even_the_owner_cannot_replace_the_ratchet_of_a_session() {
    let signer = SigningKey::from_bytes(&[7; 32]);
    let id = base64(signer.verifying_key().as_bytes());
    let mut stage = Stage::new();
    let key = |index, ratchet| room_key(&id, &forged_session_key(&signer, index, [ratchet; 128]));
    ok(stage.room_key(&key(2, 1)));
    for other in [key(2, 2), key(1, 1), key(0, 2), key(9, 1)] {
        let refused = stage.room_key(&other);
        assert_eq!(error_name(refused), "MISMATCHED_SESSION_ID"); // SEC-46, P8
    }
    for _ in 0..2 {
        assert_eq!(stage.bob.sessions()[0]["first_known_index"], 2);
        stage.bob.reopen();
    }
}

#[test]
fn a_session_does_not_change_hands() {
    let stage = Stage::new();
    ok(stage.room_key(&stage.late.0));
    let carol = Device::new(CAROL, "C");
    let tablet = Device::new(ALICE, "TABLET");
    for thief in [&carol, &tablet] {
        ok(stage.bob.receive(thief, &stage.early.0)); // SEC-44: a claim beside the first
        ok(stage.bob.receive(thief, &stage.late.0));
        let session = stage.stored();
        assert_eq!(ok(session.sender_key()), stage.alice.identity_key()); // D4, SEC-45
        let facts = answer(session.decrypt(&stage.events[3].to_string()))["matrixe2ee"].clone();
        assert_eq!(facts["sender_key"], stage.alice.identity_key()); // SEC-44
    }
    // What an export says of its sender is a claim.
    ok(stage.export(&stage.raw.export(&carol)));
    ok(stage.export(&{
        let mut data = stage.early.1.clone();
        data["sender_key"] = json!(carol.identity_key());
        data
    }));
    let session = stage.stored();
    assert_eq!(ok(session.sender_key()), stage.alice.identity_key()); // D4, SEC-45
    assert_eq!(ok(session.first_known_index()), 0);
    let exported = answer(session.export_at(None));
    assert_eq!(exported["sender_key"], stage.alice.identity_key());
}

#[test]
fn a_claimed_sender_gives_way_to_the_one_that_is_known() {
    let stage = Stage::new();
    let carol = Device::new(CAROL, "C");
    let mut lying = stage.early.1.clone();
    lying["sender_key"] = json!(carol.identity_key());
    ok(stage.export(&lying));
    assert_eq!(ok(stage.stored().sender_key()), carol.identity_key());
    ok(stage.room_key(&stage.late.0));
    assert_eq!(ok(stage.stored().sender_key()), stage.alice.identity_key()); // D4, SEC-45
    assert_eq!(stage.bob.sessions()[0]["owner_user_id"], ALICE); // SEC-45
}

#[test]
fn each_room_has_a_session_of_its_own_whatever_its_id() {
    let stage = Stage::new();
    ok(stage.room_key(&stage.late.0));
    let elsewhere = |value: &Value| {
        let mut value = value.clone();
        value["room_id"] = json!("!other");
        value
    };
    let (key, data) = (elsewhere(&stage.early.0), elsewhere(&stage.early.1));
    let other = ok(stage.room_key(&key)); // SEC-44
    ok(stage.export(&data)); // SEC-44
    let event = stage.events[0].to_string();
    assert_eq!(error_name(stage.stored().decrypt(&event)), "UNKNOWN_INDEX"); // the rooms share nothing
    let mut moved = stage.events[3].clone();
    moved["room_id"] = json!("!other");
    // SEC-49: the room that the ciphertext names decides anyway.
    assert_eq!(error_name(other.decrypt(&moved.to_string())), "WRONG_ROOM");
    assert_eq!(stage.bob.sessions().as_array().unwrap().len(), 2);
    ok(other.erase());
    ok(stage.stored().decrypt(&stage.events[3].to_string()));
    assert_eq!(stage.bob.sessions().as_array().unwrap().len(), 1);
}

#[test]
fn our_own_session_stays_ours() {
    let alice = Device::new(ALICE, "A");
    let (bob, tablet) = (Device::new(BOB, "B"), Device::new(ALICE, "TABLET"));
    let outbound = alice.outbound(None);
    let content = room_key_for(&outbound, &tablet);
    let event = alice.event("$1", &encrypted(&outbound, "hello")).to_string();
    ok(InboundMegolmSession::from_outbound_session(&outbound));
    assert_eq!(error_name(alice.receive(&bob, &content)), "WRONG_SENDER"); // SEC-45
    ok(alice.receive(&alice, &content));
    let own = ok(InboundMegolmSession::from_outbound_session(&outbound)); // D4: merged, too
    assert_eq!(ok(own.first_known_index()), 0); // D4
    assert_eq!(ok(own.sender_key()), alice.identity_key());
    ok(own.decrypt(&event));
}

#[test]
fn an_export_that_is_not_right_is_refused_and_stores_nothing() {
    let stage = Stage::new();
    let before = stage.bob.bytes();
    let good = &stage.early.1;
    let longer = good["session_key"].as_str().unwrap().to_owned() + "AAAA";
    for (field, value, name) in [
        ("algorithm", json!("m.megolm.v2"), "UNKNOWN_ALGORITHM"),
        ("algorithm", Value::Null, "INVALID_FIELD"),
        ("room_id", json!("room"), "INVALID_FIELD"),
        ("session_id", json!(RawSession::new().id()), "MISMATCHED_SESSION_ID"), // SEC-43
        ("session_key", json!(longer), "INVALID_KEY"),                          // SEC-101
        ("session_key", stage.early.0["session_key"].clone(), "INVALID_KEY"),
        ("session_key", json!("A".repeat(220)), "INVALID_KEY"),
        ("session_key", Value::Null, "INVALID_FIELD"),
        ("sender_key", json!(base64([0; 32])), "INVALID_KEY"),
        ("sender_key", Value::Null, "INVALID_FIELD"),
        ("sender_claimed_keys", json!({ "ed25519": base64([0; 32]) }), "INVALID_KEY"),
        ("sender_claimed_keys", json!([]), "INVALID_FIELD"),
        ("pad", json!("x".repeat(65_536)), "TOO_LARGE"),
    ] {
        let mut data = good.clone();
        data[field] = value;
        assert_eq!(error_name(stage.export(&data)), name, "{data:.300}");
    }
    // A signing key of small order would make every signature right (SEC-10).
    let mut bytes = from_base64(good["session_key"].as_str().unwrap());
    bytes.splice(133.., [0; 32]);
    let weak = export(&base64([0; 32]), &base64(bytes), &stage.alice);
    assert_eq!(error_name(stage.export(&weak)), "INVALID_KEY");
    assert!(stage.bob.bytes() == before, "nothing is stored");
    assert_eq!(stage.bob.sessions(), json!([]));
}

#[test]
fn shared_history_is_read_in_all_its_spellings_and_never_assumed() {
    const OLD: &str = "org.matrix.msc3061.shared_history";
    for (flags, expected) in [
        (json!({}), false),                                     // SEC-59
        (json!({ "shared_history": true }), true),              // S4, D17
        (json!({ "m.shared_history": true }), true),            // S4
        (json!({ OLD: true }), true),                           // S4
        (json!({ "shared_history": true, OLD: true }), true),   // S4
        (json!({ "shared_history": false, OLD: true }), false), // SEC-59: they disagree
        (json!({ "shared_history": "true" }), false),           // SEC-59
        (json!({ "shared_history": 1 }), false),                // SEC-59
    ] {
        let mut stage = Stage::new();
        let mut content = stage.late.0.clone();
        content.as_object_mut().unwrap().extend(flags.as_object().unwrap().clone());
        ok(stage.room_key(&content));
        for _ in 0..2 {
            let exported = answer(stage.stored().export_at(None));
            assert_eq!(exported["shared_history"], expected, "{flags}"); // D17, S4
            assert!(exported.get(OLD).is_none()); // S4: only the spec's name
            stage.bob.reopen();
        }
    }
}

#[test]
fn only_the_creators_room_key_says_that_history_is_shared() {
    let said = |mut value: Value, shared: bool| {
        value["shared_history"] = json!(shared);
        value
    };
    let shared = |stage: &Stage| answer(stage.stored().export_at(None))["shared_history"].clone();
    let stage = Stage::new();
    ok(stage.room_key(&stage.late.0));
    ok(stage.export(&said(stage.early.1.clone(), true)));
    assert_eq!(shared(&stage), false); // SEC-59: an export cannot turn it on
    let stage = Stage::new();
    ok(stage.export(&said(stage.early.1.clone(), true)));
    ok(stage.room_key(&said(stage.late.0.clone(), false)));
    assert_eq!(shared(&stage), false); // SEC-59: the creator knows better
    let stage = Stage::new();
    ok(stage.export(&said(stage.early.1.clone(), false)));
    ok(stage.room_key(&said(stage.late.0.clone(), true)));
    assert_eq!(shared(&stage), true); // SEC-59, D17
}

#[test]
fn vodozemac_itself_takes_a_forged_ratchet_and_decrypts_a_message_twice() {
    let (mut one, two) = (RawSession::new(), RawSession::new());
    let mut forged = two.0.session_key().to_bytes()[1..165].to_vec();
    forged.insert(0, 1);
    forged.splice(133.., from_base64(&one.id()));
    let key = vodozemac::megolm::ExportedSessionKey::from_bytes(&forged).unwrap();
    let mut fake = InboundGroupSession::import(&key, SessionConfig::version_1());
    let mut real = InboundGroupSession::new(&one.0.session_key(), SessionConfig::version_1());
    assert_eq!(fake.session_id(), one.id()); // P8
    assert!(!real.connected(&mut fake)); // P8: the only tell
    let message = one.0.encrypt("hello");
    assert_eq!(real.decrypt(&message).unwrap(), real.decrypt(&message).unwrap()); // P7
}
