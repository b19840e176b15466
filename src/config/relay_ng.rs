//! carbon-relay-ng's own file, as it is: its keys become Baton's in the parsed document, each at its own place in the
//! file, and the document is compiled as any other.
//!
//! What the file doesn't say has Baton's defaults, not carbon-relay-ng's. What Baton has no counterpart for is an
//! error where something would be missing without it, and a warning where nothing is.

mod commands;
mod edit;
mod listen;
mod machine;
mod routes;

use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use self::edit::{Given, flag, insert, put, put_first, respell, string, strings};
use super::keys;
use super::read::{Report, Value, unknown_key};
use crate::metrics::expand_host;
use crate::spec::{nearest, parse_duration};

pub(super) use self::commands::read as commands;
pub(super) use self::machine::Machine;

/// What carbon-relay-ng has in `[instrumentation]`.
const INSTRUMENTATION: [&str; 2] = ["graphite_addr", "graphite_interval"];

/// Whether a file has keys that only carbon-relay-ng's files have.
pub(super) fn is_its(root: &DeTable) -> bool {
    let own = root.iter().any(|(key, value)| {
        let is_alias = |name: &&str| name.eq_ignore_ascii_case(key.get_ref());
        // `[[routes]]` is a misspelt `[[route]]`.
        keys::RELAY_NG
            .iter()
            .any(|name| is_alias(name) && (*name != "routes" || value.get_ref().is_table()))
    });
    let table = root
        .get("instrumentation")
        .and_then(|table| table.get_ref().as_table());
    own || table.is_some_and(|table| {
        let mut keys = table.keys();
        keys.any(|key| {
            INSTRUMENTATION
                .iter()
                .any(|name| name.eq_ignore_ascii_case(key.get_ref()))
        })
    })
}

/// Puts Baton's keys for carbon-relay-ng's.
pub(super) fn translate<'d>(
    report: &mut Report,
    root: &mut DeTable<'d>,
    commands: &'d [commands::Command],
    machine: &Machine,
) {
    respell(root, &[keys::ROOT, keys::RELAY_NG].concat());
    machine.expand_table(report, root);
    let is_first_version = root.contains_key("routes");

    let host = instance(report, root, machine);
    listen::translate(report, root, machine);
    spool_dir(report, root);
    log_level(report, root);
    validation(report, root);
    blocklist(report, root);
    without_counterpart(report, root);
    amqp(report, root);
    routes::translate(report, root);
    commands::apply(report, root, commands);
    instrumentation(report, root, &host);
    if !is_first_version && let Some(value) = root.get("first_only") {
        let message =
            "carbon-relay-ng ignores it: here only the first route that matches takes a line"
                .to_owned();
        if value.get_ref().as_bool() == Some(true) {
            report.warn(Some(value.span().start), "first_only", message);
        }
    }
    misspelt(report, root);
}

/// Baton's own metrics are known by the instance. Returns the node that stands for it.
fn instance(report: &mut Report, root: &mut DeTable, machine: &Machine) -> String {
    let given = Given::of(root, "instance");
    let name = given.as_ref().and_then(|given| given.text(report));
    let (Some(given), Some(name)) = (given, name.filter(|name| !name.is_empty())) else {
        return expand_host("{host}", &machine.host);
    };
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
            c
        } else {
            '_'
        }
    };
    let node = expand_host("{host}", &name.chars().map(plain).collect::<String>());
    let own = root.get_mut("instrumentation").map(Spanned::get_mut);
    if let Some(DeValue::Table(own)) = own
        && let Some(prefix) = own.get_mut("prefix")
    {
        let text = prefix
            .get_ref()
            .as_str()
            .map(|text| text.replace("{host}", &node));
        if let Some(text) = text {
            *prefix = string(text, prefix.span());
        }
        return node;
    }
    let prefix = string(format!("carbon.relays.{node}.baton"), given.span());
    put(
        report,
        root,
        ("instrumentation", "prefix"),
        (given.key, given.at),
        prefix,
    );
    node
}

/// Its folder gets the database.
fn spool_dir(report: &mut Report, root: &mut DeTable) {
    let Some(given) = Given::of(root, "spool_dir") else {
        return;
    };
    let Some(folder) = given.text(report).filter(|folder| !folder.is_empty()) else {
        return;
    };
    if !folder.starts_with('/') {
        let message =
            "it is beside this file here, and not where the process was started".to_owned();
        report.warn(Some(given.at), given.key, message);
    }
    let path = string(
        format!("{}/baton.db", folder.trim_end_matches('/')),
        given.span(),
    );
    put(report, root, ("state", "path"), (given.key, given.at), path);
}

fn log_level(report: &mut Report, root: &mut DeTable) {
    let Some(given) = Given::of(root, "log_level") else {
        return;
    };
    let Some(text) = given.text(report) else {
        return;
    };
    let level = match &text.to_ascii_lowercase()[..] {
        "warning" => "warn".to_owned(),
        // Before its version 1.0 it had critical and notice.
        "notice" => "info".to_owned(),
        "critical" | "fatal" | "panic" => "error".to_owned(),
        level => level.to_owned(),
    };
    let level = string(level, given.span());
    put(report, root, ("log", "level"), (given.key, given.at), level);
}

fn validation(report: &mut Report, root: &mut DeTable) {
    for (alias, key) in [
        ("validation_level_legacy", "level"),
        ("validation_level_m20", "level_m20"),
    ] {
        if let Some(given) = Given::of(root, alias) {
            put(
                report,
                root,
                ("validation", key),
                (given.key, given.at),
                given.value,
            );
        }
    }
    // Without it nothing is said, so that `false` needs no such key.
    if let Some(given) = Given::of(root, "validate_order")
        && given.as_value().flag(report) == Some(true)
    {
        let order = flag(true, given.span());
        put(
            report,
            root,
            ("validation", "order"),
            (given.key, given.at),
            order,
        );
    }
}

