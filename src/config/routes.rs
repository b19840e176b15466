use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::listen::Placed;
use super::read::{Report, Section, Value};
use super::{ListenAddress, ListenerKind, choice, compile, keys};
use crate::route::{BlockRule, Matcher, Patterns, RouteKind};
use crate::spec::{
    Address, BadOption, ByteSize, Destination, Draft, PATTERNS, Route, check_name, check_pattern,
    parse_route_kind, pattern_field,
};

/// What may be claimed only once in a file, with the line that did.
#[derive(Default)]
struct Claims {
    keys: HashMap<String, usize>,
    ids: HashMap<String, usize>,
    /// Two destinations would cut each other's lines in one file.
    files: HashMap<PathBuf, usize>,
}

pub(super) fn compile(
    report: &mut Report,
    root: &Section,
    folder: &Path,
) -> Vec<(Route, Vec<usize>)> {
    let tables = root.value("route").map(|value| value.tables(report));
    let tables = tables.unwrap_or_default();
    if tables.is_empty() {
        report.warn(
            None,
            "route",
            "no routes: every line will be counted as unrouted".to_owned(),
        );
    }
    let mut claims = Claims::default();
    let routes = tables
        .iter()
        .map(|table| route(report, table, folder, &mut claims));
    routes.collect::<Vec<_>>().into_iter().flatten().collect()
}

/// A route, and the places of its destinations.
fn route(
    report: &mut Report,
    table: &Value,
    folder: &Path,
    claims: &mut Claims,
) -> Option<(Route, Vec<usize>)> {
    let section = table.table(report, &keys::route())?;
    let key = route_key(report, &section, claims);
    let kind = match section.value("type") {
        Some(value) => {
            let text = value.text(report);
            text.and_then(|text| value.keep(report, parse_route_kind(text)))
        }
        None => Some(RouteKind::SendAllMatch),
    };
    let patterns = patterns(report, &section);
    // Ids of a route without a key are unlike any other, so that they aren't told to be given
    // twice.
    let name = key
        .clone()
        .unwrap_or_else(|| format!("line-{}", report.line(section.at)));
    let (destinations, places) = destinations(report, &section, &name, folder, claims);
    let choice = choice::choice(report, &section, kind);
    let route = Route {
        key: key?,
        kind: kind?,
        choice,
        patterns,
        destinations,
    };
    choice::check(report, &section, &route, &places);
    Some((route, places))
}

fn route_key(report: &mut Report, section: &Section, claims: &mut Claims) -> Option<String> {
    let Some(value) = section.value("key") else {
        report.missing(
            section.at,
            "route.key",
            "missing: expected a name of its own",
        );
        return None;
    };
    let key = value.text(report)?;
    value.keep(report, check_name(key))?;
    if let Some(line) = claims.keys.get(key) {
        value.refuse(
            report,
            format!("expected a name of its own, found {key:?}: line {line} has it"),
        );
        return None;
    }
    claims.keys.insert(key.to_owned(), report.line(value.at));
    Some(key.to_owned())
}

fn patterns(report: &mut Report, section: &Section) -> Patterns {
    let mut patterns = Patterns::default();
    for option in PATTERNS {
        let Some(value) = section.value(option) else {
            continue;
        };
        let text = value.text(report).unwrap_or_default();
        value.keep(report, check_pattern(option, text));
        if let Some(field) = pattern_field(&mut patterns, option) {
            *field = text.to_owned();
        }
    }
    patterns
}

