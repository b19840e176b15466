//! Framing: a stream of bytes, read in pieces of any size, into whole lines.
//!
//! Read buffers belong to threads, not to connections. What a connection keeps between two reads is the line it has not
//! ended yet, the *carry*, and it is all that a successor needs to go on in the middle of a line.

use std::ops::Range;

/// How much a connection may keep allocated for its next carry. Most carries are a part of one short line; a long one
/// must not hold its memory for the weeks that senders stay connected.
const KEEP: usize = 1024;

/// Where one connection is in its stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Splitter {
    /// A line not yet ended, never longer than the longest line allowed; empty while discarding.
    carry: Vec<u8>,
    /// Whether what comes is the rest of a line that was too long and is counted already.
    discarding: bool,
}

/// What one read has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The whole lines in the buffer, from the start of the first to after the last newline. Empty when there is none.
    pub whole: Range<usize>,
    /// Lines that were found too long in this call because what is there of them, unended, is over the limit.
    /// Too-long lines inside `whole` are not among them: the pipeline counts those.
    pub too_long: u64,
}

impl Splitter {
    /// At the start of a stream.
    pub fn new() -> Splitter {
        Splitter::default()
    }

    /// The bytes of the line that has not ended yet. At the end of the stream they are no line.
    pub fn carry(&self) -> &[u8] {
        &self.carry
    }

    /// Whether the rest of a too-long line is being discarded up to its newline.
    pub fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Goes on where another worker was: with its [`carry`](Splitter::carry) and
    /// [`is_discarding`](Splitter::is_discarding).
    pub fn restore(carry: Vec<u8>, discarding: bool) -> Splitter {
        Splitter { carry, discarding }
    }

    /// Copies the carry to the front of the buffer and returns its length: read behind it. The carry stays here until
    /// [`split`](Splitter::split), so a read that fails loses nothing.
    ///
    /// # Panics
    /// If the buffer is shorter than the carry. Buffers are to be longer than the longest line.
    pub fn fill(&mut self, buffer: &mut [u8]) -> usize {
        buffer[..self.carry.len()].copy_from_slice(&self.carry);
        self.carry.len()
    }

    /// Finds the whole lines in `buffer`, which begins with the carry and goes on with what was just read, and carries
    /// the rest. `max_line` is in bytes, without the newline. A line over it is counted once, however many reads it
    /// takes, and none of it becomes a line.
    pub fn split(&mut self, buffer: &[u8], max_line: usize) -> Split {
        let start = match (self.discarding, memchr::memchr(b'\n', buffer)) {
            (false, _) => 0,
            (true, Some(newline)) => newline + 1,
            (true, None) => buffer.len(),
        };
        let end = match memchr::memrchr(b'\n', buffer) {
            Some(newline) => newline + 1,
            None => start,
        };
        // Still in the same too-long line only if its newline did not come.
        self.discarding &= start == buffer.len() && !buffer.ends_with(b"\n");
        let rest = &buffer[end..];
        let too_long = rest.len() > max_line;
        self.discarding |= too_long;
        self.carry.clear();
        self.carry.shrink_to(KEEP);
        if !too_long {
            self.carry.extend_from_slice(rest);
        }
        Split {
            whole: start..end,
            too_long: u64::from(too_long),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the pieces and returns the whole lines together, and how many were too long.
    fn feed(splitter: &mut Splitter, pieces: &[&[u8]], max_line: usize) -> (Vec<u8>, u64) {
        let (mut whole, mut too_long) = (Vec::new(), 0);
        for piece in pieces {
            let mut buffer = vec![0; 64];
            let kept = splitter.fill(&mut buffer);
            buffer.truncate(kept);
            buffer.extend_from_slice(piece);
            let split = splitter.split(&buffer, max_line);
            whole.extend_from_slice(&buffer[split.whole]);
            too_long += split.too_long;
        }
        (whole, too_long)
    }

    #[test]
    fn lines_are_put_together_over_reads() {
        let mut splitter = Splitter::new();
        let (whole, too_long) = feed(&mut splitter, &[b"a 1", b"", b" 2\nb 3 4", b"\nc"], 16);
        assert_eq!((&whole[..], too_long), (&b"a 1 2\nb 3 4\n"[..], 0));
        assert_eq!(splitter.carry(), b"c");
    }

    #[test]
    fn a_read_that_fails_after_fill_loses_nothing() {
        let mut splitter = Splitter::restore(b"a 1".to_vec(), false);
        assert_eq!(splitter.fill(&mut [0; 8]), 3);
        assert_eq!(splitter.carry(), b"a 1");
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_one_over_it_is_not() {
        let mut splitter = Splitter::new();
        assert_eq!(
            feed(&mut splitter, &[b"1234", b"\n"], 4),
            (b"1234\n".to_vec(), 0)
        );
        assert_eq!(feed(&mut splitter, &[b"12345", b"\n"], 4), (vec![], 1));
        assert!(!splitter.is_discarding());
    }

    #[test]
    fn a_long_line_is_counted_once_and_its_end_is_no_line() {
        let mut splitter = Splitter::new();
        let (whole, too_long) = feed(&mut splitter, &[b"12345", b"6789", b"a", b"b\nc 1 2\nd"], 4);
        assert_eq!((&whole[..], too_long), (&b"c 1 2\n"[..], 1));
        assert_eq!(splitter, Splitter::restore(b"d".to_vec(), false));
    }

    #[test]
    fn one_read_may_end_a_long_line_and_begin_another() {
        let mut splitter = Splitter::new();
        let (whole, too_long) = feed(&mut splitter, &[b"12345", b"6\n789abc", b"\n", b"x\n"], 4);
        assert_eq!((&whole[..], too_long), (&b"x\n"[..], 2));
    }

    #[test]
    fn a_successor_goes_on_discarding() {
        let mut splitter = Splitter::new();
        feed(&mut splitter, &[b"12345"], 4);
        let mut successor = Splitter::restore(splitter.carry().to_vec(), splitter.is_discarding());
        assert_eq!(
            feed(&mut successor, &[b"67", b"8\nx\n"], 4),
            (b"x\n".to_vec(), 0)
        );
    }

    #[test]
    fn a_long_carry_gives_its_memory_back() {
        let mut splitter = Splitter::restore(vec![b'x'; 16 * 1024], false);
        splitter.split(b"x\n", 16 * 1024);
        assert!(splitter.carry.capacity() <= KEEP);
    }
}
