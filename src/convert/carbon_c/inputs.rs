//! Where it listens, and its own metrics.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::Unreadable;
use super::super::sheet::{Place, Sheet, Table};
use super::cluster::Cluster;
use super::read::Statement;
use super::{named, send_to};

/// `listen type linemode … ;`
pub(super) fn listen(sheet: &mut Sheet, statement: &mut Statement) -> Result<(), Unreadable> {
    let place = statement.place.clone();
    let mut listeners = Vec::new();
    statement.expect("type")?;
    loop {
        let kind = statement.word("linemode")?;
        let mut is_plain = kind == "linemode";
        if statement.take("transport") {
            is_plain &= statement.word("a transport")? == "plain";
        }
        let mut secured = false;
        while ["ssl", "mtls"].iter().any(|word| statement.take(word)) {
            secured = true;
            statement.word("a certificate")?;
            while ["protomin", "protomax", "ciphers", "ciphersuites"]
                .iter()
                .any(|word| statement.take(word))
            {
                statement.word("a value")?;
            }
        }
        while !statement.is_over() && !statement.is_next("type") {
            let address = statement.word("an address")?;
            statement.expect("proto")?;
            let proto = statement.word("tcp, udp or unix")?;
            if !is_plain || secured {
                let text = format!(
                    "listener {address}: Baton takes plain lines only: put a proxy before it that unpacks, or let senders send plain lines"
                );
                sheet.note(&place, text);
                continue;
            }
            match addresses(&address, &proto) {
                Ok(found) => {
                    if proto == "unix" {
                        tell_of_socket(sheet, &place, &address);
                    }
                    listeners.extend(found);
                }
                Err(message) => sheet.note(&place, format!("listener {address}: {message}")),
            }
        }
        if !statement.take("type") {
            break;
        }
    }
    match listeners.is_empty() {
        true => sheet.noted(&place, "listen: none of its listeners has a counterpart"),
        false => {
            sheet.converted();
            add(sheet, listeners);
        }
    }
    Ok(())
}

/// As a service Baton can make one, but none that another finds.
fn tell_of_socket(sheet: &mut Sheet, place: &Place, path: &str) {
    let text = format!(
        "listener {path}: as a service Baton has a /tmp of its own, makes files below /run/baton and /var/lib/baton alone, and sockets for its own user: \
         have systemd make this one, by ListenStream= in a drop-in of baton-line.socket, and take it out here"
    );
    sheet.note(place, text);
}

fn addresses(address: &str, proto: &str) -> Result<Vec<String>, String> {
    if proto == "unix" {
        return Ok(vec![format!("unix:{address}")]);
    }
    if !matches!(proto, "tcp" | "udp") {
        return Err(format!("expected proto tcp, udp or unix, found {proto:?}"));
    }
    if let Ok(port) = address.parse::<u16>() {
        return Ok(of_all(proto, port));
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().unwrap_or(2003)),
        None => (address, 2003),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(ip @ IpAddr::V4(_)) => Ok(vec![format!("{proto}://{ip}:{port}")]),
        Ok(ip @ IpAddr::V6(_)) => Ok(vec![format!("{proto}://[{ip}]:{port}")]),
        Err(_) => Err("Baton listens at IP addresses, not at names: write the address".to_owned()),
    }
}

fn of_all(proto: &str, port: u16) -> Vec<String> {
    vec![
        format!("{proto}://0.0.0.0:{port}"),
        format!("{proto}://[::]:{port}"),
    ]
}

fn add(sheet: &mut Sheet, more: Vec<String>) {
    let mut all = std::mem::take(&mut sheet.listeners);
    for listener in more {
        if !all.contains(&listener) {
            all.push(listener);
        }
    }
    sheet.section("listen").set("line", all.clone());
    sheet.listeners = all;
}

const USUAL_SOCKET: &str = "/tmp/.s.carbon-c-relay.2003";

/// Where it listens without a statement.
pub(super) fn usual_listeners(sheet: &mut Sheet, place: &Place) {
    tell_of_socket(sheet, place, USUAL_SOCKET);
    let mut all = of_all("tcp", 2003);
    all.extend(of_all("udp", 2003));
    all.push(format!("unix:{USUAL_SOCKET}"));
    add(sheet, all);
}

