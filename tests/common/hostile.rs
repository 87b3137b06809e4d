//! Every text argument of every call, for tests that put anything into them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use matrixe2ee::*;
use serde_json::json;

use crate::rooms::*;

const DAVE: &str = "@dave:example.org";
const ELSEWHERE: &str = "!elsewhere";
const KEY: [u8; 32] = [9; 32];

/// Two devices that talk with each other, one that nobody has talked to, and one that gets what
/// only a call that accepted an altered text has made.
pub struct World {
    keys: vodozemac::olm::Account,
    alice: Device,
    bob: Device,
    carol: Device,
    dave: Device,
    to_bob: Arc<OlmChannel>,
    to_dave: Arc<OlmChannel>,
    to_alice: Arc<OlmChannel>,
    outbound: Arc<OutboundMegolmSession>,
    inbound: Arc<InboundMegolmSession>,
    /// Of no use to anybody, so that it may expire.
    spare: Arc<OutboundMegolmSession>,
    events: AtomicU32,
}

/// One text argument of one call.
pub struct Call {
    pub name: &'static str,
    /// A text that the call takes, the other arguments being right.
    pub valid: fn(&World) -> String,
    pub run: fn(&World, &str) -> Result<()>,
    /// Whether nearly any text is a right one.
    pub may_accept: bool,
    /// Whether even the valid text is refused, because another argument is wrong.
    pub never: bool,
}

const fn call(
    name: &'static str,
    valid: fn(&World) -> String,
    run: fn(&World, &str) -> Result<()>,
) -> Call {
    Call { name, valid, run, may_accept: false, never: false }
}

impl Call {
    const fn may_accept(self) -> Self {
        Self { may_accept: true, ..self }
    }

    const fn never(self) -> Self {
        Self { never: true, ..self }
    }
}

/// A key that a device has published, as a claim gives it.
pub fn one_time_key(device: &Device) -> String {
    let upload = answer(device.account.keys_upload_request().map(|body| body.expect("new keys")));
    let (id, key) = upload["one_time_keys"].as_object().unwrap().iter().next().unwrap();
    json!({ id: key }).to_string()
}

pub fn channel(from: &Device, to: &Device) -> Arc<OlmChannel> {
    let (keys, one_time_key) = (to.keys().to_string(), one_time_key(to));
    ok(OlmChannel::create_outbound_channel(&from.account, &keys, &one_time_key))
}

/// The channel that the first message makes.
pub fn accept(at: &Device, from: &Device, content: &str) -> Arc<OlmChannel> {
    let (user_id, key) = (&from.user_id, from.identity_key());
    let account = &at.account;
    ok(OlmChannel::create_from_encrypted_message(account, user_id, &key, content, None, None))
}

fn done<T>(result: Result<T>) -> Result<()> {
    result.map(|_| ())
}

impl World {
    pub fn new() -> Self {
        let keys = vodozemac::olm::Account::new();
        let (alice, bob) = (Device::known(ALICE, "A", &keys, false), Device::new(BOB, "B"));
        let (carol, dave) = (Device::new(CAROL, "C"), Device::new(DAVE, "D"));
        let (to_bob, to_dave) = (channel(&alice, &bob), channel(&alice, &dave));
        let outbound = alice.outbound(None);
        let room = Recipients::of(&[&bob]).encryption("rotation_period_msgs", json!(10_000));
        let key = keys_to_send(&outbound, &room)[0]["content"].clone();
        let first = ok(to_bob.encrypt("m.room_key", &key.to_string()));
        let to_alice = accept(&bob, &alice, &first);
        ok(to_bob.decrypt(&ok(to_alice.encrypt("m.dummy", "{}"))));
        let inbound = ok(bob.receive(&alice, &key));
        let spare = ok(OutboundMegolmSession::create(&alice.account, ELSEWHERE, None));
        ok(alice.account.keys_upload_request());
        let events = AtomicU32::new(0);
        Self {
            keys,
            alice,
            bob,
            carol,
            dave,
            to_bob,
            to_dave,
            to_alice,
            outbound,
            inbound,
            spare,
            events,
        }
    }

