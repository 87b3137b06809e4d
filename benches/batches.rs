//! What batches cost through the C ABI with JSON, on all cores, beside raw vodozemac on one core in
//! the same run, and what a loaded session takes of memory.
//!
//! A ratio is wall time by wall time; an aim of "1.25 / cores" is 0.63 on two.

#[allow(dead_code)]
mod c_abi;
#[path = "batches/memory.rs"]
mod memory;
#[allow(dead_code)]
mod raw_vodozemac;

use std::ffi::CString;
use std::hint::black_box;
use std::time::Instant;

use c_abi::{Owned, c};
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession};
use vodozemac::olm::{Account, Session, SessionConfig};

const USER: &std::ffi::CStr = c"@alice:example.org";
const DEVICE: &std::ffi::CStr = c"ALICEDEVICE";
const ROOM: &str = "!room:example.org";
const RUNS: usize = 5;

/// Wall time, and the processor time of all threads, which other work on the machine leaves alone.
#[derive(Clone, Copy)]
struct Times {
    wall: f64,
    cpu: f64,
}

fn timed(work: impl FnOnce()) -> Times {
    let (start, start_cpu) = (Instant::now(), processor_time());
    work();
    Times { wall: start.elapsed().as_secs_f64(), cpu: processor_time() - start_cpu }
}

#[cfg(target_os = "linux")]
fn processor_time() -> f64 {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: memory for the result, of its type.
    assert_eq!(unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut time) }, 0);
    time.seconds as f64 + time.nanoseconds as f64 * 1e-9
}

