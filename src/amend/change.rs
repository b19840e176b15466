//! What may be asked, and what comes of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Document, Row};
use crate::config::{Problem, RuleKind};
use crate::spec::nearest;

/// A rule as someone wrote it.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// As in a config file.
    Toml(String),
    /// The keys of its table.
    Json(Map<String, Value>),
}

/// A place among the rules of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Before all.
    First,
    /// Behind all.
    #[default]
    Last,
    /// Before the one that is known so.
    Before(String),
    /// Behind the one that is known so.
    After(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::First => f.write_str("first"),
            Place::Last => f.write_str("last"),
            Place::Before(key) => write!(f, "before {key}"),
            Place::After(key) => write!(f, "after {key}"),
        }
    }
}

/// What is to become of lines that a destination has which goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backlog {
    /// They are delivered to where they were meant for, until `stop_timeout`; the rest is kept.
    Drain,
    /// They are dropped, and counted.
    Discard,
    /// They stay in the spool: a destination with the same id gets them, and `baton spool` has its hands on them.
    Keep,
}

impl Backlog {
    /// The words for them.
    pub const WORDS: [(&'static str, Backlog); 3] = [
        ("drain", Backlog::Drain),
        ("discard", Backlog::Discard),
        ("keep", Backlog::Keep),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Backlog::Drain => "drain",
            Backlog::Discard => "discard",
            Backlog::Keep => "keep",
        }
    }
}

/// A change of the table.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A new rule.
    Add {
        /// Which kind.
        kind: RuleKind,
        /// The rule.
        rule: Form,
        /// Where.
        place: Place,
    },
    /// Another rule in the place of one.
    Replace {
        /// Which kind.
        kind: RuleKind,
        /// The one that goes.
        key: String,
        /// The one that comes.
        rule: Form,
    },
    /// Some keys of a rule, as [`Rule::to_json`] has them; `null`: the default (RFC 7396).
    Edit {
        /// Which kind.
        kind: RuleKind,
        /// Of which rule.
        key: String,
        /// The keys.
        patch: Map<String, Value>,
    },
    /// A rule goes.
    Remove {
        /// Which kind.
        kind: RuleKind,
        /// Which rule.
        key: String,
    },
    /// A rule gets another place.
    Move {
        /// Which kind.
        kind: RuleKind,
        /// Which rule.
        key: String,
        /// Where.
        place: Place,
    },
    /// One more destination of a route, behind the others.
    AddDestination {
        /// The route's key.
        route: String,
        /// A destination string.
        destination: String,
    },
    /// Some options of a destination, which keeps its id.
    EditDestination {
        /// The route's key.
        route: String,
        /// The destination: its id, its address or its number from 0.
        destination: String,
        /// `address`, or an option of a destination string; `None`: the default.
        options: Vec<(String, Option<String>)>,
    },
    /// A destination of a route goes.
    RemoveDestination {
        /// The route's key.
        route: String,
        /// The destination: its id, its address or its number from 0.
        destination: String,
    },
    /// What was changed at run time is forgotten: of all rules, those of a kind, or of one.
    Reset {
        /// Which kind; `None`: all.
        kind: Option<RuleKind>,
        /// Which rule; `None`: all.
        key: Option<String>,
    },
    /// Entries become what they were.
    Restore {
        /// Those of them.
        rows: Vec<Row>,
    },
}

/// What a change makes.
#[derive(Clone, Debug)]
pub struct Amended {
    /// The table as it would be.
    pub document: Document,
    /// The entries that it sets or drops.
    pub rows: Vec<Row>,
    /// The same entries as they were.
    pub undo: Vec<Row>,
    /// What would be otherwise, for people.
    pub preview: Preview,
}

/// What would be otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// Rule by rule.
    pub differences: Vec<Difference>,
    /// Ids of destinations that come.
    pub destinations_added: Vec<String>,
    /// Ids of destinations that go.
    pub destinations_removed: Vec<String>,
    /// What can be run and is most likely not meant.
    pub warnings: Vec<String>,
}

/// What would be otherwise about a rule: `before` and `after` are as in a config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which kind.
    pub kind: RuleKind,
    /// What it is known by.
    pub key: String,
    /// `None`: it is new.
    pub before: Option<String>,
    /// `None`: it goes. As before: it gets another place.
    pub after: Option<String>,
}

/// Why there is no such change.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// There is no such rule.
    Unknown {
        /// Which kind.
        kind: RuleKind,
        /// What was asked for.
        key: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The route has no such destination.
    UnknownDestination {
        /// The route's key.
        route: String,
        /// What was asked for.
        destination: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is one already that is known so.
    Exists {
        /// Which kind.
        kind: RuleKind,
        /// So.
        key: String,
    },
    /// It was changed until the next restart only, and this change is to be written.
    Volatile {
        /// Which kind.
        kind: RuleKind,
        /// Which rule.
        key: String,
    },
    /// The rule is wrong.
    Bad(Vec<Problem>),
    /// It is so already.
    Nothing,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Unknown { kind, key, known } => {
                write!(f, "there is no {} {key:?}{}", kind.one(), those(key, known))
            }
            Refused::UnknownDestination {
                route,
                destination,
                known,
            } => write!(
                f,
                "route {route} has no destination {destination:?}{}",
                those(destination, known)
            ),
            Refused::Exists { kind, key } => write!(f, "there is a {} {key:?} already", kind.one()),
            Refused::Volatile { kind, key } => write!(
                f,
                "{} {key} was changed until the next restart only: make this change volatile, too, or reset it first",
                kind.one()
            ),
            Refused::Bad(problems) => {
                for (at, problem) in problems.iter().enumerate() {
                    let gap = if at == 0 { "" } else { "; " };
                    match &problem.key[..] {
                        "" => write!(f, "{gap}{}", problem.message)?,
                        key => write!(f, "{gap}{key}: {}", problem.message)?,
                    }
                }
                Ok(())
            }
            Refused::Nothing => f.write_str("nothing would change"),
        }
    }
}

impl std::error::Error for Refused {}

/// `: did you mean …?`, or what there is, if that is little.
fn those(key: &str, known: &[String]) -> String {
    let texts: Vec<&str> = known.iter().map(|text| &text[..]).collect();
    match (nearest(key, &texts), &texts[..]) {
        (Some(near), _) => format!(": did you mean {near}?"),
        (None, []) => ": there are none".to_owned(),
        (None, few) if few.len() <= 8 => format!(": expected one of {}", few.join(", ")),
        (None, many) => format!(": there are {} others", many.len()),
    }
}
