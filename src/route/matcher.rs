//! The conditions that routes, destinations and blocklist put on a name.
//!
//! Most conditions are prefixes, and a table asks many of them about each name. So the first sixteen bytes of the name
//! are one word, loaded once, and a prefix is a comparison with it; all else is behind one pointer.

use std::sync::{Arc, OnceLock};

use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::{index, literals::Literals};

/// What the `regex` crate allows an expression.
const EXPRESSION: usize = 10 << 20;

/// The six conditions as written; an empty one is not set. All that are set must hold.
/// The names are carbon-relay-ng's.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Patterns {
    /// What the name begins with.
    pub prefix: String,
    /// What it doesn't begin with.
    pub not_prefix: String,
    /// What it contains.
    pub sub: String,
    /// What it doesn't contain.
    pub not_sub: String,
    /// A regular expression that matches somewhere in the name.
    pub regex: String,
    /// One that doesn't.
    pub not_regex: String,
}

impl Patterns {
    /// Each with its name, as configuration files and commands spell it; empty ones too.
    pub fn named(&self) -> [(&'static str, &str); 6] {
        [
            ("prefix", &self.prefix),
            ("notPrefix", &self.not_prefix),
            ("sub", &self.sub),
            ("notSub", &self.not_sub),
            ("regex", &self.regex),
            ("notRegex", &self.not_regex),
        ]
    }
}

/// A regular expression that can't be compiled.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{key} {expression:?} is not a regular expression: {}", summary(.source))]
pub struct BadPattern {
    /// `regex` or `notRegex`.
    pub key: &'static str,
    /// The expression as written.
    pub expression: String,
    /// Where in it the fault lies, in several lines.
    pub source: regex::Error,
}

/// The last line of the error, which says what is wrong: answers and logs have room for one.
fn summary(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Conditions made ready to be asked. They see the name with its tags, never value or timestamp.
///
/// Regular expressions are of the `regex` crate's kind: unanchored, without look-around, linear in time. They work on
/// bytes, but `.` and classes mean UTF-8 characters, unless the expression says `(?-u)`.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The first bytes asked for, and which bytes of the word they are.
    head: u128,
    mask: u128,
    /// Each new table has the same ones: to copy an expression takes long.
    more: Option<Arc<Conditions>>,
}

/// What a comparison of the first sixteen bytes can't decide.
#[derive(Debug, Clone, Default)]
struct Conditions {
    prefix: Option<Vec<u8>>,
    not_prefix: Option<Vec<u8>>,
    sub: Option<Finder<'static>>,
    not_sub: Option<Finder<'static>>,
    regex: Option<Arc<Regex>>,
    not_regex: Option<Arc<Regex>>,
    /// What `regex` requires, once it was asked for: to find out takes long, and each new table asks.
    required: Arc<OnceLock<Vec<Literals>>>,
}

/// The condition that a literal is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clue {
    Prefix,
    Sub,
    Regex,
}

/// A name about to be matched by many.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    name: &'a [u8],
    /// The same, and what is behind it.
    line: &'a [u8],
    head: u128,
}

impl<'a> Subject<'a> {
    /// With its tags.
    #[inline]
    pub fn new(name: &'a [u8]) -> Subject<'a> {
        Subject::within(name, name.len())
    }

    /// The first bytes of a line, whose others save the search a copy.
    #[inline]
    pub fn within(line: &'a [u8], size: usize) -> Subject<'a> {
        let name = &line[..size];
        Subject {
            name,
            line,
            head: head(name),
        }
    }

    /// The name.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// What the name is the beginning of: itself, or a line.
    #[inline]
    pub fn line(&self) -> &'a [u8] {
        self.line
    }
}

/// How many bytes of a name its head holds.
const HEAD: usize = size_of::<u128>();

/// The first sixteen bytes, zeros behind a shorter text.
#[inline]
fn head(text: &[u8]) -> u128 {
    match text.first_chunk::<HEAD>() {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => short_head(text),
    }
}

fn short_head(text: &[u8]) -> u128 {
    let word = |bytes: &[u8; 8]| u128::from(u64::from_le_bytes(*bytes));
    match (text.first_chunk(), text.last_chunk()) {
        // The halves overlap: where they do they agree.
        (Some(first), Some(last)) => word(first) | word(last) << (8 * (text.len() - 8)),
        _ => text
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u128::from(byte)),
    }
}

