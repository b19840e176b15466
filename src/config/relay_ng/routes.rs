//! Its tables of routes, aggregations and rewriters, and the routes of its first version.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::edit::{Given, insert, list, respell, string, strings, tables};
use crate::config::read::{Report, Value};
use crate::spec::{PATTERNS, destination_of_relay_ng};

/// Types of routes to services that speak no Graphite.
const CLOUD: &[&str] = &["grafanaNet", "kafkaMdm", "pubsub", "cloudWatch"];

const ALIASES: [(&str, &str); 2] = [("substr", "sub"), ("notSubstr", "notSub")];

/// What a table of `[routes.NAME]` may have.
const FIRST_VERSION: [&str; 4] = ["patt", "addr", "spool", "pickle"];

pub(super) fn translate(report: &mut Report, root: &mut DeTable) {
    for (table, own) in [
        ("route", &["key", "type", "destinations"][..]),
        (
            "aggregation",
            &["function", "format", "cache", "interval", "wait", "dropRaw"],
        ),
        ("rewriter", &["old", "new", "not", "max"]),
    ] {
        let known = [own, PATTERNS, &["substr", "notSubstr"]].concat();
        for (_, entries) in tables(root, table) {
            respell(entries, &known);
            patterns(report, table, entries);
        }
    }
    without_cache(report, root);
    without_cloud(report, root);
    for (_, route) in tables(root, "route") {
        strings_of(report, route);
    }
    first_version(report, root);
}

fn patterns(report: &mut Report, table: &str, entries: &mut DeTable) {
    for (alias, key) in ALIASES {
        let Some(given) = Given::of(entries, alias) else {
            continue;
        };
        if entries.contains_key(key) {
            let message = format!("given twice: {key} is the same");
            report.problem(given.at, &format!("{table}.{alias}"), message);
            continue;
        }
        insert(entries, key, given.value);
    }
}

fn without_cache(report: &mut Report, root: &mut DeTable) {
    let mut places = Vec::new();
    for (_, entries) in tables(root, "aggregation") {
        places.extend(Given::of(entries, "cache").map(|given| given.at));
    }
    for at in places {
        let message = "not needed: Baton finds the output's name without one".to_owned();
        report.note(at, "aggregation.cache", message);
    }
}

/// Refuses such routes as a whole: what else is in them is no key of Baton's.
fn without_cloud(report: &mut Report, root: &mut DeTable) {
    let Some(DeValue::Array(routes)) = root.get_mut("route").map(Spanned::get_mut) else {
        return;
    };
    let all = std::mem::replace(routes, DeArray::new());
    let kept = all.into_iter().filter(|route| {
        let kind = route.get_ref().get("type");
        let word = kind.and_then(|kind| kind.get_ref().as_str());
        let Some((kind, word)) = kind.zip(word.and_then(cloud)) else {
            return true;
        };
        report.problem(kind.span().start, "route.type", no_counterpart(word));
        false
    });
    *routes = kept.collect();
}

/// The type of a route that Baton has no counterpart for.
pub(super) fn cloud(word: &str) -> Option<&'static str> {
    CLOUD
        .iter()
        .find(|kind| kind.eq_ignore_ascii_case(word))
        .copied()
}

pub(super) fn no_counterpart(kind: &str) -> String {
    let service = match kind {
        "grafanaNet" => "Grafana Cloud",
        "kafkaMdm" => "Kafka",
        "pubsub" => "Google PubSub",
        _ => "CloudWatch",
    };
    format!(
        "Baton has no counterpart of {kind} ({service}): take the route out, or keep a relay that has it"
    )
}

fn strings_of(report: &mut Report, route: &mut DeTable) {
    let Some(DeValue::Array(list)) = route.get_mut("destinations").map(Spanned::get_mut) else {
        return;
    };
    for element in list.iter_mut() {
        let Some(text) = element.get_ref().as_str() else {
            continue;
        };
        let text = destination(report, "route.destinations", element.span().start, text);
        *element = string(text, element.span());
    }
}

/// A destination string in Baton's words; what can't be read is told, and stays.
pub(super) fn destination(report: &mut Report, key: &str, at: usize, text: &str) -> String {
    match destination_of_relay_ng(text) {
        Ok(translated) => {
            for warning in translated.warnings {
                report.warn(Some(at), key, warning);
            }
            for note in translated.notes {
                report.note(at, key, note);
            }
            translated.text
        }
        Err(message) => {
            report.problem(at, key, message);
            // One that can be read, so that nothing is told twice.
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    }
}

/// `[routes.NAME]`, in the order of the file.
fn first_version(report: &mut Report, root: &mut DeTable) {
    // `[[routes]]` is a misspelt `[[route]]`, as the compiler says.
    if root
        .get("routes")
        .is_none_or(|routes| routes.get_ref().is_array())
    {
        return;
    }
    let Some(given) = Given::of(root, "routes") else {
        return;
    };
    let span = given.span();
    let DeValue::Table(named) = given.value.into_inner() else {
        report.problem(given.at, "routes", "expected tables [routes.NAME]");
        return;
    };
    let mut named: Vec<_> = named.into_iter().collect();
    named.sort_by_key(|(name, _)| name.span().start);
    for (name, table) in named {
        let (at, key) = (name.span(), format!("routes.{}", name.get_ref()));
        let DeValue::Table(mut table) = table.into_inner() else {
            report.problem(at.start, &key, format!("expected a table [{key}]"));
            continue;
        };
        let mut route = DeTable::new();
        insert(
            &mut route,
            "key",
            string(name.get_ref().as_ref(), at.clone()),
        );
        if let Some(pattern) = Given::of(&mut table, "patt") {
            insert(&mut route, "regex", pattern.value);
        }
        if let Some(text) = old_destination(report, &key, &mut table) {
            let text = destination(report, &key, at.start, &text);
            insert(&mut route, "destinations", strings([text], &at));
        }
        for unknown in table.keys() {
            let message = format!("unknown key: expected one of {}", FIRST_VERSION.join(", "));
            report.problem(
                unknown.span().start,
                &format!("{key}.{}", unknown.get_ref()),
                message,
            );
        }
        if let Some(routes) = list(root, "route", span.clone()) {
            routes.push(Spanned::new(at, DeValue::Table(route)));
        }
    }
}

fn old_destination(report: &mut Report, key: &str, table: &mut DeTable) -> Option<String> {
    let address = Given::of(table, "addr").and_then(|address| address.text(report));
    let mut text = address?;
    for option in ["spool", "pickle"] {
        if let Some(given) = Given::of(table, option) {
            let value = Value::new(format!("{key}.{option}"), given.at, given.value.get_ref());
            if let Some(flag) = value.flag(report) {
                text.push_str(&format!(" {option}={flag}"));
            }
        }
    }
    Some(text)
}
