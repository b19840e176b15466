//! What a search came to, for the next one: neighbours in a stream mostly begin alike.
//!
//! An agent sends the metrics of one host in a row, so of a name that was never seen the first half mostly was, just now.
//! What was found by looking at that half alone holds for it, too.

/// Of the last search: the name, and what was found where. See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    /// Of which index; zero: of none.
    index: u64,
    name: Vec<u8>,
    /// The places that its prefixes were found for.
    pub prefixes: Vec<u32>,
    /// Where a scanner saw a gram: of the short and of the long literals.
    pub short: Vec<u32>,
    pub long: Vec<u32>,
}

impl Trail {
    /// Turns to a name. So many bytes of it are those of the name before; what was found must be cut to what they say.
    #[inline]
    pub fn turn(&mut self, index: u64, name: &[u8]) -> usize {
        if self.index != index {
            self.index = index;
            self.name.clear();
            self.prefixes.clear();
            self.short.clear();
            self.long.clear();
        }
        let alike = alike(&self.name, name);
        self.name.truncate(alike);
        self.name.extend_from_slice(&name[alike..]);
        alike
    }
}

/// How many bytes two texts have in common at their beginning.
#[inline]
fn alike(a: &[u8], b: &[u8]) -> usize {
    const WORD: usize = size_of::<u64>();
    let size = a.len().min(b.len());
    let mut at = 0;
    while let (Some(a), Some(b)) = (word(a, at), word(b, at)) {
        let differ = a ^ b;
        if differ != 0 {
            return at + differ.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    let rest = a[at..size].iter().zip(&b[at..size]);
    at + rest.take_while(|(a, b)| a == b).count()
}

#[inline]
fn word(text: &[u8], at: usize) -> Option<u64> {
    let bytes = text.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_alike(both in "[ab]{0,40}", a in "[ab]{0,12}", b in "[ab]{0,12}") {
            let (a, b) = (both.clone() + &a, both + &b);
            let expected = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
            prop_assert_eq!(alike(a.as_bytes(), b.as_bytes()), expected);
        }
    }
}