fn blocklist(report: &mut Report, root: &mut DeTable) {
    if let Some(given) = Given::of(root, "blacklist") {
        put(
            report,
            root,
            ("", "blocklist"),
            (given.key, given.at),
            given.value,
        );
    }
}

/// What nothing is missing without.
fn without_counterpart(report: &mut Report, root: &mut DeTable) {
    for (key, why) in [
        (
            "max_procs",
            "Baton has as many threads as the machine has processors",
        ),
        (
            "pid_file",
            "Baton's process keeps its id for life; systemd and `baton status` know it",
        ),
        (
            "bad_metrics_max_age",
            "Baton keeps the last rejected lines, whatever their age",
        ),
    ] {
        if let Some(given) = Given::of(root, key) {
            given.not_needed(report, why);
        }
    }
}

fn amqp(report: &mut Report, root: &mut DeTable) {
    let Some(given) = Given::of(root, "amqp") else {
        return;
    };
    let Some(table) = given.value.get_ref().as_table() else {
        given.as_value().refuse(report, "expected a table [amqp]");
        return;
    };
    let enabled = table
        .iter()
        .find(|(key, _)| key.get_ref().eq_ignore_ascii_case("amqp_enabled"));
    let Some((key, enabled)) = enabled else {
        return;
    };
    let value = Value::new("amqp.amqp_enabled", key.span().start, enabled.get_ref());
    if value.flag(report) == Some(true) {
        value.refuse(
            report,
            "Baton has no counterpart of AMQP input: expected amqp_enabled = false",
        );
    }
}

/// The own metrics go to `graphite_addr` by a route of their own.
fn instrumentation(report: &mut Report, root: &mut DeTable, host: &str) {
    let section = root.get_mut("instrumentation").map(Spanned::get_mut);
    let Some(DeValue::Table(own)) = section else {
        return;
    };
    respell(own, &[keys::INSTRUMENTATION, &INSTRUMENTATION].concat());
    let address = Given::of(own, "graphite_addr");
    let interval = Given::of(own, "graphite_interval");
    let prefix = own
        .get("prefix")
        .and_then(|prefix| prefix.get_ref().as_str().map(str::to_owned));
    let prefix = prefix.unwrap_or_else(|| "carbon.relays.{host}.baton".to_owned());

    if let Some(given) = interval
        && let Some(ms) = given
            .as_value_of("instrumentation")
            .number(report, &(0..=3_600_000))
    {
        if (1..1000).contains(&ms) {
            let message = format!("{ms} ms is too often here: they are sent each second");
            report.warn(Some(given.at), "instrumentation.graphite_interval", message);
        }
        let interval = if ms == 0 { 0 } else { ms.max(1000) };
        let value = string(format!("{interval}ms"), given.span());
        let alias = ("instrumentation.graphite_interval", given.at);
        put(report, root, ("instrumentation", "interval"), alias, value);
    }
    let Some(given) = address else {
        return;
    };
    match given.text(report) {
        Some(address) if address.is_empty() => {
            let section = root.get_mut("instrumentation").map(Spanned::get_mut);
            if let Some(DeValue::Table(own)) = section {
                insert(own, "interval", string("0s", given.span()));
            }
        }
        Some(address) => {
            let prefix = format!("{}.", prefix.replace("{host}", host));
            own_route(root, &given, &address, prefix);
        }
        None => {}
    }
}

/// The first one, so that with `first_only` no other takes them.
fn own_route<'d>(root: &mut DeTable<'d>, given: &Given<'d>, address: &str, prefix: String) {
    let mut names: Vec<String> = Vec::new();
    for (_, route) in edit::tables(root, "route") {
        names.extend(
            route
                .get("key")
                .and_then(|key| key.get_ref().as_str().map(str::to_owned)),
        );
    }
    let mut key = "instrumentation".to_owned();
    while names.contains(&key) {
        key.push('_');
    }
    let span = given.span();
    let mut route = DeTable::new();
    insert(&mut route, "key", string(key, span.clone()));
    insert(&mut route, "prefix", string(prefix, span.clone()));
    insert(
        &mut route,
        "destinations",
        strings([address.to_owned()], &span),
    );
    put_first(root, "route", Spanned::new(span, DeValue::Table(route)));
}

/// Keys that are nearest to one of carbon-relay-ng's: the compiler knows Baton's alone.
fn misspelt(report: &mut Report, root: &mut DeTable) {
    let all = [keys::ROOT, keys::RELAY_NG].concat();
    let near = |key: &str| nearest(key, &all).is_some_and(|near| keys::RELAY_NG.contains(&near));
    let is_wrong = |key: &str| !all.contains(&key) && near(key);
    let wrong: Vec<(String, usize)> = root
        .keys()
        .filter(|key| is_wrong(key.get_ref()))
        .map(|key| (key.get_ref().to_string(), key.span().start))
        .collect();
    for (key, at) in wrong {
        report.problem(at, &key, unknown_key(&key, &all, ""));
        root.remove(&key[..]);
    }
}

/// The longest of several times, of which zero is never.
fn longest(times: &[(String, Duration)]) -> Option<&(String, Duration)> {
    let never = times.iter().find(|(_, time)| time.is_zero());
    never.or_else(|| times.iter().max_by_key(|(_, time)| *time))
}

/// Reads a duration as Go writes it; the units that both know are enough.
fn duration(report: &mut Report, given: &Given) -> Option<(String, Duration)> {
    let text = given.text(report)?;
    let time = given.as_value().keep(report, parse_duration(&text))?;
    Some((text, time))
}

#[cfg(test)]
mod tests;
