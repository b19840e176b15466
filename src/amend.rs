//! The table of rules as a document: what the file says, what was changed since, and what a change makes of it.
//!
//! A [`Document`] is the file's rules with [entries](Entry) laid over them, which the database keeps: a rule that was added
//! or changed in full, or that one of the file was removed. An entry wins over the file until it is dropped. A [`Change`]
//! becomes [rows](Row), the entries that it sets or drops; put back as they were, they undo it.
//!
//! **Order.** Each rule of a kind has a position. Those of the file lie a [`STEP`] apart, from one step on, and what was only
//! edited lies where the file has it; what is added behind all lies behind whatever the file will have, at [`BEHIND`]; what
//! is put between two lies in their middle.
//!
//! **Volatile** changes are entries that the database doesn't get. They lie over what it has of the same rule, and a change
//! that is written doesn't build on them.

mod change;
mod draft;
mod entry;
mod finish;
mod place;
mod preview;
mod row;
mod undo;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::{Config, Rule, RuleKind};

pub use change::{Amended, Backlog, Change, Difference, Form, Place, Preview, Refused};
pub use entry::{Entry, Spot};
pub use row::{Row, rows_from_json, rows_to_json};
pub use undo::in_the_way;

/// Between the positions of two neighbours of the file.
pub const STEP: i64 = 1 << 20;
/// Behind all that a file can have.
pub const BEHIND: i64 = 1 << 50;

/// Where a rule in force comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The file has it so.
    File,
    /// The file has it otherwise, or in another place.
    Changed,
    /// The file doesn't have it.
    Added,
}

impl Origin {
    /// As in the database and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::File => "file",
            Origin::Changed => "changed",
            Origin::Added => "added",
        }
    }
}

/// A rule in force.
#[derive(Clone, Debug)]
pub struct Placed {
    /// What it is known by.
    pub key: String,
    /// Where it is among those of its kind.
    pub spot: Spot,
    /// Where it comes from.
    pub origin: Origin,
    /// It ends with this worker.
    pub volatile: bool,
    /// The rule.
    pub rule: Arc<Rule>,
}

/// A rule of the file that was removed at run time.
#[derive(Clone, Copy, Debug)]
pub struct Removed<'a> {
    /// Which kind.
    pub kind: RuleKind,
    /// What it is known by.
    pub key: &'a str,
    /// It is back after a restart.
    pub volatile: bool,
}

/// An entry that is left out, since it can't be brought together with the file any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which kind.
    pub kind: RuleKind,
    /// What it is known by.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// The rules in force, and how they came to be. See the module's text.
#[derive(Clone, Debug)]
pub struct Document {
    file: Arc<Config>,
    own: Arc<Vec<Placed>>,
    entries: BTreeMap<(RuleKind, String), Entry>,
    placed: Vec<Placed>,
    left_out: Vec<LeftOut>,
}

impl Document {
    /// The rules of a file with what the database has of changes.
    pub fn new(file: Config, entries: BTreeMap<(RuleKind, String), Entry>) -> Document {
        let mut own: Vec<Placed> = Vec::new();
        for rule in file.rules_of_table() {
            let position = match own.last() {
                Some(last) if last.rule.kind() == rule.kind() => last.spot.position + STEP,
                _ => STEP,
            };
            own.push(Placed {
                key: rule.key(),
                spot: Spot {
                    position,
                    of_file: true,
                },
                origin: Origin::File,
                volatile: false,
                rule: Arc::new(rule),
            });
        }
        let mut document = Document {
            placed: Vec::new(),
            own: Arc::new(own),
            file: Arc::new(file),
            entries,
            left_out: Vec::new(),
        };
        document.lay(&BTreeMap::new());
        document
    }

    /// The rules in force: kind by kind, each kind in its order.
    pub fn rules(&self) -> &[Placed] {
        &self.placed
    }

    /// Those of one kind.
    pub fn of_kind(&self, kind: RuleKind) -> impl Iterator<Item = &Placed> {
        self.placed
            .iter()
            .filter(move |placed| placed.rule.kind() == kind)
    }

    /// The rule that is known so.
    pub fn find(&self, kind: RuleKind, key: &str) -> Option<&Placed> {
        self.of_kind(kind).find(|placed| placed.key == key)
    }

