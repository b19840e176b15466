//! In which order windows are closed: by when they are due, and among those that are due together, first those that a
//! predecessor passed on, in its order. So a predecessor that is told how many of its windows are closed knows which.

use std::collections::{BTreeMap, VecDeque};

use super::windows::Window;

/// When, of which rule, and since when.
pub(super) type Due = (u32, u64, u32);

/// The slots of all windows, by when they are due.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<Due, Group>);

/// Windows that are due together, of one rule.
#[derive(Debug, Default)]
struct Group {
    /// Those of the predecessor.
    passed: VecDeque<u32>,
    /// Those that were opened here. One that the predecessor turned out to have is in both, and counts there.
    own: VecDeque<u32>,
}

impl Groups {
    /// A window that is the last of its group for now.
    pub fn push(&mut self, due: Due, passed: bool, slot: u32) {
        let group = self.0.entry(due).or_default();
        match passed {
            true => group.passed.push_back(slot),
            false => group.own.push_back(slot),
        }
    }

    /// When the first of them is due.
    pub fn next_due(&self) -> Option<u32> {
        self.0.keys().next().map(|(due, ..)| *due)
    }

    /// Takes out the first window, if it is due by then.
    pub fn pop(&mut self, now: u32, slots: &[Option<Window>]) -> Option<u32> {
        self.skip_gone(slots);
        let mut first = self.0.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let group = first.get_mut();
        group.passed.pop_front().or_else(|| group.own.pop_front())
    }

    /// Sees to it that the first window is there.
    pub fn skip_gone(&mut self, slots: &[Option<Window>]) {
        while let Some(mut first) = self.0.first_entry() {
            let due = *first.key();
            let group = first.get_mut();
            let gone = |slot: &mut u32, passed| !is(slots, *slot, &due, passed);
            while group.passed.pop_front_if(|slot| gone(slot, true)).is_some() {}
            if !group.passed.is_empty() {
                return;
            }
            while group.own.pop_front_if(|slot| gone(slot, false)).is_some() {}
            if !group.own.is_empty() {
                return;
            }
            first.remove();
        }
    }

    /// All slots, in order.
    pub fn all<'a>(&'a self, slots: &'a [Option<Window>]) -> impl Iterator<Item = u32> + use<'a> {
        let groups = self.0.iter();
        groups.flat_map(move |(due, group)| group.slots(slots, *due))
    }

    /// Takes out the groups of these rules, and tells their slots.
    pub fn remove(&mut self, rules: &[u64], slots: &[Option<Window>]) -> Vec<u32> {
        let gone = self
            .0
            .extract_if(.., |(_, rule, _), _| rules.contains(rule));
        gone.flat_map(|(due, group)| group.slots(slots, due).collect::<Vec<_>>())
            .collect()
    }

    /// Lets go of slots that are empty.
    pub fn sweep(&mut self, slots: &[Option<Window>]) {
        self.0.retain(|due, group| {
            group.passed.retain(|slot| is(slots, *slot, due, true));
            group.own.retain(|slot| is(slots, *slot, due, false));
            !group.is_empty()
        });
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.own.is_empty()
    }

    fn slots<'a>(
        &'a self,
        slots: &'a [Option<Window>],
        due: Due,
    ) -> impl Iterator<Item = u32> + use<'a> {
        let of = move |list: &'a VecDeque<u32>, passed| {
            let list = list.iter().copied();
            list.filter(move |slot| is(slots, *slot, &due, passed))
        };
        of(&self.passed, true).chain(of(&self.own, false))
    }
}

/// Whether the window that is meant is still in its slot: that may be another's by now, or be named by both lists.
fn is(slots: &[Option<Window>], slot: u32, (_, rule, timestamp): &Due, passed: bool) -> bool {
    let window = slots.get(slot as usize).and_then(Option::as_ref);
    window.is_some_and(|w| (w.rule, w.timestamp) == (*rule, *timestamp) && (w.passed > 0) == passed)
}
