//! A set of hashes, as bits: what was put in is in it, and little else. It stays in the first cache.

/// It has so many bits, as a power of two: 16 KiB.
const BITS: u32 = 17;

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Filter(Box<[u64; (1 << BITS) / 64]>);

impl Default for Filter {
    fn default() -> Filter {
        Filter(Box::new([0; (1 << BITS) / 64]))
    }
}

impl Filter {
    /// Puts a hash in.
    pub fn insert(&mut self, hash: u64) {
        let bit = bit(hash);
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    /// Whether it was put in; of the others one in a few dozen is said to be as well, with a thousand literals.
    #[inline]
    pub fn may_have(&self, hash: u64) -> bool {
        let bit = bit(hash);
        self.0[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// How much memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.0)
    }
}

/// The upper bits of a hash, which all of what was hashed has gone into.
#[inline]
fn bit(hash: u64) -> usize {
    (hash >> (64 - BITS)) as usize
}
