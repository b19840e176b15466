//! Server-sent events of a real relay.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::client::{request, unix};
use crate::relay::{Config, LIMIT, Relay};

const HOST: &str = "Host: localhost\r\n";

struct Events(BufReader<UnixStream>);

impl Events {
    fn of(relay: &Relay) -> Events {
        let mut stream = UnixStream::connect(relay.instance.path("api.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
            .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut events = Events(BufReader::new(stream));
        let head = events.until("\r\n\r\n");
        assert!(
            head.contains("content-type: text/event-stream\r\n"),
            "{head}"
        );
        assert!(head.contains("HTTP/1.1 200 "), "{head}");
        events
    }

    fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            assert_ne!(self.0.read_line(&mut text).unwrap(), 0, "{text}");
        }
        text
    }

    /// The next event of that name, and its data.
    fn next(&mut self, name: &str) -> Value {
        loop {
            self.until(&format!("event: {name}\n"));
            let mut data = String::new();
            self.0.read_line(&mut data).unwrap();
            if let Some(data) = data.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    fn at_end(&mut self) -> String {
        let mut rest = String::new();
        while self.0.read_line(&mut rest).unwrap() > 0 {}
        rest
    }
}

#[test]
fn the_status_comes_each_second_and_the_table_when_it_changes() {
    let relay = Relay::start(&Config::to_file());
    let mut events = Events::of(&relay);
    let first = events.next("table")["version"].clone();
    assert_eq!(events.next("status")["generation"], 1);
    let start = std::time::Instant::now();
    relay.send(b"a 1 1790000000\n");
    while events.next("status")["totals"]["in"] != 1 {}
    assert!(start.elapsed() < LIMIT);
    let socket = relay.instance.path("api.sock");
    let added = request("POST /api/v1/blocklist", HOST, r#"{"rule": "prefix x"}"#);
    let version = unix(&socket, &added).json()["version"].clone();
    assert_ne!(version, first);
    assert_eq!(events.next("table")["version"], version);
}

#[test]
fn a_hand_over_says_so_and_the_successor_goes_on() {
    let mut relay = Relay::start(&Config::to_file());
    let mut events = Events::of(&relay);
    assert_eq!(events.next("status")["generation"], 1);
    relay.instance.reload().unwrap();
    events.until("retry: 500\n");
    events.next("restarting");
    assert!(!events.at_end().contains("event: "));
    assert_eq!(Events::of(&relay).next("status")["generation"], 2);
}

#[test]
fn there_are_only_so_many_and_others_are_not_kept_out() {
    let relay = Relay::start(&Config::to_file());
    let mut open: Vec<Events> = (0..32).map(|_| Events::of(&relay)).collect();
    let socket = relay.instance.path("api.sock");
    let more = unix(&socket, &request("GET /api/v1/events", HOST, ""));
    assert_eq!(more.status, 503, "{more:?}");
    assert_eq!(more.header("content-type"), "application/problem+json");
    let table = unix(&socket, &request("GET /api/v1/table", HOST, ""));
    assert_eq!(table.status, 200);
    // Each gets the status; one that goes makes room.
    for events in &mut open {
        events.next("status");
    }
    open.pop();
    crate::relay::wait_for("room", || {
        unix(&socket, &request("HEAD /api/v1/events", HOST, "")).status == 200
    });
}
