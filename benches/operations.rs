//! What each operation costs through the C ABI with JSON, beside raw vodozemac in the same run.
//!
//! Criterion reports each by itself; the table at the end runs the two in turn, so that the ratio
//! holds when the machine's speed drifts.

#[allow(dead_code)] // Other benchmarks use the rest.
mod c_abi;
#[allow(dead_code)]
mod raw_vodozemac;

use std::ffi::CString;
use std::hint::black_box;
use std::time::{Duration, Instant};

use c_abi::{Owned, Text, c};
use criterion::Criterion;
use serde_json::{Value, json};
use vodozemac::megolm::{GroupSession, InboundGroupSession};

/// One way to do an operation: prepares, then times so many of them.
type Run = Box<dyn FnMut(u32) -> Duration>;

struct Row {
    name: &'static str,
    ours: Run,
    raw: Run,
    /// How many at a time in the interleaved table.
    batch: u32,
}

/// Times each operation by itself; so many times the median. On a machine that does other work
/// too, most of these short operations are left alone, and a sum would be a matter of luck.
fn time(count: u32, mut operation: impl FnMut(usize)) -> Duration {
    let times = (0..count as usize).map(|index| time_all(1, |_| operation(index)).as_secs_f64());
    Duration::from_secs_f64(median(times.collect()) * f64::from(count))
}

/// Times all of them as they come: where the slow ones belong to the price, as those that wait for
/// a disk, or one is long.
fn time_all(count: u32, mut operation: impl FnMut(usize)) -> Duration {
    let start = Instant::now();
    for index in 0..count as usize {
        operation(index);
    }
    start.elapsed()
}

const USER: &std::ffi::CStr = c"@alice:example.org";
const DEVICE: &std::ffi::CStr = c"ALICEDEVICE";
const MESSAGE: &std::ffi::CStr = c"m.room.message";

fn content(bytes: usize) -> String {
    json!({"msgtype": "m.text", "body": "x".repeat(bytes)}).to_string()
}

/// A plaintext as long as ours: content and envelope.
fn olm_plaintext(content: &str) -> String {
    format!("{content}{}", "y".repeat(900))
}

fn one_time_keys(upload: &Text) -> Vec<CString> {
    let upload: Value = serde_json::from_str(upload.get()).unwrap();
    let keys = upload["one_time_keys"].as_object().unwrap();
    keys.iter().map(|(id, key)| c(&json!({ id: key }).to_string())).collect()
}

struct Pair {
    _stores: (Owned, Owned),
    alice: Owned,
    bob: Owned,
    keys: Vec<CString>,
}

fn pair() -> Pair {
    pair_on((c_abi::store(None), c_abi::store(None)))
}

fn pair_on(stores: (Owned, Owned)) -> Pair {
    let alice = c_abi::account(&stores.0, USER, DEVICE);
    let bob = c_abi::account(&stores.1, c"@bob:example.org", c"BOBDEVICE");
    let keys = one_time_keys(&c_abi::keys_upload_request(&bob));
    c_abi::keys_uploaded(&bob);
    Pair { _stores: stores, alice, bob, keys }
}

fn account_rows(rows: &mut Vec<Row>) {
    rows.push(Row {
        name: "account, device keys signed",
        batch: 40,
        ours: Box::new(|count| {
            let stores: Vec<_> = (0..count).map(|_| c_abi::store(None)).collect();
            time(count, |i| drop(black_box(c_abi::account(&stores[i], USER, DEVICE))))
        }),
        raw: Box::new(|count| time(count, |_| drop(black_box(raw_vodozemac::account())))),
    });
    rows.push(Row {
        name: "50 signed one-time keys",
        batch: 10,
        ours: Box::new(|count| {
            let stores: Vec<_> = (0..count).map(|_| c_abi::store(None)).collect();
            let accounts: Vec<_> =
                stores.iter().map(|store| c_abi::account(store, USER, DEVICE)).collect();
            time(count, |i| drop(black_box(c_abi::keys_upload_request(&accounts[i]))))
        }),
        raw: Box::new(|count| {
            let mut accounts: Vec<_> = (0..count).map(|_| raw_vodozemac::account().0).collect();
            time(count, |i| drop(black_box(raw_vodozemac::signed_keys(&mut accounts[i]))))
        }),
    });
}

