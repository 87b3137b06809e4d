//! Shutting a store down while sessions have reserved indices (DESIGN section 5).

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::disk::Disk;
use super::script::script;
use super::world::{ROOM, World};
use crate::base::environment::Clock;
use crate::error::Result;
use crate::handles::{Account, OutboundMegolmSession, Store};

fn world(disk: &Disk) -> World {
    let mut world = World::new(Box::new(disk.clone()));
    (script()[0].call)(&mut world).unwrap();
    world
}

// DESIGN section 5
#[test]
fn a_shut_down_gives_back_what_all_sessions_have_reserved_in_one_commit() {
    let disk = Disk::new();
    let mut world = world(&disk);
    let open = |world: &World, room: &str| {
        OutboundMegolmSession::create_from_storage(world.account(), room, None).unwrap()
    };
    let rooms: Vec<String> = (0..5).map(|number| format!("!{number}")).collect();
    let mut sessions = Vec::new();
    for room in &rooms {
        let session = OutboundMegolmSession::create(world.account(), room, None).unwrap();
        session.encrypt("m", "{}").unwrap();
        sessions.push(session);
    }
    disk.take_commits();
    world.store.shut_down().unwrap();
    assert_eq!(disk.take_commits(), 1);
    world.store.shut_down().unwrap();
    world.reopen();
    for room in &rooms {
        assert_eq!(open(&world, room).message_index().unwrap(), 1);
    }
    world.store.shut_down().unwrap();
    assert_eq!(disk.take_commits(), 0, "nothing is left to give back");
}

/// A clock that stops the first call that asks it, until it is told to go on.
struct StoppingClock {
    stopped: SyncSender<()>,
    go_on: Mutex<Option<Receiver<()>>>,
}

impl Clock for StoppingClock {
    fn now_ms(&self) -> Result<i64> {
        if let Some(go_on) = self.go_on.lock().unwrap().take() {
            self.stopped.send(()).unwrap();
            go_on.recv().unwrap();
        }
        Ok(1_700_000_000_000)
    }
}

/// Encrypts in a thread of its own, which has passed all checks of the store when this returns. It
/// goes on when told to, and then says what came of it.
fn stop_a_call(
    store: &Store,
    session: Arc<OutboundMegolmSession>,
) -> (SyncSender<()>, Receiver<Result<String>>) {
    let (stopped, is_stopped) = sync_channel(1);
    let (go_on, may_go_on) = sync_channel(1);
    let clock = StoppingClock { stopped, go_on: Mutex::new(Some(may_go_on)) };
    store.set_clock(Arc::new(clock)).unwrap();
    let (say, result) = sync_channel(1);
    thread::spawn(move || say.send(session.encrypt("m", "{}")));
    is_stopped.recv().unwrap();
    (go_on, result)
}

fn next_index(world: &World, disk: &Disk) -> u32 {
    let store = world.open(disk).unwrap();
    let account = Account::open(&store, "@alice:a.org", "ALICE").unwrap();
    let session = OutboundMegolmSession::create_from_storage(&account, ROOM, None).unwrap();
    session.message_index().unwrap()
}

// SEC-112
#[test]
fn a_call_under_way_at_a_shut_down_uses_no_index_that_was_given_back() {
    let disk = Disk::new();
    let world = world(&disk);
    let session = OutboundMegolmSession::create(world.account(), ROOM, None).unwrap();
    session.encrypt("m", "{}").unwrap();
    let (go_on, result) = stop_a_call(&world.store, Arc::clone(&session));
    world.store.shut_down().unwrap();
    go_on.send(()).unwrap();
    assert_eq!(result.recv().unwrap().unwrap_err().name(), "STORE_CLOSED");
    assert_eq!(next_index(&world, &disk), 1);
}

// SEC-112
#[test]
fn a_call_under_way_cannot_begin_anew_while_the_indices_are_given_back() {
    let disk = Disk::new();
    let world = world(&disk);
    let session = OutboundMegolmSession::create(world.account(), ROOM, None).unwrap();
    session.encrypt("m", "{}").unwrap();
    let (go_on, result) = stop_a_call(&world.store, Arc::clone(&session));
    // It goes on when the session is out of memory, and its record on its way to the disk.
    let (say, came_of_it) = sync_channel(1);
    disk.before_next_commit(move || {
        go_on.send(()).unwrap();
        say.send(result.recv().unwrap()).unwrap();
    });
    world.store.shut_down().unwrap();
    let came_of_it = came_of_it.recv().unwrap();
    assert_eq!(came_of_it.unwrap_err().name(), "STORE_CLOSED");
    assert_eq!(next_index(&world, &disk), 1);
}

// SEC-112
#[test]
fn nobody_reads_a_session_while_the_end_of_its_last_handle_is_written() {
    let disk = Disk::new();
    let world = world(&disk);
    let session = OutboundMegolmSession::create(world.account(), ROOM, None).unwrap();
    session.encrypt("m", "{}").unwrap();
    session.encrypt("m", "{}").unwrap();
    let account = Arc::clone(world.account.as_ref().unwrap());
    let (say, result) = sync_channel(1);
    disk.before_next_commit(move || {
        let (began, has_begun) = sync_channel(1);
        thread::spawn(move || {
            began.send(()).unwrap();
            let again = OutboundMegolmSession::create_from_storage(&account, ROOM, None).unwrap();
            let index = again.message_index().unwrap();
            say.send((index, again.encrypt("m", "{}").map(drop))).unwrap();
        });
        has_begun.recv().unwrap();
        // It waits for this commit. If it did not, it would be done by the end of these.
        (0..10_000).for_each(|_| thread::yield_now());
    });
    drop(session);
    let (index, sent) = result.recv().unwrap();
    sent.unwrap();
    assert_eq!(index, 2);
    assert_eq!(next_index(&world, &disk), 3);
}
