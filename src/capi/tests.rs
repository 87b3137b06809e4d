use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::boundary::{optional_number, perform, secret, text};
use super::error_object::*;
use super::free_functions::*;
use super::slots::{GENERATION_BITS, SlotTable};
use super::store::*;
use super::strings;
use super::tickets::{borrow, free, issue};
use crate::Store;
use crate::error::E2eeError;

fn memory_store() -> Arc<Store> {
    Store::in_memory(vec![7; 32]).expect("a store in memory")
}

/// One error of each kind.
fn every_error() -> Vec<E2eeError> {
    let detail = || String::from("detail");
    vec![
        E2eeError::null_pointer("detail"),
        E2eeError::invalid_utf8("detail"),
        E2eeError::invalid_length("detail"),
        E2eeError::stale_handle("detail"),
        E2eeError::wrong_handle("detail"),
        E2eeError::busy("detail"),
        E2eeError::forked("detail"),
        E2eeError::panic("detail"),
        E2eeError::invalid_json("detail"),
        E2eeError::invalid_field("field", "detail"),
        E2eeError::too_large("the event", 2, 1),
        E2eeError::invalid_key("detail"),
        E2eeError::bad_signature("detail"),
        E2eeError::unknown_algorithm("found", "expected"),
        E2eeError::no_session("detail"),
        E2eeError::not_encrypted_for_us("detail"),
        E2eeError::unable_to_decrypt("bad_mac", "detail"),
        E2eeError::invalid_message("detail"),
        E2eeError::mismatched_fingerprint("detail"),
        E2eeError::unknown_fingerprint("detail"),
        E2eeError::session_expired("time", "detail"),
        E2eeError::room_not_encrypted("detail"),
        E2eeError::wrong_room("detail"),
        E2eeError::wrong_sender("detail"),
        E2eeError::mismatched_session_id("detail"),
        E2eeError::UnknownIndex { detail: detail(), first_known: 2, got: 1 },
        E2eeError::Replay { detail: detail(), message_index: 1, event_id: detail() },
        E2eeError::not_found("detail"),
        E2eeError::already_exists("detail"),
        E2eeError::store_in_use("detail"),
        E2eeError::store_closed("detail"),
        E2eeError::corrupt("detail"),
        E2eeError::NewerFormat { detail: detail(), found: 2, supported: 1 },
        E2eeError::wrong_key("detail"),
        E2eeError::store_io("detail"),
        E2eeError::clock_failed("detail"),
    ]
}

fn status_name(status: i32) -> &'static str {
    // SAFETY: the names are static texts.
    unsafe { CStr::from_ptr(matrixe2ee_status_name(status)) }.to_str().expect("an ASCII name")
}

#[test]
fn every_error_has_its_status_and_every_status_its_error() {
    let errors = every_error();
    for error in &errors {
        let status = matrixe2ee_status::from(error);
        assert_eq!(status as i32, error.code(), "{error:?}");
        assert_eq!(status_name(error.code()), error.name());
    }
    for (status, name) in STATUS_NAMES {
        let known = errors.iter().filter(|error| error.code() == *status as i32).count();
        let expected = usize::from(*status != matrixe2ee_status::Ok);
        assert_eq!(known, expected, "{name:?}");
    }
    assert_eq!(status_name(0), "OK");
    assert_eq!(status_name(-1), "UNKNOWN");
    assert_eq!(status_name(9999), "UNKNOWN");
}

#[test]
fn the_version_is_that_of_the_handles() {
    // SAFETY: a static text.
    let version = unsafe { CStr::from_ptr(matrixe2ee_version()) }.to_str().expect("ASCII");
    assert_eq!(version, crate::version());
}

#[test]
#[cfg_attr(miri, ignore = "what a panic carries is never freed: its end may panic again")]
fn a_panic_becomes_a_status_without_its_text() {
    let mut error = ptr::null_mut();
    // SAFETY: `error` is a place for a pointer.
    let status = unsafe { perform(&mut error, || panic!("secret")) };
    assert_eq!(status, matrixe2ee_status::Panic);
    // SAFETY: the error object was just made; it is freed once.
    unsafe {
        let message = CStr::from_ptr(matrixe2ee_error_message(error));
        assert_eq!(message, c"internal error");
        assert!(
            !CStr::from_ptr(matrixe2ee_error_json(error))
                .to_bytes()
                .windows(6)
                .any(|w| w == b"secret")
        );
        matrixe2ee_error_free(error);
    }
}

