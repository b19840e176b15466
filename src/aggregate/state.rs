//! What a window keeps of its points, and what its function makes of it.
//!
//! A state that saw the first part of the points, merged with one that saw the rest, is the state that saw all of them.

use super::Function;

/// Of at least one point. Percentiles and deviations need all values; for the rest a few numbers do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// Of `sum` and `avg`.
    Sum(Sum),
    /// Of `count`: the window counts its points anyway.
    Nothing,
    /// Of `min`, `max` and `last`.
    One(f64),
    /// Of `delta`.
    Range { least: f64, greatest: f64 },
    /// Of `derive`.
    Ends(Ends),
    /// Of `stdev`, `variance`, `median` and `percentiles`: in the order in which they came.
    Values(Vec<f64>),
}

/// The oldest and the newest timestamp, and the value that came first at each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ends {
    pub(super) oldest: f64,
    pub(super) newest: f64,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// A sum, and what was rounded away while adding (Neumaier). So it prints 0.6 for 0.1 + 0.2 + 0.3, and two halves of
/// the points add up to the same as all of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sum {
    pub(super) high: f64,
    pub(super) low: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let added = sum - self.high;
        // What each of the two lost; exact, whichever is larger (Knuth).
        self.low += (self.high - (sum - added)) + (value - added);
        self.high = sum;
    }

    pub(super) fn total(self) -> f64 {
        // Beyond the largest number the rest is not a number.
        match self.high.is_finite() {
            true => self.high + self.low,
            false => self.high,
        }
    }

    fn of(values: impl Iterator<Item = f64>) -> f64 {
        let mut sum = Sum {
            high: 0.0,
            low: 0.0,
        };
        values.for_each(|value| sum.add(value));
        sum.total()
    }
}

/// The percentiles of [`Function::Percentiles`], and what each has behind its name.
const PERCENTILES: [(f64, &str); 6] = [
    (0.25, ".p25"),
    (0.50, ".p50"),
    (0.75, ".p75"),
    (0.90, ".p90"),
    (0.95, ".p95"),
    (0.99, ".p99"),
];

/// What stands behind the names of the lines that a function's windows become: nothing, but for percentiles.
pub fn suffixes(function: Function) -> Vec<&'static str> {
    match function {
        Function::Percentiles => PERCENTILES.map(|(_, suffix)| suffix).to_vec(),
        _ => vec![""],
    }
}

impl State {
    /// Of the first point.
    pub(super) fn new(function: Function, value: f64, timestamp: u32) -> State {
        match function {
            Function::Sum | Function::Avg => State::Sum(Sum {
                high: value,
                low: 0.0,
            }),
            Function::Count => State::Nothing,
            Function::Min | Function::Max | Function::Last => State::One(value),
            Function::Delta => State::Range {
                least: value,
                greatest: value,
            },
            Function::Derive => State::Ends(Ends {
                oldest: value,
                newest: value,
                from: timestamp,
                to: timestamp,
            }),
            Function::Stdev | Function::Variance | Function::Median | Function::Percentiles => {
                State::Values(vec![value])
            }
        }
    }

    /// Takes another point.
    #[inline]
    pub(super) fn add(&mut self, function: Function, value: f64, timestamp: u32) {
        match self {
            State::Sum(sum) => sum.add(value),
            State::Nothing => {}
            State::One(one) => {
                *one = match function {
                    Function::Min => one.min(value),
                    Function::Max => one.max(value),
                    _ => value,
                }
            }
            State::Range { least, greatest } => {
                *least = least.min(value);
                *greatest = greatest.max(value);
            }
            State::Ends(ends) => {
                if timestamp < ends.from {
                    (ends.oldest, ends.from) = (value, timestamp);
                }
                if timestamp > ends.to {
                    (ends.newest, ends.to) = (value, timestamp);
                }
            }
            State::Values(values) => values.push(value),
        }
    }

    /// Takes what came after it, of the same function.
    pub(super) fn append(&mut self, function: Function, later: State) {
        match (self, later) {
            (State::Sum(sum), State::Sum(later)) => {
                sum.add(later.high);
                sum.low += later.low;
            }
            (State::Values(values), State::Values(later)) => values.extend(later),
            (
                State::Range { least, greatest },
                State::Range {
                    least: a,
                    greatest: b,
                },
            ) => {
                *least = least.min(a);
                *greatest = greatest.max(b);
            }
            (state, State::One(value)) => state.add(function, value, 0),
            (state, State::Ends(ends)) => {
                state.add(function, ends.oldest, ends.from);
                state.add(function, ends.newest, ends.to);
            }
            // Of another function there is none: the rule is the same.
            (_, State::Nothing | State::Sum(_) | State::Range { .. } | State::Values(_)) => {}
        }
    }

