//! What the tests of the store share.

mod checkpoint_tests;
mod damage_tests;
mod history_tests;
mod open_tests;
mod page_tests;
mod plan_tests;
mod spool_tests;

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::*;

/// A store in a folder that goes with it.
pub struct Place {
    pub folder: TempDir,
    pub settings: Settings,
}

impl Place {
    pub fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            path: folder.path().join("baton.db"),
            synchronous: Synchronous::Normal,
            events_kept: 3,
        };
        Place { folder, settings }
    }

    /// SQLite as anybody has it.
    pub fn sqlite(&self) -> Connection {
        Connection::open(&self.settings.path).unwrap()
    }

    /// What is in the folder, but SQLite's own files.
    pub fn others(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.retain(|file| {
            let name = file.to_str().unwrap();
            !name.ends_with("/baton.db")
                && !name.ends_with("/baton.db-wal")
                && !name.ends_with("/baton.db-shm")
        });
        files.sort();
        files
    }

    pub fn open(&self) -> Store {
        let opened = Store::open(&self.settings).unwrap();
        assert_eq!((opened.moved_aside, opened.damage), (None, None));
        opened.store
    }
}

/// A row of `lines` lines of 10 bytes each.
pub fn insert(change: &mut Change<'_>, destination: &str, seq: i64, lines: u64) {
    let payload = b"name 1 17\n".repeat(lines as usize);
    change.insert(&row(destination, seq, &payload)).unwrap();
}

pub fn row<'a>(destination: &'a str, seq: i64, payload: &'a [u8]) -> NewRow<'a> {
    NewRow {
        destination,
        seq,
        first_at_ms: 1_795_384_200_000 + seq.unsigned_abs(),
        last_at_ms: 1_795_384_200_500 + seq.unsigned_abs(),
        lines: payload.iter().filter(|byte| **byte == b'\n').count() as u64,
        payload,
    }
}

#[test]
fn what_goes_in_comes_out() {
    let place = Place::new();
    let mut store = place.open();
    let mut change = store.begin().unwrap();
    insert(&mut change, "a", 5, 3);
    insert(&mut change, "a", -2, 1);
    insert(&mut change, "b", 5, 2);
    change.commit().unwrap();
    assert_eq!(store.bounds("a").unwrap(), Some((-2, 5)));
    let first = store.next_row("a", None).unwrap().unwrap();
    assert_eq!((first.seq, first.lines, first.payload.len()), (-2, 1, 10));
    let second = store.next_row("a", Some(-2)).unwrap().unwrap();
    assert_eq!((second.seq, second.first_at_ms), (5, 1_795_384_200_005));
    assert_eq!(store.next_row("a", Some(5)).unwrap(), None);
    let totals = store.totals().unwrap();
    assert_eq!(totals.len(), 2);
    assert_eq!(
        (totals[0].rows, totals[0].lines, totals[0].bytes),
        (2, 4, 40)
    );
    store.quick_check().unwrap();
}
