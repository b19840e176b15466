//! The pages, asked for over TCP, and what clients can't do to them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baton::admin::charts::Charts;
use baton::admin::desk::{Asked, Desk, Outcome, Refusal, TableView};
use baton::admin::http::{Limits, router, serve_with};
use baton::admin::view::View;
use baton::intake::Sample;
use baton::pipeline::trace::Trace;
use baton::state::PastChange;
use baton::tap::{At, Seen, Subscription, Tap, Wanted};
use baton::validate::Reason;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing here takes so long unless it is broken.
const DEADLINE: Duration = Duration::from_secs(20);
/// Longer than any test: a limit that isn't meant.
const NEVER: Duration = Duration::from_secs(600);

#[derive(Default)]
struct Fake {
    serving: AtomicBool,
    rejected: usize,
    /// Who looks waits for it.
    looking: Mutex<()>,
    tap: Arc<Tap>,
}

impl Desk for Fake {
    fn view(&self) -> View {
        let _looking = self.looking.lock().unwrap();
        super::usual()
    }

    fn rejected(&self, reason: Option<Reason>) -> Vec<Sample> {
        if reason.is_some_and(|reason| reason != Reason::Value) {
            return Vec::new();
        }
        let sample = Sample {
            at_ms: 5,
            reason: "value",
            listener: "udp://[::]:2003".to_owned(),
            peer: "[::1]:9".to_owned(),
            line: "a \"b\" 1".to_owned(),
        };
        vec![sample; self.rejected]
    }

    fn trace(&self, metrics: &[Vec<u8>]) -> Vec<Trace> {
        let trace = |metric: &Vec<u8>| Trace {
            input: metric.escape_ascii().to_string(),
            ..Trace::default()
        };
        metrics.iter().map(trace).collect()
    }

    fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    fn table(&self) -> TableView {
        TableView {
            version: "1".to_owned(),
            first_only: false,
            rules: Vec::new(),
            removed: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn config(&self) -> String {
        String::new()
    }

    fn preview(&self, _: &Asked) -> Result<Outcome, Refusal> {
        Err(Refusal::Restarting)
    }

    fn change(&self, _: &Asked) -> Result<Outcome, Refusal> {
        Err(Refusal::Restarting)
    }

    fn history(&self, _: Option<u64>, _: u32) -> Result<Vec<PastChange>, String> {
        Ok(Vec::new())
    }

    fn restart(&self, _: &str, _: &str) -> Result<(), String> {
        Err("no supervisor".to_owned())
    }

    fn subscribe(&self, wanted: &Wanted) -> Result<Subscription, String> {
        self.tap.subscribe(wanted)
    }

    fn charts(&self) -> Charts {
        Charts::default()
    }
}

/// A server that a test talks to with blocking sockets.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    fn start(source: Arc<Fake>, limits: Limits) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { drop(stopped.await) };
        let task = runtime.spawn(serve_with(limits, listener, router(source), shutdown));
        Server {
            runtime,
            address,
            stop: Some(stop),
            task,
        }
    }

    fn usual() -> Server {
        let source = Fake {
            serving: true.into(),
            rejected: 1,
            ..Fake::default()
        };
        Server::start(Arc::new(source), patient())
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// Asks on a connection of its own; returns the head and the body.
    fn ask(&self, request: &str) -> (String, String) {
        let mut client = self.connect();
        write!(
            client,
            "{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_ascii_lowercase(), body.to_owned())
    }

    fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    fn wait(self) {
        let ended = async { tokio::time::timeout(DEADLINE, self.task).await };
        self.runtime.block_on(ended).expect("it ends").unwrap();
    }
}

fn patient() -> Limits {
    Limits {
        connections: 64,
        streams: 2,
        patience: DEADLINE,
        head: NEVER,
        life: NEVER,
        grace: DEADLINE,
    }
}

/// Reads to the end, or to a reset, which closing with unread bytes makes of it.
fn read_all(client: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match client.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => answer,
    }
}

#[test]
fn metrics_are_openmetrics() {
    let (head, body) = Server::usual().ask("GET /metrics");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let kind = "\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    assert!(body.contains("\nbaton_lines_in_total{listener=\"tcp://127.0.0.1:2003\"} 10\n"));
    assert!(body.ends_with("\n# EOF\n"));
}

