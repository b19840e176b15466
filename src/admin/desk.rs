//! What may be asked of a running relay, by whatever way: telnet, HTTP, the page and the command line are renderings of this.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::charts::Charts;
use super::view::View;
use crate::amend::{Backlog, Change, Document, Origin, Preview, Refused};
use crate::config::RuleKind;
use crate::intake::Sample;
use crate::pipeline::trace::Trace;
use crate::state::PastChange;
use crate::tap::{Subscription, Wanted};
use crate::validate::Reason;

/// A relay, for those who look at it and change it. What is marked as slow may wait for the disk: it is asked on a thread
/// that moves no metrics; all else doesn't block.
pub trait Desk: Send + Sync + 'static {
    /// The state at this moment. Slow when there are thousands of destinations.
    fn view(&self) -> View;
    /// The last rejected lines, or those of one reason, the newest last.
    fn rejected(&self, reason: Option<Reason>) -> Vec<Sample>;
    /// What becomes of these lines or names now. Slow.
    fn trace(&self, metrics: &[Vec<u8>]) -> Vec<Trace>;
    /// Whether it serves, and isn't stopping.
    fn is_serving(&self) -> bool;
    /// Whether the table may be changed now: no restart is under way, and the last one has proved itself.
    fn may_change(&self) -> bool {
        true
    }
    /// The rules in force. Slow when there are thousands.
    fn table(&self) -> TableView;
    /// The version of the table in force.
    fn version(&self) -> String;
    /// The config with the rules in force, as TOML. Slow when there are thousands.
    fn config(&self) -> String;
    /// What a change would make; nothing happens. Slow.
    ///
    /// # Errors
    /// Why it can't be.
    fn preview(&self, asked: &Asked) -> Result<Outcome, Refusal>;
    /// Makes a change. When this returns it is in force and written. Slow.
    ///
    /// # Errors
    /// Why it isn't made; nothing has changed.
    fn change(&self, asked: &Asked) -> Result<Outcome, Refusal>;
    /// The last changes before that number, the newest first. Slow.
    ///
    /// # Errors
    /// In words, when they can't be read.
    fn history(&self, before: Option<u64>, most: u32) -> Result<Vec<PastChange>, String>;
    /// Starts the binary and the config on disk as the next worker; the log says on which way that was asked for, and by
    /// whom. What comes of it is seen in the generations of the [view](Desk::view).
    ///
    /// # Errors
    /// In words, when that can't even be asked for.
    fn restart(&self, via: &str, peer: &str) -> Result<(), String>;
    /// Begins a live stream of what matches; it ends when it is dropped. Slow: it compiles expressions.
    ///
    /// # Errors
    /// In words: a pattern that is none, too many subscribers, or this worker serves no more.
    fn subscribe(&self, wanted: &Wanted) -> Result<Subscription, String>;
    /// The last half hour, in points of ten seconds. Slow when there are thousands of destinations.
    fn charts(&self) -> Charts;
}

/// A change, and who asks for it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is to be changed.
    pub what: What,
    /// What becomes of lines of destinations that go; `None`: if there are any, nothing is changed.
    pub backlog: Option<Backlog>,
    /// It isn't written, and ends with this worker.
    pub volatile: bool,
    /// Only if the table has this version.
    pub if_version: Option<String>,
    /// On which way it came: `telnet`, `http`, `page`, `cli`.
    pub via: &'static str,
    /// From whom: an address, a user.
    pub peer: String,
    /// For the history: what was asked, in words that can be read.
    pub command: String,
}

/// What is to be changed.
#[derive(Clone, Debug)]
pub enum What {
    /// This.
    Change(Change),
    /// What the change of this number did is undone.
    Undo(u64),
}

/// What came of a change, or would come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The version of the table, with the change if it was made.
    pub version: String,
    /// The number of the change in the history; none for a preview, or a volatile change.
    pub id: Option<u64>,
    /// What is otherwise.
    #[serde(flatten)]
    pub preview: Preview,
    /// What destinations that go have, those that have any.
    pub backlog: Vec<BacklogOf>,
}

