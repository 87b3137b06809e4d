//! Operations on Olm channels, and how their answers are judged.

use rand::RngExt;
use serde_json::Value;
use vodozemac::Curve25519PublicKey;
use vodozemac::olm::OlmMessage;

use super::peer::{Delivery, Fingerprint, OLM};
use super::protocol::{Op, message_content};
use super::world::{Outcome, Task, Verdict, World, code_of, items as items_of, reason_of};

const UNABLE_TO_DECRYPT: i64 = 202;
const ALREADY_EXISTS: i64 = 501;

impl World {
    /// What to do with one peer; more than one task if they belong together.
    pub fn olm_tasks(&mut self) -> Vec<Task> {
        let peer = self.rng.random_range(0..self.peers.len());
        if self.peers[peer].erasing {
            return Vec::new();
        }
        let has_channel = self.peers[peer].has_channel;
        let has_device_keys = self.peers[peer].fingerprint == Fingerprint::DeviceKeys;
        let task = match self.rng.random_range(0..100) {
            0..30 if has_channel => Some(self.encrypt_task(peer)),
            30..40 if has_channel => self.encrypt_for_devices(),
            40..46 if has_channel && has_device_keys => Some(self.add_session(peer)),
            46..48 if has_channel => Some(self.set_device_keys(peer)),
            48..50 if has_channel => Some(self.erase_channel(peer)),
            50..55 => self.receive_again(peer),
            55..58 => self.reuse_one_time_key(peer),
            58..70 if !has_channel => Some(self.create_channel(peer)),
            58..70 => self.room_key_message(peer),
            70..100 => self.message(peer),
            _ => None,
        };
        task.into_iter().collect()
    }

    /// Everything that the child has not acknowledged is delivered again, first of all.
    pub fn pending_deliveries(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for peer in 0..self.peers.len() {
            let mut pending = std::mem::take(&mut self.peers[peer].pending);
            if pending.len() > 1 && self.rng.random_bool(0.2) {
                pending.swap(0, 1);
            }
            tasks.extend(pending.into_iter().map(|delivery| self.deliver(peer, delivery)));
        }
        tasks
    }

    fn create_channel(&mut self, peer: usize) -> Task {
        let device_keys = self.peers[peer].device_keys.to_string();
        let one_time_key = self.peers[peer].one_time_key();
        Task::new(Op::CreateChannel { device_keys, one_time_key }, move |world, outcome| {
            let peer = &mut world.peers[peer];
            match &outcome {
                // A message that came in the same batch may have made the channel.
                Outcome::Failed(error) if peer.has_channel && code_of(error) == ALREADY_EXISTS => {
                    return Ok(());
                }
                Outcome::Done(_) => {
                    peer.has_channel = true;
                    peer.fingerprint = Fingerprint::DeviceKeys;
                }
                Outcome::Lost => peer.in_doubt = true,
                _ => {}
            }
            outcome.must_succeed()
        })
    }

    fn add_session(&mut self, peer: usize) -> Task {
        let one_time_key = self.peers[peer].one_time_key();
        let partner = self.peers[peer].partner();
        Task::new(Op::AddSession { partner, one_time_key }, move |world, outcome| {
            if !matches!(outcome, Outcome::NotSent) {
                world.peers[peer].touch_unseen();
            }
            outcome.must_succeed()
        })
    }

    fn set_device_keys(&mut self, peer: usize) -> Task {
        let partner = self.peers[peer].partner();
        let device_keys = self.peers[peer].device_keys.to_string();
        Task::new(Op::SetDeviceKeys { partner, device_keys }, move |world, outcome| {
            if matches!(outcome, Outcome::Done(_)) {
                world.peers[peer].fingerprint = Fingerprint::DeviceKeys;
            }
            outcome.must_succeed()
        })
    }

    fn erase_channel(&mut self, peer: usize) -> Task {
        self.peers[peer].erasing = true;
        let partner = self.peers[peer].partner();
        Task::new(Op::EraseChannel { partner }, move |world, outcome| {
            let peer = &mut world.peers[peer];
            peer.erasing = false;
            match outcome {
                Outcome::Done(_) => peer.forget_channel(),
                Outcome::Lost => peer.in_doubt = true,
                _ => {}
            }
            outcome.must_succeed()
        })
    }

    fn encrypt_task(&mut self, peer: usize) -> Task {
        let content = message_content(self.next_number());
        self.encrypt_event(peer, "org.test.message", content)
    }

    pub fn encrypt_event(&self, peer: usize, event_type: &str, content: Value) -> Task {
        let partner = self.peers[peer].partner();
        let event_type = event_type.to_owned();
        Task::new(Op::Encrypt { partner, event_type, content }, move |world, outcome| {
            if let Outcome::Done(answer) = &outcome {
                world.judge_ciphertext(peer, answer)?;
            }
            outcome.must_succeed()
        })
    }

