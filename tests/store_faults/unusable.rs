//! A database that can't be made, may not be written, or is of a newer Baton.

use std::fs;
use std::path::Path;

use baton::drill::{Reload, Setup};

use crate::disk::{may_mount, mounted};
use crate::relay::{Config, LIMIT};
use crate::trial::{Plan, Trial, config, dropped_for, says, sqlite, state};

/// Relays, goes through an outage without a database, and stops in another.
fn without_a_database(state_path: &str, change: impl FnOnce(Setup) -> Setup, error: &str) {
    let options = "queue=1MiB spool_full=drop-newest";
    let state_path = format!("state.path = {state_path:?}");
    let plan = Plan {
        options,
        state: &state_path,
        ..Plan::default()
    };
    let mut trial = Trial::set_up(&plan, change);
    let mut sent = trial.send(10_000);
    let status = trial.relay.wait("lines to flow", |status| {
        status.of_destination("s0", "acknowledged") == Some(10_000) && says(status, error)
    });
    assert_eq!(state(&status)["ok"], false);
    assert!(trial.relay.logged(error) > 0);
    trial.down();
    // More than the rings hold.
    sent.merge(trial.send(200_000));
    let status = trial.relay.wait("the rings to be full", |status| {
        dropped_for(status, 0, "spool-full") > 50_000
    });
    assert!(status.of_destination("s0", "queued") > Some(20_000));
    trial.up();
    trial.relay.wait("what the rings held", |status| {
        status.of_destination("s0", "queued") == Some(0)
    });
    assert!(
        trial.relay.logged(error) <= 2,
        "{}",
        trial.relay.instance.log()
    );
    trial.down();
    sent.merge(trial.send(1_000));
    let clock = std::time::Instant::now();
    let exit = trial.relay.instance.stop(LIMIT).unwrap();
    assert!(exit.success(), "{exit} after {:?}", clock.elapsed());
    let log = trial.relay.instance.log();
    assert!(log.contains("not delivered: 1000 lines for s0"), "{log}");
}

#[test]
fn below_a_file_there_can_be_no_database_and_lines_flow() {
    let change = |setup: Setup| {
        fs::write(setup.path("file"), "").unwrap();
        setup
    };
    without_a_database("file/baton.db", change, "unavailable");
}

#[test]
fn in_a_folder_that_may_not_be_written_there_is_no_database_and_lines_flow() {
    if !may_mount() {
        return;
    }
    let change = |setup: Setup| {
        fs::create_dir(setup.path("ro")).unwrap();
        mounted(setup, "mount -t tmpfs -o ro none ro")
    };
    without_a_database("ro/baton.db", change, "unavailable");
}

#[test]
fn a_database_whose_folder_appears_later_is_used_from_then_on() {
    let plan = Plan {
        state: "state.path = \"later/baton.db\"",
        options: "queue=1MiB spool_full=block",
        ..Plan::default()
    };
    let mut trial = Trial::start(&plan);
    let mut sent = trial.send(1_000);
    trial
        .relay
        .wait("the trouble", |status| says(status, "unavailable"));
    trial.down();
    let senders = trial.senders(300_000, 0);
    crate::trial::wait_stalled(&senders);
    // Somebody makes the folder.
    fs::create_dir(trial.relay.instance.path("later")).unwrap();
    trial
        .relay
        .wait("it to be well", |status| state(status)["ok"] == true);
    sent.merge(senders.finish(LIMIT));
    trial.up();
    assert_eq!(trial.end(&sent, &[]), 0);
}

/// A database as a Baton of the future may make it.
fn newer(path: &Path) {
    sqlite(
        path,
        "pragma application_id = 0x42746e31; pragma user_version = 2000; create table spool (a);",
    );
}

#[test]
fn a_database_of_a_newer_major_is_refused_at_the_start() {
    let clock = baton::drill::Clock::start();
    let sink = baton::drill::Sink::start(clock).unwrap();
    let folder = tempfile::tempdir().unwrap();
    newer(&folder.path().join("baton.db"));
    let to = sink.address().to_string();
    let text = format!(
        "supervisor.control = \"unix:control.sock\"\nlisten.line = [\"unix:line.sock\"]\n\
         [[route]]\nkey = \"all\"\ndestinations = [{to:?}]\n"
    );
    fs::write(folder.path().join("baton.toml"), text).unwrap();
    let done = std::process::Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_baton"), "run", "--config"])
        .arg(folder.path().join("baton.toml"))
        .env_remove("NOTIFY_SOCKET")
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(done.status.code(), Some(78), "{said}");
    for word in ["baton.db", "schema is 2", "up to 1"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(crate::trial::moved_aside(folder.path()).is_empty());
}

#[test]
fn a_database_of_a_newer_major_is_refused_at_a_reload_and_the_old_worker_serves_on() {
    let plan = Plan::default();
    let mut trial = Trial::start(&plan);
    let mut sent = trial.send(1_000);
    newer(&trial.relay.instance.path("newer.db"));
    let with = |state: &str| -> Config {
        config(
            &trial.sinks,
            &Plan {
                state,
                ..Plan::default()
            },
        )
    };
    let text = with("state.path = \"newer.db\"");
    let before = trial.relay.status().generation();
    match trial.relay.try_reconfigure(&text) {
        Reload::Refused { reason } => {
            for word in ["newer.db", "schema is 2", "up to 1"] {
                assert!(reason.contains(word), "{reason}");
            }
        }
        done => panic!("{done:?}"),
    }
    assert_eq!(trial.relay.status().generation(), before);
    sent.merge(trial.send(1_000));
    assert_eq!(trial.end(&sent, &[]), 0);
}
