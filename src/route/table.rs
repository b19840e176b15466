//! The table: what every batch is routed by. Immutable; a change makes a new one.
//!
//! All rules that look at a name are *places* of one list, in the order in which they are asked: blocklist, rewriters,
//! aggregators, then each route followed by its destinations. With many of them an [`Index`] finds, in one pass over a
//! name, the few places that it can meet; only those are asked.

mod few;
mod plain;

use std::sync::atomic::{AtomicU64, Ordering};

use super::choose::Moment;
use super::decision::{Decision, Fate, Open, Output, Taker};
use super::entries::{Entries, TableRoute};
use super::index::{Clues, FoundBy, Index, Search, WORTH_IT};
use super::matcher::{Matcher, Subject};
pub use plain::Outcome;
use plain::Recent;

/// Blocklist, rewriters, aggregators and routes in force. See the module's text.
#[derive(Debug)]
pub struct Table {
    entries: Entries,
    id: u64,
    /// What is asked at each place, less what its having been found says already. Rewriters and aggregators have none.
    checks: Vec<Matcher>,
    rewriters: u32,
    aggregators: u32,
    routes: u32,
    /// By place: whether its having been found says all, so that the name need not be looked at.
    certain: Vec<bool>,
    /// By place, from `routes` on: the route.
    route_at: Vec<u32>,
    plans: Vec<Plan>,
    index: Option<Index>,
    /// Takers or a rule of the blocklist are all that a decision can come to.
    is_plain: bool,
    /// All places, for a table without an index.
    all: Vec<u32>,
}

/// A route made ready.
#[derive(Debug)]
struct Plan {
    place: u32,
    /// Behind the places of its destinations.
    end: u32,
    /// The position of the destination at each place from `place + 1` on.
    members: Vec<usize>,
    /// The positions of those that accept every name, and so have no place.
    always: Vec<usize>,
    is_fixed: bool,
    /// The only destination, if it is always taken.
    only: Option<Taker>,
}

/// What a choice by the name alone is given.
const NEVER: Moment = Moment { up: &[], turn: 0 };

/// Room for decisions, used again.
#[derive(Debug, Default)]
pub struct Scratch {
    search: Search,
    accepting: Vec<usize>,
    chosen: Vec<usize>,
    name: Vec<u8>,
    next: Vec<u8>,
    takers: Vec<Taker>,
    recent: Recent,
}

impl Default for Table {
    fn default() -> Table {
        Table::new(Entries::default())
    }
}

impl Table {
    /// Makes the entries ready. The time and memory that it takes grow with their number and length, no more.
    pub fn new(entries: Entries) -> Table {
        static IDS: AtomicU64 = AtomicU64::new(1);
        let mut checks: Vec<Matcher> = entries
            .blocklist
            .iter()
            .map(|rule| rule.matcher().clone())
            .collect();
        let rewriters = checks.len();
        let aggregators = rewriters + entries.rewriters.len();
        let routes = aggregators + entries.aggregators.len();
        checks.resize(routes, Matcher::all());
        let (mut route_at, mut plans) = (Vec::new(), Vec::new());
        for (index, route) in entries.routes.iter().enumerate() {
            let plan = Plan::new(index, route, checks.len() as u32);
            checks.push(route.matcher.clone());
            checks.extend(
                plan.members
                    .iter()
                    .map(|at| route.destinations[*at].1.clone()),
            );
            route_at.resize(checks.len() - routes, index as u32);
            plans.push(plan);
        }
        let mut table = Table {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            all: (0..checks.len() as u32).collect(),
            rewriters: rewriters as u32,
            aggregators: aggregators as u32,
            routes: routes as u32,
            checks,
            route_at,
            plans,
            certain: Vec::new(),
            index: None,
            is_plain: rewriters == routes
                && entries.routes.iter().all(|route| route.chooser.is_fixed()),
            entries,
        };
        if table.checks.len() >= WORTH_IT {
            table.index();
        }
        table
    }

    fn index(&mut self) {
        let Entries {
            rewriters,
            aggregators,
            ..
        } = &self.entries;
        let clues = |check| Clues {
            literals: Matcher::choices(check),
            expression: check.expression(),
        };
        let mut rules: Vec<_> = self.checks.iter().map(clues).collect();
        let others = rewriters.iter().map(|rule| rule.literals());
        let others = others.chain(aggregators.iter().map(|rule| rule.literals()));
        for (place, literals) in (self.rewriters as usize..).zip(others) {
            rules[place].literals = literals;
        }
        let (index, found_by) = Index::new(&rules);
        for (check, found_by) in self.checks.iter_mut().zip(found_by) {
            if let FoundBy::Choice(choice) = found_by {
                *check = check.rest(choice);
            }
        }
        self.index = Some(index);
        self.certain = self.checks.iter().map(Matcher::accepts_all).collect();
        for (plan, route) in self.plans.iter().zip(&self.entries.routes) {
            self.certain[plan.place as usize] &= route.chooser.is_blind();
        }
    }

