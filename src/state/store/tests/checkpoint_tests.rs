use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

fn fill(store: &mut Store, from: i64, rows: i64) {
    let mut change = store.begin().unwrap();
    (from..from + rows).for_each(|seq| insert(&mut change, "a", seq, 10_000));
    change.commit().unwrap();
}

#[test]
fn the_wal_is_copied_and_begun_anew() {
    let place = Place::new();
    let mut store = place.open();
    let mut checkpointer = Checkpointer::open(&place.settings).unwrap();
    checkpointer.sync().unwrap();
    fill(&mut store, 0, 50);
    let before = store.size().unwrap();
    assert!(
        before.wal > 5_000_000 && before.file < 500_000,
        "{before:?}"
    );
    checkpointer.sync().unwrap();
    let done = checkpointer.checkpoint(u64::MAX).unwrap();
    assert!(!done.held_by_reader);
    assert!(store.size().unwrap().file > 5_000_000);
    // Not twice the limit: it keeps its length, and is written from its beginning.
    let done = checkpointer.checkpoint(4_000_000).unwrap();
    assert_eq!((done.wal, done.held_by_reader), (before.wal, false));
    fill(&mut store, 50, 10);
    assert_eq!(store.size().unwrap().wal, before.wal);
    // It was long, and isn't now.
    assert_eq!(checkpointer.checkpoint(100_000).unwrap().wal, 0);
    fill(&mut store, 60, 10);
    checkpointer.sync().unwrap();
    checkpointer.truncate().unwrap();
    assert_eq!(store.size().unwrap().wal, 0);
    assert_eq!(store.totals().unwrap()[0].rows, 70);
    drop(store);
    drop(checkpointer);
    assert!(!super::super::sidecar(&place.settings.path, "-wal").exists());
    place.open().quick_check().unwrap();
}

#[test]
fn a_reader_stops_nobody_and_is_seen() {
    let place = Place::new();
    let mut store = place.open();
    let mut checkpointer = Checkpointer::open(&place.settings).unwrap();
    fill(&mut store, 0, 5);
    let reader = place.sqlite();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM spool")
        .unwrap();
    let mut length = 0;
    for round in 1..5 {
        let began = Instant::now();
        fill(&mut store, round * 10, 10);
        assert!(began.elapsed() < Duration::from_secs(1));
        let done = checkpointer.checkpoint(100_000).unwrap();
        assert!(done.held_by_reader && done.wal > length, "{done:?}");
        length = done.wal;
        // Not asked to begin anew, it doesn't matter.
        assert!(!checkpointer.checkpoint(u64::MAX).unwrap().held_by_reader);
        assert_eq!(checkpointer.truncate(), Err(StoreError::Busy));
    }
    reader.execute_batch("COMMIT").unwrap();
    let done = checkpointer.checkpoint(100_000).unwrap();
    assert_eq!(
        done,
        Checkpoint {
            wal: 0,
            held_by_reader: false
        }
    );
}

#[test]
fn a_writer_that_takes_long_is_no_reader() {
    let place = Place::new();
    let mut store = place.open();
    let mut checkpointer = Checkpointer::open(&place.settings).unwrap();
    fill(&mut store, 0, 5);
    let change = store.begin().unwrap();
    assert!(!checkpointer.checkpoint(0).unwrap().held_by_reader);
    assert_eq!(checkpointer.truncate(), Err(StoreError::Busy));
    drop(change);
    checkpointer.truncate().unwrap();
}

#[test]
fn writing_and_checkpointing_at_once() {
    let place = Place::new();
    let mut store = place.open();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let (settings, ended) = (&place.settings, &ended);
        let beside = scope.spawn(move || {
            let mut checkpointer = Checkpointer::open(settings).unwrap();
            while !ended.load(Ordering::Relaxed) {
                checkpointer.sync().unwrap();
                assert!(!checkpointer.checkpoint(2_000_000).unwrap().held_by_reader);
            }
            checkpointer.checkpoint(2_000_000).unwrap()
        });
        for round in 0..100 {
            fill(&mut store, round * 5, 5);
            let mut change = store.begin().unwrap();
            change.delete_through("a", round * 5 - 20).unwrap();
            change.commit().unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        let last = beside.join().unwrap();
        assert!(last.wal <= 4_000_000 && !last.held_by_reader, "{last:?}");
    });
    store.quick_check().unwrap();
    assert_eq!(store.totals().unwrap()[0].rows, 500 - 476);
}

#[test]
fn what_was_deleted_is_given_back() {
    let place = Place::new();
    let mut store = place.open();
    let mut checkpointer = Checkpointer::open(&place.settings).unwrap();
    fill(&mut store, 0, 100);
    checkpointer.truncate().unwrap();
    let before = store.size().unwrap();
    let mut change = store.begin().unwrap();
    change.delete_through("a", 97).unwrap();
    change.commit().unwrap();
    assert!(store.size().unwrap().free > before.file / 10 * 9);
    assert!(store.shrink(10).unwrap(), "more remains");
    while store.shrink(100).unwrap() {}
    checkpointer.truncate().unwrap();
    let after = store.size().unwrap();
    assert!(
        after.free == 0 && after.file < before.file / 10,
        "{after:?}"
    );
    assert_eq!(
        fs::metadata(&place.settings.path).unwrap().len(),
        after.file
    );
    assert_eq!(store.totals().unwrap()[0].rows, 2);
    store.quick_check().unwrap();
}
