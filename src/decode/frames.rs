//! Framing of pickles: four bytes of length, big-endian, then so many bytes.
//!
//! As with lines, read buffers belong to threads. What a connection keeps between two reads is the frame that isn't whole
//! yet, its length included. It grows by what has arrived, whatever the length promises.

use std::ops::Range;

/// The length before each frame.
pub const HEAD: usize = 4;

/// Where one connection is in its stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Frames {
    /// The beginning of a frame: at least one byte less than all of it.
    carry: Vec<u8>,
    /// Where the next frame begins isn't known any more: nothing that comes is one.
    broken: bool,
}

/// What one read has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// The frame that had begun before and is whole now; else empty.
    pub joined: Vec<u8>,
    /// The whole frames behind it in what was read.
    pub whole: Range<usize>,
    /// The head of a frame over the limit. From it on the stream is broken. It lies behind `whole`, unless it had begun
    /// before.
    pub too_long: Option<[u8; HEAD]>,
}

impl Frames {
    /// The bytes of the frame that has not ended yet.
    pub fn carry(&self) -> &[u8] {
        &self.carry
    }

    /// The memory that they take.
    pub fn memory(&self) -> usize {
        self.carry.capacity()
    }

    /// Whether the stream is broken, so that nothing more is taken of it.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Takes nothing more.
    pub fn break_off(&mut self) {
        *self = Frames::restore(Vec::new(), true);
    }

    /// Goes on where another worker was: with its [`carry`](Frames::carry) and whether it
    /// [was broken](Frames::is_broken).
    pub fn restore(carry: Vec<u8>, broken: bool) -> Frames {
        Frames { carry, broken }
    }

    /// Takes what was just read. `max_frame` is in bytes, without the head.
    pub fn take(&mut self, read: &[u8], max_frame: usize) -> Taken {
        let mut taken = Taken {
            joined: Vec::new(),
            whole: 0..0,
            too_long: None,
        };
        if self.broken {
            return taken;
        }
        let mut start = 0;
        if !self.carry.is_empty() {
            start = self.fill(HEAD, read);
            if let Some(head) = self.carry.first_chunk::<HEAD>().copied() {
                let length = length(head);
                if length > max_frame {
                    self.break_off();
                    taken.whole = start..start;
                    taken.too_long = Some(head);
                    return taken;
                }
                start += self.fill(HEAD + length, &read[start..]);
                if self.carry.len() == HEAD + length {
                    taken.joined = std::mem::take(&mut self.carry);
                }
            }
        }
        let (whole, too_long) = scan(&read[start..], max_frame);
        taken.whole = start..start + whole;
        taken.too_long = too_long;
        match too_long {
            Some(_) => self.break_off(),
            // Empty if what was there before isn't whole yet: then that took everything.
            None => self.carry.extend_from_slice(&read[taken.whole.end..]),
        }
        taken
    }

    /// Adds to the carry until it is so long, and returns how many bytes that took.
    fn fill(&mut self, wanted: usize, read: &[u8]) -> usize {
        let missing = wanted.saturating_sub(self.carry.len()).min(read.len());
        self.carry.extend_from_slice(&read[..missing]);
        missing
    }
}

/// The first of these whole frames, without its head, and what follows.
pub fn first(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = frames.split_first_chunk::<HEAD>()?;
    rest.split_at_checked(length(*head))
}

/// How many bytes of whole frames there are at the front of `bytes`.
pub fn whole(bytes: &[u8]) -> usize {
    scan(bytes, usize::MAX).0
}

/// The same, up to a frame over the limit.
fn scan(bytes: &[u8], max_frame: usize) -> (usize, Option<[u8; HEAD]>) {
    let mut end = 0;
    while let Some(head) = bytes[end..].first_chunk::<HEAD>() {
        let length = length(*head);
        if length > max_frame {
            return (end, Some(*head));
        }
        if bytes.len() - end - HEAD < length {
            break;
        }
        end += HEAD + length;
    }
    (end, None)
}

/// The length that a head says.
pub fn length(head: [u8; HEAD]) -> usize {
    u32::from_be_bytes(head) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let framed = |frame: &Vec<u8>| [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
        frames.iter().flat_map(framed).collect()
    }

    fn split(mut raw: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some((frame, rest)) = first(raw) {
            all.push(frame.to_vec());
            raw = rest;
        }
        assert!(raw.is_empty());
        all
    }

    #[test]
    fn a_frame_over_the_limit_breaks_the_stream_wherever_its_head_is_cut() {
        let bytes = b"\0\0\0\x01aGET / HTTP/1.1\r\n";
        for cut in 1..bytes.len() {
            let mut frames = Frames::default();
            let (mut whole, mut too_long) = (Vec::new(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let taken = frames.take(piece, 100);
                whole.extend([&taken.joined[..], &piece[taken.whole]].concat());
                too_long.extend(taken.too_long);
            }
            assert_eq!((&whole[..], &too_long[..]), (&bytes[..5], &[*b"GET "][..]));
            assert!(frames.is_broken() && frames.carry().is_empty());
        }
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_memory_follows_what_arrived() {
        let mut frames = Frames::default();
        assert_eq!(frames.take(b"\0\0\0\x02ab", 2).whole, 0..6);
        assert_eq!(frames.take(b"\0\0\0\x03", 2).too_long, Some(*b"\0\0\0\x03"));
        let mut frames = Frames::default();
        frames.take(b"\0\x10\0\0a", 1 << 20);
        assert!(frames.memory() < 100, "{}", frames.memory());
    }

    proptest! {
        #[test]
        fn frames_are_put_together_over_reads_and_workers(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..10),
            rest in 0..4_usize,
            sizes in prop::collection::vec(1..30_usize, 1..20),
        ) {
            let mut bytes = stream(&sent);
            bytes.extend(std::iter::repeat_n(0, rest));
            let (mut frames, mut came) = (Frames::default(), Vec::new());
            let (mut left, mut at) = (&bytes[..], 0);
            while !left.is_empty() {
                let (piece, after) = left.split_at(sizes[at % sizes.len()].min(left.len()));
                (left, at) = (after, at + 1);
                let taken = frames.take(piece, 20);
                prop_assert!(taken.too_long.is_none());
                came.extend(split(&taken.joined));
                came.extend(split(&piece[taken.whole]));
                frames = Frames::restore(frames.carry().to_vec(), frames.is_broken());
            }
            prop_assert_eq!(came, sent);
            prop_assert_eq!(frames.carry().len(), rest);
        }

        #[test]
        fn whole_frames_are_told_from_the_one_that_is_not(bytes: Vec<u8>) {
            let end = whole(&bytes);
            split(&bytes[..end]);
            prop_assert!(first(&bytes[end..]).is_none());
        }
    }
}
