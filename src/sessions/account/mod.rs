//! One device's account: its long-term keys, and the one-time and fallback keys it publishes.

mod answer;
mod fallback;
mod import;
mod lists;
mod opened;
mod record;
mod set_aside;
mod upload;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use serde_json::json;
use vodozemac::olm::{
    Account as OlmAccount, PreKeyMessage, Session, SessionConfig, SessionCreationError,
};
use vodozemac::{Curve25519PublicKey, Ed25519PublicKey};

use crate::base::identifiers::{DeviceId, UserId};
use crate::base::json::{self, Object};
use crate::error::{E2eeError, Result};
use crate::sessions::device_keys::{MEGOLM_ALGORITHM, OLM_ALGORITHM};
use crate::store::{
    Access, Batch, Life, Live, LiveRegistry, RecordKey, Records, SetOf, Store, Taken, Transaction,
    Vault, WriteBack, collections,
};

pub use answer::KeyCounts;
pub(crate) use import::{pickle_error, vodozemac_pickle_key};
pub use lists::Page;
pub(crate) use record::AccountState;

/// An account that is open in a store. Channels and sessions hold it, and so the store.
pub struct Account {
    store: Arc<Store>,
    user_id: UserId,
    device_id: DeviceId,
    identity_key: Curve25519PublicKey,
    identity_key_text: String,
    fingerprint_key: Ed25519PublicKey,
    device_keys: String,
    key: RecordKey,
    shared: Arc<Shared>,
}

/// What all open handles on one account share.
struct Shared {
    state: Arc<Live<AccountState>>,
    /// The channels and sessions of this account that are open.
    live: Arc<LiveRegistry>,
    life: Life,
    /// How often more has become known of some device's fingerprint.
    fingerprints_noted: AtomicU64,
}

impl Shared {
    fn new(store: &Store) -> Self {
        Self {
            state: Arc::new(Live::new()),
            live: store.new_registry(),
            life: Life::default(),
            fingerprints_noted: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("device_id", &self.device_id).finish_non_exhaustive()
    }
}

impl Account {
    /// Loads the account, or creates it once.
    pub fn open(store: &Arc<Store>, user_id: UserId, device_id: DeviceId) -> Result<Self> {
        Self::find(store, user_id, device_id, Wanted::Any)
    }

    /// Loads the account; fails if there is none.
    pub fn open_existing(store: &Arc<Store>, user_id: UserId, device_id: DeviceId) -> Result<Self> {
        Self::find(store, user_id, device_id, Wanted::Stored)
    }

    /// Stores an account that comes from elsewhere; fails if there is one already.
    fn adopt(
        store: &Arc<Store>,
        user_id: UserId,
        device_id: DeviceId,
        account: OlmAccount,
    ) -> Result<Self> {
        let state = AccountState::imported(account, store.now_ms()?)?;
        Self::find(store, user_id, device_id, Wanted::New(Box::new(state)))
    }

    fn find(
        store: &Arc<Store>,
        user_id: UserId,
        device_id: DeviceId,
        wanted: Wanted,
    ) -> Result<Self> {
        store.enter()?;
        let key = store.vault().key(collections::ACCOUNTS, &[&user_id, &device_id]);
        loop {
            let shared = store.live().get_or_insert(&key, || Shared::new(store));
            // If it was erased at this moment it is forgotten by now: start anew.
            let Ok(access) = shared.life.enter() else { continue };
            let mut tx = Transaction::new(store, access);
            let found = tx.find(&shared.state, |records| record::load(records, &key))?;
            let new = match (&found, wanted) {
                (Some(_), Wanted::Stored | Wanted::Any) => None,
                (Some(_), Wanted::New(_)) => {
                    return Err(E2eeError::already_exists("the account is stored already"));
                }
                (None, Wanted::New(state)) => Some(*state),
                (None, Wanted::Any) => Some(AccountState::new(OlmAccount::new())),
                (None, Wanted::Stored) => {
                    return Err(E2eeError::not_found("the account is not stored, or was erased"));
                }
            };
            let state = match (found, new) {
                (Some(state), _) => state,
                (None, Some(mut new)) => {
                    let owner = (&*user_id, &*device_id);
                    record::put(store.vault(), &key, owner, &mut new, &mut tx)?;
                    for set in collections::SETS {
                        tx.note_built(SetOf { set, owner: [&user_id, &device_id] });
                    }
                    tx.create(&shared.state, new)?
                }
                (None, None) => return Err(E2eeError::panic("internal error")),
            };
            let identity_key = state.account.curve25519_key();
            let fingerprint_key = state.account.ed25519_key();
            let device_keys = signed_device_keys(&user_id, &device_id, &state.account)?;
            drop(state);
            tx.commit()?;
            return Ok(Self {
                store: Arc::clone(store),
                user_id,
                device_id,
                identity_key,
                identity_key_text: identity_key.to_base64(),
                fingerprint_key,
                device_keys,
                key,
                shared,
            });
        }
    }

