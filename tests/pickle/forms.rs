//! What Python's own pickler makes of datapoints.

use std::io::Write;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::relay::{Config, Relay, wait_closed};

pub fn to_file() -> Config {
    Config {
        listen: "pickle = [\"unix:pickle.sock\"]".into(),
        ..Config::to_file()
    }
}

/// What a Python program writes.
fn python(program: &str) -> Vec<u8> {
    let run = Command::new("python3").args(["-c", program]).output();
    let run = run.expect("python3 is needed to pickle");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    run.stdout
}

/// Sends this to the pickle port, and returns once the relay has ended the connection.
pub fn send(relay: &Relay, bytes: &[u8]) {
    let mut client = connect(relay);
    // The relay may have ended it before all is written.
    let _ = client.write_all(bytes);
    let _ = client.shutdown(std::net::Shutdown::Write);
    wait_closed(client);
}

pub fn connect(relay: &Relay) -> std::os::unix::net::UnixStream {
    let client = std::os::unix::net::UnixStream::connect(relay.instance.path("pickle.sock"));
    let client = client.unwrap();
    client.set_read_timeout(Some(crate::relay::LIMIT)).unwrap();
    client
}

const PROGRAM: &str = r#"
import pickle, struct, sys
def send(points, protocol):
    data = pickle.dumps(points, protocol)
    sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
for p in range(6):
    send([
        ("float.%d" % p, (1700000000, 0.1)),
        ("small.%d" % p, (1700000000.9, 1e-7)),
        ("whole.%d" % p, (1700000000, 5.0)),
        ("int.%d" % p, (1700000000, -42)),
        ("long.%d" % p, (1700000000, 2**70)),
        ("negative.%d" % p, (1700000000, -2**70)),
        ("text.%d" % p, ("1700000000", "007.50")),
        ("bool.%d" % p, (1700000000, True)),
        ("gr\u00f6\u00dfe.\U0001f600.%d" % p, (1700000000, 1)),
        ["lists.%d" % p, [1700000000, 2]],
    ], p)
    send((("outer.%d" % p, (1700000000, 1)), ("outer.%d" % p, (1700000060, 2))), p)
    send([("many.%d.%d" % (p, i), (1700000000 + i, i)) for i in range(2500)], p)
    name = "x" * 300 + ".%d" % p
    send([(name, (1700000000 + i, i)) for i in range(3)], p)
    if p >= 3:
        send([(b"bytes.%d" % p, (1700000000, 1))], p)
    if p >= 5:
        send([(bytearray(b"array.%d" % p), (1700000000, 1))], p)
"#;

#[test]
fn case_16_all_protocols_of_python_and_all_forms_of_points() {
    let mut relay = Relay::start(&to_file());
    send(&relay, &python(PROGRAM));
    let mut expected = Vec::new();
    for p in 0..6 {
        let mut add = |line: String| expected.push(format!("{line} 1700000000"));
        add(format!("float.{p} 0.1"));
        add(format!("small.{p} 1e-7"));
        add(format!("whole.{p} 5"));
        add(format!("int.{p} -42"));
        add(format!("long.{p} 1180591620717411303424"));
        add(format!("negative.{p} -1180591620717411303424"));
        add(format!("text.{p} 007.50"));
        add(format!("bool.{p} 1"));
        add(format!("größe.😀.{p} 1"));
        add(format!("lists.{p} 2"));
        add(format!("outer.{p} 1"));
        expected.push(format!("outer.{p} 2 1700000060"));
        let many = |i: u32| format!("many.{p}.{i} {i} {}", 1_700_000_000 + i);
        expected.extend((0..2500).map(many));
        let long = |i: u32| format!("{}.{p} {i} {}", "x".repeat(300), 1_700_000_000 + i);
        expected.extend((0..3).map(long));
        let bytes = [("bytes", 3), ("array", 5)]
            .into_iter()
            .filter(|(_, from)| p >= *from);
        expected.extend(bytes.map(|(name, _)| format!("{name}.{p} 1 1700000000")));
    }
    let status = relay.wait_done(expected.len() as u64);
    assert_eq!(relay.file("out"), expected);
    assert_eq!(status.total("rejected"), Some(0));
    relay.check_books();
}

