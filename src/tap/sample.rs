//! One of so many, picked at random.

/// Picks one line of each `every` in a row, a random one, so that names which come in the same order over and over have
/// the same chance each. What a batch has beyond whole rows is picked by its share: over all batches it is one of `every`.
#[derive(Debug)]
pub(super) struct Picks {
    every: u32,
    random: u64,
    /// Lines until the next row, and until the picked one.
    row: u32,
    pick: u32,
}

impl Picks {
    /// For the lines of one batch. The seed should be another for each.
    pub fn new(every: u32, seed: u64) -> Picks {
        Picks {
            every,
            random: seed,
            row: 0,
            pick: 0,
        }
    }

    /// Whether the next line is picked.
    #[inline]
    pub fn next(&mut self) -> bool {
        if self.every <= 1 {
            return true;
        }
        if self.row == 0 {
            self.row = self.every;
            self.pick = self.below(self.every);
        }
        self.row -= 1;
        let picked = self.pick == 0;
        self.pick = self.pick.wrapping_sub(1);
        picked
    }

    /// A random number below that (splitmix64; its upper half by multiplication).
    fn below(&mut self, end: u32) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (((z >> 32) * u64::from(end)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_the_same_chance() {
        // 25 lines a batch, one of ten: two or three.
        let (mut hits, batches) = ([0_u32; 25], 40_000);
        for seed in 0..batches {
            let mut picks = Picks::new(10, seed);
            let picked = hits.iter_mut().filter(|_| picks.next());
            let picked = picked.map(|hit| *hit += 1).count();
            assert!(picked == 2 || picked == 3, "{picked}");
        }
        for hit in hits {
            assert!(hit.abs_diff(4_000) < 400, "{hits:?}");
        }
    }

    #[test]
    fn one_of_one_is_all() {
        let mut picks = Picks::new(1, 0);
        assert!((0..100).all(|_| picks.next()));
    }
}
