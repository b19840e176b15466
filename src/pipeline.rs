//! The way of a metric, written down once: line → validation → blocklist → routes → spans by destination.
//!
//! One synchronous call over a batch of whole lines. It never waits, knows no clock and allocates nothing per line: all
//! room it needs lives in the [`Batch`], which belongs to a thread and is used again. Nothing is copied but lines that
//! must change; neighbouring lines with the same takers are one span, which the queue copies once.
//!
//! The books of a batch: lines = rejected + blocked + unrouted + routed.

mod judge;
mod placing;

use std::ops::Range;

use crate::{
    route::{Moment, Subject, Table},
    validate::{Reason, Rules},
};
use judge::{Scratch, Verdict};
use placing::Placing;

/// How many rejected lines of a batch are kept to be looked at.
const REJECTIONS: usize = 4;

/// What one batch of lines came to, and the room to find it out.
#[derive(Debug, Default)]
pub struct Batch {
    lines: u64,
    rejected: [u64; Reason::COUNT],
    rejections: Vec<Rejection>,
    scratch: Scratch,
    placing: Placing,
}

/// A line that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// Where it lies in the input, without its newline.
    pub range: Range<usize>,
}

/// What one destination gets of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its index in the table.
    pub destination: usize,
    /// How many lines.
    pub lines: u64,
    /// How many bytes, newlines included.
    pub bytes: usize,
    /// The lines, in the order in which they came.
    pub spans: Vec<Span>,
}

/// Neighbouring whole lines that go the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Whether the text lies in the batch's own scratch of changed lines rather than in the input.
    pub changed: bool,
    /// Where it begins there.
    pub start: u32,
    /// Where it ends, after a newline.
    pub end: u32,
    /// How many lines it holds.
    pub lines: u32,
}

impl Batch {
    /// Empty. It grows to what its batches need, and stays so.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Evaluates `input`, whole lines each ending in a newline, and forgets the batch before. `now`, in seconds since
    /// 1970, replaces the timestamp `-1`.
    ///
    /// Should the last line lack its newline it is a line all the same: the last one of a datagram may. (The end of a
    /// *stream* is no line; [`Splitter`](crate::decode::split::Splitter) keeps it back.)
    ///
    /// # Panics
    /// If the input is over 1 GiB, or an index in the table is not below its number of destinations.
    pub fn run(&mut self, table: &Table, rules: &Rules, now: u32, input: &[u8]) {
        self.run_at(table, rules, now, &Moment::default(), input);
    }

    /// The same, where routes ask who is up and whose turn it is.
    ///
    /// # Panics
    /// As [`Batch::run`].
    pub fn run_at(
        &mut self,
        table: &Table,
        rules: &Rules,
        now: u32,
        moment: &Moment<'_>,
        input: &[u8],
    ) {
        // Positions are 32-bit, and a changed line can be twice as long as it was.
        assert!(input.len() <= 1 << 30, "a batch is at most 1 GiB");
        self.lines = 0;
        self.rejected = [0; Reason::COUNT];
        self.rejections.clear();
        self.scratch.clear();
        self.placing.begin(table);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', input) {
            self.line(table, rules, (now, moment), input, start..end);
            start = end + 1;
        }
        if start < input.len() {
            self.line(table, rules, (now, moment), input, start..input.len());
        }
        self.placing.finish();
    }

    #[inline]
    fn line(
        &mut self,
        table: &Table,
        rules: &Rules,
        (now, moment): (u32, &Moment<'_>),
        input: &[u8],
        range: Range<usize>,
    ) {
        let line = &input[range.clone()];
        let ended = range.end < input.len();
        let verdict = match judge::canonical(rules, line) {
            Some(name) if ended => Verdict::AsItCame { name: 0..name },
            _ => judge::judge(rules, now, line, ended, &mut self.scratch),
        };
        let (name, text, changed) = match verdict {
            Verdict::Empty => return,
            Verdict::AsItCame { name } => (&line[name], range.start..range.end + 1, false),
            Verdict::Changed { name, text } => (self.scratch.text(name), text, true),
            Verdict::Rejected(reason) => return self.reject(reason, range),
        };
        self.lines += 1;
        let span = Span {
            changed,
            start: text.start as u32,
            end: text.end as u32,
            lines: 1,
        };
        self.placing.take(table, &Subject::new(name), moment, span);
    }

    #[cold]
    fn reject(&mut self, reason: Reason, range: Range<usize>) {
        self.lines += 1;
        self.rejected[reason as usize] += 1;
        if self.rejections.len() < REJECTIONS {
            self.rejections.push(Rejection { reason, range });
        }
    }

    /// Lines in, but for empty ones.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines rejected, by the number of the [`Reason`].
    pub fn rejected(&self) -> &[u64; Reason::COUNT] {
        &self.rejected
    }

    /// The first four rejected lines.
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }

    /// The rules of the blocklist that dropped lines, each once with how many, by their index.
    pub fn blocked(&self) -> impl Iterator<Item = (usize, u64)> {
        placing::hits(&self.placing.blocked)
    }

    /// Lines that no destination took.
    pub fn unrouted(&self) -> u64 {
        self.placing.unrouted
    }

    /// Lines that at least one destination took.
    pub fn routed(&self) -> u64 {
        self.placing.routed
    }

    /// The routes by which destinations took lines, each once with how many lines, by their index.
    pub fn routes(&self) -> impl Iterator<Item = (usize, u64)> {
        placing::hits(&self.placing.routes)
    }

    /// What each destination gets, by ascending index; those that get nothing are left out.
    pub fn placed(&self) -> &[Placed] {
        &self.placing.placed
    }

    /// The bytes of a span of this batch, given the input it was made from.
    ///
    /// # Panics
    /// If the span is not of this batch and input.
    pub fn text<'a>(&'a self, input: &'a [u8], span: &Span) -> &'a [u8] {
        let range = span.start as usize..span.end as usize;
        if span.changed {
            self.scratch.text(range)
        } else {
            &input[range]
        }
    }
}
