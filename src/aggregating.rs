//! The open windows of a worker, shared by its threads: points go in a batch at a time, lines come out when windows are
//! due, and all of it moves to the next worker.
//!
//! A worker that takes over from another holds its windows until it has those of its predecessor: a window closed before
//! would be a wrong value, and come twice. Whoever drives this says when they have come, or never will.
//!
//! The lock is held for a batch of points, or for a few windows that are closed or merged. What a closed window comes to
//! is computed without it.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::aggregate::{
    Closed, Flushed, Gone, Limits, Malformed, Merged, Refused, Rule, Saved, Windows,
};

/// So many windows are closed or merged under the lock at once: some tens of microseconds.
const AT_ONCE: usize = 256;
/// So many bytes of lines are given at once, and a window's own more.
const GIVEN: usize = 64 << 10;

/// The windows, and whether they are held.
#[derive(Debug)]
pub struct Aggregating {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    windows: Windows,
    held: bool,
}

/// A point that a rule takes, on its way into a window.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// The rule.
    pub rule: &'a Rule,
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
            }),
        }
    }

    /// A thread that panicked left whole windows behind: each change is of one.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the points of a batch, in their order. Tells how many were refused, by the number of the [`Refused`].
    pub fn add<'a>(
        &self,
        points: impl IntoIterator<Item = Point<'a>>,
        now: u32,
    ) -> [u64; Refused::COUNT] {
        let mut refused = [0; Refused::COUNT];
        let inner = &mut *self.lock();
        for point in points {
            let Point {
                rule,
                output,
                value,
                timestamp,
            } = point;
            if let Err(reason) = inner.windows.add(rule, output, value, timestamp, now) {
                refused[reason as usize] += 1;
            }
        }
        refused
    }

    /// When to [`flush`](Aggregating::flush) next, in seconds since 1970; `None`: there is nothing to wait for, or the
    /// windows are held.
    pub fn next_due(&self) -> Option<u32> {
        let inner = self.lock();
        match inner.held {
            true => None,
            false => inner.windows.next_due(),
        }
    }

    /// Closes the windows whose time has come, and gives their lines, some tens of kilobytes at a time. `more` says
    /// whether it ended before all were closed, since `give` said to go no further; the lines that it got are its.
    pub fn flush(&self, now: u32, mut give: impl FnMut(&[u8]) -> Next) -> Flushed {
        let (mut flushed, mut closed, mut lines) = (Flushed::default(), Vec::new(), Vec::new());
        loop {
            let more = {
                let inner = &mut *self.lock();
                !inner.held && inner.windows.close(now, AT_ONCE, &mut closed)
            };
            let mut next = Next::Go;
            for window in closed.drain(..) {
                print(window, &mut lines, &mut flushed);
                if lines.len() >= GIVEN {
                    next = give(&lines).and(next);
                    lines.clear();
                }
            }
            if !more || next == Next::Stop {
                flushed.more = more;
                if !lines.is_empty() {
                    give(&lines);
                }
                return flushed;
            }
        }
    }

    /// Merges the windows of the predecessor, and holds the windows no longer, whatever comes of it.
    ///
    /// # Errors
    /// When they aren't of their form; those before the fault were merged.
    pub fn take_over(&self, bytes: &[u8], rules: &[Rule]) -> Result<Merged, Malformed> {
        let merged = self.merge(bytes, rules);
        self.release();
        merged
    }

    fn merge(&self, bytes: &[u8], rules: &[Rule]) -> Result<Merged, Malformed> {
        let mut saved = Saved::new(bytes, rules)?;
        while self.lock().windows.merge(&mut saved, AT_ONCE)? {}
        Ok(saved.merged())
    }

    /// The predecessor's windows have come, or are lost with it: windows are closed from here on.
    pub fn release(&self) {
        self.lock().held = false;
    }

    /// Whether windows are held for those of the predecessor.
    pub fn is_held(&self) -> bool {
        self.lock().held
    }

    /// Writes all windows, for the next worker. Nothing may be added meanwhile or after: it would be lost or, when this
    /// worker goes on instead, counted twice.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn save(&self, to: &mut impl io::Write) -> io::Result<()> {
        self.lock().windows.save(to)
    }

    /// Lets go of the windows whose rule is none of these.
    pub fn retain(&self, rules: &[Rule]) -> Gone {
        self.lock().windows.retain(rules)
    }

    /// How many windows are open, and how many points are in them.
    pub fn open(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.windows.len(), inner.windows.points())
    }
}

