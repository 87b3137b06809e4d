//! The library as a C program calls it: `extern "C"` functions, NUL-terminated JSON.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

type Handle = *mut c_void;
type Str = *const c_char;
type OutHandle = *mut Handle;
type OutStr = *mut *mut c_char;

/// All of these return a status, and take an error object last, which nobody wants here.
macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        unsafe extern "C" { $(fn $name($(_: $argument,)* err: OutHandle) -> i32;)* }
    };
}

functions! {
    matrixe2ee_verify_signed_json(Str, Str, Str, Str);
    matrixe2ee_canonical_json(Str, OutStr);
    matrixe2ee_store_in_memory(*const u8, usize, OutHandle);
    matrixe2ee_store_open_sqlite(Str, *const u8, usize, OutHandle);
    matrixe2ee_store_shut_down(Handle);
    matrixe2ee_account_open(Handle, Str, Str, OutHandle);
    matrixe2ee_account_identity_key(Handle, OutStr);
    matrixe2ee_account_device_keys(Handle, OutStr);
    matrixe2ee_account_keys_upload_request(Handle, OutStr);
    matrixe2ee_account_receive_keys_upload_response(Handle, u16, Str);
    matrixe2ee_account_encrypt_for_devices(Handle, Str, OutStr);
    matrixe2ee_account_decrypt_room_events(Handle, Str, OutStr);
    matrixe2ee_account_list_sessions(Handle, Str, Str, i64, OutStr);
    matrixe2ee_account_import_sessions(Handle, Str, OutStr);
    matrixe2ee_account_import_libolm_sessions(Handle, Str, *const u8, usize, OutStr);
    matrixe2ee_olm_channel_create_outbound_channel(Handle, Str, Str, OutHandle);
    matrixe2ee_olm_channel_create_from_encrypted_message(Handle, Str, Str, Str, Str, Str, OutHandle);
    matrixe2ee_olm_channel_create_from_storage(Handle, Str, Str, OutHandle);
    matrixe2ee_olm_channel_encrypt(Handle, Str, Str, OutStr);
    matrixe2ee_olm_channel_decrypt(Handle, Str, OutStr);
    matrixe2ee_outbound_megolm_session_create(Handle, Str, Str, OutHandle);
    matrixe2ee_outbound_megolm_session_get_session_key_for_sending(Handle, Str, OutStr);
    matrixe2ee_outbound_megolm_session_mark_as_sent(Handle, Str);
    matrixe2ee_outbound_megolm_session_encrypt(Handle, Str, Str, OutStr);
    matrixe2ee_inbound_megolm_session_from_room_key(Handle, Str, Str, Str, OutHandle);
    matrixe2ee_inbound_megolm_session_from_export(Handle, Str, Str, OutHandle);
    matrixe2ee_inbound_megolm_session_from_storage(Handle, Str, Str, Str, OutHandle);
    matrixe2ee_inbound_megolm_session_session_id(Handle, OutStr);
    matrixe2ee_inbound_megolm_session_decrypt(Handle, Str, OutStr);
    matrixe2ee_inbound_megolm_session_decrypt_many(Handle, Str, OutStr);
}

unsafe extern "C" {
    fn matrixe2ee_store_free(store: Handle);
    fn matrixe2ee_account_free(account: Handle);
    fn matrixe2ee_olm_channel_free(channel: Handle);
    fn matrixe2ee_outbound_megolm_session_free(session: Handle);
    fn matrixe2ee_inbound_megolm_session_free(session: Handle);
    fn matrixe2ee_string_free(text: *mut c_char);
}

/// A handle with the function that frees it.
pub struct Owned(Handle, unsafe extern "C" fn(Handle));

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the function belongs to the handle's kind.
        unsafe { self.1(self.0) }
    }
}

/// A text of the library's.
pub struct Text(*mut c_char);

impl std::ops::Deref for Text {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        // SAFETY: the library gives NUL-terminated texts.
        unsafe { CStr::from_ptr(self.0) }
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: it came from the library.
        unsafe { matrixe2ee_string_free(self.0) }
    }
}

pub fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

const NO_ERROR: OutHandle = null_mut();

fn handle(free: unsafe extern "C" fn(Handle), call: impl FnOnce(OutHandle) -> i32) -> Owned {
    let mut out = null_mut();
    assert_eq!(call(&mut out), 0);
    Owned(out, free)
}

