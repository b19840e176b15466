//! Stops with lines that a destination didn't take: they are kept, and delivered after the next start.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use baton::drill::{Clock, Excuse, Extent, Report, Sink};
use baton::state::Store;

use crate::bed::{Bed, QUIET, came_once};
use crate::relay::{LIMIT, free_address, wait_for};

/// The stop's own time is one second here.
const SOON: Duration = Duration::from_secs(12);

#[test]
fn a_stop_with_a_million_lines_for_a_dead_destination_keeps_them() {
    let mut bed = Bed::start("");
    bed.cut();
    let sent = bed.send(1_000_000);
    let took = bed.stop();
    println!("the stop took {took:?}");
    assert!(took < SOON, "{took:?}");
    assert!(bed.rows() > 0);
    bed.sinks[0].resume().unwrap();
    bed.start_again();
    assert_eq!(bed.wait_imported("sink"), 1_000_000);
    came_once(&bed.verdict(&sent), 1_000_000);
}

#[test]
fn a_stop_with_a_million_lines_for_a_destination_that_hangs_keeps_them() {
    let mut bed = Bed::start("");
    bed.sinks[0].hang().unwrap();
    let sent = bed.send(1_000_000);
    bed.wait_spooled("sink", 500_000);
    let took = bed.stop();
    println!("the stop took {took:?}");
    assert!(took < SOON, "{took:?}");
    // What its kernel had accepted is read.
    bed.sinks[0].resume().unwrap();
    assert!(bed.sinks[0].wait_closed(QUIET));
    bed.start_again();
    came_once(&bed.verdict_beyond(&sent, 1), 1_000_000);
}

#[test]
fn a_stop_in_the_middle_of_the_replay_keeps_the_rest() {
    let (mut bed, sent) = Bed::in_an_outage("", 500_000);
    bed.sinks[0].resume().unwrap();
    for part in 1..=4 {
        assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() >= part * 20_000));
        bed.sinks[0].slow(2_000_000).unwrap();
        let took = bed.stop();
        assert!(took < SOON, "{took:?}");
        bed.sinks[0].resume().unwrap();
        assert!(bed.sinks[0].wait_closed(QUIET));
        assert!(bed.rows() > 0, "it was all delivered before the stop");
        bed.start_again();
    }
    bed.wait_empty();
    bed.sinks[0].settle(500_000, QUIET);
    let report = Report::new(&sent, &bed.sinks[0].account(), Excuse::default());
    assert_eq!((report.lost, report.out_of_order), (0, 0), "{report}");
    // What the destination acknowledged between the last look and the reset that takes back the rest.
    println!("{} lines came twice", report.duplicated);
    assert!(report.duplicated < 4 * 20_000, "{report}");
    assert!(report.torn <= 4, "{report}");
    bed.end();
}

#[test]
fn a_stop_after_the_replay_leaves_nothing_to_come_again() {
    let mut bed = Bed::start("");
    let mut sent = baton::drill::Sent::default();
    for _ in 0..5 {
        bed.cut();
        sent.merge(bed.send(100_000));
        bed.wait_spooled("sink", 1);
        bed.sinks[0].resume().unwrap();
        // At once after the last line has come.
        let due = sent.lines();
        assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() >= due));
        bed.stop();
        bed.start_again();
    }
    let report = bed.verdict(&sent);
    assert_eq!(report.duplicated, 0, "{report}");
}

#[test]
fn lines_that_come_in_after_the_start_come_behind_those_that_were_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let words = [format!("file:{} id=out queue=1MiB", out.display())];
    let mut bed = Bed::to(Vec::new(), Clock::start(), &words);
    let line = |n: u32| format!("line.{n:06} 1 1700000000\n");
    let mut all: String = (0..200_000).map(line).collect();
    bed.relay.send(&all);
    bed.stop();
    fs::remove_dir(&out).unwrap();
    // The spool can't look yet what there is.
    let mut store = Store::open_existing(&bed.path("baton.db"), true).unwrap();
    let held = store.begin().unwrap();
    bed.start_again();
    let more: String = (200_000..201_000).map(line).collect();
    bed.relay.send(&more);
    // Longer than a transaction waits.
    bed.relay.wait("it to hear of the lock", |status| {
        status.document()["worker"]["state"]["error"].is_string()
    });
    drop(held);
    bed.wait_imported("out");
    bed.wait_empty();
    all.push_str(&more);
    assert!(fs::read_to_string(&out).unwrap() == all, "not in order");
    bed.end();
}

