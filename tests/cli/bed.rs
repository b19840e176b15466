//! A relay, and the command line beside it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use baton::drill::free_ports;
use serde_json::Value;

use crate::relay::{Config, LIMIT, Relay};

/// A relay whose route `all` goes to the file `out`, and the command line that finds it by its config.
pub struct Bed {
    pub relay: Relay,
    pub folder: PathBuf,
}

impl Bed {
    pub fn start() -> Bed {
        Bed::of(&Config::to_file())
    }

    pub fn of(config: &Config) -> Bed {
        let relay = Relay::start(config);
        let folder = relay.instance.folder().to_owned();
        Bed { relay, folder }
    }

    pub fn run(&self, args: &[&str]) -> Output {
        command(&self.folder, args).output().unwrap()
    }

    /// Standard output of a command that must do.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let text = self.done(&all);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// What a command says that must fail so.
    #[track_caller]
    pub fn failed(&self, status: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The keys of the routes in force.
    pub fn routes(&self) -> Vec<String> {
        let list = self.json(&["route", "list"]);
        let rules = list["rules"].as_array().unwrap().iter();
        rules
            .map(|rule| rule["key"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The same, as typed on a terminal, which `script` makes. Returns whether it did, and what is shown.
    pub fn on_a_terminal(&self, words: &str, typed: &str) -> (bool, String) {
        let binary = env!("CARGO_BIN_EXE_baton");
        let command = format!("stty cols 120 rows 30; {binary} {words} --config baton.toml");
        let mut child = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .current_dir(&self.folder)
            .env("TERM", "xterm")
            .env_remove("RUNTIME_DIRECTORY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Not closed before the end: that would be an answer, too.
        let mut keys = child.stdin.take().unwrap();
        keys.write_all(typed.as_bytes()).unwrap();
        let mut shown = Vec::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut shown)
            .unwrap();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        (child.wait().unwrap().success(), shown)
    }

    /// A route `slow` for `s.`, to nobody, with so many lines that wait.
    pub fn with_backlog(&mut self, lines: u64) {
        let [port] = free_ports().unwrap();
        let address = format!("127.0.0.1:{port}");
        self.done(&[
            "route",
            "add",
            "slow",
            "--prefix",
            "s.",
            &address,
            "id=slow",
            "reconnect=100ms",
        ]);
        let text: String = (0..lines)
            .map(|n| format!("s.{n} {n} 1790000000\n"))
            .collect();
        self.relay.send(text);
        let given = |s: &baton::drill::Status| s.of_destination("slow", "given") == Some(lines);
        self.relay
            .instance
            .wait_status("the lines", LIMIT, given)
            .unwrap();
    }
}

/// `baton` with these words, about the config of this folder.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_baton"));
    command
        .args(args)
        .arg("--config")
        .arg(folder.join("baton.toml"))
        .current_dir(folder)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("STATE_DIRECTORY")
        .env_remove("VISUAL")
        .env_remove("EDITOR")
        .stdin(Stdio::null());
    command
}
