//! Values and timestamps, judged by their text. The digits of a value pass as they came, so nothing is parsed here.

use super::Reason;

/// One digit zero in each byte of a word.
const ZEROS: u64 = repeated(b'0');
/// The high bit of each byte of a word.
const HIGH: u64 = repeated(0x80);

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of every byte that is ten or more: that is not a digit, where [`ZEROS`] were taken off by exclusive or.
#[inline]
fn ten_or_more(word: u64) -> u64 {
    (((word & !HIGH) + repeated(0x80 - 10)) | word) & HIGH
}

/// The length of the value at the end of a text, given the text's last eight bytes, if there is a blank before it and
/// it has only digits, a minus at the front, a point. That is what most values are, and here it is seen at once and
/// without a loop. Says nothing of all else, which may be a value nevertheless.
#[inline]
pub fn short_value(tail: &[u8; 8]) -> Option<usize> {
    let tail = u64::from_le_bytes(*tail);
    let others = tail ^ repeated(b' ');
    let blanks = !(((others & !HIGH) + !HIGH) | others) & HIGH;
    // Of a little-endian word the last byte is the highest one.
    let size = blanks.leading_zeros() / 8;
    if size == 0 || size == 8 {
        return None;
    }
    let mut value = (tail ^ ZEROS) >> (64 - 8 * size);
    let mut left = size;
    if value & 0xff == u64::from(b'-' ^ b'0') {
        value >>= 8;
        left -= 1;
    }
    // What was shifted in counts as digits.
    let others = ten_or_more(value);
    let good = if others == 0 {
        left > 0
    } else {
        let only_one = others & (others - 1) == 0;
        let other = value >> (others.trailing_zeros() - 7) & 0xff;
        left > 1 && only_one && other == u64::from(b'.' ^ b'0')
    };
    good.then_some(size as usize)
}

/// A value must be what Rust's `f64` parser takes, without the spellings of not-a-number and infinity: an optional
/// sign, digits with or without a point on either side of which one is needed, an optional exponent.
pub fn value(text: &[u8]) -> Result<(), Reason> {
    if is_decimal(text) {
        return Ok(());
    }
    let word = text
        .strip_prefix(b"-")
        .or(text.strip_prefix(b"+"))
        .unwrap_or(text);
    let not_finite = [&b"nan"[..], b"inf", b"infinity"]
        .iter()
        .any(|spelling| word.eq_ignore_ascii_case(spelling));
    Err(if not_finite {
        Reason::Nan
    } else {
        Reason::Value
    })
}

