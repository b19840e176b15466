//! The open windows: of each rule, output name and interval the points so far.
//!
//! A window lies in a slot. A hash table finds the slot by rule, name and beginning, with one look a point; the order in
//! which windows are due is kept by groups of those that are due together. Nothing is allocated for a point whose window
//! is open, but for functions that keep their values.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::mem;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::groups::Groups;
use super::{Closed, Function, Refused, Rule, state::State};

/// A point that is this much ahead of the clock, in seconds, has a wrong clock.
const AHEAD: u32 = 3600;

/// The longest name of an output, in bytes: the longest of an input, unless somebody's template multiplies it.
pub const MAX_NAME: usize = 16 << 10;

/// How many values a window keeps: 8 MiB of them, which are moved and sorted at once.
const VALUES: usize = 1 << 20;

/// So many values are taken out or merged at once, and those of a window more: some hundred microseconds.
pub(super) const VALUES_AT_ONCE: usize = 64 << 10;

/// How much the windows of all rules may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many may be open.
    pub windows: usize,
    /// How many bytes their names may have.
    pub names: usize,
    /// How many values may be kept for functions that need all of them, 8 bytes each.
    pub values: usize,
}

impl Limits {
    /// What comes with so many windows: names of 256 bytes, and 16 values to a window.
    pub fn of(windows: usize) -> Limits {
        Limits {
            windows,
            names: windows.saturating_mul(256).max(MAX_NAME),
            values: windows.saturating_mul(16),
        }
    }

    /// A successor gets the windows of its predecessor beside those that it has opened itself meanwhile.
    fn twice(self) -> Limits {
        Limits {
            windows: self.windows.saturating_mul(2),
            names: self.names.saturating_mul(2),
            values: self.values.saturating_mul(2),
        }
    }
}

/// All open windows of a table. They are known by the canonical text of their rule, so that they stay the same when a
/// table is made anew.
#[derive(Debug)]
pub struct Windows {
    limits: Limits,
    used: Limits,
    points: u64,
    hash: RandomState,
    table: HashTable<u32>,
    slots: Vec<Option<Window>>,
    free: Vec<u32>,
    groups: Groups,
    /// The rules of open windows, by their id.
    rules: BTreeMap<u64, Open>,
    /// Up to when windows were closed.
    closed_to: u32,
}

#[derive(Debug)]
pub(super) struct Window {
    /// Its number among the predecessor's, from one on; 0: that had none.
    pub(super) passed: u32,
    hash: u64,
    pub(super) rule: u64,
    pub(super) name: Box<[u8]>,
    pub(super) points: u64,
    pub(super) state: State,
    /// Its beginning.
    pub(super) timestamp: u32,
    pub(super) function: Function,
}

#[derive(Debug)]
struct Open {
    text: String,
    windows: usize,
}

/// What came of a [`Windows::flush`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flushed {
    /// How many windows were closed.
    pub windows: u64,
    /// How many points they had.
    pub points: u64,
    /// How many lines were printed.
    pub lines: u64,
    /// Whether more windows are due.
    pub more: bool,
}

/// Windows that were let go of, since their rule is no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// How many.
    pub windows: u64,
    /// How many points they had.
    pub points: u64,
}

/// Which window it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) rule: &'a Rule,
    pub(super) name: &'a [u8],
    pub(super) timestamp: u32,
}

impl Window {
    #[inline]
    fn is(&self, key: &Key) -> bool {
        self.timestamp == key.timestamp && self.rule == key.rule.id && *self.name == *key.name
    }
}

/// Seeded: names are hostile.
#[inline]
fn hash_of(seed: &RandomState, rule: u64, name: &[u8], timestamp: u32) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write_u64(rule);
    hasher.write_u32(timestamp);
    hasher.write(name);
    hasher.finish()
}

impl Windows {
    /// None, and how many there may be.
    pub fn new(limits: Limits) -> Windows {
        Windows {
            limits,
            used: Limits {
                windows: 0,
                names: 0,
                values: 0,
            },
            points: 0,
            hash: RandomState::default(),
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            groups: Groups::default(),
            rules: BTreeMap::new(),
            closed_to: 0,
        }
    }

