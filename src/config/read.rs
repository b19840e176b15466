//! The tables of a file, walked key by key; each value knows its place.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::{DeTable, DeValue, Error};

use super::keys::keys;
use super::problem::{NOT_TOML, Problem, Weight};
use crate::spec::{
    OPTIONS, duration_within, nearest, one_line, one_of, parse_duration, size_within,
};

/// Where problems and warnings are collected. Places are byte offsets.
pub(super) struct Report<'s> {
    text: &'s str,
    line_starts: Vec<usize>,
    /// Lines that aren't TOML: whatever a recovering parser made of them isn't judged.
    broken_lines: HashSet<usize>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Whether people have written its lines; else it was made of one rule's keys.
    pub(super) is_of_lines: bool,
}

impl<'s> Report<'s> {
    pub(super) fn new(text: &'s str) -> Report<'s> {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Report {
            text,
            line_starts: std::iter::once(0)
                .chain(newlines.map(|(at, _)| at + 1))
                .collect(),
            broken_lines: HashSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            is_of_lines: true,
        }
    }

    /// The line of a place, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// Takes what isn't TOML.
    pub(super) fn syntax(&mut self, error: &Error) {
        let span = error.span().unwrap_or(0..0);
        let found = self.text.get(span.clone()).unwrap_or_default();
        let (key, message) = match error.message() {
            "duplicate key" => (found, "given twice: expected every key once".to_owned()),
            message => ("", format!("{NOT_TOML}{}", one_line(message))),
        };
        let problem = self.place(span.start, key, message);
        self.broken_lines.extend(problem.line);
        self.problems.push(problem);
    }

    pub(super) fn problem(&mut self, at: usize, key: &str, message: impl Into<String>) {
        let problem = self.place(at, key, message.into());
        if problem
            .line
            .is_none_or(|line| !self.broken_lines.contains(&line))
        {
            self.problems.push(problem);
        }
    }

    /// Takes what isn't there. In a broken file it may well be there.
    pub(super) fn missing(&mut self, at: usize, key: &str, message: &str) {
        if self.broken_lines.is_empty() {
            self.problem(at, key, message);
        }
    }

    pub(super) fn warn(&mut self, at: Option<usize>, key: &str, message: String) {
        self.warn_with(Weight::Problem, at, key, message);
    }

    /// Says that a key does nothing, and nothing is missing.
    pub(super) fn note(&mut self, at: usize, key: &str, message: String) {
        self.warn_with(Weight::Note, Some(at), key, message);
    }

    pub(super) fn warn_with(
        &mut self,
        weight: Weight,
        at: Option<usize>,
        key: &str,
        message: String,
    ) {
        let mut warning = match at {
            Some(at) => self.place(at, key, message),
            None => Problem::without_line(key, message),
        };
        warning.weight = weight;
        self.warnings.push(warning);
    }

    fn place(&self, at: usize, key: &str, message: String) -> Problem {
        let line = self.line(at);
        let before = self
            .text
            .get(self.line_starts[line - 1]..at)
            .unwrap_or_default();
        Problem {
            line: Some(line),
            column: Some(before.chars().count() + 1),
            key: key.to_owned(),
            message: one_line(&message),
            weight: Weight::Problem,
        }
    }
}

/// A table with the keys it may have; empty if the file lacks it.
pub(super) struct Section<'d> {
    name: String,
    /// Its header.
    pub(super) at: usize,
    entries: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
}

impl<'d> Section<'d> {
    /// The file as a whole.
    pub(super) fn root(
        report: &mut Report,
        entries: &'d DeTable<'d>,
        known: &[&'static str],
    ) -> Section<'d> {
        Section::open(report, String::new(), 0, entries, known)
    }

    fn open(
        report: &mut Report,
        name: String,
        at: usize,
        entries: &'d DeTable<'d>,
        known: &[&'static str],
    ) -> Section<'d> {
        let section = Section {
            name,
            at,
            entries: Some(entries),
            known: known.to_vec(),
        };
        for key in entries
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
        {
            let message = unknown_key(key.get_ref(), known, &section.name);
            report.problem(key.span().start, &section.path(key.get_ref()), message);
        }
        section
    }

