//! What only the frozen worker knows: the bytes it has read that aren't a whole line yet.
//!
//! Binary, little-endian, since ten thousand connections pass in the pause:
//! `magic u64 | cookies u32 | partials u32 | cookies × u64 | partials × (cookie u64 | discarding u8 | length u32 | bytes)`.

use std::io;

const MAGIC: u64 = u64::from_le_bytes(*b"BatonFz1");

/// The state of a worker at the moment it stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Every socket it held, sorted.
    pub cookies: Vec<u64>,
    /// The connections that are inside of a line.
    pub partials: Vec<Partial>,
}

/// A connection inside of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Which.
    pub cookie: u64,
    /// The line is too long, and is being discarded.
    pub discarding: bool,
    /// Bytes read and not yet queued: the beginning of a line, or whole lines that wait for room.
    pub bytes: Vec<u8>,
}

impl Frozen {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let partial_bytes: usize = self.partials.iter().map(|p| 13 + p.bytes.len()).sum();
        let mut out = Vec::with_capacity(16 + 8 * self.cookies.len() + partial_bytes);
        out.extend(MAGIC.to_le_bytes());
        out.extend((self.cookies.len() as u32).to_le_bytes());
        out.extend((self.partials.len() as u32).to_le_bytes());
        for cookie in &self.cookies {
            out.extend(cookie.to_le_bytes());
        }
        for partial in &self.partials {
            out.extend(partial.cookie.to_le_bytes());
            out.push(u8::from(partial.discarding));
            out.extend((partial.bytes.len() as u32).to_le_bytes());
            out.extend(&partial.bytes);
        }
        out
    }

    /// Reads it back.
    ///
    /// # Errors
    /// `InvalidData` when it isn't of this form to the last byte.
    pub fn decode(bytes: &[u8]) -> io::Result<Frozen> {
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
                    bytes: reader.take(len as usize)?.to_vec(),
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
            let partials = partials.into_iter()
                .map(|(cookie, discarding, bytes)| Partial { cookie, discarding, bytes }).collect();
            let frozen = Frozen { cookies, partials };
            let mut bytes = frozen.encode();
            prop_assert_eq!(&Frozen::decode(&bytes).unwrap(), &frozen);
            prop_assert!(Frozen::decode(&bytes[..cut.index(bytes.len())]).is_err());
            bytes.push(0);
            prop_assert!(Frozen::decode(&bytes).is_err());
        }
    }
}
