//! Arguments that are text: protocol 0 writes all numbers and strings so.

use super::Refused;

/// What an integer's text means.
pub(super) enum Integer {
    /// `01` and `00` are the truth values.
    Bool(bool),
    /// A number: the first so many bytes of the text.
    Digits(usize),
}

/// The text of INT or LONG: digits, a sign before them, perhaps an `L` behind.
pub(super) fn integer(text: &[u8]) -> Result<Integer, Refused> {
    match text {
        b"01" => return Ok(Integer::Bool(true)),
        b"00" => return Ok(Integer::Bool(false)),
        _ => {}
    }
    let number = text.strip_suffix(b"L").unwrap_or(text);
    let digits = match number {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refused::Literal);
    }
    Ok(Integer::Digits(number.len()))
}

pub(super) fn float(text: &[u8]) -> Result<f64, Refused> {
    let text = std::str::from_utf8(text).map_err(|_| Refused::Literal)?;
    text.parse().map_err(|_| Refused::Literal)
}

/// A number of the memo.
pub(super) fn index(text: &[u8]) -> Result<usize, Refused> {
    if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
        return Err(Refused::Memo);
    }
    let digit = |number, byte: &u8| number * 10 + usize::from(byte - b'0');
    Ok(text.iter().fold(0, digit))
}

/// The text of STRING: as Python 2 quotes it.
pub(super) fn string(text: &[u8], made: &mut Vec<u8>) -> Result<(), Refused> {
    let quoted = match text {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(Refused::Literal),
    };
    let mut rest = quoted;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        made.extend_from_slice(&rest[..at]);
        let (byte, taken) = match &rest[at + 1..] {
            [b'x', digits @ ..] => {
                let digits = digits.first_chunk::<2>().ok_or(Refused::Literal)?;
                (hexadecimal(digits)? as u8, 3)
            }
            [b'0'..=b'7', ..] => octal(&rest[at + 1..]),
            [letter, ..] => match unescaped(*letter) {
                Some(byte) => (byte, 1),
                // Both stay.
                None => (b'\\', 0),
            },
            [] => return Err(Refused::Literal),
        };
        made.push(byte);
        rest = &rest[at + 1 + taken..];
    }
    made.extend_from_slice(rest);
    Ok(())
}

fn unescaped(letter: u8) -> Option<u8> {
    Some(match letter {
        b'\\' | b'\'' | b'"' => letter,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        _ => return None,
    })
}

/// Up to three octal digits: their value, of which Python keeps the low byte, and how many there are.
fn octal(text: &[u8]) -> (u8, usize) {
    let near = &text[..text.len().min(3)];
    let digits = near.iter().take_while(|byte| matches!(byte, b'0'..=b'7'));
    digits.fold((0, 0), |(value, count), digit| {
        ((value << 3) | (digit - b'0'), count + 1)
    })
}

/// The text of UNICODE: `\uXXXX` and `\UXXXXXXXX`; other bytes are characters by their number.
pub(super) fn unicode(text: &[u8], made: &mut Vec<u8>) -> Result<(), Refused> {
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let digits = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                push_character(u32::from(*byte), made)?;
                rest = after;
                continue;
            }
        };
        let (number, after) = rest[2..].split_at_checked(digits).ok_or(Refused::Literal)?;
        push_character(hexadecimal(number)?, made)?;
        rest = after;
    }
    Ok(())
}

fn hexadecimal(digits: &[u8]) -> Result<u32, Refused> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Refused::Literal)?;
        Ok(value << 4 | digit)
    })
}

/// In UTF-8. Halves of surrogate pairs too, in the three bytes that the other opcodes have for them.
fn push_character(number: u32, made: &mut Vec<u8>) -> Result<(), Refused> {
    match (char::from_u32(number), number) {
        (Some(character), _) => {
            made.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        (None, 0xd800..=0xdfff) => {
            let low = |shift: u32| 0x80 | (number >> shift & 0x3f) as u8;
            made.extend([0xe0 | (number >> 12) as u8, low(6), low(0)]);
        }
        (None, _) => return Err(Refused::Literal),
    }
    Ok(())
}
