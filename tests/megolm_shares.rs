//! How it is stored to whom a room key was sent: little for each device, and nothing of a session
//! that the room has no longer. (Issue 10, 1.)

#[path = "common/rooms.rs"]
mod rooms;

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use matrixe2ee::OutboundMegolmSession;
use rooms::*;
use serde_json::{Value, json};

const CHUNKS: &str = "outbound_megolm_share_chunk";

/// The stored chunks by their keys, as they are in the file at this moment.
fn chunks(device: &Device) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal"] {
        let from = device.folder().join(name);
        if from.exists() {
            std::fs::copy(from, folder.path().join(name)).unwrap();
        }
    }
    let file = rusqlite::Connection::open(folder.path().join("store.db")).unwrap();
    let mut rows = file.prepare("SELECT key, value FROM record WHERE collection = ?1").unwrap();
    let rows = rows.query_map([CHUNKS], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(std::result::Result::unwrap).collect()
}

/// A room of so many users, most of whom have no device.
fn crowd(count: usize, devices: &[&Device]) -> Recipients {
    (0..count).fold(Recipients::of(devices), |room, number| {
        room.member(&format!("@user{number}:example.org"), "join")
    })
}

fn share(session: &OutboundMegolmSession, room: &Recipients) -> matrixe2ee::Result<String> {
    session.get_session_key_for_sending(&room.text())
}

#[test]
fn a_small_room_has_one_record_and_one_change_in_a_large_one_rewrites_one_small_record() {
    let alice = Device::on_disk(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let session = alice.outbound(None);
    keys_to_send(&session, &Recipients::of(&[&bob, &carol]));
    assert_eq!(chunks(&alice).len(), 1);

    let session = alice.outbound(None);
    let room = crowd(1_000, &[&bob]);
    keys_to_send(&session, &room);
    let before = chunks(&alice);
    assert!((10..30).contains(&before.len()), "{}", before.len());
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    let sent = chunks(&alice);
    let room = room.member(CAROL, "join").with(&carol);
    assert_eq!(keys_to_send(&session, &room).len(), 1); // M14
    let late = chunks(&alice);
    for (before, after) in [(&before, &sent), (&sent, &late)] {
        let changed: Vec<_> =
            after.iter().filter(|(key, value)| before.get(*key) != Some(*value)).collect();
        assert_eq!(changed.len(), 1);
        assert!(changed[0].1.len() < 8_192, "{}", changed[0].1.len());
    }
}

/// Six devices, each in another state, and what is answered of them.
fn in_all_states(alice: &Device, devices: &[Device]) -> (Recipients, Recipients) {
    let session = alice.outbound(None);
    let room = Recipients::of(&devices.iter().collect::<Vec<_>>());
    let block = |room: Recipients, places: [usize; 2], code: &str| {
        places.iter().fold(room, |mut room, place| {
            let device = &devices[*place];
            room.0["blocked"][&device.user_id] = json!({ &device.device_id: code });
            room
        })
    };
    let withheld = block(room.clone(), [2, 3], "m.blacklisted");
    keys_to_send(&session, &withheld);
    ok(session.mark_as_sent(&json!([devices[1].keys(), devices[3].keys()]).to_string()));
    let unreached = block(withheld.clone(), [4, 5], "m.no_olm");
    keys_to_send(&session, &unreached);
    ok(session.mark_as_sent(&json!([devices[5].keys()]).to_string()));
    (withheld, unreached)
}

#[test]
fn whatever_became_of_a_device_is_known_after_a_restart() {
    let mut alice = Device::on_disk(ALICE, "A");
    let devices: Vec<Device> =
        (0..6).map(|n| Device::new(&format!("@user{n}:b.org"), &format!("D{n}"))).collect();
    let (withheld, unreached) = in_all_states(&alice, &devices);
    let before: Vec<Value> = keys_to_send(&alice.stored_outbound(), &unreached);
    alice.reopen();
    let session = alice.stored_outbound();
    assert_eq!(keys_to_send(&session, &unreached), before); // M7, M8, D14, D33
    let of = |lines: &[Value], place: usize| line_of(lines, &devices[place]).clone();
    assert!(of(&before, 0)["content"].is_object());
    assert_eq!((of(&before, 1), of(&before, 3), of(&before, 5)), Default::default());
    assert!(of(&before, 2)["withheld"].is_object() && of(&before, 4)["withheld"].is_object());
    // Both get the key that has waited, once they can be reached again.
    encrypted(&session, "later");
    let lines = keys_to_send(&session, &withheld);
    assert_eq!(of(&lines, 4)["content"], of(&before, 0)["content"]); // M7
    assert_eq!(of(&lines, 5)["content"], of(&before, 0)["content"]); // M7
}

#[test]
fn keys_of_several_indices_wait_side_by_side() {
    let mut alice = Device::on_disk(ALICE, "A");
    let (bob, carol) = (Device::new(BOB, "B"), Device::new(CAROL, "C"));
    let session = alice.outbound(None);
    keys_to_send(&session, &Recipients::of(&[&bob]));
    encrypted(&session, "one");
    let room = Recipients::of(&[&bob, &carol]);
    let lines = keys_to_send(&session, &room);
    ok(session.mark_as_sent(&json!([bob.keys()]).to_string()));
    drop(session);
    alice.reopen();
    assert_eq!(keys_to_send(&alice.stored_outbound(), &room), [line_of(&lines, &carol).clone()]); // M7
}

#[test]
fn rotations_leave_nothing_of_whom_the_former_keys_were_sent_to() {
    let mut alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let room = crowd(200, &[&bob]);
    let mut sessions = Vec::new();
    let mut count = 0;
    for rotation in 0..5 {
        let session = alice.outbound(None);
        keys_to_send(&session, &room);
        encrypted(&session, "one");
        count = if rotation == 0 { chunks(&alice).len() } else { count };
        assert_eq!(chunks(&alice).len(), count);
        sessions.push(session);
    }
    let ids: Vec<String> = sessions.iter().map(|session| ok(session.session_id())).collect();
    let superseded = |session: &OutboundMegolmSession| {
        assert_eq!(expired(share(session, &room)), "superseded"); // M13: who is gone is not known
        assert_eq!(expired(session.encrypt("m.room.message", "{}")), "superseded");
        assert_eq!(ok(session.message_index()), 1); // M16
    };
    sessions[..4].iter().for_each(|session| superseded(session));
    let before = alice.bytes();
    ok(sessions[0].mark_as_sent(&json!([bob.keys()]).to_string()));
    assert!(alice.bytes() == before, "nothing is noted of it");
    drop(sessions);
    alice.reopen();
    let open = |id: &String| {
        ok(OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id.clone())))
    };
    ids[..4].iter().for_each(|id| superseded(&open(id)));
    assert_eq!(ok(alice.stored_outbound().session_id()), ids[4]);
    assert_eq!(keys_to_send(&alice.stored_outbound(), &room).len(), 1); // M7
    // An own device that reads along can still be given an older one.
    ok(matrixe2ee::InboundMegolmSession::from_outbound_session(&open(&ids[0])));
    ok(open(&ids[0]).invalidate());
    assert_eq!(expired(share(&open(&ids[0]), &room)), "invalidated"); // S11
    ok(open(&ids[1]).erase()); // D18
    assert_eq!(ok(alice.stored_outbound().session_id()), ids[4]); // M2
}

