//! A session that six members claim with several devices each, of which forged and altered exports
//! come, which is erased, and between whose steps the program is restarted: whatever the order, the
//! owner's key and events win. Every run draws new orders; a failure shows the smallest one.

#[path = "common/rooms.rs"]
mod rooms;
#[path = "common/story.rs"]
mod story;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use matrixe2ee::{InboundMegolmSession, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rooms::*;
use serde_json::{Value, json};
use story::Story;

const MEMBERS: usize = 6;
const DEVICES: usize = 3;
/// The most users that may claim a session (SEC-44).
const PLACES: usize = 4;
/// Where the owner hands the session out, and where he writes: in two of a ratchet's parts.
const INDICES: [u32; 4] = [0, 1, 3, 260];

#[derive(Clone, Copy, Debug)]
enum Named {
    Nobody,
    Owner,
    Member(usize),
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Alone,
    Many,
    OfTheAccount,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The owner's room key.
    Key(u32),
    /// The owner's key as a member says that it is his.
    Claim {
        member: usize,
        device: usize,
        index: u32,
    },
    ForAnotherRoom {
        member: usize,
        index: u32,
    },
    /// The true ratchet in an export that says it is of the owner's device, or of a member's.
    Export {
        index: u32,
        of: Option<usize>,
        named: Named,
    },
    /// Another ratchet under the session's ID.
    Forged(Named),
    /// The ratchet, but below index 256 another one.
    Altered(Named),
    Read(u32, Way),
    /// The owner's event, sent again under another ID.
    ReadAgain(u32, Way),
    ReadCopy {
        member: usize,
        index: u32,
        way: Way,
    },
    Erase,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let index = || select(&INDICES[..]);
    let member = || 0..MEMBERS;
    let named = || {
        prop_oneof![
            3 => Just(Named::Nobody),
            1 => Just(Named::Owner),
            1 => member().prop_map(Named::Member),
        ]
    };
    let way = || select(&[Way::Alone, Way::Many, Way::OfTheAccount][..]);
    prop_oneof![
        4 => index().prop_map(Step::Key),
        8 => (member(), 0..DEVICES, index())
            .prop_map(|(member, device, index)| Step::Claim { member, device, index }),
        1 => (member(), index()).prop_map(|(member, index)| Step::ForAnotherRoom { member, index }),
        2 => (index(), proptest::option::of(member()), named())
            .prop_map(|(index, of, named)| Step::Export { index, of, named }),
        1 => named().prop_map(Step::Forged),
        1 => named().prop_map(Step::Altered),
        4 => (index(), way()).prop_map(|(index, way)| Step::Read(index, way)),
        1 => (index(), way()).prop_map(|(index, way)| Step::ReadAgain(index, way)),
        3 => (member(), index(), way())
            .prop_map(|(member, index, way)| Step::ReadCopy { member, index, way }),
        1 => Just(Step::Erase),
        2 => Just(Step::Restart),
    ]
}

/// One session: what the owner has handed out and written.
struct Told {
    story: Story,
    keys: BTreeMap<u32, Value>,
    exports: BTreeMap<u32, Value>,
    altered: Value,
    contents: BTreeMap<u32, Value>,
}

impl Told {
    fn new(alice: &Device, member: &Device) -> Self {
        let story = Story::of(alice, member);
        let mut bytes = from_base64(story.export["session_key"].as_str().unwrap());
        bytes[5 + 96] ^= 1;
        let mut altered = story.export.clone();
        altered["session_key"] = json!(base64(&bytes));
        let (mut keys, mut exports) = (BTreeMap::new(), BTreeMap::new());
        keys.insert(0, story.key.clone());
        exports.insert(0, story.export.clone());
        let mut contents = BTreeMap::from([(0, story.event["content"].clone())]);
        let mut raw = story.raw.twin();
        for index in 1..=INDICES[INDICES.len() - 1] {
            if INDICES.contains(&index) {
                keys.insert(index, raw.room_key());
                exports.insert(index, raw.export(alice));
            }
            contents.insert(index, raw.message("later"));
        }
        Self { story, keys, exports, altered, contents }
    }
}

/// What must hold by now.
#[derive(Default)]
struct Expected {
    /// From where on a signature proves the ratchet.
    signed_from: Option<u32>,
    /// The members whose own claims were let in.
    claimants: BTreeSet<usize>,
    /// The members whom an export named: their claims may be there.
    named: BTreeSet<usize>,
    /// The owner's own claim was let in.
    has_owner: bool,
    /// An export may have named the owner, or opened the session to everybody.
    may_be_owned: bool,
    is_open: bool,
    read: BTreeSet<u32>,
}

struct World {
    alice: Device,
    members: Vec<Vec<Device>>,
    bob: RefCell<Device>,
}

impl World {
    fn new() -> Self {
        let device = |member: usize, n: usize| {
            Device::new(&format!("@mallory{member}:example.net"), &format!("M{n}"))
        };
        let members = (0..MEMBERS).map(|m| (0..DEVICES).map(|n| device(m, n)).collect()).collect();
        let bob = RefCell::new(Device::on_disk(BOB, "B"));
        Self { alice: Device::new(ALICE, "A"), members, bob }
    }

