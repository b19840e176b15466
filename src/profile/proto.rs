//! pprof's format: a `Profile` message of <https://github.com/google/pprof/blob/main/proto/profile.proto>, by hand, since
//! it has eight kinds of fields.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::UNIX_EPOCH;

use pprof::{Report, Symbol};

/// A message under way.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn numbers(&mut self, field: u64, values: &[u64]) {
        let mut packed = Message::default();
        values.iter().for_each(|value| packed.varint(*value));
        self.bytes(field, &packed.0);
    }
}

/// Things that are numbered as they come.
struct Numbered<T>(HashMap<T, u64>, u64);

impl<T: Hash + Eq> Numbered<T> {
    fn from(first: u64) -> Numbered<T> {
        Numbered(HashMap::new(), first)
    }

    /// Its number, and whether it is new.
    fn of(&mut self, thing: T) -> (u64, bool) {
        let next = self.1 + self.0.len() as u64;
        let number = *self.0.entry(thing).or_insert(next);
        (number, number == next)
    }
}

struct Profile {
    message: Message,
    /// From 0, which is "".
    strings: Numbered<String>,
    /// Name and file, from 1.
    functions: Numbered<(u64, u64)>,
    /// Functions and lines, those that were inlined first, from 1.
    locations: Numbered<Vec<(u64, u64)>>,
}

/// Samples as a `Profile`: for each stack the number of samples, and nanoseconds of CPU time; labelled with the thread.
pub(super) fn encode(report: &Report) -> Vec<u8> {
    let mut profile = Profile {
        message: Message::default(),
        strings: Numbered::from(0),
        functions: Numbered::from(1),
        locations: Numbered::from(1),
    };
    profile.string("");
    let period = 1_000_000_000 / u64::try_from(report.timing.frequency).unwrap_or(1).max(1);
    let kinds = [("samples", "count"), ("cpu", "nanoseconds")];
    for (kind, unit) in kinds {
        let kind = profile.kind(kind, unit);
        profile.message.bytes(1, &kind.0);
    }
    let thread = profile.string("thread");
    for (frames, count) in &report.data {
        let stack = frames.frames.iter().map(|frame| profile.location(frame));
        let stack: Vec<u64> = stack.collect();
        let count = u64::try_from(*count).unwrap_or_default();
        let mut label = Message::default();
        label.number(1, thread);
        label.number(2, profile.string(&frames.thread_name_or_id()));
        let mut sample = Message::default();
        sample.numbers(1, &stack);
        sample.numbers(2, &[count, count.saturating_mul(period)]);
        sample.bytes(3, &label.0);
        profile.message.bytes(2, &sample.0);
    }
    let start = report.timing.start_time.duration_since(UNIX_EPOCH);
    let period_kind = profile.kind("cpu", "nanoseconds");
    let Profile {
        mut message,
        strings,
        ..
    } = profile;
    message.number(9, start.unwrap_or_default().as_nanos() as u64);
    message.number(10, report.timing.duration.as_nanos() as u64);
    message.bytes(11, &period_kind.0);
    message.number(12, period);
    let mut table: Vec<(String, u64)> = strings.0.into_iter().collect();
    table.sort_by_key(|(_, number)| *number);
    for (text, _) in table {
        message.bytes(6, text.as_bytes());
    }
    message.0
}

impl Profile {
    fn string(&mut self, text: &str) -> u64 {
        self.strings.of(text.to_owned()).0
    }

    fn kind(&mut self, kind: &str, unit: &str) -> Message {
        let mut message = Message::default();
        message.number(1, self.string(kind));
        message.number(2, self.string(unit));
        message
    }

    /// A place in the program: a function, and those that were inlined into it there.
    fn location(&mut self, symbols: &[Symbol]) -> u64 {
        let lines = symbols.iter().map(|symbol| {
            let function = self.function(symbol);
            (function, u64::from(symbol.lineno()))
        });
        let lines: Vec<(u64, u64)> = lines.collect();
        let (number, is_new) = self.locations.of(lines.clone());
        if is_new {
            let mut location = Message::default();
            location.number(1, number);
            for (function, line) in lines {
                let mut message = Message::default();
                message.number(1, function);
                message.number(2, line);
                location.bytes(4, &message.0);
            }
            self.message.bytes(4, &location.0);
        }
        number
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let name = self.string(&symbol.name());
        let system_name = self.string(&symbol.sys_name());
        let file = self.string(&symbol.filename());
        let (number, is_new) = self.functions.of((name, file));
        if is_new {
            let mut function = Message::default();
            function.number(1, number);
            function.number(2, name);
            function.number(3, system_name);
            function.number(4, file);
            self.message.bytes(5, &function.0);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_varints() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.numbers(6, &[3, 270, 86942]);
        // The examples of protobuf.dev's "Encoding".
        let expected = [
            &[0x08, 0x96, 0x01, 0x12, 0x07][..],
            b"testing",
            &[0x32, 0x06, 0x03, 0x8e, 0x02, 0x9e, 0xa7, 0x05],
        ];
        assert_eq!(message.0, expected.concat());
    }

    #[test]
    fn what_is_known_keeps_its_number() {
        let mut numbered = Numbered::from(1);
        assert_eq!(
            [numbered.of("a"), numbered.of("b"), numbered.of("a")],
            [(1, true), (2, true), (1, false)]
        );
    }
}
