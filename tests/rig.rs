//! The rig under test: it must see every fault there is, and none that is not.
//!
//! The relay here copies line by line and does one thing wrong on purpose.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use baton::drill::{
    Clock, Error, Excuse, Extent, Instance, Line, Load, Reload, Report, Senders, Setup, Sink,
    Target, free_ports,
};
use nix::sys::signal::kill;
use nix::sys::socket::{self, AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr};
use nix::unistd::Pid;
use nix::{getsockopt_impl, sockopt_impl};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(2);
const LINES: u64 = 2_000;

// ---- a relay that errs ----

/// What a relay does with a line, its newline included.
type Copy = fn(&mut Wire<'_>, &[u8]);

/// One connection through the relay.
struct Wire<'a> {
    /// The number of the line at hand.
    number: u64,
    /// What goes to the sink.
    out: Vec<u8>,
    /// A line kept for later.
    held: Vec<u8>,
    client: &'a TcpStream,
}

impl Wire<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

fn faithful(wire: &mut Wire<'_>, line: &[u8]) {
    wire.put(line);
}

/// Takes so many connections and gives each one to the sink of its own.
fn relay(sink: SocketAddr, connections: u32, copy: Copy) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (client, _) = listener.accept().unwrap();
            let sink = TcpStream::connect(sink).unwrap();
            std::thread::spawn(move || copy_lines(client, sink, copy));
        }
    });
    address
}

fn copy_lines(client: TcpStream, mut sink: TcpStream, copy: Copy) {
    let mut lines = BufReader::new(&client);
    let mut line = Vec::new();
    let mut wire = Wire {
        number: 0,
        out: Vec::new(),
        held: Vec::new(),
        client: &client,
    };
    while lines.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
        copy(&mut wire, &line);
        sink.write_all(&wire.out).unwrap();
        wire.out.clear();
        line.clear();
        wire.number += 1;
    }
}

fn load(target: Target) -> Load {
    Load {
        connections: 2,
        extent: Extent::Exactly(2 * LINES),
        ..Load::new(target)
    }
}

/// Sends two connections' lines through a relay and judges what comes.
fn drill(copy: Copy) -> Report {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let relay = relay(sink.address(), 2, copy);
    let senders = Senders::start(&load(Target::Tcp(relay)), clock).unwrap();
    let sent = senders.finish(LIMIT);
    assert!(both_closed(&sink));
    let account = sink.account();
    Report::new(&sent, &account, Excuse::default())
}

/// Waits until both connections have come and gone: one that isn't accepted yet isn't open either.
fn both_closed(sink: &Sink) -> bool {
    sink.wait(LIMIT, |account| account.connections() == 2) && sink.wait_closed(LIMIT)
}

/// Lost, duplicated, torn, out of order, client errors.
fn faults(report: &Report) -> [u64; 5] {
    [
        report.lost,
        report.duplicated,
        report.torn,
        report.out_of_order,
        report.client_errors,
    ]
}

#[test]
fn a_faithful_relay_is_clean() {
    let report = drill(faithful);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.sent, report.received), (2 * LINES, 2 * LINES));
    assert_eq!(report.latency.len(), 2 * LINES);
}

#[test]
fn a_line_dropped_is_lost() {
    let report = drill(|wire, line| {
        if wire.number != 500 {
            wire.put(line);
        }
    });
    assert_eq!(faults(&report), [2, 0, 0, 0, 0], "{report}");
    assert!(
        report.to_string().contains("1 did not come, first 500"),
        "{report}"
    );
}

#[test]
fn the_last_line_dropped_is_lost() {
    let report = drill(|wire, line| {
        if wire.number != LINES - 1 {
            wire.put(line);
        }
    });
    assert_eq!(faults(&report), [2, 0, 0, 0, 0], "{report}");
}