    fn read(&self, event: &Value, way: Way) -> std::result::Result<Value, String> {
        let bob = self.bob.borrow();
        let id = event["content"]["session_id"].as_str().unwrap();
        let session = InboundMegolmSession::from_storage(&bob.account, ROOM, id, None);
        let list = json!([event]).to_string();
        let answer = match (way, session) {
            (Way::OfTheAccount, _) | (_, Err(_)) => {
                answer(bob.account.decrypt_room_events(&list))[0].clone()
            }
            (Way::Many, Ok(session)) => answer(session.decrypt_many(&list))[0].clone(),
            (Way::Alone, Ok(session)) => match session.decrypt(&event.to_string()) {
                Ok(event) => json!({ "event": parse(&event) }),
                Err(error) => json!({ "error": { "name": error.name() } }),
            },
        };
        match &answer["event"] {
            Value::Null => Err(answer["error"]["name"].as_str().unwrap().to_owned()),
            event => Ok(event["matrixe2ee"].clone()),
        }
    }

    fn export(&self, data: &Value, named: Named) -> Result<()> {
        let named = match named {
            Named::Nobody => None,
            Named::Owner => Some(ALICE.to_owned()),
            Named::Member(member) => Some(self.members[member][0].user_id.clone()),
        };
        let account = &self.bob.borrow().account;
        InboundMegolmSession::from_export(account, &data.to_string(), named).map(drop)
    }

    fn take(
        &self,
        told: &Told,
        expected: &mut Expected,
        step: Step,
    ) -> std::result::Result<(), String> {
        let story = &told.story;
        let copy = |member: usize, index: u32| {
            self.members[member][0].event(&format!("$copy{member}-{index}"), &told.contents[&index])
        };
        match step {
            Step::Key(index) => {
                let may_be_full = !expected.has_owner && expected.others() >= PLACES;
                match self.bob.borrow().receive(&self.alice, &told.keys[&index]) {
                    Ok(session) => expected.has_owner = ok(session.authenticated()),
                    Err(error) if may_be_full && error.name() == "WRONG_SENDER" => {}
                    Err(error) => return Err(error.to_json()),
                }
                if !expected.has_owner && !may_be_full {
                    return Err("SEC-44: the owner's claim is not there".to_owned());
                }
                expected.sign(index);
            }
            Step::Claim { member, device, index } => {
                // Nobody pushes another one out, and one user has not always a place for each device.
                let may_be_full = expected.claimants.contains(&member)
                    || expected.others() + usize::from(expected.is_owned()) >= PLACES;
                match self.bob.borrow().receive(&self.members[member][device], &told.keys[&index]) {
                    Ok(session) if ok(session.authenticated()) => {
                        expected.claimants.insert(member);
                    }
                    Ok(_) if may_be_full => {}
                    Ok(_) => return Err("SEC-44: the member's claim is not there".to_owned()),
                    Err(error) if error.name() == "WRONG_SENDER" && may_be_full => {}
                    Err(error) => return Err(error.to_json()),
                }
                expected.sign(index);
            }
            Step::ForAnotherRoom { member, index } => {
                let mut key = told.keys[&index].clone();
                key["room_id"] = json!(format!("!other{member}:example.org"));
                self.bob
                    .borrow()
                    .receive(&self.members[member][0], &key)
                    .map_err(|error| error.to_json())?;
            }
            Step::Export { index, of, named } => {
                let mut data = told.exports[&index].clone();
                if let Some(member) = of {
                    data["sender_key"] = json!(self.members[member][1].identity_key());
                }
                expected.exported(self.export(&data, named), named);
            }
            Step::Forged(named) => expected.exported(self.export(&story.forged(), named), named),
            Step::Altered(named) => expected.exported(self.export(&told.altered, named), named),
            Step::Read(index, way) => {
                let event = self.alice.event(&format!("$genuine{index}"), &told.contents[&index]);
                let found = self.read(&event, way);
                if let Some(problem) = expected.problem_with(index, &found, &self.alice) {
                    return Err(problem);
                }
                if found.is_ok() {
                    expected.read.insert(index);
                }
            }
            Step::ReadAgain(index, way) if expected.read.contains(&index) => {
                let event = self.alice.event("$again", &told.contents[&index]);
                let found = self.read(&event, way);
                let refusals = ["REPLAY", "WRONG_SENDER", "UNABLE_TO_DECRYPT", "UNKNOWN_INDEX"];
                let is_refused = found.as_ref().is_err_and(|name| refusals.contains(&&**name));
                if !is_refused || expected.proves(index) && found != Err("REPLAY".to_owned()) {
                    return Err(format!("SEC-51: read again: {found:?}"));
                }
            }
            Step::ReadAgain(..) => {}
            Step::ReadCopy { member, index, way } => {
                let found = self.read(&copy(member, index), way);
                let is_theirs = expected.claimants.contains(&member);
                let may_be = is_theirs
                    || expected.named.contains(&member)
                    || expected.is_open
                    || expected.others() + usize::from(expected.is_owned()) >= PLACES;
                if !may_be && found.is_ok() {
                    return Err(format!("SEC-50: {found:?}"));
                }
                if found == Err("REPLAY".to_owned()) {
                    return Err("SEC-51: a copy is one event".to_owned());
                }
                if is_theirs && expected.signed_from.is_some_and(|from| from <= index) {
                    // SEC-44: what holds for the owner holds for everybody.
                    let facts = found?;
                    if facts["owner"] != "known" {
                        return Err(format!("{facts}"));
                    }
                }
            }
            Step::Erase => {
                if let Ok(session) = story.stored(&self.bob.borrow(), None) {
                    ok(session.erase());
                }
                *expected = Expected::default();
            }
            Step::Restart => self.bob.borrow_mut().reopen(),
        }
        Ok(())
    }

