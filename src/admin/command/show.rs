//! What there is, as columns of text.

use crate::admin::desk::{TableRule, TableView};
use crate::admin::view::{DestinationView, RouteView, SpoolView, View};
use crate::config::{Rule, RuleKind};
use crate::spec::{Route, quoted};
use crate::state::PastChange;

/// Columns as wide as their widest cell.
fn columns<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|at| width(at).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A route a row, and one more for each destination but its first.
pub(super) fn routes(view: &View) -> Vec<String> {
    let mut rows = Vec::new();
    for route in &view.routes {
        let of = view.destinations.iter().filter(|d| d.route == route.key);
        let mut names = [route.key.clone(), route.kind.clone(), matches(route)];
        for destination in of {
            let [key, kind, matches] = std::mem::take(&mut names);
            rows.push([
                key,
                kind,
                matches,
                destination.id.clone(),
                destination.address.clone(),
                destination.state.to_owned(),
                destination.queued.to_string(),
                destination.spooled.to_string(),
            ]);
        }
    }
    let head = [
        "KEY",
        "TYPE",
        "MATCHES",
        "DESTINATION",
        "ADDRESS",
        "STATE",
        "QUEUED",
        "SPOOLED",
    ];
    columns(head, rows)
}

fn matches(route: &RouteView) -> String {
    let all = route.matcher.iter();
    let words: Vec<_> = all
        .map(|(key, value)| format!("{key}={}", quoted(value)))
        .collect();
    match &words[..] {
        [] => "all".to_owned(),
        words => words.join(" "),
    }
}

/// All rules, each as the command that adds it.
pub(super) fn table(table: &TableView) -> Vec<String> {
    let mut lines = vec![format!("version {}", table.version)];
    if table.first_only {
        lines.push("first_only: only the first route that matches takes a line".to_owned());
    }
    for kind in RuleKind::ALL {
        let of_kind = table.rules.iter().filter(|rule| rule.kind == kind);
        let rows: Vec<_> = of_kind
            .enumerate()
            .map(|(at, rule)| row(at, rule))
            .collect();
        let command = match kind {
            RuleKind::Blocklist => "addBlock",
            RuleKind::Rewriter => "addRewriter",
            RuleKind::Aggregation => "addAgg",
            RuleKind::Route => "addRoute",
        };
        if !rows.is_empty() {
            lines.extend(columns(["N", "FROM", command], rows));
        }
    }
    for removed in &table.removed {
        lines.push(format!("removed: {} {}", removed.kind.one(), removed.key));
    }
    for left in &table.left_out {
        let kind = left.kind.one();
        lines.push(format!("left out: {kind} {}: {}", left.key, left.reason));
    }
    lines
}

fn row(at: usize, rule: &TableRule) -> [String; 3] {
    let origin = rule.origin.as_str();
    let origin = match rule.volatile {
        true => format!("{origin}, volatile"),
        false => origin.to_owned(),
    };
    // Paths in it are absolute by now.
    let read = Rule::parse(rule.kind, &rule.toml, std::path::Path::new("/"));
    let text = match read {
        Ok((Rule::Route(route), _)) => route_text(*route),
        // The text of another rule is what it is known by.
        _ => rule.key.clone(),
    };
    [at.to_string(), origin, text]
}

/// As `addRoute` takes it, without the ids that destinations have anyway.
fn route_text(mut route: Route) -> String {
    let destinations = std::mem::take(&mut route.destinations);
    let mut text = route.to_string();
    for destination in destinations {
        let usual = format!("{}/{}", route.key, destination.address);
        let whole = destination.to_string();
        text.push_str("  ");
        text.push_str(&match destination.id == usual {
            true => whole.replacen(&format!(" id={}", quoted(&usual)), "", 1),
            false => whole,
        });
    }
    text
}

/// The key of the rule that is meant by a text or by a number; what is neither stays what it is.
pub(super) fn key_of(table: &TableView, kind: RuleKind, which: &str) -> String {
    let mut of_kind = table.rules.iter().filter(|rule| rule.kind == kind);
    if of_kind.clone().any(|rule| rule.key == which) {
        return which.to_owned();
    }
    let numbered = which.parse().ok().and_then(|at| of_kind.nth(at));
    numbered.map_or_else(|| which.to_owned(), |rule| rule.key.clone())
}

