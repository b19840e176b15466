//! Senders that mean no good, or speak something else.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::forms::{connect, send, to_file};
use crate::frame::{framed, of_lines};
use crate::relay::Config;
use crate::relay::{LIMIT, Relay, free_address, hang_up, wait_closed, wait_for};

#[test]
fn case_15_a_frame_over_the_limit_ends_its_connection_alone() {
    let config = Config {
        input: "max_frame = \"2KiB\"".into(),
        ..to_file()
    };
    let mut relay = Relay::start(&config);
    let mut other = connect(&relay);
    let good = of_lines([&b"good 1 1700000000"[..]]);
    other.write_all(&good[..7]).unwrap();
    // At the limit it is decoded; and refused, since it is nothing.
    let mut client = connect(&relay);
    client.write_all(&framed(&[b'x'; 2048])).unwrap();
    client.write_all(&good).unwrap();
    client.write_all(&2049_u32.to_be_bytes()).unwrap();
    wait_closed(client);
    other.write_all(&good[7..]).unwrap();
    let status = relay.wait_done(4);
    assert_eq!(status.number("/worker/totals/rejected/pickle"), Some(1));
    assert_eq!(status.number("/worker/totals/rejected/frame"), Some(1));
    assert_eq!(relay.file("out"), ["good 1 1700000000"; 2]);
    assert_eq!(relay.logged("a frame over the limit"), 1);
    assert_eq!(relay.logged("length=2049"), 1);
    assert_eq!(relay.logged("a line sender is on the pickle port"), 0);
    relay.check_books();
}

#[test]
fn case_15_a_line_sender_on_the_pickle_port_is_told_so() {
    let mut relay = Relay::start(&to_file());
    send(&relay, b"servers.web01.cpu 5 1700000000\n");
    // Its first bytes one by one.
    let mut client = connect(&relay);
    for byte in b"a 1 1700000000\n" {
        if client.write_all(&[*byte]).is_err() {
            break;
        }
    }
    wait_closed(client);
    let status = relay.wait_done(2);
    assert_eq!(status.number("/worker/totals/rejected/frame"), Some(2));
    assert_eq!(relay.logged("a line sender is on the pickle port"), 2);
    let samples = relay.get("/api/rejected");
    assert_eq!(samples[0]["line"], "servers.web01.cpu 5 1700000000\\n");
    assert!(
        samples[1]["line"].as_str().unwrap().starts_with("a 1 "),
        "{samples}"
    );
    relay.check_books();
}

#[test]
fn case_03_an_unterminated_frame_is_none() {
    let mut relay = Relay::start(&to_file());
    let good = of_lines([&b"good 1 1700000000"[..]]);
    for cut in [1, 3, 4, good.len() - 1] {
        send(&relay, &[&good[..], &good[..cut]].concat());
    }
    let status = relay.wait_done(8);
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(4)
    );
    assert_eq!(status.total("routed"), Some(4));
    relay.check_books();
}

#[test]
fn case_17_hostile_frames_cost_nothing_and_are_counted() {
    let mut relay = Relay::start(&to_file());
    let memory = |relay: &mut Relay| {
        let pid = relay.instance.worker_pid().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap()
    };
    let name = [b"X\xe8\x03\0\0", &[b'n'; 1000][..]].concat();
    let hostile = [
        [&b"]"[..]; 1].concat().repeat(400_000),
        b"(".repeat(1_000_000),
        [b"]", &b"\x85".repeat(1_000_000)[..]].concat(),
        [
            b"](",
            &name[..],
            b"K\x01K\x01\x86\x86q\0",
            &b"h\0".repeat(99_999)[..],
            b"e.",
        ]
        .concat(),
        [b"]q\0", &b"h\0a".repeat(300_000)[..], b"."].concat(),
        b"2".repeat(1 << 20),
        [b"N", &b"2".repeat((1 << 20) - 1)[..]].concat(),
        b"}".repeat(1 << 20),
        [b"]", &b"r\xff\xff\xff\x7f".repeat(200_000)[..]].concat(),
        [b"\x8b\xff\xff\xff\x7f", &[0xff; 1 << 19][..]].concat(),
        b"cposix\nsystem\n(S'touch hacked'\ntR.".to_vec(),
    ];
    let began = memory(&mut relay);
    let started = Instant::now();
    let mut client = connect(&relay);
    for _ in 0..3 {
        for pickle in &hostile {
            client.write_all(&framed(pickle)).unwrap();
        }
    }
    // Somebody else isn't held up by it.
    relay.send("good 1 1700000000\n");
    client
        .write_all(&of_lines([&b"good 2 1700000000"[..]]))
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_closed(client);
    let status = relay.wait_done(3 * hostile.len() as u64 + 2);
    let rejected = status.number("/worker/totals/rejected/pickle");
    assert_eq!(rejected, Some(3 * hostile.len() as u64));
    assert_eq!(relay.file("out").len(), 2);
    assert!(!relay.instance.path("hacked").exists());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let grown = memory(&mut relay) - began;
    assert!(grown < 64 << 10, "{grown} kB");
    relay.check_books();
}

