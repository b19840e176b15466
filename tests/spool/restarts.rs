//! Hot restarts while lines go to the spool and come from it.

use baton::drill::{Clock, Extent, Reload, Sink};

use crate::bed::Bed;
use crate::relay::LIMIT;

#[test]
fn restarts_during_the_outage_and_the_replay_lose_nothing() {
    let mut bed = Bed::start("");
    bed.cut();
    let senders = bed.senders(Extent::AtLeast(200_000), 40_000);
    for _ in 0..5 {
        bed.wait_spooled("sink", 1);
        bed.reload();
        let due = senders.sent() + 20_000;
        assert!(senders.wait(due, LIMIT), "the load has stopped");
    }
    bed.sinks[0].resume().unwrap();
    // What comes in and a little more: the replay takes its time.
    bed.sinks[0].slow(2_500_000).unwrap();
    for _ in 0..5 {
        let due = bed.sinks[0].account().distinct() + 5_000;
        assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() >= due));
        bed.reload();
    }
    bed.wait_spooled("sink", 1);
    bed.sinks[0].resume().unwrap();
    let sent = senders.finish(LIMIT);
    let report = bed.verdict(&sent);
    assert_eq!(report.duplicated, 0, "{report}");
    assert_eq!(report.lost_by_crash, 0, "{report}");
}

#[test]
fn restarts_while_lines_pour_into_the_spool_lose_nothing() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let words = [format!(
        "{} id=sink queue=8MiB reconnect=200ms",
        sink.address()
    )];
    let mut bed = Bed::to(vec![sink], clock, &words);
    bed.cut();
    let senders = bed.senders(Extent::AtLeast(500_000), 300_000);
    bed.wait_spooled("sink", 1);
    for _ in 0..20 {
        bed.reload();
    }
    let sent = senders.finish(LIMIT);
    bed.sinks[0].resume().unwrap();
    let report = bed.verdict(&sent);
    assert_eq!(
        (report.duplicated, report.lost_by_crash),
        (0, 0),
        "{report}"
    );
}

/// Where a new worker fails in the pause, and after it.
const IN_THE_PAUSE: [&str; 4] = [
    "after-ready",
    "on-frozen",
    "before-confirmed",
    "after-confirmed",
];
const AFTER_GO: [&str; 3] = ["on-go", "before-running", "after-running"];

/// A successor fails at each of these points: first while lines go to the spool, then while they come from it.
fn each_fails(points: &[&str], action: &str) -> baton::drill::Report {
    let mut bed = Bed::start("");
    bed.cut();
    let senders = bed.senders(Extent::AtLeast(200_000), 30_000);
    for replaying in [false, true] {
        if replaying {
            bed.sinks[0].resume().unwrap();
            bed.sinks[0].slow(800_000).unwrap();
        }
        for point in points {
            let due = bed.sinks[0].account().distinct() + 5_000;
            if replaying {
                assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() >= due));
            }
            bed.wait_spooled("sink", 1);
            bed.faults(&format!("{point} {action}\n"));
            let reload = bed.relay.instance.reload().unwrap();
            assert!(
                matches!(reload, Reload::Refused { .. }),
                "{point}: {reload:?}"
            );
            bed.faults("");
            bed.relay.instance.wait_serving(LIMIT).unwrap();
            let due = senders.sent() + 10_000;
            assert!(senders.wait(due, LIMIT), "the load has stopped");
        }
    }
    bed.reload();
    bed.sinks[0].resume().unwrap();
    let sent = senders.finish(LIMIT);
    bed.verdict(&sent)
}

#[test]
fn a_successor_that_fails_in_the_pause_leaves_the_spool_to_its_predecessor() {
    let report = each_fails(&IN_THE_PAUSE, "exit");
    assert_eq!(
        (report.duplicated, report.lost_by_crash),
        (0, 0),
        "{report}"
    );
}

#[test]
fn a_successor_that_hangs_in_the_pause_leaves_the_spool_to_its_predecessor() {
    let report = each_fails(&["on-frozen"], "hang");
    assert_eq!(
        (report.duplicated, report.lost_by_crash),
        (0, 0),
        "{report}"
    );
}

#[test]
fn a_successor_that_fails_after_go_leaves_the_spool_to_its_predecessor() {
    let report = each_fails(&AFTER_GO, "abort");
    assert_eq!(report.duplicated, 0, "{report}");
}

#[test]
fn a_successor_that_hangs_after_go_leaves_the_spool_to_its_predecessor() {
    let report = each_fails(&["on-go", "before-running"], "hang");
    assert_eq!(report.duplicated, 0, "{report}");
}
