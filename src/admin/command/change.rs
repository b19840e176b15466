//! Commands that change the table. Their words are carbon-relay-ng's where it has such a command.

use serde_json::{Map, Value};

use super::{Wanted, Wish, destination, first_word, words};
use crate::amend::{Backlog, Change, Form, Place};
use crate::config::RuleKind;
use crate::spec::{
    Aggregation, CHOICE, PATTERNS, Rewriter, at_two_blanks, destination_of_relay_ng, nearest,
    one_of,
};

/// Reads what is behind the name of a command; `None`: this one changes nothing.
pub(super) fn read(name: &str, rest: &str) -> Result<Option<Wish>, String> {
    let mut backlog = None;
    let what = match name {
        "addBlock" | "addBlack" => add(
            RuleKind::Blocklist,
            Form::Json(one("rule", some(rest, BLOCK)?)),
        ),
        "modBlock" => replace(RuleKind::Blocklist, rest, |rule| {
            Ok(Form::Json(one("rule", some(rule, BLOCK)?)))
        })?,
        "moveBlock" => move_rule(RuleKind::Blocklist, rest)?,
        "delBlock" | "delBlack" => remove(
            RuleKind::Blocklist,
            some(rest, "<kind> <pattern> or its number")?,
        ),
        "addRewriter" => add(
            RuleKind::Rewriter,
            Form::Toml(Rewriter::parse(rest)?.to_toml()),
        ),
        "modRewriter" => replace(RuleKind::Rewriter, rest, |rule| {
            Ok(Form::Toml(Rewriter::parse(rule)?.to_toml()))
        })?,
        "moveRewriter" => move_rule(RuleKind::Rewriter, rest)?,
        "delRewriter" => remove(
            RuleKind::Rewriter,
            some(rest, "<old> <new> <max> or its number")?,
        ),
        "addAgg" => add(
            RuleKind::Aggregation,
            Form::Toml(Aggregation::parse(rest)?.0.to_toml()),
        ),
        "modAgg" => replace(RuleKind::Aggregation, rest, |rule| {
            Ok(Form::Toml(Aggregation::parse(rule)?.0.to_toml()))
        })?,
        "moveAgg" => move_rule(RuleKind::Aggregation, rest)?,
        "delAgg" => remove(
            RuleKind::Aggregation,
            some(rest, "the text of one, or its number")?,
        ),
        "addRoute" => add_route(rest)?,
        "modRoute" => edit_route(rest, &mut backlog)?,
        "moveRoute" => move_route(rest)?,
        "delRoute" => remove_route(rest, &mut backlog)?,
        "addDest" => destination::add(rest)?,
        "modDest" => destination::edit(rest, &mut backlog)?,
        "delDest" => destination::remove(rest, &mut backlog)?,
        "route" => match first_word(rest) {
            ("add", rest) => simple_route(rest)?,
            ("del", rest) => remove_route(rest, &mut backlog)?,
            ("patt", rest) => pattern(rest)?,
            _ => return Ok(None),
        },
        "undo" => undo(rest, &mut backlog)?,
        "reset" => reset(rest, &mut backlog)?,
        _ => return Ok(None),
    };
    Ok(Some(Wish {
        what,
        backlog,
        volatile: false,
        dry_run: false,
        text: String::new(),
    }))
}

const BLOCK: &str = "<prefix|notPrefix|sub|notSub|regex|notRegex> <pattern>";

fn some<'t>(rest: &'t str, expected: &str) -> Result<&'t str, String> {
    match rest {
        "" => Err(format!("expected {expected}")),
        rest => Ok(rest),
    }
}

fn one(key: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(key.to_owned(), Value::from(value))])
}

fn add(kind: RuleKind, rule: Form) -> Wanted {
    let place = Place::Last;
    Wanted::Change(Change::Add { kind, rule, place })
}

fn remove(kind: RuleKind, which: &str) -> Wanted {
    let key = known_as(kind, which);
    Wanted::Change(Change::Remove { kind, key })
}

