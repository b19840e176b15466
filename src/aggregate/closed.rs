//! A window whose time has come.

use std::io::Write;

use super::{Function, state::State};

/// A window that takes no more points, to be printed.
#[derive(Debug)]
pub struct Closed {
    /// The id of its rule.
    pub(super) rule: u64,
    pub(super) name: Box<[u8]>,
    /// Its beginning, in seconds since 1970.
    pub(super) timestamp: u32,
    pub(super) function: Function,
    /// Its number among the windows of a predecessor, or 0.
    pub(super) passed: u32,
    pub(super) points: u64,
    pub(super) state: State,
}

impl Closed {
    /// How many points it took.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Its number among the windows that were passed on by a predecessor, from one on; 0: that had none.
    pub fn passed(&self) -> u32 {
        self.passed
    }

    /// The [id](super::Rule::id) of its rule.
    pub fn rule(&self) -> u64 {
        self.rule
    }

    /// Appends its lines, `name value timestamp`, each with a newline, and says how many: `percentiles` has six, `derive`
    /// of a single timestamp none, and none is there of what isn't a number. What `percentiles` append to a name stands
    /// before its tags.
    pub fn print(self, to: &mut Vec<u8>) -> u64 {
        let Closed {
            name,
            timestamp,
            function,
            points,
            state,
            ..
        } = self;
        let mut lines = 0;
        state.results(function, points, |suffix, value| {
            suffixed(&name, suffix, to);
            to.push(b' ');
            shortest(value, to);
            // A vector takes all that is written to it.
            writeln!(to, " {timestamp}").expect("room in a vector");
            lines += 1;
        });
        lines
    }
}

/// Appends a name with this before its tags.
pub fn suffixed(name: &[u8], suffix: &str, to: &mut Vec<u8>) {
    let tags = memchr::memchr(b';', name).unwrap_or(name.len());
    to.extend_from_slice(&name[..tags]);
    to.extend_from_slice(suffix.as_bytes());
    to.extend_from_slice(&name[tags..]);
}

/// The fewest digits that read back as the same number: `0.1`, `1e-7`, `3`.
fn shortest(value: f64, to: &mut Vec<u8>) {
    write!(to, "{value:?}").expect("room in a vector");
    if to.ends_with(b".0") {
        to.truncate(to.len() - 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: f64) -> String {
        let mut to = Vec::new();
        shortest(value, &mut to);
        String::from_utf8(to).unwrap()
    }

    #[test]
    fn numbers_as_they_are_written() {
        for (value, text) in [
            (0.1, "0.1"),
            (1e-7, "1e-7"),
            (3.0, "3"),
            (-0.5, "-0.5"),
            (1e308, "1e308"),
            (123_456_789.0, "123456789"),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    proptest! {
        #[test]
        fn a_number_reads_back(value in proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO) {
            prop_assert_eq!(shown(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }
}
