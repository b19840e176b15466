use std::fmt;

use super::{Note, words};
use crate::rewrite::{self, BadRewriter, Needs};

/// A rewriter as it was asked for. It displays as the words of a command, `old new max` and `not=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewriter {
    /// What is replaced: a text, or a regular expression between slashes.
    pub old: String,
    /// By what.
    pub new: String,
    /// A text or `/expression/`; names with it stay as they are. Empty: none do.
    pub not: String,
    /// How many occurrences are replaced, -1: all.
    pub max: i64,
}

impl Rewriter {
    /// Reads the words behind carbon-relay-ng's `addRewriter`, and `not=…`, which it lacks there.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Rewriter, String> {
        let (words, options) = words::apart(words::split(text)?, &["not"])?;
        let [old, new, max] = &words[..] else {
            return Err(format!(
                "expected <old> <new> <max> [not=<text>], found {} words",
                words.len()
            ));
        };
        let max = max
            .parse()
            .map_err(|_| format!("max: expected a number, or -1 for all, found {max:?}"))?;
        let mut not = String::new();
        for (_, value) in options {
            if !not.is_empty() {
                return Err("not: given twice".to_owned());
            }
            not = value;
        }
        let rewriter = Rewriter {
            old: old.clone(),
            new: new.clone(),
            not,
            max,
        };
        rewriter.compile().map_err(|e| e.to_string())?;
        Ok(rewriter)
    }

    /// Makes it ready to be asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self) -> Result<rewrite::Rewriter, BadRewriter> {
        rewrite::Rewriter::new(&self.old, &self.new, &self.not, self.max)
    }

    /// What is most likely not meant; nothing, if it can't be compiled.
    pub fn notes(&self) -> Vec<Note> {
        let Ok(compiled) = self.compile() else {
            return Vec::new();
        };
        let mut notes = super::aggregation::unknown_groups("new", compiled.unknown_groups());
        if self.max == 0 {
            notes.push(Note {
                key: "max",
                message: "0 occurrences are replaced: this rewriter changes nothing".to_owned(),
            });
        }
        if self
            .new
            .contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control())
        {
            notes.push(Note {
                key: "new",
                message: "has a blank or a control character, which no name may: what it makes is rejected as rewrite"
                    .to_owned(),
            });
        }
        if matches!(compiled.needs(), Needs::Text(_)) && has_group(&self.new) {
            notes.push(Note {
                key: "new",
                message: "groups are filled only if old is a /regular expression/: this is put in as it stands"
                    .to_owned(),
            });
        }
        notes
    }

    /// A `[[rewriter]]` of a config file.
    pub fn to_toml(&self) -> String {
        let text = |text: &String| toml::Value::String(text.clone());
        let (old, new, max) = (text(&self.old), text(&self.new), self.max);
        let not = match &self.not[..] {
            "" => String::new(),
            _ => format!("not = {}\n", text(&self.not)),
        };
        format!("[[rewriter]]\nold = {old}\nnew = {new}\n{not}max = {max}\n")
    }
}

/// `$1` or `${`: a lone dollar may well be meant.
fn has_group(text: &str) -> bool {
    let mut after = text.split('$').skip(1);
    after.any(|after| after.starts_with(|c: char| c.is_ascii_digit() || c == '{'))
}

impl fmt::Display for Rewriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rewrite::canonical(
            &self.old, &self.new, &self.not, self.max,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> (String, String, String, i64) {
        let rewriter = Rewriter::parse(text).unwrap();
        (rewriter.old, rewriter.new, rewriter.not, rewriter.max)
    }

    fn expected(old: &str, new: &str, not: &str, max: i64) -> (String, String, String, i64) {
        (old.to_owned(), new.to_owned(), not.to_owned(), max)
    }

    #[test]
    fn words_of_a_command() {
        assert_eq!(parsed("= _is_ -1"), expected("=", "_is_", "", -1));
        assert_eq!(
            parsed("/server\\.([^.]+)/ servers.${1} -1 not=/x/"),
            expected("/server\\.([^.]+)/", "servers.${1}", "/x/", -1)
        );
        assert_eq!(parsed("a \"\" 2 not=\"b c\""), expected("a", "", "b c", 2));
        assert_eq!(parsed("a unit=B -1"), expected("a", "unit=B", "", -1));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, said) in [
            ("", "expected <old> <new> <max> [not=<text>], found 0 words"),
            ("a b", "found 2 words"),
            (
                "a b c",
                "max: expected a number, or -1 for all, found \"c\"",
            ),
            ("a b -2", "max: expected how many"),
            ("/a/ b 1", "max: expected -1"),
            (
                "/(/ b -1",
                "old: \"(\" is not a regular expression: unclosed group",
            ),
            ("a b 1 not=c not=d", "not: given twice"),
            ("a b 1 nto=c", "nto: unknown option: did you mean not?"),
            ("a \"b 1", "closing quote"),
        ] {
            let error = Rewriter::parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn notes() {
        let notes = |text| {
            let notes = Rewriter::parse(text).unwrap().notes();
            notes.into_iter().map(|note| note.key).collect::<Vec<_>>()
        };
        assert_eq!(notes("a $$ 1"), [""; 0]);
        assert_eq!(notes("a $1 1"), ["new"]);
        assert_eq!(notes("/(a)/ $1x -1"), ["new"]);
        assert_eq!(notes("a b 0"), ["max"]);
        assert_eq!(notes("web \"we b\" -1"), ["new"]);
    }

    proptest! {
        #[test]
        fn it_reads_back(old in "[a=\" /.]{1,5}", new in "[a=\" $.]{0,5}", not in "[a=\" .]{0,4}", max in -1i64..3) {
            let rewriter = Rewriter { old, new, not, max };
            prop_assume!(rewriter.compile().is_ok());
            prop_assert_eq!(&Rewriter::parse(&rewriter.to_string()).unwrap(), &rewriter);
            let table: toml::Table = rewriter.to_toml().parse().unwrap();
            let table = &table["rewriter"][0];
            prop_assert_eq!(table["old"].as_str(), Some(&rewriter.old[..]));
            prop_assert_eq!(table["new"].as_str(), Some(&rewriter.new[..]));
            prop_assert_eq!(table["max"].as_integer(), Some(rewriter.max));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Rewriter::parse(&text);
        }
    }
}
