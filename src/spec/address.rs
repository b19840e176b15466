use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a destination's lines go.
///
/// Written `host:port`, `[::1]:2014`, `host:port:instance` or `file:PATH`. It displays as its
/// canonical text, which reads back as the same address and is what JSON has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// A peer that takes line protocol.
    Tcp {
        /// A host name, an IPv4 address or an IPv6 address without brackets; resolved at every
        /// connect.
        host: String,
        /// Never 0.
        port: u16,
        /// Tells apart several stores at one address (carbon's notion); no part of the connection.
        instance: Option<String>,
    },
    /// A file that the lines are appended to; relative as long as nobody resolved it.
    File(PathBuf),
}

/// An address that can't be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

/// The longest host name, RFC 1035 section 2.3.4.
const MAX_HOST: usize = 253;

impl Address {
    /// Whether both are the same place, for the same instance. Case doesn't count in a host's name.
    pub fn is_same_place(&self, other: &Address) -> bool {
        match (self, other) {
            (
                Address::Tcp {
                    host,
                    port,
                    instance,
                },
                Address::Tcp {
                    host: other_host,
                    port: other_port,
                    instance: other_instance,
                },
            ) => {
                host.eq_ignore_ascii_case(other_host)
                    && port == other_port
                    && instance == other_instance
            }
            _ => self == other,
        }
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Address, BadAddress> {
        if let Some(path) = text.strip_prefix("file:") {
            return file(path);
        }
        if text.contains("://") {
            return Err(bad(text, "without a scheme"));
        }
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => bracketed(text, inner)?,
            None => plain(text)?,
        };
        let Some(rest) = rest else {
            return Err(bad(text, "with a port"));
        };
        let (port, instance) = match rest.split_once(':') {
            Some((port, instance)) => (port, Some(instance)),
            None => (rest, None),
        };
        let digits_only = port.bytes().all(|b| b.is_ascii_digit());
        let port = match port.parse() {
            Ok(port) if port != 0 && digits_only => port,
            _ => return Err(bad(text, "with a port from 1 to 65535")),
        };
        if instance.is_some_and(|name| name.is_empty() || !name.bytes().all(is_host_byte)) {
            return Err(bad(
                text,
                "with an instance of letters, digits, '.', '-' and '_'",
            ));
        }
        Ok(Address::Tcp {
            host,
            port,
            instance: instance.map(str::to_owned),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp {
                host,
                port,
                instance,
            } => {
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")?;
                } else {
                    write!(f, "{host}:{port}")?;
                }
                match instance {
                    Some(instance) => write!(f, ":{instance}"),
                    None => Ok(()),
                }
            }
            Address::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Address, BadAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

fn bad(text: &str, what: &str) -> BadAddress {
    BadAddress(format!(
        "expected host:port, [IPv6]:port, host:port:instance or file:PATH, {what}, found {text:?}"
    ))
}

fn file(path: &str) -> Result<Address, BadAddress> {
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(BadAddress(format!(
            "expected file:PATH with the path of a file, found \"file:{path}\""
        )));
    }
    Ok(Address::File(PathBuf::from(path)))
}

/// Takes `::1]:2014`, what follows the opening bracket.
fn bracketed<'a>(text: &str, inner: &'a str) -> Result<(String, Option<&'a str>), BadAddress> {
    let Some((host, rest)) = inner.split_once(']') else {
        return Err(bad(text, "with a closing bracket"));
    };
    let Ok(ip) = host.parse::<Ipv6Addr>() else {
        return Err(bad(text, "with an IPv6 address in the brackets"));
    };
    match rest.strip_prefix(':') {
        None if !rest.is_empty() => Err(bad(text, "with ':' after the bracket")),
        rest => Ok((ip.to_string(), rest)),
    }
}

fn plain(text: &str) -> Result<(String, Option<&str>), BadAddress> {
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 2 {
        return Err(bad(text, "with brackets around an IPv6 address"));
    }
    let (host, rest) = match text.split_once(':') {
        Some((host, rest)) => (host, Some(rest)),
        None => (text, None),
    };
    if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(is_host_byte) {
        return Err(bad(text, "with the name or address of a host"));
    }
    // A resolver would take 10.0.0.256 or 10.1 for a name, or for an address that nobody meant.
    let looks_numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if looks_numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(bad(text, "with four numbers up to 255 as IPv4 address"));
    }
    Ok((host.to_owned(), rest))
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tcp(host: &str, port: u16, instance: Option<&str>) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
            instance: instance.map(str::to_owned),
        }
    }

    #[test]
    fn addresses() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(read("127.0.0.1:2003"), tcp("127.0.0.1", 2003, None));
        assert_eq!(
            read("graphite-1.example_x.org:65535"),
            tcp("graphite-1.example_x.org", 65535, None)
        );
        assert_eq!(read("host:2003:a"), tcp("host", 2003, Some("a")));
        assert_eq!(read("[::1]:2014"), tcp("::1", 2014, None));
        assert_eq!(read("[::1]:2014:b-2"), tcp("::1", 2014, Some("b-2")));
        assert_eq!(read("[0:0::0:1]:2014").to_string(), "[::1]:2014");
        assert_eq!(read("1host:1"), tcp("1host", 1, None));
        assert_eq!(
            read("file:metrics.out"),
            Address::File("metrics.out".into())
        );
        assert_eq!(read("file:/a b:c=d"), Address::File("/a b:c=d".into()));
    }

    #[test]
    fn no_addresses_and_why() {
        for (text, why) in [
            ("", "name or address"),
            ("host", "with a port"),
            ("host:", "from 1 to 65535"),
            (":2003", "name or address"),
            ("host:0", "from 1 to 65535"),
            ("host:65536", "from 1 to 65535"),
            ("host:+1", "from 1 to 65535"),
            ("host:http", "from 1 to 65535"),
            ("host:1:", "instance"),
            ("host:1:a/b", "instance"),
            ("host:1:a:b", "brackets"),
            ("::1", "brackets"),
            ("::1:2003", "brackets"),
            ("fe80::1:2:3:4:5", "brackets"),
            ("[::1", "closing bracket"),
            ("[::1]", "with a port"),
            ("[::1]2003", "':' after"),
            ("[::g]:2003", "IPv6"),
            ("[127.0.0.1]:2003", "IPv6"),
            ("[fe80::1%eth0]:2003", "IPv6"),
            ("10.0.0.256:2003", "four numbers"),
            ("10.1:2003", "four numbers"),
            ("2003:2003", "four numbers"),
            ("ho st:1", "name or address"),
            ("höst:1", "name or address"),
            ("tcp://host:1", "without a scheme"),
            ("file:", "path of a file"),
            ("file:dir/", "path of a file"),
        ] {
            let said = text.parse::<Address>().expect_err(text).to_string();
            assert!(
                said.contains(why) && said.contains(text),
                "{text:?}: {said}"
            );
        }
    }

    #[test]
    fn the_same_place() {
        assert!(tcp("Host", 1, None).is_same_place(&tcp("host", 1, None)));
        assert!(!tcp("host", 1, Some("a")).is_same_place(&tcp("host", 1, Some("b"))));
        assert!(!tcp("host", 1, None).is_same_place(&tcp("host", 2, None)));
    }

    /// Any address there can be.
    pub(in crate::spec) fn any_address() -> impl Strategy<Value = Address> {
        let host = prop_oneof![
            "[a-z][a-zA-Z0-9_.-]{0,20}",
            any::<Ipv4Addr>().prop_map(|ip| ip.to_string()),
            any::<Ipv6Addr>().prop_map(|ip| ip.to_string()),
        ];
        let instance = proptest::option::of("[a-zA-Z0-9_.-]{1,5}");
        prop_oneof![
            (host, 1u16.., instance).prop_map(|(host, port, instance)| Address::Tcp {
                host,
                port,
                instance
            }),
            "[^\0/]{0,10}[ \"=a]{0,3}[^\0/]".prop_map(|path| Address::File(path.into())),
        ]
    }

    proptest! {
        #[test]
        fn an_address_reads_back(address in any_address()) {
            prop_assert_eq!(address.to_string().parse(), Ok(address.clone()));
            let json = serde_json::to_string(&address).unwrap();
            prop_assert_eq!(serde_json::from_str::<Address>(&json).unwrap(), address);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]:.0-9a-z]{0,12}|.{0,12}") {
            let _ = text.parse::<Address>();
        }
    }
}
