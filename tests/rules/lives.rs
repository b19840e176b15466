//! Windows through restarts, crashes, and a stop.

use std::fmt::Write as _;

use baton::drill::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::relay::{Config, LIMIT, Relay, free_address, wait_for};
use crate::store::Store;
use crate::{config, now, out, sums, wait_released};

const SUM: &str = r#"
[[aggregation]]
function = "sum"
regex = '^in\.(\w+)'
format = "sum.$1"
interval = 1
wait = WAIT
dropRaw = true
[[aggregation]]
function = "percentiles"
prefix = "many."
format = "all"
interval = 1
wait = WAIT
dropRaw = true
"#;

pub fn sum(wait: u32) -> Config {
    config(&SUM.replace("WAIT", &wait.to_string()))
}

pub fn again(config: &Config, number: u64) -> Config {
    Config {
        routes: format!("{}# {number}\n", config.routes),
        ..config.clone()
    }
}

/// The value of each line by name and timestamp.
pub fn value(line: &str) -> f64 {
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn case_29_twenty_restarts_change_no_aggregate() {
    let config = sum(4);
    let mut relay = Relay::start(&config);
    let (mut text, mut lines) = (String::new(), 0);
    for restart in 0..20 {
        text.clear();
        for name in 0..50 {
            for value in 0..20 {
                writeln!(text, "in.n{name} {value} {}", now()).unwrap();
                lines += 1;
            }
        }
        relay.send(&text);
        relay.reconfigure(&again(&config, restart));
    }
    let done = |status: &Status| sums(status, "open_points") == 0;
    let status = relay.wait("the windows", done);
    assert_eq!(
        (sums(&status, "points"), sums(&status, "refused")),
        (lines, 0)
    );
    assert_eq!(
        (sums(&status, "flushed"), sums(&status, "lost_points")),
        (lines, 0)
    );
    let made = out(&relay, sums(&status, "lines_out") as usize);
    // As many points of a name in a second as were sent then, in one line: none came twice, none in two parts.
    let total: f64 = made.iter().map(|line| value(line)).sum();
    assert_eq!(total as u64, 20 * 50 * 190);
    let mut windows: Vec<_> = made
        .iter()
        .map(|line| {
            let mut fields = line.split(' ');
            (fields.next().unwrap(), fields.next_back().unwrap())
        })
        .collect();
    windows.dedup();
    assert_eq!(windows.len(), made.len(), "a window came in two parts");
    assert!(made.iter().all(|line| value(line) % 190.0 == 0.0));
    relay.check_books();
}

#[test]
fn case_29_a_stop_keeps_windows_and_the_next_start_finishes_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        supervisor: format!("[state]\npath = {:?}", folder.path().join("baton.db")),
        ..sum(6)
    };
    let mut relay = Relay::start(&config);
    let at = now();
    relay.send(format!("in.a 1 {at}\nin.b 2 {at}\nmany.x 5 {at}\n"));
    relay.wait_done(3);
    assert!(relay.instance.stop(LIMIT).unwrap().success());
    assert!(relay.logged("3 points wait in aggregation windows") > 0);
    let mut relay = Relay::start(&config);
    let status = relay.wait("the windows", |status| sums(status, "restored") == 3);
    assert_eq!(sums(&status, "points"), 0);
    relay.send(format!("in.a 10 {at}\nmany.x 5 {at}\n"));
    let made = out(&relay, 8);
    let all = made
        .iter()
        .filter(|line| line.starts_with("all.p") && value(line) == 5.0);
    assert_eq!(all.count(), 6);
    assert_eq!(
        made[6..],
        [format!("sum.a 11 {at}"), format!("sum.b 2 {at}")]
    );
    let status = relay.wait("the windows", |status| sums(status, "open_points") == 0);
    assert_eq!(
        (sums(&status, "flushed"), sums(&status, "lost_points")),
        (5, 0)
    );
    relay.check_books();
}

