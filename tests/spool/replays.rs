//! How what was spooled comes back: what goes first, how fast, from when on.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use baton::drill::{Clock, Excuse, Report};
use baton::state::Store;

use crate::bed::{Bed, came_once};
use crate::relay::{LIMIT, free_address, wait_for};

#[test]
fn live_first_brings_what_comes_in_before_the_backlog_is_through() {
    let address = free_address();
    let words = [format!(
        "{address} id=sink queue=1MiB reconnect=200ms replay=live-first"
    )];
    let mut bed = Bed::to(Vec::new(), Clock::start(), &words);
    let old: String = (0..400_000)
        .map(|n| format!("old.{n:06} 1 1700000000\n"))
        .collect();
    bed.relay.send(&old);
    bed.wait_spooled("sink", 200_000);
    let listener = TcpListener::bind(address).unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut reader = BufReader::with_capacity(32 * 1024, socket);
    let mut seen: Vec<String> = Vec::new();
    let (mut new, mut last) = (0, 0);
    while seen.len() < 420_000 {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        seen.push(line);
        // A reader that has its own pace, and a little that comes in between.
        if seen.len().is_multiple_of(1_000) {
            std::thread::sleep(Duration::from_millis(2));
        }
        // What the ring held when the outage began is through by then.
        if seen.len().is_multiple_of(5_000) && seen.len() >= 100_000 && new < 20_000 {
            let text = (new..new + 1_000).map(|n| format!("new.{n:06} 1 1700000000\n"));
            bed.relay.send(text.collect::<String>());
            (new, last) = (new + 1_000, seen.len());
        }
    }
    let end = |of| seen.iter().rposition(|line| line.starts_with(of)).unwrap();
    let (last_new, last_old) = (end("new."), end("old."));
    println!(
        "sent at {last}, the last new line came at {last_new}, the last old one at {last_old}"
    );
    assert!(last_new < last_old, "{last_new} and {last_old}");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 420_000);
    bed.wait_empty();
    bed.end();
}

#[test]
fn a_replay_is_no_faster_than_its_rate() {
    let mut bed = Bed::start("replay_rate=5000");
    bed.cut();
    let sent = bed.send(80_000);
    let spooled = bed.wait_spooled("sink", 20_000);
    let began = Instant::now();
    bed.sinks[0].resume().unwrap();
    let report = bed.verdict(&sent);
    came_once(&report, 80_000);
    // What a second lets through, and a row, may come at once.
    let least = Duration::from_secs_f64((spooled.saturating_sub(5_000 + 6_000)) as f64 / 5_000.0);
    println!(
        "{spooled} lines in {:?}, {least:?} at least",
        began.elapsed()
    );
    assert!(
        began.elapsed() >= least,
        "{:?} < {least:?}",
        began.elapsed()
    );
}

#[test]
fn what_is_older_than_replay_from_is_dropped_and_counted() {
    let (mut bed, sent) = Bed::in_an_outage("replay_from=2s", 300_000);
    wait_for("the rows to be old", || {
        let store = Store::open_existing(&bed.path("baton.db"), false).unwrap();
        let newest = store
            .totals()
            .unwrap()
            .iter()
            .filter_map(|t| t.newest_ms)
            .max();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        newest.is_some_and(|newest| now.as_millis() as u64 > newest + 2_000)
    });
    let status = bed.relay.status();
    let spooled = status.of_destination("sink", "spooled").unwrap();
    bed.sinks[0].resume().unwrap();
    let status = bed.wait_empty();
    let dropped = &status.destination("sink").unwrap()["dropped"];
    assert_eq!(
        dropped["too-old"].as_u64(),
        Some(spooled),
        "{}",
        status.document()
    );
    let report = Report::new(&sent, &bed.sinks[0].account(), Excuse::default());
    assert_eq!(report.received + spooled, 300_000, "{report}");
    assert_eq!((report.duplicated, report.out_of_order), (0, 0), "{report}");
    // And the young ones come.
    let more = bed.send(10_000);
    assert!(bed.sinks[0].settle(report.received + 10_000, crate::bed::QUIET));
    assert_eq!(more.lines(), 10_000);
    bed.end();
}
