//! Lines over TCP and unix streams.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use baton::drill::{Clock, Excuse, Extent, Load, Report, Senders, Sink, Target};

use crate::relay::{Config, LIMIT, Relay, reset, wait_closed, wait_for};

#[test]
fn case_01_lines_are_written_in_their_plain_form() {
    let mut relay = Relay::start(&Config::to_file());
    relay.send("a 1 1700000000\n \tb\t2  1700000001 \r\n\n\r\n   \nc 3 1700000002\r\n");
    let status = relay.wait_done(3);
    assert_eq!(
        relay.file("out"),
        ["a 1 1700000000", "b 2 1700000001", "c 3 1700000002"]
    );
    assert_eq!(status.total("rejected"), Some(0));
    relay.check_books();
}

#[test]
fn case_03_an_unterminated_rest_is_not_a_line() {
    let mut relay = Relay::start(&Config::to_file());
    relay.send("a 1 1700000000\nb 150000 1700000000");
    let mut client = relay.connect_unix();
    client
        .write_all(b"c 1 1700000000\nd 150000 1700000000")
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_closed(client);
    relay.send("");
    let status = relay.wait_done(4);
    assert_eq!(relay.file("out"), ["a 1 1700000000", "c 1 1700000000"]);
    assert_eq!(
        status.number("/worker/totals/rejected/unterminated"),
        Some(2)
    );
    assert_eq!(status.total("rejected"), Some(2));
    relay.check_books();
}

#[test]
fn case_03_an_unterminated_rest_at_a_reset_is_not_a_line() {
    let mut relay = Relay::start(&Config::to_file());
    // Whether the reset comes after the read or before it.
    for seen in [true, false] {
        let before = relay.status().total("in").unwrap();
        let mut client = relay.connect();
        client
            .write_all(b"a 1 1700000000\nb 150000 1700000000")
            .unwrap();
        if seen {
            relay.wait("the line", |status| status.total("in") == Some(before + 1));
        }
        reset(client);
        let status = relay.wait_done(before + 2);
        assert_eq!(
            status.number("/worker/totals/rejected/unterminated"),
            Some(before / 2 + 1)
        );
    }
    assert_eq!(relay.file("out"), ["a 1 1700000000"; 2]);
    relay.check_books();
}

#[test]
fn case_05_a_line_too_long_over_many_reads_is_discarded_and_the_connection_goes_on() {
    let mut relay = Relay::start(&Config {
        input: "max_line = \"1KiB\"".into(),
        ..Config::to_file()
    });
    let mut client = relay.connect();
    let mut begun = 0;
    for at in 0..3 {
        writeln!(client, "before.{at} 1 1700000000").unwrap();
        // Longer than any buffer on the way, in pieces that are seen to be read.
        for _ in 0..20 {
            client.write_all(&[b'x'; 40_000]).unwrap();
            begun += 40_000;
            relay.wait("the piece to be read", |status| {
                status.number("/worker/listeners/1/bytes") >= Some(begun)
                    || status.number("/worker/listeners/0/bytes") >= Some(begun)
                    || status.number("/worker/listeners/2/bytes") >= Some(begun)
            });
        }
        client.write_all(b" 1 1700000000\n").unwrap();
    }
    // One at the limit passes, one a byte over it does not.
    let name = "n".repeat(1024 - " 1 1700000000".len());
    write!(
        client,
        "{name} 1 1700000000\nm{name} 1 1700000000\nafter 1 1700000000\n"
    )
    .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_closed(client);
    let status = relay.wait_done(9);
    assert_eq!(status.number("/worker/totals/rejected/too-long"), Some(4));
    assert_eq!(status.total("routed"), Some(5));
    let whole = format!("{name} 1 1700000000");
    let expected = [
        "before.0 1 1700000000",
        "before.1 1 1700000000",
        "before.2 1 1700000000",
    ];
    assert_eq!(relay.file("out")[..3], expected);
    assert_eq!(relay.file("out")[3..], [&whole, "after 1 1700000000"]);
    relay.check_books();
}

#[test]
fn case_06_digits_pass_through_the_wire_as_they_came() {
    let mut relay = Relay::start(&Config::to_file());
    let values = [
        "1e-7",
        "007",
        "12345678901234567890",
        "-0.0",
        "+1.50",
        "1E5",
        ".5",
    ];
    for value in values {
        relay.send(format!("v {value} 1700000000\n"));
    }
    for value in ["nan", "inf", "-Infinity", "NaN", "0x10", "1_000", "one"] {
        relay.send(format!("v {value} 1700000000\n"));
    }
    let status = relay.wait_done(14);
    let expected = values.map(|value| format!("v {value} 1700000000"));
    assert_eq!(relay.file("out"), expected);
    assert_eq!(status.number("/worker/totals/rejected/nan"), Some(4));
    assert_eq!(status.number("/worker/totals/rejected/value"), Some(3));
    relay.check_books();
}

