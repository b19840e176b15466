//! Where a daemon's API is.

use std::fmt;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::super::{WELL_KNOWN, named};
use super::{Api, Stream};
use crate::supervisor::Settings;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Which daemon is asked, and on whose behalf.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Which daemon")]
#[group(skip)]
pub struct Args {
    /// Where its API is: unix:PATH or http://HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    api: Option<Address>,
    /// The config it runs, which says where its API is [env: BATON_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file with the token that its API wants
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Where an API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket.
    Unix(PathBuf),
    /// `HOST:PORT`.
    Tcp(String),
}

impl std::str::FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let expected = || format!("expected unix:PATH or http://HOST:PORT, found {text:?}");
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Address::Unix(path.into()));
        }
        let rest = text.strip_prefix("http://").ok_or_else(expected)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let has_port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
        let plain = !authority.contains(|c: char| c == '/' || c == '@' || !c.is_ascii_graphic());
        match authority.rsplit_once(':').is_some_and(has_port) && plain {
            true => Ok(Address::Tcp(authority.to_owned())),
            false => Err(expected()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(authority) => write!(f, "http://{authority}"),
        }
    }
}

impl Address {
    /// Connects.
    pub fn connect(&self) -> io::Result<Stream> {
        match self {
            Address::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            Address::Tcp(authority) => {
                let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
                for address in authority.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, CONNECT) {
                        Ok(stream) => return Ok(Stream::Tcp(stream)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// Who is asked, as a browser would say it.
    pub fn host(&self) -> &str {
        match self {
            Address::Unix(_) => "localhost",
            Address::Tcp(authority) => authority,
        }
    }
}

impl Args {
    /// The API that these arguments mean; nothing is asked yet.
    ///
    /// # Errors
    /// The token can't be read, or the config.
    pub fn find(&self) -> anyhow::Result<Api> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        let (addresses, is_named) = match &self.api {
            Some(address) => (vec![address.clone()], true),
            None => match named(self.config.as_deref())? {
                Some(config) => (of_config(&config), true),
                None => (usual(Path::new(WELL_KNOWN)), false),
            },
        };
        Ok(Api {
            addresses,
            token,
            is_named,
        })
    }
}

fn token(path: &Path) -> anyhow::Result<String> {
    let read = std::fs::read_to_string(path);
    let text = read.with_context(|| format!("the token file {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{}: expected one token, a word of ASCII", path.display());
    }
    Ok(token.to_owned())
}

/// Where the API of a config may be, the likeliest first. The file may be newer than what runs, or wrong: it is read as far
/// as it can be.
fn of_config(path: &Path) -> Vec<Address> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let table = text.parse::<toml::Table>().unwrap_or_default();
    let http = table.get("listen").and_then(|listen| listen.get("http"));
    let listed = match http {
        Some(toml::Value::Array(all)) => all.iter().filter_map(toml::Value::as_str).collect(),
        Some(toml::Value::String(one)) => vec![&one[..]],
        _ => Vec::new(),
    };
    let sockets = listed.iter().filter_map(|text| {
        let path = text.strip_prefix("unix:")?;
        Some(Address::Unix(folder.join(path)))
    });
    let mut addresses: Vec<Address> = sockets.collect();
    addresses.extend(usual(&Settings::read(path).control));
    let ports = listed.iter().filter_map(|text| text.strip_prefix("tcp://"));
    addresses.extend(ports.map(|authority| Address::Tcp(reachable(authority))));
    addresses
}

/// The API's socket that a daemon has without being told to, beside its control socket.
fn usual(control: &Path) -> Vec<Address> {
    let stem = control.file_stem().unwrap_or_default().to_string_lossy();
    let name = match &*stem {
        "baton" | "control" => "api.sock".to_owned(),
        own => format!("{own}-api.sock"),
    };
    vec![Address::Unix(control.with_file_name(name))]
}

/// An address that listens everywhere, as one that can be asked.
fn reachable(authority: &str) -> String {
    match authority.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => authority.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_host_with_a_port() {
        let read = |text: &str| text.parse::<Address>();
        assert_eq!(read("unix:/a b"), Ok(Address::Unix("/a b".into())));
        assert_eq!(
            read("http://[::1]:80/"),
            Ok(Address::Tcp("[::1]:80".into()))
        );
        for text in [
            "",
            "unix:",
            "/a",
            "http://",
            "http://a",
            "http://a:b",
            "http://:1",
            "https://a:1",
            "http://a:1/b",
            "http://u@a:1",
            "http://a\r\n:1",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_config_says_where_its_api_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("baton.toml");
        let at = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let all = of_config(&path).into_iter();
            let own = format!("{}/", folder.path().display());
            all.map(|address| address.to_string().replace(&own, ""))
                .collect::<Vec<_>>()
        };
        let control = "supervisor.control = \"unix:two.sock\"\n";
        assert_eq!(at(control), ["unix:two-api.sock"]);
        assert_eq!(
            at(
                "supervisor.control = \"control.sock\"\nlisten.http = [\"tcp://0.0.0.0:1\", \"unix:x\"]\nwrong = 1"
            ),
            ["unix:x", "unix:api.sock", "http://127.0.0.1:1"]
        );
    }
}
