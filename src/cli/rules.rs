//! `baton route`, `blocklist`, `rewriter` and `aggregation`: the table, rule by rule.

mod add;
mod by_hand;
mod list;

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::api::{self, Api, Request, escaped};
use super::change::{self, Place, Terms, Wanted};
use super::columns::{say, say_json};
use crate::admin::desk::{TableRule, TableView};
use crate::config::RuleKind;
pub use add::{NewAggregation, NewBlock, NewRewriter, NewRoute, joined};

/// The rules of a kind; `N` is what a new one is made of.
#[derive(Debug, clap::Args)]
pub struct Args<N: New> {
    #[command(subcommand)]
    command: Command<N>,
}

/// What a new rule is made of.
pub trait New: clap::Args {
    /// Of which kind it is.
    const KIND: RuleKind;

    /// Its keys, as a config file has them.
    ///
    /// # Errors
    /// What can't be understood.
    fn keys(&self) -> anyhow::Result<Map<String, Value>>;
}

#[derive(Debug, Subcommand)]
enum Command<N: New> {
    /// Show the rules in force, in their order
    List {
        /// The rules and the table's version as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: api::Args,
    },
    /// Show one rule as a config file has it
    Show {
        /// What it is known by; without one of its own: its number in the list, from 0
        #[arg(required = true, value_name = "KEY")]
        key: Vec<String>,
        /// The rule and the table's version as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: api::Args,
    },
    /// Add a rule, behind all others if no place is said
    Add {
        #[command(flatten)]
        new: N,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
    /// Remove a rule
    ///
    /// With destinations that have undelivered lines it is refused, with their numbers, until --backlog says what becomes
    /// of them.
    #[command(visible_alias = "delete")]
    Del {
        /// What it is known by; without one of its own: its number in the list, from 0
        #[arg(required = true, value_name = "KEY")]
        key: Vec<String>,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
    /// Change some keys of a rule, or all of it in an editor
    ///
    /// Without --set and --unset the rule is opened in $VISUAL or $EDITOR as a config file has it; what would change is
    /// shown, and asked about.
    Edit {
        /// What it is known by; without one of its own: its number in the list, from 0
        #[arg(required = true, value_name = "KEY")]
        key: Vec<String>,
        /// A key of the rule as the config file names it, and its value; lists as in TOML
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// A key that gets its default again
        #[arg(long, value_name = "KEY")]
        unset: Vec<String>,
        /// Don't ask
        #[arg(long, conflicts_with_all = ["set", "unset"])]
        yes: bool,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
    /// Give a rule another place among those of its kind
    Move {
        /// What it is known by; without one of its own: its number in the list, from 0
        #[arg(required = true, value_name = "KEY")]
        key: Vec<String>,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
}

/// Where the API has the rules of a kind.
pub fn collection(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Blocklist => "v1/blocklist",
        RuleKind::Rewriter => "v1/rewriters",
        RuleKind::Aggregation => "v1/aggregations",
        RuleKind::Route => "v1/routes",
    }
}

/// The rules in force.
///
/// # Errors
/// See [`Api::read`].
pub fn table(api: &Api) -> anyhow::Result<TableView> {
    api.read(&Request::get("v1/table"))
}

pub fn run<N: New>(args: &Args<N>) -> anyhow::Result<ExitCode> {
    let kind = N::KIND;
    match &args.command {
        Command::List { json, api } => list::list(&api.find()?, kind, *json),
        Command::Show { key, json, api } => show(&api.find()?, kind, &key.join(" "), *json),
        Command::Add {
            new,
            place,
            terms,
            api,
        } => {
            let wanted = Wanted {
                method: "POST",
                path: collection(kind).to_owned(),
                place: place.word(),
                body: Some(new.keys()?.into()),
            };
            change::make(api, &wanted, terms)
        }
        Command::Del { key, terms, api } => {
            let (path, terms) = element(api, kind, &key.join(" "), terms)?;
            change::make(api, &wanted("DELETE", path, None), &terms)
        }
        Command::Edit {
            key,
            set,
            unset,
            yes,
            terms,
            api,
        } if set.is_empty() && unset.is_empty() => {
            by_hand::edit(api, kind, &key.join(" "), *yes, terms)
        }
        Command::Edit {
            key,
            set,
            unset,
            terms,
            api,
            ..
        } => {
            let patch = patch(set, unset)?;
            let (path, terms) = element(api, kind, &key.join(" "), terms)?;
            change::make(api, &wanted("PATCH", path, Some(patch.into())), &terms)
        }
        Command::Move {
            key,
            place,
            terms,
            api,
        } => {
            let place = place.word();
            if place.is_none() {
                bail!("where to? --first, --last, --before KEY or --after KEY");
            }
            let (path, terms) = element(api, kind, &key.join(" "), terms)?;
            let wanted = Wanted {
                place,
                ..wanted("POST", format!("{path}/move"), None)
            };
            change::make(api, &wanted, &terms)
        }
    }
}

fn wanted(method: &'static str, path: String, body: Option<Value>) -> Wanted {
    Wanted {
        method,
        path,
        place: None,
        body,
    }
}

fn show(api: &Api, kind: RuleKind, key: &str, json: bool) -> anyhow::Result<ExitCode> {
    let table = table(api)?;
    let rule = match find(&table, kind, key) {
        Err(none) if json => {
            say_json(&json!({"status": 404, "title": "Not Found", "detail": none.to_string()}))?;
            return Ok(ExitCode::FAILURE);
        }
        found => found?,
    };
    let version = &table.version;
    if json {
        let mut document = serde_json::to_value(rule)?;
        document["version"] = version[..].into();
        say_json(&document)?;
    } else {
        let origin = rule.origin.as_str();
        let volatile = if rule.volatile { ", volatile" } else { "" };
        let toml = &rule.toml;
        say(&format!(
            "# origin {origin}{volatile}; version {version}\n{toml}"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rule that is known so, or has this number in the list.
fn find<'t>(table: &'t TableView, kind: RuleKind, key: &str) -> anyhow::Result<&'t TableRule> {
    let mut all = table.rules.iter().filter(|rule| rule.kind == kind);
    if let Some(found) = all.clone().find(|rule| rule.key == key) {
        return Ok(found);
    }
    // From 0, as in telnet sessions: the same number must not mean another rule.
    let numbered = number(kind, key).and_then(|number| all.nth(number));
    numbered.ok_or_else(|| anyhow!("there is no {} {key:?}", kind.one()))
}

/// Routes have names; the others are known by their text, so that a number is none.
fn number(kind: RuleKind, key: &str) -> Option<usize> {
    match kind {
        RuleKind::Route => None,
        _ => key.parse().ok(),
    }
}

/// Where the API has a rule. That of a number is the one which has it now, and no other.
fn element(
    args: &api::Args,
    kind: RuleKind,
    key: &str,
    terms: &Terms,
) -> anyhow::Result<(String, Terms)> {
    let mut terms = terms.clone();
    let mut key = key.to_owned();
    if number(kind, &key).is_some() {
        let table = table(&args.find()?)?;
        key.clone_from(&find(&table, kind, &key)?.key);
        terms.if_version = terms.if_version.or(Some(table.version));
    }
    Ok((format!("{}/{}", collection(kind), escaped(&key)), terms))
}

/// `KEY=VALUE`, and keys that get their default.
fn patch(set: &[String], unset: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut patch = Map::new();
    for text in set {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| anyhow!("--set: expected KEY=VALUE, found {text:?}"))?;
        patch.insert(key.to_owned(), value_of(key, value));
    }
    for key in unset {
        if patch.insert(key.clone(), Value::Null).is_some() {
            bail!("{key}: set and unset, or unset twice");
        }
    }
    Ok(patch)
}

/// Keys whose value is a text, whatever it looks like.
const TEXTS: [&str; 7] = ["key", "type", "old", "new", "not", "format", "function"];

/// A value as TOML has it, or a text.
fn value_of(key: &str, text: &str) -> Value {
    let is_text = TEXTS.contains(&key) || key == "rule" || crate::spec::PATTERNS.contains(&key);
    let read = || {
        let table: Value = toml::from_str(&format!("v = {text}")).ok()?;
        // Another key, behind a newline, isn't meant.
        let one = table.as_object().is_some_and(|table| table.len() == 1);
        one.then(|| table["v"].clone())
    };
    match is_text {
        true => text.into(),
        false => read().unwrap_or_else(|| text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_values_of_their_kinds() {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let of = |set: &[&str], unset: &[&str]| patch(&owned(set), &owned(unset));
        let set = [
            "prefix=1",
            "regex=a=b",
            "interval=1m",
            "max=-1",
            "dropRaw=true",
            "destinations=[\"a:1\"]",
            "sub=",
        ];
        let expected = json!({"prefix": "1", "regex": "a=b", "interval": "1m", "max": -1, "dropRaw": true,
            "destinations": ["a:1"], "sub": "", "notSub": null});
        assert_eq!(Value::from(of(&set, &["notSub"]).unwrap()), expected);
        assert!(of(&["prefix"], &[]).is_err());
        assert!(of(&["=1"], &[]).is_err());
        assert!(of(&["a=1"], &["a"]).is_err());
    }
}