#[test]
fn a_line_sent_twice_is_duplicated() {
    let report = drill(|wire, line| {
        wire.put(line);
        if wire.number == 500 {
            wire.put(line);
        }
    });
    assert_eq!(faults(&report), [0, 2, 0, 0, 0], "{report}");
}

#[test]
fn a_line_cut_in_two_is_torn_and_lost() {
    let report = drill(|wire, line| {
        let cut = if wire.number == 500 {
            line.len() / 2
        } else {
            0
        };
        wire.put(&line[..cut]);
        wire.put(if cut > 0 { b"\n" } else { b"" });
        wire.put(&line[cut..]);
    });
    assert_eq!(faults(&report), [2, 0, 4, 0, 0], "{report}");
}

#[test]
fn two_lines_without_a_newline_between_are_torn_and_lost() {
    let report = drill(|wire, line| {
        let end = line.len() - usize::from(wire.number == 500);
        wire.put(&line[..end]);
    });
    assert_eq!(faults(&report), [4, 0, 2, 0, 0], "{report}");
}

#[test]
fn a_connection_that_ends_within_a_line_is_torn() {
    let report = drill(|wire, line| {
        let end = line.len() - usize::from(wire.number == LINES - 1);
        wire.put(&line[..end]);
    });
    assert_eq!(faults(&report), [2, 0, 2, 0, 0], "{report}");
}

#[test]
fn a_line_that_nobody_sent_is_torn() {
    let report = drill(|wire, line| {
        wire.put(line);
        if wire.number == 500 {
            wire.put(b"d.0.12 1.0000 1700000000\n");
        }
    });
    assert_eq!(faults(&report), [0, 0, 2, 0, 0], "{report}");
}

#[test]
fn the_relays_own_metrics_are_ignored() {
    let report = drill(|wire, line| {
        wire.put(line);
        wire.put(b"carbon.relays.host.baton.in 1 1700000000\n");
    });
    assert!(report.is_clean(), "{report}");
}

#[test]
fn lines_that_change_places_are_out_of_order() {
    let report = drill(|wire, line| match wire.number {
        500 => wire.held = line.to_vec(),
        _ => {
            wire.put(line);
            let late = std::mem::take(&mut wire.held);
            wire.put(&late);
        }
    });
    assert_eq!(faults(&report), [0, 0, 0, 2, 0], "{report}");
}

#[test]
fn an_answer_on_a_line_connection_is_a_client_error() {
    let report = drill(|wire, line| {
        wire.put(line);
        if wire.number == LINES - 1 {
            let _ = (&mut &*wire.client).write_all(b"thanks\n");
        }
    });
    assert_eq!(report.client_errors, 2, "{report}");
    assert_eq!(report.lost, 0, "{report}");
}

#[test]
fn a_connection_closed_by_the_relay_is_a_client_error() {
    let clock = Clock::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    let all = Load {
        extent: Extent::AtLeast(1),
        rate: 1_000,
        ..load(target)
    };
    let senders = Senders::start(&all, clock).unwrap();
    drop(listener.accept().unwrap());
    wait_for("the client to notice", || senders.client_errors() == 1);
    drop(listener.accept().unwrap());
    wait_for("the client to notice", || senders.client_errors() == 2);
    let sent = senders.finish(LIMIT);
    assert_eq!(sent.client_errors, 2, "{:?}", sent.samples);
}

#[test]
fn a_relay_that_reads_nothing_is_a_client_error_in_the_end() {
    let clock = Clock::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = Target::Tcp(listener.local_addr().unwrap());
    let all = Load {
        extent: Extent::Exactly(10_000_000),
        ..load(target)
    };
    let senders = Senders::start(&all, clock).unwrap();
    let sent = senders.finish(Duration::from_millis(50));
    assert!(sent.lines() < 10_000_000);
    assert_eq!(sent.client_errors, 2, "{:?}", sent.samples);
}

// ---- senders ----