    /// All that can be seen of the state.
    pub fn state(&self) -> Vec<String> {
        let mut state = vec![
            ok(self.to_bob.session_count()).to_string(),
            ok(self.to_alice.session_count()).to_string(),
            ok(self.to_dave.session_count()).to_string(),
            ok(self.to_bob.partner()),
            ok(self.to_dave.partner()),
            ok(self.to_alice.partner()),
            ok(self.outbound.message_index()).to_string(),
            ok(self.spare.message_index()).to_string(),
            ok(self.inbound.export_at(None)),
            ok(self.inbound.authenticated()).to_string(),
        ];
        for device in [&self.alice, &self.bob] {
            state.push(ok(device.account.keys_upload_request()).unwrap_or_default());
            state.push(ok(device.account.device_keys()));
            state.push(ok(device.account.list_sessions(None, None, None)));
        }
        for (device, room) in [(&self.alice, ROOM), (&self.alice, ELSEWHERE)] {
            let current = OutboundMegolmSession::create_from_storage(&device.account, room, None);
            state.push(ok(ok(current).session_id()));
        }
        state
    }

    /// A message of each kind still gets through.
    pub fn good_messages(&self) {
        let event = self.event();
        ok(self.inbound.decrypt(&event));
        ok(self.to_alice.decrypt(&self.olm_message()));
    }

    fn event(&self) -> String {
        let n = self.events.fetch_add(1, Ordering::Relaxed);
        self.alice.event(&format!("${n}"), &encrypted(&self.outbound, "good")).to_string()
    }