/// What a destination has that would go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogOf {
    /// Its id.
    pub destination: String,
    /// Lines in memory.
    pub queued: u64,
    /// Lines in the spool.
    pub spooled: u64,
}

/// Why a change isn't made.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There can't be such a change.
    Refused(Refused),
    /// There is no change of this number, or none that can be undone.
    NoSuchChange(u64),
    /// What a change left behind isn't there any more.
    Superseded {
        /// Its number.
        id: u64,
        /// Later ones, about the same rules.
        by: Vec<u64>,
    },
    /// The table has another version than it was asked for.
    Stale {
        /// This one.
        version: String,
    },
    /// Destinations that go have lines, and it wasn't said what is to become of them.
    Backlog(Vec<BacklogOf>),
    /// A restart is under way, or this worker serves no more: it may be asked again.
    Restarting,
    /// It can't be written.
    Database(String),
    /// It can't be done here: memory, descriptors.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Refused(refused) => refused.fmt(f),
            Refusal::NoSuchChange(id) => write!(f, "there is no change {id} that can be undone"),
            Refusal::Superseded { id, by } => {
                let by: Vec<_> = by.iter().map(u64::to_string).collect();
                write!(
                    f,
                    "what change {id} was about was changed again by {}: undo what came later first, or change it by hand",
                    by.join(", ")
                )
            }
            Refusal::Stale { version } => write!(
                f,
                "the table was changed meanwhile, its version is {version}: look at it and ask again"
            ),
            Refusal::Backlog(backlog) => {
                for one in backlog {
                    let BacklogOf {
                        destination,
                        queued,
                        spooled,
                    } = one;
                    write!(
                        f,
                        "{destination} has {queued} lines queued and {spooled} spooled; "
                    )?;
                }
                f.write_str("say drain, discard or keep")
            }
            Refusal::Restarting => f.write_str("restart under way: ask again when it is over"),
            Refusal::Database(error) => write!(
                f,
                "it can't be written, so nothing was changed (volatile: until the next restart): {error}"
            ),
            Refusal::Failed(error) => write!(f, "nothing was changed: {error}"),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        Refusal::Refused(refused)
    }
}

/// The rules in force, for people and programs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableView {
    /// Changes with each change, and with the config file.
    pub version: String,
    /// Whether only the first route that matches takes a line.
    pub first_only: bool,
    /// Kind by kind in the order in which a line meets them, each kind in its order.
    pub rules: Vec<TableRule>,
    /// Rules of the file that were removed at run time.
    pub removed: Vec<RuleName>,
    /// What was changed at run time, and can't be brought together with the file any more.
    pub left_out: Vec<LeftOutView>,
}

/// A rule of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableRule {
    /// Which kind.
    pub kind: RuleKind,
    /// What it is known by among those.
    pub key: String,
    /// Where it comes from, compared with the file.
    pub origin: Origin,
    /// It ends with this worker.
    pub volatile: bool,
    /// Its keys, those that aren't at their defaults.
    pub spec: Map<String, Value>,
    /// As a config file would have it.
    pub toml: String,
}

/// Which rule.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleName {
    /// Its kind.
    pub kind: RuleKind,
    /// What it is known by.
    pub key: String,
}

/// What can't be in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOutView {
    /// Its kind.
    pub kind: RuleKind,
    /// What it is known by.
    pub key: String,
    /// Why not.
    pub reason: String,
}

impl TableView {
    /// What a document says, of that version.
    pub fn of(document: &Document, version: String) -> TableView {
        let rules = document.rules().iter().map(|placed| TableRule {
            kind: placed.rule.kind(),
            key: placed.key.clone(),
            origin: placed.origin,
            volatile: placed.volatile,
            spec: placed.rule.to_json(),
            toml: placed.rule.to_toml(),
        });
        let removed = document.removed().map(|removed| RuleName {
            kind: removed.kind,
            key: removed.key.to_owned(),
        });
        let left_out = document.left_out().iter().map(|left| LeftOutView {
            kind: left.kind,
            key: left.key.clone(),
            reason: left.reason.clone(),
        });
        TableView {
            version,
            first_only: document.file().first_only,
            rules: rules.collect(),
            removed: removed.collect(),
            left_out: left_out.collect(),
        }
    }
}