fn destinations(
    report: &mut Report,
    section: &Section,
    route: &str,
    folder: &Path,
    claims: &mut Claims,
) -> (Vec<Destination>, Vec<usize>) {
    let problems = report.problems.len();
    let strings = section
        .value("destinations")
        .map(|value| value.list(report))
        .unwrap_or_default();
    let tables = section
        .value("destination")
        .map(|value| value.tables(report))
        .unwrap_or_default();
    // Those that can't be read are there.
    let are_readable = report.problems.len() == problems;
    if strings.is_empty() && tables.is_empty() && are_readable {
        let message = "no destinations: expected one at least";
        report.missing(section.at, "route.destinations", message);
    }
    let from_strings = strings
        .into_iter()
        .map(|value| (from_string(report, &value, route), value));
    let mut read: Vec<_> = from_strings.collect();
    read.extend(
        tables
            .into_iter()
            .map(|value| (from_table(report, &value, route), value)),
    );

    let (mut kept, mut places): (Vec<Destination>, Vec<usize>) = (Vec::new(), Vec::new());
    for (destination, value) in read {
        let Some(mut destination) = destination else {
            continue;
        };
        if let Address::File(path) = &destination.address {
            let Some(path) = value.keep(report, compile::beside(folder, path)) else {
                continue;
            };
            destination.address = Address::File(path);
        }
        let twin = kept
            .iter()
            .position(|first| first.address.is_same_place(&destination.address));
        if let Some(twin) = twin {
            let address = &destination.address;
            let expected = match address {
                Address::Tcp {
                    instance: Some(_), ..
                } => "another instance",
                Address::Tcp { .. } => "an instance to tell them apart, such as host:port:a",
                Address::File(_) => "each file once",
            };
            // A rule that comes alone has no lines that anybody wrote.
            let line = match report.is_of_lines {
                true => format!(" (line {})", report.line(places[twin])),
                false => String::new(),
            };
            let message = format!("{address} is in this route twice{line}: expected {expected}");
            value.refuse(report, message);
            continue;
        }
        if let Some(line) = claims.ids.get(&destination.id) {
            let id = &destination.id;
            value.refuse(
                report,
                format!("expected an id of its own, found {id:?}: line {line} has it"),
            );
        }
        let line = report.line(value.at);
        if let Address::File(path) = &destination.address {
            let first = *claims.files.entry(path.clone()).or_insert(line);
            if first != line {
                let path = path.display();
                value.refuse(
                    report,
                    format!("expected a file of its own: line {first} writes to {path} too"),
                );
            }
        }
        claims.ids.entry(destination.id.clone()).or_insert(line);
        kept.push(destination);
        places.push(value.at);
    }
    (kept, places)
}

fn from_string(report: &mut Report, value: &Value, route: &str) -> Option<Destination> {
    let text = value.text(report)?;
    let problems = match Destination::parse(text, route) {
        Ok(destination) => return Some(destination),
        Err(problems) => problems.0,
    };
    for problem in problems {
        let key = match &problem.option[..] {
            "" => value.key.clone(),
            option => format!("{}.{option}", value.key),
        };
        report.problem(value.at, &key, problem.message);
    }
    None
}

fn from_table(report: &mut Report, value: &Value, route: &str) -> Option<Destination> {
    let options = value.options(report);
    let place = |problem: &BadOption| {
        let option = options.iter().find(|(_, name, _)| *name == problem.option);
        option.map_or(value.at, |(option, _, _)| option.at)
    };
    let mut draft = Draft::default();
    let mut problems = Vec::new();
    let mut is_bad = false;
    for (_, name, text) in &options {
        match text {
            Some(text) => problems.extend(draft.set(name, text).err()),
            None => {
                is_bad = true;
                draft.skip(name);
            }
        }
    }
    let destination = match draft.finish(route) {
        Ok(destination) => Some(destination),
        Err(more) => {
            problems.extend(more.0);
            None
        }
    };
    for problem in &problems {
        report.problem(
            place(problem),
            &format!("{}.{}", value.key, problem.option),
            problem.message.clone(),
        );
    }
    destination.filter(|_| problems.is_empty() && !is_bad)
}

/// Warns of what would send metrics in a circle: a destination that is one of the own listeners.
pub(super) fn warn_of_loops(
    report: &mut Report,
    routes: &[(Route, Vec<usize>)],
    listen: &[Placed],
) {
    for (route, places) in routes {
        for (destination, at) in route.destinations.iter().zip(places) {
            let spoken = match destination.pickle {
                true => ListenerKind::Pickle,
                false => ListenerKind::Line,
            };
            let own = listen.iter().find(|placed| {
                placed.listener.kind == spoken
                    && reaches(&destination.address, &placed.listener.address)
            });
            if let Some(own) = own {
                let address = &own.listener.address;
                let message = format!(
                    "sends to Baton's own listener {address}: its lines will go in a circle"
                );
                report.warn(Some(*at), "route.destinations", message);
            }
        }
    }
}

