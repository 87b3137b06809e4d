//! A store in memory, or in a file on the disk that is measured.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::{DEVICE, USER};
use crate::c_abi::{self, Owned, c};
use crate::measure::Timer;

pub struct Place {
    disk: bool,
    folder: tempfile::TempDir,
    files: Cell<usize>,
}

impl Place {
    pub fn new(disk: bool, folder: &Path) -> Self {
        Self { disk, folder: tempfile::tempdir_in(folder).unwrap(), files: Cell::new(0) }
    }

    pub fn store(&self) -> Owned {
        c_abi::store(self.disk.then(|| self.next_file()).as_deref().map(file_name).as_deref())
    }

    fn next_file(&self) -> PathBuf {
        self.files.set(self.files.get() + 1);
        self.folder.path().join(format!("{}.db", self.files.get()))
    }

    /// Alice's account on a new store, which lives as long as the account.
    pub fn alice(&self) -> Owned {
        c_abi::account(&self.store(), USER, DEVICE)
    }

    /// Alice's account on a store that was prepared so. A file is made once, and copied.
    pub fn alice_prepared(&self, name: &str, prepare: impl FnOnce(&Owned)) -> Owned {
        if !self.disk {
            let alice = self.alice();
            prepare(&alice);
            return alice;
        }
        let kept = self.folder.path().parent().unwrap().join(name);
        if !kept.exists() {
            let scratch = tempfile::tempdir_in(free()).unwrap();
            let file = scratch.path().join("store.db");
            let store = c_abi::store(Some(&file_name(&file)));
            prepare(&c_abi::account(&store, USER, DEVICE));
            c_abi::shut_down(&store);
            std::fs::copy(file, &kept).unwrap();
        }
        let file = self.next_file();
        std::fs::copy(kept, &file).unwrap();
        std::fs::File::open(&file).unwrap().sync_all().unwrap();
        c_abi::account(&c_abi::store(Some(&file_name(&file))), USER, DEVICE)
    }

    /// On disk, fewer of what waits for the disk each time.
    pub fn count(&self, count: usize, most_on_disk: usize) -> usize {
        if self.disk { count.min(most_on_disk) } else { count }
    }

    pub fn result(&self, timer: &Timer) -> f64 {
        if self.disk { timer.of_disk() } else { timer.of_processor() }
    }
}

/// A folder in main memory: syncing costs nothing there.
pub fn free() -> PathBuf {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() }
}

pub fn file_name(path: &Path) -> std::ffi::CString {
    c(path.to_str().unwrap())
}
