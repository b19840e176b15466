//! Aggregators: points of many metrics become one point of another in each interval of time.
//!
//! A [`Rule`] says which points it takes and what the metric they become is called. Its points lie in [`Windows`], one a
//! name and interval, until their time has come; then a window is [`Closed`] and printed as lines.
//!
//! Functions are carbon-relay-ng's, `median` and `variance` are added. Time is always an argument, in seconds since 1970.

mod closed;
mod groups;
mod rule;
mod saved;
mod state;
#[cfg(test)]
mod tests;
mod windows;

pub use closed::{Closed, suffixed};
pub use rule::{BadAggregation, Rule, canonical};
pub use saved::{Malformed, Merged, Saved};
pub use state::suffixes;
pub use windows::{Flushed, Gone, Limits, MAX_NAME, Windows};

/// What is computed of the points of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// The arithmetic mean.
    Avg,
    /// The sum.
    Sum,
    /// How many points there were.
    Count,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The value that came in last, whatever its timestamp.
    Last,
    /// The greatest value less the least.
    Delta,
    /// The change a second from the oldest timestamp to the newest; nothing if there is but one timestamp. Of points
    /// with the same timestamp the first counts.
    Derive,
    /// The standard deviation of a population (divided by n).
    Stdev,
    /// Its square.
    Variance,
    /// The 50th percentile.
    Median,
    /// The percentiles 25, 50, 75, 90, 95 and 99, each a metric of its own with `.p25` and so on behind its name.
    /// Hyndman and Fan's definition 6: rank p·(n+1), linear between neighbours.
    Percentiles,
}

impl Function {
    /// All functions, in the order in which they are named to people.
    pub const ALL: [Function; 12] = [
        Function::Avg,
        Function::Sum,
        Function::Count,
        Function::Min,
        Function::Max,
        Function::Last,
        Function::Delta,
        Function::Derive,
        Function::Stdev,
        Function::Variance,
        Function::Median,
        Function::Percentiles,
    ];

    /// The word that stands for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Function::Avg => "avg",
            Function::Sum => "sum",
            Function::Count => "count",
            Function::Min => "min",
            Function::Max => "max",
            Function::Last => "last",
            Function::Delta => "delta",
            Function::Derive => "derive",
            Function::Stdev => "stdev",
            Function::Variance => "variance",
            Function::Median => "median",
            Function::Percentiles => "percentiles",
        }
    }
}

/// Why a point that a rule takes goes into no window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Refused {
    /// Its window has been closed, or should have been by now.
    TooOld,
    /// It is more than an hour ahead.
    TooNew,
    /// There is no room for another window, or for another value in one that keeps its values.
    Windows,
    /// The name that it would have is empty or too long.
    Name,
    /// Its value is infinite or not a number.
    Value,
}

impl Refused {
    /// All reasons, each at its own index.
    pub const ALL: [Refused; 5] = [
        Refused::TooOld,
        Refused::TooNew,
        Refused::Windows,
        Refused::Name,
        Refused::Value,
    ];
    /// How many there are.
    pub const COUNT: usize = Refused::ALL.len();

    /// The word for it in metrics, logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::TooOld => "too-old",
            Refused::TooNew => "too-new",
            Refused::Windows => "windows",
            Refused::Name => "name",
            Refused::Value => "value",
        }
    }
}