    /// The user of this account.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// The device of this account.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// The Curve25519 identity key as unpadded base64.
    pub fn identity_key(&self) -> &str {
        &self.identity_key_text
    }

    pub(crate) fn identity_public_key(&self) -> &Curve25519PublicKey {
        &self.identity_key
    }

    /// The Ed25519 fingerprint key.
    pub fn fingerprint_key(&self) -> &Ed25519PublicKey {
        &self.fingerprint_key
    }

    /// The signed device keys as JSON text.
    pub fn device_keys(&self) -> &str {
        &self.device_keys
    }

    pub(crate) fn vault(&self) -> &Vault {
        self.store.vault()
    }

    pub(crate) fn live(&self) -> &LiveRegistry {
        &self.shared.live
    }

    /// A record key under this account.
    pub(crate) fn record_key(&self, collection: &'static str, parts: &[&str]) -> RecordKey {
        let mut all: Vec<&str> = vec![&self.user_id, &self.device_id];
        all.extend_from_slice(parts);
        self.vault().key(collection, &all)
    }

    /// To be held by every call, once: the store is usable and the account is not erased. A call that
    /// reads or changes a state has it in its transaction. Twice in one thread, the second could wait
    /// for an `erase` that waits for the first.
    pub fn enter(&self) -> Result<Access<'_>> {
        self.store.enter()?;
        self.shared.life.enter()
    }

    /// Begins what one call changes. Once in a call, as `enter`.
    pub fn begin(&self) -> Result<Transaction<'_>> {
        Ok(Transaction::new(&self.store, self.enter()?))
    }

    /// As `begin`, for a call that changes many objects at once: no other call on this account or
    /// on anything of it runs meanwhile.
    pub(crate) fn begin_alone(&self) -> Result<Transaction<'_>> {
        self.store.enter()?;
        Ok(Transaction::new(&self.store, self.shared.life.enter_alone()?))
    }

    /// As `enter`, for the end of a handle, where nothing may fail or wait.
    pub(crate) fn enter_to_leave(&self) -> Option<Access<'_>> {
        self.store.enter_to_leave().ok()?;
        self.shared.life.try_enter()
    }

    /// Asked again under the lock of a state that is to be read: after `shut_down`, nothing is.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.store.enter()
    }

    /// Tells those who keep what a channel knew of a device to ask again. For a channel, once what
    /// it has come to know is stored.
    pub(crate) fn note_fingerprint(&self) {
        self.shared.fingerprints_noted.fetch_add(1, Ordering::Release);
    }

    /// Another number than last time if some channel knows more since.
    pub(crate) fn fingerprints_noted(&self) -> u64 {
        self.shared.fingerprints_noted.load(Ordering::Acquire)
    }

    pub(crate) fn life(&self) -> &Life {
        &self.shared.life
    }

    /// Has an object of this account write its state back when the store is shut down.
    pub(crate) fn add_write_back(&self, object: Weak<dyn WriteBack>) {
        self.store.add_write_back(object);
    }

    pub(crate) fn take(&self, tx: &mut Transaction<'_>) -> Result<Taken<AccountState>> {
        tx.take(&self.shared.state, |records| record::load(records, &self.key))
    }

    fn put(&self, state: &mut AccountState, tx: &mut Transaction<'_>) -> Result<()> {
        record::put(self.vault(), &self.key, (&self.user_id, &self.device_id), state, tx)
    }

    /// Signs an object with the fingerprint key and returns it with the signature added.
    pub fn sign_json(&self, tx: &mut Transaction<'_>, mut object: Object) -> Result<Object> {
        let state = self.take(tx)?;
        json::add_signature(&mut object, &self.user_id, &self.fingerprint_id(), |bytes| {
            state.account.sign(bytes)
        })?;
        Ok(object)
    }

    pub(crate) fn fingerprint_id(&self) -> String {
        format!("ed25519:{}", self.device_id())
    }

    pub(crate) fn create_outbound_session(
        &self,
        tx: &mut Transaction<'_>,
        identity_key: Curve25519PublicKey,
        one_time_key: Curve25519PublicKey,
    ) -> Result<Session> {
        self.take(tx)?
            .account
            .create_outbound_session(SessionConfig::version_1(), identity_key, one_time_key)
            .map_err(|_| E2eeError::invalid_key("the key exchange gave no usable secret"))
    }

    /// Makes a session from a pre-key message, and its plaintext. The one-time key is used up: that is
    /// committed together with the session (O23, D22, SEC-31). If this fails for the message's
    /// sake, nothing is changed.
    pub(crate) fn create_inbound_session(
        &self,
        tx: &mut Transaction<'_>,
        message: &PreKeyMessage,
    ) -> Result<(Session, Vec<u8>)> {
        let now = tx.now_ms()?;
        let mut state = self.take(tx)?;
        fallback::check(self, &state, message, now, tx)?;
        let upload = answer::upload_of(&state, &message.one_time_key());
        // vodozemac leaves the account as it was when this fails (P4).
        let created = state.try_change(|state| {
            match state.account.create_inbound_session(
                SessionConfig::version_1(),
                message.identity_key(),
                message,
            ) {
                Err(SessionCreationError::MissingOneTimeKey(_)) => {
                    set_aside::create_inbound_session(self, state, message, tx)
                }
                created => created.map_err(creation_error),
            }
        })?;
        state.change(|state| {
            if let Some(upload) = upload {
                answer::accept_unanswered(state, &upload);
            }
            fallback::record_use(self, state, message, now, tx)?;
            self.put(state, tx)
        })?;
        Ok((created.session, created.plaintext))
    }

    /// Deletes the account and all that is stored under it, in one commit.
    pub fn erase(&self) -> Result<()> {
        self.store.enter()?;
        let mut erased = self.shared.life.end();
        if *erased {
            return Err(E2eeError::not_found("the account was erased"));
        }
        // Again: what `shut_down` writes back must not follow upon the deletion.
        self.store.enter()?;
        self.vault().check_all_known()?;
        let mut batch = Batch::new();
        for collection in collections::OF_AN_ACCOUNT {
            for key in self.vault().scan_keys(collection, &[&self.user_id, &self.device_id])? {
                batch.delete(&key);
            }
        }
        for set in collections::SETS {
            self.vault().unnote_all(set, &[&self.user_id, &self.device_id], &mut batch)?;
        }
        let result = self.vault().commit(batch);
        // A commit that failed may have been made all the same: the store knows.
        *erased = result.is_ok()
            || matches!(record::load(&Records::of(self.vault()), &self.key), Ok(None));
        if *erased {
            self.store.live().forget(&self.key);
            self.shared.live.retire();
        }
        result
    }
}