#[test]
fn case_07_minus_one_becomes_the_time_of_receipt() {
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let mut relay = Relay::start(&Config::to_file());
    let before = now();
    relay.send("now 1 -1\nnow 2 1700000000.9\nnow 3 1700000000000\nnow 4 -2\nnow 5 4294967295\n");
    let status = relay.wait_done(5);
    let lines = relay.file("out");
    let first: u64 = lines[0].strip_prefix("now 1 ").unwrap().parse().unwrap();
    assert!((before..=now()).contains(&first), "{first}");
    assert_eq!(lines[1..], ["now 2 1700000000", "now 5 4294967295"]);
    assert_eq!(status.number("/worker/totals/rejected/timestamp"), Some(2));
    relay.check_books();
}

#[test]
fn a_client_that_sends_byte_by_byte_holds_nobody_up() {
    let mut relay = Relay::start(&Config::to_file());
    let mut slow: Vec<_> = (0..50).map(|_| relay.connect()).collect();
    let line = b"slow 1 1700000000\n";
    for (sent, byte) in line.iter().enumerate() {
        for client in &mut slow {
            client.write_all(&[*byte]).unwrap();
        }
        // Another gets through between any two of their bytes.
        relay.send(format!("fast {sent} 1700000000\n"));
    }
    let fast = line.len();
    let status = relay.wait_done(50 + fast as u64);
    assert_eq!(status.total("rejected"), Some(0));
    let lines = relay.file("out");
    let of = |name: &str| lines.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!((of("slow 1 1700000000"), of("fast ")), (50, fast));
    relay.check_books();
}

/// Numbered lines over connections, judged.
fn deliver(target: impl Fn(&Relay) -> Target, connections: u32, lines: u64) {
    let clock = Clock::start();
    let sink = Sink::start(clock).unwrap();
    let mut relay = Relay::start(&Config::to(&[&format!("{} id=sink", sink.address())]));
    let load = Load {
        connections,
        extent: Extent::Exactly(lines),
        ..Load::new(target(&relay))
    };
    let sent = Senders::start(&load, clock).unwrap().finish(LIMIT);
    assert!(sink.settle(lines, Duration::from_secs(5)));
    let report = Report::new(&sent, &sink.account(), Excuse::default());
    assert!(report.is_clean(), "{report}");
    let status = relay.wait_done(lines);
    assert_eq!(status.total("routed"), Some(lines));
    relay.check_books();
}

#[test]
fn lines_over_a_unix_socket_all_arrive() {
    deliver(
        |relay| Target::Unix(relay.instance.path("line.sock")),
        8,
        200_000,
    );
}

#[test]
fn lines_over_tcp_all_arrive() {
    deliver(Relay::tcp, 8, 400_000);
}

#[test]
fn clients_that_close_right_after_sending_lose_nothing() {
    const CLIENTS: usize = 5_000;
    let mut relay = Relay::start(&Config::to_file());
    let one = |number: usize| {
        let mut client = relay.connect();
        writeln!(client, "short.{number} 1 1700000000").unwrap();
    };
    // Half of them one after another, the others from four threads at once.
    (0..CLIENTS / 2).for_each(one);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let one = &one;
            scope.spawn(move || {
                let first = CLIENTS / 2 + thread * CLIENTS / 8;
                (first..first + CLIENTS / 8).for_each(one);
            });
        }
    });
    let status = relay.wait_done(CLIENTS as u64);
    assert_eq!(status.total("rejected"), Some(0));
    let mut numbers: Vec<usize> = relay
        .file("out")
        .iter()
        .map(|line| {
            let rest = line.strip_prefix("short.").unwrap();
            rest.strip_suffix(" 1 1700000000").unwrap().parse().unwrap()
        })
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..CLIENTS));
    // None of them is left, here or in the supervisor.
    relay.wait("all to be closed", |status| {
        status.document()["worker"]["listeners"]
            .as_array()
            .is_some_and(|all| all.iter().all(|one| one["connections"] == 0))
    });
    relay.check_books();
}

#[test]
fn a_client_that_ends_its_side_is_closed_after_its_last_line() {
    let mut relay = Relay::start(&Config::to_file());
    let mut client = relay.connect();
    client.write_all(b"last 1 1700000000\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_closed(client);
    wait_for("the file", || relay.file("out") == ["last 1 1700000000"]);
    relay.wait_done(1);
    relay.check_books();
}
