//! Words, split on blanks: the first is plain, the others may be `key=value`. A plain word or a
//! value that begins with `"` goes to the closing `"` and may hold blanks; `""` inside is one
//! quote. A backslash is an ordinary character, so that regular expressions need no second layer of
//! escapes. A quote anywhere else is ordinary too.

use std::borrow::Cow;

use super::nearest;

/// A word as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// The first one, or one that is no option.
    Plain(String),
    /// `key=value`.
    #[expect(missing_docs, reason = "the names say all")]
    Option { key: String, value: String },
}

/// Splits a text; an error says what is wrong with the quotes.
pub fn split(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(is_blank);
    while !rest.is_empty() {
        // A path in an address may hold '='.
        let (word, after) = if words.is_empty() {
            plain(rest)?
        } else {
            plain_or_option(rest)?
        };
        words.push(word);
        rest = after.trim_start_matches(is_blank);
    }
    Ok(words)
}

/// A value as [`split`] reads it back.
pub fn quoted(value: &str) -> Cow<'_, str> {
    if value.is_empty() || value.starts_with('"') || value.contains(is_blank) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    }
}

/// The parts of a text between two blanks or more, outside of quotes, as carbon-relay-ng parts destinations; the first is
/// there, if empty.
pub fn at_two_blanks(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut blanks, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, c) in text.char_indices() {
        if c == '"' {
            quoted = !quoted;
        }
        if c.is_whitespace() && !quoted {
            blanks += 1;
            continue;
        }
        if blanks >= 2 {
            parts.push(text[start..at].trim());
            start = at;
        }
        blanks = 0;
    }
    parts.push(text[start..].trim());
    parts
}

/// Plain words, and options with their values.
pub(super) type Apart = (Vec<String>, Vec<(String, String)>);

/// Words and options apart. What looks like an option and is none of these is a word, as a regular expression with `=`
/// may be; but near to one of them it was misspelt.
pub(super) fn apart(words: Vec<Word>, options: &[&str]) -> Result<Apart, String> {
    let (mut plain, mut given) = (Vec::new(), Vec::new());
    for word in words {
        match word {
            Word::Plain(word) => plain.push(word),
            Word::Option { key, value } if options.contains(&&key[..]) => given.push((key, value)),
            Word::Option { key, value } => {
                if let Some(near) = nearest(&key, options) {
                    return Err(format!(
                        "{key}: unknown option: did you mean {near}? A word with = in it is written in quotes"
                    ));
                }
                plain.push(format!("{key}={value}"));
            }
        }
    }
    Ok((plain, given))
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

fn plain(text: &str) -> Result<(Word, &str), String> {
    if text.starts_with('"') {
        let (value, after) = in_quotes(text)?;
        return Ok((Word::Plain(value), after));
    }
    let (word, after) = text.split_at(text.find(is_blank).unwrap_or(text.len()));
    Ok((Word::Plain(word.to_owned()), after))
}

fn plain_or_option(text: &str) -> Result<(Word, &str), String> {
    let end = text.find(is_blank).unwrap_or(text.len());
    let Some(equals) = text[..end].find('=').filter(|_| !text.starts_with('"')) else {
        return plain(text);
    };
    let key = text[..equals].to_owned();
    let value = &text[equals + 1..];
    if value.starts_with('"') {
        let (value, after) = in_quotes(value)?;
        return Ok((Word::Option { key, value }, after));
    }
    let value = text[equals + 1..end].to_owned();
    Ok((Word::Option { key, value }, &text[end..]))
}

/// Takes a text that begins with a quote to its closing one.
fn in_quotes(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut rest = &text[1..];
    loop {
        let Some(quote) = rest.find('"') else {
            return Err(format!("expected a closing quote after {text}"));
        };
        value.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        if let Some(after) = rest.strip_prefix('"') {
            value.push('"');
            rest = after;
        } else if rest.is_empty() || rest.starts_with(is_blank) {
            return Ok((value, rest));
        } else {
            return Err(format!(
                "expected a blank after the closing quote, found {rest}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(text: &str) -> Word {
        Word::Plain(text.to_owned())
    }

    fn option(key: &str, value: &str) -> Word {
        Word::Option {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn blanks_of_every_kind_split() {
        let words = split(" \t a:1\tb=c \n  d=\r\ne==f\u{b}g=h\u{c}i").unwrap();
        let expected = [
            word("a:1"),
            option("b", "c"),
            option("d", ""),
            option("e", "=f"),
            option("g", "h"),
            word("i"),
        ];
        assert_eq!(words, expected);
        assert_eq!(split("").unwrap(), []);
        assert_eq!(split(" \t").unwrap(), []);
    }

    #[test]
    fn quotes_hold_blanks() {
        assert_eq!(
            split(r#"h r="a b"  "file:my dir""#).unwrap(),
            [word("h"), option("r", "a b"), word("file:my dir")]
        );
        assert_eq!(split(r#"h r="""#).unwrap(), [word("h"), option("r", "")]);
        assert_eq!(
            split(r#"h r="a""b" s="""""#).unwrap(),
            [word("h"), option("r", "a\"b"), option("s", "\"")]
        );
    }

    #[test]
    fn a_backslash_and_a_quote_inside_a_word_are_ordinary() {
        assert_eq!(
            split(r#"h r=^a\.b\ s=x"y"#).unwrap(),
            [word("h"), option("r", r"^a\.b\"), option("s", "x\"y")]
        );
        assert_eq!(
            split(r#"h r="a\" s=b"#).unwrap(),
            [word("h"), option("r", r"a\"), option("s", "b")]
        );
    }

    #[test]
    fn the_first_word_is_no_option() {
        assert_eq!(
            split("file:a=b c=d").unwrap(),
            [word("file:a=b"), option("c", "d")]
        );
        assert_eq!(
            split("a=\"b c=d").unwrap(),
            [word("a=\"b"), option("c", "d")]
        );
    }

    #[test]
    fn quotes_must_close_before_a_blank() {
        assert!(split(r#"h r="a b"#).unwrap_err().contains("closing quote"));
        assert!(split(r#"h r="a"b"#).unwrap_err().contains("blank after"));
        assert!(split(r#"""#).is_err());
    }

    #[test]
    fn two_blanks_part_destinations() {
        let text = "sendAllMatch a sub==  h:1 spool=true  h:2 regex=\"a  b\"";
        let parts = [
            "sendAllMatch a sub==",
            "h:1 spool=true",
            "h:2 regex=\"a  b\"",
        ];
        assert_eq!(at_two_blanks(text), parts);
        assert_eq!(at_two_blanks("a b"), ["a b"]);
        assert_eq!(at_two_blanks(""), [""]);
        assert_eq!(at_two_blanks("  a"), ["", "a"]);
    }

    proptest! {
        #[test]
        fn a_quoted_value_reads_back(value in "(?s)[a\" \\\\=\t\n]{0,8}|.{0,8}") {
            prop_assume!(!value.contains('\u{0}'));
            let text = format!("a:1 k={} l=x", quoted(&value));
            prop_assert_eq!(split(&text).unwrap(), [word("a:1"), option("k", &value), option("l", "x")]);
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = split(&text);
        }
    }
}
