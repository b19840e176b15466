//! `baton status`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use super::ControlArgs;
use super::columns::columns;
use crate::handover::{Answer, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    control: ControlArgs,
    /// The whole document, as JSON
    #[arg(long)]
    json: bool,
}

/// Longer than a supervisor waits for its worker.
const PATIENCE: Duration = Duration::from_secs(10);

/// All that a daemon has to say.
///
/// # Errors
/// None answers.
pub(super) fn document(control: &ControlArgs) -> anyhow::Result<Value> {
    let answer = control.connect()?.ask(Request::Status, Some(PATIENCE))?;
    if !matches!(answer, Answer::Status { .. }) {
        bail!("an answer that isn't a status: {answer:?}");
    }
    Ok(serde_json::to_value(&answer)?)
}

/// How many rules of the file are otherwise in force. A worker of an older version doesn't say.
pub(super) fn overruled(document: &Value) -> u64 {
    document["worker"]["run_time"]["overruled"]
        .as_u64()
        .unwrap_or(0)
}

pub(super) fn overruled_in_words(rules: u64) -> Option<String> {
    let (rules, are) = match rules {
        0 => return None,
        1 => ("1 rule".to_owned(), "is"),
        rules => (format!("{rules} rules"), "are"),
    };
    Some(format!(
        "{rules} of the file {are} overruled by run-time changes: baton config diff"
    ))
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let document = document(&args.control)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&document)?);
    } else {
        print!("{}", for_people(&document));
    }
    Ok(ExitCode::SUCCESS)
}

fn for_people(document: &Value) -> String {
    let (supervisor, worker) = (&document["supervisor"], &document["worker"]);
    let mut lines = vec![
        format!(
            "baton {}, pid {}, {} since {}",
            text(&supervisor["version"]),
            supervisor["pid"],
            text(&supervisor["state"]),
            text(&supervisor["started_at"])
        ),
        format!("config {}", text(&supervisor["config"])),
    ];
    if supervisor["full_restart_due"] == true {
        lines.push(format!(
            "the supervisor is older than its worker ({}): a full restart is due",
            text(&worker["version"])
        ));
    }
    if worker.is_null() {
        lines.push("no worker serves just now".into());
    } else {
        let totals = &worker["totals"];
        lines.push(format!(
            "worker {}, pid {}, generation {}",
            text(&worker["version"]),
            worker["pid"],
            worker["generation"]
        ));
        lines.push(format!(
            "lines: {} in, {} rejected, {} blocked, {} consumed, {} unrouted, {} routed; lost by crashes: {} bytes",
            totals["in"],
            sum(&totals["rejected"]),
            totals["blocked"],
            totals["consumed"],
            totals["unrouted"],
            totals["routed"],
            totals["lost_by_crash_bytes"]
        ));
        let dropped = sum(&worker["dropped"]);
        if dropped > 0 {
            let there = worker["destinations"].as_array().into_iter().flatten();
            let there: u64 = there.map(|d| sum(&d["dropped"])).sum();
            lines.push(format!(
                "dropped: {dropped} lines, {} of them by destinations that were removed",
                dropped.saturating_sub(there)
            ));
        }
        lines.extend(overruled_in_words(overruled(document)));
        lines.extend(state(&worker["state"]));
        lines.push(String::new());
        lines.extend(table(
            &["LISTENER", "KIND", "CONNECTIONS", "LINES", "REJECTED"],
            worker["listeners"].as_array(),
            |l| {
                let (lines, rejected) = (&l["in"], sum(&l["rejected"]));
                vec![
                    text(&l["address"]),
                    text(&l["kind"]),
                    l["connections"].to_string(),
                    lines.to_string(),
                    rejected.to_string(),
                ]
            },
        ));
        lines.push(String::new());
        lines.extend(table(
            &[
                "DESTINATION",
                "STATE",
                "GIVEN",
                "ACKNOWLEDGED",
                "QUEUED",
                "SPOOLED",
                "OLDEST",
                "DROPPED",
                "ERROR",
            ],
            worker["destinations"].as_array(),
            |d| {
                let age = d["oldest_age_s"].as_f64().unwrap_or(0.0);
                vec![
                    text(&d["id"]),
                    match d["route"] == "" {
                        true => format!("{} (leaving)", text(&d["state"])),
                        false => text(&d["state"]),
                    },
                    d["given"].to_string(),
                    d["acknowledged"].to_string(),
                    d["queued"].to_string(),
                    d["spooled"].to_string(),
                    format!("{age:.0}s"),
                    sum(&d["dropped"]).to_string(),
                    text(&d["error"]),
                ]
            },
        ));
    }
    let generations = document["generations"].as_array();
    let recent = generations.map(|all| all[all.len().saturating_sub(5)..].to_vec());
    lines.push(String::new());
    lines.extend(table(
        &[
            "GENERATION",
            "PID",
            "VERSION",
            "REASON",
            "STARTED",
            "PAUSE",
            "OUTCOME",
        ],
        recent.as_ref(),
        |g| {
            let pause = g["pause_us"]
                .as_u64()
                .map_or("-".into(), |us| format!("{:.1} ms", us as f64 / 1e3));
            vec![
                g["id"].to_string(),
                g["pid"].to_string(),
                text(&g["version"]),
                text(&g["reason"]),
                text(&g["started_at"]),
                pause,
                text(&g["outcome"]),
            ]
        },
    ));
    lines.join("\n") + "\n"
}

/// The database, and what it has for destinations that the config doesn't have. A worker of an older version doesn't say.
fn state(state: &Value) -> Vec<String> {
    if state.is_null() {
        return Vec::new();
    }
    let mib = |bytes: &Value| format!("{:.1} MiB", bytes.as_f64().unwrap_or(0.0) / 1048576.0);
    let mut line = format!(
        "state {}: {}, {} free, log {}",
        text(&state["path"]),
        mib(&state["file_bytes"]),
        mib(&state["free_bytes"]),
        mib(&state["wal_bytes"])
    );
    if state["wal_held"] == true {
        line.push_str(" (held by a reader)");
    }
    if !state["error"].is_null() {
        line.push_str(&format!("; it takes nothing: {}", text(&state["error"])));
    }
    if !state["moved_aside"].is_null() {
        let to = text(&state["moved_aside"]);
        line.push_str(&format!("; a damaged one was moved to {to}"));
    }
    let orphans = state["orphans"].as_array().into_iter().flatten();
    let orphans = orphans.map(|orphan| {
        format!(
            "spooled for {}, which the config doesn't have: {} lines, {}, since {}",
            text(&orphan["destination"]),
            orphan["lines"],
            mib(&orphan["bytes"]),
            text(&orphan["oldest"])
        )
    });
    [line].into_iter().chain(orphans).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The sum of an object's numbers.
fn sum(value: &Value) -> u64 {
    value
        .as_object()
        .map_or(0, |map| map.values().filter_map(Value::as_u64).sum())
}

/// A table with a row for each.
fn table(
    head: &[&str],
    rows: Option<&Vec<Value>>,
    cells: impl Fn(&Value) -> Vec<String>,
) -> Vec<String> {
    columns(head, rows.into_iter().flatten().map(cells))
}
