//! A change of the table, asked for and told.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::api::{self, Api, Failed, Request, escaped};
use super::columns::{say, say_json, shown};
use super::diff;
use crate::admin::desk::{BacklogOf, Outcome};
use crate::amend::Difference;

/// A change takes milliseconds, if nothing holds it up.
const LONG: Duration = Duration::from_millis(500);

/// How a change is meant.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "How")]
pub struct Terms {
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Until the next restart only: it isn't written
    #[arg(long)]
    pub volatile: bool,
    /// What becomes of lines of destinations that go; without it they aren't removed while they have any
    #[arg(long, value_name = "WHAT")]
    pub backlog: Option<Backlog>,
    /// Only if the table has this version still, as `show` and each change tell it
    #[arg(long, value_name = "V")]
    pub if_version: Option<String>,
    /// The answer as JSON, also if it is a no
    #[arg(long)]
    pub json: bool,
}

/// What becomes of lines that a destination has which goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backlog {
    /// They are delivered, as long as stop_timeout; the rest is kept
    Drain,
    /// They are dropped, and counted
    Discard,
    /// They stay in the spool, for a destination with the same id and `baton spool`
    Keep,
}

/// A place among the rules of a kind.
#[derive(Clone, Debug, clap::Args)]
#[group(multiple = false)]
pub struct Place {
    /// Before all others
    #[arg(long)]
    first: bool,
    /// Behind all others
    #[arg(long)]
    last: bool,
    /// Before the rule that is known so
    #[arg(long, value_name = "KEY")]
    before: Option<String>,
    /// Behind the rule that is known so
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
}

impl Place {
    /// As the API has it; `None`: it wasn't said.
    pub fn word(&self) -> Option<String> {
        match (&self.before, &self.after) {
            (Some(key), _) => Some(format!("before:{key}")),
            (_, Some(key)) => Some(format!("after:{key}")),
            _ if self.first => Some("first".to_owned()),
            _ if self.last => Some("last".to_owned()),
            _ => None,
        }
    }
}

/// What is to be changed.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: &'static str,
    /// Below `/api/`, escaped, without a query.
    pub path: String,
    /// For new rules and moves.
    pub place: Option<String>,
    /// What is sent.
    pub body: Option<Value>,
}

impl Wanted {
    fn request(&self, terms: &Terms) -> Request {
        let mut query = Vec::new();
        if terms.dry_run {
            query.push("dry_run=true".to_owned());
        }
        if terms.volatile {
            query.push("volatile=true".to_owned());
        }
        if let Some(word) = terms.backlog.and_then(|word| word.to_possible_value()) {
            query.push(format!("backlog={}", word.get_name()));
        }
        if let Some(place) = &self.place {
            query.push(format!("place={}", escaped(place)));
        }
        let mark = if query.is_empty() { "" } else { "?" };
        Request {
            method: self.method,
            path: format!("{}{mark}{}", self.path, query.join("&")),
            if_version: terms.if_version.clone(),
            body: self.body.clone(),
        }
    }
}

/// What a change would make.
///
/// # Errors
/// [`Failed`], as it was asked.
pub fn preview(api: &Api, wanted: &Wanted, terms: &Terms) -> anyhow::Result<Outcome> {
    let dry = Terms {
        dry_run: true,
        ..terms.clone()
    };
    api.read(&wanted.request(&dry))
}

/// Has it done, and tells what came of it.
///
/// # Errors
/// [`Failed`], unless that was told as JSON.
pub fn make(args: &api::Args, wanted: &Wanted, terms: &Terms) -> anyhow::Result<ExitCode> {
    let api = args.find()?;
    let answer = waiting(|| api.ask(&wanted.request(terms)));
    if let Err(Failed::Refused(problem)) = &answer
        && problem.is_so_already()
    {
        eprintln!("nothing would change");
        if terms.json {
            say_json(&problem.document)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if terms.json {
        return tell_json(answer);
    }
    let outcome: Outcome = serde_json::from_slice(&answer?)?;
    for warning in &outcome.preview.warnings {
        eprintln!("warning: {warning}");
    }
    match terms.dry_run {
        true => say(&would(&outcome, diff::has_colour()))?,
        false => say(&did(&outcome, terms.backlog))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says on a terminal what a change waits for that takes longer than any other.
fn waiting<T>(ask: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return ask();
    }
    let (done, waits) = sync_channel::<()>(0);
    std::thread::spawn(move || {
        if waits.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
            eprintln!(
                "waiting: while a restart is under way, and until it has proved itself, changes wait (baton status)"
            );
        }
    });
    let answer = ask();
    drop(done);
    answer
}

fn tell_json(answer: Result<Vec<u8>, Failed>) -> anyhow::Result<ExitCode> {
    match answer {
        Ok(bytes) => {
            say_json(&serde_json::from_slice::<Value>(&bytes)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(Failed::Refused(problem)) if !problem.document.is_null() => {
            say_json(&problem.document)?;
            Ok(Failed::Refused(problem).exit_status().into())
        }
        Err(other) => Err(other.into()),
    }
}

/// What a change would make, as a diff.
pub fn would(outcome: &Outcome, colour: bool) -> String {
    let mut text = diff::show(&outcome.preview.differences, colour);
    for one in &outcome.backlog {
        let BacklogOf {
            destination,
            queued,
            spooled,
        } = one;
        text.push_str(&format!(
            "{destination} would go and has lines: {queued} queued, {spooled} spooled (--backlog drain, discard or keep)\n"
        ));
    }
    text
}

/// What a change has made, a line for each rule.
fn did(outcome: &Outcome, backlog: Option<Backlog>) -> String {
    let mut text = String::new();
    for one in &outcome.preview.differences {
        let Difference {
            kind,
            key,
            before,
            after,
        } = one;
        let what = match (before, after) {
            (None, _) => "added",
            (_, None) => "removed",
            (before, after) if before == after => "moved",
            _ => "changed",
        };
        text.push_str(&format!("{} {} {what}\n", kind.one(), shown(key)));
    }
    for one in &outcome.backlog {
        let (id, lines) = (shown(&one.destination), one.queued + one.spooled);
        let become_of_them = match backlog {
            Some(Backlog::Discard) => "are dropped",
            Some(Backlog::Keep) => "stay in the spool",
            Some(Backlog::Drain) | None => "are being delivered (baton status)",
        };
        text.push_str(&format!("{id}: its {lines} lines {become_of_them}\n"));
    }
    let version = &outcome.version;
    match outcome.id {
        Some(id) => text.push_str(&format!(
            "change {id}, version {version}; to undo it: baton history undo {id}\n"
        )),
        None => text.push_str(&format!("until the next restart; version {version}\n")),
    }
    text
}