#[test]
fn arguments_are_checked() {
    // SAFETY: the pointers are NULL or static bytes.
    unsafe {
        assert_eq!(text("a", ptr::null()).map_err(|e| e.code()), Err(1));
        assert_eq!(text("a", c"\xff".as_ptr()).map_err(|e| e.code()), Err(2));
        assert_eq!(text("a", c"ok".as_ptr()), Ok("ok"));
        assert_eq!(secret("a", ptr::null(), 0), Ok(Vec::new()));
        assert_eq!(secret("a", ptr::null(), 1).map_err(|e| e.code()), Err(1));
        assert_eq!(secret("a", b"k".as_ptr(), usize::MAX).map_err(|e| e.code()), Err(3));
    }
    assert_eq!(optional_number::<u32>("a", -1), Ok(None));
    assert_eq!(optional_number::<u32>("a", 5), Ok(Some(5)));
    assert_eq!(optional_number::<u32>("a", -2).map_err(|e| e.code()), Err(101));
    assert_eq!(optional_number::<u32>("a", 1 << 32).map_err(|e| e.code()), Err(101));
}

#[test]
fn a_text_comes_back_whole_even_if_it_was_shortened() {
    let text = strings::give("plaintext".to_owned()).expect("a text");
    // SAFETY: the text has nine bytes and a NUL; it is taken back once.
    unsafe {
        assert_eq!(CStr::from_ptr(text), c"plaintext");
        text.add(3).write(0);
        strings::take_back(text);
        strings::take_back(ptr::null_mut());
    }
    assert!(strings::give("nul\0inside".to_owned()).is_err());
}

#[test]
fn tickets_end_when_they_are_freed() {
    let store = memory_store();
    let ticket = issue(store.clone()).expect("a ticket");
    assert!(ptr::eq(&*borrow(ticket).expect("the store"), &*store));
    assert_eq!(Arc::strong_count(&store), 2);
    let held = borrow(ticket).expect("the store");
    free(ticket);
    assert_eq!(borrow(ticket).map(drop).map_err(|e| e.code()), Err(4));
    assert_eq!(Arc::strong_count(&store), 2, "a call still uses it");
    drop(held);
    assert_eq!(Arc::strong_count(&store), 1);
    free(ticket);
    free(ptr::null::<matrixe2ee_store>());
}

#[test]
fn wrong_and_made_up_tickets_are_refused() {
    let store = memory_store();
    let ticket = issue(store.clone()).expect("a ticket");
    let account = ticket.cast::<super::account::matrixe2ee_account>();
    assert_eq!(borrow(account).map(drop).map_err(|e| e.code()), Err(5));
    free(account);
    assert!(borrow(ticket).is_ok(), "freeing with the wrong kind changes nothing");
    for bit in 0..64 {
        let made_up = ticket.map_addr(|address| address ^ (1 << bit));
        assert_eq!(borrow(made_up).map(drop).map_err(|e| e.code()), Err(4), "bit {bit}");
    }
    assert_eq!(borrow(ptr::dangling::<matrixe2ee_store>()).map(drop).map_err(|e| e.code()), Err(4));
    assert_eq!(borrow(ptr::null::<matrixe2ee_store>()).map(drop).map_err(|e| e.code()), Err(1));
    free(ticket);
}

#[test]
#[cfg_attr(miri, ignore = "sixteen million rounds")]
fn a_slot_is_retired_when_its_generations_are_used_up() {
    static DISCARDED: AtomicUsize = AtomicUsize::new(0);
    let table: SlotTable<u32> = SlotTable::new(|_| {
        DISCARDED.fetch_add(1, Ordering::Relaxed);
    });
    let first = table.insert(0).expect("a slot");
    assert!(table.free(first));
    for round in 1..1 << GENERATION_BITS {
        let key = table.insert(round).expect("a slot");
        assert_eq!((key.index, key.generation), (first.index, round));
        assert!(table.free(key) && !table.free(key));
    }
    assert_eq!(DISCARDED.load(Ordering::Relaxed), 1 << GENERATION_BITS);
    assert_ne!(table.insert(0).expect("another slot").index, first.index);
    assert!(table.borrow(first).is_none());
}

