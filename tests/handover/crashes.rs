//! Workers that die or hang by themselves: the supervisor holds what they had, and starts another.

use std::fs;
use std::time::Instant;

use baton::drill::Target;
use nix::sys::signal::Signal;

use crate::trial::{LIMIT, Loss, Trial, signal};

#[test]
fn ten_killed_workers_tear_nothing_and_count_what_was_lost() {
    let mut trial = Trial::start();
    trial.load_tcp();
    trial.load(Target::Unix(trial.unix()), 3, 12_000);
    // Crashes in a row are answered later and later, unless a restart comes between that works.
    for _ in 0..10 {
        trial.instance.kill_worker(LIMIT).unwrap();
        trial.more(200);
    }
    let status = trial.settle(Loss::Crash);
    assert_eq!(status.number("/worker/destinations/0/connects"), Some(1));
    trial.end_settled(&status, Loss::Crash);
}

#[test]
fn kills_and_restarts_mixed() {
    let mut trial = Trial::start();
    trial.load_tcp();
    for _ in 0..3 {
        trial.instance.kill_worker(LIMIT).unwrap();
        trial.reload();
        trial.more(200);
    }
    trial.end(Loss::Crash);
}

#[test]
fn a_worker_that_stops_ticking_is_replaced() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let before = trial.instance.worker_pid().unwrap();
    signal(before, Signal::SIGSTOP);
    let began = Instant::now();
    let other = |s: &baton::drill::Status| s.is_serving() && s.worker_pid() != Some(before);
    trial
        .instance
        .wait_status("another worker", LIMIT, other)
        .unwrap();
    assert!(began.elapsed().as_secs() >= 3, "a worker may be late");
    trial.more(500);
    trial.reload();
    trial.end(Loss::Crash);
}

#[test]
fn a_crash_starts_what_last_worked_whatever_lies_on_disk() {
    let mut trial = Trial::start();
    trial.load_tcp();
    trial.reload();
    let good = trial.config.text();
    trial
        .instance
        .rewrite("[supervisor]\ncontrol = \"unix:control.sock\"\nnonsense\n")
        .unwrap();
    let binary = trial.instance.path("baton");
    fs::remove_file(&binary).unwrap();
    fs::write(&binary, "no program").unwrap();
    for _ in 0..2 {
        trial.instance.kill_worker(LIMIT).unwrap();
        trial.more(200);
    }
    trial.refused();
    fs::remove_file(&binary).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_baton"), &binary).unwrap();
    trial.refused();
    trial.instance.rewrite(&good).unwrap();
    trial.reload();
    trial.end(Loss::Crash);
}

#[test]
fn an_old_worker_killed_while_a_new_one_prepares() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let before = trial.instance.worker_pid().unwrap();
    trial.faults("after-config slow\nafter-listeners slow\nbefore-ready slow\n");
    trial.instance.signal(Signal::SIGHUP).unwrap();
    let loading = |s: &baton::drill::Status| s.text("/supervisor/state") == Some("reloading");
    trial
        .instance
        .wait_status("the hand-over", LIMIT, loading)
        .unwrap();
    signal(before, Signal::SIGKILL);
    let other = |s: &baton::drill::Status| s.is_serving() && s.worker_pid() != Some(before);
    trial
        .instance
        .wait_status("another worker", LIMIT, other)
        .unwrap();
    trial.faults("");
    trial.more(500);
    trial.end(Loss::Crash);
}
