//! A database that is damaged, at a start and under the relay's feet.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use baton::drill::Reload;
use serde_json::{Value, json};

use crate::api::done;
use crate::relay::{Config, LIMIT, Relay};
use crate::trial::{Plan, Trial, dropped_for, moved_aside, sqlite, state};

/// Lines of an outage, some 7 MB of text.
const LINES: u64 = 200_000;

const BLOCKS: Plan<'_> = Plan {
    sinks: 1,
    options: "queue=1MiB spool_full=block",
    state: "",
};

fn truncate(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 3).unwrap();
}

fn empty(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(0).unwrap();
}

fn overwrite(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len() as usize;
    file.write_all_at(&vec![0xa5; length], 0).unwrap();
}

/// All pages but those that say what there is.
fn overwrite_within(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    let from = 24 * 16 * 1024;
    let garbage = vec![0xa5; (length - from) as usize];
    file.write_all_at(&garbage, from).unwrap();
}

fn of_another_application(path: &Path) {
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("other.db");
    sqlite(&other, "create table a (b); insert into a values (1);");
    fs::write(path, fs::read(other).unwrap()).unwrap();
}

/// A database with the lines of an outage, hurt while nobody uses it.
fn at_a_start(hurt: fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("baton.db");
    let mut before = Trial::start(&BLOCKS);
    before.down();
    before.send(LINES);
    let exit = before.relay.instance.stop(LIMIT).unwrap();
    assert!(exit.success());
    let database = before.relay.instance.path("baton.db");
    sqlite(&database, "pragma wal_checkpoint(truncate)");
    let lines = sqlite(&database, "select lines from spool_summary");
    assert_eq!(lines.trim(), LINES.to_string());
    fs::copy(database, &kept).unwrap();
    drop(before);

    hurt(&kept);
    let hurt = fs::read(&kept).unwrap();
    let mut trial = Trial::set_up(&BLOCKS, |setup| {
        fs::copy(&kept, setup.path("baton.db")).unwrap();
        setup
    });
    trial.relay.wait("it to be moved aside", |status| {
        state(status)["moved_aside"].is_string() && state(status)["ok"] == true
    });
    let aside = moved_aside(trial.relay.instance.folder());
    assert_eq!(aside.len(), 1);
    assert_eq!(fs::read(&aside[0]).unwrap(), hurt);
    assert_eq!(trial.relay.logged("moved aside"), 1);
    trial.down();
    let sent = trial.send(LINES);
    trial.wait_spooled("the new one to be used", LINES / 2);
    trial.up();
    assert_eq!(trial.end(&sent, &[]), 0);
}

#[test]
fn a_truncated_database_is_moved_aside_at_the_start() {
    at_a_start(truncate);
}

#[test]
fn a_database_of_garbage_is_moved_aside_at_the_start() {
    at_a_start(overwrite);
}

#[test]
fn a_database_of_another_application_is_moved_aside_at_the_start() {
    at_a_start(of_another_application);
}

/// What was spooled is hurt; what comes in then isn't lost, nor what comes after.
fn under_its_feet(hurt: fn(&Path), moved: bool) {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let mut sent = trial.send(LINES);
    let database = trial.relay.instance.path("baton.db");
    // The log is in the file, so that it is that which counts.
    trial.wait_spooled("the lines to be in rows", LINES - 40_000);
    trial.relay.wait("a checkpoint", |status| {
        let file = fs::metadata(&database).unwrap().len();
        file > 6_000_000 && state(status)["file_bytes"].as_u64() == Some(file)
    });
    hurt(&database);
    sent.merge(trial.send(LINES));
    trial.up();
    trial.relay.wait("the damage to be seen", |status| {
        dropped_for(status, 0, "spool-damaged") > 0
            && (!moved || state(status)["moved_aside"].is_string())
    });
    if moved {
        assert_eq!(moved_aside(trial.relay.instance.folder()).len(), 1);
        assert_eq!(trial.relay.logged("moved aside"), 1);
    }
    trial
        .relay
        .wait("it to be well", |status| state(status)["ok"] == true);
    // And it is used.
    trial.relay.wait("the first lines to have left", |status| {
        status.of_destination("s0", "spooled") == Some(0)
    });
    trial.down();
    sent.merge(trial.send(LINES));
    trial.wait_spooled("more lines", LINES / 2);
    trial.up();
    let dropped = trial.end(&sent, &["spool-damaged"]);
    // What came in before anybody read from it is in it, too.
    assert!(dropped <= 2 * LINES, "{dropped}");
}

