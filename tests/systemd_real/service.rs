//! What an operator does.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use baton::drill::Target;

use super::guest::{AS_DAEMON, text, wait_for};
use super::site::{LINE, PICKLE, Site, UNITS};

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
    site.load_all();
    let visits = site.visits();
    for (round, name) in ["one", "two", "three"].into_iter().enumerate() {
        site.install(name.as_bytes());
        site.configure(&format!("blocklist = [\"prefix {name}.\"]"));
        site.guest.ok(&["systemctl", "reload", "baton"]);
        let status = site.serving();
        assert_eq!(status.generation(), Some(round as u64 + 2));
        site.runs_what_is_installed(&status);
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
    // Nobody hears of it who sends datagrams: they wait in systemd's socket.
    site.load(Target::Udp(LINE));
    let all = [LINE, LINE, PICKLE].map(|address| site.visits_to(address));
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

/// Status 78 is that of a config that is as wrong the next time: whoever waits at a socket, it isn't tried again.
#[test]
fn a_bad_config_is_not_tried_again_and_again() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.configure("[input]\nno_such_key = 1");
    let sender = TcpStream::connect(LINE).unwrap();
    let all_closed = || {
        let mut all = UNITS[1..].iter();
        all.all(|unit| site.guest.show(unit, "ActiveState") == "inactive")
    };
    wait_for("the end of it", || {
        site.guest.show("baton", "ActiveState") == "failed" && all_closed()
    });
    assert!(TcpStream::connect(LINE).is_err());
    drop(sender);
    let tried = || {
        // What was said before may still be on its way.
        site.guest.ok(&["journalctl", "--sync"]);
        let told = site
            .guest
            .ok(&["journalctl", "--output=cat", "--unit=baton"]);
        told.matches("Starting baton.service").count()
    };
    assert_eq!(tried(), 1);
    assert_eq!(site.guest.show("baton", "NRestarts"), "0");
    let start = site.guest.run(&["systemctl", "start", "baton"]);
    assert!(!start.status.success());
    assert_eq!(tried(), 2);
    // Ten lines are enough where the log has none of the level `debug`.
    let status = ["systemctl", "status", "--lines=20", "baton"];
    let status = text(&site.guest.run(&status));
    assert!(status.contains("no_such_key"), "{status}");
    assert!(status.contains("sockets closed"), "{status}");
    site.configure("");
    site.start();
    site.send(100);
    site.end_whole();
}

/// Where a crash is followed by the next one, its sockets stay: somebody waits at them.
#[test]
fn crashes_close_no_socket() {
    let Some(site) = Site::set_up() else {
        return;
    };
    site.start();
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // What they send is of no account: the connections are of those that a crash closes.
        scope.spawn(|| {
            while !end.load(Ordering::Relaxed) {
                TcpStream::connect(LINE).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        for _ in 0..25 {
            let main = site.guest.show("baton", "MainPID");
            site.guest.ok(&["kill", "-KILL", &main]);
            wait_for("another", || {
                let now = site.guest.show("baton", "MainPID");
                now != main && now != "0"
            });
        }
        end.store(true, Ordering::Relaxed);
    });
    site.serving();
    assert_eq!(
        site.guest.show("baton-line.socket", "ActiveState"),
        "active"
    );
}

/// A config may have the control socket elsewhere.
#[test]
fn a_reload_finds_the_control_socket_that_the_config_names() {
    let Some(site) = Site::set_up() else {
        return;
    };
    let text = "[supervisor]\ncontrol = \"unix:/run/baton/own.sock\"\nprobation = \"100ms\"\n\
                [[route]]\nkey = \"all\"\ndestinations = [\"127.0.0.1:1\"]\n";
    site.guest.write("/etc/baton/baton.toml", text, 0o644);
    site.start();
    site.guest.ok(&["systemctl", "reload", "baton"]);
    let status = site.guest.show("baton", "StatusText");
    assert!(status.contains("generation 2"), "{status}");
}

/// The command line, which systemd tells nothing, finds by the config what the service has, running or not.
#[test]
fn the_config_leads_to_the_service_and_its_spool() {
    let Some(site) = Site::set_up() else {
        return;
    };
    site.start();
    site.serving();
    let config = "/etc/baton/baton.toml";
    let ask = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        site.guest.ok(&words)
    };
    for words in ["status", "spool list", "route list", "reload"] {
        ask(&format!("baton {words} --config {config}"));
        ask(&format!("env BATON_CONFIG={config} baton {words}"));
    }
    let said = ask(&format!("baton check --config {config}"));
    assert!(said.contains("state in /var/lib/baton/baton.db,"), "{said}");
    for words in ["status", "spool list", "route list"] {
        let asked = [&["baton"], &words.split(' ').collect::<Vec<_>>()[..]].concat();
        let refused = site.guest.run(&[&AS_DAEMON[..], &asked].concat());
        assert!(!refused.status.success());
        let said = text(&refused);
        assert!(said.contains("root may ask"), "{words}: {said}");
    }
    ask("systemctl stop baton");
    let said = text(&site.guest.run(&["baton", "spool", "list"]));
    assert!(said.contains("say which spool by --config FILE"), "{said}");
    ask(&format!("baton spool list --config {config}"));
    assert!(!site.guest.path("/etc/baton/baton.db").exists());
    // Who reads the messages alone is told of what they are.
    let journal = ask("journalctl --unit=baton --output=cat");
    assert!(
        journal.contains("took a socket from systemd address="),
        "{journal}"
    );
}

