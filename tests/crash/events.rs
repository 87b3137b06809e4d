//! Events of inbound Megolm sessions: decrypted once, again, and under another event's ID.

use rand::RngExt;
use serde_json::{Value, json};

use super::inbound::{Inbound, Sender};
use super::peer::MEGOLM;
use super::protocol::{Op, message_content};
use super::world::{Outcome, Task, Verdict, World, code_of, items};

const UNKNOWN_INDEX: i64 = 305;
const REPLAY: i64 = 306;

/// An event of a room.
#[derive(Clone)]
pub struct Event {
    index: u32,
    plaintext: Value,
    encrypted: Value,
    /// The child has decrypted it, and that is acknowledged: the index is this event's for good.
    pub used: bool,
}

impl Event {
    pub fn new(index: u32, plaintext: Value, encrypted: Value) -> Self {
        Self { index, plaintext, encrypted, used: false }
    }

    fn id(&self) -> String {
        format!("$event{}", self.plaintext["number"])
    }
}

impl World {
    /// New events, old ones again, and old ones under another event ID.
    pub fn decrypt_task(&mut self, index: usize) -> Task {
        let mut chosen = Vec::new();
        for _ in 0..self.rng.random_range(1..6) {
            let kind = self.rng.random_range(0..10);
            let inbound = &self.inbound[index];
            let replay = kind < 3;
            let old: Vec<usize> = (0..inbound.events.len())
                .filter(|event| !replay || inbound.events[*event].used)
                .collect();
            let is_new = inbound.sender.is_some() && (kind > 6 || old.is_empty());
            if is_new && !replay {
                chosen.push((self.new_event(index), false));
            } else if !old.is_empty() {
                chosen.push((old[self.rng.random_range(0..old.len())], replay));
            }
        }
        self.decrypt_events(index, chosen)
    }

    fn new_event(&mut self, index: usize) -> usize {
        let content = message_content(self.next_number());
        let inbound = &mut self.inbound[index];
        if let Some(Sender { session, .. }) = &mut inbound.sender {
            let plaintext = json!({
                "type": "m.room.message",
                "content": content,
                "room_id": inbound.room_id,
            });
            let message = session.encrypt(plaintext.to_string());
            let encrypted = json!({
                "algorithm": MEGOLM,
                "session_id": inbound.session_id,
                "ciphertext": message.to_base64(),
            });
            inbound.events.push(Event::new(message.message_index(), content, encrypted));
        }
        inbound.events.len() - 1
    }

    /// `chosen`: which events, and whether under another ID.
    fn decrypt_events(&mut self, index: usize, chosen: Vec<(usize, bool)>) -> Task {
        let number = self.next_number();
        let inbound = &self.inbound[index];
        let sender = inbound.sender_user_id();
        let event = |(event, replay): &(usize, bool)| {
            let event = &inbound.events[*event];
            let id = if *replay { format!("$replay{number}") } else { event.id() };
            json!({
                "event_id": id,
                "sender": sender,
                "room_id": inbound.room_id,
                "origin_server_ts": event.plaintext["number"],
                "content": event.encrypted,
            })
        };
        let events = chosen.iter().map(event).collect();
        let (room_id, session_id) = (inbound.room_id.clone(), inbound.session_id.clone());
        Task::new(Op::Decrypt { room_id, session_id, events }, move |world, outcome| {
            let Outcome::Done(results) = &outcome else { return outcome.must_succeed() };
            let inbound = &mut world.inbound[index];
            if items(results).len() != chosen.len() {
                return Err(format!("not one answer for each event: {results}"));
            }
            for ((event, replay), result) in chosen.iter().zip(items(results)) {
                inbound.judge_event(*event, *replay, result)?;
            }
            Ok(())
        })
    }

    /// Every session that the child holds decrypts an event.
    pub fn all_sessions_tasks(&mut self) -> Vec<Task> {
        let held: Vec<usize> = (0..self.inbound.len())
            .filter(|index| self.inbound[*index].first_index.is_some())
            .collect();
        let mut tasks = Vec::new();
        for index in held {
            if self.inbound[index].sender.is_some() {
                self.new_event(index);
            }
            let all = (0..self.inbound[index].events.len()).map(|event| (event, false)).collect();
            tasks.push(self.decrypt_events(index, all));
        }
        tasks
    }
}

impl Inbound {
    /// An index belongs to the event that was first confirmed for it (SEC-51); what the key
    /// reaches is decrypted.
    fn judge_event(&mut self, number: usize, replay: bool, result: &Value) -> Verdict {
        let first_index = self.first_index;
        let event = &mut self.events[number];
        let code = code_of(&result["error"]);
        if first_index.is_none_or(|first| event.index < first) {
            return match code {
                UNKNOWN_INDEX => Ok(()),
                _ => Err(format!("the key begins at {first_index:?}: {result}")),
            };
        }
        if replay {
            let known = &result["error"]["event_id"];
            return match code {
                REPLAY if *known == event.id().as_str() => Ok(()),
                _ => Err(format!("SEC-51: {} was used by {}: {result}", event.index, event.id())),
            };
        }
        if result["event"]["content"] != event.plaintext {
            return Err(format!("index {} decrypts to something else: {result}", event.index));
        }
        event.used = true;
        Ok(())
    }
}
