//! Quantiles of many durations in little memory.

use std::time::Duration;

/// Buckets a power of two is divided into: a quantile is at most 1/16 too high.
const PARTS: u64 = 16;

/// Durations counted in buckets that widen with their value, from 1 µs on.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            counts: vec![0; bucket(u64::MAX) + 1],
            total: 0,
            max: 0,
        }
    }

    /// Counts one duration.
    pub fn add_micros(&mut self, micros: u64) {
        self.counts[bucket(micros)] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// How many durations were counted.
    pub fn len(&self) -> u64 {
        self.total
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The duration that `share` (0 to 1) of all do not exceed, rounded up to its bucket; zero when empty.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.total as f64).ceil() as u64).max(1);
        let mut below = 0;
        for (index, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                return Duration::from_micros(last_of(index).min(self.max));
            }
        }
        self.max()
    }

    /// The longest, exact.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn bucket(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let power = u64::from(value.ilog2() - PARTS.ilog2());
    (power * PARTS + (value >> power)) as usize
}

/// The highest value that falls into a bucket.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let power = bucket / PARTS - 1;
    let part = bucket % PARTS + PARTS;
    (part << power) + ((1 << power) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_the_bucket_is_narrow(value in any::<u64>()) {
            let last = last_of(bucket(value));
            prop_assert!(value <= last);
            prop_assert!(last - value <= value / PARTS);
            prop_assert!(last == u64::MAX || bucket(last + 1) == bucket(value) + 1);
        }
    }

    #[test]
    fn quantiles_of_a_thousand() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.add_micros(micros));
        let p50 = histogram.quantile(0.5).as_micros();
        assert!((500..=532).contains(&p50), "{p50}");
        assert_eq!(histogram.quantile(1.0).as_micros(), 1000);
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
