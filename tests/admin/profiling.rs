//! Where the CPU's time goes, of a real relay, told as pprof tells it.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use baton::drill::Setup;

use crate::client::{Answer, request, unix};
use crate::relay::{Config, LIMIT, Relay};

/// Something for the CPU to do: lines until it is ended; how many they were.
struct Load {
    end: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Load {
    fn on(relay: &Relay) -> Load {
        let end = Arc::new(AtomicBool::new(false));
        let ended = end.clone();
        let mut stream: TcpStream = relay.connect();
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                let line = |n| format!("servers.web{n}.cpu.user {n} 1790000000\n");
                let lines: String = (sent..sent + 1000).map(line).collect();
                stream.write_all(lines.as_bytes()).unwrap();
                sent += 1000;
            }
            sent
        });
        Load { end, thread }
    }

    fn end(self) -> u64 {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The fields of a message: number, and what it has.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for at in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = varint(&mut bytes);
        let (inside, rest) = match key & 7 {
            0 => bytes.split_at(0),
            2 => bytes.split_at(value as usize),
            other => panic!("a field of wire type {other}"),
        };
        bytes = rest;
        fields.push((key >> 3, value, inside));
    }
    fields
}

/// That it has samples, and that a function of ours is where the time went.
fn check(profile: &[u8]) {
    let fields = fields(profile);
    let of = |field: u64| fields.iter().filter(move |(number, ..)| *number == field);
    assert_eq!(of(1).count(), 2, "samples and nanoseconds");
    assert!(of(2).count() > 0, "samples");
    assert!(
        of(4).count() > 0 && of(5).count() > 0,
        "locations and functions"
    );
    let strings: Vec<_> = of(6)
        .map(|(.., text)| String::from_utf8_lossy(text))
        .collect();
    assert_eq!(strings[0], "");
    let ours = strings
        .iter()
        .any(|name| name.ends_with("/src/pipeline.rs") || name.ends_with("/src/intake.rs"));
    assert!(ours, "{strings:?}");
}

const PPROF: &str = "[admin]\npprof = true";

fn profile(relay: &Relay, query: &str) -> Vec<u8> {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    let mut stream = UnixStream::connect(relay.instance.path("api.sock")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let line = format!("GET /debug/pprof/profile{query}");
    stream
        .write_all(request(&line, "Host: localhost\r\n", "").as_bytes())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let body = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .unwrap()
        + 4;
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        answer[..body].escape_ascii()
    );
    answer.split_off(body)
}

fn ask(relay: &Relay, query: &str) -> Answer {
    let line = format!("GET /debug/pprof/profile{query}");
    unix(
        &relay.instance.path("api.sock"),
        &request(&line, "Host: localhost\r\n", ""),
    )
}

/// Neither a line nor a restart minds that the timer interrupts system calls.
#[test]
fn a_profile_says_what_the_relay_does_and_disturbs_nothing() {
    let config = Config {
        input: PPROF.to_owned(),
        ..Config::to_file()
    };
    let mut relay = Relay::start(&config);
    let load = Load::on(&relay);
    check(&profile(&relay, "?seconds=2"));
    let socket = relay.instance.path("api.sock");
    let waits = std::thread::spawn(move || {
        let line = "GET /debug/pprof/profile?seconds=60";
        let asked = || unix(&socket, &request(line, "Host: localhost\r\n", ""));
        // Those that are asked for below may be the first.
        while asked().status == 409 {}
    });
    crate::relay::wait_for("one at a time", || ask(&relay, "?seconds=1").status == 409);
    // Cut short by a hand-over; the worker that serves then can be profiled at once.
    relay.instance.reload().unwrap();
    waits.join().unwrap();
    check(&profile(&relay, "?seconds=1"));
    for wrong in ["?seconds=0", "?seconds=61", "?seconds=x", "?second=1"] {
        assert_eq!(ask(&relay, wrong).status, 400, "{wrong}");
    }
    let sent = load.end();
    relay.wait_done(sent);
    relay.check_books();
}

/// Who gives up makes room at once, not after a minute.
#[test]
fn a_profile_that_nobody_waits_for_ends() {
    use std::os::unix::net::UnixStream;
    let config = Config {
        input: PPROF.to_owned(),
        ..Config::to_file()
    };
    let relay = Relay::start(&config);
    let line = "GET /debug/pprof/profile?seconds=60";
    let asked = request(line, "Host: localhost\r\n", "");
    let running = || ask(&relay, "?seconds=1").status == 409;
    // Who looks may come first, and be profiled instead: then it is asked for again.
    let mut unix = None;
    crate::relay::wait_for("the first", || {
        let mut stream = UnixStream::connect(relay.instance.path("api.sock")).unwrap();
        stream.write_all(asked.as_bytes()).unwrap();
        unix = Some(stream);
        running()
    });
    drop(unix);
    crate::relay::wait_for("its end", || !running());
    let mut tcp = None;
    crate::relay::wait_for("the second", || {
        let mut stream = TcpStream::connect(("127.0.0.1", relay.http)).unwrap();
        stream.write_all(asked.as_bytes()).unwrap();
        tcp = Some(stream);
        running()
    });
    drop(tcp);
    crate::relay::wait_for("its end", || !running());
}

#[test]
fn nobody_profiles_who_was_not_asked() {
    let relay = Relay::start(&Config::to_file());
    assert_eq!(ask(&relay, "?seconds=1").status, 404);
}

#[test]
fn the_flag_writes_a_profile_when_a_worker_ends() {
    let mut relay = Relay::set_up(&Config::to_file(), |setup: Setup| {
        setup.shell("exec \"$@\" --cpuprofile cpu.pb")
    });
    let load = Load::on(&relay);
    relay.wait("lines", |status| status.total("in") > Some(500_000));
    relay.instance.reload().unwrap();
    let first = relay.instance.path("cpu.pb");
    crate::relay::wait_for("the first worker's profile", || {
        std::fs::read(&first).is_ok_and(|profile| !profile.is_empty())
    });
    let end = relay.status().total("in").unwrap() + 300_000;
    relay.wait("more lines", |status| status.total("in") > Some(end));
    let sent = load.end();
    relay.wait_done(sent);
    let second = relay.instance.path("cpu.pb.2");
    relay.instance.stop(LIMIT).unwrap();
    for path in [first, second] {
        check(&std::fs::read(path).unwrap());
    }
}
