//! More clients than there is room for, and clients that have fallen silent.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::relay::{Config, Relay, hang_up, wait_closed};

/// Connects so many clients, each of which sends a line at once.
fn crowd(relay: &Relay, names: std::ops::Range<u32>) -> Vec<TcpStream> {
    names
        .map(|name| {
            let mut client = relay.connect();
            writeln!(client, "client.{name} 1 1700000000").unwrap();
            client
        })
        .collect()
}

fn connections(status: &baton::drill::Status) -> u64 {
    let listeners = status.document()["worker"]["listeners"].as_array();
    let line = listeners
        .into_iter()
        .flatten()
        .filter(|one| one["kind"] == "line");
    line.filter_map(|one| one["connections"].as_u64()).sum()
}

#[test]
fn case_13_accepting_pauses_at_max_connections() {
    const PAUSED: &str = "accepting pauses: max_connections is reached";
    let mut relay = Relay::start(&Config {
        input: "max_connections = 4".into(),
        ..Config::to_file()
    });
    let mut clients = crowd(&relay, 0..4);
    relay.wait("four clients", |status| status.total("in") == Some(4));
    relay.wait_logged(PAUSED);
    // They are let into the kernel's queue, since the listener never closes; and those inside are served.
    clients.extend(crowd(&relay, 4..10));
    for (round, client) in (0..3).zip(&mut clients) {
        writeln!(client, "inside.{round} 1 1700000000").unwrap();
        let status = relay.wait("a line of one inside", |status| {
            status.total("in") == Some(5 + round)
        });
        assert_eq!(connections(&status), 4);
    }
    assert_eq!(relay.logged(PAUSED), 1);
    // One leaves, one comes in; then all of them.
    hang_up(clients.remove(0));
    relay.wait("the fifth", |status| status.total("in") == Some(8));
    for client in clients.drain(..) {
        hang_up(client);
    }
    let status = relay.wait_done(13);
    assert_eq!(status.total("rejected"), Some(0));
    assert_eq!(relay.logged(PAUSED), 1);
    assert_eq!(relay.file("out").len(), 13);
    relay.check_books();
}

#[test]
fn case_13_a_silent_connection_is_closed_after_idle_timeout() {
    let mut relay = Relay::start(&Config {
        input: "idle_timeout = \"1s\"".into(),
        ..Config::to_file()
    });
    let mut busy = relay.connect();
    let mut silent = relay.connect();
    silent.write_all(b"silent 1 1700000000\nhalf 1").unwrap();
    let never = relay.connect();
    let waiting = std::thread::spawn(move || {
        wait_closed(silent);
        wait_closed(never);
    });
    // One that sends a byte now and then isn't silent.
    let line = b"busy 1 1700000000\n";
    let mut sent = 0;
    while !waiting.is_finished() || sent % line.len() != 0 {
        busy.write_all(&line[sent % line.len()..][..1]).unwrap();
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    waiting.join().unwrap();
    hang_up(busy);
    let status = relay.wait_done(2 + (sent / line.len()) as u64);
    assert_eq!(status.total("rejected"), Some(1));
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(1)
    );
    assert_eq!(
        relay.logged("a connection was silent for idle_timeout: closed"),
        2
    );
    relay.check_books();
}

/// Leaves a process this many descriptors more than it has open.
fn leave_descriptors(pid: i32, more: usize) {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open = open.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let open: BTreeSet<u64> = open.map(|number| number.parse().unwrap()).collect();
    // The limit is one for numbers, and there are gaps.
    let last = (0..).filter(|number| !open.contains(number)).nth(more - 1);
    set_limit(pid, last.unwrap() + 1);
}

fn set_limit(pid: i32, files: u64) {
    // The hard limit, which only root may raise, is ours.
    let limit = Rlimit {
        current: Some(files),
        ..getrlimit(Resource::Nofile)
    };
    prlimit(Pid::from_raw(pid), Resource::Nofile, limit).unwrap();
}

#[test]
fn case_13_accepting_survives_that_there_are_no_descriptors_left() {
    const PAUSED: &str = "accepting pauses";
    let mut relay = Relay::start(&Config::to_file());
    let worker = relay.instance.worker_pid().unwrap();
    let mut first = crowd(&relay, 0..1);
    relay.wait("the first", |status| status.total("in") == Some(1));
    // Some of them are kept for other things than clients.
    leave_descriptors(worker, 24);
    let all = crowd(&relay, 1..30);
    relay.wait_logged(PAUSED);
    let status = relay.status();
    let inside = connections(&status);
    assert!((2..30).contains(&inside), "{inside}");
    // Those let in are served meanwhile.
    for round in 0..20 {
        writeln!(first[0], "inside.{round} 1 1700000000").unwrap();
        relay.wait("a line of one inside", |status| {
            status.total("in") == Some(inside + 1 + round)
        });
    }
    assert_eq!(relay.logged(PAUSED), 1);
    set_limit(worker, 1024);
    let status = relay.wait_done(50);
    assert_eq!(connections(&status), 30);
    relay.wait_logged("accepting again");
    drop(all);
    assert_eq!(relay.file("out").len(), 50);
    relay.check_books();
}

#[test]
fn case_13_an_instance_with_few_descriptors_starts_and_serves() {
    let mut relay = Relay::set_up(&Config::to_file(), |setup| {
        setup.shell(r#"ulimit -n 64; exec "$@""#)
    });
    assert_eq!(relay.logged("fewer connections than max_connections"), 1);
    let clients = crowd(&relay, 0..60);
    relay.wait_logged("accepting pauses");
    for client in clients {
        hang_up(client);
    }
    relay.wait_done(60);
    assert_eq!(relay.file("out").len(), 60);
    // And it is restarted like any other.
    let reload = relay.instance.reload().unwrap();
    assert!(
        matches!(reload, baton::drill::Reload::Done { .. }),
        "{reload:?}"
    );
    relay.send("after 1 1700000000\n");
    relay.wait_done(61);
    relay.check_books();
}
