//! Connections to destinations: how they come about, end, and what is sent again.

use std::io::Read;
use std::net::{Ipv6Addr, Shutdown, TcpListener};
use std::time::{Duration, Instant};

use baton::drill::{Clock, Error, Excuse, Extent, Report, Setup, Sink};

use crate::fault::{Bench, QUIET, destination, flow};
use crate::relay::{Config, LIMIT, Relay, free_address, reset};

#[test]
fn case_25_the_same_address_twice_in_a_route_is_refused_at_the_start() {
    let config = "[supervisor]\ncontrol = \"unix:control.sock\"\n[[route]]\nkey = \"a\"\n\
        destinations = [\"127.0.0.1:2013\", \"127.0.0.1:2013\"]\n";
    let started = Setup::new(env!("CARGO_BIN_EXE_baton"), config)
        .unwrap()
        .start();
    match started {
        Err(Error::Ended { status, log, .. }) => {
            assert_eq!(status.code(), Some(78), "{log}");
            assert!(log.contains("127.0.0.1:2013"), "{log}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn case_31_a_destination_that_cannot_be_reached_stops_no_start_and_is_found_when_it_appears() {
    let clock = Clock::start();
    let late = free_address();
    let good = Sink::start(clock).unwrap();
    let mut relay = Relay::start(&Config::to(&[
        "nosuchhost.invalid:2003 id=unknown full=drop",
        &format!("{late} id=late reconnect=100ms"),
        &destination(&good, "good", ""),
    ]));
    let sent = flow(relay.tcp(), 0, 20_000, clock).finish(LIMIT);
    assert!(good.settle(20_000, QUIET));
    let status = relay.wait("both to be down", |status| {
        ["unknown", "late"].map(|id| status.destination(id).unwrap()["state"] == "down")
            == [true; 2]
    });
    let error = |id| status.destination(id).unwrap()["error"].to_string();
    assert!(
        error("unknown").contains("nosuchhost.invalid"),
        "{}",
        error("unknown")
    );
    assert!(error("late").contains("refused"), "{}", error("late"));
    // In memory or on disk: the lines may have come before it was known to be down, or after.
    let kept = ["queued", "spooled"].map(|where_| status.of_destination("late", where_));
    assert_eq!(kept[0].zip(kept[1]).map(|(a, b)| a + b), Some(20_000));
    assert!(status.of_destination("late", "connect_failures") > Some(0));
    let late = Sink::start_at(late, clock).unwrap();
    assert!(late.settle(20_000, QUIET));
    for sink in [&good, &late] {
        let report = Report::new(&sent, &sink.account(), Excuse::default());
        assert!(report.is_clean(), "{report}");
    }
    let status = relay.wait("the acknowledgements", |status| {
        status.of_destination("late", "queued") == Some(0)
    });
    assert_eq!(status.of_destination("unknown", "queued"), Some(20_000));
    relay.check_books();
}

#[test]
fn case_31_all_addresses_of_a_name_are_tried() {
    let clock = Clock::start();
    // One of its addresses answers, the other refuses; this way and the other.
    for sink in [
        Sink::start(clock),
        Sink::start_at((Ipv6Addr::LOCALHOST, 0).into(), clock),
    ] {
        let Ok(sink) = sink else {
            println!("skipped: no IPv6 here");
            continue;
        };
        let resolved =
            std::net::ToSocketAddrs::to_socket_addrs(&("localhost", sink.address().port()));
        if !resolved.unwrap().any(|address| address == sink.address()) {
            println!("skipped: localhost has not both addresses here");
            continue;
        }
        let name = format!("localhost:{} id=sink", sink.address().port());
        let mut relay = Relay::start(&Config::to(&[&name]));
        let sent = flow(relay.tcp(), 0, 1_000, clock).finish(LIMIT);
        assert!(sink.settle(1_000, QUIET));
        let status = relay.wait_done(1_000);
        let peer = &status.destination("sink").unwrap()["peer"];
        assert_eq!(*peer, sink.address().to_string());
        let report = Report::new(&sent, &sink.account(), Excuse::default());
        assert!(report.is_clean(), "{report}");
        relay.check_books();
    }
}

/// How a peer may end a connection on which everything was acknowledged.
fn ends_are_seen_at_once(end: impl Fn(std::net::TcpStream) -> Option<std::net::TcpStream>) {
    let peer = TcpListener::bind(free_address()).unwrap();
    let to = format!("{} id=peer reconnect=100ms", peer.local_addr().unwrap());
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (mut first, _) = peer.accept().unwrap();
    let text = "a 1 1700000000\nb 2 1700000000\n";
    relay.send(text);
    let mut got = vec![0; text.len()];
    first.read_exact(&mut got).unwrap();
    relay.wait_done(2);
    let before = Instant::now();
    let _kept = end(first);
    // Nothing is sent, and it is known all the same, and another connection made.
    relay.wait("the end to be seen", |status| {
        status.of_destination("peer", "disconnects") == Some(1)
    });
    let (mut second, _) = peer.accept().unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
    relay.send("c 3 1700000000\n");
    let mut got = vec![0; 15];
    second.read_exact(&mut got).unwrap();
    assert_eq!(
        got, b"c 3 1700000000\n",
        "nothing that was acknowledged comes again"
    );
    let status = relay.wait_done(3);
    assert_eq!(status.of_destination("peer", "resent"), Some(0));
    assert_eq!(status.of_destination("peer", "connects"), Some(2));
    relay.check_books();
}

#[test]
fn case_32_a_peer_that_closes_is_noticed_without_a_new_line() {
    ends_are_seen_at_once(|peer| {
        drop(peer);
        None
    });
}

#[test]
fn case_32_a_peer_that_resets_is_noticed_without_a_new_line() {
    ends_are_seen_at_once(|peer| {
        reset(peer);
        None
    });
}

#[test]
fn case_32_a_peer_that_half_closes_is_noticed_without_a_new_line() {
    ends_are_seen_at_once(|peer| {
        peer.shutdown(Shutdown::Write).unwrap();
        Some(peer)
    });
}

#[test]
fn case_32_a_peer_that_talks_is_not_one_that_ends() {
    use std::io::Write;
    let peer = TcpListener::bind(free_address()).unwrap();
    let to = format!("{} id=peer", peer.local_addr().unwrap());
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (mut first, _) = peer.accept().unwrap();
    for _ in 0..100 {
        first.write_all(&[b'?'; 1000]).unwrap();
    }
    relay.send("a 1 1700000000\n");
    first.read_exact(&mut [0; 15]).unwrap();
    let status = relay.wait_done(1);
    assert_eq!(status.of_destination("peer", "disconnects"), Some(0));
    relay.check_books();
}

#[test]
fn case_32_what_was_not_acknowledged_is_sent_again_from_the_start_of_its_line() {
    let bench = Bench::start("");
    let senders = bench.senders(Extent::AtLeast(400_000), 0);
    for part in 1..=4 {
        assert!(senders.wait(part * 80_000, LIMIT));
        bench.sink.reset().unwrap();
    }
    let sent = senders.finish(LIMIT);
    bench.judge(&sent);
}

#[test]
fn case_32_a_line_cut_by_the_end_of_a_connection_comes_whole_over_the_next() {
    // Read by hand: a peer whose window ends within a line.
    let peer = TcpListener::bind(free_address()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&peer, 4096).unwrap();
    let to = format!("{} id=peer reconnect=100ms", peer.local_addr().unwrap());
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (mut first, _) = peer.accept().unwrap();
    let line = |number: u32| format!("line.{number:06} 1 1700000000\n");
    let all: String = (0..50_000).map(line).collect();
    relay.send(&all);
    // Some is read, then it hangs; what is left in its window is read before the reset.
    let mut got = vec![0; 10_001];
    first.read_exact(&mut got).unwrap();
    relay.wait("the peer's window to be full", |status| {
        status.of_destination("peer", "acknowledged") > Some(0)
    });
    first.set_nonblocking(true).unwrap();
    rustix::net::shutdown(&first, rustix::net::Shutdown::Read).unwrap();
    let mut rest = Vec::new();
    let _ended_or_would_block = first.read_to_end(&mut rest);
    got.extend(rest);
    reset(first);
    let (mut second, _) = peer.accept().unwrap();
    let whole = got.iter().rposition(|&byte| byte == b'\n').unwrap() + 1;
    let mut again = vec![0; 1];
    second.read_exact(&mut again).unwrap();
    assert_eq!(again, b"l", "it begins with a line");
    // Reads on until the last line has come.
    let last = line(49_999);
    while !again.ends_with(last.as_bytes()) {
        let mut more = [0; 65_536];
        let n = second.read(&mut more).unwrap();
        assert!(n > 0, "it ended after {} bytes", again.len());
        again.extend_from_slice(&more[..n]);
    }
    let status = relay.wait_done(50_000);
    // Every line is there, those that came twice were sent again.
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let (first, second) = (lines(&got[..whole]), lines(&again));
    assert!(all.as_bytes().starts_with(&got) && all.as_bytes().ends_with(&again));
    assert!(first + second >= 50_000, "{first} + {second}");
    let twice = first + second - 50_000;
    assert!(
        Some(twice) <= status.of_destination("peer", "resent"),
        "{twice}"
    );
    relay.check_books();
}

#[test]
fn case_32_resend_brings_what_a_killed_peer_had_not_read() {
    let clock = Clock::start();
    let peer = TcpListener::bind(free_address()).unwrap();
    let address = peer.local_addr().unwrap();
    let to = format!("{address} id=sink reconnect=100ms queue=1MiB resend=512KiB");
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (first, _) = peer.accept().unwrap();
    let sent = flow(relay.tcp(), 0, 1_500, clock).finish(LIMIT);
    // Its kernel has them all, and it has read none. Then it is gone.
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
fn case_32_with_resend_duplicates_are_those_sent_again() {
    let bench = Bench::start("queue=4MiB resend=1MiB");
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
fn case_32_with_resend_nothing_comes_again_after_a_good_end() {
    let peer = TcpListener::bind(free_address()).unwrap();
    let to = format!(
        "{} id=peer reconnect=100ms resend=1MiB",
        peer.local_addr().unwrap()
    );
    let mut relay = Relay::start(&Config::to(&[&to]));
    let (mut first, _) = peer.accept().unwrap();
    relay.send("a 1 1700000000\n");
    first.read_exact(&mut [0; 15]).unwrap();
    relay.wait_done(1);
    drop(first);
    let (mut second, _) = peer.accept().unwrap();
    relay.send("b 1 1700000000\n");
    let mut got = [0; 15];
    second.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"b 1 1700000000\n");
    let status = relay.wait_done(2);
    assert_eq!(status.of_destination("peer", "resent"), Some(0));
    relay.check_books();
}

#[test]
fn case_33_a_lone_line_waits_for_flush_and_no_longer() {
    let bench = Bench::start("flush=20ms");
    // One connection, a line every 10 ms.
    let senders = bench.senders(Extent::AtLeast(100), 50);
    assert!(senders.wait(100, LIMIT));
    let sent = senders.finish(LIMIT);
    let (report, resent) = bench.judge(&sent);
    assert_eq!((report.received, resent), (report.sent, 0));
    let p99 = report.latency.quantile(0.99);
    assert!(p99 < Duration::from_secs(1), "{report}");
}

#[test]
fn case_35_the_order_of_a_sender_is_kept() {
    let clock = Clock::start();
    let sinks = [Sink::start(clock).unwrap(), Sink::start(clock).unwrap()];
    let to = [
        destination(&sinks[0], "one", "queue=1MiB"),
        destination(&sinks[1], "two", "flush=0s"),
    ];
    let mut relay = Relay::start(&Config::to(&[&to[0], &to[1]]));
    let load = baton::drill::Load {
        connections: 16,
        extent: Extent::Exactly(800_000),
        ..baton::drill::Load::new(relay.tcp())
    };
    let sent = baton::drill::Senders::start(&load, clock)
        .unwrap()
        .finish(LIMIT);
    for sink in &sinks {
        assert!(sink.settle(sent.lines(), QUIET));
        let report = Report::new(&sent, &sink.account(), Excuse::default());
        assert!(report.is_clean(), "{report}");
    }
    relay.wait_done(sent.lines());
    relay.check_books();
}

#[test]
fn a_flapping_destination_loses_nothing() {
    let bench = Bench::start("");
    let senders = bench.senders(Extent::AtLeast(100_000), 50_000);
    let until = Instant::now() + Duration::from_secs(5);
    let mut round = 0;
    while Instant::now() < until {
        match round % 4 {
            0 => bench.sink.reset().unwrap(),
            1 => {
                bench.sink.refuse().unwrap();
                bench.sink.reset().unwrap();
            }
            2 => bench.sink.hang().unwrap(),
            _ => bench.sink.resume().unwrap(),
        }
        round += 1;
        std::thread::sleep(Duration::from_millis(200));
    }
    bench.sink.resume().unwrap();
    let sent = senders.finish(LIMIT);
    bench.judge(&sent);
}

#[test]
fn two_destinations_down_at_once_lose_nothing() {
    let clock = Clock::start();
    let sinks = [(); 3].map(|()| Sink::start(clock).unwrap());
    let to = [0, 1, 2].map(|at| destination(&sinks[at], &format!("sink{at}"), "queue=32MiB"));
    let mut relay = Relay::start(&Config::to(&[&to[0], &to[1], &to[2]]));
    let load = baton::drill::Load {
        extent: Extent::AtLeast(200_000),
        rate: 100_000,
        ..baton::drill::Load::new(relay.tcp())
    };
    let senders = baton::drill::Senders::start(&load, clock).unwrap();
    assert!(senders.wait(50_000, LIMIT));
    for sink in &sinks[..2] {
        sink.refuse().unwrap();
        sink.reset().unwrap();
    }
    assert!(senders.wait(150_000, LIMIT));
    let sent = {
        // The third has gone on.
        let before = sinks[2].account().distinct();
        assert!(sinks[2].wait(LIMIT, |account| account.distinct() > before));
        sinks[1].resume().unwrap();
        sinks[0].resume().unwrap();
        senders.finish(LIMIT)
    };
    for (at, sink) in sinks.iter().enumerate() {
        crate::fault::judge(&mut relay, sink, &format!("sink{at}"), &sent);
    }
    relay.check_books();
}
