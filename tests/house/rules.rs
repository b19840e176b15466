//! The rules.

use std::path::Path;

use crate::source::{Source, Token};

/// A file may be so long.
pub const MAX_LINES: usize = 500;

/// A room: `src/NAME.rs` and what is in `src/NAME/`.
pub struct Room {
    pub name: &'static str,
    /// It imports only rooms of lower levels.
    level: u8,
    /// Of those, only these.
    only: Option<&'static [&'static str]>,
    /// Whether time and I/O are left to others.
    pure: bool,
}

const fn room(level: u8, name: &'static str) -> Room {
    Room {
        name,
        level,
        only: None,
        pure: false,
    }
}

impl Room {
    const fn only(self, rooms: &'static [&'static str]) -> Room {
        Room {
            only: Some(rooms),
            ..self
        }
    }

    const fn pure(self) -> Room {
        Room { pure: true, ..self }
    }
}

pub const ROOMS: &[Room] = &[
    // The operating system.
    room(0, "sys"),
    // Pure rooms, and what two processes share.
    room(10, "decode").only(&[]).pure(),
    room(10, "validate").only(&[]).pure(),
    room(10, "route").only(&[]).pure(),
    room(10, "template").only(&[]).pure(),
    room(11, "rewrite").only(&["route", "template"]).pure(),
    room(11, "aggregate").only(&["route", "template"]).pure(),
    room(11, "encode").only(&["decode"]).pure(),
    room(12, "ledger"),
    room(11, "handover").only(&["sys"]),
    room(13, "queue"),
    room(12, "state").only(&[]),
    room(13, "metrics"),
    // The line that a metric walks.
    room(20, "pipeline").pure(),
    room(20, "spec").pure(),
    room(20, "aggregating").only(&["aggregate"]).pure(),
    // The edges.
    room(30, "gate"),
    room(30, "profile").only(&[]),
    room(30, "tap").only(&["route", "validate"]),
    room(31, "intake"),
    room(32, "listen"),
    room(32, "destination"),
    room(33, "spool"),
    // Putting it together. The supervisor may be older than the worker, so it knows next to nothing;
    // the drill is a client.
    room(40, "config"),
    room(41, "ruleset"),
    room(41, "amend").only(&["config", "spec"]).pure(),
    room(41, "logging"),
    room(45, "admin"),
    room(42, "convert").only(&[]).pure(),
    room(50, "worker"),
    room(50, "supervisor").only(&["handover", "sys", "ledger"]),
    room(50, "drill").only(&["handover", "sys"]),
    room(60, "cli"),
];

/// `src/main.rs`.
const MAIN: Room = room(70, "main").only(&["cli"]);
/// `src/lib.rs`, the map, has nothing but modules.
const LIB: Room = room(0, "lib").only(&[]);

