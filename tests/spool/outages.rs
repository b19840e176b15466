//! Destinations that fail while lines come in.

use std::fs;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use baton::drill::{Clock, Excuse, Extent, Report, Sink};

use crate::bed::{Bed, QUIET, came_once};
use crate::relay::LIMIT;

#[test]
fn a_destination_that_refuses_during_the_whole_load_gets_everything_when_it_is_there() {
    let (bed, sent) = Bed::in_an_outage("", 400_000);
    bed.sinks[0].resume().unwrap();
    came_once(&bed.verdict(&sent), 400_000);
}

#[test]
fn a_destination_that_was_never_there_gets_everything_when_it_appears() {
    let clock = Clock::start();
    let address = crate::relay::free_address();
    let words = [format!("{address} id=sink queue=1MiB reconnect=200ms")];
    let mut bed = Bed::to(Vec::new(), clock, &words);
    let sent = bed.send(300_000);
    bed.wait_spooled("sink", 200_000);
    bed.sinks.push(Sink::start_at(address, clock).unwrap());
    came_once(&bed.verdict(&sent), 300_000);
}

#[test]
fn a_destination_that_resets_in_mid_line_gets_twice_only_what_it_had_not_acknowledged() {
    let mut bed = Bed::start("");
    let senders = bed.senders(Extent::AtLeast(600_000), 150_000);
    for part in 1..=5 {
        assert!(senders.wait(part * 100_000, LIMIT));
        bed.cut();
        bed.wait_spooled("sink", 1);
        bed.sinks[0].resume().unwrap();
        // A reset in the middle of the replay.
        let before = bed.sinks[0].account().distinct();
        assert!(bed.sinks[0].wait(LIMIT, |all| all.distinct() > before + 5_000));
        bed.sinks[0].reset().unwrap();
    }
    let sent = senders.finish(LIMIT);
    bed.verdict(&sent);
}

#[test]
fn a_destination_that_hangs_and_goes_on_gets_everything_once() {
    let mut bed = Bed::start("");
    let senders = bed.senders(Extent::Exactly(600_000), 0);
    assert!(senders.wait(50_000, LIMIT));
    bed.sinks[0].hang().unwrap();
    let sent = senders.finish(LIMIT);
    bed.wait_spooled("sink", 100_000);
    let status = bed.relay.status();
    assert_eq!(status.destination("sink").unwrap()["state"], "up");
    bed.sinks[0].resume().unwrap();
    came_once(&bed.verdict(&sent), 600_000);
}

#[test]
fn a_destination_that_flaps_every_200_ms_loses_nothing() {
    let mut bed = Bed::start("");
    let senders = bed.senders(Extent::AtLeast(300_000), 100_000);
    let until = Instant::now() + Duration::from_secs(6);
    let mut round = 0;
    let mut spooled = 0;
    while Instant::now() < until {
        match round % 4 {
            0 => bed.sinks[0].reset().unwrap(),
            1 => bed.cut(),
            2 => bed.sinks[0].hang().unwrap(),
            _ => bed.sinks[0].resume().unwrap(),
        }
        round += 1;
        spooled += bed
            .relay
            .status()
            .of_destination("sink", "spooled")
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(spooled > 0, "the spool wasn't used");
    bed.sinks[0].resume().unwrap();
    let sent = senders.finish(LIMIT);
    bed.verdict(&sent);
}

#[test]
fn a_name_that_comes_back_on_another_address_gets_what_was_spooled_there() {
    let clock = Clock::start();
    let first = Sink::start(clock).unwrap();
    let port = first.address().port();
    let second = (Ipv6Addr::LOCALHOST, port).into();
    let Ok(second) = Sink::start_at(second, clock) else {
        println!("skipped: no IPv6 here");
        return;
    };
    let resolved = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port));
    if !resolved.unwrap().any(|address| address == second.address()) {
        println!("skipped: localhost has not both addresses here");
        return;
    }
    second.refuse().unwrap();
    let words = [format!(
        "localhost:{port} id=sink queue=1MiB reconnect=200ms"
    )];
    let mut bed = Bed::to(vec![first, second], clock, &words);
    let before = bed.send(50_000);
    bed.judge(0, "sink", &before, 0);
    bed.cut();
    let after = bed.send(300_000);
    bed.wait_spooled("sink", 100_000);
    bed.sinks[1].resume().unwrap();
    let report = bed.judge(1, "sink", &after, 0);
    came_once(&report, 300_000);
    let peer = bed.relay.status().destination("sink").unwrap()["peer"].clone();
    assert_eq!(peer, bed.sinks[1].address().to_string());
    bed.end();
}