    /// How many values it keeps.
    pub(super) fn values(&self) -> usize {
        match self {
            State::Values(values) => values.len(),
            _ => 0,
        }
    }

    /// Tells what the function makes of it, with what stands behind the name. What is infinite or not a number is no
    /// value of a metric, and isn't told.
    pub(super) fn results(self, function: Function, points: u64, mut tell: impl FnMut(&str, f64)) {
        let mut tell = |suffix: &str, value: f64| {
            if value.is_finite() {
                tell(suffix, value);
            }
        };
        match self {
            State::Sum(sum) if function == Function::Avg => tell("", sum.total() / points as f64),
            State::Sum(sum) => tell("", sum.total()),
            State::Nothing => tell("", points as f64),
            State::One(value) => tell("", value),
            State::Range { least, greatest } => tell("", greatest - least),
            State::Ends(ends) => {
                let seconds = f64::from(ends.to) - f64::from(ends.from);
                // In no time it is infinite or not a number, and not told.
                tell("", (ends.newest - ends.oldest) / seconds);
            }
            State::Values(values) if function == Function::Variance => tell("", variance(&values)),
            State::Values(values) if function == Function::Stdev => {
                tell("", variance(&values).sqrt())
            }
            State::Values(mut values) => {
                values.sort_unstable_by(f64::total_cmp);
                match function {
                    Function::Median => tell("", percentile(&values, 0.5)),
                    _ => PERCENTILES
                        .into_iter()
                        .for_each(|(p, suffix)| tell(suffix, percentile(&values, p))),
                }
            }
        }
    }
}

/// Of a population. In two passes: the mean first, or numbers far from zero would lose their digits.
fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = Sum::of(values.iter().copied()) / count;
    Sum::of(values.iter().map(|value| (value - mean) * (value - mean))) / count
}

/// Of sorted values, at least one.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let rank = p * (sorted.len() + 1) as f64;
    let below = rank as usize;
    if below < 1 {
        return sorted[0];
    }
    if below >= sorted.len() {
        return sorted[sorted.len() - 1];
    }
    let (low, high) = (sorted[below - 1], sorted[below]);
    let part = rank - below as f64;
    match high - low {
        // From one end of the numbers to the other.
        between if between.is_infinite() => low * (1.0 - part) + high * part,
        between => low + part * between,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(function: Function, points: &[(f64, u32)]) -> State {
        let (first, rest) = points.split_first().unwrap();
        let mut state = State::new(function, first.0, first.1);
        for (value, timestamp) in rest {
            state.add(function, *value, *timestamp);
        }
        state
    }

    fn results(function: Function, points: &[(f64, u32)]) -> Vec<(String, f64)> {
        let mut results = Vec::new();
        let tell = |suffix: &str, value| results.push((suffix.to_owned(), value));
        of(function, points).results(function, points.len() as u64, tell);
        results
    }

    #[test]
    fn sums_lose_no_digits() {
        let sum = |values: &[f64]| {
            let points: Vec<_> = values.iter().map(|value| (*value, 0)).collect();
            results(Function::Sum, &points)[0].1
        };
        assert_eq!(sum(&[0.1, 0.2, 0.3]), 0.6);
        assert_eq!(sum(&[1e16, 1.0, -1e16]), 1.0);
    }

    #[test]
    fn what_is_no_number_is_not_told() {
        let far = [(f64::MAX, 0), (f64::MAX, 1)];
        assert_eq!(results(Function::Sum, &far), []);
        assert_eq!(results(Function::Stdev, &far), []);
        assert_eq!(results(Function::Delta, &far).len(), 1);
        assert_eq!(
            results(Function::Median, &[(f64::MAX, 0), (f64::MIN, 0)])[0].1,
            0.0
        );
    }

    #[test]
    fn deviations_far_from_zero() {
        let far: Vec<_> = [4.0, 7.0, 13.0, 16.0].map(|value| (1e9 + value, 0)).into();
        assert_eq!(results(Function::Variance, &far)[0].1, 22.5);
    }

    #[test]
    fn the_first_of_two_at_one_time_counts() {
        let points = [(1.0, 600), (5.0, 610), (7.0, 610), (3.0, 600)];
        assert_eq!(results(Function::Derive, &points)[0].1, 0.4);
    }

    proptest! {
        #[test]
        fn two_halves_are_the_whole(
            points in prop::collection::vec((-1e6f64..1e6, 0u32..10), 2..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = 1 + cut.index(points.len() - 1);
            for function in Function::ALL {
                let (earlier, later) = points.split_at(cut);
                let mut merged = of(function, earlier);
                merged.append(function, of(function, later));
                let mut results = Vec::new();
                let tell = |suffix: &str, value| results.push((suffix.to_owned(), value));
                merged.results(function, points.len() as u64, tell);
                prop_assert_eq!(&results, &super::tests::results(function, &points), "{:?}", function);
            }
        }
    }
}