/// The last changes.
pub(super) fn history(past: &[PastChange]) -> Vec<String> {
    let row = |change: &PastChange| {
        [
            change.id.to_string(),
            change.at.clone(),
            change.via.clone(),
            change.peer.clone(),
            if change.can_be_undone { "yes" } else { "no" }.to_owned(),
            change.outcome.clone(),
            change.command.clone(),
        ]
    };
    let head = ["ID", "AT", "VIA", "PEER", "UNDO", "OUTCOME", "COMMAND"];
    columns(head, past.iter().map(row).collect())
}

/// What is in the spools, those included whose destination the config doesn't have.
pub(super) fn spools(view: &View) -> Vec<String> {
    let row = |id: &str, route: &str, spool: &SpoolView| {
        [
            id.to_owned(),
            route.to_owned(),
            spool.rows.to_string(),
            spool.lines.to_string(),
            spool.bytes.to_string(),
            spool.oldest.clone().unwrap_or_default(),
            spool.newest.clone().unwrap_or_default(),
        ]
    };
    let of = view.destinations.iter();
    let mut rows: Vec<_> = of.map(|one| row(&one.id, &one.route, &one.spool)).collect();
    let orphans = view.state.orphans.iter();
    rows.extend(orphans.map(|orphan| row(&orphan.destination, "(none)", &orphan.spool)));
    let head = [
        "DESTINATION",
        "ROUTE",
        "ROWS",
        "LINES",
        "BYTES",
        "OLDEST",
        "NEWEST",
    ];
    columns(head, rows)
}

/// The state of a worker.
pub(super) fn status(view: &View) -> Vec<String> {
    let totals = &view.totals;
    let rejected: u64 = totals.rejected.values().sum();
    let mut lines = vec![
        format!(
            "worker {}, pid {}, generation {}, config {}",
            view.version, view.pid, view.generation, view.config_hash
        ),
        format!(
            "lines: {} in, {rejected} rejected, {} blocked, {} consumed, {} unrouted, {} routed; lost by crashes: {} bytes",
            totals.lines,
            totals.blocked,
            totals.consumed,
            totals.unrouted,
            totals.routed,
            totals.lost_by_crash_bytes
        ),
        state(view),
        String::new(),
    ];
    let listeners = view.listeners.iter().map(|one| {
        [
            one.address.clone(),
            one.kind.clone(),
            one.connections.to_string(),
            one.totals.lines.to_string(),
            one.totals.rejected.values().sum::<u64>().to_string(),
        ]
    });
    let head = ["LISTENER", "KIND", "CONNECTIONS", "LINES", "REJECTED"];
    lines.extend(columns(head, listeners.collect()));
    lines.push(String::new());
    let head = [
        "DESTINATION",
        "STATE",
        "GIVEN",
        "ACKNOWLEDGED",
        "QUEUED",
        "SPOOLED",
        "OLDEST",
        "DROPPED",
        "ERROR",
    ];
    lines.extend(columns(
        head,
        view.destinations.iter().map(destination).collect(),
    ));
    lines
}

fn destination(one: &DestinationView) -> [String; 9] {
    [
        one.id.clone(),
        one.state.to_owned(),
        one.given.to_string(),
        one.acknowledged.to_string(),
        one.queued.to_string(),
        one.spooled.to_string(),
        format!("{:.0}s", one.oldest_age_s),
        one.dropped.values().sum::<u64>().to_string(),
        one.error.clone().unwrap_or_default(),
    ]
}

fn state(view: &View) -> String {
    let state = &view.state;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1048576.0);
    let (file, free, log) = (state.file_bytes, state.free_bytes, state.wal_bytes);
    let mut line = format!(
        "state {}: {}, {} free, log {}",
        state.path,
        mib(file),
        mib(free),
        mib(log)
    );
    if let Some(error) = &state.error {
        line.push_str(&format!("; it takes nothing: {error}"));
    }
    line
}
