//! Its listeners: an address each, `:2003` for all of the machine's.

use std::net::{IpAddr, SocketAddr};

use toml::de::DeTable;

use super::edit::{Given, put, string, strings};
use super::{Machine, duration, longest};
use crate::config::read::Report;

/// Which of Baton's lists an address goes to, and over what.
const LISTENERS: [(&str, &str, &[&str]); 4] = [
    ("listen_addr", "line", &["tcp", "udp"]),
    // carbon-relay-ng binds this one over UDP too, though a frame is longer than a datagram.
    ("pickle_addr", "pickle", &["tcp"]),
    ("http_addr", "http", &["tcp"]),
    ("admin_addr", "telnet", &["tcp"]),
];

pub(super) fn translate(report: &mut Report, root: &mut DeTable, machine: &Machine) {
    for (alias, kind, schemes) in LISTENERS {
        let Some(given) = Given::of(root, alias) else {
            continue;
        };
        let Some(text) = given.text(report).filter(|text| !text.is_empty()) else {
            continue;
        };
        let Some(addresses) = given.as_value().keep(report, addresses(&text, machine)) else {
            continue;
        };
        let addresses = match kind {
            "http" | "telnet" => for_this_machine(report, root, &given, addresses),
            _ => addresses,
        };
        let listeners = addresses.iter().flat_map(|address| {
            schemes
                .iter()
                .map(move |scheme| format!("{scheme}://{address}"))
        });
        let list = strings(listeners, &given.span());
        put(report, root, ("listen", kind), (given.key, given.at), list);
    }
    idle_timeout(report, root);
}

/// Its pages and commands are open to everybody. Here they can change the relay, so that unless `[admin]` says who may, those of this
/// machine have them alone: a config that was good before is no reason not to start.
fn for_this_machine(
    report: &mut Report,
    root: &DeTable,
    given: &Given,
    addresses: Vec<String>,
) -> Vec<String> {
    let admin = root
        .get("admin")
        .and_then(|admin| admin.get_ref().as_table());
    let is_settled = ["token_file", "allow_anyone"]
        .into_iter()
        .any(|key| admin.is_some_and(|admin| admin.get(key).is_some()));
    let mut ports = addresses.iter().filter_map(|address| {
        let at: SocketAddr = address.parse().ok()?;
        (!at.ip().is_loopback()).then_some(at.port())
    });
    match ports.next_back() {
        Some(port) if !is_settled => {
            let message = format!(
                "served on 127.0.0.1:{port} alone, since it would let everybody change this relay: \
                 set admin.token_file, or admin.allow_anyone = true"
            );
            report.warn(Some(given.at), given.key, message);
            vec![format!("127.0.0.1:{port}")]
        }
        _ => addresses,
    }
}

/// `host:port` of all sockets to bind. Go's listeners at an unspecified address take both families.
fn addresses(text: &str, machine: &Machine) -> Result<Vec<String>, String> {
    let expected = || {
        format!(
            "expected IP:port, [IPv6]:port or :port for all of the machine's addresses, found {text:?}"
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let port: u16 = port.parse().map_err(|_| expected())?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let ip: Option<IpAddr> = match (bare.unwrap_or(host), bare) {
        ("", None) => None,
        ("localhost", None) => Some([127, 0, 0, 1].into()),
        (host, _) => Some(host.parse().map_err(|_| expected())?),
    };
    Ok(match ip {
        Some(ip @ IpAddr::V6(_)) if !ip.is_unspecified() => vec![format!("[{ip}]:{port}")],
        Some(ip) if !ip.is_unspecified() => vec![format!("{ip}:{port}")],
        _ if machine.has_ipv6 => vec![format!("0.0.0.0:{port}"), format!("[::]:{port}")],
        _ => vec![format!("0.0.0.0:{port}")],
    })
}

/// Baton has one for all listeners.
fn idle_timeout(report: &mut Report, root: &mut DeTable) {
    let (mut times, mut last) = (Vec::new(), None);
    for alias in ["plain_read_timeout", "pickle_read_timeout"] {
        let Some(given) = Given::of(root, alias) else {
            continue;
        };
        times.extend(duration(report, &given));
        last = Some(given);
    }
    let (Some(given), Some((text, time))) = (last, longest(&times)) else {
        return;
    };
    if times.iter().any(|(_, other)| other != time) {
        let message = format!("both listeners have one time-out here, the longer one: {text}");
        report.warn(Some(given.at), given.key, message);
    }
    let value = string(text, given.span());
    put(
        report,
        root,
        ("input", "idle_timeout"),
        (given.key, given.at),
        value,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_all_is_one_of_each_family() {
        let machine = |has_ipv6| Machine {
            host: String::new(),
            has_ipv6,
            variable: |_| None,
        };
        for (text, with, without) in [
            (
                ":2003",
                vec!["0.0.0.0:2003", "[::]:2003"],
                vec!["0.0.0.0:2003"],
            ),
            (
                "0.0.0.0:2003",
                vec!["0.0.0.0:2003", "[::]:2003"],
                vec!["0.0.0.0:2003"],
            ),
            (
                "[::]:2003",
                vec!["0.0.0.0:2003", "[::]:2003"],
                vec!["0.0.0.0:2003"],
            ),
            (
                "localhost:2003",
                vec!["127.0.0.1:2003"],
                vec!["127.0.0.1:2003"],
            ),
            ("10.1.2.3:1", vec!["10.1.2.3:1"], vec!["10.1.2.3:1"]),
            ("[::1]:1", vec!["[::1]:1"], vec!["[::1]:1"]),
        ] {
            assert_eq!(addresses(text, &machine(true)).unwrap(), with, "{text}");
            assert_eq!(addresses(text, &machine(false)).unwrap(), without, "{text}");
        }
        for bad in [
            "2003",
            ":graphite",
            ":70000",
            "graphite.example:2003",
            "::1",
            "[::1",
        ] {
            assert!(addresses(bad, &machine(true)).is_err(), "{bad}");
        }
    }
}
