//! The table: what every batch is routed by. Immutable; a change makes a new one.

use super::{
    block::BlockRule,
    matcher::{Matcher, Subject},
};

/// Which of its destinations a route gives a line to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Each whose own matcher accepts it.
    SendAllMatch,
    /// The first whose own matcher accepts it.
    SendFirstMatch,
}

/// A word that is no kind of route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("route type {0:?} is neither sendAllMatch nor sendFirstMatch")]
pub struct UnknownKind(pub String);

impl RouteKind {
    /// As configuration files and commands spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteKind::SendAllMatch => "sendAllMatch",
            RouteKind::SendFirstMatch => "sendFirstMatch",
        }
    }
}

impl std::str::FromStr for RouteKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<RouteKind, UnknownKind> {
        [RouteKind::SendAllMatch, RouteKind::SendFirstMatch]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// One route.
#[derive(Debug, Clone)]
pub struct TableRoute {
    /// What it is called.
    pub key: String,
    /// How it chooses among its destinations.
    pub kind: RouteKind,
    /// Which lines it takes.
    pub matcher: Matcher,
    /// Indexes into the list of destinations, each with its own matcher. An index belongs to one route.
    pub destinations: Vec<(usize, Matcher)>,
}

/// Blocklist and routes in force.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Rules that drop a line, asked in this order.
    pub blocklist: Vec<BlockRule>,
    /// Routes, in the order in which they are asked.
    pub routes: Vec<TableRoute>,
    /// Whether only the first route whose matcher accepts a line gets it, whatever its destinations then do.
    pub first_only: bool,
    /// How many destinations there are: every index is below it.
    pub destinations: usize,
}

/// A destination that takes a line, and the route that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taker {
    /// Index of the route.
    pub route: usize,
    /// Index of the destination.
    pub destination: usize,
}

impl Table {
    /// The first rule of the blocklist that a name meets.
    #[inline]
    pub fn blocked_by(&self, name: &Subject) -> Option<usize> {
        self.blocklist
            .iter()
            .position(|rule| rule.matcher().accepts(name))
    }

    /// Appends those who take a line of this name to `takers`, in the order of the routes. A route gives a destination
    /// a line once, however often it lists it.
    #[inline]
    pub fn takers(&self, name: &Subject, takers: &mut Vec<Taker>) {
        for (index, route) in self.routes.iter().enumerate() {
            if !route.matcher.accepts(name) {
                continue;
            }
            route.takers(index, name, takers);
            if self.first_only {
                break;
            }
        }
    }
}

impl TableRoute {
    #[inline]
    fn takers(&self, route: usize, name: &Subject, takers: &mut Vec<Taker>) {
        let before = takers.len();
        let mut beyond_all = 0;
        for &(destination, ref matcher) in &self.destinations {
            if !matcher.accepts(name) {
                continue;
            }
            let taker = Taker { route, destination };
            // Listed in ascending order, as they mostly are, no destination can come twice.
            if destination >= beyond_all || !takers[before..].contains(&taker) {
                takers.push(taker);
                beyond_all = beyond_all.max(destination + 1);
            }
            if self.kind == RouteKind::SendFirstMatch {
                break;
            }
        }
    }
}
