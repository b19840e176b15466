//! The way of a metric, written down once: line → validation → blocklist → rewriters → aggregators → routes → spans by
//! destination.
//!
//! One synchronous call over a batch of whole lines. It never waits, knows no clock and allocates nothing per line: all
//! room it needs lives in the [`Batch`], which belongs to a thread and is used again. Nothing is copied but lines that
//! must change; neighbouring lines with the same takers are one span, which the queue copies once.
//!
//! From the blocklist on everything depends on the name, and the same names come again: so it is a [`Decision`], which
//! is remembered (`memo`) where that is cheaper than to decide anew.
//!
//! The books of a batch: lines = rejected + blocked + consumed + unrouted + routed.

mod gathered;
mod judge;
mod memo;
mod order;
mod placing;
mod shown;
pub mod trace;

use std::ops::Range;

use crate::{
    route::{self, Decision, Fate, Moment, Outcome, Subject, Table, Taker},
    validate::{
        Reason, Rules, name,
        order::{Admitted, OrderKey, SharedOrder},
    },
};
pub use gathered::Gathered;
use judge::{Scratch, Verdict};
use memo::{Known, Memo};
use placing::Placing;

/// How many rejected lines of a batch are kept to be looked at, of each reason.
const REJECTIONS: u64 = 4;

/// What one batch of lines came to, and the room to find it out.
#[derive(Debug, Default)]
pub struct Batch {
    lines: u64,
    rejected: [u64; Reason::COUNT],
    rejections: Vec<Rejection>,
    scratch: Scratch,
    memo: Memo,
    /// Of a name that the memo doesn't know.
    fresh: Decision,
    room: route::Scratch,
    waiting: Vec<Waiting>,
    /// Of a line, where routes choose anew for each.
    takers: Vec<Taker>,
    /// Takers are all there is to decide.
    decides_plainly: bool,
    /// And nothing is remembered.
    is_plain: bool,
    consumed: u64,
    /// Lines whose order is to be seen, each with its key and timestamp; and those of them that were admitted.
    judged: Vec<(Waiting, OrderKey, u32)>,
    late: Vec<usize>,
    admitted: Vec<Admitted>,
    gathered: gathered::List,
    placing: Placing,
    /// All rejected lines, if somebody wants to see them.
    shown: Option<Vec<Rejection>>,
}

/// Lines that are looked up together.
const GROUP: usize = 32;

/// A line that may pass, on its way to those who take it.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// The size of its name, which it begins with.
    name: usize,
    /// Where it came in the input, without its newline.
    came: (u32, u32),
    span: Span,
    hash: Option<u64>,
    slot: u32,
}

impl Waiting {
    fn new(name: usize, came: Range<usize>, span: Span) -> Waiting {
        Waiting {
            name,
            came: (came.start as u32, came.end as u32),
            span,
            hash: None,
            slot: 0,
        }
    }
}