fn text(call: impl FnOnce(OutStr) -> i32) -> Text {
    let mut out = null_mut();
    assert_eq!(call(&mut out), 0);
    Text(out)
}

fn channel(call: impl FnOnce(OutHandle) -> i32) -> Owned {
    handle(matrixe2ee_olm_channel_free, call)
}

fn inbound(call: impl FnOnce(OutHandle) -> i32) -> Owned {
    handle(matrixe2ee_inbound_megolm_session_free, call)
}

// SAFETY of all calls below: live handles, NUL-terminated texts, memory for the results.

pub fn verify(object: &CStr, user: &CStr, key_id: &CStr, key: &CStr) {
    let (object, user, key_id, key) =
        (object.as_ptr(), user.as_ptr(), key_id.as_ptr(), key.as_ptr());
    assert_eq!(unsafe { matrixe2ee_verify_signed_json(object, user, key_id, key, NO_ERROR) }, 0);
}

pub fn canonical_json(value: &CStr) -> Text {
    let value = value.as_ptr();
    text(|out| unsafe { matrixe2ee_canonical_json(value, out, NO_ERROR) })
}

pub fn store(path: Option<&CStr>) -> Owned {
    let key = [7; 32].as_ptr();
    handle(matrixe2ee_store_free, |out| unsafe {
        match path {
            None => matrixe2ee_store_in_memory(key, 32, out, NO_ERROR),
            Some(path) => matrixe2ee_store_open_sqlite(path.as_ptr(), key, 32, out, NO_ERROR),
        }
    })
}

pub fn shut_down(store: &Owned) {
    assert_eq!(unsafe { matrixe2ee_store_shut_down(store.0, NO_ERROR) }, 0);
}

pub fn account(store: &Owned, user: &CStr, device: &CStr) -> Owned {
    handle(matrixe2ee_account_free, |out| unsafe {
        matrixe2ee_account_open(store.0, user.as_ptr(), device.as_ptr(), out, NO_ERROR)
    })
}

pub fn identity_key(account: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_account_identity_key(account.0, out, NO_ERROR) })
}

pub fn device_keys(account: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_account_device_keys(account.0, out, NO_ERROR) })
}

pub fn keys_upload_request(account: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_account_keys_upload_request(account.0, out, NO_ERROR) })
}

