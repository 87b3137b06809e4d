//! The functions of `include/matrixe2ee.h`, by the shape of their arguments. All handles are
//! `*mut c_void` here: the fuzzer passes the wrong ones on purpose.

use std::ffi::{c_char, c_void};

use matrixe2ee as _;

pub type Handle = *mut c_void;
pub type Text = *const c_char;
pub type OutText = *mut *mut c_char;
pub type OutHandle = *mut Handle;
pub type Err = *mut *mut c_void;

pub type Getter = unsafe extern "C" fn(Handle, OutText, Err) -> i32;
pub type TextToText = unsafe extern "C" fn(Handle, Text, OutText, Err) -> i32;
pub type TextsToText = unsafe extern "C" fn(Handle, Text, Text, OutText, Err) -> i32;
pub type Action = unsafe extern "C" fn(Handle, Err) -> i32;
pub type TextAction = unsafe extern "C" fn(Handle, Text, Err) -> i32;
pub type Counter = unsafe extern "C" fn(Handle, *mut u32, Err) -> i32;
pub type Question = unsafe extern "C" fn(Handle, *mut bool, Err) -> i32;
pub type TextsToHandle = unsafe extern "C" fn(Handle, Text, Text, OutHandle, Err) -> i32;
pub type ThreeToHandle = unsafe extern "C" fn(Handle, Text, Text, Text, OutHandle, Err) -> i32;
pub type PickleToHandle =
    unsafe extern "C" fn(Handle, Text, Text, Text, *const u8, usize, OutHandle, Err) -> i32;
pub type Free = unsafe extern "C" fn(Handle);

/// What a handle is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Store,
    Account,
    Channel,
    Outbound,
    Inbound,
}

macro_rules! functions {
    ($($name:ident: fn($($type:ty),*) $(-> $answer:ty)?;)*) => {
        unsafe extern "C" { $(pub fn $name($(_: $type),*) $(-> $answer)?;)* }
    };
}

/// A table of functions of one shape, with the kind of handle that each takes.
macro_rules! table {
    ($table:ident: $shape:ty = $($kind:ident $name:ident,)*) => {
        pub const $table: &[(Kind, $shape)] = &[$((Kind::$kind, $name)),*];
    };
}

/// The same for functions that make a handle, of the second kind.
macro_rules! makers {
    ($table:ident: $shape:ty = $($kind:ident $made:ident $name:ident,)*) => {
        pub const $table: &[(Kind, Kind, $shape)] = &[$((Kind::$kind, Kind::$made, $name)),*];
    };
}

