//! What a search came to, for the next one: neighbours in a stream mostly begin alike.
//!
//! An agent sends the metrics of one host in a row, so of a name that was never seen the first half mostly was, just now.
//! What was found by looking at that half alone holds for it, too.

use super::literal_table::{WORD, word};

/// Of the last search: the name, and what was found where. See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// Of which index; zero: of none.
    index: u64,
    /// Eight bytes each, zeros behind its end; what is behind that is of longer names before.
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
    /// What came of it says nothing of bytes from here on.
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
    pub fn turn(&mut self, index: u64, name: &[u8]) -> usize {
        if self.index != index {
            *self = Trail {
                index,
                ..Trail::default()
            };
        }
        let words = name.len().div_ceil(WORD);
        if self.name.len() < words {
            self.name.resize(words, 0);
        }
        // Compared and kept in one go: to call for a copy of these few bytes would take longer.
        let mut alike = usize::MAX;
        for (at, kept) in self.name[..words].iter_mut().enumerate() {
            let word = word(name, at * WORD);
            let differ = *kept ^ word;
            if differ != 0 && alike == usize::MAX {
                alike = at * WORD + differ.trailing_zeros() as usize / 8;
            }
            *kept = word;
        }
        let alike = alike.min(self.size).min(name.len());
        self.size = name.len();
        alike
    }
}

impl Finds {
    /// Forgets what isn't so if of the text only so many bytes are as they were, and grams from `end` on. Returns where the scan
    /// goes on, and whether something was forgotten.
    #[inline]
    pub fn cut(&mut self, alike: usize, end: usize) -> (usize, bool) {
        let kept = |seen: &&Seen| (seen.at as usize) < end && seen.reach as usize <= alike;
        let kept = self.seen.iter().take_while(kept).count();
        let Some(first) = self.seen.get(kept) else {
            return (end, false);
        };
        let (at, before) = (first.at as usize, first.before as usize);
        self.seen.truncate(kept);
        self.places.truncate(before);
        (at.min(end), true)
    }

    /// A gram was seen here; what it stands for depends on the bytes before `reach`.
    pub fn see(&mut self, at: usize, reach: usize) {
        self.seen.push(Seen {
            at: at as u32,
            reach: reach as u32,
            before: self.places.len() as u32,
        });
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
                let expected = before.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
                prop_assert_eq!(trail.turn(1, name.as_bytes()), expected);
                before = name;
            }
        }
    }
}
