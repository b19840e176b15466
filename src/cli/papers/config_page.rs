//! baton.toml(5), made of config.example.toml: each key with its comment.

use clap_mangen::roff::{Roff, bold, roman};

const EXAMPLE: &str = include_str!("../../../config.example.toml");

/// A piece of the file.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// `[section]` or `[[section]]`, and what is said of it.
    Section(&'a str, Vec<&'a str>),
    /// Keys, `key = value`, and what is said of all of them.
    Keys(Vec<&'a str>, Vec<&'a str>),
    /// What is said of what follows.
    Words(Vec<&'a str>),
}

/// Appends the keys, each with its default or an example.
pub(super) fn keys(roff: &mut Roff) {
    let words = |roff: &mut Roff, words: &[&str]| {
        if !words.is_empty() {
            roff.text([roman(words.join(" "))]);
        }
    };
    // What stands before is how to run the example.
    let (_, all) = EXAMPLE.split_once("\n\n").unwrap_or_default();
    for piece in pieces(all) {
        match piece {
            Piece::Section(head, said) => {
                roff.control("SS", [head]);
                words(roff, &said);
            }
            Piece::Keys(keys, said) => {
                for (at, key) in keys.into_iter().enumerate() {
                    roff.control(if at == 0 { "TP" } else { "TQ" }, []);
                    roff.text([bold(key)]);
                }
                words(roff, &said);
            }
            Piece::Words(said) => {
                roff.control("PP", []);
                words(roff, &said);
            }
        }
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut said = Vec::new();
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if bare.is_empty() {
            if !said.is_empty() {
                pieces.push(Piece::Words(std::mem::take(&mut said)));
            }
        } else if bare.starts_with('[') {
            pieces.push(Piece::Section(bare, std::mem::take(&mut said)));
        } else if !is_key(bare) {
            said.push(bare);
        } else if let (Some(Piece::Keys(keys, _)), []) = (pieces.last_mut(), &said[..]) {
            keys.push(bare);
        } else {
            pieces.push(Piece::Keys(vec![bare], std::mem::take(&mut said)));
        }
    }
    pieces
}

fn is_key(line: &str) -> bool {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    line.split_once(" = ")
        .is_some_and(|(name, _)| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_comment_before_them() {
        let text = "# Of a.\n# More.\n# a = 1\n\n\n[b]\n# Of c.\nc = [\"x\"]\n\n# Of all that\n# follows.\n\n# And of d.\n# [[d]]\n# e = \"\"\n# f = \"\"\n";
        let expected = [
            Piece::Keys(vec!["a = 1"], vec!["Of a.", "More."]),
            Piece::Section("[b]", vec![]),
            Piece::Keys(vec!["c = [\"x\"]"], vec!["Of c."]),
            Piece::Words(vec!["Of all that", "follows."]),
            Piece::Section("[[d]]", vec!["And of d."]),
            Piece::Keys(vec!["e = \"\"", "f = \"\""], vec![]),
        ];
        assert_eq!(pieces(text), expected);
    }

    #[test]
    fn nothing_of_the_example_is_left_out() {
        let mut roff = Roff::default();
        keys(&mut roff);
        let page = roff.to_roff().replace("\\-", "-");
        let keys: Vec<&str> = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(|line| is_key(line))
            .collect();
        assert!(keys.len() > 80, "{}", keys.len());
        for key in keys {
            let (name, _) = key.split_once(" = ").unwrap();
            assert!(page.contains(&format!("\\fB{name} = ")), "{name}: {page}");
        }
    }
}
