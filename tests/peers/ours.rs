//! Our side: one device on a SQLite store that can be closed and opened again.

use std::path::Path;
use std::sync::Arc;

use matrixe2ee::{Account, E2eeError, OlmChannel, OutboundMegolmSession, Store};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::link::Peer;

pub const MEGOLM: &str = "m.megolm.v1.aes-sha2";

pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the library writes JSON")
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The value, or the test fails with the whole error.
#[track_caller]
pub fn ok<T>(result: matrixe2ee::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{}", error.to_json()),
    }
}

/// The error, or the test fails.
#[track_caller]
pub fn refused<T>(result: matrixe2ee::Result<T>) -> E2eeError {
    match result {
        Ok(_) => panic!("this must be refused, and was accepted"),
        Err(error) => error,
    }
}

/// The reason why a ciphertext could not be decrypted.
#[track_caller]
pub fn undecryptable<T>(result: matrixe2ee::Result<T>) -> String {
    match refused(result) {
        E2eeError::UnableToDecrypt { reason, .. } => reason,
        other => panic!("{}", other.to_json()),
    }
}

pub struct Ours {
    folder: TempDir,
    pub user_id: String,
    pub device_id: String,
    store: Arc<Store>,
    pub account: Arc<Account>,
}

impl Ours {
    const KEY: [u8; 32] = *b"a key of thirty-two bytes, fixed";

    /// A new account.
    pub fn new(user_id: &str, device_id: &str) -> Self {
        Self::with_account(user_id, device_id, |store| Account::open(store, user_id, device_id))
    }

    /// An account that `make` puts into the store.
    pub fn with_account(
        user_id: &str,
        device_id: &str,
        make: impl FnOnce(&Store) -> matrixe2ee::Result<Arc<Account>>,
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let store = open(folder.path());
        let account = ok(make(&store));
        let (user_id, device_id) = (user_id.to_owned(), device_id.to_owned());
        Self { folder, user_id, device_id, store, account }
    }

    /// Closes everything and reads it back from disk. All other handles on this
    /// store answer `STORE_CLOSED` from then on.
    pub fn reopen(&mut self) {
        ok(self.store.shut_down());
        self.store = open(self.folder.path());
        self.account = ok(Account::open(&self.store, &self.user_id, &self.device_id));
    }