    /// Events for all peers that have a channel, some for the same one.
    fn encrypt_for_devices(&mut self) -> Option<Task> {
        let reachable: Vec<usize> = (0..self.peers.len())
            .filter(|peer| self.peers[*peer].has_channel && !self.peers[*peer].erasing)
            .collect();
        let mut chosen = Vec::new();
        for _ in 0..self.rng.random_range(1..6) {
            chosen.push(*reachable.get(self.rng.random_range(0..reachable.len().max(1)))?);
        }
        let mut items = Vec::new();
        for peer in &chosen {
            let content = message_content(self.next_number());
            items.push((self.peers[*peer].partner(), content));
        }
        Some(Task::new(Op::EncryptForDevices { items }, move |world, outcome| {
            if let Outcome::Done(answers) = &outcome {
                let answers = items_of(answers);
                if answers.len() != chosen.len() {
                    return Err(format!("not one answer for each device: {answers:?}"));
                }
                for (peer, answer) in chosen.into_iter().zip(answers) {
                    world.judge_ciphertext(peer, answer)?;
                }
            }
            outcome.must_succeed()
        }))
    }

    /// O12, SEC-112: no key twice; and what was returned can be decrypted.
    fn judge_ciphertext(&mut self, peer: usize, answer: &Value) -> Verdict {
        let child = self.child()?.clone();
        let peer = &mut self.peers[peer];
        let partner = peer.partner();
        let encrypted = &answer["encrypted"];
        let ciphertext = &encrypted["ciphertext"][&partner.identity_key];
        let (Some(body), Some(message_type)) =
            (ciphertext["body"].as_str(), ciphertext["type"].as_u64())
        else {
            return Err(format!("no ciphertext: {answer}"));
        };
        if encrypted["algorithm"] != OLM || encrypted["sender_key"] != child.identity_key.as_str() {
            return Err(format!("not of this account: {answer}"));
        }
        let bytes = vodozemac::base64_decode(body).map_err(|error| error.to_string())?;
        let message_type = usize::try_from(message_type).map_err(|error| error.to_string())?;
        let message =
            OlmMessage::from_parts(message_type, &bytes).map_err(|error| error.to_string())?;
        let header = match &message {
            OlmMessage::Normal(message) => message,
            OlmMessage::PreKey(message) => message.message(),
        };
        let ratchet_key = header.ratchet_key().to_base64();
        self.ledger.note_olm(&ratchet_key, header.chain_index(), body)?;
        let (plaintext, session_id) = peer.decrypt(&child, &message)?;
        self.ledger.note_chain(&session_id, &ratchet_key)?;
        peer.touch(&session_id);
        if plaintext["content"] == answer["plaintext"]
            && plaintext["recipient"] == peer.user_id.as_str()
            && plaintext["recipient_keys"]["ed25519"] == peer.fingerprint_key().as_str()
            && plaintext["keys"]["ed25519"] == child.fingerprint_key.as_str()
        {
            Ok(())
        } else {
            Err(format!("the peer decrypted something else: {plaintext}"))
        }
    }

    fn message(&mut self, peer: usize) -> Option<Task> {
        let content = message_content(self.next_number());
        self.send(peer, "org.test.message", content)
    }

    /// The peer sends an event: in a session that the child has, or in a new one, made from a key
    /// that the server has.
    pub fn send(&mut self, peer: usize, event_type: &'static str, content: Value) -> Option<Task> {
        let child = self.child().ok()?.clone();
        let from_peer = &mut self.peers[peer];
        if from_peer.erasing || from_peer.pending.len() > 2 {
            return None;
        }
        let latest: Vec<_> = from_peer.known_to_child.iter().rev().take(3).cloned().collect();
        let usable: Vec<_> = latest.into_iter().filter(|id| from_peer.has_session(id)).collect();
        if usable.is_empty() || self.rng.random_bool(0.25) {
            return self.send_in_new_session(peer, event_type, content);
        }
        // Mostly the latest; sometimes another, which then becomes the latest (O14).
        let choice = if self.rng.random_bool(0.7) { 0 } else { usable.len() - 1 };
        let session_id = usable[choice].clone();
        let message = from_peer.encrypt(&child, &session_id, event_type, &content);
        let one_time_key = None;
        let delivery =
            Delivery { message, event_type, content, session_id, one_time_key, in_doubt: false };
        Some(self.deliver(peer, delivery))
    }

