//! Which daemon is asked, and what is said of files and daemons that differ.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::json;

use crate::bed::Bed;
use crate::relay::wait_for;

/// `baton` with these words alone, from this folder.
fn alone(folder: &Path, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command
        .args(words.split(' '))
        .current_dir(folder)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .env_remove("BATON_CONFIG");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_config_that_cant_be_read_leads_to_no_daemon() {
    let bed = Bed::start();
    fs::write(bed.folder.join("no.toml"), "[[[").unwrap();
    for words in [
        "status",
        "reload",
        "route list",
        "config diff",
        "history",
        "top --once",
        "spool list",
        "tail",
    ] {
        for file in ["nosuch.toml", "no.toml"] {
            let output = alone(&bed.folder, &format!("{words} --config {file}"))
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1), "{words}: {output:?}");
            let said = said(&output);
            assert!(
                said.starts_with(&format!("baton: cannot read {file}: ")),
                "{words}: {said}"
            );
        }
    }
    let output = alone(&bed.folder, "run --config nosuch.toml")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let said = said(&output);
    assert!(
        said.contains("cannot read nosuch.toml: No such file"),
        "{said}"
    );
}

#[test]
fn the_environment_says_which_config_a_daemon_runs() {
    let bed = Bed::start();
    for words in ["status", "route list", "spool list", "trace a"] {
        let output = alone(&bed.folder, words)
            .env("BATON_CONFIG", "baton.toml")
            .output()
            .unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
    }
}

#[test]
fn an_export_is_a_whole_file_or_none() {
    let bed = Bed::start();
    let config = bed.folder.join("baton.toml");
    bed.done(&["route", "add", "b", "--prefix", "b.", "file:b"]);
    let before = fs::read_to_string(&config).unwrap();
    let refused = bed.failed(1, &["config", "export", "--out", "baton.toml"]);
    assert!(refused.contains("--force replaces it"), "{refused}");
    assert_eq!(fs::read_to_string(&config).unwrap(), before);
    bed.done(&["config", "export", "--out", "baton.toml", "--force"]);
    assert_eq!(
        fs::read_to_string(&config).unwrap(),
        bed.done(&["config", "export"])
    );
    let names = fs::read_dir(&bed.folder).unwrap();
    let left = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".part")
    });
    assert_eq!(left.count(), 0);
    bed.done(&["reload"]);
    bed.run(&["config", "reset"]);
    assert_eq!(bed.routes(), ["all", "b"]);
    let nowhere = bed.failed(1, &["config", "export", "--out", "none/x.toml"]);
    assert!(
        nowhere.contains("exporting the config to none/x.toml"),
        "{nowhere}"
    );
}

#[test]
fn rules_of_the_file_that_are_overruled_are_told() {
    let bed = Bed::start();
    assert!(
        said(&bed.run(&["reload"]))
            .lines()
            .all(|l| !l.contains("overruled"))
    );
    bed.done(&["route", "edit", "all", "--set", "prefix=a."]);
    bed.done(&["route", "add", "b", "file:b"]);
    let note = "1 rule of the file is overruled by run-time changes: baton config diff";
    assert!(bed.done(&["status"]).contains(note));
    let traced = said(&bed.run(&["trace", "x"]));
    assert!(
        traced.contains("note: the file was asked")
            && traced.contains("1 of its rules overruled, 1 added"),
        "{traced}"
    );
    let output = bed.run(&["reload"]);
    assert!(said(&output).contains(note), "{output:?}");
    bed.relay.wait_logged("rules of the file are overruled");
    let reloaded = bed.json(&["reload"]);
    assert_eq!(reloaded["overruled"], 1);
    bed.done(&["config", "reset"]);
    assert_eq!(said(&bed.run(&["trace", "x"])), "");
    let config = bed.folder.join("baton.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\n# more\n").unwrap();
    let traced = said(&bed.run(&["trace", "x"]));
    assert!(traced.contains("another text"), "{traced}");
}