pub(super) fn reaches(address: &Address, listener: &ListenAddress) -> bool {
    let (Address::Tcp { host, port, .. }, ListenAddress::Tcp(listener)) = (address, listener)
    else {
        return false;
    };
    if *port != listener.port() {
        return false;
    }
    let own = listener.ip();
    match host.parse::<IpAddr>() {
        Ok(ip) => {
            let is_here = ip.is_loopback() || ip.is_unspecified();
            ip == own || ip.is_ipv4() == own.is_ipv4() && own.is_unspecified() && is_here
        }
        Err(_) => {
            host.eq_ignore_ascii_case("localhost") && (own.is_loopback() || own.is_unspecified())
        }
    }
}

/// Warns when full queues would leave too little memory for the rest of the machine.
pub(super) fn warn_of_memory(
    report: &mut Report,
    routes: &[(Route, Vec<usize>)],
    memory: Option<u64>,
) {
    let queues = routes
        .iter()
        .flat_map(|(route, _)| &route.destinations)
        .map(Destination::memory);
    let total = queues.fold(0, u64::saturating_add);
    if let Some(memory) = memory.filter(|memory| total > memory / 4) {
        let (total, memory) = (
            ByteSize(total).in_mebibytes(),
            ByteSize(memory).in_mebibytes(),
        );
        let message = format!(
            "the queues may take {total} together, more than a quarter of this machine's {memory}"
        );
        report.warn(None, "route.destinations.queue", message);
    }
}

/// With fewer rules than this it doesn't matter how they are found.
const MANY: usize = 30;

/// Warns of rules that are asked about every line, where there are many: all others are found by a text that a name must hold.
pub(super) fn warn_of_slow_rules(
    report: &mut Report,
    routes: &[(Route, Vec<usize>)],
    blocklist: &[String],
) {
    let mut rules = Vec::new();
    for rule in blocklist {
        let matcher = BlockRule::parse(rule)
            .ok()
            .map(|rule| rule.matcher().clone());
        rules.push((format!("blocklist rule {rule:?}"), matcher));
    }
    for (route, _) in routes {
        let matcher = Matcher::new(&route.patterns).ok();
        rules.push((format!("route {:?}", route.key), matcher));
        for destination in &route.destinations {
            let matcher = Matcher::new(&destination.patterns).ok();
            rules.push((format!("destination {:?}", destination.id), matcher));
        }
    }
    // Without conditions there is nothing to ask.
    rules.retain(|(_, matcher)| matcher.as_ref().is_some_and(|m| !m.accepts_all()));
    let is_slow = |matcher: &Option<Matcher>| matcher.as_ref().is_some_and(|m| !m.has_literal());
    let slow = rules.iter().filter(|(_, matcher)| is_slow(matcher));
    let slow: Vec<_> = slow.map(|(name, _)| &name[..]).collect();
    if rules.len() < MANY || slow.is_empty() {
        return;
    }
    let named = slow[..slow.len().min(5)].join(", ");
    let more = match slow.len() {
        0..=5 => String::new(),
        count => format!(" and {} more", count - 5),
    };
    let message = format!(
        "asked about every line, for want of a prefix or of three bytes that a name must hold: {named}{more}"
    );
    report.warn(None, "route", message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_seen() {
        for (destination, listener, circle) in [
            ("127.0.0.1:2003", "tcp://127.0.0.1:2003", true),
            ("127.0.0.1:2003", "tcp://0.0.0.0:2003", true),
            ("127.0.0.1:2003:a", "tcp://0.0.0.0:2003", true),
            ("localhost:2003", "tcp://127.0.0.1:2003", true),
            ("localhost:2003", "tcp://[::]:2003", true),
            ("[::1]:2003", "tcp://[::]:2003", true),
            ("[::1]:2003", "tcp://0.0.0.0:2003", false),
            ("10.0.0.1:2003", "tcp://0.0.0.0:2003", false),
            ("10.0.0.1:2003", "tcp://10.0.0.1:2003", true),
            ("127.0.0.1:2003", "tcp://127.0.0.1:2004", false),
            ("127.0.0.1:2003", "udp://127.0.0.1:2003", false),
            ("localhost:2003", "tcp://10.0.0.1:2003", false),
            ("file:x", "tcp://127.0.0.1:2003", false),
        ] {
            let found = reaches(&destination.parse().unwrap(), &listener.parse().unwrap());
            assert_eq!(found, circle, "{destination} {listener}");
        }
    }
}
