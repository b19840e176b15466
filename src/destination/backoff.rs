//! How long to wait before the next attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

/// Pauses that grow by half up to a ceiling, each drawn at random from all of its length, so that
/// many relays don't come back to a store at one moment.
#[derive(Debug)]
pub struct Backoff {
    next: Option<Duration>,
    ceiling: Duration,
}

impl Backoff {
    /// Up to this ceiling.
    pub fn new(ceiling: Duration) -> Backoff {
        Backoff {
            next: None,
            ceiling,
        }
    }

    /// It went well: the next attempt is made at once.
    pub fn reset(&mut self) {
        self.next = None;
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        // Every `RandomState` has its own keys.
        let random = RandomState::new().build_hasher().finish();
        self.pause_at((random >> 11) as f64 / (1u64 << 53) as f64)
    }

    fn pause_at(&mut self, share: f64) -> Duration {
        let Some(pause) = self.next else {
            self.next = Some(FIRST.min(self.ceiling));
            return Duration::ZERO;
        };
        self.next = Some((pause * 3 / 2).min(self.ceiling));
        pause.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_at_once_and_pauses_grow_to_the_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(300));
        let pauses: Vec<_> = (0..6).map(|_| backoff.pause_at(1.0).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 150, 225, 300, 300]);
        assert_eq!(backoff.pause_at(0.5).as_millis(), 150);
        backoff.reset();
        assert!(backoff.pause().is_zero());
    }
}
