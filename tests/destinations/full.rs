//! Queues that are full: who waits, who doesn't, and what is dropped.

use std::io::{BufRead, Write};
use std::net::TcpListener;
use std::time::Duration;

use baton::drill::{Clock, Excuse, Extent, Load, Report, Senders, Sink, Target};

use crate::fault::{Bench, QUIET, destination, flow, judge, wait_stalled};
use crate::relay::{Config, LIMIT, Relay, free_address};

/// More lines than a queue of 1 MiB and the kernel's buffers on both ends hold.
const MANY: u64 = 1_500_000;

/// Two routes, by flow: `d.0.` to the first sink, `d.1.` to the second.
fn two_routes(sinks: &[Sink; 2], options: &str) -> Config {
    let [a, b] = [0, 1].map(|at| destination(&sinks[at], &format!("sink{at}"), options));
    Config {
        routes: format!(
            "[[route]]\nkey = \"a\"\nprefix = \"d.0.\"\ndestinations = [\"{a}\"]\n\
             [[route]]\nkey = \"b\"\nprefix = \"d.1.\"\ndestinations = [\"{b}\"]\n"
        ),
        ..Config::default()
    }
}

#[test]
fn case_34_a_full_queue_holds_back_its_senders_and_no_other() {
    let clock = Clock::start();
    let sinks = [(); 2].map(|()| Sink::start(clock).unwrap());
    let mut relay = Relay::start(&two_routes(&sinks, "queue=1MiB full=block"));
    sinks[0].hang().unwrap();
    let held = flow(relay.tcp(), 0, MANY, clock);
    wait_stalled(&[&held]);
    assert!(held.sent() < MANY);
    // Another route's sender gets everything through meanwhile.
    let free = flow(relay.tcp(), 1, 500_000, clock).finish(LIMIT);
    assert!(sinks[1].settle(500_000, QUIET));
    judge(&mut relay, &sinks[1], "sink1", &free);
    assert!(held.sent() < MANY);
    // Even the one that was held goes on where it was.
    sinks[0].resume().unwrap();
    let held = held.finish(LIMIT);
    judge(&mut relay, &sinks[0], "sink0", &held);
    let status = relay.status();
    assert_eq!(status.total("routed"), Some(MANY + 500_000));
    assert_eq!(status.of_destination("sink0", "dropped"), Some(0));
    relay.check_books();
}

#[test]
fn case_34_a_destination_beside_a_full_one_gets_no_line_twice() {
    let clock = Clock::start();
    let sinks = [(); 2].map(|()| Sink::start(clock).unwrap());
    let to =
        [0, 1].map(|at| destination(&sinks[at], &format!("sink{at}"), "queue=1MiB full=block"));
    let mut relay = Relay::start(&Config::to(&[&to[0], &to[1]]));
    sinks[0].hang().unwrap();
    let load = Load {
        extent: Extent::Exactly(MANY),
        ..Load::new(relay.tcp())
    };
    let senders = Senders::start(&load, clock).unwrap();
    wait_stalled(&[&senders]);
    sinks[0].resume().unwrap();
    let sent = senders.finish(LIMIT);
    for (at, sink) in sinks.iter().enumerate() {
        let (report, resent) = judge(&mut relay, sink, &format!("sink{at}"), &sent);
        assert_eq!((report.duplicated, resent), (0, 0), "{report}");
    }
    relay.check_books();
}

#[test]
fn case_34_a_full_queue_that_drops_counts_the_newest() {
    let clock = Clock::start();
    let sinks = [(); 2].map(|()| Sink::start(clock).unwrap());
    let to = [
        destination(&sinks[0], "drops", "queue=1MiB full=drop"),
        destination(&sinks[1], "takes", ""),
    ];
    let mut relay = Relay::start(&Config::to(&[&to[0], &to[1]]));
    sinks[0].hang().unwrap();
    // Nobody waits.
    let sent = flow(relay.tcp(), 0, MANY, clock).finish(LIMIT);
    assert!(sinks[1].settle(MANY, QUIET));
    judge(&mut relay, &sinks[1], "takes", &sent);
    let status = relay.wait("all lines", |status| status.total("in") == Some(MANY));
    let dropped = status.of_destination("drops", "dropped").unwrap();
    let full = &status.destination("drops").unwrap()["dropped"]["full"];
    assert!(dropped > 0 && *full == dropped, "{}", status.document());
    sinks[0].resume().unwrap();
    assert!(sinks[0].settle(MANY - dropped, QUIET));
    let status = relay.wait_done(MANY);
    assert_eq!(status.of_destination("drops", "dropped"), Some(dropped));
    let report = Report::new(&sent, &sinks[0].account(), Excuse::default());
    assert_eq!((report.lost, report.received), (dropped, MANY - dropped));
    assert_eq!(
        [report.torn, report.duplicated, report.out_of_order],
        [0; 3]
    );
    // The oldest are there: none was dropped before the first that found no room.
    let detail = report
        .details
        .iter()
        .find(|detail| detail.contains("did not come"))
        .unwrap();
    let first: u64 = detail.rsplit(' ').next().unwrap().parse().unwrap();
    let fits = 1024 * 1024 / 32;
    assert!(first > fits, "{detail}");
    relay.check_books();
}

