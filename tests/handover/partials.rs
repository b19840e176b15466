//! Lines that a restart cuts.

use std::io::Write;
use std::net::TcpStream;

use baton::drill::Target;

use crate::trial::{LIMIT, Loss, Trial, Writing};

#[test]
fn half_a_line_waits_through_restarts_for_its_rest() {
    let mut trial = Trial::start();
    let mut over_tcp = trial.scribe();
    let unix = Target::Unix(trial.unix());
    let mut over_unix = trial.scribe_to(&unix);
    for cut in [1, 5, 12] {
        let lines = [over_tcp.line(), over_unix.line()];
        over_tcp.write(&lines[0][..cut]);
        over_unix.write(&lines[1][..cut]);
        trial.read_bytes(cut as u64 * 2);
        // Through one that reads none of it, too.
        trial.reload();
        trial.reload();
        over_tcp.write(&lines[0][cut..]);
        over_unix.write(&lines[1][cut..]);
        trial.read_bytes((lines[0].len() + lines[1].len() - cut * 2) as u64);
    }
    trial.enter(over_tcp);
    trial.enter(over_unix);
    let report = trial.end(Loss::None);
    assert_eq!(report.received, 6);
}

#[test]
fn half_a_line_survives_a_successor_that_fails() {
    let mut trial = Trial::with(|config| config.ready_timeout = "1s");
    let mut scribe = trial.scribe();
    let line = scribe.line();
    scribe.write(&line[..7]);
    trial.read_bytes(7);
    trial.successors_fail();
    scribe.write(&line[7..]);
    trial.enter(scribe);
    let report = trial.end(Loss::None);
    assert_eq!(report.received, 1);
}

#[test]
fn a_line_that_is_too_long_counts_once_however_many_restarts_cut_it() {
    let mut trial = Trial::with(|config| config.input = "max_line = \"1KiB\"".into());
    let mut scribe = trial.scribe();
    for part in 1..=4 {
        scribe.write(&[b'x'; 1000]);
        trial.read_bytes(1000);
        trial.reload();
        let status = trial.instance.status().unwrap();
        assert_eq!(status.total("rejected"), Some(u64::from(part > 1)));
    }
    scribe.write(b"\n");
    let line = scribe.line();
    scribe.write(&line);
    trial.enter(scribe);
    let status = trial.settle(Loss::None);
    assert_eq!(
        (status.total("in"), status.total("rejected")),
        (Some(2), Some(1))
    );
    let reason = "/worker/totals/rejected/too-long";
    assert_eq!(status.number(reason), Some(1), "{}", status.document());
    assert_eq!(trial.end_counted(&status).received, 1);
}

#[test]
fn a_byte_at_a_time_through_many_restarts() {
    let mut trial = Trial::start();
    let unix = Target::Unix(trial.unix());
    let scribes = [trial.scribe(), trial.scribe_to(&unix)];
    let dribblers = scribes.map(|mut scribe| {
        Writing::start(move |goes_on| {
            while goes_on() {
                for byte in scribe.line() {
                    scribe.write(&[byte]);
                    std::thread::yield_now();
                }
            }
            scribe
        })
    });
    for _ in 0..10 {
        trial.reload();
    }
    for dribbler in dribblers {
        trial.enter(dribbler.finish());
    }
    trial.end(Loss::None);
}

#[test]
fn a_client_that_ends_within_a_line_during_a_restart_is_counted_unterminated() {
    let mut trial = Trial::start();
    let mut client = TcpStream::connect(trial.tcp).unwrap();
    client.write_all(b"half.a.line 1").unwrap();
    trial.read_bytes(13);
    trial.reload();
    drop(client);
    let ended = |s: &baton::drill::Status| s.total("in") == Some(1);
    let status = trial.instance.wait_status("the end", LIMIT, ended).unwrap();
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(1)
    );
    let status = trial.settle(Loss::None);
    trial.end_counted(&status);
}
