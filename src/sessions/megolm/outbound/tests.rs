//! Records of other versions, and what a forked child leaves alone.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vodozemac::megolm::{GroupSession, GroupSessionPickle, SessionConfig};

use super::reserve::{DEFAULT_BLOCK, LARGEST_BLOCK};
use super::{OutboundMegolmSession, Settings, record};
use crate::base::environment::as_if_forked;
use crate::sessions::account::Account;
use crate::sessions::room_settings::{RotationLimits, RotationPeriod};
use crate::store::{Batch, Store};

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
    let mut batch = Batch::new();
    let record = old_record(&session, account.now_ms().unwrap());
    batch.put(&record::session_key(&account, ROOM, &id), &record).unwrap();
    account.vault().commit(batch).unwrap();
    let open = || OutboundMegolmSession::create_from_storage(&account, ROOM, Some(&id)).unwrap();
    assert_eq!(open().message_index().unwrap(), 3);
    let session = open();
    session.encrypt("m", "{}").unwrap();
    let state = session.state().unwrap();
    assert_eq!(state.session.message_index(), 4);
    let expected = Settings { old_shared_history_names: true, ..Settings::default() };
    assert_eq!((state.settings, state.settings.reserve_ahead), (expected, DEFAULT_BLOCK));
}

#[test]
fn a_version_that_would_use_reserved_indices_again_cannot_read_the_record() {
    let account = account();
    let session = OutboundMegolmSession::create(&account, ROOM, Settings::default()).unwrap();
    session.encrypt("m", "{}").unwrap();
    let read = account.vault().read::<OldRecord>(&session.key);
    assert_eq!(read.err().map(|error| error.name()), Some("CORRUPT"));
}

#[test]
fn a_record_that_would_skip_without_end_is_refused() {
    let account = account();
    for (gap, fits) in [(LARGEST_BLOCK, true), (LARGEST_BLOCK + 1, false)] {
        let session = OutboundMegolmSession::create(&account, ROOM, Settings::default()).unwrap();
        let mut state = session.state().unwrap();
        state
            .change(|state| {
                state.reserved_until = gap;
                let mut batch = Batch::new();
                record::put(&session, state, &mut batch)?;
                account.vault().commit(batch)
            })
            .unwrap();
        drop(state);
        session.shared.state.retire(|_| ()).unwrap();
        match session.message_index() {
            Ok(index) => assert!(fits && index == gap),
            Err(error) => assert!(!fits && error.name() == "CORRUPT"),
        }
    }
}

#[test]
fn a_handle_that_ends_in_a_forked_child_writes_nothing_back() {
    let account = account();
    let session = OutboundMegolmSession::create(&account, ROOM, Settings::default()).unwrap();
    session.encrypt("m", "{}").unwrap();
    as_if_forked(|| {
        assert_eq!(session.encrypt("m", "{}").unwrap_err().name(), "FORKED");
        drop(session);
    });
    // The record still says that all of the block may be used: by the parent, it is.
    let session = OutboundMegolmSession::create_from_storage(&account, ROOM, None).unwrap();
    assert_eq!(session.message_index().unwrap(), DEFAULT_BLOCK);
}
