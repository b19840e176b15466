//! The systemd units: that systemd takes them, and that their times fit Baton's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use baton::supervisor::Settings;

const UNITS: [&str; 6] = [
    "baton.service",
    "baton-line.socket",
    "baton-line-udp.socket",
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

/// And by it finds the control socket, wherever that is.
#[test]
fn a_reload_asks_the_daemon_of_that_config() {
    let service = unit("baton.service");
    let start = value(&service, "ExecStart");
    assert_eq!(
        start.replace("baton run", "baton reload"),
        value(&service, "ExecReload")
    );
    // That which nobody names is here.
    assert_eq!(value(&service, "RuntimeDirectory"), "baton");
}

/// Only so $STATE_DIRECTORY is set; without it the state would be beside the config, in /etc.
#[test]
fn the_state_has_a_directory() {
    assert_eq!(value(&unit("baton.service"), "StateDirectory"), "baton");
}

/// No port is open that nobody asked for: these are there only where they are enabled.
const ASKED_FOR: [&str; 3] = [
    "baton-line-udp.socket",
    "baton-pickle.socket",
    "baton-telnet.socket",
];

#[test]
fn each_socket_unit_names_its_kind_and_its_service() {
    let service = unit("baton.service");
    let units = |key| -> Vec<&str> { value(&service, key).split(' ').collect() };
    for name in &UNITS[1..] {
        let socket = unit(name);
        let kind = value(&socket, "FileDescriptorName");
        let own = name
            .strip_prefix("baton-")
            .and_then(|own| own.strip_suffix(".socket"));
        assert_eq!(own.unwrap().trim_end_matches("-udp"), kind);
        assert_eq!(value(&socket, "Service"), "baton.service");
        let comes_by_itself = !ASKED_FOR.contains(name);
        assert_eq!(units("Sockets").contains(name), comes_by_itself, "{name}");
        assert_eq!(units("Also").contains(name), comes_by_itself, "{name}");
        // None can be added to a service that runs.
        let wanted_by = value(&socket, "WantedBy");
        assert_eq!(wanted_by.ends_with(" baton.service"), !comes_by_itself);
        // After 78 none may be left that starts it again.
        assert!(value(&service, "ExecStopPost").contains(name));
    }
    assert_eq!(
        values(&unit("baton-line.socket"), "ListenStream"),
        values(&unit("baton-line-udp.socket"), "ListenDatagram")
    );
}

/// The buffer that is set for a listener is that of its connections, too, and then the kernel doesn't tune it any more.
#[test]
fn only_datagrams_have_a_fixed_buffer() {
    for name in &UNITS[1..] {
        let socket = unit(name);
        let datagrams = !values(&socket, "ListenDatagram").is_empty();
        assert_eq!(!values(&socket, "ReceiveBuffer").is_empty(), datagrams);
        assert_eq!(values(&socket, "ListenStream").is_empty(), datagrams);
    }
}

/// Whatever net.ipv6.bindv6only says, IPv4 comes in at a port without an address.
#[test]
fn a_port_is_of_both_families() {
    for name in &UNITS[1..] {
        let socket = unit(name);
        let addresses = [
            values(&socket, "ListenStream"),
            values(&socket, "ListenDatagram"),
        ];
        if addresses
            .concat()
            .iter()
            .any(|at| at.parse::<u16>().is_ok())
        {
            assert_eq!(value(&socket, "BindIPv6Only"), "both", "{name}");
        }
    }
}

/// Nobody serves while the kernel writes a core, and what is shared is the queues.
#[test]
fn a_crash_writes_no_core() {
    let service = unit("baton.service");
    assert_eq!(value(&service, "LimitCORE"), "0");
    assert!(!value(&service, "CoredumpFilter").contains("shared"));
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