functions! {
    matrixe2ee_error_code: fn(*const c_void) -> i32;
    matrixe2ee_error_message: fn(*const c_void) -> Text;
    matrixe2ee_error_json: fn(*const c_void) -> Text;
    matrixe2ee_error_free: fn(*mut c_void);
    matrixe2ee_string_free: fn(*mut c_char);
    matrixe2ee_status_name: fn(i32) -> Text;

    matrixe2ee_keys_claim_request: fn(Text, i64, OutText, Err) -> i32;
    matrixe2ee_read_keys_claim_response: fn(Text, Text, OutText, Err) -> i32;
    matrixe2ee_verify_signed_json: fn(Text, Text, Text, Text, Err) -> i32;
    matrixe2ee_canonical_json: fn(Text, OutText, Err) -> i32;

    matrixe2ee_store_in_memory: fn(*const u8, usize, OutHandle, Err) -> i32;
    matrixe2ee_store_rekey: fn(Handle, *const u8, usize, Err) -> i32;
    matrixe2ee_store_shut_down: fn(Handle, Err) -> i32;
    matrixe2ee_store_free: fn(Handle);

    matrixe2ee_account_open: fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_account_open_existing: fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_account_from_libolm_pickle:
        fn(Handle, Text, Text, Text, *const u8, usize, OutHandle, Err) -> i32;
    matrixe2ee_account_from_vodozemac_pickle:
        fn(Handle, Text, Text, Text, *const u8, usize, OutHandle, Err) -> i32;
    matrixe2ee_account_user_id: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_account_device_id: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_account_identity_key: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_account_fingerprint_key: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_account_device_keys: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_account_keys_upload_request: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_account_receive_keys_upload_response: fn(Handle, u16, Text, Err) -> i32;
    matrixe2ee_account_receive_key_counts: fn(Handle, Text, Text, Err) -> i32;
    matrixe2ee_account_sign_json: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_account_encrypt_for_devices: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_account_decrypt_room_events: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_account_list_sessions: fn(Handle, Text, Text, i64, OutText, Err) -> i32;
    matrixe2ee_account_list_channels: fn(Handle, Text, i64, OutText, Err) -> i32;
    matrixe2ee_account_import_libolm_sessions:
        fn(Handle, Text, *const u8, usize, OutText, Err) -> i32;
    matrixe2ee_account_import_sessions: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_account_erase: fn(Handle, Err) -> i32;
    matrixe2ee_account_free: fn(Handle);

    matrixe2ee_olm_channel_create_outbound_channel: fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_olm_channel_create_from_encrypted_message:
        fn(Handle, Text, Text, Text, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_olm_channel_create_from_storage: fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_olm_channel_from_libolm_pickles:
        fn(Handle, Text, Text, Text, *const u8, usize, OutHandle, Err) -> i32;
    matrixe2ee_olm_channel_from_vodozemac_pickles:
        fn(Handle, Text, Text, Text, *const u8, usize, OutHandle, Err) -> i32;
    matrixe2ee_olm_channel_first_event: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_olm_channel_add_outbound_olm_session: fn(Handle, Text, Err) -> i32;
    matrixe2ee_olm_channel_encrypt: fn(Handle, Text, Text, OutText, Err) -> i32;
    matrixe2ee_olm_channel_decrypt: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_olm_channel_session_count: fn(Handle, *mut u32, Err) -> i32;
    matrixe2ee_olm_channel_set_partner_device_keys: fn(Handle, Text, Err) -> i32;
    matrixe2ee_olm_channel_partner: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_olm_channel_should_create_new_session: fn(Handle, *mut bool, Err) -> i32;
    matrixe2ee_olm_channel_erase: fn(Handle, Err) -> i32;
    matrixe2ee_olm_channel_free: fn(Handle);

    matrixe2ee_outbound_megolm_session_create: fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_outbound_megolm_session_create_from_storage:
        fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_outbound_megolm_session_from_libolm_pickle:
        fn(Handle, Text, Text, *const u8, usize, OutHandle, Err) -> i32;
    matrixe2ee_outbound_megolm_session_session_id: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_outbound_megolm_session_message_index: fn(Handle, *mut u32, Err) -> i32;
    matrixe2ee_outbound_megolm_session_get_session_key_for_sending:
        fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_outbound_megolm_session_mark_as_sent: fn(Handle, Text, Err) -> i32;
    matrixe2ee_outbound_megolm_session_encrypt: fn(Handle, Text, Text, OutText, Err) -> i32;
    matrixe2ee_outbound_megolm_session_invalidate: fn(Handle, Err) -> i32;
    matrixe2ee_outbound_megolm_session_erase: fn(Handle, Err) -> i32;
    matrixe2ee_outbound_megolm_session_free: fn(Handle);

    matrixe2ee_inbound_megolm_session_from_outbound_session: fn(Handle, OutHandle, Err) -> i32;
    matrixe2ee_inbound_megolm_session_from_room_key:
        fn(Handle, Text, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_inbound_megolm_session_from_export: fn(Handle, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_inbound_megolm_session_from_libolm_pickle:
        fn(Handle, Text, Text, Text, *const u8, usize, Text, OutHandle, Err) -> i32;
    matrixe2ee_inbound_megolm_session_from_storage:
        fn(Handle, Text, Text, Text, OutHandle, Err) -> i32;
    matrixe2ee_inbound_megolm_session_decrypt: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_inbound_megolm_session_decrypt_many: fn(Handle, Text, OutText, Err) -> i32;
    matrixe2ee_inbound_megolm_session_session_id: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_inbound_megolm_session_sender_key: fn(Handle, OutText, Err) -> i32;
    matrixe2ee_inbound_megolm_session_authenticated: fn(Handle, *mut bool, Err) -> i32;
    matrixe2ee_inbound_megolm_session_first_known_index: fn(Handle, *mut u32, Err) -> i32;
    matrixe2ee_inbound_megolm_session_export_at: fn(Handle, i64, OutText, Err) -> i32;
    matrixe2ee_inbound_megolm_session_erase: fn(Handle, Err) -> i32;
    matrixe2ee_inbound_megolm_session_free: fn(Handle);
}

table! { GETTERS: Getter =
    Account matrixe2ee_account_user_id,
    Account matrixe2ee_account_device_id,
    Account matrixe2ee_account_identity_key,
    Account matrixe2ee_account_fingerprint_key,
    Account matrixe2ee_account_device_keys,
    Account matrixe2ee_account_keys_upload_request,
    Channel matrixe2ee_olm_channel_first_event,
    Channel matrixe2ee_olm_channel_partner,
    Outbound matrixe2ee_outbound_megolm_session_session_id,
    Inbound matrixe2ee_inbound_megolm_session_session_id,
    Inbound matrixe2ee_inbound_megolm_session_sender_key,
}

table! { TEXT_TO_TEXT: TextToText =
    Account matrixe2ee_account_sign_json,
    Account matrixe2ee_account_encrypt_for_devices,
    Account matrixe2ee_account_decrypt_room_events,
    Account matrixe2ee_account_import_sessions,
    Channel matrixe2ee_olm_channel_decrypt,
    Outbound matrixe2ee_outbound_megolm_session_get_session_key_for_sending,
    Inbound matrixe2ee_inbound_megolm_session_decrypt,
    Inbound matrixe2ee_inbound_megolm_session_decrypt_many,
}

table! { TEXTS_TO_TEXT: TextsToText =
    Channel matrixe2ee_olm_channel_encrypt,
    Outbound matrixe2ee_outbound_megolm_session_encrypt,
}

table! { ACTIONS: Action =
    Store matrixe2ee_store_shut_down,
    Account matrixe2ee_account_erase,
    Channel matrixe2ee_olm_channel_erase,
    Outbound matrixe2ee_outbound_megolm_session_invalidate,
    Outbound matrixe2ee_outbound_megolm_session_erase,
    Inbound matrixe2ee_inbound_megolm_session_erase,
}

table! { TEXT_ACTIONS: TextAction =
    Channel matrixe2ee_olm_channel_add_outbound_olm_session,
    Channel matrixe2ee_olm_channel_set_partner_device_keys,
    Outbound matrixe2ee_outbound_megolm_session_mark_as_sent,
}

table! { COUNTERS: Counter =
    Channel matrixe2ee_olm_channel_session_count,
    Outbound matrixe2ee_outbound_megolm_session_message_index,
    Inbound matrixe2ee_inbound_megolm_session_first_known_index,
}

table! { QUESTIONS: Question =
    Channel matrixe2ee_olm_channel_should_create_new_session,
    Inbound matrixe2ee_inbound_megolm_session_authenticated,
}

table! { FREES: Free =
    Store matrixe2ee_store_free,
    Account matrixe2ee_account_free,
    Channel matrixe2ee_olm_channel_free,
    Outbound matrixe2ee_outbound_megolm_session_free,
    Inbound matrixe2ee_inbound_megolm_session_free,
}

makers! { TEXTS_TO_HANDLE: TextsToHandle =
    Store Account matrixe2ee_account_open,
    Store Account matrixe2ee_account_open_existing,
    Account Channel matrixe2ee_olm_channel_create_outbound_channel,
    Account Channel matrixe2ee_olm_channel_create_from_storage,
    Account Outbound matrixe2ee_outbound_megolm_session_create,
    Account Outbound matrixe2ee_outbound_megolm_session_create_from_storage,
}

makers! { THREE_TO_HANDLE: ThreeToHandle =
    Account Inbound matrixe2ee_inbound_megolm_session_from_room_key,
    Account Inbound matrixe2ee_inbound_megolm_session_from_storage,
}

makers! { PICKLE_TO_HANDLE: PickleToHandle =
    Store Account matrixe2ee_account_from_libolm_pickle,
    Store Account matrixe2ee_account_from_vodozemac_pickle,
    Account Channel matrixe2ee_olm_channel_from_libolm_pickles,
    Account Channel matrixe2ee_olm_channel_from_vodozemac_pickles,
}
