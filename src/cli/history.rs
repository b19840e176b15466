//! `baton history`: what was changed, by whom, and how it is undone.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::api::{self, Request};
use super::change::{self, Terms, Wanted};
use super::columns::{columns, say, say_json, shown};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// So many changes, the newest first; at most 1000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Changes before that of this number
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: api::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the rules that a change touched what they were before it
    ///
    /// That is a change as well, and can be undone.
    Undo {
        /// The change's number
        id: u64,
        #[command(flatten)]
        terms: Terms,
        #[command(flatten)]
        api: api::Args,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Some(Command::Undo { id, terms, api }) => {
            let wanted = Wanted {
                method: "POST",
                path: format!("v1/history/{id}/undo"),
                place: None,
                body: None,
            };
            change::make(api, &wanted, terms)
        }
        None => list(args),
    }
}

fn list(args: &Args) -> anyhow::Result<ExitCode> {
    let before = args
        .before
        .map_or(String::new(), |id| format!("&before={id}"));
    let path = format!("v1/history?limit={}{before}", args.limit);
    let changes: Vec<Value> = args.api.find()?.read(&Request::get(path))?;
    if args.json {
        say_json(&changes)?;
        return Ok(ExitCode::SUCCESS);
    }
    if changes.is_empty() {
        say("nothing was changed\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| shown(value.as_str().unwrap_or_default());
    let rows = changes.iter().map(|change| {
        let undo = if change["can_be_undone"] == true {
            "yes"
        } else {
            "no"
        };
        vec![
            change["id"].to_string(),
            text(&change["at"]),
            text(&change["via"]),
            text(&change["peer"]),
            undo.to_owned(),
            text(&change["command"]),
        ]
    });
    let head = ["ID", "AT", "VIA", "FROM", "UNDO", "WHAT"];
    say(&(columns(&head, rows).join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}
