//! The end: what was accepted is delivered or counted, at every moment of a hand-over, and nothing is left running.

#[path = "handover/trial.rs"]
mod trial;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use baton::drill::Status;
use nix::sys::signal::Signal;

use trial::{LIMIT, Loss, Trial, no_process_left, processes_in, signal, wait_for};

#[test]
fn a_stop_delivers_what_is_queued() {
    let mut trial = Trial::start();
    let status = trial.pile_up(50_000);
    trial.instance.signal(Signal::SIGTERM).unwrap();
    wait_for("the stop", || trial.instance.log().contains("Stop(1"));
    trial.sink.resume().unwrap();
    let end = trial.instance.wait_ended(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0));
    assert!(trial.instance.log().contains("everything was delivered"));
    trial.judge(&status, Loss::None);
}

#[test]
fn a_stop_takes_what_clients_have_sent_and_ends_their_connections() {
    let mut trial = Trial::start();
    let mut scribe = trial.scribe();
    let mut text = Vec::new();
    for _ in 0..20_000 {
        text.extend(scribe.line());
    }
    // What comes in before that may wait in the spool for the next start.
    wait_for("the destination", || {
        trial.instance.log().contains("up destination=")
    });
    let status = trial.instance.status().unwrap();
    scribe.write(&text);
    trial.instance.signal(Signal::SIGTERM).unwrap();
    // Ends when the relay has ended its side.
    trial.enter(scribe);
    let end = trial.instance.wait_ended(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0));
    let report = trial.judge(&status, Loss::None);
    assert_eq!(report.received, 20_000);
}

/// There is no database to keep anything in.
const NO_STATE: &str = "[state]\npath = \"/dev/null/baton.db\"";

#[test]
fn what_a_dead_destination_leaves_is_kept_and_logged() {
    let mut trial = Trial::with(|config| {
        // Nobody listens there.
        config.destinations = vec!["127.0.0.1:9 reconnect=100ms".into()];
        config.stop_timeout = "1h";
    });
    let mut scribe = trial.scribe();
    for _ in 0..100 {
        let line = scribe.line();
        scribe.write(&line);
    }
    let status = trial.counted(100);
    let number = |name| {
        status
            .number(&format!("/worker/destinations/0/{name}"))
            .unwrap()
    };
    assert_eq!(number("queued") + number("spooled"), 100);
    let began = Instant::now();
    let end = trial.instance.stop(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5));
    let log = trial.instance.log();
    assert!(
        log.contains("100 lines wait in the spool") && !log.contains("not delivered"),
        "{log}"
    );
    no_process_left(trial.instance.folder());
}

#[test]
fn what_nothing_can_keep_is_counted_and_logged() {
    let mut trial = Trial::with(|config| {
        config.destinations = vec!["127.0.0.1:9 reconnect=100ms".into()];
        config.input = NO_STATE.into();
        config.stop_timeout = "300ms";
    });
    let mut scribe = trial.scribe();
    for _ in 0..100 {
        let line = scribe.line();
        scribe.write(&line);
    }
    trial.counted(100);
    let end = trial.instance.stop(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0));
    let log = trial.instance.log();
    assert!(
        log.contains("not delivered: 100 lines for all/127.0.0.1:9"),
        "{log}"
    );
    no_process_left(trial.instance.folder());
}

/// No scrape sees it any more.
#[test]
fn what_is_left_unread_is_a_warning() {
    let mut trial = Trial::with(|config| {
        config.stop_timeout = "1s";
        config.destinations[0].push_str(" full=block queue=1MiB");
    });
    trial.sink.hang().unwrap();
    // More than anybody takes: until all is full from here to there.
    let mut client = TcpStream::connect(trial.tcp).unwrap();
    client
        .set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let lines = "some.name 1 1000000000\n".repeat(1000);
    while client.write_all(lines.as_bytes()).is_ok() {}
    trial.instance.signal(Signal::SIGTERM).unwrap();
    trial.instance.wait_ended(LIMIT).unwrap();
    let log = trial.instance.log();
    let told = "WARN clients were cut: bytes of theirs are left unread bytes=";
    assert_eq!(log.matches(told).count(), 1, "{log}");
}

#[test]
fn a_second_signal_hurries() {
    let mut trial = Trial::with(|config| {
        config.destinations = vec!["127.0.0.1:9 reconnect=100ms".into()];
        config.input = NO_STATE.into();
        config.stop_timeout = "1h";
    });
    let mut scribe = trial.scribe();
    let line = scribe.line();
    scribe.write(&line);
    trial.counted(1);
    trial.instance.signal(Signal::SIGTERM).unwrap();
    wait_for("the stop", || trial.instance.log().contains("Stop(1"));
    trial.instance.signal(Signal::SIGINT).unwrap();
    let end = trial.instance.wait_ended(Duration::from_secs(10)).unwrap();
    assert_eq!(end.code(), Some(0));
    no_process_left(trial.instance.folder());
}

