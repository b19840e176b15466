//! Just enough of a look at Rust: words and signs, without comments, literals and test code.

/// A source file's tokens, each with its line.
pub struct Source {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// A word, `::`, or one other sign.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Source {
    /// Reads all tokens that are not in comments or literals.
    pub fn new(text: &str) -> Source {
        Source {
            tokens: tokens(&masked(text)),
        }
    }

    /// Leaves the items below `#[cfg(test)]` out.
    pub fn without_tests(&self) -> Source {
        const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
        let mut kept = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.matches(at, &CFG_TEST) {
                at = self.end_of_item(at + CFG_TEST.len());
            } else {
                kept.push(self.tokens[at].clone());
                at += 1;
            }
        }
        Source { tokens: kept }
    }

    /// The lines on which these tokens stand in this order.
    pub fn lines_with(&self, wanted: &[&str]) -> Vec<usize> {
        let found = (0..self.tokens.len()).filter(|&at| self.matches(at, wanted));
        found.map(|at| self.tokens[at].line).collect()
    }

    /// The modules that are declared here, `mod x;` or `mod x { … }`.
    pub fn modules(&self) -> Vec<String> {
        let pairs = self.tokens.windows(2).filter(|pair| pair[0].text == "mod");
        pairs.map(|pair| pair[1].text.clone()).collect()
    }

    /// What is named below the root of the crate, `root::NAME` and each NAME of `root::{NAME, …}`.
    ///
    /// `depth` is how many times `super` leads there: 1 in `src/x.rs`, 2 in `src/x/y.rs`.
    pub fn below_root(&self, root: &str, depth: usize) -> Vec<Token> {
        let mut named = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            let supers: Vec<&str> = ["super", "::"].repeat(depth);
            let begins = at == 0 || self.tokens[at - 1].text != "::";
            if begins && self.matches(at, &[root, "::"]) {
                self.first_names(at + 2, &mut named);
            } else if begins && depth > 0 && self.matches(at, &supers) {
                // One `super` more ends within this file, in a module that stands in it.
                let first = named.len();
                self.first_names(at + supers.len(), &mut named);
                if named.get(first).is_some_and(|token| token.text == "super") {
                    named.truncate(first);
                }
            }
            at += 1;
        }
        named
    }

    fn matches(&self, at: usize, wanted: &[&str]) -> bool {
        let here = self.tokens.get(at..at + wanted.len());
        here.is_some_and(|here| {
            here.iter()
                .zip(wanted)
                .all(|(token, text)| token.text == *text)
        })
    }

    /// The name at a place, or those of the group there.
    fn first_names(&self, at: usize, named: &mut Vec<Token>) {
        let Some(first) = self.tokens.get(at) else {
            return;
        };
        if first.text != "{" {
            named.push(first.clone());
            return;
        }
        let mut depth = 0;
        for pair in self.tokens[at..].windows(2) {
            match pair[0].text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
            let opens = matches!(pair[0].text.as_str(), "{" | ",");
            if depth == 1 && opens && !matches!(pair[1].text.as_str(), "}" | "self") {
                named.push(pair[1].clone());
            }
        }
    }

    /// Behind the `;` or the closing brace of the item that begins here.
    fn end_of_item(&self, start: usize) -> usize {
        let mut depth = 0;
        for (at, token) in self.tokens.iter().enumerate().skip(start) {
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" if depth == 1 => return at + 1,
                // The end of what the item is in.
                "}" | ")" | "]" if depth == 0 => return at,
                "}" | ")" | "]" => depth -= 1,
                ";" if depth == 0 => return at + 1,
                _ => {}
            }
        }
        self.tokens.len()
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut glue = ' ';
    for (index, line) in code.lines().enumerate() {
        for c in line.chars().chain(['\n']) {
            let word = c.is_alphanumeric() || c == '_';
            match tokens.last_mut() {
                Some(last) if word && glue == 'w' => last.text.push(c),
                Some(last) if c == ':' && glue == ':' => last.text.push(c),
                _ if c.is_whitespace() => {}
                _ => tokens.push(Token {
                    text: c.to_string(),
                    line: index + 1,
                }),
            }
            glue = match c {
                ':' if glue != ':' => ':',
                _ if word => 'w',
                _ => ' ',
            };
        }
    }
    tokens
}

