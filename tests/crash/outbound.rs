//! Operations on outbound Megolm sessions, and how their answers are judged.

use std::collections::{HashMap, HashSet};

use rand::RngExt;
use serde_json::{Value, json};
use vodozemac::megolm::{
    ExportedSessionKey, InboundGroupSession, MegolmMessage, SessionConfig, SessionKey,
};

use super::allowance::Allowance;
use super::events::Event;
use super::peer::MEGOLM;
use super::protocol::{Op, USER, message_content};
use super::statistics::Skipped;
use super::world::{Outcome, Task, Verdict, World, code_of, items, reason_of};

const SESSION_EXPIRED: i64 = 300;

pub struct Room {
    pub id: String,
    /// The current session, as acknowledged.
    current: Option<String>,
    sessions: HashMap<String, Outbound>,
    /// A new session may have been made when the child was killed: what it may do.
    in_doubt: Option<Allowance>,
    /// The current session has expired.
    needs_session: bool,
    /// How many of the peers are members; it only grows, so that nobody's leave expires a session.
    members: usize,
    rotation: u32,
    pub skipped: Skipped,
}

struct Outbound {
    allowance: Allowance,
    /// The child's own key, from the start: it judges every ciphertext.
    key: Option<InboundGroupSession>,
    /// The index of the next message: one more than the last, or what the child reported.
    next_index: u32,
    invalidated: Invalidated,
    /// Keys that were handed out for a device, and devices that were marked as sent.
    pending: HashMap<String, Value>,
    sent: HashSet<String>,
    /// Devices that may have been marked when the child was killed.
    maybe_sent: HashSet<String>,
}

impl Outbound {
    fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            key: None,
            next_index: 0,
            invalidated: Invalidated::No,
            pending: HashMap::new(),
            sent: HashSet::new(),
            maybe_sent: HashSet::new(),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Invalidated {
    No,
    Maybe,
    Yes,
}

impl Room {
    pub fn new(number: usize) -> Self {
        Self {
            id: format!("!room{number}:test"),
            current: None,
            sessions: HashMap::new(),
            in_doubt: None,
            needs_session: false,
            members: 1,
            rotation: [60, 1000][number % 2],
            skipped: Skipped::default(),
        }
    }

    fn session(&mut self) -> Result<&mut Outbound, String> {
        let current = self.current.as_ref().ok_or("the room has no session")?;
        self.sessions.get_mut(current).ok_or_else(|| String::from("nobody made this session"))
    }

    fn new_session(&mut self, session_id: &str, allowance: Allowance) {
        self.sessions.insert(session_id.to_owned(), Outbound::new(allowance));
        self.current = Some(session_id.to_owned());
        self.needs_session = false;
    }

    /// After a restart: the current session is there, and its index is not one that was used; it
    /// is the next one if the end was clean, and else one that may be skipped.
    pub fn judge_report(&mut self, session: &Value, clean: bool) -> Verdict {
        let in_doubt = self.in_doubt.take();
        let id = session["session_id"].as_str();
        if id != self.current.as_deref() {
            match (id, in_doubt) {
                (Some(id), Some(allowance)) => self.new_session(id, allowance),
                _ => {
                    let id = &self.id;
                    return Err(format!("M2: the current session of {id} is lost: {session}"));
                }
            }
        }
        if id.is_none() {
            return Ok(());
        }
        let index = session["message_index"].as_u64().and_then(|index| u32::try_from(index).ok());
        let found = self.session()?;
        let before = found.next_index;
        let index = index.filter(|index| *index >= before).ok_or_else(|| {
            format!("SEC-112: indices below {before} are used already: {session}")
        })?;
        found.allowance.judge_skip(before, index, clean)?;
        found.next_index = index;
        self.skipped.note(index - before, clean);
        Ok(())
    }

    /// An expired session is one that was invalidated, or has encrypted enough.
    fn judge_expired(&mut self, error: &Value, rotation: Option<u32>) -> Verdict {
        let session = self.session()?;
        match reason_of(error) {
            "count" => session.allowance.judge_expired(session.next_index, rotation)?,
            "invalidated" if session.invalidated != Invalidated::No => {
                session.invalidated = Invalidated::Yes;
            }
            _ => return Err(format!("a session has expired for no reason: {error}")),
        }
        self.needs_session = true;
        Ok(())
    }
}

impl World {
    pub fn outbound_tasks(&mut self) -> Vec<Task> {
        let number = self.rng.random_range(0..self.rooms.len());
        let room = &mut self.rooms[number];
        if room.current.is_none() || room.needs_session {
            return vec![self.create_outbound(number), self.own_inbound(number)];
        }
        if room.session().is_ok_and(|session| session.key.is_none()) {
            // The parent cannot judge what it has no key for.
            return vec![self.own_inbound(number)];
        }
        match self.rng.random_range(0..100) {
            0..70 => {
                let most = if self.rng.random_bool(0.2) { 15 } else { 4 };
                (0..self.rng.random_range(1..most)).map(|_| self.encrypt_room(number)).collect()
            }
            70..85 => vec![self.share(number)],
            85..90 => vec![self.own_inbound(number)],
            90..95 => vec![self.invalidate(number)],
            _ => vec![self.create_outbound(number), self.own_inbound(number)],
        }
    }

