//! What a table is made of.

use std::sync::Arc;

use super::block::BlockRule;
use super::choose::Chooser;
use super::literals::Literals;
use super::matcher::Matcher;

/// One route.
#[derive(Debug, Clone)]
pub struct TableRoute {
    /// What it is called.
    pub key: String,
    /// How it chooses among its destinations, which are listed in the same order.
    pub chooser: Chooser,
    /// Which lines it takes.
    pub matcher: Matcher,
    /// Indexes into the list of destinations, each with its own matcher. An index belongs to one route.
    pub destinations: Vec<(usize, Matcher)>,
}

impl TableRoute {
    /// One that gives each of these destinations what it takes.
    pub fn to_all(key: &str, matcher: Matcher, destinations: Vec<(usize, Matcher)>) -> TableRoute {
        let members = destinations.iter().map(|(at, _)| *at).collect();
        TableRoute {
            key: key.to_owned(),
            chooser: Chooser::all(members),
            matcher,
            destinations,
        }
    }
}

/// A rule that changes names.
pub trait Rewrite: std::fmt::Debug + Send + Sync {
    /// Appends the changed name to `to` and returns true, or returns false and appends nothing.
    fn rewrite(&self, name: &[u8], to: &mut Vec<u8>) -> bool;
    /// Literals of names that it changes: choices, each enough by itself; none: it is asked about every name.
    fn literals(&self) -> Vec<Literals>;
}

/// A rule that gathers lines.
pub trait Aggregate: std::fmt::Debug + Send + Sync {
    /// Whether it takes lines of this name; then the name of what it makes of them is appended to `to`.
    fn output(&self, name: &[u8], to: &mut Vec<u8>) -> bool;
    /// Whether lines that it takes go no further.
    fn drops_raw(&self) -> bool;
    /// Literals of names that it takes, as for [`Rewrite::literals`].
    fn literals(&self) -> Vec<Literals>;
}

/// What a table is made of.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// Rules that drop a line, asked in this order.
    pub blocklist: Vec<BlockRule>,
    /// Rules that change its name, each seeing what the one before left.
    pub rewriters: Vec<Arc<dyn Rewrite>>,
    /// Rules that gather it, in this order.
    pub aggregators: Vec<Arc<dyn Aggregate>>,
    /// Routes, in the order in which they are asked.
    pub routes: Vec<TableRoute>,
    /// Whether only the first route whose matcher accepts a line gets it, whatever its destinations then do.
    pub first_only: bool,
    /// How many destinations there are: every index is below it.
    pub destinations: usize,
}
