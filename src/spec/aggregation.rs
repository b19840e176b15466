use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{
    BadOption, Note, PATTERNS, check_pattern, one_of, parse_duration, pattern_field, words,
};
use crate::aggregate::{self, BadAggregation, Function, Rule};
use crate::route::Patterns;

/// An aggregator as it was asked for. It displays as the words of a command:
/// `sum prefix=… regex=… format interval wait dropRaw=true`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// What is computed.
    pub function: Function,
    /// Which names it takes.
    pub patterns: Patterns,
    /// What comes out is called, with `$1` and `${name}` for the groups of `regex`.
    pub format: String,
    /// The length of a window, in seconds.
    pub interval: u32,
    /// How long after its beginning a window is closed, in seconds.
    pub wait: u32,
    /// Whether the points that it takes go no further.
    pub drop_raw: bool,
}

/// The options of a command beside [`PATTERNS`].
const OPTIONS: [&str; 2] = ["cache", "dropRaw"];

/// A day's windows at least fit; a month's don't need to.
const INTERVAL: RangeInclusive<u32> = 1..=30 * 86_400;
const WAIT: RangeInclusive<u32> = 1..=60 * 86_400;

/// Reads whole seconds: `10`, `10s`, `1m`.
///
/// # Errors
/// What was expected.
pub fn seconds_within(text: &str, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let number = text
        .parse()
        .map(|seconds| Some(Duration::from_secs(seconds)));
    let duration = number.unwrap_or_else(|_| parse_duration(text).ok());
    let seconds = duration
        .filter(|duration| duration.subsec_nanos() == 0)
        .and_then(|duration| u32::try_from(duration.as_secs()).ok());
    seconds
        .filter(|seconds| range.contains(seconds))
        .ok_or_else(|| {
            let (least, most) = range.clone().into_inner();
            format!("expected whole seconds from {least} to {most}, such as 10 or \"10s\", found {text:?}")
        })
}

/// An aggregator that is being read, key by key, from a command or a table.
#[derive(Debug, Default)]
pub struct AggregationDraft {
    function: Option<Function>,
    patterns: Patterns,
    format: Option<String>,
    interval: Option<u32>,
    wait: Option<u32>,
    drop_raw: bool,
    /// What was given, well or badly.
    given: Vec<String>,
}

impl AggregationDraft {
    /// Takes one of the keys of `[[aggregation]]`. `cache` is taken, and [noted](AggregationDraft::notes).
    ///
    /// # Errors
    /// What was expected of the value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        let bad = |message| BadOption::at(key, message);
        if self.is_given(key) {
            return Err(bad("given twice".to_owned()));
        }
        self.skip(key);
        if let Some(field) = pattern_field(&mut self.patterns, key) {
            check_pattern(key, value).map_err(bad)?;
            *field = value.to_owned();
            return Ok(());
        }
        match key {
            "function" => self.function = Some(function(value).map_err(bad)?),
            "format" => self.format = Some(value.to_owned()),
            "interval" => self.interval = Some(seconds_within(value, &INTERVAL).map_err(bad)?),
            "wait" => self.wait = Some(seconds_within(value, &WAIT).map_err(bad)?),
            "dropRaw" => self.drop_raw = flag(value).map_err(bad)?,
            "cache" => drop(flag(value).map_err(bad)?),
            _ => return Err(bad("unknown key".to_owned())),
        }
        Ok(())
    }

    /// Notes that a key was given, with a value of which somebody else told that it can't be read.
    pub fn skip(&mut self, key: &str) {
        self.given.push(key.to_owned());
    }

    fn is_given(&self, key: &str) -> bool {
        self.given.iter().any(|given| given == key)
    }

    /// What is given and not needed.
    pub fn notes(&self) -> Vec<Note> {
        let cache = self.is_given("cache").then(|| Note {
            key: "cache",
            message: "isn't needed: what a name comes to is remembered anyway, within bounds"
                .to_owned(),
        });
        cache.into_iter().collect()
    }

    /// Checks what is missing and what the keys mean together. Problems that [`set`](AggregationDraft::set) has told are
    /// not repeated.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish(self) -> Result<Aggregation, Vec<BadOption>> {
        let mut problems = Vec::new();
        for (key, expected) in [
            ("function", "expected what is computed, such as sum or avg"),
            ("format", "expected the name of what comes out"),
            (
                "interval",
                "expected the length of a window, such as 10 or \"10s\"",
            ),
            (
                "wait",
                "expected how long after its beginning a window is closed, such as 20 or \"20s\"",
            ),
        ] {
            if !self.is_given(key) {
                problems.push(BadOption::at(key, format!("missing: {expected}")));
            }
        }
        let (Some(function), Some(format), Some(interval), Some(wait)) =
            (self.function, self.format, self.interval, self.wait)
        else {
            return Err(problems);
        };
        let aggregation = Aggregation {
            function,
            patterns: self.patterns,
            format,
            interval,
            wait,
            drop_raw: self.drop_raw,
        };
        match aggregation.compile() {
            Ok(_) => Ok(aggregation),
            Err(bad) => {
                let said = bad.to_string();
                let message = said.strip_prefix(bad.key()).unwrap_or(&said);
                let message = message.trim_start_matches([':', ' ']).to_owned();
                Err(vec![BadOption::at(bad.key(), message)])
            }
        }
    }
}

