//! What nobody asked for.

use std::time::Instant;

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
    for round in 1..=3 {
        site.more(2_000);
        kill_and_await(&site, "KILL", round);
    }
    site.more(2_000);
    let status = site.serving();
    let generations = status.document()["generations"].as_array().unwrap();
    let killed = |g: &&serde_json::Value| g["outcome"] == "crashed: the supervisor was killed";
    assert_eq!(generations.iter().filter(killed).count(), 3);
    assert_eq!(site.guest.show("baton", "NFileDescriptorStore"), "1");
    site.end(|status| Excuse {
        kernel_dropped: 0,
        crash_bytes: status.total("lost_by_crash_bytes").unwrap(),
    });
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

/// Signals the supervisor, and waits until another serves.
fn kill_and_await(site: &Site, signal: &str, restarts: u32) {
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
    if signal == "KILL" {
        // Less than a second, unless much else runs: a fifth of one is RestartSec=.
        assert!(took.as_secs() < 3, "{took:?}");
    }
}
