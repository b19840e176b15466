//! Which literals does a text begin with? A hash table of them, asked once for each length there is.

use std::num::NonZeroU32;

use super::filter::Filter;
use super::text::{Text, WORD};

/// Literals are cut to this size: what is behind it the rule's own conditions look at.
pub const LONGEST: usize = 32;
const WORDS: usize = LONGEST / WORD;

/// A literal as words, zeros behind it, and who is found by it.
#[derive(Debug, Clone, Default)]
struct Entry {
    words: [u64; WORDS],
    size: u8,
    /// Which part of the list of places is this literal's.
    from: u32,
    to: u32,
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct LiteralTable {
    entries: Vec<Entry>,
    places: Vec<u32>,
    /// The hashes of all; most texts have none of them.
    seen: Filter,
    /// The number of the entry plus one.
    numbers: Hashed,
    tiers: [Tier; TIERS.len()],
    /// Which lengths there are: bit n − 1 for n.
    sizes: u32,
    /// How many words the longest has.
    words: usize,
}

/// Lengths that are looked up together: the literals of a tier agree in no more than their *head*, as long as the
/// shortest of them. So of many lengths only those are tried that a head has.
const TIERS: [std::ops::RangeInclusive<usize>; 4] = [1..=3, 4..=7, 8..=15, 16..=LONGEST];

#[derive(Debug, Clone, Default)]
struct Tier {
    /// The lengths that there are.
    sizes: u32,
    head: usize,
    /// The lengths of the literals with this head; nothing if there is but one.
    by_head: Option<Hashed>,
}

/// Hashes and what they stand for, with open addressing: the upper half of a hash, and a value that isn't zero.
#[derive(Debug, Clone, Default)]
struct Hashed(Vec<(u32, u32)>);

/// The beginning of a text as words, as many as are needed, and the hashes of what is before each.
struct Begun {
    words: [u64; WORDS],
    before: [u64; WORDS],
}

impl LiteralTable {
    /// Of literals, each once and not empty, with the places that are found by each.
    pub fn new(literals: &[(&[u8], &[u32])]) -> LiteralTable {
        let mut table = LiteralTable {
            numbers: Hashed::new(literals.len()),
            ..LiteralTable::default()
        };
        for (number, &(literal, places)) in (1..).zip(literals) {
            let size = literal.len().min(LONGEST);
            let begun = Begun::of(&literal[..size]);
            let from = table.places.len() as u32;
            table.places.extend_from_slice(places);
            table.entries.push(Entry {
                words: begun.words,
                size: size as u8,
                from,
                to: table.places.len() as u32,
            });
            table.sizes |= 1 << (size - 1);
            table.words = table.words.max(size.div_ceil(WORD));
            table.seen.insert(begun.hash(size));
            *table.numbers.vacant(begun.hash(size)) = number;
        }
        for (tier, range) in table.tiers.iter_mut().zip(TIERS) {
            let all = (u32::MAX >> (32 - range.end())) & (u32::MAX << (range.start() - 1));
            tier.sizes = table.sizes & all;
            tier.head = tier.sizes.trailing_zeros() as usize + 1;
            if tier.sizes.count_ones() > 1 {
                tier.by_head = Some(by_head(tier, literals));
            }
        }
        table
    }

    /// The lengths that there are, as a set of bits: n − 1 for n.
    pub fn sizes(&self) -> u32 {
        self.sizes
    }

    /// The size of the longest: what is behind it in a text doesn't matter.
    pub fn longest(&self) -> usize {
        (u32::BITS - self.sizes.leading_zeros()) as usize
    }

    /// Calls `found` with the places of each literal that the text has at `start`, of the lengths given.
    #[inline]
    pub fn at(&self, text: Text, start: usize, sizes: u32, mut found: impl FnMut(&[u32])) {
        let room = text.size() - start;
        let mut sizes = sizes;
        if room < LONGEST {
            sizes &= (1 << room) - 1;
        }
        let begun = Begun::new(text, start, self.words);
        for tier in &self.tiers {
            let mut left = sizes & tier.sizes;
            if left == 0 {
                continue;
            }
            if let Some(by_head) = &tier.by_head {
                // Room for any of the tier is room for the head.
                left &= by_head.get(begun.hash(tier.head), |_| true).unwrap_or(0);
            }
            while left != 0 {
                let size = left.trailing_zeros() as usize + 1;
                left &= left - 1;
                let hash = begun.hash(size);
                if !self.seen.may_have(hash) {
                    continue;
                }
                let number = self.numbers.get(hash, |number| {
                    let entry = &self.entries[number as usize - 1];
                    entry.size as usize == size && begun.begins_with(&entry.words, size)
                });
                if let Some(number) = number {
                    let entry = &self.entries[number as usize - 1];
                    found(&self.places[entry.from as usize..entry.to as usize]);
                }
            }
        }
    }

