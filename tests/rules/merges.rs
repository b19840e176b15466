//! Windows on their way from one worker to the next, and from a stop to the next start.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::lives::{again, sum};
use crate::relay::{Config, LIMIT, Relay, hang_up, wait_for};
use crate::{config, now, out, sums, wait_released};

/// An old worker that takes long to pass what it has in windows, much longer than its successor's probation. Returns once
/// the successor serves, and somebody waits for the next reload.
fn slow_to_pass(relay: &mut Relay, faults: &std::path::Path) {
    let old = relay.status().worker_pid();
    std::fs::write(faults, "on-pass-windows hold\n").unwrap();
    relay.instance.signal(Signal::SIGHUP).unwrap();
    relay.wait("the successor", |status| {
        status.text("/supervisor/state") == Some("probation") && status.worker_pid() != old
    });
    let begun = faults.with_extension("on-pass-windows");
    wait_for("the old worker to be asked", || begun.exists());
}

#[test]
fn case_29_the_next_reload_waits_for_windows_that_are_still_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults");
    let mut relay = Relay::set_up(&sum(12), |setup| {
        setup.env("BATON_FAULTS", faults.to_str().unwrap())
    });
    let at = now();
    relay.send(format!("in.a 1 {at}\nin.b 1 {at}\n"));
    relay.wait_done(2);
    slow_to_pass(&mut relay, &faults);
    relay.send(format!("in.a 1 {at}\n"));
    let successor = relay.status().worker_pid();
    relay.instance.signal(Signal::SIGHUP).unwrap();
    // Ten times as long as its probation.
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let status = relay.status();
        assert_eq!(status.text("/supervisor/state"), Some("probation"));
        assert_eq!(status.worker_pid(), successor);
    }
    std::fs::write(&faults, "").unwrap();
    relay.wait("the next worker", |status| {
        status.text("/supervisor/state") == Some("serving") && status.worker_pid() != successor
    });
    let made = out(&relay, 2);
    assert_eq!(made, [format!("sum.a 2 {at}"), format!("sum.b 1 {at}")]);
    let status = relay.wait("the books", |status| sums(status, "flushed") == 3);
    assert_eq!(sums(&status, "lost_points"), 0);
    relay.check_books();
}

#[test]
fn case_29_a_stop_waits_for_windows_that_are_still_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults");
    let config = Config {
        supervisor: format!("[state]\npath = {:?}", folder.path().join("baton.db")),
        ..sum(12)
    };
    let mut relay = Relay::set_up(&config, |setup| {
        setup.env("BATON_FAULTS", faults.to_str().unwrap())
    });
    let at = now();
    relay.send(format!("in.a 1 {at}\n"));
    relay.wait_done(1);
    slow_to_pass(&mut relay, &faults);
    relay.send(format!("in.a 1 {at}\n"));
    relay.instance.signal(Signal::SIGTERM).unwrap();
    relay.wait("the stop", |status| {
        status.text("/supervisor/state") == Some("stopping")
    });
    std::fs::write(&faults, "").unwrap();
    assert!(relay.instance.wait_ended(LIMIT).unwrap().success());
    assert!(relay.logged("2 points wait in aggregation windows") > 0);
    let mut relay = Relay::start(&config);
    assert_eq!(out(&relay, 1), [format!("sum.a 2 {at}")]);
    let status = relay.wait("the books", |status| sums(status, "flushed") == 2);
    assert_eq!(sums(&status, "restored"), 2);
    relay.check_books();
}

/// The old worker's windows have come, and it takes longer to merge them than one waits for windows that don't come.
#[test]
fn case_29_windows_are_held_while_they_are_merged_however_long_that_takes() {
    let folder = tempfile::tempdir().unwrap();
    let faults = folder.path().join("faults");
    let config = sum(3);
    let mut relay = Relay::set_up(&config, |setup| {
        setup.env("BATON_FAULTS", faults.to_str().unwrap())
    });
    let at = now();
    std::fs::write(&faults, "on-merge hold\n").unwrap();
    relay.send(format!("in.a 1 {at}\nin.b 1 {at}\n"));
    relay.wait_done(2);
    relay.reconfigure(&again(&config, 1));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        let status = relay.status();
        assert_eq!(status.document()["worker"]["windows"]["held"], true);
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(&faults, "").unwrap();
    let made = out(&relay, 2);
    assert_eq!(made, [format!("sum.a 1 {at}"), format!("sum.b 1 {at}")]);
    let status = relay.wait("the books", |status| sums(status, "flushed") == 2);
    assert_eq!(sums(&status, "lost_points"), 0);
    relay.check_books();
}

