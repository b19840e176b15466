//! How long the oldest line of a ring has been waiting.

use std::collections::VecDeque;

/// Marks: at this time the ring's head stood at this position. Close together at first; when there
/// are too many every other one goes, so that memory is bounded and the error stays small
/// against the age.
#[derive(Debug)]
pub struct Ages {
    marks: VecDeque<(u64, u64)>,
    spacing_ms: u64,
}

const MARKS: usize = 256;
const SPACING_MS: u64 = 100;

impl Ages {
    /// A ring that was taken over: what lies at `acked` came in at `oldest_at` (0: it is empty).
    pub fn new(acked: u64, oldest_at: u64) -> Ages {
        let mut marks = VecDeque::new();
        if oldest_at != 0 {
            marks.push_back((acked, oldest_at));
        }
        Ages {
            marks,
            spacing_ms: SPACING_MS,
        }
    }

    /// Notes that what comes in at `position` comes now.
    pub fn mark(&mut self, position: u64, now_ms: u64) {
        if self
            .marks
            .back()
            .is_some_and(|(_, at)| now_ms < at + self.spacing_ms)
        {
            return;
        }
        self.marks.push_back((position, now_ms));
        if self.marks.len() > MARKS {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
            let span = self.marks[self.marks.len() - 1].1 - self.marks[0].1;
            self.spacing_ms = self.spacing_ms.max(span / (MARKS as u64 / 2));
        }
    }

    /// When the line at `acked` came in, at the latest; `None` when nothing lies before `head`.
    pub fn oldest(&mut self, acked: u64, head: u64) -> Option<u64> {
        if acked == head {
            self.marks.clear();
            self.spacing_ms = SPACING_MS;
            return None;
        }
        // The newest mark at or before it: the line came in no earlier than that.
        while self.marks.len() > 1 && self.marks[1].0 <= acked {
            self.marks.pop_front();
        }
        self.marks.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_that_of_the_oldest_line_within_a_mark() {
        let mut ages = Ages::new(0, 0);
        assert_eq!(ages.oldest(0, 0), None);
        for second in 0..10_000 {
            ages.mark(second * 50, second * 1000);
        }
        for acked in (0..490_000).step_by(5000) {
            let (at, exact) = (ages.oldest(acked, 500_000).unwrap(), acked / 50 * 1000);
            assert!(
                at <= exact && exact - at <= 160_000,
                "{acked}: {at} for {exact}"
            );
        }
        assert!(ages.marks.len() <= MARKS);
        assert_eq!(ages.oldest(500_000, 500_000), None);
    }

    #[test]
    fn a_successor_goes_on_with_the_age_it_was_told() {
        let mut ages = Ages::new(70, 1000);
        ages.mark(80, 9000);
        assert_eq!(ages.oldest(70, 90), Some(1000));
        assert_eq!(ages.oldest(80, 90), Some(9000));
    }
}
