//! The datapoints of a pickle that was run, as lines.

use super::machine::{Machine, Value};
use crate::decode::shortest;

/// The items of a pickled list, in order.
#[derive(Debug)]
pub struct Points<'a> {
    machine: &'a Machine,
    pickle: &'a [u8],
    /// `None`: it is empty.
    list: Option<u32>,
    /// Where the next one is, when it isn't one of the first two.
    link: u32,
    at: usize,
    len: usize,
    max_line: usize,
}

/// Why an item is refused, the others not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no `(name, (timestamp, value))` of texts and numbers.
    Item,
    /// The name has a blank or control byte, or none at all: it wouldn't be one field of a line.
    Name,
    /// So is the value, or it is a number that no float is as large as.
    Value,
    /// The same of the timestamp.
    Timestamp,
    /// One of them is longer than a line may be.
    TooLong,
}

/// An item that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad<'a> {
    /// Why.
    pub fault: Fault,
    /// Its name, if it has one.
    pub name: Option<&'a [u8]>,
}

/// What an item holds.
struct Point<'a> {
    name: &'a [u8],
    value: Value,
    timestamp: Value,
}

impl<'a> Points<'a> {
    pub(super) fn new(
        machine: &'a Machine,
        pickle: &'a [u8],
        list: Option<u32>,
        max_line: usize,
    ) -> Points<'a> {
        Points {
            machine,
            pickle,
            list,
            link: list.map_or(u32::MAX, |list| machine.node(list).chain),
            at: 0,
            len: list.map_or(0, |list| machine.node(list).len as usize),
            max_line,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Passes over so many.
    pub fn skip(&mut self, items: usize) {
        for _ in 0..items {
            if self.next_item().is_none() {
                return;
            }
        }
    }

    /// Writes the next one as a line, `name value timestamp\n`, that is as well formed as fields can be; whether they are
    /// a name, a value and a timestamp is for others to judge. `None`: there is none.
    ///
    /// # Errors
    /// It can't be a line, and nothing was written.
    #[inline]
    pub fn write_next(&mut self, text: &mut Vec<u8>) -> Option<Result<(), Bad<'a>>> {
        let item = self.next_item()?;
        let start = text.len();
        let point = match self.point(item) {
            Ok(point) => point,
            Err(name) => {
                let fault = Fault::Item;
                return Some(Err(Bad { fault, name }));
            }
        };
        let written = self.write(&point, text).map_err(|fault| {
            text.truncate(start);
            let name = Some(point.name);
            Bad { fault, name }
        });
        Some(written)
    }

    /// Whether all lines together may have more than so many bytes.
    pub(super) fn may_exceed(&self, limit: usize) -> bool {
        // Of numbers the longest text, and the blanks.
        const NUMBERS: usize = 2 * 320 + 3;
        let longest = self.machine.longest.min(self.max_line);
        if self.len * (3 * longest + NUMBERS) <= limit {
            return false;
        }
        let mut all = Points { ..*self };
        let mut sum = 0;
        while let Some(item) = all.next_item() {
            if let Ok(point) = all.point(item) {
                sum += point.name.len().min(self.max_line) + 3;
                for number in [point.value, point.timestamp] {
                    // Numbers that take less than their text in the pickle are bounded by that.
                    sum += self.text(number).map_or(24, |t| t.len().min(self.max_line));
                }
            }
        }
        sum > limit
    }

    #[inline]
    fn next_item(&mut self) -> Option<Value> {
        if self.at == self.len {
            return None;
        }
        let item = match self.at {
            first @ 0..2 => self.machine.node(self.list?).first[first],
            _ => {
                let (value, next) = self.machine.link(self.link)?;
                self.link = next;
                value
            }
        };
        self.at += 1;
        Some(item)
    }

    /// An item's parts, or its name if that is all that is right with it.
    #[inline]
    fn point(&self, item: Value) -> Result<Point<'a>, Option<&'a [u8]>> {
        let [name, numbers] = self.pair(item).ok_or(None)?;
        let name = match name {
            Value::Text(name) => name.of(self.pickle),
            Value::Made(name) => name.of(&self.machine.made),
            _ => return Err(None),
        };
        let [timestamp, value] = self.pair(numbers).ok_or(Some(name))?;
        let is_scalar = |value| {
            !matches!(
                value,
                Value::Unset | Value::None | Value::EmptyTuple | Value::Node(_) | Value::Other(_)
            )
        };
        if !is_scalar(timestamp) || !is_scalar(value) {
            return Err(Some(name));
        }
        Ok(Point {
            name,
            value,
            timestamp,
        })
    }

    #[inline]
    fn pair(&self, value: Value) -> Option<[Value; 2]> {
        let Value::Node(node) = value else {
            return None;
        };
        let node = self.machine.node(node);
        (node.len == 2).then_some(node.first)
    }

    /// The text of what isn't a number already.
    fn text(&self, value: Value) -> Option<&'a [u8]> {
        match value {
            Value::Text(text) | Value::Digits(text) | Value::Long(text) => {
                Some(text.of(self.pickle))
            }
            Value::Made(text) => Some(text.of(&self.machine.made)),
            _ => None,
        }
    }

    #[inline]
    fn write(&self, point: &Point<'_>, text: &mut Vec<u8>) -> Result<(), Fault> {
        self.field(point.name, text, Fault::Name)?;
        text.push(b' ');
        match point.value {
            Value::Float(value) => shortest::float(value, text),
            value => self.number(value, text, Fault::Value)?,
        }
        text.push(b' ');
        match point.timestamp {
            Value::Float(timestamp) => stamp(timestamp, text),
            timestamp => self.number(timestamp, text, Fault::Timestamp)?,
        }
        text.push(b'\n');
        Ok(())
    }

    #[inline]
    fn number(&self, number: Value, text: &mut Vec<u8>, fault: Fault) -> Result<(), Fault> {
        match number {
            Value::Int(number) => shortest::integer(number, text),
            Value::Long(bytes) => {
                if !shortest::long(bytes.of(self.pickle), text) {
                    return Err(fault);
                }
            }
            other => {
                let digits = self.text(other).ok_or(Fault::Item)?;
                self.field(digits, text, fault)?;
            }
        }
        Ok(())
    }

    /// Writes what must not be more than one field of one line.
    #[inline]
    fn field(&self, field: &[u8], text: &mut Vec<u8>, fault: Fault) -> Result<(), Fault> {
        if field.len() > self.max_line {
            return Err(Fault::TooLong);
        }
        // Without an early way out: that takes many bytes at a time.
        let breaks = |byte: u8| (byte <= b' ') | (byte == 0x7f);
        let broken = field.iter().fold(false, |any, byte| any | breaks(*byte));
        if broken || field.is_empty() {
            return Err(fault);
        }
        text.extend_from_slice(field);
        Ok(())
    }
}

/// A timestamp in whole seconds. What is none that can be cut off is left to be refused: `-0.5` isn't 0.
#[inline]
fn stamp(timestamp: f64, text: &mut Vec<u8>) {
    if (0.0..1e15).contains(&timestamp) {
        shortest::integer(timestamp as i64, text);
    } else {
        shortest::float(timestamp, text);
    }
}