/// The runtime has two threads, and they move metrics.
#[test]
fn looking_at_everything_holds_up_nobody() {
    let source = Arc::new(Fake::default());
    let server = Server::start(source.clone(), patient());
    let looking = source.looking.lock().unwrap();
    let pages = [
        "/metrics",
        "/api/v1/status",
        "/metrics",
        "/api/status",
        "/api/v1/charts",
    ];
    let mut clients = pages.map(|page| {
        let mut client = server.connect();
        write!(client, "GET {page} HTTP/1.0\r\n\r\n").unwrap();
        client
    });
    for _ in 0..20 {
        let (_, body) = server.ask("GET /healthz");
        assert_eq!(body, "not serving\n");
    }
    drop(looking);
    for client in &mut clients {
        let answer = read_all(client);
        assert!(
            answer.starts_with(b"HTTP/1.0 200 "),
            "{}",
            answer.escape_ascii()
        );
    }
}

#[test]
fn health_follows_the_source() {
    let source = Arc::new(Fake::default());
    let server = Server::start(source.clone(), patient());
    let (head, body) = server.ask("GET /healthz");
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert_eq!(body, "not serving\n");
    source.serving.store(true, Ordering::Relaxed);
    let (head, body) = server.ask("GET /healthz");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert_eq!(body, "serving\n");
}

#[test]
fn the_status_is_the_view() {
    let (head, body) = Server::usual().ask("GET /api/status");
    assert!(
        head.contains("\r\ncontent-type: application/json"),
        "{head}"
    );
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, serde_json::to_value(super::usual()).unwrap());
    assert_eq!(status["listeners"][0]["in"], 10);
}

#[test]
fn rejected_lines_are_shown() {
    let (_, body) = Server::usual().ask("GET /api/rejected");
    let expected = serde_json::json!([{
        "at_ms": 5, "reason": "value", "listener": "udp://[::]:2003", "peer": "[::1]:9", "line": "a \"b\" 1",
    }]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap(),
        expected
    );
}

#[test]
fn rejected_lines_of_one_reason() {
    let server = Server::usual();
    let count = |query: &str| {
        let (head, body) = server.ask(&format!("GET /api/rejected?{query}"));
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let lines: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        lines.len()
    };
    assert_eq!(
        (count("reason=value"), count("reason=too-long"), count("")),
        (1, 0, 1)
    );
    for (query, said) in [
        (
            "reason=values",
            "there is no reason \"values\": expected one of fields, value, nan,",
        ),
        ("reason=value&reason=nan", "expected one reason=, found 2"),
        (
            "peer=a",
            "there is no parameter \"peer\" here: expected reason=",
        ),
    ] {
        assert_refused(&server, &format!("/api/rejected?{query}"), said);
    }
}

#[track_caller]
fn assert_refused(server: &Server, page: &str, said: &str) {
    let (head, body) = server.ask(&format!("GET {page}"));
    assert!(head.starts_with("http/1.1 400 "), "{page}: {head}");
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    let error = error["detail"].as_str().unwrap();
    assert!(error.contains(said), "{page}: {error}");
}