#[test]
fn a_session_that_others_are_using_is_superseded_for_all_of_them() {
    let mut alice = Device::on_disk(ALICE, "A");
    for _ in 0..10 {
        let id = ok(alice.outbound(None).session_id());
        let open = |alice: &Device| {
            ok(OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id.clone())))
        };
        let sent = Mutex::new(HashSet::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                // A handle for each message: often the last one is freed, and the session read anew.
                scope.spawn(|| {
                    loop {
                        match open(&alice).encrypt("m.room.message", "{}") {
                            Ok(content) => {
                                let index = index_of(&parse(&content));
                                assert!(sent.lock().unwrap().insert(index), "{index}"); // SEC-112
                            }
                            Err(error) => break assert_eq!(error.name(), "SESSION_EXPIRED"),
                        }
                    }
                });
            }
            while sent.lock().unwrap().len() < 8 {
                std::thread::yield_now();
            }
            alice.outbound(None);
        });
        assert_eq!(expired(open(&alice).encrypt("m.room.message", "{}")), "superseded");
        alice.reopen();
        assert_eq!(expired(open(&alice).encrypt("m.room.message", "{}")), "superseded");
    }
}

#[test]
fn a_new_session_of_another_room_supersedes_nothing() {
    let alice = Device::new(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let session = alice.outbound(None);
    let lines = keys_to_send(&session, &Recipients::of(&[&bob]));
    ok(OutboundMegolmSession::create(&alice.account, "!other:example.org", None));
    assert_eq!(keys_to_send(&session, &Recipients::of(&[&bob])), lines); // M7
    encrypted(&session, "on it goes");
}

#[test]
fn damaged_shares_keep_the_key_from_everybody_until_the_room_gets_another_session() {
    let mut alice = Device::on_disk(ALICE, "A");
    let bob = Device::new(BOB, "B");
    let room = crowd(200, &[&bob]);
    let session = alice.outbound(None);
    keys_to_send(&session, &room);
    let id = ok(session.session_id());
    ok(alice.store.shut_down());
    let file = rusqlite::Connection::open(alice.folder().join("store.db")).unwrap();
    let one = chunks(&alice).into_keys().next().unwrap();
    let removed = file.execute(
        "DELETE FROM record WHERE collection = ?1 AND key = ?2",
        rusqlite::params![CHUNKS, one],
    );
    assert_eq!(removed.unwrap(), 1);
    drop(file);
    alice.reopen();
    let open =
        || OutboundMegolmSession::create_from_storage(&alice.account, ROOM, Some(id.clone()));
    assert_eq!(error_name(open()), "CORRUPT");
    let session = alice.outbound(None);
    assert_eq!(keys_to_send(&session, &room).len(), 1);
    // Nothing damaged is left, and the former session is no better for it.
    assert_eq!(answer(alice.store.problems()), json!([]));
    assert_eq!(expired(ok(open()).encrypt("m.room.message", "{}")), "superseded");
}
