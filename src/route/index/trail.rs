//! What a search came to, for the next one: neighbours in a stream mostly begin alike.
//!
//! An agent sends the metrics of one host in a row, so of a name that was never seen the first half mostly was, just now.
//! What was found by looking at that half alone holds for it, too.

use super::text::{Text, WORD};

/// Of the last search: the name, and what was found where. See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// Of which index; zero: of none.
    index: u64,
    /// Eight bytes each. Behind its end is what was there, and then what is left of longer names before.
    name: Vec<u64>,
    size: usize,
    /// The places that its prefixes were found for.
    pub prefixes: Vec<u32>,
    pub short: Finds,
    pub long: Finds,
}

/// What a scanner saw, and found there.
#[derive(Debug, Clone, Default)]
pub struct Finds {
    /// Where a gram was seen, ascending.
    seen: Vec<Seen>,
    /// The places of the literals that were there, in the same order.
    pub places: Vec<u32>,
}

/// A gram, and what came of it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: u32,
    /// What came of it and of those before says nothing of bytes from here on.
    reach: u32,
    /// The places that were found before it.
    before: u32,
}

impl Trail {
    /// Whether the last search was this index's.
    #[inline]
    pub fn is_of(&self, index: u64) -> bool {
        self.index == index
    }

    /// Turns to a name. So many bytes of it are those of the name before; what was found must be cut to what they say.
    #[inline]
    pub fn turn(&mut self, index: u64, name: Text) -> usize {
        let words = name.words();
        if self.index != index || self.name.len() < words.len() {
            self.make_room(index, words.len());
        }
        // Compared and kept in one go: to call for a copy of these few bytes would take longer.
        let mut alike = usize::MAX;
        for (at, (kept, word)) in self.name.iter_mut().zip(words).enumerate() {
            let word = u64::from_le_bytes(*word);
            let differ = *kept ^ word;
            if differ != 0 && alike == usize::MAX {
                alike = at * WORD + differ.trailing_zeros() as usize / 8;
            }
            *kept = word;
        }
        let alike = alike.min(self.size).min(name.size());
        self.size = name.size();
        alike
    }

    #[cold]
    fn make_room(&mut self, index: u64, words: usize) {
        if self.index != index {
            *self = Trail {
                index,
                ..Trail::default()
            };
        }
        self.name.resize(self.name.len().max(words), 0);
    }
}

impl Finds {
    /// Forgets what isn't so if of the text only so many bytes are as they were, and grams from `end` on. Returns where the scan
    /// goes on, and whether something was forgotten.
    #[inline]
    pub fn cut(&mut self, alike: usize, end: usize) -> (usize, bool) {
        match self.seen.last() {
            Some(last) if !last.holds(alike, end) => (self.forget(alike, end), true),
            _ => (end, false),
        }
    }

    #[inline(never)]
    fn forget(&mut self, alike: usize, end: usize) -> usize {
        let kept = self.seen.partition_point(|seen| seen.holds(alike, end));
        let Seen { at, before, .. } = self.seen[kept];
        self.seen.truncate(kept);
        self.places.truncate(before as usize);
        end.min(at as usize)
    }

    /// A gram was seen here; what it stands for depends on the bytes before `reach`.
    pub fn see(&mut self, at: usize, reach: usize) {
        let before = self.seen.last().map_or(0, |last| last.reach);
        self.seen.push(Seen {
            at: at as u32,
            reach: before.max(reach as u32),
            before: self.places.len() as u32,
        });
    }
}

impl Seen {
    /// Whether it is so still, see [`Finds::cut`]. If one isn't, nor are those behind it.
    #[inline]
    fn holds(&self, alike: usize, end: usize) -> bool {
        (self.at as usize) < end && self.reach as usize <= alike
    }
}

/// Appends places. There are mostly one or two: to call for a copy would take longer.
#[inline]
pub fn add(places: &[u32], to: &mut Vec<u32>) {
    for place in places {
        to.push(*place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_alike(names in proptest::collection::vec(("[ab]{0,2}", "[ab]{0,30}"), 1..8)) {
            let both = "servers.web.cpu.total.user";
            let mut trail = Trail::default();
            let mut before = String::new();
            for (more, end) in names {
                let name = both.repeat(more.len()) + &end;
                let line = format!("{name} 1 1790000000");
                let expected = before.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(trail.turn(1, Text::within(line.as_bytes(), name.len()).unwrap()), expected);
                before = name;
            }
        }
    }
}