fn sqlite(database: &Path, sql: &str) -> String {
    let done = Command::new("sqlite3")
        .args(["-cmd", ".timeout 10000"])
        .arg(database)
        .arg(sql)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{sql}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// The spool can't get at the database, so that nobody can say what a stop has left there.
#[test]
fn case_29_a_recall_that_fails_holds_up_no_restart_and_no_stop() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("baton.db");
    let config = Config {
        supervisor: format!("[state]\npath = {database:?}"),
        ..sum(60)
    };
    let mut relay = Relay::start(&config);
    relay.send(format!("in.a 1 {}\n", now()));
    relay.wait_done(1);
    wait_released(&mut relay);
    let mut shell = Command::new("sqlite3")
        .arg(&database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = shell.stdin.take().unwrap();
    writeln!(input, ".timeout 20000\nbegin exclusive;\nselect 'locked';").unwrap();
    let mut said = [0; 7];
    std::io::Read::read_exact(&mut shell.stdout.take().unwrap(), &mut said).unwrap();
    for number in 0..3 {
        let begun = Instant::now();
        relay.reconfigure(&again(&config, number));
        let status = wait_released(&mut relay);
        assert!(begun.elapsed() < Duration::from_secs(6), "{number}");
        assert_eq!(sums(&status, "lost_points"), 0);
    }
    shell.kill().unwrap();
    shell.wait().unwrap();
    let begun = Instant::now();
    assert!(relay.instance.stop(LIMIT).unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(6));
    assert!(relay.logged("1 points wait in aggregation windows") > 0);
}

/// A stop has kept windows, with those in them that the stop before had kept and that could not be forgotten.
#[test]
fn case_29_windows_that_were_kept_twice_come_back_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("baton.db");
    let config = Config {
        supervisor: format!("[state]\npath = {database:?}"),
        ..sum(12)
    };
    let mut relay = Relay::start(&config);
    let at = now();
    relay.send(format!("in.a 1 {at}\nin.b 2 {at}\n"));
    relay.wait_done(2);
    assert!(relay.instance.stop(LIMIT).unwrap().success());
    let kept = sqlite(&database, "select hex(payload) from kept_window");
    let bytes: Vec<u8> = (0..kept.trim().len() / 2)
        .map(|at| u8::from_str_radix(&kept[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let head = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    let head = head.replace("\"restored\":[]", "\"restored\":[\"first\"]");
    assert!(head.contains("first"));
    let second = [
        &(head.len() as u64).to_le_bytes()[..],
        head.as_bytes(),
        &bytes[8 + length..],
    ]
    .concat();
    let hex: String = second.iter().map(|byte| format!("{byte:02x}")).collect();
    sqlite(&database, "update kept_window set id = 'first'");
    sqlite(
        &database,
        &format!(
            "insert into kept_window select 'second', piece, kept_at || 'Z', summary, x'{hex}' from kept_window"
        ),
    );
    let mut relay = Relay::start(&config);
    let made = out(&relay, 2);
    assert_eq!(made, [format!("sum.a 1 {at}"), format!("sum.b 2 {at}")]);
    let status = relay.wait("the books", |status| sums(status, "flushed") == 2);
    assert_eq!(sums(&status, "restored"), 2);
    wait_for("both to be forgotten", || {
        sqlite(&database, "select count(*) from kept_window") == "0\n"
    });
    relay.check_books();
}

/// One aggregation of each function, of windows that are due half a minute after they began.
fn every_function() -> Config {
    let functions = [
        "avg",
        "sum",
        "count",
        "min",
        "max",
        "last",
        "delta",
        "derive",
        "stdev",
        "variance",
        "median",
        "percentiles",
    ];
    let mut rules = String::new();
    for function in functions {
        write!(
            rules,
            "[[aggregation]]\nfunction = {function:?}\nregex = '^in\\.(\\w+)'\nformat = \"{function}.$1\"\ninterval = 5\nwait = 36\n"
        )
        .unwrap();
    }
    config(&rules)
}

/// The same load with the same timestamps, at the same pace, to a relay that is left alone and to one that is restarted
/// twenty times meanwhile.
#[test]
fn case_29_the_aggregates_with_twenty_restarts_are_those_without() {
    let config = every_function();
    let mut relays = [Relay::start(&config), Relay::start(&config)];
    let at = now();
    let mut clients = relays.each_ref().map(|relay| relay.connect());
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let sender = std::thread::spawn(move || {
        let mut points = 0_u32;
        // Paced, until the restarts are through.
        while stopped.recv_timeout(Duration::from_millis(5)).is_err() {
            let mut text = String::new();
            for name in 0..10 {
                for _ in 0..3 {
                    points += 1;
                    let value = points.wrapping_mul(7919) % 1009;
                    writeln!(text, "in.n{name} {value}.25 {}", at - points * 7 % 13).unwrap();
                }
            }
            for client in &mut clients {
                client.write_all(text.as_bytes()).unwrap();
            }
        }
        clients.into_iter().for_each(hang_up);
        u64::from(points)
    });
    for restart in 0..20 {
        relays[1].reconfigure(&again(&config, restart));
    }
    stop.send(()).unwrap();
    let points = sender.join().unwrap();
    assert!(now() < at + 20, "too slow: windows are due by now");
    // Longer than is usual: they are due in half a minute.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let [alone, restarted] = relays.each_mut().map(|relay| {
        let status = relay.wait("the windows", |status| {
            sums(status, "flushed") == 12 * points && sums(status, "open_points") == 0
        });
        assert_eq!(
            (sums(&status, "lost_points"), sums(&status, "refused")),
            (0, 0)
        );
        let mut lines = out(relay, (points + sums(&status, "lines_out")) as usize);
        lines.retain(|line| !line.starts_with("in."));
        lines
    });
    // Of each name three or four windows, of eleven functions a line and of one six.
    assert!(alone.len() >= 3 * 10 * 17, "{}", alone.len());
    assert_eq!(alone, restarted);
    assert!(relays[1].status().number("/worker/generation") >= Some(21));
    relays.into_iter().for_each(Relay::check_books);
}
