//! The migration guides: what they say of commands must be so. `BATON_WRITE_EXPECTED=1` writes what these print anew.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::guide::carried_out;
use super::packaging;

const GUIDES: [&str; 3] = [
    "migrating-from-carbon-relay-ng.md",
    "migrating-from-carbon-c-relay.md",
    "migrating-from-carbon.md",
];

#[test]
fn guides_say_what_happens() {
    for name in GUIDES {
        let guide = fs::read_to_string(packaging(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (found, commands) = carried_out(&guide, folder.path());
        assert!(commands >= 4, "{name}");
        if std::env::var_os("BATON_WRITE_EXPECTED").is_some() {
            fs::write(packaging(name), &found).unwrap();
        }
        let guide = fs::read_to_string(packaging(name)).unwrap();
        for (found, said) in found.lines().zip(guide.lines()) {
            assert_eq!(found, said, "{name}");
        }
        assert_eq!(found, guide, "{name}");
    }
}

/// Of the listeners the guides take out what the socket units hold, and nothing else.
#[test]
fn other_listeners_stay_in_the_config() {
    let config = r#"
[listen]
line = [
    "tcp://0.0.0.0:2003",
    "udp://[::]:2003",
    "tcp://0.0.0.0:2103",
    "unix:/run/old.sock",
]
http = ["tcp://127.0.0.1:8081"]

[[route]]
key = "a"
destinations = [
    "10.0.0.1:2003",
    "10.0.0.1:2004",
]
"#;
    for name in GUIDES {
        let guide = fs::read_to_string(packaging(name)).unwrap();
        let (_, command) = guide.split_once(" sed ").unwrap();
        let script = command.split('\'').nth(1).unwrap();
        let mut sed = Command::new("sed")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = sed.stdin.take().unwrap();
        input.write_all(config.as_bytes()).unwrap();
        drop(input);
        let left = String::from_utf8(sed.wait_with_output().unwrap().stdout).unwrap();
        let left: toml::Table = left
            .parse()
            .unwrap_or_else(|e| panic!("{name}: {e}:\n{left}"));
        let mut expected: toml::Table = config.parse().unwrap();
        expected["listen"]["line"] = vec!["tcp://0.0.0.0:2103", "unix:/run/old.sock"].into();
        assert_eq!(left, expected, "{name}");
    }
}