/// The history has the name of who asked, not that of nobody.
#[test]
fn who_changes_something_over_a_unix_socket_is_known() {
    let Some(site) = Site::set_up() else {
        return;
    };
    let socket = "/run/baton-api.sock";
    site.guest.write(
        "/etc/systemd/system/baton-http.socket.d/unix.conf",
        format!("[Socket]\nListenStream={socket}\nSocketMode=0666\n"),
        0o644,
    );
    site.guest.ok(&["systemctl", "daemon-reload"]);
    site.guest
        .ok(&["systemctl", "restart", "baton-http.socket"]);
    site.start();
    let api = format!("unix:{socket}");
    let ask = ["baton", "blocklist", "add", "--api", &api, "prefix x."];
    site.guest.ok(&[&AS_DAEMON[..], &ask].concat());
    let history = site.guest.ok(&["baton", "history"]);
    assert!(history.contains("daemon (uid 1)"), "{history}");
}

/// A core of what crashes would be written while nobody serves, with all queues in it.
#[test]
fn no_process_of_it_leaves_a_core() {
    let Some(site) = Site::set_up() else {
        return;
    };
    site.start();
    let worker = site.serving().worker_pid().unwrap().to_string();
    for pid in [site.guest.show("baton", "MainPID"), worker] {
        let read = |name| std::fs::read_to_string(site.guest.path(&format!("/proc/{pid}/{name}")));
        let limits = read("limits").unwrap();
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let cores: Vec<&str> = cores.unwrap().split_whitespace().collect();
        assert_eq!(cores[4..6], ["0", "0"]);
        // core(5): private memory of no file, and headers.
        assert_eq!(read("coredump_filter").unwrap().trim(), "00000011");
    }
}

/// Datagrams wait in a buffer of their own size, while the kernel fits those of connections to their senders.
#[test]
fn the_large_buffer_is_that_of_datagrams_alone() {
    let Some(site) = Site::set_up() else {
        return;
    };
    site.start();
    let sender = TcpStream::connect(LINE).unwrap();
    let buffer = |of: &[&str]| -> u64 {
        let told = site
            .guest
            .ok(&[&["ss", "-nmH"], of, &["sport = :2003"]].concat());
        let (_, from) = told.split_once(",rb").unwrap_or_else(|| panic!("{told}"));
        let digits = from.split(',').next().unwrap();
        digits.parse().unwrap()
    };
    // Twice what was asked for: socket(7).
    assert_eq!(buffer(&["-u", "-l"]), 16 << 20);
    assert!(buffer(&["-t", "-l"]) < 16 << 20);
    assert!(buffer(&["-t"]) < 16 << 20);
    drop(sender);
}
