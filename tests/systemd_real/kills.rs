//! What nobody asked for.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use baton::drill::{Excuse, Status, Target};

use super::guest::wait_for;
use super::site::{LINE, Site};

#[test]
fn kill_of_the_worker() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.load(Target::Tcp(LINE));
    let main = site.guest.show("baton", "MainPID");
    for _ in 0..3 {
        site.more(2_000);
        let before = site.serving();
        let worker = before.worker_pid().unwrap().to_string();
        site.guest.ok(&["kill", "-KILL", &worker]);
        wait_for("another worker", || {
            let generation = site.serving().generation();
            generation > before.generation()
        });
    }
    site.more(2_000);
    assert_eq!(site.guest.show("baton", "MainPID"), main);
    assert_eq!(site.guest.show("baton", "NRestarts"), "0");
    site.end(|status| Excuse {
        kernel_dropped: 0,
        crash_bytes: status.total("lost_by_crash_bytes").unwrap(),
    });
}

/// All that it held is kept by systemd: connections, queues, and the listener that it had bound itself. What is lost is in
/// the books.
#[test]
fn kill_of_the_supervisor() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    let own = "127.0.0.1:2103";
    site.configure(&format!("[listen]\nline = [\"tcp://{own}\"]"));
    site.start();
    site.load(Target::Tcp(LINE));
    site.load(Target::Tcp(own.parse().unwrap()));
    let mut took = Vec::new();
    for round in 1..=3 {
        site.more(2_000);
        took.push(kill_and_await(&site, "KILL", round));
    }
    site.more(2_000);
    // The quickest of three: what else runs on this machine at the time must not decide.
    let quickest = took.into_iter().min().unwrap();
    assert!(quickest < BACK + RESTART_SEC, "{quickest:?}");
    let status = site.serving();
    assert_eq!(status.document()["worker"]["kept"], true);
    let share = &status.document()["supervisor"]["kept"];
    assert_eq!(share["kept"], share["of"], "{share}");
    assert!(share["kept"].as_u64().unwrap() > 10, "{share}");
    let lost = status.document()["supervisor"]["lost_at_start"].as_object();
    assert!(lost.unwrap().values().all(|lost| lost == 0), "{lost:?}");
    let generations = status.document()["generations"].as_array().unwrap();
    let killed = |g: &&serde_json::Value| g["outcome"] == "crashed: the supervisor was killed";
    assert_eq!(generations.iter().filter(killed).count(), 3);
    assert_eq!(site.guest.show("baton", "NFileDescriptorStore"), "1");
    site.end(|status| Excuse {
        kernel_dropped: 0,
        crash_bytes: status.total("lost_by_crash_bytes").unwrap(),
    });
}

/// What can't be delivered lies in a queue, and that outlives all who knew of it.
#[test]
fn kill_of_the_supervisor_with_a_backlog() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.sink.refuse().unwrap();
    site.sink.reset().unwrap();
    site.send(50_000);
    let waiting = |status: &Status| {
        let destination = &status.document()["worker"]["destinations"][0];
        let lines = |name: &str| destination[name].as_u64().unwrap();
        lines("queued") + lines("spooled")
    };
    assert_eq!(waiting(&site.serving()), 50_000);
    kill_and_await(&site, "KILL", 1);
    assert_eq!(waiting(&site.serving()), 50_000);
    site.sink.resume().unwrap();
    site.send(1_000);
    site.end_whole();
}

/// Somebody is about to change the config. What has worked goes on, with the program and the config that it had.
#[test]
fn kill_of_the_supervisor_while_the_config_is_half_written() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.send(100);
    let before = site.serving().document()["worker"]["config_hash"].clone();
    site.guest
        .write("/etc/baton/baton.toml", "[listen]\nline = [\"tcp:", 0o644);
    kill_and_await(&site, "KILL", 1);
    let status = site.serving();
    assert_eq!(status.document()["worker"]["config_hash"], before);
    assert_eq!(status.generation(), Some(2));
    site.send(100);
    site.end_whole();
}

/// A socket file that Baton made stays, and whoever is connected by it, too.
#[test]
fn kill_of_the_supervisor_with_a_unix_listener() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.configure("[listen]\nline = [\"unix:/run/baton/line.sock\"]");
    site.start();
    site.serving();
    let path = site.guest.path("/run/baton/line.sock");
    let made = std::fs::metadata(&path).unwrap().ino();
    let (stays, comes) = (site.flow(), site.flow());
    let mut stream = UnixStream::connect(&path).unwrap();
    site.send_over(&mut stream, stays, 0..100);
    site.more(100);
    kill_and_await(&site, "KILL", 1);
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), made);
    site.send_over(&mut stream, stays, 100..200);
    let mut another = UnixStream::connect(&path).unwrap();
    site.send_over(&mut another, comes, 0..100);
    site.more(200);
    drop((stream, another));
    site.end_whole();
}

/// A supervisor that hangs is killed by systemd.
#[test]
fn kill_by_the_watchdog() {
    let Some(mut site) = Site::with("[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\n") else {
        return;
    };
    site.start();
    site.load(Target::Tcp(LINE));
    site.more(2_000);
    kill_and_await(&site, "STOP", 1);
    site.more(2_000);
    let told = site.guest.ok(&["journalctl", "--no-pager", "--unit=baton"]);
    assert!(told.contains("Watchdog timeout"), "{told}");
    site.end(|status| Excuse {
        kernel_dropped: 0,
        crash_bytes: status.total("lost_by_crash_bytes").unwrap(),
    });
}

/// After a stop in order nothing is found that was kept.
#[test]
fn a_restart_after_a_kill_begins_anew() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    site.start();
    site.send(100);
    kill_and_await(&site, "KILL", 1);
    site.send(100);
    site.guest.ok(&["systemctl", "restart", "baton"]);
    assert_eq!(site.serving().generation(), Some(1));
    site.send(100);
    site.end_whole();
}

/// What the README promises, and how long systemd waits before that.
const BACK: Duration = Duration::from_secs(1);
const RESTART_SEC: Duration = Duration::from_millis(200);

/// Signals the supervisor, and waits until another serves. Returns how long that took.
fn kill_and_await(site: &Site, signal: &str, restarts: u32) -> Duration {
    let main = site.guest.show("baton", "MainPID");
    let began = Instant::now();
    site.guest.ok(&["kill", &format!("-{signal}"), &main]);
    let another = |status: &Status| {
        status.is_serving()
            && status.document()["supervisor"]["pid"]
                .as_u64()
                .map(|pid| pid.to_string())
                .as_deref()
                != Some(&main[..])
    };
    site.wait_status("another supervisor", another);
    let took = began.elapsed();
    eprintln!("back after {took:?}");
    assert_eq!(site.guest.show("baton", "NRestarts"), restarts.to_string());
    took
}