    /// The places of the literal with this number, counting from one, if the text has it at `start`.
    #[inline]
    pub fn one_at(&self, number: NonZeroU32, text: Text, start: usize) -> Option<&[u32]> {
        let entry = &self.entries[number.get() as usize - 1];
        let size = entry.size as usize;
        let last = (size - 1) / WORD;
        let differ = |at: usize| text.word(start + at * WORD) ^ entry.words[at];
        let is_it = start + size <= text.size()
            && (0..last).all(|at| differ(at) == 0)
            && differ(last) & mask(size) == 0;
        is_it.then(|| &self.places[entry.from as usize..entry.to as usize])
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        let heads = self.tiers.iter().filter_map(|tier| tier.by_head.as_ref());
        let slots = heads
            .chain([&self.numbers])
            .map(|hashed| size_of_val(&hashed.0[..]));
        let lists = size_of_val(&self.entries[..]) + size_of_val(&self.places[..]);
        self.seen.memory() + lists + slots.sum::<usize>()
    }
}

/// The lengths of a tier's literals by the hash of their heads. Heads of equal hash share theirs, which does no harm.
fn by_head(tier: &Tier, literals: &[(&[u8], &[u32])]) -> Hashed {
    let mut hashed = Hashed::new(literals.len());
    for (literal, _) in literals {
        let size = literal.len().min(LONGEST);
        if tier.sizes >> (size - 1) & 1 == 1 {
            let hash = Begun::of(literal).hash(tier.head);
            match hashed.find(hash) {
                Some(sizes) => *sizes |= 1 << (size - 1),
                None => *hashed.vacant(hash) = 1 << (size - 1),
            }
        }
    }
    hashed
}

impl Hashed {
    fn new(values: usize) -> Hashed {
        Hashed(vec![(0, 0); (values * 2).next_power_of_two()])
    }

    /// A free slot for this hash, to be given a value.
    fn vacant(&mut self, hash: u64) -> &mut u32 {
        let mask = self.0.len() - 1;
        let mut slot = hash as usize & mask;
        while self.0[slot].1 != 0 {
            slot = (slot + 1) & mask;
        }
        self.0[slot].0 = (hash >> 32) as u32;
        &mut self.0[slot].1
    }

    fn find(&mut self, hash: u64) -> Option<&mut u32> {
        let mask = self.0.len() - 1;
        let mut slot = hash as usize & mask;
        while self.0[slot].1 != 0 && self.0[slot].0 != (hash >> 32) as u32 {
            slot = (slot + 1) & mask;
        }
        Some(&mut self.0[slot].1).filter(|value| **value != 0)
    }

    /// The first value of this hash that is the right one.
    #[inline]
    fn get(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.0.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (tag, value) = self.0[slot];
            if value == 0 {
                return None;
            }
            if tag == (hash >> 32) as u32 && is_it(value) {
                return Some(value);
            }
            slot = (slot + 1) & mask;
        }
    }
}

impl Begun {
    /// Of a literal.
    fn of(literal: &[u8]) -> Begun {
        Begun::new(Text::copied(literal, &mut Vec::new()), 0, WORDS)
    }

    /// Of so many words.
    #[inline]
    fn new(text: Text, start: usize, count: usize) -> Begun {
        let mut begun = Begun {
            words: [0; WORDS],
            before: [START; WORDS],
        };
        let mut hash = START;
        for (at, (to, before)) in begun.words.iter_mut().zip(&mut begun.before).enumerate() {
            if at == count {
                break;
            }
            *before = hash;
            *to = text.word(start + at * WORD);
            hash = mix(hash, *to);
        }
        begun
    }

    /// The hash of the first bytes.
    #[inline]
    fn hash(&self, size: usize) -> u64 {
        let last = (size - 1) / WORD;
        end(self.before[last], self.tail(size), size)
    }

    /// What the last word of the first bytes has of them.
    #[inline]
    fn tail(&self, size: usize) -> u64 {
        self.words[(size - 1) / WORD] & mask(size)
    }

    #[inline]
    fn begins_with(&self, words: &[u64; WORDS], size: usize) -> bool {
        let last = (size - 1) / WORD;
        words[last] == self.tail(size) && (0..last).all(|at| words[at] == self.words[at])
    }
}

const START: u64 = 0x9e37_79b9_7f4a_7c15;

/// The bytes that so many have of their last word.
#[inline]
fn mask(size: usize) -> u64 {
    u64::MAX >> (8 * (size.wrapping_neg() % WORD))
}

#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0xd6e8_feb8_6659_fd93_u128;
    product as u64 ^ (product >> 64) as u64
}

/// The hash with its last word, which the length tells from a word that ends in zeros.
#[inline]
fn end(hash: u64, word: u64, size: usize) -> u64 {
    mix(hash.rotate_left(17) ^ size as u64, word)
}
