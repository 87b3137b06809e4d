//! Operations on inbound Megolm sessions, and how their answers are judged.

use rand::RngExt;
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession, SessionConfig};

use super::events::Event;
use super::peer::MEGOLM;
use super::protocol::{Op, USER};
use super::world::{Outcome, Task, Verdict, World};

/// A session that the child has received, or that is its own.
pub struct Inbound {
    pub room_id: String,
    pub session_id: String,
    /// The peer that sends in it; none for the child's own sessions.
    pub sender: Option<Sender>,
    /// What the child has acknowledged: from which index on it has the key. It never rises.
    pub first_index: Option<u32>,
    authenticated: bool,
    /// An erase was under way when the child was killed.
    erase_in_doubt: bool,
    /// An erase is in this batch.
    erasing: bool,
    pub events: Vec<Event>,
}

pub struct Sender {
    pub peer: usize,
    pub session: GroupSession,
    pub key: InboundGroupSession,
}

impl Inbound {
    pub fn sender_user_id(&self) -> String {
        let peer = self.sender.as_ref().map(|sender| format!("@peer{}:test", sender.peer));
        peer.unwrap_or_else(|| USER.to_owned())
    }

    /// Notes what the child has acknowledged; it never gets worse (D4).
    fn acknowledge(&mut self, answer: &Value) -> Verdict {
        let (Some(first), Some(authenticated)) =
            (answer["first_known_index"].as_u64(), answer["authenticated"].as_bool())
        else {
            return Err(format!("no acknowledgement: {answer}"));
        };
        if answer["session_id"] != self.session_id.as_str() {
            return Err(format!("this is not session {}: {answer}", self.session_id));
        }
        if self.first_index.is_some_and(|known| first > u64::from(known)) {
            return Err(format!("D4: the key began at {:?}: {answer}", self.first_index));
        }
        if self.authenticated && !authenticated {
            return Err(format!("SEC-45: the key was authenticated: {answer}"));
        }
        self.first_index = u32::try_from(first).ok();
        self.authenticated = authenticated;
        Ok(())
    }

    fn forget(&mut self) {
        self.first_index = None;
        self.authenticated = false;
        self.events.iter_mut().for_each(|event| event.used = false);
    }
}

impl World {
    pub fn inbound_tasks(&mut self) -> Vec<Task> {
        let held: Vec<usize> = (0..self.inbound.len())
            .filter(|index| self.inbound[*index].first_index.is_some())
            .filter(|index| !self.inbound[*index].erasing)
            .collect();
        let chosen = match held.len() {
            0 => None,
            length => Some(held[self.rng.random_range(0..length)]),
        };
        let task = match (chosen, self.rng.random_range(0..100)) {
            (Some(index), 0..70) => Some(self.decrypt_task(index)),
            (_, 70..80) => self.export_task(),
            (Some(index), 80..82) => Some(self.erase_inbound(index)),
            _ => {
                let peer = self.rng.random_range(0..self.peers.len());
                self.room_key_message(peer)
            }
        };
        task.into_iter().collect()
    }

    /// A peer sends a room key: of a new session, or again, from the index where it now stands.
    pub fn room_key_message(&mut self, peer: usize) -> Option<Task> {
        self.child().ok()?;
        let of_peer = |inbound: &Inbound| inbound.sender.as_ref().is_some_and(|s| s.peer == peer);
        let newest = self.inbound.iter().rposition(of_peer);
        let index = match newest.filter(|_| self.rng.random_bool(0.7)) {
            Some(index) => index,
            None => self.new_peer_session(peer),
        };
        let inbound = &self.inbound[index];
        let sender = inbound.sender.as_ref()?;
        let content = json!({
            "algorithm": MEGOLM,
            "room_id": inbound.room_id,
            "session_id": inbound.session_id,
            "session_key": sender.session.session_key().to_base64(),
        });
        self.send(peer, "m.room_key", content)
    }

    fn new_peer_session(&mut self, peer: usize) -> usize {
        let mut session = GroupSession::new(SessionConfig::version_1());
        let key = InboundGroupSession::new(&session.session_key(), SessionConfig::version_1());
        // Some of its messages were sent before the child was in the room.
        for _ in 0..self.rng.random_range(0..3) {
            session.encrypt("");
        }
        let room = self.rng.random_range(0..self.rooms.len());
        self.inbound.push(Inbound {
            room_id: self.rooms[room].id.clone(),
            session_id: session.session_id(),
            sender: Some(Sender { peer, session, key }),
            first_index: None,
            authenticated: false,
            erase_in_doubt: false,
            erasing: false,
            events: Vec::new(),
        });
        self.inbound.len() - 1
    }

    /// The child has decrypted a room key; now it stores it.
    pub fn import_room_key(&self, peer: usize, content: &Value) -> Task {
        let partner = self.peers[peer].partner();
        let session_id = content["session_id"].as_str().unwrap_or_default().to_owned();
        let op = Op::RoomKey { partner, content: content.to_string() };
        Task::new(op, move |world, outcome| world.judge_import(&session_id, outcome))
    }