#[test]
fn paced_and_idle_connections_lose_nothing_on_a_faithful_relay() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let all = Load {
        idle: 60,
        extent: Extent::AtLeast(2 * LINES),
        rate: 20_000,
        ..load(Target::Tcp(relay(sink.address(), 62, faithful)))
    };
    let senders = Senders::start(&all, clock).unwrap();
    assert!(senders.wait(2 * LINES, LIMIT));
    let sent = senders.finish(LIMIT);
    assert!(sink.settle(sent.lines(), QUIET) && sink.wait_closed(LIMIT));
    let report = Report::new(&sent, &sink.account(), Excuse::default());
    assert!(report.is_clean(), "{report}");
    assert_eq!(sent.flows.len(), 62);
    assert!(sent.flows.iter().all(|flow| flow.lines > 0));
    assert!(report.sent >= 2 * LINES + 60);
}

#[test]
fn thousands_of_idle_connections_send_a_line_each() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let all = Load {
        connections: 1,
        idle: 2_000,
        extent: Extent::Exactly(10),
        ..Load::new(Target::Tcp(sink.address()))
    };
    let sent = Senders::start(&all, clock).unwrap().finish(LIMIT);
    assert!(sink.wait(LIMIT, |account| account.lines() == 2_010));
    assert!(sink.wait_closed(LIMIT));
    let report = Report::new(&sent, &sink.account(), Excuse::default());
    assert!(report.is_clean(), "{report}");
}

#[test]
fn an_idle_connection_holds_a_part_of_a_line() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let all = Load {
        connections: 0,
        idle: 1,
        extent: Extent::AtLeast(0),
        ..Load::new(Target::Tcp(listener.local_addr().unwrap()))
    };
    let senders = Senders::start(&all, Clock::start()).unwrap();
    let (mut relay, _) = listener.accept().unwrap();
    let mut part = [0; 100];
    let length = relay.read(&mut part).unwrap();
    assert_ne!(part[..length].last(), Some(&b'\n'));
    let rest = std::thread::spawn(move || {
        let mut rest = Vec::new();
        relay.read_to_end(&mut rest).unwrap();
        rest
    });
    let sent = senders.finish(LIMIT);
    assert_eq!(rest.join().unwrap().last(), Some(&b'\n'));
    assert_eq!((sent.client_errors, sent.lines()), (0, 1));
}

#[test]
fn loads_over_tcp_and_unix_sockets_are_judged_as_one() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut out = TcpStream::connect(sink.address()).unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        std::io::copy(&mut client, &mut out).unwrap();
    });
    let over_tcp = Load {
        connections: 1,
        extent: Extent::Exactly(LINES),
        ..Load::new(Target::Tcp(sink.address()))
    };
    let over_unix = Load {
        target: Target::Unix(path),
        first_flow: 1,
        ..over_tcp.clone()
    };
    let mut sent = Senders::start(&over_tcp, clock).unwrap().finish(LIMIT);
    sent.merge(Senders::start(&over_unix, clock).unwrap().finish(LIMIT));
    assert!(both_closed(&sink));
    let report = Report::new(&sent, &sink.account(), Excuse::default());
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.received, 2 * LINES);
}

// ---- datagrams ----

/// Sends sixty datagrams, few enough for any receive buffer, and forwards those lines that `keep` is true of.
fn datagrams(kernel_dropped: u64, keep: fn(u64) -> bool) -> Report {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let all = Load {
        connections: 1,
        extent: Extent::Exactly(179),
        ..Load::new(Target::Udp(socket.local_addr().unwrap()))
    };
    let sent = Senders::start(&all, clock).unwrap().finish(LIMIT);
    let mut out = TcpStream::connect(sink.address()).unwrap();
    let mut datagram = [0; 1024];
    for _ in 0..60 {
        let length = socket.recv(&mut datagram).unwrap();
        for line in datagram[..length].split_inclusive(|&byte| byte == b'\n') {
            if keep(Line::parse(&line[..line.len() - 1], &clock).unwrap().seq) {
                out.write_all(line).unwrap();
            }
        }
    }
    drop(out);
    assert!(sink.wait(LIMIT, |account| account.lines() > 0) && sink.wait_closed(LIMIT));
    let excuse = Excuse {
        kernel_dropped,
        ..Excuse::default()
    };
    Report::new(&sent, &sink.account(), excuse)
}

