//! What is done for a command, and told.

use super::{Command, MAX_ANSWER, Wanted, Wish, help, show};
use crate::admin::desk::{Asked, Desk, Outcome, What};
use crate::admin::traced;
use crate::amend::{Backlog, Change, Place};
use crate::config::RuleKind;

/// Lines of text, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is told.
    pub lines: Vec<String>,
    /// What is said behind `OK`, if anything; or why it isn't done.
    pub end: Result<String, String>,
}

impl Answer {
    /// Nothing is told.
    pub fn ok() -> Answer {
        Answer {
            lines: Vec::new(),
            end: Ok(String::new()),
        }
    }

    /// It isn't done, and why.
    pub fn error(reason: impl Into<String>) -> Answer {
        Answer {
            lines: Vec::new(),
            end: Err(reason.into()),
        }
    }

    /// It is done, and that is said.
    pub fn said(what: impl Into<String>) -> Answer {
        Answer {
            lines: Vec::new(),
            end: Ok(what.into()),
        }
    }

    /// As it goes to the client: lines, each with its newline; the last begins with `OK` or `ERR` and no other does.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            // Another line that looks like the last one moves aside.
            if line.starts_with("OK") || line.starts_with("ERR") {
                text.push(' ');
            }
            push_shown(&mut text, line);
            text.push('\n');
        }
        if text.len() > MAX_ANSWER {
            let bytes = text.len();
            return format!(
                "ERR the answer has {bytes} bytes, and {MAX_ANSWER} are the limit here: HTTP and the command line have none\n"
            );
        }
        match &self.end {
            Ok(more) if more.is_empty() => text.push_str("OK"),
            Ok(more) => {
                text.push_str("OK ");
                push_shown(&mut text, more);
            }
            Err(reason) => {
                text.push_str("ERR ");
                let lines = reason
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty());
                push_shown(&mut text, &lines.collect::<Vec<_>>().join("; "));
            }
        }
        text.push('\n');
        text
    }
}

/// Control characters would end a line, or command a terminal.
fn push_shown(text: &mut String, line: &str) {
    for c in line.chars() {
        match c {
            '\t' => text.push(c),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
}

/// Does what a command asks for, but for the end of a session. Slow. A restart is only begun.
pub fn answer(desk: &dyn Desk, command: &Command, peer: &str) -> Answer {
    let told = match command {
        Command::Help(of) => help::help(of.as_deref()),
        Command::RouteList => Ok(show::routes(&desk.view())),
        Command::View => Ok(show::table(&desk.table())),
        Command::Status => Ok(show::status(&desk.view())),
        Command::SpoolList => Ok(show::spools(&desk.view())),
        Command::History(most) => desk.history(None, *most).map(|past| show::history(&past)),
        Command::Trace(metric) => {
            let traces = desk.trace(&[metric.as_bytes().to_vec()]);
            let texts: String = traces.iter().map(traced::for_people).collect();
            Ok(texts.lines().map(str::to_owned).collect())
        }
        Command::Change(wish) => change(desk, wish, peer),
        Command::Restart => desk.restart("telnet", peer).map(|()| Vec::new()),
        // What begins or ends by these is the session's.
        Command::Subscribe(_) | Command::Quit => Ok(Vec::new()),
    };
    match told {
        Ok(lines) => Answer {
            lines,
            end: Ok(String::new()),
        },
        Err(reason) => Answer::error(reason),
    }
}

fn change(desk: &dyn Desk, wish: &Wish, peer: &str) -> Result<Vec<String>, String> {
    let asked = Asked {
        what: match &wish.what {
            Wanted::Change(change) => What::Change(named(desk, change)),
            Wanted::Undo(id) => What::Undo(*id),
        },
        backlog: wish.backlog,
        volatile: wish.volatile,
        if_version: None,
        via: "telnet",
        peer: peer.to_owned(),
        command: wish.text.clone(),
    };
    let done = match wish.dry_run {
        true => desk.preview(&asked),
        false => desk.change(&asked),
    };
    let outcome = done.map_err(|refusal| refusal.to_string())?;
    Ok(match wish.dry_run {
        true => would_change(&outcome),
        false => changed(&outcome, wish.backlog),
    })
}

/// With the keys of rules that are named by their number.
fn named(desk: &dyn Desk, change: &Change) -> Change {
    let mut change = change.clone();
    let (kind, key, place) = match &mut change {
        Change::Remove { kind, key } | Change::Replace { kind, key, .. } => (kind, Some(key), None),
        Change::Move { kind, key, place } => (kind, Some(key), Some(place)),
        Change::Add { kind, place, .. } => (kind, None, Some(place)),
        _ => return change,
    };
    let other = match place {
        Some(Place::Before(other) | Place::After(other)) => Some(other),
        _ => None,
    };
    // A route has a name; that of one may be a number.
    if *kind == RuleKind::Route || key.is_none() && other.is_none() {
        return change;
    }
    let table = desk.table();
    for name in key.into_iter().chain(other) {
        *name = show::key_of(&table, *kind, name);
    }
    change
}

fn changed(outcome: &Outcome, backlog: Option<Backlog>) -> Vec<String> {
    let mut lines = warnings(outcome);
    for of in &outcome.backlog {
        let word = Backlog::WORDS.iter().find(|(_, own)| Some(*own) == backlog);
        let word = word.map_or("", |(word, _)| word);
        lines.push(format!(
            "{}: {word} {} lines queued and {} spooled",
            of.destination, of.queued, of.spooled
        ));
    }
    lines.push(match outcome.id {
        Some(id) => format!("change {id}"),
        None => "volatile: until the next restart".to_owned(),
    });
    lines
}

fn would_change(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    for difference in &outcome.preview.differences {
        let key = &difference.key;
        let kind = difference.kind.one();
        let (before, after) = (&difference.before, &difference.after);
        let what = match (before, after) {
            (None, _) => "comes",
            (_, None) => "goes",
            (before, after) if before == after => "gets another place",
            _ => "changes",
        };
        lines.push(format!("{kind} {key} {what}"));
        if before != after {
            let side = |sign: &str, text: &Option<String>| -> Vec<String> {
                let text = text.as_deref().unwrap_or_default();
                let lines = text.lines().filter(|line| !line.is_empty());
                lines.map(|line| format!("  {sign} {line}")).collect()
            };
            lines.extend(side("-", before));
            lines.extend(side("+", after));
        }
    }
    let preview = &outcome.preview;
    let ids = [
        ("comes", &preview.destinations_added),
        ("goes", &preview.destinations_removed),
    ];
    for (what, ids) in ids {
        lines.extend(ids.iter().map(|id| format!("destination {id} {what}")));
    }
    for of in &outcome.backlog {
        lines.push(format!(
            "destination {} has {} lines queued and {} spooled: say drain, discard or keep",
            of.destination, of.queued, of.spooled
        ));
    }
    lines.extend(warnings(outcome));
    lines
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let all = outcome.preview.warnings.iter();
    all.map(|warning| format!("warning: {warning}")).collect()
}