/// A stop while a hand-over is where `faults` hold it up: it ends in time, and nothing is lost.
fn stop_during(faults: &str, loss: Loss) {
    let mut trial = Trial::with(|config| config.ready_timeout = "5s");
    let mut scribe = trial.scribe();
    for _ in 0..1_000 {
        let line = scribe.line();
        scribe.write(&line);
    }
    let status = trial.counted(1_000);
    trial.enter(scribe);
    trial.faults(faults);
    trial.instance.signal(Signal::SIGHUP).unwrap();
    trial.reached(faults.split(' ').next().unwrap());
    let began = Instant::now();
    let end = trial.instance.stop(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0), "{faults}: {}", trial.instance.log());
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{faults}: {:?}",
        began.elapsed()
    );
    trial.judge(&status, loss);
}

#[test]
fn a_stop_while_a_new_worker_prepares() {
    for point in [
        "before-hello",
        "after-config",
        "after-listeners",
        "before-ready",
    ] {
        stop_during(&format!("{point} hang\n"), Loss::None);
    }
}

#[test]
fn a_stop_in_the_pause() {
    for point in [
        "after-ready",
        "on-freeze",
        "after-frozen",
        "on-frozen",
        "after-confirmed",
    ] {
        stop_during(&format!("{point} slow\n"), Loss::None);
        stop_during(&format!("{point} hang\n"), Loss::Crash);
    }
}

#[test]
fn a_stop_while_the_new_worker_begins() {
    for point in ["on-go", "before-running", "after-running"] {
        stop_during(&format!("{point} slow\n"), Loss::None);
    }
    for point in ["on-go", "before-running"] {
        stop_during(&format!("{point} hang\n"), Loss::Crash);
    }
}

#[test]
fn a_stop_in_probation() {
    let mut trial = Trial::with(|config| config.probation = "1h");
    let status = trial.probation();
    let end = trial.instance.stop(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0));
    trial.judge(&status, Loss::None);
}

#[test]
fn a_stop_between_two_crashes_delivers_what_is_queued() {
    let mut trial = Trial::start();
    let status = trial.pile_up(50_000);
    // The third crash in a row is answered after a second.
    trial.instance.kill_worker(LIMIT).unwrap();
    trial.instance.kill_worker(LIMIT).unwrap();
    let worker = trial.instance.worker_pid().unwrap();
    signal(worker, Signal::SIGKILL);
    let recovering = |s: &Status| s.text("/supervisor/state") == Some("recovering");
    trial
        .instance
        .wait_status("the pause", LIMIT, recovering)
        .unwrap();
    trial.instance.signal(Signal::SIGTERM).unwrap();
    wait_for("the stop", || trial.instance.log().contains("Stop(4"));
    trial.sink.resume().unwrap();
    assert_eq!(trial.instance.wait_ended(LIMIT).unwrap().code(), Some(0));
    trial.judge(&status, Loss::Crash);
}

#[test]
fn without_a_supervisor_a_worker_delivers_and_stops() {
    let mut trial = Trial::start();
    let status = trial.pile_up(50_000);
    trial.instance.signal(Signal::SIGKILL).unwrap();
    trial.instance.wait_ended(LIMIT).unwrap();
    wait_for("the worker to notice", || {
        trial
            .instance
            .log()
            .contains("the supervisor has gone: stopping")
    });
    assert_eq!(processes_in(trial.instance.folder()).len(), 1);
    trial.sink.resume().unwrap();
    trial.judge(&status, Loss::None);
}

#[test]
fn without_a_supervisor_a_new_worker_goes_too() {
    let mut trial = Trial::with(|config| config.probation = "1h");
    trial.probation();
    trial.instance.signal(Signal::SIGKILL).unwrap();
    trial.instance.wait_ended(LIMIT).unwrap();
    no_process_left(trial.instance.folder());
}

/// Whoever starts the next one finds the addresses free.
#[test]
fn when_the_supervisor_has_ended_so_have_its_workers() {
    for _ in 0..10 {
        let mut trial = Trial::start();
        trial.pile_up(20_000);
        trial.sink.resume().unwrap();
        trial.instance.stop(LIMIT).unwrap();
        assert_eq!(processes_in(trial.instance.folder()), [] as [i32; 0]);
    }
}
