//! Who reads slowly, or not at all, loses lines, and is told how many and where; the metrics all arrive.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::Events;
use crate::relay::{Config, Relay, hang_up, wait_for};

const LINES: u64 = 600_000;

#[test]
fn a_slow_subscriber_is_told_what_it_lost() {
    let mut relay = Relay::start(&Config::to_file());
    let mut events = Events::open(relay.http, "regex=slow&sub=w");
    let quick = Events::open(relay.http, "at=in&glob=none.*");
    let sent = Arc::new(AtomicBool::new(false));
    let is_sent = sent.clone();
    let reader = std::thread::spawn(move || {
        let (mut next, mut received, mut lost) = (0_u64, 0_u64, 0_u64);
        while next < LINES {
            let (event, data) = events.next().expect("it isn't cut off");
            if event == "lost" {
                let lines: u64 = data[0].parse().unwrap();
                (lost, next) = (lost + lines, next + lines);
                continue;
            }
            for line in data {
                let number: u64 = line.split(' ').nth(1).unwrap().parse().unwrap();
                assert_eq!(number, next, "a loss is told at its place");
                (received, next) = (received + 1, next + 1);
            }
            if !is_sent.load(Ordering::Relaxed) {
                // Slow: it has a hundredth of what flows.
                std::thread::sleep(Duration::from_millis(300));
            }
        }
        (received, lost)
    });
    let mut client = relay.connect();
    for batch in 0..LINES / 1000 {
        let line = |n| format!("slow.server.with.a.usual.name {n} 1790000000\n");
        let text: String = (batch * 1000..batch * 1000 + 1000).map(line).collect();
        client.write_all(text.as_bytes()).unwrap();
    }
    hang_up(client);
    relay.wait_done(LINES);
    sent.store(true, Ordering::Relaxed);
    let (received, lost) = reader.join().unwrap();
    assert_eq!(received + lost, LINES);
    assert!(lost > 0, "it wasn't slow");
    drop(quick);
    let file = relay.file("out");
    let number = |line: &String| line.split(' ').nth(1)?.parse::<u64>().ok();
    assert!(
        file.iter().map(number).eq((0..LINES).map(Some)),
        "all arrive, in order"
    );
    relay.check_books();
}

#[test]
fn all_lines_are_taken_and_sent_while_subscribers_take_nothing() {
    let mut relay = Relay::start(&Config::to_file());
    // None of them ever reads, so that what the relay takes below it takes without them.
    let deaf: Vec<_> = ["", "at=in", "regex=w$", "at=in&glob=*.server.**"]
        .iter()
        .flat_map(|query| {
            [
                Events::open(relay.http, query),
                Events::open(relay.http, query),
            ]
        })
        .collect();
    let mut client = relay.connect();
    for batch in 0..LINES / 1000 {
        let line = |n| format!("a.server.with.a.usual.name {n} 1790000000\n");
        let text: String = (batch * 1000..batch * 1000 + 1000).map(line).collect();
        client.write_all(text.as_bytes()).unwrap();
    }
    hang_up(client);
    relay.wait_done(LINES);
    let file = relay.file("out");
    let number = |line: &String| line.split(' ').nth(1)?.parse::<u64>().ok();
    assert!(
        file.iter().map(number).eq((0..LINES).map(Some)),
        "all arrive, in order"
    );
    // They had all there was room for, which is less.
    wait_for("what was lost to be counted", || {
        let page = relay.page("/metrics");
        let lost = page
            .lines()
            .find_map(|line| line.strip_prefix("baton_subscriber_lines_lost_total "));
        lost.is_some_and(|lost| lost.parse::<u64>().unwrap() > LINES)
    });
    drop(deaf);
    relay.check_books();
}
