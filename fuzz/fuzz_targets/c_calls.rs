//! C programs that nobody would write: any functions in any order, with handles that are stale,
//! of another kind, made up or NULL, and with the texts that earlier calls gave.
//!
//! Every call answers a status that is not PANIC, with an error object just if it failed, and no
//! result beside an error; only the right handle gets through; nothing leaks.
#![no_main]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::c_abi::*;
use serde_json::{Value, json};

const OK: i32 = 0;
const STALE_HANDLE: i32 = 4;
const WRONG_HANDLE: i32 = 5;
const PANIC: i32 = 8;

#[derive(Debug, Arbitrary)]
enum Word {
    Null,
    Short(String),
    Bytes(Vec<u8>),
    Fixed(u8),
    /// What an earlier call gave.
    Given(u8),
    /// A part of it: a value inside the JSON.
    Inside(u8, u8),
    /// As the event of a room, or in a list.
    Event(u8),
    List(u8),
}

#[derive(Debug, Arbitrary)]
enum Call {
    Get(u8, u8),
    TextToText(u8, u8, Word),
    TextsToText(u8, u8, Word, Word),
    Act(u8, u8),
    TextAct(u8, u8, Word),
    Count(u8, u8),
    Ask(u8, u8),
    Open(u8, u8, Word, Word),
    OpenThree(u8, u8, Word, Word, Word),
    FromPickle(u8, u8, Word, Word, Word, Vec<u8>),
    FromMessage(u8, Word, Word, Word, Word, Word),
    FromExport(u8, Word, Word),
    FromOutbound(u8),
    ExportAt(u8, i64),
    ListSessions(u8, Word, Word, i64),
    ListChannels(u8, Word, i64),
    Counts(u8, Word, Word),
    Uploaded(u8, u16, Word),
    Import(u8, Word, Vec<u8>),
    OutboundPickle(u8, Word, Word, Vec<u8>),
    InboundPickle(u8, Word, Word, Word, Vec<u8>, Word),
    Claim(Word, i64),
    Claimed(Word, Word),
    Verify(Word, Word, Word, Word),
    Canonical(Word),
    NewStore(Vec<u8>),
    Rekey(u8, Vec<u8>),
    Free(u8, u8),
}

const FIXED: [&str; 12] = [
    "@alice:example.org",
    "@bob:example.org",
    "ALICE",
    "BOB",
    "!room:example.org",
    "{}",
    "[]",
    "m.room.message",
    "{\"body\":\"x\"}",
    "{\"signed_curve25519\":0}",
    "{\"one_time_key_counts\":{\"signed_curve25519\":50}}",
    "[\"signed_curve25519\"]",
];

struct Known {
    handle: Handle,
    kind: Kind,
    live: bool,
}

#[derive(Default)]
struct World {
    handles: Vec<Known>,
    texts: Vec<CString>,
}

fuzz_target!(|calls: Vec<Call>| {
    let mut world = World::default();
    world.begin();
    for call in calls.iter().take(40) {
        world.call(call);
    }
    for (kind, free) in FREES {
        for known in world.handles.iter().filter(|known| known.kind == *kind) {
            unsafe { free(known.handle) };
        }
    }
});

impl World {
    /// Alice and Bob on one store each, with what a server would give Alice of Bob.
    fn begin(&mut self) {
        for name in 0..2u8 {
            self.call(&Call::NewStore(vec![name; 32]));
            let (user, id) = (Word::Fixed(name), Word::Fixed(2 + name));
            self.call(&Call::Open(0, self.newest(), user, id));
            self.call(&Call::Get(4, self.newest()));
        }
        self.call(&Call::Get(5, self.newest()));
        self.call(&Call::Uploaded(self.newest(), 200, Word::Fixed(10)));
        let upload = self.texts.last().and_then(|text| text.to_str().ok()).unwrap_or_default();
        let upload: Value = serde_json::from_str(upload).expect("an upload");
        let keys = upload["one_time_keys"].as_object().expect("one-time keys");
        let (id, key) = keys.iter().next().expect("a key");
        self.give(json!({ id.as_str(): key }).to_string());
        let devices: Vec<Value> = self.texts[..2]
            .iter()
            .map(|text| serde_json::from_slice(text.as_bytes()).expect("device keys"))
            .collect();
        self.give(json!({
            "encryption": { "algorithm": "m.megolm.v1.aes-sha2" }, "history_visibility": "shared",
            "members": { "@alice:example.org": "join", "@bob:example.org": "join" },
            "device_keys": { "@alice:example.org": { "ALICE": devices[0] },
                             "@bob:example.org": { "BOB": devices[1] } },
        }).to_string());
    }

    /// The handle that was made last.
    fn newest(&self) -> u8 {
        u8::try_from(self.handles.len() - 1).expect("few handles")
    }

