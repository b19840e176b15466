//! What the spool takes: rows of 1 MiB, four a transaction. `Mitem/s` is million lines a second, of 40 bytes each.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use baton::state::{Checkpointer, NewRow, Settings, Store, Synchronous};
use divan::{Bencher, counter::ItemsCount};

const EACH: i64 = 4;
const LINE: &[u8] = b"servers.h0001.cpu.total.user 9 17900000\n";

fn main() {
    divan::main();
}

fn payload() -> Vec<u8> {
    LINE.iter()
        .copied()
        .cycle()
        .take((1 << 20) / 40 * 40)
        .collect()
}

fn settings(folder: &tempfile::TempDir, synchronous: Synchronous) -> Settings {
    Settings {
        path: folder.path().join("baton.db"),
        synchronous,
        events_kept: 10,
    }
}

fn write(store: &mut Store, seq: &mut i64, payload: &[u8]) {
    let mut change = store.begin().unwrap();
    for _ in 0..EACH {
        *seq += 1;
        let row = NewRow {
            destination: "a",
            seq: *seq,
            first_at_ms: 1_790_000_000_000,
            last_at_ms: 1_790_000_000_500,
            lines: payload.len() as u64 / 40,
            payload,
        };
        change.insert(&row).unwrap();
    }
    change.commit().unwrap();
}

/// As the daemon does: a second thread syncs once a second and copies the WAL, and what was written is deleted again.
fn spool(bencher: Bencher, synchronous: Synchronous) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let settings = settings(&folder, synchronous);
    let mut store = Store::open(&settings).unwrap().store;
    let payload = payload();
    let ended = AtomicBool::new(false);
    let mut seq = 0;
    thread::scope(|scope| {
        let (ended, settings) = (&ended, &settings);
        scope.spawn(move || {
            let mut checkpointer = Checkpointer::open(settings).unwrap();
            while !ended.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(100));
                checkpointer.sync().unwrap();
                checkpointer.checkpoint(64 << 20).unwrap();
            }
        });
        bencher
            .counter(ItemsCount::new(EACH as usize * payload.len() / 40))
            .bench_local(|| {
                write(&mut store, &mut seq, &payload);
                if seq % 256 == 0 {
                    let mut change = store.begin().unwrap();
                    change.delete_through("a", seq - 256).unwrap();
                    change.commit().unwrap();
                }
            });
        ended.store(true, Ordering::Relaxed);
    });
}

#[divan::bench(sample_count = 200, sample_size = 1)]
fn write_normal(bencher: Bencher) {
    spool(bencher, Synchronous::Normal);
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn write_full(bencher: Bencher) {
    spool(bencher, Synchronous::Full);
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn read(bencher: Bencher) {
    let folder = tempfile::tempdir_in(".").unwrap();
    let mut store = Store::open(&settings(&folder, Synchronous::Normal))
        .unwrap()
        .store;
    let (payload, mut seq) = (payload(), 0);
    (0..25).for_each(|_| write(&mut store, &mut seq, &payload));
    let mut after = None;
    bencher
        .counter(ItemsCount::new(payload.len() / 40))
        .bench_local(|| {
            let row = store.next_row("a", after).unwrap();
            after = row.as_ref().map(|row| row.seq);
            row
        });
}
