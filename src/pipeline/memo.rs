//! What was decided about names that were seen before: the same ones come every interval.
//!
//! Bounded, whoever sends whatever, and it forgets everything when it is full. A lookup that has to wait for memory would
//! cost more than to decide anew; so slots are four bytes, and lines are looked up in groups, whose waits overlap. Names
//! lie in the order in which they came first, in which they will most likely come again: so first it is seen whether a
//! name is the one behind the last that was found, which takes no hash and reads memory straight on.
//!
//! When names hardly ever come twice, to look them up and to keep them is work for nothing; then only a sample of them is,
//! until it shows that they come again. Where decisions are plain it is one of those names that other rules are found for than
//! for the one before.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

use crate::route::{Decision, Table};
use crate::validate::Rules;

/// Slots in a bucket, which is one line of the processor's cache.
const WAYS: usize = 16;
/// Bounds: 1 MiB of slots for 262,144 names, and so many bytes of names and of decisions.
const BUCKETS: usize = 1 << 14;
const ENTRIES: usize = 16 << 20;
const DECISIONS: usize = 16 << 20;
/// A longer name is decided on anew each time.
const LONGEST: usize = 1024;
/// Entries begin at multiples of this.
const UNIT: usize = 8;
/// The lower bits of a slot: where its entry begins, in units; the others are of the hash.
const PLACE_BITS: u32 = (ENTRIES / UNIT).trailing_zeros();
/// One name in so many is looked up while names hardly come twice: a lookup in vain costs as much as a few decisions.
const SAMPLE: u64 = 512;
/// So many more misses than hits, and they do.
const CREDIT: u32 = 1 << 17;
/// Lookups of a sample, after which it is judged.
const LOOK: u32 = 128;
/// So often a sample must be found good at most, before all names are looked up again.
const MOST_TRIALS: u32 = 64;
/// Above all numbers of decisions.
pub(super) const BEYOND: u64 = 1 << 63;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// The table that decided; zero: none. And the rules that rewritten names were held to.
    table: u64,
    rules: Rules,
    is_on: bool,
    hasher: RandomState,
    buckets: Vec<Bucket>,
    /// Each: number of its decision, size of its name (both four bytes), the name. The first unit is empty, so that a
    /// slot of zero is free.
    entries: Vec<u8>,
    decisions: Vec<Decision>,
    by_hash: HashMap<u64, u32, RandomState>,
    /// The decision that was kept last.
    last_number: u32,
    decision_bytes: usize,
    pace: Pace,
    /// Behind the entry that was found last, in units.
    next: u32,
    next_victim: usize,
    /// How often everything was forgotten.
    forgotten: u32,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Bucket([u32; WAYS]);

