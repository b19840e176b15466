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

use crate::aggregate::{Closed, Limits, Malformed, Merged, Refused, Rule, Saved, Windows};

/// So many windows are closed or merged under the lock at once: some tens of microseconds.
const AT_ONCE: usize = 256;

/// The windows, and whether they are held.
#[derive(Debug)]
pub struct Aggregating {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    windows: Windows,
    held: bool,
    due: Option<Due>,
}

/// Lines of windows that were closed, on their way to the routes.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// Each ends in a newline.
    pub lines: Vec<u8>,
    /// Whose they are.
    pub tallies: Vec<Tally>,
    /// With these all windows are closed that were due by then, in seconds since 1970; `None`: more are due.
    pub through: Option<u32>,
    /// When the newest of the windows began.
    newest: u32,
}

/// What one rule has of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Its [id](Rule::id).
    pub rule: u64,
    /// How many windows.
    pub windows: u64,
    /// How many points were in them.
    pub points: u64,
    /// How many lines came of them.
    pub lines: u64,
}

impl Due {
    /// Of a predecessor, which had no room for them.
    pub fn new(lines: Vec<u8>, tallies: Vec<Tally>) -> Due {
        Due {
            lines,
            tallies,
            through: None,
            newest: 0,
        }
    }

    fn print(&mut self, window: Closed) {
        self.newest = self.newest.max(window.timestamp());
        let (rule, points) = (window.rule(), window.points());
        let lines = window.print(&mut self.lines);
        self.add(&Tally {
            rule,
            windows: 1,
            points,
            lines,
        });
    }