/// The server has taken the keys: only then does anybody use them.
pub fn keys_uploaded(account: &Owned) {
    let body = c(r#"{"one_time_key_counts": {"signed_curve25519": 50}}"#);
    let status = unsafe {
        matrixe2ee_account_receive_keys_upload_response(account.0, 200, body.as_ptr(), NO_ERROR)
    };
    assert_eq!(status, 0);
}

pub fn encrypt_for_devices(account: &Owned, items: &CStr) -> Text {
    let items = items.as_ptr();
    text(|out| unsafe { matrixe2ee_account_encrypt_for_devices(account.0, items, out, NO_ERROR) })
}

pub fn decrypt_room_events(account: &Owned, events: &CStr) -> Text {
    let events = events.as_ptr();
    text(|out| unsafe { matrixe2ee_account_decrypt_room_events(account.0, events, out, NO_ERROR) })
}

pub fn import_sessions(account: &Owned, sessions: &CStr) -> Text {
    let sessions = sessions.as_ptr();
    text(|out| unsafe { matrixe2ee_account_import_sessions(account.0, sessions, out, NO_ERROR) })
}

pub fn import_libolm_sessions(account: &Owned, sessions: &CStr, pickle_key: &[u8]) -> Text {
    let (account, sessions) = (account.0, sessions.as_ptr());
    let (key, length) = (pickle_key.as_ptr(), pickle_key.len());
    let import = matrixe2ee_account_import_libolm_sessions;
    text(|out| unsafe { import(account, sessions, key, length, out, NO_ERROR) })
}

pub fn outbound_channel(account: &Owned, keys: &CStr, key: &CStr) -> Owned {
    let (keys, key) = (keys.as_ptr(), key.as_ptr());
    channel(|out| unsafe {
        matrixe2ee_olm_channel_create_outbound_channel(account.0, keys, key, out, NO_ERROR)
    })
}

pub fn inbound_channel(account: &Owned, user: &CStr, identity: &CStr, content: &CStr) -> Owned {
    let (user, identity, content) = (user.as_ptr(), identity.as_ptr(), content.as_ptr());
    let create = matrixe2ee_olm_channel_create_from_encrypted_message;
    channel(|out| unsafe {
        create(account.0, user, identity, content, null(), null(), out, NO_ERROR)
    })
}

pub fn stored_channel(account: &Owned, user: &CStr, identity: &CStr) -> Owned {
    let (user, identity) = (user.as_ptr(), identity.as_ptr());
    channel(|out| unsafe {
        matrixe2ee_olm_channel_create_from_storage(account.0, user, identity, out, NO_ERROR)
    })
}

pub fn olm_encrypt(channel: &Owned, event_type: &CStr, content: &CStr) -> Text {
    let (event_type, content) = (event_type.as_ptr(), content.as_ptr());
    text(|out| unsafe {
        matrixe2ee_olm_channel_encrypt(channel.0, event_type, content, out, NO_ERROR)
    })
}

pub fn olm_decrypt(channel: &Owned, content: &CStr) -> Text {
    let content = content.as_ptr();
    text(|out| unsafe { matrixe2ee_olm_channel_decrypt(channel.0, content, out, NO_ERROR) })
}

pub fn room_session(account: &Owned, room: &CStr) -> Owned {
    handle(matrixe2ee_outbound_megolm_session_free, |out| unsafe {
        matrixe2ee_outbound_megolm_session_create(account.0, room.as_ptr(), null(), out, NO_ERROR)
    })
}

pub fn keys_for_sending(session: &Owned, recipients: &CStr) -> Text {
    let recipients = recipients.as_ptr();
    let get = matrixe2ee_outbound_megolm_session_get_session_key_for_sending;
    text(|out| unsafe { get(session.0, recipients, out, NO_ERROR) })
}

pub fn mark_as_sent(session: &Owned, devices: &CStr) {
    let devices = devices.as_ptr();
    let status =
        unsafe { matrixe2ee_outbound_megolm_session_mark_as_sent(session.0, devices, NO_ERROR) };
    assert_eq!(status, 0);
}

pub fn room_encrypt(session: &Owned, event_type: &CStr, content: &CStr) -> Text {
    let (event_type, content) = (event_type.as_ptr(), content.as_ptr());
    text(|out| unsafe {
        matrixe2ee_outbound_megolm_session_encrypt(session.0, event_type, content, out, NO_ERROR)
    })
}

pub fn room_key(account: &Owned, user: &CStr, identity: &CStr, content: &CStr) -> Owned {
    let (user, identity, content) = (user.as_ptr(), identity.as_ptr(), content.as_ptr());
    let from = matrixe2ee_inbound_megolm_session_from_room_key;
    inbound(|out| unsafe { from(account.0, user, identity, content, out, NO_ERROR) })
}

/// A page of the sessions of all rooms, of 1,000 at most.
pub fn list_sessions(account: &Owned, after: Option<&CStr>) -> Text {
    let after = after.map_or(null(), CStr::as_ptr);
    text(|out| unsafe {
        matrixe2ee_account_list_sessions(account.0, null(), after, -1, out, NO_ERROR)
    })
}

pub fn exported(account: &Owned, session_data: &CStr) -> Owned {
    let data = session_data.as_ptr();
    inbound(|out| unsafe {
        matrixe2ee_inbound_megolm_session_from_export(account.0, data, null(), out, NO_ERROR)
    })
}

pub fn stored_room_key(account: &Owned, room: &CStr, session_id: &CStr) -> Owned {
    let (room, id) = (room.as_ptr(), session_id.as_ptr());
    inbound(|out| unsafe {
        matrixe2ee_inbound_megolm_session_from_storage(account.0, room, id, null(), out, NO_ERROR)
    })
}

pub fn session_id(session: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_inbound_megolm_session_session_id(session.0, out, NO_ERROR) })
}

pub fn room_decrypt(session: &Owned, event: &CStr) -> Text {
    let event = event.as_ptr();
    text(|out| unsafe {
        matrixe2ee_inbound_megolm_session_decrypt(session.0, event, out, NO_ERROR)
    })
}

pub fn room_decrypt_many(session: &Owned, events: &CStr) -> Text {
    let events = events.as_ptr();
    text(|out| unsafe {
        matrixe2ee_inbound_megolm_session_decrypt_many(session.0, events, out, NO_ERROR)
    })
}
