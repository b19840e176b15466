//! Rewriters: what a metric is called from here on.
//!
//! `old` and `new` are plain text, of which the first `max` occurrences are replaced, or `old` is `/a regular
//! expression/` and `new` a template of its groups. `not`, text or `/expression/`, names the metrics that stay as they
//! are. All as carbon-relay-ng has them, on the name with its tags.

use memchr::memmem::Finder;
use regex_automata::meta::Regex;

use crate::route::{self, Literals};
use crate::template::{BadExpression, Template, compile, quoted};

/// A rewriter, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rewriter {
    text: String,
    old: String,
    change: Change,
    not: Option<Condition>,
}

#[derive(Debug, Clone)]
enum Change {
    Text {
        old: Box<Finder<'static>>,
        new: Vec<u8>,
        /// `None`: all of them.
        max: Option<usize>,
    },
    Expression(Template),
}

#[derive(Debug, Clone)]
enum Condition {
    Text(Box<Finder<'static>>),
    Expression(Regex),
}

/// What a name must have for a rewriter to change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs<'a> {
    /// It contains this text.
    Text(&'a str),
    /// It matches this regular expression.
    Expression(&'a str),
}

/// What is no rewriter.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BadRewriter {
    /// There is nothing to replace.
    #[error("old: expected a text or /a regular expression/, found an empty one")]
    Old,
    /// Fewer than none.
    #[error("max: expected how many occurrences are replaced, or -1 for all, found {0}")]
    Max(i64),
    /// An expression replaces all of its matches.
    #[error("max: expected -1, since old is a regular expression, found {0}")]
    MaxOfExpression(i64),
    /// `old` or `not` is in slashes, and can't be compiled.
    #[error("{key}: {source}")]
    Expression {
        /// `old` or `not`.
        key: &'static str,
        /// What is wrong with it.
        source: BadExpression,
    },
}

impl BadRewriter {
    /// Which of `old`, `new`, `not`, `max` it is about.
    pub fn key(&self) -> &'static str {
        match self {
            BadRewriter::Old => "old",
            BadRewriter::Max(_) | BadRewriter::MaxOfExpression(_) => "max",
            BadRewriter::Expression { key, .. } => key,
        }
    }
}

/// The expression between slashes. A single slash is a text.
fn in_slashes(text: &str) -> Option<&str> {
    text.strip_prefix('/')?.strip_suffix('/')
}

impl Rewriter {
    /// Compiles a rewriter. `max` is how many occurrences are replaced, -1: all.
    ///
    /// # Errors
    /// When `old` is empty, `max` is below -1, or isn't -1 for an expression, or an expression is none.
    pub fn new(old: &str, new: &str, not: &str, max: i64) -> Result<Rewriter, BadRewriter> {
        let bad = |key| move |source| BadRewriter::Expression { key, source };
        let text = canonical(old, new, not, max);
        if old.is_empty() {
            return Err(BadRewriter::Old);
        }
        if max < -1 {
            return Err(BadRewriter::Max(max));
        }
        let change = match in_slashes(old) {
            Some(_) if max != -1 => return Err(BadRewriter::MaxOfExpression(max)),
            Some(expression) => {
                Change::Expression(Template::new(expression, new).map_err(bad("old"))?)
            }
            None => Change::Text {
                old: Box::new(Finder::new(old).into_owned()),
                new: new.as_bytes().to_vec(),
                max: usize::try_from(max).ok(),
            },
        };
        let not = match in_slashes(not) {
            _ if not.is_empty() => None,
            Some(expression) => Some(Condition::Expression(
                compile(expression).map_err(bad("not"))?,
            )),
            None => Some(Condition::Text(Box::new(Finder::new(not).into_owned()))),
        };
        Ok(Rewriter {
            text,
            old: old.to_owned(),
            change,
            not,
        })
    }