    /// A table inside this one.
    pub(super) fn section(
        &self,
        report: &mut Report,
        key: &'static str,
        known: &[&'static str],
    ) -> Section<'d> {
        let found = self.value(key).and_then(|value| value.table(report, known));
        found.unwrap_or_else(|| Section {
            name: self.path(key),
            at: self.at,
            entries: None,
            known: known.to_vec(),
        })
    }

    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    pub(super) fn value(&self, key: &'static str) -> Option<Value<'d>> {
        debug_assert!(self.known.contains(&key), "{key} is read but not listed");
        let value = self.entries?.get(key)?;
        Some(Value {
            key: self.path(key),
            at: value.span().start,
            inner: value.get_ref(),
        })
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            return key.to_owned();
        }
        format!("{}.{key}", self.name)
    }
}

pub(super) fn unknown_key(key: &str, known: &[&str], table: &str) -> String {
    if let Some(near) = nearest(key, known) {
        return format!("unknown key: did you mean {near}?");
    }
    let tables = keys().into_iter();
    let elsewhere: Vec<&str> = tables
        .filter(|(name, keys)| *name != table && keys.contains(&key))
        .map(|(name, _)| name)
        .collect();
    match &elsewhere[..] {
        [] => format!("unknown key: expected one of {}", known.join(", ")),
        [""] => "unknown key here: it belongs at the top, before any table".to_owned(),
        names => format!("unknown key here: it belongs in {}", names.join(" or ")),
    }
}

/// A value with its key and place. Each reader reports what it can't read, and gives nothing then.
#[derive(Clone)]
pub(super) struct Value<'d> {
    pub(super) key: String,
    pub(super) at: usize,
    inner: &'d DeValue<'d>,
}

