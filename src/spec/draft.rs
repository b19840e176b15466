use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Address, BadDestination, ByteSize, Destination, Full, Spool, spool};
use super::{check_name, check_pattern, duration_within, nearest, pattern_field, size_within};
use crate::route::Patterns;

/// The options that a destination has beside its address.
pub const OPTIONS: &[&str] = &[
    "id",
    "queue",
    "resend",
    "full",
    "spool_max",
    "spool_full",
    "replay",
    "replay_rate",
    "replay_from",
    "flush",
    "reconnect",
    "reconn",
    "timeout",
    "bind",
    "pickle",
    "prefix",
    "notPrefix",
    "sub",
    "notSub",
    "regex",
    "notRegex",
];

/// A ring holds at least a burst of lines, and at most what a machine may have to spare.
const QUEUE: RangeInclusive<u64> = 1 << 20..=64 << 30;
/// Longer than 10 s would make a line late for its own interval.
const FLUSH: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);
/// The backoff begins at 100 ms: a ceiling below it would be none.
const RECONNECT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

pub(super) fn default_queue() -> u64 {
    8 << 20
}

pub(super) fn default_full() -> Full {
    Full::Spool
}

pub(super) fn default_flush() -> Duration {
    Duration::from_millis(10)
}

pub(super) fn default_reconnect() -> Duration {
    Duration::from_secs(10)
}

pub(super) fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

/// A destination that is being read, option by option, from a string or a table.
#[derive(Debug, Default)]
pub struct Draft {
    address: Option<Address>,
    id: Option<String>,
    patterns: Patterns,
    queue: Option<u64>,
    resend: Option<u64>,
    full: Option<Full>,
    spool: Spool,
    flush: Option<Duration>,
    reconnect: Option<Duration>,
    timeout: Option<Duration>,
    bind: Option<IpAddr>,
    pickle: Option<bool>,
    /// What was given, well or badly: what is missing because it was bad is not told a second time.
    given: Vec<String>,
}

/// An option, as it was written, and what was expected of it. An empty option is the string as a
/// whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOption {
    /// The option's name; `address` stands for the address.
    pub option: String,
    /// What was expected, and what was found.
    pub message: String,
}

impl BadOption {
    pub(super) fn at(option: &str, message: String) -> BadOption {
        BadOption {
            option: option.to_owned(),
            message,
        }
    }
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.option.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.option, self.message)
    }
}

