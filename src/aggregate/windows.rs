//! The open windows: of each rule, output name and interval the points so far.
//!
//! A window lies in a slot. A hash table finds the slot by rule, name and beginning, with one look a point; the order in
//! which windows are due is kept by groups of those that are due together. Nothing is allocated for a point whose window
//! is open, but for functions that keep their values.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::{mem, vec};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{Closed, Function, Refused, Rule, state::State};

/// A point that is this much ahead of the clock, in seconds, has a wrong clock.
const AHEAD: u32 = 3600;

/// The longest name of an output, in bytes: the longest of an input, unless somebody's template multiplies it.
pub const MAX_NAME: usize = 16 << 10;

/// How many values a window keeps: 8 MiB of them, which are moved and sorted at once.
const VALUES: usize = 1 << 20;

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
    /// The slots of those that are due together, of one rule, in the order in which they were opened.
    groups: BTreeMap<Due, Vec<u32>>,
    /// What is left of a group that is being closed.
    closing: vec::IntoIter<u32>,
    /// The rules of open windows, by their id.
    rules: BTreeMap<u64, Open>,
    /// Up to when windows were closed.
    closed_to: u32,
}

/// When, of which rule, and since when.
type Due = (u32, u64, u32);

#[derive(Debug)]
pub(super) struct Window {
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
            groups: BTreeMap::new(),
            closing: Vec::new().into_iter(),
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
            return self.open(key, hash, 1, state, self.limits);
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

    /// Opens a window, with so many points in it.
    fn open(
        &mut self,
        key: Key,
        hash: u64,
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
        let group = self.groups.entry((due, rule.id, key.timestamp));
        group.or_default().push(slot);
        let open = self.rules.entry(rule.id).or_insert_with(|| Open {
            text: rule.text.clone(),
            windows: 0,
        });
        open.windows += 1;
        Ok(())
    }

    /// Takes a window that was closed to be opened elsewhere: its points came before those that are here.
    pub(super) fn put_before(
        &mut self,
        key: Key,
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
            return self.open(key, hash, points, state, limits);
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
        Ok(())
    }

    /// When the next window is due, in seconds since 1970.
    pub fn next_due(&self) -> Option<u32> {
        match self.closing.len() {
            0 => self.groups.keys().next().map(|(due, ..)| *due),
            _ => Some(0),
        }
    }

    /// Closes windows whose time has come, the oldest first, at most so many, and appends them. What they come to can be
    /// computed elsewhere. True: more are due.
    pub fn close(&mut self, now: u32, most: usize, into: &mut Vec<Closed>) -> bool {
        self.closed_to = self.clock(now);
        for _ in 0..most {
            let Some(slot) = self.next_to_close(now) else {
                return false;
            };
            if let Some(window) = self.take(slot) {
                into.push(Closed {
                    rule: window.rule,
                    name: window.name,
                    timestamp: window.timestamp,
                    function: window.function,
                    points: window.points,
                    state: window.state,
                });
            }
        }
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

    fn next_to_close(&mut self, now: u32) -> Option<u32> {
        if let Some(slot) = self.closing.next() {
            return Some(slot);
        }
        let group = self.groups.first_entry()?;
        if group.key().0 > now {
            return None;
        }
        self.closing = group.remove().into_iter();
        self.closing.next()
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
        let is_gone = |slot: &u32| {
            let window = self.slots[*slot as usize].as_ref();
            window.is_some_and(|window| gone_rules.contains(&window.rule))
        };
        let (mut left, kept): (Vec<u32>, Vec<u32>) =
            mem::take(&mut self.closing).partition(is_gone);
        self.closing = kept.into_iter();
        self.groups.retain(|(_, rule, _), slots| {
            let keep = !gone_rules.contains(rule);
            if !keep {
                left.append(slots);
            }
            keep
        });
        for slot in left {
            if let Some(window) = self.take(slot) {
                gone.windows += 1;
                gone.points += window.points;
            }
        }
        gone
    }

    /// The rules of open windows.
    pub(super) fn rules(&self) -> impl Iterator<Item = (u64, &str)> {
        self.rules.iter().map(|(id, open)| (*id, &open.text[..]))
    }

    /// All of them, those that are due first before the others.
    pub(super) fn all(&self) -> impl Iterator<Item = &Window> {
        let closing = self.closing.as_slice().iter();
        let slots = closing.chain(self.groups.values().flatten());
        slots.filter_map(|slot| self.slots[*slot as usize].as_ref())
    }

    pub(super) fn closed_to(&self) -> u32 {
        self.closed_to
    }

    pub(super) fn set_closed_to(&mut self, closed_to: u32) {
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

    /// How many points are in the open windows of each of these rules.
    pub fn points_of(&self, rules: &[Rule]) -> Vec<u64> {
        let mut points = vec![0; rules.len()];
        for window in self.all() {
            if let Some(at) = rules.iter().position(|rule| rule.id == window.rule) {
                points[at] += window.points;
            }
        }
        points
    }

    /// How many windows a rule has open.
    pub fn open_of(&self, rule: &Rule) -> usize {
        self.rules.get(&rule.id).map_or(0, |open| open.windows)
    }
}
