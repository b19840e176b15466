use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::problem::Weight;
use super::read::{Report, Section, Value};
use super::{compile, keys};

/// A place to listen, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// What is spoken.
    pub kind: ListenerKind,
    /// Where.
    pub address: ListenAddress,
}

/// What is spoken at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerKind {
    /// Graphite's line protocol.
    Line,
    /// Pickles of datapoints, each with its length before it.
    Pickle,
    /// Metrics, health and status over HTTP.
    Http,
    /// Commands, a line each.
    Telnet,
}

/// Where to listen: `tcp://127.0.0.1:2003`, `udp://[::1]:2003` or `unix:/run/baton/line.sock`.
///
/// Its text reads back as the same address, and is its name wherever listeners are handed over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenAddress {
    /// A stream socket.
    Tcp(SocketAddr),
    /// A datagram socket.
    Udp(SocketAddr),
    /// A stream socket in the file system; absolute in a proven config.
    Unix(PathBuf),
}

/// A text that is no place to listen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found:?}")]
pub struct BadListenAddress {
    expected: &'static str,
    found: String,
}

/// `sun_path` has 108 bytes, the last one for the NUL, unix(7).
const MAX_SOCKET_PATH: usize = 107;

impl FromStr for ListenAddress {
    type Err = BadListenAddress;