impl Matcher {
    /// Compiles the conditions.
    ///
    /// # Errors
    /// When `regex` or `notRegex` is no regular expression, or one that takes too much memory.
    pub fn new(patterns: &Patterns) -> Result<Matcher, BadPattern> {
        Matcher::within(EXPRESSION, patterns)
    }

    /// Compiles them, each expression to at most so many bytes.
    ///
    /// # Errors
    /// As [`Matcher::new`].
    pub fn within(size_limit: usize, patterns: &Patterns) -> Result<Matcher, BadPattern> {
        let prefix = patterns.prefix.as_bytes();
        let size = prefix.len().min(HEAD);
        let mask = head(&[0xff; HEAD][..size]);
        // A zero byte in a prefix could not be told from the padding of a short name.
        let decided_by_head = size == prefix.len() && !prefix.contains(&0);
        let set = |text: &String| (!text.is_empty()).then(|| text.clone());
        let finder =
            |text: &String| set(text).map(|text| Finder::new(text.as_bytes()).into_owned());
        let conditions = Conditions {
            prefix: (!decided_by_head).then(|| prefix.to_vec()),
            not_prefix: set(&patterns.not_prefix).map(String::into_bytes),
            sub: finder(&patterns.sub),
            not_sub: finder(&patterns.not_sub),
            regex: compile("regex", &patterns.regex, size_limit)?,
            not_regex: compile("notRegex", &patterns.not_regex, size_limit)?,
            required: Arc::default(),
        };
        let others = Patterns {
            prefix: String::new(),
            ..patterns.clone()
        };
        let needed = !decided_by_head || others != Patterns::default();
        Ok(Matcher {
            head: head(prefix),
            mask,
            more: needed.then(|| Arc::new(conditions)),
        })
    }

    /// Without conditions.
    pub fn all() -> Matcher {
        Matcher {
            head: 0,
            mask: 0,
            more: None,
        }
    }

    /// Whether it takes more than a few comparisons to ask it.
    pub(super) fn is_costly(&self) -> bool {
        self.more.as_ref().is_some_and(|conditions| {
            let regexes = [&conditions.regex, &conditions.not_regex];
            regexes.into_iter().any(Option::is_some)
        })
    }

    /// Whether there are no conditions: it accepts every name.
    #[inline]
    pub fn accepts_all(&self) -> bool {
        self.mask == 0 && self.more.is_none()
    }

    /// An expression that matches every name that it accepts.
    pub(super) fn expression(&self) -> Option<&str> {
        let regex = self.more.as_ref()?.regex.as_ref()?;
        Some(regex.as_str())
    }

    /// Whether a name that it accepts must hold certain literals, so that it need not be asked about others. One that
    /// can't be found so is asked about every name.
    pub fn has_literal(&self) -> bool {
        !self.choices().is_empty()
    }

    /// The literals by which it can be found: several choices, each enough by itself.
    pub fn choices(&self) -> Vec<Literals> {
        self.clues()
            .into_iter()
            .map(|(_, literals)| literals)
            .collect()
    }

    /// What is left to be asked of a name that was found by the choice of this number.
    pub(super) fn rest(&self, choice: usize) -> Matcher {
        let mut rest = self.clone();
        let Some((clue, literals)) = self.clues().into_iter().nth(choice) else {
            return rest;
        };
        if !literals.suffice || !literals.any.iter().all(index::is_whole) {
            return rest;
        }
        if clue == Clue::Prefix {
            (rest.head, rest.mask) = (0, 0);
        }
        if let Some(conditions) = &mut rest.more {
            let conditions = Arc::make_mut(conditions);
            match clue {
                Clue::Prefix => conditions.prefix = None,
                Clue::Sub => conditions.sub = None,
                Clue::Regex => conditions.regex = None,
            }
            if conditions.are_none() {
                rest.more = None;
            }
        }
        rest
    }

