//! How soon a change of the table is in force, as who asks for it over HTTP sees it, while lines flow; and that none is
//! lost.
//!
//!     cargo build --release && cargo bench --bench changes -- [ROUTES] [CHANGES] [LINES_A_SECOND] [spool]
//!
//! With `spool` another destination is down, and the same lines are spooled for it. BATON names the binary.
#![allow(missing_docs, clippy::print_stdout)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use baton::drill::{Clock, Extent, Load, Senders, Setup, Sink, Target, free_ports};

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let number = |at: usize, usual: u64| {
        words
            .get(at)
            .and_then(|word| word.parse().ok())
            .unwrap_or(usual)
    };
    let (routes, changes, rate) = (number(0, 100), number(1, 2_000), number(2, 200_000));
    let spools = words.iter().any(|word| word == "spool");
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let [line, http, nobody] = free_ports().unwrap();
    let binary = std::env::var("BATON").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/baton").to_owned()
    });
    let setup = Setup::new(binary, &config(routes, [line, http, nobody], &sink, spools)).unwrap();
    let mut instance = setup.ready_within(Duration::from_secs(60)).start().unwrap();
    let senders = Senders::start(
        &Load {
            extent: Extent::AtLeast(1),
            rate,
            ..Load::new(Target::Tcp(([127, 0, 0, 1], line).into()))
        },
        clock,
    )
    .unwrap();
    assert!(senders.wait(rate / 2, Duration::from_secs(20)), "no load");
    let worker = instance.worker_pid().unwrap();
    let mut client = Client::connect(http);
    // A round is four changes.
    let mut times = Vec::new();
    let (mut before, began) = (0, Instant::now());
    for round in 0..changes / 4 {
        if round == changes / 40 {
            before = memory(worker);
        }
        let route = format!(
            "{{\"key\": \"new\", \"prefix\": \"new{round}.\", \"destinations\": [\"127.0.0.1:{nobody} id=new{round} queue=1MiB full=drop\"]}}"
        );
        times.push(client.ask("POST", "/api/v1/routes", &route));
        times.push(client.ask("PATCH", "/api/v1/routes/new", "{\"sub\": \"x\"}"));
        let rule = format!("{{\"rule\": \"prefix none{round}.\"}}");
        times.push(client.ask("POST", "/api/v1/blocklist", &rule));
        times.push(client.ask("DELETE", "/api/v1/routes/new?backlog=discard", ""));
        client.ask(
            "DELETE",
            &format!("/api/v1/blocklist/prefix%20none{round}."),
            "",
        );
    }
    let (took, after) = (began.elapsed(), memory(worker));
    let sent = senders.finish(Duration::from_secs(60));
    assert!(
        sink.settle(sent.lines(), Duration::from_secs(10)),
        "lines are missing"
    );
    let account = sink.account();
    times.sort_unstable();
    let quantile =
        |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{routes} routes{}: {} changes in {:.1} s beside {} lines: in force after {:.2} ms (median), {:.2} ms (p99), {:.2} ms (longest); \
         {} lines lost, {} doubled; memory of the worker {} MiB after a tenth, {} MiB at the end",
        if spools { ", spooling" } else { "" },
        times.len(),
        took.as_secs_f64(),
        sent.lines(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        sent.lines() - account.distinct(),
        account.lines() - account.distinct(),
        before >> 10,
        after >> 10,
    );
}

fn config(routes: u64, [line, http, nobody]: [u16; 3], sink: &Sink, spools: bool) -> String {
    let mut text = format!(
        "[supervisor]\ncontrol = \"unix:control.sock\"\nprobation = \"100ms\"\n\
         [listen]\nline = [\"tcp://127.0.0.1:{line}\"]\nhttp = [\"tcp://127.0.0.1:{http}\"]\n\
         [instrumentation]\ninterval = \"0s\"\n\
         [[route]]\nkey = \"all\"\ndestinations = [\"{} full=block\"]\n",
        sink.address()
    );
    if spools {
        text.push_str(&format!(
            "[[route]]\nkey = \"down\"\ndestinations = [\"127.0.0.1:{nobody} id=down spool_max=4GiB\"]\n"
        ));
    }
    for number in 0..routes - 1 {
        text.push_str(&format!(
            "[[route]]\nkey = \"r{number}\"\nregex = '^servers\\.h{number}\\.[^.]+\\.(user|system)'\n\
             destinations = [\"127.0.0.1:{nobody} id=d{number} queue=1MiB full=drop reconnect=600s\"]\n"
        ));
    }
    text
}

/// KiB that a process has in memory, without what it shares.
fn memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap()
}

/// One connection, kept.
struct Client {
    port: u16,
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            port,
            stream: BufReader::new(stream),
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> Duration {
        let (took, status, said) = self.try_ask(method, path, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {said}"
        );
        took
    }

    fn try_ask(&mut self, method: &str, path: &str, body: &str) -> (Duration, u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let began = Instant::now();
        let written = self.stream.get_mut().write_all(request.as_bytes());
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.stream.read_line(&mut head) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        // The server lets go of connections after a minute.
        if written.is_err() || head.is_empty() {
            *self = Client::connect(self.port);
            return self.try_ask(method, path, body);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut said = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut said).unwrap();
        let took = began.elapsed();
        (took, status, String::from_utf8_lossy(&said).into_owned())
    }
}
