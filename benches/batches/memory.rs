//! Bytes on the heap for each loaded session.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, Store};
use serde_json::json;
use vodozemac::megolm::{GroupSession, InboundGroupSession, SessionConfig};

use crate::peer;

struct Counting;

/// Counting slows several threads down: only where nothing is timed.
static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

// SAFETY: everything is the system's allocator; the counters are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) {
            let size = layout.size() as isize;
            let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
            PEAK.fetch_max(live, Ordering::Relaxed);
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if COUNTING.load(Ordering::Relaxed) {
            LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        }
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The bytes that work leaves behind, and the most that it used meanwhile.
fn counted<R>(work: impl FnOnce() -> R) -> (R, isize, isize) {
    LIVE.store(0, Ordering::SeqCst);
    PEAK.store(0, Ordering::SeqCst);
    COUNTING.store(true, Ordering::SeqCst);
    let result = work();
    COUNTING.store(false, Ordering::SeqCst);
    (result, LIVE.load(Ordering::SeqCst), PEAK.load(Ordering::SeqCst))
}

/// What so many of something take, each.
fn each<T>(count: usize, make: impl FnMut(usize) -> T) -> f64 {
    let (all, bytes, _) = counted(|| (0..count).map(make).collect::<Vec<T>>());
    drop(all);
    bytes as f64 / count as f64
}

/// The most that a call uses at a time, in MiB.
pub fn peak(work: impl FnOnce()) -> f64 {
    counted(work).2 as f64 / f64::from(1 << 20)
}

pub fn print() {
    const COUNT: usize = 1000;
    let raw = vodozemac::olm::Account::new();
    let peers: Vec<_> = (0..COUNT).map(|number| peer(&raw, number)).collect();
    let open = || {
        let store = Store::in_memory(vec![7; 32]).unwrap();
        let account = Account::open(&store, "@alice:example.org", "ALICE").unwrap();
        (store, account)
    };
    println!(
        "\n{:<58} {:>8} {:>8} {:>6} {:>6}",
        "bytes of a loaded session", "ours", "raw", "ratio", "aim"
    );
    let report = |name: &str, ours: f64, raw: f64| {
        println!("{name:<58} {ours:>8.0} {raw:>8.0} {:>6.2} {:>6.2}", ours / raw, 1.2);
    };

    let (store, account) = open();
    for peer in &peers {
        let (keys, key) = (peer.device_keys.to_str().unwrap(), peer.one_time_key.to_str().unwrap());
        OlmChannel::create_outbound_channel(&account, keys, key).unwrap();
    }
    // Another account on the same store has the same in memory, but nothing of it open.
    drop(account);
    let account = Account::open(&store, "@alice:example.org", "ALICE").unwrap();
    let ours = each(COUNT, |number| {
        let user = format!("@user{}:example.org", number / 4);
        // The handle goes, the session stays.
        drop(
            OlmChannel::create_from_storage(&account, &user, &peers[number].identity_key).unwrap(),
        );
    });
    let copy =
        |session: &vodozemac::olm::Session| vodozemac::olm::Session::from_pickle(session.pickle());
    report(
        "channel with one Olm session",
        ours,
        each(COUNT, |number| Box::new(copy(&peers[number].session))),
    );

    let (store, account) = open();
    let groups: Vec<_> =
        (0..COUNT).map(|_| GroupSession::new(SessionConfig::version_1())).collect();
    for group in &groups {
        let content = json!({"algorithm": "m.megolm.v1.aes-sha2", "room_id": "!room:example.org",
                             "session_id": group.session_id(),
                             "session_key": group.session_key().to_base64()});
        let key = &peers[0].identity_key;
        InboundMegolmSession::from_room_key(
            &account,
            "@bob:example.org",
            key,
            &content.to_string(),
        )
        .unwrap();
    }
    drop(account);
    let account = Account::open(&store, "@alice:example.org", "ALICE").unwrap();
    let ours = each(COUNT, |number| {
        let id = groups[number].session_id();
        drop(InboundMegolmSession::from_storage(&account, "!room:example.org", &id, None).unwrap());
    });
    let raw = each(COUNT, |number| Box::new(InboundGroupSession::from(&groups[number])));
    report("inbound Megolm session", ours, raw);
}