    /// Takes a point that the rule takes, under the name that it has from here on.
    ///
    /// # Errors
    /// Why it is refused; see [`Refused`].
    pub fn add(
        &mut self,
        rule: &Rule,
        output: &[u8],
        value: f64,
        timestamp: u32,
        now: u32,
    ) -> Result<(), Refused> {
        if !value.is_finite() {
            return Err(Refused::Value);
        }
        if timestamp > now.saturating_add(AHEAD) {
            return Err(Refused::TooNew);
        }
        let beginning = timestamp - timestamp % rule.interval;
        if beginning.saturating_add(rule.wait) <= self.clock(now) {
            return Err(Refused::TooOld);
        }
        let key = Key {
            rule,
            name: output,
            timestamp: beginning,
        };
        let hash = hash_of(&self.hash, rule.id, output, beginning);
        let same = |slot: &u32| {
            self.slots[*slot as usize]
                .as_ref()
                .is_some_and(|w| w.is(&key))
        };
        let Some(&slot) = self.table.find(hash, same) else {
            let state = State::new(rule.function, value, timestamp);
            return self.open((key, hash), 0, 1, state, self.limits);
        };
        let window = self.slots[slot as usize].as_mut().ok_or(Refused::Windows)?;
        if let State::Values(_) = window.state {
            if self.used.values >= self.limits.values || window.state.values() >= VALUES {
                return Err(Refused::Windows);
            }
            self.used.values += 1;
        }
        window.points += 1;
        self.points += 1;
        window.state.add(window.function, value, timestamp);
        Ok(())
    }

    /// The time that decides what is too old. Windows once closed stay so when the clock is set back; by more than an
    /// hour, it was wrong before.
    fn clock(&self, now: u32) -> u32 {
        match self.closed_to.checked_sub(now) {
            Some(back) if back <= AHEAD => self.closed_to,
            _ => now,
        }
    }

