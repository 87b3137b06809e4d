//! Fallback keys under any order of what can happen: uploads, sync answers that come late, messages
//! that come late, restarts. No message that comes within its hour may be lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::raw::RawDevice;
use common::sqlite::SqliteDirectory;
use common::{Device, HOUR, MINUTE, v};
use matrixe2ee::OlmChannel;
use proptest::prelude::*;
use serde_json::Value;

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Somebody takes the fallback key from the server and encrypts a message.
    Claim,
    /// The oldest message that is on its way arrives.
    Deliver,
    /// The server makes its answer to the sync that waits.
    AnswerSync,
    /// That answer arrives.
    ReceiveSync,
    /// The device asks what to upload, and it arrives; its answer is lost if false.
    Upload(bool),
    Advance(i64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Claim),
        4 => Just(Act::Deliver),
        4 => Just(Act::AnswerSync),
        4 => Just(Act::ReceiveSync),
        4 => Just(Act::Upload(true)),
        1 => Just(Act::Upload(false)),
        3 => (1..20_i64).prop_map(|minutes| Act::Advance(minutes * MINUTE)),
        1 => (1..4_i64).prop_map(|days| Act::Advance(days * 24 * HOUR)),
        1 => Just(Act::Restart),
    ]
}

struct Message {
    sender: RawDevice,
    content: String,
    sent_ms: i64,
}

struct World {
    directory: SqliteDirectory,
    bob: Option<Device>,
    now: i64,
    /// The key on the server, and whether it was claimed.
    key: Value,
    used: bool,
    answer: Option<&'static str>,
    on_the_way: Vec<Message>,
}

impl World {
    fn new() -> Self {
        let directory = SqliteDirectory::new();
        let bob = Device::open_in(directory.open(), "@bob:b.org", "BOB");
        let key = bob.upload()["fallback_keys"].clone();
        Self {
            directory,
            bob: Some(bob),
            now: common::START,
            key,
            used: false,
            answer: None,
            on_the_way: Vec::new(),
        }
    }

    fn bob(&self) -> &Device {
        self.bob.as_ref().unwrap()
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Claim => {
                let sender = RawDevice::new("@alice:a.org", "ALICE");
                let content = sender.say(&mut sender.session_to(self.bob(), &self.key), self.bob());
                self.on_the_way.push(Message { sender, content, sent_ms: self.now });
                self.used = true;
            }
            Act::Deliver if !self.on_the_way.is_empty() => self.deliver(),
            Act::Deliver => {}
            Act::AnswerSync => {
                let unused = if self.used { "[]" } else { r#"["signed_curve25519"]"# };
                self.answer.get_or_insert(unused);
            }
            Act::ReceiveSync => {
                if let Some(unused) = self.answer.take() {
                    let counts = r#"{"signed_curve25519":50}"#;
                    self.bob().account.receive_key_counts(counts, Some(unused.into())).unwrap();
                }
            }
            Act::Upload(answered) => {
                let Some(body) = self.bob().account.keys_upload_request().unwrap() else { return };
                if let Some(key) = v(&body).get("fallback_keys") {
                    self.key = key.clone();
                    self.used = false;
                }
                if answered {
                    let counts = r#"{"one_time_key_counts":{"signed_curve25519":50}}"#;
                    self.bob().account.receive_keys_upload_response(200, counts).unwrap();
                }
            }
            Act::Advance(ms) => {
                // Nothing is longer on its way than the hour.
                let until = self.now + ms;
                while let Some(first) = self.on_the_way.first()
                    && first.sent_ms + HOUR <= until
                {
                    self.set_clock(first.sent_ms + HOUR - 1);
                    self.deliver();
                }
                self.set_clock(until);
            }
            Act::Restart => {
                self.bob = None;
                self.bob = Some(Device::open_in(self.directory.open(), "@bob:b.org", "BOB"));
                self.set_clock(self.now);
            }
        }
    }

    fn set_clock(&mut self, now: i64) {
        self.now = self.now.max(now);
        self.bob().clock.set(self.now);
    }

    fn deliver(&mut self) {
        let Message { sender, content, .. } = self.on_the_way.remove(0);
        let (user, key) = (sender.user_id, sender.identity_key());
        let account = &self.bob().account;
        OlmChannel::create_from_encrypted_message(account, user, &key, &content, None, None)
            .unwrap()
            .first_event()
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    // S7, SEC-22, SEC-24
    #[test]
    fn no_message_to_a_fallback_key_is_lost_in_its_hour(
        acts in prop::collection::vec(act(), 1..80)
    ) {
        let mut world = World::new();
        for act in acts {
            world.act(act);
        }
        while !world.on_the_way.is_empty() {
            world.deliver();
        }
    }
}
