//! What aggregators take of a batch.

use super::Span;

/// A point that an aggregator took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gathered<'a> {
    /// Index of the aggregator.
    pub rule: usize,
    /// The name that the aggregator gives to what it makes of it.
    pub output: &'a [u8],
    /// The value as it came: a valid number.
    pub value: &'a [u8],
    /// Seconds since 1970, as decimal digits.
    pub timestamp: &'a [u8],
}

impl<'a> Gathered<'a> {
    /// Its value and its timestamp as numbers. A value that is too large for one is infinite.
    pub fn numbers(&self) -> (f64, u32) {
        let value = std::str::from_utf8(self.value).ok();
        let value = value.and_then(|value| value.parse().ok());
        (
            value.unwrap_or(f64::NAN),
            super::order::timestamp(self.timestamp),
        )
    }

    /// Of a line as it is sent: three fields, single blanks.
    pub(super) fn new(rule: usize, output: &'a [u8], line: &'a [u8]) -> Gathered<'a> {
        let mut fields = line.trim_ascii_end().rsplitn(3, |&byte| byte == b' ');
        Gathered {
            rule,
            output,
            timestamp: fields.next().unwrap_or_default(),
            value: fields.next().unwrap_or_default(),
        }
    }
}

/// The points of a batch.
#[derive(Debug, Default)]
pub(super) struct List {
    points: Vec<Point>,
    names: Vec<u8>,
}

#[derive(Debug)]
struct Point {
    rule: usize,
    /// Where its name ends; it begins where that of the one before does.
    name_end: usize,
    line: Span,
}

impl List {
    pub(super) fn clear(&mut self) {
        self.points.clear();
        self.names.clear();
    }

    pub(super) fn push(&mut self, rule: usize, name: &[u8], line: Span) {
        self.names.extend_from_slice(name);
        self.points.push(Point {
            rule,
            name_end: self.names.len(),
            line,
        });
    }

    /// Rule, output name and line of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[u8], &Span)> {
        self.points.iter().scan(0, |start, point| {
            let name = &self.names[*start..point.name_end];
            *start = point.name_end;
            Some((point.rule, name, &point.line))
        })
    }
}
