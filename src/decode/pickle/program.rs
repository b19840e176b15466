//! Reading a pickle: opcodes and their arguments.

use super::Refused;

/// The pickle, and how far it was read.
pub(super) struct Program<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// A part of a pickle, or of what was made of its texts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) at: u32,
    pub(super) len: u32,
}

impl Text {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.at as usize..][..self.len as usize]
    }
}

impl Program<'_> {
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, Refused> {
        let byte = *self.bytes.get(self.at).ok_or(Refused::Cut)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let array = *self.bytes[self.at..].first_chunk().ok_or(Refused::Cut)?;
        self.at += N;
        Ok(array)
    }

    /// A length that must not be negative.
    pub(super) fn length_i32(&mut self) -> Result<u64, Refused> {
        let length = i32::from_le_bytes(self.array()?);
        u64::try_from(length).map_err(|_| Refused::Cut)
    }

    #[inline]
    pub(super) fn text(&mut self, len: u64) -> Result<Text, Refused> {
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(Refused::Cut);
        }
        let text = Text {
            at: self.at as u32,
            len: len as u32,
        };
        self.at += len as usize;
        Ok(text)
    }

    /// An argument that ends with a newline.
    pub(super) fn line(&mut self) -> Result<Text, Refused> {
        let len = memchr::memchr(b'\n', &self.bytes[self.at..]).ok_or(Refused::Cut)?;
        let line = self.text(len as u64)?;
        self.at += 1;
        Ok(line)
    }
}
