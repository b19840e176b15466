//! What arrived at a sink: every numbered line ticked off.

use std::time::Duration;

use super::{Clock, Histogram, Line};

/// A flow number above this is no flow of ours.
const MAX_FLOWS: u32 = 1 << 20;
/// How far a number may lie beyond the highest seen: bounds what one wild line can make us allocate (8 MiB).
const MAX_LEAP: u64 = 1 << 26;
/// How many of the lines that were wrong are kept to be shown.
const SAMPLES: usize = 8;

/// The lines that arrived at one sink.
#[derive(Clone, Debug)]
pub struct Account {
    clock: Clock,
    flows: Vec<Seen>,
    lines: u64,
    distinct: u64,
    bytes: u64,
    torn: u64,
    samples: Vec<String>,
    latency: Histogram,
    last: Duration,
    open: usize,
    connections: u64,
}

/// The lines of one flow that arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    bits: Vec<u64>,
    highest: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
}

impl Account {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            flows: Vec::new(),
            lines: 0,
            distinct: 0,
            bytes: 0,
            torn: 0,
            samples: Vec::new(),
            latency: Histogram::new(),
            last: Duration::ZERO,
            open: 0,
            connections: 0,
        }
    }

    /// Lines of ours that came whole, duplicates included.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines of ours that came whole, each counted once.
    pub fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Bytes read, whatever they were.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lines that nobody sent, and ends of connections in the middle of a line.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// The first few torn lines, as text.
    pub fn samples(&self) -> &[String] {
        &self.samples
    }

    /// From the making of a line to its arrival, for the lines that are timed.
    pub fn latency(&self) -> &Histogram {
        &self.latency
    }

    /// When the last line came, since the start of the run.
    pub fn last(&self) -> Duration {
        self.last
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Connections that there ever were.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    pub(super) fn opened(&mut self) {
        self.open += 1;
        self.connections += 1;
    }

    pub(super) fn closed(&mut self) {
        self.open -= 1;
    }

    pub(super) fn read(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Enters a line, given without its newline, that arrived at `now` (µs).
    pub(super) fn line(&mut self, bytes: &[u8], now: u64) {
        // The relay's own metrics go the way of all others.
        if bytes.starts_with(b"carbon.") {
            return;
        }
        let known = Line::parse(bytes, &self.clock).filter(|line| line.flow < MAX_FLOWS);
        let Some(line) = known else {
            return self.tear(bytes);
        };
        let index = line.flow as usize;
        if index >= self.flows.len() {
            self.flows.resize_with(index + 1, Seen::default);
        }
        let seen = &mut self.flows[index];
        if line.seq > seen.highest + MAX_LEAP {
            return self.tear(bytes);
        }
        self.lines += 1;
        self.distinct += u64::from(seen.enter(line.seq));
        self.last = Duration::from_micros(now);
        if line.micros > 0 {
            self.latency.add_micros(now.saturating_sub(line.micros));
        }
    }

    /// Enters something that should have been a line.
    pub(super) fn tear(&mut self, bytes: &[u8]) {
        self.torn += 1;
        if self.samples.len() < SAMPLES {
            let shown = &bytes[..bytes.len().min(120)];
            self.samples
                .push(String::from_utf8_lossy(shown).into_owned());
        }
    }

    /// Every flow that anything came of, by its number.
    pub(super) fn flows(&self) -> &[Seen] {
        &self.flows
    }
}

impl Seen {
    /// Ticks off a line; false if it had been before.
    fn enter(&mut self, seq: u64) -> bool {
        let (word, bit) = ((seq / 64) as usize, 1 << (seq % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        if self.bits[word] & bit != 0 {
            self.duplicated += 1;
            return false;
        }
        self.bits[word] |= bit;
        if seq < self.highest {
            self.out_of_order += 1;
        }
        self.highest = self.highest.max(seq);
        true
    }

    /// The lines of `0..sent` that did not come.
    pub(super) fn missing(&self, sent: u64) -> impl Iterator<Item = u64> + '_ {
        // By words: of a hundred million lines, hardly any is missing.
        (0..sent.div_ceil(64)).flat_map(move |word| {
            let bits = self.bits.get(word as usize).copied().unwrap_or(0);
            let first = word * 64;
            let here = (sent - first).min(64);
            let asked = u64::MAX >> (64 - here);
            let mut absent = !bits & asked;
            std::iter::from_fn(move || {
                let bit = absent.checked_ilog2().map(|_| absent.trailing_zeros())?;
                absent &= absent - 1;
                Some(first + u64::from(bit))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn enter(account: &mut Account, flow: u32, seq: u64) {
        let mut text = Vec::new();
        Line {
            flow,
            seq,
            micros: 0,
        }
        .write(&account.clock.clone(), &mut text);
        text.pop();
        account.line(&text, 1);
    }

    #[test]
    fn a_duplicate_is_no_disorder_and_a_late_line_is() {
        let mut account = Account::new(Clock::start());
        for seq in [0, 1, 3, 1, 2, 4] {
            enter(&mut account, 7, seq);
        }
        let seen = &account.flows()[7];
        assert_eq!((seen.duplicated, seen.out_of_order), (1, 1));
        assert_eq!((account.lines(), account.distinct()), (6, 5));
    }

    #[test]
    fn the_relays_own_metrics_are_neither_lines_nor_torn() {
        let mut account = Account::new(Clock::start());
        account.line(b"carbon.relays.host.baton.up 1 1700000000", 1);
        assert_eq!((account.lines(), account.torn()), (0, 0));
        account.line(b"arbon.relays.host.baton.up 1 1700000000", 1);
        assert_eq!(account.torn(), 1);
    }

    #[test]
    fn a_number_out_of_reach_is_torn_not_allocated() {
        let mut account = Account::new(Clock::start());
        enter(&mut account, 0, MAX_LEAP + 1);
        enter(&mut account, MAX_FLOWS, 0);
        assert_eq!((account.lines(), account.torn()), (0, 2));
    }

    proptest! {
        #[test]
        fn missing_is_what_was_sent_and_did_not_come(
            came in prop::collection::btree_set(0u64..300, 0..200), sent in 0u64..300,
        ) {
            let mut seen = Seen::default();
            came.iter().for_each(|&seq| assert!(seen.enter(seq)));
            let missing: Vec<u64> = seen.missing(sent).collect();
            let all: BTreeSet<u64> = (0..sent).collect();
            prop_assert_eq!(missing, all.difference(&came).copied().collect::<Vec<_>>());
        }
    }
}
