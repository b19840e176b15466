//! What is refused, in which words, and with which exit status.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use crate::bed::{Bed, command};
use crate::relay::free_address;

#[test]
fn what_the_daemon_refuses_is_told_line_by_line() {
    let bed = Bed::start();
    for (args, said) in [
        (&["route", "show", "al"][..], "there is no route \"al\""),
        (
            &["route", "edit", "al", "--set", "prefix=a"],
            "did you mean all?",
        ),
        (&["route", "del", "none"], "there is no route \"none\""),
        (
            &["route", "move", "none", "--first"],
            "there is no route \"none\"",
        ),
        (&["route", "move", "all"], "where to? --first"),
        (
            &["route", "add", "all", "file:x"],
            "there is a route \"all\" already",
        ),
        (&["route", "add", "x", "file:x", "queue=lots"], "queue"),
        (
            &["route", "add", "x", "queue=1MiB"],
            "expected an address before its options",
        ),
        (
            &["route", "add", "x", "file:x", "--set", "prefix"],
            "expected KEY=VALUE",
        ),
        (&["route", "edit", "all", "--set", "prefx=a"], "prefix"),
        (&["route", "edit", "all"], "an editor needs a terminal"),
        (
            &["blocklist", "show", "0"],
            "there is no blocklist rule \"0\"",
        ),
        (
            &["blocklist", "del", "7"],
            "there is no blocklist rule \"7\"",
        ),
        (&["blocklist", "add", "prefix"], "expected"),
        (&["rewriter", "add", "/(/", "x"], "rewriter.old"),
        (&["aggregation", "add", "sun", "x"], "sum"),
        (
            &["destination", "add", "none", "file:x"],
            "there is no route \"none\"",
        ),
        (
            &["destination", "add", "all", "file:x", "file:y"],
            "expected one address",
        ),
        (
            &["destination", "del", "none"],
            "there is no destination \"none\"",
        ),
        (&["destination", "edit", "out", "quue=1MiB"], "queue"),
        (
            &["destination", "edit", "out", "queue"],
            "expected OPTION=VALUE",
        ),
        (
            &["destination", "list", "none"],
            "there is no route \"none\"",
        ),
        (&["history", "undo", "99"], "there is no change 99"),
        (&["config", "reset", "route", "none"], "none"),
        (
            &[
                "route",
                "edit",
                "all",
                "--set",
                "prefix=a",
                "--if-version",
                "1.2",
            ],
            "was changed meanwhile",
        ),
    ] {
        let error = bed.failed(1, args);
        assert!(
            error.starts_with("baton: ") && error.contains(said),
            "{args:?}: {error}"
        );
    }
    let several = bed.failed(
        1,
        &[
            "route", "add", "x", "file:x", "--regex", "(", "--type", "some",
        ],
    );
    assert!(
        several.contains("2 things are wrong:\n  route."),
        "{several}"
    );
    let usage = bed.failed(2, &["route", "move", "all", "--first", "--last"]);
    assert!(usage.contains("cannot be used with"), "{usage}");
    bed.failed(2, &["config", "reset", "rout"]);
    bed.failed(2, &["route", "del", "all", "--backlog", "burn"]);
    assert_eq!(bed.routes(), ["all"]);
    assert_eq!(bed.done(&["history"]), "nothing was changed\n");
}

#[test]
fn a_refusal_as_json_is_the_problem() {
    let bed = Bed::start();
    let output = bed.run(&["route", "del", "none", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let problem: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problem["status"], 404);
}

#[test]
fn a_backlog_is_shown_with_the_three_words() {
    let mut bed = Bed::start();
    bed.with_backlog(100);
    for args in [
        &["route", "del", "slow"][..],
        &["destination", "edit", "slow", "id=other"],
    ] {
        let error = bed.failed(1, args);
        assert!(error.contains("slow: "), "{error}");
        for word in ["queued", "spooled", "drain", "discard", "keep"] {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
    let dry = bed.done(&["route", "del", "slow", "--dry-run"]);
    assert!(dry.contains("slow would go and has lines"), "{dry}");
    let list = bed.done(&["route", "list"]);
    assert!(list.contains("0/1 up"), "{list}");
    bed.done(&["route", "del", "slow", "--backlog", "discard"]);
    assert_eq!(bed.routes(), ["all"]);
}

#[test]
fn without_a_daemon_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("baton.toml"), "").unwrap();
    for args in [
        &["route", "list"][..],
        &["history"],
        &["config", "diff"],
        &["route", "del", "a"],
        &["top", "--once"],
    ] {
        let output = command(folder.path(), args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{args:?}: {said}");
        assert!(
            said.contains("no baton answers on unix:") && said.contains("api.sock"),
            "{said}"
        );
    }
    let mut nowhere = std::process::Command::new(env!("CARGO_BIN_EXE_baton"));
    let output = nowhere
        .args(["route", "list", "--api"])
        .arg(format!("http://{}", free_address()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

/// Answers one request so; returns what was asked.
fn answering(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut some = [0; 4096];
        while !asked.windows(4).any(|four| four == b"\r\n\r\n") {
            let length = stream.read(&mut some).unwrap();
            asked.extend_from_slice(&some[..length]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (address, asked)
}

#[test]
fn a_token_is_sent_and_one_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let ask = |address: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_baton"));
        command
            .args(["route", "list", "--api", address, "--token-file"])
            .arg(&path)
            .stdin(Stdio::null());
        command.output().unwrap()
    };
    let (address, asked) = answering(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 26\r\n\r\n{\"detail\": \"wrong token\"} ",
    );
    let output = ask(&address);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("wrong token; say --token-file"),
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(1));
    let head = asked.join().unwrap();
    assert!(head.contains("Authorization: Bearer s3cret\r\n"), "{head}");
    assert!(head.starts_with("GET /api/v1/table HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("User-Agent: baton/"), "{head}");
    std::fs::write(&path, "two words\n").unwrap();
    assert_eq!(ask(&address).status.code(), Some(1));
    std::fs::write(&path, "s3cret").unwrap();
    for answer in [
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let (address, asked) = answering(answer);
        let output = ask(&address);
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        asked.join().unwrap();
    }
    let (address, asked) =
        answering("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"detail\": \"restart under way\"}");
    assert_eq!(ask(&address).status.code(), Some(75));
    asked.join().unwrap();
}
