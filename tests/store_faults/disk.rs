//! A disk that is full, and free again, with each of the policies.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use baton::drill::Setup;

use crate::relay::LIMIT;
use crate::trial::{Plan, Trial, each, says, state, wait_stalled};

const MIB: u64 = 1 << 20;
/// Some 34 MB of text.
const MANY: u64 = 1_000_000;

/// Whether there can be file systems of one's own.
#[expect(clippy::print_stdout, reason = "who runs the tests is to know")]
pub fn may_mount() -> bool {
    let namespaces = Command::new("unshare").args(["-m", "true"]).status();
    let may = namespaces.is_ok_and(|status| status.success());
    if !may {
        println!("skipped: a file system of one's own needs root");
    }
    may
}

/// Runs a mount, in a namespace that only the instance has.
pub fn mounted(setup: Setup, mount: &str) -> Setup {
    setup.shell(&format!(
        r#"exec unshare -m sh -c '{mount} && exec "$@"' sh "$@""#
    ))
}

/// A file of the instance's folder, as the instance sees it.
pub fn inside(trial: &Trial, name: &str) -> PathBuf {
    let (pid, path) = (trial.relay.instance.pid(), trial.relay.instance.path(name));
    format!("/proc/{pid}/root{}", path.display()).into()
}

/// An outage that fills the disk, until a file is deleted. Returns how many lines were dropped.
fn outage(policy: &str) -> Option<u64> {
    if !may_mount() {
        return None;
    }
    let options = format!("queue=2MiB spool_full={policy}");
    let plan = Plan {
        options: &options,
        state: "state.path = \"disk/baton.db\"",
        ..Plan::default()
    };
    let mut trial = Trial::set_up(&plan, |setup| {
        fs::create_dir(setup.path("disk")).unwrap();
        mounted(setup, "mount -t tmpfs -o size=96m none disk")
    });
    let filler = inside(&trial, "disk/filler");
    fs::write(&filler, vec![0; 64 << 20]).unwrap();
    trial.down();
    let senders = trial.senders(MANY, 0);
    let blocks = policy == "block";
    if blocks {
        wait_stalled(&senders);
        assert!(trial.relay.status().total("in") < Some(MANY));
    } else {
        assert!(senders.wait(MANY, LIMIT));
    }
    let status = trial.relay.wait("the disk to be full", |status| {
        says(status, "no room") && state(status)["ok"] == false
    });
    // Most of the room is used.
    for one in each(&status) {
        let bytes = one["spool"]["bytes"].as_u64().unwrap();
        assert!(bytes > 8 * MIB, "{}", status.document());
    }
    fs::remove_file(&filler).unwrap();
    let mut sent = senders.finish(LIMIT);
    sent.merge(trial.send(10_000));
    trial.relay.wait("the disk to be well", |status| {
        state(status)["ok"] == true && status.total("in") == Some(sent.lines())
    });
    let said = trial.relay.logged("no room on the disk");
    assert!((1..=2).contains(&said), "it is said {said} times");
    trial.up();
    Some(trial.end(&sent, &["spool-full"]))
}

#[test]
fn a_full_disk_costs_the_oldest_lines_in_the_spool() {
    if let Some(dropped) = outage("drop-oldest") {
        // How many fit depends on when the log is copied; that some do not is what counts.
        assert!((MANY / 100..MANY * 9 / 10).contains(&dropped), "{dropped}");
    }
}

#[test]
fn a_full_disk_costs_the_newest_lines_if_so_configured() {
    if let Some(dropped) = outage("drop-newest") {
        // How many fit depends on when the log is copied; that some do not is what counts.
        assert!((MANY / 100..MANY * 9 / 10).contains(&dropped), "{dropped}");
    }
}

#[test]
fn a_full_disk_costs_nothing_when_senders_are_held_back() {
    if let Some(dropped) = outage("block") {
        assert_eq!(dropped, 0);
    }
}

#[test]
fn a_disk_that_others_fill_to_the_last_byte_is_lived_with_and_heals() {
    if !may_mount() {
        return;
    }
    let plan = Plan {
        options: "queue=1MiB",
        state: "state.path = \"disk/baton.db\"",
        ..Plan::default()
    };
    let mut trial = Trial::set_up(&plan, |setup| {
        fs::create_dir(setup.path("disk")).unwrap();
        mounted(setup, "mount -t tmpfs -o size=64m none disk")
    });
    trial.down();
    let mut sent = trial.send(200_000);
    trial.wait_spooled("some rows", 150_000);
    let filler = inside(&trial, "disk/filler");
    let full = fs::write(&filler, vec![0; 64 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    sent.merge(trial.send(300_000));
    trial
        .relay
        .wait("the disk to be full", |status| says(status, "no room"));
    fs::remove_file(&filler).unwrap();
    sent.merge(trial.send(10_000));
    trial
        .relay
        .wait("the disk to be well", |status| state(status)["ok"] == true);
    trial.up();
    trial.end(&sent, &["spool-full"]);
}
