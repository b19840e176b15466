//! What a page should have: `cargo test --release --lib page_tests -- --ignored --nocapture`.

use std::time::Instant;

use super::super::open::make_with;
use super::*;

#[test]
#[ignore = "a measurement"]
fn how_large_a_page_should_be() {
    for (name, bytes, rows, each) in [("1 MiB", 1 << 20, 512, 4), ("4 KiB", 4096, 32_768, 64)] {
        for size in [4096, 16_384, 65_536] {
            measure(name, bytes, rows, each, size);
        }
    }
}

fn measure(name: &str, bytes: usize, rows: i64, each: i64, page_size: u32) {
    let place = Place::new();
    make_with(&mut place.sqlite(), page_size).unwrap();
    let mut store = place.open();
    assert_eq!(store.pragma("page_size").unwrap(), u64::from(page_size));
    let mut checkpointer = Checkpointer::open(&place.settings).unwrap();
    let line = b"servers.h0001.cpu.total.user 98 17900000\n";
    let payload: Vec<u8> = line.iter().copied().cycle().take(bytes).collect();
    let mib = (rows * bytes as i64) as f64 / f64::from(1 << 20);
    let timed = |what: &mut dyn FnMut()| {
        let began = Instant::now();
        what();
        mib / began.elapsed().as_secs_f64()
    };
    let mut longest = 0.0;
    let write = timed(&mut || {
        for first in (0..rows).step_by(each as usize) {
            let began = Instant::now();
            let mut change = store.begin().unwrap();
            for seq in first..first + each {
                change.insert(&row("a", seq, &payload)).unwrap();
            }
            change.commit().unwrap();
            longest = f64::max(longest, began.elapsed().as_secs_f64());
        }
    });
    let copy = timed(&mut || checkpointer.truncate().unwrap());
    let size = store.size().unwrap().file as f64 / f64::from(1 << 20);
    let read = timed(&mut || {
        let mut after = None;
        while let Some(row) = store.next_row("a", after).unwrap() {
            after = Some(row.seq);
        }
    });
    let delete = timed(&mut || {
        for first in (0..rows).step_by(each as usize) {
            let mut change = store.begin().unwrap();
            change.delete_through("a", first + each - 1).unwrap();
            change.commit().unwrap();
        }
    });
    let wal = store.size().unwrap().wal as f64 / f64::from(1 << 20);
    println!(
        "rows of {name}, pages of {:2} KiB: write {write:4.0} MiB/s (longest {:.0} ms), checkpoint {copy:4.0}, \
         read {read:5.0}, delete {delete:5.0} with {wal:.1} MiB of WAL; {size:.0} MiB for {mib:.0}",
        page_size / 1024,
        longest * 1000.0,
    );
}
