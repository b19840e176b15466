//! Other relays' configs in Baton's words, as far as they have a meaning here; the rest is told, line by line.
//!
//! Text in, text out: what is converted is compiled like any other config, so that nothing here must know how Baton
//! keeps its rules.

mod carbon;
mod carbon_c;
mod expression;
mod sheet;

pub use carbon::convert as carbon;
pub use carbon_c::convert as carbon_c_relay;

use std::fmt;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called to people.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Reads the files that a name in a config stands for, which may be several; an error says why not.
pub type Load<'a> = dyn Fn(&str) -> Result<Vec<Source>, String> + 'a;

/// What became of a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Baton's config.
    pub toml: String,
    /// What isn't in it, and what has another meaning in it, in the order of the files.
    pub notes: Vec<Note>,
    /// How many statements (sections and keys) there were, and how many of them are in the config. The others are in
    /// the notes.
    pub statements: Statements,
}

/// A count of statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// In the files.
    pub read: usize,
    /// In Baton's config.
    pub converted: usize,
    /// Not in it: each has a note.
    pub noted: usize,
}

/// Something to know about a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What it is, and what to do; one line.
    pub text: String,
}

/// A file that can't be read, or not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Unreadable {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What was expected.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// Notes as comments at the top of a config, so that they stay with it.
pub fn comments(notes: &[String]) -> String {
    let mut text = String::new();
    for line in notes.iter().flat_map(|note| note.lines()) {
        // A control character has no place in a comment, TOML 1.0.
        let line: String = line
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        text.push_str(&format!("# {line}\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
