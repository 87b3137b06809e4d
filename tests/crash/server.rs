//! A homeserver's key endpoints, as far as one device can see them.

use std::collections::{HashMap, HashSet};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use vodozemac::Curve25519PublicKey;

use super::protocol::Op;
use super::world::{Outcome, Task, Verdict, World};

#[derive(Default)]
pub struct KeyServer {
    /// One-time keys that nobody has claimed.
    unclaimed: Vec<Curve25519PublicKey>,
    fallback: Option<Curve25519PublicKey>,
    /// Every key ID ever seen in an upload, with its key.
    seen: HashMap<String, String>,
    /// Key IDs whose upload is known to be answered with 200, or refused.
    closed: HashSet<String>,
    /// The upload that was handed out and not answered.
    open: Option<String>,
    /// The server has stored the open upload.
    delivered: bool,
    /// Somebody has claimed a key of it: as soon as a message uses it, the upload is known to have
    /// arrived and is not repeated.
    claimed: bool,
    /// An answer is under way, in this batch.
    answering: bool,
    /// The answer to the open upload was given, but the child was killed.
    in_doubt: bool,
}

/// A claimed key; a fallback key may be claimed more than once.
pub struct Claimed {
    pub key: Curve25519PublicKey,
    pub is_fallback: bool,
}

impl KeyServer {
    pub fn claim(&mut self, rng: &mut StdRng) -> Option<Claimed> {
        let use_fallback = self.unclaimed.is_empty() || rng.random_bool(0.15);
        if let (true, Some(key)) = (use_fallback, self.fallback) {
            self.note_claim(&key);
            return Some(Claimed { key, is_fallback: true });
        }
        if self.unclaimed.is_empty() {
            return None;
        }
        let key = self.unclaimed.swap_remove(rng.random_range(0..self.unclaimed.len()));
        self.note_claim(&key);
        Some(Claimed { key, is_fallback: false })
    }

    fn note_claim(&mut self, key: &Curve25519PublicKey) {
        let open = self.open.as_deref().filter(|_| self.delivered);
        self.claimed |= open.is_some_and(|body| body.contains(&key.to_base64()));
    }

    pub fn unclaimed(&self) -> usize {
        self.unclaimed.len()
    }

    /// Judges the body of an upload. Until it is answered it stays the same, byte for byte, also
    /// after a crash (SEC-22); a key ID never stands for two keys (SEC-21).
    fn hand_out(&mut self, body: Option<&str>) -> Verdict {
        if let Some(open) = self.open.as_deref() {
            if body == Some(open) {
                self.in_doubt = false;
                return Ok(());
            }
            if !self.in_doubt && !self.claimed {
                return Err(format!("SEC-22: the unanswered upload has changed: {open}, {body:?}"));
            }
        }
        self.close();
        self.in_doubt = false;
        let Some(body) = body else { return Ok(()) };
        for kind in ["one_time_keys", "fallback_keys"] {
            for (id, key) in keys_of(body, kind) {
                if kind == "one_time_keys" && self.closed.contains(&id) {
                    return Err(format!("SEC-21: the key {id} is uploaded again"));
                }
                // One-time keys and fallback keys are numbered apart.
                let before = self.seen.insert(format!("{kind} {id}"), key.clone());
                if before.is_some_and(|before| before != key) {
                    return Err(format!("SEC-21: the key ID {id} stands for two keys"));
                }
            }
        }
        self.open = Some(body.to_owned());
        Ok(())
    }

    /// The open upload reaches the server; the answer may be lost.
    fn receive(&mut self) {
        let Some(body) = self.open.as_deref().filter(|_| !self.delivered) else { return };
        let parse = |(_, key): (String, String)| Curve25519PublicKey::from_base64(&key).unwrap();
        self.unclaimed.extend(keys_of(body, "one_time_keys").into_iter().map(parse));
        if let Some(fallback) = keys_of(body, "fallback_keys").into_iter().map(parse).next() {
            self.fallback = Some(fallback);
        }
        self.delivered = true;
    }

    /// None of its keys comes again, whether it was taken or refused.
    fn close(&mut self) {
        let ids = self.open.take().map(|body| keys_of(&body, "one_time_keys")).unwrap_or_default();
        self.closed.extend(ids.into_iter().map(|(id, _)| id));
        (self.delivered, self.claimed) = (false, false);
    }
}

/// The keys in an upload's body by ID.
fn keys_of(body: &str, kind: &str) -> Vec<(String, String)> {
    let body: Value = serde_json::from_str(body).unwrap();
    let keys = body.get(kind).and_then(Value::as_object).into_iter().flatten();
    keys.map(|(id, key)| (id.clone(), key["key"].as_str().unwrap().to_owned())).collect()
}

impl World {
    pub fn upload_task(&mut self) -> Task {
        let server = &self.server;
        let can_answer = server.open.is_some() && !server.answering && !server.in_doubt;
        match self.rng.random_range(0..10) {
            0..3 => self.key_counts(),
            3..8 if can_answer => self.upload_response(),
            _ => upload_request(),
        }
    }

    fn key_counts(&mut self) -> Task {
        let counts = json!({ "signed_curve25519": self.server.unclaimed() }).to_string();
        let used = self.server.fallback.is_none() || self.rng.random_bool(0.3);
        let types = if used { "[]" } else { "[\"signed_curve25519\"]" };
        let op = Op::KeyCounts { counts, fallback_types: Some(types.to_owned()) };
        Task::new(op, |_, outcome| outcome.must_succeed())
    }

    /// Answers the open upload: 200, 400 "already exists", or 500.
    fn upload_response(&mut self) -> Task {
        self.server.answering = true;
        let body = self.server.open.as_deref().unwrap_or_default();
        let refusable = keys_of(body, "one_time_keys").into_iter().next();
        let chance = self.rng.random_range(0..10);
        let (status, answer) = match refusable {
            Some((id, _)) if chance == 0 && !self.server.delivered => {
                let error = format!("One time key {id} already exists. Old key: x; new key: y");
                (400, json!({ "errcode": "M_UNKNOWN", "error": error }))
            }
            _ if chance == 1 => (500, json!({ "errcode": "M_UNKNOWN" })),
            _ => {
                self.server.receive();
                let count = self.server.unclaimed();
                (200, json!({ "one_time_key_counts": { "signed_curve25519": count } }))
            }
        };
        let op = Op::UploadResponse { status, body: answer.to_string() };
        Task::new(op, move |world, outcome| {
            world.server.answering = false;
            match outcome {
                Outcome::Done(_) if status != 500 => world.server.close(),
                Outcome::Lost => world.server.in_doubt = status != 500,
                _ => {}
            }
            outcome.must_succeed()
        })
    }
}

pub fn upload_request() -> Task {
    Task::new(Op::UploadRequest, |world, outcome| {
        if let Outcome::Done(body) = &outcome {
            world.server.hand_out(body.as_str())?;
            // While a refusal is under way, the server has not taken the keys.
            if !world.server.answering && world.rng.random_bool(0.5) {
                world.server.receive();
            }
        }
        outcome.must_succeed()
    })
}
