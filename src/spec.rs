//! Strings that mean rules and destinations.
//!
//! The config file and every command that changes the table at run time read the same words with
//! the same code, so that a destination means the same wherever it is written:
//!
//! ```text
//! 127.0.0.1:2003:a queue=16MiB full=drop prefix=prod. regex="cpu [0-9]"
//! └── address ───┘ └── options ────────────────────────────────────────┘
//! ```

mod address;
mod aggregation;
mod choice;
mod destination;
mod draft;
mod nearest;
mod relay_ng;
mod rewriter;
mod spool;
mod units;
mod words;

pub use address::{Address, BadAddress};
pub use aggregation::{Aggregation, AggregationDraft, seconds_within};
pub use choice::{CHOICE, Choice, FAILBACK};
pub use destination::{BadDestination, Destination, Full};
pub use draft::{BadOption, Draft, OPTIONS};
pub use nearest::nearest;
pub use relay_ng::{Translated, destination_of_relay_ng};
pub use rewriter::Rewriter;
pub use spool::{BadReplayFrom, Replay, ReplayFrom, Spool, SpoolFull};
pub use units::{BadUnit, ByteSize, duration_within, parse_duration, show_duration, size_within};
pub use words::{Word, at_two_blanks, quoted, split};

use crate::route::{Patterns, RouteKind};

/// Something about a rule that can be run and is most likely not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The key that it is about, as the config file has it.
    pub key: &'static str,
    /// What will happen.
    pub message: String,
}

/// The options that say which names are taken, as they are written: all that are set must hold.
pub const PATTERNS: &[&str] = &["prefix", "notPrefix", "sub", "notSub", "regex", "notRegex"];

/// A route as it was asked for; the routing table compiles it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, unique in the table.
    pub key: String,
    /// Which of its destinations take a line.
    pub kind: RouteKind,
    /// How it chooses them, beside that.
    pub choice: Choice,
    /// Which lines it takes.
    pub patterns: Patterns,
    /// At least one, no two with the same address.
    pub destinations: Vec<Destination>,
}

/// Reads a route's kind; an error names the kinds there are.
pub fn parse_route_kind(text: &str) -> Result<RouteKind, String> {
    text.parse()
        .map_err(|_| one_of(&RouteKind::ALL.map(RouteKind::as_str), text))
}

/// The field of `patterns` that one of [`PATTERNS`] sets.
pub fn pattern_field<'a>(patterns: &'a mut Patterns, option: &str) -> Option<&'a mut String> {
    Some(match option {
        "prefix" => &mut patterns.prefix,
        "notPrefix" => &mut patterns.not_prefix,
        "sub" => &mut patterns.sub,
        "notSub" => &mut patterns.not_sub,
        "regex" => &mut patterns.regex,
        "notRegex" => &mut patterns.not_regex,
        _ => return None,
    })
}

/// Says what a single pattern would do wrong. Each is compiled alone, so that the error names its
/// own key.
pub fn check_pattern(option: &str, expression: &str) -> Result<(), String> {
    let mut alone = Patterns::default();
    if let Some(field) = pattern_field(&mut alone, option) {
        *field = expression.to_owned();
    }
    crate::route::Matcher::new(&alone)
        .map(drop)
        .map_err(|e| one_line(&e.to_string()))
}

/// The longest key of a route and id of a destination, in bytes: both are labels in logs and
/// metrics.
pub const MAX_NAME: usize = 100;

/// Checks a route's key or a destination's id: it is a word in commands, and a label.
pub fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("expected a name, found an empty one".to_owned());
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!(
            "expected a name without blanks and control characters, found {text:?}"
        ));
    }
    if text.len() > MAX_NAME {
        return Err(format!(
            "expected a name of at most {MAX_NAME} bytes, found one of {}",
            text.len()
        ));
    }
    Ok(())
}

/// `expected a, b or c, found "d"`, with the nearest of them.
pub fn one_of(allowed: &[&str], found: &str) -> String {
    let (last, rest) = allowed.split_last().expect("a choice has choices");
    let list = match rest {
        [] => (*last).to_owned(),
        _ => format!("{} or {last}", rest.join(", ")),
    };
    match nearest(found, allowed) {
        Some(near) => format!("expected {list}, found {found:?}: did you mean {near}?"),
        None => format!("expected {list}, found {found:?}"),
    }
}

/// The one of several that is written so; an error names them.
fn chosen<T: Copy>(text: &str, all: &[T], as_str: fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().find(|choice| as_str(**choice) == text);
    found.copied().ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|choice| as_str(*choice)).collect();
        one_of(&words, text)
    })
}

/// A regular expression's error is a drawing of several lines; a problem is one line.
pub fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim);
    let said = lines.filter(|line| !line.is_empty() && line.chars().any(|c| c != '^' && c != ' '));
    said.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_name_has_its_own_field() {
        let mut patterns = Patterns::default();
        for name in PATTERNS {
            let field = pattern_field(&mut patterns, name).unwrap();
            assert_eq!(*field, "", "{name} shares a field");
            *field = (*name).to_owned();
        }
        assert_eq!(patterns.not_regex, "notRegex");
        assert!(pattern_field(&mut patterns, "substr").is_none());
    }

    #[test]
    fn every_route_kind_is_read() {
        for kind in RouteKind::ALL {
            assert_eq!(parse_route_kind(kind.as_str()), Ok(kind));
        }
        assert_eq!(
            parse_route_kind("sendAllmatch").unwrap_err(),
            "expected sendAllMatch, sendFirstMatch, consistentHashing, consistentHashing-v2, carbon_ch, fnv1a_ch, \
             jump_fnv1a_ch, any_of, failover or roundRobin, found \"sendAllmatch\": did you mean sendAllMatch?"
        );
    }

    #[test]
    fn a_bad_expression_is_told_in_one_line() {
        let said = check_pattern("regex", "foo(").unwrap_err();
        assert!(
            said.contains("unclosed group") && !said.contains('\n'),
            "{said}"
        );
        check_pattern("prefix", "foo(").unwrap();
    }

    #[test]
    fn names_are_printable_words() {
        check_name("carbon-default").unwrap();
        check_name("zürich").unwrap();
        for bad in ["", "a b", "a\tb", "a\u{7f}", "a\u{a0}b"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        check_name(&"x".repeat(MAX_NAME)).unwrap();
        assert!(
            check_name(&"x".repeat(MAX_NAME + 1))
                .unwrap_err()
                .contains("100 bytes")
        );
    }
}