#[test]
fn case_29_windows_that_die_with_a_worker_are_counted() {
    let mut relay = Relay::start(&sum(4));
    relay.send(format!("in.a 1 {n}\nin.b 2 {n}\nmany.x 5 {n}\n", n = now()));
    relay.wait_done(3);
    let pid = relay.status().worker_pid().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let status = relay.wait("the loss to be counted", |status| {
        status.worker_pid().is_some_and(|new| new != pid) && sums(status, "lost_points") == 3
    });
    assert_eq!(sums(&status, "open_points"), 0);
    relay.send(format!("in.a 7 {}\n", now()));
    wait_for("a line", || {
        relay
            .file("out")
            .iter()
            .any(|line| line.starts_with("sum.a 7 "))
    });
    relay.check_books();
}

/// Begins a restart; returns who served before and who serves now, whose probation it is.
fn probation(relay: &mut Relay) -> (i32, i32) {
    let old = relay.status().worker_pid().unwrap();
    relay.instance.signal(Signal::SIGHUP).unwrap();
    let status = relay.wait("the successor", |status| {
        status.text("/supervisor/state") == Some("probation")
            && status.worker_pid().is_some_and(|new| new != old)
            && status.document()["worker"]["windows"]["held"] == false
    });
    (old, status.worker_pid().unwrap())
}

fn roll_back(relay: &mut Relay, old: i32, new: i32) {
    kill(Pid::from_raw(new), Signal::SIGKILL).unwrap();
    relay.wait("the old worker", |status| {
        status.is_serving() && status.worker_pid() == Some(old)
    });
}

fn long_probation(wait: u32) -> Config {
    Config {
        supervisor: "probation = \"60s\"".to_owned(),
        ..sum(wait)
    }
}

#[test]
fn case_29_after_a_roll_back_what_the_successor_took_in_is_lost_and_counted() {
    let mut relay = Relay::start(&long_probation(8));
    let at = now();
    relay.send(format!("in.a 1 {at}\nin.b 1 {at}\n"));
    relay.wait_done(2);
    let (old, new) = probation(&mut relay);
    relay.send(format!("in.a 2 {at}\nin.c 2 {at}\nin.c 2 {at}\n"));
    relay.wait_done(5);
    roll_back(&mut relay, old, new);
    let lost = |status: &Status| sums(status, "lost_points") == 3;
    relay.wait("the loss to be counted", lost);
    let made = out(&relay, 2);
    assert_eq!(made, [format!("sum.a 1 {at}"), format!("sum.b 1 {at}")]);
    let status = relay.wait("the windows", |status| sums(status, "open_points") == 0);
    assert_eq!((sums(&status, "points"), sums(&status, "flushed")), (5, 2));
    relay.check_books();
}

#[test]
fn case_29_after_a_roll_back_what_the_successor_closed_is_not_closed_again() {
    let store = Store::start();
    let config = long_probation(4);
    let config = Config {
        routes: config
            .routes
            .replace("file:out id=out", &format!("{} id=out", store.address)),
        ..config
    };
    let mut relay = Relay::start(&config);
    let at = now();
    relay.send(format!("in.a 1 {at}\n"));
    relay.wait_done(1);
    let (old, new) = probation(&mut relay);
    store.wait_lines(1);
    relay.wait("the line to be acknowledged", |status| {
        sums(status, "flushed") == 1 && status.of_destination("out", "acknowledged") == Some(1)
    });
    roll_back(&mut relay, old, new);
    // Here the old one closes windows again.
    let later = now();
    relay.send(format!("in.b 1 {later}\n"));
    store.wait_lines(2);
    let made = [format!("sum.a 1 {at}"), format!("sum.b 1 {later}")];
    assert_eq!(store.lines(), made);
    let status = relay.wait("the windows", |status| sums(status, "open_points") == 0);
    assert_eq!(
        (sums(&status, "flushed"), sums(&status, "lost_points")),
        (2, 0)
    );
    relay.check_books();
}

/// The old worker dies when it is asked for its windows.
#[test]
fn case_29_windows_that_the_old_worker_cannot_pass_are_counted() {
    let faults = tempfile::NamedTempFile::new().unwrap();
    let config = sum(20);
    let mut relay = Relay::set_up(&config, |setup| {
        setup.env("BATON_FAULTS", faults.path().to_str().unwrap())
    });
    relay.send(format!("in.a 1 {}\n", now()));
    relay.wait_done(1);
    std::fs::write(faults.path(), "on-pass-windows exit\n").unwrap();
    relay.reconfigure(&again(&config, 1));
    let status = relay.wait("the loss to be counted", |status| {
        sums(status, "lost_points") == 1
    });
    assert_eq!(status.document()["worker"]["windows"]["held"], false);
    relay.check_books();
}

