//! Open windows on their way to the next worker: in a hand-over, or over a stop.
//!
//! Binary, little-endian:
//!
//! ```text
//! magic u64 | closed to u32 | rules u32 | windows u32
//! | rules × (length u32 | canonical text)
//! | windows × (rule u32 | beginning u32 | points u64 | length u32 | name | state)
//! ```
//!
//! A state is what its function needs: two f64 of a sum or a range, one of a single value, two f64 and two u32 of the ends
//! of `derive`, a u32 and so many f64 of values.

use std::io::{self, Write};

use super::state::{Ends, State, Sum};
use super::windows::{Key, MAX_NAME, VALUES_AT_ONCE, Window};
use super::{Function, Refused, Rule, Windows};

const MAGIC: u64 = u64::from_le_bytes(*b"BatonAg1");

/// So much is collected before it is written.
const CHUNK: usize = 64 << 10;

/// What isn't what [`Windows::save`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the saved aggregation windows are malformed {0}")]
pub struct Malformed(&'static str);

/// Saved windows, each read when it is merged.
#[derive(Debug)]
pub struct Saved<'a> {
    rest: &'a [u8],
    closed_to: u32,
    /// For each rule there, what it computes and which one it is here.
    rules: Vec<(Function, Option<&'a Rule>)>,
    /// For each rule there, how many points were merged.
    points: Vec<u64>,
    left: u32,
    /// The number of the next; they aren't numbered: 0.
    next: u32,
    merged: Merged,
}

/// What came of a merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// Windows that are here now.
    pub windows: u64,
    /// Their points.
    pub points: u64,
    /// Windows of rules that aren't here, let go of. Half of a window would be a wrong value.
    pub gone_windows: u64,
    /// Their points.
    pub gone_points: u64,
    /// Windows that there was no room for.
    pub refused_windows: u64,
    /// Their points.
    pub refused_points: u64,
}

impl Windows {
    /// Writes all windows.
    ///
    /// # Errors
    /// When it can't be written, or there are more than 2³² windows.
    pub fn save(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(2 * CHUNK);
        let rules: Vec<(u64, &str)> = self.rules().collect();
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend(self.closed_to().to_le_bytes());
        bytes.extend(length(rules.len())?);
        bytes.extend(length(self.len())?);
        for (_, text) in &rules {
            bytes.extend(length(text.len())?);
            bytes.extend(text.as_bytes());
        }
        for window in self.all() {
            let rule = rules.partition_point(|(id, _)| *id < window.rule);
            write(&mut bytes, rule, window)?;
            if bytes.len() >= CHUNK {
                to.write_all(&bytes)?;
                bytes.clear();
            }
        }
        to.write_all(&bytes)
    }

    /// Merges at most so many of the saved windows, and not many values, as if their points had come before those that are here. True: there
    /// are more.
    ///
    /// A worker has room for as many beside its own as it may have open itself, since it has opened new ones while its
    /// predecessor's were on their way.
    ///
    /// # Errors
    /// When what is saved isn't of its form. What was merged before it stays.
    pub fn merge(&mut self, saved: &mut Saved, most: usize) -> Result<bool, Malformed> {
        self.set_closed_to(saved.closed_to);
        let (mut windows, mut values) = (0, 0);
        while saved.left > 0 && windows < most && values < VALUES_AT_ONCE {
            let read = saved.read()?;
            saved.left -= 1;
            let number = saved.next;
            saved.next += u32::from(number > 0);
            windows += 1;
            values += read.window.as_ref().map_or(0, |(_, state)| state.values());
            let merged = &mut saved.merged;
            let (windows, points) = match read.window {
                None => (&mut merged.gone_windows, &mut merged.gone_points),
                Some((key, state)) => match self.put_before(key, number, read.points, state) {
                    Ok(()) => {
                        saved.points[read.number] += read.points;
                        (&mut merged.windows, &mut merged.points)
                    }
                    Err(Refused::Name) => return Err(Malformed("in a name")),
                    Err(_) => (&mut merged.refused_windows, &mut merged.refused_points),
                },
            };
            *windows += 1;
            *points += read.points;
        }
        match saved.left {
            0 if !saved.rest.is_empty() => Err(Malformed("at their end")),
            left => Ok(left > 0),
        }
    }
}

fn length(length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    Ok(length.to_le_bytes())
}

fn write(bytes: &mut Vec<u8>, rule: usize, window: &Window) -> io::Result<()> {
    bytes.extend(length(rule)?);
    bytes.extend(window.timestamp.to_le_bytes());
    bytes.extend(window.points.to_le_bytes());
    bytes.extend(length(window.name.len())?);
    bytes.extend(&window.name);
    let mut numbers = |numbers: &[f64]| {
        numbers
            .iter()
            .for_each(|number| bytes.extend(number.to_le_bytes()));
    };
    match &window.state {
        State::Nothing => {}
        State::Sum(sum) => numbers(&[sum.high, sum.low]),
        State::One(value) => numbers(&[*value]),
        State::Range { least, greatest } => numbers(&[*least, *greatest]),
        State::Ends(ends) => {
            numbers(&[ends.oldest, ends.newest]);
            bytes.extend(ends.from.to_le_bytes());
            bytes.extend(ends.to.to_le_bytes());
        }
        State::Values(values) => {
            bytes.extend(length(values.len())?);
            for value in values {
                bytes.extend(value.to_le_bytes());
            }
        }
    }
    Ok(())
}