#[test]
#[cfg_attr(miri, ignore = "a million slots")]
fn a_full_table_says_so() {
    let table: SlotTable<u32> = SlotTable::new(drop);
    let keys: Vec<_> = std::iter::from_fn(|| table.insert(1)).collect();
    assert_eq!(keys.len(), super::slots::CAPACITY as usize);
    assert!(table.free(keys[77]));
    assert_eq!(table.insert(2).expect("the freed slot").index, keys[77].index);
    assert!(table.insert(3).is_none());
}

#[test]
fn threads_use_and_free_the_same_tickets() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    static TABLE: SlotTable<Arc<AtomicUsize>> = SlotTable::new(|object| {
        assert_eq!(object.swap(0, Ordering::SeqCst), 1, "discarded once, while it is alive");
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    });
    for _ in 0..if cfg!(miri) { 10 } else { 2000 } {
        let keys: Vec<_> = (0..8)
            .map(|_| {
                ALIVE.fetch_add(1, Ordering::SeqCst);
                TABLE.insert(Arc::new(AtomicUsize::new(1))).expect("a slot")
            })
            .collect();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let keys = &keys;
                scope.spawn(move || {
                    for (number, key) in keys.iter().enumerate() {
                        if let Some(held) = TABLE.borrow(*key) {
                            let object = held.as_ref().expect("an object");
                            assert_eq!(object.load(Ordering::SeqCst), 1);
                        }
                        if number % 4 == thread {
                            assert!(TABLE.free(*key));
                        }
                    }
                });
            }
        });
        assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
    }
}

static DESTROYED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn now(_: *mut c_void) -> i64 {
    1
}

unsafe extern "C" fn destroy(userdata: *mut c_void) {
    DESTROYED.fetch_add(1, Ordering::SeqCst);
    // Freed inside a callback: it must wait until the call around it is done.
    free(userdata.cast::<matrixe2ee_store>());
}

#[test]
fn a_clock_is_destroyed_once_and_frees_after_the_call() {
    let store = memory_store();
    let freed_inside = memory_store();
    let ticket = issue(store).expect("a ticket");
    let inner = issue(freed_inside.clone()).expect("a ticket");
    let mut clock = matrixe2ee_clock {
        struct_size: size_of::<matrixe2ee_clock>(),
        userdata: inner.cast(),
        destroy: Some(destroy),
        now_ms: Some(now),
    };
    // SAFETY: all arguments are live or NULL, as each case says.
    unsafe {
        let set =
            |ticket, clock: *const _| matrixe2ee_store_set_clock(ticket, clock, ptr::null_mut());
        assert_eq!(set(ticket, ptr::null()), matrixe2ee_status::NullPointer);
        clock.struct_size -= 1;
        assert_eq!(set(ticket, &clock), matrixe2ee_status::InvalidLength);
        clock.struct_size += 1;
        clock.now_ms = None;
        assert_eq!(set(ticket, &clock), matrixe2ee_status::NullPointer);
        assert_eq!(DESTROYED.load(Ordering::SeqCst), 0);
        clock.now_ms = Some(now);
        assert_eq!(set(ptr::null(), &clock), matrixe2ee_status::NullPointer);
    }
    assert_eq!(DESTROYED.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&freed_inside), 1);
    free(ticket);
}

/// Prints what one look-up costs: `cargo test --release capi -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_look_up() {
    const ROUNDS: u32 = 10_000_000;
    let tickets: Vec<_> = (0..1000).map(|_| issue(memory_store()).expect("a ticket")).collect();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        drop(std::hint::black_box(borrow(tickets[500])));
    }
    let one = start.elapsed();
    let start = Instant::now();
    for round in 0..ROUNDS as usize {
        drop(std::hint::black_box(borrow(tickets[round * 7 % 1000])));
    }
    let many = start.elapsed();
    println!("look-up of one handle {:?}, of 1000 in turn {:?}", one / ROUNDS, many / ROUNDS);
    for ticket in tickets {
        free(ticket);
    }
}