/// A rule's text as the table has it, if it is one.
fn known_as(kind: RuleKind, text: &str) -> String {
    let read = match kind {
        RuleKind::Rewriter => Rewriter::parse(text).ok().map(|rule| rule.to_string()),
        RuleKind::Aggregation => Aggregation::parse(text)
            .ok()
            .map(|(rule, _)| rule.to_string()),
        RuleKind::Blocklist | RuleKind::Route => None,
    };
    read.unwrap_or_else(|| text.to_owned())
}

/// `<number> <the new rule>`
fn replace(
    kind: RuleKind,
    rest: &str,
    read: impl FnOnce(&str) -> Result<Form, String>,
) -> Result<Wanted, String> {
    // The text of the old one has no end.
    let (number, rule) = first_word(rest);
    if number.parse::<usize>().is_err() {
        return Err(format!(
            "expected its number in view and the new rule, found {number:?}"
        ));
    }
    Ok(Wanted::Change(Change::Replace {
        kind,
        key: number.to_owned(),
        rule: read(rule)?,
    }))
}

/// `<number or text> first|last|before <other>|after <other>`. Texts have blanks.
fn move_rule(kind: RuleKind, rest: &str) -> Result<Wanted, String> {
    type Beside = fn(String) -> Place;
    let ends = [(" first", Place::First), (" last", Place::Last)];
    let beside: [(&str, Beside); 2] = [(" before ", Place::Before), (" after ", Place::After)];
    let at_end = ends
        .into_iter()
        .find_map(|(word, place)| Some((rest.strip_suffix(word)?, place)));
    // The last of these words, since a text may have one.
    let others = beside
        .into_iter()
        .filter_map(|(word, place)| Some((rest.rsplit_once(word)?, place)));
    let other = others
        .max_by_key(|((which, _), _)| which.len())
        .map(|((which, other), place)| (which, place(known_as(kind, other.trim()))));
    let Some((which, place)) = at_end.or(other) else {
        return Err("expected a number or a text and first, last, before … or after …".to_owned());
    };
    let key = known_as(kind, which.trim());
    Ok(Wanted::Change(Change::Move { kind, key, place }))
}

/// `first|last|before <key>|after <key>`, and what is behind; a key with blanks is in quotes.
pub(super) fn place(text: &str) -> Result<(Place, &str), String> {
    let (word, rest) = first_word(text);
    let key = || match rest.strip_prefix('"') {
        None => {
            let (key, rest) = first_word(rest);
            Some((key.to_owned(), rest)).filter(|(key, _)| !key.is_empty())
        }
        Some(quoted) => {
            let end = quoted.match_indices("\" ").map(|(at, _)| at).find(|at| {
                let quotes = quoted[..*at].bytes().rev().take_while(|byte| *byte == b'"');
                quotes.count().is_multiple_of(2)
            })?;
            let rest = quoted[end + 1..].trim_start();
            Some((quoted[..end].replace("\"\"", "\""), rest))
        }
    };
    let found = match word {
        "first" => Some((Place::First, rest)),
        "last" => Some((Place::Last, rest)),
        "before" => key().map(|(key, rest)| (Place::Before(key), rest)),
        "after" => key().map(|(key, rest)| (Place::After(key), rest)),
        _ => None,
    };
    found.ok_or_else(|| {
        format!("at: expected first, last, before <key> or after <key>, found {text:?}")
    })
}

impl Wish {
    /// What it adds is to get this place.
    ///
    /// # Errors
    /// It adds no rule.
    pub(super) fn put(&mut self, to: Place) -> Result<(), String> {
        let Wanted::Change(Change::Add { kind, place, .. }) = &mut self.what else {
            return Err("at: expected a command that adds a rule behind the place".to_owned());
        };
        *place = match to {
            Place::Before(key) => Place::Before(known_as(*kind, &key)),
            Place::After(key) => Place::After(known_as(*kind, &key)),
            end => end,
        };
        Ok(())
    }
}

