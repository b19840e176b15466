//! How long live lines take beside the replay of a backlog with `replay=live-first`:
//!
//! ```text
//! cargo build --release && cargo bench --bench live_first -- [MILLION_LINES]
//! ```
//!
//! A destination is down while a backlog comes in (default: 20 million lines), then it is there, and 100,000 lines a second come in
//! beside the replay. Prints the latency of those, and how fast the backlog went.
#![expect(clippy::print_stdout, reason = "its result")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends at the first thing that fails"
)]

use std::time::{Duration, Instant};

use baton::drill::{Clock, Extent, Instance, Load, Senders, Sink, Target, free_ports};

const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    let million: u64 = std::env::args()
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or(20);
    let binary = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/baton");
    let [line, to] = free_ports().unwrap();
    let config = format!(
        "[supervisor]\ncontrol = \"unix:control.sock\"\n[listen]\nline = [\"tcp://127.0.0.1:{line}\"]\n\
         [instrumentation]\ninterval = \"0s\"\n[[route]]\nkey = \"a\"\n\
         destinations = [\"127.0.0.1:{to} id=d replay=live-first reconnect=1s\"]\n"
    );
    let mut instance = Instance::start(binary, &config).unwrap();
    let (clock, target) = (Clock::start(), Target::Tcp(([127, 0, 0, 1], line).into()));
    let backlog = Load {
        extent: Extent::Exactly(million * 1_000_000),
        timed: false,
        ..Load::new(target.clone())
    };
    Senders::start(&backlog, clock).unwrap().finish(LIMIT);
    let spooled = |instance: &mut Instance, what, enough: &dyn Fn(u64) -> bool| {
        let status = instance.wait_status(what, LIMIT, |status| {
            status.of_destination("d", "spooled").is_some_and(enough)
        });
        status.unwrap().of_destination("d", "spooled").unwrap()
    };
    let before = spooled(&mut instance, "the backlog", &|lines| {
        lines > million * 500_000
    });

    let sink = Sink::start_at(([127, 0, 0, 1], to).into(), clock).unwrap();
    assert!(sink.wait(LIMIT, |account| account.lines() > 0));
    let (began, live) = (
        Instant::now(),
        Load {
            connections: 2,
            extent: Extent::AtLeast(1),
            rate: 100_000,
            first_flow: 1000,
            ..Load::new(target)
        },
    );
    let senders = Senders::start(&live, clock).unwrap();
    spooled(&mut instance, "the end of the backlog", &|lines| lines == 0);
    let took = began.elapsed();
    let sent = senders.finish(LIMIT);
    assert!(sink.wait(LIMIT, |account| account.distinct()
        == million * 1_000_000 + sent.lines()));
    let account = sink.account();
    let latency = account.latency();
    println!(
        "replay  {:.2} million lines/s beside {} live ones in {:.1} s",
        before as f64 / took.as_secs_f64() / 1e6,
        sent.lines(),
        took.as_secs_f64()
    );
    println!(
        "latency p50 {:.1} ms  p99 {:.1} ms  max {:.1} ms",
        latency.quantile(0.5).as_secs_f64() * 1e3,
        latency.quantile(0.99).as_secs_f64() * 1e3,
        latency.max().as_secs_f64() * 1e3
    );
}