    pub fn send_in_new_session(
        &mut self,
        peer: usize,
        event_type: &'static str,
        content: Value,
    ) -> Option<Task> {
        let child = self.child().ok()?.clone();
        let claimed = self.server.claim(&mut self.rng)?;
        let session_id = self.peers[peer].open_session(&child, claimed.key);
        let message = self.peers[peer].encrypt(&child, &session_id, event_type, &content);
        let one_time_key = (!claimed.is_fallback).then_some(claimed.key);
        let delivery =
            Delivery { message, event_type, content, session_id, one_time_key, in_doubt: false };
        Some(self.deliver(peer, delivery))
    }

    fn deliver(&self, peer: usize, delivery: Delivery) -> Task {
        let partner = self.peers[peer].partner();
        let op = Op::Receive { partner, content: delivery.message.clone() };
        Task::new(op, move |world, outcome| world.judge_delivery(peer, delivery, outcome))
    }

    /// The child decrypts everything once: no published key lacks its private half, and no
    /// session is lost. What was under way at a kill may be consumed.
    fn judge_delivery(
        &mut self,
        index: usize,
        mut delivery: Delivery,
        outcome: Outcome,
    ) -> Verdict {
        let peer = &mut self.peers[index];
        match outcome {
            Outcome::Done(event) => {
                if event["content"] != delivery.content || event["type"] != delivery.event_type {
                    return Err(format!("the child decrypted something else: {event}"));
                }
            }
            Outcome::Failed(error)
                if delivery.in_doubt && reason_of(&error) == "missing_message_key" =>
            {
                self.consumed_without_answer += 1;
                // Its plaintext is lost (DESIGN, section 3: a kill after `decrypt`).
                peer.touch(&delivery.session_id);
                peer.used_keys.extend(delivery.one_time_key);
                return Ok(());
            }
            Outcome::Failed(error) => {
                return Err(format!(
                    "the child cannot decrypt a message of {}: {error}",
                    peer.user_id
                ));
            }
            Outcome::Lost | Outcome::NotSent => {
                if matches!(outcome, Outcome::Lost) {
                    delivery.in_doubt = true;
                    peer.in_doubt = true;
                }
                peer.pending.push(delivery);
                return Ok(());
            }
        }
        peer.has_channel = true;
        peer.fingerprint = peer.fingerprint.max(Fingerprint::Learned);
        peer.touch(&delivery.session_id);
        peer.received.push(delivery.message);
        peer.used_keys.extend(delivery.one_time_key);
        if delivery.event_type == "m.room_key" {
            let task = self.import_room_key(index, &delivery.content);
            self.follow_ups.push(task);
        }
        Ok(())
    }

    /// A message that was decrypted before is never decrypted again, whatever became of the
    /// channel since (O23, D21, D22, SEC-36).
    fn receive_again(&mut self, peer: usize) -> Option<Task> {
        let received = &self.peers[peer].received;
        if received.is_empty() {
            return None;
        }
        let message = received[self.rng.random_range(0..received.len())].clone();
        Some(self.must_refuse(peer, message))
    }

    /// A one-time key makes one session only (O23, D22).
    fn reuse_one_time_key(&mut self, peer: usize) -> Option<Task> {
        let used: Vec<_> = self.peers.iter().flat_map(|peer| peer.used_keys.clone()).collect();
        if used.is_empty() {
            return None;
        }
        let key = used[self.rng.random_range(0..used.len())];
        self.use_again(peer, key)
    }

    fn use_again(&mut self, peer: usize, used: Curve25519PublicKey) -> Option<Task> {
        let child = self.child().ok()?.clone();
        let content = message_content(self.next_number());
        let peer_again = &mut self.peers[peer];
        let session_id = peer_again.open_session(&child, used);
        let message = peer_again.encrypt(&child, &session_id, "org.test.message", &content);
        Some(self.must_refuse(peer, message))
    }

    /// Every message and every one-time key that the child has used, once more.
    pub fn use_everything_again(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for peer in 0..self.peers.len() {
            for message in self.peers[peer].received.clone() {
                tasks.push(self.must_refuse(peer, message));
            }
            for used in self.peers[peer].used_keys.clone() {
                tasks.extend(self.use_again((peer + 1) % self.peers.len(), used));
            }
        }
        tasks
    }

    fn must_refuse(&self, peer: usize, content: String) -> Task {
        let partner = self.peers[peer].partner();
        Task::new(Op::Receive { partner, content }, |_, outcome| match outcome {
            Outcome::Done(event) => {
                Err(format!("O23: a used key or message was accepted again: {event}"))
            }
            Outcome::Failed(error) if code_of(&error) != UNABLE_TO_DECRYPT => {
                Err(format!("a used message was refused with {error}"))
            }
            _ => Ok(()),
        })
    }
}