/// A window; none where its rule isn't here.
struct Read<'a> {
    window: Option<(Key<'a>, State)>,
    /// Of its rule, among those that were saved.
    number: usize,
    points: u64,
}

impl<'a> Saved<'a> {
    /// Reads the beginning, and finds the rules that are the same here: those with the same canonical text.
    ///
    /// # Errors
    /// When it isn't of its form.
    pub fn new(bytes: &'a [u8], rules: &'a [Rule]) -> Result<Saved<'a>, Malformed> {
        let mut saved = Saved {
            rest: bytes,
            closed_to: 0,
            rules: Vec::new(),
            points: Vec::new(),
            left: 0,
            next: 0,
            merged: Merged::default(),
        };
        if saved.u64()? != MAGIC {
            return Err(Malformed("at their beginning"));
        }
        saved.closed_to = saved.u32()?;
        let count = saved.u32()?;
        saved.left = saved.u32()?;
        for _ in 0..count {
            let length = saved.u32()?;
            let text = saved.take(length as usize)?;
            let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
            let mut functions = Function::ALL.into_iter();
            let function = functions.find(|function| function.as_str().as_bytes() == word);
            let here = rules.iter().find(|rule| rule.text.as_bytes() == text);
            let function = function.ok_or(Malformed("in their rules"))?;
            saved.rules.push((function, here));
            saved.points.push(0);
        }
        Ok(saved)
    }

    /// They are the predecessor's: the first of them has this number, from one on.
    #[must_use]
    pub fn numbered_from(mut self, first: u32) -> Saved<'a> {
        self.next = first;
        self
    }

    /// What came of it so far.
    pub fn merged(&self) -> Merged {
        self.merged
    }

    /// The rules that are here, each with how many points were merged so far.
    pub fn points(&self) -> impl Iterator<Item = (&'a Rule, u64)> {
        let rules = self.rules.iter().zip(&self.points);
        rules.filter_map(|((_, rule), points)| Some(((*rule)?, *points)))
    }

    /// How many windows are still to be merged.
    pub fn left(&self) -> u32 {
        self.left
    }

    fn read(&mut self) -> Result<Read<'a>, Malformed> {
        let number = self.u32()? as usize;
        let (function, rule) = *self.rules.get(number).ok_or(Malformed("in a rule"))?;
        let timestamp = self.u32()?;
        let points = self.u64()?;
        let length = self.u32()? as usize;
        let name = self.take(length)?;
        // It is printed as it is.
        if length > MAX_NAME || name.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
            return Err(Malformed("in a name"));
        }
        let state = self.state(function)?;
        let values = state.values() as u64;
        if points == 0 || points > u64::from(u32::MAX) || values != 0 && values != points {
            return Err(Malformed("in the number of points"));
        }
        if rule.is_some_and(|rule| !timestamp.is_multiple_of(rule.interval)) {
            return Err(Malformed("in a timestamp"));
        }
        let key = |rule| Key {
            rule,
            name,
            timestamp,
        };
        Ok(Read {
            window: rule.map(|rule| (key(rule), state)),
            number,
            points,
        })
    }

    fn state(&mut self, function: Function) -> Result<State, Malformed> {
        use Function as F;
        Ok(match function {
            F::Count => State::Nothing,
            F::Sum | F::Avg => State::Sum(Sum {
                high: self.f64()?,
                low: self.f64()?,
            }),
            F::Min | F::Max | F::Last => State::One(self.f64()?),
            F::Delta => State::Range {
                least: self.f64()?,
                greatest: self.f64()?,
            },
            F::Derive => State::Ends(Ends {
                oldest: self.f64()?,
                newest: self.f64()?,
                from: self.u32()?,
                to: self.u32()?,
            }),
            F::Stdev | F::Variance | F::Median | F::Percentiles => {
                let count = self.u32()? as usize;
                // Nothing is allocated before the bytes are known to be there.
                let bytes = self.take(count.checked_mul(8).ok_or(Malformed("in a state"))?)?;
                if bytes.is_empty() {
                    return Err(Malformed("in a state"));
                }
                let value = |bytes: &[u8]| bytes.try_into().map_or(0.0, f64::from_le_bytes);
                State::Values(bytes.chunks_exact(8).map(value).collect())
            }
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed("and cut short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(Malformed("and cut short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Result<f64, Malformed> {
        self.array().map(f64::from_le_bytes)
    }
}
