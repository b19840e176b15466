//! What looking on may cost a batch: all points and all subscribers together.
//!
//! A batch has a little by its size, so that a relay that is busy all the time loses little by it, and what was saved
//! while there was nothing to look at, so that of a few lines none is lost because its pattern was slow the first time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::At;

/// A batch may be looked at for so long …
const BASE: Duration = Duration::from_micros(100);
/// … and so much longer for each KiB of it: 1.1 ms for the largest read, which is some ten usual expressions.
const PER_KIB: Duration = Duration::from_micros(4);
/// Of so long a time a part is saved that is one so many-th of it …
const PART: u64 = 20;
/// … up to this.
const MOST_SAVED: Duration = Duration::from_millis(5);
/// After so many lines that are cheap to ask about the clock is looked at.
const LOOK: u32 = 32;

/// What is left of it. Each subscriber has a share; what it doesn't need is left for those behind it.
#[derive(Debug)]
pub struct Time {
    left: Duration,
    /// So many haven't had their turn.
    turns: u32,
    /// The number of the batch: in each another point, and another subscriber, is the first.
    turn: usize,
    now: fn() -> Instant,
    /// So much of it was saved, and goes back if it isn't needed.
    saved: Option<(Arc<Savings>, Duration)>,
}

/// Time that nobody was looked at in, of all threads together.
#[derive(Debug)]
pub(super) struct Savings {
    began: Instant,
    /// Nanoseconds since then, up to which it was spent.
    spent: AtomicU64,
}

impl Default for Savings {
    /// All that can be saved.
    fn default() -> Savings {
        Savings {
            began: Instant::now(),
            spent: AtomicU64::new(0),
        }
    }
}

impl Savings {
    /// Takes all there is, `now`.
    fn take(&self, now: Instant) -> Duration {
        let all = nanos(MOST_SAVED) * PART;
        let now = nanos(now.saturating_duration_since(self.began)).saturating_add(all);
        let spent = self.spent.fetch_max(now, Ordering::Relaxed);
        Duration::from_nanos(now.saturating_sub(spent).min(all) / PART)
    }

    /// Gives back what wasn't needed.
    fn give_back(&self, unused: Duration) {
        let less = |spent: u64| Some(spent.saturating_sub(nanos(unused) * PART));
        // It never fails.
        let _before = self
            .spent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        if let Some((savings, saved)) = &self.saved {
            savings.give_back(self.left.min(*saved));
        }
    }
}

/// What a subscriber took too much, since one line is never left half asked: its next turns are shorter by it.
#[derive(Debug, Default)]
pub(super) struct Debt(AtomicU64);

/// A subscriber's turn.
#[derive(Debug)]
pub(super) struct Turn {
    began: Instant,
    share: Duration,
    /// So many lines until the clock is looked at.
    lines: u32,
    over: bool,
    now: fn() -> Instant,
}

impl Time {
    /// For a batch of that size.
    pub(super) fn new(bytes: usize, subscribers: usize, savings: &Arc<Savings>) -> Time {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let saved = savings.take(Instant::now());
        let own = BASE.saturating_add(PER_KIB.saturating_mul(kib));
        let mut time = Time::with(own.saturating_add(saved), subscribers, Instant::now);
        time.saved = Some((savings.clone(), saved));
        time
    }

    /// That much, by a clock.
    pub(super) fn with(left: Duration, subscribers: usize, now: fn() -> Instant) -> Time {
        Time {
            left,
            turns: subscribers as u32,
            turn: 0,
            now,
            saved: None,
        }
    }

    /// That of the batch of this number.
    pub(super) fn in_turn(mut self, turn: usize) -> Time {
        self.turn = turn;
        self
    }

    /// The points, in the order in which the batch is to be shown at them.
    pub fn points(&self) -> [At; 3] {
        let mut points = At::ALL;
        points.rotate_left(self.turn % At::ALL.len());
        points
    }

    /// Which of so many subscribers is the first.
    pub(super) fn first(&self, of: usize) -> usize {
        self.turn % of.max(1)
    }

    /// The turn of the next one.
    pub(super) fn begin(&mut self, debt: &Debt) -> Turn {
        let share = self.left / self.turns.max(1);
        self.turns = self.turns.saturating_sub(1);
        let paid = debt.pay(share);
        self.left -= paid;
        Turn {
            began: (self.now)(),
            share: share - paid,
            lines: LOOK,
            over: share == paid,
            now: self.now,
        }
    }

    /// That turn has ended; tells whether there was more to look at.
    pub(super) fn end(&mut self, turn: &Turn, debt: &Debt) -> bool {
        // Who wasn't asked took nothing.
        if turn.share.is_zero() {
            return turn.over;
        }
        let took = (self.now)().saturating_duration_since(turn.began);
        self.left = self.left.saturating_sub(took);
        debt.add(took.saturating_sub(turn.share));
        turn.over
    }
}

impl Turn {
    /// Whether it is over; to be asked before each line, or before much is copied. Lines that may cost much are each looked
    /// at with the clock.
    pub(super) fn is_over(&mut self, is_costly: bool) -> bool {
        let weight = if is_costly { LOOK } else { 1 };
        if !self.over && self.lines < weight {
            self.lines = LOOK;
            self.over = (self.now)().saturating_duration_since(self.began) >= self.share;
        }
        self.lines = self.lines.saturating_sub(weight);
        self.over
    }
}

impl Debt {
    /// Pays as much of it as there is.
    fn pay(&self, most: Duration) -> Duration {
        let most = nanos(most);
        let pay = |owed: u64| (owed > 0).then(|| owed.saturating_sub(most));
        let owed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        Duration::from_nanos(owed.map_or(0, |owed| owed.min(most)))
    }

    fn add(&self, more: Duration) {
        self.0.fetch_add(nanos(more), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_a_millisecond_at_most_and_a_debt_is_paid_by_its_own() {
        let savings = Arc::new(Savings::default());
        let first = Time::new(0, 1, &savings);
        assert_eq!(first.left, BASE + MOST_SAVED);
        // What is in use elsewhere isn't there twice.
        let largest = Time::new(256 * 1024, 1, &savings).left;
        assert!(largest < Duration::from_micros(1900), "{largest:?}");
        drop(first);
        let again = Time::new(0, 1, &savings).left;
        assert!(again > MOST_SAVED, "{again:?}");
        let (dear, other) = (Debt::default(), Debt::default());
        dear.add(Duration::from_micros(120));
        let shares = [
            (0, true, 50),
            (0, true, 50),
            (30, false, 50),
            (50, false, 50),
        ];
        for (of_dear, over, of_other) in shares {
            let mut time = Time::with(Duration::from_micros(100), 2, Instant::now);
            let turn = time.begin(&dear);
            assert_eq!((turn.share.as_micros(), turn.over), (of_dear, over));
            let turn = time.begin(&other);
            assert!(turn.share.as_micros() >= of_other, "{turn:?}");
        }
    }
}