    fn give(&mut self, text: String) {
        if let Ok(text) = CString::new(text) {
            self.texts.push(text);
        }
    }

    fn given(&self, index: u8) -> Option<&CString> {
        self.texts.get(usize::from(index).checked_rem(self.texts.len())?)
    }

    fn word(&self, word: &Word) -> Option<CString> {
        let given = |index: &u8| {
            let text = self.given(*index)?.to_str().ok()?;
            Some(text.to_owned())
        };
        let text = match word {
            Word::Null => return None,
            Word::Short(text) => text.clone().into_bytes(),
            Word::Bytes(bytes) => bytes.clone(),
            Word::Fixed(index) => FIXED[usize::from(*index) % FIXED.len()].into(),
            Word::Given(index) => given(index)?.into(),
            Word::Inside(index, place) => {
                let value = serde_json::from_str::<Value>(&given(index)?).ok()?;
                let mut values = Vec::new();
                collect(&value, &mut values);
                values.swap_remove(usize::from(*place) % values.len()).into()
            }
            Word::Event(index) => format!(
                "{{\"event_id\":\"$e{index}\",\"sender\":\"@alice:example.org\",\
                  \"room_id\":\"!room:example.org\",\"content\":{}}}",
                given(index)?
            )
            .into(),
            Word::List(index) => format!("[{}]", given(index)?).into(),
        };
        let text: Vec<u8> = text.into_iter().filter(|byte| *byte != 0).collect();
        CString::new(text).ok()
    }

    /// A handle, and what it is; 253 is NULL, 254 and 255 are made up.
    fn handle(&self, index: u8) -> (Handle, Option<&Known>) {
        match (index, self.handles.len()) {
            (253, _) | (_, 0) => (ptr::null_mut(), None),
            (254, _) => (1 as Handle, None),
            (255, _) => (self.handles[0].handle.wrapping_byte_add(1 << 20), None),
            (index, count) => {
                let known = &self.handles[usize::from(index) % count];
                (known.handle, Some(known))
            }
        }
    }

    /// Makes a call with a handle of one kind.
    fn with(&self, kind: Kind, index: u8, call: impl FnOnce(Handle, Err) -> i32) -> bool {
        let (handle, known) = self.handle(index);
        let status = checked(|err| call(handle, err));
        if known.is_some_and(|known| known.live && known.kind == kind) {
            assert!(status != STALE_HANDLE && status != WRONG_HANDLE, "{status}");
        } else {
            assert_ne!(status, OK, "a {kind:?} call took a handle that is not one");
        }
        status == OK
    }

    fn text(&mut self, kind: Kind, index: u8, call: impl FnOnce(Handle, OutText, Err) -> i32) {
        let mut out = ptr::dangling_mut::<c_char>();
        let ok = self.with(kind, index, |handle, err| call(handle, &mut out, err));
        self.take(ok, out);
    }

    fn take(&mut self, ok: bool, out: *mut c_char) {
        assert!(ok || out.is_null(), "a result beside an error");
        if !out.is_null() {
            let text = unsafe { CStr::from_ptr(out) }.to_owned();
            unsafe { matrixe2ee_string_free(out) };
            assert!(text.to_str().is_ok());
            self.texts.push(text);
        }
    }

    fn make(
        &mut self,
        kind: Kind,
        made: Kind,
        index: u8,
        call: impl FnOnce(Handle, OutHandle, Err) -> i32,
    ) {
        let mut out = ptr::dangling_mut::<c_void>();
        let ok = self.with(kind, index, |handle, err| call(handle, &mut out, err));
        self.keep(ok, made, out);
    }

    fn keep(&mut self, ok: bool, kind: Kind, handle: Handle) {
        assert_eq!(ok, !handle.is_null(), "a handle just if there is no error");
        if ok {
            assert!(!self.handles.iter().any(|known| known.handle == handle), "a handle twice");
            self.handles.push(Known { handle, kind, live: true });
        }
    }

    fn call(&mut self, call: &Call) {
        unsafe { self.call_unsafe(call) }
    }

