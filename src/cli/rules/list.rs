//! The rules of a kind as a table.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Api, table};
use crate::admin::desk::{TableRule, TableView};
use crate::cli::api::Request;
use crate::cli::columns::{columns, say, say_json, shown};
use crate::config::RuleKind;
use crate::spec::PATTERNS;

pub(super) fn list(api: &Api, kind: RuleKind, json: bool) -> anyhow::Result<ExitCode> {
    let table = table(api)?;
    let rules: Vec<&TableRule> = table
        .rules
        .iter()
        .filter(|rule| rule.kind == kind)
        .collect();
    if json {
        say_json(&json!({"version": table.version, "rules": rules}))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = match (&rules[..], kind) {
        ([], kind) => vec![format!("there is no {}", kind.one())],
        (rules, RuleKind::Route) => {
            let status: Value = api.read(&Request::get("status"))?;
            routes(rules, &status)
        }
        (rules, _) => others(rules),
    };
    lines.extend(beside(&table, kind));
    say(&(lines.join("\n") + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn origin(rule: &TableRule) -> String {
    let volatile = if rule.volatile { ", volatile" } else { "" };
    format!("{}{volatile}", rule.origin.as_str())
}

fn others(rules: &[&TableRule]) -> Vec<String> {
    let rows = rules
        .iter()
        .zip(0..)
        .map(|(rule, number)| vec![number.to_string(), origin(rule), shown(&rule.key)]);
    columns(&["N", "ORIGIN", "RULE"], rows)
}

fn routes(rules: &[&TableRule], status: &Value) -> Vec<String> {
    let of = |list: &str| status[list].as_array().cloned().unwrap_or_default();
    let (routes, destinations) = (of("routes"), of("destinations"));
    let rows = rules.iter().map(|rule| {
        let key = &rule.key[..];
        let lines = routes.iter().find(|route| route["key"] == key);
        let own: Vec<&Value> = destinations.iter().filter(|d| d["route"] == key).collect();
        let sum = |what: &str| own.iter().filter_map(|d| d[what].as_u64()).sum::<u64>();
        let up = own.iter().filter(|d| d["state"] == "up").count();
        vec![
            shown(key),
            rule.spec
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("sendAllMatch")
                .to_owned(),
            format!("{up}/{} up", own.len()),
            lines.map_or("-".to_owned(), |route| route["lines"].to_string()),
            sum("queued").to_string(),
            sum("spooled").to_string(),
            origin(rule),
            matches(rule),
        ]
    });
    let head = [
        "KEY", "TYPE", "STATE", "LINES", "QUEUED", "SPOOLED", "ORIGIN", "MATCH",
    ];
    columns(&head, rows)
}

/// The patterns of a route that are set.
fn matches(rule: &TableRule) -> String {
    let set = PATTERNS.iter().filter_map(|name| {
        let value = rule.spec.get(*name)?.as_str()?;
        Some(format!("{name}={}", shown(value)))
    });
    match set.collect::<Vec<_>>() {
        none if none.is_empty() => "all".to_owned(),
        some => some.join(" "),
    }
}

/// What isn't in force, and might be looked for.
fn beside(table: &TableView, kind: RuleKind) -> Vec<String> {
    let removed = table.removed.iter().filter(|rule| rule.kind == kind);
    let removed =
        removed.map(|rule| format!("removed, though the file has it: {}", shown(&rule.key)));
    let left_out = table.left_out.iter().filter(|rule| rule.kind == kind);
    let left_out = left_out.map(|rule| {
        let (key, reason) = (shown(&rule.key), shown(&rule.reason));
        format!("left out, since it doesn't go with the file any more: {key}: {reason}")
    });
    let mut lines: Vec<String> = removed.chain(left_out).collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}