/// `statistics submit every N seconds …;`
pub(super) fn statistics(
    sheet: &mut Sheet,
    statement: &mut Statement,
    clusters: &HashMap<String, Cluster>,
) -> Result<(), Unreadable> {
    let place = statement.place.clone();
    sheet.converted();
    let mut prefix = None;
    loop {
        if statement.take("submit") {
            statement.expect("every")?;
            let seconds = statement.number("a number of seconds")?;
            statement.expect("seconds")?;
            let allowed = seconds.clamp(1, 3600);
            if allowed != seconds {
                sheet.note(
                    &place,
                    format!("statistics: every {seconds} seconds: Baton has 1 to 3600"),
                );
            }
            sheet
                .section("instrumentation")
                .set("interval", format!("{allowed}s"));
        } else if statement.take("reset") {
            statement.expect("counters")?;
            statement.expect("after")?;
            statement.expect("interval")?;
            sheet.note(
                &place,
                "statistics: reset counters: Baton's counters only grow: show them with a derivative",
            );
        } else if statement.take("prefix") {
            statement.expect("with")?;
            prefix = Some(statement.word("a prefix")?);
        } else if statement.take("send") {
            let names = send_to(statement)?;
            let own = prefix.as_deref().filter(|prefix| is_prefix(prefix));
            let own = own.unwrap_or(USUAL_PREFIX).to_owned();
            own_route(sheet, &place, &names, clusters, &own)?;
        } else if !statement.take("stop") {
            break;
        }
    }
    statement.end()?;
    if let Some(prefix) = prefix {
        match is_prefix(&prefix) {
            true => {
                sheet.section("instrumentation").set("prefix", prefix.trim_matches('.'));
            }
            false => sheet.note(
                &place,
                format!("statistics: prefix {prefix:?}: Baton's has the machine's name as {{host}}, and no groups: set instrumentation.prefix"),
            ),
        }
    }
    Ok(())
}

/// Baton's, unless the config says another.
const USUAL_PREFIX: &str = "carbon.relays.{host}.baton";

/// Whether Baton can have a prefix as it stands.
fn is_prefix(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.chars().all(is_allowed)
}

/// `send statistics to C;`, as older files have it.
pub(super) fn old_statistics(
    sheet: &mut Sheet,
    statement: &mut Statement,
    clusters: &HashMap<String, Cluster>,
) -> Result<(), Unreadable> {
    statement.expect("statistics")?;
    let place = statement.place.clone();
    let names = send_to(statement)?;
    statement.take("stop");
    statement.end()?;
    sheet.converted();
    own_route(sheet, &place, &names, clusters, USUAL_PREFIX)
}

/// The own metrics go through the routes, and are kept from all others; `{host}` is known only where Baton runs, so the
/// route matches any host.
fn own_route(
    sheet: &mut Sheet,
    place: &Place,
    names: &[String],
    clusters: &HashMap<String, Cluster>,
    prefix: &str,
) -> Result<(), Unreadable> {
    if names.iter().any(|name| name == "blackhole") {
        sheet.section("instrumentation").set("interval", "0s");
        return Ok(());
    }
    for (name, cluster) in named(clusters, names, place)? {
        if !cluster.is_usable() {
            sheet.note(
                place,
                format!("statistics: cluster {name} was left out: the routes take the own metrics"),
            );
            continue;
        }
        let mut route = Table::default();
        route.set("key", sheet.key(&format!("statistics-{name}")));
        let (before, after) = prefix.split_once("{host}").unwrap_or((prefix, ""));
        let before = before.trim_start_matches('.');
        let own = match after.is_empty() {
            true => {
                let before = format!("{}.", before.trim_end_matches('.'));
                let own = format!("^{}", regex::escape(&before));
                route.set("prefix", before);
                own
            }
            false => {
                let own = format!("^{}[^.]+{}\\.", regex::escape(before), regex::escape(after));
                route.set("regex", own.clone());
                own
            }
        };
        cluster.write(&mut route);
        sheet.routes.push(route);
        if !sheet.own.contains(&own) {
            sheet.note(place, "statistics: what is called like the own metrics goes to no other route, wherever it comes from");
            sheet.own.push(own);
        }
    }
    Ok(())
}