#[test]
fn metrics_are_traced() {
    let server = Server::usual();
    let (head, body) = server.ask("GET /api/trace?metric=a.b%3bc%3Dd&metric=%ff+1%202");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let traces: Vec<Trace> = serde_json::from_str(&body).unwrap();
    let inputs: Vec<_> = traces.iter().map(|trace| &trace.input[..]).collect();
    assert_eq!(inputs, ["a.b;c=d", "\\xff 1 2"]);
    server.ask(&format!(
        "GET /api/trace?metric=a{}",
        "&metric=a".repeat(99)
    ));
    for (query, said) in [
        ("", "expected metric=NAME"),
        ("?", "expected metric=NAME"),
        ("?metrics=a", "there is no parameter \"metrics\" here"),
        ("?metric=%zz", "two hexadecimal digits"),
        ("?metric=a%0Ab", "a metric has no newline in it"),
    ] {
        assert_refused(&server, &format!("/api/trace{query}"), said);
    }
    let many = "&metric=a".repeat(101);
    assert_refused(
        &server,
        &format!("/api/trace?{many}"),
        "expected at most 100 times metric=, found 101",
    );
}

#[test]
fn the_index_lists_pages_that_are_there() {
    let server = Server::usual();
    let (head, body) = server.ask("GET /");
    assert!(head.contains("\r\ncontent-type: text/plain"), "{head}");
    let pages: Vec<_> = body
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .collect();
    assert_eq!(pages.len(), 13);
    // One goes on for ever.
    for page in pages.iter().filter(|page| !page.ends_with("/subscribe")) {
        let (head, _) = server.ask(&format!("GET {page}"));
        assert!(head.starts_with("http/1.1 200 "), "{page}: {head}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let server = Server::usual();
    let (_, body) = server.ask("GET /metrics");
    let (head, nothing) = server.ask("HEAD /metrics");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(
        head.contains(&format!("\r\ncontent-length: {}", body.len())),
        "{head}"
    );
    assert_eq!(nothing, "");
}

#[test]
fn what_is_not_there_is_an_error_in_json() {
    let server = Server::usual();
    for (request, status) in [
        ("GET /nothing", "404"),
        ("GET /metrics/", "404"),
        ("GET /api/status/../x", "404"),
        ("DELETE /nothing", "404"),
        ("POST /metrics", "405"),
    ] {
        let (head, body) = server.ask(request);
        assert!(
            head.starts_with(&format!("http/1.1 {status} ")),
            "{request}: {head}"
        );
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"].to_string(), status, "{request}: {body}");
        assert_eq!(
            head.contains("\r\nallow: get,head"),
            status == "405",
            "{head}"
        );
    }
}

#[test]
fn one_connection_may_ask_often() {
    let server = Server::usual();
    let mut client = server.connect();
    for _ in 0..3 {
        client
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"serving\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
    }
}

#[test]
fn who_has_sent_everything_may_say_so() {
    let server = Server::usual();
    let mut client = server.connect();
    client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = read_all(&mut client);
    assert!(answer.ends_with(b"serving\n"), "{}", answer.escape_ascii());
}

#[test]
fn silence_ends_a_connection_before_and_after_a_request() {
    let limits = Limits {
        head: Duration::from_millis(100),
        ..patient()
    };
    let server = Server::start(Arc::default(), limits);
    for (sent, status) in [
        ("", ""),
        ("GET /healthz HTTP/1.1\r\nhost", ""),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 503 "),
    ] {
        let mut client = server.connect();
        client.write_all(sent.as_bytes()).unwrap();
        let answer = read_all(&mut client);
        assert!(
            answer.starts_with(status.as_bytes()),
            "{}",
            answer.escape_ascii()
        );
    }
}

#[test]
fn who_does_not_read_is_cut_off() {
    let limits = Limits {
        life: Duration::from_millis(300),
        grace: Duration::from_millis(100),
        ..patient()
    };
    let source = Fake {
        rejected: 200_000,
        ..Fake::default()
    };
    let server = Server::start(Arc::new(source), limits);
    let mut client = server.connect();
    let start = Instant::now();
    client
        .write_all(b"GET /api/rejected HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    // The server's own end of the socket tells when it has gone.
    until(|| client.write_all(b"x").is_err());
    assert!(start.elapsed() < DEADLINE);
    let got = read_all(&mut client).len();
    assert!(
        got < 200_000 * 50,
        "the answer doesn't fit in the kernel: {got}"
    );
}

#[test]
fn more_than_so_many_wait_until_one_ends() {
    let limits = Limits {
        connections: 2,
        ..patient()
    };
    let server = Server::start(Arc::default(), limits);
    let mut first: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut first {
        client
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
    let mut third = server.connect();
    third.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    third
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let waits = third.read(&mut [0; 1]).unwrap_err().kind();
    assert!(
        matches!(waits, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{waits}"
    );
    third.set_read_timeout(Some(DEADLINE)).unwrap();
    first.pop();
    assert!(read_all(&mut third).starts_with(b"HTTP/1.0 503 "));
}

#[test]
fn a_stop_lets_answers_under_way_end() {
    let source = Fake {
        rejected: 200_000,
        ..Fake::default()
    };
    let mut server = Server::start(Arc::new(source), patient());
    let mut idle = server.connect();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    let mut client = server.connect();
    client
        .write_all(b"GET /api/rejected HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut begin = [0; 12];
    client.read_exact(&mut begin).unwrap();
    server.begin_stop();
    read_all(&mut idle);
    let rest = read_all(&mut client);
    assert!(rest.ends_with(b"}]"), "the answer came whole");
    let address = server.address;
    server.wait();
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn a_stop_cuts_off_who_does_not_read() {
    let source = Fake {
        rejected: 200_000,
        ..Fake::default()
    };
    let limits = Limits {
        grace: Duration::from_millis(100),
        ..patient()
    };
    let mut server = Server::start(Arc::new(source), limits);
    let mut client = server.connect();
    client
        .write_all(b"GET /api/rejected HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    client.read_exact(&mut [0; 12]).unwrap();
    server.begin_stop();
    server.wait();
    assert!(!read_all(&mut client).ends_with(b"}]"));
}

fn until(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "it didn't come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn events_go_on_when_a_connections_time_is_over() {
    let limits = Limits {
        life: Duration::from_millis(300),
        grace: Duration::from_millis(100),
        ..patient()
    };
    let server = Server::start(Arc::default(), limits);
    let mut client = server.connect();
    client
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
        .unwrap();
    let mut got = String::new();
    // The third comes after two seconds.
    while got.matches("event: status\n").count() < 3 {
        let mut bytes = [0; 4096];
        let n = client.read(&mut bytes).unwrap();
        assert_ne!(n, 0, "{got}");
        got.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    assert!(
        got.contains("retry: 500\n\n") && got.contains("event: table\ndata: {\"version\":\"1\"}\n")
    );
}

#[test]
fn subscribers_that_stop_reading_are_cut_off() {
    let limits = Limits {
        patience: Duration::from_millis(200),
        ..patient()
    };
    for upgrade in [
        "",
        "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        let source = Arc::new(Fake::default());
        let server = Server::start(source.clone(), limits);
        let mut client = server.connect();
        let head = format!("GET /api/v1/subscribe HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n");
        client.write_all(head.as_bytes()).unwrap();
        until(|| source.tap.subscribers() == 1);
        let text = "a.name.of.usual.length 1 1790000000\n".repeat(5000);
        until(|| {
            let seen = std::iter::once(Seen::lines(text.as_bytes()));
            source
                .tap
                .show(At::Routed, seen, &mut source.tap.time(64 << 20));
            source.tap.subscribers() == 0
        });
        // It has ended for the client, too.
        read_all(&mut client);
    }
}

#[test]
fn a_head_has_a_size() {
    let server = Server::usual();
    for head in [
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(1 << 20)),
        format!(
            "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
            "x".repeat(1 << 20)
        ),
        format!(
            "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
            "x: 1\r\n".repeat(1000)
        ),
    ] {
        let mut client = server.connect();
        // The answer may come before all of it was read.
        let _refused = client.write_all(head.as_bytes());
        let answer = read_all(&mut client);
        let status = answer.get(9..12).unwrap_or_default();
        assert!(
            answer.is_empty() || [&b"431"[..], b"414"].contains(&status),
            "{}",
            answer.escape_ascii()
        );
    }
}
