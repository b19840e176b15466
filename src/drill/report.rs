//! The verdict: what was sent against what came.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Account, Flow, Histogram, LINES_A_DATAGRAM, Line, Sent};

/// What happened that may cost lines without anybody having broken a promise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Excuse {
    /// Datagrams that the kernel dropped because a socket's buffer was full.
    pub kernel_dropped: u64,
    /// Bytes that the relay itself declares lost by a crash.
    pub crash_bytes: u64,
}

/// How a drill went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Connections that sent.
    pub connections: usize,
    /// Lines written by the clients.
    pub sent: u64,
    /// Of those, how many came, each counted once.
    pub received: u64,
    /// Lines that did not come, though nothing excuses it.
    pub lost: u64,
    /// Lines that did not come and are within what the relay declares lost by a crash.
    pub lost_by_crash: u64,
    /// Lines of datagrams that did not come and are within what the kernel counts as dropped.
    pub lost_in_kernel: u64,
    /// Arrivals of lines that had arrived before.
    pub duplicated: u64,
    /// Lines that nobody sent.
    pub torn: u64,
    /// Lines that came after a later one of the same connection. Datagrams have no order to keep.
    pub out_of_order: u64,
    /// How often a connection failed its sender.
    pub client_errors: u64,
    /// What went wrong, in words: the first few of each kind.
    pub details: Vec<String>,
    /// Restarts that were asked for and not refused.
    pub restarts: u64,
    /// Restarts that were refused, which a drill has no reason to be.
    pub refused: u64,
    /// Workers killed.
    pub kills: u64,
    /// The pause of each restart, as far as it is known.
    pub pauses: Vec<Duration>,
    /// From the first line sent to the last one received.
    pub elapsed: Duration,
    /// From the making of a line to its arrival.
    pub latency: Histogram,
    /// Where config and log were left, if they were.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Compares all that was sent in a run with what came to one sink.
    pub fn new(sent: &Sent, account: &Account, excuse: Excuse) -> Self {
        let mut report = Self {
            connections: sent.flows.len(),
            sent: sent.lines(),
            torn: account.torn(),
            client_errors: sent.client_errors,
            elapsed: account.last().saturating_sub(sent.began),
            latency: account.latency().clone(),
            ..Self::default()
        };
        let torn = account.samples().iter();
        report
            .details
            .extend(torn.map(|line| format!("torn: {line:?}")));
        report.details.extend(sent.samples.iter().cloned());
        let mut known = 0;
        let mut left = excuse;
        for flow in &sent.flows {
            known += report.enter(flow, account, &mut left);
        }
        // Lines that check out and that nobody sent: a number beyond the last one, or a stranger's.
        report.torn += account.distinct() - known;
        report
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        let faults = [
            self.lost,
            self.duplicated,
            self.torn,
            self.out_of_order,
            self.client_errors,
            self.refused,
        ];
        faults.iter().all(|&count| count == 0)
    }

    /// Lines received a second.
    pub fn lines_per_second(&self) -> f64 {
        if self.elapsed.is_zero() {
            return 0.0;
        }
        self.received as f64 / self.elapsed.as_secs_f64()
    }

    /// The pause that this share (0 to 1) of the restarts did not exceed.
    pub fn pause(&self, share: f64) -> Option<Duration> {
        let mut sorted = self.pauses.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// Judges one flow; returns how many of its lines came.
    fn enter(&mut self, flow: &Flow, account: &Account, left: &mut Excuse) -> u64 {
        let nothing = Default::default();
        let seen = account
            .flows()
            .get(flow.number as usize)
            .unwrap_or(&nothing);
        let missing: Vec<u64> = seen.missing(flow.lines).collect();
        let came = flow.lines - missing.len() as u64;
        self.received += came;
        self.duplicated += seen.duplicated;
        if !flow.datagrams {
            self.out_of_order += seen.out_of_order;
        }
        if let Some(first) = missing.first() {
            let count = missing.len();
            let flow = flow.number;
            self.details.push(format!(
                "connection {flow}: {count} did not come, first {first}"
            ));
            self.details.truncate(32);
        }
        let same =
            |a: &u64, b: &u64| flow.datagrams && a / LINES_A_DATAGRAM == b / LINES_A_DATAGRAM;
        for datagram in missing.chunk_by(same) {
            let lines = datagram.len() as u64;
            let of = LINES_A_DATAGRAM
                .min(flow.lines - datagram[0] / LINES_A_DATAGRAM * LINES_A_DATAGRAM);
            // The kernel drops all of a datagram or nothing.
            if flow.datagrams && lines == of && left.kernel_dropped > 0 {
                left.kernel_dropped -= 1;
                self.lost_in_kernel += lines;
                continue;
            }
            for &seq in datagram {
                let bytes = Line::least_bytes(flow.number, seq);
                if bytes <= left.crash_bytes {
                    left.crash_bytes -= bytes;
                    self.lost_by_crash += 1;
                } else {
                    self.lost += 1;
                }
            }
        }
        came
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: String| writeln!(f, "{name:<15} {value}");
        let over = format!(
            "lines over {} connections",
            grouped(self.connections as u64)
        );
        row("sent", format!("{:>14} {over}", grouped(self.sent)))?;
        for (name, count) in [("received", self.received), ("lost", self.lost)] {
            row(name, format!("{:>14}", grouped(count)))?;
        }
        for (name, count) in [
            ("lost by crash", self.lost_by_crash),
            ("lost in kernel", self.lost_in_kernel),
        ] {
            if count > 0 || (name == "lost by crash" && self.kills > 0) {
                row(name, format!("{:>14}", grouped(count)))?;
            }
        }
        for (name, count) in [
            ("duplicated", self.duplicated),
            ("torn", self.torn),
            ("out of order", self.out_of_order),
            ("client errors", self.client_errors),
            ("restarts", self.restarts),
        ] {
            row(name, format!("{:>14}", grouped(count)))?;
        }
        for (name, count) in [("refused", self.refused), ("kills", self.kills)] {
            if count > 0 {
                row(name, format!("{:>14}", grouped(count)))?;
            }
        }
        if let (Some(p50), Some(p99), Some(max)) =
            (self.pause(0.5), self.pause(0.99), self.pause(1.0))
        {
            row("pause", quantiles(p50, p99, max))?;
        }
        if !self.latency.is_empty() {
            let (p50, p99) = (self.latency.quantile(0.5), self.latency.quantile(0.99));
            row("latency", quantiles(p50, p99, self.latency.max()))?;
        }
        let rate = grouped(self.lines_per_second() as u64);
        row("throughput", format!("{rate:>14} lines/s"))?;
        if let Some(folder) = &self.kept {
            row("kept", folder.display().to_string())?;
        }
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        Ok(())
    }
}

fn quantiles(p50: Duration, p99: Duration, max: Duration) -> String {
    let [p50, p99, max] = [p50, p99, max].map(|time| format!("{:.2} ms", time.as_secs_f64() * 1e3));
    format!("{:>14}  p99 {p99}  max {max}", format!("p50 {p50}"))
}

/// A number with a comma at every third digit.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