/// `<key> [pattern] <addr>`
fn simple_route(rest: &str) -> Result<Wanted, String> {
    let words = words(rest)?;
    let (key, pattern, address) = match &words[..] {
        [key, address] => (key, None, address),
        [key, pattern, address] => (key, Some(pattern), address),
        words => {
            return Err(format!(
                "expected <key> [pattern] <addr>, found {} words",
                words.len()
            ));
        }
    };
    let mut keys = one("key", key);
    keys.insert("type".to_owned(), "sendAllMatch".into());
    if let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) {
        no_option(pattern)?;
        keys.insert("regex".to_owned(), pattern[..].into());
    }
    // A blank in the address would begin an option.
    keys.insert(
        "destinations".to_owned(),
        vec![crate::spec::quoted(address).into_owned()].into(),
    );
    Ok(add(RuleKind::Route, Form::Json(keys)))
}

/// `prefix=web.` would be an expression, too, and meet nothing.
fn no_option(pattern: &str) -> Result<(), String> {
    match pattern.split_once('=') {
        Some((key, _)) if PATTERNS.contains(&key) => Err(format!(
            "expected a regular expression, found {pattern}: addRoute and modRoute take {key}="
        )),
        _ => Ok(()),
    }
}

/// `<key> [pattern]`: all names that it matches; without one, all names.
fn pattern(rest: &str) -> Result<Wanted, String> {
    let words = words(rest)?;
    let (key, pattern) = match &words[..] {
        [key] => (key, ""),
        [key, pattern] => (key, &pattern[..]),
        words => {
            return Err(format!(
                "expected <key> [pattern], found {} words",
                words.len()
            ));
        }
    };
    no_option(pattern)?;
    let patch = match pattern {
        "" => PATTERNS
            .iter()
            .map(|key| ((*key).to_owned(), Value::Null))
            .collect(),
        pattern => one("regex", pattern),
    };
    Ok(edit(key, patch))
}

fn edit(key: &str, patch: Map<String, Value>) -> Wanted {
    let (kind, key) = (RuleKind::Route, key.to_owned());
    Wanted::Change(Change::Edit { kind, key, patch })
}

/// `<type> <key> [options]  <destination>  <destination> …`
fn add_route(rest: &str) -> Result<Wanted, String> {
    let parts = at_two_blanks(rest);
    let (head, destinations) = parts.split_first().ok_or("expected a route")?;
    let head = words(head)?;
    let ([kind, key, options @ ..], [_, ..]) = (&head[..], destinations) else {
        return Err(
            "expected <type> <key> [options], then two blanks before each destination".to_owned(),
        );
    };
    let mut keys = route_options(options)?;
    keys.insert("type".to_owned(), kind[..].into());
    keys.insert("key".to_owned(), key[..].into());
    let texts = destinations.iter().map(|text| translated(text));
    keys.insert(
        "destinations".to_owned(),
        texts.collect::<Result<Vec<_>, _>>()?.into(),
    );
    Ok(add(RuleKind::Route, Form::Json(keys)))
}

pub(super) fn translated(text: &str) -> Result<String, String> {
    destination_of_relay_ng(text).map(|translated| translated.text)
}

/// `key=value` words of a route; an empty value is the default.
fn route_options(words: &[String]) -> Result<Map<String, Value>, String> {
    let known = [&["type", "key"], PATTERNS, CHOICE].concat();
    let mut keys = Map::new();
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if !known.contains(&key) || !word.contains('=') {
            return Err(unknown_option(key, &known));
        }
        let value = match key {
            _ if value.is_empty() => Value::Null,
            "replication" => value
                .parse::<u64>()
                .map_or_else(|_| value.into(), Value::from),
            "hash_tags" | "dynamic" => value
                .parse::<bool>()
                .map_or_else(|_| value.into(), Value::from),
            _ => value.into(),
        };
        if keys.insert(key.to_owned(), value).is_some() {
            return Err(format!("{key}: given twice"));
        }
    }
    Ok(keys)
}

pub(super) fn unknown_option(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("{key}: unknown option: did you mean {near}=…?"),
        None => format!("expected {}=…, found {key:?}", known.join("=…, ")),
    }
}

