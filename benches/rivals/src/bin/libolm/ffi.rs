//! The functions of libolm that are needed, and safe objects around them.

use std::ffi::c_void;

type Object = *mut c_void;

/// Where an object's memory comes from, and how it is made in it.
macro_rules! functions {
    ($($name:ident($($argument:ty),*);)*) => {
        #[link(name = "olm")]
        unsafe extern "C" { $(fn $name($(_: $argument),*) -> usize;)* }
    };
}

functions! {
    olm_account_size();
    olm_session_size();
    olm_utility_size();
    olm_outbound_group_session_size();
    olm_inbound_group_session_size();
    olm_error();
    olm_create_account_random_length(Object);
    olm_create_account(Object, *mut u8, usize);
    olm_account_identity_keys_length(Object);
    olm_account_identity_keys(Object, *mut u8, usize);
    olm_account_signature_length(Object);
    olm_account_sign(Object, *const u8, usize, *mut u8, usize);
    olm_account_one_time_keys_length(Object);
    olm_account_one_time_keys(Object, *mut u8, usize);
    olm_account_mark_keys_as_published(Object);
    olm_account_generate_one_time_keys_random_length(Object, usize);
    olm_account_generate_one_time_keys(Object, usize, *mut u8, usize);
    olm_account_generate_fallback_key_random_length(Object);
    olm_account_generate_fallback_key(Object, *mut u8, usize);
    olm_create_outbound_session_random_length(Object);
    olm_create_outbound_session(Object, Object, *const u8, usize, *const u8, usize, *mut u8, usize);
    olm_create_inbound_session(Object, Object, *mut u8, usize);
    olm_remove_one_time_keys(Object, Object);
    olm_encrypt_message_type(Object);
    olm_encrypt_random_length(Object);
    olm_encrypt_message_length(Object, usize);
    olm_encrypt(Object, *const u8, usize, *mut u8, usize, *mut u8, usize);
    olm_decrypt_max_plaintext_length(Object, usize, *mut u8, usize);
    olm_decrypt(Object, usize, *mut u8, usize, *mut u8, usize);
    olm_ed25519_verify(Object, *const u8, usize, *const u8, usize, *mut u8, usize);
    olm_init_outbound_group_session_random_length(Object);
    olm_init_outbound_group_session(Object, *mut u8, usize);
    olm_group_encrypt_message_length(Object, usize);
    olm_group_encrypt(Object, *const u8, usize, *mut u8, usize);
    olm_init_inbound_group_session(Object, *const u8, usize);
    olm_import_inbound_group_session(Object, *const u8, usize);
    olm_group_decrypt_max_plaintext_length(Object, *mut u8, usize);
    olm_group_decrypt(Object, *mut u8, usize, *mut u8, usize, *mut u32);
}

#[link(name = "olm")]
unsafe extern "C" {
    fn olm_account(memory: *mut u8) -> Object;
    fn olm_session(memory: *mut u8) -> Object;
    fn olm_utility(memory: *mut u8) -> Object;
    fn olm_outbound_group_session(memory: *mut u8) -> Object;
    fn olm_inbound_group_session(memory: *mut u8) -> Object;
    fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize;
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    // SAFETY: the vector is as long as it says.
    let filled = unsafe { getrandom(bytes.as_mut_ptr(), length, 0) };
    assert_eq!(filled as usize, length);
    bytes
}

/// The result of a call that worked.
fn good(result: usize) -> usize {
    // SAFETY: it only returns a constant.
    assert_ne!(result, unsafe { olm_error() });
    result
}

/// Room for what a call is going to write.
fn buffer(length: usize) -> Vec<u8> {
    vec![0; good(length)]
}

/// An object of libolm's in memory of ours.
macro_rules! object {
    ($name:ident, $size:ident, $make:ident) => {
        pub struct $name {
            _memory: Box<[u64]>,
            object: Object,
        }

        impl $name {
            fn empty() -> Self {
                // SAFETY: memory of the size that libolm asks for, aligned for numbers.
                unsafe {
                    let mut memory = vec![0_u64; $size().div_ceil(8)].into_boxed_slice();
                    let object = $make(memory.as_mut_ptr().cast());
                    Self { _memory: memory, object }
                }
            }
        }
    };
}

object!(Account, olm_account_size, olm_account);
object!(Session, olm_session_size, olm_session);
object!(Utility, olm_utility_size, olm_utility);
object!(Outbound, olm_outbound_group_session_size, olm_outbound_group_session);
object!(Inbound, olm_inbound_group_session_size, olm_inbound_group_session);

// SAFETY of all calls below: objects that were made, and memory as long as it is said to be.

impl Account {
    pub fn new() -> Self {
        let account = Self::empty();
        unsafe {
            let mut seed = random(olm_create_account_random_length(account.object));
            good(olm_create_account(account.object, seed.as_mut_ptr(), seed.len()));
        }
        account
    }

    /// JSON with the two keys.
    pub fn identity_keys(&self) -> Vec<u8> {
        unsafe {
            let mut keys = buffer(olm_account_identity_keys_length(self.object));
            good(olm_account_identity_keys(self.object, keys.as_mut_ptr(), keys.len()));
            keys
        }
    }

    pub fn sign(&self, text: &str) -> Vec<u8> {
        unsafe {
            let mut signature = buffer(olm_account_signature_length(self.object));
            let (to, room) = (signature.as_mut_ptr(), signature.len());
            good(olm_account_sign(self.object, text.as_ptr(), text.len(), to, room));
            signature
        }
    }

