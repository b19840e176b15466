//! Numbered lines through a relay to sinks that fail, and the verdict.

use std::time::Duration;

use baton::drill::{Clock, Excuse, Extent, Load, Report, Senders, Sent, Sink, Target};

use crate::relay::{Config, LIMIT, Relay};

/// After this long without a byte nothing more is expected. Longer than any pause between two attempts to connect.
pub const QUIET: Duration = Duration::from_secs(8);

/// One sink, and a relay with one route to it.
pub struct Bench {
    pub clock: Clock,
    pub sink: Sink,
    pub relay: Relay,
}

impl Bench {
    /// With these options of the destination, whose id is `sink`.
    pub fn start(options: &str) -> Bench {
        let clock = Clock::start();
        let sink = Sink::start(clock).unwrap();
        let relay = Relay::start(&Config::to(&[&destination(&sink, "sink", options)]));
        Bench { clock, sink, relay }
    }

    /// Starts senders of one kind, as many lines as wanted over four connections.
    pub fn senders(&self, extent: Extent, rate: u64) -> Senders {
        let load = Load {
            extent,
            rate,
            ..Load::new(self.relay.tcp())
        };
        Senders::start(&load, self.clock).unwrap()
    }

    /// Waits for what was sent, and checks what must never be: a lost or torn line, one out of order, a client
    /// error, a duplicate that was not sent again. Returns the report and how many lines were sent again.
    pub fn judge(mut self, sent: &Sent) -> (Report, u64) {
        let judged = judge(&mut self.relay, &self.sink, "sink", sent);
        self.relay.check_books();
        judged
    }
}

/// A destination's words in the config.
pub fn destination(sink: &Sink, id: &str, options: &str) -> String {
    format!("{} id={id} reconnect=200ms {options}", sink.address())
}

/// See [`Bench::judge`].
pub fn judge(relay: &mut Relay, sink: &Sink, id: &str, sent: &Sent) -> (Report, u64) {
    sink.settle(sent.lines(), QUIET);
    let status = relay.wait("everything to be acknowledged", |status| {
        status.of_destination(id, "queued") == Some(0)
    });
    let resent = status.of_destination(id, "resent").unwrap();
    let report = Report::new(sent, &sink.account(), Excuse::default());
    let faults = [
        report.lost,
        report.torn,
        report.out_of_order,
        report.client_errors,
    ];
    assert_eq!(faults, [0; 4], "{report}\n{}", status.document());
    assert!(report.duplicated <= resent, "{resent} sent again, {report}");
    (report, resent)
}

/// Exactly so many lines over one connection, whose names begin with `d.<flow>.`.
pub fn flow(target: Target, flow: u32, lines: u64, clock: Clock) -> Senders {
    let load = Load {
        connections: 1,
        extent: Extent::Exactly(lines),
        first_flow: flow,
        ..Load::new(target)
    };
    Senders::start(&load, clock).unwrap()
}

/// Waits until nothing has been sent for a while: the relay reads no more.
pub fn wait_stalled(senders: &[&Senders]) {
    let deadline = std::time::Instant::now() + LIMIT;
    let sent = || senders.iter().map(|one| one.sent()).sum::<u64>();
    let (mut last, mut since) = (sent(), std::time::Instant::now());
    while since.elapsed() < Duration::from_millis(700) {
        assert!(std::time::Instant::now() < deadline, "it reads on and on");
        std::thread::sleep(Duration::from_millis(10));
        if sent() != last {
            (last, since) = (sent(), std::time::Instant::now());
        }
    }
}