    fn create_outbound(&mut self, number: usize) -> Task {
        let (allowance, settings) = Allowance::choose(&mut self.rng);
        let op = Op::CreateOutbound { room_id: self.rooms[number].id.clone(), settings };
        Task::new(op, move |world, outcome| {
            let room = &mut world.rooms[number];
            match &outcome {
                Outcome::Done(session_id) => {
                    room.new_session(session_id.as_str().unwrap_or_default(), allowance);
                }
                Outcome::Lost => room.in_doubt = Some(allowance),
                _ => {}
            }
            outcome.must_succeed()
        })
    }

    fn own_inbound(&self, number: usize) -> Task {
        let op = Op::OwnInbound { room_id: self.rooms[number].id.clone() };
        Task::new(op, move |world, outcome| {
            let room = &mut world.rooms[number];
            if let Outcome::Done(answer) = &outcome {
                let session = room.session()?;
                let text = answer["export"]["session_key"].as_str().unwrap_or_default();
                let key = ExportedSessionKey::from_base64(text).map_err(|e| e.to_string())?;
                let key = InboundGroupSession::import(&key, SessionConfig::version_1());
                session.key.get_or_insert(key);
                let room_id = room.id.clone();
                return world.acknowledge_own(&room_id, answer);
            }
            if matches!(outcome, Outcome::Lost) {
                world.inbound_in_doubt = true;
            }
            outcome.must_succeed()
        })
    }

    fn share(&mut self, number: usize) -> Task {
        let room = &mut self.rooms[number];
        if self.rng.random_bool(0.2) {
            room.members = (room.members + 1).min(self.peers.len());
        }
        if self.rng.random_bool(0.3) {
            room.rotation = [20, 60, 150, 1000][self.rng.random_range(0..4)];
        }
        let rotation = room.rotation;
        let members = &self.peers[..room.members];
        let mut membership = json!({ USER: "join" });
        let mut device_keys = json!({});
        for peer in members {
            membership[peer.user_id.as_str()] = json!("join");
            device_keys[peer.user_id.as_str()] =
                json!({ peer.device_id.as_str(): peer.device_keys });
        }
        let recipients = json!({
            "encryption": { "algorithm": MEGOLM, "rotation_period_msgs": rotation },
            "history_visibility": "shared",
            "members": membership,
            "device_keys": device_keys,
        });
        let recipients_count = members.len();
        let op = Op::Share { room_id: room.id.clone(), recipients: recipients.to_string() };
        Task::new(op, move |world, outcome| match outcome {
            Outcome::Done(lines) => {
                world.rooms[number].session()?.allowance.see(rotation, true);
                world.judge_shares(number, recipients_count, items(&lines))
            }
            Outcome::Failed(error) if code_of(&error) == SESSION_EXPIRED => {
                world.rooms[number].judge_expired(&error, Some(rotation))
            }
            Outcome::Lost => {
                world.rooms[number].session()?.allowance.see(rotation, false);
                Ok(())
            }
            other => other.must_succeed(),
        })
    }

    /// A device keeps getting the same key until it is marked, then none (M7, M8).
    fn judge_shares(&mut self, number: usize, recipients: usize, lines: &[Value]) -> Verdict {
        let room = &mut self.rooms[number];
        let session_id = room.current.clone().unwrap_or_default();
        let session = room.session()?;
        let mut returned = HashSet::new();
        for line in lines {
            let content = &line["content"];
            let user_id = line["device"]["user_id"].as_str().unwrap_or_default();
            returned.insert(user_id.to_owned());
            if session.sent.contains(user_id) {
                return Err(format!("M8: the key was sent to {user_id} already: {line}"));
            }
            if session.pending.get(user_id).is_some_and(|before| before != content) {
                return Err(format!("M7: {user_id} waits for another key: {line}"));
            }
            session.pending.insert(user_id.to_owned(), content.clone());
            session.maybe_sent.remove(user_id);
            let text = content["session_key"].as_str().unwrap_or_default();
            let key = SessionKey::from_base64(text).map_err(|error| error.to_string())?;
            let mut key = InboundGroupSession::new(&key, SessionConfig::version_1());
            if content["session_id"] != session_id.as_str() || key.session_id() != session_id {
                return Err(format!("the key is of another session: {line}"));
            }
            if session.key.as_mut().is_some_and(|own| !own.connected(&mut key)) {
                return Err(format!("the key does not fit the session: {line}"));
            }
        }
        for peer in &self.peers[..recipients] {
            let user_id = &peer.user_id;
            if returned.contains(user_id) {
                continue;
            }
            // Not returned: it was marked, at the latest by what was under way at a kill.
            if session.maybe_sent.remove(user_id) {
                session.sent.insert(user_id.clone());
                session.pending.remove(user_id);
            } else if !session.sent.contains(user_id) {
                return Err(format!("M6: no key for {user_id}: {lines:?}"));
            }
        }
        self.send_room_keys(number, recipients);
        Ok(())
    }

