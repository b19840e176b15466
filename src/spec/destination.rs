use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::draft::{self, BadOption, Draft};
use super::words::{self, Word};
use super::{Address, ByteSize, Spool, chosen, show_duration};
use crate::route::Patterns;

/// Where a route sends lines, and how.
///
/// It travels between versions as JSON: fields that a version doesn't know are ignored, those that
/// are missing have their defaults. It displays as a destination string that reads back as the same
/// destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Unique among all destinations; its queue belongs to it. `{route key}/{address as written}`
    /// if not given.
    pub id: String,
    /// Where to.
    pub address: Address,
    /// Which of the route's lines it takes.
    #[serde(default, with = "PatternsJson")]
    pub patterns: Patterns,
    /// The size of its ring, in bytes; with a spool it has two of them.
    #[serde(default = "draft::default_queue")]
    pub queue: u64,
    /// How much that the peer's kernel acknowledged is kept, in bytes, and sent again after a
    /// connection that ended badly. At most half of the queue.
    #[serde(default)]
    pub resend: u64,
    /// What happens to lines when the queue is full.
    #[serde(default = "draft::default_full")]
    pub full: Full,
    /// How its spool behaves, if `full` says that it has one.
    #[serde(default)]
    pub spool: Spool,
    /// How long a line waits for company, at most.
    #[serde(default = "draft::default_flush")]
    pub flush: Duration,
    /// The longest pause between two attempts to connect.
    #[serde(default = "draft::default_reconnect")]
    pub reconnect: Duration,
    /// How long one attempt to connect may take.
    #[serde(default = "draft::default_timeout")]
    pub timeout: Duration,
    /// The local address to connect from.
    #[serde(default)]
    pub bind: Option<IpAddr>,
    /// It is sent pickled points in frames, as carbon sends them, instead of lines.
    #[serde(default)]
    pub pickle: bool,
}

/// How the patterns look in JSON: a room that only matches names needs no serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Patterns", rename_all = "camelCase")]
struct PatternsJson {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    not_prefix: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    not_sub: String,
    #[serde(default)]
    regex: String,
    #[serde(default)]
    not_regex: String,
}

/// What happens to lines for a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Full {
    /// They go to the spool on disk, and from there to the destination when it takes them.
    Spool,
    /// Senders of such lines aren't read until there is room.
    Block,
    /// They are dropped, and counted.
    Drop,
}

/// Everything that is wrong with a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDestination(pub Vec<BadOption>);

impl Destination {
    /// Reads a destination string: the address, then `key=value` words. A bare number in `flush`
    /// and `reconnect` means milliseconds, as relays of this family write it. The route's key makes
    /// the default id.
    pub fn parse(text: &str, route: &str) -> Result<Destination, BadDestination> {
        let words = words::split(text)
            .map_err(|message| BadDestination(vec![BadOption::at("", message)]))?;
        let mut words = words.into_iter();
        let mut draft = Draft::default();
        let mut problems = Vec::new();
        if let Some(Word::Plain(address)) = words.next() {
            problems.extend(draft.set("address", &address).err());
        }
        for word in words {
            match word {
                Word::Option { key, value } => {
                    problems.extend(draft.set(&key, &with_unit(&key, value)).err());
                }
                Word::Plain(word) => {
                    problems.push(BadOption::at(
                        "",
                        format!("expected an option key=value, found {word:?}"),
                    ));
                }
            }
        }
        match draft.finish(route) {
            Ok(destination) if problems.is_empty() => Ok(destination),
            Ok(_) => Err(BadDestination(problems)),
            Err(more) => {
                problems.extend(more.0);
                Err(BadDestination(problems))
            }
        }
    }

    /// How much memory its rings may take, in bytes: with a spool there is one before it and one
    /// behind it.
    pub fn memory(&self) -> u64 {
        match self.full {
            Full::Spool => self.queue.saturating_mul(2),
            Full::Block | Full::Drop => self.queue,
        }
    }
}

impl Full {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Full::Spool => "spool",
            Full::Block => "block",
            Full::Drop => "drop",
        }
    }
}

impl FromStr for Full {
    type Err = String;

    fn from_str(text: &str) -> Result<Full, String> {
        chosen(text, &[Full::Spool, Full::Block, Full::Drop], Full::as_str)
    }
}

fn with_unit(option: &str, value: String) -> String {
    let is_bare = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    if is_bare && matches!(option, "flush" | "reconnect" | "reconn") {
        return value + "ms";
    }
    value
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::quoted(&self.address.to_string()))?;
        let mut option = |key: &str, value: &str| write!(f, " {key}={}", words::quoted(value));
        option("id", &self.id)?;
        for (key, pattern) in self.patterns.named() {
            if !pattern.is_empty() {
                option(key, pattern)?;
            }
        }
        if self.queue != draft::default_queue() {
            option("queue", &ByteSize(self.queue).to_string())?;
        }
        if self.resend != 0 {
            option("resend", &ByteSize(self.resend).to_string())?;
        }
        if self.full != draft::default_full() {
            option("full", self.full.as_str())?;
        }
        for (key, value) in self.spool.options() {
            option(key, &value)?;
        }
        if self.flush != draft::default_flush() {
            option("flush", &show_duration(self.flush))?;
        }
        if self.reconnect != draft::default_reconnect() {
            option("reconnect", &show_duration(self.reconnect))?;
        }
        if self.timeout != draft::default_timeout() {
            option("timeout", &show_duration(self.timeout))?;
        }
        if let Some(ip) = self.bind {
            option("bind", &ip.to_string())?;
        }
        match self.pickle {
            true => option("pickle", "true"),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for BadDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadDestination {}

#[cfg(test)]
mod tests;
