//! Which literals does a text contain? One pass that looks at a few bytes of every n-th position.
//!
//! Of a literal that is long enough, a *gram* (three or four bytes) out of its beginning lies at a multiple of the
//! stride wherever the literal lies in the text. So the text is probed at those positions only, in a set of bits that
//! stays in the first cache, without a branch; where a bit is set, the literals that may begin around there are looked
//! up. That takes a fraction of a nanosecond a byte, where an automaton takes one or two: each of its steps waits for
//! the one before.

use std::collections::HashMap;

use super::literal_table::LiteralTable;

/// The set of bits has so many, as a power of two: 8 KiB.
const BITS: u32 = 16;

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Scanner {
    /// Which bytes of four make a gram.
    mask: u32,
    gram: usize,
    stride: usize,
    seen: Box<[u64; (1 << BITS) / 64]>,
    /// Open addressing by gram.
    slots: Vec<Slot>,
    literals: LiteralTable,
}

/// A gram, and how far before it literals of which lengths begin.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    gram: u32,
    /// Bit n: n bytes before. Zero: the slot is free.
    offsets: u32,
    sizes: u32,
}

impl Scanner {
    /// Of literals, each once and at least `shortest` ≥ 3 bytes long, with the places that are found by each.
    pub fn new(literals: &[(&[u8], &[u32])], shortest: usize) -> Scanner {
        let gram = if shortest > 6 { 4 } else { 3 };
        let mut scanner = Scanner {
            mask: u32::MAX >> (8 * (4 - gram)),
            gram,
            stride: (shortest - gram + 1).min(4),
            seen: Box::new([0; (1 << BITS) / 64]),
            slots: Vec::new(),
            literals: LiteralTable::new(literals),
        };
        let mut grams: HashMap<u32, (u32, u32)> = HashMap::new();
        for (literal, _) in literals {
            let size = literal.len().min(super::literal_table::LONGEST);
            for offset in 0..scanner.stride {
                let mut bytes = [0; 4];
                bytes[..gram].copy_from_slice(&literal[offset..offset + gram]);
                let (offsets, sizes) = grams.entry(u32::from_le_bytes(bytes)).or_default();
                *offsets |= 1 << offset;
                *sizes |= 1 << (size - 1);
            }
        }
        scanner.slots = vec![Slot::default(); (grams.len() * 2).next_power_of_two()];
        for (gram, (offsets, sizes)) in grams {
            let bit = bit(gram);
            scanner.seen[bit / 64] |= 1 << (bit % 64);
            let mut at = scanner.slot(gram);
            while scanner.slots[at].offsets != 0 {
                at = (at + 1) & (scanner.slots.len() - 1);
            }
            scanner.slots[at] = Slot {
                gram,
                offsets,
                sizes,
            };
        }
        scanner
    }

    fn slot(&self, gram: u32) -> usize {
        (hash(gram) >> 40) as usize & (self.slots.len() - 1)
    }

    /// Calls `found` with the places of each literal in the text, perhaps several times.
    #[inline]
    pub fn scan(&self, text: &[u8], mut found: impl FnMut(&[u32])) {
        let Some(last) = text.last_chunk::<4>() else {
            if text.len() == self.gram {
                let word = u32::from_le_bytes([text[0], text[1], text[2], 0]);
                self.look(text, 0, word, &mut found);
            }
            return;
        };
        // As many positions as there are bits in a word.
        let step = self.stride * 64;
        for from in (0..text.len() - 3).step_by(step) {
            let part = &text[from..(from + step + 3).min(text.len())];
            let (mut hits, mut at) = (0u64, 0);
            for bytes in part.windows(4).step_by(self.stride) {
                let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                hits |= self.is_seen(word & self.mask) << at;
                at += 1;
            }
            while hits != 0 {
                let at = from + hits.trailing_zeros() as usize * self.stride;
                hits &= hits - 1;
                let bytes = &text[at..at + 4];
                let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                self.look(text, at, word & self.mask, &mut found);
            }
        }
        // The last gram of three, which no four bytes begin with.
        let word = u32::from_le_bytes(*last) >> 8;
        if self.gram == 3 && self.is_seen(word) != 0 {
            self.look(text, text.len() - 3, word, &mut found);
        }
    }

    #[inline]
    fn is_seen(&self, gram: u32) -> u64 {
        let bit = bit(gram);
        self.seen[bit / 64] >> (bit % 64) & 1
    }

    #[inline]
    fn look(&self, text: &[u8], at: usize, gram: u32, found: &mut impl FnMut(&[u32])) {
        let mut slot = self.slot(gram);
        loop {
            let entry = self.slots[slot];
            if entry.offsets == 0 {
                return;
            }
            if entry.gram == gram {
                let mut offsets = entry.offsets;
                while offsets != 0 {
                    let offset = offsets.trailing_zeros() as usize;
                    offsets &= offsets - 1;
                    if offset <= at {
                        self.literals
                            .at(text, at - offset, entry.sizes, &mut *found);
                    }
                }
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.seen) + size_of_val(&self.slots[..]) + self.literals.memory()
    }
}

#[inline]
fn hash(gram: u32) -> u64 {
    u64::from(gram).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
fn bit(gram: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> (32 - BITS)) as usize
}
