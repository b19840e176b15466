//! Connections that end within frames.

use std::io::{Read, Write};
use std::net::TcpListener;

use baton::drill::{Clock, Excuse, Extent, Report, Sink};

use crate::fault::{Bench, QUIET, flow};
use crate::relay::{Config, LIMIT, Relay, free_address, reset, wait_for};

#[test]
fn case_30_pickled_points_arrive() {
    let bench = Bench::start("pickle=true");
    let sent = bench.senders(Extent::Exactly(300_000), 0).finish(LIMIT);
    let (report, resent) = bench.judge(&sent);
    assert_eq!(
        (report.received, report.duplicated, resent),
        (300_000, 0, 0),
        "{report}"
    );
}

#[test]
fn case_32_a_frame_that_was_cut_comes_whole_over_the_next_connection() {
    let bench = Bench::start("pickle=true");
    let senders = bench.senders(Extent::AtLeast(400_000), 0);
    for part in 1..=6 {
        assert!(senders.wait(part * 60_000, LIMIT));
        bench.sink.reset().unwrap();
    }
    let sent = senders.finish(LIMIT);
    let (report, _) = bench.judge(&sent);
    assert_eq!(report.torn, 0, "{report}");
}

#[test]
fn case_32_with_resend_points_come_again_and_are_counted_once() {
    let bench = Bench::start("pickle=true queue=4MiB resend=1MiB");
    let senders = bench.senders(Extent::AtLeast(200_000), 100_000);
    for part in 1..=3 {
        assert!(senders.wait(part * 50_000, LIMIT));
        bench.sink.reset().unwrap();
    }
    let sent = senders.finish(LIMIT);
    let (report, resent) = bench.judge(&sent);
    assert!(
        report.duplicated > 0 && resent > 10_000,
        "{resent} sent again\n{report}"
    );
}

#[test]
fn case_32_resend_brings_the_points_that_a_killed_peer_had_not_read() {
    let clock = Clock::start();
    let peer = TcpListener::bind(free_address()).unwrap();
    let address = peer.local_addr().unwrap();
    let to = format!("{address} id=sink reconnect=100ms queue=1MiB resend=512KiB pickle=true");
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (first, _) = peer.accept().unwrap();
    let sent = flow(relay.tcp(), 0, 1_500, clock).finish(LIMIT);
    let status = relay.wait_done(1_500);
    assert_eq!(status.of_destination("sink", "acknowledged"), Some(1_500));
    drop(peer);
    drop(first);
    let sink = Sink::start_at(address, clock).unwrap();
    assert!(sink.settle(1_500, QUIET));
    let report = Report::new(&sent, &sink.account(), Excuse::default());
    assert!(report.is_clean(), "{report}");
    let resent = relay.wait("the count", |status| {
        status.of_destination("sink", "resent") == Some(1_500)
    });
    assert_eq!(resent.of_destination("sink", "acknowledged"), Some(1_500));
    relay.check_books();
}

#[test]
fn case_32_points_acknowledged_within_a_frame_are_not_counted() {
    let peer = TcpListener::bind(free_address()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&peer, 4096).unwrap();
    let to = format!(
        "{} id=peer reconnect=100ms pickle=true flush=1s",
        peer.local_addr().unwrap()
    );
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (mut first, _) = peer.accept().unwrap();
    // One frame, longer than the window: of 110 names of 1,000 bytes, which wait for company together.
    let line = |n: usize| format!("{:01000} {n} 1700000000\n", n);
    relay.send((0..110).map(line).collect::<String>());
    let mut got = vec![0; 50_000];
    first.read_exact(&mut got).unwrap();
    let length = u32::from_be_bytes(*got.first_chunk().unwrap()) as usize;
    assert!(length > 110_000, "{length}");
    let status = relay.wait("the lines", |status| status.total("in") == Some(110));
    let number = |name: &str| status.of_destination("peer", name);
    assert_eq!(
        (number("acknowledged"), number("queued")),
        (Some(0), Some(110))
    );
    reset(first);
    let (mut second, _) = peer.accept().unwrap();
    let mut again = vec![0; 4 + length];
    second.read_exact(&mut again).unwrap();
    assert!(again.starts_with(&got), "the frame from its beginning");
    let status = relay.wait_done(110);
    let number = |name: &str| status.of_destination("peer", name);
    assert_eq!(
        (number("acknowledged"), number("sent")),
        (Some(110), Some(110))
    );
    relay.check_books();
}