    /// JSON with the new keys.
    pub fn generate_one_time_keys(&self, count: usize) -> Vec<u8> {
        unsafe {
            let length = olm_account_generate_one_time_keys_random_length(self.object, count);
            let mut seed = random(length);
            let generate = olm_account_generate_one_time_keys;
            good(generate(self.object, count, seed.as_mut_ptr(), seed.len()));
            let mut keys = buffer(olm_account_one_time_keys_length(self.object));
            good(olm_account_one_time_keys(self.object, keys.as_mut_ptr(), keys.len()));
            keys
        }
    }

    pub fn generate_fallback_key(&self) {
        unsafe {
            let mut seed = random(olm_account_generate_fallback_key_random_length(self.object));
            good(olm_account_generate_fallback_key(self.object, seed.as_mut_ptr(), seed.len()));
        }
    }

    pub fn mark_keys_as_published(&self) {
        unsafe { good(olm_account_mark_keys_as_published(self.object)) };
    }

    pub fn open(&self, identity: &str, key: &str) -> Session {
        let session = Session::empty();
        unsafe {
            let mut seed = random(olm_create_outbound_session_random_length(session.object));
            good(olm_create_outbound_session(
                session.object,
                self.object,
                identity.as_ptr(),
                identity.len(),
                key.as_ptr(),
                key.len(),
                seed.as_mut_ptr(),
                seed.len(),
            ));
        }
        session
    }

    /// From a pre-key message, which is left as it is.
    pub fn accept(&self, message: &[u8]) -> Session {
        let (session, mut message) = (Session::empty(), message.to_vec());
        unsafe {
            let (body, length) = (message.as_mut_ptr(), message.len());
            good(olm_create_inbound_session(session.object, self.object, body, length));
            good(olm_remove_one_time_keys(self.object, session.object));
        }
        session
    }
}

impl Session {
    pub fn encrypt(&self, text: &str) -> (usize, Vec<u8>) {
        unsafe {
            let kind = good(olm_encrypt_message_type(self.object));
            let mut seed = random(olm_encrypt_random_length(self.object));
            let mut message = buffer(olm_encrypt_message_length(self.object, text.len()));
            let (from, to) = (seed.as_mut_ptr(), message.as_mut_ptr());
            let (seeds, room) = (seed.len(), message.len());
            good(olm_encrypt(self.object, text.as_ptr(), text.len(), from, seeds, to, room));
            (kind, message)
        }
    }

    pub fn decrypt(&self, (kind, message): &(usize, Vec<u8>)) -> Vec<u8> {
        let (mut copy, mut message) = (message.clone(), message.clone());
        unsafe {
            let (body, length) = (copy.as_mut_ptr(), copy.len());
            let room = olm_decrypt_max_plaintext_length(self.object, *kind, body, length);
            let mut text = buffer(room);
            let (body, to) = (message.as_mut_ptr(), text.as_mut_ptr());
            text.truncate(good(olm_decrypt(self.object, *kind, body, length, to, room)));
            text
        }
    }
}

impl Utility {
    pub fn new() -> Self {
        Self::empty()
    }

    pub fn verify(&self, key: &str, text: &str, signature: &str) {
        let mut signature = signature.as_bytes().to_vec();
        unsafe {
            let (body, length) = (signature.as_mut_ptr(), signature.len());
            let (key, text) = (key.as_bytes(), text.as_bytes());
            let (k, t) = (key.as_ptr(), text.as_ptr());
            good(olm_ed25519_verify(self.object, k, key.len(), t, text.len(), body, length));
        }
    }
}

impl Outbound {
    pub fn new() -> Self {
        let session = Self::empty();
        unsafe {
            let mut seed = random(olm_init_outbound_group_session_random_length(session.object));
            let (from, seeds) = (seed.as_mut_ptr(), seed.len());
            good(olm_init_outbound_group_session(session.object, from, seeds));
        }
        session
    }

    pub fn encrypt(&self, text: &str) -> Vec<u8> {
        unsafe {
            let mut message = buffer(olm_group_encrypt_message_length(self.object, text.len()));
            let (to, room) = (message.as_mut_ptr(), message.len());
            good(olm_group_encrypt(self.object, text.as_ptr(), text.len(), to, room));
            message
        }
    }
}

impl Inbound {
    pub fn new(key: &str) -> Self {
        let session = Self::empty();
        unsafe { good(olm_init_inbound_group_session(session.object, key.as_ptr(), key.len())) };
        session
    }

    pub fn import(key: &str) -> Self {
        let session = Self::empty();
        unsafe { good(olm_import_inbound_group_session(session.object, key.as_ptr(), key.len())) };
        session
    }

    pub fn decrypt(&self, message: &str) -> Vec<u8> {
        let (mut copy, mut message) = (message.as_bytes().to_vec(), message.as_bytes().to_vec());
        let mut index = 0;
        unsafe {
            let (body, length) = (copy.as_mut_ptr(), copy.len());
            let room = olm_group_decrypt_max_plaintext_length(self.object, body, length);
            let mut text = buffer(room);
            let (body, to) = (message.as_mut_ptr(), text.as_mut_ptr());
            let used = olm_group_decrypt(self.object, body, length, to, room, &mut index);
            text.truncate(good(used));
            text
        }
    }
}
