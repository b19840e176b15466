//! `baton spool` with real processes: what it shows, and that what it changes arrives, or is counted.

#[path = "inputs/relay.rs"]
#[expect(dead_code, reason = "each of the test programs uses a part of it")]
mod relay;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use baton::drill::{Setup, free_ports};
use nix::sys::signal::Signal;
use serde_json::Value;

use relay::{Config, LIMIT, Relay, wait_for};

/// `a.` to `down`, to which nobody listens; `b.` to the file `out`.
fn config() -> Config {
    let [port] = free_ports().unwrap();
    Config {
        routes: format!(
            "[[route]]\nkey = \"a\"\nprefix = \"a.\"\ndestinations = [\"127.0.0.1:{port} id=down reconnect=100ms\"]\n{OUT}"
        ),
        ..Config::default()
    }
}

const OUT: &str = "[[route]]\nkey = \"b\"\nprefix = \"b.\"\ndestinations = [\"file:out id=out flush=1ms queue=1MiB\"]\n";

/// What `baton spool` with these arguments is told of the folder.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command
        .arg("spool")
        .args(args)
        .arg("--config")
        .arg(folder.join("baton.toml"))
        .current_dir(folder)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// Standard output of a command that must do.
#[track_caller]
fn done(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says that must fail.
#[track_caller]
fn failed(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The lines of a destination's rows.
fn rows_of(folder: &Path, id: &str) -> u64 {
    let list = done(folder, &["list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let all = list["destinations"].as_array().unwrap();
    let lines = all.iter().filter(|one| one["destination"] == id);
    lines.filter_map(|one| one["lines"].as_u64()).sum()
}

fn numbered(prefix: &str, lines: std::ops::Range<usize>) -> String {
    lines
        .map(|n| format!("{prefix}.m {n} 1700000000\n"))
        .collect()
}

#[test]
fn what_is_done_is_told_as_json_too() {
    let bed = Bed::start();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&done(&bed.folder, args)).unwrap() };
    let file = bed.folder.join("lines");
    fs::write(&file, numbered("a", 0..5)).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(
        json(&["replay", file, "--to", "down", "--json"])["added"],
        5
    );
    let saved = json(&["export", "down", "--out", "saved", "--json"]);
    let text = fs::read_to_string(bed.folder.join("saved")).unwrap();
    assert_eq!(saved["lines"], text.lines().count());
    assert_eq!(saved["bytes"], text.len());
    assert_eq!(saved["unreadable_rows"], 0);
    let given = json(&["replay", file, "--to", "old", "--force", "--json"]);
    assert_eq!(given["destination"], "old");
    assert_eq!(
        json(&["assign", "old", "--to", "down", "--json"])["lines"],
        5
    );
    assert!(json(&["purge", "down", "--yes", "--json"])["dropped"].as_u64() > Some(0));
}

/// A relay with 101 lines in rows for `down`, of which the first is in its send ring, too.
struct Bed {
    relay: Relay,
    folder: PathBuf,
}

impl Bed {
    fn start() -> Bed {
        Bed::set_up(|setup| setup)
    }

    fn set_up(change: impl FnOnce(Setup) -> Setup) -> Bed {
        let relay = Relay::set_up(&config(), change);
        let folder = relay.instance.folder().to_owned();
        // A worker that serves doesn't wait for its database.
        wait_for("the database", || run(&folder, &["list"]).status.success());
        relay.send(numbered("a", 0..1));
        wait_for("the first line in a row", || rows_of(&folder, "down") == 1);
        relay.send(numbered("a", 1..101));
        wait_for("all lines in rows", || rows_of(&folder, "down") == 101);
        Bed { relay, folder }
    }

    /// Another relay, with a copy of the first one's database.
    fn beside(config: &Config, database: &Path) -> Bed {
        let relay = Relay::set_up(config, |setup| {
            for ending in ["", "-wal"] {
                let from = format!("{}{ending}", database.display());
                let to = setup.path(&format!("baton.db{ending}"));
                // There is no WAL if all of it was copied.
                if Path::new(&from).exists() {
                    fs::copy(from, to).unwrap();
                }
            }
            setup
        });
        let folder = relay.instance.folder().to_owned();
        Bed { relay, folder }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Stops it without waiting for what can't be delivered.
    fn stop(&mut self) {
        let deadline = Instant::now() + LIMIT;
        while self.relay.instance.signal(Signal::SIGTERM).is_ok() {
            let slice = Duration::from_millis(300);
            if self.relay.instance.wait_ended(slice).is_ok() {
                return;
            }
            assert!(Instant::now() < deadline, "it doesn't stop");
        }
    }

    /// Waits until the file has so many lines.
    fn arrived(&self, lines: usize) -> Vec<String> {
        wait_for("the lines in the file", || {
            // It may be amid a line.
            let bytes = fs::read(self.folder.join("out")).unwrap_or_default();
            bytes.iter().filter(|byte| **byte == b'\n').count() >= lines
        });
        self.relay.file("out")
    }
}

// ---- reading ----

fn reads_of(folder: &Path) {
    let list = done(folder, &["list"]);
    assert!(
        list.contains("DESTINATION") && list.contains("down"),
        "{list}"
    );
    assert!(!list.contains("no such"), "{list}");
    let show = done(folder, &["show", "down", "--head", "3"]);
    assert!(show.starts_with("down: 101 lines"), "{show}");
    assert!(show.ends_with(&numbered("a", 0..3)), "{show}");
    assert_eq!(show.lines().count(), 4, "{show}");
    let show = done(folder, &["show", "down", "--json"]);
    let show: Value = serde_json::from_str(&show).unwrap();
    assert_eq!(show["lines"], 101);
    assert_eq!(show["configured"], true);
    assert_eq!(show["head"].as_array().unwrap().len(), 10);
    assert_eq!(done(folder, &["export", "down"]), numbered("a", 0..101));
    assert_eq!(done(folder, &["export", "out"]), "");
    let said = failed(folder, &["export", "nobody"]);
    assert!(said.contains("nobody") && said.contains("down"), "{said}");
}

#[test]
fn a_spool_is_read_with_the_daemon_and_without() {
    let mut bed = Bed::start();
    reads_of(&bed.folder);
    bed.stop();
    reads_of(&bed.folder);
    let own = bed.folder.join("baton.db");
    let alone = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["spool", "export", "down", "--state"])
        .arg(&own)
        .output()
        .unwrap();
    assert_eq!(alone.stdout, numbered("a", 0..101).as_bytes());
}

#[test]
fn an_export_replaces_no_file_unless_it_is_told_to() {
    let bed = Bed::start();
    let out = bed.write("kept", "mine\n");
    let said = failed(&bed.folder, &["export", "down", "--out", &out]);
    assert!(said.contains(&out) && said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine\n");
    done(&bed.folder, &["export", "down", "--out", &out, "--force"]);
    assert_eq!(fs::read_to_string(&out).unwrap(), numbered("a", 0..101));
    assert!(!Path::new(&format!("{out}.part")).exists());
    let said = failed(&bed.folder, &["export", "down", "--out", "no/where"]);
    assert!(said.contains("no/where"), "{said}");
    bed.relay.check_books();
}

#[test]
fn a_destination_that_the_config_lacks_is_marked_and_its_lines_can_be_given_away() {
    let mut bed = Bed::start();
    let routes = OUT.to_owned();
    bed.stop();
    let only_out = Config {
        routes,
        ..Config::default()
    };
    let old = bed.folder.join("baton.db");
    let bed = Bed::beside(&only_out, &old);
    let list = done(&bed.folder, &["list"]);
    assert!(list.contains("no such destination"), "{list}");
    let said = failed(&bed.folder, &["assign", "down", "--to", "uot"]);
    assert!(said.contains("uot") && said.contains("out"), "{said}");
    let said = done(&bed.folder, &["assign", "down", "--to", "out"]);
    assert!(said.contains("given by down to out: 101 lines"), "{said}");
    assert_eq!(bed.arrived(101).join("\n") + "\n", numbered("a", 0..101));
    wait_for("the rows to go", || rows_of(&bed.folder, "out") == 0);
    // Behind numbers that were there before.
    done(
        &bed.folder,
        &[
            "replay",
            &bed.write("more", "b.x 1 1\n"),
            "--to",
            "lost",
            "--force",
        ],
    );
    done(&bed.folder, &["assign", "lost", "--to", "out"]);
    assert_eq!(bed.arrived(102).len(), 102);
    let mut bed = bed;
    let status = bed.relay.wait_done(0);
    assert_eq!(status.of_destination("out", "imported"), Some(102));
    bed.relay.check_books();
}

// ---- changing ----

#[test]
fn what_was_exported_is_replayed_to_another_destination() {
    let mut bed = Bed::start();
    done(&bed.folder, &["export", "down", "--out", "saved"]);
    let said = done(&bed.folder, &["replay", "saved", "--to", "out"]);
    assert!(said.contains("101 lines"), "{said}");
    assert_eq!(bed.arrived(101).join("\n") + "\n", numbered("a", 0..101));
    let status = bed.relay.status();
    assert_eq!(status.of_destination("out", "imported"), Some(101));
    assert_eq!(rows_of(&bed.folder, "down"), 101);
    bed.relay.check_books();
}

#[test]
fn a_last_line_without_a_newline_is_replayed_whole() {
    let bed = Bed::start();
    let file = bed.write("cut", "b.one 1 1700000000\nb.two 2 1700000000");
    let said = done(&bed.folder, &["replay", &file, "--to", "out"]);
    assert!(said.contains("2 lines"), "{said}");
    // From a pipe, too.
    let mut child = command(&bed.folder, &["replay", "-", "--to", "out"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"b.three 3 1700000000")
        .unwrap();
    assert!(child.wait().unwrap().success());
    let wanted = ["b.one 1", "b.two 2", "b.three 3"].map(|line| format!("{line} 1700000000"));
    assert_eq!(bed.arrived(3), wanted);
    bed.relay.check_books();
}

#[test]
fn what_can_not_be_replayed_is_named() {
    let mut bed = Bed::start();
    for stopped in [false, true] {
        for (file, to, wanted) in [
            ("not-there", "out", ["not-there", "No such file"]),
            (".", "out", [".", "directory"]),
            ("baton.toml", "tou", ["\"tou\"", "down, out"]),
        ] {
            let said = failed(&bed.folder, &["replay", file, "--to", to]);
            assert!(wanted.iter().all(|part| said.contains(part)), "{said}");
        }
        if !stopped {
            bed.stop();
        }
    }
    let long = bed.write("long", &"x".repeat(3 << 20));
    let said = failed(&bed.folder, &["replay", &long, "--to", "out"]);
    assert!(
        said.contains("long") && said.contains("nothing of it was added"),
        "{said}"
    );
}

#[test]
fn a_purge_drops_what_is_spooled_and_counts_it() {
    let mut bed = Bed::start();
    let said = failed(&bed.folder, &["purge", "down"]);
    assert!(said.contains("down") && said.contains("--yes"), "{said}");
    assert_eq!(rows_of(&bed.folder, "down"), 101);
    let said = failed(&bed.folder, &["purge", "nobody", "--yes"]);
    assert!(said.contains("nobody"), "{said}");
    // The first line may be in the send ring: that one stays there.
    let said = done(&bed.folder, &["purge", "down", "--yes"]);
    wait_for("the rows to go", || rows_of(&bed.folder, "down") == 0);
    let status = bed.relay.status();
    let down = status.destination("down").unwrap();
    let purged = down["dropped"]["purged"].as_u64().unwrap();
    assert!(purged == 100 || purged == 101, "{down}");
    assert_eq!(down["queued"], 101 - purged, "{down}");
    let expected = format!("dropped for down: {purged} lines");
    assert!(said.contains(&expected), "{said}");
    // The log counts as the answer does: not what the send ring has a copy of.
    let expected = format!("its spool was purged destination=\"down\" lines={purged}\n");
    let log = bed.relay.instance.log();
    assert!(log.contains(&expected), "{log}");
    done(&bed.folder, &["purge", "down", "--yes"]);
    // What comes later is spooled as before.
    bed.relay.send(numbered("a", 0..7));
    wait_for("new rows", || rows_of(&bed.folder, "down") >= 7);
    bed.relay.check_books();
}

/// The same on a terminal, which `script` makes; `typed` is typed there. Returns what the terminal shows.
fn on_a_terminal(folder: &Path, args: &[&str], typed: &str) -> (bool, String) {
    let mut words = vec![env!("CARGO_BIN_EXE_baton"), "spool"];
    words.extend(args);
    let command = format!("stty cols 80 rows 24; {}", words.join(" "));
    let mut child = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Not closed before the end: that would be an answer, too.
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed.as_bytes()).unwrap();
    let mut shown = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    (child.wait().unwrap().success(), shown)
}

#[test]
fn on_a_terminal_a_purge_asks_first_and_a_replay_shows_how_far_it_is() {
    let bed = Bed::start();
    let purge = ["purge", "down", "--config", "baton.toml"];
    for no in ["n\n", "\n", "nonsense\n"] {
        let (ok, shown) = on_a_terminal(&bed.folder, &purge, no);
        assert!(!ok && shown.contains("Drop 101 lines"), "{shown}");
        assert!(shown.contains("nothing was dropped"), "{shown}");
        assert_eq!(rows_of(&bed.folder, "down"), 101);
    }
    let (ok, shown) = on_a_terminal(&bed.folder, &purge, "y\n");
    assert!(ok && shown.contains("dropped for down"), "{shown}");
    wait_for("the rows to go", || rows_of(&bed.folder, "down") == 0);
    let more = bed.write("more", &numbered("a", 0..3_000_000));
    let replay = ["replay", &more, "--to", "down", "--config", "baton.toml"];
    let (ok, shown) = on_a_terminal(&bed.folder, &replay, "");
    assert!(ok && shown.contains(" left"), "{shown}");
    assert!(shown.contains("3,000,000"), "{shown}");
    bed.relay.check_books();
}

#[test]
fn without_a_daemon_the_file_is_changed_by_hand() {
    let mut bed = Bed::start();
    bed.stop();
    assert_eq!(rows_of(&bed.folder, "down"), 101);
    let more = bed.write("more", &numbered("a", 101..103));
    done(&bed.folder, &["replay", &more, "--to", "down"]);
    assert_eq!(
        done(&bed.folder, &["export", "down"]),
        numbered("a", 0..103)
    );
    done(&bed.folder, &["assign", "down", "--to", "out"]);
    assert_eq!(rows_of(&bed.folder, "down"), 0);
    assert_eq!(rows_of(&bed.folder, "out"), 103);
    done(&bed.folder, &["replay", &more, "--to", "down"]);
    let said = done(&bed.folder, &["purge", "down", "--yes"]);
    assert!(said.contains("down: 2 lines"), "{said}");
    // The next daemon delivers what was put there.
    let old = bed.folder.join("baton.db");
    let next = Bed::beside(&config(), &old);
    assert_eq!(next.arrived(103).join("\n") + "\n", numbered("a", 0..103));
    next.relay.check_books();
}

#[test]
fn nothing_is_changed_behind_the_back_of_a_daemon_that_does_not_answer() {
    let bed = Bed::start();
    let more = bed.write("more", "a.x 1 1\n");
    let control = bed.folder.join("control.sock");
    let hidden = bed.folder.join("hidden.sock");
    fs::rename(&control, &hidden).unwrap();
    let said = failed(&bed.folder, &["replay", &more, "--to", "down"]);
    assert!(said.contains("control.sock.lock"), "{said}");
    // Nor when nobody knows whose database that is.
    let output = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args([
            "spool",
            "replay",
            &more,
            "--to",
            "down",
            "--control",
            "nowhere",
            "--state",
        ])
        .arg(bed.folder.join("baton.db"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another process has it open"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    fs::rename(&hidden, &control).unwrap();
    assert_eq!(rows_of(&bed.folder, "down"), 101);
    bed.relay.check_books();
}

#[test]
fn two_commands_at_once_are_both_done() {
    let bed = Bed::start();
    let files =
        ["one", "two"].map(|name| bed.write(name, &numbered(&format!("b.{name}"), 0..50_000)));
    let children = files.each_ref().map(|file| {
        command(&bed.folder, &["replay", file, "--to", "out"])
            .spawn()
            .unwrap()
    });
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let lines = bed.arrived(100_000);
    for name in ["one", "two"] {
        let prefix = format!("b.{name}.m");
        let own = lines.iter().filter(|line| line.starts_with(&prefix));
        let own: String = own.map(|line| format!("{line}\n")).collect();
        assert_eq!(own, numbered(&format!("b.{name}"), 0..50_000));
    }
    bed.relay.check_books();
}

#[test]
fn a_command_during_a_restart_is_to_be_tried_again() {
    let mut bed = Bed::set_up(|setup| {
        let faults = setup.path("faults");
        setup.env("BATON_FAULTS", faults.to_str().unwrap())
    });
    let more = bed.write("more", "b.x 1 1\n");
    bed.write("faults", "before-confirmed hang\n");
    bed.relay.instance.signal(Signal::SIGHUP).unwrap();
    let mark = bed.folder.join("faults.before-confirmed");
    wait_for("the pause", || mark.exists());
    for args in [
        &["purge", "down", "--yes"][..],
        &["replay", &more, "--to", "out"],
        &["assign", "down", "--to", "out"],
    ] {
        let said = failed(&bed.folder, args);
        assert!(said.contains("a restart is under way: try again"), "{said}");
    }
    fs::remove_file(bed.folder.join("faults")).unwrap();
    bed.relay.wait("the old worker", |status| {
        status.text("/supervisor/state") == Some("serving")
    });
    wait_for("the purge", || {
        run(&bed.folder, &["purge", "down", "--yes"])
            .status
            .success()
    });
    wait_for("the rows to go", || rows_of(&bed.folder, "down") == 0);
    bed.relay.check_books();
}

#[test]
fn a_replay_goes_on_over_restarts_and_adds_every_line_once() {
    let mut bed = Bed::start();
    let text = numbered("b", 0..700_000);
    let file = bed.write("large", &text);
    let mut child = command(&bed.folder, &["replay", &file, "--to", "out"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reloads = 0;
    // A replay that hasn't begun says that it is to be tried again.
    wait_for("the replay to begin", || {
        rows_of(&bed.folder, "out") > 0
            || fs::metadata(bed.folder.join("out")).is_ok_and(|out| out.len() > 0)
    });
    while child.try_wait().unwrap().is_none() || reloads == 0 {
        bed.relay.instance.reload().unwrap();
        reloads += 1;
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"700,000 lines"), "{output:?}");
    assert!(
        bed.arrived(700_000).join("\n") + "\n" == text,
        "{reloads} reloads"
    );
    bed.relay.check_books();
}