/// Digits with or without a point, and an exponent or not.
fn is_decimal(text: &[u8]) -> bool {
    let text = match text {
        [b'-' | b'+', unsigned @ ..] => unsigned,
        _ => text,
    };
    let whole = digits(text);
    let mut rest = &text[whole..];
    let mut fraction = 0;
    if let [b'.', after @ ..] = rest {
        fraction = digits(after);
        rest = &after[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'-' | b'+', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// How many digits there are at the front.
fn digits(text: &[u8]) -> usize {
    text.iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len())
}

/// What is to be sent for a timestamp that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The text as it came.
    AsItCame,
    /// Its first so many bytes: the rest is a fraction of a second.
    Truncated(usize),
    /// The time of receipt, for `-1`.
    Now,
}

/// A timestamp is seconds since 1970, 0 to 4294967295, a decimal fraction being cut off, or `-1`.
pub fn timestamp(text: &[u8]) -> Result<Stamp, Reason> {
    if text == b"-1" {
        return Ok(Stamp::Now);
    }
    let whole = digits(text);
    if whole == 0 || !fits_u32(&text[..whole]) {
        return Err(Reason::Timestamp);
    }
    match &text[whole..] {
        [] => Ok(Stamp::AsItCame),
        [b'.', fraction @ ..] if digits(fraction) == fraction.len() => Ok(Stamp::Truncated(whole)),
        _ => Err(Reason::Timestamp),
    }
}

/// The ten digits that every timestamp between 2001 and 2106 has. Says no to all else, also where [`timestamp`] says
/// yes.
#[inline]
pub fn is_usual_timestamp(text: &[u8; 10]) -> bool {
    let [front @ .., _, _] = text;
    let [_, _, back @ ..] = text;
    let digits = |part: &[u8; 8]| u64::from_le_bytes(*part) ^ ZEROS;
    ten_or_more(digits(front)) | ten_or_more(digits(back)) == 0
        && (text[0] < b'4' || fits_u32(text))
}

/// Whether the digits, leading zeros aside, are at most 4294967295.
fn fits_u32(digits: &[u8]) -> bool {
    const LARGEST: &[u8] = b"4294967295";
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let digits = &digits[zeros..];
    digits.len() < LARGEST.len() || digits.len() == LARGEST.len() && digits <= LARGEST
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the standard library says of the text, minus what is not finite by its spelling.
    fn oracle(text: &str) -> Result<(), Reason> {
        match text.parse::<f64>() {
            Err(_) => Err(Reason::Value),
            Ok(_) if text.bytes().any(|byte| byte.is_ascii_digit()) => Ok(()),
            Ok(_) => Err(Reason::Nan),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn values_are_what_the_standard_library_takes(text in "[-+]?[0-9.eE+x_-]{0,10}|[-+]?[0-9]{0,9}[.]?[0-9]{0,9}([eE][-+]?[0-9]{0,4})?") {
            prop_assert_eq!(value(text.as_bytes()), oracle(&text));
        }

        #[test]
        fn any_text_as_value(text in any::<String>()) {
            prop_assert_eq!(value(text.as_bytes()), oracle(&text));
        }

        #[test]
        fn short_values_are_values(text in "[-+.0-9e ]{8}|[a-z ]{0,8} -?[0-9]{0,6}[.]?[0-9]{0,6}", at in 0..8usize, byte: u8, other: bool) {
            let mut tail = *text.as_bytes().last_chunk::<8>().unwrap_or(b"aaaaaaaa");
            if other {
                tail[at] = byte;
            }
            if let Some(size) = short_value(&tail) {
                let (before, found) = tail.split_at(8 - size);
                prop_assert_eq!(before.last(), Some(&b' '));
                prop_assert_eq!(value(found), Ok(()));
            }
        }

        #[test]
        fn timestamps_are_numbers_of_32_bits(text in "-?0{0,3}[0-9]{0,11}([.][0-9]{0,3})?|[0-9+-.e]{0,4}") {
            let (whole, fraction) = text.split_once('.').map_or((&text[..], None), |(whole, fraction)| (whole, Some(fraction)));
            let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
            let expected = if text == "-1" {
                Ok(Stamp::Now)
            } else if !digits(whole) || whole.parse::<u32>().is_err() || !digits(fraction.unwrap_or("")) {
                Err(Reason::Timestamp)
            } else if fraction.is_some() {
                Ok(Stamp::Truncated(whole.len()))
            } else {
                Ok(Stamp::AsItCame)
            };
            prop_assert_eq!(timestamp(text.as_bytes()), expected);
        }

        #[test]
        fn usual_timestamps_are_timestamps(text in "[0-9]{10}|[0-9 .x-]{10}|429496[67][0-9]{3}") {
            let mut ten = [0; 10];
            ten.copy_from_slice(text.as_bytes());
            let expected = timestamp(text.as_bytes()) == Ok(Stamp::AsItCame);
            prop_assert_eq!(is_usual_timestamp(&ten), expected);
        }
    }

    #[test]
    fn short_values_are_found() {
        for text in [
            "0", "42", "98.25", "-1.5", "-7", "4096.00", ".5", "5.", "1234567",
        ] {
            let line = format!("some.name {text}");
            let tail = line.as_bytes().last_chunk().expect("long enough");
            assert_eq!(short_value(tail), Some(text.len()), "{text}");
        }
        for text in [
            "", "-", ".", "-.", "1.2.3", "--1", "12345678", "1e5", "1\t2", "x",
        ] {
            let line = format!("some.name {text}");
            let tail = line.as_bytes().last_chunk().expect("long enough");
            assert_eq!(short_value(tail), None, "{text}");
        }
    }

    #[test]
    fn not_finite_in_any_spelling() {
        for text in [
            "nan",
            "NaN",
            "-nan",
            "+NAN",
            "inf",
            "-Inf",
            "infinity",
            "+INFINITY",
        ] {
            assert_eq!(value(text.as_bytes()), Err(Reason::Nan), "{text}");
        }
        for text in [
            "", "-", "infinit", "nano", "--nan", "1,5", "0x10", "1_000", ".", "e5", "1e",
        ] {
            assert_eq!(value(text.as_bytes()), Err(Reason::Value), "{text}");
        }
    }
}
