//! What was decided about names that were seen before: the same ones come every interval.
//!
//! Bounded, whoever sends whatever: buckets of four slots, names in a ring of bytes that overwrites the oldest,
//! decisions that names share. When names hardly ever come twice, to look them up and to keep them is work for nothing;
//! then only a sample of them is, until it shows that they come again.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use crate::route::{Decision, Table};
use crate::validate::Rules;

/// Bounds: 4 MiB of slots for 262,144 names, and so many bytes of names and of decisions.
const BUCKETS: usize = 1 << 16;
const NAMES: usize = 16 << 20;
const DECISIONS: usize = 16 << 20;
/// Decisions are told apart by a number; so many at most.
const MOST_DECISIONS: usize = 1 << 18;
/// A longer name is decided on anew each time.
const LONGEST: usize = 1024;
/// One name in so many is looked up while names hardly come twice.
const SAMPLE: u64 = 16;
/// So many more misses than hits, and they do.
const CREDIT: u32 = 1 << 18;
/// Lookups of a sample, after which it is judged.
const LOOK: u32 = 512;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// The table that decided; zero: none. And the rules that rewritten names were held to.
    table: u64,
    rules: Rules,
    is_on: bool,
    hasher: RandomState,
    buckets: Vec<Bucket>,
    names: Vec<u8>,
    /// Bytes that were ever written to the ring.
    head: u64,
    decisions: Vec<Decision>,
    by_hash: HashMap<u64, u32, RandomState>,
    decision_bytes: usize,
    pace: Pace,
    next_victim: u32,
}

/// Four slots, which are one line of the processor's cache.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([Slot; 4]);

/// A name and the number of its decision.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Where the name begins among all bytes that were ever written, and its size: `start << 16 | size`. Zero: free.
    name: u64,
    tag: u32,
    decision: u32,
}

/// Whether names are looked up.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// All of them. Hits earn credit, misses use it up.
    All { credit: u32 },
    /// A sample, so many of which were looked up and found.
    Sample { looked: u32, hits: u32 },
}

impl Default for Pace {
    fn default() -> Pace {
        Pace::All { credit: CREDIT }
    }
}

/// What the memo knows of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// The number of its decision.
    As(u32),
    /// Nothing; it is to be kept under this hash.
    Not(u64),
    /// It isn't asked about this one.
    Skipped,
}

impl Memo {
    /// Forgets what another table decided.
    pub(super) fn begin(&mut self, table: &Table, rules: &Rules) {
        if self.table == table.id() && self.rules == *rules {
            return;
        }
        (self.table, self.rules) = (table.id(), rules.clone());
        self.is_on = table.is_costly();
        self.clear();
        self.pace = Pace::default();
        if !self.is_on {
            (self.buckets, self.names) = (Vec::new(), Vec::new());
        }
    }

    fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
        self.names.clear();
        self.head = 0;
        self.decisions.clear();
        self.by_hash.clear();
        self.decision_bytes = 0;
    }

    /// The decision of a number.
    #[inline]
    pub(super) fn decision(&self, number: u32) -> &Decision {
        &self.decisions[number as usize]
    }

    /// Looks a name up.
    #[inline]
    pub(super) fn find(&mut self, name: &[u8]) -> Known {
        if !self.is_on || name.len() > LONGEST {
            return Known::Skipped;
        }
        if let Pace::Sample { .. } = self.pace
            && !is_sampled(name)
        {
            return Known::Skipped;
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        let hash = hasher.finish();
        let known = self.lookup(name, hash);
        self.pace.note(known != Known::Not(hash));
        known
    }

    #[inline]
    fn lookup(&self, name: &[u8], hash: u64) -> Known {
        let Some(bucket) = self.buckets.get(hash as usize & (BUCKETS - 1)) else {
            return Known::Not(hash);
        };
        for slot in &bucket.0 {
            if slot.tag == (hash >> 32) as u32 && self.name(slot) == Some(name) {
                return Known::As(slot.decision);
            }
        }
        Known::Not(hash)
    }

    /// The name of a slot, unless it was overwritten.
    #[inline]
    fn name(&self, slot: &Slot) -> Option<&[u8]> {
        let (start, size) = (slot.name >> 16, slot.name as usize & 0xffff);
        let at = start as usize % NAMES;
        let is_there = size > 0 && start + NAMES as u64 >= self.head;
        is_there.then(|| self.names.get(at..at + size)).flatten()
    }

    /// Keeps a decision on a name that isn't known.
    pub(super) fn keep(&mut self, name: &[u8], hash: u64, decision: &Decision) {
        if self.decision_bytes > DECISIONS
            || self.decisions.len() >= MOST_DECISIONS
            || self.head >= 1 << 47
        {
            self.clear();
            self.pace = Pace::Sample { looked: 0, hits: 0 };
        }
        if self.buckets.is_empty() {
            self.buckets = vec![Bucket::default(); BUCKETS];
        }
        let decision = self.number(decision);
        let start = self.write(name);
        self.next_victim = self.next_victim.wrapping_add(1);
        let bucket = &mut self.buckets[hash as usize & (BUCKETS - 1)];
        let free = bucket.0.iter().position(|slot| slot.name == 0);
        bucket.0[free.unwrap_or(self.next_victim as usize % 4)] = Slot {
            name: start << 16 | name.len() as u64,
            tag: (hash >> 32) as u32,
            decision,
        };
    }

    /// The number of a decision: that of an equal one, if there is one.
    fn number(&mut self, decision: &Decision) -> u32 {
        let next = self.decisions.len() as u32;
        let number = *self
            .by_hash
            .entry(self.hasher.hash_one(decision))
            .or_insert(next);
        if self.decisions.get(number as usize) == Some(decision) {
            return number;
        }
        self.decision_bytes += decision.memory();
        self.decisions.push(decision.clone());
        next
    }

    /// Appends a name to the ring, in one piece, and returns where.
    fn write(&mut self, name: &[u8]) -> u64 {
        let at = self.head as usize % NAMES;
        if at + name.len() > NAMES {
            self.head += (NAMES - at) as u64;
        }
        let (start, at) = (self.head, self.head as usize % NAMES);
        if self.names.len() < at + name.len() {
            self.names.resize(at + name.len(), 0);
        }
        self.names[at..at + name.len()].copy_from_slice(name);
        self.head += name.len() as u64;
        start
    }
}