#[test]
fn what_is_promised_takes_no_memory_and_a_slow_sender_holds_nobody_up() {
    let mut relay = Relay::start(&to_file());
    let mut promising: Vec<_> = (0..200).map(|_| connect(&relay)).collect();
    for client in &mut promising {
        client.write_all(&(1_u32 << 20).to_be_bytes()).unwrap();
        client.write_all(b"]").unwrap();
    }
    let frame = of_lines([&b"slow 1 1700000000"[..]]);
    let mut slow = connect(&relay);
    for byte in &frame {
        slow.write_all(&[*byte]).unwrap();
        hang_up(relay.connect());
    }
    drop(promising);
    let status = relay.wait_done(201);
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(200)
    );
    assert_eq!(relay.file("out"), ["slow 1 1700000000"]);
    relay.check_books();
}

/// Rewriters can make so much of a frame that there is never room for a piece of it: it goes in smaller ones.
#[test]
fn a_frame_whose_lines_become_much_longer_than_a_queue_is_divided() {
    const LINES: usize = 10_000;
    let config = Config {
        routes: format!(
            "[[rewriter]]\nold = \"short.\"\nnew = \"{}.\"\n[[route]]\nkey = \"all\"\ndestinations = [\"file:out id=out flush=1ms full=block queue=1MiB\"]\n",
            "x".repeat(2000)
        ),
        ..to_file()
    };
    let mut relay = Relay::start(&config);
    let text = |n: usize| format!("short.{n:05} 1 1700000000");
    let lines: Vec<String> = (0..LINES).map(text).collect();
    send(&relay, &of_lines(lines.iter().map(String::as_bytes)));
    relay.wait_done(LINES as u64);
    let out = relay.file("out");
    assert_eq!(out.len(), LINES);
    let in_order = |(n, line): (usize, &String)| line.ends_with(&format!(".{n:05} 1 1700000000"));
    assert!(out.iter().enumerate().all(in_order));
    relay.check_books();
}

/// Pickles that wait for room are their own senders' affair, however much they are.
#[test]
fn pickles_that_wait_for_room_close_nobody() {
    const LARGE: usize = 14 << 20;
    const MEMORY: usize = 256 << 20;
    let store = std::net::TcpListener::bind(free_address()).unwrap();
    let address = store.local_addr().unwrap();
    drop(store);
    let config = Config {
        input: "max_frame = \"16MiB\"".into(),
        routes: format!(
            "[[route]]\nkey = \"full\"\nprefix = \"full.\"\ndestinations = [\"{address} id=full full=block queue=1MiB reconnect=100ms\"]\n\
             [[route]]\nkey = \"file\"\nprefix = \"file.\"\ndestinations = [\"file:out id=out flush=1ms\"]\n"
        ),
        ..to_file()
    };
    let mut relay = Relay::start(&config);
    // Some points, and much that is none.
    let frame = |name: &str, points: usize, junk: usize| {
        let name = format!("{name}.{}", "x".repeat(8000));
        let line = format!("{name} 1 1700000000");
        let lines: Vec<&[u8]> = (0..points).map(|_| line.as_bytes()).collect();
        let points = of_lines(lines);
        let pickle = points[4..].strip_suffix(b"e.").unwrap();
        let length = (junk as u32).to_le_bytes();
        framed(&[pickle, b"X", &length, &vec![b'j'; junk], b"e."].concat())
    };
    let read = |relay: &mut Relay, bytes: usize| {
        relay.wait("the frame to be read", |status| {
            let all = status.document()["worker"]["listeners"].as_array();
            let of = |one: &serde_json::Value| one["bytes"].as_u64().unwrap_or(0);
            all.unwrap().iter().map(of).sum::<u64>() >= bytes as u64
        });
    };
    let mut known = connect(&relay);
    known.set_write_timeout(Some(LIMIT)).unwrap();
    known.write_all(&frame("file.known", 1, 10)).unwrap();
    wait_for("the first point", || relay.file("out").len() == 1);
    // One after the other, so that those that have begun never take much.
    let large = frame("full", 150, LARGE);
    let (mut senders, mut bytes) = (Vec::new(), frame("file.known", 1, 10).len());
    while senders.len() * large.len() <= MEMORY {
        let mut sender = connect(&relay);
        sender.set_write_timeout(Some(LIMIT)).unwrap();
        sender.write_all(&large).unwrap();
        senders.push(sender);
        bytes += large.len();
        read(&mut relay, bytes);
    }
    // Somebody whose lines have room goes on; somebody of whom nobody knows waits.
    known.write_all(&frame("file.known", 1, 3 << 20)).unwrap();
    wait_for("the second point", || relay.file("out").len() == 2);
    let mut unknown = connect(&relay);
    let late = frame("file.unknown", 1, 3 << 20);
    let writes = std::thread::spawn(move || {
        unknown.write_all(&late).unwrap();
        unknown
    });
    let store = std::net::TcpListener::bind(address).unwrap();
    let reads = std::thread::spawn(move || {
        let (mut stream, _) = store.accept().unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    wait_for("the third point", || relay.file("out").len() == 3);
    let count = senders.len() as u64;
    for sender in senders.into_iter().chain([known, writes.join().unwrap()]) {
        sender.shutdown(Shutdown::Write).unwrap();
        wait_closed(sender);
    }
    let status = relay.wait_done(151 * count + 6);
    assert_eq!(status.number("/worker/totals/rejected/frame"), None);
    assert_eq!(
        status.number("/worker/totals/rejected/pickle-item"),
        Some(count + 3)
    );
    assert_eq!(relay.logged("take too much memory"), 0);
    relay.check_books();
    reads.join().unwrap();
}
