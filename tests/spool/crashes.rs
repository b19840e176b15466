//! Workers that are killed while lines go to the spool and come from it.

use std::time::{Duration, Instant};

use baton::drill::{Excuse, Extent, Report};

use crate::bed::{Bed, QUIET, Random, came_once};
use crate::relay::LIMIT;

#[test]
fn a_worker_killed_while_lines_go_to_the_spool_loses_only_what_it_had_in_hand() {
    let mut random = Random::new("killed while spooling");
    let mut bed = Bed::start("");
    bed.cut();
    let senders = bed.senders(Extent::AtLeast(400_000), 60_000);
    for _ in 0..6 {
        bed.wait_spooled("sink", 1);
        let due = senders.sent() + 1_000 + random.below(30_000);
        assert!(senders.wait(due, LIMIT), "the load has stopped");
        bed.relay.instance.kill_worker(LIMIT).unwrap();
    }
    let sent = senders.finish(LIMIT);
    bed.sinks[0].resume().unwrap();
    let report = bed.verdict(&sent);
    assert_eq!(report.duplicated, 0, "{report}");
    assert!(report.received > 399_000, "{report}");
}

#[test]
fn a_worker_killed_while_lines_come_from_the_spool_loses_nothing() {
    let mut random = Random::new("killed while replaying");
    let (mut bed, sent) = Bed::in_an_outage("", 500_000);
    bed.sinks[0].slow(4_000_000).unwrap();
    bed.sinks[0].resume().unwrap();
    bed.sinks[0].slow(4_000_000).unwrap();
    for _ in 0..5 {
        let due = bed.sinks[0].account().distinct() + 1_000 + random.below(40_000);
        assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() >= due));
        bed.relay.instance.kill_worker(LIMIT).unwrap();
    }
    bed.wait_spooled("sink", 1);
    bed.sinks[0].resume().unwrap();
    came_once(&bed.verdict(&sent), 500_000);
}

#[test]
fn a_random_schedule_of_outages_reloads_and_kills_loses_nothing_without_an_excuse() {
    let mut random = Random::new("schedule");
    let mut bed = Bed::start("");
    let senders = bed.senders(Extent::AtLeast(500_000), 40_000);
    let (until, mut spooled, mut kills) = (Instant::now() + Duration::from_secs(20), 0, 0);
    while Instant::now() < until {
        let act = random.below(8);
        println!("{:?} {act}", until - Instant::now());
        match act {
            0 | 1 => bed.cut(),
            2 => bed.sinks[0].hang().unwrap(),
            3 => bed.sinks[0].reset().unwrap(),
            4 | 5 => bed.sinks[0].resume().unwrap(),
            6 => bed.reload(),
            // Those that come soon after another are answered late.
            _ if kills < 4 => {
                kills += 1;
                bed.relay.instance.kill_worker(LIMIT).unwrap();
            }
            _ => {}
        }
        let due = senders.sent() + random.below(30_000);
        assert!(senders.wait(due, LIMIT), "the load has stopped");
        spooled += bed
            .relay
            .status()
            .of_destination("sink", "spooled")
            .unwrap_or(0);
    }
    assert!(spooled > 0, "the spool wasn't used");
    bed.sinks[0].resume().unwrap();
    let sent = senders.finish(LIMIT);
    bed.verdict(&sent);
}

#[test]
fn a_killed_supervisor_leaves_what_is_spooled_for_the_next_start() {
    let (mut bed, sent) = Bed::in_an_outage("", 400_000);
    // All its processes, at once: what is in memory is gone, but for the copy of the send ring.
    let status = bed.relay.wait("the intake ring to be emptied", |status| {
        let destination = status.destination("sink").unwrap();
        destination["spooled"].as_u64() > Some(300_000)
    });
    let spooled = status.of_destination("sink", "spooled").unwrap();
    bed.kill();
    bed.start_again();
    bed.sinks[0].resume().unwrap();
    assert!(bed.wait_imported("sink") >= spooled);
    bed.wait_empty();
    bed.sinks[0].settle(400_000, QUIET);
    let report = Report::new(&sent, &bed.sinks[0].account(), Excuse::default());
    assert_eq!(
        (report.duplicated, report.out_of_order, report.torn),
        (0, 0, 0),
        "{report}"
    );
    assert!(report.received >= spooled, "{report}");
    bed.end();
}
