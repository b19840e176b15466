//! Restarts that don't go as they should.

use std::net::TcpListener;

use baton::drill::Status;

use super::guest::{text, wait_for};
use super::site::Site;

/// What the operator has put in place is in force, however the old one ended; and nothing is lost.
#[test]
fn a_stop_that_systemd_cuts_short_is_half_of_a_restart_all_the_same() {
    let Some(mut site) = Site::with("[Service]\nTimeoutStopSec=1s\n") else {
        return;
    };
    let before = start_with_a_backlog(&mut site);
    site.install(b"new");
    site.configure("blocklist = [\"prefix nothing.\"]");
    hang(&site, &before);
    site.guest.ok(&["systemctl", "restart", "baton"]);
    let after = site.serving();
    assert_eq!(after.generation(), Some(2));
    assert_ne!(config(&after), config(&before));
    site.runs_what_is_installed(&after);
    let told = site.journal();
    assert!(told.contains("its stop was cut short"), "{told}");
    site.sink.resume().unwrap();
    site.send(1_000);
    site.end_whole();
}

/// The same where the supervisor gives up its worker by itself, and what lies on disk can't be started.
#[test]
fn what_last_worked_goes_on_where_what_is_on_disk_refuses() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    let before = start_with_a_backlog(&mut site);
    site.configure("[input]\nno_such_key = 1");
    hang(&site, &before);
    site.guest.ok(&["systemctl", "restart", "baton"]);
    let after = site.serving();
    assert_eq!(config(&after), config(&before));
    let generations = after.document()["generations"].as_array().unwrap();
    let ends = |at: usize| generations[at]["outcome"].as_str().unwrap();
    assert_eq!(generations.len(), 3, "{generations:?}");
    assert!(ends(1).contains("no_such_key"), "{}", ends(1));
    assert_eq!(ends(2), "serving");
    let told = site.journal();
    assert!(
        told.contains("what lies on disk can't be started"),
        "{told}"
    );
    // A restart in order begins anew, whatever was before.
    site.configure("");
    site.sink.resume().unwrap();
    site.send(1_000);
    site.guest.ok(&["systemctl", "restart", "baton"]);
    assert_eq!(site.serving().generation(), Some(1));
    site.end_whole();
}

/// Each start that is refused is the first one.
#[test]
fn a_start_that_is_refused_leaves_nothing_behind() {
    let Some(mut site) = Site::set_up() else {
        return;
    };
    let taken = TcpListener::bind("127.0.0.1:2103").unwrap();
    site.configure("[listen]\nline = [\"tcp://127.0.0.1:2103\"]");
    let start = site.guest.run(&["systemctl", "start", "baton"]);
    assert!(!start.status.success(), "{}", text(&start));
    wait_for("two more starts", || {
        let restarts: u32 = site.guest.show("baton", "NRestarts").parse().unwrap();
        restarts >= 2
    });
    drop(taken);
    let status = site.serving();
    let generations = status.document()["generations"].as_array().unwrap();
    assert_eq!(generations.len(), 1, "{generations:?}");
    assert_eq!(generations[0]["id"], 1);
    assert_eq!(generations[0]["outcome"], "serving");
    let told = site.journal();
    assert!(!told.contains("of the last supervisor"), "{told}");
    assert_eq!(site.guest.show("baton", "NFileDescriptorStore"), "1");
    site.send(100);
    site.end_whole();
}

fn start_with_a_backlog(site: &mut Site) -> Status {
    site.start();
    site.sink.refuse().unwrap();
    site.sink.reset().unwrap();
    site.send(10_000);
    site.serving()
}

/// The worker won't hear of the stop.
fn hang(site: &Site, status: &Status) {
    let worker = status.worker_pid().unwrap().to_string();
    site.guest.ok(&["kill", "-STOP", &worker]);
}

fn config(status: &Status) -> &serde_json::Value {
    &status.document()["worker"]["config_hash"]
}