    unsafe fn call_unsafe(&mut self, call: &Call) {
        // Kept until the call is over.
        let words = |world: &Self, words: &[&Word]| -> Vec<Option<CString>> {
            words.iter().map(|word| world.word(word)).collect()
        };
        let p = |word: &Option<CString>| word.as_ref().map_or(ptr::null(), |word| word.as_ptr());
        match call {
            Call::Get(which, on) => {
                let (kind, f) = GETTERS[usize::from(*which) % GETTERS.len()];
                self.text(kind, *on, |h, out, err| unsafe { f(h, out, err) });
            }
            Call::TextToText(which, on, a) => {
                let (kind, f) = TEXT_TO_TEXT[usize::from(*which) % TEXT_TO_TEXT.len()];
                let w = words(self, &[a]);
                self.text(kind, *on, |h, out, err| unsafe { f(h, p(&w[0]), out, err) });
            }
            Call::TextsToText(which, on, a, b) => {
                let (kind, f) = TEXTS_TO_TEXT[usize::from(*which) % TEXTS_TO_TEXT.len()];
                let w = words(self, &[a, b]);
                self.text(kind, *on, |h, out, err| unsafe { f(h, p(&w[0]), p(&w[1]), out, err) });
            }
            Call::Act(which, on) => {
                let (kind, f) = ACTIONS[usize::from(*which) % ACTIONS.len()];
                self.with(kind, *on, |h, err| unsafe { f(h, err) });
            }
            Call::TextAct(which, on, a) => {
                let (kind, f) = TEXT_ACTIONS[usize::from(*which) % TEXT_ACTIONS.len()];
                let w = words(self, &[a]);
                self.with(kind, *on, |h, err| unsafe { f(h, p(&w[0]), err) });
            }
            Call::Count(which, on) => {
                let (kind, f) = COUNTERS[usize::from(*which) % COUNTERS.len()];
                let mut out = 7;
                let ok = self.with(kind, *on, |h, err| unsafe { f(h, &mut out, err) });
                assert!(ok || out == 0);
            }
            Call::Ask(which, on) => {
                let (kind, f) = QUESTIONS[usize::from(*which) % QUESTIONS.len()];
                let mut out = true;
                let ok = self.with(kind, *on, |h, err| unsafe { f(h, &mut out, err) });
                assert!(ok || !out);
            }
            Call::Open(which, on, a, b) => {
                let (kind, made, f) = TEXTS_TO_HANDLE[usize::from(*which) % TEXTS_TO_HANDLE.len()];
                let w = words(self, &[a, b]);
                self.make(kind, made, *on, |h, out, err| unsafe {
                    f(h, p(&w[0]), p(&w[1]), out, err)
                });
            }
            Call::OpenThree(which, on, a, b, c) => {
                let (kind, made, f) = THREE_TO_HANDLE[usize::from(*which) % THREE_TO_HANDLE.len()];
                let w = words(self, &[a, b, c]);
                self.make(kind, made, *on, |h, out, err| unsafe {
                    f(h, p(&w[0]), p(&w[1]), p(&w[2]), out, err)
                });
            }
            Call::FromPickle(which, on, a, b, c, key) => {
                let (kind, made, f) =
                    PICKLE_TO_HANDLE[usize::from(*which) % PICKLE_TO_HANDLE.len()];
                let w = words(self, &[a, b, c]);
                self.make(kind, made, *on, |h, out, err| unsafe {
                    f(h, p(&w[0]), p(&w[1]), p(&w[2]), key.as_ptr(), key.len(), out, err)
                });
            }
            Call::FromMessage(on, a, b, c, d, e) => {
                let w = words(self, &[a, b, c, d, e]);
                self.make(Kind::Account, Kind::Channel, *on, |h, out, err| unsafe {
                    matrixe2ee_olm_channel_create_from_encrypted_message(
                        h,
                        p(&w[0]),
                        p(&w[1]),
                        p(&w[2]),
                        p(&w[3]),
                        p(&w[4]),
                        out,
                        err,
                    )
                });
            }
            Call::FromExport(on, a, b) => {
                let w = words(self, &[a, b]);
                self.make(Kind::Account, Kind::Inbound, *on, |h, out, err| unsafe {
                    matrixe2ee_inbound_megolm_session_from_export(h, p(&w[0]), p(&w[1]), out, err)
                });
            }
            Call::FromOutbound(on) => {
                self.make(Kind::Outbound, Kind::Inbound, *on, |h, out, err| unsafe {
                    matrixe2ee_inbound_megolm_session_from_outbound_session(h, out, err)
                })
            }
            Call::ExportAt(on, index) => self.text(Kind::Inbound, *on, |h, out, err| unsafe {
                matrixe2ee_inbound_megolm_session_export_at(h, *index, out, err)
            }),
            Call::ListSessions(on, a, b, limit) => {
                let w = words(self, &[a, b]);
                self.text(Kind::Account, *on, |h, out, err| unsafe {
                    matrixe2ee_account_list_sessions(h, p(&w[0]), p(&w[1]), *limit, out, err)
                })
            }
            Call::ListChannels(on, a, limit) => {
                let w = words(self, &[a]);
                self.text(Kind::Account, *on, |h, out, err| unsafe {
                    matrixe2ee_account_list_channels(h, p(&w[0]), *limit, out, err)
                })
            }
            Call::Counts(on, a, b) => {
                let w = words(self, &[a, b]);
                self.with(Kind::Account, *on, |h, err| unsafe {
                    matrixe2ee_account_receive_key_counts(h, p(&w[0]), p(&w[1]), err)
                });
            }
            Call::Uploaded(on, http_status, a) => {
                let w = words(self, &[a]);
                self.with(Kind::Account, *on, |h, err| unsafe {
                    matrixe2ee_account_receive_keys_upload_response(h, *http_status, p(&w[0]), err)
                });
            }
            Call::Import(on, a, key) => {
                let w = words(self, &[a]);
                self.text(Kind::Account, *on, |h, out, err| unsafe {
                    matrixe2ee_account_import_libolm_sessions(
                        h,
                        p(&w[0]),
                        key.as_ptr(),
                        key.len(),
                        out,
                        err,
                    )
                });
            }
            Call::OutboundPickle(on, a, b, key) => {
                let w = words(self, &[a, b]);
                self.make(Kind::Account, Kind::Outbound, *on, |h, out, err| unsafe {
                    matrixe2ee_outbound_megolm_session_from_libolm_pickle(
                        h,
                        p(&w[0]),
                        p(&w[1]),
                        key.as_ptr(),
                        key.len(),
                        out,
                        err,
                    )
                });
            }
            Call::InboundPickle(on, a, b, c, key, d) => {
                let w = words(self, &[a, b, c, d]);
                self.make(Kind::Account, Kind::Inbound, *on, |h, out, err| unsafe {
                    matrixe2ee_inbound_megolm_session_from_libolm_pickle(
                        h,
                        p(&w[0]),
                        p(&w[1]),
                        p(&w[2]),
                        key.as_ptr(),
                        key.len(),
                        p(&w[3]),
                        out,
                        err,
                    )
                });
            }
            Call::Claim(a, timeout) => {
                let w = words(self, &[a]);
                let mut out = ptr::null_mut();
                let status = checked(|err| unsafe {
                    matrixe2ee_keys_claim_request(p(&w[0]), *timeout, &mut out, err)
                });
                self.take(status == OK, out);
            }
            Call::Claimed(a, b) => {
                let w = words(self, &[a, b]);
                let mut out = ptr::null_mut();
                let status = checked(|err| unsafe {
                    matrixe2ee_read_keys_claim_response(p(&w[0]), p(&w[1]), &mut out, err)
                });
                self.take(status == OK, out);
            }
            Call::Verify(a, b, c, d) => {
                let w = words(self, &[a, b, c, d]);
                checked(|err| unsafe {
                    matrixe2ee_verify_signed_json(p(&w[0]), p(&w[1]), p(&w[2]), p(&w[3]), err)
                });
            }
            Call::Canonical(a) => {
                let w = words(self, &[a]);
                let mut out = ptr::null_mut();
                let status =
                    checked(|err| unsafe { matrixe2ee_canonical_json(p(&w[0]), &mut out, err) });
                self.take(status == OK, out);
            }
            Call::NewStore(key) => {
                let mut out = ptr::dangling_mut();
                let status = checked(|err| unsafe {
                    matrixe2ee_store_in_memory(key.as_ptr(), key.len(), &mut out, err)
                });
                assert_eq!(status == OK, key.len() == 32);
                self.keep(status == OK, Kind::Store, out);
            }
            Call::Rekey(on, key) => {
                self.with(Kind::Store, *on, |h, err| unsafe {
                    matrixe2ee_store_rekey(h, key.as_ptr(), key.len(), err)
                });
            }
            Call::Free(which, on) => {
                let (kind, free) = FREES[usize::from(*which) % FREES.len()];
                let (handle, _) = self.handle(*on);
                unsafe { free(handle) };
                for known in &mut self.handles {
                    known.live &= known.handle != handle || known.kind != kind;
                }
            }
        }
    }
}

/// Makes a call; its status and its error object must fit each other.
fn checked(call: impl FnOnce(Err) -> i32) -> i32 {
    let mut error = ptr::dangling_mut::<c_void>();
    let status = call(&mut error);
    assert_ne!(status, PANIC);
    assert_eq!(status == OK, error.is_null());
    unsafe {
        assert!(!matrixe2ee_status_name(status).is_null());
        if !error.is_null() {
            assert_eq!(matrixe2ee_error_code(error), status);
            assert!(CStr::from_ptr(matrixe2ee_error_message(error)).to_str().is_ok());
            let json = CStr::from_ptr(matrixe2ee_error_json(error));
            let json: Value = serde_json::from_slice(json.to_bytes()).expect("JSON");
            assert_eq!(json["code"], status);
            matrixe2ee_error_free(error);
        }
    }
    status
}

/// Every value inside, texts without their quotes.
fn collect(value: &Value, values: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.values().for_each(|value| collect(value, values)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, values)),
        _ => {}
    }
    values.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
}
