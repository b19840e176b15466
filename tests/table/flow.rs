//! Lines while the table changes: none lost, doubled or torn, backlogs as it was said.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use baton::drill::{Status, free_ports};
use serde_json::{Value, json};

use crate::api::{ask, done};
use crate::relay::{Config, LIMIT, Relay, wait_for};

/// A store that keeps what it gets.
struct Store {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Store {
    /// An address where nobody listens yet.
    fn absent() -> Store {
        let [port] = free_ports().unwrap();
        Store {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            lines: Arc::default(),
        }
    }

    fn open(self) -> Store {
        let listener = TcpListener::bind(self.address).unwrap();
        let lines = self.lines.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let lines = lines.clone();
                let stream = BufReader::new(stream.unwrap());
                std::thread::spawn(move || {
                    for line in stream.lines().map_while(Result::ok) {
                        lines.lock().unwrap().push(line);
                    }
                });
            }
        });
        self
    }

    fn count(&self) -> usize {
        self.lines.lock().unwrap().len()
    }
}

fn numbered(prefix: &str, from: u64, to: u64) -> String {
    let line = |n| format!("{prefix}{n} {n} 1790000000\n");
    (from..to).map(line).collect()
}

fn lines(prefix: &str, from: u64, to: u64) -> Vec<String> {
    let text = numbered(prefix, from, to);
    text.lines().map(str::to_owned).collect()
}

/// Sends until it is told to end, some 100,000 lines/s. Tells how many lines.
fn send_until(relay: &Relay, end: Arc<AtomicBool>) -> JoinHandle<u64> {
    let mut stream = relay.connect();
    std::thread::spawn(move || {
        let mut sent = 0;
        while !end.load(Ordering::SeqCst) {
            let text = numbered("a.", sent, sent + 200);
            stream.write_all(text.as_bytes()).unwrap();
            sent += 200;
            std::thread::sleep(Duration::from_millis(2));
        }
        sent
    })
}

/// The numbers of the lines, which must go up.
fn numbers(file: &[String]) -> Vec<u64> {
    let number = |line: &String| line.split(' ').nth(1).unwrap().parse().unwrap();
    let numbers: Vec<u64> = file.iter().map(number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "out of order, or twice");
    numbers
}

/// Where all lines go is flipped again and again, by one change each: each line is at one of the two places, and those sent
/// after a change was answered are where that says.
#[test]
fn changes_under_load_lose_and_misroute_nothing() {
    let routes = r#"
[[route]]
key = "left"
prefix = "a."
destinations = ["file:left id=left full=block"]
[[route]]
key = "right"
destinations = ["file:right id=right full=block"]
"#;
    let mut relay = Relay::start(&Config {
        top: "first_only = true\n".to_owned(),
        routes: routes.to_owned(),
        ..Config::default()
    });
    let http = relay.http;
    let end = Arc::new(AtomicBool::new(false));
    let sender = send_until(&relay, end.clone());
    relay.wait("the first lines", |s| s.total("in") > Some(0));
    let flips = 60;
    for flip in 0..flips {
        let path = "/api/v1/routes/left";
        match flip % 4 {
            0 => done(http, "PATCH", path, &json!({"prefix": "none."})),
            1 => done(http, "PATCH", path, &json!({"prefix": "a."})),
            2 => done(
                http,
                "DELETE",
                &format!("{path}?backlog=drain"),
                &Value::Null,
            ),
            _ => {
                let left = json!({"key": "left", "prefix": "a.", "destinations": ["file:left id=left full=block"]});
                // What is being put away can't be had for a moment.
                wait_for("it is taken", || {
                    let path = "/api/v1/routes?place=first";
                    ask(http, "POST", path, "", &left).status == 201
                });
                done(
                    http,
                    "POST",
                    "/api/v1/blocklist",
                    &json!({"rule": format!("prefix none{flip}.")}),
                )
            }
        };
        relay.send(format!("a.mark{flip} {flip} 1790000001\n"));
        // Lines flow while the table has this version.
        let now = relay.status().total("in");
        relay.wait("more lines", |s| s.total("in") > now);
    }
    end.store(true, Ordering::SeqCst);
    let sent = sender.join().unwrap();
    let status = relay.wait_done(sent + flips);
    assert_eq!(status.total("blocked"), Some(0));
    assert_eq!(status.total("unrouted"), Some(0));
    let parts = |name: &str| -> (Vec<String>, Vec<String>) {
        let lines = relay.file(name).into_iter();
        lines.partition(|line| line.contains("mark"))
    };
    let ((left_marks, left), (right_marks, right)) = (parts("left"), parts("right"));
    let (left, right) = (numbers(&left), numbers(&right));
    // All of it, at one place each.
    let mut all = [&left[..], &right[..]].concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..sent), "{} of {sent}", all.len());
    assert_eq!(
        numbers(&right_marks),
        (0..flips).step_by(2).collect::<Vec<_>>()
    );
    assert_eq!(
        numbers(&left_marks),
        (1..flips).step_by(2).collect::<Vec<_>>()
    );
    // And each version had its part.
    let runs = right
        .windows(2)
        .filter(|pair| pair[1] != pair[0] + 1)
        .count();
    assert!(runs as u64 >= flips / 2 - 1, "{runs} stretches");
    relay.check_books();
}