    /// What it was made of.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// Unlike that of any other table of this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether to decide on a name costs more than to remember what was decided.
    pub fn is_costly(&self) -> bool {
        self.index.as_ref().is_some_and(Index::is_costly)
            || self.routes > self.rewriters
            || self.checks.iter().any(Matcher::is_costly)
            || self
                .entries
                .routes
                .iter()
                .any(|route| route.chooser.is_costly())
    }

    /// How many rules have no literal that they could be found by.
    pub fn unindexed(&self) -> usize {
        self.index
            .as_ref()
            .map_or(self.all.len(), Index::without_literal)
    }

    /// Roughly how much memory the index takes, in bytes.
    pub fn index_memory(&self) -> usize {
        self.index.as_ref().map_or(0, Index::memory)
    }

    /// Whether [`Table::takers`] says all that there is to decide on a name.
    pub fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Decides what becomes of lines of this name. A rewritten name longer than `longest` bytes is refused; whether it
    /// is valid in other ways is for the caller to see.
    #[inline]
    pub fn decide(
        &self,
        name: &[u8],
        longest: usize,
        scratch: &mut Scratch,
        decision: &mut Decision,
    ) {
        decision.clear();
        let Scratch {
            search,
            accepting,
            chosen,
            name: renamed,
            next,
            ..
        } = scratch;
        let mut found = self.find(name, search);
        let subject = Subject::new(name);
        let blocked = split(&mut found, self.rewriters)
            .iter()
            .find(|place| self.checks[**place as usize].accepts(&subject));
        if let Some(rule) = blocked {
            decision.fate = Fate::Blocked(*rule as usize);
            return;
        }
        let mut subject = subject;
        if found.first().is_some_and(|place| *place < self.routes) {
            found = self.change_and_gather(name, longest, search, (&mut *renamed, next), decision);
            subject = Subject::new(renamed);
        }
        let Decision { takers, open, .. } = decision;
        self.route(
            found,
            &subject,
            &mut Room {
                accepting,
                chosen,
                takers,
                open,
            },
        );
    }

    /// Decides who takes lines of a name that nothing is asked before: those that aggregators made.
    pub fn decide_routes(&self, name: &[u8], scratch: &mut Scratch, decision: &mut Decision) {
        decision.clear();
        let Scratch {
            search,
            accepting,
            chosen,
            ..
        } = scratch;
        let mut found = self.find(name, search);
        split(&mut found, self.routes);
        let Decision { takers, open, .. } = decision;
        let mut room = Room {
            accepting,
            chosen,
            takers,
            open,
        };
        self.route(found, &Subject::new(name), &mut room);
    }

    /// The places that a name can meet, ascending.
    #[inline]
    fn find<'a>(&'a self, name: &[u8], search: &'a mut Search) -> &'a [u32] {
        match &self.index {
            None => &self.all,
            Some(index) => {
                index.seek(name, name.len(), search);
                index.candidates(search)
            }
        }
    }