fn channel_rows(rows: &mut Vec<Row>) {
    let text = content(1024);
    let plaintext = olm_plaintext(&text);
    let (ours_text, raw_text) = (c(&text), plaintext.clone());
    rows.push(Row {
        // Both sides verify the two signatures, of the device keys and of the one-time key.
        name: "outbound channel, first message 1 KiB",
        batch: 10,
        ours: Box::new(move |count| {
            let pairs: Vec<_> = (0..count).map(|_| pair()).collect();
            let keys: Vec<_> = pairs.iter().map(|pair| c_abi::device_keys(&pair.bob)).collect();
            time(count, |i| {
                let channel =
                    c_abi::outbound_channel(&pairs[i].alice, keys[i].as_c(), &pairs[i].keys[0]);
                drop(black_box(c_abi::olm_encrypt(&channel, MESSAGE, &ours_text)));
            })
        }),
        raw: Box::new(move |count| {
            let alice = raw_vodozemac::account().0;
            let mut bob = raw_vodozemac::account().0;
            bob.generate_one_time_keys(1);
            let key = *bob.one_time_keys().values().next().unwrap();
            let signatures = raw_vodozemac::Signatures::by(&bob);
            time(count, |_| {
                signatures.verify_device_keys();
                signatures.verify_one_time_key();
                let (_, message) = raw_vodozemac::outbound(&alice, &bob, key, &raw_text);
                drop(black_box(raw_vodozemac::encode(&message)));
            })
        }),
    });
    let (ours_text, raw_text) = (c(&text), plaintext);
    rows.push(Row {
        // Both sides verify the signature of the sender's device keys.
        name: "inbound channel from first message 1 KiB",
        batch: 10,
        ours: Box::new(move |count| {
            let pairs: Vec<_> = (0..count).map(|_| pair()).collect();
            let messages: Vec<_> = pairs
                .iter()
                .map(|pair| {
                    let keys = c_abi::device_keys(&pair.bob);
                    let channel = c_abi::outbound_channel(&pair.alice, keys.as_c(), &pair.keys[0]);
                    (
                        c_abi::identity_key(&pair.alice),
                        c_abi::olm_encrypt(&channel, MESSAGE, &ours_text),
                    )
                })
                .collect();
            time(count, |i| {
                let (identity, message) = &messages[i];
                drop(black_box(c_abi::inbound_channel(&pairs[i].bob, USER, identity, message)));
            })
        }),
        raw: Box::new(move |count| {
            let alice = raw_vodozemac::account().0;
            let mut bob = raw_vodozemac::account().0;
            bob.generate_one_time_keys(count as usize);
            let messages: Vec<_> = bob
                .one_time_keys()
                .values()
                .map(|key| {
                    let message = raw_vodozemac::outbound(&alice, &bob, *key, &raw_text).1;
                    raw_vodozemac::encode(&message).1
                })
                .collect();
            let signatures = raw_vodozemac::Signatures::by(&alice);
            time(count, |i| {
                drop(black_box(raw_vodozemac::inbound(&mut bob, &messages[i])));
                signatures.verify_device_keys();
            })
        }),
    });
}

/// Two channels that have talked, so that messages are normal ones.
fn talked() -> (Pair, Owned, Owned) {
    talked_on(pair())
}

fn talked_on(pair: Pair) -> (Pair, Owned, Owned) {
    let keys = c_abi::device_keys(&pair.bob);
    let a = c_abi::outbound_channel(&pair.alice, keys.as_c(), &pair.keys[0]);
    let first = c_abi::olm_encrypt(&a, c"m.dummy", c"{}");
    let b = c_abi::inbound_channel(&pair.bob, USER, &c_abi::identity_key(&pair.alice), &first);
    let answer = c_abi::olm_encrypt(&b, c"m.dummy", c"{}");
    c_abi::olm_decrypt(&a, &answer);
    (pair, a, b)
}

fn raw_talked() -> (vodozemac::olm::Session, vodozemac::olm::Session) {
    let alice = raw_vodozemac::account().0;
    let mut bob = raw_vodozemac::account().0;
    bob.generate_one_time_keys(1);
    let key = *bob.one_time_keys().values().next().unwrap();
    let (mut a, first) = raw_vodozemac::outbound(&alice, &bob, key, "first");
    let (mut b, _) = raw_vodozemac::inbound(&mut bob, &raw_vodozemac::encode(&first).1);
    let answer = b.encrypt("answer").unwrap();
    a.decrypt(&answer).unwrap();
    (a, b)
}