#[test]
fn what_is_so_already_is_no_failure() {
    let bed = Bed::start();
    bed.done(&["route", "edit", "all", "--set", "prefix=a."]);
    for args in [
        &["route", "edit", "all", "--set", "prefix=a."][..],
        &["route", "move", "all", "--first"],
        &["blocklist", "add", "prefix", "a.", "--dry-run"],
    ] {
        let output = bed.run(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        let is_new = args[0] == "blocklist";
        assert_eq!(said(&output).contains("nothing would change"), !is_new);
    }
}

#[test]
fn what_removed_destinations_dropped_is_counted_for_good() {
    let mut bed = Bed::start();
    bed.with_backlog(100);
    let gone = bed.done(&["route", "del", "slow", "--backlog", "discard"]);
    assert!(gone.contains("slow: its 100 lines are dropped"), "{gone}");
    let dropped = |bed: &Bed| {
        let status = bed.json(&["status"]);
        let all = status["worker"]["dropped"].as_object().unwrap().clone();
        all.values().filter_map(|lines| lines.as_u64()).sum::<u64>()
    };
    wait_for("the lines to be dropped", || dropped(&bed) == 100);
    wait_for("the destination to go", || {
        bed.json(&["destination", "list"]).as_array().unwrap().len() == 1
    });
    assert_eq!(dropped(&bed), 100);
    assert!(
        bed.done(&["status"])
            .contains("dropped: 100 lines, 100 of them by destinations that were removed")
    );
    bed.done(&["reload"]);
    assert_eq!(dropped(&bed), 100);
}

#[test]
fn a_destination_that_delivers_is_removed_without_a_question() {
    let bed = Bed::start();
    let address = bed.relay.address();
    let (goes_on, ended) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut client = TcpStream::connect(address).unwrap();
            // A line each millisecond, until this test has ended, well or not.
            while ended.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                client.write_all(b"a 1 1790000000\n").unwrap();
            }
        });
        let goes_on = goes_on;
        for n in 0..10 {
            let name = format!("more{n}");
            bed.done(&[
                "destination",
                "add",
                "all",
                &format!("file:{name}"),
                &format!("id={name}"),
                "flush=50ms",
            ]);
            wait_for("a line", || !bed.relay.file(&name).is_empty());
            bed.done(&["destination", "del", &name]);
        }
        drop(goes_on);
    });
}

#[test]
fn words_of_a_rule_need_no_quotes_and_a_no_as_json_is_json() {
    let bed = Bed::start();
    bed.done(&["blocklist", "add", "sub", "secret"]);
    bed.done(&["blocklist", "show", "sub", "secret"]);
    bed.done(&["blocklist", "del", "sub", "secret"]);
    let output = bed.run(&["route", "show", "nope", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let problem: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problem["status"], json!(404));
    let unset = bed.failed(1, &["destination", "edit", "out", "--unset", "queu"]);
    assert!(unset.contains("did you mean queue?"), "{unset}");
    bed.done(&["route", "add", "h", "h:1:a"]);
    let twice = bed.failed(1, &["destination", "add", "h", "h:1:a"]);
    assert!(
        twice.contains("is in this route twice: expected another instance"),
        "{twice}"
    );
    let warned = said(&bed.run(&["rewriter", "add", "web", "we b"]));
    assert!(
        warned.contains("warning: ") && warned.contains("blank"),
        "{warned}"
    );
    let checked = bed.json(&["check"]);
    assert_eq!(checked["problems"], json!([]));
    assert_eq!(checked["config"]["routes"], 1);
}

#[test]
fn the_table_of_restarts_says_when_a_retired_worker_ended() {
    let bed = Bed::start();
    bed.done(&["reload"]);
    bed.done(&["reload"]);
    let query = "SELECT COUNT(*) FROM restarts WHERE outcome = 'retired' AND ended_at IS NOT NULL";
    wait_for("both to have ended", || {
        let database = bed.folder.join("baton.db");
        let mut sqlite = Command::new("sqlite3");
        let asked = sqlite.arg("-readonly").arg(database).arg(query).output();
        asked.unwrap().stdout == b"2\n"
    });
}