#[test]
fn case_34_datagrams_for_a_full_queue_are_dropped_and_counted() {
    let bench = Bench::start("queue=1MiB full=block");
    bench.sink.hang().unwrap();
    let Bench {
        clock,
        sink,
        mut relay,
    } = bench;
    let load = Load {
        connections: 2,
        extent: Extent::AtLeast(1_000),
        rate: 300_000,
        ..Load::new(Target::Udp(relay.address()))
    };
    let senders = Senders::start(&load, clock).unwrap();
    relay.wait("the queue to be full", |status| {
        status.of_destination("sink", "dropped") > Some(1_000)
    });
    let sent = senders.finish(LIMIT);
    // What the kernel dropped in front never came in.
    let status = relay.wait("all that came in", |status| {
        let dropped = status.kernel_dropped().unwrap();
        let least = sent.lines() - dropped * baton::drill::LINES_A_DATAGRAM;
        status.total("in") >= Some(least)
    });
    let given = status.of_destination("sink", "given").unwrap();
    let dropped = status.of_destination("sink", "dropped").unwrap();
    assert_eq!(
        status.destination("sink").unwrap()["dropped"]["full-udp"],
        dropped
    );
    sink.resume().unwrap();
    assert!(sink.settle(given - dropped, QUIET));
    relay.wait_done(given);
    assert_eq!(sink.account().distinct(), given - dropped);
    assert_eq!(sink.account().torn(), 0);
    relay.check_books();
}

#[test]
fn case_34_a_dead_destination_slows_no_route_that_does_not_need_it() {
    let clock = Clock::start();
    let sinks = [(); 2].map(|()| Sink::start(clock).unwrap());
    sinks[0].refuse().unwrap();
    let mut relay = Relay::start(&two_routes(&sinks, "queue=1MiB full=block"));
    let held = flow(relay.tcp(), 0, MANY, clock);
    wait_stalled(&[&held]);
    // Lone lines over the other route are as fast as ever.
    let load = Load {
        connections: 1,
        extent: Extent::Exactly(300),
        rate: 300,
        first_flow: 1,
        ..Load::new(relay.tcp())
    };
    let free = Senders::start(&load, clock).unwrap().finish(LIMIT);
    let (report, _) = judge(&mut relay, &sinks[1], "sink1", &free);
    assert!(
        report.latency.quantile(0.99) < Duration::from_secs(1),
        "{report}"
    );
    sinks[0].resume().unwrap();
    let held = held.finish(LIMIT);
    judge(&mut relay, &sinks[0], "sink0", &held);
    relay.check_books();
}

#[test]
fn a_destination_at_a_tenth_of_the_input_gets_everything_in_the_end() {
    let bench = Bench::start("queue=1MiB full=block");
    bench.sink.slow(300_000).unwrap();
    // About ten times as many bytes a second.
    let senders = bench.senders(Extent::AtLeast(MANY / 3), 100_000);
    assert!(
        !bench
            .sink
            .wait(Duration::from_secs(3), |account| account.distinct()
                > 100_000)
    );
    bench.sink.resume().unwrap();
    let sent = senders.finish(LIMIT);
    let (report, resent) = bench.judge(&sent);
    assert_eq!((report.duplicated, resent), (0, 0), "{report}");
}

#[test]
fn lines_that_grow_find_room_in_a_queue_that_keeps_much_to_send_again() {
    // `-1` becomes ten digits: a batch can be twice as long as it was when it was read.
    let peer = TcpListener::bind(free_address()).unwrap();
    let to = format!(
        "{} id=peer queue=1MiB resend=512KiB",
        peer.local_addr().unwrap()
    );
    let mut relay = Relay::start(&Config::to(&[&to]));
    let lines = 400_000;
    let reading = std::thread::spawn(move || {
        let (peer, _) = peer.accept().unwrap();
        std::io::BufReader::new(peer).lines().take(lines).count()
    });
    let mut client = relay.connect();
    client
        .write_all("a 1 -1\n".repeat(lines).as_bytes())
        .unwrap();
    relay.wait_done(lines as u64);
    assert_eq!(reading.join().unwrap(), lines);
    relay.check_books();
}
