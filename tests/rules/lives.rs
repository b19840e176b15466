//! Windows through restarts, crashes, and a stop.

use std::fmt::Write as _;

use crate::relay::{Config, LIMIT, Relay, wait_for};
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

fn sum(wait: u32) -> Config {
    config(&SUM.replace("WAIT", &wait.to_string()))
}

fn again(config: &Config, number: u64) -> Config {
    Config {
        routes: format!("{}# {number}\n", config.routes),
        ..config.clone()
    }
}

/// The value of each line by name and timestamp.
fn value(line: &str) -> f64 {
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
    let done = |status: &baton::drill::Status| sums(status, "open_points") == 0;
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
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
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
