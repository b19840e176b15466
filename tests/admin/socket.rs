//! The API's socket in the file system: there by default, for its owner alone, through restarts.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::{request, unix};
use crate::relay::{Config, LIMIT, Relay, wait_for};

const HOST: &str = "Host: localhost\r\n";

fn socket(relay: &Relay) -> PathBuf {
    relay.instance.path("api.sock")
}

#[test]
fn it_is_there_by_default_for_its_owner_alone() {
    let relay = Relay::start(&Config::to_file());
    let mode = std::fs::metadata(socket(&relay))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let table = unix(&socket(&relay), &request("GET /api/v1/table", HOST, ""));
    assert_eq!(table.status, 200, "{table:?}");
    assert_eq!(table.json()["rules"][0]["key"], "all");
}

#[test]
fn the_history_names_the_user() {
    let relay = Relay::start(&Config::to_file());
    let headers = "Host: localhost\r\nUser-Agent: baton/0.1.0\r\n";
    let rule = r#"{"rule": "prefix x"}"#;
    let added = unix(
        &socket(&relay),
        &request("POST /api/v1/blocklist", headers, rule),
    );
    assert_eq!(added.status, 201, "{added:?}");
    let history = unix(&socket(&relay), &request("GET /api/v1/history", HOST, "")).json();
    let uid = nix::unistd::getuid();
    let name = nix::unistd::User::from_uid(uid)
        .unwrap()
        .map(|user| user.name);
    let expected = match name {
        Some(name) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    };
    assert_eq!(history[0]["peer"], expected);
    assert_eq!(history[0]["via"], "cli");
}

#[test]
fn a_restart_serves_on_the_same_socket() {
    let mut relay = Relay::start(&Config::to_file());
    let inode = |relay: &Relay| std::fs::metadata(socket(relay)).unwrap().ino();
    let before = inode(&relay);
    for generation in 2..4 {
        relay.instance.reload().unwrap();
        let status = unix(&socket(&relay), &request("GET /api/status", HOST, "")).json();
        assert_eq!(status["generation"], generation);
    }
    assert_eq!(inode(&relay), before);
    let path = socket(&relay);
    relay.instance.stop(LIMIT).unwrap();
    assert!(!path.exists(), "the file goes with the relay");
}

#[test]
fn while_no_worker_serves_it_says_so() {
    let mut relay = Relay::set_up(&Config::to_file(), |setup| {
        std::fs::write(setup.path("faults"), "").unwrap();
        let faults = setup.path("faults").display().to_string();
        setup.env("BATON_FAULTS", &faults)
    });
    std::fs::write(relay.instance.path("faults"), "before-ready hang\n").unwrap();
    let worker = relay.instance.worker_pid().unwrap();
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    let path = socket(&relay);
    wait_for("a 503", || {
        unix(&path, &request("GET /healthz", HOST, "")).status == 503
    });
}

#[test]
fn a_file_that_a_killed_relay_left_is_removed() {
    let relay = Relay::set_up(&Config::to_file(), |setup| {
        drop(UnixListener::bind(setup.path("api.sock")).unwrap());
        setup
    });
    assert!(UnixStream::connect(socket(&relay)).is_ok());
}

#[test]
fn it_is_not_there_when_it_is_not_wanted() {
    let mut config = Config::to_file();
    let mut relay = Relay::start(&config);
    let path = socket(&relay);
    config.input = "[admin]\napi = false".to_owned();
    relay.reconfigure(&config);
    wait_for("the file to go", || !path.exists());
}
