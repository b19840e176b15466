//! Configs in the manner of those that the other relays come with: converted as the guides say it, run, and sent lines.
//!
//! What becomes of each statement stands in `tests/compat.rs`; here the outcome is what arrives.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use baton::drill::{Setup, Status, free_ports};
use toml::{Table, Value};

const LIMIT: Duration = Duration::from_secs(30);

/// A name that is sent, the name that arrives, at how many destinations.
type Sent = (&'static str, &'static str, usize);

#[test]
fn carbon_relay_ng() {
    arrives(
        "relay_ng/carbon-relay-ng.ini",
        &[],
        &[
            ("collectd.localhost.cpu", "", 0),
            ("foo.web1.cpu", "", 0),
            ("web1.cpu", "web1.cpu", 1),
            ("aa.cpu", "aab.cpu", 1),
            // To all, and to one of those that hash.
            ("web1.prod.cpu", "web1.prod.cpu", 2),
        ],
    );
    arrives(
        "relay_ng/first-version.ini",
        &[],
        &[("z.cpu", "z.cpu", 1), ("y.cpu", "y.cpu", 1)],
    );
}

#[test]
fn carbon_c_relay() {
    let from = ["--from", "carbon-c-relay"];
    arrives(
        "convert/stops.conf",
        &from,
        &[
            ("collectd.localhost.cpu", "", 0),
            // To two that are forwarded to, and into a file.
            ("sys.cpu", "sys.cpu", 3),
            // Twice to one cluster, once to another, and once to the one for everything.
            ("app.web1.cpu", "app.web1.cpu", 4),
            ("v.cpu", "v.cpu", 2),
            ("server.a.b.web1", "server.b.a.web.web1", 1),
        ],
    );
    arrives(
        "convert/aggregates.conf",
        &from,
        &[
            ("xa.cpu", "xa.cpu", 2),
            ("web1.cpu", "web1.cpu", 1),
            // It stops at what is computed of it.
            ("sys.web1.0.cpu", "", 0),
        ],
    );
    arrives(
        "convert/first_only.conf",
        &from,
        &[
            ("a.cpu", "a.cpu", 1),
            ("b.cpu", "b.cpu", 1),
            ("c.cpu", "c.cpu", 1),
        ],
    );
    arrives(
        "convert/moved.conf",
        &from,
        &[
            // To the store for statistics, and to no other.
            ("relays.one.in", "relays.one.in", 1),
            ("audit.login", "audit.login", 3),
        ],
    );
}

#[test]
fn carbon() {
    let from = ["--from", "carbon"];
    arrives(
        "convert/carbon/carbon.conf",
        &from,
        &[
            // In the blacklist, and not in the whitelist.
            ("carbon.test.cpu", "", 0),
            ("1.cpu", "", 0),
            ("mydata.foo.cpu", "mydata.foo.cpu", 2),
            ("Both.cpu", "Both.cpu", 2),
            ("last", "last", 1),
            ("web1.cpu", "web1.cpu", 1),
        ],
    );
    arrives(
        "convert/carbon-hash/carbon.conf",
        &from,
        &[("web1.cpu", "web1.cpu", 2)],
    );
    arrives(
        "convert/carbon-aggregator/carbon.conf",
        &from,
        &[
            ("web1.cpu", "web1.cpu", 1),
            ("collectd.web1.cpu", "web1.system.cpu", 1),
        ],
    );
}

/// What arrives is what the relay made of the same lines whose config it was.
#[test]
fn carbon_c_relays_figures() {
    let figures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs/convert/moved.figures");
    let figures = std::fs::read_to_string(figures).unwrap();
    let of = |what: &str| -> Vec<(String, f64)> {
        let all = figures.lines().map(|line| line.split_whitespace());
        let all = all.map(|words| words.collect::<Vec<_>>());
        let all = all.filter(|words| words[0] == what);
        all.map(|words| (words[1].to_owned(), words[2].parse().unwrap()))
            .collect()
    };
    let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
    // When all intervals start.
    let at = now - now % 2;
    let sent = of("sent");
    let lines: Vec<String> = sent
        .iter()
        .map(|(name, value)| format!("{name} {value} {at}"))
        .collect();
    let mut expected = of("arrived");
    let from = ["--from", "carbon-c-relay"];
    let (arrived, config) = relayed("convert/moved.conf", &from, &lines, expected.len());
    let mut arrived: Vec<(String, f64)> = arrived
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[2], at.to_string(), "{line}");
            (words[0].to_owned(), words[1].parse().unwrap())
        })
        .collect();
    arrived.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(arrived, expected, "{config}");
}

