//! From bytes to numbers.

use md5::{Digest, Md5};

/// The first two bytes of the md5 (RFC 1321), big-endian: carbon's position of a text.
pub fn md5_16(text: &[u8]) -> u16 {
    let digest = Md5::digest(text);
    u16::from_be_bytes([digest[0], digest[1]])
}

/// FNV-1a of 32 bits. carbon-c-relay on x86 extends the sign of bytes from 0x80 on: not copied.
#[inline]
pub fn fnv1a_32(text: &[u8]) -> u32 {
    text.iter().fold(2_166_136_261, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(16_777_619)
    })
}

/// FNV-1a of 64 bits.
#[inline]
pub fn fnv1a_64(text: &[u8]) -> u64 {
    text.iter().fold(14_695_981_039_346_656_037, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)
    })
}

/// 32 bits folded to 16, as positions on a ring are.
#[inline]
pub fn folded(hash: u32) -> u16 {
    (hash >> 16) as u16 ^ hash as u16
}