    /// Rewriters and aggregators, for a name that has to do with one of them. What routes then see is in `renamed`; returns
    /// the places of those that it can meet.
    fn change_and_gather<'a>(
        &'a self,
        name: &[u8],
        longest: usize,
        search: &'a mut Search,
        (renamed, next): (&mut Vec<u8>, &mut Vec<u8>),
        decision: &mut Decision,
    ) -> &'a [u32] {
        renamed.clear();
        renamed.extend_from_slice(name);
        let mut changed = false;
        let mut from = self.rewriters;
        // A rewriter sees the name that the one before left: after a change the rest is found anew.
        loop {
            let mut found = self.find(renamed, search);
            split(&mut found, from);
            let mut candidates = split(&mut found, self.aggregators).iter();
            let rule = candidates.find(|place| {
                next.clear();
                let rule = &self.entries.rewriters[(**place - self.rewriters) as usize];
                rule.rewrite(renamed, next) && next != renamed
            });
            let Some(place) = rule else {
                break;
            };
            if next.is_empty() || next.len() > longest {
                decision.refuse();
                return &[];
            }
            std::mem::swap(renamed, next);
            (changed, from) = (true, place + 1);
        }
        let mut found = self.find(renamed, search);
        split(&mut found, self.aggregators);
        if changed {
            decision.text.extend_from_slice(renamed);
            decision.renamed = 0..renamed.len();
        }
        for place in split(&mut found, self.routes) {
            let index = (place - self.aggregators) as usize;
            let rule = &self.entries.aggregators[index];
            let start = decision.text.len();
            if !rule.output(renamed, &mut decision.text) {
                decision.text.truncate(start);
                continue;
            }
            decision.outputs.push(Output {
                rule: index,
                name: start..decision.text.len(),
            });
            if rule.drops_raw() {
                decision.fate = Fate::Consumed;
                return &[];
            }
        }
        found
    }

    /// Asks the routes that were found, whose destinations follow each.
    #[inline]
    fn route(&self, mut found: &[u32], name: &Subject, room: &mut Room) {
        while let Some((&place, rest)) = found.split_first() {
            found = rest;
            let index = self.route_at[(place - self.routes) as usize] as usize;
            let plan = &self.plans[index];
            // A destination of a route that wasn't found says nothing.
            if place != plan.place || !self.checks[place as usize].accepts(name) {
                continue;
            }
            if let Some(taker) = plan.only {
                room.takers.push(taker);
            } else {
                self.gather(index, split(&mut found, plan.end), name, room);
            }
            if self.entries.first_only {
                return;
            }
        }
    }

    fn gather(&self, index: usize, members: &[u32], name: &Subject, room: &mut Room) {
        let plan = &self.plans[index];
        let mut accepting = &plan.always;
        if !members.is_empty() {
            room.accepting.clear();
            let accepts = |place: &&u32| self.checks[**place as usize].accepts(name);
            let position = |place: &u32| plan.members[(place - plan.place - 1) as usize];
            room.accepting
                .extend(members.iter().filter(accepts).map(position));
            if !plan.always.is_empty() {
                room.accepting.extend_from_slice(&plan.always);
                room.accepting.sort_unstable();
            }
            accepting = &*room.accepting;
        }
        if accepting.is_empty() {
            return;
        }
        if plan.is_fixed {
            self.choose(
                index,
                accepting,
                name.name(),
                &NEVER,
                room.chosen,
                room.takers,
            );
        } else {
            room.open.push(Open {
                route: index,
                accepting: accepting.clone(),
            });
        }
    }

    /// Appends those whom the open routes of a decision choose for one line. `name` is as it is to be sent.
    pub fn settle(
        &self,
        decision: &Decision,
        name: &[u8],
        moment: &Moment,
        scratch: &mut Scratch,
        takers: &mut Vec<Taker>,
    ) {
        for open in &decision.open {
            self.choose(
                open.route,
                &open.accepting,
                name,
                moment,
                &mut scratch.chosen,
                takers,
            );
        }
    }

    /// Appends the takers that a route chooses. It gives a destination a line once, however often it lists it.
    fn choose(
        &self,
        route: usize,
        accepting: &[usize],
        name: &[u8],
        moment: &Moment,
        chosen: &mut Vec<usize>,
        takers: &mut Vec<Taker>,
    ) {
        let entry = &self.entries.routes[route];
        chosen.clear();
        entry.chooser.choose(name, accepting, moment, chosen);
        let before = takers.len();
        let mut beyond_all = 0;
        for position in chosen {
            let destination = entry.destinations[*position].0;
            let taker = Taker { route, destination };
            // In ascending order, as they mostly are, no destination can come twice.
            if destination >= beyond_all || !takers[before..].contains(&taker) {
                takers.push(taker);
                beyond_all = beyond_all.max(destination + 1);
            }
        }
    }
}

/// What [`Table::route`] needs of the scratch, and where it puts what it finds.
struct Room<'a> {
    accepting: &'a mut Vec<usize>,
    chosen: &'a mut Vec<usize>,
    takers: &'a mut Vec<Taker>,
    open: &'a mut Vec<Open>,
}

/// Takes the places below `end` off the front of an ascending list.
#[inline]
fn split<'a>(found: &mut &'a [u32], end: u32) -> &'a [u32] {
    let at = found
        .iter()
        .position(|place| *place >= end)
        .unwrap_or(found.len());
    let (before, rest) = found.split_at(at);
    *found = rest;
    before
}

impl Plan {
    fn new(index: usize, route: &TableRoute, place: u32) -> Plan {
        let positions = 0..route.destinations.len();
        let (always, members): (Vec<_>, Vec<_>) =
            positions.partition(|at| route.destinations[*at].1.accepts_all());
        let is_fixed = route.chooser.is_fixed();
        let only = match (&route.destinations[..], &always[..]) {
            ([(destination, _)], [_]) if is_fixed => Some(Taker {
                route: index,
                destination: *destination,
            }),
            _ => None,
        };
        Plan {
            place,
            end: place + 1 + members.len() as u32,
            members,
            always,
            is_fixed,
            only,
        }
    }
}
