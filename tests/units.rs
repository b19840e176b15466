//! The systemd units: that systemd takes them, and that their times fit Baton's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use baton::supervisor::Settings;

const UNITS: [&str; 5] = [
    "baton.service",
    "baton-line.socket",
    "baton-pickle.socket",
    "baton-telnet.socket",
    "baton-http.socket",
];

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("systemd")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All values of a key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(k, _)| *k == key)
        .map(|(_, value)| value)
        .collect()
}

/// The only value of a key.
fn value<'a>(unit: &'a str, key: &str) -> &'a str {
    match values(unit, key)[..] {
        [value] => value,
        ref other => panic!("{key} is there {} times", other.len()),
    }
}

fn time(unit: &str, key: &str) -> Duration {
    humantime::parse_duration(value(unit, key)).unwrap_or_else(|e| panic!("{key}: {e}"))
}

fn defaults() -> Settings {
    Settings::read(Path::new("/dev/null"))
}

#[test]
fn systemd_waits_longer_for_a_stop_than_baton_does() {
    let longest = defaults().longest_stop();
    assert!(time(&unit("baton.service"), "TimeoutStopSec") > longest);
}

#[test]
fn systemd_waits_longer_for_a_start_or_reload_than_baton_does() {
    let longest = defaults().longest_reload();
    assert!(time(&unit("baton.service"), "TimeoutStartSec") > longest);
}

#[test]
fn the_service_checks_before_it_starts_and_a_bad_config_is_not_tried_again() {
    let service = unit("baton.service");
    let start = value(&service, "ExecStart");
    let check = value(&service, "ExecStartPre");
    // Without `-` its failure is one that systemd tries again, whatever the status.
    assert_eq!(
        format!("-{}", start.replace("baton run", "baton check")),
        check
    );
    assert_eq!(value(&service, "RestartPreventExitStatus"), "78");
}

#[test]
fn the_control_socket_that_a_reload_asks_is_in_the_runtime_directory() {
    let service = unit("baton.service");
    let control = format!(
        "--control /run/{}/control.sock",
        value(&service, "RuntimeDirectory")
    );
    assert!(value(&service, "ExecReload").ends_with(&control));
}

/// Only so $STATE_DIRECTORY is set; without it the state would be beside the config, in /etc.
#[test]
fn the_state_has_a_directory() {
    assert_eq!(value(&unit("baton.service"), "StateDirectory"), "baton");
}

#[test]
fn each_socket_unit_names_its_kind_and_its_service() {
    let service = unit("baton.service");
    for name in &UNITS[1..] {
        let socket = unit(name);
        let kind = value(&socket, "FileDescriptorName");
        assert_eq!(*name, format!("baton-{kind}.socket"));
        assert_eq!(value(&socket, "Service"), "baton.service");
        assert!(value(&service, "Sockets").split(' ').any(|s| s == *name));
        assert!(value(&service, "Also").split(' ').any(|s| s == *name));
    }
    let line = unit("baton-line.socket");
    assert_eq!(
        values(&line, "ListenStream"),
        values(&line, "ListenDatagram")
    );
}

/// Who may change where metrics go is root, unless an operator decides otherwise.
#[test]
fn commands_come_from_this_machine() {
    let telnet = unit("baton-telnet.socket");
    assert!(value(&telnet, "ListenStream").starts_with("/run/"));
    assert_eq!(value(&telnet, "SocketMode"), "0600");
    let http = unit("baton-http.socket");
    assert!(value(&http, "ListenStream").starts_with("127.0.0.1:"));
}

/// systemd(1) gives a sandboxed service a figure, 0 to 10; the threshold is ten times that.
#[test]
fn the_sandbox_is_tight() {
    let analyze = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=15"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/baton.service"))
        .output();
    match analyze {
        Ok(run) => assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stdout)
        ),
        Err(_) => eprintln!("skipped: there is no systemd-analyze here"),
    }
}

/// Writes the units to a folder, with the program that this test was built with.
fn write_units(folder: &Path, edit: impl Fn(&str) -> String) -> Vec<PathBuf> {
    let write = |name: &&str| {
        let path = folder.join(name);
        let text = unit(name).replace("/usr/bin/baton", env!("CARGO_BIN_EXE_baton"));
        fs::write(&path, edit(&text)).unwrap();
        path
    };
    UNITS.iter().map(write).collect()
}

/// What `systemd-analyze verify` says of them, and whether it takes them; `None` without systemd.
#[expect(
    clippy::print_stdout,
    reason = "who reads the log sees what was not tried"
)]
fn verify(units: &[PathBuf]) -> Option<(bool, String)> {
    let run = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args(units)
        .output();
    match run {
        Ok(run) => {
            let said = [run.stdout, run.stderr].concat();
            Some((
                run.status.success(),
                String::from_utf8_lossy(&said).into_owned(),
            ))
        }
        Err(_) => {
            println!("skipped: there is no systemd-analyze here");
            None
        }
    }
}

#[test]
fn systemd_takes_the_units() {
    let folder = tempfile::tempdir().unwrap();
    if let Some((taken, said)) = verify(&write_units(folder.path(), str::to_owned)) {
        // An unknown key is a warning only, with success.
        assert!(taken && said.is_empty(), "{said}");
    }
}

#[test]
fn a_misspelt_key_would_be_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let misspell = |text: &str| text.replace("KillMode=", "KilMode=");
    if let Some((_, said)) = verify(&write_units(folder.path(), misspell)) {
        assert!(said.contains("KilMode"), "{said}");
    }
}