/// What a batch is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Who takes which names.
    pub table: &'a Table,
    /// What lines are held to.
    pub rules: &'a Rules,
    /// Seconds since 1970, in place of the timestamp `-1`.
    pub now: u32,
    /// What routes may depend on beside the name.
    pub moment: Moment<'a>,
    /// The last timestamp of each name, if older points are refused.
    pub order: Option<&'a SharedOrder>,
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

    /// Evaluates `input`, whole lines each ending in a newline, and forgets the batch before.
    ///
    /// Should the last line lack its newline it is a line all the same: the last one of a datagram may. (The end of a
    /// *stream* is no line; [`Splitter`](crate::decode::split::Splitter) keeps it back.)
    ///
    /// # Panics
    /// If the input is over 1 GiB, or an index in the table is not below its number of destinations.
    pub fn run(&mut self, terms: &Terms, input: &[u8]) {
        // Positions are 32-bit, and a changed line can be twice as long as it was.
        assert!(input.len() <= 1 << 30, "a batch is at most 1 GiB");
        self.begin(terms.table);
        self.memo.begin(terms.table, terms.rules);
        self.decides_plainly = terms.table.is_plain() && terms.order.is_none();
        self.is_plain = self.decides_plainly && !self.memo.is_on();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', input) {
            self.line(terms, input, start..end);
            start = end + 1;
        }
        if start < input.len() {
            self.line(terms, input, start..input.len());
        }
        if let Some(order) = terms.order {
            self.see_order(terms, order, input);
        }
        self.look_up(terms, input);
        self.placing.finish();
    }

    /// Evaluates lines that aggregations made, as they are printed: they go to the routes, and are asked nothing before.
    pub fn run_outputs(&mut self, terms: &Terms, lines: &[u8]) {
        assert!(lines.len() <= 1 << 30, "a batch is at most 1 GiB");
        self.begin(terms.table);
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let line = &lines[start..end];
            let name = memchr::memchr(b' ', line).unwrap_or(line.len());
            terms
                .table
                .decide_routes(&line[..name], &mut self.room, &mut self.fresh);
            let span = Span {
                changed: false,
                start: start as u32,
                end: end as u32 + 1,
                lines: 1,
            };
            self.lines += 1;
            let waiting = Waiting::new(name, start..end, span);
            self.take(terms, lines, waiting, None);
            start = end + 1;
        }
        self.placing.finish();
    }

    /// Forgets the batch before.
    fn begin(&mut self, table: &Table) {
        self.lines = 0;
        self.rejected = [0; Reason::COUNT];
        self.rejections.clear();
        self.scratch.clear();
        self.consumed = 0;
        self.judged.clear();
        self.admitted.clear();
        self.gathered.clear();
        self.placing.begin(table);
        if let Some(shown) = &mut self.shown {
            shown.clear();
        }
    }

    #[inline]
    fn line(&mut self, terms: &Terms, input: &[u8], range: Range<usize>) {
        let line = &input[range.clone()];
        let ended = range.end < input.len();
        let verdict = match judge::canonical(terms.rules, line) {
            Some(name) if ended => Verdict::AsItCame { name },
            _ => judge::judge(terms.rules, terms.now, line, ended, &mut self.scratch),
        };
        let (name, line, text, changed) = match verdict {
            Verdict::Empty => return,
            Verdict::AsItCame { name } => (name, line, range.start..range.end + 1, false),
            Verdict::Changed { name, text } => (name, self.scratch.text(text.clone()), text, true),
            Verdict::Rejected(reason) => return self.reject(reason, range),
        };
        self.lines += 1;
        let span = Span {
            changed,
            start: text.start as u32,
            end: text.end as u32,
            lines: 1,
        };
        // Lines are taken in the order in which they came: not before one that waits.
        if self.is_plain
            || self.decides_plainly && self.waiting.is_empty() && self.memo.is_sampling()
        {
            let (outcome, is_other) = terms
                .table
                .outcome(&Subject::within(line, name), &mut self.room);
            // A name that the same rules are found for as for the one before is none that it would help to remember.
            if self.is_plain || !is_other || self.memo.is_skipped(&line[..name]) {
                return place(outcome, span, &mut self.placing);
            }
        }
        let waiting = Waiting::new(name, range, span);
        match terms.order {
            None => self.go_on(terms, input, waiting),
            Some(order) => {
                let key = order.key(&line[..name]);
                let timestamp = order::timestamp(self.text(input, &span));
                self.judged.push((waiting, key, timestamp));
            }
        }
    }

    /// A line that takes more than a loop over a few rules, once its order was seen.
    #[inline(never)]
    fn go_on(&mut self, terms: &Terms, input: &[u8], mut line: Waiting) {
        let name = name_of(&self.scratch, input, &line);
        if !self.memo.is_on() {
            decide(terms, name, &mut self.room, &mut self.fresh);
            return self.take(terms, input, line, None);
        }
        // Only while none waits: lines are taken in the order in which they came.
        if self.waiting.is_empty()
            && let Some(number) = self.memo.follow(name)
        {
            return self.take(terms, input, line, Some(number));
        }
        line.hash = self.memo.hash(name);
        self.waiting.push(line);
        // Nor do those behind one in the sample wait for it.
        if self.waiting.len() == GROUP || self.memo.is_sampling() {
            self.look_up(terms, input);
        }
    }

    /// Looks the waiting lines up.
    fn look_up(&mut self, terms: &Terms, input: &[u8]) {
        // All the reads that may have to wait for memory, before anything depends on one.
        for line in &mut self.waiting {
            line.slot = line.hash.map_or(0, |hash| self.memo.slot(hash));
        }
        for at in 0..self.waiting.len() {
            let line = self.waiting[at];
            let Waiting { hash, slot, .. } = line;
            let name = name_of(&self.scratch, input, &line);
            let known = hash.map_or(Known::Skipped, |hash| self.memo.find(name, hash, slot));
            let number = match known {
                Known::As(number) => Some(number),
                Known::Not(_) | Known::Skipped => {
                    decide(terms, name, &mut self.room, &mut self.fresh);
                    if let Known::Not(hash) = known {
                        self.memo.keep(name, hash, &self.fresh);
                    }
                    None
                }
            };
            self.take(terms, input, line, number);
        }
        self.waiting.clear();
    }

    /// Does with a line what was decided: under this number in the memo, or just now.
    #[inline]
    fn take(&mut self, terms: &Terms, input: &[u8], line: Waiting, number: Option<u32>) {
        let decision = number.map_or(&self.fresh, |number| self.memo.decision(number));
        if decision.is_plain() {
            let known = number.map(|number| self.memo.unique(number));
            self.placing.take(&decision.takers, known, line.span);
        } else if let Fate::Blocked(rule) = decision.fate {
            self.placing.block(rule);
        } else {
            self.take_specially(terms, input, line, number);
        }
    }

    /// A line whose decision says more than who takes it.
    #[inline(never)]
    fn take_specially(&mut self, terms: &Terms, input: &[u8], line: Waiting, number: Option<u32>) {
        let Waiting {
            name: old,
            mut span,
            ..
        } = line;
        let decision = number.map_or(&self.fresh, |number| self.memo.decision(number));
        if let Some(name) = decision.renamed() {
            let text = span.start as usize..span.end as usize;
            let text = match span.changed {
                true => self.scratch.rename_again(name, text.start + old..text.end),
                false => self.scratch.rename(name, &input[text][old..]),
            };
            if is_too_long(terms.rules, text.len()) {
                self.scratch.truncate(text.start);
                return self.refuse(&line, Reason::Rewrite);
            }
            (span.changed, span.start, span.end) = (true, text.start as u32, text.end as u32);
        } else if decision.fate == Fate::BadRewrite {
            return self.refuse(&line, Reason::Rewrite);
        }
        for output in &decision.outputs {
            let name = &decision.text[output.name.clone()];
            self.gathered.push(output.rule, name, span);
        }
        if decision.fate == Fate::Consumed {
            self.consumed += 1;
            return;
        }
        let name = match decision.renamed() {
            Some(name) => name,
            None => name_of(&self.scratch, input, &line),
        };
        self.takers.clear();
        self.takers.extend_from_slice(&decision.takers);
        let (moment, takers) = (&terms.moment, &mut self.takers);
        terms
            .table
            .settle(decision, name, moment, &mut self.room, takers);
        self.placing.take(&self.takers, None, span);
    }

    /// A line that is refused after it was counted as one.
    #[cold]
    fn refuse(&mut self, line: &Waiting, reason: Reason) {
        self.lines -= 1;
        let range = line.came.0 as usize..line.came.1 as usize;
        self.reject(reason, range);
    }

    #[cold]
    fn reject(&mut self, reason: Reason, range: Range<usize>) {
        self.lines += 1;
        self.rejected[reason as usize] += 1;
        if let Some(shown) = &mut self.shown {
            let range = range.clone();
            shown.push(Rejection { reason, range });
        }
        if self.rejected[reason as usize] <= REJECTIONS {
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

    /// The first four rejected lines of each reason, in the order in which they came.
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }

    /// The rules of the blocklist that dropped lines, each once with how many, by their index.
    pub fn blocked(&self) -> impl Iterator<Item = (usize, u64)> {
        placing::hits(&self.placing.blocked)
    }

    /// Lines that an aggregator took and let go no further.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// What aggregators took, in the order in which it came, given the input that the batch was made from.
    pub fn gathered<'a>(&'a self, input: &'a [u8]) -> impl Iterator<Item = Gathered<'a>> {
        self.gathered
            .iter()
            .map(move |(rule, output, line)| Gathered::new(rule, output, self.text(input, line)))
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

/// Does with a line what a plain table decided.
#[inline]
fn place(outcome: Outcome, span: Span, placing: &mut Placing) {
    match outcome {
        Outcome::Blocked(rule) => placing.block(rule),
        Outcome::Taken(takers, number) => {
            let known = number.map(|number| memo::BEYOND | number);
            placing.take(takers, known, span);
        }
    }
}

/// Whether a line that has a new name may not pass for its size, newline included.
fn is_too_long(rules: &Rules, size: usize) -> bool {
    size > rules.max_line + 1
}

/// Decides on a name for the first time.
#[inline]
fn decide(terms: &Terms, name: &[u8], room: &mut route::Scratch, decision: &mut Decision) {
    terms
        .table
        .decide(name, terms.rules.max_line, room, decision);
    if let Some(renamed) = decision.renamed()
        && name::check(terms.rules, renamed).is_err()
    {
        decision.refuse();
    }
}

/// The name of a line as it came, or as it was put in order.
#[inline]
fn name_of<'a>(scratch: &'a Scratch, input: &'a [u8], line: &Waiting) -> &'a [u8] {
    let range = line.span.start as usize..line.span.start as usize + line.name;
    match line.span.changed {
        true => scratch.text(range),
        false => &input[range],
    }
}
