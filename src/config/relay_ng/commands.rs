//! `[init] cmds`: commands that add to the table, before what the tables of the file add.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::edit::{Given, flag, insert, put_first, string, strings};
use super::machine::Machine;
use super::routes;
use crate::config::read::Report;
use crate::spec::{PATTERNS, Word, at_two_blanks, nearest, split};

/// One of them, with the machine's name in it.
pub(in crate::config) struct Command {
    text: String,
}

type Table<'d> = DeTable<'d>;

const COMMANDS: &[&str] = &["addBlock", "addBlack", "addRewriter", "addAgg", "addRoute"];

/// The texts of all commands. The document borrows numbers from them.
pub(in crate::config) fn read(root: &DeTable, machine: &Machine) -> Vec<Command> {
    let init = root
        .iter()
        .find(|(key, _)| key.get_ref().eq_ignore_ascii_case("init"));
    let cmds = init.and_then(|(_, init)| init.get_ref().get("cmds"));
    let list = cmds.and_then(|cmds| cmds.get_ref().as_array());
    let texts = list.into_iter().flat_map(|list| list.iter());
    texts
        .map(|element| {
            let text = element.get_ref().as_str().unwrap_or_default();
            Command {
                text: machine.expand(text, true).0,
            }
        })
        .collect()
}

/// What a command adds.
enum Added<'d> {
    Rule(String),
    Table(&'static str, Table<'d>),
}

/// Adds what the commands say before what the file's tables say, in the order of the commands.
pub(super) fn apply<'d>(report: &mut Report, root: &mut DeTable<'d>, commands: &'d [Command]) {
    let Some(mut init) = Given::of(root, "init") else {
        return;
    };
    let cmds = match init.value.get_mut() {
        DeValue::Table(table) => {
            let cmds = Given::of(table, "cmds");
            for other in table.keys() {
                let key = format!("init.{}", other.get_ref());
                report.problem(other.span().start, &key, "unknown key: expected cmds");
            }
            cmds
        }
        _ => {
            init.as_value().refuse(report, "expected a table [init]");
            None
        }
    };
    let Some(cmds) = cmds else {
        return;
    };
    let mut added = Vec::new();
    for (value, command) in cmds.as_value_of("init").list(report).iter().zip(commands) {
        if value.text(report).is_none() {
            continue;
        }
        match one(report, &command.text, value.at) {
            Ok(one) => added.push((value.at, one)),
            Err(message) => report.problem(value.at, "init.cmds", message),
        }
    }
    // The last one first, each put before what is there.
    for (at, one) in added.into_iter().rev() {
        let (key, value) = match one {
            Added::Rule(rule) => ("blocklist", DeValue::String(rule.into())),
            Added::Table(key, table) => (key, DeValue::Table(table)),
        };
        put_first(root, key, Spanned::new(at..at, value));
    }
}

fn one<'d>(report: &mut Report, text: &'d str, at: usize) -> Result<Added<'d>, String> {
    let text = text.trim();
    let (command, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match command {
        "addBlock" | "addBlack" => Ok(Added::Rule(rest.trim().to_owned())),
        "addRewriter" => rewriter(rest, at).map(|table| Added::Table("rewriter", table)),
        "addAgg" => aggregation(report, rest, at).map(|table| Added::Table("aggregation", table)),
        "addRoute" => route(report, rest, at).map(|table| Added::Table("route", table)),
        _ => {
            let expected = format!("expected one of {}, found {command:?}", COMMANDS.join(", "));
            Err(match nearest(command, COMMANDS) {
                Some(near) => format!("{expected}: did you mean {near}?"),
                None => expected,
            })
        }
    }
}

/// The words of a command: patterns apart from the rest, in which an `=` means nothing.
struct Words {
    plain: Vec<String>,
    options: Vec<(&'static str, String)>,
}

fn words(text: &str, known: &[&'static str]) -> Result<Words, String> {
    let (mut plain, mut options) = (Vec::new(), Vec::new());
    // The first word of a text is never an option.
    for word in split(&format!("- {text}"))?.into_iter().skip(1) {
        match word {
            Word::Plain(word) => plain.push(word),
            Word::Option { key, value } => match known.iter().find(|known| **known == key) {
                Some(known) => options.push((*known, value)),
                None => plain.push(format!("{key}={value}")),
            },
        }
    }
    Ok(Words { plain, options })
}

/// A number where the table has one. It is the command's own text, which the document may borrow.
fn number<'d>(text: &'d str, word: &str, at: usize) -> Option<Spanned<DeValue<'d>>> {
    let is_number = word.parse::<i64>().is_ok() && !word.starts_with('+');
    let start = text.rfind(word).filter(|_| is_number)?;
    let value = DeValue::parse(&text[start..start + word.len()]).ok()?;
    Some(Spanned::new(at..at, value.into_inner()))
}