#[test]
fn datagrams_carry_every_line() {
    let report = datagrams(0, |_| true);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.received, 179);
}

#[test]
fn whole_datagrams_within_the_kernels_count_are_excused() {
    // The last one has two lines only.
    let report = datagrams(2, |seq| !(30..33).contains(&seq) && seq < 177);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.lost_in_kernel, 5);
}

#[test]
fn datagrams_beyond_the_kernels_count_are_lost() {
    let report = datagrams(1, |seq| {
        !(30..33).contains(&seq) && !(60..63).contains(&seq)
    });
    assert_eq!((report.lost_in_kernel, report.lost), (3, 3), "{report}");
}

#[test]
fn one_line_out_of_a_datagram_is_lost_whatever_the_kernel_counts() {
    let report = datagrams(100, |seq| seq != 31);
    assert_eq!((report.lost_in_kernel, report.lost), (0, 1), "{report}");
}

#[test]
fn a_refused_datagram_is_a_client_error() {
    let [port] = free_ports().unwrap();
    let all = Load {
        connections: 1,
        extent: Extent::Exactly(30),
        ..Load::new(Target::Udp((Ipv4Addr::LOCALHOST, port).into()))
    };
    let sent = Senders::start(&all, Clock::start()).unwrap().finish(LIMIT);
    assert!(sent.client_errors > 0);
}

// ---- crashes ----

#[test]
fn lines_within_what_a_crash_declares_lost_are_apart() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let lossy: Copy = |wire, line| {
        if !(500..510).contains(&wire.number) {
            wire.put(line);
        }
    };
    let target = Target::Tcp(relay(sink.address(), 2, lossy));
    let sent = Senders::start(&load(target), clock).unwrap().finish(LIMIT);
    assert!(both_closed(&sink));
    let judge = |crash_bytes| {
        let excuse = Excuse {
            crash_bytes,
            ..Excuse::default()
        };
        let report = Report::new(&sent, &sink.account(), excuse);
        (report.lost_by_crash, report.lost)
    };
    assert_eq!(judge(0), (0, 20));
    assert_eq!(judge(20 * 60), (20, 0));
    // The shortest line of number 500 to 509 has 26 bytes.
    assert_eq!(judge(5 * 26), (5, 15));
}

// ---- the sink's faults ----

fn numbered(clock: &Clock, flow: u32, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut text = Vec::new();
    for seq in numbers {
        Line {
            flow,
            seq,
            micros: 0,
        }
        .write(clock, &mut text);
    }
    text
}

#[test]
fn a_sink_that_refuses_keeps_its_connections_and_comes_back() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let mut kept = TcpStream::connect(sink.address()).unwrap();
    assert!(sink.wait(LIMIT, |account| account.open() == 1));
    sink.refuse().unwrap();
    let refused = TcpStream::connect(sink.address()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    kept.write_all(&numbered(&clock, 0, 0..10)).unwrap();
    assert!(sink.wait(LIMIT, |account| account.lines() == 10));
    sink.resume().unwrap();
    TcpStream::connect(sink.address()).unwrap();
}

#[test]
fn a_sink_that_hangs_reads_on_when_it_resumes() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let mut client = TcpStream::connect(sink.address()).unwrap();
    assert!(sink.wait(LIMIT, |account| account.open() == 1));
    sink.hang().unwrap();
    let text = numbered(&clock, 0, 0..1_000_000);
    client.set_nonblocking(true).unwrap();
    let mut written = 0;
    // More than any pair of socket buffers holds: it must get stuck.
    let stuck = loop {
        match client.write(&text[written..]) {
            Ok(bytes) => written += bytes,
            Err(error) => break error,
        }
    };
    assert_eq!(stuck.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(sink.account().bytes(), 0);
    sink.resume().unwrap();
    client.set_nonblocking(false).unwrap();
    client.write_all(&text[written..]).unwrap();
    assert!(sink.settle(1_000_000, QUIET));
}