/// The text with blanks for comments and literals; lines stay.
fn masked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_hidden(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Behind the comment or literal that begins here; here, if none does.
fn end_of_hidden(chars: &[char], at: usize) -> usize {
    let get = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let find = |from: usize, wanted: &dyn Fn(usize) -> bool| {
        (from..chars.len())
            .find(|&i| wanted(i))
            .unwrap_or(chars.len())
    };
    let in_word = at > 0 && (get(at - 1).is_alphanumeric() || get(at - 1) == '_');
    match (get(at), get(at + 1)) {
        ('/', '/') => find(at, &|i| chars[i] == '\n'),
        ('/', '*') => end_of_block_comment(chars, at),
        ('"', _) => end_of_quoted(chars, at, '"'),
        // A character, not a lifetime: 'x' or '\…'.
        ('\'', '\\') => end_of_quoted(chars, at, '\''),
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        ('b' | 'c', 'r') if !in_word => match end_of_raw(chars, at + 1) {
            end if end > at + 1 => end,
            _ => at,
        },
        ('r', _) if !in_word => end_of_raw(chars, at),
        _ => at,
    }
}

fn end_of_quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// Behind `r##"…"##`; `start`, if it is a name that begins with an r.
fn end_of_raw(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return start;
    }
    let closes = |i: usize| {
        chars[i] == '"'
            && chars[i + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
    };
    let body = start + 2 + hashes;
    (body..chars.len())
        .find(|&i| closes(i))
        .map_or(chars.len(), |i| i + 1 + hashes)
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (depth, at) = (depth + 1, at + 2),
            ('*', '/') => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

#[test]
fn comments_and_literals_are_not_code() {
    let hidden = [
        "// unsafe",
        "/* unsafe /* unsafe */ unsafe */",
        "\"unsafe \\\" unsafe\"",
        "r#\"unsafe \" unsafe\"#",
        "br\"unsafe\"",
        "b\"unsafe\"",
        "'\\'' // unsafe",
    ];
    for text in hidden {
        let source = Source::new(&format!("{text}\nunsafe {{}}"));
        assert_eq!(source.lines_with(&["unsafe"]), [2], "{text}");
    }
    for text in ["'\"'", "'a", "r#type", "bar \"\"", "'\\\\'"] {
        let source = Source::new(&format!("{text} unsafe {{}}"));
        assert_eq!(source.lines_with(&["unsafe"]), [1], "{text}");
    }
    assert!(
        Source::new("unsafe_code")
            .lines_with(&["unsafe"])
            .is_empty()
    );
}

#[test]
fn test_code_is_left_out_and_what_follows_it_is_not() {
    for item in [
        "#[cfg(test)]\nmod tests { fn a() { here } }",
        "#[cfg(test)]\n#[path = \"x\"]\nmod here;",
        "#[cfg(test)] fn a(here: u8) -> [u8; 3] { here }",
        "struct A { b: u8, #[cfg(test)] here: u8 }",
        "#[cfg(test)] use here::{here};",
    ] {
        let source = Source::new(&format!("{item}\nthere"));
        assert!(!source.lines_with(&["here"]).is_empty(), "{item}");
        let source = source.without_tests();
        assert!(source.lines_with(&["here"]).is_empty(), "{item}");
        assert_eq!(source.lines_with(&["there"]).len(), 1, "{item}");
    }
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    for (text, expected) in [
        ("use crate::a;", "a"),
        ("use crate::a::b::{c, d};", "a"),
        ("use crate::{a, b::{self, c, d::e}, f as g};", "a b f"),
        ("use crate::{\n    a::B,\n};", "a"),
        ("fn f(x: crate::a::B) -> &'static crate::b::C {}", "a b"),
        ("pub(crate) use super::super::a::b;", "a"),
        ("use super::a; use self::b;", ""),
        ("use super::super::super::a;", ""),
        ("use crate::*;", "*"),
        ("use other_crate::a; use x::crate_::b;", ""),
    ] {
        let named = Source::new(text).below_root("crate", 2);
        let names: Vec<&str> = named.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{text}");
    }
}
