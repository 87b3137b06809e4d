//! Machines, with stores in memory or on the disk that is measured.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use matrix_sdk_crypto::store::CryptoStore;
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

/// The store in this folder; it can be closed apart from the machine.
async fn store(folder: &Path) -> Arc<SqliteCryptoStore> {
    Arc::new(SqliteCryptoStore::open_with_key(folder, Some(&[7; 32])).await.unwrap())
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
        alice().with_crypto_store(store(&self.next_folder()).await)
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
            let store = store(scratch.path()).await;
            let machine = alice().with_crypto_store(store.clone()).build().await.unwrap();
            prepare(&machine).await;
            store.close().await.unwrap();
            copy(scratch.path(), &kept);
        }
        let folder = self.next_folder();
        copy(&kept, &folder);
        alice().with_crypto_store(store(&folder).await).build().await.unwrap()
    }

    /// On disk, fewer of what waits for the disk each time.
    pub fn count(&self, count: usize, most_on_disk: usize) -> usize {
        if self.disk { count.min(most_on_disk) } else { count }
    }

    pub fn result(&self, timer: &Timer) -> f64 {
        if self.disk { timer.of_disk() } else { timer.of_processor() }
    }
}

/// A store that is closed: one file, without a log.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    let name = "matrix-sdk-crypto.sqlite3";
    std::fs::copy(from.join(name), to.join(name)).unwrap();
    std::fs::File::open(to.join(name)).unwrap().sync_all().unwrap();
}
