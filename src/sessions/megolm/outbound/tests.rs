//! Records of other versions, and what a forked child leaves alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vodozemac::megolm::{GroupSession, GroupSessionPickle, SessionConfig};

use super::record::{self, OutboundState};
use super::reserve::{DEFAULT_BLOCK, LARGEST_BLOCK};
use super::shares::{Notice, Share, ShareStatus};
use super::{EventContent, OutboundMegolmSession, SentDevice, Settings};
use crate::base::environment::as_if_forked;
use crate::base::identifiers::{EventType, RoomId};
use crate::error::Result;
use crate::sessions::account::Account;
use crate::sessions::room_settings::{RotationLimits, RotationPeriod};
use crate::store::collections::{OUTBOUND_SHARE_CHUNKS, OUTBOUND_SHARES};
use crate::store::{Store, Taken, Transaction};

const ROOM: &str = "!room";

/// A session's record as it was before anything was reserved.
#[derive(Serialize, Deserialize)]
struct OldRecord {
    pickle: GroupSessionPickle,
    created_ms: i64,
    settings: OldSettings,
    period: RotationPeriod,
    shared_history: Option<bool>,
    invalidated: bool,
}

#[derive(Serialize, Deserialize)]
struct OldSettings {
    limits: RotationLimits,
    old_shared_history_names: bool,
}

fn account() -> Arc<Account> {
    let store = Store::in_memory(&[7; 32]).unwrap();
    Arc::new(Account::open(&store, "@alice:a.org".into(), "ALICE".into()).unwrap())
}

fn room() -> RoomId {
    RoomId::from(ROOM)
}