fn function(text: &str) -> Result<Function, String> {
    let found = Function::ALL
        .into_iter()
        .find(|function| function.as_str() == text);
    found.ok_or_else(|| one_of(&Function::ALL.map(Function::as_str), text))
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("expected true or false, found {text:?}"))
}

/// Of each name that a template has and its expression lacks.
pub(super) fn unknown_groups(key: &'static str, names: &[String]) -> Vec<Note> {
    let note = |name: &String| {
        let digits = name.bytes().take_while(u8::is_ascii_digit).count();
        let meant = match digits {
            0 => String::new(),
            _ if digits == name.len() => String::new(),
            _ => format!(
                ": did you mean ${{{}}}{}?",
                &name[..digits],
                &name[digits..]
            ),
        };
        Note {
            key,
            message: format!(
                "the regular expression has no group {name:?}, so ${name} is empty{meant}"
            ),
        }
    };
    names.iter().map(note).collect()
}

impl Aggregation {
    /// Reads the words behind carbon-relay-ng's `addAgg`:
    /// `<function> [prefix=… … | <regex>] <format> <interval> <wait> [cache=…] [dropRaw=…]`.
    /// Beside it what is given and not needed, or most likely not meant.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<(Aggregation, Vec<Note>), String> {
        let known = [PATTERNS, &OPTIONS].concat();
        let (words, options) = words::apart(words::split(text)?, &known)?;
        let mut draft = AggregationDraft::default();
        let mut set = |key: &str, value: &str| draft.set(key, value).map_err(|bad| bad.to_string());
        let (function, format, interval, wait) = match &words[..] {
            [function, format, interval, wait] => (function, format, interval, wait),
            [function, regex, format, interval, wait] => {
                set("regex", regex)?;
                (function, format, interval, wait)
            }
            words => {
                return Err(format!(
                    "expected <function> [<regex>] <format> <interval> <wait>, found {} words",
                    words.len()
                ));
            }
        };
        set("function", function)?;
        set("format", format)?;
        set("interval", interval)?;
        set("wait", wait)?;
        for (key, value) in options {
            set(&key, &value)?;
        }
        let mut notes = draft.notes();
        let aggregation = draft.finish().map_err(|bad| {
            let said: Vec<String> = bad.iter().map(BadOption::to_string).collect();
            said.join("; ")
        })?;
        notes.extend(aggregation.notes());
        Ok((aggregation, notes))
    }

    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self) -> Result<Rule, BadAggregation> {
        Rule::new(
            self.function,
            &self.patterns,
            &self.format,
            self.interval,
            self.wait,
            self.drop_raw,
        )
    }

    /// What is most likely not meant; nothing, if it can't be compiled.
    pub fn notes(&self) -> Vec<Note> {
        let Ok(rule) = self.compile() else {
            return Vec::new();
        };
        let mut notes = unknown_groups("format", rule.unknown_groups());
        let (interval, wait) = (self.interval, self.wait);
        if wait < interval {
            let message = format!(
                "a window is closed {wait}s after its beginning, before its {interval}s are over: points of its \
                 rest will be too old"
            );
            notes.push(Note {
                key: "wait",
                message,
            });
        }
        if self.patterns.regex.is_empty() && self.format.contains('$') {
            let message = "without regex there are no groups: this is the name as it stands";
            notes.push(Note {
                key: "format",
                message: message.to_owned(),
            });
        }
        if self.patterns == Patterns::default() {
            notes.push(Note {
                key: "function",
                message: "without any pattern it takes every name".to_owned(),
            });
        }
        notes
    }

    /// An `[[aggregation]]` of a config file.
    pub fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned());
        let mut text = format!(
            "[[aggregation]]\nfunction = \"{}\"\n",
            self.function.as_str()
        );
        let mut patterns = self.patterns.clone();
        for key in PATTERNS {
            let value = pattern_field(&mut patterns, key).map(|value| &value[..]);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                text.push_str(&format!("{key} = {}\n", quoted(value)));
            }
        }
        let (format, interval, wait) = (quoted(&self.format), self.interval, self.wait);
        text.push_str(&format!(
            "format = {format}\ninterval = {interval}\nwait = {wait}\n"
        ));
        if self.drop_raw {
            text.push_str("dropRaw = true\n");
        }
        text
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&aggregate::canonical(
            self.function,
            &self.patterns,
            &self.format,
            self.interval,
            self.wait,
            self.drop_raw,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> String {
        Aggregation::parse(text).unwrap().0.to_string()
    }

    #[test]
    fn words_of_a_command() {
        for (text, expected) in [
            ("sum ^a\\.(.*) b.$1 10 20", "sum regex=^a\\.(.*) b.$1 10 20"),
            (
                "avg prefix=a sub=b all 1m 120s dropRaw=true",
                "avg prefix=a sub=b all 60 120 dropRaw=true",
            ),
            (
                "max regex=a=b all 10 20 cache=true dropRaw=false",
                "max regex=\"a=b\" all 10 20",
            ),
            (
                "max ^a=b unit=B.all 10 20",
                "max regex=\"^a=b\" \"unit=B.all\" 10 20",
            ),
            (
                "percentiles notRegex=\"a b\" all 10 20",
                "percentiles notRegex=\"a b\" all 10 20",
            ),
        ] {
            assert_eq!(parsed(text), expected);
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, said) in [
            (
                "",
                "expected <function> [<regex>] <format> <interval> <wait>, found 0 words",
            ),
            ("sun a 10 20", "function: expected avg, sum, count"),
            ("sun a 10 20", "did you mean sum?"),
            (
                "sum a 0 20",
                "interval: expected whole seconds from 1 to 2592000",
            ),
            ("sum a 1.5s 20", "interval: expected whole seconds"),
            ("sum a 10 x", "wait: expected whole seconds"),
            (
                "sum ( a 10 20",
                "regex: regex \"(\" is not a regular expression: unclosed group",
            ),
            ("sum regex=b c a 10 20", "regex: given twice"),
            (
                "sum prefx=b a 10 20",
                "prefx: unknown option: did you mean prefix?",
            ),
            (
                "sum a 10 20 dropRaw=yes",
                "dropRaw: expected true or false, found \"yes\"",
            ),
            (
                "sum \"a b\" 10 20",
                "format: expected a name without blanks",
            ),
            ("sum \"\" 10 20", "format: expected a name"),
        ] {
            let error = Aggregation::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn notes() {
        let notes = |text| {
            let notes = Aggregation::parse(text).unwrap().1.into_iter();
            notes
                .map(|note| (note.key, note.message))
                .collect::<Vec<_>>()
        };
        assert_eq!(notes("sum (a) ${1}x 10 10"), []);
        let said = notes("sum (a) $1x 10 9 cache=false");
        assert_eq!(
            said.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
            ["cache", "format", "wait"]
        );
        assert!(said[1].1.ends_with("did you mean ${1}x?"), "{said:?}");
        assert_eq!(notes("sum a.$1 10 10")[0].0, "format");
    }

    proptest! {
        #[test]
        fn it_reads_back(
            function in 0..Function::ALL.len(), values in prop::collection::vec("[a=\" .]{0,4}", 6),
            format in "[a=\"$.]{1,5}", interval in 1u32..100, wait in 1u32..100, drop_raw: bool,
        ) {
            let mut patterns = Patterns::default();
            for (key, value) in PATTERNS.iter().zip(values) {
                *pattern_field(&mut patterns, key).unwrap() = value;
            }
            let function = Function::ALL[function];
            let aggregation = Aggregation { function, patterns, format, interval, wait, drop_raw };
            prop_assume!(aggregation.compile().is_ok());
            let text = aggregation.to_string();
            prop_assert_eq!(&aggregation.compile().unwrap().text, &text);
            prop_assert_eq!(&Aggregation::parse(&text).unwrap().0, &aggregation);
            let toml = format!("listen.line = [\"unix:a\"]\n{}", aggregation.to_toml());
            let table: toml::Table = toml.parse().unwrap();
            prop_assert_eq!(table["aggregation"][0]["format"].as_str(), Some(&aggregation.format[..]));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Aggregation::parse(&text);
        }
    }
}
