//! Tables whose decisions are takers or a rule of the blocklist, and nothing else.

use super::{Plan, Room, Scratch, Table, split};
use crate::route::decision::Taker;
use crate::route::index::Index;
use crate::route::matcher::Subject;

/// So many of them are kept, each at the place that its hash says.
const KEPT: usize = 1024;
/// What takes more room than so many rules or takers is forgotten as soon as another one comes.
const LONG: usize = 256;

/// What names came to, by the rules that were found for them: another one that the same rules are found for comes to the
/// same, if nothing of the name was looked at beyond that.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Of which table; zero: of none.
    table: u64,
    outcomes: Vec<Found>,
    /// The last one's.
    current: usize,
    /// When that became the last one, by the search's count: others may have searched since, and decided by other means.
    changes: u64,
    /// Of outcomes, counting.
    number: u64,
}

/// The rules that were found, and what that came to.
#[derive(Debug, Default)]
struct Found {
    hits: Vec<u32>,
    /// Whether it is so for all names that these are found for.
    holds: bool,
    blocked: Option<usize>,
    takers: Vec<Taker>,
    number: u64,
}

impl Found {
    /// Not by `memcmp`, which takes a hundred times as long for lists that are empty: it reads where nothing is.
    #[inline]
    fn holds_for(&self, hits: &[u32]) -> bool {
        let mut pairs = self.hits.iter().zip(hits);
        self.holds && self.hits.len() == hits.len() && pairs.all(|(a, b)| a == b)
    }
}

impl Recent {
    /// Whether it is known what these rules come to; then that is the current one. If not, its place is.
    fn find(&mut self, table: u64, hits: &[u32]) -> bool {
        if self.table != table {
            self.table = table;
            self.outcomes.clear();
            self.outcomes.resize_with(KEPT, Found::default);
        }
        let current = &mut self.outcomes[self.current];
        if current.hits.len() > LONG || current.takers.len() > LONG {
            *current = Found::default();
        }
        let hash = hits.iter().fold(0, |hash: u64, place| {
            (hash ^ u64::from(*place)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        self.current = (hash >> (u64::BITS - KEPT.ilog2())) as usize;
        self.outcomes[self.current].holds_for(hits)
    }
}

/// What becomes of a line, if takers are all that there is to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// This rule of the blocklist drops it.
    Blocked(usize),
    /// These take it. Of two lines with the same number, and below 2⁶³ it is, they are the same.
    Taken(&'a [Taker], Option<u64>),
}

impl Table {
    /// Finds out who takes lines of this name: a decision without the ado, for tables that are plain. And whether other rules were
    /// found than for the name before.
    #[inline]
    pub fn outcome<'a>(&self, name: &Subject, scratch: &'a mut Scratch) -> (Outcome<'a>, bool) {
        let Some(index) = &self.index else {
            let outcome = match self.takers_of_few(name, scratch) {
                Some(rule) => Outcome::Blocked(rule),
                None => Outcome::Taken(&scratch.takers, None),
            };
            return (outcome, true);
        };
        let (line, size) = (name.line(), name.name().len());
        index.seek(line, size, &mut scratch.search);
        let Scratch { search, recent, .. } = &mut *scratch;
        let changed = recent.changes != search.changes || recent.table != self.id;
        recent.changes = search.changes;
        if changed && !recent.find(self.id, &search.hits) || !recent.outcomes[recent.current].holds
        {
            self.come_to(index, name, scratch);
        }
        let found = &scratch.recent.outcomes[scratch.recent.current];
        let outcome = match found.blocked {
            Some(rule) => Outcome::Blocked(rule),
            None => Outcome::Taken(&found.takers, Some(found.number)),
        };
        (outcome, changed)
    }

    /// Those of the rules that were found that are asked at most: with `first_only`, those up to a route that is certain.
    fn asked<'a>(&self, found: &'a [u32]) -> &'a [u32] {
        if !self.entries.first_only {
            return found;
        }
        let takes_all = |place: &u32| {
            *place >= self.routes
                && self.certain[*place as usize]
                && self.plan_at(*place).place == *place
        };
        match found.iter().find(|place| takes_all(place)) {
            Some(route) => {
                let end = self.plan_at(*route).end;
                &found[..found.partition_point(|place| *place < end)]
            }
            None => found,
        }
    }

    fn plan_at(&self, place: u32) -> &Plan {
        &self.plans[self.route_at[(place - self.routes) as usize] as usize]
    }

    /// Asks the rules that were found: the current outcome.
    #[inline(never)]
    fn come_to(&self, index: &Index, name: &Subject, scratch: &mut Scratch) {
        let Scratch {
            search,
            accepting,
            chosen,
            recent,
            ..
        } = scratch;
        recent.number += 1;
        let outcome = &mut recent.outcomes[recent.current];
        outcome.number = recent.number;
        outcome.takers.clear();
        outcome.hits.clone_from(&search.hits);
        let mut found = index.candidates(search);
        let is_certain = |place: &u32| self.certain[*place as usize];
        outcome.holds = self.asked(found).iter().all(is_certain);
        let mut rules = split(&mut found, self.rewriters).iter();
        let blocked = rules.find(|place| self.checks[**place as usize].accepts(name));
        outcome.blocked = blocked.map(|rule| *rule as usize);
        if outcome.blocked.is_some() {
            return;
        }
        let mut room = Room {
            accepting,
            chosen,
            takers: &mut outcome.takers,
            open: &mut Vec::new(),
        };
        self.route(found, name, &mut room);
    }
}

#[cfg(test)]
mod tests;