/// A successor places some of the windows of a second, finds no room for the rest, and dies in its probation.
#[test]
fn case_29_after_a_roll_back_each_window_comes_once_however_many_the_successor_closed() {
    const WINDOWS: usize = 100_000;
    let store = Store::down();
    let config = Config {
        supervisor: "probation = \"60s\"".to_owned(),
        routes: format!(
            "[[aggregation]]\nfunction = \"sum\"\nregex = '^in\\.(\\w+)'\nformat = \"sum.$1\"\ninterval = 1\nwait = 8\ndropRaw = true\n\
             [[route]]\nkey = \"all\"\ndestinations = [\"{} id=s full=block queue=1MiB reconnect=100ms\"]\n",
            store.address
        ),
        ..Config::default()
    };
    let mut relay = Relay::start(&config);
    let (at, mut text) = (now(), String::new());
    for name in 0..WINDOWS {
        writeln!(text, "in.n{name:06} 1 {at}").unwrap();
    }
    relay.send(&text);
    relay.wait_done(WINDOWS as u64);
    let (old, new) = probation(&mut relay);
    relay.send(format!("in.n000007 1 {at}\n"));
    let mut last = (0, std::time::Instant::now());
    relay.wait("the successor to find no room", |status| {
        let flushed = sums(status, "flushed");
        if flushed != last.0 {
            last = (flushed, std::time::Instant::now());
        }
        flushed > 0 && last.1.elapsed().as_millis() > 500
    });
    assert!(last.0 < WINDOWS as u64);
    roll_back(&mut relay, old, new);
    store.go_up();
    store.wait_lines(WINDOWS);
    let status = relay.wait("the windows", |status| sums(status, "open_points") == 0);
    let mut names: Vec<_> = store.lines();
    names.sort_unstable();
    names.dedup_by(|a, b| a.split(' ').next() == b.split(' ').next());
    assert_eq!((names.len(), store.lines().len()), (WINDOWS, WINDOWS));
    let (flushed, lost) = (sums(&status, "flushed"), sums(&status, "lost_points"));
    assert_eq!(flushed + lost, WINDOWS as u64 + 1);
    assert!(lost <= 1, "the successor's own point: {lost}");
    relay.check_books();
}

/// What the failed config lacked is gone with it, not with the worker that goes on.
#[test]
fn case_29_after_a_roll_back_windows_that_the_failed_config_lacked_go_on() {
    let mut relay = Relay::start(&long_probation(12));
    let at = now();
    relay.send(format!("in.a 1 {at}\nmany.b 1 {at}\nmany.b 2 {at}\n"));
    relay.wait_done(3);
    let old = relay.status().worker_pid().unwrap();
    let other = Config {
        supervisor: "probation = \"60s\"".to_owned(),
        ..config("")
    };
    relay.rewrite(&other);
    let (before, new) = probation(&mut relay);
    assert_eq!(before, old);
    relay.wait_logged("points in aggregation windows are lost");
    roll_back(&mut relay, old, new);
    let status = relay.wait("the windows", |status| {
        sums(status, "open_points") == 0 && sums(status, "flushed") == 3
    });
    assert_eq!(sums(&status, "lost_points"), sums(&status, "restored"));
    assert_eq!(out(&relay, 7).len(), 7);
    relay.check_books();
}

