//! Configs that change while lines are spooled.

use baton::drill::{Clock, Sink};

use crate::bed::{Bed, came_once, to};
use crate::relay::free_address;

#[test]
fn a_destination_removed_while_it_is_down_finds_its_lines_when_it_is_back_elsewhere() {
    let (mut bed, sent) = Bed::in_an_outage("", 400_000);
    let other = format!("file:{} id=other", bed.path("other").display());
    bed.reconfigure(std::slice::from_ref(&other));
    bed.relay.wait_logged("removed from the table, and gone");
    let log = bed.relay.instance.log();
    assert!(log.contains("dropped=0"), "{log}");
    assert!(bed.rows() > 0);
    // The next worker doesn't know it, and says what lies there.
    bed.reload();
    bed.relay
        .wait_logged("for a destination that the config doesn't have");
    bed.sinks.insert(0, Sink::start(bed.clock).unwrap());
    let back = to(&bed.sinks[0], "sink", "");
    bed.reconfigure(&[back, other]);
    let status = bed.wait_empty();
    for count in ["dropped", "imported"] {
        let lines = status.of_destination("sink", count);
        assert_eq!(lines, Some(0), "{count}: {}", status.document());
    }
    came_once(&bed.verdict(&sent), 400_000);
}

#[test]
fn a_destination_removed_while_it_replays_loses_nothing() {
    let (mut bed, sent) = Bed::in_an_outage("", 400_000);
    bed.sinks[0].resume().unwrap();
    bed.sinks[0].slow(2_000_000).unwrap();
    let other = format!("file:{} id=other", bed.path("other").display());
    let back = to(&bed.sinks[0], "sink", "");
    bed.reconfigure(std::slice::from_ref(&other));
    bed.relay.wait_logged("removed from the table, and gone");
    bed.sinks[0].resume().unwrap();
    assert!(bed.sinks[0].wait_closed(crate::bed::QUIET));
    bed.reconfigure(&[back, other]);
    let status = bed.wait_empty();
    // It was never dropped, nor found anew.
    for count in ["dropped", "imported"] {
        let lines = status.of_destination("sink", count);
        assert_eq!(lines, Some(0), "{count}: {}", status.document());
    }
    let excuse = baton::drill::Excuse::default();
    let report = baton::drill::Report::new(&sent, &bed.sinks[0].account(), excuse);
    assert_eq!((report.lost, report.out_of_order), (0, 0), "{report}");
    // What it acknowledged between the last look and the reset that takes back the rest.
    println!("{} lines came twice", report.duplicated);
    assert!(report.duplicated < 20_000 && report.torn <= 1, "{report}");
    bed.end();
}

#[test]
fn another_address_or_another_route_keeps_the_spool() {
    let mut bed = Bed::start("");
    bed.cut();
    let sent = bed.send(400_000);
    let spooled = bed.wait_spooled("sink", 300_000);
    bed.config.routes = bed
        .config
        .routes
        .replace("key = \"all\"", "key = \"renamed\"");
    bed.reload();
    assert!(bed.wait_spooled("sink", 300_000) >= spooled);
    // What the first sink had acknowledged, it keeps: nothing, here.
    bed.sinks.insert(0, Sink::start(bed.clock).unwrap());
    let (old, new) = (bed.sinks[1].address(), bed.sinks[0].address());
    bed.config.routes = bed
        .config
        .routes
        .replace(&old.to_string(), &new.to_string());
    bed.reload();
    came_once(&bed.verdict(&sent), 400_000);
}

#[test]
fn a_switch_to_block_and_to_drop_delivers_what_was_spooled() {
    let (mut bed, sent) = Bed::in_an_outage("", 400_000);
    for full in ["block", "drop", "spool", "block"] {
        let words = [to(&bed.sinks[0], "sink", &format!("full={full}"))];
        bed.reconfigure(&words);
        bed.wait_spooled("sink", 300_000);
    }
    // A few lines more, which wait behind the others.
    let mut sent = sent;
    sent.merge(bed.send(5_000));
    bed.sinks[0].resume().unwrap();
    bed.wait_empty();
    sent.merge(bed.send(50_000));
    came_once(&bed.verdict(&sent), 455_000);
}

#[test]
fn a_destination_that_drops_after_the_switch_still_gets_what_was_spooled() {
    let clock = Clock::start();
    let address = free_address();
    let words = |full| {
        vec![format!(
            "{address} id=sink queue=1MiB reconnect=200ms full={full}"
        )]
    };
    let mut bed = Bed::to(Vec::new(), clock, &words("spool"));
    let sent = bed.send(300_000);
    bed.wait_spooled("sink", 200_000);
    bed.reconfigure(&words("drop"));
    bed.sinks.push(Sink::start_at(address, clock).unwrap());
    came_once(&bed.verdict(&sent), 300_000);
}