    /// Half of the time the keys are sent over Olm, and marked.
    fn send_room_keys(&mut self, number: usize, recipients: usize) {
        let Ok(session) = self.rooms[number].session() else { return };
        let pending = session.pending.clone();
        if self.rng.random_bool(0.5) {
            return;
        }
        let mut marked = Vec::new();
        for peer in 0..recipients {
            let Some(content) = pending.get(&self.peers[peer].user_id) else { continue };
            if self.peers[peer].has_channel && !self.peers[peer].erasing {
                marked.push(peer);
                let task = self.encrypt_event(peer, "m.room_key", content.clone());
                self.follow_ups.push(task);
            }
        }
        let task = self.mark_as_sent(number, marked);
        self.follow_ups.push(task);
    }

    fn mark_as_sent(&self, number: usize, marked: Vec<usize>) -> Task {
        let devices: Vec<_> = marked.iter().map(|peer| &self.peers[*peer].device_keys).collect();
        let room_id = self.rooms[number].id.clone();
        let op = Op::MarkAsSent { room_id, devices: json!(devices).to_string() };
        Task::new(op, move |world, outcome| {
            let users: Vec<_> = marked.iter().map(|peer| &world.peers[*peer].user_id).collect();
            let session = world.rooms[number].session()?;
            for user_id in users {
                match outcome {
                    Outcome::Done(_) => {
                        session.pending.remove(user_id);
                        session.maybe_sent.remove(user_id);
                        session.sent.insert(user_id.clone());
                    }
                    Outcome::Lost if !session.sent.contains(user_id) => {
                        session.maybe_sent.insert(user_id.clone());
                    }
                    _ => {}
                }
            }
            outcome.must_succeed()
        })
    }

    fn encrypt_room(&mut self, number: usize) -> Task {
        let content = message_content(self.next_number());
        let op = Op::EncryptRoom { room_id: self.rooms[number].id.clone(), content };
        Task::new(op, move |world, outcome| match outcome {
            Outcome::Done(answer) => world.judge_room_message(number, &answer),
            Outcome::Failed(error) if code_of(&error) == SESSION_EXPIRED => {
                world.rooms[number].judge_expired(&error, None)
            }
            other => other.must_succeed(),
        })
    }

    /// No index twice, none left out without a kill, and all can be decrypted (SEC-112).
    fn judge_room_message(&mut self, number: usize, answer: &Value) -> Verdict {
        let encrypted = &answer["encrypted"];
        let session_id = encrypted["session_id"].as_str().unwrap_or_default();
        let body = encrypted["ciphertext"].as_str().unwrap_or_default();
        let message = MegolmMessage::from_base64(body).map_err(|error| error.to_string())?;
        let index = message.message_index();
        self.ledger.note_megolm(session_id, index, body)?;
        let room = &mut self.rooms[number];
        if room.current.as_deref() != Some(session_id) {
            return Err(format!("M2: this is not the room's current session: {answer}"));
        }
        let room_id = room.id.clone();
        let session = room.session()?;
        if session.invalidated == Invalidated::Yes {
            return Err(format!("an invalidated session has encrypted: {answer}"));
        }
        session.invalidated = Invalidated::No;
        if index != session.next_index {
            let expected = session.next_index;
            return Err(format!("SEC-112: index {index} instead of {expected}: {answer}"));
        }
        session.allowance.judge_message(index)?;
        session.next_index = index + 1;
        let key = session.key.as_mut().ok_or("the parent has no key of this session")?;
        let decrypted = key.decrypt(&message).map_err(|error| format!("{error}: {answer}"))?;
        let plaintext: Value =
            serde_json::from_slice(&decrypted.plaintext).map_err(|error| error.to_string())?;
        if plaintext["content"] != answer["plaintext"] || plaintext["room_id"] != room_id.as_str() {
            return Err(format!("the peer decrypted something else: {plaintext}"));
        }
        let event = Event::new(index, answer["plaintext"].clone(), encrypted.clone());
        self.add_own_event(session_id, event);
        Ok(())
    }

    fn invalidate(&self, number: usize) -> Task {
        let op = Op::Invalidate { room_id: self.rooms[number].id.clone() };
        Task::new(op, move |world, outcome| {
            let room = &mut world.rooms[number];
            match outcome {
                Outcome::Done(_) => room.session()?.invalidated = Invalidated::Yes,
                Outcome::Lost => {
                    let session = room.session()?;
                    if session.invalidated == Invalidated::No {
                        session.invalidated = Invalidated::Maybe;
                    }
                }
                _ => {}
            }
            outcome.must_succeed()
        })
    }
}
