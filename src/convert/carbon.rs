//! Graphite's own relay and aggregator: `carbon.conf`, with its rules beside it.
//!
//! One daemon a config: the relay if the file has one, else the aggregator. What other daemons the file starts is told.

mod ini;
mod keys;
mod rules;

use self::ini::{Entry, Section};
use super::sheet::{Place, Sheet, Table};
use super::{Converted, Load, Source, Unreadable};

/// Converts a file; what it refers to is loaded from beside it.
pub fn convert(source: &Source, load: &Load) -> Result<Converted, Unreadable> {
    let mut sheet = Sheet::default();
    let sections = ini::read(source)?;
    let Some(daemon) = Daemon::of(&mut sheet, &sections) else {
        return Err(Unreadable {
            file: source.name.clone(),
            line: 1,
            message: "expected carbon.conf, with a section [relay], [relay:NAME], [aggregator] or \
                      [aggregator:NAME]: its rules are read beside it"
                .to_owned(),
        });
    };
    keys::read(&mut sheet, &daemon);
    lists(&mut sheet, &daemon, load)?;
    if daemon.aggregates {
        rules::rewriters(&mut sheet, &daemon, load)?;
        rules::aggregations(&mut sheet, &daemon, load)?;
    }
    routes(&mut sheet, &daemon, load)?;
    Ok(sheet.finish())
}

/// What one process is told.
struct Daemon {
    /// Its section, and before it what that inherits.
    section: Section,
    aggregates: bool,
}

impl Daemon {
    fn of(sheet: &mut Sheet, sections: &[Section]) -> Option<Daemon> {
        let of_kind = |kind: &str| {
            let prefix = format!("{kind}:");
            let named = sections
                .iter()
                .find(|section| section.name.starts_with(&prefix));
            named.or_else(|| sections.iter().find(|section| section.name == kind))
        };
        let chosen = of_kind("relay").or_else(|| of_kind("aggregator"))?;
        let kind = chosen.name.split(':').next().unwrap_or_default();
        let base = sections
            .iter()
            .find(|section| section.name == kind && section.name != chosen.name);
        for section in sections {
            sheet.read();
            let is_used =
                section.name == chosen.name || base.is_some_and(|base| base.name == section.name);
            if is_used {
                sheet.converted();
                continue;
            }
            let what = match section.name.split(':').next().unwrap_or_default() {
                "cache" => "a store, which Baton sends to: it stays with carbon",
                "relay" | "aggregator" => {
                    "another daemon: one config is one daemon: put it into a file of its own, and convert that"
                }
                _ => "no daemon that Baton has a counterpart for",
            };
            sheet.noted(&section.place, format!("[{}]: {what}", section.name));
        }
        let mut section = chosen.clone();
        if let Some(base) = base {
            let own = std::mem::take(&mut section.entries);
            let inherited = base
                .entries
                .iter()
                .filter(|entry| own.iter().all(|one| one.key != entry.key));
            section.entries = inherited.cloned().chain(own.iter().cloned()).collect();
        }
        Some(Daemon {
            aggregates: kind == "aggregator",
            section,
        })
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.section
            .get(key)
            .map_or(default, |entry| &entry.value)
            .to_owned()
    }

    fn place(&self, key: &str) -> Place {
        self.section
            .get(key)
            .map_or(&self.section.place, |entry| &entry.place)
            .clone()
    }

    /// The destination strings, by how carbon writes them.
    fn destinations(&self) -> Vec<(String, String)> {
        let protocol = match &self.text("DESTINATION_PROTOCOL", "pickle")[..] {
            "line" => "",
            _ => " pickle=true",
        };
        let names = self.text("DESTINATIONS", "");
        let names = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names
            .map(|name| (name.to_owned(), format!("{name}{protocol}")))
            .collect()
    }
}

/// A file that belongs to the config, which a note names if it can't be read.
fn beside(
    sheet: &mut Sheet,
    daemon: &Daemon,
    load: &Load,
    key: &str,
    default: &str,
) -> Option<Source> {
    let name = daemon.text(key, default);
    match load(&name) {
        Ok(mut files) if files.len() == 1 => files.pop(),
        Ok(_) => None,
        Err(message) => {
            sheet.note(
                &daemon.place(key),
                format!("{message}: its rules are missing here"),
            );
            None
        }
    }
}

