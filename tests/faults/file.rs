//! A store in a file, and what a power failure may leave of what was written last.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::world::{Place, with_its_key};
use crate::error::Result;
use crate::store;

/// The log's header, and that of each frame in it.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The least that a disk writes at once.
const SECTOR: usize = 512;

pub(super) struct FileStore(TempDir);

/// The bytes of the database and of its log.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) database: Vec<u8>,
    pub(super) log: Vec<u8>,
}

impl FileStore {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, suffix: &str) -> PathBuf {
        self.0.path().join(format!("store.db{suffix}"))
    }

    fn read(&self) -> Image {
        let read = |suffix| fs::read(self.path(suffix)).unwrap_or_default();
        Image { database: read(""), log: read("-wal") }
    }
}

impl Place for FileStore {
    fn open(&self) -> Result<Arc<store::Store>> {
        with_its_key(|key| store::Store::open_sqlite(self.path("").to_str().unwrap(), key))
    }

    fn copy(&self) -> Box<dyn Place> {
        Box::new(self.read().store())
    }

    fn image(&self) -> Option<Image> {
        Some(self.read())
    }
}

impl Image {
    /// A store of its own with these bytes.
    pub(super) fn store(&self) -> FileStore {
        let store = FileStore::new();
        fs::write(store.path(""), &self.database).unwrap();
        fs::write(store.path("-wal"), &self.log).unwrap();
        store
    }

    /// What may be on disk if the power fails while the log goes from `self` to `after`: its
    /// beginning; all but a piece, because a disk writes in any order; a beginning and garbage.
    pub(super) fn torn_logs(&self, after: &Self) -> Vec<(String, Self)> {
        assert!(self.database == after.database, "only the log was written");
        let (old, new) = (&self.log, &after.log);
        let page = u32::from_be_bytes(new[8..12].try_into().unwrap()) as usize;
        let frame = FRAME_HEADER + page;
        let same = old.iter().zip(new).take_while(|(old, new)| old == new).count();
        let first = same.saturating_sub(LOG_HEADER) / frame;
        let mut torn = Vec::new();
        let mut add = |what: String, log: Vec<u8>| {
            torn.push((what, Self { database: self.database.clone(), log }));
        };
        let old_from = |at: usize| old.get(at..).unwrap_or_default();
        let changed = |at: usize| old.get(at..at + frame) != new.get(at..at + frame);
        let starts = (first..).map(|number| LOG_HEADER + number * frame);
        let starts = starts.take_while(|start| start + frame <= new.len());
        for start in starts.filter(|start| changed(*start)) {
            let whole_sectors = start + FRAME_HEADER + 3 * SECTOR;
            for cut in [start, start + 9, start + FRAME_HEADER, whole_sectors, start + frame - 1] {
                add(format!("cut at {cut}"), [&new[..cut], old_from(cut)].concat());
            }
            add(format!("garbage from {start}"), [&new[..start], &[0xa5; 3 * SECTOR]].concat());
            let mut hole = new.clone();
            let sector = whole_sectors..whole_sectors + SECTOR;
            let before = old.get(sector.clone()).unwrap_or(&[0; SECTOR]);
            if hole[sector.clone()] != *before {
                hole[sector].copy_from_slice(before);
                add(format!("a hole at {whole_sectors}"), hole);
            }
        }
        if first == 0 && old.get(..LOG_HEADER) != new.get(..LOG_HEADER) {
            for cut in [1, LOG_HEADER / 2] {
                add(format!("cut at {cut}"), [&new[..cut], old_from(cut)].concat());
            }
        }
        torn
    }

    /// What may be on disk if the power fails while the log is carried over into the database,
    /// which goes from `self` to `after`: the log is whole until that is done.
    pub(super) fn torn_databases(&self, after: &Self) -> Vec<(String, Self)> {
        let size = after.database.len();
        let sectors: Vec<usize> = (0..size)
            .step_by(SECTOR)
            .filter(|at| {
                self.database.get(*at..at + SECTOR) != after.database.get(*at..at + SECTOR)
            })
            .collect();
        let mut torn = Vec::new();
        let step = (sectors.len() / 12).max(1);
        for (what, keep) in [("the first", false), ("all but", true)] {
            for count in (0..sectors.len()).step_by(step) {
                let mut database = self.database.clone();
                database.resize(size.max(database.len()), 0);
                for (number, at) in sectors.iter().enumerate() {
                    // The first so many; or all but a run of three.
                    let written =
                        if keep { !(count..count + 3).contains(&number) } else { number < count };
                    if written {
                        database[*at..at + SECTOR]
                            .copy_from_slice(&after.database[*at..at + SECTOR]);
                    }
                }
                torn.push((format!("{what} {count}"), Self { database, log: self.log.clone() }));
            }
        }
        torn
    }
}
