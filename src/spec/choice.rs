//! What a route may be told about its choice among destinations.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Address, Destination, Route, show_duration, words};
use crate::route::{ChoiceOptions, Member, RouteKind};

/// How a route chooses, beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How many distinct destinations take a line (hashes).
    pub replication: usize,
    /// Whether the hash sees a name's tags (hashes, `any_of`).
    pub hash_tags: bool,
    /// Whether lines for a destination that is down go to the next one (hashes).
    pub dynamic: bool,
    /// For how long a destination that was down has to be up before it is chosen again.
    pub failback: Duration,
}

impl Default for Choice {
    fn default() -> Choice {
        let ChoiceOptions {
            replication,
            hash_tags,
            dynamic,
        } = ChoiceOptions::default();
        Choice {
            replication,
            hash_tags,
            dynamic,
            failback: Duration::from_secs(10),
        }
    }
}

/// What those have, as they are written.
pub const CHOICE: &[&str] = &["replication", "hash_tags", "dynamic", "failback"];

/// How long `failback` may be.
pub const FAILBACK: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

impl Choice {
    /// Whether routes of this kind heed that option.
    pub fn has(kind: RouteKind, option: &str) -> bool {
        match option {
            "replication" | "dynamic" => kind.is_hash(),
            "hash_tags" => kind.hashes_names(),
            "failback" => kind.is_hash() || kind.asks_who_is_up(),
            _ => false,
        }
    }

    /// What the choice itself depends on.
    pub fn options(&self) -> ChoiceOptions {
        ChoiceOptions {
            replication: self.replication,
            hash_tags: self.hash_tags,
            dynamic: self.dynamic,
        }
    }

    /// Whether routes of this kind ask who is up.
    pub fn asks_who_is_up(&self, kind: RouteKind) -> bool {
        kind.asks_who_is_up() || kind.is_hash() && self.dynamic
    }
}

impl Route {
    /// Its destinations as what a choice is made among, the first of them with this index in the table.
    pub fn members(&self, first: usize) -> Vec<Member> {
        let numbered = self.destinations.iter().enumerate();
        let member = |(at, destination): (usize, &Destination)| match &destination.address {
            Address::Tcp {
                host,
                port,
                instance,
            } => Member {
                destination: first + at,
                host: host.clone(),
                port: *port,
                instance: instance.clone(),
            },
            Address::File(_) => Member::to(first + at),
        };
        numbered.map(member).collect()
    }
}

/// As carbon-relay-ng's `addRoute` takes it, without that word: type, key, options, and behind two blanks each destination.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), words::quoted(&self.key))?;
        let mut option = |key: &str, value: &str| write!(f, " {key}={}", words::quoted(value));
        for (key, pattern) in self.patterns.named() {
            if !pattern.is_empty() {
                option(key, pattern)?;
            }
        }
        let (choice, usual) = (&self.choice, Choice::default());
        if choice.replication != usual.replication {
            option("replication", &choice.replication.to_string())?;
        }
        if choice.hash_tags != usual.hash_tags {
            option("hash_tags", &choice.hash_tags.to_string())?;
        }
        if choice.dynamic != usual.dynamic {
            option("dynamic", &choice.dynamic.to_string())?;
        }
        if choice.failback != usual.failback {
            option("failback", &show_duration(choice.failback))?;
        }
        for destination in &self.destinations {
            write!(f, "  {destination}")?;
        }
        Ok(())
    }
}
