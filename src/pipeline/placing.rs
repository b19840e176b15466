//! Who takes which lines, gathered into spans.
//!
//! Neighbouring lines mostly have the same takers. So lines are gathered in one *run* while that holds, and only its end
//! touches the destinations.

use super::{Placed, Span};
use crate::route::{Table, Taker};

/// The outcome of a batch from the blocklist on.
#[derive(Debug)]
pub(super) struct Placing {
    /// Lines dropped, by rule.
    pub(super) blocked: Vec<u64>,
    /// Lines taken, by route.
    pub(super) routes: Vec<u64>,
    pub(super) unrouted: u64,
    pub(super) routed: u64,
    /// Filled at the end, by ascending destination.
    pub(super) placed: Vec<Placed>,
    /// The run and its takers; no line has none, so without takers there is no run.
    run: Span,
    run_takers: Vec<Taker>,
    /// The number of its last line's takers.
    run_known: Option<u64>,
    /// One for each destination of the table.
    slots: Vec<Placed>,
    /// All runs, if somebody wants to see them.
    pub(super) shown: Option<Vec<Span>>,
}

impl Default for Placing {
    fn default() -> Placing {
        Placing {
            blocked: Vec::new(),
            routes: Vec::new(),
            unrouted: 0,
            routed: 0,
            placed: Vec::new(),
            run: NO_RUN,
            run_takers: Vec::new(),
            run_known: None,
            slots: Vec::new(),
            shown: None,
        }
    }
}

const NO_RUN: Span = Span {
    changed: false,
    start: 0,
    end: 0,
    lines: 0,
};

/// Those of the counters that count something, with their index.
pub(super) fn hits(counters: &[u64]) -> impl Iterator<Item = (usize, u64)> {
    counters
        .iter()
        .copied()
        .enumerate()
        .filter(|&(_, count)| count > 0)
}

impl Placing {
    /// Forgets the batch before, but for the room it took.
    pub(super) fn begin(&mut self, table: &Table) {
        reset(&mut self.blocked, table.entries().blocklist.len());
        reset(&mut self.routes, table.entries().routes.len());
        (self.unrouted, self.routed) = (0, 0);
        if let Some(shown) = &mut self.shown {
            shown.clear();
        }
        // Spans go back to the slot they were lent from, which the table before had as well.
        for mut placed in self.placed.drain(..) {
            placed.spans.clear();
            self.slots[placed.destination].spans = placed.spans;
        }
        self.slots.truncate(table.entries().destinations);
        for destination in self.slots.len()..table.entries().destinations {
            self.slots.push(Placed {
                destination,
                lines: 0,
                bytes: 0,
                spans: Vec::new(),
            });
        }
    }

    /// A line that a rule of the blocklist drops.
    #[inline]
    pub(super) fn block(&mut self, rule: usize) {
        self.blocked[rule] += 1;
    }

    /// Takes in the next line, as a span, for its takers. `known` is a number that lines of the same takers may share;
    /// those of other takers don't.
    #[inline]
    pub(super) fn take(&mut self, takers: &[Taker], known: Option<u64>, line: Span) {
        if takers.is_empty() {
            self.unrouted += 1;
            return;
        }
        self.routed += 1;
        let is_same = known.is_some() && known == self.run_known || takers == self.run_takers;
        // A number stays with the run as long as its takers do.
        if known.is_some() {
            self.run_known = known;
        } else if !is_same {
            self.run_known = None;
        }
        if is_same && self.run.extend(&line) {
            return;
        }
        self.end_run();
        self.run = line;
        self.run_takers.extend_from_slice(takers);
    }

    /// Gives the run to its takers.
    fn end_run(&mut self) {
        let mut counted = None;
        if let Some(shown) = &mut self.shown
            && !self.run_takers.is_empty()
        {
            shown.push(self.run);
        }
        for taker in self.run_takers.drain(..) {
            // The takers of one route are neighbours.
            if counted.replace(taker.route) != Some(taker.route) {
                self.routes[taker.route] += u64::from(self.run.lines);
            }
            self.slots[taker.destination].add(&self.run);
        }
    }

    /// Ends the batch: [`placed`](Placing::placed) is complete.
    pub(super) fn finish(&mut self) {
        self.end_run();
        (self.run, self.run_known) = (NO_RUN, None);
        for slot in self.slots.iter_mut().filter(|slot| slot.lines > 0) {
            self.placed.push(Placed {
                spans: std::mem::take(&mut slot.spans),
                ..*slot
            });
            (slot.lines, slot.bytes) = (0, 0);
        }
    }
}

fn reset(counters: &mut Vec<u64>, size: usize) {
    counters.clear();
    counters.resize(size, 0);
}

impl Placed {
    /// Appends a run. What one run left out may be what lay between two others of other takers, so runs that touch
    /// become one span again.
    fn add(&mut self, run: &Span) {
        self.lines += u64::from(run.lines);
        self.bytes += (run.end - run.start) as usize;
        if !self.spans.last_mut().is_some_and(|last| last.extend(run)) {
            self.spans.push(*run);
        }
    }
}

impl Span {
    /// Takes in the next span if it begins where this one ends.
    #[inline]
    fn extend(&mut self, next: &Span) -> bool {
        let touches = self.changed == next.changed && self.end == next.start;
        if touches {
            self.end = next.end;
            self.lines += next.lines;
        }
        touches
    }
}
