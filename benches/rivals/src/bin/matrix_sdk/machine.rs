//! Machines, with stores in memory or on the disk that is measured.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use matrix_sdk_crypto::{OlmMachine, OlmMachineBuilder};
use matrix_sdk_sqlite::SqliteCryptoStore;
use ruma::{device_id, user_id};

use crate::measure::Timer;

pub struct Place {
    disk: bool,
    folder: tempfile::TempDir,
    folders: Cell<usize>,
}

/// A folder in main memory: syncing costs nothing there.
pub fn free() -> PathBuf {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { shared_memory.to_owned() } else { std::env::temp_dir() }
}

fn alice() -> OlmMachineBuilder {
    OlmMachineBuilder::new(user_id!("@alice:example.org"), device_id!("ALICEDEVICE"))
}

async fn open(builder: OlmMachineBuilder, folder: &Path) -> OlmMachine {
    let store = SqliteCryptoStore::open_with_key(folder, Some(&[7; 32])).await.unwrap();
    builder.with_crypto_store(store).build().await.unwrap()
}

impl Place {
    pub fn new(disk: bool, folder: &Path) -> Self {
        Self { disk, folder: tempfile::tempdir_in(folder).unwrap(), folders: Cell::new(0) }
    }

    fn next_folder(&self) -> PathBuf {
        self.folders.set(self.folders.get() + 1);
        self.folder.path().join(self.folders.get().to_string())
    }

    /// What makes Alice's machine: its store is open already.
    pub async fn builder(&self) -> OlmMachineBuilder {
        if !self.disk {
            return alice();
        }
        let store = SqliteCryptoStore::open_with_key(self.next_folder(), Some(&[7; 32])).await;
        alice().with_crypto_store(store.unwrap())
    }

    pub async fn alice(&self) -> OlmMachine {
        self.builder().await.build().await.unwrap()
    }

    /// Alice's machine on a store that was prepared so. The files are made once, and copied.
    pub async fn alice_prepared(
        &self,
        name: &str,
        prepare: impl AsyncFnOnce(&OlmMachine),
    ) -> OlmMachine {
        if !self.disk {
            let machine = self.alice().await;
            prepare(&machine).await;
            return machine;
        }
        let kept = self.folder.path().parent().unwrap().join(name);
        if !kept.exists() {
            let scratch = tempfile::tempdir_in(free()).unwrap();
            let machine = open(alice(), scratch.path()).await;
            prepare(&machine).await;
            drop(machine);
            copy(scratch.path(), &kept);
        }
        let folder = self.next_folder();
        copy(&kept, &folder);
        open(alice(), &folder).await
    }

    /// On disk, fewer of what waits for the disk each time.
    pub fn count(&self, count: usize, most_on_disk: usize) -> usize {
        if self.disk { count.min(most_on_disk) } else { count }
    }

    pub fn result(&self, timer: &Timer) -> f64 {
        if self.disk { timer.of_disk() } else { timer.of_processor() }
    }
}

/// The files of a store, the log among them.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        std::fs::copy(path, &copy).unwrap();
        std::fs::File::open(copy).unwrap().sync_all().unwrap();
    }
}
