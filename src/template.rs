//! A regular expression and a template that its groups fill: `^(\w+)\.cpu` and `sum.${1}`.
//!
//! `$1`, `${1}`, `$name` and `${name}` stand for a group, `$$` for a dollar. As in Go and in carbon-relay-ng, a name
//! without braces is as long as it can be: `$1x` is a group called `1x`. One that isn't there is empty.

use std::borrow::Cow;

use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::{iter::Searcher, primitives::NonMaxUsize, syntax};
use regex_automata::{Input, Match};

/// What the `regex` crate allows an expression: hostile ones must not take a worker's memory.
const EXPRESSION: usize = 10 << 20;
const CACHE: usize = 2 << 20;

/// Groups of a match up to this one are kept on the stack.
const GROUPS: usize = 10;

/// An expression and what becomes of its matches. Bytes, not UTF-8; `.` and classes mean UTF-8 characters, unless the
/// expression says `(?-u)`.
#[derive(Debug, Clone)]
pub struct Template {
    regex: Regex,
    pieces: Vec<Piece>,
    /// How many groups the pieces ask for, the whole match included.
    groups: usize,
    unknown: Vec<String>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Group(usize),
}

/// A regular expression that can't be compiled.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{expression:?} is not a regular expression: {}", summary(.source))]
pub struct BadExpression {
    /// As written.
    pub expression: String,
    /// Where in it the fault lies, in several lines.
    pub source: Box<BuildError>,
}

/// The last line of what says what is wrong: answers and logs have room for one.
fn summary(error: &BuildError) -> String {
    let text = match error.syntax_error() {
        Some(error) => error.to_string(),
        None if error.size_limit().is_some() => format!("it takes more than {EXPRESSION} bytes"),
        None => error.to_string(),
    };
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Compiles an expression that works on bytes, as matchers do.
///
/// # Errors
/// When it is none, or one that takes too much memory.
pub fn compile(expression: &str) -> Result<Regex, BadExpression> {
    let config = Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(EXPRESSION))
        .hybrid_cache_capacity(CACHE);
    Regex::builder()
        .configure(config)
        .syntax(syntax::Config::new().utf8(false))
        .build(expression)
        .map_err(|source| BadExpression {
            expression: expression.to_owned(),
            source: Box::new(source),
        })
}

impl Template {
    /// Compiles the expression, and finds its groups in the template.
    ///
    /// # Errors
    /// When the expression is none, or one that takes too much memory.
    pub fn new(expression: &str, template: &str) -> Result<Template, BadExpression> {
        let regex = compile(expression)?;
        let mut made = Template {
            regex,
            pieces: Vec::new(),
            groups: 1,
            unknown: Vec::new(),
        };
        made.read(template);
        Ok(made)
    }

    /// The names that the template has and the expression lacks; they are empty in what comes out.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Appends the template, filled by the first match. False: nothing matches, nothing is appended.
    pub fn expand_first(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        self.with_slots(|slots| {
            let Some(_) = self.search(&Input::new(name), slots) else {
                return false;
            };
            self.fill(name, slots, to);
            true
        })
    }

    /// Appends the name with every match replaced by the template. False: nothing matches, nothing is appended.
    pub fn replace_all(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        self.with_slots(|slots| {
            // It knows what to do about empty matches.
            let mut searcher = Searcher::new(Input::new(name));
            let mut copied = None;
            while let Some(found) = searcher.advance(|input| Ok(self.search(input, slots))) {
                to.extend_from_slice(&name[copied.unwrap_or(0)..found.start()]);
                self.fill(name, slots, to);
                copied = Some(found.end());
            }
            if let Some(copied) = copied {
                to.extend_from_slice(&name[copied..]);
            }
            copied.is_some()
        })
    }

    /// Gives room for the groups that are asked for: on the stack, but for templates that nobody writes.
    fn with_slots<T>(&self, run: impl FnOnce(&mut [Option<NonMaxUsize>]) -> T) -> T {
        if self.groups <= GROUPS {
            run(&mut [None; 2 * GROUPS][..2 * self.groups])
        } else {
            run(&mut vec![None; 2 * self.groups])
        }
    }

    fn search(&self, input: &Input, slots: &mut [Option<NonMaxUsize>]) -> Option<Match> {
        let pattern = self.regex.search_slots(input, slots)?;
        let (start, end) = (slots[0]?.get(), slots[1]?.get());
        Some(Match::new(pattern, start..end))
    }