#[test]
fn case_33_a_lone_point_waits_for_flush_and_no_longer() {
    let bench = Bench::start("pickle=true flush=20ms");
    let senders = bench.senders(Extent::AtLeast(100), 50);
    assert!(senders.wait(100, LIMIT));
    let sent = senders.finish(LIMIT);
    let (report, _) = bench.judge(&sent);
    let p99 = report.latency.quantile(0.99);
    assert!(p99 < std::time::Duration::from_secs(1), "{report}");
}

#[test]
fn a_stop_delivers_all_frames_and_ends_with_the_last() {
    let peer = TcpListener::bind(free_address()).unwrap();
    let to = format!(
        "{} id=peer pickle=true flush=10s",
        peer.local_addr().unwrap()
    );
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (mut socket, _) = peer.accept().unwrap();
    let mut client = relay.connect();
    client
        .write_all(b"a 1 1700000000\nb 2 1700000000\n")
        .unwrap();
    relay.wait("the lines", |status| status.total("in") == Some(2));
    let end = relay.instance.stop(LIMIT).unwrap();
    assert_eq!(end.code(), Some(0));
    let mut got = Vec::new();
    socket.read_to_end(&mut got).unwrap();
    let point = |name: &[u8], value: f64| {
        [
            b"X\x01\0\0\0",
            name,
            b"J\x00\xf1\x53\x65G",
            &value.to_be_bytes(),
            b"\x86\x86",
        ]
        .concat()
    };
    let pickle = [
        b"\x80\x02](".to_vec(),
        point(b"a", 1.0),
        point(b"b", 2.0),
        b"e.".to_vec(),
    ]
    .concat();
    assert_eq!(
        got,
        [&(pickle.len() as u32).to_be_bytes()[..], &pickle].concat()
    );
}

/// What was on its way on a connection that is gone is on no way any more: the lines went elsewhere, the queue is empty.
#[test]
fn a_queue_of_frames_without_a_connection_changes_its_size() {
    let peer = TcpListener::bind(free_address()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&peer, 4096).unwrap();
    let address = peer.local_addr().unwrap();
    let config = |size: &str| Config {
        routes: format!(
            "[[route]]\nkey = \"all\"\ntype = \"failover\"\nfailback = \"1h\"\ndestinations = [\
             \"{address} id=peer reconnect=100ms pickle=true flush=1s queue={size}\", \"file:out id=out flush=1ms\"]\n"
        ),
        ..Config::default()
    };
    let mut relay = Relay::start(&config("4MiB"));
    let (mut first, _) = peer.accept().unwrap();
    let line = |n: usize| format!("{:01000} {n} 1700000000\n", n);
    relay.send((0..110).map(line).collect::<String>());
    first.read_exact(&mut [0; 50_000]).unwrap();
    drop(peer);
    reset(first);
    wait_for("the lines", || relay.file("out").len() >= 110);
    let size = |status: &baton::drill::Status| {
        let peer = status.destination("peer").unwrap();
        (peer["queued"].as_u64(), peer["queue_bytes"].as_u64())
    };
    relay.wait("the queue to be empty", |status| {
        size(status) == (Some(0), Some(4 << 20))
    });
    relay.reconfigure(&config("2MiB"));
    let status = relay.status();
    assert_eq!(size(&status), (Some(0), Some(2 << 20)));
    relay.check_books();
}
