//! The open windows of a worker, shared by its threads: points go in a batch at a time, lines come out when windows are
//! due, and all of it moves to the next worker.
//!
//! A worker that takes over from another holds its windows until it has those of its predecessor: a window closed before
//! would be a wrong value, and come twice. Whoever drives this says when they have come, or never will.
//!
//! A window is open, then its lines are made, then they wait to be placed. The lock is held for a batch of points, or for
//! a few windows that are closed or merged; never while lines are made: what a million values come to takes long.

mod due;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::aggregate::{Limits, Malformed, Merged, Refused, Rule, Saved, Windows};

pub use due::{Due, Piece, Tally};

/// So many windows are closed or merged under the lock at once: some tens of microseconds.
const AT_ONCE: usize = 256;

/// The windows, and whether they are held.
#[derive(Debug)]
pub struct Aggregating {
    inner: Mutex<Inner>,
    /// Held while lines are made: their windows aren't open any more, and the lines don't wait yet. Taken before `inner`.
    printing: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    windows: Windows,
    held: bool,
    /// Lines that wait.
    due: Due,
    /// Points of which lines are being made.
    printed: u64,
}

/// A point that a rule takes, on its way into a window.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Its number, for whoever is told what became of the point.
    pub number: usize,
    /// What the point is called from here on.
    pub output: &'a [u8],
    /// Its value.
    pub value: f64,
    /// In seconds since 1970.
    pub timestamp: u32,
}

impl Aggregating {
    /// Without windows. Those of a successor are held.
    pub fn new(limits: Limits, is_successor: bool) -> Aggregating {
        Aggregating {
            inner: Mutex::new(Inner {
                windows: Windows::new(limits),
                held: is_successor,
                due: Due::default(),
                printed: 0,
            }),
            printing: Mutex::new(()),
        }
    }

    /// A thread that panicked left whole windows behind: each change is of one.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No lines are being made: every point is in an open window or in lines that wait.
    fn lock_whole(&self) -> (MutexGuard<'_, ()>, MutexGuard<'_, Inner>) {
        let printing = self.printing.lock().unwrap_or_else(PoisonError::into_inner);
        (printing, self.lock())
    }

    /// Takes the points of a batch, in their order, and tells of each what became of it.
    pub fn add<'a>(
        &self,
        points: impl IntoIterator<Item = Point<'a>>,
        now: u32,
        mut told: impl FnMut(&Point<'a>, Result<(), Refused>),
    ) {
        let inner = &mut *self.lock();
        for point in points {
            let Point {
                rule,
                output,
                value,
                timestamp,
                ..
            } = point;
            told(
                &point,
                inner.windows.add(rule, output, value, timestamp, now),
            );
        }
    }

    /// Whether there is something to [print](Aggregating::print_due), or to [place](Aggregating::take_due).
    pub fn is_due(&self, now: u32) -> bool {
        let inner = self.lock();
        let due = inner.windows.next_due().is_some_and(|due| due <= now);
        !inner.held && (due || !inner.due.is_empty())
    }

    /// Makes the lines of some windows whose time has come, the oldest first, unless there are lines that wait. To be called
    /// outside of the gate: sorting the values of a window may take long.
    pub fn print_due(&self, now: u32) {
        let _printing = self.printing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut closed = Vec::new();
        let more = {
            let inner = &mut *self.lock();
            if inner.held || !inner.due.is_empty() {
                return;
            }
            let more = inner.windows.close(now, AT_ONCE, &mut closed);
            inner.printed = closed.iter().map(|window| window.points()).sum();
            more
        };
        let due = Due::print(closed, (!more).then_some(now));
        let inner = &mut *self.lock();
        inner.printed = 0;
        inner.due.append(due);
    }

    /// Takes the lines that wait. `None`: none do, or the windows are held. Whoever takes them places them, and puts the rest
    /// back.
    pub fn take_due(&self) -> Option<Due> {
        let inner = &mut *self.lock();
        let takes = !inner.held && !inner.due.is_empty();
        takes.then(|| std::mem::take(&mut inner.due))
    }

    /// There was no room for these; or they are a predecessor's, which go before any others.
    pub fn put_before(&self, mut due: Due) {
        let waiting = &mut self.lock().due;
        due.append(std::mem::take(waiting));
        *waiting = due;
    }

    /// A successor has placed so many of the windows that were [saved](Aggregating::save), in their order, those whose lines
    /// waited first; it had closed windows up to then, in seconds since 1970. Of the rules that `keep` it had none.
    pub fn forget_first(&self, count: usize, closed_to: u32, keep: impl Fn(u64) -> bool) {
        let (_printing, mut inner) = self.lock_whole();
        let inner = &mut *inner;
        let waited = inner.due.forget_first(count);
        inner.windows.forget_first(count - waited, keep);
        inner.windows.set_closed_to(closed_to);
    }

    /// How many points are in windows and in lines that wait, by the [ids](Rule::id) of their rules.
    pub fn points(&self) -> BTreeMap<u64, u64> {
        let (_printing, inner) = self.lock_whole();
        let mut points = inner.windows.points_by_rule();
        for tally in inner.due.tallies() {
            *points.entry(tally.rule).or_default() += tally.points;
        }
        points
    }

    /// How many windows each of these rules has open.
    pub fn open_of(&self, rules: &[Rule]) -> Vec<usize> {
        let inner = self.lock();
        rules
            .iter()
            .map(|rule| inner.windows.open_of(rule))
            .collect()
    }

    /// Merges windows that were saved, and holds them as before. Those of the predecessor are numbered from `first` on, from
    /// one; others have 0. Adds to `came`, for each of the rules, how many points came.
    ///
    /// # Errors
    /// When they aren't of their form; those before the fault were merged.
    pub fn merge(
        &self,
        bytes: &[u8],
        first: u32,
        rules: &[Rule],
        came: &mut [u64],
    ) -> Result<Merged, Malformed> {
        let mut saved = Saved::new(bytes, rules)?.numbered_from(first);
        let merged = loop {
            let more = self.lock().windows.merge(&mut saved, AT_ONCE);
            if !matches!(more, Ok(true)) {
                break more;
            }
        };
        for (rule, points) in saved.points() {
            let at = rules.iter().position(|mine| mine.id() == rule.id());
            if let Some(came) = at.and_then(|at| came.get_mut(at)) {
                *came += points;
            }
        }
        merged.map(|_| saved.merged())
    }

    /// The predecessor's windows have come, or are lost with it: windows are closed from here on.
    pub fn release(&self) {
        self.lock().held = false;
    }

    /// Whether windows are held for those of the predecessor.
    pub fn is_held(&self) -> bool {
        self.lock().held
    }

    /// Writes all windows, for the next worker, in the order in which they are closed; and tells the lines that wait, which
    /// go before them. Nothing may be added meanwhile or after: it would be lost or, when this worker goes on instead,
    /// counted twice.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, to: &mut impl io::Write) -> io::Result<Due> {
        let (_printing, inner) = self.lock_whole();
        inner.windows.save(to)?;
        Ok(inner.due.clone())
    }

    /// How many windows are open, and how many points are in them or in those whose lines are made or wait.
    pub fn open(&self) -> (usize, u64) {
        let inner = self.lock();
        let waiting: u64 = inner.due.tallies().map(|tally| tally.points).sum();
        let points = inner.windows.points() + inner.printed + waiting;
        (inner.windows.len(), points)
    }
}

#[cfg(test)]
mod tests;