#[test]
fn a_slow_sink_reads_no_faster_than_told() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    sink.slow(200_000).unwrap();
    let text = numbered(&clock, 0, 0..2_000);
    let began = Instant::now();
    let mut client = TcpStream::connect(sink.address()).unwrap();
    client.write_all(&text).unwrap();
    assert!(sink.settle(2_000, QUIET));
    let least = Duration::from_secs_f64(text.len() as f64 / 200_000.0 * 0.9);
    assert!(
        began.elapsed() >= least,
        "{:?} < {least:?}",
        began.elapsed()
    );
}

sockopt_impl!(
    /// The first 24 words of `struct tcp_info`; the 16th is `tcpi_bytes_acked` (linux/tcp.h).
    TcpInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    [u64; 24]
);

#[test]
fn a_reset_throws_away_nothing_that_was_acknowledged() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let text = numbered(&clock, 0, 0..100_000);
    for _ in 0..20 {
        let before = sink.account().bytes();
        let mut client = TcpStream::connect(sink.address()).unwrap();
        let text = text.clone();
        let writer = std::thread::spawn(move || {
            let end = loop {
                if let Err(error) = client.write_all(&text) {
                    break error;
                }
            };
            (
                end.kind(),
                socket::getsockopt(&client, TcpInfo).unwrap()[15],
            )
        });
        assert!(sink.wait(LIMIT, |account| account.bytes() > before + 1_000_000));
        sink.reset().unwrap();
        let entered = sink.account().bytes() - before;
        let (end, acknowledged) = writer.join().unwrap();
        assert_eq!(end, std::io::ErrorKind::ConnectionReset);
        // The handshake counts as one byte.
        assert!(acknowledged > 1_000_000);
        assert!(acknowledged <= entered + 1, "{acknowledged} > {entered}");
    }
    // We cut those ends ourselves.
    assert_eq!(sink.account().torn(), 0);
    assert_eq!(sink.account().open(), 0);
}

// ---- instances ----

/// `sh run --config …` runs the script `run` of the folder it is started in.
fn script(text: &str) -> Setup {
    let setup = Setup::new("/bin/sh", "# none").unwrap();
    fs::write(setup.path("run"), text).unwrap();
    setup
}

#[test]
fn an_instance_that_ends_at_once_says_why() {
    let error = script("echo no such luck >&2; exit 3").start().unwrap_err();
    assert!(matches!(&error, Error::Ended { status, .. } if status.code() == Some(3)));
    assert!(error.to_string().contains("no such luck"), "{error}");
}

#[test]
fn an_instance_that_never_serves_is_given_up_and_killed() {
    let setup = script("echo $$ > pid; mv pid pid.whole; exec sleep 600").keep();
    let folder = setup.path("");
    let error = setup
        .ready_within(Duration::from_secs(1))
        .start()
        .unwrap_err();
    assert!(matches!(error, Error::Late { .. }), "{error}");
    let pid = fs::read_to_string(folder.join("pid.whole")).unwrap();
    fs::remove_dir_all(folder).unwrap();
    let gone = kill(Pid::from_raw(pid.trim().parse().unwrap()), None);
    assert_eq!(gone, Err(nix::errno::Errno::ESRCH));
}