    fn check(&self, steps: &[Step]) -> std::result::Result<(), TestCaseError> {
        let told = Told::new(&self.alice, &self.members[0][0]);
        let mut expected = Expected::default();
        // At the end the owner's key comes, and his events are read in every way, twice.
        let reads = INDICES.iter().flat_map(|index| {
            [Way::Alone, Way::Many, Way::OfTheAccount].map(|way| Step::Read(*index, way))
        });
        let reads: Vec<_> = reads.collect();
        let end = [&[Step::Key(0)][..], &reads, &[Step::Restart], &reads].concat();
        for (place, step) in steps.iter().chain(&end).enumerate() {
            let done = self.take(&told, &mut expected, *step);
            done.map_err(|problem| {
                TestCaseError::fail(format!("step {place}, {step:?}: {problem}"))
            })?;
        }
        Ok(())
    }
}

impl Expected {
    fn sign(&mut self, index: u32) {
        self.signed_from = Some(self.signed_from.map_or(index, |from| from.min(index)));
    }

    /// Nothing is asked of an export: another one may have come first. What it says counts.
    fn exported(&mut self, done: Result<()>, named: Named) {
        match (done, named) {
            (Err(_), _) => {}
            (Ok(()), Named::Nobody) => self.is_open = true,
            (Ok(()), Named::Owner) => self.may_be_owned = true,
            (Ok(()), Named::Member(member)) => drop(self.named.insert(member)),
        }
    }

    fn is_owned(&self) -> bool {
        self.has_owner || self.may_be_owned
    }

    /// How many others may claim it.
    fn others(&self) -> usize {
        self.claimants.union(&self.named).count()
    }

    fn proves(&self, index: u32) -> bool {
        self.has_owner && self.signed_from.is_some_and(|from| from <= index)
    }

    fn problem_with(
        &self,
        index: u32,
        found: &std::result::Result<Value, String>,
        owner: &Device,
    ) -> Option<String> {
        let is_signed = self.signed_from.is_some_and(|from| from <= index);
        match found {
            Err(name) if name == "REPLAY" => Some("SEC-51".to_owned()),
            Err(name) if self.proves(index) => Some(format!("SEC-44: {name}")),
            Err(name) if is_signed && self.claimants.len() >= PLACES => {
                Some(format!("SEC-44: four members hide it: {name}"))
            }
            Ok(facts) if self.proves(index) && facts["sender_key"] != owner.identity_key() => {
                Some(format!("SEC-45: {facts}"))
            }
            _ => None,
        }
    }
}

#[test]
fn whatever_members_and_exports_claim_the_owners_key_and_events_win() {
    // SEC-44, SEC-46, SEC-50, SEC-51
    let world = World::new();
    let cases = std::env::var("CLAIM_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(step(), 0..24), |steps| world.check(&steps));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
