//! What only the frozen worker knows: which sockets it holds, and the bytes it has read that aren't a whole line or
//! pickle yet.
//!
//! Binary, little-endian, and in the order of the connections' slots in the ledger, since ten thousand of them pass
//! in the pause:
//!
//! ```text
//! magic u64 | slots u32 | links u32 | partials u32
//! | slots × cookie u64 (0: nobody has that slot) | links × cookie u64
//! | partials × (slot u32 | discarding u8 | placed u32 | length u32 | bytes)
//! ```

use std::io;

const MAGIC: u64 = u64::from_le_bytes(*b"BatonFz3");

/// The state of a worker at the moment it stopped, as the successor reads it.
#[derive(Debug)]
pub struct Frozen<'a> {
    /// The cookie of the connection in each slot; 0: none.
    pub slots: Vec<u64>,
    /// The cookies of the connections to destinations.
    pub links: Vec<u64>,
    /// The connections that are inside of a line.
    pub partials: Partials<'a>,
}

/// The [`Partial`]s, each read when it is asked for. An error where they aren't of their form, or more follows.
#[derive(Debug)]
pub struct Partials<'a> {
    reader: Reader<'a>,
    left: u32,
}

/// A connection inside of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial<'a> {
    /// Its slot.
    pub slot: u32,
    /// The line is too long, and is being discarded; pickles: the stream is broken, and to be closed.
    pub discarding: bool,
    /// Pickles: so many items of the first one in `bytes` were queued already.
    pub placed: u32,
    /// Bytes read and not yet queued: the beginning of a line or pickle, perhaps behind whole ones that wait
    /// for room.
    pub bytes: &'a [u8],
}

/// Writes a [`Frozen`] as it travels, without keeping its parts.
#[derive(Debug, Default)]
pub struct FrozenWriter {
    slots: Vec<u8>,
    links: Vec<u8>,
    partials: Vec<u8>,
    count: u32,
}

impl FrozenWriter {
    /// With the cookies of the connections, by slot.
    pub fn new(slots: &[u64]) -> FrozenWriter {
        let mut bytes = Vec::with_capacity(8 * slots.len());
        for cookie in slots {
            bytes.extend_from_slice(&cookie.to_le_bytes());
        }
        FrozenWriter {
            slots: bytes,
            partials: Vec::with_capacity(64 * slots.len()),
            ..FrozenWriter::default()
        }
    }

    /// Adds a connection to a destination.
    pub fn link(&mut self, cookie: u64) {
        self.links.extend(cookie.to_le_bytes());
    }

    /// Adds a connection that is inside of a line; the bytes come in two parts.
    pub fn partial(
        &mut self,
        (slot, discarding, placed): (u32, bool, u32),
        waiting: &[u8],
        carry: &[u8],
    ) {
        self.count += 1;
        self.partials.extend_from_slice(&slot.to_le_bytes());
        self.partials.push(u8::from(discarding));
        self.partials.extend(placed.to_le_bytes());
        self.partials
            .extend(((waiting.len() + carry.len()) as u32).to_le_bytes());
        self.partials.extend_from_slice(waiting);
        self.partials.extend_from_slice(carry);
    }

    /// All of it, in the parts that it was collected in, one after the other.
    pub fn finish(self) -> [Vec<u8>; 4] {
        let Self {
            slots,
            links,
            partials,
            count,
        } = self;
        let mut head = MAGIC.to_le_bytes().to_vec();
        for count in [slots.len() as u32 / 8, links.len() as u32 / 8, count] {
            head.extend(count.to_le_bytes());
        }
        [head, slots, links, partials]
    }
}

impl<'a> Frozen<'a> {
    /// Reads it back.
    ///
    /// # Errors
    /// `InvalidData` when it isn't of this form; what is wrong with a partial line is said when that is read.
    pub fn decode(bytes: &'a [u8]) -> io::Result<Frozen<'a>> {
        let mut reader = Reader { rest: bytes };
        if reader.u64()? != MAGIC {
            return Err(broken());
        }
        let (slots, links, partials) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (slots, links) = (reader.u64s(slots)?, reader.u64s(links)?);
        Ok(Frozen {
            slots,
            links,
            partials: Partials {
                reader,
                left: partials,
            },
        })
    }
}

impl<'a> Partials<'a> {
    fn read(&mut self) -> io::Result<Partial<'a>> {
        let slot = self.reader.u32()?;
        let discarding = self.reader.take(1)?[0] != 0;
        let placed = self.reader.u32()?;
        let len = self.reader.u32()?;
        Ok(Partial {
            slot,
            discarding,
            placed,
            bytes: self.reader.take(len as usize)?,
        })
    }
}

impl<'a> Iterator for Partials<'a> {
    type Item = io::Result<Partial<'a>>;

    fn next(&mut self) -> Option<io::Result<Partial<'a>>> {
        let partial = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                self.read()
            }
            None if self.reader.rest.is_empty() => return None,
            None => Err(broken()),
        };
        if partial.is_err() {
            (self.left, self.reader.rest) = (0, &[]);
        }
        Some(partial)
    }
}

#[derive(Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(broken)?;
        self.rest = rest;
        Ok(taken)
    }

    fn u64s(&mut self, count: u32) -> io::Result<Vec<u64>> {
        let bytes = self.take(count as usize * 8)?;
        let word = |chunk: &[u8]| chunk.try_into().map_or(0, u64::from_le_bytes);
        Ok(bytes.chunks_exact(8).map(word).collect())
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(
            self.take(8)?.try_into().map_err(|_| broken())?,
        ))
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(
            self.take(4)?.try_into().map_err(|_| broken())?,
        ))
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the frozen state is malformed")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Parts = (Vec<u64>, Vec<u64>, Vec<((u32, bool, u32), Vec<u8>)>);

    fn read(bytes: &[u8]) -> io::Result<Parts> {
        let frozen = Frozen::decode(bytes)?;
        let own = |p: Partial<'_>| ((p.slot, p.discarding, p.placed), p.bytes.to_vec());
        let partials = frozen.partials.map(|p| p.map(own));
        let partials = partials.collect::<io::Result<_>>()?;
        Ok((frozen.slots, frozen.links, partials))
    }

    proptest! {
        #[test]
        fn reads_back_what_was_written_and_nothing_else(
            slots in prop::collection::vec(any::<u64>(), 0..50),
            links in prop::collection::vec(any::<u64>(), 0..5),
            partials in prop::collection::vec(
                (any::<(u32, bool, u32)>(), prop::collection::vec(any::<u8>(), 0..100)), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut writer = FrozenWriter::new(&slots);
            links.iter().for_each(|cookie| writer.link(*cookie));
            for (head, bytes) in &partials {
                let (waiting, carry) = bytes.split_at(bytes.len() / 3);
                writer.partial(*head, waiting, carry);
            }
            let mut bytes = writer.finish().concat();
            prop_assert_eq!(read(&bytes).unwrap(), (slots, links, partials));
            prop_assert!(read(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(read(&bytes).is_err());
        }
    }
}