/// The room of a name, if there is one.
pub fn room_of(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// All that a file does against the rules, as `path:line: …`. Its path is that from the root.
pub fn complaints(path: &Path, text: &str) -> Vec<String> {
    let inside = path.strip_prefix("src").unwrap_or(path).with_extension("");
    let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
    let room = match parts[0] {
        "main" => &MAIN,
        "lib" => &LIB,
        name => match room_of(name) {
            Some(room) => room,
            None => return vec![format!("{}: {name} has no level in ROOMS", path.display())],
        },
    };
    let file = parts[parts.len() - 1];
    let all = Source::new(text);
    let code = match file == "tests" || file.ends_with("_tests") {
        true => Source::new(""),
        false => all.without_tests(),
    };

    let mut said: Vec<(usize, String)> = Vec::new();
    let root = if room.name == "main" {
        "baton"
    } else {
        "crate"
    };
    let depth = if room.level == MAIN.level || room.name == "lib" {
        0
    } else {
        parts.len()
    };
    let named = code.below_root(root, depth);
    said.extend(named.iter().filter_map(|token| imported(room, token)));
    // Test code may do no more than import, print and tell the time.
    said.extend(nowhere(room, &all, &parts));
    said.extend(not_in_the_program(room, &code, &parts));
    said.sort();
    let told = said
        .into_iter()
        .map(|(line, what)| format!("{}:{line}: {what}", path.display()));
    told.collect()
}

/// What is wrong with this import.
fn imported(room: &Room, token: &Token) -> Option<(usize, String)> {
    let (name, line) = (token.text.as_str(), token.line);
    if name == room.name {
        return None;
    }
    let Some(other) = room_of(name) else {
        return Some((line, format!("{name} is not a room")));
    };
    if let Some(only) = room.only
        && !only.contains(&name)
    {
        let what = match only {
            [] => "imports no room".to_owned(),
            only => format!("imports only {}", only.join(", ")),
        };
        return Some((line, format!("{} {what}, and not {name}", room.name)));
    }
    (other.level >= room.level).then(|| {
        let (from, to) = (room.level, other.level);
        (
            line,
            format!(
                "{} (level {from}) imports {name} (level {to}): it may only import lower levels",
                room.name
            ),
        )
    })
}

/// What must not be there, test code or not.
fn nowhere(room: &Room, source: &Source, parts: &[&str]) -> Vec<(usize, String)> {
    let mut rules: Vec<(&[&str], &str)> = vec![
        (&["unbounded_channel"], "every queue is bounded"),
        (&["todo", "!"], "what is not built is left out"),
        (&["unimplemented", "!"], "what is not built is left out"),
        (
            &["#", "[", "allow"],
            "an exception is an #[expect(…, reason = …)]",
        ),
    ];
    if room.name != "sys" {
        rules.push((&["unsafe"], "unsafe code is in sys only"));
    }
    if !parts.starts_with(&["state", "store"]) {
        rules.push((&["rusqlite"], "SQLite is in state/store only"));
    }
    found(source, &rules)
}

/// What must not be there but in test code.
fn not_in_the_program(room: &Room, source: &Source, parts: &[&str]) -> Vec<(usize, String)> {
    let mut rules: Vec<(&[&str], &str)> = Vec::new();
    if room.name != "cli" {
        rules.push((&["println", "!"], "only cli prints"));
        rules.push((&["print", "!"], "only cli prints"));
    }
    if room.pure || parts == ["supervisor", "machine"] {
        rules.push((&["Instant", "::", "now"], "time is an argument here"));
        rules.push((&["SystemTime", "::", "now"], "time is an argument here"));
        rules.push((&["std", "::", "fs"], "no I/O here"));
        rules.push((&["TcpStream"], "no I/O here"));
        rules.push((&["UdpSocket"], "no I/O here"));
    }
    if room.pure || room.name == "supervisor" {
        rules.push((&["tokio"], "no tokio here"));
    }
    found(source, &rules)
}

fn found(source: &Source, rules: &[(&[&str], &str)]) -> Vec<(usize, String)> {
    let lines = |(tokens, why): &(&[&str], &str)| {
        let what = format!("`{}`: {why}", tokens.concat());
        let lines = source.lines_with(tokens).into_iter();
        lines
            .map(move |line| (line, what.clone()))
            .collect::<Vec<_>>()
    };
    rules.iter().flat_map(lines).collect()
}

#[test]
fn an_import_goes_down() {
    for (path, text, expected) in [
        ("src/listen.rs", "use crate::queue::Ring;", ""),
        (
            "src/listen/tcp.rs",
            "use crate::listen::Accept; use super::super::gate::Gate;",
            "",
        ),
        ("src/intake.rs", "use crate::gate::Gate;", ""),
        (
            "src/cli/run.rs",
            "use crate::{config, supervisor, worker};",
            "",
        ),
        ("src/main.rs", "use baton::cli;", ""),
        (
            "src/sys.rs",
            "use crate::{queue};",
            "sys (level 0) imports queue (level 13)",
        ),
        (
            "src/queue/ring.rs",
            "\nuse super::super::spec::A;",
            "ring.rs:2: queue (level 13)",
        ),
        (
            "src/gate.rs",
            "use crate::intake::A;",
            "gate (level 30) imports intake (level 31)",
        ),
        (
            "src/listen.rs",
            "fn f(a: crate::destination::A) {}",
            "listen (level 32)",
        ),
        (
            "src/queue.rs",
            "use super::spec::A;",
            "queue (level 13) imports spec (level 20)",
        ),
        (
            "src/supervisor/child.rs",
            "use crate::config;",
            "imports only handover, sys, ledger",
        ),
        (
            "src/drill.rs",
            "use crate::ledger;",
            "imports only handover, sys",
        ),
        (
            "src/decode.rs",
            "use crate::sys;",
            "decode imports no room, and not sys",
        ),
        ("src/main.rs", "use baton::worker;", "imports only cli"),
        (
            "src/listen.rs",
            "use crate::nothing;",
            "nothing is not a room",
        ),
        ("src/listen.rs", "use crate::*;", "* is not a room"),
        ("src/attic.rs", "", "attic has no level"),
    ] {
        assert_said(path, text, expected);
    }
}

#[test]
fn what_is_forbidden_is_found() {
    for (path, text, expected) in [
        ("src/sys/memory.rs", "unsafe {}", ""),
        ("src/cli.rs", "println!();", ""),
        ("src/route.rs", "fn f(now: Instant) {}", ""),
        ("src/queue.rs", "use tokio::sync::Notify;", ""),
        ("src/queue.rs", "unsafe {}", "`unsafe`"),
        (
            "src/queue.rs",
            "#[cfg(test)] mod tests { unsafe {} }",
            "`unsafe`",
        ),
        (
            "src/queue.rs",
            "let a = unbounded_channel();",
            "every queue is bounded",
        ),
        ("src/queue.rs", "todo!()", "left out"),
        ("src/queue.rs", "unimplemented!()", "left out"),
        ("src/queue.rs", "#[allow(dead_code)]", "expect"),
        (
            "src/queue.rs",
            "use rusqlite::Connection;",
            "in state/store only",
        ),
        ("src/state.rs", "use rusqlite::Row;", "in state/store only"),
        ("src/state/store.rs", "use rusqlite::Row;", ""),
        ("src/state/store/open.rs", "use rusqlite::Row;", ""),
        ("src/queue.rs", "println!();", "only cli prints"),
        (
            "src/route/table.rs",
            "let now = Instant::now();",
            "time is an argument",
        ),
        (
            "src/supervisor/machine.rs",
            "let now = Instant::now();",
            "time is an argument",
        ),
        ("src/supervisor.rs", "use tokio::net;", "no tokio"),
    ] {
        assert_said(path, text, expected);
    }
}

#[test]
fn test_code_may_import_and_print() {
    let text = "use crate::config; fn f() { println!() }";
    assert_eq!(complaints(Path::new("src/queue.rs"), text).len(), 2);
    for (path, text) in [
        (
            "src/queue.rs",
            format!("#[cfg(test)] mod tests {{ {text} }}"),
        ),
        ("src/queue/tests.rs", text.to_owned()),
        ("src/queue/ring_tests.rs", text.to_owned()),
    ] {
        assert_said(path, &text, "");
    }
}

fn assert_said(path: &str, text: &str, expected: &str) {
    let said = complaints(Path::new(path), text);
    match (&said[..], expected) {
        ([], "") => {}
        ([one], expected) if !expected.is_empty() && one.contains(expected) => {}
        _ => panic!("{path}: {text}: {expected:?} expected, not {said:?}"),
    }
}