    /// The same device as it would come up if the machine lost power now: what
    /// is on disk, without a word of farewell.
    pub fn after_power_loss(&self) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for file in std::fs::read_dir(self.folder.path()).expect("the folder is there") {
            let file = file.expect("the folder is readable");
            // SQLite makes the shared-memory index anew.
            if !file.file_name().to_string_lossy().ends_with("-shm") {
                let copy = folder.path().join(file.file_name());
                std::fs::copy(file.path(), copy).expect("the file is readable");
            }
        }
        let store = open(folder.path());
        let account = ok(Account::open(&store, &self.user_id, &self.device_id));
        let (user_id, device_id) = (self.user_id.clone(), self.device_id.clone());
        Self { folder, user_id, device_id, store, account }
    }

    pub fn identity_key(&self) -> String {
        ok(self.account.identity_key())
    }

    pub fn device_keys(&self) -> Value {
        parse(&ok(self.account.device_keys()))
    }

    /// What others need to encrypt for this device.
    pub fn address(&self) -> Value {
        json!({
            "user_id": self.user_id,
            "identity_key": self.identity_key(),
            "fingerprint": ok(self.account.fingerprint_key()),
        })
    }

    /// Uploads what the account wants to upload to a server that has
    /// `on_server` one-time keys of it; gives the request.
    pub fn upload_keys(&self, on_server: usize) -> Value {
        let request = parse(&ok(self.account.keys_upload_request()).expect("there are keys"));
        let keys = request["one_time_keys"].as_object().map_or(0, Map::len);
        let counts = json!({"one_time_key_counts": {"signed_curve25519": on_server + keys}});
        ok(self.account.receive_keys_upload_response(200, &counts.to_string()));
        request
    }

    /// The channel with a peer, from the store.
    pub fn channel(&self, peer: &Peer) -> Arc<OlmChannel> {
        ok(OlmChannel::create_from_storage(&self.account, &peer.user_id, &peer.identity_key))
    }

    /// A new channel with a peer, started by us with one of its one-time keys.
    pub fn start_channel(&self, peer: &mut Peer) -> Arc<OlmChannel> {
        let (keys, one_time_key) = (peer.device_keys(), peer.one_time_key());
        ok(OlmChannel::create_outbound_channel(
            &self.account,
            &keys.to_string(),
            &one_time_key.to_string(),
        ))
    }

    /// Encrypts an event for a peer and lets the peer read it; gives the event as
    /// the peer read it.
    pub fn send(&self, peer: &mut Peer, event_type: &str, content: &Value) -> Value {
        let message = ok(self.channel(peer).encrypt(event_type, &content.to_string()));
        self.deliver(peer, &parse(&message))
    }

    /// Lets a peer read an Olm message of ours.
    pub fn deliver(&self, peer: &mut Peer, message: &Value) -> Value {
        peer.ask("olm_decrypt", json!({"sender": self.user_id, "content": message}))
    }

    /// An event that a peer encrypts for us.
    pub fn message_from(&self, peer: &mut Peer, event_type: &str, content: &Value) -> Value {
        peer.ask(
            "olm_encrypt",
            json!({"recipient": self.address(), "type": event_type, "content": content}),
        )
    }

    /// The room's current outbound session, from the store.
    pub fn outbound(&self, room_id: &str) -> Arc<OutboundMegolmSession> {
        ok(OutboundMegolmSession::create_from_storage(&self.account, room_id, None))
    }

    /// Hands the room's key to all of the peers that lack it, over Olm; gives
    /// the first index that each of them knows, by device ID.
    pub fn share_room_key(&self, room_id: &str, peers: &mut [&mut Peer]) -> Map<String, Value> {
        let mut members = json!({&self.user_id: "join"});
        // Our own device is in the list, as a device tracker would have it.
        let mut devices = json!({&self.user_id: {&self.device_id: self.device_keys()}});
        for peer in peers.iter_mut() {
            members[&peer.user_id] = "join".into();
            devices[&peer.user_id][&peer.device_id] = peer.device_keys();
        }
        let recipients = json!({
            "encryption": {"algorithm": MEGOLM, "rotation_period_msgs": 10_000},
            "history_visibility": "shared",
            "members": members,
            "device_keys": devices,
        });
        let outbound = self.outbound(room_id);
        let shares = parse(&ok(outbound.get_session_key_for_sending(&recipients.to_string())));
        let mut known = Map::new();
        for share in shares.as_array().expect("a list") {
            let peer = peers
                .iter_mut()
                .find(|peer| share["device"]["device_id"] == peer.device_id)
                .unwrap_or_else(|| panic!("the room key is for {}", share["device"])); // M12
            let event = self.send(peer, "m.room_key", &share["content"]);
            // M6: what the peer reads is a whole m.room_key event.
            assert_eq!(event["type"], "m.room_key");
            let first = peer.ask("megolm_receive", json!({"content": event["content"]}));
            known.insert(peer.device_id.clone(), first);
            ok(outbound.mark_as_sent(&json!([share["device"]]).to_string()));
        }
        // M8: nobody gets it twice.
        let again = ok(outbound.get_session_key_for_sending(&recipients.to_string()));
        assert_eq!(parse(&again), json!([]));
        known
    }
}

fn open(folder: &Path) -> Arc<Store> {
    let path = folder.join("store.sqlite");
    ok(Store::open_sqlite(path.to_str().expect("the path is text"), Ours::KEY.to_vec()))
}