    /// Each rule has one.
    fn add(&mut self, part: &Tally) {
        let mut tallies = self.tallies.iter_mut();
        match tallies.find(|tally| tally.rule == part.rule) {
            Some(tally) => {
                tally.windows += part.windows;
                tally.points += part.points;
                tally.lines += part.lines;
            }
            None => self.tallies.push(*part),
        }
    }
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
                due: None,
            }),
        }
    }

    /// A thread that panicked left whole windows behind: each change is of one.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// When to [`flush`](Aggregating::flush) next, in seconds since 1970; `None`: there is nothing to wait for, or the
    /// windows are held.
    pub fn next_due(&self) -> Option<u32> {
        let inner = self.lock();
        match inner.held {
            true => None,
            false => inner.windows.next_due(),
        }
    }

    /// Takes what is due: the lines that were [put back](Aggregating::put_back), or else those of some windows whose time
    /// has come, the oldest first. `None`: nothing is, or the windows are held. Whoever takes it places all of it, or
    /// puts it back.
    pub fn take_due(&self, now: u32) -> Option<Due> {
        let mut closed = Vec::new();
        let more = {
            let inner = &mut *self.lock();
            if inner.held {
                return None;
            }
            if inner.due.is_some() {
                return inner.due.take();
            }
            inner.windows.close(now, AT_ONCE, &mut closed)
        };
        let mut due = Due::default();
        for window in closed {
            due.print(window);
        }
        due.through = (!more).then_some(now);
        (!due.tallies.is_empty()).then_some(due)
    }

    /// There was no room: the lines wait, and go with the windows.
    pub fn put_back(&self, due: Due) {
        self.lock().due = Some(due);
    }

    /// Lines that wait.
    pub fn waiting(&self) -> Option<Due> {
        self.lock().due.clone()
    }

    /// Forgets what was due by then: a successor has placed it.
    pub fn forget_due(&self, through: u32) {
        let inner = &mut *self.lock();
        let done = |due: &Due| due.through.unwrap_or(due.newest) <= through;
        if inner.due.as_ref().is_some_and(done) {
            inner.due = None;
        }
        let mut closed = Vec::new();
        while inner.windows.close(through, AT_ONCE, &mut closed) {
            closed.clear();
        }
    }

    /// How many points are in the windows of each of these rules, and in the lines of theirs that wait.
    pub fn points_of(&self, rules: &[Rule]) -> Vec<u64> {
        let inner = self.lock();
        let due = inner.due.iter().flat_map(|due| &due.tallies);
        let mut points = inner.windows.points_of(rules);
        for tally in due {
            if let Some(at) = rules.iter().position(|rule| rule.id() == tally.rule) {
                points[at] += tally.points;
            }
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

    /// Holds the windows again: those of another are to come.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Merges the windows of the predecessor, and holds the windows no longer, whatever comes of it.
    ///
    /// # Errors
    /// When they aren't of their form; those before the fault were merged.
    pub fn take_over(&self, bytes: &[u8], rules: &[Rule]) -> Result<Merged, Malformed> {
        let merged = self.merge(bytes, rules, &mut vec![0; rules.len()]);
        self.release();
        merged
    }

    /// Merges windows that were saved, and holds them as before. Adds to `came`, for each of the rules, how many points
    /// came.
    ///
    /// # Errors
    /// As there.
    pub fn merge(
        &self,
        bytes: &[u8],
        rules: &[Rule],
        came: &mut [u64],
    ) -> Result<Merged, Malformed> {
        let mut saved = Saved::new(bytes, rules)?;
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

    /// Lines of a predecessor, which are to go before any others.
    pub fn put_before(&self, mut due: Due) {
        let waiting = &mut self.lock().due;
        if let Some(later) = waiting.take() {
            due.lines.extend_from_slice(&later.lines);
            later.tallies.iter().for_each(|tally| due.add(tally));
            due.through = later.through;
            due.newest = later.newest;
        }
        *waiting = Some(due);
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

    /// How many windows are open, and how many points are in them or in those whose lines wait.
    pub fn open(&self) -> (usize, u64) {
        let inner = self.lock();
        let waiting = inner.due.iter().flat_map(|due| &due.tallies);
        let waiting: u64 = waiting.map(|tally| tally.points).sum();
        (inner.windows.len(), inner.windows.points() + waiting)
    }
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
            number: 0,
            output: name.as_bytes(),
            value: 1.0,
            timestamp: NOW,
        });
        let mut refused = 0;
        aggregating.add(points, now, |_, told| refused += u64::from(told.is_err()));
        refused
    }

    fn flushed(aggregating: &Aggregating, now: u32) -> (Tally, Vec<String>) {
        let (mut all, mut text) = (Tally::default(), Vec::new());
        while let Some(due) = aggregating.take_due(now) {
            for tally in &due.tallies {
                all.windows += tally.windows;
                all.points += tally.points;
                all.lines += tally.lines;
            }
            text.extend_from_slice(&due.lines);
        }
        let text = String::from_utf8(text).unwrap();
        (all, text.lines().map(str::to_owned).collect())
    }

    #[test]
    fn case_29_windows_are_held_until_the_predecessors_have_come() {
        let rules = rules();
        let old = Aggregating::new(Limits::of(10_000), false);
        let new = Aggregating::new(Limits::of(10_000), true);
        assert_eq!(add(&old, &rules, 0..3000, NOW), 0);
        assert_eq!(add(&new, &rules, 1000..4000, NOW), 0);
        assert_eq!(new.next_due(), None);
        assert_eq!(flushed(&new, NOW + 20).0, Tally::default());
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
        let first = aggregating.take_due(NOW + 20).unwrap();
        assert_eq!((first.through, first.tallies[0].windows), (None, 256));
        aggregating.put_back(first.clone());
        assert_eq!(aggregating.points_of(&rules), [10_000]);
        assert_eq!(add(&aggregating, &rules, 0..1, NOW + 20), 1, "too old");
        assert_eq!(aggregating.waiting().unwrap().lines, first.lines);
        assert_eq!(flushed(&aggregating, NOW + 20).0.lines, 10_000);
        assert_eq!(aggregating.open(), (0, 0));
    }

    #[test]
    fn what_a_successor_has_placed_is_not_placed_again() {
        let rules = rules();
        let old = Aggregating::new(Limits::of(10_000), false);
        add(&old, &rules, 0..600, NOW);
        let due = old.take_due(NOW + 20).unwrap();
        old.put_back(due);
        old.forget_due(NOW + 20);
        assert!(old.waiting().is_none() && old.take_due(NOW + 20).is_none());
        assert_eq!(old.points_of(&rules), [0]);
    }
}
