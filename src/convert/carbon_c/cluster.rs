//! Clusters: how a route chooses, and its destinations.

use std::path::Path;

use super::super::Unreadable;
use super::super::sheet::{Place, Sheet, Table};
use super::read::Statement;

/// What becomes of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    kind: Option<&'static str>,
    is_hash: bool,
    replication: u64,
    dynamic: bool,
    /// Empty when none of its members has a counterpart.
    destinations: Vec<String>,
}

const KINDS: [(&str, Option<&str>); 7] = [
    ("forward", Some("sendAllMatch")),
    ("any_of", Some("any_of")),
    ("failover", Some("failover")),
    // The same ring as carbon-relay-ng's first.
    ("carbon_ch", Some("consistentHashing")),
    ("fnv1a_ch", Some("fnv1a_ch")),
    ("jump_fnv1a_ch", Some("jump_fnv1a_ch")),
    ("file", None),
];

/// Where the shipped unit lets it write.
const STATE: &str = "/var/lib/baton";

const KEYWORDS: [&str; 4] = ["useall", "replication", "dynamic", "ip"];

impl Cluster {
    /// Whether a route can send to it.
    pub(super) fn is_usable(&self) -> bool {
        !self.destinations.is_empty()
    }

    /// Writes it to a route.
    pub(super) fn write(&self, route: &mut Table) {
        if let Some(kind) = self.kind.filter(|kind| *kind != "sendAllMatch") {
            route.set("type", kind);
        }
        if self.is_hash {
            // It hashes the name up to the tags.
            route.set("hash_tags", false);
            if self.replication > 1 {
                route.set("replication", self.replication as i64);
            }
            if self.dynamic {
                route.set("dynamic", true);
            }
        }
        route.set("destinations", self.destinations.clone());
    }
}

/// Reads the rest of a cluster's statement.
pub(super) fn read(
    sheet: &mut Sheet,
    statement: &mut Statement,
) -> Result<(String, Cluster), Unreadable> {
    let name = statement.word("the cluster's name")?;
    let word = statement.word("the cluster's type")?;
    let place = statement.place.clone();
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == word) else {
        let names = KINDS.map(|(name, _)| name).join(", ");
        return Err(statement.unreadable(format!("expected one of {names}, found {word:?}")));
    };
    let mut cluster = Cluster {
        kind: *kind,
        is_hash: word.ends_with("_ch"),
        replication: 1,
        dynamic: false,
        destinations: Vec::new(),
    };
    while let Some(keyword) = KEYWORDS.iter().find(|keyword| statement.is_next(keyword)) {
        statement.take(keyword);
        match *keyword {
            "replication" => cluster.replication = statement.number("a number of copies")?,
            "dynamic" => cluster.dynamic = true,
            "useall" => sheet.note(
                &place,
                format!("cluster {name}: useall: Baton connects to one address of a name at a time: write each address out"),
            ),
            _ => sheet.note(
                &place,
                format!("cluster {name}: ip: Baton writes lines without the sender's address before them"),
            ),
        }
    }
    while !statement.is_over() {
        let member = statement.word("a member")?;
        let destination = match word == "file" {
            true => {
                if !Path::new(&member).starts_with(STATE) {
                    sheet.note(
                        &place,
                        format!(
                            "cluster {name}: {member}: as a service Baton writes below {STATE} alone, and what it writes to /tmp nobody else sees: \
                             write a path below {STATE}"
                        ),
                    );
                }
                Some(format!("file:{member}"))
            }
            false => address(sheet, statement, &name, &member)?,
        };
        let Some(destination) = destination else {
            continue;
        };
        if cluster.destinations.contains(&destination) {
            sheet.note(
                &place,
                format!("cluster {name}: {member} is a member twice: once here"),
            );
            continue;
        }
        cluster.destinations.push(destination);
    }
    match cluster.is_usable() {
        true => sheet.converted(),
        false => sheet.noted(
            &place,
            format!("cluster {name} has no member that Baton can send to: left out"),
        ),
    }
    Ok((name, cluster))
}

/// A member with its options; `None` when Baton can't send to it.
fn address(
    sheet: &mut Sheet,
    statement: &mut Statement,
    cluster: &str,
    member: &str,
) -> Result<Option<String>, Unreadable> {
    let place = statement.place.clone();
    let mut is_usable = true;
    let mut refuse = |sheet: &mut Sheet, place: &Place, what: &str| {
        sheet.note(
            place,
            format!("cluster {cluster}: {member} is left out: {what}"),
        );
        is_usable = false;
    };
    loop {
        if statement.take("proto") {
            if statement.word("udp or tcp")? == "udp" {
                refuse(
                    sheet,
                    &place,
                    "Baton sends over TCP only: let it listen on TCP",
                );
            }
        } else if statement.take("type") {
            if statement.word("linemode or syslog")? != "linemode" {
                refuse(sheet, &place, "Baton doesn't send syslog");
            }
        } else if statement.take("transport") {
            let transport = statement.word("a transport")?;
            let is_secured = ["ssl", "mtls"].iter().any(|word| statement.is_next(word));
            if transport != "plain" || is_secured {
                refuse(
                    sheet,
                    &place,
                    "Baton sends plain lines only: give its destination a plain port",
                );
            }
        } else if statement.take("mtls") {
            statement.word("a certificate")?;
            statement.word("a key")?;
        } else if !statement.take("ssl") {
            break;
        }
    }
    if !is_usable {
        return Ok(None);
    }
    let (place_of, instance) = match member.split_once('=') {
        Some((place, instance)) => (place, Some(instance)),
        None => (member, None),
    };
    let (host, port) = host_and_port(place_of);
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let text = match instance {
        Some(instance) => format!("{host}:{port}:{instance}"),
        None => format!("{host}:{port}"),
    };
    Ok(Some(text))
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; the port is 2003 unless given.
fn host_and_port(text: &str) -> (&str, &str) {
    if let Some(inner) = text.strip_prefix('[')
        && let Some((host, rest)) = inner.split_once(']')
    {
        return (host, rest.strip_prefix(':').unwrap_or("2003"));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port),
        _ => (text, "2003"),
    }
}
