//! Which literals does a text contain? One pass that looks at a few bytes of every n-th position.
//!
//! Of each literal a *window* is chosen that few others share. Of the *grams* in it, three to eight bytes, one for each
//! of n neighbouring positions, one lies at a multiple of n in the text, wherever the literal lies there. So the text is
//! probed at those positions only; where a gram is seen, the literals that it may belong to are looked up. That takes a
//! fraction of a nanosecond a byte, where an automaton takes one or two: each of its steps waits for the one before.
//!
//! A gram that is seen without its literal costs more than many probes. So grams are long first (names are full of the
//! same three digits), and only then far between.

use std::collections::HashMap;
use std::num::NonZeroU32;

use foldhash::fast::FixedState;

use super::filter::Filter;
use super::literal_table::{LONGEST, LiteralTable};
use super::text::{Text, WORD, word};
use super::trail::{Finds, add};

/// Bytes of a gram that tell literals apart from what names are full of.
const TELLING: usize = 5;
const LONGEST_STRIDE: usize = 4;
/// With more literals not every window of each is weighed.
const WEIGHED: usize = 1 << 14;

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Scanner {
    /// Which bytes of eight make a gram.
    mask: u64,
    gram: usize,
    stride: usize,
    seen: Filter,
    /// Open addressing by gram.
    slots: Vec<Slot>,
    literals: LiteralTable,
}

/// A gram, and how far before it literals of which lengths begin.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    gram: u64,
    /// Bit n: n bytes before. Zero: the slot is free.
    offsets: u32,
    sizes: u32,
    /// The literal, if it is but one, at one offset.
    only: Option<NonZeroU32>,
}

type Grams<T> = HashMap<u64, T, FixedState>;

impl Scanner {
    /// Of literals, each once and at least `shortest` ≥ 3 bytes long, with the places that are found by each.
    pub fn new(literals: &[(&[u8], &[u32])], shortest: usize) -> Scanner {
        let shortest = shortest.min(LONGEST);
        let stride = (shortest + 1)
            .saturating_sub(TELLING)
            .clamp(1, LONGEST_STRIDE);
        let gram = (shortest + 1 - stride).min(WORD);
        let mut scanner = Scanner {
            mask: u64::MAX >> (8 * (WORD - gram)),
            gram,
            stride,
            seen: Filter::default(),
            slots: Vec::new(),
            literals: LiteralTable::new(literals),
        };
        let grams = scanner.grams(literals);
        scanner.slots = vec![Slot::default(); (grams.len() * 2).next_power_of_two()];
        for (gram, slot) in grams {
            scanner.seen.insert(hash(gram));
            let mut at = scanner.slot(gram);
            while scanner.slots[at].offsets != 0 {
                at = (at + 1) & (scanner.slots.len() - 1);
            }
            scanner.slots[at] = slot;
        }
        scanner
    }

    /// The grams of each literal's window.
    fn grams(&self, literals: &[(&[u8], &[u32])]) -> Grams<Slot> {
        let cut = |literal: &&(&'_ [u8], _)| -> usize { literal.0.len().min(LONGEST) };
        let every = 1 + literals.len() / WEIGHED;
        let bases = |size: usize| (0..=size + 1 - self.gram - self.stride).step_by(every);
        let gram = |literal: &[u8], at: usize| word(&literal[at..]) & self.mask;
        let mut shared: Grams<u32> = Grams::default();
        for literal in literals {
            let ends = bases(cut(&literal)).last().unwrap_or(0) + self.stride;
            for at in 0..ends {
                *shared.entry(gram(literal.0, at)).or_default() += 1;
            }
        }
        let mut grams: Grams<Slot> = Grams::default();
        for (number, literal) in (1..).map(NonZeroU32::new).zip(literals) {
            let size = cut(&literal);
            let window = |base: usize| base..base + self.stride;
            let cost = |base: &usize| -> u32 {
                let grams = window(*base).map(|at| shared[&gram(literal.0, at)]);
                grams.fold(0, u32::saturating_add)
            };
            for offset in window(bases(size).min_by_key(cost).unwrap_or(0)) {
                let gram = gram(literal.0, offset);
                let slot = grams.entry(gram).or_default();
                slot.gram = gram;
                slot.only = number.filter(|_| slot.offsets == 0);
                slot.offsets |= 1 << offset;
                slot.sizes |= 1 << (size - 1);
            }
        }
        grams
    }

    fn slot(&self, gram: u64) -> usize {
        (hash(gram) >> 32) as usize & (self.slots.len() - 1)
    }

    /// Finds the places of each literal in the text, perhaps several times. So many bytes at its beginning are `alike` those of
    /// the text before, whose finds become those of this one. False: they are the same.
    #[inline]
    pub fn scan(&self, text: Text, alike: usize, finds: &mut Finds) -> bool {
        // A stride that the compiler knows is a loop of half the length.
        match self.stride {
            1 => self.scan_by::<1>(text, alike, finds),
            2 => self.scan_by::<2>(text, alike, finds),
            3 => self.scan_by::<3>(text, alike, finds),
            _ => self.scan_by::<LONGEST_STRIDE>(text, alike, finds),
        }
    }

    #[inline]
    fn scan_by<const STRIDE: usize>(&self, text: Text, alike: usize, finds: &mut Finds) -> bool {
        // Grams before that lie in what is alike: they are seen again, and no others.
        let end = (alike + 1).saturating_sub(self.gram);
        let (mut at, mut changed) = finds.cut(alike, end.next_multiple_of(STRIDE));
        let ends = (text.size() + 1).saturating_sub(self.gram);
        for bytes in text.overlapping(at, ends).step_by(STRIDE) {
            let gram = word(bytes) & self.mask;
            if self.seen.may_have(hash(gram)) {
                changed = true;
                self.look(text, at, gram, finds);
            }
            at += STRIDE;
        }
        changed
    }

    #[inline(never)]
    fn look(&self, text: Text, at: usize, gram: u64, finds: &mut Finds) {
        let mut slot = self.slot(gram);
        while self.slots[slot].offsets != 0 && self.slots[slot].gram != gram {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        let Slot {
            mut offsets,
            sizes,
            only,
            ..
        } = self.slots[slot];
        // The longest that may begin at the nearest offset ends last.
        let longest = (u32::BITS - sizes.leading_zeros()) as usize;
        let nearest = if offsets == 0 {
            0
        } else {
            offsets.trailing_zeros() as usize
        };
        let reach = (at + longest).saturating_sub(nearest).max(at + self.gram);
        finds.see(at, reach);
        let mut found = |places: &[u32]| add(places, &mut finds.places);
        if let Some(number) = only {
            if let Some(start) = at.checked_sub(nearest) {
                self.literals.one_at(number, text, start).map(found);
            }
            return;
        }
        while offsets != 0 {
            let offset = offsets.trailing_zeros() as usize;
            offsets &= offsets - 1;
            if offset <= at {
                self.literals.at(text, at - offset, sizes, &mut found);
            }
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.seen.memory() + size_of_val(&self.slots[..]) + self.literals.memory()
    }
}

#[inline]
fn hash(gram: u64) -> u64 {
    // The upper half of the product hears of all bytes, the lower half of the lower ones alone.
    gram.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
