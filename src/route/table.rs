//! The table: what every batch is routed by. Immutable; a change makes a new one.

use super::{
    block::BlockRule,
    choose::{Chooser, Moment},
    matcher::{Matcher, Subject},
};

/// One route.
#[derive(Debug, Clone)]
pub struct TableRoute {
    /// What it is called.
    pub key: String,
    /// How it chooses among its destinations: its members are these, in this order.
    pub chooser: Chooser,
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
    pub fn takers(&self, name: &Subject, moment: &Moment<'_>, takers: &mut Vec<Taker>) {
        for (index, route) in self.routes.iter().enumerate() {
            if !route.matcher.accepts(name) {
                continue;
            }
            route.takers(index, name, moment, takers);
            if self.first_only {
                break;
            }
        }
    }
}

impl TableRoute {
    #[inline]
    fn takers(&self, route: usize, name: &Subject, moment: &Moment<'_>, takers: &mut Vec<Taker>) {
        let members = self.destinations.iter().enumerate();
        let accepting: Vec<usize> = members
            .filter(|(_, (_, matcher))| matcher.accepts(name))
            .map(|(position, _)| position)
            .collect();
        let mut chosen = Vec::new();
        self.chooser
            .choose(name.name(), &accepting, moment, &mut chosen);
        let before = takers.len();
        for position in chosen {
            let destination = self.destinations[position].0;
            let taker = Taker { route, destination };
            if !takers[before..].contains(&taker) {
                takers.push(taker);
            }
        }
    }
}
