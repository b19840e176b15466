//! Globs over names, as Graphite's web application has them.

use regex::bytes::{Regex, RegexBuilder};

use super::subscription::EXPRESSION;

/// A glob that a whole name matches: `*` is any text without a dot, `**` any text, `?` one character (of UTF-8) that is no dot,
/// `[abc]`, `[a-z]` one of these and `[!abc]` one that is none of them, `{a,b}` one of these texts, each of which may be a
/// glob; `\` before a character takes it for itself.
#[derive(Clone, Debug)]
pub struct Glob(Regex);

/// A glob that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("glob {glob:?}: {what}")]
pub struct BadGlob {
    /// As written.
    pub glob: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Glob {
    /// Compiles a glob.
    ///
    /// # Errors
    /// When a bracket or brace isn't closed, or it takes too much memory.
    pub fn new(glob: &str) -> Result<Glob, BadGlob> {
        let bad = |what| BadGlob {
            glob: glob.to_owned(),
            what,
        };
        let expression = expression(glob).map_err(bad)?;
        let regex = RegexBuilder::new(&expression)
            .size_limit(EXPRESSION)
            .build();
        regex.map(Glob).map_err(|_| bad("it is too large"))
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.0.is_match(name)
    }
}

/// As a regular expression over bytes.
fn expression(glob: &str) -> Result<String, &'static str> {
    let mut regex = String::from("(?s)^(?:");
    let mut braces = 0;
    let mut rest = glob.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' if rest.next_if_eq(&'*').is_some() => regex.push_str("(?-u:.)*"),
            '*' => regex.push_str("(?-u:[^.])*"),
            '?' => regex.push_str("[^.]"),
            '[' => class(&mut rest, &mut regex)?,
            '{' => {
                braces += 1;
                regex.push_str("(?:");
            }
            ',' if braces > 0 => regex.push('|'),
            '}' if braces > 0 => {
                braces -= 1;
                regex.push(')');
            }
            '\\' => literal(
                rest.next().ok_or("nothing follows the last \\")?,
                &mut regex,
            ),
            character => literal(character, &mut regex),
        }
    }
    if braces > 0 {
        return Err("a { isn't closed");
    }
    regex.push_str(")$");
    Ok(regex)
}

fn literal(character: char, regex: &mut String) {
    regex.push_str(&regex_syntax::escape(character.encode_utf8(&mut [0; 4])));
}

/// One of some characters; a `]` that comes first is one of them.
fn class(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    regex: &mut String,
) -> Result<(), &'static str> {
    const OPEN: &str = "a [ isn't closed";
    regex.push('[');
    if rest.next_if(|c| matches!(c, '!' | '^')).is_some() {
        regex.push('^');
    }
    let mut first = true;
    loop {
        let from = match rest.next().ok_or(OPEN)? {
            ']' if !first => break,
            '\\' => rest.next().ok_or(OPEN)?,
            character => character,
        };
        first = false;
        let mut ahead = rest.clone();
        // A - at the end is one of them.
        let to = match (ahead.next(), ahead.peek()) {
            (Some('-'), Some(next)) if *next != ']' => {
                rest.next();
                match rest.next().ok_or(OPEN)? {
                    '\\' => rest.next().ok_or(OPEN)?,
                    character => character,
                }
            }
            _ => from,
        };
        if to < from {
            return Err("a range in [] is the wrong way round");
        }
        for (at, character) in [from, to].into_iter().enumerate() {
            if at > 0 {
                regex.push('-');
            }
            regex.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        }
    }
    regex.push(']');
    Ok(())
}

#[cfg(test)]
mod tests;
