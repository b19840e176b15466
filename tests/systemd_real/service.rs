//! What an operator does.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use baton::drill::Target;

use super::guest::{source, text, wait_for};
use super::site::{LINE, Site};

#[test]
fn the_first_connection_starts_the_service() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    assert_eq!(site.guest.show("baton", "ActiveState"), "inactive");
    site.send(100);
    // It serves a moment before systemd has noted that it does.
    wait_for("the start", || {
        site.guest.show("baton", "ActiveState") == "active"
    });
    let status = site.serving();
    let listeners = status.document()["supervisor"]["listeners"].clone();
    let listeners = listeners.as_array().unwrap();
    let passed = listeners.iter().filter(|l| l["from_systemd"] == true);
    assert_eq!(passed.count(), 5, "{listeners:?}");
    let said = site
        .guest
        .ok(&["sh", "-c", "echo help | nc -U -q1 /run/baton-telnet.sock"]);
    assert!(said.contains("OK"), "{said}");
    site.end_whole();
}

#[test]
fn a_reload_starts_the_new_program_with_the_new_config() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    let pid = site.guest.show("baton", "MainPID");
    site.load(Target::Tcp(LINE));
    let visits = site.visits();
    for (round, name) in ["one", "two", "three"].into_iter().enumerate() {
        site.install(name.as_bytes());
        site.configure(&format!("blocklist = [\"prefix {name}.\"]"));
        site.guest.ok(&["systemctl", "reload", "baton"]);
        let status = site.serving();
        assert_eq!(status.generation(), Some(round as u64 + 2));
        let worker = status.worker_pid().unwrap();
        let runs = std::fs::metadata(site.guest.path(&format!("/proc/{worker}/exe"))).unwrap();
        let installed = std::fs::metadata(site.guest.path("/usr/bin/baton")).unwrap();
        assert_eq!(runs.ino(), installed.ino());
        visits.another();
    }
    assert_eq!(site.guest.show("baton", "MainPID"), pid);
    site.enter(visits);
    site.end_whole();
}

#[test]
fn a_refused_reload_says_why_and_the_old_worker_serves_on() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.load(Target::Tcp(LINE));
    site.configure("[input]\nno_such_key = 1");
    let reload = site.guest.run(&["systemctl", "reload", "baton"]);
    assert!(!reload.status.success(), "{}", text(&reload));
    // It is what stands in the journal, too.
    let status = text(
        &site
            .guest
            .run(&["systemctl", "status", "--lines=20", "baton"]),
    );
    assert!(status.contains("Active: active (running)"), "{status}");
    let told = |line: &&str| line.trim_start().starts_with("Status:");
    let line = status.lines().find(told).unwrap();
    assert!(
        line.contains("generation 1 serves on") && line.contains("no_such_key"),
        "{status}"
    );
    site.more(1_000);

    // A program that is none.
    site.guest.write("/usr/bin/baton", "half of it", 0o755);
    let reload = site.guest.run(&["systemctl", "reload", "baton"]);
    assert!(!reload.status.success(), "{}", text(&reload));
    assert_eq!(site.serving().generation(), Some(1));
    site.install(b"");
    site.configure("");
    site.guest.ok(&["systemctl", "reload", "baton"]);
    let status = site.guest.show("baton", "StatusText");
    assert!(status.starts_with("serving, generation"), "{status}");
    site.more(1_000);
    site.end_whole();
}

/// Listening sockets stay with systemd, so nobody is refused; what was accepted is delivered.
#[test]
fn a_restart_refuses_nobody_and_loses_nothing() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    let all = [site.visits(), site.visits(), site.visits()];
    for _ in 0..3 {
        all.iter().for_each(|visits| visits.another());
        site.guest.ok(&["systemctl", "restart", "baton"]);
    }
    all.iter().for_each(|visits| visits.another());
    for visits in all {
        site.enter(visits);
    }
    site.end_whole();
}