/// `blacklist.conf` and `whitelist.conf`, which `USE_WHITELIST` turns on together.
fn lists(sheet: &mut Sheet, daemon: &Daemon, load: &Load) -> Result<(), Unreadable> {
    if !daemon.section.is_true("USE_WHITELIST") {
        return Ok(());
    }
    let mut allowed = Vec::new();
    for (key, file) in [
        ("BLACKLIST", "blacklist.conf"),
        ("WHITELIST", "whitelist.conf"),
    ] {
        let Some(source) = beside(sheet, daemon, load, key, file) else {
            continue;
        };
        for (line, place) in ini::lines(&source) {
            sheet.read();
            let Some(expression) = rules::expression(sheet, &place, line.trim()) else {
                continue;
            };
            sheet.converted();
            match key {
                "BLACKLIST" => sheet.blocklist.push(format!("regex {expression}")),
                _ => allowed.push(expression),
            }
        }
    }
    if !allowed.is_empty() {
        let any = super::expression::any_of(&allowed);
        sheet.blocklist.push(format!("notRegex {any}"));
    }
    Ok(())
}

fn routes(sheet: &mut Sheet, daemon: &Daemon, load: &Load) -> Result<(), Unreadable> {
    let destinations = daemon.destinations();
    if destinations.is_empty() {
        sheet.note(
            &daemon.place("DESTINATIONS"),
            "DESTINATIONS: none: add a route",
        );
        return Ok(());
    }
    // An aggregator always hashes.
    let method = match daemon.aggregates {
        true => "consistent-hashing".to_owned(),
        false => daemon.text("RELAY_METHOD", "rules"),
    };
    let place = daemon.place("RELAY_METHOD");
    let mut route = Table::default();
    match &method[..] {
        "rules" => return rules::routes(sheet, daemon, load, &destinations),
        "constant" => {
            route.set("key", sheet.key("constant"));
        }
        "consistent-hashing" => {
            route.set("key", sheet.key("hash"));
            hash(sheet, daemon, &mut route);
        }
        other => {
            let text = format!(
                "RELAY_METHOD = {other}: Baton has no counterpart: write a route of type carbon_ch, and know that names move"
            );
            sheet.note(&place, text);
            return Ok(());
        }
    }
    let texts: Vec<String> = destinations.into_iter().map(|(_, text)| text).collect();
    route.set("destinations", texts);
    sheet.routes.push(route);
    Ok(())
}

fn hash(sheet: &mut Sheet, daemon: &Daemon, route: &mut Table) {
    let kind = daemon.text("ROUTER_HASH_TYPE", "carbon_ch");
    let place = daemon.place("ROUTER_HASH_TYPE");
    match &kind[..] {
        "" | "None" | "carbon_ch" => {
            route.set("type", "carbon_ch");
        }
        "fnv1a_ch" => {
            let text = "ROUTER_HASH_TYPE = fnv1a_ch: Baton's is carbon-c-relay's: with instances nearly the same, without them another";
            sheet.note(&place, text);
            route.set("type", "fnv1a_ch");
        }
        other => {
            sheet.note(
                &place,
                format!("ROUTER_HASH_TYPE = {other}: Baton has carbon_ch instead: names move"),
            );
            route.set("type", "carbon_ch");
        }
    }
    let factor: i64 = daemon.text("REPLICATION_FACTOR", "1").parse().unwrap_or(1);
    if factor > 1 {
        route.set("replication", factor);
        if !daemon
            .text("DIVERSE_REPLICAS", "True")
            .eq_ignore_ascii_case("false")
        {
            let text = "DIVERSE_REPLICAS (on by default): Baton's copies go to distinct members, which may be on one host";
            sheet.note(&daemon.place("DIVERSE_REPLICAS"), text);
        }
    }
    if daemon.section.is_true("DYNAMIC_ROUTER") {
        route.set("dynamic", true);
    }
}

/// What an entry says, for a note.
fn said(entry: &Entry) -> String {
    format!("{} = {}", entry.key, entry.value)
}