    fn olm_message(&self) -> String {
        ok(self.to_bob.encrypt("m.note", r#"{"good": true}"#))
    }

    fn recipients(&self) -> String {
        Recipients::of(&[&self.bob, &self.carol]).blocked(&self.carol, "m.blacklisted").text()
    }

    fn claim_request(&self) -> String {
        json!({ "one_time_keys": { BOB: { "B": "signed_curve25519" } } }).to_string()
    }

    fn room_key(&self) -> String {
        RawSession::new().room_key().to_string()
    }

    fn pickle(&self) -> String {
        vodozemac::olm::Account::new().pickle().encrypt(&KEY)
    }

    /// A list of one pickled session with Dave.
    fn pickles(&self) -> String {
        let key = |text: &str| vodozemac::Curve25519PublicKey::from_base64(text).unwrap();
        let claimed = parse(&one_time_key(&self.dave));
        let one_time_key = claimed.as_object().unwrap().values().next().unwrap()["key"].clone();
        let session = self
            .keys
            .create_outbound_session(
                vodozemac::olm::SessionConfig::version_1(),
                key(&self.dave.identity_key()),
                key(one_time_key.as_str().unwrap()),
            )
            .unwrap();
        json!([session.pickle().encrypt(&KEY)]).to_string()
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn user(_: &World) -> String {
    text("@erin:example.org")
}

fn room(_: &World) -> String {
    text(ROOM)
}

fn object(_: &World) -> String {
    text(r#"{"a": [1, {"b": null}], "signatures": {}, "unsigned": {"age": 5}}"#)
}

pub const CALLS: &[Call] = &[
    call("open user_id", user, |w, t| Account::open(&w.alice.store, t, "D")?.erase()).may_accept(),
    call("open device_id", |_| text("D"), |w, t| {
        Account::open(&w.alice.store, "@erin:example.org", t)?.erase()
    })
    .may_accept(),
    call("from_libolm_pickle", World::pickle, |w, t| {
        done(Account::from_libolm_pickle(&w.alice.store, "@l:x", "D", t, KEY.to_vec()))
    })
    .never(),
    call("from_vodozemac_pickle", World::pickle, |w, t| {
        Account::from_vodozemac_pickle(&w.alice.store, "@v:x", "D", t, KEY.to_vec())?.erase()
    }),
    call(
        "upload refused",
        |_| text(r#"{"errcode": "M_UNKNOWN", "error": "One time key signed_curve25519:AAAAAQ already exists."}"#),
        |w, t| w.bob.account.receive_keys_upload_response(400, t),
    )
    .may_accept(),
    call(
        "upload accepted",
        |_| text(r#"{"one_time_key_counts": {"signed_curve25519": 50}}"#),
        |w, t| w.alice.account.receive_keys_upload_response(200, t),
    )
    .may_accept(),
    call("one_time_counts", |_| text(r#"{"signed_curve25519": 50}"#), |w, t| {
        w.alice.account.receive_key_counts(t, None)
    })
    .may_accept(),
    call("unused_fallback_types", |_| text(r#"["signed_curve25519"]"#), |w, t| {
        w.alice.account.receive_key_counts(r#"{"signed_curve25519": 50}"#, Some(t.to_owned()))
    })
    .may_accept(),
    call("sign_json", object, |w, t| done(w.alice.account.sign_json(t))).may_accept(),
    call("list_sessions", room, |w, t| done(w.alice.account.list_sessions(Some(t.to_owned()), None, None)))
        .may_accept(),
    call("recipient_device_keys", |w| w.carol.keys().to_string(), |w, t| {
        OlmChannel::create_outbound_channel(&w.alice.account, t, &one_time_key(&w.carol))?.erase()
    }),
    call("recipient_one_time_key", |w| one_time_key(&w.carol), |w, t| {
        let keys = w.carol.keys().to_string();
        OlmChannel::create_outbound_channel(&w.alice.account, &keys, t)?.erase()
    }),
    call("first message", World::olm_message, |w, t| {
        let (account, key) = (&w.bob.account, w.carol.identity_key());
        done(OlmChannel::create_from_encrypted_message(account, CAROL, &key, t, None, None))
    })
    .never(),
    call("stored channel's user", |_| text(BOB), |w, t| {
        done(OlmChannel::create_from_storage(&w.alice.account, t, &w.bob.identity_key()))
    }),
    call("stored channel's key", |w| w.bob.identity_key(), |w, t| {
        done(OlmChannel::create_from_storage(&w.alice.account, BOB, t))
    }),
    call("channel's pickles", World::pickles, |w, t| {
        let (account, key) = (&w.alice.account, w.dave.identity_key());
        done(OlmChannel::from_vodozemac_pickles(account, DAVE, &key, t, KEY.to_vec()))
    })
    .may_accept(),
    call("add_outbound_olm_session", |w| one_time_key(&w.dave), |w, t| {
        w.to_dave.add_outbound_olm_session(t)
    }),
    call("olm event_type", |_| text("m.note"), |w, t| done(w.to_bob.encrypt(t, "{}"))).may_accept(),
    call("olm content", object, |w, t| done(w.to_bob.encrypt("m.note", t))).may_accept(),
    call("olm decrypt", World::olm_message, |w, t| done(w.to_alice.decrypt(t))),
    call("set_partner_device_keys", |w| w.bob.keys().to_string(), |w, t| {
        w.to_bob.set_partner_device_keys(t)
    }),
    call("outbound room_id", |_| text("!new"), |w, t| {
        OutboundMegolmSession::create(&w.alice.account, t, None)?.erase()
    })
    .may_accept(),
    call("settings", |_| text(r#"{"reserve_ahead": 32}"#), |w, t| {
        OutboundMegolmSession::create(&w.alice.account, "!set", Some(t.to_owned()))?.erase()
    })
    .may_accept(),
    call("stored room_id", room, |w, t| {
        done(OutboundMegolmSession::create_from_storage(&w.alice.account, t, None))
    }),
    call("stored session_id", |w| ok(w.outbound.session_id()), |w, t| {
        let account = &w.alice.account;
        done(OutboundMegolmSession::create_from_storage(account, ROOM, Some(t.to_owned())))
    }),
    call("recipients", World::recipients, |w, t| done(w.spare.get_session_key_for_sending(t))),
    call("mark_as_sent", |w| json!([w.bob.keys()]).to_string(), |w, t| w.spare.mark_as_sent(t))
        .may_accept(),
    call("megolm event_type", |_| text("m.note"), |w, t| done(w.spare.encrypt(t, "{}")))
        .may_accept(),
    call("megolm content", object, |w, t| done(w.spare.encrypt("m.note", t))).may_accept(),
    call("room key's sender", |_| text(ALICE), |w, t| {
        let key = w.alice.identity_key();
        InboundMegolmSession::from_room_key(&w.bob.account, t, &key, &w.room_key())?.erase()
    }),
    call("room key's sender_key", |w| w.alice.identity_key(), |w, t| {
        InboundMegolmSession::from_room_key(&w.bob.account, ALICE, t, &w.room_key())?.erase()
    }),
    call("room_key_content", World::room_key, |w, t| {
        let key = w.alice.identity_key();
        InboundMegolmSession::from_room_key(&w.bob.account, ALICE, &key, t)?.erase()
    }),
    call("session_data", |w| RawSession::new().export(&w.alice).to_string(), |w, t| {
        InboundMegolmSession::from_export(&w.bob.account, t, None)?.erase()
    }),
    call("inbound room_id", room, |w, t| {
        let id = ok(w.inbound.session_id());
        done(InboundMegolmSession::from_storage(&w.bob.account, t, &id, None))
    }),
    call("inbound session_id", |w| ok(w.inbound.session_id()), |w, t| {
        done(InboundMegolmSession::from_storage(&w.bob.account, ROOM, t, None))
    }),
    call("inbound sender_user_id", |_| text(ALICE), |w, t| {
        let (id, sender) = (ok(w.inbound.session_id()), Some(t.to_owned()));
        done(InboundMegolmSession::from_storage(&w.bob.account, ROOM, &id, sender))
    }),
    call("event", World::event, |w, t| done(w.inbound.decrypt(t))),
    call("events", |w| format!("[{}, {}]", w.event(), w.event()), |w, t| {
        done(w.inbound.decrypt_many(t))
    })
    .may_accept(),
    call("claim devices", |_| json!({ BOB: ["B"] }).to_string(), |_, t| {
        done(keys_claim_request(t, Some(10_000)))
    })
    .may_accept(),
    call("claim request", World::claim_request, |w, t| {
        let response = json!({ "one_time_keys": { BOB: { "B": parse(&one_time_key(&w.carol)) } } });
        done(read_keys_claim_response(t, &response.to_string()))
    })
    .may_accept(),
    call("claim response", |_| text(r#"{"one_time_keys": {}, "failures": {"x": {}}}"#), |w, t| {
        done(read_keys_claim_response(&w.claim_request(), t))
    })
    .may_accept(),
    call("signed object", |w| w.bob.keys().to_string(), |w, t| {
        verify_signed_json(t, BOB, "ed25519:B", &ok(w.bob.account.fingerprint_key()))
    }),
    call("signer", |_| text(BOB), |w, t| {
        let (keys, key) = (w.bob.keys().to_string(), ok(w.bob.account.fingerprint_key()));
        verify_signed_json(&keys, t, "ed25519:B", &key)
    }),
    call("signing key_id", |_| text("ed25519:B"), |w, t| {
        let (keys, key) = (w.bob.keys().to_string(), ok(w.bob.account.fingerprint_key()));
        verify_signed_json(&keys, BOB, t, &key)
    }),
    call("public_key", |w| ok(w.bob.account.fingerprint_key()), |w, t| {
        verify_signed_json(&w.bob.keys().to_string(), BOB, "ed25519:B", t)
    }),
    call("canonical_json", object, |_, t| done(canonical_json(t))).may_accept(),
];