fn rewriter(text: &str, at: usize) -> Result<Table<'_>, String> {
    let words = words(text, &[])?.plain;
    let expected = || format!("expected addRewriter OLD NEW MAX, found {text:?}");
    let [old, new, max] = &words[..] else {
        return Err(expected());
    };
    let mut table = DeTable::new();
    insert(&mut table, "old", string(old, at..at));
    insert(&mut table, "new", string(new, at..at));
    insert(
        &mut table,
        "max",
        number(text, max, at).ok_or_else(expected)?,
    );
    Ok(table)
}

fn aggregation<'d>(report: &mut Report, text: &'d str, at: usize) -> Result<Table<'d>, String> {
    let words = words(text, &[PATTERNS, &["cache", "dropRaw"]].concat())?;
    let expected = || {
        format!(
            "expected addAgg FUNCTION [regex=… prefix=… sub=… …] FORMAT INTERVAL WAIT [dropRaw=true], found {text:?}"
        )
    };
    let (function, regex, [format, interval, wait]) = match &words.plain[..] {
        [function, format, interval, wait] => (function, None, [format, interval, wait]),
        [function, regex, format, interval, wait] => {
            (function, Some(regex), [format, interval, wait])
        }
        _ => return Err(expected()),
    };
    let mut table = DeTable::new();
    let mut add = |key: &'static str, value: Spanned<DeValue<'d>>| match table.contains_key(key) {
        true => Err(format!("{key}: given twice")),
        false => {
            insert(&mut table, key, value);
            Ok(())
        }
    };
    add("function", string(function, at..at))?;
    add("format", string(format, at..at))?;
    add("interval", number(text, interval, at).ok_or_else(expected)?)?;
    add("wait", number(text, wait, at).ok_or_else(expected)?)?;
    if let Some(regex) = regex {
        add("regex", string(regex, at..at))?;
    }
    for (key, value) in words.options {
        match (key, &value[..]) {
            ("cache", _) => {
                let message =
                    "cache is not needed: Baton finds the output's name without one".to_owned();
                report.note(at, "init.cmds", message);
            }
            ("dropRaw", "true") => add(key, flag(true, at..at))?,
            ("dropRaw", "false") => {}
            ("dropRaw", other) => {
                return Err(format!("dropRaw: expected true or false, found {other:?}"));
            }
            _ => add(key, string(value, at..at))?,
        }
    }
    Ok(table)
}

fn route<'d>(report: &mut Report, text: &str, at: usize) -> Result<Table<'d>, String> {
    let parts = at_two_blanks(text);
    let (head, destinations) = parts.split_first().expect("there is always a first part");
    let words = words(head, PATTERNS)?;
    let kind = words.plain.first().map(String::as_str).unwrap_or_default();
    if let Some(kind) = routes::cloud(kind) {
        return Err(routes::no_counterpart(kind));
    }
    let ([kind, key], [_, ..]) = (&words.plain[..], destinations) else {
        return Err(format!(
            "expected addRoute TYPE KEY [PATTERNS], then two blanks before each destination, found {text:?}"
        ));
    };
    let mut table = DeTable::new();
    insert(&mut table, "type", string(kind, at..at));
    insert(&mut table, "key", string(key, at..at));
    for (key, value) in &words.options {
        insert(&mut table, key, string(value, at..at));
    }
    let strings_in_batons_words = destinations
        .iter()
        .map(|text| routes::destination(report, "init.cmds", at, text));
    let texts: Vec<String> = strings_in_batons_words.collect();
    insert(&mut table, "destinations", strings(texts, &(at..at)));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_another_key_is_plain() {
        let words = words("a x=y regex=^a=b prefix=\"c d\"", PATTERNS).unwrap();
        assert_eq!(words.plain, ["a", "x=y"]);
        assert_eq!(
            words.options,
            [("regex", "^a=b".to_owned()), ("prefix", "c d".to_owned())]
        );
    }
}