impl<'d> Value<'d> {
    /// A value that stands in no [`Section`].
    pub(super) fn new(key: impl Into<String>, at: usize, inner: &'d DeValue<'d>) -> Value<'d> {
        let key = key.into();
        Value { key, at, inner }
    }

    pub(super) fn refuse(&self, report: &mut Report, message: impl Into<String>) {
        report.problem(self.at, &self.key, message);
    }

    pub(super) fn text(&self, report: &mut Report) -> Option<&'d str> {
        let text = self.inner.as_str();
        if text.is_none() {
            self.wrong_type(report, "a string");
        }
        text
    }

    pub(super) fn flag(&self, report: &mut Report) -> Option<bool> {
        let flag = self.inner.as_bool();
        if flag.is_none() {
            self.wrong_type(report, "true or false");
        }
        flag
    }

    pub(super) fn number(
        &self,
        report: &mut Report,
        range: &RangeInclusive<usize>,
    ) -> Option<usize> {
        let Some(integer) = self.inner.as_integer() else {
            self.wrong_type(report, "an integer");
            return None;
        };
        let number = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = range.clone().into_inner();
            let message = format!("expected a number from {least} to {most}, found {integer}");
            self.refuse(report, message);
        }
        number
    }

    /// A size as text, or a number of bytes.
    pub(super) fn size(&self, report: &mut Report, range: &RangeInclusive<u64>) -> Option<u64> {
        let text = self.size_text(report)?;
        self.keep(report, size_within(&text, range))
    }

    /// Whole seconds, as a number or as a duration.
    pub(super) fn seconds_text(&self, report: &mut Report) -> Option<String> {
        match self.inner {
            DeValue::Integer(_) => self.integer_text(report),
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                self.wrong_type(report, "seconds such as 10 or \"10s\"");
                None
            }
        }
    }

    /// A number that may be negative.
    pub(super) fn integer(&self, report: &mut Report) -> Option<i64> {
        let text = self.integer_text(report)?;
        let number = text.parse();
        self.keep(
            report,
            number.map_err(|_| format!("expected a number, found {text}")),
        )
    }

    fn integer_text(&self, report: &mut Report) -> Option<String> {
        let DeValue::Integer(integer) = self.inner else {
            self.wrong_type(report, "an integer");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix());
        Some(number.map_or_else(|_| integer.to_string(), |number| number.to_string()))
    }

    fn text_or_date(&self, report: &mut Report) -> Option<String> {
        match self.inner {
            DeValue::Datetime(date) => Some(date.to_string()),
            _ => self.text(report).map(str::to_owned),
        }
    }

    fn size_text(&self, report: &mut Report) -> Option<String> {
        match self.inner {
            DeValue::Integer(_) => self.integer_text(report),
            DeValue::String(text) => Some(text.to_string()),
            _ => {
                self.wrong_type(report, "a size such as \"16MiB\"");
                None
            }
        }
    }

    pub(super) fn duration(
        &self,
        report: &mut Report,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(text) = self.inner.as_str() else {
            self.wrong_type(report, "a duration in quotes such as \"10s\"");
            return None;
        };
        self.keep(report, duration_within(text, range))
    }

    /// A duration, or zero for never.
    pub(super) fn duration_or_off(
        &self,
        report: &mut Report,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let is_off = |text: &str| parse_duration(text).is_ok_and(|duration| duration.is_zero());
        if self.inner.as_str().is_some_and(is_off) {
            return None;
        }
        self.duration(report, range)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, report: &mut Report, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(report)?;
        let chosen = choices.iter().find(|(word, _)| *word == text);
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.refuse(report, one_of(&words, text));
        }
        chosen.map(|(_, choice)| *choice)
    }

    /// What is ok; the rest is reported.
    pub(super) fn keep<T, E: Display>(
        &self,
        report: &mut Report,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|e| self.refuse(report, e.to_string())).ok()
    }

    /// The elements of a list, each at its own place.
    pub(super) fn list(&self, report: &mut Report) -> Vec<Value<'d>> {
        let Some(list) = self.inner.as_array() else {
            self.wrong_type(report, "a list of strings such as [\"a\", \"b\"]");
            return Vec::new();
        };
        let elements = list.iter().map(|element| Value {
            key: self.key.clone(),
            at: element.span().start,
            inner: element.get_ref(),
        });
        elements.collect()
    }

    pub(super) fn table(&self, report: &mut Report, known: &[&'static str]) -> Option<Section<'d>> {
        let Some(entries) = self.inner.as_table() else {
            self.wrong_type(report, &format!("a table [{}]", self.key));
            return None;
        };
        Some(Section::open(
            report,
            self.key.clone(),
            self.at,
            entries,
            known,
        ))
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&self, report: &mut Report) -> Vec<Value<'d>> {
        if self.inner.is_array() {
            return self.list(report);
        }
        self.wrong_type(report, &format!("tables [[{}]]", self.key));
        Vec::new()
    }

    /// A destination table's keys and values, as the words of a destination string; a value of the
    /// wrong type is reported, and `None`.
    pub(super) fn options(&self, report: &mut Report) -> Vec<(Value<'d>, &'d str, Option<String>)> {
        let Some(entries) = self.inner.as_table() else {
            self.wrong_type(report, &format!("tables [[{}]]", self.key));
            return Vec::new();
        };
        let mut options = Vec::new();
        for (key, value) in entries.iter() {
            let name = key.get_ref().as_ref();
            let value = Value {
                key: format!("{}.{name}", self.key),
                at: key.span().start,
                inner: value.get_ref(),
            };
            let text = match name {
                "queue" | "resend" | "spool_max" => value.size_text(report),
                "replay_rate" => value.integer_text(report),
                "replay_from" => value.text_or_date(report),
                "pickle" => value.flag(report).map(|flag| flag.to_string()),
                _ if name == "address" || OPTIONS.contains(&name) => {
                    value.text(report).map(str::to_owned)
                }
                // Whatever its type, what is wrong is its name.
                _ => Some(String::new()),
            };
            options.push((value, name, text));
        }
        options
    }

    fn wrong_type(&self, report: &mut Report, expected: &str) {
        let found = match self.inner {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.refuse(report, format!("expected {expected}, found {found}"));
    }
}
