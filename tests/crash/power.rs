//! A power failure after the kill: what was written after the last answer may be lost or torn.
//! (Less than what a real one may do: it also spares what a relaxed commit has written, and logs
//! of which something was carried over into the database: before that, SQLite syncs all of them.)

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rand::RngExt;
use rand::rngs::StdRng;

fn log_file(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// How long the log of a store is; 0 if there is none.
pub fn log_length(store: impl AsRef<Path>) -> u64 {
    fs::metadata(log_file(store.as_ref())).map_or(0, |metadata| metadata.len())
}

/// Marks the database with a time at which nobody writes, if there is one: whoever writes to it
/// takes the mark away. (Closing the file drops SQLite's own locks; nobody else opens the store here.)
pub fn mark(store: impl AsRef<Path>) {
    if let Ok(database) = OpenOptions::new().write(true).open(store) {
        database.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
}

/// Nothing of the log was carried over since the mark.
fn is_marked(store: &Path) -> bool {
    fs::metadata(store).and_then(|database| database.modified()).ok()
        == Some(SystemTime::UNIX_EPOCH)
}

/// Tears what is behind the part of the log that may be relied on; says how, if there is anything.
pub fn fail(store: &Path, relied_on: u64, rng: &mut StdRng) -> Option<String> {
    let length = log_length(store);
    if length <= relied_on || !is_marked(store) {
        return None;
    }
    let at = rng.random_range(relied_on..length);
    let mut log = OpenOptions::new().write(true).open(log_file(store)).unwrap();
    let hole = rng.random_bool(0.5).then(|| rng.random_range(1..=length - at));
    match hole {
        None => log.set_len(at).unwrap(),
        Some(hole) => {
            log.seek(SeekFrom::Start(at)).unwrap();
            log.write_all(&vec![rng.random(); hole as usize]).unwrap();
        }
    }
    let how = hole.map_or(String::from("cut"), |hole| format!("{hole} bytes lost"));
    Some(format!("the power failed: {how} at {at} of {length}, {relied_on} relied on"))
}