/// A control socket in the folder of an instance that is no Baton, and the processes that play its workers.
struct Fake {
    workers: Arc<Mutex<Vec<Child>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

impl Fake {
    fn serve(setup: &Setup, reload: fn() -> Value) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener =
            socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        let address = UnixAddr::new(&setup.path("control.sock")).unwrap();
        socket::bind(listener.as_raw_fd(), &address).unwrap();
        socket::listen(&listener, Backlog::new(8).unwrap()).unwrap();
        let wait = nix::sys::time::TimeVal::new(0, 20_000);
        socket::setsockopt(&listener, socket::sockopt::ReceiveTimeout, &wait).unwrap();
        let workers = Arc::new(Mutex::new(vec![sleeper()]));
        let ended = Arc::new(AtomicBool::new(false));
        let (shared, end) = (workers.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let Ok(client) = socket::accept(listener.as_raw_fd()) else {
                    continue;
                };
                let mut message = [0; 4096];
                let length = socket::recv(client, &mut message, MsgFlags::empty()).unwrap();
                let request: Value = serde_json::from_slice(&message[..length]).unwrap();
                let answer = match request["type"].as_str() {
                    Some("status") => status(&mut shared.lock().unwrap()),
                    _ => reload(),
                };
                let answer = answer.to_string();
                // A client that has gone is none of this server's business.
                let _ = socket::send(client, answer.as_bytes(), MsgFlags::MSG_NOSIGNAL);
                nix::unistd::close(client).unwrap();
            }
        });
        Self {
            workers,
            ended,
            thread: Some(thread),
        }
    }
}

/// Replaces a worker that was killed, as a supervisor does.
fn status(workers: &mut Vec<Child>) -> Value {
    if workers.last_mut().unwrap().try_wait().unwrap().is_some() {
        workers.push(sleeper());
    }
    json!({
        "type": "status",
        "supervisor": {"state": "serving"},
        "worker": {"generation": workers.len(), "pid": workers.last().unwrap().id()},
    })
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        for worker in self.workers.lock().unwrap().iter_mut() {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

fn reloaded() -> Value {
    json!({"type": "reloaded", "generation": 2, "pause_us": 1234})
}

#[test]
fn a_reload_is_done_or_refused() {
    let setup = script("exec sleep 600");
    let _fake = Fake::serve(&setup, reloaded);
    let done = Reload::Done {
        generation: 2,
        pause: Some(Duration::from_micros(1234)),
    };
    assert_eq!(setup.start().unwrap().reload().unwrap(), done);

    let setup = script("exec sleep 600");
    let _fake = Fake::serve(&setup, || json!({"type": "refused", "reason": "too late"}));
    let refused = Reload::Refused {
        reason: "too late".into(),
    };
    assert_eq!(setup.start().unwrap().reload().unwrap(), refused);
}

#[test]
fn a_killed_worker_is_waited_for_and_none_outlives_the_instance() {
    let setup = script("exec sleep 600");
    let fake = Fake::serve(&setup, reloaded);
    let mut instance = setup.start().unwrap();
    let first = instance.worker_pid().unwrap();
    instance.kill_worker(LIMIT).unwrap();
    let second = instance.worker_pid().unwrap();
    assert_ne!(first, second);
    let folder = instance.folder().to_owned();
    drop(instance);
    let end = fake.workers.lock().unwrap().last_mut().unwrap().wait();
    assert!(!end.unwrap().success());
    assert!(!folder.exists());
}

#[test]
fn a_stop_gives_the_exit_status() {
    let setup =
        script("trap 'echo stopping; exit 7' TERM; echo started; while :; do sleep 0.01; done");
    let _fake = Fake::serve(&setup, reloaded);
    let mut instance: Instance = setup.start().unwrap();
    // Before its trap is set, the shell would die of the signal.
    wait_for("the trap", || instance.log().contains("started"));
    assert_eq!(instance.stop(LIMIT).unwrap().code(), Some(7));
    assert!(instance.log().contains("stopping"));
    assert_eq!(instance.wait_ended(LIMIT).unwrap().code(), Some(7));
}

#[test]
fn free_ports_differ() {
    let mut ports: [u16; 20] = free_ports().unwrap();
    ports.sort_unstable();
    assert!(ports.windows(2).all(|pair| pair[0] != pair[1]));
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