#[cfg(not(target_os = "linux"))]
fn processor_time() -> f64 {
    f64::NAN
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The two in turn; medians, and the ratios pair by pair.
fn row(
    name: &str,
    count: usize,
    aim: f64,
    mut ours: impl FnMut() -> Times,
    mut raw: impl FnMut() -> Times,
) {
    if std::env::var("ONLY").is_ok_and(|only| !name.contains(&only)) {
        return;
    }
    let pairs: Vec<_> = (0..RUNS).map(|_| (ours(), raw())).collect();
    let of = |value: fn(&(Times, Times)) -> f64| median(pairs.iter().map(value).collect());
    let each = 1e6 / count as f64;
    println!(
        "{name:<64} {:>7.1} {:>7.1} {:>7.1} {:>6.2} {:>6.2} {aim:>6.2}",
        of(|pair| pair.0.wall) * each,
        of(|pair| pair.0.cpu) * each,
        of(|pair| pair.1.cpu) * each,
        of(|pair| pair.0.wall / pair.1.wall),
        of(|pair| pair.0.cpu / pair.1.cpu),
    );
}

/// The same shuffling each time.
fn shuffle<T>(list: &mut [T]) {
    let mut state = 0x9e37_79b9_u64;
    for last in (1..list.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        list.swap(last, (state >> 33) as usize % (last + 1));
    }
}

/// Sessions of Bob's, and the events that they encrypted: session, message, event.
struct Backlog {
    senders: Vec<InboundGroupSession>,
    keys: Vec<CString>,
    messages: Vec<(usize, String, String)>,
}

impl Backlog {
    fn new(sessions: usize, events: usize) -> Self {
        let body = "x".repeat(1024);
        let content = json!({"msgtype": "m.text", "body": body});
        let plaintext =
            format!(r#"{{"room_id":"{ROOM}","type":"m.room.message","content":{content}}}"#);
        let mut groups: Vec<_> =
            (0..sessions).map(|_| GroupSession::new(Default::default())).collect();
        let senders = groups.iter().map(InboundGroupSession::from).collect();
        let keys = groups
            .iter()
            .map(|group| {
                c(&json!({"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM,
                          "session_id": group.session_id(),
                          "session_key": group.session_key().to_base64()})
                .to_string())
            })
            .collect();
        let messages = (0..events)
            .map(|index| {
                let group = &mut groups[index % sessions];
                let ciphertext = raw_vodozemac::room_encrypt(group, &plaintext);
                let event = json!({
                    "content": {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": ciphertext,
                                "device_id": "BOBDEVICE", "sender_key": BOB_KEY,
                                "session_id": group.session_id()},
                    "event_id": format!("$event{index}"),
                    "origin_server_ts": 1_700_000_000_000_u64 + index as u64,
                    "room_id": ROOM,
                    "sender": "@bob:example.org",
                    "type": "m.room.encrypted",
                });
                (index % sessions, ciphertext, event.to_string())
            })
            .collect();
        Self { senders, keys, messages }
    }

    fn list(&self) -> CString {
        let events: Vec<&str> = self.messages.iter().map(|message| message.2.as_str()).collect();
        c(&format!("[{}]", events.join(",")))
    }

    fn raw(&self) -> Times {
        let copy =
            |session: &InboundGroupSession| InboundGroupSession::from_pickle(session.pickle());
        let mut senders: Vec<_> = self.senders.iter().map(copy).collect();
        timed(|| {
            for (session, message, _) in &self.messages {
                black_box(raw_vodozemac::room_decrypt(&mut senders[*session], message));
            }
        })
    }
}

const BOB_KEY: &str = "PzjSz3MiIGaZAVjWwkdVEdDAXh+3S6R6rK/vs30LDgA";

/// A store in memory, or in a file that goes with it.
fn store(on_disk: bool) -> (Owned, Option<tempfile::TempDir>) {
    if !on_disk {
        return (c_abi::store(None), None);
    }
    let folder = tempfile::tempdir_in(".").unwrap();
    let path = c(folder.path().join("store.db").to_str().unwrap());
    (c_abi::store(Some(&path)), Some(folder))
}

fn all_good(answer: &str, name: &str, count: usize) {
    let items: Vec<Value> = serde_json::from_str(answer).unwrap();
    assert_eq!(items.len(), count);
    assert!(items.iter().all(|item| item.get(name).is_some()));
}

fn decrypt_room_events(backlog: &Backlog, on_disk: bool) -> Times {
    let (store, _folder) = store(on_disk);
    let account = c_abi::account(&store, USER, DEVICE);
    for key in &backlog.keys {
        drop(c_abi::room_key(&account, c"@bob:example.org", &c(BOB_KEY), key));
    }
    let list = backlog.list();
    let mut answer = None;
    let time = timed(|| answer = Some(c_abi::decrypt_room_events(&account, &list)));
    all_good(answer.unwrap().get(), "event", backlog.messages.len());
    time
}

fn decrypt_many(backlog: &Backlog) -> Times {
    let (store, _folder) = store(false);
    let account = c_abi::account(&store, USER, DEVICE);
    let session = c_abi::room_key(&account, c"@bob:example.org", &c(BOB_KEY), &backlog.keys[0]);
    let list = backlog.list();
    let mut answer = None;
    let time = timed(|| answer = Some(c_abi::room_decrypt_many(&session, &list)));
    all_good(answer.unwrap().get(), "event", backlog.messages.len());
    time
}

fn decryption() {
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    let mut backlog = Backlog::new(100, 10_000);
    let aim = 1.25 / cores;
    for order in ["in order", "random"] {
        for (place, on_disk) in [("memory", false), ("SQLite", true)] {
            let name = format!("decrypt_room_events, 10,000 of 100 sessions, {order}, {place}");
            row(&name, 10_000, aim, || decrypt_room_events(&backlog, on_disk), || backlog.raw());
        }
        shuffle(&mut backlog.messages);
    }
    let mut backlog = Backlog::new(1, 10_000);
    let name = "decrypt_many, 10,000 of one session, in order";
    row(name, 10_000, aim, || decrypt_many(&backlog), || backlog.raw());
    shuffle(&mut backlog.messages);
    let name = "decrypt_many, 10,000 of one session, random";
    row(name, 10_000, 1.1 / cores, || decrypt_many(&backlog), || backlog.raw());
}

/// Another device, as far as Alice sees it: its keys, and one one-time key.
struct Peer {
    identity_key: String,
    device_keys: CString,
    one_time_key: CString,
    session: Session,
}

fn peer(alice: &Account, number: usize) -> Peer {
    let (user, device) =
        (format!("@user{}:example.org", number / 4), format!("DEVICE{}", number % 4));
    let mut account = Account::new();
    let sign = |mut object: Value| {
        let signature = account.sign(object.to_string()).to_base64();
        object["signatures"] = json!({ &user: { format!("ed25519:{device}"): signature } });
        object
    };
    let keys = sign(json!({
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "device_id": device,
        "keys": {
            format!("curve25519:{device}"): account.curve25519_key().to_base64(),
            format!("ed25519:{device}"): account.ed25519_key().to_base64(),
        },
        "user_id": user,
    }));
    let key = account.generate_one_time_keys(1).created[0];
    let claimed = json!({ "signed_curve25519:AAAAAQ": {"key": key.to_base64()} });
    let signature = account.sign(json!({"key": key.to_base64()}).to_string()).to_base64();
    let mut claimed = claimed;
    claimed["signed_curve25519:AAAAAQ"]["signatures"] =
        json!({ &user: { format!("ed25519:{device}"): signature } });
    let config = SessionConfig::version_1();
    let identity = account.curve25519_key();
    Peer {
        identity_key: identity.to_base64(),
        device_keys: c(&keys.to_string()),
        one_time_key: c(&claimed.to_string()),
        session: alice.create_outbound_session(config, identity, key).unwrap(),
    }
}

/// The content of an `m.room_key`, and a plaintext as long as ours.
fn room_key() -> (Value, String) {
    let session = GroupSession::new(Default::default());
    let content = json!({"algorithm": "m.megolm.v1.aes-sha2", "room_id": ROOM,
                         "session_id": session.session_id(), "shared_history": true,
                         "session_key": session.session_key().to_base64()});
    let plaintext = format!("{content}{}", "y".repeat(900));
    (content, plaintext)
}

fn share(count: usize, on_disk: bool) {
    let alice = Account::new();
    let mut peers: Vec<_> = (0..count).map(|number| peer(&alice, number)).collect();
    let (store, folder) = store(on_disk);
    let account = c_abi::account(&store, USER, DEVICE);
    for peer in &peers {
        drop(c_abi::outbound_channel(&account, &peer.device_keys, &peer.one_time_key));
    }
    let (content, plaintext) = room_key();
    let items: Vec<_> = peers
        .iter()
        .enumerate()
        .map(|(number, peer)| {
            json!({"user_id": format!("@user{}:example.org", number / 4), "type": "m.room_key",
                   "identity_key": peer.identity_key, "content": content})
        })
        .collect();
    let list = c(&Value::from(items).to_string());
    let place = if on_disk { "SQLite" } else { "memory" };
    let mut raw = || {
        timed(|| {
            for peer in &mut peers {
                let message = peer.session.encrypt(&plaintext).unwrap();
                drop(black_box(raw_vodozemac::encode(&message)));
            }
        })
    };
    let ours = |account: &Owned| {
        let mut answer = None;
        let time = timed(|| answer = Some(c_abi::encrypt_for_devices(account, &list)));
        all_good(answer.unwrap().get(), "content", count);
        time
    };
    let name = format!("encrypt_for_devices, {count} existing channels, {place}");
    row(&name, count, 1.2, || ours(&account), &mut raw);
    let peak = memory::peak(|| drop(c_abi::encrypt_for_devices(&account, &list)));
    println!("{:<64} {peak:>7.0} MiB at most", "");
    let Some(folder) = folder else { return };
    drop(account);
    drop(store);
    // Each time with nothing in memory.
    let path = c(folder.path().join("store.db").to_str().unwrap());
    let cold = || {
        let store = c_abi::store(Some(&path));
        ours(&c_abi::account(&store, USER, DEVICE))
    };
    row(&format!("{name}, store just opened"), count, 1.2, cold, &mut raw);
}

fn main() {
    // What the library's symbols come from.
    let _ = matrixe2ee::version();
    println!(
        "{:64} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6}",
        "µs each", "ours", "ours", "raw", "ratio", "ratio", "aim"
    );
    println!(
        "{:64} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6}",
        "", "wall", "cpu", "cpu", "wall", "cpu", "wall"
    );
    decryption();
    for count in [1000, 10_000] {
        share(count, false);
        share(count, true);
    }
    memory::print();
}