/// Which account is to be found.
enum Wanted {
    /// One that is stored.
    Stored,
    /// One that is stored, or else a new one.
    Any,
    /// This one, which is not stored yet.
    New(Box<AccountState>),
}

/// The object of `/keys/upload`'s `device_keys`, signed; the same bytes each time.
fn signed_device_keys(user_id: &str, device_id: &str, account: &OlmAccount) -> Result<String> {
    let fingerprint_id = format!("ed25519:{device_id}");
    let mut device_keys = Object::new();
    device_keys.insert("algorithms".to_owned(), json!([OLM_ALGORITHM, MEGOLM_ALGORITHM]));
    device_keys.insert("device_id".to_owned(), json!(device_id));
    device_keys.insert(
        "keys".to_owned(),
        json!({
            format!("curve25519:{device_id}"): account.curve25519_key().to_base64(),
            fingerprint_id.as_str(): account.ed25519_key().to_base64(),
        }),
    );
    device_keys.insert("user_id".to_owned(), json!(user_id));
    json::add_signature(&mut device_keys, user_id, &fingerprint_id, |bytes| account.sign(bytes))?;
    json::to_text(&device_keys)
}

/// Why no session came out of a pre-key message (O16, SEC-20, SEC-29, SEC-39).
fn creation_error(error: SessionCreationError) -> E2eeError {
    use vodozemac::olm::DecryptionError;
    match error {
        SessionCreationError::MissingOneTimeKey(_) => E2eeError::unable_to_decrypt(
            "no_matching_session",
            "the message uses a one-time key that this account does not hold (any more)",
        ),
        SessionCreationError::Decryption(DecryptionError::InvalidMAC(_)) => {
            E2eeError::unable_to_decrypt("bad_mac", "the message was altered")
        }
        SessionCreationError::Decryption(DecryptionError::TooBigMessageGap(..)) => {
            E2eeError::unable_to_decrypt("message_gap", "too many earlier messages are missing")
        }
        SessionCreationError::NonContributoryKey
        | SessionCreationError::Decryption(DecryptionError::NonContributoryKey) => {
            E2eeError::invalid_key("the message carries a key of low order")
        }
        _ => E2eeError::unable_to_decrypt("malformed", "the message makes no session"),
    }
}
