//! Destinations that a restart adds, changes and removes, and slow ones through restarts.

use std::time::Duration;

use baton::drill::{Sink, Status};

use crate::trial::{LIMIT, Loss, Trial};

#[test]
fn a_sink_that_hangs_holds_its_senders_back_and_loses_nothing_through_restarts() {
    let mut trial = Trial::with(|config| {
        let address = &mut config.destinations[0];
        address.push_str(" queue=1MiB full=block");
    });
    trial.load(baton::drill::Target::Tcp(trial.tcp), 2, 0);
    trial.sink.hang().unwrap();
    trial.held_back();
    for _ in 0..3 {
        trial.reload();
    }
    trial.held_back();
    let status = trial.instance.status().unwrap();
    let queued = status
        .number("/worker/destinations/0/queued_bytes")
        .unwrap();
    // Its two rings: the second is used at a start, until it is known what lies in the spool.
    assert!(queued <= 2 << 20, "{queued}");
    trial.sink.resume().unwrap();
    trial.more(50_000);
    trial.reload();
    let status = trial.settle(Loss::None);
    assert_eq!(status.number("/worker/destinations/0/connects"), Some(1));
    assert_eq!(status.number("/worker/destinations/0/dropped"), Some(0));
    trial.end_settled(&status, Loss::None);
}

#[test]
fn a_sink_that_crawls_through_restarts() {
    let mut trial = Trial::with(|config| {
        config.destinations[0].push_str(" queue=1MiB full=block");
    });
    trial.load(baton::drill::Target::Tcp(trial.tcp), 2, 0);
    trial.sink.slow(4_000_000).unwrap();
    for _ in 0..5 {
        trial.reload();
        trial.more(500);
    }
    trial.sink.resume().unwrap();
    trial.end(Loss::None);
}

#[test]
fn a_queue_changes_its_size() {
    let mut trial = Trial::start();
    let sink = trial.sink.address();
    trial.load_tcp();
    trial.settle_lines();
    for size in ["2MiB", "16MiB", "1MiB"] {
        trial.rewrite(|config| config.destinations[0] = format!("{sink} queue={size}"));
        trial.reload();
        trial.load_tcp();
        trial.more(1_000);
        trial.settle_lines();
    }
    let status = trial.instance.status().unwrap();
    assert_eq!(
        status.number("/worker/destinations/0/queue_bytes"),
        Some(1 << 20)
    );
    trial.end(Loss::None);
}

#[test]
fn a_destination_that_is_removed_gets_its_rest() {
    let mut trial = Trial::start();
    let leaving = Sink::start(trial.clock).unwrap();
    let address = leaving.address();
    trial.rewrite(|config| config.destinations.push(format!("{address} full=block")));
    trial.reload();
    leaving.hang().unwrap();
    let mut scribe = trial.scribe();
    for _ in 0..50_000 {
        let line = scribe.line();
        scribe.write(&line);
    }
    trial.enter(scribe);
    let given = |s: &Status| s.number("/worker/destinations/1/given") == Some(50_000);
    trial
        .instance
        .wait_status("the lines", LIMIT, given)
        .unwrap();
    trial.rewrite(|config| config.destinations.truncate(1));
    trial.reload();
    let status = trial.instance.status().unwrap();
    assert!(
        status.number("/worker/destinations/1/queued") > Some(0),
        "{}",
        status.document()
    );
    // Through a restart that knows of it by its queue alone.
    trial.reload();
    leaving.resume().unwrap();
    assert!(
        leaving.settle(50_000, Duration::from_secs(5)),
        "{}",
        trial.instance.log()
    );
    let gone = |s: &Status| {
        s.document()["worker"]["destinations"]
            .as_array()
            .is_some_and(|all| all.len() == 1)
    };
    trial.instance.wait_status("its end", LIMIT, gone).unwrap();
    assert!(leaving.wait_closed(LIMIT));
    let account = leaving.account();
    assert_eq!(
        (account.lines(), account.distinct(), account.torn()),
        (50_000, 50_000, 0)
    );
    drop(account);
    trial.settle_lines();
    let report = trial.end_gone();
    assert_eq!(report.received, 50_000);
}

#[test]
fn a_connection_that_is_reset_between_restarts_repeats_only_what_was_not_acknowledged() {
    let mut trial = Trial::start();
    trial.load_tcp();
    for _ in 0..3 {
        trial.sink.reset().unwrap();
        trial.sink.resume().unwrap();
        trial.reload();
        trial.more(1_000);
    }
    let status = trial.settle(Loss::None);
    assert!(status.number("/worker/destinations/0/connects") >= Some(2));
    // What was cut mid-line by the reset is the sink's own doing.
    trial.end_settled(&status, Loss::None);
}

#[test]
fn a_destination_that_is_removed_and_comes_back_begins_anew() {
    let mut trial = Trial::start();
    let other = Sink::start(trial.clock).unwrap();
    // Lines are kept for another connection, so its queue has a beginning in memory that will be gone.
    let destination = format!("{} id=other resend=64KiB", other.address());
    let mut scribe = trial.scribe();
    for round in 1..=2 {
        trial.rewrite(|config| config.destinations.push(destination.clone()));
        trial.reload();
        for _ in 0..1_000 {
            let line = scribe.line();
            scribe.write(&line);
        }
        let delivered =
            |s: &Status| s.of_destination("other", "acknowledged") == Some(round * 1_000);
        trial
            .instance
            .wait_status("the lines", LIMIT, delivered)
            .unwrap();
        trial.rewrite(|config| config.destinations.truncate(1));
        trial.reload();
        let gone = |s: &Status| s.is_serving() && s.destination("other").is_none();
        trial.instance.wait_status("its end", LIMIT, gone).unwrap();
    }
    assert!(other.wait_closed(LIMIT));
    let account = other.account();
    assert_eq!(
        (account.lines(), account.distinct(), account.torn()),
        (2_000, 2_000, 0)
    );
    drop(account);
    trial.enter(scribe);
    trial.settle_lines();
    assert_eq!(trial.end_gone().received, 2_000);
}