    fn clues(&self) -> Vec<(Clue, Literals)> {
        let mut clues = Vec::new();
        let conditions = self.more.as_deref();
        let head = &self.head.to_le_bytes()[..self.mask.count_ones() as usize / 8];
        let prefix = conditions.and_then(|conditions| conditions.prefix.as_deref());
        let prefix = Literals::of_prefix(prefix.unwrap_or(head));
        clues.extend(prefix.map(|prefix| (Clue::Prefix, prefix)));
        if let Some(conditions) = conditions {
            let sub = conditions.sub.as_ref();
            let sub = sub.and_then(|sub| Literals::of_text(sub.needle()));
            clues.extend(sub.map(|sub| (Clue::Sub, sub)));
            if let Some(regex) = &conditions.regex {
                let required = || Literals::of_expression(regex.as_str());
                let choices = conditions.required.get_or_init(required);
                clues.extend(choices.iter().map(|choice| (Clue::Regex, choice.clone())));
            }
        }
        clues
    }

    /// Whether all conditions hold.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.accepts(&Subject::new(name))
    }

    /// The same for a name that others are asked about as well.
    #[inline]
    pub fn accepts(&self, subject: &Subject) -> bool {
        if (subject.head ^ self.head) & self.mask != 0 {
            return false;
        }
        match &self.more {
            None => true,
            Some(conditions) => conditions.hold(subject.name),
        }
    }
}

fn compile(
    key: &'static str,
    expression: &str,
    size_limit: usize,
) -> Result<Option<Arc<Regex>>, BadPattern> {
    if expression.is_empty() {
        return Ok(None);
    }
    match RegexBuilder::new(expression).size_limit(size_limit).build() {
        Ok(regex) => Ok(Some(Arc::new(regex))),
        Err(source) => Err(BadPattern {
            key,
            expression: expression.to_owned(),
            source,
        }),
    }
}

impl Conditions {
    fn are_none(&self) -> bool {
        let Conditions {
            prefix,
            not_prefix,
            sub,
            not_sub,
            regex,
            not_regex,
            required: _,
        } = self;
        prefix.is_none()
            && not_prefix.is_none()
            && sub.is_none()
            && not_sub.is_none()
            && regex.is_none()
            && not_regex.is_none()
    }

    /// The cheap ones first.
    fn hold(&self, name: &[u8]) -> bool {
        self.prefix
            .as_ref()
            .is_none_or(|prefix| name.starts_with(prefix))
            && !self
                .not_prefix
                .as_ref()
                .is_some_and(|prefix| name.starts_with(prefix))
            && self.sub.as_ref().is_none_or(|sub| sub.find(name).is_some())
            && self
                .not_sub
                .as_ref()
                .is_none_or(|sub| sub.find(name).is_none())
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(name))
            && !self
                .not_regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn prefixes_of_any_length(name in "(ab|a|\0){0,12}", prefix in "(ab|a|\0){0,12}") {
            let patterns = Patterns { prefix: prefix.clone(), ..Patterns::default() };
            prop_assert_eq!(Matcher::new(&patterns).unwrap().matches(name.as_bytes()), name.starts_with(&prefix));
            let patterns = Patterns { not_prefix: prefix.clone(), ..Patterns::default() };
            let expected = prefix.is_empty() || !name.starts_with(&prefix);
            prop_assert_eq!(Matcher::new(&patterns).unwrap().matches(name.as_bytes()), expected);
        }
    }

    #[test]
    fn a_bad_expression_is_named_in_one_line() {
        let patterns = Patterns {
            not_regex: "a(".to_owned(),
            ..Patterns::default()
        };
        let error = Matcher::new(&patterns).unwrap_err();
        assert_eq!(
            error.to_string(),
            "notRegex \"a(\" is not a regular expression: unclosed group"
        );
    }

    #[test]
    fn expressions_work_on_bytes_that_are_not_utf8() {
        let patterns = Patterns {
            regex: r"^a\.\xe9(?-u:.)b$".to_owned(),
            ..Patterns::default()
        };
        let matcher = Matcher::new(&patterns).unwrap();
        assert!(matcher.matches(b"a.\xc3\xa9\xffb"));
        assert!(!matcher.matches(b"a.\xe9\xffb"));
    }
}
