//! Which literals does a text begin with? A hash table of them, asked once for each length there is.

/// Literals are cut to this size: what is behind it the rule's own conditions look at.
pub const LONGEST: usize = 32;
const WORD: usize = size_of::<u64>();
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
    /// Open addressing: a tag of the hash, and the number of the entry plus one.
    slots: Vec<(u32, u32)>,
    /// Which lengths there are: bit n − 1 for n.
    sizes: u32,
}

impl LiteralTable {
    /// Of literals, each once and not empty, with the places that are found by each.
    pub fn new(literals: &[(&[u8], &[u32])]) -> LiteralTable {
        let mut table = LiteralTable {
            slots: vec![(0, 0); (literals.len() * 2).next_power_of_two()],
            ..LiteralTable::default()
        };
        for &(literal, places) in literals {
            let size = literal.len().min(LONGEST);
            let words = std::array::from_fn(|at| word(&literal[..size], at * WORD));
            let from = table.places.len() as u32;
            table.places.extend_from_slice(places);
            table.entries.push(Entry {
                words,
                size: size as u8,
                from,
                to: table.places.len() as u32,
            });
            table.sizes |= 1 << (size - 1);
            let last = (size - 1) / WORD;
            let before = words[..last]
                .iter()
                .fold(START, |hash, word| mix(hash, *word));
            let hash = end(before, words[last], size);
            let mut slot = hash as usize & (table.slots.len() - 1);
            while table.slots[slot].1 != 0 {
                slot = (slot + 1) & (table.slots.len() - 1);
            }
            table.slots[slot] = ((hash >> 32) as u32, table.entries.len() as u32);
        }
        table
    }

    /// The lengths that there are, as a set of bits: n − 1 for n.
    pub fn sizes(&self) -> u32 {
        self.sizes
    }

    /// Calls `found` with the places of each literal that the text has at `start`, of the lengths given.
    #[inline]
    pub fn at(&self, text: &[u8], start: usize, sizes: u32, mut found: impl FnMut(&[u32])) {
        let room = text.len() - start;
        let mut left = sizes;
        if room < LONGEST {
            left &= (1 << room) - 1;
        }
        // What is before the last word of a literal is the same for all of its lengths.
        let (mut words, mut hash, mut begun) = ([0; WORDS], START, 0);
        if left != 0 {
            words[0] = word(text, start);
        }
        while left != 0 {
            let size = left.trailing_zeros() as usize + 1;
            left &= left - 1;
            let last = (size - 1) / WORD;
            while begun < last {
                hash = mix(hash, words[begun]);
                begun += 1;
                words[begun] = word(text, start + begun * WORD);
            }
            let tail = words[last] & (u64::MAX >> (8 * (WORD - (size - last * WORD))));
            let hash = end(hash, tail, size);
            self.probe(hash, &words, tail, last, size, &mut found);
        }
    }

    #[inline]
    fn probe(
        &self,
        hash: u64,
        words: &[u64; WORDS],
        tail: u64,
        last: usize,
        size: usize,
        found: &mut impl FnMut(&[u32]),
    ) {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let (tag, number) = self.slots[slot];
            if number == 0 {
                return;
            }
            if tag == (hash >> 32) as u32 {
                let entry = &self.entries[number as usize - 1];
                let same = entry.size as usize == size
                    && entry.words[last] == tail
                    && entry.words[..last] == words[..last];
                if same {
                    found(&self.places[entry.from as usize..entry.to as usize]);
                    return;
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Roughly how much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        size_of_val(&self.entries[..])
            + size_of_val(&self.places[..])
            + size_of_val(&self.slots[..])
    }
}

const START: u64 = 0x9e37_79b9_7f4a_7c15;

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

/// Eight bytes of the text, zeros where it has ended.
#[inline]
fn word(text: &[u8], at: usize) -> u64 {
    if let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk()) {
        return u64::from_le_bytes(*bytes);
    }
    let left = text.len().saturating_sub(at);
    match text.last_chunk::<WORD>() {
        _ if left == 0 => 0,
        Some(bytes) => u64::from_le_bytes(*bytes) >> (8 * (WORD - left)),
        None => {
            let bytes = text[at..].iter().rev();
            bytes.fold(0, |word, &byte| word << 8 | u64::from(byte))
        }
    }
}
