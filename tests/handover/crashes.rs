//! Workers that die or hang by themselves: the supervisor holds what they had, and starts another.

use std::fs;
use std::time::Instant;

use baton::drill::Target;
use nix::sys::signal::Signal;

use crate::trial::{LIMIT, Loss, Trial, signal};

/// Crashes in a row are answered later and later: ten of one worker would take a minute.
const KILLS: u64 = 4;

fn kill_again_and_again(trial: &mut Trial) {
    for _ in 0..KILLS {
        trial.instance.kill_worker(LIMIT).unwrap();
        trial.more(200);
    }
}

#[test]
fn killed_workers_tear_nothing_and_count_what_was_lost() {
    let mut trial = Trial::start();
    trial.load_tcp();
    kill_again_and_again(&mut trial);
    let status = trial.settle(Loss::Crash);
    assert_eq!(status.number("/worker/destinations/0/connects"), Some(1));
    trial.end_settled(&status, Loss::Crash);
}

#[test]
fn killed_workers_that_had_all_they_could_read() {
    let mut trial = Trial::start();
    trial.load(Target::Tcp(trial.tcp), 2, 0);
    kill_again_and_again(&mut trial);
    trial.end(Loss::Crash);
}

#[test]
fn killed_workers_and_unix_streams() {
    let mut trial = Trial::start();
    trial.load(Target::Unix(trial.unix()), 3, 12_000);
    kill_again_and_again(&mut trial);
    trial.end(Loss::UnixCrashes(KILLS));
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