    fn from_str(text: &str) -> Result<ListenAddress, BadListenAddress> {
        let bad = |expected| BadListenAddress {
            expected,
            found: text.to_owned(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = match path.strip_prefix("//") {
                Some(path) if !path.starts_with('/') => {
                    return Err(bad("unix:PATH or unix:///PATH"));
                }
                Some(path) => path,
                None => path,
            };
            if path.is_empty() || path.ends_with('/') || path.contains('\0') {
                return Err(bad("unix:PATH with the path of a socket"));
            }
            return Ok(ListenAddress::Unix(PathBuf::from(path)));
        }
        let Some((scheme @ ("tcp" | "udp"), address)) = text.split_once("://") else {
            return Err(bad("tcp://IP:port, udp://IP:port or unix:PATH"));
        };
        let Ok(address) = address.parse::<SocketAddr>() else {
            return Err(bad(
                "an IP address and a port such as tcp://127.0.0.1:2003 or tcp://[::]:2003 \
                 (0.0.0.0 or [::] for all addresses)",
            ));
        };
        if let IpAddr::V6(ip) = address.ip()
            && ip.to_ipv4_mapped().is_some()
        {
            // IPv6 listeners take IPv6 only, so such a bind would fail.
            return Err(bad("an IPv4 address without ::ffff:"));
        }
        Ok(match scheme {
            "udp" => ListenAddress::Udp(address),
            _ => ListenAddress::Tcp(address),
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "tcp://{address}"),
            ListenAddress::Udp(address) => write!(f, "udp://{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = BadListenAddress;

    fn try_from(text: String) -> Result<ListenAddress, BadListenAddress> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> String {
        address.to_string()
    }
}

impl ListenAddress {
    /// Whether other machines can reach it.
    pub fn is_for_others(&self) -> bool {
        match self {
            ListenAddress::Tcp(at) | ListenAddress::Udp(at) => !at.ip().is_loopback(),
            ListenAddress::Unix(_) => false,
        }
    }

    /// Whether the kernel would refuse to bind both. IPv6 listeners take IPv6 only, so families
    /// don't meet.
    pub fn overlaps(&self, other: &ListenAddress) -> bool {
        match (self, other) {
            (ListenAddress::Tcp(a), ListenAddress::Tcp(b))
            | (ListenAddress::Udp(a), ListenAddress::Udp(b)) => {
                let is_wide = a.ip().is_unspecified() || b.ip().is_unspecified();
                a == b
                    || a.port() == b.port()
                        && a.port() != 0
                        && a.is_ipv4() == b.is_ipv4()
                        && is_wide
            }
            (a, b) => a == b,
        }
    }
}

impl ListenerKind {
    /// All of them.
    pub const ALL: [ListenerKind; 4] = [
        ListenerKind::Line,
        ListenerKind::Pickle,
        ListenerKind::Http,
        ListenerKind::Telnet,
    ];

    /// Whether metrics come in there, and not questions.
    pub fn takes_metrics(self) -> bool {
        matches!(self, ListenerKind::Line | ListenerKind::Pickle)
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<ListenerKind> {
        ListenerKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// Whether a relay can be changed through it.
    pub fn administers(self) -> bool {
        !self.takes_metrics()
    }

    /// As it is written; the name that systemd's sockets of this kind have.
    pub fn as_str(self) -> &'static str {
        match self {
            ListenerKind::Line => "line",
            ListenerKind::Pickle => "pickle",
            ListenerKind::Http => "http",
            ListenerKind::Telnet => "telnet",
        }
    }
}

impl fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A listener, and where the file asks for it.
pub(super) struct Placed {
    pub(super) listener: Listener,
    /// `None`: it is there though the file doesn't name it.
    pub(super) at: Option<usize>,
}

impl Placed {
    /// Whose an address is, for problems.
    pub(super) fn who(&self, report: &Report) -> String {
        match self.at {
            Some(at) => format!("the listener in line {}", report.line(at)),
            None => "the API's socket".to_owned(),
        }
    }
}

pub(super) fn compile(report: &mut Report, root: &Section, folder: &Path) -> Vec<Placed> {
    let listen = root.section(report, "listen", keys::LISTEN);
    let mut placed: Vec<Placed> = Vec::new();
    for kind in ListenerKind::ALL {
        let list = listen.value(kind.as_str()).map(|value| value.list(report));
        for value in list.unwrap_or_default() {
            let Some(address) = address(report, &value, kind, folder) else {
                continue;
            };
            if let Some(first) = placed
                .iter()
                .find(|first| first.listener.address.overlaps(&address))
            {
                let line = first.at.map_or(0, |at| report.line(at));
                let taken = &first.listener.address;
                let expected = format!(
                    "expected an address of its own, found {address}: {taken} in line {line} has it"
                );
                value.refuse(report, expected);
                continue;
            }
            placed.push(Placed {
                listener: Listener { kind, address },
                at: Some(value.at),
            });
        }
    }
    let has_input = placed
        .iter()
        .any(|placed| placed.listener.kind.takes_metrics());
    if !has_input {
        let at = listen.is_present().then_some(listen.at);
        let message =
            "nothing to listen on for metrics, but for sockets that systemd passes".to_owned();
        report.warn_with(Weight::UnlessPassed, at, "listen", message);
    }
    placed
}

fn address(
    report: &mut Report,
    value: &Value,
    kind: ListenerKind,
    folder: &Path,
) -> Option<ListenAddress> {
    let text = value.text(report)?;
    let address = value.keep(report, text.parse::<ListenAddress>())?;
    match (kind, address) {
        (ListenerKind::Http, ListenAddress::Udp(_)) => {
            let message = format!(
                "expected tcp://IP:port or unix:PATH, found {text:?}: HTTP comes in streams only"
            );
            value.refuse(report, message);
            None
        }
        (ListenerKind::Pickle, ListenAddress::Udp(_)) => {
            let message = format!(
                "expected tcp://IP:port or unix:PATH, found {text:?}: pickles come in streams only"
            );
            value.refuse(report, message);
            None
        }
        (ListenerKind::Telnet, ListenAddress::Udp(_)) => {
            let message = format!(
                "expected tcp://IP:port or unix:PATH, found {text:?}: commands come in streams only"
            );
            value.refuse(report, message);
            None
        }
        (_, ListenAddress::Unix(path)) => {
            let path = value.keep(report, socket_path(folder, &path))?;
            Some(ListenAddress::Unix(path))
        }
        (_, address) => Some(address),
    }
}

/// The absolute path of a unix socket.
pub(super) fn socket_path(folder: &Path, path: &Path) -> Result<PathBuf, String> {
    let path = compile::beside(folder, path)?;
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        let path = path.display();
        return Err(format!(
            "expected a path of at most {MAX_SOCKET_PATH} bytes, as unix sockets have, found one of {length}: {path}"
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_read_back() {
        for text in [
            "tcp://127.0.0.1:2003",
            "udp://0.0.0.0:2003",
            "tcp://[::]:2003",
            "tcp://[fe80::1%2]:2003",
            "tcp://127.0.0.1:0",
            "unix:/run/baton/line.sock",
            "unix:line.sock",
        ] {
            assert_eq!(read(text).to_string(), text);
            let json = format!("{text:?}");
            assert_eq!(
                serde_json::from_str::<ListenAddress>(&json).unwrap(),
                read(text)
            );
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), json);
        }
        assert_eq!(read("unix:///run/line.sock"), read("unix:/run/line.sock"));
        assert_eq!(read("tcp://[0:0::1]:1"), read("tcp://[::1]:1"));
    }

    #[test]
    fn no_addresses() {
        for text in [
            "",
            "127.0.0.1:2003",
            "tcp:127.0.0.1:2003",
            "tcp://127.0.0.1",
            "tcp://:2003",
            "tcp://*:2003",
            "tcp://localhost:2003",
            "tcp://::1:2003",
            "tcp://[::1]:65536",
            "tcp://127.0.0.1:2003/",
            "tcp://[::ffff:127.0.0.1]:2003",
            "http://127.0.0.1:80",
            "unix:",
            "unix:dir/",
            "unix://run/line.sock",
            "unix:a\0b",
        ] {
            let said = text.parse::<ListenAddress>().expect_err(text).to_string();
            assert!(
                said.contains("expected") && said.contains(&format!("{text:?}")),
                "{said}"
            );
        }
    }

    #[test]
    fn overlaps_are_what_the_kernel_refuses() {
        for (a, b, overlap) in [
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", true),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", false),
            ("tcp://127.0.0.1:1", "tcp://127.0.0.2:1", false),
            ("tcp://127.0.0.1:1", "udp://127.0.0.1:1", false),
            ("tcp://127.0.0.1:1", "tcp://0.0.0.0:1", true),
            ("udp://0.0.0.0:1", "udp://127.0.0.1:1", true),
            ("tcp://[::]:1", "tcp://[::1]:1", true),
            ("tcp://[::]:1", "tcp://0.0.0.0:1", false),
            ("tcp://[::]:1", "tcp://127.0.0.1:1", false),
            ("tcp://0.0.0.0:0", "tcp://127.0.0.1:0", false),
            ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0", true),
            ("unix:/a", "unix:/a", true),
            ("unix:/a", "unix:/b", false),
        ] {
            assert_eq!(read(a).overlaps(&read(b)), overlap, "{a} {b}");
            assert_eq!(read(b).overlaps(&read(a)), overlap, "{b} {a}");
        }
    }

    #[test]
    fn a_socket_path_fits_the_kernels_structure() {
        let name = |length: usize| PathBuf::from("x".repeat(length));
        let folder = Path::new("/run");
        assert_eq!(
            socket_path(folder, &name(102)).unwrap().as_os_str().len(),
            107
        );
        assert!(
            socket_path(folder, &name(103))
                .unwrap_err()
                .contains("107 bytes")
        );
        assert_eq!(
            socket_path(folder, Path::new("./a.sock")).unwrap(),
            Path::new("/run/a.sock")
        );
        assert_eq!(
            socket_path(folder, Path::new("/a.sock")).unwrap(),
            Path::new("/a.sock")
        );
    }

    proptest! {
        #[test]
        fn any_socket_address_reads_back(address: SocketAddr) {
            let mapped = matches!(address.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
            prop_assume!(!mapped);
            // Flow labels are no part of the text.
            let address: SocketAddr = address.to_string().parse().unwrap();
            let tcp = ListenAddress::Tcp(address);
            prop_assert_eq!(tcp.to_string().parse(), Ok(tcp));
        }

        #[test]
        fn no_text_makes_it_panic(text in "(tcp|udp|unix):(//)?[0-9.:\\[\\]]{0,12}|.{0,12}") {
            let _ = text.parse::<ListenAddress>();
        }
    }
}
