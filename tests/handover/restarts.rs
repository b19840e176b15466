//! Restarts that work.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use baton::drill::Target;
use baton::handover::{Answer, Client, Request};
use nix::sys::signal::Signal;

use crate::refusals::fault_points;
use crate::trial::{LIMIT, Loss, Trial, signal, wait_for};

#[test]
fn twenty_restarts_under_tcp_and_unix_load_lose_nothing() {
    let mut trial = Trial::start();
    trial.load_tcp();
    trial.load(Target::Unix(trial.unix()), 3, 12_000);
    for generation in 2..22 {
        assert_eq!(trial.reload(), generation);
    }
    trial.more(1_000);
    let status = trial.settle(Loss::None);
    assert_eq!(status.number("/worker/destinations/0/connects"), Some(1));
    assert_eq!(status.number("/worker/destinations/0/resent"), Some(0));
    let report = trial.end_settled(&status, Loss::None);
    assert_eq!((report.lost_by_crash, report.lost_in_kernel), (0, 0));
}

#[test]
fn unpaced_senders_are_held_back_and_lose_nothing() {
    let mut trial = Trial::start();
    trial.load(Target::Tcp(trial.tcp), 2, 0);
    for _ in 0..5 {
        trial.reload();
        trial.more(10_000);
    }
    trial.end(Loss::None);
}

#[test]
fn restarts_under_datagrams_lose_what_the_kernel_dropped_at_most() {
    let mut trial = Trial::start();
    trial.load(Target::Udp(trial.tcp), 2, 6_000);
    for _ in 0..10 {
        trial.reload();
    }
    trial.more(1_000);
    trial.end(Loss::Kernel);
}

#[test]
fn the_outbound_connection_is_the_same_before_and_after() {
    let mut trial = Trial::start();
    trial.load_tcp();
    for _ in 0..5 {
        trial.reload();
        assert_eq!(trial.sink.account().open(), 1);
    }
    trial.faults("on-frozen exit\n");
    trial.refused();
    trial.faults("");
    let status = trial.settle(Loss::None);
    assert_eq!(trial.sink.account().connections(), 1);
    assert_eq!(status.number("/worker/destinations/0/connects"), Some(1));
    assert_eq!(status.number("/worker/destinations/0/disconnects"), Some(0));
    trial.end_settled(&status, Loss::None);
}

#[test]
fn a_restart_that_is_slow_at_every_step_loses_nothing() {
    let mut trial = Trial::start();
    trial.load_tcp();
    let slow: String = fault_points()
        .map(|point| format!("{point} slow\n"))
        .collect();
    trial.faults(&slow);
    trial.reload();
    trial.reload();
    trial.faults("");
    trial.more(100);
    trial.end(Loss::None);
}

#[test]
fn requests_meanwhile_fold_into_one_follow_up() {
    let mut trial = Trial::with(|config| config.probation = "300ms");
    trial.load_tcp();
    let askers: Vec<_> = (0..20)
        .map(|_| {
            let control = trial.instance.path("control.sock");
            thread::spawn(move || {
                let client = Client::connect(&control).unwrap();
                let reload = Request::Reload { watched: false };
                client.ask(reload, Some(LIMIT)).unwrap()
            })
        })
        .collect();
    for asker in askers {
        let answer = asker.join().unwrap();
        let Answer::Reloaded { generation, .. } = answer else {
            panic!("{answer:?}");
        };
        assert!((2..=3).contains(&generation), "{generation}");
    }
    let status = trial.instance.status().unwrap();
    assert!(status.generation() <= Some(3), "{:?}", status.generation());
    trial.end(Loss::None);
}

#[test]
fn clients_that_come_and_go_during_restarts() {
    let mut trial = Trial::start();
    let visits = trial.visits();
    for _ in 0..20 {
        trial.reload();
    }
    visits.end(&mut trial);
    trial.end(Loss::None);
}

#[test]
fn the_command_says_that_the_new_worker_is_watched_and_then_how_it_ended() {
    let mut trial = Trial::with(|config| config.probation = "1h");
    let command = |trial: &Trial| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
        let control = trial.instance.path("control.sock");
        command.args(["reload", "--control"]).arg(control);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut watching = command(&trial).spawn().unwrap();
    let mut said = BufReader::new(watching.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "generation 2 serves; watching it for 1h\n");
    let status = trial.instance.status().unwrap();
    assert_eq!(status.text("/supervisor/state"), Some("probation"));
    signal(status.worker_pid().unwrap(), Signal::SIGKILL);
    line.clear();
    said.read_to_string(&mut line).unwrap();
    assert!(
        line.contains("refused") && line.contains("signal 9"),
        "{line}"
    );
    assert_eq!(watching.wait().unwrap().code(), Some(1));

    trial.rewrite(|config| config.probation = "100ms");
    let done = command(&trial).output().unwrap();
    let [told, answer] = [done.stderr, done.stdout].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(told, "generation 3 serves; watching it for 100ms\n");
    assert!(answer.starts_with("generation 3 serves, after"), "{answer}");
    assert_eq!(done.status.code(), Some(0));

    trial.rewrite(|config| config.probation = "0s");
    let done = command(&trial).output().unwrap();
    assert_eq!(String::from_utf8(done.stderr).unwrap(), "");
    trial.end(Loss::None);
}

#[test]
fn a_hangup_signal_reloads() {
    let mut trial = Trial::start();
    trial.load_tcp();
    trial.instance.signal(Signal::SIGHUP).unwrap();
    wait_for("the second generation", || {
        trial
            .instance
            .status()
            .is_ok_and(|s| s.is_serving() && s.generation() == Some(2))
    });
    trial.end(Loss::None);
}

#[test]
fn a_status_asked_for_in_the_pause_is_answered_when_that_is_over() {
    let mut trial = Trial::start();
    trial.load_tcp();
    trial.faults("on-go slow\n");
    trial.instance.signal(Signal::SIGHUP).unwrap();
    trial.reached("on-go");
    let status = trial.instance.status().unwrap();
    assert_eq!(status.generation(), Some(2), "{status:?}");
    assert!(status.worker_pid().is_some(), "{status:?}");
    trial.faults("");
    trial.more(500);
    trial.end(Loss::None);
}
