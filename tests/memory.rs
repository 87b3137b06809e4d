//! What reading costs, counted by the allocator: at most four times the text, whatever stands in it,
//! with a few megabytes free for small ones (SEC-100).
#![allow(unsafe_code)] // An allocator is.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use matrixe2ee::{
    Account, E2eeError, OutboundMegolmSession, Store, canonical_json, keys_claim_request,
    read_keys_claim_response, verify_signed_json,
};

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

// One test: what others allocate meanwhile would count.
#[test]
fn no_text_costs_more_than_four_times_its_size() {
    let store = Store::in_memory(vec![7; 32]).expect("a store");
    let account = Account::open(&store, "@alice:a.org", "ALICE").expect("an account");
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