/// A destination that is down, and has a thousand lines.
fn with_backlog() -> (Relay, Store) {
    let sink = Store::absent();
    let mut relay = Relay::start(&Config::to_file());
    let destination = format!("{} id=slow reconnect=200ms", sink.address);
    let route = json!({"key": "slow", "prefix": "s.", "destinations": [destination]});
    done(relay.http, "POST", "/api/v1/routes", &route);
    relay.send(numbered("s.", 0, 1000).as_bytes());
    let given = |s: &Status| s.of_destination("slow", "given") == Some(1000);
    relay
        .instance
        .wait_status("the lines", LIMIT, given)
        .unwrap();
    (relay, sink)
}

#[test]
fn a_backlog_is_asked_about() {
    let (relay, _sink) = with_backlog();
    let refused = ask(
        relay.http,
        "DELETE",
        "/api/v1/routes/slow",
        "",
        &Value::Null,
    );
    assert_eq!(refused.status, 409, "{}", refused.body);
    let backlog = &refused.body["backlog"][0];
    assert_eq!(backlog["destination"], "slow");
    let lines = backlog["queued"].as_u64().unwrap() + backlog["spooled"].as_u64().unwrap();
    assert_eq!(lines, 1000);
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("drain, discard or keep")
    );
}

#[test]
fn a_backlog_is_discarded() {
    let (mut relay, _sink) = with_backlog();
    done(
        relay.http,
        "DELETE",
        "/api/v1/routes/slow?backlog=discard",
        &Value::Null,
    );
    let gone = |s: &Status| s.destination("slow").is_none();
    relay
        .instance
        .wait_status("it has gone", LIMIT, gone)
        .unwrap();
    let database = rusqlite::Connection::open(relay.instance.path("baton.db")).unwrap();
    let rows = "SELECT coalesce(sum(lines), 0) FROM spool_summary";
    let left = || {
        database
            .query_row(rows, (), |row| row.get::<_, i64>(0))
            .unwrap()
    };
    wait_for("the spool is empty", || left() == 0);
}

#[test]
fn a_backlog_is_kept_for_who_comes_with_the_same_id() {
    let (mut relay, sink) = with_backlog();
    done(
        relay.http,
        "DELETE",
        "/api/v1/routes/slow?backlog=keep",
        &Value::Null,
    );
    let gone = |s: &Status| s.destination("slow").is_none();
    relay
        .instance
        .wait_status("it has gone", LIMIT, gone)
        .unwrap();
    let sink = sink.open();
    let destination = format!("{} id=slow", sink.address);
    let route = json!({"key": "again", "prefix": "t.", "destinations": [destination]});
    // What is being put away can't be had for a moment.
    wait_for("it is taken", || {
        ask(relay.http, "POST", "/api/v1/routes", "", &route).status == 201
    });
    wait_for("the lines", || sink.count() == 1000);
    let there = |s: &Status| s.of_destination("slow", "acknowledged") >= Some(1000);
    relay
        .instance
        .wait_status("the books", LIMIT, there)
        .unwrap();
}