#[test]
fn a_database_that_is_overwritten_under_the_relay_costs_what_was_in_it() {
    under_its_feet(overwrite, true);
}

#[test]
fn a_database_that_is_truncated_under_the_relay_costs_what_was_in_it() {
    // That may be seen row by row, or in what tells where they are.
    under_its_feet(truncate, false);
}

#[test]
fn a_database_that_is_emptied_under_the_relay_costs_what_was_in_it() {
    under_its_feet(empty, true);
}

#[test]
fn a_database_that_becomes_another_applications_costs_what_was_in_it() {
    under_its_feet(of_another_application, true);
}

/// The worker that serves has them in memory: they are in the new file before who comes next reads it.
#[test]
fn what_was_changed_at_run_time_outlives_a_damaged_database() {
    let mut relay = Relay::start(&Config::to_file());
    let http = relay.http;
    let rule = |name: &str| json!({"rule": format!("prefix {name}.")});
    let added = done(http, "POST", "/api/v1/blocklist", &rule("junk"));
    done(
        http,
        "POST",
        "/api/v1/blocklist?volatile=true",
        &rule("volatile"),
    );
    let database = relay.instance.path("baton.db");
    sqlite(&database, "pragma wal_checkpoint(truncate)");
    overwrite(&database);
    let reload = relay.instance.reload().unwrap();
    assert!(matches!(reload, Reload::Done { .. }), "{reload:?}");
    assert_eq!(moved_aside(relay.instance.folder()).len(), 1);
    let keys = || -> Vec<String> {
        let rules = done(http, "GET", "/api/v1/blocklist", &Value::Null).body;
        let keys = rules.as_array().unwrap().iter();
        keys.map(|rule| rule["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(keys(), ["prefix junk."]);
    let history = done(http, "GET", "/api/v1/history", &Value::Null).body;
    assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
    let said = history[0]["command"].as_str().unwrap();
    assert!(said.contains("begun anew"), "{said}");
    // The file that is gone had a first change, too: no version is there twice.
    let more = done(http, "POST", "/api/v1/blocklist", &rule("more"));
    assert_ne!(more.body["version"], added.body["version"]);
    assert_ne!(more.body["id"], added.body["id"]);
    relay.instance.kill_worker(LIMIT).unwrap();
    relay.instance.wait_serving(LIMIT).unwrap();
    assert_eq!(keys(), ["prefix junk.", "prefix more."]);
    relay.check_books();
}

#[test]
fn a_database_whose_rows_are_overwritten_costs_no_more_than_those() {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let mut sent = trial.send(LINES);
    let database = trial.relay.instance.path("baton.db");
    trial.wait_spooled("the lines to be in rows", LINES - 40_000);
    trial.relay.wait("a checkpoint", |status| {
        let file = fs::metadata(&database).unwrap().len();
        file > 6_000_000 && state(status)["file_bytes"].as_u64() == Some(file)
    });
    overwrite_within(&database);
    trial.up();
    sent.merge(trial.send(LINES));
    let dropped = trial.end(&sent, &["spool-damaged"]);
    assert!((1..=LINES).contains(&dropped), "{dropped}");
}

#[test]
fn a_damaged_row_is_set_aside_and_the_next_go_on() {
    let mut trial = Trial::start(&BLOCKS);
    trial.down();
    let sent = trial.send(LINES);
    let database = trial.relay.instance.path("baton.db");
    trial.wait_spooled("the lines to be in rows", LINES - 40_000);
    let row = "(select seq from spool order by seq limit 1 offset 20)";
    let lines = sqlite(
        &database,
        &format!(
            "select lines from spool where seq = {row};
             update spool set payload = x'6162' where seq = {row};"
        ),
    );
    let lines: u64 = lines.trim().parse().unwrap();
    trial.up();
    trial.relay.wait("the row to be found", |status| {
        dropped_for(status, 0, "spool-damaged") > 0
    });
    let damaged = sqlite(
        &database,
        "select destination, payload from spool_damaged where reason like '%bytes%'",
    );
    assert_eq!(damaged.trim(), "s0|ab");
    assert_eq!(trial.relay.logged("set aside"), 1);
    assert_eq!(trial.end(&sent, &["spool-damaged"]), lines);
}