/// A call, whose transaction is committed.
fn call<R>(account: &Account, work: impl FnOnce(&mut Transaction<'_>) -> Result<R>) -> Result<R> {
    let mut tx = account.begin()?;
    let result = work(&mut tx)?;
    tx.commit()?;
    Ok(result)
}

fn create(account: &Arc<Account>) -> OutboundMegolmSession {
    call(account, |tx| OutboundMegolmSession::create(account, tx, room(), Settings::default()))
        .unwrap()
}

fn open(account: &Arc<Account>, id: Option<&str>) -> OutboundMegolmSession {
    let mut tx = account.begin().unwrap();
    OutboundMegolmSession::create_from_storage(account, &mut tx, room(), id).unwrap()
}

fn encrypt(session: &OutboundMegolmSession) -> Result<()> {
    let content = EventContent::read("{}").unwrap();
    let event_type = EventType::from("m");
    call(&session.account, |tx| session.encrypt(tx, &event_type, &content).map(drop))
}

fn index(session: &OutboundMegolmSession) -> Result<u32> {
    session.message_index(&mut session.account.begin()?)
}

fn mark(session: &OutboundMegolmSession, device: &serde_json::Value) {
    let device = SentDevice::read(&serde_json::value::to_raw_value(device).unwrap());
    call(&session.account, |tx| session.mark_as_sent(tx, vec![device])).unwrap();
}

fn look<R>(
    session: &OutboundMegolmSession,
    look: impl FnOnce(&mut Taken<OutboundState>) -> R,
) -> R {
    let mut tx = session.account.begin().unwrap();
    let mut state = session.take(&mut tx).unwrap();
    look(&mut state)
}

fn old_record(session: &GroupSession, now: i64) -> OldRecord {
    let limits = RotationLimits::default();
    OldRecord {
        pickle: session.pickle(),
        created_ms: now,
        settings: OldSettings { limits, old_shared_history_names: true },
        period: limits.default_period(),
        shared_history: None,
        invalidated: false,
    }
}

#[test]
fn a_record_from_before_anything_was_reserved_goes_on_at_its_index() {
    let account = account();
    let mut session = GroupSession::new(SessionConfig::version_1());
    (0..3).for_each(|_| drop(session.encrypt("")));
    let id = session.session_id();
    let key = record::session_key(&account, &room(), &id);
    call(&account, |tx| {
        let record = old_record(&session, tx.now_ms()?);
        tx.put(&key, &record)
    })
    .unwrap();
    assert_eq!(index(&open(&account, Some(&id))).unwrap(), 3);
    let session = open(&account, Some(&id));
    encrypt(&session).unwrap();
    look(&session, |state| {
        assert_eq!(state.session.message_index(), 4);
        let expected = Settings { old_shared_history_names: true, ..Settings::default() };
        assert_eq!((state.settings, state.settings.reserve_ahead), (expected, DEFAULT_BLOCK));
    });
}

#[test]
fn a_version_that_would_use_reserved_indices_again_cannot_read_the_record() {
    let account = account();
    let session = create(&account);
    encrypt(&session).unwrap();
    let read = account.vault().read::<OldRecord>(&session.key);
    assert_eq!(read.err().map(|error| error.name()), Some("CORRUPT"));
}

#[test]
fn a_record_that_would_skip_without_end_is_refused() {
    let account = account();
    for (gap, fits) in [(LARGEST_BLOCK, true), (LARGEST_BLOCK + 1, false)] {
        let session = create(&account);
        call(&account, |tx| {
            session.take(tx)?.change(|state| {
                state.reserved_until = gap;
                record::put(&session, state, tx)
            })
        })
        .unwrap();
        session.shared.state.retire(|_| ()).unwrap();
        match index(&session) {
            Ok(index) => assert!(fits && index == gap),
            Err(error) => assert!(!fits && error.name() == "CORRUPT"),
        }
    }
}

#[test]
fn a_handle_that_ends_in_a_forked_child_writes_nothing_back() {
    let account = account();
    let session = create(&account);
    encrypt(&session).unwrap();
    as_if_forked(|| {
        assert_eq!(encrypt(&session).unwrap_err().name(), "FORKED");
        drop(session);
    });
    // The record still says that all of the block may be used: by the parent, it is.
    assert_eq!(index(&open(&account, None)).unwrap(), DEFAULT_BLOCK);
}

/// One user's shares as version 0.1 wrote them.
#[derive(Serialize)]
struct OldShares {
    user_id: String,
    devices: BTreeMap<String, OldShare>,
}

#[derive(Serialize)]
struct OldShare {
    identity_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint_key: Option<String>,
    status: OldStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<Notice>,
}

#[derive(Serialize)]
enum OldStatus {
    Pending(String),
    Sent,
    WithheldPending,
    WithheldSent,
}

fn key_text(byte: u8) -> String {
    crate::base::json::encode_base64([byte; 32])
}

/// A session whose shares stand in records of users, one device in each state.
fn with_old_shares(account: &Arc<Account>) -> (OutboundMegolmSession, String) {
    let session = create(account);
    encrypt(&session).unwrap();
    let key = look(&session, |state| state.session.session_key().to_base64());
    let states = [
        (OldStatus::Pending(key.clone()), Some(1), None),
        (OldStatus::Pending(key.clone()), Some(1), Some(Notice::Pending)),
        (OldStatus::Pending(key.clone()), Some(1), Some(Notice::Sent)),
        (OldStatus::Sent, None, None),
        (OldStatus::WithheldPending, Some(1), None),
        (OldStatus::WithheldSent, Some(1), None),
    ];
    let mut tx = account.begin().unwrap();
    for (number, (status, fingerprint_key, notice)) in (0_u8..).zip(states) {
        let user_id = format!("@{number}:b.org");
        let (identity_key, fingerprint_key) = (key_text(number), fingerprint_key.map(key_text));
        let share = OldShare { identity_key, fingerprint_key, status, notice };
        let parts = [ROOM, &session.session_id, &user_id];
        let key = account.record_key(OUTBOUND_SHARES, &parts);
        let devices = BTreeMap::from([("D".to_owned(), share)]);
        tx.put(&key, &OldShares { user_id, devices }).unwrap();
    }
    let user_id = "@alone:b.org".to_owned();
    let record = account.record_key(OUTBOUND_SHARES, &[ROOM, &session.session_id, &user_id]);
    tx.put(&record, &OldShares { user_id, devices: BTreeMap::new() }).unwrap();
    tx.commit().unwrap();
    session.shared.state.retire(|_| ()).unwrap();
    (session, key)
}

fn seen(session: &OutboundMegolmSession) -> BTreeMap<String, Vec<Share>> {
    let devices = |(user_id, devices): (&String, &BTreeMap<_, Share>)| {
        (user_id.clone(), devices.values().cloned().collect())
    };
    look(session, |state| state.shares.iter().map(devices).collect())
}

fn records(account: &Account, collection: &'static str) -> usize {
    account.vault().scan_keys(collection, &["@alice:a.org", "ALICE"]).unwrap().len()
}

#[test]
fn shares_of_version_0_1_are_known_and_move_into_chunks_when_one_of_them_changes() {
    let account = account();
    let (session, key) = with_old_shares(&account);
    let before = seen(&session);
    let states: Vec<_> = before.values().flatten().map(|s| (s.status, s.notice)).collect();
    let expected = [
        (ShareStatus::Pending(1), None),
        (ShareStatus::Pending(1), Some(Notice::Pending)),
        (ShareStatus::Pending(1), Some(Notice::Sent)),
        (ShareStatus::Sent(None), None),
        (ShareStatus::WithheldPending, None),
        (ShareStatus::WithheldSent, None),
    ];
    assert!(states == expected);
    assert!(before["@0:b.org"][0].fingerprint_key == Some([1; 32]));
    assert!(before["@3:b.org"][0].fingerprint_key.is_none() && before["@alone:b.org"].is_empty());
    look(&session, |state| assert_eq!(*state.shares.key(1).unwrap().0, key)); // M7
    call(&account, |tx| session.mark_as_sent(tx, Vec::new())).unwrap();
    let chunks = || records(&account, OUTBOUND_SHARE_CHUNKS);
    assert_eq!((records(&account, OUTBOUND_SHARES), chunks()), (7, 0));

    let entry = serde_json::json!({
        "user_id": "@0:b.org", "device_id": "D", "keys": {"curve25519:D": key_text(0)},
    });
    // Not a key that may be used, so it is none that was sent: nothing changes.
    mark(&session, &entry);
    assert_eq!((records(&account, OUTBOUND_SHARES), chunks()), (7, 0));
    let late = serde_json::json!({
        "user_id": "@late:b.org", "device_id": "D", "keys": {"curve25519:D": key_text(9)},
    });
    mark(&session, &late);
    assert_eq!((records(&account, OUTBOUND_SHARES), chunks()), (0, 1));
    session.shared.state.retire(|_| ()).unwrap();
    let mut after = seen(&session);
    assert!(after.remove("@late:b.org").unwrap()[0].status == ShareStatus::Sent(None));
    assert!(after == before);
    look(&session, |state| assert_eq!(*state.shares.key(1).unwrap().0, key)); // M7
}

#[test]
fn shares_of_version_0_1_go_with_their_session() {
    let account = account();
    let (session, _) = with_old_shares(&account);
    create(&account);
    assert_eq!(records(&account, OUTBOUND_SHARES), 0);
    let (other, _) = with_old_shares(&account);
    call(&account, |tx| other.erase(tx)).unwrap();
    assert_eq!(records(&account, OUTBOUND_SHARES), 0);
    assert_eq!(encrypt(&session).unwrap_err().name(), "SESSION_EXPIRED");
}