    /// The canonical text, `old new max` and `not=…`: what the rewriter is known by.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What every name has that this changes; a name that has it may yet stay as it is.
    pub fn needs(&self) -> Needs<'_> {
        match in_slashes(&self.old) {
            Some(expression) => Needs::Expression(expression),
            None => Needs::Text(&self.old),
        }
    }

    /// The groups that `new` names and `old` lacks; they are empty in what comes out.
    pub fn unknown_groups(&self) -> &[String] {
        match &self.change {
            Change::Expression(template) => template.unknown(),
            Change::Text { .. } => &[],
        }
    }

    /// Appends the name as it is to be, if this changes it. False: it stays as it is, nothing is appended. Whether the
    /// result is a valid name isn't judged here.
    pub fn rewrite(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        let start = to.len();
        let found = match &self.change {
            _ if self.is_excepted(name) => false,
            Change::Text { old, new, max } => replace(name, old, new, *max, to),
            Change::Expression(template) => template.replace_all(name, to),
        };
        // A text may be replaced by itself.
        if found && to[start..] != *name {
            return true;
        }
        to.truncate(start);
        false
    }

    fn is_excepted(&self, name: &[u8]) -> bool {
        match &self.not {
            None => false,
            Some(Condition::Text(text)) => text.find(name).is_some(),
            Some(Condition::Expression(regex)) => regex.is_match(name),
        }
    }
}

impl route::Rewrite for Rewriter {
    fn rewrite(&self, name: &[u8], to: &mut Vec<u8>) -> bool {
        Rewriter::rewrite(self, name, to)
    }

    fn literals(&self) -> Vec<Literals> {
        match self.needs() {
            Needs::Text(text) => Literals::of_text(text.as_bytes()).into_iter().collect(),
            Needs::Expression(expression) => Literals::of_expression(expression),
        }
    }
}

/// The canonical text of a rewriter, whether it can be compiled or not.
pub fn canonical(old: &str, new: &str, not: &str, max: i64) -> String {
    let text = format!("{} {} {max}", quoted(old), quoted(new));
    match not {
        "" => text,
        not => format!("{text} not={}", quoted(not)),
    }
}

fn replace(name: &[u8], old: &Finder, new: &[u8], max: Option<usize>, to: &mut Vec<u8>) -> bool {
    let mut copied = 0;
    let found = old.find_iter(name).take(max.unwrap_or(usize::MAX));
    for at in found {
        to.extend_from_slice(&name[copied..at]);
        to.extend_from_slice(new);
        copied = at + old.needle().len();
    }
    if copied > 0 {
        to.extend_from_slice(&name[copied..]);
    }
    copied > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(old: &str, new: &str, not: &str, max: i64) -> String {
        Rewriter::new(old, new, not, max).unwrap().text().to_owned()
    }

    #[test]
    fn the_text_tells_rewriters_apart() {
        assert_eq!(text("a", "b", "", -1), "a b -1");
        assert_eq!(text("a b", "", "c=", 2), "\"a b\" \"\" 2 not=\"c=\"");
        assert_eq!(text("/a/", "x=$1", "/c/", -1), "/a/ \"x=$1\" -1 not=/c/");
    }

    #[test]
    fn what_a_name_needs() {
        let rewriter = |old| Rewriter::new(old, "", "", -1).unwrap();
        assert_eq!(rewriter("/").needs(), Needs::Text("/"));
        assert_eq!(rewriter("/^a/").needs(), Needs::Expression("^a"));
        assert_eq!(rewriter("/X/i").needs(), Needs::Text("/X/i"));
    }

    #[test]
    fn errors_name_the_key() {
        let error = |old, not, max| Rewriter::new(old, "", not, max).unwrap_err();
        assert_eq!(error("", "", -1).key(), "old");
        assert_eq!(error("a", "", -2).key(), "max");
        assert_eq!(error("/a/", "", 1).key(), "max");
        assert_eq!(error("/(/", "", -1).key(), "old");
        assert_eq!(error("a", "/(/", -1).key(), "not");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_kept() {
        let rewriter = Rewriter::new("a", "ä", "", 1).unwrap();
        let mut to = b">".to_vec();
        assert!(rewriter.rewrite(b"\xff.a\xfe.a", &mut to));
        assert_eq!(to, b">\xff.\xc3\xa4\xfe.a");
    }

    proptest! {
        #[test]
        fn plain_text_is_replaced_as_the_standard_library_does(
            name in "[ab.]{0,20}", old in "[ab.]{1,3}", new in "[ab]{0,3}", max in -1i64..4,
        ) {
            let rewriter = Rewriter::new(&old, &new, "", max).unwrap();
            let expected = match usize::try_from(max) {
                Ok(max) => name.replacen(&old, &new, max),
                Err(_) => name.replace(&old, &new),
            };
            let mut to = Vec::new();
            let changed = rewriter.rewrite(name.as_bytes(), &mut to);
            prop_assert_eq!(changed, expected != name);
            prop_assert_eq!(to, if changed { expected.into_bytes() } else { Vec::new() });
        }
    }
}