/// Whether there is room for more lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There is.
    Go,
    /// Come back later: windows that are closed by then are kept as they are.
    Stop,
}

impl Next {
    fn and(self, other: Next) -> Next {
        match self {
            Next::Go => other,
            Next::Stop => Next::Stop,
        }
    }
}

fn print(window: Closed, lines: &mut Vec<u8>, flushed: &mut Flushed) {
    flushed.windows += 1;
    flushed.points += window.points();
    flushed.lines += window.print(lines);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Function;
    use crate::route::Patterns;

    const NOW: u32 = 1_790_000_000;

    fn rules() -> [Rule; 1] {
        [Rule::new(Function::Sum, &Patterns::default(), "all", 10, 20, false).unwrap()]
    }

    fn add(
        aggregating: &Aggregating,
        rules: &[Rule],
        names: std::ops::Range<u32>,
        now: u32,
    ) -> u64 {
        let names: Vec<String> = names.map(|name| format!("name.{name}")).collect();
        let points = names.iter().map(|name| Point {
            rule: &rules[0],
            output: name.as_bytes(),
            value: 1.0,
            timestamp: NOW,
        });
        aggregating.add(points, now).iter().sum()
    }

    fn flushed(aggregating: &Aggregating, now: u32) -> (Flushed, Vec<String>) {
        let mut text = Vec::new();
        let give = |lines: &[u8]| {
            assert!(lines.len() < GIVEN + 100 && lines.ends_with(b"\n"));
            text.extend_from_slice(lines);
            Next::Go
        };
        let flushed = aggregating.flush(now, give);
        let text = String::from_utf8(text).unwrap();
        (flushed, text.lines().map(str::to_owned).collect())
    }

    #[test]
    fn case_29_windows_are_held_until_the_predecessors_have_come() {
        let rules = rules();
        let old = Aggregating::new(Limits::of(10_000), false);
        let new = Aggregating::new(Limits::of(10_000), true);
        assert_eq!(add(&old, &rules, 0..3000, NOW), 0);
        assert_eq!(add(&new, &rules, 1000..4000, NOW), 0);
        assert_eq!(new.next_due(), None);
        assert_eq!(flushed(&new, NOW + 20).0, Flushed::default());
        let mut bytes = Vec::new();
        old.save(&mut bytes).unwrap();
        let merged = new.take_over(&bytes, &rules).unwrap();
        assert_eq!((merged.windows, merged.points), (3000, 3000));
        assert_eq!(new.next_due(), Some(NOW + 20));
        let (done, mut lines) = flushed(&new, NOW + 20);
        assert_eq!((done.windows, done.points, done.lines), (4000, 6000, 4000));
        lines.sort_unstable();
        let twos = lines.iter().filter(|line| line.contains(" 2 ")).count();
        assert_eq!((lines.len(), twos), (4000, 2000));
        assert_eq!(new.open(), (0, 0));
    }

    #[test]
    fn a_predecessor_that_sends_rubbish_or_nothing_holds_nobody_up() {
        let rules = rules();
        let new = Aggregating::new(Limits::of(10), true);
        assert!(new.take_over(b"rubbish", &rules).is_err());
        assert!(!new.is_held());
        let new = Aggregating::new(Limits::of(10), true);
        assert_eq!(add(&new, &rules, 0..1, NOW), 0);
        new.release();
        assert_eq!(flushed(&new, NOW + 20).0.lines, 1);
    }

    #[test]
    fn where_there_is_no_room_for_lines_windows_stay_closed_and_wait() {
        let rules = rules();
        let aggregating = Aggregating::new(Limits::of(10_000), false);
        add(&aggregating, &rules, 0..10_000, NOW);
        // More than there is room for.
        assert_eq!(add(&aggregating, &rules, 10_000..10_005, NOW), 5);
        let (mut calls, mut lines) = (0, 0);
        loop {
            let flushed = aggregating.flush(NOW + 20, |given| {
                lines += given.iter().filter(|byte| **byte == b'\n').count();
                Next::Stop
            });
            calls += 1;
            assert_eq!(add(&aggregating, &rules, 0..1, NOW + 20), 1, "too old");
            if !flushed.more {
                break;
            }
        }
        assert_eq!((lines, aggregating.open()), (10_000, (0, 0)));
        assert!(calls > 2, "{calls}");
    }
}
