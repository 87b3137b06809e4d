//! The library as a C program calls it: `extern "C"` functions, NUL-terminated JSON.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{null, null_mut};

type Handle = *mut c_void;
type Status = i32;

unsafe extern "C" {
    fn matrixe2ee_store_in_memory(
        key: *const u8,
        len: usize,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_store_open_sqlite(
        path: *const c_char,
        key: *const u8,
        len: usize,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_store_free(store: Handle);
    fn matrixe2ee_account_open(
        store: Handle,
        user: *const c_char,
        device: *const c_char,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_identity_key(
        account: Handle,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_device_keys(
        account: Handle,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_keys_upload_request(
        account: Handle,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_receive_keys_upload_response(
        account: Handle,
        http_status: u16,
        body: *const c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_encrypt_for_devices(
        account: Handle,
        items: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_decrypt_room_events(
        account: Handle,
        events: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_account_free(account: Handle);
    fn matrixe2ee_olm_channel_create_outbound_channel(
        account: Handle,
        keys: *const c_char,
        key: *const c_char,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_olm_channel_create_from_encrypted_message(
        account: Handle,
        user: *const c_char,
        identity: *const c_char,
        content: *const c_char,
        device: *const c_char,
        fingerprint: *const c_char,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_olm_channel_encrypt(
        channel: Handle,
        event_type: *const c_char,
        content: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_olm_channel_decrypt(
        channel: Handle,
        content: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_olm_channel_free(channel: Handle);
    fn matrixe2ee_outbound_megolm_session_create(
        account: Handle,
        room: *const c_char,
        settings: *const c_char,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_outbound_megolm_session_get_session_key_for_sending(
        session: Handle,
        recipients: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_outbound_megolm_session_encrypt(
        session: Handle,
        event_type: *const c_char,
        content: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_outbound_megolm_session_free(session: Handle);
    fn matrixe2ee_inbound_megolm_session_from_outbound_session(
        outbound: Handle,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_inbound_megolm_session_from_room_key(
        account: Handle,
        sender_user_id: *const c_char,
        sender_key: *const c_char,
        content: *const c_char,
        out: *mut Handle,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_inbound_megolm_session_decrypt(
        session: Handle,
        event: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
    fn matrixe2ee_inbound_megolm_session_decrypt_many(
        session: Handle,
        events: *const c_char,
        out: *mut *mut c_char,
        err: *mut Handle,
    ) -> Status;
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

impl Text {
    pub fn get(&self) -> &str {
        self.as_c().to_str().unwrap()
    }

    pub fn as_c(&self) -> &CStr {
        // SAFETY: the library gives NUL-terminated UTF-8.
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

fn handle(free: unsafe extern "C" fn(Handle), call: impl FnOnce(*mut Handle) -> Status) -> Owned {
    let mut out = null_mut();
    assert_eq!(call(&mut out), 0);
    Owned(out, free)
}

fn text(call: impl FnOnce(*mut *mut c_char) -> Status) -> Text {
    let mut out = null_mut();
    assert_eq!(call(&mut out), 0);
    Text(out)
}

const KEY: [u8; 32] = [7; 32];

pub fn store(path: Option<&CStr>) -> Owned {
    // SAFETY (here and below): live handles, NUL-terminated texts, memory for the results.
    handle(matrixe2ee_store_free, |out| unsafe {
        match path {
            None => matrixe2ee_store_in_memory(KEY.as_ptr(), 32, out, null_mut()),
            Some(path) => {
                matrixe2ee_store_open_sqlite(path.as_ptr(), KEY.as_ptr(), 32, out, null_mut())
            }
        }
    })
}

pub fn account(store: &Owned, user: &CStr, device: &CStr) -> Owned {
    handle(matrixe2ee_account_free, |out| unsafe {
        matrixe2ee_account_open(store.0, user.as_ptr(), device.as_ptr(), out, null_mut())
    })
}

pub fn identity_key(account: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_account_identity_key(account.0, out, null_mut()) })
}

pub fn device_keys(account: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_account_device_keys(account.0, out, null_mut()) })
}

pub fn keys_upload_request(account: &Owned) -> Text {
    text(|out| unsafe { matrixe2ee_account_keys_upload_request(account.0, out, null_mut()) })
}

/// The server has taken the keys: only then does anybody use them.
pub fn keys_uploaded(account: &Owned) {
    let body = c(r#"{"one_time_key_counts": {"signed_curve25519": 50}}"#);
    let status = unsafe {
        matrixe2ee_account_receive_keys_upload_response(account.0, 200, body.as_ptr(), null_mut())
    };
    assert_eq!(status, 0);
}

pub fn outbound_channel(account: &Owned, keys: &CStr, key: &CStr) -> Owned {
    handle(matrixe2ee_olm_channel_free, |out| unsafe {
        matrixe2ee_olm_channel_create_outbound_channel(
            account.0,
            keys.as_ptr(),
            key.as_ptr(),
            out,
            null_mut(),
        )
    })
}

pub fn inbound_channel(account: &Owned, user: &CStr, identity: &Text, content: &Text) -> Owned {
    handle(matrixe2ee_olm_channel_free, |out| unsafe {
        matrixe2ee_olm_channel_create_from_encrypted_message(
            account.0,
            user.as_ptr(),
            identity.0,
            content.0,
            null(),
            null(),
            out,
            null_mut(),
        )
    })
}

pub fn olm_encrypt(channel: &Owned, event_type: &CStr, content: &CStr) -> Text {
    text(|out| unsafe {
        matrixe2ee_olm_channel_encrypt(
            channel.0,
            event_type.as_ptr(),
            content.as_ptr(),
            out,
            null_mut(),
        )
    })
}

pub fn olm_decrypt(channel: &Owned, content: &Text) -> Text {
    text(|out| unsafe { matrixe2ee_olm_channel_decrypt(channel.0, content.0, out, null_mut()) })
}

pub fn room_session(account: &Owned, room: &CStr) -> Owned {
    let session = handle(matrixe2ee_outbound_megolm_session_free, |out| unsafe {
        matrixe2ee_outbound_megolm_session_create(account.0, room.as_ptr(), null(), out, null_mut())
    });
    let recipients = c(
        r#"{"encryption": {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 10000}, "members": {}, "device_keys": {}}"#,
    );
    text(|out| unsafe {
        matrixe2ee_outbound_megolm_session_get_session_key_for_sending(
            session.0,
            recipients.as_ptr(),
            out,
            null_mut(),
        )
    });
    session
}

pub fn room_encrypt(session: &Owned, event_type: &CStr, content: &CStr) -> Text {
    text(|out| unsafe {
        matrixe2ee_outbound_megolm_session_encrypt(
            session.0,
            event_type.as_ptr(),
            content.as_ptr(),
            out,
            null_mut(),
        )
    })
}

pub fn room_receiver(outbound: &Owned) -> Owned {
    handle(matrixe2ee_inbound_megolm_session_free, |out| unsafe {
        matrixe2ee_inbound_megolm_session_from_outbound_session(outbound.0, out, null_mut())
    })
}

pub fn room_decrypt(session: &Owned, event: &CStr) -> Text {
    text(|out| unsafe {
        matrixe2ee_inbound_megolm_session_decrypt(session.0, event.as_ptr(), out, null_mut())
    })
}

pub fn room_decrypt_many(session: &Owned, events: &CStr) -> Text {
    text(|out| unsafe {
        matrixe2ee_inbound_megolm_session_decrypt_many(session.0, events.as_ptr(), out, null_mut())
    })
}

pub fn room_key(account: &Owned, user: &CStr, identity: &CStr, content: &CStr) -> Owned {
    handle(matrixe2ee_inbound_megolm_session_free, |out| unsafe {
        matrixe2ee_inbound_megolm_session_from_room_key(
            account.0,
            user.as_ptr(),
            identity.as_ptr(),
            content.as_ptr(),
            out,
            null_mut(),
        )
    })
}

pub fn encrypt_for_devices(account: &Owned, items: &CStr) -> Text {
    text(|out| unsafe {
        matrixe2ee_account_encrypt_for_devices(account.0, items.as_ptr(), out, null_mut())
    })
}

pub fn decrypt_room_events(account: &Owned, events: &CStr) -> Text {
    text(|out| unsafe {
        matrixe2ee_account_decrypt_room_events(account.0, events.as_ptr(), out, null_mut())
    })
}