impl Pace {
    #[inline]
    fn note(&mut self, hit: bool) {
        match self {
            Pace::All { credit } if hit => *credit = (*credit + 1).min(CREDIT),
            Pace::All { credit: 0 } => *self = Pace::Sample { looked: 0, hits: 0 },
            Pace::All { credit } => *credit -= 1,
            Pace::Sample { looked, hits } => {
                *looked += 1;
                *hits += u32::from(hit);
                if *hits > LOOK / 2 {
                    *self = Pace::default();
                } else if *looked == LOOK {
                    (*looked, *hits) = (0, 0);
                }
            }
        }
    }
}

/// One name in [`SAMPLE`], always the same ones.
#[inline]
fn is_sampled(name: &[u8]) -> bool {
    let end = match name.last_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => name.len() as u64,
    };
    let middle = name
        .get(name.len() / 2..)
        .and_then(|rest| rest.first_chunk());
    let middle = middle.map_or(0, |bytes: &[u8; 4]| u32::from_le_bytes(*bytes));
    let mixed = (end ^ u64::from(middle) << 17).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32).is_multiple_of(SAMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Chooser, Entries, Fate, Matcher, Member, Patterns, RouteKind, TableRoute};

    /// A table that is worth a memo.
    fn table() -> Table {
        let patterns = Patterns {
            regex: "a+b".to_owned(),
            ..Patterns::default()
        };
        let member = Member {
            destination: 0,
            host: String::new(),
            port: 0,
            instance: None,
        };
        Table::new(Entries {
            routes: vec![TableRoute {
                key: String::new(),
                chooser: Chooser::new(RouteKind::SendAllMatch, vec![member]).unwrap(),
                matcher: Matcher::new(&patterns).unwrap(),
                destinations: vec![(0, Matcher::all())],
            }],
            destinations: 1,
            ..Entries::default()
        })
    }

    fn blocked(rule: usize) -> Decision {
        Decision {
            fate: Fate::Blocked(rule),
            ..Decision::default()
        }
    }

    /// Looks up, and keeps what isn't known; whether it was known, and then with what was kept.
    fn pass(memo: &mut Memo, name: &str, decision: &Decision) -> Option<Decision> {
        match memo.find(name.as_bytes()) {
            Known::As(number) => Some(memo.decision(number).clone()),
            Known::Not(hash) => {
                memo.keep(name.as_bytes(), hash, decision);
                None
            }
            Known::Skipped => None,
        }
    }

    #[test]
    fn names_that_come_again_are_known() {
        let mut memo = Memo::default();
        memo.begin(&table(), &Rules::default());
        let name = |at: usize| format!("servers.web{at}.cpu.user");
        for at in 0..100_000 {
            assert_eq!(pass(&mut memo, &name(at), &blocked(at % 7)), None);
        }
        assert!(memo.decisions.len() == 7);
        let known = (0..100_000).filter(|at| {
            let found = pass(&mut memo, &name(*at), &blocked(at % 7));
            assert!(found.is_none() || found == Some(blocked(at % 7)));
            found.is_some()
        });
        assert!(known.count() > 95_000);
        memo.begin(&table(), &Rules::default());
        assert_eq!(
            pass(&mut memo, &name(1), &blocked(1)),
            None,
            "another table decides anew"
        );
    }

    #[test]
    fn names_that_never_come_again_are_hardly_kept_and_what_comes_again_is_seen() {
        let mut memo = Memo::default();
        memo.begin(&table(), &Rules::default());
        let name = |at: usize| format!("{at:x}.{:060}.{:x}", at, at * 7919);
        // Each with a decision of its own: the worst that can be.
        for at in 0..600_000 {
            assert_eq!(pass(&mut memo, &name(at), &blocked(at)), None);
        }
        assert!(matches!(memo.pace, Pace::Sample { .. }));
        assert!(memo.names.len() <= NAMES && memo.decisions.len() <= MOST_DECISIONS);
        for _ in 0..12 {
            for at in 0..50_000 {
                let found = pass(&mut memo, &name(at), &blocked(at));
                assert!(found.is_none() || found == Some(blocked(at)));
            }
        }
        assert!(matches!(memo.pace, Pace::All { .. }));
    }

    #[test]
    fn an_overwritten_name_is_not_taken_for_another() {
        let mut memo = Memo::default();
        memo.begin(&table(), &Rules::default());
        let long = |at: usize| format!("{at:01000}");
        for at in 0..40_000 {
            pass(&mut memo, &long(at), &blocked(at));
            memo.pace = Pace::default();
        }
        assert_eq!(memo.names.len(), memo.names.len().min(NAMES));
        for at in 0..40_000 {
            let Known::As(number) = memo.lookup(long(at).as_bytes(), memo_hash(&memo, &long(at)))
            else {
                continue;
            };
            assert_eq!(memo.decision(number), &blocked(at));
        }
    }

    fn memo_hash(memo: &Memo, name: &str) -> u64 {
        let mut hasher = memo.hasher.build_hasher();
        hasher.write(name.as_bytes());
        hasher.finish()
    }
}
