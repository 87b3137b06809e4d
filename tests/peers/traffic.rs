//! The network between two devices: it reorders, loses and repeats, as far as
//! Olm can bear it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

/// Where an Olm message stands: in which chain of the sender, and at what index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    chain: Vec<u8>,
    index: u64,
}

impl Position {
    /// Reads the position from the message itself, which says both in clear.
    pub fn of(content: &Value, recipient_key: &str) -> Self {
        let message = &content["ciphertext"][recipient_key];
        let body = message["body"].as_str().expect("a message for the recipient");
        let mut bytes = STANDARD_NO_PAD.decode(body).expect("base64");
        if message["type"] == 0 {
            bytes = field(&bytes, 0x22).expect("a pre-key message has a message inside").0;
        }
        let chain = field(&bytes, 0x0a).expect("a message has a ratchet key").0;
        let index = field(&bytes, 0x10).expect("a message has an index").1;
        Self { chain, index }
    }
}

/// A field of an Olm message: its bytes, if its tag says that it has some, or
/// its number.
fn field(message: &[u8], wanted: u8) -> Option<(Vec<u8>, u64)> {
    let mut rest = message.get(1..)?; // After the version.
    while let [tag, after @ ..] = rest {
        let (mut number, mut length) = (0, 0);
        for byte in after {
            number |= u64::from(byte & 0x7f) << (7 * length);
            length += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut end = length;
        if tag & 7 == 2 {
            end += usize::try_from(number).ok()?;
        }
        if *tag == wanted {
            return Some((after.get(length..end)?.to_vec(), number));
        }
        rest = after.get(end..)?;
    }
    None
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Letter {
    pub message: Value,
    pub event_type: String,
    pub content: Value,
    position: Position,
}

/// One direction of the traffic.
pub struct Direction {
    recipient_key: String,
    on_the_way: Vec<Letter>,
    delivered: Vec<Letter>,
    /// What the recipient remembers of the sender's chains, oldest first, and
    /// the indices it may still open in each.
    chains: Vec<(Vec<u8>, BTreeSet<u64>, u64)>,
    pub sent: usize,
    lost: usize,
}

impl Direction {
    /// A recipient keeps 40 skipped message keys (libolm: over all its chains)
    /// and five chains (SEC-39). What may be lost and what may be under way at
    /// once is 40 together, so that each message that arrives can be read.
    const MOST_LOST: usize = 15;
    const MOST_ON_THE_WAY: usize = 25;
    const CHAINS: usize = 5;

    pub fn new(recipient_key: String) -> Self {
        Self {
            recipient_key,
            on_the_way: Vec::new(),
            delivered: Vec::new(),
            chains: Vec::new(),
            sent: 0,
            lost: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.on_the_way.len() >= Self::MOST_ON_THE_WAY
    }

    pub fn is_empty(&self) -> bool {
        self.on_the_way.is_empty()
    }

    pub fn counts(&self) -> String {
        format!("{} sent, {} lost, {} delivered", self.sent, self.lost, self.delivered.len())
    }

    pub fn delivered(&self) -> usize {
        self.delivered.len()
    }

    pub fn lost(&self) -> usize {
        self.lost
    }

    pub fn post(&mut self, message: Value, event_type: &str, content: Value) {
        let position = Position::of(&message, &self.recipient_key);
        self.on_the_way.push(Letter {
            message,
            event_type: event_type.to_owned(),
            content,
            position,
        });
        self.sent += 1;
    }

    /// Loses a message for good, now and then.
    pub fn lose(&mut self, rng: &mut StdRng) {
        if self.lost < Self::MOST_LOST && !self.on_the_way.is_empty() {
            let chosen = rng.random_range(..self.on_the_way.len());
            self.on_the_way.swap_remove(chosen);
            self.lost += 1;
        }
    }

    /// The next messages to arrive, any of those on the way. If one would push
    /// out a chain that others on the way need, those come first.
    pub fn arrivals(&mut self, rng: &mut StdRng) -> Vec<Letter> {
        if self.on_the_way.is_empty() {
            return Vec::new();
        }
        let chosen = self.on_the_way.swap_remove(rng.random_range(..self.on_the_way.len()));
        let mut arriving = Vec::new();
        let known = self.chains.iter().any(|(chain, ..)| *chain == chosen.position.chain);
        if !known && self.chains.len() == Self::CHAINS {
            let oldest = &self.chains[0].0;
            arriving = self.on_the_way.extract_if(.., |l| l.position.chain == *oldest).collect();
        }
        arriving.push(chosen);
        for letter in &arriving {
            self.open(&letter.position);
        }
        self.delivered.extend(arriving.iter().cloned());
        arriving
    }

    /// Follows what the recipient does when it reads a message.
    fn open(&mut self, position: &Position) {
        let at = self.chains.iter().position(|(chain, ..)| *chain == position.chain);
        let at = at.unwrap_or_else(|| {
            if self.chains.len() == Self::CHAINS {
                self.chains.remove(0);
            }
            self.chains.push((position.chain.clone(), BTreeSet::new(), 0));
            self.chains.len() - 1
        });
        let (_, skipped, next) = &mut self.chains[at];
        if position.index < *next {
            assert!(skipped.remove(&position.index), "a message key was used twice");
        } else {
            skipped.extend(*next..position.index);
            *next = position.index + 1;
        }
    }

    /// A message that arrived before, of a chain that the recipient still has.
    pub fn repetition(&self, rng: &mut StdRng) -> Option<Letter> {
        let letter = pick(rng, &self.delivered)?;
        let live = self.chains.iter().any(|(chain, ..)| *chain == letter.position.chain);
        live.then(|| letter.clone())
    }

    /// A message that is still on the way, with one bit of its MAC changed.
    pub fn damaged(&self, rng: &mut StdRng) -> Option<Value> {
        let mut message = pick(rng, &self.on_the_way)?.message.clone();
        let body = &mut message["ciphertext"][&self.recipient_key]["body"];
        let mut bytes = STANDARD_NO_PAD.decode(body.as_str()?).ok()?;
        let at = bytes.len() - rng.random_range(1..=8);
        bytes[at] ^= 1 << rng.random_range(0..8);
        *body = STANDARD_NO_PAD.encode(bytes).into();
        Some(message)
    }
}

pub fn pick<'a, T>(rng: &mut StdRng, items: &'a [T]) -> Option<&'a T> {
    (!items.is_empty()).then(|| &items[rng.random_range(..items.len())])
}

/// The content of an event: always another one, and of any shape.
pub fn any_content(rng: &mut StdRng, serial: usize) -> Value {
    const WORDS: [&str; 8] =
        ["hello", "", "\u{e9}t\u{e9}", "\u{1f980}", "\u{2028}", "a\"b\\c", "\t\n\u{1}", "\u{ffff}"];
    let word = |rng: &mut StdRng| -> String {
        let words = rng.random_range(0..4);
        (0..words).map(|_| WORDS[rng.random_range(..WORDS.len())]).collect()
    };
    let mut content = json!({"serial": serial, "body": word(rng), "msgtype": "m.text"});
    match rng.random_range(0..6) {
        0 => content["long"] = "x".repeat(rng.random_range(..20_000)).into(),
        1 => content["number"] = rng.random_range(-(1_i64 << 53) + 1..1 << 53).into(),
        2 => content["deep"] = json!({"list": [null, true, {word(rng): [word(rng)]}, []]}),
        3 => content[word(rng)] = json!({}),
        _ => {}
    }
    content
}
