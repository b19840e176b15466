//! Lines in datagrams.

use std::time::Duration;

use baton::drill::{Clock, Excuse, Extent, Load, Report, Senders, Sink, Target};

use crate::relay::{Config, LIMIT, Relay};

#[test]
fn case_04_a_datagram_stands_alone() {
    let mut relay = Relay::start(&Config::to_file());
    let socket = relay.udp();
    // Several lines, the last without its newline; an empty one; a cut one, and the rest of it in the next.
    socket
        .send(b"a 1 1700000000\nb 2 1700000000\r\nc 3 1700000000")
        .unwrap();
    socket.send(b"").unwrap();
    socket.send(b"d 4 17000").unwrap();
    socket.send(b"00000\ne 5 1700000000\n").unwrap();
    socket.send(b"\n\n").unwrap();
    socket.send(b"f 6").unwrap();
    socket.send(b"g 7 1700000000").unwrap();
    let status = relay.wait_done(8);
    assert_eq!(
        relay.file("out"),
        [
            "a 1 1700000000",
            "b 2 1700000000",
            "c 3 1700000000",
            "d 4 17000",
            "e 5 1700000000",
            "g 7 1700000000"
        ]
    );
    assert_eq!(status.number("/worker/totals/rejected/fields"), Some(2));
    relay.check_books();
}

#[test]
fn case_04_nothing_is_carried_from_a_datagram_to_a_stream_or_back() {
    let mut relay = Relay::start(&Config::to_file());
    let socket = relay.udp();
    socket.send(b"cut 1").unwrap();
    relay.wait("the datagram", |status| status.total("in") == Some(1));
    relay.send("a 1 1700000000\nrest 15");
    socket.send(b"0000 1700000000").unwrap();
    let status = relay.wait_done(4);
    assert_eq!(relay.file("out"), ["a 1 1700000000"]);
    assert_eq!(status.number("/worker/totals/rejected/fields"), Some(2));
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(1)
    );
    relay.check_books();
}

#[test]
fn case_05_a_datagram_may_hold_a_line_too_long_among_others() {
    let mut relay = Relay::start(&Config::to_file());
    let long = "x".repeat(20_000);
    let datagram = format!("a 1 1700000000\n{long} 1 1700000000\nb 1 1700000000");
    relay.udp().send(datagram.as_bytes()).unwrap();
    // The largest there is.
    let largest = format!("c 1 1700000000\n{}", "y".repeat(65_507 - 15));
    relay.udp().send(largest.as_bytes()).unwrap();
    let status = relay.wait_done(5);
    assert_eq!(
        relay.file("out"),
        ["a 1 1700000000", "b 1 1700000000", "c 1 1700000000"]
    );
    assert_eq!(status.number("/worker/totals/rejected/too-long"), Some(2));
    relay.check_books();
}

#[test]
fn datagrams_are_lost_only_where_the_kernel_counts_them() {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let mut relay = Relay::start(&Config::to(&[&format!("{} id=sink", sink.address())]));
    let load = Load {
        connections: 2,
        extent: Extent::Exactly(120_000),
        rate: 60_000,
        ..Load::new(Target::Udp(relay.address()))
    };
    let sent = Senders::start(&load, clock).unwrap().finish(LIMIT);
    sink.settle(sent.lines(), Duration::from_secs(2));
    let status = relay.wait("the lines to be acknowledged", |status| {
        status.of_destination("sink", "queued") == Some(0)
    });
    let excuse = Excuse {
        kernel_dropped: status.kernel_dropped().unwrap(),
        ..Excuse::default()
    };
    let report = Report::new(&sent, &sink.account(), excuse);
    assert!(report.is_clean(), "{report}");
    assert_eq!(status.total("in"), Some(report.received));
    relay.check_books();
}