    /// Rules of the file that aren't in force.
    pub fn removed(&self) -> impl Iterator<Item = Removed<'_>> {
        let removed = self.entries.iter().filter(|(name, entry)| {
            entry.spec.is_none() && self.in_file(name.0, &name.1).is_some()
        });
        removed.map(|((kind, key), entry)| Removed {
            kind: *kind,
            key,
            volatile: entry.volatile,
        })
    }

    /// Entries that can't be in force.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// All that was changed at run time.
    pub fn entries(&self) -> &BTreeMap<(RuleKind, String), Entry> {
        &self.entries
    }

    /// The file's config with the rules in force.
    pub fn config(&self) -> Config {
        let rules = self.placed.iter().map(|placed| &*placed.rule);
        self.file.with_rules(rules)
    }

    /// The config as the file has it.
    pub fn file(&self) -> &Config {
        &self.file
    }

    /// Whether the file has such a rule.
    pub fn has_in_file(&self, kind: RuleKind, key: &str) -> bool {
        self.in_file(kind, key).is_some()
    }

    fn in_file(&self, kind: RuleKind, key: &str) -> Option<&Placed> {
        self.own
            .iter()
            .find(|own| own.rule.kind() == kind && own.key == key)
    }

    /// Lays the entries over the file's rules. Rules that were read already are `known`.
    fn lay(&mut self, known: &BTreeMap<(RuleKind, String), Arc<Rule>>) {
        let folder = self.file.path.parent().unwrap_or(std::path::Path::new("/"));
        let (mut placed, mut left_out) = (Vec::with_capacity(self.own.len()), Vec::new());
        let mut of_file: HashMap<(RuleKind, &str), Spot> = HashMap::new();
        // Which route has a destination of this id.
        let mut claimed: HashMap<String, String> = HashMap::new();
        for own in &*self.own {
            let name = (own.rule.kind(), &own.key[..]);
            of_file.entry(name).or_insert(own.spot);
            if self.entries.contains_key(&(name.0, own.key.clone())) {
                continue;
            }
            claim(&mut claimed, own);
            placed.push(own.clone());
        }
        for ((kind, key), entry) in &self.entries {
            let Some(spec) = &entry.spec else { continue };
            let mut leave_out = |reason: String| {
                left_out.push(LeftOut {
                    kind: *kind,
                    key: key.clone(),
                    reason,
                });
            };
            let rule = match known.get(&(*kind, key.clone())) {
                Some(rule) => rule.clone(),
                None => match Rule::parse(*kind, spec, folder) {
                    Ok((rule, _)) => Arc::new(rule),
                    Err(problems) => {
                        let said: Vec<_> = problems.into_iter().map(|one| one.message).collect();
                        leave_out(said.join("; "));
                        continue;
                    }
                },
            };
            let of_file = of_file.get(&(*kind, &key[..]));
            let one = Placed {
                key: key.clone(),
                spot: match of_file {
                    Some(own) if entry.spot.of_file => *own,
                    _ => Spot::chosen(entry.spot.position),
                },
                origin: match of_file {
                    Some(_) => Origin::Changed,
                    None => Origin::Added,
                },
                volatile: entry.volatile,
                rule,
            };
            if let Rule::Route(route) = &*one.rule
                && let Some((id, other)) = route
                    .destinations
                    .iter()
                    .find_map(|d| claimed.get_key_value(&d.id))
            {
                leave_out(format!("another route, {other}, has a destination {id}"));
                continue;
            }
            claim(&mut claimed, &one);
            placed.push(one);
        }
        placed.sort_by_key(|placed| (placed.rule.kind(), placed.spot.order()));
        self.placed = placed;
        self.left_out = left_out;
    }
}

/// Notes whose the ids of its destinations are, if it is a route.
fn claim(claimed: &mut HashMap<String, String>, placed: &Placed) {
    if let Rule::Route(route) = &*placed.rule {
        let ids = route.destinations.iter().map(|one| one.id.clone());
        claimed.extend(ids.map(|id| (id, placed.key.clone())));
    }
}

#[cfg(test)]
mod tests;
