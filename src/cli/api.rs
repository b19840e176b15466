//! The daemon's HTTP API, as the command line asks it: over its own unix socket, or over TCP.

mod http;
mod place;
mod problem;

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{VERSION, hint_at};
pub use http::{Response, Stream};
pub use place::{Address, Args};
pub use problem::{Failed, LATER, NO_DAEMON, Problem};

/// How long an answer may take: a change waits for the end of a restart, and for the disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// No answer is longer.
const MAX_ANSWER: u64 = 256 << 20;

/// A daemon's API.
#[derive(Debug)]
pub struct Api {
    addresses: Vec<Address>,
    token: Option<String>,
    is_named: bool,
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Below `/api/`, with its query, escaped.
    pub path: String,
    /// Only if the table has this version.
    pub if_version: Option<String>,
    /// JSON, or nothing.
    pub body: Option<Value>,
}

impl Request {
    /// To read something.
    pub fn get(path: impl Into<String>) -> Request {
        Request {
            method: "GET",
            path: path.into(),
            ..Request::default()
        }
    }
}

impl Api {
    /// Asks, and reads the answer.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn ask(&self, request: &Request) -> Result<Vec<u8>, Failed> {
        let (address, response) = self.open(request)?;
        read(&address, response)
    }

    /// Asks, and reads an answer of this form.
    ///
    /// # Errors
    /// [`Failed`], or an answer of another form.
    pub fn read<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let bytes = self.ask(request)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| anyhow!("{}: an answer that can't be read: {error}", request.path))
    }

    /// Asks; the body is read by the caller, as it comes.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn open(&self, request: &Request) -> Result<(Address, Response), Failed> {
        let (address, stream) = self.connect()?;
        let broken = |error| Failed::Broken {
            address: address.clone(),
            error: in_time(error),
        };
        stream.wait_at_most(Some(PATIENCE)).map_err(broken)?;
        let mut headers = vec![
            ("Host", address.host().to_owned()),
            ("User-Agent", format!("baton/{VERSION}")),
        ];
        if let Some(token) = &self.token {
            headers.push(("Authorization", format!("Bearer {token}")));
        }
        if let Some(version) = &request.if_version {
            headers.push(("If-Match", format!("\"{version}\"")));
        }
        let body = request.body.as_ref().map(Value::to_string);
        let line = format!("{} /api/{}", request.method, request.path);
        let response = http::ask(stream, &line, &headers, body.unwrap_or_default().as_bytes());
        let response = response.map_err(broken)?;
        if (200..300).contains(&response.status) {
            return Ok((address, response));
        }
        let status = response.status;
        let body = all(response).map_err(broken)?;
        Err(Failed::Refused(Box::new(Problem::of(status, &body))))
    }

    /// Where it is looked for first.
    pub fn first(&self) -> Address {
        let nowhere = || Address::Unix(PathBuf::new());
        self.addresses.first().cloned().unwrap_or_else(nowhere)
    }

    /// The first of its addresses that takes a connection.
    fn connect(&self) -> Result<(Address, Stream), Failed> {
        let mut first = None;
        for address in &self.addresses {
            match address.connect() {
                Ok(stream) => return Ok((address.clone(), stream)),
                Err(error) => first = first.or(Some((address.clone(), error))),
            }
        }
        let nowhere = || {
            (
                Address::Unix(PathBuf::new()),
                io::ErrorKind::NotFound.into(),
            )
        };
        let (address, error) = first.unwrap_or_else(nowhere);
        let hint = match self.is_named {
            true => "",
            false => " (say which daemon by --config FILE, BATON_CONFIG=FILE or --api ADDRESS)",
        };
        Err(Failed::NoDaemon {
            hint: hint_at(&error, hint),
            address,
            error,
        })
    }
}

fn read(address: &Address, response: Response) -> Result<Vec<u8>, Failed> {
    all(response).map_err(|error| Failed::Broken {
        address: address.clone(),
        error: in_time(error),
    })
}

fn all(response: Response) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    response.body.take(MAX_ANSWER + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_ANSWER {
        true => Err(io::Error::other("an answer of more than 256MiB")),
        false => Ok(bytes),
    }
}

/// A timeout by its name: the system calls it `Resource temporarily unavailable`.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {} seconds", PATIENCE.as_secs()),
        ),
        _ => error,
    }
}

/// As a segment of a path, or a value of a query.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