/// Bytes of a process that are in memory.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

#[test]
fn a_destination_that_takes_a_tenth_gets_all_in_order_and_memory_is_bounded() {
    let mut bed = Bed::start("");
    let worker = bed.relay.instance.worker_pid().unwrap();
    // Lines have 30 bytes and more.
    bed.sinks[0].slow(150_000).unwrap();
    let senders = bed.senders(Extent::Exactly(500_000), 50_000);
    let mut most = 0;
    for part in 1..=50 {
        assert!(senders.wait(part * 10_000, LIMIT));
        most = resident(worker).max(most);
    }
    bed.wait_spooled("sink", 200_000);
    let sent = senders.finish(LIMIT);
    bed.sinks[0].resume().unwrap();
    let report = bed.judge(0, "sink", &sent, 0);
    most = resident(worker).max(most);
    println!("the worker took {} KiB", most >> 10);
    assert!(most <= (2 + 64) << 20, "the worker takes {most} bytes");
    came_once(&report, 500_000);
    bed.end();
}

#[test]
fn two_destinations_down_at_once_come_back_one_after_the_other() {
    let mut bed = Bed::with(&["", "", ""]);
    let senders = bed.senders(Extent::AtLeast(400_000), 100_000);
    assert!(senders.wait(50_000, LIMIT));
    for sink in &bed.sinks[..2] {
        sink.refuse().unwrap();
        sink.reset().unwrap();
    }
    assert!(senders.wait(250_000, LIMIT));
    bed.wait_spooled("sink", 10_000);
    bed.wait_spooled("sink1", 10_000);
    bed.sinks[1].resume().unwrap();
    bed.relay.wait("the first to be through", |status| {
        status.of_destination("sink1", "spooled") == Some(0)
    });
    bed.wait_spooled("sink", 10_000);
    bed.sinks[0].resume().unwrap();
    let sent = senders.finish(LIMIT);
    for at in 0..3 {
        bed.judge(at, &crate::bed::id(at), &sent, 0);
    }
    bed.end();
}

#[test]
fn a_destination_that_resets_without_reading_gets_again_what_resend_keeps() {
    let clock = Clock::start();
    let peer = std::net::TcpListener::bind(crate::relay::free_address()).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&peer, 16 * 1024).unwrap();
    let address = peer.local_addr().unwrap();
    let words = [format!(
        "{address} id=sink queue=2MiB resend=1MiB reconnect=200ms"
    )];
    let mut bed = Bed::to(Vec::new(), clock, &words);
    let (first, _) = peer.accept().unwrap();
    let sent = bed.send(400_000);
    let spooled = bed.wait_spooled("sink", 100_000);
    // Its kernel has some of them, and it has read none.
    let status = bed.relay.wait("something to be acknowledged", |status| {
        status.of_destination("sink", "acknowledged") > Some(0)
    });
    assert!(status.of_destination("sink", "given") > Some(spooled));
    drop(peer);
    crate::relay::reset(first);
    let sink = Sink::start_at(address, clock).unwrap();
    assert!(sink.settle(400_000, QUIET));
    let report = Report::new(&sent, &sink.account(), Excuse::default());
    assert!(report.is_clean(), "{report}");
    assert!(bed.wait_empty().of_destination("sink", "resent") > Some(0));
    // What might be sent again is in rows, too, as long as there is a chance.
    bed.stop();
    assert_eq!(bed.rows(), 0);
    bed.start_again();
    bed.end();
    assert_eq!(sink.account().lines(), 400_000);
}