/// `<key> <option>=<value> … [backlog]`: with another key its destinations have other ids.
fn edit_route(rest: &str, backlog: &mut Option<Backlog>) -> Result<Wanted, String> {
    match without_backlog(&words(rest)?, backlog) {
        [key, options @ ..] if !options.is_empty() => Ok(edit(key, route_options(options)?)),
        _ => Err("expected <key> <option>=<value> …; without a value: the default".to_owned()),
    }
}

/// `<key> first|last|before KEY|after KEY`
fn move_route(rest: &str) -> Result<Wanted, String> {
    let words = words(rest)?;
    let words: Vec<&str> = words.iter().map(|word| &word[..]).collect();
    let (key, place) = match words[..] {
        [key, "first"] => (key, Place::First),
        [key, "last"] => (key, Place::Last),
        [key, "before", other] => (key, Place::Before(other.to_owned())),
        [key, "after", other] => (key, Place::After(other.to_owned())),
        _ => return Err("expected <key> first, last, before <key> or after <key>".to_owned()),
    };
    let (kind, key) = (RuleKind::Route, key.to_owned());
    Ok(Wanted::Change(Change::Move { kind, key, place }))
}

/// The last word, if there is one more than there must be.
pub(super) fn backlog_of(word: Option<&String>) -> Result<Option<Backlog>, String> {
    let Some(word) = word else { return Ok(None) };
    let found = Backlog::WORDS.iter().find(|(name, _)| name == word);
    match found {
        Some((_, backlog)) => Ok(Some(*backlog)),
        None => Err(one_of(&Backlog::WORDS.map(|(name, _)| name), word)),
    }
}

/// All words but the last, if that says what becomes of a backlog.
pub(super) fn without_backlog<'w>(
    words: &'w [String],
    backlog: &mut Option<Backlog>,
) -> &'w [String] {
    let Some((last, others)) = words.split_last() else {
        return words;
    };
    match backlog_of(Some(last)) {
        Ok(found) => {
            *backlog = found;
            others
        }
        Err(_another) => words,
    }
}

/// `<key> [backlog]`
fn remove_route(rest: &str, backlog: &mut Option<Backlog>) -> Result<Wanted, String> {
    let words = words(rest)?;
    let ([key] | [key, _]) = &words[..] else {
        return Err(format!(
            "expected <key> [drain|discard|keep], found {} words",
            words.len()
        ));
    };
    *backlog = backlog_of(words.get(1))?;
    let (kind, key) = (RuleKind::Route, key.to_owned());
    Ok(Wanted::Change(Change::Remove { kind, key }))
}

/// `<id> [backlog]`
fn undo(rest: &str, backlog: &mut Option<Backlog>) -> Result<Wanted, String> {
    let words = words(rest)?;
    let number = match without_backlog(&words, backlog) {
        [number] => number.parse().ok(),
        _ => None,
    };
    number.map(Wanted::Undo).ok_or_else(|| {
        format!("undo: expected the number of a change, as history tells it, found {rest:?}")
    })
}

/// `[kind [key]] [backlog]`. A route that is called like a word for a backlog needs that word, too.
fn reset(rest: &str, backlog: &mut Option<Backlog>) -> Result<Wanted, String> {
    let all = words(rest)?;
    let (kind, key) = match without_backlog(&all, backlog) {
        [] => (None, None),
        [kind, key @ ..] => {
            let kind = kind.parse::<RuleKind>();
            let kind = kind.map_err(|error| format!("reset: {error}"))?;
            match (kind, key) {
                (_, []) => (Some(kind), None),
                (RuleKind::Route, [key]) => (Some(kind), Some(key.clone())),
                (RuleKind::Route, _) => {
                    return Err("reset: expected route <key> [drain|discard|keep]".to_owned());
                }
                // The texts of the others have blanks, and they have no backlog.
                (kind, _) => {
                    *backlog = None;
                    (Some(kind), Some(known_as(kind, first_word(rest).1)))
                }
            }
        }
    };
    Ok(Wanted::Change(Change::Reset { kind, key }))
}