    fn fill(&self, name: &[u8], slots: &[Option<NonMaxUsize>], to: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => to.extend_from_slice(text),
                Piece::Group(group) => {
                    if let [Some(start), Some(end)] = slots[2 * group..2 * group + 2] {
                        to.extend_from_slice(&name[start.get()..end.get()]);
                    }
                }
            }
        }
    }

    fn read(&mut self, template: &str) {
        let mut rest = template;
        while let Some(dollar) = rest.find('$') {
            self.text(&rest[..dollar]);
            rest = &rest[dollar + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                self.text("$");
                rest = after;
            } else if let Some((name, after)) = group(rest) {
                self.group(name);
                rest = after;
            } else {
                self.text("$");
            }
        }
        self.text(rest);
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.extend_from_slice(text.as_bytes()),
            _ if text.is_empty() => {}
            _ => self.pieces.push(Piece::Text(text.as_bytes().to_vec())),
        }
    }

    fn group(&mut self, name: &str) {
        let info = self.regex.group_info();
        let index = match name.bytes().all(|byte| byte.is_ascii_digit()) {
            true => name.parse().ok(),
            false => info.to_index(regex_automata::PatternID::ZERO, name),
        };
        match index.filter(|index| *index < self.regex.captures_len()) {
            Some(index) => {
                self.groups = self.groups.max(index + 1);
                self.pieces.push(Piece::Group(index));
            }
            None => self.unknown.push(name.to_owned()),
        }
    }
}

/// The name of a group after its dollar, and what follows; `None` where the dollar is an ordinary character.
fn group(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let (inner, braces) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let end = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    let after = if braces {
        after.strip_prefix('}')?
    } else {
        after
    };
    (!name.is_empty()).then_some((name, after))
}

/// A text as it stands in a rule's canonical text, where blanks divide words and `key=value` is an option: in quotes
/// if it must be, quotes inside doubled.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_blank = |c: char| c.is_ascii_whitespace() || matches!(c, '\u{b}' | '=');
    if text.is_empty() || text.starts_with('"') || text.contains(is_blank) {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(expression: &str, template: &str, name: &[u8]) -> Option<Vec<u8>> {
        let mut to = Vec::new();
        let template = Template::new(expression, template).unwrap();
        template.expand_first(name, &mut to).then_some(to)
    }

    #[test]
    fn names_that_are_no_group_are_told() {
        let template = Template::new("(?P<n>a)(b)", "$1x ${2} $n ${n} $3 $_ ${0}").unwrap();
        assert_eq!(template.unknown(), ["1x", "3", "_"]);
    }

    #[test]
    fn a_dollar_that_names_nothing_is_one() {
        for (template, expected) in [
            ("a$", "a$"),
            ("$.b", "$.b"),
            ("${", "${"),
            ("${a", "${a"),
            ("${}x", "${}x"),
            ("${a-b}", "${a-b}"),
            ("$$1", "$1"),
            ("", ""),
        ] {
            assert_eq!(first("(.)", template, b"z").unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn more_groups_than_the_stack_has_room_for() {
        let expression = "(.)".repeat(24);
        let name = b"abcdefghijklmnopqrstuvwxyz";
        assert_eq!(first(&expression, "$24$1", name).unwrap(), b"xa");
    }

    #[test]
    fn bytes_that_are_not_utf8_pass() {
        let to = first(r"^a\.(?-u:(.+))\.b", "$1", b"a.\xff\xe9.b").unwrap();
        assert_eq!(to, b"\xff\xe9");
    }

    #[test]
    fn a_group_that_took_no_part_is_empty() {
        assert_eq!(first("(a)|(b)", "<$1$2>", b"b").unwrap(), b"<b>");
    }

    #[test]
    fn what_is_no_expression_is_told_in_one_line() {
        for (expression, said) in [
            ("(", "\"(\" is not a regular expression: unclosed group"),
            (r"\w{999}{999}", "it takes more than 10485760 bytes"),
        ] {
            let error = Template::new(expression, "").unwrap_err().to_string();
            assert!(error.ends_with(said), "{error}");
        }
    }

    proptest! {
        /// The `regex` crate has the same templates.
        #[test]
        fn as_the_regex_crate_expands(
            expression in "(a|b|\\(|\\)|\\(\\?P<n>|\\.|[*?+|^]|.){0,8}",
            template in "([$]|[{}]|[a-cn]|[0-3]|_|x){0,10}",
            name in "[abc.]{0,12}",
        ) {
            let Ok(regex) = regex::bytes::Regex::new(&expression) else {
                prop_assert!(compile(&expression).is_err());
                return Ok(());
            };
            // Where Go and it differ: anything may stand in braces there.
            prop_assume!(!template.contains("${") || template.split("${").skip(1).all(|rest| group(&format!("{{{rest}")).is_some()));
            let made = Template::new(&expression, &template).unwrap();
            let expected = regex.replace_all(name.as_bytes(), template.as_bytes());
            let mut to = b"before".to_vec();
            let matched = made.replace_all(name.as_bytes(), &mut to);
            prop_assert_eq!(matched, regex.is_match(name.as_bytes()));
            if matched {
                prop_assert_eq!(&to[6..], &expected[..]);
            } else {
                prop_assert_eq!(&to[..], b"before");
            }
        }
    }
}
