//! The numbered line: `d.<flow>.<seq> <µs>.<check> <timestamp>`.
//!
//! A line says all that is needed to judge it. Two halves of different lines glued together can look like a
//! good line, and a partial line handed to the wrong connection does exactly that; hence the check digits, and
//! a timestamp that is the same in every line of a run.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many lines every datagram carries (the last one of a flow may have fewer). It is fixed, so that the
/// lines of a datagram that the kernel dropped can be told from lines that the relay lost out of one.
pub const LINES_A_DATAGRAM: u64 = 3;

/// The start of a run, shared by its senders and sinks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    timestamp: u64,
}

impl Clock {
    /// Starts a run now.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            start: Instant::now(),
            timestamp: since_epoch.unwrap_or_default().as_secs(),
        }
    }

    /// Time since the start of the run.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Microseconds since the start of the run, never 0: in a line, 0 says "not timed".
    pub(super) fn micros(&self) -> u64 {
        (self.start.elapsed().as_micros() as u64).max(1)
    }
}

/// One numbered line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The connection it is sent over, numbered across a run.
    pub flow: u32,
    /// Its number on that connection, from 0.
    pub seq: u64,
    /// When it was made, in µs since the start of the run; 0 if it shall not be timed.
    pub micros: u64,
}

impl Line {
    /// Appends the line with its newline.
    pub fn write(&self, clock: &Clock, out: &mut Vec<u8>) {
        out.extend_from_slice(b"d.");
        decimal(self.flow.into(), 1, out);
        out.push(b'.');
        decimal(self.seq, 1, out);
        out.push(b' ');
        decimal(self.micros, 1, out);
        out.push(b'.');
        decimal(self.check(), 4, out);
        out.push(b' ');
        decimal(clock.timestamp, 1, out);
        out.push(b'\n');
    }

    /// Reads a line without its newline; `None` unless it is, to the byte, one that [`Line::write`] wrote in
    /// this run.
    pub fn parse(bytes: &[u8], clock: &Clock) -> Option<Self> {
        let rest = bytes.strip_prefix(b"d.")?;
        let (flow, rest) = number(rest, b'.')?;
        let (seq, rest) = number(rest, b' ')?;
        let (micros, rest) = number(rest, b'.')?;
        let line = Self {
            flow: flow.try_into().ok()?,
            seq,
            micros,
        };
        let (check, timestamp) = rest.split_at_checked(4)?;
        let timestamp = timestamp.strip_prefix(b" ")?;
        let whole = digits(check)? == line.check()
            && digits(timestamp)? == clock.timestamp
            && !timestamp.starts_with(b"0");
        whole.then_some(line)
    }

    /// The shortest that this line can be, newline included, whatever its time.
    pub(super) fn least_bytes(flow: u32, seq: u64) -> u64 {
        let width = |n: u64| u64::from(n.checked_ilog10().unwrap_or(0)) + 1;
        "d.. 0.0000 1700000000\n".len() as u64 + width(flow.into()) + width(seq)
    }

    fn check(&self) -> u64 {
        let mut mixed = u64::from(self.flow).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ self.seq.wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
            ^ self.micros.wrapping_mul(0x1656_67b1_9e37_79f9);
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed >> 40) % 10_000
    }
}

/// `write!` costs more than all the rest of a sender; this is what a million lines a second can bear.
fn decimal(mut n: u64, width: usize, out: &mut Vec<u8>) {
    let mut text = [b'0'; 20];
    let mut at = text.len();
    while n > 0 {
        at -= 1;
        text[at] = b'0' + (n % 10) as u8;
        n /= 10;
    }
    out.extend_from_slice(&text[at.min(text.len() - width)..]);
}

/// A canonical number up to `end`, and what follows `end`.
fn number(bytes: &[u8], end: u8) -> Option<(u64, &[u8])> {
    let at = bytes.iter().take(21).position(|&b| b == end)?;
    let text = &bytes[..at];
    if text.len() > 1 && text[0] == b'0' {
        return None;
    }
    Some((digits(text)?, &bytes[at + 1..]))
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |n, &b| {
        b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(line: Line, clock: &Clock) -> Vec<u8> {
        let mut out = Vec::new();
        line.write(clock, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    fn any_line() -> impl Strategy<Value = Line> {
        (any::<u32>(), 0..u64::MAX / 20, 0..u64::MAX / 20).prop_map(|(flow, seq, micros)| Line {
            flow,
            seq,
            micros,
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(line in any_line()) {
            let clock = Clock::start();
            let text = text(line, &clock);
            prop_assert!(text.len() as u64 + 1 >= Line::least_bytes(line.flow, line.seq));
            prop_assert_eq!(Line::parse(&text, &clock), Some(line));
        }

        #[test]
        fn no_part_of_a_line_is_a_line(line in any_line(), cut in any::<prop::sample::Index>()) {
            let clock = Clock::start();
            let text = text(line, &clock);
            let at = cut.index(text.len());
            prop_assert_eq!(Line::parse(&text[..at], &clock), None);
            prop_assert!(at == 0 || Line::parse(&text[at..], &clock).is_none());
        }
    }

    #[test]
    fn halves_of_two_lines_glued_where_both_have_the_same_shape_are_no_line() {
        let clock = Clock::start();
        let line = |flow, seq| {
            text(
                Line {
                    flow,
                    seq,
                    micros: 55_555,
                },
                &clock,
            )
        };
        let (a, b) = (line(1, 1234), line(2, 5678));
        for at in 3..a.len() - 16 {
            let glued = [&a[..at], &b[at..]].concat();
            assert_eq!(Line::parse(&glued, &clock), None, "cut at {at}");
        }
    }
}
