//! One line of words, as it is typed, and what it asks for: the commands of a telnet session.
//!
//! A line is [read](read) to a [`Command`], which is [answered](answer) at a [`Desk`](super::desk::Desk) with lines of
//! text. The last of them is `OK`, or `ERR` and the reason; what is told before it never looks like either.

mod answer;
mod change;
mod destination;
mod help;
mod show;

use crate::amend::{Backlog, Change};
use crate::spec::{Word, nearest, split};
use crate::tap;

pub use answer::{Answer, answer};

/// The longest answer, in bytes: it is kept until the client has taken it.
pub const MAX_ANSWER: usize = 4 << 20;
/// So many changes are told without a number.
const HISTORY: u32 = 10;
/// And at most so many.
const MOST_HISTORY: u32 = 10_000;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// What commands there are, or what one of them does.
    Help(Option<String>),
    /// The routes, and how their destinations are.
    RouteList,
    /// All rules.
    View,
    /// The state, as `baton status` tells it.
    Status,
    /// What is in the spools.
    SpoolList,
    /// The last so many changes.
    History(u32),
    /// What becomes of a metric.
    Trace(String),
    /// A change of the table.
    Change(Wish),
    /// What flows is told until the next line comes.
    Subscribe(tap::Wanted),
    /// The binary and the config on disk are started as the next worker.
    Restart,
    /// The session ends.
    Quit,
}

/// A change that is asked for, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// What is to be changed.
    pub what: Wanted,
    /// What becomes of lines of destinations that go.
    pub backlog: Option<Backlog>,
    /// It isn't written, and ends with this worker.
    pub volatile: bool,
    /// It is only told what would change.
    pub dry_run: bool,
    /// The command, for the history.
    pub text: String,
}

/// What is to be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    /// This. A rule that is no route may be named by its number in the order of its kind, from 0.
    Change(Change),
    /// What the change of this number did is undone.
    Undo(u64),
}

impl Command {
    /// Whether something changes by it, so that it can't be done twice.
    pub fn changes(&self) -> bool {
        match self {
            Command::Change(wish) => !wish.dry_run,
            Command::Restart => true,
            _ => false,
        }
    }
}

/// Reads a line; `None` for one that is empty.
///
/// # Errors
/// What was expected.
pub fn read(line: &str) -> Result<Option<Command>, String> {
    let (mut volatile, mut dry_run, mut place) = (false, false, None);
    let mut text = line.trim();
    let mut asked = None;
    let (name, rest) = loop {
        let (word, rest) = first_word(text);
        match word {
            "volatile" if !volatile => volatile = true,
            "dry-run" if !dry_run => dry_run = true,
            "at" if place.is_none() => {
                let (where_to, rest) = change::place(rest)?;
                place = Some(where_to);
                asked = Some(text);
                text = rest;
                continue;
            }
            word => break (word, rest),
        }
        text = rest;
    };
    if let Some(mut wish) = change::read(name, rest)? {
        (wish.volatile, wish.dry_run) = (volatile, dry_run);
        if let Some(place) = place {
            wish.put(place)?;
        }
        wish.text = asked.unwrap_or(text).to_owned();
        return Ok(Some(Command::Change(wish)));
    }
    if volatile || dry_run || place.is_some() {
        let word = match (volatile, dry_run) {
            (true, _) => "volatile",
            (_, true) => "dry-run",
            _ => "at",
        };
        return Err(format!(
            "{word}: expected a command that changes the table behind it, found {name:?}"
        ));
    }
    look(name, rest).map(Some).or_else(|error| match name {
        "" => Ok(None),
        _ => Err(error),
    })
}

fn look(name: &str, rest: &str) -> Result<Command, String> {
    let alone = |command: Command| match rest {
        "" => Ok(command),
        more => Err(format!(
            "{name}: expected nothing behind it, found {more:?}"
        )),
    };
    match name {
        "help" | "?" => Ok(Command::Help(
            Some(rest.to_owned()).filter(|r| !r.is_empty()),
        )),
        "view" => alone(Command::View),
        "status" => alone(Command::Status),
        "restart" => alone(Command::Restart),
        "quit" | "exit" => alone(Command::Quit),
        "route" | "spool" if rest == "list" => Ok(match name {
            "route" => Command::RouteList,
            _ => Command::SpoolList,
        }),
        "route" => Err(sub_command(name, rest, &["list", "add", "del", "patt"])),
        "spool" => Err(sub_command(name, rest, &["list"])),
        "history" if rest.is_empty() => Ok(Command::History(HISTORY)),
        "history" => match rest.parse() {
            Ok(most @ 1..=MOST_HISTORY) => Ok(Command::History(most)),
            _ => Err(format!(
                "history: expected a number from 1 to {MOST_HISTORY}, found {rest:?}"
            )),
        },
        "subscribe" => {
            let words = words(rest)?;
            let wanted = tap::Wanted::from_words(words.iter().map(|word| &word[..]))?;
            Ok(Command::Subscribe(wanted))
        }
        "trace" if rest.is_empty() => Err("trace: expected a metric".to_owned()),
        "trace" => Ok(Command::Trace(rest.to_owned())),
        _ => Err(unknown(name)),
    }
}

fn sub_command(name: &str, rest: &str, known: &[&str]) -> String {
    let (word, _) = first_word(rest);
    let expected = crate::spec::one_of(known, word);
    format!("{name}: {expected}")
}

fn unknown(name: &str) -> String {
    match nearest(name, &help::names()) {
        Some(near) => format!("there is no command {name:?}: did you mean {near}?"),
        None => format!("there is no command {name:?}: help lists all"),
    }
}

/// The first word of a text without blanks before it, and what is behind.
fn first_word(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

/// All words of a text. None of them is an option; quotes are taken off.
fn words(text: &str) -> Result<Vec<String>, String> {
    // The first word of a text is never an option.
    let words = split(&format!("- {text}"))?.into_iter().skip(1);
    let plain = words.map(|word| match word {
        Word::Plain(word) => word,
        Word::Option { key, value } => format!("{key}={value}"),
    });
    Ok(plain.collect())
}

#[cfg(test)]
mod tests;