fn olm_rows(rows: &mut Vec<Row>) {
    let text = content(1024);
    let (ours_text, raw_text) = (c(&text), olm_plaintext(&text));
    rows.push(Row {
        name: "Olm encrypt 1 KiB",
        batch: 300,
        ours: Box::new(move |count| {
            let (_pair, a, _b) = talked();
            time(count, |_| drop(black_box(c_abi::olm_encrypt(&a, MESSAGE, &ours_text))))
        }),
        raw: Box::new(move |count| {
            let (mut a, _b) = raw_talked();
            time(count, |_| {
                drop(black_box(raw_vodozemac::encode(&a.encrypt(&raw_text).unwrap())));
            })
        }),
    });
    let (ours_text, raw_text) = (c(&text), olm_plaintext(&text));
    rows.push(Row {
        name: "Olm decrypt 1 KiB",
        batch: 300,
        ours: Box::new(move |count| {
            let (_pair, a, b) = talked();
            let messages: Vec<_> =
                (0..count).map(|_| c_abi::olm_encrypt(&a, MESSAGE, &ours_text)).collect();
            time(count, |i| drop(black_box(c_abi::olm_decrypt(&b, &messages[i]))))
        }),
        raw: Box::new(move |count| {
            let (mut a, mut b) = raw_talked();
            let messages: Vec<_> =
                (0..count).map(|_| raw_vodozemac::encode(&a.encrypt(&raw_text).unwrap())).collect();
            time(count, |i| {
                let (kind, body) = &messages[i];
                drop(black_box(raw_vodozemac::olm_decrypt(&mut b, *kind, body)));
            })
        }),
    });
}

const ROOM: &str = "!room:example.org";

fn events(session: &Owned, content: &CString, count: u32) -> Vec<CString> {
    (0..count)
        .map(|index| {
            let content: Value =
                serde_json::from_str(c_abi::room_encrypt(session, MESSAGE, content).get()).unwrap();
            let event = json!({
                "content": content,
                "event_id": format!("$event{index}"),
                "origin_server_ts": 1_700_000_000_000_u64,
                "room_id": ROOM,
                "sender": "@alice:example.org",
                "type": "m.room.encrypted",
            });
            c(&event.to_string())
        })
        .collect()
}

