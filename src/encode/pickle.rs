//! Frames as carbon sends them to carbon: a length of four bytes, big-endian, then a pickle of protocol 2, a list of
//! `(name, (timestamp, value))`.
//!
//! The opcodes are those of CPython's `Lib/pickletools.py`. Carbon's own pickles number each object for later reference (`BINPUT`),
//! which no receiver asks for. The list begins with `EMPTY_LIST`: carbon-relay-ng refuses one that begins with a mark.

use crate::decode::line::{self, Fields, Line};

/// The number of this encoding: to be raised whenever the same lines become other bytes than before. A worker doesn't finish a frame
/// that a version with another encoding has begun.
pub const ENCODING: u64 = 1;
/// The most points of a frame, as with carbon.
pub const POINTS: u64 = 500;
/// The longest pickle, in bytes: what carbon takes by default (`PICKLE_RECEIVER_MAX_LENGTH`) before it closes the connection.
pub const LONGEST: usize = 1 << 20;

const PROTOCOL_2: [u8; 2] = [0x80, 2];
const EMPTY_LIST: u8 = b']';
const MARK: u8 = b'(';
const APPENDS: u8 = b'e';
const STOP: u8 = b'.';
const BINUNICODE: u8 = b'X';
const BINSTRING: u8 = b'T';
const SHORT_BINSTRING: u8 = b'U';
const BININT: u8 = b'J';
const LONG1: u8 = 0x8a;
const BINFLOAT: u8 = b'G';
const TUPLE2: u8 = 0x86;

/// Of a point, what isn't its name, at most: name's opcode and length, `LONG1`, `BINFLOAT`, two `TUPLE2`.
const AROUND: usize = 5 + 7 + 9 + 2;
const END: [u8; 2] = [APPENDS, STOP];

/// What became of the beginning of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// So many bytes of it, whole lines.
    pub text: usize,
    /// Points in the frame; without any there is no frame.
    pub points: u64,
    /// Lines that aren't points, or for which no frame has room.
    pub unencodable: u64,
}

/// Appends the next frame to `out`: of the first lines of `text`, [`POINTS`] at most. A last line without its newline is left.
///
/// Names that aren't UTF-8 are sent as strings of bytes, in frames of their own: Python 3 can't read such a string, and carbon ignores
/// a frame with one in it, as a whole.
pub fn frame(text: &[u8], out: &mut Vec<u8>) -> Frame {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let pickle = out.len();
    out.extend_from_slice(&PROTOCOL_2);
    out.extend_from_slice(&[EMPTY_LIST, MARK]);
    let (mut frame, mut kind) = (Frame::default(), None);
    while frame.points + frame.unencodable < POINTS {
        let rest = &text[frame.text..];
        let Some(end) = memchr::memchr(b'\n', rest) else {
            break;
        };
        let point = Point::read(&rest[..end]);
        match point.filter(|point| point.fits(pickle, pickle)) {
            None => frame.unencodable += 1,
            Some(point) => {
                let of_one_kind = *kind.get_or_insert(point.is_utf8) == point.is_utf8;
                if !of_one_kind || !point.fits(pickle, out.len()) {
                    break;
                }
                point.write(out);
                frame.points += 1;
            }
        }
        frame.text += end + 1;
    }
    if frame.points == 0 {
        out.truncate(start);
        return frame;
    }
    out.extend_from_slice(&END);
    // It fits: `LONGEST` is far below 4 GiB.
    let length = (out.len() - pickle) as u32;
    out[start..pickle].copy_from_slice(&length.to_be_bytes());
    frame
}

struct Point<'a> {
    name: &'a [u8],
    is_utf8: bool,
    timestamp: i64,
    value: f64,
}

impl<'a> Point<'a> {
    /// `None`: the line isn't one. Values and timestamps are taken as they stand, also those that no listener lets pass.
    fn read(line: &'a [u8]) -> Option<Point<'a>> {
        let Fields {
            name,
            value,
            timestamp,
        } = at_a_glance(line).or_else(|| match line::fields(line) {
            Line::Point(fields) => Some(fields),
            Line::Empty | Line::Malformed => None,
        })?;
        Some(Point {
            name,
            is_utf8: std::str::from_utf8(name).is_ok(),
            timestamp: seconds(timestamp)?,
            value: std::str::from_utf8(value).ok()?.parse().ok()?,
        })
    }

    /// Whether there is room for it behind `at`, in a pickle that begins at `pickle`.
    fn fits(&self, pickle: usize, at: usize) -> bool {
        let before = (at - pickle).max(PROTOCOL_2.len() + 2);
        before + self.name.len() + AROUND + END.len() <= LONGEST
    }

    fn write(&self, out: &mut Vec<u8>) {
        // It fits, as above.
        let length = self.name.len() as u32;
        match (self.is_utf8, u8::try_from(length)) {
            (true, _) => {
                out.push(BINUNICODE);
                out.extend_from_slice(&length.to_le_bytes());
            }
            (false, Ok(short)) => out.extend_from_slice(&[SHORT_BINSTRING, short]),
            (false, Err(_)) => {
                out.push(BINSTRING);
                out.extend_from_slice(&length.to_le_bytes());
            }
        }
        out.extend_from_slice(self.name);
        match i32::try_from(self.timestamp) {
            Ok(seconds) => {
                out.push(BININT);
                out.extend_from_slice(&seconds.to_le_bytes());
            }
            // Five bytes are enough for what `seconds` lets pass, sign included.
            Err(_) => {
                out.extend_from_slice(&[LONG1, 5]);
                out.extend_from_slice(&self.timestamp.to_le_bytes()[..5]);
            }
        }
        out.push(BINFLOAT);
        out.extend_from_slice(&self.value.to_be_bytes());
        out.extend_from_slice(&[TUPLE2, TUPLE2]);
    }
}

/// The fields of a line that is as the pipeline writes it: from the right, where they are short.
fn at_a_glance(line: &[u8]) -> Option<Fields<'_>> {
    let last = memchr::memrchr(b' ', line)?;
    let middle = memchr::memrchr(b' ', &line[..last])?;
    let (name, value, timestamp) = (&line[..middle], &line[middle + 1..last], &line[last + 1..]);
    let good = !name.is_empty()
        && !value.is_empty()
        && memchr::memchr(b' ', name).is_none()
        && memchr::memchr(b'\t', line).is_none()
        && timestamp.last().is_some_and(u8::is_ascii_digit);
    good.then_some(Fields {
        name,
        value,
        timestamp,
    })
}

/// A timestamp: whole seconds that fit 32 bits, with or without a sign; a fraction is cut off.
fn seconds(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        _ => (false, text),
    };
    let whole = digits
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(digits.len());
    let is_fraction = match &digits[whole..] {
        [] => true,
        [b'.', fraction @ ..] => fraction.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // The first so many digits don't overflow; more than ten are too many, but for zeros.
    let zeros = digits[..whole].iter().take_while(|&&d| d == b'0').count();
    if whole == 0 || !is_fraction || whole - zeros > 10 {
        return None;
    }
    let number = digits[zeros..whole]
        .iter()
        .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let seconds = if negative { -number } else { number };
    (i64::from(i32::MIN)..=i64::from(u32::MAX))
        .contains(&seconds)
        .then_some(seconds)
}

#[cfg(test)]
mod tests;
