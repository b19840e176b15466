//! What only the frozen worker knows: the bytes it has read that aren't a whole line yet.
//!
//! Binary, little-endian, since ten thousand connections pass in the pause:
//! `magic u64 | cookies u32 | partials u32 | cookies × u64 | partials × (cookie u64 | discarding u8 | length u32 | bytes)`.

use std::io;

const MAGIC: u64 = u64::from_le_bytes(*b"BatonFz1");

/// The state of a worker at the moment it stopped, as the successor reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen<'a> {
    /// Every socket it held.
    pub cookies: Vec<u64>,
    /// The connections that are inside of a line.
    pub partials: Vec<Partial<'a>>,
}

/// A connection inside of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial<'a> {
    /// Which.
    pub cookie: u64,
    /// The line is too long, and is being discarded.
    pub discarding: bool,
    /// Bytes read and not yet queued: the beginning of a line, perhaps behind whole lines that wait
    /// for room.
    pub bytes: &'a [u8],
}

/// Writes a [`Frozen`] as it travels, without keeping its parts.
#[derive(Debug, Default)]
pub struct FrozenWriter {
    cookies: Vec<u8>,
    partials: Vec<u8>,
    count: u32,
}

impl FrozenWriter {
    /// With room for so many sockets.
    pub fn with_capacity(sockets: usize) -> FrozenWriter {
        FrozenWriter {
            cookies: Vec::with_capacity(8 * sockets),
            partials: Vec::with_capacity(64 * sockets),
            count: 0,
        }
    }

    /// Adds a socket.
    pub fn socket(&mut self, cookie: u64) {
        self.cookies.extend(cookie.to_le_bytes());
    }

    /// Adds a connection that is inside of a line; the bytes come in two parts.
    pub fn partial(&mut self, cookie: u64, discarding: bool, waiting: &[u8], carry: &[u8]) {
        self.count += 1;
        self.partials.extend(cookie.to_le_bytes());
        self.partials.push(u8::from(discarding));
        self.partials
            .extend(((waiting.len() + carry.len()) as u32).to_le_bytes());
        self.partials.extend(waiting);
        self.partials.extend(carry);
    }

    /// All of it.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.cookies.len() + self.partials.len());
        out.extend(MAGIC.to_le_bytes());
        out.extend((self.cookies.len() as u32 / 8).to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(self.cookies);
        out.extend(self.partials);
        out
    }
}

impl<'a> Frozen<'a> {
    /// Reads it back.
    ///
    /// # Errors
    /// `InvalidData` when it isn't of this form to the last byte.
    pub fn decode(bytes: &'a [u8]) -> io::Result<Frozen<'a>> {
        let mut reader = Reader { rest: bytes };
        if reader.u64()? != MAGIC {
            return Err(broken());
        }
        let (cookies, partials) = (reader.u32()?, reader.u32()?);
        // Counts are believed only as far as there are bytes.
        let cookies = (0..cookies)
            .map(|_| reader.u64())
            .collect::<io::Result<_>>()?;
        let partials = (0..partials)
            .map(|_| {
                let cookie = reader.u64()?;
                let discarding = reader.take(1)?[0] != 0;
                let len = reader.u32()?;
                Ok(Partial {
                    cookie,
                    discarding,
                    bytes: reader.take(len as usize)?,
                })
            })
            .collect::<io::Result<_>>()?;
        if !reader.rest.is_empty() {
            return Err(broken());
        }
        Ok(Frozen { cookies, partials })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(broken)?;
        self.rest = rest;
        Ok(taken)
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

    proptest! {
        #[test]
        fn reads_back_what_was_written_and_nothing_else(
            cookies in prop::collection::vec(any::<u64>(), 0..50),
            partials in prop::collection::vec(
                (any::<u64>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut writer = FrozenWriter::default();
            cookies.iter().for_each(|cookie| writer.socket(*cookie));
            for (cookie, discarding, bytes) in &partials {
                let (waiting, carry) = bytes.split_at(bytes.len() / 3);
                writer.partial(*cookie, *discarding, waiting, carry);
            }
            let mut bytes = writer.finish();
            let frozen = Frozen::decode(&bytes).unwrap();
            prop_assert_eq!(&frozen.cookies, &cookies);
            let read: Vec<_> =
                frozen.partials.iter().map(|p| (p.cookie, p.discarding, p.bytes.to_vec())).collect();
            prop_assert_eq!(&read, &partials);
            prop_assert!(Frozen::decode(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(Frozen::decode(&bytes).is_err());
        }
    }
}
