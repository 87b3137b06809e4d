//! Store files with changed bytes, cut short, or with records altered, exchanged and deleted:
//! what opens is the account that was stored, or the file says that it is damaged.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use libmatrixe2ee_fuzz::{parse, sound};
use matrixe2ee::{Account, InboundMegolmSession, OlmChannel, OutboundMegolmSession, Store};
use rusqlite::Connection;
use serde_json::Value;

const FILE: &[u8] = include_bytes!("../../tests/fixtures/stores/format-1.sqlite");
const ROOM: &str = "!room:example.org";

#[derive(Debug, Arbitrary)]
enum Change {
    Byte { page: u8, at: u16, to: u8 },
    CutAfterPage(u8),
    SwapPages(u8, u8),
    Flip { record: u8, at: u16, bit: u8 },
    Delete(u8),
    CutRecord { record: u8, at: u16 },
    Exchange(u8, u8),
    Rename { record: u8, like: u8 },
}

static FACTS: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../tests/fixtures/stores/format-1.json")));
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    // In memory if there is such a place: a disk would be slow, and worn out.
    let base = Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir());
    let folder =
        base.unwrap_or_else(std::env::temp_dir).join(format!("fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
});
/// A file of the newest format, and the identity key of the account in it. The older one, of which
/// it is made, has no manifest: there, nobody notices a record that is missing.
static GENUINE: LazyLock<(Vec<u8>, String)> = LazyLock::new(|| {
    fs::write(path(), FILE).expect("a file");
    let key = open().expect("the genuine file opens");
    (fs::read(path()).expect("a file"), key)
});

fn path() -> PathBuf {
    FOLDER.join("store.db")
}

fuzz_target!(|changes: Vec<Change>| {
    let (genuine, expected) = &*GENUINE;
    for name in ["store.db-wal", "store.db-journal"] {
        let _ = fs::remove_file(FOLDER.join(name));
    }
    let mut file = genuine.clone();
    for change in changes.iter().take(16) {
        change.bytes(&mut file);
    }
    fs::write(path(), &file).expect("a file");
    let _ = records(&path(), &changes);
    // An empty file is a store that nobody has used yet.
    if file.is_empty() {
        return;
    }
    if let Some(key) = open() {
        assert_eq!(key, *expected, "another account stands in its place");
    }
});

/// Opens everything that the file holds; gives the account's identity key.
fn open() -> Option<String> {
    let path = path();
    let store = sound(Store::open_sqlite(path.to_str()?, vec![0x11; 32])).ok()?;
    let account = sound(Account::open(&store, "@alice:example.org", "ALICE")).ok()?;
    let key = sound(account.identity_key()).ok()?;
    let _ = sound(account.list_sessions(None, None, None));
    let _ = sound(account.keys_upload_request());
    let partner = FACTS["bob"]["identity_key"].as_str()?;
    if let Ok(channel) =
        sound(OlmChannel::create_from_storage(&account, "@bob:example.org", partner))
    {
        let _ = sound(channel.encrypt("m.dummy", "{}"));
    }
    if let Ok(session) = sound(OutboundMegolmSession::create_from_storage(&account, ROOM, None)) {
        let _ = sound(session.encrypt("m.dummy", "{}"));
        let _ = sound(InboundMegolmSession::from_outbound_session(&session));
    }
    let _ = sound(store.shut_down());
    Some(key)
}

impl Change {
    fn bytes(&self, file: &mut Vec<u8>) {
        let pages = (file.len() / 4096).max(1);
        let start = |page: &u8| usize::from(*page) % pages * 4096;
        match self {
            Self::Byte { page, at, to } => {
                if let Some(byte) = file.get_mut(start(page) + usize::from(*at) % 4096) {
                    *byte = *to;
                }
            }
            Self::CutAfterPage(page) => file.truncate(start(page)),
            Self::SwapPages(one, other) => {
                for at in 0..4096.min(file.len()) {
                    file.swap(start(one) + at, start(other) + at);
                }
            }
            _ => {}
        }
    }
}

/// Changes the records by SQL, as somebody can who has the file and not the key.
fn records(path: &Path, changes: &[Change]) -> rusqlite::Result<()> {
    if !changes.iter().any(Change::is_of_records) {
        return Ok(());
    }
    let file = Connection::open(path)?;
    let mut statement =
        file.prepare("SELECT collection, key, value FROM record ORDER BY collection, key")?;
    type Record = (String, Vec<u8>, Vec<u8>);
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let rows: Vec<Record> = rows.collect::<Result<_, _>>()?;
    let row = |index: &u8| &rows[usize::from(*index) % rows.len()];
    let set = |record: &Record, value: &[u8]| {
        let sql = "UPDATE record SET value = ?3 WHERE collection = ?1 AND key = ?2";
        file.execute(sql, (&record.0, &record.1, value))
    };
    for change in changes.iter().take(16).filter(|_| !rows.is_empty()) {
        match change {
            Change::Flip { record, at, bit } => {
                let mut value = row(record).2.clone();
                let at = usize::from(*at) % value.len().max(1);
                if let Some(byte) = value.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
                set(row(record), &value)?;
            }
            Change::Delete(record) => {
                let (collection, key, _) = row(record);
                let sql = "DELETE FROM record WHERE collection = ?1 AND key = ?2";
                file.execute(sql, (collection, key))?;
            }
            Change::CutRecord { record, at } => {
                let value = &row(record).2;
                set(row(record), &value[..usize::from(*at) % (value.len() + 1)])?;
            }
            Change::Exchange(one, other) => {
                set(row(one), &row(other).2)?;
                set(row(other), &row(one).2)?;
            }
            Change::Rename { record, like } => {
                let (collection, key, _) = row(record);
                let sql = "UPDATE OR REPLACE record SET collection = ?3 \
                           WHERE collection = ?1 AND key = ?2";
                file.execute(sql, (collection, key, &row(like).0))?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Change {
    fn is_of_records(&self) -> bool {
        !matches!(self, Self::Byte { .. } | Self::CutAfterPage(_) | Self::SwapPages(..))
    }
}
