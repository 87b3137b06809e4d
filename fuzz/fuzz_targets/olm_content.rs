//! Olm: what is altered on its way is refused or means the same, and costs the genuine message
//! nothing; what the partner itself encrypts is checked before it is believed.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{Edit, Raw, Stranger, apply, ok, parse, sound};
use matrixe2ee::OlmChannel;
use serde_json::{Value, json};
use vodozemac::olm::Session;

struct World {
    bob: Stranger,
    alice: Raw,
    session: Session,
    from_alice: Arc<OlmChannel>,
    carol: Raw,
    from_carol: Arc<OlmChannel>,
    count: u64,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    WORLD.with_borrow_mut(|world| {
        if *kind == b'{' {
            return world.plaintext(data);
        }
        let Ok(edits) = Vec::<Edit>::arbitrary(&mut Unstructured::new(rest)) else { return };
        match kind % 3 {
            0 => world.normal(&edits),
            1 => world.pre_key(&edits),
            _ => {
                let mut plaintext = world.alice.plaintext(&world.bob.account, json!({}));
                apply(&mut plaintext, &edits);
                world.plaintext(plaintext.to_string().as_bytes());
            }
        }
    });
});

fn first(bob: &Stranger, from: &Raw, session: &mut Session) -> Arc<OlmChannel> {
    let plaintext = from.plaintext(&bob.account, json!({})).to_string();
    let content = from.encrypt(session, &bob.account, plaintext.as_bytes()).to_string();
    let (user_id, key) = (from.user_id, from.identity_key());
    ok(OlmChannel::create_from_encrypted_message(&bob.account, user_id, &key, &content, None, None))
}

impl World {
    fn new() -> Self {
        let bob = Stranger::new("@bob:example.org", "BOB");
        let (alice, carol) = (Raw::new("@alice:example.org"), Raw::new("@carol:example.org"));
        let mut session = alice.session_to(&bob.account, &bob.fallback_key);
        let from_alice = first(&bob, &alice, &mut session);
        alice.hear(&mut session, &from_alice);
        let mut other = carol.session_to(&bob.account, &bob.fallback_key);
        let from_carol = first(&bob, &carol, &mut other);
        Self { bob, alice, session, from_alice, carol, from_carol, count: 0 }
    }

    fn words(&mut self) -> Value {
        self.count += 1;
        json!({ "words": self.count })
    }

    fn normal(&mut self, edits: &[Edit]) {
        let words = self.words();
        let plaintext = self.alice.plaintext(&self.bob.account, words);
        let text = plaintext.to_string();
        let content = self.alice.encrypt(&mut self.session, &self.bob.account, text.as_bytes());
        altered(&self.from_alice, content, &plaintext, edits);
    }

    fn pre_key(&mut self, edits: &[Edit]) {
        let words = self.words();
        let mut session = self.carol.session_to(&self.bob.account, &self.bob.fallback_key);
        let plaintext = self.carol.plaintext(&self.bob.account, words);
        let text = plaintext.to_string();
        let content = self.carol.encrypt(&mut session, &self.bob.account, text.as_bytes());
        altered(&self.from_carol, content, &plaintext, edits);
    }

    /// Alice encrypts this, whatever it is.
    fn plaintext(&mut self, plaintext: &[u8]) {
        let content = self.alice.encrypt(&mut self.session, &self.bob.account, plaintext);
        let before = ok(self.from_alice.partner());
        match sound(self.from_alice.decrypt(&content.to_string())) {
            Ok(event) => {
                let genuine = self.alice.plaintext(&self.bob.account, json!({}));
                let event = parse(&event);
                for name in ["sender", "recipient"] {
                    assert_eq!(event[name], genuine[name], "{name}");
                }
                for name in ["keys", "recipient_keys"] {
                    assert_eq!(event[name]["ed25519"], genuine[name]["ed25519"], "{name}");
                }
                assert!(event["type"].is_string() && event["content"].is_object());
            }
            // Too long for an event, or decrypted and discarded.
            Err(error) => {
                let names = ["INVALID_MESSAGE", "MISMATCHED_FINGERPRINT", "TOO_LARGE"];
                assert!(names.contains(&error.name()), "{}", error.to_json());
            }
        }
        assert_eq!(ok(self.from_alice.partner()), before);
    }
}

fn altered(channel: &OlmChannel, content: Value, plaintext: &Value, edits: &[Edit]) {
    let (before, sessions) = (ok(channel.partner()), ok(channel.session_count()));
    let mut other = content.clone();
    apply(&mut other, edits);
    match sound(channel.decrypt(&other.to_string())) {
        // Only what stands beside the ciphertext was altered.
        Ok(event) => assert_eq!(parse(&event), *plaintext),
        Err(_) => {
            assert_eq!(ok(channel.session_count()), sessions);
            assert_eq!(parse(&ok(channel.decrypt(&content.to_string()))), *plaintext);
        }
    }
    assert_eq!(ok(channel.partner()), before);
}