impl Draft {
    /// Takes one of [`OPTIONS`] or `address`.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), BadOption> {
        let name = match option {
            "reconn" => "reconnect",
            _ => option,
        };
        if self.is_given(name) {
            let alias = if name == "reconnect" {
                " (reconn is the same)"
            } else {
                ""
            };
            return Err(BadOption::at(option, format!("given twice{alias}")));
        }
        self.given.push(name.to_owned());
        self.take(name, value)
            .map_err(|message| BadOption::at(option, message))
    }

    /// Notes that an option was given, with a value of which somebody else told that it can't be
    /// read.
    pub fn skip(&mut self, option: &str) {
        self.given.push(option.to_owned());
    }

    /// Checks what the options mean together. Problems that [`Draft::set`] has told are not
    /// repeated.
    pub fn finish(self, route: &str) -> Result<Destination, BadDestination> {
        let mut problems = Vec::new();
        if !self.is_given("address") {
            problems.push(BadOption::at(
                "address",
                "missing: expected host:port or file:PATH".to_owned(),
            ));
        }
        self.check_resend(&mut problems);
        self.check_spool(&mut problems);
        self.check_address(&mut problems);
        let id = self.id.clone().unwrap_or_else(|| self.default_id(route));
        if !self.is_given("id") && check_name(&id).is_err() {
            let message = "the default, the route's key and the address, would be too long or hold blanks: \
                           expected id=NAME";
            problems.push(BadOption::at("id", message.to_owned()));
        }
        match self.address {
            Some(address) if problems.is_empty() => Ok(Destination {
                id,
                address,
                patterns: self.patterns,
                queue: self.queue.unwrap_or_else(default_queue),
                resend: self.resend.unwrap_or_default(),
                full: self.full.unwrap_or_else(default_full),
                spool: self.spool,
                flush: self.flush.unwrap_or_else(default_flush),
                reconnect: self.reconnect.unwrap_or_else(default_reconnect),
                timeout: self.timeout.unwrap_or_else(default_timeout),
                bind: self.bind,
                pickle: self.pickle.unwrap_or_default(),
            }),
            _ => Err(BadDestination(problems)),
        }
    }

    fn is_given(&self, option: &str) -> bool {
        self.given.iter().any(|given| given == option)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(field) = pattern_field(&mut self.patterns, name) {
            check_pattern(name, value)?;
            *field = value.to_owned();
            return Ok(());
        }
        let said = |e: super::BadUnit| e.to_string();
        match name {
            "address" => {
                self.address = Some(
                    value
                        .parse()
                        .map_err(|e: super::BadAddress| e.to_string())?,
                )
            }
            "id" => {
                check_name(value)?;
                self.id = Some(value.to_owned());
            }
            "queue" => self.queue = Some(size_within(value, &QUEUE).map_err(said)?),
            // Its upper limit is the queue's.
            "resend" => self.resend = Some(value.parse::<ByteSize>().map_err(said)?.0),
            "full" => self.full = Some(value.parse()?),
            name if spool::OPTIONS.contains(&name) => self.spool.set(name, value)?,
            "flush" => self.flush = Some(duration_within(value, &FLUSH).map_err(said)?),
            "reconnect" => self.reconnect = Some(duration_within(value, &RECONNECT).map_err(said)?),
            "timeout" => self.timeout = Some(duration_within(value, &TIMEOUT).map_err(said)?),
            "bind" => {
                let expected =
                    || format!("expected an IP address of this machine, found {value:?}");
                self.bind = Some(value.parse().map_err(|_| expected())?);
            }
            "pickle" => {
                let expected = || format!("expected true or false, found {value:?}");
                self.pickle = Some(value.parse().map_err(|_| expected())?);
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn check_resend(&self, problems: &mut Vec<BadOption>) {
        let is_queue_bad = self.is_given("queue") && self.queue.is_none();
        let half = self.queue.unwrap_or_else(default_queue) / 2;
        if let Some(resend) = self.resend.filter(|resend| *resend > half && !is_queue_bad) {
            let (half, resend) = (ByteSize(half), ByteSize(resend));
            let message = format!("expected at most half of the queue ({half}), found {resend}");
            problems.push(BadOption::at("resend", message));
        }
    }

    fn check_spool(&self, problems: &mut Vec<BadOption>) {
        let Some(full) = self.full.filter(|full| *full != Full::Spool) else {
            return;
        };
        for option in spool::OPTIONS.iter().filter(|name| self.is_given(name)) {
            let message = format!("needs full=spool, found full={full}");
            problems.push(BadOption::at(option, message));
        }
    }

    fn check_address(&self, problems: &mut Vec<BadOption>) {
        match &self.address {
            Some(Address::File(_)) => {
                for option in ["bind", "timeout", "resend", "pickle"]
                    .into_iter()
                    .filter(|option| self.is_given(option))
                {
                    let message = "a file has no connection: expected an option that it can use";
                    problems.push(BadOption::at(option, message.to_owned()));
                }
            }
            Some(Address::Tcp { host, .. }) => {
                let is_v6 = host.contains(':');
                let is_v4 = host.parse::<Ipv4Addr>().is_ok();
                if let Some(bind) = self
                    .bind
                    .filter(|bind| is_v4 && bind.is_ipv6() || is_v6 && bind.is_ipv4())
                {
                    let family = if is_v6 { "IPv6" } else { "IPv4" };
                    let message = format!(
                        "expected an {family} address as the destination has, found {bind}"
                    );
                    problems.push(BadOption::at("bind", message));
                }
            }
            None => {}
        }
    }

    fn default_id(&self, route: &str) -> String {
        match &self.address {
            Some(address) => format!("{route}/{address}"),
            // Nothing is built without an address; this id only passes the check.
            None => "-".to_owned(),
        }
    }
}

fn unknown(option: &str) -> String {
    let known = [&["address"], OPTIONS].concat();
    let expected = match nearest(option, &known) {
        // carbon-relay-ng's spool=true.
        _ if option == "spool" => "did you mean full=spool?".to_owned(),
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected one of {}", known.join(", ")),
    };
    format!("unknown option, this version does not have it: {expected}")
}