    /// Opens a window, with so many points in it; the predecessor's of that number, or of 0.
    fn open(
        &mut self,
        (key, hash): (Key, u64),
        passed: u32,
        points: u64,
        state: State,
        limits: Limits,
    ) -> Result<(), Refused> {
        if key.name.is_empty() || key.name.len() > MAX_NAME {
            return Err(Refused::Name);
        }
        let values = self.used.values + state.values();
        let names = self.used.names + key.name.len();
        let next = u32::try_from(self.slots.len()).map_err(|_| Refused::Windows)?;
        if self.used.windows >= limits.windows || names > limits.names || values > limits.values {
            return Err(Refused::Windows);
        }
        self.used = Limits {
            windows: self.used.windows + 1,
            names,
            values,
        };
        self.points += points;
        let rule = key.rule;
        let window = Window {
            passed,
            hash,
            rule: rule.id,
            name: key.name.into(),
            points,
            state,
            timestamp: key.timestamp,
            function: rule.function,
        };
        let slot = self.free.pop().unwrap_or(next);
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = Some(window),
            None => self.slots.push(Some(window)),
        }
        let slots = &self.slots;
        let hash_of_slot = |slot: &u32| slots[*slot as usize].as_ref().map_or(0, |w| w.hash);
        self.table.insert_unique(hash, slot, hash_of_slot);
        let due = key.timestamp.saturating_add(rule.wait);
        let due = (due, rule.id, key.timestamp);
        self.groups.push(due, passed > 0, slot);
        let open = self.rules.entry(rule.id).or_insert_with(|| Open {
            text: rule.text.clone(),
            windows: 0,
        });
        open.windows += 1;
        Ok(())
    }

    /// Takes a window that comes from elsewhere: its points came before those that are here. `passed` is its number among
    /// those of the predecessor, in whose order they come; or 0.
    pub(super) fn put_before(
        &mut self,
        key: Key,
        passed: u32,
        points: u64,
        mut state: State,
    ) -> Result<(), Refused> {
        let hash = hash_of(&self.hash, key.rule.id, key.name, key.timestamp);
        let same = |slot: &u32| {
            self.slots[*slot as usize]
                .as_ref()
                .is_some_and(|w| w.is(&key))
        };
        let limits = self.limits.twice();
        let Some(&slot) = self.table.find(hash, same) else {
            return self.open((key, hash), passed, points, state, limits);
        };
        let window = self.slots[slot as usize].as_mut().ok_or(Refused::Windows)?;
        let values = self.used.values + state.values();
        if values > limits.values {
            return Err(Refused::Windows);
        }
        self.used.values = values;
        self.points += points;
        window.points += points;
        mem::swap(&mut window.state, &mut state);
        window.state.append(window.function, state);
        if passed > 0 {
            window.passed = passed;
            let due = key.timestamp.saturating_add(key.rule.wait);
            let due = (due, key.rule.id, key.timestamp);
            self.groups.push(due, true, slot);
        }
        Ok(())
    }

    /// When the next window is due, in seconds since 1970.
    pub fn next_due(&self) -> Option<u32> {
        self.groups.next_due()
    }

    /// Closes windows whose time has come, the oldest first, at most so many and not many values, and appends them. What
    /// they come to can be computed elsewhere. True: more are due.
    pub fn close(&mut self, now: u32, most: usize, into: &mut Vec<Closed>) -> bool {
        self.closed_to = self.clock(now);
        let (mut windows, mut values) = (0, 0);
        while windows < most && values < VALUES_AT_ONCE {
            let Some(slot) = self.groups.pop(now, &self.slots) else {
                return false;
            };
            if let Some(window) = self.take(slot) {
                windows += 1;
                values += window.state.values();
                into.push(Closed {
                    rule: window.rule,
                    name: window.name,
                    timestamp: window.timestamp,
                    function: window.function,
                    passed: window.passed,
                    points: window.points,
                    state: window.state,
                });
            }
        }
        self.groups.skip_gone(&self.slots);
        self.next_due().is_some_and(|due| due <= now)
    }

    /// [`close`](Windows::close)s windows and prints them.
    pub fn flush(&mut self, now: u32, most: usize, to: &mut Vec<u8>) -> Flushed {
        let mut closed = Vec::new();
        let more = self.close(now, most, &mut closed);
        let mut flushed = Flushed {
            more,
            ..Flushed::default()
        };
        for window in closed {
            flushed.windows += 1;
            flushed.points += window.points();
            flushed.lines += window.print(to);
        }
        flushed
    }

    /// Empties a slot.
    fn take(&mut self, slot: u32) -> Option<Window> {
        let window = self.slots.get_mut(slot as usize)?.take()?;
        if let Ok(entry) = self.table.find_entry(window.hash, |other| *other == slot) {
            entry.remove();
        }
        self.used.windows -= 1;
        self.used.names -= window.name.len();
        self.used.values -= window.state.values();
        self.points -= window.points;
        if let Some(open) = self.rules.get_mut(&window.rule) {
            open.windows -= 1;
            if open.windows == 0 {
                self.rules.remove(&window.rule);
            }
        }
        self.free.push(slot);
        if self.used.windows == 0 {
            self.let_go();
        }
        Some(window)
    }

    /// What a flood has taken is given back when it is over.
    fn let_go(&mut self) {
        self.slots = Vec::new();
        self.free = Vec::new();
        self.table = HashTable::new();
    }

    /// Keeps the windows of these rules only; the others are let go of.
    pub fn retain(&mut self, rules: &[Rule]) -> Gone {
        let is_gone = |id: &u64| !rules.iter().any(|rule| rule.id == *id);
        let gone_rules: Vec<u64> = self.rules.keys().copied().filter(is_gone).collect();
        let mut gone = Gone::default();
        if gone_rules.is_empty() {
            return gone;
        }
        let left = self.groups.remove(&gone_rules, &self.slots);
        for slot in left {
            if let Some(window) = self.take(slot) {
                gone.windows += 1;
                gone.points += window.points;
            }
        }
        gone
    }

    /// Lets go of the first `count` windows, in the order in which they are closed, but for those of rules that `keep`: a
    /// successor has closed them.
    pub fn forget_first(&mut self, count: usize, keep: impl Fn(u64) -> bool) {
        let first = self.groups.all(&self.slots).take(count);
        let gone: Vec<u32> = first
            .filter(|slot| {
                let window = self.slots[*slot as usize].as_ref();
                window.is_some_and(|window| !keep(window.rule))
            })
            .collect();
        for slot in gone {
            self.take(slot);
        }
        self.groups.sweep(&self.slots);
    }

    /// The rules of open windows.
    pub(super) fn rules(&self) -> impl Iterator<Item = (u64, &str)> {
        self.rules.iter().map(|(id, open)| (*id, &open.text[..]))
    }

    /// All of them, in the order in which they are closed.
    pub(super) fn all(&self) -> impl Iterator<Item = &Window> {
        self.groups
            .all(&self.slots)
            .filter_map(|slot| self.slots[slot as usize].as_ref())
    }

    pub(super) fn closed_to(&self) -> u32 {
        self.closed_to
    }

    /// Windows were closed up to then elsewhere: they aren't opened again.
    pub fn set_closed_to(&mut self, closed_to: u32) {
        self.closed_to = self.closed_to.max(closed_to);
    }

    /// How many windows are open.
    pub fn len(&self) -> usize {
        self.used.windows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.used.windows == 0
    }

    /// How many points are in open windows.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// How much they take of each limit.
    pub fn used(&self) -> Limits {
        self.used
    }

    /// How many points are in open windows, by the [ids](Rule::id) of their rules.
    pub fn points_by_rule(&self) -> BTreeMap<u64, u64> {
        let mut points = BTreeMap::new();
        for window in self.all() {
            *points.entry(window.rule).or_default() += window.points;
        }
        points
    }

    /// How many windows a rule has open.
    pub fn open_of(&self, rule: &Rule) -> usize {
        self.rules.get(&rule.id).map_or(0, |open| open.windows)
    }
}
