//! Tables whose decisions are takers or a rule of the blocklist, and nothing else.

use super::{Plan, Room, Scratch, Table, split};
use crate::route::decision::Taker;
use crate::route::index::Index;
use crate::route::matcher::Subject;

/// What the last name came to, if nothing of it was looked at beyond what was found: another one that the same rules are
/// found for has the same takers.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// Zero if it doesn't hold.
    table: u64,
    hits: Vec<u32>,
    blocked: Option<usize>,
    /// Of the takers, counting.
    number: u64,
}

impl Last {
    /// Not by `memcmp`, which takes a hundred times as long for lists that are empty: it reads where nothing is.
    #[inline]
    fn holds(&self, hits: &[u32]) -> bool {
        let mut pairs = self.hits.iter().zip(hits);
        self.hits.len() == hits.len() && pairs.all(|(a, b)| a == b)
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
    /// Finds out who takes lines of this name: a decision without the ado, for tables that are plain. And whether rules were asked:
    /// not if the same ones were found for the name before.
    #[inline]
    pub fn outcome<'a>(&self, name: &Subject, scratch: &'a mut Scratch) -> (Outcome<'a>, bool) {
        let (blocked, number, asked) = match &self.index {
            None => (self.takers_of_few(name, scratch), None, true),
            Some(index) => {
                let changed = index.seek(name.name(), &mut scratch.search);
                let last = &scratch.last;
                let asked = last.table != self.id || changed && !last.holds(&scratch.search.hits);
                if asked {
                    self.takers_of_found(index, name, scratch);
                }
                (scratch.last.blocked, Some(scratch.last.number), asked)
            }
        };
        let outcome = match blocked {
            Some(rule) => Outcome::Blocked(rule),
            None => Outcome::Taken(&scratch.takers, number),
        };
        (outcome, asked)
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

    /// Asks the rules that were found: `last` and the takers.
    fn takers_of_found(&self, index: &Index, name: &Subject, scratch: &mut Scratch) {
        let Scratch {
            search,
            accepting,
            chosen,
            takers,
            last,
            ..
        } = scratch;
        takers.clear();
        last.number += 1;
        last.hits.clone_from(&search.hits);
        let mut found = index.candidates(search);
        let is_certain = |place: &u32| self.certain[*place as usize];
        last.table = if self.asked(found).iter().all(is_certain) {
            self.id
        } else {
            0
        };
        let mut rules = split(&mut found, self.rewriters).iter();
        let blocked = rules.find(|place| self.checks[**place as usize].accepts(name));
        last.blocked = blocked.map(|rule| *rule as usize);
        if last.blocked.is_some() {
            return;
        }
        let mut room = Room {
            accepting,
            chosen,
            takers,
            open: &mut Vec::new(),
        };
        self.route(found, name, &mut room);
    }
}
