//! What reading costs, counted by the allocator: at most four times the text, whatever stands in it,
//! with a few megabytes free for small ones (SEC-100).
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use matrixe2ee::{
    Account, E2eeError, InboundMegolmSession, OutboundMegolmSession, Store, canonical_json,
    keys_claim_request, read_keys_claim_response, verify_signed_json,
};
use serde_json::{Value, json};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn grow(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: the system's allocator, with a count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(memory, layout) }
    }

    // The system moves a large block without having it twice.
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        grow(size);
        // SAFETY: as the caller's.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const MIB: usize = 1 << 20;
const SIZE: usize = 3 * MIB;

/// What a call takes at its height beyond what there was before.
fn cost<T>(call: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = call();
    (MOST.load(Ordering::Relaxed) - before, result)
}

/// Runs a call on a text; gives whether it was accepted.
fn measure<T>(what: &str, text: &str, call: impl FnOnce(&str) -> Result<T, E2eeError>) -> bool {
    let (bytes, result) = cost(|| call(text));
    let times = bytes as f64 / text.len() as f64;
    let said = result.as_ref().map_or_else(|error| error.name(), |_| "accepted");
    println!(
        "{what}: {} MiB cost {} KiB, {times:.2} times, {said}",
        text.len() / MIB,
        bytes / 1024
    );
    if let Err(error) = &result {
        assert_eq!(error.name(), "TOO_LARGE", "{what}: {}", error.to_json());
    }
    // A refused one may cost as much as an accepted one, until it is refused.
    assert!(bytes <= (4 * text.len()).max(10 * MIB), "{what}: {times:.2} times the text");
    result.is_ok()
}

/// `before`, then the item as often as there is room, then `last` and `after`.
fn fill(size: usize, before: &str, item: &str, last: &str, after: &str) -> String {
    let room = size - before.len() - last.len() - after.len();
    format!("{before}{}{last}{after}", item.repeat(room / item.len()))
}

/// As `fill`, with another name in each field.
fn fields(size: usize, before: &str, value: &str, after: &str) -> String {
    let mut text = String::with_capacity(size + 64);
    text.push_str(before);
    let mut n = 0;
    while text.len() < size {
        text.push_str(&format!("\"{n:x}\":{value},"));
        n += 1;
    }
    text.pop();
    text.push_str(after);
    text
}