#[test]
fn a_stop_waits_for_the_lock_of_another_process_and_keeps_all() {
    let mut bed = Bed::start("");
    bed.cut();
    let sent = bed.send(20_000);
    let mut store = Store::open_existing(&bed.path("baton.db"), true).unwrap();
    let held = store.begin().unwrap();
    bed.relay.instance.signal(Signal::SIGTERM).unwrap();
    // Longer than a transaction waits, and than the supervisor does for a worker that says nothing.
    wait_for("the worker to say that it takes longer", || {
        bed.relay.logged("keeping what was not delivered") >= 2
    });
    drop(held);
    let end = bed.relay.instance.wait_ended(LIMIT).unwrap();
    let log = bed.relay.instance.log();
    assert_eq!(end.code(), Some(0), "{log}");
    assert!(!log.contains("not delivered:"), "{log}");
    bed.sinks[0].resume().unwrap();
    bed.start_again();
    assert_eq!(bed.wait_imported("sink"), 20_000);
    let report = bed.verdict(&sent);
    let counts = (report.received, report.duplicated);
    assert_eq!(counts, (20_000, 0), "{report}");
}

#[test]
fn a_stop_keeps_what_is_queued_for_a_dead_destination_that_does_not_spool() {
    for options in ["full=block queue=16MiB", "full=drop queue=16MiB"] {
        let clock = Clock::start();
        let address = free_address();
        let words = [format!("{address} id=sink reconnect=200ms {options}")];
        let mut bed = Bed::to(Vec::new(), clock, &words);
        let sent = bed.send(150_000);
        let status = bed.relay.status();
        assert_eq!(status.of_destination("sink", "queued"), Some(150_000));
        bed.stop();
        assert!(bed.relay.logged("kept in the spool") > 0);
        bed.sinks.push(Sink::start_at(address, clock).unwrap());
        bed.start_again();
        assert_eq!(bed.wait_imported("sink"), 150_000);
        came_once(&bed.verdict(&sent), 150_000);
    }
}

#[test]
fn a_stop_keeps_what_is_queued_for_a_small_queue_whose_size_is_edited_meanwhile() {
    let clock = Clock::start();
    let address = free_address();
    let words = |queue| vec![format!("{address} id=sink reconnect=200ms queue={queue}")];
    let mut bed = Bed::to(Vec::new(), clock, &words("32MiB"));
    let sent = bed.send(600_000);
    bed.stop();
    // Rows made for a large queue don't fit into a small one.
    bed.config.routes = bed.config.routes.replace("queue=32MiB", "queue=1MiB");
    bed.sinks.push(Sink::start_at(address, clock).unwrap());
    bed.start_again();
    came_once(&bed.verdict(&sent), 600_000);
}

#[test]
fn a_stop_keeps_what_a_file_that_cannot_be_written_did_not_take() {
    for full in ["spool", "block"] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        let words = [format!(
            "file:{} id=out queue=4MiB full={full} flush=1ms",
            out.display()
        )];
        let mut bed = Bed::to(Vec::new(), Clock::start(), &words);
        let line = |n: u32| format!("line.{n:06} 1 1700000000\n");
        let all: String = (0..40_000).map(line).collect();
        bed.relay.send(&all);
        bed.relay
            .wait("the lines", |status| status.total("in") == Some(40_000));
        bed.stop();
        assert!(bed.rows() > 0, "{}", bed.relay.instance.log());
        fs::remove_dir(&out).unwrap();
        bed.start_again();
        assert_eq!(bed.wait_imported("out"), 40_000);
        bed.wait_empty();
        assert!(fs::read_to_string(&out).unwrap() == all, "full={full}");
        bed.end();
    }
}

#[test]
fn a_stop_under_load_keeps_what_it_took() {
    let mut bed = Bed::start("");
    bed.cut();
    let senders = bed.senders(Extent::AtLeast(1_000_000), 50_000);
    assert!(senders.wait(200_000, LIMIT));
    bed.stop();
    let log = bed.relay.instance.log();
    wait_for("the senders to notice", || senders.client_errors() > 0);
    assert!(!log.contains("not delivered"), "{log}");
    bed.sinks[0].resume().unwrap();
    bed.start_again();
    let kept = bed.wait_imported("sink");
    bed.wait_empty();
    assert!(bed.sinks[0].settle(kept, QUIET));
    let account = bed.sinks[0].account().clone();
    assert_eq!((account.lines(), account.distinct()), (kept, kept));
    assert!(kept >= 200_000 - 50_000, "{kept}");
    drop(senders);
    bed.end();
}
