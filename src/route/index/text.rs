//! A name as a search reads it: eight bytes at once.

/// Bytes that are looked at together.
pub const WORD: usize = size_of::<u64>();

/// A name, and eight bytes or more that lie behind it, whatever they are: so a word can be read near its end, too, without
/// asking how much is left of it.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl<'a> Text<'a> {
    /// The first bytes of a line. `None`: there aren't eight bytes behind them.
    #[inline]
    pub fn within(line: &'a [u8], size: usize) -> Option<Text<'a>> {
        (line.len() >= size + WORD).then_some(Text { bytes: line, size })
    }

    /// A copy of a name, with zeros behind it.
    pub fn copied(name: &[u8], room: &'a mut Vec<u8>) -> Text<'a> {
        room.clear();
        room.extend_from_slice(name);
        room.extend_from_slice(&[0; WORD]);
        Text {
            bytes: room,
            size: name.len(),
        }
    }

    /// The name.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        &self.bytes[..self.size]
    }

    /// How long the name is.
    #[inline]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The name in words, the last of which may go on behind it.
    #[inline]
    pub fn words(&self) -> &'a [[u8; WORD]] {
        let size = self.size.next_multiple_of(WORD);
        self.bytes[..size].as_chunks().0
    }

    /// The eight bytes from here on, zeros behind what there is.
    #[inline]
    pub fn word(&self, at: usize) -> u64 {
        word(self.bytes.get(at..).unwrap_or_default())
    }

    /// The words that begin at `from` and before `end`, each a byte further on; none if there is nothing between.
    #[inline]
    pub fn overlapping(&self, from: usize, end: usize) -> std::slice::Windows<'a, u8> {
        let end = end.max(from) + WORD - 1;
        self.bytes[from..end].windows(WORD)
    }
}

/// The first eight bytes, zeros behind a shorter text.
#[inline]
pub fn word(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => {
            let bytes = text.iter().rev();
            bytes.fold(0, |word, &byte| word << 8 | u64::from(byte))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_name_and_what_is_behind_it() {
        let line = b"abcdefghijklmnopqrstuvwxyz";
        let mut room = Vec::new();
        for size in 0..=line.len() - WORD {
            let within = Text::within(line, size).expect("room");
            let copied = Text::copied(&line[..size], &mut room);
            for text in [within, copied] {
                assert_eq!(text.name(), &line[..size]);
                let words = text.words().concat();
                assert!(words.starts_with(text.name()) && words.len() < size + WORD);
                for at in 0..=size {
                    let known = (size - at).min(WORD);
                    assert_eq!(text.word(at).to_le_bytes()[..known], line[at..at + known]);
                    let overlapping: Vec<_> = text.overlapping(at, size).collect();
                    assert_eq!(overlapping.len(), size - at);
                    for (nth, word) in overlapping.iter().enumerate() {
                        assert_eq!(word[0], line[at + nth]);
                    }
                }
                assert_eq!(text.overlapping(size, 0).count(), 0);
                assert_eq!(text.word(size + 2 * WORD + line.len()), 0);
            }
        }
        assert!(Text::within(line, line.len() - WORD + 1).is_none());
        assert_eq!(word(b"ab"), 0x6261);
    }
}