/// Whether names are looked up.
#[derive(Debug, Clone, Copy)]
struct Pace {
    mode: Mode,
    /// So often a sample must be found good before all names are looked up. Doubled each time, until that was worth it: of more names
    /// than there is room for a sample comes again, and they are forgotten all the same.
    trials: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// All of them. Hits earn credit, misses use it up.
    All { credit: u32 },
    /// A sample, so many of which were looked up and found, and that was found good so often.
    Sample { looked: u32, hits: u32, good: u32 },
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            mode: Mode::All { credit: CREDIT },
            trials: 1,
        }
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
        self.pace = Pace::default();
        if self.is_on {
            self.clear();
        } else {
            (self.buckets, self.entries, self.decisions) = Default::default();
            self.by_hash = HashMap::default();
        }
    }

    /// Whether it is of any use for this table.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    fn clear(&mut self) {
        self.forgotten = self.forgotten.wrapping_add(1);
        self.buckets.clear();
        self.buckets.resize(BUCKETS, Bucket::default());
        self.entries.clear();
        self.entries.resize(UNIT, 0);
        self.next = 0;
        self.decisions.clear();
        self.by_hash.clear();
        self.decision_bytes = 0;
    }

    /// The decision of a number.
    #[inline]
    pub(super) fn decision(&self, number: u32) -> &Decision {
        &self.decisions[number as usize]
    }

    /// A number that stands for this decision alone, also when everything was forgotten in between.
    #[inline]
    pub(super) fn unique(&self, number: u32) -> u64 {
        (u64::from(self.forgotten) << 32 | u64::from(number)) % BEYOND
    }

    /// The number of its decision, if the name is the one that came next when it was first seen.
    #[inline]
    pub(super) fn follow(&mut self, name: &[u8]) -> Option<u32> {
        let number = self.entry(self.next, name)?;
        self.go_behind(self.next, name);
        self.pace.note(true);
        Some(number)
    }

    /// The name was found in this slot's entry: most likely the one behind comes next. A name that isn't known changes nothing, since
    /// what it came before then most likely still follows.
    #[inline]
    fn go_behind(&mut self, slot: u32, name: &[u8]) {
        let place = slot & ((1 << PLACE_BITS) - 1);
        self.next = place + 1 + name.len().div_ceil(UNIT) as u32;
    }

    /// Whether only a sample of the names is looked up.
    #[inline]
    pub(super) fn is_sampling(&self) -> bool {
        matches!(self.pace.mode, Mode::Sample { .. })
    }

    /// Whether a name isn't to be looked up.
    #[inline]
    pub(super) fn is_skipped(&self, name: &[u8]) -> bool {
        name.len() > LONGEST || self.is_sampling() && !is_sampled(name)
    }

    /// The hash of a name; `None`: it isn't to be looked up.
    #[inline]
    pub(super) fn hash(&self, name: &[u8]) -> Option<u64> {
        if self.is_skipped(name) {
            return None;
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        Some(hasher.finish())
    }

    /// The slot of a bucket that most likely is the hash's; zero: none. It reads the bucket and no more, so that several
    /// such reads are under way at once.
    #[inline]
    pub(super) fn slot(&self, hash: u64) -> u32 {
        let tag = tag(hash);
        let slots = self.buckets[bucket(hash)].0;
        // Without an early way out, which the compiler turns into vector instructions.
        let is_it = |slot: u32| u32::from(slot ^ tag < 1 << PLACE_BITS);
        slots
            .iter()
            .fold(0, |found, &slot| found.max(slot * is_it(slot)))
    }

    /// Looks a name up whose slot was found.
    #[inline]
    pub(super) fn find(&mut self, name: &[u8], hash: u64, slot: u32) -> Known {
        let known = match self.entry(slot, name) {
            Some(number) => {
                self.go_behind(slot, name);
                Known::As(number)
            }
            None => self.find_slowly(name, hash),
        };
        self.pace.note(known != Known::Not(hash));
        known
    }

    /// Two names of one bucket may have the same tag; and the slot is from a while ago.
    #[cold]
    fn find_slowly(&self, name: &[u8], hash: u64) -> Known {
        let slots = self.buckets[bucket(hash)].0.iter();
        let mut same = slots.filter(|slot| **slot ^ tag(hash) < 1 << PLACE_BITS);
        let known = same.find_map(|slot| self.entry(*slot, name));
        known.map_or(Known::Not(hash), Known::As)
    }

    /// The decision's number, if the slot's entry is of this name.
    #[inline]
    fn entry(&self, slot: u32, name: &[u8]) -> Option<u32> {
        let at = (slot & ((1 << PLACE_BITS) - 1)) as usize * UNIT;
        let (head, rest) = self.entries.get(at..)?.split_first_chunk::<8>()?;
        let head = u64::from_le_bytes(*head);
        let is_it = head >> 32 == name.len() as u64 && rest.starts_with(name);
        is_it.then_some(head as u32)
    }

    /// Keeps a decision on a name that isn't known.
    pub(super) fn keep(&mut self, name: &[u8], hash: u64, decision: &Decision) {
        let is_full = self.entries.len() + UNIT + name.len().next_multiple_of(UNIT) > ENTRIES;
        if is_full || self.decision_bytes > DECISIONS {
            self.clear();
        }
        let number = self.number(decision);
        let place = (self.entries.len() / UNIT) as u32;
        let head = (name.len() as u64) << 32 | u64::from(number);
        self.entries.extend_from_slice(&head.to_le_bytes());
        self.entries.extend_from_slice(name);
        self.entries
            .resize(self.entries.len().next_multiple_of(UNIT), 0);
        self.next_victim = (self.next_victim + 1) % WAYS;
        let slots = &mut self.buckets[bucket(hash)].0;
        let free = slots.iter().position(|slot| *slot == 0);
        slots[free.unwrap_or(self.next_victim)] = tag(hash) | place;
    }

    /// The number of a decision: that of an equal one, if there is one.
    fn number(&mut self, decision: &Decision) -> u32 {
        // Names that come in a row mostly go the same way.
        if self.decisions.get(self.last_number as usize) == Some(decision) {
            return self.last_number;
        }
        self.last_number = self.find_number(decision);
        self.last_number
    }

    fn find_number(&mut self, decision: &Decision) -> u32 {
        let next = self.decisions.len() as u32;
        let hash = self.hasher.hash_one(decision);
        let number = *self.by_hash.entry(hash).or_insert(next);
        if self.decisions.get(number as usize) == Some(decision) {
            return number;
        }
        self.decision_bytes += decision.memory();
        self.decisions.push(decision.clone());
        next
    }
}

#[inline]
fn bucket(hash: u64) -> usize {
    hash as usize & (BUCKETS - 1)
}

#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & (u32::MAX << PLACE_BITS)
}

impl Pace {
    #[inline]
    fn note(&mut self, hit: bool) {
        match &mut self.mode {
            Mode::All { credit } if hit => {
                *credit = (*credit + 1).min(CREDIT);
                if *credit == CREDIT {
                    self.trials = 1;
                }
            }
            Mode::All { credit: 0 } => {
                self.mode = Mode::Sample {
                    looked: 0,
                    hits: 0,
                    good: 0,
                };
            }
            Mode::All { credit } => *credit -= 1,
            Mode::Sample { looked, hits, good } => {
                *looked += 1;
                *hits += u32::from(hit);
                if *looked < LOOK {
                    return;
                }
                *good = if *hits > LOOK / 2 { *good + 1 } else { 0 };
                (*looked, *hits) = (0, 0);
                if *good >= self.trials {
                    self.trials = (self.trials * 2).min(MOST_TRIALS);
                    self.mode = Mode::All { credit: CREDIT / 2 };
                }
            }
        }
    }
}

/// One name in [`SAMPLE`], always the same ones.
#[inline]
fn is_sampled(name: &[u8]) -> bool {
    let (words, rest) = name.as_chunks();
    let last = match name.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => rest
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    // Turned by bits, not bytes, so that a number that a name has twice doesn't undo itself. It needn't be hard to foresee.
    let mixed = words.iter().fold(last, |mixed: u64, word| {
        mixed.rotate_left(13) ^ u64::from_le_bytes(*word)
    });
    mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SAMPLE.trailing_zeros()) == 0
}

#[cfg(test)]
mod tests;