#[test]
fn case_16_and_18_bad_items_are_refused_alone_and_the_rest_by_the_rules_of_lines() {
    let mut relay = Relay::start(&to_file());
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let before = now();
    let program = r#"
import pickle, struct, sys
points = [
    ("good", (1700000000, 1)),
    ("a b", (1700000000, 1)), ("a\nb 1 1", (1700000000, 1)), ("", (1700000000, 1)), ("a\x7f", (1700000000, 1)), # name
    ("none", (1700000000, None)), ("dict", {}), ("deep", (1700000000, [[[1]]])), 5, None, ("one",), ("a", (1, 2, 3)), (7, (1, 2)), # item
    ("nan", (1700000000, float("nan"))), ("inf", (1700000000, float("-inf"))), # nan
    ("text", (1700000000, "5 6")), ("word", (1700000000, "five")), ("huge", (1700000000, 10**400)), # value
    ("late", (2**32, 1)), ("early", (-2, 1)), ("half", (-0.5, 1)), ("never", (float("nan"), 1)), ("ms", (1700000000000.0, 1)), # timestamp
    (";tags", (1700000000, 1)), # name, by its level
    ("x" * 20000, (1700000000, 1)), # too-long
    ("now", (-1, 1)), ("now", (-1.0, 1)),
]
data = pickle.dumps(points, 2)
sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
"#;
    send(&relay, &python(program));
    let status = relay.wait_done(27);
    let rejected = |reason: &str| status.number(&format!("/worker/totals/rejected/{reason}"));
    assert_eq!(rejected("name"), Some(5), "{}", status.document());
    assert_eq!(rejected("pickle-item"), Some(8));
    assert_eq!(rejected("nan"), Some(2));
    assert_eq!(rejected("value"), Some(3));
    assert_eq!(rejected("timestamp"), Some(5));
    assert_eq!(rejected("too-long"), Some(1));
    let lines = relay.file("out");
    assert_eq!((lines.len(), &lines[0][..]), (3, "good 1 1700000000"));
    for line in &lines[1..] {
        let stamp: u64 = line.strip_prefix("now 1 ").unwrap().parse().unwrap();
        assert!((before..=now()).contains(&stamp), "{line}");
    }
    // All of it can be looked at.
    let page = relay.page("/metrics");
    assert!(page.contains("reason=\"pickle-item\""), "{page}");
    let samples = relay.get("/api/rejected");
    let has = |reason: &str, line: &str| {
        let same = |s: &serde_json::Value| s["reason"] == reason && s["line"] == line;
        samples.as_array().unwrap().iter().any(same)
    };
    assert!(has("name", "item 2: a b"), "{samples}");
    assert!(
        samples[0]["listener"]
            .as_str()
            .unwrap()
            .starts_with("unix:"),
        "{samples}"
    );
    relay.check_books();
}

#[test]
fn case_16_a_pickle_that_is_none_costs_itself_alone() {
    let mut relay = Relay::start(&to_file());
    let mut client = connect(&relay);
    let good = crate::frame::of_lines([&b"good 1 1700000000"[..]]);
    let system = crate::frame::framed(b"cos\nsystem\n(S'touch hacked'\ntR.");
    let empty = crate::frame::framed(b"");
    let none = crate::frame::framed(b"\x80\x02}.");
    for bad in [&system, &empty, &none] {
        client.write_all(&[&good[..], bad, &good].concat()).unwrap();
    }
    let status = relay.wait_done(9);
    assert_eq!(status.number("/worker/totals/rejected/pickle"), Some(3));
    assert_eq!(relay.file("out"), ["good 1 1700000000"; 6]);
    assert!(!relay.instance.path("hacked").exists());
    let samples = relay.get("/api/rejected");
    assert_eq!(samples[0]["reason"], "pickle");
    let told = samples[0]["line"].as_str().unwrap();
    assert!(
        told.starts_with("the opcode 0x63 is not for data: cos"),
        "{told}"
    );
    relay.check_books();
}
