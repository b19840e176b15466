//! How a route chooses: its options, and whether its destinations can be chosen so.

use std::collections::HashMap;

use super::read::{Report, Section};
use crate::route::hash::{MAX_MEMBERS, ring_text};
use crate::route::{Patterns, RouteKind};
use crate::spec::{Address, CHOICE, Choice, FAILBACK, Route};

/// Reads the options. One that the kind doesn't heed is a problem.
pub(super) fn choice(report: &mut Report, section: &Section, kind: Option<RouteKind>) -> Choice {
    for option in CHOICE {
        let (Some(value), Some(kind)) = (section.value(option), kind) else {
            continue;
        };
        if !Choice::has(kind, option) {
            let all = RouteKind::ALL.into_iter();
            let those: Vec<&str> = all
                .filter(|kind| Choice::has(*kind, option))
                .map(RouteKind::as_str)
                .collect();
            let message = format!(
                "a {} route has no {option}: it belongs to {}",
                kind.as_str(),
                those.join(", ")
            );
            value.refuse(report, message);
        }
    }
    let usual = Choice::default();
    let mut flag = |key, usual| {
        let value = section.value(key).and_then(|value| value.flag(report));
        value.unwrap_or(usual)
    };
    let (hash_tags, dynamic) = (
        flag("hash_tags", usual.hash_tags),
        flag("dynamic", usual.dynamic),
    );
    let replication = section
        .value("replication")
        .and_then(|value| value.number(report, &(1..=MAX_MEMBERS)));
    let failback = section
        .value("failback")
        .and_then(|value| value.duration(report, &FAILBACK));
    Choice {
        replication: replication.unwrap_or(usual.replication),
        hash_tags,
        dynamic,
        failback: failback.unwrap_or(usual.failback),
    }
}

/// Whether a hash can be made of the destinations, which stand at these places.
pub(super) fn check(report: &mut Report, section: &Section, route: &Route, places: &[usize]) {
    if !route.kind.is_hash() {
        return;
    }
    let (kind, count) = (route.kind.as_str(), route.destinations.len());
    let ng = [RouteKind::ConsistentHashing, RouteKind::ConsistentHashingV2];
    if count == 1 && ng.contains(&route.kind) {
        let message = format!("expected two destinations at least for {kind}, found one");
        report.problem(section.at, "route.destinations", message);
    } else if count > MAX_MEMBERS {
        let message =
            format!("expected at most {MAX_MEMBERS} destinations for {kind}, found {count}");
        report.problem(section.at, "route.destinations", message);
    } else if count > 0 && route.choice.replication > count {
        let value = section.value("replication");
        let message = format!(
            "expected at most {count}, the number of destinations, found {}",
            route.choice.replication
        );
        report.problem(
            value.map_or(section.at, |value| value.at),
            "route.replication",
            message,
        );
    }
    for (destination, at) in route.destinations.iter().zip(places) {
        if destination.patterns != Patterns::default() {
            let message = format!(
                "a destination of a {kind} route has no patterns of its own: the hash alone says what it takes"
            );
            report.problem(*at, "route.destinations", message);
        }
        if let Address::File(_) = destination.address {
            let message = format!("expected host:port, found a file: {kind} hashes hosts");
            report.problem(*at, "route.destinations", message);
        }
    }
    check_texts(report, route, places);
}

/// Members whose entries all lie at the same places: where carbon-relay-ng and carbon-c-relay take such, only the first of them gets
/// lines. carbon itself takes none.
fn check_texts(report: &mut Report, route: &Route, places: &[usize]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (member, at) in route.members(0).iter().zip(places) {
        let text = match (route.kind, &member.instance) {
            (RouteKind::JumpFnv1aCh, _) => return,
            (RouteKind::Fnv1aCh, Some(instance)) => instance.clone(),
            (RouteKind::Fnv1aCh, None) => format!("{}:{}", member.host, member.port),
            _ => ring_text(member),
        };
        let line = report.line(*at);
        let Some(first) = seen.get(&text) else {
            seen.insert(text, line);
            continue;
        };
        let message = format!(
            "hashes as the one in line {first} does: expected an instance to tell them apart, such as host:port:a"
        );
        if route.kind == RouteKind::CarbonCh {
            report.problem(*at, "route.destinations", message);
        } else {
            report.warn(
                Some(*at),
                "route.destinations",
                message + ", or it gets no line of its own",
            );
        }
    }
}