/// Converts a file, runs what comes of it with its senders and stores on this machine, and counts what arrives.
fn arrives(file: &str, from: &[&str], sent: &[Sent]) {
    let lines: Vec<String> = sent
        .iter()
        .map(|(name, ..)| format!("{name} 1 1600000000"))
        .collect();
    let copies = sent.iter().map(|(_, _, copies)| copies).sum::<usize>();
    let (mut arrived, config) = relayed(file, from, &lines, copies);
    arrived.sort();
    let mut expected: Vec<String> = sent
        .iter()
        .flat_map(|(_, name, copies)| vec![format!("{name} 1 1600000000"); *copies])
        .collect();
    expected.sort();
    assert_eq!(arrived, expected, "{file}:\n{config}");
}

/// What arrives of these lines, so many of them at least, and with which config.
fn relayed(file: &str, from: &[&str], lines: &[String], copies: usize) -> (Vec<String>, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/configs")
        .join(file);
    let converted = Command::new(env!("CARGO_BIN_EXE_baton"))
        .args(["config", "convert"])
        .args(from)
        .arg(&path)
        .output()
        .unwrap();
    assert!(converted.status.success(), "{file}: {converted:?}");
    let converted = String::from_utf8(converted.stdout).unwrap();

    // At all addresses of the machine itself, which are as many as there are destinations.
    let store = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let [port] = free_ports().unwrap();
    let config = on_this_machine(&converted, port, store.local_addr().unwrap().port());
    let arrived = collect(store);
    let setup = Setup::new(env!("CARGO_BIN_EXE_baton"), &config).unwrap();
    let mut baton = setup.start().unwrap();
    let mut sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    for line in lines {
        writeln!(sender, "{line}").unwrap();
    }
    let settled = |status: &Status| {
        let all = status.document()["worker"]["destinations"].as_array();
        let delivered = |one: &serde_json::Value| one["given"] == one["acknowledged"];
        status.total("in") == Some(lines.len() as u64)
            && all.is_some_and(|all| all.iter().all(delivered))
    };
    baton.wait_status("what was sent", LIMIT, settled).unwrap();
    // What was acknowledged has come to this machine, and is about to be read.
    let deadline = std::time::Instant::now() + LIMIT;
    while arrived.lock().unwrap().len() < copies && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    baton.stop(LIMIT).unwrap();
    let arrived = std::mem::take(&mut *arrived.lock().unwrap());
    (arrived, config)
}

/// The config with one listener, and each of its destinations at an address of its own, which takes lines.
fn on_this_machine(converted: &str, port: u16, store: u16) -> String {
    let mut config: Table = converted.parse().unwrap();
    config.remove("state");
    let mut part = |name: &str, text: String| {
        config.insert(name.to_owned(), Value::Table(text.parse().unwrap()));
    };
    part("listen", format!("line = [\"tcp://127.0.0.1:{port}\"]"));
    part("instrumentation", "interval = \"0s\"".to_owned());
    part("supervisor", "control = \"unix:control.sock\"".to_owned());
    let routes = config["route"].as_array_mut().unwrap();
    let destinations = routes
        .iter_mut()
        .flat_map(|route| route["destinations"].as_array_mut().unwrap());
    for (number, destination) in (1..).zip(destinations) {
        let text = destination.as_str().unwrap();
        let mut words = text.split(' ');
        let address = words.next().unwrap();
        // HOST:PORT:INSTANCE, where an instance is part of a hash.
        let (_, rest) = address
            .split_once("]:")
            .unwrap_or_else(|| address.split_once(':').expect("a port"));
        let instance = rest
            .split_once(':')
            .filter(|_| !address.starts_with("file:"));
        let instance = instance.map_or(String::new(), |(_, name)| format!(":{name}"));
        let options: Vec<&str> = words.filter(|word| *word != "pickle=true").collect();
        let here = format!("127.0.0.{number}:{store}{instance} {}", options.join(" "));
        *destination = Value::String(here.trim_end().to_owned());
    }
    toml::to_string(&config).unwrap()
}

/// Collects the lines that come to it, for as long as the test runs.
fn collect(store: TcpListener) -> Arc<Mutex<Vec<String>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let collected = Arc::clone(&all);
    std::thread::spawn(move || {
        for connection in store.incoming().flatten() {
            let all = Arc::clone(&all);
            std::thread::spawn(move || {
                for line in BufReader::new(connection).lines().map_while(Result::ok) {
                    all.lock().unwrap().push(line);
                }
            });
        }
    });
    collected
}
