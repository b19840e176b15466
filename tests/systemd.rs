//! What systemd gives and is told: sockets (sd_listen_fds(3)), and the notifications of sd_notify(3).

#[path = "handover/trial.rs"]
mod trial;

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use baton::drill::{Setup, Status, Target, free_ports};
use nix::sys::signal::Signal;

use trial::{LIMIT, Loss, Trial, wait_for};

const ACTIVATE: &str = "/usr/bin/systemd-socket-activate";

/// Starts it as `systemd-socket-activate` does: when somebody connects.
fn activated(setup: Setup, names: &str, sockets: &[String]) -> Setup {
    let listen: String = sockets
        .iter()
        .map(|socket| format!("-l {socket} "))
        .collect();
    let faults = setup.path("faults");
    setup.shell(&format!(
        "exec {ACTIVATE} -E BATON_FAULTS={} {listen} --fdname={names} \"$@\"",
        faults.display()
    ))
}

/// Connects until somebody answers; that wakes what waits for it.
fn wake(address: SocketAddr) {
    std::thread::spawn(move || {
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect(address).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn sockets_of_systemd_are_served_by_their_names_and_survive_reloads() {
    if !Path::new(ACTIVATE).exists() {
        eprintln!("no {ACTIVATE}: not tried");
        return;
    }
    let [line, http] = free_ports().unwrap();
    let addresses = [line, http].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut trial = Trial::set_up(
        |config| {
            // One equals a socket that is passed, the other is passed and not listed.
            config.line = vec![format!("tcp://{}", addresses[0]), "unix:line.sock".into()];
            config.http = Vec::new();
        },
        |setup| {
            wake(addresses[0]);
            let sockets = addresses.map(|at| at.to_string());
            activated(setup, "line:http", &sockets)
        },
    );
    trial.tcp = addresses[0];
    trial.http = addresses[1];
    trial.load_tcp();
    trial.load(Target::Unix(trial.unix()), 1, 1_000);
    let from_systemd = |status: &Status| {
        let listeners = status.document()["supervisor"]["listeners"]
            .as_array()
            .unwrap();
        listeners
            .iter()
            .filter(|l| l["from_systemd"] == true)
            .count()
    };
    assert_eq!(from_systemd(&trial.instance.status().unwrap()), 2);
    for _ in 0..3 {
        trial.reload();
        assert!(trial.get("/healthz").unwrap().starts_with("HTTP/1.1 200"));
    }
    // A config that names neither: they are served all the same.
    trial.rewrite(|config| config.line.truncate(0));
    trial.rewrite(|config| config.line.push("unix:line.sock".into()));
    trial.reload();
    trial.load_tcp();
    assert_eq!(from_systemd(&trial.instance.status().unwrap()), 2);
    assert!(trial.instance.log().contains("that [listen] doesn't name"));
    trial.more(500);
    trial.end(Loss::None);
}

#[test]
fn a_socket_of_systemd_with_another_name_is_not_served_and_does_no_harm() {
    if !Path::new(ACTIVATE).exists() {
        eprintln!("no {ACTIVATE}: not tried");
        return;
    }
    let [strange] = free_ports().unwrap();
    let strange = SocketAddr::from(([127, 0, 0, 1], strange));
    let mut trial = Trial::set_up(
        |_| {},
        |setup| {
            wake(strange);
            activated(setup, "tea", &[strange.to_string()])
        },
    );
    assert!(
        trial
            .instance
            .log()
            .contains("none of line, pickle, http and telnet"),
        "{}",
        trial.instance.log()
    );
    trial.load_tcp();
    trial.reload();
    trial.end(Loss::None);
}

/// A socket in the place of the service manager's.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    /// Waits for a message in which each of these words is a line's beginning, and returns it.
    fn hears(&mut self, words: &[&str]) -> String {
        let deadline = Instant::now() + LIMIT;
        let has = |message: &String| {
            words
                .iter()
                .all(|word| message.lines().any(|line| line.starts_with(word)))
        };
        loop {
            if let Some(at) = self.heard.iter().position(has) {
                let message = self.heard[at].clone();
                // What came before is not looked at again.
                self.heard.drain(..=at);
                return message;
            }
            assert!(
                Instant::now() < deadline,
                "not told {words:?}, but {:?}",
                self.heard
            );
            let mut buffer = [0; 4096];
            if let Ok(length) = self.socket.recv(&mut buffer) {
                self.heard
                    .push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        }
    }
}

fn notified() -> (Trial, Manager) {
    let mut manager = None;
    let trial = Trial::set_up(
        |_| {},
        |setup| {
            let path = setup.path("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            manager = Some(Manager {
                socket,
                heard: Vec::new(),
            });
            setup
                .env("NOTIFY_SOCKET", path.to_str().unwrap())
                .env("WATCHDOG_USEC", "400000")
        },
    );
    (trial, manager.unwrap())
}

#[test]
fn the_service_manager_is_told_of_every_state() {
    let (mut trial, mut manager) = notified();
    // Who starts has so long for the next word: ready_timeout, and two seconds for the end.
    manager.hears(&["EXTEND_TIMEOUT_USEC=12000000"]);
    let ready = manager.hears(&["READY=1", "STATUS="]);
    assert!(ready.contains("generation 1"), "{ready}");
    manager.hears(&["WATCHDOG=1"]);

    trial.reload();
    let reloading = manager.hears(&["RELOADING=1", "MONOTONIC_USEC="]);
    let since_boot = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let told: u64 = since_boot.unwrap().parse().unwrap();
    // CLOCK_MONOTONIC stands still in a suspend, which the uptime counts.
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!(
        told > 0 && told as f64 <= (uptime + 1.0) * 1e6,
        "{told}, up {uptime} s"
    );
    let ready = manager.hears(&["READY=1", "STATUS="]);
    assert!(ready.contains("generation 2"), "{ready}");

    let good = trial.config.text();
    trial
        .instance
        .rewrite(&good.replace("sendAllMatch", "sendNoMatch"))
        .unwrap();
    trial.refused();
    manager.hears(&["RELOADING=1"]);
    let refused = manager.hears(&["READY=1", "STATUS="]);
    assert!(
        refused.contains("refused") && refused.contains("sendNoMatch"),
        "{refused}"
    );
    manager.hears(&["WATCHDOG=1"]);

    trial.instance.kill_worker(LIMIT).unwrap();
    let died = manager.hears(&["STATUS="]);
    assert!(died.contains("died"), "{died}");
    manager.hears(&["READY=1"]);

    trial.instance.signal(Signal::SIGTERM).unwrap();
    manager.hears(&["STOPPING=1"]);
    // stop_timeout, and what a worker may take beyond it.
    manager.hears(&["EXTEND_TIMEOUT_USEC=15000000"]);
    assert_eq!(trial.instance.wait_ended(LIMIT).unwrap().code(), Some(0));
    trial::no_process_left(trial.instance.folder());
}

#[test]
fn the_watchdog_is_fed_while_a_stop_delivers() {
    let (mut trial, mut manager) = notified();
    trial.sink.hang().unwrap();
    let mut scribe = trial.scribe();
    for _ in 0..50_000 {
        let line = scribe.line();
        scribe.write(&line);
    }
    let all = |s: &Status| s.total("in") == Some(50_000);
    let status = trial.instance.wait_status("the lines", LIMIT, all).unwrap();
    trial.enter(scribe);
    trial.instance.signal(Signal::SIGTERM).unwrap();
    manager.hears(&["STOPPING=1"]);
    wait_for("two more", || {
        manager.hears(&["WATCHDOG=1"]);
        manager.hears(&["WATCHDOG=1"]);
        true
    });
    trial.sink.resume().unwrap();
    assert_eq!(trial.instance.wait_ended(LIMIT).unwrap().code(), Some(0));
    trial.judge(&status, Loss::None);
}