#[test]
fn a_backlog_is_drained_and_an_undo_takes_it_back() {
    let (mut relay, sink) = with_backlog();
    let removed = done(
        relay.http,
        "DELETE",
        "/api/v1/routes/slow?backlog=drain",
        &Value::Null,
    );
    let id = removed.body["id"].as_u64().unwrap();
    done(
        relay.http,
        "POST",
        &format!("/api/v1/history/{id}/undo"),
        &Value::Null,
    );
    relay.send(numbered("s.", 1000, 1100).as_bytes());
    let sink = sink.open();
    let there = |s: &Status| s.of_destination("slow", "acknowledged") == Some(1100);
    relay
        .instance
        .wait_status("all of it", LIMIT, there)
        .unwrap();
    assert_eq!(*sink.lines.lock().unwrap(), lines("s.", 0, 1100));
    relay.instance.status().unwrap().check_books().unwrap();
}

/// BEHAVIOUR 36: what was queued for the old address goes to the new one, each line once.
#[test]
fn case_36_an_address_changes_under_load() {
    let sinks = [Store::absent().open(), Store::absent().open()];
    let mut relay = Relay::start(&Config::to(&[&format!("{} id=to", sinks[0].address)]));
    let mut stream = relay.connect();
    let sender = std::thread::spawn(move || {
        for batch in 0..200 {
            stream
                .write_all(numbered("a.", batch * 500, batch * 500 + 500).as_bytes())
                .unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    for round in 1..=10 {
        let address = sinks[round % 2].address.to_string();
        done(
            relay.http,
            "PATCH",
            "/api/v1/routes/all/destinations/to",
            &json!({"address": address}),
        );
        let there = |s: &Status| {
            let to = s.destination("to").unwrap();
            to["address"] == address && to["peer"] == address
        };
        relay
            .instance
            .wait_status("it is there", LIMIT, there)
            .unwrap();
    }
    sender.join().unwrap();
    let all = |s: &Status| s.of_destination("to", "acknowledged") == Some(100_000);
    relay.instance.wait_status("all lines", LIMIT, all).unwrap();
    let mut came = sinks[0].lines.lock().unwrap().clone();
    came.extend_from_slice(&sinks[1].lines.lock().unwrap());
    let number = |line: &String| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    came.sort_by_key(number);
    assert_eq!(came, lines("a.", 0, 100_000));
    let status = relay.instance.status().unwrap();
    assert_eq!(status.of_destination("to", "resent"), Some(0));
    status.check_books().unwrap();
}

/// What a destination can be told besides: how it behaves when it is full, its form, where to.
#[test]
fn options_change_in_place() {
    let (mut relay, sink) = with_backlog();
    let of = |options: Value| {
        done(
            relay.http,
            "PATCH",
            "/api/v1/routes/slow/destinations/slow",
            &options,
        );
    };
    of(json!({"full": "block"}));
    of(json!({"replay": "live-first", "full": "spool", "spool_max": "100MiB"}));
    of(json!({"address": "file:moved", "flush": "1ms"}));
    let moved = |s: &Status| s.of_destination("slow", "acknowledged") == Some(1000);
    relay
        .instance
        .wait_status("all in the file", LIMIT, moved)
        .unwrap();
    assert_eq!(relay.file("moved"), lines("s.", 0, 1000));
    drop(sink);
    let table = done(relay.http, "GET", "/api/v1/routes/slow", &Value::Null).body;
    let text = table["spec"]["destinations"][0]
        .as_str()
        .unwrap()
        .to_owned();
    for word in [
        "file:",
        "id=slow",
        "spool_max=100MiB",
        "replay=live-first",
        "flush=1ms",
    ] {
        assert!(text.contains(word), "{text}");
    }
    relay.instance.status().unwrap().check_books().unwrap();
}