fn room_rows(rows: &mut Vec<Row>, name: [&'static str; 3], bytes: usize) {
    let text = content(bytes);
    let plaintext = format!(r#"{{"room_id":"{ROOM}","type":"m.room.message","content":{text}}}"#);
    let (ours_text, raw_text) = (c(&text), plaintext.clone());
    rows.push(Row {
        name: name[0],
        batch: 200,
        ours: Box::new(move |count| {
            let store = c_abi::store(None);
            let account = c_abi::account(&store, USER, DEVICE);
            let session = c_abi::room_session(&account, &c(ROOM));
            time(count, |_| drop(black_box(c_abi::room_encrypt(&session, MESSAGE, &ours_text))))
        }),
        raw: Box::new(move |count| {
            let mut session = GroupSession::new(Default::default());
            time(count, |_| drop(black_box(raw_vodozemac::room_encrypt(&mut session, &raw_text))))
        }),
    });
    let raw_decrypt = |raw_text: String| {
        move |count: u32| {
            let mut sender = GroupSession::new(Default::default());
            let mut receiver = InboundGroupSession::from(&sender);
            let messages: Vec<_> =
                (0..count).map(|_| raw_vodozemac::room_encrypt(&mut sender, &raw_text)).collect();
            time(count, |i| {
                drop(black_box(raw_vodozemac::room_decrypt(&mut receiver, &messages[i])));
            })
        }
    };
    let ours_text = c(&text);
    rows.push(Row {
        name: name[1],
        batch: 200,
        ours: Box::new(move |count| {
            let store = c_abi::store(None);
            let account = c_abi::account(&store, USER, DEVICE);
            let session = c_abi::room_session(&account, &c(ROOM));
            let receiver = c_abi::room_receiver(&session);
            let events = events(&session, &ours_text, count);
            time(count, |i| drop(black_box(c_abi::room_decrypt(&receiver, &events[i]))))
        }),
        raw: Box::new(raw_decrypt(plaintext.clone())),
    });
    let ours_text = c(&text);
    rows.push(Row {
        name: name[2],
        batch: 1000,
        ours: Box::new(move |count| {
            let store = c_abi::store(None);
            let account = c_abi::account(&store, USER, DEVICE);
            let session = c_abi::room_session(&account, &c(ROOM));
            let receiver = c_abi::room_receiver(&session);
            let events: Vec<_> = events(&session, &ours_text, count)
                .into_iter()
                .map(|event| event.into_string().unwrap())
                .collect();
            let list = c(&format!("[{}]", events.join(",")));
            time_all(1, |_| drop(black_box(c_abi::room_decrypt_many(&receiver, &list))))
        }),
        raw: Box::new(raw_decrypt(plaintext)),
    });
}

/// On disk: each encryption is synced before it returns. vodozemac writes nothing.
fn durable_rows(rows: &mut Vec<Row>) {
    let text = content(1024);
    let (ours_text, raw_text) = (c(&text), olm_plaintext(&text));
    rows.push(Row {
        name: "Olm encrypt 1 KiB, SQLite, synced",
        batch: 20,
        ours: Box::new(move |count| {
            let folder = tempfile::tempdir().unwrap();
            let path = c(folder.path().join("store.db").to_str().unwrap());
            let stores = (c_abi::store(Some(&path)), c_abi::store(None));
            let (_pair, a, _b) = talked_on(pair_on(stores));
            time_all(count, |_| drop(black_box(c_abi::olm_encrypt(&a, MESSAGE, &ours_text))))
        }),
        raw: Box::new(move |count| {
            let (mut a, _b) = raw_talked();
            time(count, |_| {
                drop(black_box(raw_vodozemac::encode(&a.encrypt(&raw_text).unwrap())));
            })
        }),
    });
    let (ours_text, raw_text) = (c(&content(1024)), content(1024));
    rows.push(Row {
        name: "Megolm encrypt 1 KiB, SQLite, synced",
        batch: 20,
        ours: Box::new(move |count| {
            let folder = tempfile::tempdir().unwrap();
            let path = c(folder.path().join("store.db").to_str().unwrap());
            let store = c_abi::store(Some(&path));
            let account = c_abi::account(&store, USER, DEVICE);
            let session = c_abi::room_session(&account, &c(ROOM));
            time_all(count, |_| drop(black_box(c_abi::room_encrypt(&session, MESSAGE, &ours_text))))
        }),
        raw: Box::new(move |count| {
            let mut session = GroupSession::new(Default::default());
            time(count, |_| drop(black_box(raw_vodozemac::room_encrypt(&mut session, &raw_text))))
        }),
    });
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The two in turn, nine times; medians, and the ratio pair by pair.
fn table(rows: &mut [Row]) {
    println!("\n{:<42} {:>10} {:>10} {:>7}", "operation", "ours µs", "raw µs", "ratio");
    for row in rows {
        let mut pairs = Vec::new();
        for _ in 0..9 {
            let per = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(row.batch);
            pairs.push((per((row.ours)(row.batch)), per((row.raw)(row.batch))));
        }
        let ours = median(pairs.iter().map(|pair| pair.0).collect());
        let raw = median(pairs.iter().map(|pair| pair.1).collect());
        let ratio = median(pairs.iter().map(|pair| pair.0 / pair.1).collect());
        println!("{:<42} {ours:>10.1} {raw:>10.1} {ratio:>7.2}", row.name);
    }
}

/// Sessions end after 10,000 messages: criterion's longer runs are cut into pieces.
fn in_pieces(run: &mut Run, count: u64) -> Duration {
    let mut left = count;
    let mut total = Duration::ZERO;
    while left > 0 {
        let piece = left.min(1000);
        total += run(piece as u32);
        left -= piece;
    }
    total
}

fn main() {
    // What the library's symbols come from.
    let _ = matrixe2ee::version();
    let mut rows = Vec::new();
    account_rows(&mut rows);
    channel_rows(&mut rows);
    olm_rows(&mut rows);
    room_rows(
        &mut rows,
        ["Megolm encrypt 1 KiB", "Megolm decrypt 1 KiB", "Megolm decrypt_many 1 KiB, each"],
        1024,
    );
    durable_rows(&mut rows);
    // Only the rows whose names hold this text.
    if let Ok(only) = std::env::var("ONLY") {
        rows.retain(|row| row.name.contains(&only));
    }
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    if std::env::var_os("TABLE_ONLY").is_none() {
        for row in &mut rows {
            let mut group = criterion.benchmark_group(row.name);
            group.bench_function("matrixe2ee", |b| {
                b.iter_custom(|count| in_pieces(&mut row.ours, count))
            });
            group.bench_function("vodozemac", |b| {
                b.iter_custom(|count| in_pieces(&mut row.raw, count))
            });
            group.finish();
        }
        criterion.final_summary();
    }
    table(&mut rows);
}
