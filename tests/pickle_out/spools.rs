//! Points that lay in the spool, and lines there that are none.

use std::fs;
use std::process::Command;

use baton::drill::Extent;

use crate::bed::{Bed, came_once};
use crate::relay::LIMIT;

#[test]
fn an_outage_is_spooled_and_replayed_as_frames() {
    let (bed, sent) = Bed::in_an_outage("pickle=true", 300_000);
    bed.sinks[0].resume().unwrap();
    came_once(&bed.verdict(&sent), 300_000);
}

#[test]
fn outages_resets_and_reloads_in_the_middle_of_a_replay() {
    let mut bed = Bed::start("pickle=true");
    let senders = bed.senders(Extent::AtLeast(400_000), 100_000);
    for part in 1..=3 {
        assert!(senders.wait(part * 100_000, LIMIT));
        bed.cut();
        bed.wait_spooled("sink", 1);
        bed.sinks[0].resume().unwrap();
        let before = bed.sinks[0].account().distinct();
        assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() > before + 5_000));
        bed.reload();
        bed.sinks[0].reset().unwrap();
    }
    let sent = senders.finish(LIMIT);
    bed.verdict(&sent);
}

#[test]
fn a_stop_in_an_outage_keeps_points_for_the_next_start() {
    let mut bed = Bed::start("pickle=true");
    bed.cut();
    let sent = bed.send(100_000);
    bed.stop();
    bed.sinks[0].resume().unwrap();
    bed.start_again();
    bed.wait_imported("sink");
    came_once(&bed.verdict(&sent), 100_000);
}

#[test]
fn lines_of_a_foreign_file_that_are_no_points_are_dropped_and_counted() {
    let mut bed = Bed::start("pickle=true");
    let sent = bed.send(1_000);
    bed.wait_empty();
    let file = bed.path("foreign");
    let junk: String = (0..3_000)
        .map(|n| format!("no point at all {n}\n\n"))
        .collect();
    fs::write(&file, junk).unwrap();
    let folder = bed.relay.instance.folder().to_owned();
    let done = Command::new(env!("CARGO_BIN_EXE_baton"))
        .current_dir(&folder)
        .args(["spool", "replay"])
        .arg(&file)
        .args(["--to", "sink", "--config", "baton.toml"])
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let status = bed.relay.wait("the lines to be dropped", |status| {
        let dropped = status
            .destination("sink")
            .map(|to| to["dropped"]["unencodable"].clone());
        dropped == Some(6_000.into())
    });
    let number = |name: &str| status.of_destination("sink", name);
    assert_eq!(
        (
            number("imported"),
            number("acknowledged"),
            number("connects")
        ),
        (Some(6_000), Some(1_000), Some(1))
    );
    let report = bed.verdict(&sent);
    assert_eq!((report.received, report.torn), (1_000, 0), "{report}");
}
