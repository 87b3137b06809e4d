//! Which message key was used for what: no key may ever encrypt two plaintexts.

use std::collections::HashMap;

use super::world::Verdict;

#[derive(Default)]
pub struct Ledger {
    pub ciphertexts: usize,
    used: HashMap<String, String>,
}

impl Ledger {
    /// A message of a Megolm session (SEC-112).
    pub fn note_megolm(&mut self, session_id: &str, index: u32, body: &str) -> Verdict {
        self.ciphertexts += 1;
        self.note(format!("Megolm session {session_id}, index {index}"), body)
    }

    /// An Olm message: the ratchet key names the session's chain, the index the key (SEC-112).
    pub fn note_olm(&mut self, ratchet_key: &str, index: u64, body: &str) -> Verdict {
        self.ciphertexts += 1;
        self.note(format!("Olm ratchet key {ratchet_key}, index {index}"), body)
    }

    /// A ratchet key belongs to one session.
    pub fn note_chain(&mut self, session_id: &str, ratchet_key: &str) -> Verdict {
        self.note(format!("Olm ratchet key {ratchet_key}"), session_id)
    }

    fn note(&mut self, key: String, value: &str) -> Verdict {
        match self.used.insert(key.clone(), value.to_owned()) {
            Some(before) if before != value => {
                Err(format!("SEC-112: a key was used twice: {key}: {before} and {value}"))
            }
            _ => Ok(()),
        }
    }
}
