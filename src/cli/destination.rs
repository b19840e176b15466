//! `baton destination`: where routes send lines.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::api::{self, Api, Request, escaped};
use super::change::{self, Terms, Wanted};
use super::columns::{columns, say, say_json, shown};
use super::rules::joined;
use crate::spec::{OPTIONS, PATTERNS, nearest};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the destinations, route by route, and what they have
    List {
        /// Those of this route only
        route: Option<String>,
        /// As JSON, with all that is counted
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: api::Args,
    },
    /// Give a route one more destination, behind its others
    Add {
        /// The route's key
        route: String,
        /// HOST:PORT, HOST:PORT:INSTANCE or file:PATH
        address: String,
        /// As in a config's destination strings, for example queue=64MiB
        #[arg(value_name = "OPTION=VALUE")]
        options: Vec<String>,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
    /// Remove a destination from its route
    ///
    /// With undelivered lines it is refused, with their numbers, until --backlog says what becomes of them.
    #[command(visible_alias = "delete")]
    Del {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
    /// Change a destination's address or options; it keeps its id and its lines
    Edit {
        #[command(flatten)]
        which: Which,
        /// address=HOST:PORT or an option of a destination string
        #[arg(value_name = "OPTION=VALUE", required_unless_present = "unset")]
        options: Vec<String>,
        /// An option that gets its default again
        #[arg(long, value_name = "OPTION")]
        unset: Vec<String>,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
}

/// One destination.
#[derive(Debug, clap::Args)]
struct Which {
    /// Its id or its address; with --route also its number there, from 0
    destination: String,
    /// The key of its route, if several have one of that address
    #[arg(long, value_name = "KEY")]
    route: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::List { route, json, api } => list(&api.find()?, route.as_deref(), *json),
        Command::Add {
            route,
            address,
            options,
            terms,
            api,
        } => {
            let words: Vec<String> = [address].into_iter().chain(options).cloned().collect();
            let texts = joined(&words)?;
            let [destination] = &texts[..] else {
                bail!(
                    "expected one address and its options, found {}",
                    texts.join(", ")
                );
            };
            let wanted = Wanted {
                method: "POST",
                path: format!("v1/routes/{}/destinations", escaped(route)),
                place: None,
                body: Some(json!({ "destination": destination })),
            };
            change::make(api, &wanted, terms)
        }
        Command::Del { which, terms, api } => {
            let wanted = Wanted {
                method: "DELETE",
                path: which.path(&api.find()?)?,
                place: None,
                body: None,
            };
            change::make(api, &wanted, terms)
        }
        Command::Edit {
            which,
            options,
            unset,
            terms,
            api,
        } => {
            let wanted = Wanted {
                method: "PATCH",
                path: which.path(&api.find()?)?,
                place: None,
                body: Some(patch(options, unset)?.into()),
            };
            change::make(api, &wanted, terms)
        }
    }
}

fn patch(options: &[String], unset: &[String]) -> anyhow::Result<Map<String, Value>> {
    let mut patch = Map::new();
    for text in options {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| anyhow!("expected OPTION=VALUE, found {text:?}"))?;
        patch.insert(known(name)?.to_owned(), value.into());
    }
    for name in unset {
        known(name)?;
        if patch.insert(name.clone(), Value::Null).is_some() {
            bail!("{name}: set and unset, or unset twice");
        }
    }
    Ok(patch)
}

/// An option that there is: to unset another would change nothing, and not be noticed.
fn known(name: &str) -> anyhow::Result<&str> {
    let all = [&["address", "addr", "reconn"], OPTIONS, PATTERNS].concat();
    match (all.contains(&name), nearest(name, &all)) {
        (true, _) => Ok(name),
        (false, Some(near)) => bail!("{name}: unknown option: did you mean {near}?"),
        (false, None) => bail!("{name}: unknown option: expected one of {}", all.join(", ")),
    }
}

impl Which {
    /// Where the API has it.
    fn path(&self, api: &Api) -> anyhow::Result<String> {
        let route = match &self.route {
            Some(route) => route.clone(),
            None => self.route_of(api)?,
        };
        let (route, destination) = (escaped(&route), escaped(&self.destination));
        Ok(format!("v1/routes/{route}/destinations/{destination}"))
    }

    fn route_of(&self, api: &Api) -> anyhow::Result<String> {
        let all = destinations(api)?;
        let wanted = &self.destination[..];
        let having = |key: &str| -> Vec<String> {
            let found = all.iter().filter(|one| one[key] == wanted);
            found
                .filter_map(|one| one["route"].as_str())
                .map(str::to_owned)
                .collect()
        };
        let mut routes = having("id");
        if routes.is_empty() {
            routes = having("address");
        }
        match &routes[..] {
            [one] => Ok(one.clone()),
            [] => bail!("there is no destination {wanted:?}: baton destination list shows all"),
            several => bail!(
                "{wanted} is a destination of {}: say --route KEY",
                several.join(", ")
            ),
        }
    }
}

/// What is known of them now. Those that are on their way out have no route.
fn destinations(api: &Api) -> anyhow::Result<Vec<Value>> {
    let status: Value = api.read(&Request::get("status"))?;
    let all = status["destinations"].as_array().cloned();
    Ok(all.unwrap_or_default())
}

fn list(api: &Api, route: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let mut all = destinations(api)?;
    if let Some(route) = route {
        all.retain(|one| one["route"] == route);
        if all.is_empty() {
            bail!("there is no route {route:?}");
        }
    }
    if json {
        say_json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| shown(value.as_str().unwrap_or_default());
    let rows = all.iter().map(|one| {
        let dropped = one["dropped"].as_object();
        let dropped = dropped.map_or(0, |by| by.values().filter_map(Value::as_u64).sum());
        let route = match one["route"].as_str() {
            Some("") | None => "(leaving)".to_owned(),
            Some(route) => shown(route),
        };
        vec![
            route,
            text(&one["id"]),
            text(&one["address"]),
            text(&one["state"]),
            one["acknowledged"].to_string(),
            one["queued"].to_string(),
            one["spooled"].to_string(),
            dropped.to_string(),
            text(&one["error"]),
        ]
    });
    let head = [
        "ROUTE",
        "DESTINATION",
        "ADDRESS",
        "STATE",
        "ACKNOWLEDGED",
        "QUEUED",
        "SPOOLED",
        "DROPPED",
        "ERROR",
    ];
    say(&(columns(&head, rows).join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