/// Lines of windows whose rule is gone from the config: they go on, and are booked as those of the others.
#[test]
fn case_29_lines_that_wait_for_room_are_sent_and_booked_when_their_aggregation_is_gone() {
    const WINDOWS: usize = 100_000;
    let store = Store::down();
    let route = format!(
        "[[route]]\nkey = \"all\"\ndestinations = [\"{} id=s full=block queue=1MiB reconnect=100ms\"]\n",
        store.address
    );
    let with = Config {
        routes: format!(
            "[[aggregation]]\nfunction = \"sum\"\nregex = '^in\\.(\\w+)'\nformat = \"sum.{}.$1\"\ninterval = 1\nwait = 2\ndropRaw = true\n{route}",
            "x".repeat(100)
        ),
        ..Config::default()
    };
    let without = Config {
        routes: route,
        ..Config::default()
    };
    let mut relay = Relay::start(&with);
    let mut text = String::new();
    let at = now();
    for name in 0..WINDOWS {
        writeln!(text, "in.n{name:06} 1 {at}").unwrap();
    }
    relay.send(&text);
    let mut last = (0, std::time::Instant::now());
    let status = relay.wait("the queue to be full", |status| {
        let flushed = sums(status, "flushed");
        if flushed != last.0 {
            last = (flushed, std::time::Instant::now());
        }
        flushed > 0 && last.1.elapsed().as_millis() > 300
    });
    let flushed = sums(&status, "flushed");
    relay.reconfigure(&without);
    relay.wait_logged("points in aggregation windows are lost");
    relay.reconfigure(&again(&without, 1));
    wait_released(&mut relay);
    store.go_up();
    relay.wait("the lines to be placed", |status| {
        status.document()["worker"]["windows"]["points"] == 0
    });
    relay.reconfigure(&with);
    let status = relay.wait("the books", |status| {
        sums(status, "flushed") + sums(status, "lost_points") == WINDOWS as u64
    });
    let booked = sums(&status, "flushed");
    assert!(booked > flushed, "nothing waited: {booked}");
    assert_eq!(sums(&status, "lines_out"), booked);
    store.wait_lines(booked as usize);
    relay.check_books();
}

#[test]
fn case_29_lines_wait_for_room_and_for_a_successor() {
    let store = std::net::TcpListener::bind(free_address()).unwrap();
    let address = store.local_addr().unwrap();
    drop(store);
    let rules = "[[aggregation]]\nfunction = \"sum\"\nregex = '^in\\.(\\w+)'\nformat = \"sum.$1\"\ninterval = 1\nwait = 2\ndropRaw = true\n";
    let config = Config {
        routes: format!(
            "{rules}[[route]]\nkey = \"all\"\ndestinations = [\"{address} id=s full=block queue=1MiB reconnect=100ms\"]\n"
        ),
        ..Config::default()
    };
    let mut relay = Relay::start(&config);
    let mut text = String::new();
    for name in 0..100_000 {
        writeln!(text, "in.n{name:06} 1 {}", now()).unwrap();
    }
    relay.send(&text);
    // Far more than the queue has room for.
    relay.wait("some windows to be closed", |status| {
        sums(status, "flushed") > 0
    });
    relay.reconfigure(&again(&config, 1));
    let status = wait_released(&mut relay);
    assert!(sums(&status, "open_points") > 0);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut text, mut buffer) = (Vec::new(), [0; 1 << 14]);
        while memchr::memchr_iter(b'\n', &text).count() < 100_000 {
            let n = std::io::Read::read(&mut stream, &mut buffer).unwrap();
            assert!(n > 0);
            text.extend_from_slice(&buffer[..n]);
        }
        (text, stream)
    });
    let (text, _stream) = reader.join().unwrap();
    let text = String::from_utf8(text).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 100_000);
    let status = relay.wait("the windows", |status| sums(status, "open_points") == 0);
    assert_eq!(
        (sums(&status, "flushed"), sums(&status, "lost_points")),
        (100_000, 0)
    );
    relay.check_books();
}

#[test]
fn case_29_an_aggregation_that_the_config_loses_loses_its_windows_counted() {
    let mut relay = Relay::start(&sum(20));
    relay.send(format!("in.a 1 {}\n", now()));
    relay.wait_done(1);
    relay.reconfigure(&config(""));
    wait_released(&mut relay);
    relay.wait_logged("points in aggregation windows are lost");
    relay.reconfigure(&sum(20));
    let status = wait_released(&mut relay);
    assert_eq!(
        (sums(&status, "points"), sums(&status, "lost_points")),
        (1, 1)
    );
    relay.check_books();
}