    fn export_task(&mut self) -> Option<Task> {
        let of_peers: Vec<usize> =
            (0..self.inbound.len()).filter(|index| self.inbound[*index].sender.is_some()).collect();
        if of_peers.is_empty() {
            return None;
        }
        let index = of_peers[self.rng.random_range(0..of_peers.len())];
        let inbound = &mut self.inbound[index];
        let sender = inbound.sender.as_mut()?;
        let partner = self.peers[sender.peer].partner();
        let at = self.rng.random_range(0..=sender.session.message_index());
        let data = json!({
            "algorithm": MEGOLM,
            "forwarding_curve25519_key_chain": [],
            "room_id": inbound.room_id,
            "sender_key": partner.identity_key,
            "sender_claimed_keys": { "ed25519": self.peers[sender.peer].fingerprint_key() },
            "session_id": inbound.session_id,
            "session_key": sender.key.export_at(at)?.to_base64(),
        });
        let session_id = inbound.session_id.clone();
        Some(Task::new(Op::Export { data: data.to_string() }, move |world, outcome| {
            world.judge_import(&session_id, outcome)
        }))
    }

    fn judge_import(&mut self, session_id: &str, outcome: Outcome) -> Verdict {
        match outcome {
            Outcome::Done(answer) => self.known_inbound(session_id)?.acknowledge(&answer),
            Outcome::Lost => {
                self.inbound_in_doubt = true;
                Ok(())
            }
            other => other.must_succeed(),
        }
    }

    fn known_inbound(&mut self, session_id: &str) -> Result<&mut Inbound, String> {
        self.inbound
            .iter_mut()
            .find(|inbound| inbound.session_id == session_id)
            .ok_or_else(|| format!("the child knows a session of nobody: {session_id}"))
    }

    fn own_entry(&mut self, room_id: &str, session_id: &str) -> &mut Inbound {
        let known = self.inbound.iter().position(|inbound| inbound.session_id == session_id);
        let index = known.unwrap_or_else(|| {
            self.inbound.push(Inbound {
                room_id: room_id.to_owned(),
                session_id: session_id.to_owned(),
                sender: None,
                first_index: None,
                authenticated: false,
                erase_in_doubt: false,
                erasing: false,
                events: Vec::new(),
            });
            self.inbound.len() - 1
        });
        &mut self.inbound[index]
    }

    /// The receiving half of the child's own session.
    pub fn acknowledge_own(&mut self, room_id: &str, answer: &Value) -> Verdict {
        let session_id = answer["session_id"].as_str().unwrap_or_default();
        self.own_entry(room_id, session_id).acknowledge(answer)
    }

    pub fn add_own_event(&mut self, session_id: &str, event: Event) {
        if let Ok(inbound) = self.known_inbound(session_id) {
            inbound.events.push(event);
        }
    }

    /// After a restart: no acknowledged room key is lost (SEC-113), none is weaker.
    pub fn judge_inbound_report(&mut self, reported: &[Value]) -> Verdict {
        let in_doubt = std::mem::take(&mut self.inbound_in_doubt);
        for entry in reported {
            let session_id = entry["session_id"].as_str().unwrap_or_default();
            let room_id = entry["room_id"].as_str().unwrap_or_default();
            let owner = entry["owner_user_id"].as_str();
            if owner == Some(USER) && in_doubt {
                self.own_entry(room_id, session_id);
            }
            let inbound = self.known_inbound(session_id)?;
            if inbound.first_index.is_none() && !in_doubt {
                return Err(format!("the child has a session that it never confirmed: {entry}"));
            }
            if owner.is_some_and(|owner| owner != inbound.sender_user_id()) {
                return Err(format!("SEC-45: the session belongs to another: {entry}"));
            }
            inbound.acknowledge(entry)?;
        }
        for inbound in &mut self.inbound {
            let erase_in_doubt = std::mem::take(&mut inbound.erase_in_doubt);
            let id = &inbound.session_id;
            if inbound.first_index.is_none() || reported.iter().any(|e| e["session_id"] == **id) {
                continue;
            }
            if !erase_in_doubt {
                return Err(format!("SEC-113: the acknowledged room key {id} is lost"));
            }
            inbound.forget();
        }
        Ok(())
    }

    fn erase_inbound(&mut self, index: usize) -> Task {
        let inbound = &mut self.inbound[index];
        inbound.erasing = true;
        let (room_id, session_id) = (inbound.room_id.clone(), inbound.session_id.clone());
        Task::new(Op::EraseInbound { room_id, session_id }, move |world, outcome| {
            let inbound = &mut world.inbound[index];
            inbound.erasing = false;
            match outcome {
                Outcome::Done(_) => inbound.forget(),
                Outcome::Lost => inbound.erase_in_doubt = true,
                _ => {}
            }
            outcome.must_succeed()
        })
    }
}
