//! What isn't line protocol, on the line port.

use std::io::Write;

use serde_json::Value;

use crate::relay::{Config, Relay, hang_up};

const FIRST: &str = "the first rejected line of this connection";

/// A ClientHello as far as its random bytes, with a newline among them.
const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xa4\x0a\x91\x07\xff\x00";
const HTTP: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: graphite\r\nAccept: */*\r\n\r\n";
const PICKLE: &[u8] =
    b"\x00\x00\x00\x1e\x80\x02]q\x00X\x01\x00\x00\x00a\nK\x01K\x02\x86q\x01\x86a.";

#[test]
fn case_14_junk_is_rejected_as_lines_and_the_connection_goes_on() {
    let kinds = [
        (TLS, "a TLS client hello", 2),
        (HTTP, "an HTTP request", 3),
        (PICKLE, "a pickle frame", 2),
        (b"\x00\xff\xfe\x01\x02\n\x00\n", "binary data", 2),
        (
            b"just words and more\nagain nothing of use\n",
            "a bad line",
            2,
        ),
    ];
    let mut relay = Relay::start(&Config::to_file());
    let mut lines = 0;
    for (at, (bytes, what, rejected)) in kinds.into_iter().enumerate() {
        let mut client = relay.connect();
        // The end of what was last of it, and a good line.
        let good = format!("\ngood.{at} 1 1700000000\n");
        client.write_all(bytes).unwrap();
        client.write_all(good.as_bytes()).unwrap();
        lines += rejected + 1;
        relay.wait("the good line", |status| status.total("in") == Some(lines));
        // The same again: nobody is told twice.
        client.write_all(bytes).unwrap();
        client.write_all(good.as_bytes()).unwrap();
        hang_up(client);
        lines += rejected + 1;
        let status = relay.wait_done(lines);
        assert_eq!(status.total("routed"), Some(2 * (at as u64 + 1)), "{what}");
        assert_eq!(relay.logged(FIRST), at + 1, "{what}");
        let log = relay.instance.log();
        let told = log.lines().rfind(|line| line.contains(FIRST)).unwrap();
        assert!(told.contains(what), "{told}");
    }
    assert_eq!(relay.file("out").len(), 10);
    relay.check_books();
}

#[test]
fn case_14_what_never_ends_a_line_is_told_too() {
    let mut relay = Relay::start(&Config::to_file());
    // What waits for an answer, and goes when there is none.
    relay.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    relay.send(b"\x00\x00\x00\x0e\x80\x02]q\x00.");
    // A line cut short is nothing to tell.
    relay.send(b"good 1 17000");
    let status = relay.wait_done(3);
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(3)
    );
    let log = relay.instance.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(FIRST)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("a TLS client hello"), "{told:?}");
    assert!(told[1].contains("a pickle frame"), "{told:?}");
    relay.check_books();
}

#[test]
fn the_last_rejected_lines_can_be_looked_at() {
    let mut relay = Relay::start(&Config::to_file());
    assert_eq!(relay.get("/api/rejected"), Value::Array(Vec::new()));
    relay.send("a 1 2 3\nb x 1700000000\nc nan 1700000000\nd 1 -5\n");
    relay.udp().send(b"e\x01f 1 1700000000").unwrap();
    relay.wait_done(5);
    let last = relay.get("/api/rejected");
    let seen: Vec<_> = last
        .as_array()
        .unwrap()
        .iter()
        .map(reason_and_line)
        .collect();
    let expected = [
        ("fields", "a 1 2 3"),
        ("value", "b x 1700000000"),
        ("nan", "c nan 1700000000"),
        ("timestamp", "d 1 -5"),
        ("name", "e\\x01f 1 1700000000"),
    ];
    assert_eq!(seen, expected);
    let listeners = [
        format!("tcp://{}", relay.address()),
        format!("udp://{}", relay.address()),
    ];
    assert_eq!(last[0]["listener"], listeners[0]);
    assert_eq!(last[4]["listener"], listeners[1]);
    // However many there are, the list is bounded, of each reason, and ends with the newest.
    for number in 0..150 {
        relay.send(format!("bad{number}\n"));
    }
    relay.wait_done(155);
    let last = relay.get("/api/rejected");
    let last = last.as_array().unwrap();
    assert_eq!(last.len(), 104);
    assert_eq!(reason_and_line(&last[0]), expected[1]);
    assert_eq!(reason_and_line(&last[3]), expected[4]);
    assert_eq!(reason_and_line(&last[103]), ("fields", "bad149"));
    relay.check_books();
}

#[test]
fn the_last_rejected_lines_hold_those_too_long_and_unterminated() {
    let mut relay = Relay::start(&Config::to_file());
    relay.send(format!("{} 1 1700000000\n", "long".repeat(100_000)));
    relay.send("cut 15");
    relay.wait_done(2);
    let last = relay.get("/api/rejected");
    assert_eq!(last[0]["reason"], "too-long");
    assert!(last[0]["line"].as_str().unwrap().starts_with("longlong"));
    assert!(last[0]["line"].as_str().unwrap().len() < 1024);
    assert_eq!(reason_and_line(&last[1]), ("unterminated", "cut 15"));
    relay.check_books();
}

fn reason_and_line(sample: &Value) -> (&str, &str) {
    (
        sample["reason"].as_str().unwrap(),
        sample["line"].as_str().unwrap(),
    )
}