/// Keys claimed of one device of each of very many users.
fn claims_of_many_users() {
    let users: Vec<String> = (0..50_000).map(|n| format!("@user{n:05}:example.org")).collect();
    let devices: Vec<String> = users.iter().map(|id| format!(r#"{id:?}:["ABCDEFGHIJ"]"#)).collect();
    let devices = format!("{{{}}}", devices.join(","));
    assert!(measure("keys_claim_request", &devices, |text| keys_claim_request(text, None)));
    let request = keys_claim_request(&devices, None).expect("a request");
    let key = json!({ "signed_curve25519:AAAAHQ": { "key": "k".repeat(43), "signatures": {} } });
    let keys: Vec<String> =
        users.iter().map(|id| format!(r#"{id:?}:{{"ABCDEFGHIJ":{key}}}"#)).collect();
    let answer = format!(r#"{{"one_time_keys":{{{}}}}}"#, keys.join(","));
    let read = |text: &str| read_keys_claim_response(&request, text);
    assert!(measure("claim, many users", &answer, read));
    let bad: Vec<String> =
        users.iter().map(|id| format!(r#"{id:?}:{{"ABCDEFGHIJ":{{"a:b":0}}}}"#)).collect();
    let last = format!(r#""@z:z":{{"ABCDEFGHIJ":{key}}}"#);
    let bad = format!(r#"{{"one_time_keys":{{{},{last}}}}}"#, bad.join(","));
    let with_last = request.replacen("}}}", r#"},"@z:z":{"ABCDEFGHIJ":"signed_curve25519"}}}"#, 1);
    let read = |text: &str| {
        let found = read_keys_claim_response(&with_last, text)?;
        assert!(found.contains("AAAAHQ"), "the bad ones spoil no other");
        assert!(found.matches(r#""error""#).count() > 1_000, "and are named");
        Ok(())
    };
    assert!(measure("claim, many users, bad keys", &bad, read));
    let read = |text: &str| read_keys_claim_response(text, r#"{"one_time_keys":{}}"#);
    assert!(measure("claim, many users, the request", &request, read));
}

/// Events as members can send them.
fn events(account: &Account) {
    let outbound = OutboundMegolmSession::create(account, "!r:x", None).expect("a session");
    let inbound = InboundMegolmSession::from_outbound_session(&outbound).expect("a session");
    let id = outbound.session_id().expect("an ID");
    let list = |size: usize, event: &dyn Fn(usize) -> String| {
        let mut text = String::from("[");
        let mut n = 0;
        while text.len() < size {
            text.push_str(&event(n));
            text.push(',');
            n += 1;
        }
        text.pop();
        text + "]"
    };
    let event = |n: usize, room: &str, content: &Value| {
        let event = json!({ "event_id": format!("$event{n}:example.org"), "content": content,
            "sender": "@alice:a.org", "room_id": room, "origin_server_ts": 1_700_000_000_000_i64 });
        event.to_string()
    };
    let dense: Value = vec![0; 30_000].into();
    let relation = json!({ "algorithm": "m.megolm.v1.aes-sha2", "session_id": id,
        "ciphertext": "", "m.relates_to": dense });
    let text = list(SIZE * 2, &|n| event(n, "!r:x", &relation));
    assert!(measure("events, dense relations", &text, |text| inbound.decrypt_many(text)));
    let contents: Vec<Value> = (0..SIZE * 2 / 65_536)
        .map(|_| {
            let content = json!({ "a": vec![0; 20_000] }).to_string();
            let content = outbound.encrypt("m.x", &content).expect("a content");
            serde_json::from_str(&content).expect("JSON")
        })
        .collect();
    let text: Vec<String> =
        contents.iter().enumerate().map(|(n, content)| event(n, "!r:x", content)).collect();
    let text = format!("[{}]", text.join(","));
    assert!(measure("events, dense contents", &text, |text| inbound.decrypt_many(text)));
    assert!(measure("events, dense again", &text, |text| account.decrypt_room_events(text)));
    let short = "A".repeat(120);
    let short = |id: &str| json!({ "algorithm": "m.megolm.v1.aes-sha2", "session_id": id, "ciphertext": short });
    let text = list(SIZE * 2, &|n| event(n, "!r:x", &short(&id)));
    assert!(measure("events, damaged", &text, |text| inbound.decrypt_many(text)));
    let text = list(SIZE * 2, &|n| event(n, "!r:x", &short("unknown")));
    assert!(measure("events, unknown", &text, |text| account.decrypt_room_events(text)));
    let text = list(SIZE * 2, &|n| event(n, &format!("!room{n}:x"), &short("unknown")));
    assert!(measure("events, sessions", &text, |text| account.decrypt_room_events(text)));
}

// One test: what others allocate meanwhile would count.
#[test]
fn no_text_costs_more_than_four_times_its_size() {
    let store = Store::in_memory(vec![7; 32]).expect("a store");
    let account = Account::open(&store, "@alice:a.org", "ALICE").expect("an account");
    claims_of_many_users();
    events(&account);
    let request = keys_claim_request(r#"{"@a:x":["D"]}"#, None).expect("a request");
    let claim = |text: &str| read_keys_claim_response(&request, text);
    let hostile = ["0,", "[0],", r#"{"a":0},"#, "\"\\u0041\",", "-0,"];

    for item in hostile {
        // An answer of more than 16 MiB is refused; in a smaller one nobody looks where nothing is
        // of use.
        let list = |size, user: &str| {
            fill(size, &format!(r#"{{"one_time_keys":{{"{user}":["#), item, "0", "]}}")
        };
        let (large, most) = (list(17 * MIB, "@a:x"), list(16 * MIB, "@b:x"));
        let (bytes, result) = cost(|| claim(&large).map(drop));
        assert_eq!(result.unwrap_err().name(), "TOO_LARGE");
        assert!(bytes < MIB, "it is not read");
        assert!(measure("claim, not asked for", &most, claim));
        assert!(measure("claim, asked for", &list(SIZE, "@a:x"), claim));
    }
    let by_device = r#"{"one_time_keys":{"@a:x":{"#;
    assert!(measure("claim, devices", &fields(SIZE, by_device, "0", "}}}"), claim));
    let by_user = r#"{"one_time_keys":{"#;
    assert!(!measure("claim, users", &fields(SIZE, by_user, "{}", "}}"), claim));
    let failures = r#"{"one_time_keys":{},"failures":{"#;
    assert!(!measure("claim, failures", &fields(SIZE, failures, "{}", "}}"), claim));

    // Who asks for more gets more.
    let devices: Vec<String> = (0..40_000).map(|n| format!("DEVICE{n}")).collect();
    let asked = format!(r#"{{"@a:x":{}}}"#, serde_json::to_string(&devices).expect("JSON"));
    let request = keys_claim_request(&asked, None).expect("a request");
    let key = format!(r#"{{"signed_curve25519:A":{{"key":"{}"}}}}"#, "k".repeat(380));
    let entries: Vec<String> = devices.iter().map(|id| format!("\"{id}\":{key}")).collect();
    let genuine = format!(r#"{{"one_time_keys":{{"@a:x":{{{}}}}}}}"#, entries.join(","));
    assert!(genuine.len() > 16 * MIB);
    assert!(measure("claim, genuine", &genuine, |text| read_keys_claim_response(&request, text)));

    // Long enough to be taken, and nothing that is wanted.
    let long = format!("\"{}\",", "x".repeat(130));
    let longer = format!("\"{}\"", "x".repeat(320));
    for item in hostile.into_iter().chain([long.as_str()]) {
        let list = fill(SIZE, "[", item, "0", "]");
        let object = format!(r#"{{"a":{list}}}"#);
        measure("canonical_json", &list, canonical_json);
        measure("sign_json", &object, |text| account.sign_json(text));
        let key = account.fingerprint_key().expect("a key");
        let verify = |text: &str| match verify_signed_json(text, "@a:b", "ed25519:A", &key) {
            Err(E2eeError::BadSignature { .. }) => Ok(()),
            result => result,
        };
        measure("verify_signed_json", &object, verify);
        measure("import_sessions", &list, |text| account.import_sessions(text));
        measure("encrypt_for_devices", &list, |text| account.encrypt_for_devices(text));
        let session = OutboundMegolmSession::create(&account, "!r:x", None).expect("a session");
        measure("mark_as_sent", &list, |text| session.mark_as_sent(text));
        let room = |members: &str, devices: &str| {
            format!(
                r#"{{"encryption":{{"algorithm":"m.megolm.v1.aes-sha2"}},"members":{members},"device_keys":{devices}}}"#
            )
        };
        let share = |text: &str| {
            OutboundMegolmSession::create(&account, "!r:x", None)?.get_session_key_for_sending(text)
        };
        let bobs = format!(r#"{{"@b:x":{list}}}"#);
        assert!(measure("recipients", &room(r#"{"@b:x":"join"}"#, &bobs), share));
        let entry = format!(r#"{{"@b:x":{{"D":{list}}}}}"#);
        assert!(measure("recipients, a device", &room(r#"{"@b:x":"join"}"#, &entry), share));
        assert!(measure(
            "recipients, a member",
            &room(&format!(r#"{{"@c:x":{list}}}"#), "{}"),
            share
        ));
        let value = if item == long { &longer } else { item.trim_end_matches(',') };
        let many = fields(SIZE, r#"{"@b:x":{"#, value, "}}");
        assert!(measure("recipients, devices", &room(r#"{"@b:x":"join"}"#, &many), share));
    }
}