/// What can't be delivered is in the spool, and sent after the start.
#[test]
fn a_restart_keeps_the_backlog() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.sink.refuse().unwrap();
    site.sink.reset().unwrap();
    let visits = site.visits();
    site.send(50_000);
    site.guest.ok(&["systemctl", "restart", "baton"]);
    site.serving();
    visits.another();
    site.sink.resume().unwrap();
    site.enter(visits);
    site.end_whole();
}

/// systemd waits as long as Baton says that it takes, though the unit says less.
#[test]
fn a_stop_has_the_time_that_it_takes() {
    let Some(mut site) = Site::with("[Service]\nTimeoutStopSec=1s\n") else {
        return;
    };
    site.start();
    site.sink.hang().unwrap();
    site.send(50_000);
    let began = Instant::now();
    site.guest.ok(&["systemctl", "stop", "baton"]);
    // The store takes nothing, so all of stop_timeout is waited for.
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert_eq!(site.guest.show("baton", "Result"), "success");
    let journal = site.guest.ok(&["journalctl", "--unit=baton", "--no-pager"]);
    assert!(journal.contains("undelivered: kept in the spool"));
}

#[test]
fn a_reboot_keeps_the_backlog() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.guest
        .ok(&["systemctl", "add-wants", "machine.target", "baton.service"]);
    site.start();
    site.sink.refuse().unwrap();
    site.sink.reset().unwrap();
    site.send(50_000);
    site.guest.power_off();
    site.guest.power_on();
    let status = site.serving();
    let destination = &status.document()["worker"]["destinations"][0];
    assert!(
        destination["spooled"].as_u64().unwrap() > 40_000,
        "{destination}"
    );
    site.sink.resume().unwrap();
    site.send(1_000);
    site.end_whole();
}

/// As `systemd/remote-admin` says it: an address of other machines, for who knows the token.
#[test]
fn remote_admin_takes_the_token() {
    let Some(site) = Site::set_up() else {
        return;
    };
    for unit in ["socket", "service"] {
        let text = std::fs::read(source(&format!("systemd/remote-admin/{unit}.conf"))).unwrap();
        let name = if unit == "socket" {
            "baton-http"
        } else {
            "baton"
        };
        let path = format!("/etc/systemd/system/{name}.{unit}.d/remote-admin.conf");
        site.guest.write(&path, text, 0o644);
    }
    let token = "0123456789abcdef";
    site.guest.write("/etc/baton/token", token, 0o600);
    site.configure("[admin]\ntoken_file = \"/run/credentials/baton.service/token\"");
    site.guest.ok(&["systemctl", "daemon-reload"]);
    site.guest
        .ok(&["systemctl", "restart", "baton-http.socket"]);
    site.start();
    let ask = |header: &str| {
        let mut socket = TcpStream::connect("[::1]:8081").unwrap();
        let request = format!("GET /api/v1/status HTTP/1.0\r\nhost: localhost\r\n{header}\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        std::io::read_to_string(socket).unwrap()
    };
    assert!(ask("").contains(" 401 "));
    let answer = ask(&format!("authorization: Bearer {token}\r\n"));
    assert!(answer.contains(" 200 "), "{answer}");
    site.end_whole();
}

/// Status 78 is that of a config that is as wrong the next time.
#[test]
fn a_bad_config_is_not_tried_again_and_again() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.configure("[input]\nno_such_key = 1");
    let start = site.guest.run(&["systemctl", "start", "baton"]);
    assert!(!start.status.success());
    wait_for("the end of it", || {
        site.guest.show("baton", "ActiveState") == "failed"
    });
    assert_eq!(site.guest.show("baton", "NRestarts"), "0");
    let status = text(&site.guest.run(&["systemctl", "status", "baton"]));
    assert!(status.contains("no_such_key"), "{status}");
    site.configure("");
    site.start();
    site.send(100);
    site.end_whole();
}
